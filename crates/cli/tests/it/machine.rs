//! Who has the machine. Drills are scored against a clock that runs many times as fast as ours: whatever takes the processor for
//! minutes beside them (a browser, a fuzzer) would look like slowness of what is scored.

use std::io::Write as _;
use std::sync::Once;

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

static MACHINE: RwLock<()> = RwLock::const_new(());

/// For a drill: others may be played beside it.
pub(crate) fn for_a_drill() -> RwLockReadGuard<'static, ()> {
    MACHINE.blocking_read()
}

/// For what needs most of it, and for long.
pub(crate) async fn for_itself() -> RwLockWriteGuard<'static, ()> {
    say_at_once_why();
    MACHINE.write().await
}

/// Why a test fails is said when it does, beside what the servers log at that moment, and not only at the end of all tests: a report
/// may be cut off before, and the time tells much.
fn say_at_once_why() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // Not `eprintln!`, which is kept back with what a test prints.
            let _ = writeln!(std::io::stderr(), "{:?}: {panic}", std::thread::current().name());
            usual(panic);
        }));
    });
}
