//! Actions: everything a runbook step can ask of, or do to, the outside.
//!
//! An action lives two lives, executed and planned, and the engine must be able to ask the same of each, so this is the
//! one central trait. Authors write a typed [`Observe`] (looks only) or [`Change`] (makes **exactly one** mutating call,
//! stated as an absolute target); [`Observing`] and [`Changing`] turn them into the JSON-speaking [`Action`] that the
//! engine knows. Inputs and outputs describe themselves (JSON Schema), so that the checker knows every field before a
//! runbook may run.
//!
//! The life of a change:
//!
//! ```text
//!  observe ──▶ facts ──▶ settled? ──yes──▶ done, "already so"
//!                          │ no
//!                          ▼
//!                plan (may refuse) ─▶ [intent committed by the engine] ─▶ apply: ONE call ─▶ output
//! ```
//!
//! Retries, journaling and recovery are not here: they are the engine's.

mod call;
mod error;
mod registry;
mod typed;

use futures::future::BoxFuture;
use schemars::Schema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use call::{CallLog, CallRecord, Ctx, Gate, GateClosed};
pub use error::{ActionError, ErrorClass};
pub use registry::Registry;
pub use typed::{Change, Changing, Observe, Observing};

/// What may be done when it is not known whether a mutating call took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing: may be repeated at will.
    Observe,
    /// A repeat is harmless, because the call states an absolute target.
    Idempotent,
    /// The call carries a client token, and the service repeats its first answer for it.
    Token,
    /// The service itself checks a precondition.
    Cas,
    /// Whether it happened can be looked up afterwards; it is never repeated before that look.
    Probe,
    /// None of these: after an unknown outcome only a person can say.
    Blind,
}

/// What is known of an action without running it.
#[derive(Debug, Clone)]
pub struct Spec {
    /// `service.verb_object`, as runbooks write it after `use:`.
    pub name: &'static str,
    /// One line for the action reference.
    pub summary: &'static str,
    /// Effect class.
    pub effect: Effect,
    /// May it be made again by itself when its answer was lost and a look shows nothing of it? No where that look may miss that it
    /// took effect, and once more would do harm: then a person says what became of it.
    pub repeatable: bool,
    /// IAM actions that it needs, such as `autoscaling:SetDesiredCapacity`; empty for what is not AWS.
    pub permissions: &'static [&'static str],
    /// The action that takes it back, where one can.
    pub undone_by: Option<&'static str>,
    /// How a person with a terminal looks at the same: the body of a bash function with the fields of `with:` as its
    /// variables (what is not text, as JSON), that prints the output as JSON. `$inventory` is known there, as in expressions,
    /// with the `user` of each cluster and the `admin` of each fleet.
    pub by_hand: Option<&'static str>,
    /// How a person with a terminal takes it back.
    pub undo_by_hand: Option<UndoByHand>,
    /// JSON Schema of `with:`.
    pub input: Schema,
    /// JSON Schema of the output.
    pub output: Schema,
}

/// One object that a change would alter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ObjectChange {
    /// What: `auto scaling group proxysql-us`, `host i-0abc`.
    pub object: String,
    /// Which property of it: `desired capacity`.
    pub property: String,
    /// Its value now.
    pub before: Value,
    /// Its value afterwards.
    pub after: Value,
}

/// What a change would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Objects before and after.
    pub changes: Vec<ObjectChange>,
    /// The output, when it can be told beforehand.
    pub output: Option<Value>,
    /// Why it cannot be done as things stand.
    pub forbidden: Option<ActionError>,
}

/// Work that a service itself, or somebody through it, has under way on an object: a lock that is not ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ForeignWork {
    /// What: `auto scaling group proxysql-us`, `DB cluster shard-e`.
    pub object: String,
    /// What is under way: `instance refresh 08b9… is InProgress, 40 % done`.
    pub what: String,
}

impl std::fmt::Display for ForeignWork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.object, self.what)
    }
}

/// How a person with a terminal takes a change back: what must be seen before it is made, and what follows from that.
///
/// The filters are jq, over `$with` (the input of the change) and `$before` (what was seen).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UndoByHand {
    /// The action that looks before; it has a `by_hand` of its own. None where nothing of before is needed.
    pub look: Option<&'static str>,
    /// The fields of the change's input that it is given.
    pub look_with: &'static [&'static str],
    /// Once for each item of this field of the change's input, which is then the list of that one item and called `$one`.
    pub each: Option<&'static str>,
    /// Is there something to be taken back?
    pub when: &'static str,
    /// The fields of the undoing action's input that differ from those of the change.
    pub with: &'static [(&'static str, &'static str)],
}

/// How to take a change back: another action, with its input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UndoCall {
    /// Name of the action that undoes.
    pub action: String,
    /// Its input.
    pub input: Value,
    /// What it leaves as it is if it must, in a sentence for people: what has come to depend on the change by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<String>,
}

impl UndoCall {
    /// One that takes all of the change back.
    pub fn new(action: impl Into<String>, input: Value) -> Self {
        Self { action: action.into(), input, leaves: None }
    }

    /// One that takes back as much of it as it may.
    #[must_use]
    pub fn leaving(self, leaves: impl Into<String>) -> Self {
        Self { leaves: Some(leaves.into()), ..self }
    }
}

/// An action as the engine knows it: JSON in, JSON out.
///
/// For an observing action `observe` is all there is: its facts *are* the output, `settled` returns them, and `plan`,
/// `apply` and `undo` are never called.
pub trait Action: Send + Sync + 'static {
    /// What is known without running it.
    fn spec(&self) -> &Spec;
    /// Is `input` of the right form? Says what is not.
    fn validate(&self, input: &Value) -> Result<(), ActionError>;
    /// Looks. Changes nothing.
    fn observe<'a>(&'a self, ctx: &'a Ctx, input: &'a Value) -> BoxFuture<'a, Result<Value, ActionError>>;
    /// The output, if the facts say that nothing is left to do.
    fn settled(&self, input: &Value, facts: &Value) -> Result<Option<Value>, ActionError>;
    /// The output, if a call whose answer was lost took effect: from what was seen before it and what is seen now.
    fn happened(&self, input: &Value, before: &Value, now: &Value) -> Result<Option<Value>, ActionError>;
    /// What would change, and whether it can be done as things stand; an error refuses it for good.
    fn plan(&self, input: &Value, facts: &Value) -> Result<Planned, ActionError>;
    /// The one mutating call.
    fn apply<'a>(
        &'a self,
        ctx: &'a Ctx,
        input: &'a Value,
        facts: &'a Value,
    ) -> BoxFuture<'a, Result<Value, ActionError>>;
    /// The inverse, from the facts seen before; `None` where there is nothing to take back.
    fn undo(&self, input: &Value, facts: &Value) -> Result<Option<UndoCall>, ActionError>;
    /// Can it be undone at all? What the checker asks.
    fn undoable(&self) -> bool;
    /// Work of others on the object, as its output tells it.
    fn foreign(&self, _output: &Value) -> Vec<ForeignWork> {
        Vec::new()
    }
    /// The equivalent command line, for a person with a terminal.
    fn command(&self, input: &Value) -> Result<String, ActionError>;
}
