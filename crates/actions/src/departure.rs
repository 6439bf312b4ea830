//! The moment at which a change leaves this process.
//!
//! ```text
//!  request ─▶ resolve, connect, TLS (seconds, where nothing answers) ─▶ its first byte is asked for ─▶ gate open? ─▶ socket
//! ```
//!
//! A request that is checked before its connection stands may go out seconds later, after the lease or past a kill switch.
//! So the check is inside of the request: HTTP asks a body for its bytes once the connection is there, and a body that
//! refuses them ends the connection. What is on the wire by then is a head at the most, which announces more bytes than
//! ever come: no service acts on that.
//!
//! From the same moment on the request counts as sent: before it nothing can have changed, whatever failed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use domain::action::{Gate, GateClosed};
use http_body::{Body, Frame, SizeHint};

/// Lets one change go, or not; clones share what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Departure {
    gate: Gate,
    sent: Arc<AtomicBool>,
}

impl Departure {
    /// Of a change that `gate` may hold back.
    pub(crate) fn through(gate: Gate) -> Self {
        Self { gate, sent: Arc::default() }
    }

    /// Has it left?
    pub(crate) fn sent(&self) -> bool {
        self.sent.load(Ordering::SeqCst)
    }

    /// Asks the gate; from a yes on it counts as sent.
    pub(crate) fn leave(&self) -> Result<(), GateClosed> {
        self.gate.check()?;
        self.sent.store(true, Ordering::SeqCst);
        Ok(())
    }

    /// A body whose bytes go out only through the gate.
    pub(crate) fn guard(&self, bytes: Bytes) -> Guarded {
        Guarded { bytes: Some(bytes), departure: self.clone() }
    }
}

/// Bytes behind a gate.
#[derive(Debug)]
pub(crate) struct Guarded {
    bytes: Option<Bytes>,
    departure: Departure,
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = GateClosed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GateClosed>>> {
        let Some(bytes) = self.bytes.take() else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(self.departure.leave().map(|()| Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
