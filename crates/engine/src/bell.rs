//! Notifications: one coalesced NOTIFY per process and ten milliseconds, on a connection of its own and never inside a
//! write (there it would cost up to three quarters of the throughput). A ring that is lost costs a second, nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use store::PgPool;
use store::listener::{Notifier, PgListener};
use tokio::sync::{broadcast, mpsc};
use uuid::Uuid;

const CHANNEL: &str = "firebreak";
/// Payloads of NOTIFY end at 8000 bytes; a topic is at most 45.
const TOPICS_PER_NOTIFY: usize = 150;
/// When more runs than this moved at once, it is not said which: whoever follows one looks anew. To name them would cost more
/// than to look, and fall behind.
const MANY_RUNS: usize = 50;

/// No worker has this id.
const NOBODY: i64 = 0;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A run's journal grew.
    Run(Uuid),
    /// The journals of many runs grew, in another process.
    Runs,
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
            Self::Runs => "runs".into(),
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
            None if text == "runs" => Some(Self::Runs),
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
    /// Without the runs that moved: they ring with every commit, and most listeners wait for something else.
    but_runs: broadcast::Sender<Topic>,
    elsewhere: mpsc::UnboundedSender<Topic>,
}

impl Bell {
    /// Hangs the bell: two tasks that end with the process (or with the last clone).
    pub(crate) fn hang(pool: PgPool, worker: i64) -> Self {
        let (here, _) = broadcast::channel(1024);
        let (but_runs, _) = broadcast::channel(256);
        let (elsewhere, queue) = mpsc::unbounded_channel();
        tokio::spawn(tell_others(pool.clone(), worker, queue));
        let bell = Self { here, but_runs, elsewhere };
        tokio::spawn(hear_others(pool, worker, bell.here.downgrade(), bell.but_runs.downgrade()));
        bell
    }

    pub(crate) fn ring(&self, topic: Topic) {
        ring_here(&self.here, &self.but_runs, topic);
        let _ = self.elsewhere.send(topic);
    }

    pub(crate) fn listen(&self) -> broadcast::Receiver<Topic> {
        self.here.subscribe()
    }

    /// For whoever does not care which runs moved.
    pub(crate) fn listen_but_runs(&self) -> broadcast::Receiver<Topic> {
        self.but_runs.subscribe()
    }
}

fn ring_here(here: &broadcast::Sender<Topic>, but_runs: &broadcast::Sender<Topic>, topic: Topic) {
    let _ = here.send(topic);
    if !matches!(topic, Topic::Run(_) | Topic::Runs) {
        let _ = but_runs.send(topic);
    }
}

/// Rings for every process, from one that has no bell.
pub(crate) async fn ring_everywhere(pool: &PgPool, topic: Topic) {
    if let Err(e) = store::listener::notify(pool, CHANNEL, &format!("{NOBODY} {}", topic.write())).await {
        tracing::debug!("NOTIFY: {e}");
    }
}

/// A line that falls silent is given up after this.
const PATIENCE: Duration = Duration::from_secs(10);

async fn tell_others(pool: PgPool, worker: i64, mut queue: mpsc::UnboundedReceiver<Topic>) {
    let mut line = Notifier::beside(&pool);
    while let Some(first) = queue.recv().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut topics = BTreeSet::from([first]);
        let waiting = queue.len();
        topics.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(waiting));
        for text in messages(worker, topics) {
            match tokio::time::timeout(PATIENCE, line.notify(CHANNEL, &text)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::debug!("NOTIFY: {e}"),
                Err(_) => tracing::debug!("NOTIFY: no answer"),
            }
        }
    }
}

/// What others are told, in as many messages as it takes.
fn messages(worker: i64, mut topics: BTreeSet<Topic>) -> Vec<String> {
    if topics.iter().filter(|topic| matches!(topic, Topic::Run(_))).count() > MANY_RUNS {
        topics.retain(|topic| !matches!(topic, Topic::Run(_)));
        topics.insert(Topic::Runs);
    }
    let words: Vec<String> = topics.into_iter().map(Topic::write).collect();
    words.chunks(TOPICS_PER_NOTIFY).map(|words| format!("{worker} {}", words.join(" "))).collect()
}

type Weak = broadcast::WeakSender<Topic>;

async fn hear_others(pool: PgPool, worker: i64, here: Weak, but_runs: Weak) {
    loop {
        if let Err(e) = hear(&pool, worker, &here, &but_runs).await {
            tracing::debug!("LISTEN: {e}; polling goes on");
        }
        if here.upgrade().is_none() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn hear(pool: &PgPool, worker: i64, here: &Weak, but_runs: &Weak) -> Result<(), store::StoreError> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    loop {
        let notification = listener.recv().await?;
        let mut words = notification.payload().split(' ');
        if words.next() == Some(worker.to_string().as_str()) {
            continue;
        }
        let (Some(here), Some(but_runs)) = (here.upgrade(), but_runs.upgrade()) else { return Ok(()) };
        for topic in words.filter_map(Topic::read) {
            ring_here(&here, &but_runs, topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_arrives_and_many_runs_are_told_as_many() {
        let id = |n: usize| Uuid::from_u128(n as u128);
        let heard = |topics: BTreeSet<Topic>| -> BTreeSet<Topic> {
            let messages = messages(7, topics);
            assert!(messages.iter().all(|text| text.len() < 8000 && text.starts_with("7 ")));
            messages.iter().flat_map(|text| text.split(' ').skip(1).filter_map(Topic::read)).collect()
        };
        let few: BTreeSet<_> = (0..MANY_RUNS)
            .map(|n| Topic::Run(id(n)))
            .chain([Topic::Fleets, Topic::Brakes, Topic::Signals, Topic::Runs])
            .chain((0..400).map(|n| Topic::Inbox(id(n))))
            .collect();
        assert_eq!(heard(few.clone()), few);

        let many = (0..=MANY_RUNS).map(|n| Topic::Run(id(n))).chain([Topic::Inbox(id(0))]).collect();
        assert_eq!(heard(many), BTreeSet::from([Topic::Runs, Topic::Inbox(id(0))]));
    }
}
