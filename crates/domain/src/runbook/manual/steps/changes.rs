//! One action: a look, or a change with what takes it back.

use serde_json::Value;

use super::super::command::{self, Given};
use super::super::jq::Unsayable;
use super::super::{Page, shell};
use super::{Code, soften};
use crate::action::{Action, Effect, UndoByHand};
use crate::runbook::{OnFailure, OnTimeout, Step, Use};

impl Page<'_> {
    pub(super) fn call(&mut self, step: &Step, call: &Use) -> Result<Code, Unsayable> {
        if call.until.is_some() {
            let goes_on = step.on_failure == Some(OnFailure::Continue)
                || call.until.as_ref().is_some_and(|until| until.on_timeout == OnTimeout::Continue);
            let late = match goes_on {
                true => format!("echo \"{}: not in time; on all the same\"", step.id),
                false => {
                    let message = call.until.as_ref().and_then(|until| until.message.as_ref());
                    let why =
                        message.map_or_else(|| "not in time".to_owned(), |message| self.message(message));
                    format!("stop \"{}: {why}\"", step.id)
                }
            };
            let mut code = self.waiting(&step.id, call, &late)?;
            soften(step, &mut code);
            return Ok(code);
        }
        let action = self.action(&call.action)?.clone();
        let with = self.with(&call.with)?;
        if action.spec().effect == Effect::Observe {
            let mut code = vec![format!("look {} {}", step.id, self.look(&*action, &with)?)];
            soften(step, &mut code);
            return Ok(code);
        }
        self.unseen.insert(step.id.clone());
        let mut code = Vec::new();
        if step.undo {
            code.extend(
                self.undo(step, &*action, &with)
                    .unwrap_or_else(|e| vec![format!("# To take it back: {} is for you to work out.", e.0)]),
            );
        }
        let mut change = vec![format!("change {}", command::line(&*action, &with)?)];
        soften(step, &mut change);
        code.extend(change);
        Ok(code)
    }

    /// `autoscaling.describe_group region=us-east-1 group=proxysql-us`
    pub(super) fn look(
        &mut self,
        action: &dyn Action,
        with: &[(String, Given)],
    ) -> Result<String, Unsayable> {
        let spec = action.spec();
        if spec.by_hand.is_none() {
            return Err(Unsayable(format!("`{}`", spec.name)));
        }
        self.actions.insert(spec.name);
        let given = with.iter().filter(|(_, given)| *given != Given::Known(Value::Null));
        let words: Vec<String> = given.map(|(name, given)| format!(" {name}={}", given.word())).collect();
        Ok(format!("{}{}", spec.name, words.concat()))
    }

    /// What is seen before a change, and what will take it back.
    fn undo(
        &mut self,
        step: &Step,
        action: &dyn Action,
        with: &[(String, Given)],
    ) -> Result<Code, Unsayable> {
        let spec = action.spec();
        let (Some(UndoByHand { look, look_with, each, when, with: differs }), Some(undoing)) =
            (spec.undo_by_hand, spec.undone_by)
        else {
            return Err(Unsayable(format!("the inverse of `{}`", spec.name)));
        };
        let before = format!("{}_before", step.id);
        let mut code = Vec::new();
        if let Some(look) = look {
            let looking = self.action(look)?.clone();
            let seen: Vec<(String, Given)> =
                with.iter().filter(|(name, _)| look_with.contains(&name.as_str())).cloned().collect();
            code.push(format!("look {before} {}", self.look(&*looking, &seen)?));
        }
        let undoing = self.action(undoing)?.clone();
        let mut back = |with: Vec<(String, Given)>, one: &str| {
            // The names of the recipe give way to what they stand for here; the longest first.
            let mut names: Vec<(String, String)> =
                with.iter().map(|(name, given)| (format!("$with.{name}"), given.term())).collect();
            names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
            names.extend([("$before".into(), format!("$steps.{before}")), ("$one".into(), one.to_owned())]);
            let here = |filter: &str| {
                names.iter().fold(filter.to_owned(), |text, (name, is)| text.replace(name, is))
            };
            let with: Vec<(String, Given)> = with
                .iter()
                .map(|(name, given)| match (differs.iter().find(|(field, _)| field == name), given) {
                    // A command has no place for a truth that only the shell knows; this one is known.
                    (Some((_, filter)), Given::Known(Value::Bool(known)))
                        if *filter == format!("$with.{name} | not") =>
                    {
                        (name.clone(), Given::Known(Value::Bool(!known)))
                    }
                    (Some((_, filter)), _) => (name.clone(), other_field(with.as_slice(), filter, &here)),
                    (None, given) => (name.clone(), given.clone()),
                })
                .collect();
            let line = command::line(&*undoing, &with)?;
            code.push(format!("back {} {} \\\n  {line}", step.id, shell::filter(&here(when))));
            Ok(())
        };
        let Some(field) = each else {
            back(with.to_vec(), "null")?;
            return Ok(code);
        };
        let items = with.iter().find_map(|(name, given)| match given {
            Given::Known(Value::Array(items)) if name == field => Some(items.clone()),
            _ => None,
        });
        for item in items.ok_or_else(|| Unsayable(format!("a `{field}` that is known only later")))? {
            let one = |(name, given): &(String, Given)| match name == field {
                true => (name.clone(), Given::Known(Value::from(vec![item.clone()]))),
                false => (name.clone(), given.clone()),
            };
            back(with.iter().map(one).collect(), &item.to_string())?;
        }
        Ok(code)
    }
}

/// What a recipe puts into a field: nothing, another field of the change as it is, or what a filter gives.
fn other_field(with: &[(String, Given)], filter: &str, here: &dyn Fn(&str) -> String) -> Given {
    let named = filter.strip_prefix("$with.");
    match with.iter().find(|(name, _)| named == Some(name.as_str())) {
        Some((_, given)) => given.clone(),
        None if filter == "null" => Given::Known(Value::Null),
        None => Given::Filter(here(filter)),
    }
}
