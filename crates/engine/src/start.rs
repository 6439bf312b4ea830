//! The one door through which every run comes in: from a button, Slack, the CLI, the API or an alert.

use std::sync::Arc;

use domain::brake::{BadOverride, Brake, Limit, Overrides};
use domain::run::{Entry, Program};
use domain::runbook::{Diagnostic, InputMistake, Risk, Runbook, Template, input_values, resolve_inputs};
use domain::{Actor, Timestamp};
use serde_json::{Map, Value, json};
use store::StoreError;
use store::runs::{Created, Holder, NewRun};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::driver::{Birth, Driver, Unborn};
use crate::{Core, Engine};

/// What somebody asks for.
#[derive(Debug, Clone)]
pub struct StartRequest {
    /// Name of the runbook.
    pub runbook: String,
    /// Inputs as given: ids and text are taken too.
    pub inputs: Map<String, Value>,
    /// Who.
    pub by: Actor,
    /// Why, in their words.
    pub reason: Option<String>,
    /// The same key lands on the same run: fresh for each form and each intent.
    pub idem_key: String,
    /// The plan they saw.
    pub plan: Option<domain::plan::Plan>,
    /// What they say against the brakes in their way.
    pub overrides: Overrides,
}

/// A start that was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The run.
    pub run_id: Uuid,
    /// False when the same request had been made before, and this is its run.
    pub new: bool,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No runbook of that name.
    #[error("there is no runbook `{name}`; there are: {}", known.join(", "))]
    UnknownRunbook {
        /// As asked.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The runbook has mistakes.
    #[error("runbook `{name}` has {} mistakes and cannot be run; see `firebreak runbook check`", mistakes.len())]
    BrokenRunbook {
        /// Its name.
        name: String,
        /// All of them.
        mistakes: Arc<[Diagnostic]>,
    },
    /// Inputs that do not fit.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    BadInputs(Vec<InputMistake>),
    /// A lock's or title's expression met something it does not expect.
    #[error("{0}")]
    Expression(#[from] domain::runbook::EvalError),
    /// Another run holds the target.
    #[error(
        "`{}` is locked by run {} ({}, started by {}); wait until it has ended, or open it and decide there",
        .0.target, .0.run_id, .0.title, .0.requested_by
    )]
    Locked(Box<Holder>),
    /// It needs a second person, and there is no way yet in which one can agree.
    #[error(
        "`{0}` is of severe risk and needs the agreement of a second person, which this version cannot take"
    )]
    SecondPerson(String),
    /// A brake is on: the kill switch, a freeze, a limit, a target that a person has taken.
    #[error("{0}")]
    Held(Box<Brake>),
    /// What was said against a brake is not taken.
    #[error(transparent)]
    BadOverride(#[from] BadOverride),
    /// This process may not act any more.
    #[error("this process is stopping; ask again")]
    Stopping,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A runbook with its inputs, ready to be planned or started.
pub(crate) struct Prepared {
    pub(crate) runbook: Arc<Runbook>,
    pub(crate) inputs: Map<String, Value>,
    pub(crate) title: String,
    pub(crate) locks: Vec<String>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) program: Program,
}

impl Engine {
    /// Starts a run: one statement writes it with its locks and the beginning of its journal, and this process owns it at once.
    ///
    /// A caller that goes away in the middle (a browser that hangs up) takes nothing with it: the run is written *and* driven
    /// (by a task of its own), or neither.
    pub async fn start(&self, request: StartRequest) -> Result<Started, StartError> {
        self.core.start(request).await
    }
}

impl Core {
    async fn start(self: &Arc<Self>, request: StartRequest) -> Result<Started, StartError> {
        let core = self;
        let run_id = Uuid::now_v7();
        let prepared = core.prepare(&request.runbook, &request.inputs, run_id, &request.by)?;
        // Checked here, not at a surface: no door may be without it.
        if prepared.runbook.risk == Risk::Severe {
            return Err(StartError::SecondPerson(prepared.runbook.name.clone()));
        }
        request.overrides.check(&request.by, request.reason.as_deref())?;
        if core.lease.remaining().is_none() {
            return Err(StartError::Stopping);
        }
        let at = core.clock.now();
        let entry = Entry::Requested {
            runbook: prepared.runbook.name.clone(),
            hash: prepared.runbook.hash.clone(),
            inputs: prepared.inputs.clone(),
            by: request.by.clone(),
            reason: request.reason.clone(),
            plan_hash: request.plan.as_ref().map(|p| p.hash.clone()),
            locks: prepared.locks.clone(),
            overrides: request.overrides.clone(),
        };
        let run = NewRun {
            id: run_id,
            runbook: prepared.runbook.name.clone(),
            hash: prepared.runbook.hash.clone(),
            source: prepared.runbook.source.to_string(),
            title: prepared.title,
            inputs: prepared.inputs,
            plan: request.plan.as_ref().and_then(|p| serde_json::to_value(p).ok()),
            by: request.by.clone(),
            idem_key: request.idem_key,
            locks: prepared.locks,
            limits: prepared.limits,
            overrides: request.overrides,
            reason: request.reason,
            owner: core.lease.worker(),
            at,
        };
        let title = run.title.clone();
        let (told, wait) = oneshot::channel();
        let (driver, nudges) = Driver::born(core, prepared.program, entry, Birth { run, told });
        core.drive(driver, nudges);
        match wait.await {
            Ok(Ok(started)) => Ok(started),
            Ok(Err(Unborn::Failed(e))) => Err(e),
            Ok(Err(Unborn::Refused(why))) => core.refused(&request.by, at, &title, why).await,
            Err(_) => Err(StartError::Stopping),
        }
    }

    /// Keeps what was refused, and says it.
    async fn refused(
        &self,
        by: &Actor,
        at: Timestamp,
        title: &str,
        why: Created,
    ) -> Result<Started, StartError> {
        let (action, details, error) = match why {
            Created::Locked(holder) => (
                "start refused: locked".to_owned(),
                json!({ "lock": holder.target, "held_by": holder.run_id }),
                StartError::Locked(Box::new(holder)),
            ),
            Created::Held(brake) => {
                (format!("start refused: {}", brake.code()), json!(brake), StartError::Held(brake))
            }
            Created::New | Created::Existing(_) => return Err(StartError::Stopping),
        };
        store::audit::add(&self.pool, at, by, &action, title, details).await?;
        Err(error)
    }

    /// Finds the runbook, checks the inputs, and works out what the run is called and what it locks.
    pub(crate) fn prepare(
        &self,
        name: &str,
        given: &Map<String, Value>,
        run_id: Uuid,
        by: &Actor,
    ) -> Result<Prepared, StartError> {
        let shelf = self.library.get(name).ok_or_else(|| StartError::UnknownRunbook {
            name: name.to_owned(),
            known: self.library.iter().map(|(name, _)| name.to_owned()).collect(),
        })?;
        let runbook = shelf
            .runbook
            .clone()
            .map_err(|mistakes| StartError::BrokenRunbook { name: name.to_owned(), mistakes })?;
        let inputs = resolve_inputs(&runbook, &self.inventory, given).map_err(StartError::BadInputs)?;
        let program = self.program(&runbook, &inputs, run_id, by);
        let scope = program.scope();
        let text = |template: &Template| {
            template.eval(&scope).map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
        };
        let locks = runbook.locks.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let limits = Limit::of(&runbook, &scope)?;
        let targets: Vec<_> = inputs.values().filter_map(Value::as_str).filter(|id| self.names(id)).collect();
        let title = match targets.as_slice() {
            [] => runbook.title.clone(),
            targets => format!("{}: {}", runbook.title, targets.join(", ")),
        };
        Ok(Prepared { runbook, inputs, title, locks, limits, program })
    }

    /// What the expressions of a run may name.
    pub(crate) fn program(
        &self,
        runbook: &Arc<Runbook>,
        inputs: &Map<String, Value>,
        run_id: Uuid,
        by: &Actor,
    ) -> Program {
        Program {
            runbook: runbook.clone(),
            registry: self.registry.clone(),
            inputs: input_values(runbook, &self.inventory, inputs),
            inventory: self.inventory_value.clone(),
            run: json!({ "id": run_id, "requested_by": by.name() }),
        }
    }

    fn names(&self, id: &str) -> bool {
        self.inventory.cluster(id).is_some() || self.inventory.fleet(id).is_some()
    }
}

/// The run and actor of what is only planned.
pub(crate) fn nobody() -> (Uuid, Actor) {
    (Uuid::nil(), Actor::system("plan"))
}
