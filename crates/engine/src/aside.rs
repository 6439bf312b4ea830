//! Work that takes long enough to be noticed by those who wait for a lease, or an answer: done where it holds up nobody.

use tokio::task::{JoinError, spawn_blocking};

/// What the work gives. It goes on also when nobody waits for it any more.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await.map_err(JoinError::try_into_panic) {
        Ok(done) => done,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The process ends.
        Err(Err(_)) => std::future::pending().await,
    }
}
