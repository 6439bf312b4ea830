//! Starting and stopping a simulator, and looking into it.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::hold::{Hold, Phase};
use crate::ledger::LedgerEntry;
use crate::physics::{Physics, Sample};
use crate::shared::Shared;
use crate::world::{World, WorldError, WorldInfo};
use crate::{FaultKind, PolicyError, Subscriber, aws, control, notify, shedder, statuspage};

/// Real time between two looks at the clock, while nobody calls.
const HEARTBEAT: Duration = Duration::from_millis(25);

/// Real time that callers get to hang up when the simulator stops.
const PATIENCE: Duration = Duration::from_secs(2);

/// How to run a world.
#[derive(Debug, Clone)]
pub struct Options {
    /// Simulated seconds per real second; 0 stands still until stepped.
    pub speed: f64,
    /// Seed of everything that chance decides.
    pub seed: u64,
    /// Port of the HTTP side on 127.0.0.1; 0 takes a free one.
    pub http_port: u16,
}

impl Default for Options {
    fn default() -> Self {
        Self { speed: 1.0, seed: 1, http_port: 0 }
    }
}

/// Why a simulator cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The world contradicts itself.
    #[error(transparent)]
    World(#[from] WorldError),
    /// A socket cannot be opened.
    #[error("cannot listen on {address}: {source}; is another program using it?")]
    Listen {
        /// The address.
        address: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// All of 127.2.x.x to 127.254.x.x are in use.
    #[error("no free loopback network 127.2.0.0/16 to 127.254.0.0/16: 253 simulators seem to be running")]
    NoSubnet,
}

/// A running simulator. Dropping it closes every socket.
pub struct Sim {
    shared: Arc<Shared>,
    stop: watch::Sender<()>,
    tasks: JoinSet<()>,
}

impl Sim {
    /// Opens the HTTP port and every MySQL listener, and lets time run.
    ///
    /// # Errors
    /// [`StartError`]: a world that contradicts itself, or no socket.
    pub async fn start(world: World, options: Options) -> Result<Self, StartError> {
        let (subnet, reservation) = reserve_subnet()?;
        let physics = Physics::new(&world, options.seed, subnet)?;
        let clock = Clock::new(world.start, options.speed);
        let (stop, stopped) = watch::channel(());
        let address = format!("127.0.0.1:{}", options.http_port);
        let failed = |source| StartError::Listen { address: address.clone(), source };
        let http = TcpListener::bind(&address).await.map_err(failed)?;
        let endpoint = format!("http://{}", http.local_addr().map_err(failed)?);
        let shared = Arc::new(Shared::new(clock, physics, options.seed, endpoint, stopped));
        settle(&shared).await?;

        let mut tasks = JoinSet::new();
        let router = control::router(shared.clone())
            .merge(shedder::router(shared.clone()))
            .merge(statuspage::router(shared.clone()));
        let router = router.fallback_service(aws::router(shared.clone()));
        let until = shared.clone();
        tasks.spawn(async move {
            let served =
                axum::serve(http, router).with_graceful_shutdown(async move { until.stopped().await });
            if let Err(error) = served.await {
                tracing::error!(%error, "the simulator's HTTP side ended");
            }
        });
        tasks.spawn(heartbeat(shared.clone(), reservation));
        Ok(Self { shared, stop, tasks })
    }

    /// Base URL of every AWS service and of the control API, e.g. `http://127.0.0.1:40123`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        self.shared.endpoint()
    }

    /// From now on tells somebody what happens, as SNS or EventBridge would.
    pub fn subscribe(&self, subscriber: Subscriber) {
        notify::subscribe(&self.shared, subscriber);
    }

    /// Completes when the subscriptions that were made so far, and whose invitations have arrived, are confirmed: what happens
    /// from then on reaches them.
    pub async fn confirmed(&self) {
        self.shared.confirmations.all().await;
    }

    /// The ARN of the topic that alarms and events are put into.
    #[must_use]
    pub fn topic(&self) -> String {
        notify::topic(&self.shared)
    }

    /// The certificate of the authority whose certificates its SNS signs with, in PEM.
    #[must_use]
    pub fn authority(&self) -> &'static str {
        notify::AUTHORITY
    }

    /// The simulated clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.shared.clock.clone()
    }

    /// Every call so far, in the order of their effects.
    #[must_use]
    pub fn ledger(&self) -> Vec<LedgerEntry> {
        self.shared.ledger()
    }

    /// What customers have seen so far: per cluster, one sample every five simulated seconds, of at most the
    /// last two simulated days.
    #[must_use]
    pub fn customers(&self) -> Vec<Sample> {
        self.shared.world(|w| w.samples().to_vec())
    }

    /// Share of a cluster's requests that fail just now, 0 to 1; 0 for an unknown cluster.
    #[must_use]
    pub fn error_share(&self, cluster: &str) -> f64 {
        self.shared.world(|w| w.last_sample(cluster).map_or(0.0, Sample::error_share))
    }

    /// Where to find what.
    #[must_use]
    pub fn world_info(&self) -> WorldInfo {
        self.shared.world(|w| w.info())
    }

    /// Lets a fault strike now.
    pub fn strike(&self, fault: FaultKind) {
        self.edit(|w| w.strike(fault));
    }

    /// Looks into the world, or meddles with it, past every wire: nothing of it is in the ledger.
    pub fn edit<R>(&self, act: impl FnOnce(&mut Physics) -> R) -> R {
        self.shared.world(act)
    }

    /// Jumps ahead by `by` of simulated time; on return the world has moved and every socket follows it.
    ///
    /// # Errors
    /// [`StartError::Listen`] if a host that came up cannot listen.
    pub async fn step(&self, by: Duration) -> Result<(), StartError> {
        self.shared.clock.step(by);
        settle(&self.shared).await
    }

    /// Sets a trap for the next call of an operation of any service (`SetDesiredCapacity`,
    /// `PROXYSQL PAUSE`, ...): it stops at `phase` until released.
    #[must_use]
    pub fn hold(&self, operation: &str, phase: Phase) -> Hold {
        self.shared.holds.set(operation, phase)
    }

    /// From now on calls of AWS by this access key or `role/NAME` (or by [`EVERYBODY`](crate::EVERYBODY)) are allowed by this IAM policy
    /// or refused; before, all are allowed.
    ///
    /// # Errors
    /// [`PolicyError`]: no policy, or one that says more than is enforced.
    pub fn allow_only(&self, caller: &str, policy: &serde_json::Value) -> Result<(), PolicyError> {
        self.shared.policies.set(caller, policy)
    }

    /// Stops everything and waits until every socket is closed.
    pub async fn stop(mut self) {
        self.stop.send_replace(());
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(PATIENCE, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // The tasks see this and close their sockets; aborting them would leave the sockets open.
        self.stop.send_replace(());
        self.tasks.detach_all();
    }
}

/// Advances the world while nobody calls, so that hosts boot and die on time; closes every MySQL socket in
/// the end. `reservation` keeps the loopback network ours until then.
async fn heartbeat(shared: Arc<Shared>, reservation: StdListener) {
    let mut stopped = std::pin::pin!(shared.stopped());
    loop {
        tokio::select! {
            () = &mut stopped => break,
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        if let Err((address, error)) = shared.listeners.settle(&shared).await {
            tracing::error!(%address, %error, "the simulator cannot listen");
        }
    }
    shared.listeners.close().await;
    drop(reservation);
}

async fn settle(shared: &Arc<Shared>) -> Result<(), StartError> {
    let settled = shared.listeners.settle(shared).await;
    settled.map_err(|(address, source)| StartError::Listen { address: address.to_string(), source })
}

/// Takes a loopback network that no other simulator on this machine holds.
fn reserve_subnet() -> Result<(u8, StdListener), StartError> {
    // The standard hasher's keys are random per process and instance: chance enough to spread parallel
    // simulators, and the reservation is what makes it safe.
    let start = RandomState::new().hash_one("subnet") % 253;
    (0..253)
        .map(|n| 2 + ((start + n) % 253) as u8)
        .find_map(|s| StdListener::bind((Ipv4Addr::new(127, s, 255, 254), 3306)).ok().map(|l| (s, l)))
        .ok_or(StartError::NoSubnet)
}
