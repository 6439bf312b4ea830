//! Makes runs move.
//!
//! ```text
//!  start ──▶ one statement: run, locks, request ──▶ driver (owned by this process from birth)
//!                                                      │
//!            ┌──── domain::run::next ◀── journal ◀─────┤ append, fenced by owner and epoch
//!            ▼                                         │
//!        look · change · recover ──── actions ─────────┘
//! ```
//!
//! - [`Engine::start`] is the one door: every run, from every surface, comes in through it.
//! - `driver`: one task per run; carries out what `domain::run::next` says, writes down what happened, decides nothing.
//! - `committer`: group commit: many runs' entries in one statement.
//! - `perform`: the three kinds of work: look, change, recover.
//! - `lease`: this process's right to act, on its own monotonic clock; the database's clock decides.
//! - `bell`: makes it fast; the one-second poll makes it right.
//! - `plan`: the same steps, told before they are done.
//! - `watch`: the login prober and the symptom charts.
//!
//! Deliberately absent: what an action does (`actions`), what a request looks like (`server`), and every rule about what
//! may follow what (`domain::run`).

mod bell;
pub mod clock;
mod committer;
mod driver;
mod lease;
mod library;
mod perform;
mod plan;
mod review;
mod start;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::action::Registry;
use domain::inventory::Inventory;
use domain::run::{Ask, State};
use domain::{Actor, Clock};
use store::{PgPool, StoreError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use bell::Topic;
pub use library::{Library, Shelf};
pub use plan::PlanError;
pub use review::ReviewError;
pub use start::{StartError, StartRequest, Started};
pub use watch::WatchSettings;

use bell::Bell;
use committer::Committer;
use driver::{Driver, TakeUpError};
use lease::Lease;

/// How an engine behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name of this process, for people.
    pub worker: String,
    /// How long a worker is believed alive after its last renewal (wall time). Take-over costs at most this.
    pub lease: Duration,
    /// How long one mutating call may take (wall time); never longer than what is left of the lease.
    pub change_deadline: Duration,
    /// How long one look may take (wall time).
    pub look_deadline: Duration,
    /// How long after its deadline a signed request may still be accepted by the service. AWS takes signatures of about
    /// five minutes' age.
    pub signature_window: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            worker: "firebreak".into(),
            lease: Duration::from_secs(10),
            change_deadline: Duration::from_secs(15),
            look_deadline: Duration::from_secs(60),
            signature_window: Duration::from_secs(300),
        }
    }
}

/// What an engine works with.
pub struct Parts {
    /// Postgres, migrated.
    pub pool: PgPool,
    /// The actions.
    pub registry: Registry,
    /// What may be touched.
    pub inventory: Arc<Inventory>,
    /// The runbooks.
    pub library: Library,
    /// Clock time.
    pub clock: Arc<dyn Clock>,
    /// Behaviour.
    pub settings: Settings,
}

/// A running engine. Cheap to clone; [`Engine::shut_down`] ends it.
#[derive(Clone)]
pub struct Engine {
    core: Arc<Core>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

struct Core {
    pool: PgPool,
    registry: Registry,
    inventory: Arc<Inventory>,
    library: Library,
    clock: Arc<dyn Clock>,
    settings: Settings,
    lease: Lease,
    bell: Bell,
    committer: Committer,
    /// Runs that this worker owns, or may own, without driving them: their creation or claim was not acknowledged.
    strays: Mutex<HashSet<Uuid>>,
    drivers: Mutex<HashMap<Uuid, mpsc::UnboundedSender<driver::Nudge>>>,
}

/// Why a wish was not taken.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// There is no such run.
    #[error("there is no run {0}")]
    NoSuchRun(Uuid),
    /// Their role does not allow it.
    #[error("{0}")]
    NotAllowed(String),
    /// It is not possible now.
    #[error(transparent)]
    Refused(#[from] domain::run::Refusal),
    /// The journal does not make sense to this version.
    #[error("the journal of this run cannot be read: {0}")]
    Illegal(#[from] domain::run::Illegal),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Registers a worker incarnation and begins to look for work.
    pub async fn launch(parts: Parts) -> Result<Self, StoreError> {
        let Parts { pool, registry, inventory, library, clock, settings } = parts;
        let lease = Lease::take(&pool, &settings.worker, settings.lease).await?;
        let bell = Bell::hang(pool.clone(), lease.worker());
        let committer = Committer::start(&pool, lease.worker());
        let (strays, drivers) = (Mutex::default(), Mutex::default());
        let core = Arc::new(Core {
            pool,
            registry,
            inventory,
            library,
            clock,
            settings,
            lease,
            bell,
            committer,
            strays,
            drivers,
        });
        let tasks = vec![
            tokio::spawn(core.lease.clone().keep(core.pool.clone())),
            tokio::spawn(find_work(core.clone())),
        ];
        Ok(Self { core, tasks: Arc::new(Mutex::new(tasks)) })
    }

    /// Looks after the fleets of the inventory until the engine is shut down.
    pub fn watch(&self, settings: WatchSettings) {
        let task = tokio::spawn(watch::watch(self.core.clone(), settings));
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Asks something of a run: checked against its state now, put into its inbox, and answered by its owner.
    pub async fn ask(&self, run_id: Uuid, id: Uuid, by: &Actor, ask: &Ask) -> Result<(), AskError> {
        let journal = store::runs::journal(&self.core.pool, run_id).await?;
        if journal.is_empty() {
            return Err(AskError::NoSuchRun(run_id));
        }
        let (state, now) = (State::replay(&journal)?, self.core.clock.now());
        domain::run::answer(&state, ask)?;
        domain::run::allowed(&state, by, ask).map_err(|e| AskError::NotAllowed(e.0))?;
        domain::run::answer_to(&state, by, ask)?;
        domain::run::overdue(&state, ask, now)?;
        if let Ask::Reject { reason, .. } | Ask::BreakGlass { reason, .. } = ask
            && reason.trim().is_empty()
        {
            return Err(domain::run::Refusal(format!("to {} takes a reason", ask.verb())).into());
        }
        if let Ask::BreakGlass { reason, .. } = ask {
            review::tell(&self.core, by, run_id, reason).await?;
        }
        store::inbox::put(&self.core.pool, run_id, id, by, ask, self.core.clock.now()).await?;
        self.core.nudge(run_id);
        self.core.bell.ring(Topic::Inbox(run_id));
        Ok(())
    }

    /// Completes when a run is not driven by this process (any more): it has ended, or another process has it.
    pub async fn driven(&self, run_id: Uuid) {
        let driver = self.core.drivers.lock().unwrap_or_else(PoisonError::into_inner).get(&run_id).cloned();
        if let Some(driver) = driver {
            driver.closed().await;
        }
    }

    /// Tells of changes as they happen; what is missed is found by reading the store.
    pub fn listen(&self) -> tokio::sync::broadcast::Receiver<Topic> {
        self.core.bell.listen()
    }

    /// The runbooks.
    pub fn library(&self) -> &Library {
        &self.core.library
    }

    /// The actions.
    pub fn registry(&self) -> &Registry {
        &self.core.registry
    }

    /// What may be touched.
    pub fn inventory(&self) -> &Arc<Inventory> {
        &self.core.inventory
    }

    /// Clock time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.core.clock
    }

    /// The database.
    pub fn pool(&self) -> &PgPool {
        &self.core.pool
    }

    /// Completes when this incarnation has lost its lease: the process must start anew.
    pub async fn lost(&self) {
        self.core.lease.lost().await;
    }

    /// Starts no step any more, lets calls in flight end, and hands the lease back.
    pub async fn shut_down(&self) {
        for driver in self.core.drivers.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let _ = driver.send(driver::Nudge::Drain);
        }
        self.core.drained().await;
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        if let Err(e) = self.core.lease.give_back(&self.core.pool).await {
            tracing::warn!("the lease could not be handed back, it will run out by itself: {e}");
        }
    }
}

impl Core {
    fn nudge(&self, run_id: Uuid) {
        if let Some(driver) = self.drivers.lock().unwrap_or_else(PoisonError::into_inner).get(&run_id) {
            let _ = driver.send(driver::Nudge::Inbox);
        }
    }

    /// Drives a run from here on.
    fn drive(self: &Arc<Self>, driver: Driver, nudges: mpsc::UnboundedSender<driver::Nudge>) {
        let (core, run_id) = (self.clone(), driver.run_id());
        self.drivers.lock().unwrap_or_else(PoisonError::into_inner).insert(run_id, nudges.clone());
        tokio::spawn(async move {
            driver
                .drive(|| {
                    let mut drivers = core.drivers.lock().unwrap_or_else(PoisonError::into_inner);
                    // The run may have been taken up anew meanwhile, under a higher epoch.
                    if drivers.get(&run_id).is_some_and(|driver| driver.same_channel(&nudges)) {
                        drivers.remove(&run_id);
                    }
                })
                .await;
        });
    }

    /// A run that may be ours without being driven is looked at again with the next poll.
    fn remember_stray(&self, run_id: Uuid) {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner).insert(run_id);
    }

    /// Says on the run's row that it stands still, for people.
    async fn stands_still(&self, run_id: Uuid, epoch: i64, why: &str) {
        if let Err(e) = store::runs::stands_still(&self.pool, self.lease.worker(), run_id, epoch, why).await {
            tracing::error!(run = %run_id, "that the run stands still could not be written: {e}");
        }
    }

    /// Completes when no run is driven here any more.
    async fn drained(&self) {
        loop {
            let some = self.drivers.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned();
            match some {
                Some(driver) => driver.closed().await,
                None => return,
            }
        }
    }
}

/// Once a second, and at every ring: takes over what dead workers left, and nudges runs with unanswered wishes.
async fn find_work(core: Arc<Core>) {
    let mut rings = core.bell.listen();
    loop {
        if let Err(e) = take_over(&core).await {
            tracing::warn!("looking for work: {e}");
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            ring = rings.recv() => if let Ok(Topic::Inbox(run_id)) = ring {
                core.nudge(run_id);
                continue;
            },
        }
    }
}

async fn take_over(core: &Arc<Core>) -> Result<(), StoreError> {
    if core.lease.remaining().is_none() {
        return Ok(());
    }
    for run_id in store::inbox::waiting(&core.pool, core.lease.worker()).await? {
        core.nudge(run_id);
    }
    let strays: Vec<Uuid> =
        core.strays.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
    for run_id in strays {
        let claimed = store::runs::claim_own(&core.pool, core.lease.worker(), run_id).await?;
        core.strays.lock().unwrap_or_else(PoisonError::into_inner).remove(&run_id);
        if let Some(claimed) = claimed {
            take_up(core, &claimed).await;
        }
    }
    for claimed in store::runs::claim_abandoned(&core.pool, core.lease.worker(), 32).await? {
        take_up(core, &claimed).await;
    }
    Ok(())
}

async fn take_up(core: &Arc<Core>, claimed: &store::runs::Claimed) {
    let run = claimed.run_id;
    match Driver::take_over(core, claimed).await {
        Ok((driver, nudges)) => {
            tracing::info!(%run, epoch = claimed.epoch, "took a run over");
            core.drive(driver, nudges);
        }
        Err(TakeUpError::Store(e)) if !e.is_final() => {
            tracing::warn!(%run, "a run was taken over but cannot be read now: {e}");
            core.remember_stray(run);
        }
        Err(e) => {
            tracing::error!(%run, "a run was taken over but cannot be driven: {e}");
            core.stands_still(run, claimed.epoch, &e.to_string()).await;
        }
    }
}
