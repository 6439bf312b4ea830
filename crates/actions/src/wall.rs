//! The wall's time, for what others compare with their own clocks: signatures, and when credentials end.

use std::time::SystemTime;

/// Whatever clock a run is on, they know no other.
#[expect(clippy::disallowed_methods, reason = "signatures are made for clocks that are not ours")]
pub(crate) fn now() -> SystemTime {
    SystemTime::now()
}
