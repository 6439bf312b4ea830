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
//! From the same moment on the request counts as sent: before it nothing can have changed, whatever failed. Whoever gives up
//! waiting shuts it, in one step with the question whether it has left: a connection works in a task of its own, and what was
//! said not to be sent must not leave a moment later.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use domain::action::{Gate, GateClosed};
use http_body::{Body, Frame, SizeHint};

/// Lets one change go, or not; clones share what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Departure {
    gate: Gate,
    /// Has it left? Said once, by whichever comes first: its leaving, or the shutting.
    left: Arc<OnceLock<bool>>,
}

impl Departure {
    /// Of a change that `gate` may hold back.
    pub(crate) fn through(gate: Gate) -> Self {
        Self { gate, left: Arc::default() }
    }

    /// Has it left? What has not by now never will.
    pub(crate) fn shut(&self) -> bool {
        *self.left.get_or_init(|| false)
    }

    /// Asks the gate; from a yes on it counts as sent.
    pub(crate) fn leave(&self) -> Result<(), GateClosed> {
        self.gate.check()?;
        match self.left.get_or_init(|| true) {
            true => Ok(()),
            false => Err(GateClosed("nobody waits for its answer any more".into())),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: &mut Guarded) -> Option<Result<Bytes, GateClosed>> {
        match Pin::new(body).poll_frame(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(frame) => frame.map(|frame| frame.map(|frame| frame.into_data().unwrap())),
            Poll::Pending => panic!("it is all there"),
        }
    }

    #[test]
    fn what_was_said_not_to_be_sent_does_not_leave_later() {
        let departure = Departure::through(Gate::open());
        let mut body = departure.guard(Bytes::from_static(b"Action=Terminate"));
        assert!(!departure.shut());
        assert!(matches!(asked(&mut body), Some(Err(_))));
        assert!(!departure.shut());
    }

    #[test]
    fn what_has_left_is_told_so_and_leaves_once() {
        let departure = Departure::through(Gate::open());
        let mut body = departure.guard(Bytes::from_static(b"Action=Terminate"));
        assert_eq!(body.size_hint().exact(), Some(16));
        assert_eq!(asked(&mut body), Some(Ok(Bytes::from_static(b"Action=Terminate"))));
        assert_eq!((asked(&mut body), body.is_end_stream()), (None, true));
        assert!(departure.shut());
    }

    #[test]
    fn what_a_closed_gate_holds_back_was_not_sent() {
        let departure = Departure::through(Gate::new(|| Err(GateClosed("the lease has run out".into()))));
        let mut body = departure.guard(Bytes::from_static(b"Action=Terminate"));
        assert!(matches!(asked(&mut body), Some(Err(_))));
        assert!(!departure.shut());
    }
}
