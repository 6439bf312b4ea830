//! Who has the machine. Drills are scored against a clock that runs many times as fast as ours: whatever takes the processor for
//! minutes beside them (a browser, a fuzzer) would look like slowness of what is scored.

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// For a drill: others may be played beside it.
pub(crate) fn for_a_drill() -> RwLockReadGuard<'static, ()> {
    MACHINE.blocking_read()
}

/// For what needs most of it, and for long.
pub(crate) async fn for_itself() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().await
}
