//! Steps that hold others: `together` and `run`; and how a step fails because of those inside it.

use serde_json::{Map, Value};

use super::sight::{Around, Sight};
use super::text;
use super::walk::{Otherwise, Walk, Walker, blind};
use crate::action::ActionError;
use crate::run::{Entry, Node, Status, StepPath, Takeback};
use crate::runbook::{Branch, Child, OnFailure, Runbook, Step, Verify, child_inputs};
use crate::words::many;

impl<'a> Walker<'a> {
    /// All branches, each as far as it comes. One that failed does not stop the others.
    pub(super) fn branches(
        &mut self,
        step: &Step,
        branches: &[Branch],
        path: &StepPath,
        sight: &Sight<'_>,
        otherwise: Otherwise,
    ) -> Walk {
        let otherwise = inside(step, otherwise);
        let mark = self.failed.len();
        let (mut blocked, mut failed) = (false, Vec::new());
        let mut text = String::new();
        for branch in branches {
            let inside = path.item_text(&branch.name, &mut text);
            match self.steps(&branch.steps, Some(inside), Around::Step(sight), otherwise) {
                Walk::Complete => {}
                Walk::Blocked => blocked = true,
                Walk::Failed => failed.push(branch.name.as_str()),
            }
        }
        let because = self.failed.split_off(mark);
        if blocked || !self.moves.record.is_empty() {
            return Walk::Blocked;
        }
        if !failed.is_empty() {
            let what = format!("{} of {} failed", failed.len(), many(branches.len(), "branch"));
            return self.fail_inside(path, &what, because);
        }
        let output = branches
            .iter()
            .map(|branch| (branch.name.clone(), self.outputs_of(&branch.steps, &path.item(&branch.name))));
        let output = Value::Object(output.collect());
        self.reasoned(path, output)
    }

    /// Begins another runbook.
    pub(super) fn enter(&mut self, child: &Child, path: &StepPath, sight: &Sight<'_>) -> Walk {
        let Some(runbook) = self.child_of(child) else { return self.missing(child, path) };
        let given = match sight.value(&child.with) {
            Ok(given) => given,
            Err(e) => return self.fail(path, super::expression(&e), Value::Null),
        };
        let none = Map::new();
        let given = given.as_object().unwrap_or(&none);
        match child_inputs(runbook, &self.program.places, given) {
            Ok(inputs) => {
                self.record(Entry::Entered { step: path.clone(), runbook: runbook.name.clone(), inputs })
            }
            Err(mistakes) => {
                let message = mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
                self.fail(path, ActionError::refused("bad_inputs", message), Value::Object(given.clone()))
            }
        }
    }

    /// A child under way: its steps, then what it takes back at its end, then whether its symptom is gone. Of a child that
    /// failed, nothing is taken back before the run ends: it may be gone on with.
    pub(super) fn child(
        &mut self,
        step: &Step,
        child: &Child,
        path: &StepPath,
        node: &Node,
        otherwise: Otherwise,
    ) -> Walk {
        let Some(runbook) = self.child_of(child) else { return self.missing(child, path) };
        let otherwise = inside(step, otherwise);
        let mark = self.failed.len();
        let none = Map::new();
        let around = Around::Child(self.program, runbook, node.child.as_ref().unwrap_or(&none));
        let mut walk = self.steps(&runbook.steps, Some(path.as_str()), around, otherwise);
        if walk == Walk::Complete && self.moves.record.is_empty() {
            let mut finally = self.state.takebacks(Takeback::Finally);
            finally.retain(|(step, _)| step.is_inside(path));
            walk = match &runbook.verify {
                _ if !self.taken_back(&finally) => Walk::Blocked,
                Some(verify) => {
                    let sight = Sight::new(self.state, around, Some(path.as_str()), &runbook.steps);
                    self.child_verify(verify, &path.child("verify"), &sight, otherwise)
                }
                None => Walk::Complete,
            };
        }
        let because = self.failed.split_off(mark);
        match walk {
            Walk::Blocked => Walk::Blocked,
            _ if !self.moves.record.is_empty() => Walk::Blocked,
            Walk::Failed => self.fail_inside(path, &format!("`{}` failed", runbook.name), because),
            Walk::Complete => {
                let output = self.outputs_of(&runbook.steps, path);
                self.reasoned(path, output)
            }
        }
    }

    fn child_verify(
        &mut self,
        verify: &Verify,
        path: &StepPath,
        sight: &Sight<'_>,
        otherwise: Otherwise,
    ) -> Walk {
        match self.state.node(path) {
            Some(node) if node.status == Status::Failed && otherwise == Otherwise::FailAround => {
                self.failed.push(path.clone());
                Walk::Failed
            }
            Some(node) if node.status == Status::Failed => {
                let why = blind(node).unwrap_or_else(|| text(&verify.message, sight.scope()));
                self.pause_at(path, why);
                Walk::Blocked
            }
            Some(node) if node.status.is_over() => Walk::Complete,
            node => {
                self.go(&verify.look, path, node, sight, None);
                Walk::Blocked
            }
        }
    }

    fn child_of(&self, child: &Child) -> Option<&'a Runbook> {
        self.program.children.get(&child.runbook).map(|runbook| &**runbook)
    }

    fn missing(&mut self, child: &Child, path: &StepPath) -> Walk {
        let message = format!("the run has no text of runbook `{}`", child.runbook);
        let error = ActionError::refused("unknown_runbook", message).remedy("skip the step, or abort");
        self.fail(path, error, Value::Null)
    }

    /// What the steps of a branch or a child gave.
    fn outputs_of(&self, steps: &[Step], around: &StepPath) -> Value {
        steps
            .iter()
            .map(|s| (s.id.clone(), self.output_of(&around.child(&s.id)).as_ref().clone()))
            .collect::<Map<_, _>>()
            .into()
    }

    /// A step fails because of those inside it; the first few are named.
    pub(super) fn fail_inside(&mut self, path: &StepPath, what: &str, steps: Vec<StepPath>) -> Walk {
        let told: Vec<String> = steps
            .iter()
            .take(3)
            .map(|step| {
                let error = self.state.node(step).and_then(|n| n.error.as_ref());
                format!("{step}: {}", error.map_or("failed", |e| e.message.as_str()))
            })
            .collect();
        let error = ActionError::refused("failed_inside", format!("{what} ({})", told.join("; ")));
        self.record(Entry::FailedInside { step: path.clone(), steps, error })
    }
}

/// What a failed step inside this one does that says nothing itself. To pause is best done where it failed.
fn inside(step: &Step, otherwise: Otherwise) -> Otherwise {
    match step.on_failure {
        Some(OnFailure::Continue | OnFailure::Undo | OnFailure::Fail) => Otherwise::FailAround,
        Some(OnFailure::Pause) => Otherwise::Pause,
        None => otherwise,
    }
}
