//! `each`: the items, how many at the same time, how many may fail, and what comes of them.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::expression;
use super::sight::{Around, Sight};
use super::walk::{Otherwise, Walk, Walker, undo_of};
use crate::action::ActionError;
use crate::run::{Item, Node, Status, StepPath};
use crate::runbook::{Each, EachBody, Scope, Step, Template};
use crate::words::many;

impl Walker<'_> {
    pub(super) fn items(
        &mut self,
        step: &Step,
        each: &Each,
        path: &StepPath,
        node: &Node,
        sight: &Sight<'_>,
        otherwise: Otherwise,
    ) -> Walk {
        let items = node.items.as_deref().unwrap_or_default();
        let stop_after = node.stop_after.or((otherwise == Otherwise::FailAround).then_some(1));
        let mark = self.failed.len();
        let mut text = String::new();
        let (begun, others): (Vec<&Item>, Vec<&Item>) =
            items.iter().partition(|item| self.state.has_begun(path.item_text(&item.key, &mut text)));
        let (mut complete, mut active, mut failed) = (0, 0, Vec::new());
        // Those under way first, so that free places go to the next in line, never past them.
        for item in begun {
            let at = path.item_text(&item.key, &mut text);
            match self.item(step, each, at, item, sight, stop_after.is_some()) {
                Walk::Complete => complete += 1,
                Walk::Blocked => active += 1,
                Walk::Failed => failed.push(item.key.as_str()),
            }
        }
        let because = self.failed.split_off(mark);
        let stopped = stop_after.is_some_and(|most| failed.len() >= most);
        for item in others {
            if stopped || active >= node.at_once || self.state.paused().is_some() {
                break;
            }
            active += 1;
            let at = path.item_text(&item.key, &mut text);
            self.item(step, each, at, item, sight, stop_after.is_some());
        }
        if active > 0 || !self.moves.record.is_empty() {
            return Walk::Blocked;
        }
        if stopped {
            let what = format!("{} of {} failed", failed.len(), many(items.len(), "item"));
            return self.fail_inside(path, &what, because);
        }
        if complete + failed.len() < items.len() {
            return Walk::Blocked;
        }
        let outputs = items.iter().map(|item| self.output(each, path, item)).collect::<Value>();
        self.reasoned(path, outputs)
    }

    /// `at` is its path; `counted`: a failed item is one of those that `stop_after` counts.
    fn item(
        &mut self,
        step: &Step,
        each: &Each,
        at: &str,
        item: &Item,
        sight: &Sight<'_>,
        counted: bool,
    ) -> Walk {
        let around = Around::Item(sight, &item.value);
        let otherwise = if counted { Otherwise::FailAround } else { Otherwise::Pause };
        match &each.body {
            EachBody::Steps(steps) => self.steps(steps, Some(at), around, otherwise),
            EachBody::One(call) => match self.state.known(at) {
                // With `stop_after`, `on_failure` is what becomes of the whole step.
                Some((path, node)) if node.status == Status::Failed && each.stop_after.is_some() => {
                    self.failed.push(path.clone());
                    Walk::Failed
                }
                Some((path, node)) if node.status.is_over() => self.over(step, path, node, otherwise),
                known => {
                    let path = known.map_or_else(|| StepPath::from(at), |(path, _)| path.clone());
                    let sight = Sight::new(self.state, around, None, &[]);
                    self.go(call, &path, known.map(|(_, node)| node), &sight, undo_of(step));
                    Walk::Blocked
                }
            },
        }
    }

    fn output(&self, each: &Each, path: &StepPath, item: &Item) -> Value {
        let at = path.item(&item.key);
        match &each.body {
            EachBody::One(_) => self.output_of(&at).as_ref().clone(),
            EachBody::Steps(steps) => {
                let mut outputs = Map::from_iter([("key".to_owned(), Value::from(item.key.clone()))]);
                let output = |s: &Step| self.output_of(&at.child(&s.id)).as_ref().clone();
                outputs.extend(steps.iter().map(|s| (s.id.clone(), output(s))));
                Value::Object(outputs)
            }
        }
    }
}

/// The items of an `each` with their keys, how many at the same time, and how many failed ones are too many.
pub fn expand(each: &Each, scope: &Scope) -> Result<(Vec<Item>, usize, Option<usize>), ActionError> {
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
    let count = |name: &str, template: &Template, share: fn(f64) -> f64| {
        let value = template.eval(scope).map_err(|e| expression(&e))?;
        amount(&value, items.len(), share).ok_or_else(|| {
            let message = format!("`{name}` is {value}; write a number from 1, or a percentage up to 100%");
            ActionError::refused(name, message)
        })
    };
    let at_once = count("at_once", &each.at_once, f64::ceil)?;
    let stop_after = each.stop_after.as_ref().map(|t| count("stop_after", t, f64::floor)).transpose()?;
    Ok((items, at_once, stop_after))
}

/// A number, or a percentage of `all`, rounded: at least one, and no more than there are. Where all have failed, so many have.
fn amount(value: &Value, all: usize, round: fn(f64) -> f64) -> Option<usize> {
    match value {
        Value::Number(n) => {
            let number = n.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0)?;
            Some(number.min(all.max(1)))
        }
        Value::String(text) => {
            let percent: f64 = text.trim().strip_suffix('%')?.trim().parse().ok()?;
            if !(percent > 0.0 && percent <= 100.0) {
                return None;
            }
            let share = round(all as f64 * percent / 100.0);
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
