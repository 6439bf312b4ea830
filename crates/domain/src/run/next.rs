//! What follows: from the runbook and the state to the entries that can be written at once (guards, values, skips,
//! pauses, the end) and the work that must be done (looks, changes, recoveries).

mod approve;
mod around;
mod each;
mod packed;
mod retry;
mod sight;
mod walk;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Map, Value};

use super::{Doorstep, Entry, Intent, Phase, State, StepPath};
use crate::Timestamp;
use crate::action::{ActionError, Registry};
use crate::brake::Limit;
use crate::inventory::Inventory;
use crate::runbook::{
    AtStart, Children, EvalError, Retry, Runbook, Scope, Template, at_start, input_values, only_looks,
};

use sight::Sight;

pub use each::expand;
pub use retry::{ANSWER_LOST, is_unanswered};
pub use walk::{ENDING, FOREIGN_WORK};
pub use watch::{GAVE_UP, Verdict, Watch};

pub(super) use walk::Walker;

/// A runbook with everything its expressions may name.
#[derive(Clone)]
pub struct Program {
    /// The runbook, from the exact text that the run is pinned to.
    pub runbook: Arc<Runbook>,
    /// Those that it runs, also from exact texts.
    pub children: Children,
    /// The actions.
    pub registry: Registry,
    /// `inputs`, as expressions see them.
    pub inputs: Arc<Value>,
    /// `inventory`, as expressions see it.
    pub inventory: Arc<Value>,
    /// The same, for the inputs of children.
    pub places: Arc<Inventory>,
    /// `run`: id and requester.
    pub run: Arc<Value>,
    /// For how long after its deadline a call whose answer was lost may still take effect.
    pub window: Duration,
}

/// What follows.
#[derive(Debug, Default)]
pub struct Moves {
    /// Entries to write before anything else; when there are any, ask again afterwards.
    pub record: Vec<Entry>,
    /// Work to do, unless it is being done already.
    pub perform: Vec<Perform>,
    /// What is to be done before the first step.
    pub gate: Option<Doorstep>,
    /// When to ask again though nothing has happened.
    pub wake_at: Option<Timestamp>,
}

/// Work that touches the outside.
#[derive(Debug, Clone)]
pub enum Perform {
    /// Look, once or until a condition holds.
    Look {
        /// The step.
        step: StepPath,
        /// The attempt, announced already.
        attempt: u32,
        /// The action.
        action: String,
        /// Its input.
        input: Arc<Value>,
        /// What is waited for.
        watch: Option<Box<Watch>>,
        /// Since when.
        since: Timestamp,
        /// How failures are retried.
        retry: Retry,
    },
    /// Look, and unless it is so already: announce, and make one change.
    Change {
        /// The step.
        step: StepPath,
        /// The attempt to announce.
        attempt: u32,
        /// The action.
        action: String,
        /// Its input.
        input: Arc<Value>,
        /// Is it to be taken back (and also at the end of a run that went well)?
        undo: Option<Finally>,
        /// How failures are retried.
        retry: Retry,
    },
    /// Look what became of a change whose answer was lost.
    Recover {
        /// The step.
        step: StepPath,
        /// The attempt in question.
        attempt: u32,
        /// What was announced.
        intent: Intent,
        /// Has a person said to ask them after the next look?
        hurried: bool,
    },
}

/// Whether something to be taken back is so also at the end of a run that went well.
pub type Finally = bool;

impl Perform {
    /// Does it change the outside?
    pub fn changes(&self) -> bool {
        matches!(self, Self::Change { .. })
    }

    /// The step that it is about.
    pub fn step(&self) -> &StepPath {
        match self {
            Self::Look { step, .. } | Self::Change { step, .. } | Self::Recover { step, .. } => step,
        }
    }
}

/// What follows from `state`.
pub fn next(program: &Program, state: &State, now: Timestamp) -> Moves {
    let mut walker = Walker::new(program, state, now);
    match state.phase() {
        Phase::Ended => {}
        _ if state.aborting().is_some() && !matches!(state.phase(), Phase::Closing { .. }) => walker.abort(),
        Phase::Forward => match state.gate() {
            Some(gate) => walker.gate(gate),
            None => walker.forward(),
        },
        Phase::Closing { takeback, then } => walker.closing(*takeback, then),
        Phase::Verifying => walker.verifying(),
    }
    walker.moves()
}

impl Program {
    /// What expressions see before the first step.
    pub fn scope(&self) -> Scope {
        // Each field by name: a default would make values only to drop them.
        Scope {
            inputs: self.inputs.clone(),
            inventory: self.inventory.clone(),
            run: self.run.clone(),
            steps: BTreeMap::new(),
            item: None,
            out: None,
            signal: None,
        }
    }

    /// What a child's expressions see before its first step.
    pub fn scope_of_child(&self, child: &Runbook, inputs: &Map<String, Value>) -> Scope {
        Scope { inputs: Arc::new(input_values(child, &self.places, inputs)), ..self.scope() }
    }

    /// The texts of the children, by hash: what a run is pinned to.
    pub fn pins(&self) -> BTreeMap<String, String> {
        self.children.iter().map(|(name, child)| (name.clone(), child.hash.clone())).collect()
    }

    /// The locks that the run takes and the limits that it keeps to, its children's with them.
    pub fn at_start(&self) -> Result<AtStart, EvalError> {
        at_start(&self.runbook, &self.children, &self.places, &self.scope())
    }

    /// Is its start free of what holds changes back, the kill switch and freezes? It is where there is no change to hold back: how
    /// things stand is asked just then. With limits it is not, whose uses are counted together with all that speaks against a start.
    pub fn is_free(&self, limits: &[Limit]) -> bool {
        limits.is_empty() && only_looks(&self.runbook, &self.children, &self.registry)
    }
}

fn expression(error: &EvalError) -> ActionError {
    ActionError::refused("expression", error.to_string())
        .remedy("the runbook's expression met something it does not expect; skip or mark the step, or abort")
}

/// A message; should it not evaluate, its failure is told rather than nothing.
fn text(template: &Template, scope: &Scope) -> String {
    template.words(scope)
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

/// What a run that has done all its steps says.
fn success(runbook: &Runbook, sight: &Sight<'_>) -> String {
    match (&runbook.result, &runbook.verify) {
        (Some(result), _) => text(result, &sight.with_verify()),
        (None, None) => "All steps are done.".into(),
        (None, Some(_)) => "All steps are done, and the symptom is gone.".into(),
    }
}
