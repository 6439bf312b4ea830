//! A run as one message in a chat: posted once, edited by one process at a time, and shown to its last state whatever is lost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::chat::{BOARD, Card, Chat};
use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::world::Bench;

/// What the chat does with the next edits; afterwards it takes all.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Busy,
    LosesAnswer,
    LosesEdit,
    /// Never answers.
    Hangs,
}

#[derive(Default)]
struct Wall {
    moods: Mutex<Vec<Mood>>,
    posted: Mutex<Vec<(Uuid, String)>>,
    shown: Mutex<Vec<Card>>,
    /// Edits that are under way now, and the most at the same time.
    at_once: Mutex<(usize, usize)>,
    hung: Notify,
    moved: Notify,
}

impl Wall {
    fn in_mood(moods: &[Mood]) -> Arc<Self> {
        Arc::new(Self { moods: Mutex::new(moods.iter().rev().copied().collect()), ..Self::default() })
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Card) -> bool) -> Card {
        let end = tokio::time::Instant::now() + Duration::from_secs(60);
        loop {
            let moved = self.moved.notified();
            if let Some(card) = self.shown.lock().unwrap().last().filter(|card| wanted(card)) {
                return card.clone();
            }
            assert!(tokio::time::Instant::now() < end, "never {what}: {:#?}", self.shown.lock().unwrap());
            let _ = tokio::time::timeout(Duration::from_secs(1), moved).await;
        }
    }
}

impl Channel for Wall {
    fn least(&self) -> Urgency {
        Urgency::Info
    }

    fn is_board(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        let mut posted = self.posted.lock().unwrap();
        posted.push((letter.id, letter.notice.title.clone()));
        std::future::ready(Ok(Some(json!({ "ts": posted.len() })))).boxed()
    }

    fn find<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        let at = self.posted.lock().unwrap().iter().position(|(id, _)| *id == letter.id);
        let found = at.map_or(Found::NotThere, |at| Found::There(Some(json!({ "ts": at + 1 }))));
        std::future::ready(Ok(found)).boxed()
    }
}

impl Chat for Wall {
    fn place(&self) -> Option<&str> {
        Some("C0")
    }

    fn edit<'a>(
        &'a self,
        at: &'a Value,
        card: &'a Card,
        _: &'a str,
    ) -> BoxFuture<'a, Result<(), Undelivered>> {
        assert_eq!(at["ts"], 1, "the first message is the run's");
        let mood = self.moods.lock().unwrap().pop();
        async move {
            {
                let mut at_once = self.at_once.lock().unwrap();
                at_once.0 += 1;
                at_once.1 = at_once.1.max(at_once.0);
            }
            tokio::task::yield_now().await;
            if !matches!(mood, Some(Mood::Busy | Mood::LosesEdit)) {
                self.shown.lock().unwrap().push(card.clone());
            }
            self.at_once.lock().unwrap().0 -= 1;
            self.moved.notify_waiters();
            match mood {
                None => Ok(()),
                Some(Mood::Busy) => {
                    Err(Undelivered::Later { error: "busy".into(), after: Some(Duration::from_secs(2)) })
                }
                Some(Mood::LosesAnswer | Mood::LosesEdit) => Err(Undelivered::Unclear("lost".into())),
                Some(Mood::Hangs) => {
                    self.hung.notify_one();
                    std::future::pending().await
                }
            }
        }
        .boxed()
    }

    fn answer<'a>(&'a self, _: &'a str, _: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>> {
        std::future::ready(Err(Undelivered::Never("nobody asks here".into()))).boxed()
    }

    fn whisper<'a>(&'a self, _: &'a str, _: &'a str, _: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>> {
        std::future::ready(Err(Undelivered::Never("nobody asks here".into()))).boxed()
    }

    fn open<'a>(&'a self, _: &'a str, _: &'a Value) -> BoxFuture<'a, Result<(), Undelivered>> {
        std::future::ready(Err(Undelivered::Never("nobody asks here".into()))).boxed()
    }
}

const STEPS: &str = r#"
steps:
  - id: first
    title: Set the first
    use: world.set
    with: { name: a, value: 1 }
  - id: second
    use: world.set
    with: { name: b, value: 1 }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_however_many_processes_it_is_one_message_edited_in_turn_to_its_last_state() {
    let wall = Wall::in_mood(&[Mood::LosesEdit, Mood::Busy, Mood::LosesAnswer]);
    let bench = Bench::new(STEPS).await.telling(BOARD, wall.clone());
    let lease = Duration::from_secs(10);
    let others = [bench.engine(lease).await, bench.engine(lease).await];
    for engine in &others {
        engine.show_runs(wall.clone());
    }
    let (engine, run) = bench.start().await;
    engine.show_runs(wall.clone());
    bench.ended(run).await;
    let last = wall.until("shown to its end", |card| card.state == "Succeeded").await;
    assert_eq!((last.run, last.done, last.of, last.by.as_str()), (run, 2, 2, "ana"));
    // Its thread is told by the outbox, in its own time.
    let told = async {
        loop {
            let titles: Vec<String> =
                wall.posted.lock().unwrap().iter().map(|(_, title)| title.clone()).collect();
            if titles.len() >= 4 {
                return titles;
            }
            tokio::task::yield_now().await;
        }
    };
    let titles = tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
    assert_eq!(titles, ["Test", "Set the first", "second", "Succeeded: Test"]);
    assert_eq!(wall.at_once.lock().unwrap().1, 1, "no two processes edit one message");
    for engine in others.into_iter().chain([engine]) {
        engine.shut_down().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_while_it_edits_leaves_the_last_state_to_the_next_one() {
    let wall = Wall::in_mood(&[Mood::Hangs]);
    let bench = Bench::new(STEPS).await.telling(BOARD, wall.clone());
    let (first, run) = bench.start().await;
    first.show_runs(wall.clone());
    wall.hung.notified().await;
    bench.ended(run).await;
    first.shut_down().await;
    let second = bench.engine(Duration::from_secs(10)).await;
    second.show_runs(wall.clone());
    wall.until("shown to its end", |card| card.state == "Succeeded").await;
    let parents = wall.posted.lock().unwrap().iter().filter(|(_, title)| title == "Test").count();
    assert_eq!(parents, 1);
    second.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_this_version_cannot_read_is_shown_by_one_that_can() {
    let wall = Wall::in_mood(&[]);
    let bench = Bench::new(STEPS).await.calm().telling(BOARD, wall.clone());
    let (engine, run) = bench.start().await;
    bench.ended(run).await;
    bench.write_of_tomorrow(run).await;
    engine.show_runs(wall.clone());
    let put_off = "SELECT error FROM run_card WHERE error IS NOT NULL AND claim IS NULL
                      AND due > clock_timestamp() + interval '30 seconds'";
    let error = async {
        loop {
            if let Some(error) =
                sqlx::query_scalar::<_, String>(put_off).fetch_optional(bench.pool()).await.unwrap()
            {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(60), error).await.expect("it is put off");
    assert!(error.contains("cannot be read"), "{error}");
    assert!(wall.shown.lock().unwrap().is_empty());
    engine.shut_down().await;
}
