//! What all wire layers share: the world behind its lock, the clock, the ledger, the traps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::aws::Policies;
use crate::clock::Clock;
use crate::hold::Holds;
use crate::ledger::LedgerEntry;
use crate::mysql::Listeners;
use crate::notify::Confirmations;
use crate::physics::{self, Physics};
use crate::shedder::Known;
use crate::statuspage::Incidents;

/// One running simulator, as its tasks see it.
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) holds: Holds,
    pub(crate) policies: Policies,
    pub(crate) listeners: Listeners,
    pub(crate) confirmations: Confirmations,
    /// What the load shedder was asked and did.
    pub(crate) shedder: Known,
    /// What customers were told.
    pub(crate) statuspage: Incidents,
    pub(crate) seed: u64,
    physics: Mutex<Physics>,
    ledger: Mutex<Vec<LedgerEntry>>,
    requests: AtomicU64,
    endpoint: String,
    stop: watch::Receiver<()>,
}

impl Shared {
    pub(crate) fn new(
        clock: Clock,
        physics: Physics,
        seed: u64,
        endpoint: String,
        stop: watch::Receiver<()>,
    ) -> Self {
        Self {
            clock,
            holds: Holds::default(),
            policies: Policies::default(),
            listeners: Listeners::default(),
            confirmations: Confirmations::default(),
            shedder: Known::default(),
            statuspage: Incidents::default(),
            seed,
            physics: Mutex::new(physics),
            ledger: Mutex::new(Vec::new()),
            requests: AtomicU64::new(0),
            endpoint,
            stop,
        }
    }

    /// Moves the world to the present and does something to it, all under one lock.
    pub(crate) fn world<R>(&self, act: impl FnOnce(&mut Physics) -> R) -> R {
        let mut physics = self.physics.lock().unwrap_or_else(PoisonError::into_inner);
        physics.advance(self.clock.now());
        act(&mut physics)
    }

    /// Enters a call in the ledger, at the next place. Called under the world's lock, so that the
    /// ledger's order is the order of the effects.
    pub(crate) fn enter(&self, mut entry: LedgerEntry) -> LedgerEntry {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        entry.n = ledger.len() as u64 + 1;
        entry.at = self.clock.now();
        ledger.push(entry.clone());
        entry
    }

    pub(crate) fn ledger(&self) -> Vec<LedgerEntry> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A new request id, in AWS's form.
    pub(crate) fn request_id(&self) -> String {
        let n = self.requests.fetch_add(1, Ordering::Relaxed);
        let (a, b) = (physics::bits(self.seed, "request", n), physics::bits(self.seed, "request tail", n));
        let (b_high, b_low) = (b >> 48, b & 0xffff_ffff_ffff);
        format!("{:08x}-{:04x}-4{:03x}-{b_high:04x}-{b_low:012x}", a >> 32, (a >> 16) & 0xffff, a & 0xfff)
    }

    /// Base URL of the HTTP side.
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Resolves when the simulator stops (its owner signals, or is gone).
    pub(crate) async fn stopped(&self) {
        let _ = self.stop.clone().changed().await;
    }
}
