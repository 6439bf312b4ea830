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
//! - [`Engine::start`] is the one door: every run, from every surface, comes in through it; `asking`: what people ask of one.
//! - [`Settings`]: how it behaves.
//! - `driver`: one task per run; carries out what `domain::run::next` says, writes down what happened, decides nothing.
//! - `committer`: group commit: many runs' entries in one statement; `reader`: many runs' journals in one.
//! - `perform`: the three kinds of work: look, change, recover; `calls` keeps what they asked of the outside.
//! - `observer`: looks of all runs for the same thing are one look, within a budget; `look` is how a step asks it.
//! - `library`: the runbooks on the shelf; `reload` replaces them while the process lives; `dangling`: what is configured and not there.
//! - `take_over`: finds what dead workers left and what people ask; `texts` shares runbooks between runs.
//! - `lease`: this process's right to act, on its own monotonic clock; the database's clock decides.
//! - `tail`: what a failover that lost entries leaves to be waited out and asked.
//! - `meters`: what is counted on the way, for whoever measures this process.
//! - `bell`: makes it fast; the one-second poll makes it right.
//! - [`Brakes`], `kill_switch`: what holds it back, and the copy of it that every change asks.
//! - `plan`: the same steps, told before they are done.
//! - `rehearse`: the same for every runbook and target, before anybody needs it.
//! - `seal`: binds what was written into blocks, for `firebreak audit verify`.
//! - `forecast`: how long it takes, from the journals of past runs.
//! - `watch`: the login prober and the symptom charts; it says what it sees as signals.
//! - `triage`: what becomes of a signal; it starts what a rule may start by itself.
//! - `outbox`: tells people elsewhere; `board`: shows runs in a chat, each by one message that is edited in place.
//!
//! Deliberately absent: what an action does (`actions`), what a request looks like (`server`), and every rule about what
//! may follow what (`domain::run`).

mod aside;
mod asking;
mod bell;
mod board;
mod brakes;
mod calls;
pub mod clock;
mod committer;
mod dangling;
mod driver;
mod forecast;
mod incidents;
mod kill_switch;
mod lease;
mod library;
mod look;
mod meters;
mod observer;
mod outbox;
mod perform;
mod plan;
mod reader;
mod rehearse;
mod reload;
mod retention;
mod review;
mod seal;
mod settings;
mod start;
mod tail;
mod take_over;
mod texts;
mod traces;
mod triage;
mod watch;

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use domain::action::Registry;
use domain::chat::Chat;
use domain::inventory::Inventory;
use domain::notice::Channels;
use domain::policy::{Narrowed, Policies};
use domain::runbook::{Runbook, inventory_value};
use domain::{Actor, Clock};
use futures::FutureExt;
use serde_json::Value;
use store::{PgPool, StoreError};
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use asking::{AskError, StopsAgain};
pub use bell::Topic;
pub use brakes::{BrakeError, Brakes, InForce, Known};
pub use dangling::Dangling;
pub use incidents::IncidentError;
pub use library::{Library, Refused, Reloaded, Shelf};
pub use observer::{Budget, Counts};
pub use plan::PlanError;
pub use rehearse::{Readiness, RehearseError};
pub use review::ReviewError;
pub use settings::Settings;
pub use start::{StartError, StartRequest, Started};
pub use triage::trust::{TriggerView, TrustError};
pub use triage::{OfferError, TriageSettings};
pub use watch::{AlarmWatch, WATCHES_WITH, WatchSettings};

use bell::Bell;
use calls::CallKeeper;
use committer::Committer;
use driver::Driver;
use kill_switch::KillSwitch;
use lease::Lease;
use meters::Meters;
use observer::{Observer, Share};
use reader::Reader;
use texts::Texts;

/// Enough to fill a group commit, few enough that what they copy is megabytes.
const TELLING: usize = 128;

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
    /// Where people elsewhere are told.
    pub channels: Channels,
    /// Behaviour.
    pub settings: Settings,
}

/// A running engine. Cheap to clone; [`Engine::shut_down`] ends it.
#[derive(Clone)]
pub struct Engine {
    core: Arc<Core>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// Sends messages; it ends by itself when the engine is shut down.
    sender: Arc<Mutex<Option<JoinHandle<()>>>>,
}

struct Core {
    pool: PgPool,
    registry: Registry,
    inventory: Arc<Inventory>,
    /// The same, as the expressions of all runs see it.
    inventory_value: Arc<Value>,
    library: RwLock<Library>,
    /// Held while files are taken for it.
    reloading: tokio::sync::Mutex<()>,
    texts: Texts,
    clock: Arc<dyn Clock>,
    channels: Channels,
    settings: Settings,
    lease: Lease,
    kill_switch: KillSwitch,
    bell: Bell,
    committer: Committer,
    reader: Reader,
    /// Runs that this worker owns, or may own, without driving them: their creation or claim was not acknowledged.
    strays: Mutex<HashSet<Uuid>>,
    observer: Observer,
    plans: triage::Plans,
    calls: CallKeeper,
    /// How many waiting runs may write down what they see at the same time.
    telling: Semaphore,
    drivers: Mutex<HashMap<Uuid, mpsc::UnboundedSender<driver::Nudge>>>,
    /// This process is stopping: it takes nothing over any more, and whatever it still begins to drive drains at once.
    draining: AtomicBool,
    /// Wakes who sends messages when that is set.
    drain: Notify,
    /// Runs whose newest entries a failover may have lost.
    tails: tail::Tails,
    past: forecast::Past,
    meters: Meters,
}

impl Engine {
    /// Registers a worker incarnation and begins to look for work. It takes no longer than two leases.
    pub async fn launch(parts: Parts) -> Result<Self, StoreError> {
        let Parts { pool, registry, inventory, library, clock, channels, settings } = parts;
        let lease = Lease::take(&pool, &settings.worker, settings.lease).await?;
        let bell = Bell::hang(pool.clone(), lease.worker());
        let kill_switch = KillSwitch::look(&pool).await;
        let safe = store::workers::commits_wait_for_a_standby(&pool);
        if !lease::within(lease.length(), safe).await? {
            tracing::info!(
                "Postgres has no synchronous standby: a failover may lose what was committed last"
            );
        }
        let share = Share::of(settings.look_budget, settings.rds_budget, lease.alive());
        let meters = Meters::default();
        let core = Arc::new(Core {
            committer: Committer::start(&pool, lease.worker(), &meters),
            reader: Reader::start(pool.clone(), lease.length()),
            observer: Observer::new(clock.clone(), share, settings.look_deadline),
            calls: CallKeeper::start(pool.clone()),
            plans: triage::Plans::default(),
            telling: Semaphore::new(TELLING),
            inventory_value: Arc::new(inventory_value(&inventory)),
            texts: Texts::default(),
            strays: Mutex::default(),
            drivers: Mutex::default(),
            draining: AtomicBool::new(false),
            drain: Notify::new(),
            tails: tail::Tails::default(),
            pool,
            registry,
            inventory,
            library: RwLock::new(library),
            reloading: tokio::sync::Mutex::default(),
            clock,
            channels,
            settings,
            lease,
            kill_switch,
            bell,
            past: forecast::Past::default(),
            meters,
        });
        let mut tasks = vec![
            tokio::spawn(core.lease.clone().keep(core.pool.clone())),
            tokio::spawn(core.kill_switch.clone().keep(core.pool.clone(), core.bell.listen_but_runs())),
            tokio::spawn(take_over::find_work(core.clone())),
            tokio::spawn(take_over::hear_wishes(core.clone())),
            tokio::spawn(triage::judge(core.clone())),
            tokio::spawn(outbox::find_news(core.clone())),
            tokio::spawn(retention::keep_house(core.clone())),
            tokio::spawn(seal::keep_sealing(core.pool.clone(), core.settings.seal_every)),
        ];
        if let Some(every) = core.settings.rehearse_every {
            tasks.push(tokio::spawn(rehearse::keep_rehearsing(core.clone(), every)));
        }
        let sender = tokio::spawn(outbox::send(core.clone()));
        Ok(Self { core, tasks: Arc::new(Mutex::new(tasks)), sender: Arc::new(Mutex::new(Some(sender))) })
    }

    /// Looks after the fleets of the inventory until the engine is shut down.
    pub fn watch(&self, settings: WatchSettings) {
        let alarms = settings.alarms.clone();
        let alarms = alarms.map(|alarms| tokio::spawn(watch::watch_alarms(self.core.clone(), alarms)));
        let task = tokio::spawn(watch::watch(self.core.clone(), settings));
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).extend(alarms.into_iter().chain([task]));
    }

    /// Shows runs in a chat until the engine is shut down. The chat is also one of the engine's channels, under the name
    /// [`domain::chat::BOARD`].
    pub fn show_runs(&self, chat: Arc<dyn Chat>) {
        let task = tokio::spawn(board::show(self.core.clone(), chat));
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Completes when a run is not driven by this process (any more): it has ended, or another process has it.
    pub async fn driven(&self, run_id: Uuid) {
        let driver = self.core.drivers.lock().unwrap_or_else(PoisonError::into_inner).get(&run_id).cloned();
        if let Some(driver) = driver {
            driver.closed().await;
        }
    }

    /// What was looked at so far, for all runs together.
    pub fn looks(&self) -> Counts {
        self.core.observer.counts()
    }

    /// Tells of changes as they happen; what is missed is found by reading the store.
    pub fn listen(&self) -> tokio::sync::broadcast::Receiver<Topic> {
        self.core.bell.listen()
    }

    /// What holds everything back.
    pub fn brakes(&self) -> Brakes {
        let runbooks = self.library().iter().map(|(name, _)| name.to_owned()).collect();
        let known = Known::of(Some(runbooks), &self.core.inventory);
        Brakes::new(
            self.core.pool.clone(),
            self.core.clock.clone(),
            known,
            self.core.settings.signature_window,
        )
    }

    /// The actions.
    pub fn registry(&self) -> &Registry {
        &self.core.registry
    }

    /// Who may start what, and agree to it, where that is less than their roles allow.
    pub fn policies(&self) -> &Policies {
        &self.core.settings.policies
    }

    /// May they start this runbook, with all that it runs, by its policy? The same question that the start asks.
    pub fn lets_start(&self, runbook: &Runbook, by: &Actor) -> Result<(), Narrowed> {
        self.core.lets_start(&runbook.name, &self.core.library().children(runbook), by)
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

    /// Calls `end` from a thread of its own should this incarnation still do things a whole lease after it lost its own:
    /// because it was frozen, or because something in it hangs. What may not live on is for the caller to say.
    pub fn guard(&self, end: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        self.core.lease.guard(end)
    }

    /// Starts no step and takes no message any more, lets calls and messages in flight end, and hands the lease back. With a
    /// lost lease there is nothing to wait for: drivers end by themselves, and a call in flight is no longer ours to judge.
    pub async fn shut_down(&self) {
        self.core.draining.store(true, Ordering::SeqCst);
        self.core.drain.notify_one();
        for driver in self.core.drivers.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let _ = driver.send(driver::Nudge::Drain);
        }
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        let sent = async {
            if let Some(sender) = &mut sender {
                let _ = tokio::time::timeout(outbox::DEADLINE, sender).await;
            }
        };
        tokio::select! {
            ((), ()) = futures::future::join(self.core.drained(), sent) => {}
            () = self.core.lease.lost() => {}
        }
        if let Some(sender) = sender {
            sender.abort();
        }
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        self.core.lease.give_back(&self.core.pool).await;
        self.core.lease.is_over();
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
        let (core, run_id, epoch) = (self.clone(), driver.run_id(), driver.epoch());
        let driver = Box::new(driver);
        {
            let mut drivers = self.drivers.lock().unwrap_or_else(PoisonError::into_inner);
            // Under the lock that `shut_down` nudges everybody under: nobody slips in between.
            if self.draining.load(Ordering::SeqCst) {
                let _ = nudges.send(driver::Nudge::Drain);
            }
            drivers.insert(run_id, nudges.clone());
        }
        tokio::spawn(async move {
            // A driver that waits for a database which does not answer must not outlive the lease.
            tokio::select! {
                // Boxed: what is handed on by value takes its place twice, and a run that waits is to be small.
                () = core.survive(run_id, epoch, Box::pin(driver.drive())) => {}
                () = core.lease.lost() => {}
            }
            let mut drivers = core.drivers.lock().unwrap_or_else(PoisonError::into_inner);
            // The run may have been taken up anew meanwhile, under a higher epoch.
            if drivers.get(&run_id).is_some_and(|driver| driver.same_channel(&nudges)) {
                drivers.remove(&run_id);
                core.tails.forget(run_id);
            }
        });
    }

    /// An action that panics is a bug, and takes no more than its run with it: the run stands still, and says so.
    async fn survive(&self, run_id: Uuid, epoch: i64, drive: impl Future<Output = ()>) {
        if let Err(panic) = AssertUnwindSafe(drive).catch_unwind().await {
            let words = panic.downcast_ref::<&str>().map(ToString::to_string);
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            tracing::error!(run = %run_id, "a bug of ours: {words}");
            let why = format!(
                "a bug of Firebreak ({words}): nothing more is done here. Restart this process: whoever takes the run over looks \
                 first what became of its last call. And please report it"
            );
            self.stands_still(run_id, epoch, &why).await;
        }
    }

    /// Says on the run's row that it stands still, for people: until then it would look as if it went on.
    async fn stands_still(&self, run_id: Uuid, epoch: i64, why: &str) {
        loop {
            match store::runs::stands_still(&self.pool, self.lease.worker(), run_id, epoch, why).await {
                Ok(()) => return self.bell.ring(Topic::Run(run_id)),
                Err(e) => {
                    tracing::error!(run = %run_id, "that the run stands still could not be written: {e}");
                    if e.is_final() {
                        return;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Completes when no run is driven here any more.
    async fn drained(&self) {
        loop {
            let some = self.drivers.lock().unwrap_or_else(PoisonError::into_inner).values().next().cloned();
            match some {
                Some(driver) => {
                    driver.closed().await;
                    // Its task has still to leave the list.
                    tokio::task::yield_now().await;
                }
                None => return,
            }
        }
    }
}
