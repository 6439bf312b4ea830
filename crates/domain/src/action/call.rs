//! What an action is given to work with, and how it reports each call it makes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Clock, Timestamp};

/// One call to the outside, as shown on the run page and kept for audit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallRecord {
    /// When it was sent (clock time).
    pub at: Timestamp,
    /// `autoscaling`, `mysql`, …
    pub service: String,
    /// `SetDesiredCapacity`, `login`, …
    pub operation: String,
    /// What it was about, such as a group's name or a host's address; empty when the operation says it all.
    pub target: String,
    /// The service's own id of the request, for CloudTrail.
    pub request_id: Option<String>,
    /// `ok`, or the error code.
    pub status: String,
    /// Wall time it took, in milliseconds.
    pub duration_ms: u64,
    /// Does the operation change something?
    pub mutating: bool,
}

/// Collects the calls of one observation or application.
#[derive(Debug, Clone, Default)]
pub struct CallLog(Arc<Mutex<Vec<CallRecord>>>);

impl CallLog {
    /// Adds a call.
    pub fn push(&self, call: CallRecord) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }

    /// Takes what was collected so far.
    pub fn take(&self) -> Vec<CallRecord> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The send gate: asked last thing before a mutating request goes to the socket.
#[derive(Clone)]
pub struct Gate(Arc<dyn Fn() -> Result<(), GateClosed> + Send + Sync>);

/// Nothing may be sent any more: the lease or the call's deadline has run out, or a kill switch was thrown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not sent: {0}")]
pub struct GateClosed(pub String);

impl Gate {
    /// A gate that asks `check`.
    pub fn new(check: impl Fn() -> Result<(), GateClosed> + Send + Sync + 'static) -> Self {
        Self(Arc::new(check))
    }

    /// A gate for work that changes nothing, or that no lease covers (planning, probing).
    pub fn open() -> Self {
        Self::new(|| Ok(()))
    }

    /// May a mutating request be sent now?
    pub fn check(&self) -> Result<(), GateClosed> {
        (self.0)()
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gate").field(&self.check()).finish()
    }
}

/// What an action is given with each call.
#[derive(Clone)]
pub struct Ctx {
    /// Clock time, for stamps and for nothing else: an action never waits by itself.
    pub clock: Arc<dyn Clock>,
    /// Where each call to the outside is reported, also a failed one.
    pub calls: CallLog,
    /// Asked when a mutating request is about to leave, its connection standing.
    pub gate: Gate,
    /// Wall time that the whole observation or application may take.
    pub deadline: Duration,
    /// Stable for one step of one run, over all its attempts: the client token where a service takes one, so that it knows a
    /// call that is made again because its answer was lost.
    pub token: String,
}

impl Ctx {
    /// A context for looking only: its gate is shut, so that a plan cannot change anything even by mistake.
    pub fn looking(clock: Arc<dyn Clock>, deadline: Duration) -> Self {
        let gate = Gate::new(|| Err(GateClosed("looking changes nothing".into())));
        Self { clock, calls: CallLog::default(), gate, deadline, token: String::new() }
    }
}
