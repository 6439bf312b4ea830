//! Checks a runbook against the actions that exist: what would fail at 3 a.m. fails here.
//!
//! Names are resolved as a reader does it: inside `each … steps` the inner ids first, then the steps before it, outwards.
//! Types are inferred as far as they are sure ([`shape::Shape`]); where they are not, nothing is said.

mod amount;
mod called;
mod children;
mod conform;
mod infer;
mod names;
mod shape;
mod triggers;

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::common::ast::Expr as Ast;

use self::names::Names;
use self::shape::Shape;
use super::diagnostic::{Diagnostic, Pos};
use super::suggest::suggest;
use super::{Body, Each, EachBody, Expr, OnFailure, Runbook, Step, Template, Use};
use crate::action::{Action, Effect, Registry};

/// The runbooks that a runbook may run, by name.
pub(super) type Others = BTreeMap<String, Other>;

/// One of them.
#[derive(Debug, Clone)]
pub(super) struct Other {
    /// As far as it can be read.
    pub(super) runbook: Option<Arc<Runbook>>,
    /// It has mistakes.
    pub(super) mistaken: bool,
}

/// Every mistake that can be found without running anything, in the order of the file; none, if it is sound.
pub(super) fn check(runbook: &Runbook, registry: &Registry, others: &Others) -> Vec<Diagnostic> {
    let mut checker =
        Checker { registry, others, runbook: &runbook.name, mistakes: Vec::new(), first_change: None };
    let mut names = Names::new(runbook);
    runbook.impact.iter().chain(&runbook.locks).for_each(|t| checker.template(t, &names));
    runbook.limits.iter().for_each(|limit| checker.template(&limit.name, &names));
    checker.steps(&runbook.steps, &mut names, false);
    if let Some(verify) = &runbook.verify {
        let seen = checker.call(&verify.look, verify.pos, &names);
        checker.template(&verify.message, &names);
        if let Some(pos) = verify.goes_on {
            let what = "`verify` cannot say `on_timeout: continue`: a run whose symptom is still there would be told as a success";
            checker.wrong(
                pos,
                what,
                "leave `on_timeout` out; what it means when the time is up says `message`",
            );
        }
        names.done("verify", seen);
    }
    runbook.result.iter().for_each(|t| checker.template(t, &names));
    checker.locks(runbook);
    checker.triggers(runbook);
    if let Some(pos) = checker.first_change.filter(|_| runbook.locks.is_empty()) {
        let what = "this changes something, and the runbook takes no lock: two runs could fight";
        checker.wrong(
            pos,
            what,
            "add `locks: [\"fleet:${inputs.fleet.id}\"]` or what else must be touched by one run only",
        );
    }
    let mut mistakes = checker.mistakes;
    mistakes.sort();
    mistakes.dedup();
    mistakes
}

struct Checker<'r> {
    registry: &'r Registry,
    others: &'r Others,
    /// The name of the one that is checked.
    runbook: &'r str,
    mistakes: Vec<Diagnostic>,
    /// Where the first changing action stands.
    first_change: Option<Pos>,
}

impl Checker<'_> {
    fn wrong(&mut self, pos: Pos, what: impl Into<String>, remedy: impl Into<String>) {
        self.mistakes.push(Diagnostic::new(pos, what, remedy));
    }

    fn template(&mut self, template: &Template, names: &Names) {
        infer::template(template, names, &mut self.mistakes);
    }

    fn condition(&mut self, expr: &Expr, names: &Names) {
        let shape = infer::expr(expr, names, &mut self.mistakes);
        if !matches!(shape, Shape::Bool | Shape::Any) {
            let remedy = "write a condition, such as `size(…) > 0`";
            self.wrong(expr.pos(), format!("this is {shape}, where true or false is needed"), remedy);
        }
    }

    /// Checks steps in order. `guarded`: an `assert` stood before them that stops the run.
    fn steps(&mut self, steps: &[Step], names: &mut Names, mut guarded: bool) {
        names.enter(steps);
        for step in steps {
            names.at(&step.id);
            if let Some(condition) = &step.condition {
                self.condition(condition, names);
            }
            let output = self.body(step, names, guarded);
            guarded |=
                matches!(step.body, Body::Assert { .. }) && step.on_failure != Some(OnFailure::Continue);
            names.done(&step.id, output);
        }
    }

    /// The shape of the step's output.
    fn body(&mut self, step: &Step, names: &Names, guarded: bool) -> Shape {
        match &step.body {
            Body::Use(call) => {
                self.modifiers(step, call, guarded);
                self.call(call, step.body_pos, names)
            }
            Body::Assert { that, message, .. } => {
                self.condition(that, names);
                self.template(message, names);
                Shape::Bool
            }
            Body::Value(value) => infer::template(value, names, &mut self.mistakes),
            Body::Approve(approve) => {
                self.template(&approve.message, names);
                Shape::record([("approved_by", Shape::list(Shape::Text))])
            }
            Body::Each(each) => self.each(step, each, names, guarded),
            Body::Together(branches) => {
                let mut outputs = Vec::with_capacity(branches.len());
                for branch in branches {
                    let mut inner = names.clone();
                    self.steps(&branch.steps, &mut inner, guarded);
                    let steps = branch.steps.iter().map(|s| (s.id.as_str(), inner.output(&s.id)));
                    outputs.push((branch.name.as_str(), Shape::record(steps)));
                }
                Shape::record(outputs)
            }
            Body::Run(child) => self.child(step.body_pos, child, names),
            Body::Wait(_) => Shape::Int,
        }
    }

    fn each(&mut self, step: &Step, each: &Each, names: &Names, guarded: bool) -> Shape {
        let item = self.items(&each.items, names);
        self.amount("at_once", &each.at_once, names);
        each.stop_after.iter().for_each(|t| self.amount("stop_after", t, names));
        let mut inner = names.with_item(item);
        match &each.body {
            EachBody::One(call) => {
                self.modifiers(step, call, guarded);
                Shape::list(self.call(call, step.body_pos, &inner))
            }
            EachBody::Steps(steps) => {
                self.steps(steps, &mut inner, guarded);
                let outputs = steps.iter().map(|s| (s.id.as_str(), inner.output(&s.id)));
                Shape::list(Shape::record(std::iter::once(("key", Shape::Text)).chain(outputs)))
            }
        }
    }

    /// The shape of one item of what `each` goes through.
    fn items(&mut self, items: &Expr, names: &Names) -> Shape {
        if matches!(&items.tree().expr, Ast::List(list) if list.elements.is_empty()) {
            self.wrong(
                items.pos(),
                "the list is empty, so nothing would be done",
                "name a list such as `steps.old`",
            );
        }
        let item = match infer::expr(items, names, &mut self.mistakes) {
            Shape::List(item) => *item,
            Shape::Any | Shape::Null => Shape::Any,
            other => {
                self.wrong(
                    items.pos(),
                    format!("this is {other}, and `each` goes through a list"),
                    "name a list such as `steps.old`",
                );
                return Shape::Any;
            }
        };
        let has_key = match &item {
            Shape::Any | Shape::Null | Shape::Text | Shape::Word(_) => true,
            Shape::Record(record) => record.open || record.fields.iter().any(|f| f.name == "id"),
            _ => false,
        };
        if !has_key {
            let what = format!("the items are {item}, by which they cannot be told apart");
            self.wrong(items.pos(), what, "go through texts, or through records with an `id`");
        }
        item
    }

    /// What a modifier promises must be what the action can do.
    fn modifiers(&mut self, step: &Step, call: &Use, guarded: bool) {
        let Some(action) = self.registry.get(&call.action).cloned() else { return };
        let (name, changes) = (&call.action, is_change(action.as_ref()));
        if changes && self.first_change.is_none() {
            self.first_change = Some(step.body_pos);
        }
        if (step.undo || step.finally) && !action.undoable() {
            let word = if step.finally { "`finally: undo`" } else { "`undo: automatic`" };
            let (what, remedy) = if changes {
                (
                    format!("{word}, but `{name}` cannot be taken back"),
                    "leave it out, and say `one_way: true`",
                )
            } else {
                (format!("{word}, but `{name}` changes nothing"), "leave it out")
            };
            self.wrong(step.body_pos, what, remedy);
        }
        if step.one_way && !changes {
            self.wrong(step.body_pos, format!("`one_way`, but `{name}` changes nothing"), "leave it out");
        }
        if step.one_way && changes && !guarded {
            let what = format!("step `{}` cannot be taken back, and no guard stands before it", step.id);
            self.wrong(
                step.pos,
                what,
                "put an `assert` before it that stops the run where it may not be done",
            );
        }
    }

    /// The shape of an action's output.
    fn call(&mut self, call: &Use, pos: Pos, names: &Names) -> Shape {
        let Some(action) = self.registry.get(&call.action).cloned() else {
            let remedy = self.nearest_actions(&call.action);
            self.wrong(pos, format!("there is no action `{}`", call.action), remedy);
            self.template(&call.with, names);
            self.until(call, &names.with_out(Shape::Any));
            return Shape::Any;
        };
        let spec = action.spec();
        let before = self.mistakes.len();
        let input = Shape::of_schema(spec.input.as_value());
        conform::conform(&call.with, &input, spec.name, names, &mut self.mistakes);
        // The schema does not tell everything (ranges, formats); the action does, once the whole input is known.
        if self.mistakes.len() == before
            && let Some(whole) = call.with.as_literal()
            && let Err(e) = action.validate(whole)
        {
            self.wrong(call.with.pos, e.message, e.remedy.unwrap_or_else(|| "correct it here".into()));
        }
        let output = Shape::of_schema(spec.output.as_value());
        if call.until.is_some() && is_change(action.as_ref()) {
            let what = format!("`until` looks again and again, and `{}` changes something", spec.name);
            self.wrong(pos, what, "take an action that only looks; wait for a change in a step of its own");
        }
        self.until(call, &names.with_out(output.clone()));
        output
    }

    fn nearest_actions(&self, name: &str) -> String {
        let known: Vec<&str> = self.registry.iter().map(|a| a.spec().name).collect();
        suggest(name, known.iter().copied()).unwrap_or_else(|| {
            let service = name.split('.').next();
            let same: Vec<_> =
                known.iter().copied().filter(|known| known.split('.').next() == service).collect();
            format!("there is: {}", if same.is_empty() { known.join(", ") } else { same.join(", ") })
        })
    }

    fn until(&mut self, call: &Use, names: &Names) {
        let Some(until) = &call.until else { return };
        self.condition(&until.condition, names);
        if !until.condition.paths().iter().any(|p| p.root == "out") {
            let what = "the condition does not look at `out`, so looking again changes nothing";
            self.wrong(until.condition.pos(), what, "name a field of `out`: what the action saw");
        }
        until.message.iter().for_each(|t| self.template(t, names));
        if let Some(give_up) = &until.give_up {
            self.condition(&give_up.condition, names);
            self.template(&give_up.message, names);
        }
    }
}

fn is_change(action: &dyn Action) -> bool {
    action.spec().effect != Effect::Observe
}
