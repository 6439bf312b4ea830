//! Removes what has served its time: ids of deliveries, messages that were sent, sessions and links that are over (see
//! `store::retention` for what stays).
//!
//! Every process does it, an hour apart at most, a few rows at a time with a rest in between, so that it is never in anybody's way.
//! Time is the clock's, as that of the rows is; people's sessions have the wall's.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use store::StoreError;

use crate::Core;

/// How often it is looked for (wall time).
const EVERY: Duration = Duration::from_secs(3600);
/// So many rows go at the same time.
const AT_ONCE: i64 = 500;
/// The rest between two batches (wall time).
const REST: Duration = Duration::from_millis(200);

/// Removes now and again, until the process ends.
pub(crate) async fn keep_house(core: Arc<Core>) {
    loop {
        let before = core.clock.now() - crate::triage::delta(core.settings.keep);
        match sweep(&core, before).await {
            Ok(0) => {}
            Ok(removed) => {
                tracing::info!("removed {removed} deliveries and messages of before {before}, and sessions")
            }
            Err(e) => tracing::warn!("old deliveries, messages and sessions were not removed: {e}"),
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Removes all that is old, batch by batch; how many rows.
async fn sweep(core: &Core, before: Timestamp) -> Result<u64, StoreError> {
    let pool = &core.pool;
    let mut removed = 0;
    loop {
        let deliveries = core.soon(store::retention::deliveries(pool, before, AT_ONCE)).await?;
        let messages = core.soon(store::retention::messages(pool, before, AT_ONCE)).await?;
        let sign_ins = core.soon(store::retention::sign_ins(pool, AT_ONCE)).await?;
        removed += deliveries + messages + sign_ins;
        if deliveries + messages + sign_ins == 0 {
            return Ok(removed);
        }
        tokio::time::sleep(REST).await;
    }
}
