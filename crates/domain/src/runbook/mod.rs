//! The runbook language: one YAML file is the page on-call reads, the form they fill in, and the program.
//!
//! ```text
//!  text ──parse──▶ Runbook (positions kept, every mistake reported at once)
//!       ──check──▶ against the actions' schemas: a name that does not exist is found here, not at 3 a.m.
//!       ──▶ [`crate::run`] interprets it, step by step, and [`crate::plan`] tells what it would do
//! ```
//!
//! A runbook is data, never replayed code: a run is pinned to the hash of the exact text it started with, and to those
//! of the runbooks that it runs.
//!
//! A step is one of these forms:
//!
//! | Form | What it does | Its output, `steps.<id>` |
//! |---|---|---|
//! | `use` + `with` | one action; with `until`, looked at again and again until a condition on `out` holds | what the action gives |
//! | `assert` + `message` | a guard: false stops the run, before harm | `true` |
//! | `approve` + `message` | others than the requester must agree | who did, as `approved_by` |
//! | `value` | a value that later steps can name | the value |
//! | `each` + `at_once` + `stop_after` | one action or `steps` for every item of a list | a list: an action's outputs, or records with `key` and the steps' outputs |
//! | `together` | named branches of steps, all at the same time; done when all are | a record: `steps.<id>.<branch>.<step>` |
//! | `run` + `with` | another runbook as a part of this run, with inputs of its own | a record: `steps.<id>.<step of the child>` |
//! | `wait` | lets time pass, on the clock: also while no process lives | the seconds |
//!
//! Every step has an `id`, and may have `title`, `why`, `if` and `on_failure`. What changes something may have `undo`,
//! `finally` and `one_way`.
//!
//! **Failure.** A failed step does what its own `on_failure` says: `pause` (a person decides), `continue`, `undo` or `fail`.
//! Where it says nothing, the nearest step around it that has an answer decides, by failing itself once what is under way
//! beside it has ended: an `each` with `stop_after` (so many failed items are too many: nothing new is begun), a `together`
//! or `run` with `on_failure: continue`, `undo` or `fail`. Where nobody has an answer, a guard that fails before anything was
//! changed ends the run as refused, and everything else pauses it at the failed step.
//!
//! **Counts.** `at_once` and `stop_after` are numbers or percentages of the items. A share is rounded to at least one:
//! `at_once` up, `stop_after` down. What would surely be neither is refused in the file, and so is half of a number of items: of one,
//! that is nothing.
//!
//! **Children.** A child's steps are steps of the same run (`id.step`), so that pausing, aborting, taking back and the audit
//! come along. It sees its own inputs and steps only. Its locks are taken, and its limits asked, when the run starts, so
//! they must not rest on what only a step can tell; what it marks `finally` is taken back when it is over; its `verify` is
//! its last step. The run is as dangerous as the most dangerous runbook in it. A runbook that would run itself is refused.
//!
//! **Triggers.** A trigger says which signals this runbook may be the answer to, and with which inputs. It needs no evidence of its
//! own: before anything is offered or started, the runbook is planned, and a guard that says no is the evidence that it is not
//! the answer. See [`trigger`] and [`crate::triage`].
//!
//! Deliberately absent: loops other than `each`, variables, and anything that could make a guard run for ever.

mod approval;
mod check;
mod children;
mod decode;
mod diagnostic;
pub mod diff;
mod expr;
mod inputs;
pub mod manual;
pub mod permissions;
pub mod schema;
mod scope;
mod shelf;
mod suggest;
mod template;
mod trigger;
mod yaml;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use approval::{Approval, Approve};
pub use children::{AtStart, Children, at_start, descend, only_looks};
pub use decode::parse;
pub use diagnostic::{Diagnostic, Pos, render};
pub use expr::{EvalError, Expr};
pub use inputs::{InputMistake, child_inputs, input_values, inventory_value, resolve_inputs};
pub use scope::{Scope, Slot};
pub use shelf::{Checked, check_all};
pub use suggest::suggest;
pub use template::Template;
pub use trigger::{Mode, Trigger};

/// A parsed runbook.
#[derive(Debug, Clone)]
pub struct Runbook {
    /// `runbook:`, also the file's stem and the name in every command.
    pub name: String,
    /// One line: what it does.
    pub title: String,
    /// When to use it and when not, for the person who must decide.
    pub when: String,
    /// How dangerous it is; sets the confirmation. Of a checked runbook, the highest of itself and those that it runs.
    pub risk: Risk,
    /// One sentence about what will be felt, shown before the button; may name inputs.
    pub impact: Option<Template>,
    /// What the person (or trigger) fills in, in order.
    pub inputs: Vec<Input>,
    /// `approval:` — who must agree before it begins; see [`Runbook::approval`].
    pub approval: Option<Approval>,
    /// Lock names, such as `fleet:${inputs.fleet.id}`.
    pub locks: Vec<Template>,
    /// How often it may be done, over all runbooks, people and triggers.
    pub limits: Vec<Limit>,
    /// `triggers:` — what starts it, or offers it, by itself.
    pub triggers: Vec<Trigger>,
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// `result:` — what a run says when all its steps are done; may name their outputs, and by `steps.verify` what the final check saw.
    pub result: Option<Template>,
    /// How it is known that the trouble is over.
    pub verify: Option<Verify>,
    /// The exact text.
    pub source: Arc<str>,
    /// SHA-256 of the text, hexadecimal.
    pub hash: String,
}

/// A budget or a cool-down. The same name, once its expressions are worked out, is the same budget wherever it stands.
#[derive(Debug, Clone)]
pub struct Limit {
    /// What is counted, such as `failover of ${inputs.cluster.id}`.
    pub name: Template,
    /// How often, or after what rest.
    pub rule: LimitRule,
}

/// How often something may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitRule {
    /// `at_most:` so many runs `per:` so long, counted from their start.
    AtMost {
        /// Runs.
        runs: u32,
        /// Within which time.
        per: Duration,
    },
    /// `cooldown:` so long a rest, from the end of each run.
    Cooldown(Duration),
}

/// How dangerous a runbook is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Risk {
    /// One button.
    Low,
    /// One button, after the plan.
    Medium,
    /// The target's name must be typed.
    High,
    /// A second person must agree.
    Severe,
}

/// One field of the form.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its name: `inputs.<name>`.
    pub name: String,
    /// Its type.
    pub kind: InputType,
    /// What to put there.
    pub description: String,
    /// May it be left out? Then it is `null`, unless it has a default.
    pub optional: bool,
    /// The value when left out, as written in the file.
    pub default: Option<Value>,
}

/// What an input may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputType {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Yes or no.
    Boolean,
    /// `90s`, `3m`; in expressions a number of seconds.
    Duration,
    /// `50%`; in expressions a number from 0 to 100.
    Percent,
    /// One of these words.
    Enum(Vec<String>),
    /// Several of one type.
    List(Box<InputType>),
    /// A cluster of the inventory by id; in expressions the whole record.
    Cluster,
    /// A proxy fleet of the inventory by id; in expressions the whole record.
    ProxyFleet,
}

/// One step.
#[derive(Debug, Clone)]
pub struct Step {
    /// Author-given and unique among its siblings and ancestors: how the step is known for ever, never by position.
    pub id: String,
    /// What it does, for the page.
    pub title: Option<String>,
    /// Why it is there, for the page.
    pub why: Option<String>,
    /// `if:` — skipped when false.
    pub condition: Option<Expr>,
    /// What it is.
    pub body: Body,
    /// `undo: automatic` — taken back when the run is undone.
    pub undo: bool,
    /// `finally: undo` — taken back when the run ends, however it ends. Implies `undo`.
    pub finally: bool,
    /// Cannot be taken back; said so before the button.
    pub one_way: bool,
    /// What a failure does to the run; when absent, a guard that fails before anything was changed ends the run as
    /// refused, and everything else pauses it for a person.
    pub on_failure: Option<OnFailure>,
    /// Where its id stands in the file.
    pub pos: Pos,
    /// Where the action, the guard, the list or the value stands.
    pub body_pos: Pos,
}

/// What a step is.
#[derive(Debug, Clone)]
pub enum Body {
    /// One action, perhaps again and again until a condition holds.
    Use(Box<Use>),
    /// A guard: false stops the run before harm.
    Assert {
        /// Must be true.
        that: Expr,
        /// What is wrong when it is not, and what to do; may name facts.
        message: Template,
        /// It asks whether the runbook is needed now, not whether it can be done: see [`crate::readiness`].
        need: bool,
    },
    /// For every item.
    Each(Each),
    /// A value worked out from what is known, so that later steps can name it.
    Value(Template),
    /// Others than the requester must agree before the run goes on.
    Approve(Approve),
    /// Branches, all at the same time.
    Together(Vec<Branch>),
    /// Another runbook.
    Run(Child),
    /// Time passes.
    Wait(Duration),
}

/// One branch of a `together`.
#[derive(Debug, Clone)]
pub struct Branch {
    /// Its name, unique among the branches.
    pub name: String,
    /// Its steps, in order.
    pub steps: Vec<Step>,
}

/// Another runbook, run as a part of this one.
#[derive(Debug, Clone)]
pub struct Child {
    /// Its name.
    pub runbook: String,
    /// `with:` — its inputs by name: a record.
    pub with: Template,
}

/// One action with its input.
#[derive(Debug, Clone)]
pub struct Use {
    /// The action's name.
    pub action: String,
    /// `with:` — its input.
    pub with: Template,
    /// Observe again until this holds.
    pub until: Option<Until>,
    /// How failures that may pass are retried.
    pub retry: Retry,
}

/// Observe again and again until a condition on `out` holds.
#[derive(Debug, Clone)]
pub struct Until {
    /// True when done; sees the observation as `out`.
    pub condition: Expr,
    /// `for:` — must have held this long without a break (a soak). While it holds, the timeout waits for the end of the soak.
    pub hold: Option<Duration>,
    /// Pause between looks.
    pub every: Duration,
    /// How long it usually takes, for the forecast.
    pub expect: Option<Duration>,
    /// When to stop waiting for it to come true.
    pub timeout: Duration,
    /// What then.
    pub on_timeout: OnTimeout,
    /// `message:` — what it means when the time is up, and what to do; sees the last `out`.
    pub message: Option<Template>,
    /// `give_up_if:` — true when waiting longer is pointless; fails the step with its message.
    pub give_up: Option<GiveUp>,
}

/// A condition that makes waiting pointless.
#[derive(Debug, Clone)]
pub struct GiveUp {
    /// True when it is pointless; sees `out`.
    pub condition: Expr,
    /// Why, for the person who must go on from here.
    pub message: Template,
}

/// What the end of a wait does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// The step fails; `on_failure` decides.
    #[default]
    Fail,
    /// The last observation is the output, and the run goes on. What cannot be seen at the end fails all the same.
    Continue,
}

/// What a failed step does to the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// The run pauses; a person decides.
    Pause,
    /// The run goes on; the step stays shown as failed, and its output is null.
    Continue,
    /// The run undoes what it did.
    Undo,
    /// The run ends as failed (what is marked `finally` is still taken back).
    Fail,
}

/// How often a failure that may pass is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, at least 1.
    pub attempts: u32,
    /// Pause before the second attempt; doubles from then on.
    pub backoff: Duration,
}

impl Step {
    /// The lists of steps inside it, each with the name of its branch where it has one.
    pub fn inside(&self) -> impl Iterator<Item = (Option<&str>, &[Step])> {
        let (branches, steps): (&[Branch], _) = match &self.body {
            Body::Together(branches) => (branches, None),
            Body::Each(Each { body: EachBody::Steps(steps), .. }) => (&[], Some((None, steps.as_slice()))),
            _ => (&[], None),
        };
        branches.iter().map(|b| (Some(b.name.as_str()), b.steps.as_slice())).chain(steps)
    }
}

impl Default for Retry {
    /// Three attempts, two seconds apart at first: enough for a lost packet, short enough for an incident.
    fn default() -> Self {
        Self { attempts: 3, backoff: Duration::from_secs(2) }
    }
}

/// Something for every item of a list.
#[derive(Debug, Clone)]
pub struct Each {
    /// The list. Items are strings, or records with an `id`: that is their key.
    pub items: Expr,
    /// How many at the same time: a number, or a percentage of the items (rounded up, at least one).
    pub at_once: Template,
    /// So many failed items are too many: a number, or a percentage of the items (rounded down, at least one). When absent, a
    /// failed item is like any failed step.
    pub stop_after: Option<Template>,
    /// What is done with each.
    pub body: EachBody,
}

/// What is done with each item.
#[derive(Debug, Clone)]
pub enum EachBody {
    /// One action.
    One(Box<Use>),
    /// Steps in order.
    Steps(Vec<Step>),
}

/// How it is known that the trouble is over. Checked after the last step and after what is marked `finally` was taken back.
#[derive(Debug, Clone)]
pub struct Verify {
    /// An observing action with `until` (and `for:`, the soak).
    pub look: Use,
    /// What it means when it does not come true.
    pub message: Template,
    /// Where the action stands in the file.
    pub pos: Pos,
    /// Where it says `on_timeout: continue`, by which a run would be told as a success whose symptom persists. Nothing goes by that:
    /// a file that says it is refused, and the texts of earlier versions, which runs may be pinned to, can still be read.
    pub goes_on: Option<Pos>,
}
