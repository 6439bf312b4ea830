//! What each entry means to the state, and which may follow which.

use std::sync::Arc;

use super::{Attempt, Illegal, Intent, Node, Pause, Phase, State, Status, illegal};
use crate::run::{After, Ask, Ballot, Entry, How, Record, StepPath, answer_to};
use crate::{Actor, Timestamp};

impl State {
    pub(super) fn enter(&mut self, record: &Record) -> Result<(), Illegal> {
        let at = record.at;
        let refuse = |why: &str| Err(illegal(record, why));
        self.at_the_gate(&record.entry).map_err(|why| illegal(record, why))?;
        match &record.entry {
            Entry::Requested { .. } => return refuse("a run is requested once"),
            Entry::Gated { .. }
            | Entry::Queued { .. }
            | Entry::Admitted { .. }
            | Entry::PlanHolds { .. }
            | Entry::Drifted { .. }
            | Entry::HeldBack { .. } => return self.pass(record),
            Entry::AwaitsApproval { step, approval, .. } => {
                if self.nodes.contains_key(step) {
                    return refuse("the step has begun already");
                }
                self.node_mut(step, at);
                let barred = vec![self.by.name().to_owned()];
                let ballot = Ballot::open(approval.clone(), None, barred, at);
                self.ballots.insert(Some(step.clone()), ballot);
            }
            Entry::TakenOver { .. } => {
                // Nobody may have driven it for hours.
                self.stood_still();
                for node in self.nodes.values_mut() {
                    if node.status == Status::Running && node.intent.is_some() {
                        node.status = Status::Unclear;
                    }
                }
            }
            Entry::Started { step, attempt, input, .. } => {
                let node = self.open(step, *attempt, at).map_err(|why| illegal(record, &why))?;
                node.input = Some(input.clone());
                node.intent = None;
            }
            Entry::Intent { step, attempt, action, input, facts, effect, deadline, undo } => {
                let node = self.open(step, *attempt, at).map_err(|why| illegal(record, &why))?;
                node.input = Some(input.clone());
                node.intent = Some(Intent {
                    action: action.clone(),
                    input: input.clone(),
                    facts: facts.clone(),
                    effect: *effect,
                    deadline: *deadline,
                    undo: undo.clone(),
                });
            }
            Entry::Observed { step, output } => match self.nodes.get_mut(step) {
                Some(node) if node.status == Status::Running && node.intent.is_none() => {
                    node.seen = Some(output.clone());
                }
                _ => return refuse("the step is not looking"),
            },
            Entry::Expanded { step, .. } | Entry::Entered { step, .. } | Entry::Waiting { step, .. }
                if self.nodes.contains_key(step) =>
            {
                return refuse("the step has begun already");
            }
            Entry::Expanded { step, items, at_once, stop_after } => {
                let node = self.node_mut(step, at);
                node.items = Some(items.clone());
                node.at_once = *at_once;
                node.stop_after = *stop_after;
            }
            Entry::Entered { step, runbook, inputs } => {
                if !self.children.contains_key(runbook) {
                    return refuse("the run is not pinned to a text of that runbook");
                }
                let node = self.node_mut(step, at);
                node.child = Some(inputs.clone());
                node.runbook = Some(runbook.clone());
            }
            Entry::Waiting { step, until } => self.node_mut(step, at).until = Some(*until),
            Entry::FailedInside { step, steps, error } => match self.nodes.get_mut(step) {
                Some(node) if !node.status.is_over() && node.is_around() => {
                    node.finish(Status::Failed, at);
                    node.error = Some(error.clone());
                    node.because.clone_from(steps);
                }
                _ => return refuse("the step has no steps inside that are under way"),
            },
            Entry::Done { step, output, how } => {
                if self.nodes.get(step).is_some_and(|n| n.status.is_over()) {
                    return refuse("the step is over");
                }
                if matches!(how, How::Called { .. })
                    && self.nodes.get(step).is_none_or(|n| n.intent.is_none())
                {
                    return refuse("a call without an intent before it");
                }
                let node = self.node_mut(step, at);
                node.finish(Status::Done, at);
                node.output = output.clone();
                node.how = Some(how.clone());
            }
            Entry::AttemptFailed { step, attempt, error, retry_at } => {
                let (over, last) =
                    self.nodes.get(step).map_or((false, 0), |n| (n.status.is_over(), n.attempt()));
                let known = self.nodes.contains_key(step);
                match *attempt {
                    _ if over => return refuse("that attempt is not under way"),
                    same if known && same == last => {}
                    // The look before the intent failed: the attempt never got as far as announcing itself.
                    next if next == last + 1 => {
                        let begun = Attempt { number: next, at, ended_at: None, error: None };
                        self.node_mut(step, at).attempts.push(begun);
                    }
                    _ => return refuse("that attempt is not under way"),
                }
                let node = self.node_mut(step, at);
                node.end_attempt(at, Some(error));
                node.status = Status::RetryLater(*retry_at);
            }
            Entry::Unclear { step, error } => match self.nodes.get_mut(step) {
                Some(node) if node.status == Status::Running && node.intent.is_some() => {
                    node.status = Status::Unclear;
                    node.error = Some(error.clone());
                }
                _ => return refuse("no change of that step is under way"),
            },
            Entry::OutcomeUnknown { step, facts } => match self.nodes.get_mut(step) {
                Some(node) if node.status == Status::Unclear => {
                    node.status = Status::OutcomeUnknown;
                    node.facts = Some(facts.clone());
                    node.may_land = true;
                }
                _ => return refuse("the step's outcome is not in question"),
            },
            Entry::Failed { step, error, facts } => {
                if self.nodes.get(step).is_some_and(|n| n.status.is_over()) {
                    return refuse("the step is over");
                }
                let node = self.node_mut(step, at);
                node.end_attempt(at, Some(error));
                node.finish(Status::Failed, at);
                node.error = Some(error.clone());
                node.facts = Some(facts.clone());
                self.expire(Some(step), at);
            }
            Entry::Skipped { step, why } => {
                if self.nodes.get(step).is_some_and(|n| n.status.is_over() || n.has_open_intent()) {
                    return refuse("the step is over, or a change of it is under way");
                }
                let node = self.node_mut(step, at);
                node.finish(Status::Skipped, at);
                node.skipped = Some(why.clone());
            }
            Entry::Paused { step, why } => {
                let pause = Pause { step: step.clone(), why: why.clone(), at };
                match step {
                    Some(step) if !self.nodes.contains_key(step) => return refuse("there is no such step"),
                    Some(step) => {
                        self.blocked.insert(step.clone(), pause);
                    }
                    None => self.held = Some(pause),
                }
            }
            Entry::Asked { inbox, by, ask, refused } => {
                if *inbox <= self.inbox {
                    return refuse("that row of the inbox was answered already");
                }
                self.inbox = *inbox;
                if refused.is_none() {
                    // To abort has once left a pause as it was, which somebody then ended: to go on changes nothing of an abort.
                    if self.aborting.is_none() || !matches!(ask, Ask::Resume) {
                        answer_to(self, by, ask).map_err(|e| illegal(record, &e.0))?;
                    }
                    self.obey(ask, by, at);
                }
            }
            Entry::Closing { takeback, then } => {
                if !matches!(self.phase, Phase::Forward | Phase::Verifying) {
                    return refuse("the run is closing already");
                }
                if self.in_flight().next().is_some() {
                    return refuse("a change is still under way");
                }
                self.blocked.clear();
                self.held = None;
                self.gate = None;
                self.phase = match then {
                    After::Verify if self.takebacks(*takeback).is_empty() => Phase::Verifying,
                    _ => Phase::Closing { takeback: *takeback, then: then.clone() },
                };
            }
            Entry::Ended { outcome, message } => {
                if self.in_flight().next().is_some() {
                    return refuse("a change is still under way");
                }
                self.expire(None, at);
                self.outcome = Some((*outcome, message.clone()));
                self.phase = Phase::Ended;
                self.gate = None;
                self.blocked.clear();
                self.held = None;
            }
        }
        if let Phase::Closing { takeback, then: After::Verify } = &self.phase
            && self
                .takebacks(*takeback)
                .iter()
                .all(|u| self.nodes.get(&u.0.undo()).is_some_and(Node::is_taken_back))
            && self.blocked.is_empty()
        {
            self.phase = Phase::Verifying;
        }
        Ok(())
    }

    fn obey(&mut self, ask: &Ask, by: &Actor, at: Timestamp) {
        match ask {
            Ask::Pause { reason } => {
                let why = reason.as_ref().map_or_else(String::new, |r| format!(": {r}"));
                self.held = Some(Pause { step: None, why: format!("paused by {by}{why}"), at });
            }
            Ask::Resume | Ask::BeginDespite { .. } => {
                self.held = None;
                self.stood_still();
                self.let_go(matches!(ask, Ask::BeginDespite { .. }));
            }
            Ask::StopLooking { step } => {
                if let Some(node) = self.nodes.get_mut(step) {
                    node.hurried = true;
                }
            }
            Ask::Retry { step } | Ask::DidNotHappen { step, .. } => self.reopen(step, at),
            Ask::Skip { step, reason } => {
                self.blocked.remove(step);
                if let Some(node) = self.nodes.get_mut(step) {
                    node.finish(Status::Skipped, at);
                    node.skipped = Some(format!("{by}: {reason}"));
                }
            }
            Ask::MarkDone { step, reason, output } => {
                self.blocked.remove(step);
                if let Some(node) = self.nodes.get_mut(step) {
                    node.finish(Status::Done, at);
                    node.output = Arc::new(output.clone());
                    node.how = Some(How::MarkedDone { by: by.clone(), reason: reason.clone() });
                }
            }
            Ask::Approve { .. } | Ask::Reject { .. } | Ask::BreakGlass { .. } => self.rule(ask, by, at),
            Ask::AcceptPlan { .. } => self.accept(by, at),
            Ask::Abort { takeback, reason } => {
                for node in self.nodes.values_mut().filter(|n| n.status == Status::OutcomeUnknown) {
                    node.abandoned = true;
                }
                // Whoever aborts has answered all that was asked, and a pause.
                self.blocked.clear();
                self.held = None;
                self.aborting = Some((*takeback, by.clone(), reason.clone()));
            }
        }
    }

    /// A failed step goes on where it stopped; one that failed because of steps inside it, with those.
    fn reopen(&mut self, step: &StepPath, at: Timestamp) {
        self.blocked.remove(step);
        let Some(node) = self.nodes.get_mut(step) else { return };
        node.ended_at = None;
        node.error = None;
        node.facts = None;
        if node.is_around() {
            node.status = Status::Running;
            for inside in std::mem::take(&mut node.because) {
                // A person may have left one of them out in the meantime.
                if self.nodes.get(&inside).is_some_and(|n| n.status == Status::Failed) {
                    self.reopen(&inside, at);
                }
            }
        } else if node.attempts.is_empty() {
            // A guard, or a list that could not be told: it is simply worked out again.
            self.nodes.remove(step);
            self.order.retain(|p| p != step);
        } else {
            node.status = Status::RetryLater(at);
        }
    }

    /// Opens attempt `attempt` of a step.
    fn open(&mut self, step: &StepPath, attempt: u32, at: Timestamp) -> Result<&mut Node, String> {
        if !self.is_due(step) {
            return Err("the run is past that step".into());
        }
        if let Some(node) = self.nodes.get(step) {
            if node.status.is_over() {
                return Err("the step is over".into());
            }
            if node.has_open_intent() {
                return Err("a change of that step is under way".into());
            }
            if attempt != node.attempt() + 1 {
                return Err(format!("attempt {} must follow", node.attempt() + 1));
            }
        } else if attempt != 1 {
            return Err("the first attempt is number 1".into());
        }
        let node = self.node_mut(step, at);
        node.status = Status::Running;
        node.error = None;
        node.hurried = false;
        node.may_land = false;
        node.abandoned = false;
        node.attempts.push(Attempt { number: attempt, at, ended_at: None, error: None });
        Ok(node)
    }

    fn node_mut(&mut self, step: &StepPath, at: Timestamp) -> &mut Node {
        if !self.nodes.contains_key(step) {
            self.order.push(step.clone());
        }
        self.nodes.get_or_begin(step, at)
    }
}
