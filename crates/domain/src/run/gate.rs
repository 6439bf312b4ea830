//! What stands between the request and the first step.
//!
//! ```text
//!             ┌─▶ approval ──▶ brakes? ──▶ locks ──┐
//!  requested ─┤                                    ├─▶ plan ──▶ the first step
//!             └────────── locks taken ─────────────┘    │ ▲
//!                         in the start                  ▼ │ accepted (and approved anew, where approval is needed), brakes?
//!                                                     drift
//! ```
//!
//! Freezes and limits were asked for when the run was requested, and a run that begins at once begins under that answer. One
//! that had to wait (for people, in line, with a plan that had become another, paused, or with no process to drive it) asks again
//! when it may go, because a freeze may have begun meanwhile and others may have used a limit up. What was said against them at the request still holds: for a freeze
//! that was on by then, and for a limit by its name. Anything else holds the run back: it begins nothing, takes no lock, and waits
//! for a person, who lets it ask once more (resume), goes on despite just what is shown, with a reason, or aborts. It does not
//! begin by itself when the freeze ends: nobody may be looking by then.
//!
//! Locks are *not* held while people are asked: a run that nobody has agreed to must not stand in anybody's way. Once it
//! may go it takes all of them at once, or stands in line for them. From then on it keeps them until it has ended, also
//! while a drifted plan waits to be accepted; one that would stop at a guard by now ends it.
//! The plan is made anew under the locks, so that nothing of ours can change what it rests on any more; a run that was
//! started without a plan promised nothing, and is not compared with anything.

use chrono::TimeDelta;

use super::next::Walker;
use super::{Ballot, Entry, Outcome, Phase, Ruling, State, StepPath};
use crate::Timestamp;
use crate::brake::{Brake, Overrides};
use crate::plan::{Difference, Plan};

/// So long a run stands in line for its locks (clock time); what was looked at by then is old.
pub const IN_LINE: TimeDelta = TimeDelta::minutes(30);

/// Where a run is that has not begun its steps.
#[derive(Debug, Clone, PartialEq)]
pub enum Gate {
    /// Waits for people to agree.
    Approval,
    /// May go, as soon as it has its locks.
    Locks {
        /// Until when it stands in line; none before it does.
        until: Option<Timestamp>,
    },
    /// Has its locks; the plan that people saw is to be compared with the world.
    Plan,
    /// Would do something else than people saw; waits for a person.
    Drift(Drift),
    /// Is held back by what has come on since it was asked for; waits for a person.
    Brakes(HeldBack),
}

/// What holds a run back that might go.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldBack {
    /// Freezes and limits.
    pub brakes: Vec<Brake>,
    /// When they were asked for.
    pub at: Timestamp,
}

/// What people have said so far against the brakes in the run's way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Despite {
    /// It begins despite the freezes that were on at this moment; later ones hold it back.
    pub freezes: Option<Timestamp>,
    /// It begins despite these limits.
    pub limits: Vec<String>,
}

impl Despite {
    pub(super) fn said(overrides: &Overrides, at: Timestamp) -> Self {
        Self {
            freezes: overrides.despite_freeze.then_some(at),
            limits: overrides.acknowledge.iter().map(|a| a.limit.clone()).collect(),
        }
    }

    fn add(&mut self, held: &HeldBack) {
        for brake in &held.brakes {
            match brake {
                Brake::Limit(spent) => self.limits.push(spent.limit.name.clone()),
                Brake::Freeze(_) => self.freezes = Some(held.at),
                // Neither is ever asked for at the gate.
                Brake::KillSwitch(_) | Brake::HandLock(_) => {}
            }
        }
    }
}

/// A plan that is not what people saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Drift {
    /// The plan now.
    pub plan: Box<Plan>,
    /// What is different.
    pub differences: Vec<Difference>,
    /// When it was found.
    pub at: Timestamp,
}

/// What is to be done at the gate, by whoever drives the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doorstep {
    /// Take the locks, all or none.
    TakeLocks {
        /// Does it stand in line already?
        in_line: bool,
    },
    /// Make the plan anew, and compare.
    ComparePlan,
}

impl State {
    /// What stands between the run and its first step, if something does.
    pub fn gate(&self) -> Option<&Gate> {
        self.gate.as_ref().filter(|_| matches!(self.phase(), Phase::Forward))
    }

    /// The drift that waits for a person.
    pub fn drift(&self) -> Option<&Drift> {
        match self.gate() {
            Some(Gate::Drift(drift)) => Some(drift),
            _ => None,
        }
    }

    /// What holds it back until a person lets it go.
    pub fn held_back(&self) -> Option<&HeldBack> {
        match self.gate() {
            Some(Gate::Brakes(held)) => Some(held),
            _ => None,
        }
    }

    /// Must freezes and limits be asked for once more before it begins?
    pub fn asks_brakes(&self) -> bool {
        self.asks_brakes
    }

    /// What people have said against the brakes in its way.
    pub fn despite(&self) -> &Despite {
        &self.despite
    }

    /// It has not begun, and nobody says for how long nothing was done for it: freezes and limits were asked for long ago.
    pub(super) fn stood_still(&mut self) {
        self.asks_brakes |= self.gate.is_some();
    }

    /// A person lets it go, or lets it ask once more.
    pub(super) fn let_go(&mut self, despite: bool) {
        let Some(Gate::Brakes(held)) = &self.gate else { return };
        if despite {
            self.despite.add(held);
        }
        self.agreed();
    }

    /// The approval of the start, or of a step.
    pub fn ballot(&self, step: Option<&StepPath>) -> Option<&Ballot> {
        self.ballots.get(&step.cloned())
    }

    /// All approvals that were asked for: the start's first.
    pub fn ballots(&self) -> impl Iterator<Item = (Option<&StepPath>, &Ballot)> {
        self.ballots.iter().map(|(step, ballot)| (step.as_ref(), ballot))
    }

    /// The approvals that are still open.
    pub fn open_ballots(&self) -> impl Iterator<Item = (Option<&StepPath>, &Ballot)> {
        let open = matches!(self.phase(), Phase::Forward) && self.aborting().is_none();
        self.ballots().filter(move |(_, ballot)| open && ballot.ruling.is_none())
    }

    /// The hash of the plan that people have seen last.
    pub fn plan_hash(&self) -> Option<&str> {
        self.plan_hash.as_deref()
    }

    /// The plan that was accepted after a drift; before one, it is the run's own.
    pub fn accepted_plan(&self) -> Option<&Plan> {
        self.accepted.as_deref()
    }

    /// The locks that it holds, or will take.
    pub fn locks(&self) -> &[String] {
        &self.locks
    }

    /// People have agreed: on to the locks, or, where they are held already, to the plan.
    pub(super) fn agreed(&mut self) {
        self.gate = match self.admitted {
            false => Some(Gate::Locks { until: None }),
            true => self.plan_hash.as_ref().map(|_| Gate::Plan),
        };
    }
}

impl Walker<'_> {
    /// What follows for a run that has not begun.
    pub(super) fn gate(&mut self, gate: &Gate) {
        match gate {
            Gate::Approval => {
                let Some(ballot) = self.state.ballot(None) else { return };
                match &ballot.ruling {
                    Some(ruling @ Ruling::Rejected { .. }) => {
                        let message = capital(&ballot.told(ruling));
                        self.record(Entry::Ended { outcome: Outcome::Refused, message });
                    }
                    Some(_) => {}
                    None if self.now >= ballot.until => {
                        let message =
                            format!("{} was not given in time.", capital(&ballot.needs.to_string()));
                        self.record(Entry::Ended { outcome: Outcome::Expired, message });
                    }
                    None => self.wake(ballot.until),
                }
            }
            Gate::Locks { .. } if self.state.paused().is_some() => {}
            Gate::Locks { until: Some(until) } if self.now >= *until => {
                let message = "Its locks did not become free in time.".into();
                self.record(Entry::Ended { outcome: Outcome::Expired, message });
            }
            Gate::Locks { until } => {
                if let Some(until) = until {
                    self.wake(*until);
                }
                self.moves.gate = Some(Doorstep::TakeLocks { in_line: until.is_some() });
            }
            Gate::Plan if self.state.paused().is_some() => {}
            Gate::Plan => self.moves.gate = Some(Doorstep::ComparePlan),
            // It would stop at one of its own guards now: nobody has to decide anything, least of all to accept that.
            Gate::Drift(drift) => {
                if let Some((step, message)) = drift.plan.refusing_guard() {
                    let message = format!(
                        "By the plan that was made when it could begin, it would stop at “{}”: {message}",
                        step.title
                    );
                    self.record(Entry::Ended { outcome: Outcome::Refused, message });
                }
            }
            Gate::Brakes(_) => {}
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default() + chars.as_str()
}
