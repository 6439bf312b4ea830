//! `each`: the items, how many at the same time, and what comes of them.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::expression;
use super::walk::{Walk, Walker, undo_of};
use crate::action::ActionError;
use crate::run::{Item, StepPath};
use crate::runbook::{Each, EachBody, Scope, Step};

impl Walker<'_> {
    pub(super) fn items(
        &mut self,
        step: &Step,
        each: &Each,
        path: &StepPath,
        items: &[Item],
        at_once: usize,
        scope: &Scope,
    ) -> Walk {
        let begun: HashSet<_> = items.iter().filter(|i| self.begun(path, i)).map(|i| &i.key).collect();
        let mut outputs = Vec::with_capacity(items.len());
        let (mut complete, mut active) = (0, 0);
        // Those under way first, so that free places go to the next in line, never past them.
        for item in items.iter().filter(|i| begun.contains(&i.key)) {
            match self.item(step, each, path, item, scope) {
                Walk::Complete => complete += 1,
                Walk::Blocked => active += 1,
            }
        }
        for item in items.iter().filter(|i| !begun.contains(&i.key)) {
            if active >= at_once || self.state.paused().is_some() {
                break;
            }
            active += 1;
            self.item(step, each, path, item, scope);
        }
        if complete < items.len() || !self.moves.record.is_empty() {
            return Walk::Blocked;
        }
        for item in items {
            outputs.push(self.output(each, path, item));
        }
        self.reasoned(path, Value::Array(outputs))
    }

    fn item(&mut self, step: &Step, each: &Each, path: &StepPath, item: &Item, scope: &Scope) -> Walk {
        let at = path.item(&item.key);
        let mut scope = scope.with_item(item.value.clone());
        match &each.body {
            EachBody::Steps(steps) => self.steps(steps, Some(&at), &mut scope),
            EachBody::One(call) => {
                let node = self.state.node(&at);
                match node {
                    Some(node) if node.status.is_over() => self.over(step, &at, node),
                    _ => {
                        self.go(call, &at, node, &scope, undo_of(step));
                        Walk::Blocked
                    }
                }
            }
        }
    }

    fn begun(&self, path: &StepPath, item: &Item) -> bool {
        let at = path.item(&item.key);
        let inside = at.child("");
        self.state.node(&at).is_some()
            || self.state.nodes().any(|(p, _)| p.as_str().starts_with(inside.as_str()))
    }

    fn output(&self, each: &Each, path: &StepPath, item: &Item) -> Value {
        let at = path.item(&item.key);
        let of = |path: &StepPath| self.state.node(path).map_or(Value::Null, |n| n.output.clone());
        match &each.body {
            EachBody::One(_) => of(&at),
            EachBody::Steps(steps) => {
                let mut outputs = Map::from_iter([("key".to_owned(), Value::from(item.key.clone()))]);
                outputs.extend(steps.iter().map(|s| (s.id.clone(), of(&at.child(&s.id)))));
                Value::Object(outputs)
            }
        }
    }
}

/// The items of an `each` with their keys, and how many at the same time.
pub(super) fn expand(each: &Each, scope: &Scope) -> Result<(Vec<Item>, usize), ActionError> {
    let Value::Array(values) = each.items.eval(scope).map_err(|e| expression(&e))? else {
        return Err(ActionError::refused("not_a_list", format!("`{}` is not a list", each.items.source())));
    };
    if values.is_empty() {
        let message =
            format!("`{}` is empty; an empty set of targets never means \"all\"", each.items.source());
        return Err(ActionError::refused("empty_target_set", message));
    }
    let mut seen = HashSet::new();
    let mut items = Vec::with_capacity(values.len());
    for value in values {
        let key = match &value {
            Value::String(key) => key.clone(),
            Value::Object(record) => record.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        if key.is_empty() || !seen.insert(key.clone()) {
            let message = format!(
                "`{}`: each item must be a text, or have an `id`, and be there once",
                each.items.source()
            );
            return Err(ActionError::refused("items_without_key", message));
        }
        items.push(Item { key, value });
    }
    let at_once = each.at_once.eval(scope).map_err(|e| expression(&e))?;
    let at_once = amount(&at_once, items.len()).ok_or_else(|| {
        ActionError::refused(
            "at_once",
            format!("`at_once` is {at_once}; write a number from 1, or a percentage up to 100%"),
        )
    })?;
    Ok((items, at_once))
}

/// A number, or a percentage of `all`, rounded up to at least one.
fn amount(value: &Value, all: usize) -> Option<usize> {
    match value {
        Value::Number(n) => n.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0),
        Value::String(text) => {
            let percent: f64 = text.trim().strip_suffix('%')?.trim().parse().ok()?;
            if !(percent > 0.0 && percent <= 100.0) {
                return None;
            }
            let share = (all as f64 * percent / 100.0).ceil();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and `all`"
            )]
            Some((share as usize).clamp(1, all.max(1)))
        }
        _ => None,
    }
}
