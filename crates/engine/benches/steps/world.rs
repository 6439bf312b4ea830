//! A world that costs nothing: what is left is the engine's own work and Postgres.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use domain::action::{ActionError, Change, Ctx, Effect, ObjectChange, Observe, Registry, UndoCall};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the first change since the last `take` was made: its intent had been committed then.
#[derive(Clone, Default)]
pub(crate) struct FirstChange(Arc<Mutex<Option<Instant>>>);

impl FirstChange {
    pub(crate) fn take(&self) -> Option<Instant> {
        self.0.lock().unwrap().take()
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    name: String,
    value: i64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Number {
    value: i64,
}

struct Set(FirstChange);

impl Change for Set {
    const NAME: &'static str = "bench.set";
    const SUMMARY: &'static str = "Sets a number that nobody keeps";
    const PERMISSIONS: &'static [&'static str] = &[];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = false;
    type Input = Target;
    type Facts = Number;
    type Output = Number;

    async fn observe(&self, _ctx: &Ctx, _input: &Target) -> Result<Number, ActionError> {
        Ok(Number { value: 0 })
    }

    fn settled(&self, input: &Target, facts: &Number) -> Option<Number> {
        (input.value == facts.value).then_some(Number { value: input.value })
    }

    fn plan(&self, input: &Target, facts: &Number) -> Result<Vec<ObjectChange>, ActionError> {
        let (before, after) = (facts.value.into(), input.value.into());
        Ok(vec![ObjectChange { object: input.name.clone(), property: "value".into(), before, after }])
    }

    fn predict(&self, input: &Target, _facts: &Number) -> Option<Number> {
        Some(Number { value: input.value })
    }

    async fn apply(&self, ctx: &Ctx, input: &Target, _facts: &Number) -> Result<Number, ActionError> {
        ctx.gate.check().map_err(|e| ActionError::refused("gate", e.to_string()))?;
        self.0.0.lock().unwrap().get_or_insert_with(Instant::now);
        Ok(Number { value: input.value })
    }

    fn undo(&self, _input: &Target, _facts: &Number) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &Target) -> String {
        format!("set {} {}", input.name, input.value)
    }
}

struct Look;

impl Observe for Look {
    const NAME: &'static str = "bench.look";
    const SUMMARY: &'static str = "Looks at a number that never changes";
    const PERMISSIONS: &'static [&'static str] = &[];
    type Input = Target;
    type Output = Number;

    async fn observe(&self, _ctx: &Ctx, _input: &Target) -> Result<Number, ActionError> {
        Ok(Number { value: 0 })
    }

    fn command(&self, input: &Target) -> String {
        format!("look {}", input.name)
    }
}

pub(crate) fn registry(first: &FirstChange) -> Registry {
    Registry::default().changing(Set(first.clone())).observing(Look)
}

/// Ten changes, and a lock that no other run wants.
pub(crate) fn ten_steps() -> (String, String) {
    let mut text = header("ten");
    for n in 1..=10 {
        text += &format!("  - id: s{n}\n    use: bench.set\n    with: {{ name: n{n}, value: {n} }}\n");
    }
    ("ten.yaml".into(), text)
}

/// Waits for what never comes.
pub(crate) fn waiting() -> (String, String) {
    let step = "  - id: wait\n    use: bench.look\n    with: { name: n, value: 1 }\n    until: out.value == 1\n    every: 1s\n    timeout: 1h\n";
    ("waiting.yaml".into(), header("waiting") + step)
}

fn header(name: &str) -> String {
    format!(
        "runbook: {name}\ntitle: Bench\nwhen: In benchmarks\nrisk: low\n\
         inputs:\n  key: {{ type: string, description: Makes the lock its own }}\n\
         locks: [\"bench:${{inputs.key}}\"]\nsteps:\n"
    )
}
