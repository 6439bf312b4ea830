//! Notifications: one coalesced NOTIFY per process and ten milliseconds, on a connection of its own and never inside a
//! write (there it would cost up to three quarters of the throughput). A ring that is lost costs a second, nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use store::PgPool;
use store::listener::PgListener;
use tokio::sync::{broadcast, mpsc};
use uuid::Uuid;

const CHANNEL: &str = "firebreak";
/// Payloads of NOTIFY end at 8000 bytes; a topic is at most 45.
const TOPICS_PER_NOTIFY: usize = 150;

/// No worker has this id.
const NOBODY: i64 = 0;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A run's journal grew.
    Run(Uuid),
    /// A run's inbox holds something new.
    Inbox(Uuid),
    /// The prober has seen the fleets again.
    Fleets,
    /// A kill switch, a freeze or a hand lock was set or released.
    Brakes,
    /// A signal has come in, or has got its verdict.
    Signals,
}

impl Topic {
    fn write(self) -> String {
        match self {
            Self::Run(id) => format!("run:{id}"),
            Self::Inbox(id) => format!("inbox:{id}"),
            Self::Fleets => "fleets".into(),
            Self::Brakes => "brakes".into(),
            Self::Signals => "signals".into(),
        }
    }

    fn read(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some(("run", id)) => id.parse().ok().map(Self::Run),
            Some(("inbox", id)) => id.parse().ok().map(Self::Inbox),
            None if text == "fleets" => Some(Self::Fleets),
            None if text == "brakes" => Some(Self::Brakes),
            None if text == "signals" => Some(Self::Signals),
            _ => None,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Bell {
    here: broadcast::Sender<Topic>,
    elsewhere: mpsc::UnboundedSender<Topic>,
}

impl Bell {
    /// Hangs the bell: two tasks that end with the process (or with the last clone).
    pub(crate) fn hang(pool: PgPool, worker: i64) -> Self {
        let (here, _) = broadcast::channel(1024);
        let (elsewhere, queue) = mpsc::unbounded_channel();
        tokio::spawn(tell_others(pool.clone(), worker, queue));
        tokio::spawn(hear_others(pool, worker, here.downgrade()));
        Self { here, elsewhere }
    }

    pub(crate) fn ring(&self, topic: Topic) {
        let _ = self.here.send(topic);
        let _ = self.elsewhere.send(topic);
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Topic> {
        self.here.subscribe()
    }
}

/// Rings for every process, from one that has no bell.
pub(crate) async fn ring_everywhere(pool: &PgPool, topic: Topic) {
    if let Err(e) = store::listener::notify(pool, CHANNEL, &format!("{NOBODY} {}", topic.write())).await {
        tracing::debug!("NOTIFY: {e}");
    }
}

async fn tell_others(pool: PgPool, worker: i64, mut queue: mpsc::UnboundedReceiver<Topic>) {
    while let Some(first) = queue.recv().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut topics = BTreeSet::from([first]);
        while topics.len() < TOPICS_PER_NOTIFY
            && let Ok(topic) = queue.try_recv()
        {
            topics.insert(topic);
        }
        let words: Vec<String> = topics.into_iter().map(Topic::write).collect();
        if let Err(e) =
            store::listener::notify(&pool, CHANNEL, &format!("{worker} {}", words.join(" "))).await
        {
            tracing::debug!("NOTIFY: {e}");
        }
    }
}

async fn hear_others(pool: PgPool, worker: i64, here: broadcast::WeakSender<Topic>) {
    loop {
        if let Err(e) = hear(&pool, worker, &here).await {
            tracing::debug!("LISTEN: {e}; polling goes on");
        }
        if here.upgrade().is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn hear(
    pool: &PgPool,
    worker: i64,
    here: &broadcast::WeakSender<Topic>,
) -> Result<(), store::StoreError> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let notification = listener.recv().await?;
        let mut words = notification.payload().split(' ');
        if words.next() == Some(worker.to_string().as_str()) {
            continue;
        }
        let Some(here) = here.upgrade() else { return Ok(()) };
        for topic in words.filter_map(Topic::read) {
            let _ = here.send(topic);
        }
    }
}
