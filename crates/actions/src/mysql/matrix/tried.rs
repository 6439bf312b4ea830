//! The tries of one pair, and which of them count as failed.

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
        Self { cell, read_only: 0, at, slowest: Duration::ZERO }
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
        let mut timeouts = 0;
        while tried.cell.tries < tries && timeouts < MOST_TIMEOUTS {
            let account = self.0.account(&pair.cluster.probe)?;
            let _turn = self.0.turn(pair.cluster).await;
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
                    timeouts += u32::from(failure.kind.is_timeout());
                    cell.ok = false;
                    cell.failed += 1;
                    cell.error = Some(failure);
                }
            }
        }
        Ok(())
    }
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
