//! The runbook language: one YAML file is the page on-call reads, the form they fill in, and the program.
//!
//! ```text
//!  text ──parse──▶ Runbook (positions kept, every mistake reported at once)
//!       ──check──▶ against the actions' schemas: a name that does not exist is found here, not at 3 a.m.
//!       ──▶ [`crate::run`] interprets it, step by step, and [`crate::plan`] tells what it would do
//! ```
//!
//! A runbook is data, never replayed code: a run is pinned to the hash of the exact text it started with.
//! Deliberately absent: loops other than `each`, variables, and anything that could make a guard run for ever.

mod approval;
mod check;
mod decode;
mod diagnostic;
mod expr;
mod inputs;
mod scope;
mod suggest;
mod template;
mod yaml;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use approval::{Approval, Approve};
pub use check::check;
pub use decode::parse;
pub use diagnostic::{Diagnostic, Pos, render};
pub use expr::{EvalError, Expr};
pub use inputs::{InputMistake, input_values, inventory_value, resolve_inputs};
pub use scope::{Scope, Slot};
pub use template::Template;

/// A parsed runbook.
#[derive(Debug, Clone)]
pub struct Runbook {
    /// `runbook:`, also the file's stem and the name in every command.
    pub name: String,
    /// One line: what it does.
    pub title: String,
    /// When to use it and when not, for the person who must decide.
    pub when: String,
    /// How dangerous it is; sets the confirmation.
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
    /// The steps, in order.
    pub steps: Vec<Step>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    Use(Use),
    /// A guard: false stops the run before harm.
    Assert {
        /// Must be true.
        that: Expr,
        /// What is wrong when it is not, and what to do; may name facts.
        message: Template,
    },
    /// For every item.
    Each(Each),
    /// A value worked out from what is known, so that later steps can name it.
    Value(Template),
    /// Others than the requester must agree before the run goes on.
    Approve(Approve),
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
    /// `for:` — must have held this long without a break (a soak).
    pub hold: Option<Duration>,
    /// Pause between looks.
    pub every: Duration,
    /// How long it usually takes, for the forecast.
    pub expect: Option<Duration>,
    /// When to stop waiting.
    pub timeout: Duration,
    /// What then.
    pub on_timeout: OnTimeout,
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
    /// The last observation is the output, and the run goes on.
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
}
