//! What the entries before the first step mean, and what a decision does.

use super::{Illegal, Pause, State, illegal};
use crate::run::{Ask, Ballot, Drift, Entry, Gate, HeldBack, IN_LINE, Record, Ruling};
use crate::{Actor, Timestamp};

impl State {
    /// No step begins before the gate is passed.
    pub(super) fn at_the_gate(&mut self, entry: &Entry) -> Result<(), &'static str> {
        let begins = entry.step().is_some() && !matches!(entry, Entry::Asked { .. } | Entry::Paused { .. });
        match &self.gate {
            Some(Gate::Approval | Gate::Locks { .. } | Gate::Drift(_) | Gate::Brakes(_)) if begins => {
                Err("the run may not begin yet")
            }
            // Versions that compared no plan began at once; their journals stay readable.
            Some(Gate::Plan) if begins => {
                self.gate = None;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn pass(&mut self, record: &Record) -> Result<(), Illegal> {
        let refuse = |why: &str| Err(illegal(record, why));
        match (&record.entry, &mut self.gate) {
            (Entry::Gated { .. }, _) if record.seq != 2 => return refuse("a gate stands before all else"),
            (Entry::Gated { approval: None }, gate) => {
                (self.admitted, self.asks_brakes) = (false, true);
                *gate = Some(Gate::Locks { until: None });
            }
            (Entry::Gated { approval: Some(approval) }, gate) => {
                (self.admitted, self.asks_brakes) = (false, true);
                *gate = Some(Gate::Approval);
                let barred = vec![self.by.name().to_owned()];
                let ballot = Ballot::open(approval.clone(), self.plan_hash.clone(), barred, record.at);
                self.ballots.insert(None, ballot);
            }
            (Entry::Queued { .. }, Some(Gate::Locks { until: until @ None })) => {
                *until = Some(record.at + IN_LINE);
            }
            (Entry::Admitted { .. }, Some(Gate::Locks { .. })) => {
                self.admitted = true;
                self.asks_brakes = false;
                self.agreed();
            }
            (Entry::PlanHolds { plan_hash }, gate @ Some(Gate::Plan)) => {
                if self.plan_hash.as_ref() != Some(plan_hash) {
                    return refuse("that is not the plan that was seen");
                }
                *gate = None;
                self.asks_brakes = false;
            }
            (Entry::HeldBack { brakes }, gate @ Some(Gate::Locks { .. } | Gate::Plan)) => {
                if brakes.is_empty() {
                    return refuse("nothing holds it back");
                }
                let told: Vec<String> = brakes.iter().map(ToString::to_string).collect();
                let why = format!("held back before it has begun: {}", told.join("; "));
                self.held = Some(Pause { step: None, why, at: record.at });
                *gate = Some(Gate::Brakes(HeldBack { brakes: brakes.clone(), at: record.at }));
            }
            (Entry::Drifted { plan, differences }, gate @ Some(Gate::Plan)) => {
                if self.plan_hash.as_ref() == Some(&plan.hash) {
                    return refuse("that is the plan that was seen");
                }
                let why = "drift: the plan is not what was seen any more".to_owned();
                self.held = Some(Pause { step: None, why, at: record.at });
                let (plan, differences) = (plan.clone(), differences.clone());
                *gate = Some(Gate::Drift(Drift { plan, differences, at: record.at }));
            }
            _ => return refuse("the run is not at that gate"),
        }
        Ok(())
    }

    /// Somebody has spoken. Whether they may was answered before.
    pub(super) fn rule(&mut self, ask: &Ask, by: &Actor, at: Timestamp) {
        let step = ask.step().cloned();
        let at_start = step.is_none();
        let Some(ballot) = self.ballots.get_mut(&step) else { return };
        let by = by.clone();
        match ask {
            Ask::Reject { reason, .. } => {
                ballot.ruling = Some(Ruling::Rejected { by, at, reason: reason.clone() });
            }
            Ask::BreakGlass { reason, .. } => {
                ballot.ruling = Some(Ruling::GlassBroken { by, at, reason: reason.clone() });
            }
            _ => ballot.agree(&by, at),
        }
        if at_start && ballot.ruling.as_ref().is_some_and(Ruling::passes) {
            self.agreed();
        }
    }

    /// Somebody takes the new plan. Where others had to agree they must again, and neither who asked for the run nor who
    /// took the plan is one of them.
    pub(super) fn accept(&mut self, by: &Actor, at: Timestamp) {
        let Some(Gate::Drift(Drift { plan, .. })) = self.gate.take() else { return };
        self.held = None;
        // It has waited for this person, and may wait for others now.
        self.asks_brakes = true;
        self.plan_hash = Some(plan.hash.clone());
        self.accepted = Some(plan);
        let Some(before) = self.ballots.remove(&None) else { return self.agreed() };
        let barred = vec![self.by.name().to_owned(), by.name().to_owned()];
        self.ballots.insert(None, Ballot::open(before.needs, self.plan_hash.clone(), barred, at));
        self.gate = Some(Gate::Approval);
    }

    /// The time of an approval is up.
    pub(super) fn expire(&mut self, step: Option<&crate::run::StepPath>, at: Timestamp) {
        if let Some(ballot) = self.ballots.get_mut(&step.cloned())
            && ballot.ruling.is_none()
        {
            ballot.ruling = Some(Ruling::Expired { at });
        }
    }
}
