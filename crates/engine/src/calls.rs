//! Keeps the calls that runs made: whatever has come in meanwhile is one statement.
//!
//! When ten thousand runs see the same change, or hundreds act at the same time, their calls share inserts instead of
//! each waiting for a connection.
//!
//! What was done is not given up. While Postgres is away (a failover takes it half a minute) calls are held, and follow when it
//! is back, also when their incarnation has lost its lease meanwhile: they say what was, and a run whose result was never
//! written is judged by them. A run waits for that only a moment: what it may do meanwhile its own journal decides. It does
//! nothing new, so that what is held does not grow. Should the process end first, its log names the changes.
//!
//! A try that gets no answer may land later than the next: each call has an id of its own from before the first.

use std::time::Duration;

use domain::action::CallRecord;
use store::calls::{Keep, Kept};
use store::{PgPool, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// How many runs' calls one statement holds at the most.
const BATCH: usize = 256;
/// How long a run waits for its calls to be kept.
const WAIT: Duration = Duration::from_secs(2);
/// A database that takes longer to answer does not.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two tries: that of the journals, whose results should not be there long before.
const PAUSE: Duration = Duration::from_millis(200);

struct Order {
    calls: Vec<Keep>,
    done: oneshot::Sender<()>,
}

pub(crate) struct CallKeeper(mpsc::UnboundedSender<Order>);

impl CallKeeper {
    /// Sets the keeper going; it ends when this handle is gone and everything is kept.
    pub(crate) fn start(pool: PgPool) -> Self {
        let (orders, queue) = mpsc::unbounded_channel();
        tokio::spawn(keep(pool, queue));
        Self(orders)
    }

    /// Returns when they are kept, or when it is clear that this takes longer.
    pub(crate) async fn keep(&self, kept: Kept) {
        if kept.calls.is_empty() {
            return;
        }
        let (done, wait) = oneshot::channel();
        if self.0.send(Order { calls: kept.into_calls().collect(), done }).is_ok() {
            let _ = timeout(WAIT, wait).await;
        }
    }
}

async fn keep(pool: PgPool, mut queue: mpsc::UnboundedReceiver<Order>) {
    let mut orders = Vec::new();
    while queue.recv_many(&mut orders, BATCH).await > 0 {
        let (calls, done): (Vec<_>, Vec<_>) = orders.drain(..).map(|o| (o.calls, o.done)).unzip();
        keep_all(&pool, calls.into_iter().flatten().collect()).await;
        for done in done {
            let _ = done.send(());
        }
    }
}

/// When the database refuses them, their halves are tried, down to what it cannot take: that is on the log alone.
async fn keep_all(pool: &PgPool, calls: Vec<Keep>) {
    let mut parts = vec![calls];
    while let Some(mut part) = parts.pop() {
        match until_answered(pool, &part).await {
            Ok(()) => {}
            Err(_) if part.len() > 1 => {
                parts.push(part.split_off(part.len() / 2));
                parts.push(part);
            }
            Err(e) => tracing::error!(
                "calls that cannot be kept, and are here alone: {}: {e}",
                list(&part, |_| true)
            ),
        }
    }
}

/// An error is a refusal: what may pass is tried again until it does.
async fn until_answered(pool: &PgPool, calls: &[Keep]) -> Result<(), StoreError> {
    let mut again = false;
    loop {
        let silent = || Err(StoreError::Again("the database does not answer"));
        match timeout(PATIENCE, store::calls::add(pool, calls)).await.unwrap_or_else(|_| silent()) {
            Err(e) if e.is_final() => return Err(e),
            Err(e) if !again => {
                let changes = list(calls, |call| call.mutating);
                tracing::warn!(
                    calls = calls.len(),
                    "calls are not kept yet: {e}; changes among them: [{changes}]"
                );
            }
            Err(e) => tracing::debug!("calls are not kept yet: {e}"),
            Ok(()) => return Ok(()),
        }
        again = true;
        sleep(PAUSE).await;
    }
}

/// Those of the calls, with what a person needs to find them at the other end.
fn list(calls: &[Keep], of_interest: impl Fn(&CallRecord) -> bool) -> String {
    let lines =
        calls.iter().filter(|keep| of_interest(&keep.call)).map(|Keep { run_id, step, call, .. }| {
            let CallRecord { at, service, operation, target, status, .. } = call;
            let id = call.request_id.as_deref().unwrap_or("none");
            format!("{run_id} {step}: {at} {service} {operation} {target}: {status}, request id {id}")
        });
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use store::private::{Alone, Stop, TestDb};
    use uuid::Uuid;

    use super::*;

    fn call_of(run: u128, target: &str) -> Kept {
        let call = CallRecord {
            at: "2024-05-07T14:42:00.123456Z".parse().unwrap(),
            service: "rds".into(),
            operation: "FailoverDBCluster".into(),
            target: target.into(),
            request_id: Some("8f2e".into()),
            status: "ok".into(),
            duration_ms: 7,
            mutating: true,
        };
        Kept { run_id: Uuid::from_u128(run), step: "fail_over".into(), attempt: 1, calls: vec![call] }
    }

    async fn kept_of(pool: &PgPool, run: u128) -> Vec<String> {
        let calls = store::calls::of_run(pool, Uuid::from_u128(run), 10).await.unwrap_or_default();
        calls.into_iter().map(|call| call.target).collect()
    }

    #[tokio::test]
    async fn a_call_made_while_postgres_is_away_is_kept_once_it_is_back_whoever_drives_the_run_by_then() {
        let server = Alone::start().await.unwrap();
        let pool = store::connect(&server.url("postgres")).await.unwrap();
        let keeper = CallKeeper::start(pool.clone());
        server.stop(Stop::Immediate).await.unwrap();
        keeper.keep(call_of(1, "shard-b")).await; // the run goes on
        drop(keeper);
        server.resume().await.unwrap();
        let kept = async {
            while kept_of(&pool, 1).await != ["shard-b"] {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(60), kept).await.expect("it is kept");
    }

    #[tokio::test]
    async fn what_the_database_cannot_take_keeps_none_of_the_others_away() {
        let db = TestDb::new().await.unwrap();
        let calls = [call_of(1, "shard-a"), call_of(2, "a\0b"), call_of(3, "shard-c"), call_of(4, "shard-d")];
        keep_all(db.pool(), calls.into_iter().flat_map(Kept::into_calls).collect()).await;
        for (run, target) in [(1, Some("shard-a")), (2, None), (3, Some("shard-c")), (4, Some("shard-d"))] {
            assert_eq!(kept_of(db.pool(), run).await, Vec::from_iter(target));
        }
    }

    #[tokio::test]
    async fn a_try_whose_answer_was_lost_is_not_kept_twice() {
        let db = TestDb::new().await.unwrap();
        let calls: Vec<Keep> =
            [call_of(1, "shard-a"), call_of(2, "shard-b")].into_iter().flat_map(Kept::into_calls).collect();
        store::calls::add(db.pool(), &calls[..1]).await.unwrap();
        for _ in 0..2 {
            store::calls::add(db.pool(), &calls).await.unwrap();
        }
        assert_eq!(kept_of(db.pool(), 1).await, ["shard-a"]);
        assert_eq!(kept_of(db.pool(), 2).await, ["shard-b"]);
    }

    #[tokio::test]
    async fn a_try_that_is_still_under_way_is_waited_for_and_lands_or_leaves_it_to_the_next() {
        let db = TestDb::new().await.unwrap();
        for (run, lands) in [(1, true), (2, false)] {
            let calls: Vec<Keep> = call_of(run, "shard-a").into_calls().collect();
            // As one that stands at its commit, for a standby that does not answer: nobody sees yet what it wrote.
            let mut first = db.pool().begin().await.unwrap();
            store::calls::add(&mut *first, &calls).await.unwrap();
            let (pool, same) = (db.pool().clone(), calls.clone());
            let second = tokio::spawn(async move { store::calls::add(&pool, &same).await });
            let waits =
                "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.datname = current_database()
                          JOIN pg_stat_activity a ON a.pid = l.pid AND a.datid = d.oid WHERE NOT l.granted)";
            let waiting = async {
                while !sqlx::query_scalar::<_, bool>(waits).fetch_one(db.pool()).await.unwrap() {
                    assert!(!second.is_finished(), "it did not wait");
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(30), waiting).await.expect("it waits");
            if lands {
                first.commit().await.unwrap()
            } else {
                first.rollback().await.unwrap()
            }
            second.await.unwrap().unwrap();
            assert_eq!(kept_of(db.pool(), run).await, ["shard-a"], "it lands: {lands}");
        }
    }
}
