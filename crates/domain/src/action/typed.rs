//! Typed actions, as authors write them, and the adapters that make them [`Action`]s.

use std::future::Future;

use futures::FutureExt;
use futures::future::BoxFuture;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Action, ActionError, Ctx, Effect, ForeignWork, ObjectChange, Planned, Spec, UndoByHand, UndoCall,
};

/// An action that only looks.
pub trait Observe: Send + Sync + 'static {
    /// `service.verb_object`.
    const NAME: &'static str;
    /// One line for the action reference.
    const SUMMARY: &'static str;
    /// IAM actions that it needs.
    const PERMISSIONS: &'static [&'static str];
    /// How a person looks at the same: [`Spec::by_hand`].
    const BY_HAND: Option<&'static str> = None;
    /// What `with:` holds. Use `#[serde(deny_unknown_fields)]`.
    type Input: DeserializeOwned + JsonSchema + Send + Sync;
    /// What later steps read as `steps.<id>`.
    type Output: Serialize + JsonSchema + Send;

    /// Looks.
    fn observe(
        &self,
        ctx: &Ctx,
        input: &Self::Input,
    ) -> impl Future<Output = Result<Self::Output, ActionError>> + Send;

    /// Work of others on the object, as its output tells it. A run does not begin to change anything while there is some.
    fn foreign(_output: &Value) -> Vec<ForeignWork> {
        Vec::new()
    }

    /// The equivalent command line.
    fn command(&self, input: &Self::Input) -> String;
}

/// An action that makes exactly one mutating call.
pub trait Change: Send + Sync + 'static {
    /// `service.verb_object`.
    const NAME: &'static str;
    /// One line for the action reference.
    const SUMMARY: &'static str;
    /// IAM actions that it needs, for looking and for changing.
    const PERMISSIONS: &'static [&'static str];
    /// What may be done after an unknown outcome.
    const EFFECT: Effect;
    /// Whether it may be made again by itself when its answer was lost and a look shows nothing of it: [`Spec::repeatable`].
    const REPEATABLE: bool = true;
    /// Whether [`Change::undo`] can ever return something.
    const UNDOABLE: bool;
    /// The action that [`Change::undo`] names.
    const UNDONE_BY: &'static str = Self::NAME;
    /// How a person takes it back: [`Spec::undo_by_hand`].
    const UNDO_BY_HAND: Option<UndoByHand> = None;
    /// What `with:` holds. Use `#[serde(deny_unknown_fields)]`.
    type Input: DeserializeOwned + JsonSchema + Send + Sync;
    /// What is seen before the call; kept in the intent, and what undo works from.
    type Facts: Serialize + DeserializeOwned + Send + Sync;
    /// What later steps read as `steps.<id>`.
    type Output: Serialize + JsonSchema + Send;

    /// Looks at what the change rests on.
    fn observe(
        &self,
        ctx: &Ctx,
        input: &Self::Input,
    ) -> impl Future<Output = Result<Self::Facts, ActionError>> + Send;
    /// The output, if nothing is left to do.
    fn settled(&self, input: &Self::Input, facts: &Self::Facts) -> Option<Self::Output>;
    /// The output, if a call whose answer was lost took effect. Where what is wanted can be seen by itself that is the same as
    /// [`Change::settled`]; else it takes a comparison with what was seen before the call.
    fn happened(
        &self,
        input: &Self::Input,
        _before: &Self::Facts,
        now: &Self::Facts,
    ) -> Option<Self::Output> {
        self.settled(input, now)
    }
    /// What would change; an error refuses for good (a target that may not be touched, a missing object).
    fn plan(&self, input: &Self::Input, facts: &Self::Facts) -> Result<Vec<ObjectChange>, ActionError>;
    /// Why the facts forbid it now (a limit of the group). In a plan an earlier step may lift that; in a run it refuses.
    fn forbidden(&self, _input: &Self::Input, _facts: &Self::Facts) -> Option<ActionError> {
        None
    }
    /// The output that a success would have, where it can be told beforehand.
    fn predict(&self, input: &Self::Input, facts: &Self::Facts) -> Option<Self::Output>;
    /// The one mutating call.
    fn apply(
        &self,
        ctx: &Ctx,
        input: &Self::Input,
        facts: &Self::Facts,
    ) -> impl Future<Output = Result<Self::Output, ActionError>> + Send;
    /// The inverse, from the facts seen before.
    fn undo(&self, input: &Self::Input, facts: &Self::Facts) -> Option<UndoCall>;
    /// The equivalent command line.
    fn command(&self, input: &Self::Input) -> String;
}

/// An [`Observe`] as an [`Action`].
pub struct Observing<A> {
    action: A,
    spec: Spec,
}

impl<A: Observe> Observing<A> {
    /// Wraps it.
    pub fn new(action: A) -> Self {
        let spec = Spec {
            name: A::NAME,
            summary: A::SUMMARY,
            effect: Effect::Observe,
            repeatable: true,
            permissions: A::PERMISSIONS,
            undone_by: None,
            by_hand: A::BY_HAND,
            undo_by_hand: None,
            input: schema_of::<A::Input>(),
            output: schema_of::<A::Output>(),
        };
        Self { action, spec }
    }
}

impl<A: Observe> Action for Observing<A> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn validate(&self, input: &Value) -> Result<(), ActionError> {
        read::<A::Input>(A::NAME, input).map(drop)
    }

    fn observe<'a>(&'a self, ctx: &'a Ctx, input: &'a Value) -> BoxFuture<'a, Result<Value, ActionError>> {
        async move {
            let input = read(A::NAME, input)?;
            write(A::NAME, &self.action.observe(ctx, &input).await?)
        }
        .boxed()
    }

    fn settled(&self, _input: &Value, facts: &Value) -> Result<Option<Value>, ActionError> {
        Ok(Some(facts.clone()))
    }

    fn happened(&self, _input: &Value, _before: &Value, now: &Value) -> Result<Option<Value>, ActionError> {
        Ok(Some(now.clone()))
    }

    fn plan(&self, _input: &Value, facts: &Value) -> Result<Planned, ActionError> {
        Ok(Planned { changes: Vec::new(), output: Some(facts.clone()), forbidden: None })
    }

    fn apply<'a>(
        &'a self,
        _ctx: &'a Ctx,
        _input: &'a Value,
        facts: &'a Value,
    ) -> BoxFuture<'a, Result<Value, ActionError>> {
        futures::future::ready(Ok(facts.clone())).boxed()
    }

    fn undo(&self, _input: &Value, _facts: &Value) -> Result<Option<UndoCall>, ActionError> {
        Ok(None)
    }

    fn undoable(&self) -> bool {
        false
    }

    fn foreign(&self, output: &Value) -> Vec<ForeignWork> {
        A::foreign(output)
    }

    fn command(&self, input: &Value) -> Result<String, ActionError> {
        Ok(self.action.command(&read(A::NAME, input)?))
    }
}

/// A [`Change`] as an [`Action`].
pub struct Changing<A> {
    action: A,
    spec: Spec,
}

impl<A: Change> Changing<A> {
    /// Wraps it.
    pub fn new(action: A) -> Self {
        let spec = Spec {
            name: A::NAME,
            summary: A::SUMMARY,
            effect: A::EFFECT,
            repeatable: A::REPEATABLE,
            permissions: A::PERMISSIONS,
            undone_by: A::UNDOABLE.then_some(A::UNDONE_BY),
            by_hand: None,
            undo_by_hand: A::UNDO_BY_HAND,
            input: schema_of::<A::Input>(),
            output: schema_of::<A::Output>(),
        };
        Self { action, spec }
    }
}

impl<A: Change> Action for Changing<A> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn validate(&self, input: &Value) -> Result<(), ActionError> {
        read::<A::Input>(A::NAME, input).map(drop)
    }

    fn observe<'a>(&'a self, ctx: &'a Ctx, input: &'a Value) -> BoxFuture<'a, Result<Value, ActionError>> {
        async move {
            let input = read(A::NAME, input)?;
            write(A::NAME, &self.action.observe(ctx, &input).await?)
        }
        .boxed()
    }

    fn settled(&self, input: &Value, facts: &Value) -> Result<Option<Value>, ActionError> {
        let settled = self.action.settled(&read(A::NAME, input)?, &read(A::NAME, facts)?);
        settled.map(|output| write(A::NAME, &output)).transpose()
    }

    fn happened(&self, input: &Value, before: &Value, now: &Value) -> Result<Option<Value>, ActionError> {
        let (input, before, now) = (read(A::NAME, input)?, read(A::NAME, before)?, read(A::NAME, now)?);
        let output = self.action.happened(&input, &before, &now);
        output.map(|output| write(A::NAME, &output)).transpose()
    }

    fn plan(&self, input: &Value, facts: &Value) -> Result<Planned, ActionError> {
        let (input, facts) = (read(A::NAME, input)?, read(A::NAME, facts)?);
        let changes = self.action.plan(&input, &facts)?;
        let output = self.action.predict(&input, &facts).map(|output| write(A::NAME, &output)).transpose()?;
        Ok(Planned { changes, output, forbidden: self.action.forbidden(&input, &facts) })
    }

    fn apply<'a>(
        &'a self,
        ctx: &'a Ctx,
        input: &'a Value,
        facts: &'a Value,
    ) -> BoxFuture<'a, Result<Value, ActionError>> {
        async move {
            let (input, facts) = (read(A::NAME, input)?, read(A::NAME, facts)?);
            write(A::NAME, &self.action.apply(ctx, &input, &facts).await?)
        }
        .boxed()
    }

    fn undo(&self, input: &Value, facts: &Value) -> Result<Option<UndoCall>, ActionError> {
        Ok(self.action.undo(&read(A::NAME, input)?, &read(A::NAME, facts)?))
    }

    fn undoable(&self) -> bool {
        A::UNDOABLE
    }

    fn command(&self, input: &Value) -> Result<String, ActionError> {
        Ok(self.action.command(&read(A::NAME, input)?))
    }
}

/// Schemas are inlined, so that a reader can walk them without following references.
fn schema_of<T: JsonSchema>() -> schemars::Schema {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    SchemaGenerator::new(settings).into_root_schema_for::<T>()
}

fn read<T: DeserializeOwned>(action: &str, value: &Value) -> Result<T, ActionError> {
    T::deserialize(value).map_err(|e| {
        ActionError::refused("bad_input", format!("{action}: {e}"))
            .remedy("correct the step's `with:`; `firebreak runbook check` shows the place")
    })
}

fn write<T: Serialize>(action: &str, value: &T) -> Result<Value, ActionError> {
    serde_json::to_value(value)
        .map_err(|e| ActionError::refused("bad_output", format!("{action}: its answer is not JSON: {e}")))
}
