//! The one door through which every run comes in: from a button, Slack, the CLI, the API or an alert.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use domain::brake::{BadOverride, Brake, Limit, Overrides};
use domain::plan::{Plan, to_type};
use domain::policy::{Door, Narrowed};
use domain::run::{Entry, Program};
use domain::runbook::{AtStart, Children, Diagnostic, InputMistake, Runbook, input_values, resolve_inputs};
use domain::token::{Deed, OutOfScope};
use domain::words::many;
use domain::{Actor, Role, Timestamp};
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
    /// The plan they saw: compared with the world before the first step. Without one nothing is compared.
    pub plan: Option<Plan>,
    /// What they say against the brakes in their way.
    pub overrides: Overrides,
    /// What they typed to confirm, where the risk demands it.
    pub confirm: Option<String>,
    /// Stand in line for a lock that is held, instead of being refused.
    pub wait: bool,
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
    #[error("runbook `{name}` has {} and cannot be run; see `firebreak runbook check`", many(mistakes.len(), "mistake"))]
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
    /// A brake is on: the kill switch, a freeze, a limit, a target that a person has taken.
    #[error("{0}")]
    Held(Box<Brake>),
    /// What was said against a brake is not taken.
    #[error(transparent)]
    BadOverride(#[from] BadOverride),
    /// Their role does not allow it.
    #[error("to start a run takes {}, and you are {}", Role::Responder.one(), .0.one())]
    NotAllowed(Role),
    /// The token is not good for it.
    #[error(transparent)]
    OutOfScope(#[from] OutOfScope),
    /// The runbook's policy does not allow it.
    #[error(transparent)]
    Narrowed(#[from] Narrowed),
    /// The target must be typed.
    #[error("`{runbook}` is of high risk: type `{target}` to start it")]
    NotConfirmed {
        /// Name of the runbook.
        runbook: String,
        /// What must be typed.
        target: String,
    },
    /// Others must agree, and there is no plan to agree to.
    #[error("`{0}` needs the agreement of others, who agree to a plan: make a plan first, and start with it")]
    NoPlan(String),
    /// Others must agree, and are not told why.
    #[error("`{0}` needs the agreement of others: say why, in a few words, for it is what they go by")]
    NoReason(String),
    /// The plan is not one of this start.
    #[error("the plan was made for another text of `{0}`, or for other inputs; make a new one")]
    OtherPlan(String),
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
    pub(crate) async fn start(self: &Arc<Self>, request: StartRequest) -> Result<Started, StartError> {
        if request.wait {
            // Most locks are free: only a start that finds one held stands in line.
            match self.begin(request.clone(), false).await {
                Err(StartError::Locked(_)) => self.begin(request, true).await,
                answer => answer,
            }
        } else {
            self.begin(request, false).await
        }
    }

    /// Has the run written and driven. One that needs the agreement of others, or is to stand `in_line`, takes no lock yet.
    async fn begin(self: &Arc<Self>, request: StartRequest, in_line: bool) -> Result<Started, StartError> {
        let core = self;
        let run_id = Uuid::now_v7();
        let prepared = core.prepare(&request.runbook, &request.inputs, run_id, &request.by)?;
        // Checked here, not at a surface: no door may be without it.
        permit(&request, &prepared)?;
        core.lets_start(&prepared.runbook.name, &prepared.program.children, &request.by)?;
        request.overrides.check(&request.by, request.reason.as_deref())?;
        // Whoever drains hands its runs on, and would hand this one on before its first step, to whoever comes when all is over here.
        if core.lease.remaining().is_none() || core.draining.load(Ordering::SeqCst) {
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
            children: prepared.program.pins(),
        };
        self.keep_texts(&prepared.program.children, at).await?;
        let approval = prepared.runbook.approval();
        let gated = (in_line || approval.is_some()).then_some(Entry::Gated { approval });
        let run = NewRun {
            id: run_id,
            runbook: prepared.runbook.name.clone(),
            hash: prepared.runbook.hash.clone(),
            source: prepared.runbook.source.to_string(),
            title: prepared.title,
            inputs: prepared.inputs,
            plan: request.plan.as_ref().and_then(|p| serde_json::to_value(p).ok()),
            by: request.by.clone(),
            idem_key: request.idem_key.clone(),
            locks: if gated.is_some() { Vec::new() } else { prepared.locks },
            free: prepared.program.is_free(&prepared.limits),
            limits: prepared.limits,
            overrides: request.overrides.clone(),
            reason: request.reason.clone(),
            owner: core.lease.worker(),
            at,
        };
        let title = run.title.clone();
        let (told, wait) = oneshot::channel();
        let (driver, nudges) = Driver::born(core, prepared.program, entry, gated, Birth { run, told });
        core.drive(driver, nudges);
        match wait.await {
            Ok(Ok(started)) => Ok(started),
            Ok(Err(Unborn::Failed(e))) => Err(e),
            Ok(Err(Unborn::Refused(why))) => core.refused(&request, at, &title, why).await,
            Err(_) => Err(StartError::Stopping),
        }
    }

    /// May they start it, by its policy and by those of all that it runs?
    pub(crate) fn lets_start(&self, name: &str, children: &Children, by: &Actor) -> Result<(), Narrowed> {
        let runbooks = std::iter::once(name).chain(children.keys().map(String::as_str));
        self.settings.policies.let_through(runbooks, Door::Start, by)
    }

    /// Keeps what was refused, and says it.
    async fn refused(
        &self,
        request: &StartRequest,
        at: Timestamp,
        title: &str,
        why: Created,
    ) -> Result<Started, StartError> {
        let (action, details, error) = match why {
            // It will stand in line instead.
            Created::Locked(holder) if request.wait => return Err(StartError::Locked(Box::new(holder))),
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
        self.soon(store::audit::add(&self.pool, at, &request.by, &action, title, details)).await?;
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
        let library = self.library();
        let shelf = library.get(name).ok_or_else(|| StartError::UnknownRunbook {
            name: name.to_owned(),
            known: library.iter().map(|(name, _)| name.to_owned()).collect(),
        })?;
        let runbook = shelf
            .runbook
            .clone()
            .map_err(|mistakes| StartError::BrokenRunbook { name: name.to_owned(), mistakes })?;
        let children = library.children(&runbook);
        self.prepare_text(runbook, children, given, run_id, by)
    }

    /// The same for a runbook at hand, such as the text that a run is pinned to.
    pub(crate) fn prepare_text(
        &self,
        runbook: Arc<Runbook>,
        children: Children,
        given: &Map<String, Value>,
        run_id: Uuid,
        by: &Actor,
    ) -> Result<Prepared, StartError> {
        let inputs = resolve_inputs(&runbook, &self.inventory, given).map_err(StartError::BadInputs)?;
        let program = self.program(&runbook, children, &inputs, run_id, by);
        let AtStart { locks, limits } = program.at_start()?;
        let mut targets: Vec<_> = Vec::new();
        for id in texts(&inputs).filter(|id| self.names(id)) {
            if !targets.contains(&id) {
                targets.push(id);
            }
        }
        let title = match targets.as_slice() {
            [] => runbook.title.clone(),
            targets => format!("{}: {}", runbook.title, targets.join(", ")),
        };
        Ok(Prepared { runbook, inputs, title, locks, limits, program })
    }

    /// A runbook and those that it runs, with what their expressions may name.
    pub(crate) fn program(
        &self,
        runbook: &Arc<Runbook>,
        children: Children,
        inputs: &Map<String, Value>,
        run_id: Uuid,
        by: &Actor,
    ) -> Program {
        Program {
            runbook: runbook.clone(),
            children,
            registry: self.registry.clone(),
            inputs: Arc::new(input_values(runbook, &self.inventory, inputs)),
            inventory: self.inventory_value.clone(),
            places: self.inventory.clone(),
            run: Arc::new(json!({ "id": run_id, "requested_by": by.name() })),
            window: self.settings.signature_window,
        }
    }

    /// The texts of children are kept before the run that names them by hash is written: at worst a text nobody ever ran.
    async fn keep_texts(&self, children: &Children, at: Timestamp) -> Result<(), StoreError> {
        for child in children.values() {
            let (name, hash, text) = (&child.name, &child.hash, &child.source);
            self.soon(store::runs::keep_text(&self.pool, name, hash, text, at)).await?;
        }
        Ok(())
    }

    fn names(&self, id: &str) -> bool {
        self.inventory.cluster(id).is_some() || self.inventory.fleet(id).is_some()
    }
}

/// May this person start this, in this way? Nothing of it depends on what else is going on.
fn permit(request: &StartRequest, prepared: &Prepared) -> Result<(), StartError> {
    let Prepared { runbook, inputs, title, .. } = prepared;
    if request.by.role() < Role::Responder {
        return Err(StartError::NotAllowed(request.by.role()));
    }
    request.by.within_scope(Deed::Run(&runbook.name))?;
    if let Some(target) = to_type(runbook.risk, title, &runbook.name)
        && request.confirm.as_deref().map(str::trim) != Some(target)
    {
        return Err(StartError::NotConfirmed { runbook: runbook.name.clone(), target: target.to_owned() });
    }
    let why = request.reason.as_deref().map_or("", str::trim);
    match &request.plan {
        None if runbook.approval().is_some() => Err(StartError::NoPlan(runbook.name.clone())),
        _ if runbook.approval().is_some() && why.is_empty() => {
            Err(StartError::NoReason(runbook.name.clone()))
        }
        Some(plan)
            if plan.runbook_hash != runbook.hash
                || plan.inputs != *inputs
                || !plan.is_known_by(&plan.hash) =>
        {
            Err(StartError::OtherPlan(runbook.name.clone()))
        }
        _ => Ok(()),
    }
}

/// All texts of the inputs, those of lists among them: what may name a cluster or a fleet.
pub(crate) fn texts(inputs: &Map<String, Value>) -> impl Iterator<Item = &str> {
    inputs
        .values()
        .flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice))
        .filter_map(Value::as_str)
}

/// The run and actor of what is only planned.
pub(crate) fn nobody() -> (Uuid, Actor) {
    (Uuid::nil(), Actor::system("plan"))
}
