//! The tries of one pair, and which of them count as failed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::Timestamp;
use domain::action::{ActionError, CallRecord, Ctx};
use tokio::time::Instant;

use super::LoginMatrix;
use super::pair::{DIRECT, Pair, login};
use super::told::Cell;
use crate::mysql::{Failure, Kind, millis};

/// A pair that timed out so often is given up: each costs a whole deadline, and the look of all pairs has one, too.
const MOST_TIMEOUTS: u32 = 2;

/// The tries of one pair.
pub(super) struct Tried {
    pub(super) cell: Cell,
    /// Tries that a read-only server answered.
    read_only: u32,
    /// Tries that timed out.
    timeouts: u32,
    /// All tries are done, or no more are worth their time.
    through: bool,
    at: Timestamp,
    slowest: Duration,
}

impl Tried {
    pub(super) fn not_yet(pair: &Pair<'_>, at: Timestamp) -> Self {
        let cell = Cell {
            host: pair.host.to_owned(),
            cluster: pair.cluster.id.clone(),
            ok: true,
            tries: 0,
            failed: 0,
            error: None,
            server_id: None,
            read_only: None,
            ms: 0.0,
        };
        Self { cell, read_only: 0, timeouts: 0, through: false, at, slowest: Duration::ZERO }
    }

    /// Is another try not worth its time? Where the cluster's own endpoint hangs, one time-out through a host says what there is to
    /// say; the second would only keep the others waiting.
    fn given_up(&self, pair: &Pair<'_>) -> bool {
        let hangs = pair.host != DIRECT && pair.hangs.load(Ordering::Relaxed);
        self.timeouts >= if hangs { 1 } else { MOST_TIMEOUTS }
    }

    /// Tells the journal of a pair that failed.
    pub(super) fn record(&self, ctx: &Ctx) {
        let cell = &self.cell;
        let Some(failure) = &cell.error else { return };
        ctx.calls.push(CallRecord {
            at: self.at,
            service: "mysql".into(),
            operation: "login".into(),
            target: format!("{} via {}", cell.cluster, cell.host),
            request_id: None,
            status: format!("{} of {} failed: {}", cell.failed, cell.tries, failure.kind.name()),
            duration_ms: millis(self.slowest),
            mutating: false,
        });
    }
}

impl LoginMatrix {
    /// The tries of one pair, one after the other. What is known of it is known at each moment: the time may be over at any.
    pub(super) async fn cell(
        &self,
        ctx: &Ctx,
        pair: &Pair<'_>,
        tries: u32,
        tried: &mut Tried,
    ) -> Result<(), ActionError> {
        tried.at = ctx.clock.now();
        while tried.cell.tries < tries && !tried.given_up(pair) {
            let account = self.0.account(&pair.cluster.probe)?;
            let _turn = self.0.turn(pair.cluster).await;
            // What it waited for may have been the time-out that says it all.
            if tried.given_up(pair) {
                break;
            }
            let started = Instant::now();
            let result = login(pair, account, &self.0.limits).await;
            tried.slowest = tried.slowest.max(started.elapsed());
            let cell = &mut tried.cell;
            cell.tries += 1;
            cell.ms = coarse(tried.slowest);
            match result {
                Ok(server) => {
                    tried.read_only += u32::from(server.1 == Some(true));
                    (cell.server_id, cell.read_only) = server;
                }
                Err(failure) => {
                    if failure.kind.is_timeout() {
                        tried.timeouts += 1;
                        pair.hangs.fetch_or(pair.host == DIRECT, Ordering::Relaxed);
                    }
                    cell.ok = false;
                    cell.failed += 1;
                    cell.error = Some(failure);
                }
            }
        }
        tried.through = true;
        Ok(())
    }
}

/// The time is over. Is all that is not through of clusters whose own endpoint hangs? Such pairs then count as failed: that their
/// cluster fails directly is known, and no host is taken for well by them. Any other pair may be well or not, so that nothing is told.
pub(super) fn out_of_time(pairs: &[Pair<'_>], tried: &mut [Tried]) -> bool {
    let mut late: Vec<_> = pairs.iter().zip(tried).filter(|(_, one)| !one.through).collect();
    if !late.iter().all(|(pair, _)| pair.hangs.load(Ordering::Relaxed)) {
        return false;
    }
    for (_, Tried { cell, .. }) in &mut late {
        cell.ok = false;
        let message =
            "the time was over before it was tried, and the cluster's own endpoint does not answer in time";
        cell.error.get_or_insert_with(|| Failure::new(Kind::NotTried, message));
    }
    true
}

/// Counts tries through hosts that met a read-only server as failed, where the cluster's endpoint leads to one that is writable.
/// Any try, not the last one: a host may hold the old writer beside the new one.
pub(super) fn judge_read_only(tried: &mut [Tried]) {
    let writable: Vec<String> = tried
        .iter()
        .filter(|one| one.cell.host == DIRECT && one.cell.ok && one.read_only == 0)
        .filter(|one| one.cell.read_only == Some(false))
        .map(|one| one.cell.cluster.clone())
        .collect();
    for Tried { cell, read_only, .. } in tried {
        if cell.host != DIRECT && *read_only > 0 && writable.contains(&cell.cluster) {
            cell.ok = false;
            cell.failed += *read_only;
            let message = format!(
                "{read_only} of {} tries met a read-only server, and the cluster's own endpoint leads to one that is writable",
                cell.tries
            );
            cell.error = Some(Failure::new(Kind::ReadOnly, message));
        }
    }
}

/// The next of 1, 2, 5, 10, 20, 50 … milliseconds.
fn coarse(duration: Duration) -> f64 {
    let ms = duration.as_secs_f64() * 1000.0;
    let steps = (0..7).flat_map(|n| [1.0, 2.0, 5.0].map(|step| step * 10.0_f64.powi(n)));
    steps.into_iter().find(|step| ms <= *step).unwrap_or(ms)
}
