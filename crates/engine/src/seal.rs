//! Binds what was written into blocks, so that a missing journal shows as well as a changed one.
//!
//! Every process tries; the block's number decides who made it. Wall time: how long history stays unsealed must not
//! depend on how fast a simulated clock runs. When nothing moved, nothing is written.

use std::time::Duration;

use store::PgPool;

use crate::lease::within;

/// Longer than the database lets the few statements of a seal last: what has not answered by then has fallen silent.
const PATIENCE: Duration = Duration::from_secs(600);

/// Seals until the process ends.
pub(crate) async fn keep_sealing(pool: PgPool, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        // A little less, so that a process that always comes a moment too early does not halve the pace.
        match within(PATIENCE, store::seals::seal(&pool, every.mul_f64(0.8))).await {
            Ok(None) => {}
            Ok(Some(block)) => tracing::debug!(n = block.n, hash = %block.hash, "sealed"),
            Err(e) => tracing::warn!("history was not sealed: {e}"),
        }
    }
}
