//! One account, region and service, and its budget of requests.
//!
//! Looks queue for a ticket. The urgent (a first look, a soak or a timeout that is due) go before the routine, but every
//! fourth ticket is a routine one if any waits, so that a storm of starts holds nobody up for good. Within a class it is
//! first come, first served: when there is more to watch than the budget allows, everything is looked at equally late.
//!
//! What is asked without a ticket (facts of changes) is charged, too, but half of the budget stays for looks: runs that act in
//! great numbers slow those down that wait, and never blind them.
//!
//! A throttle halves the rate, again with each further one, down to a sixteenth; a calm minute doubles it back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::TimeDelta;
use domain::{Clock, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Budget, Share, lock};

/// Looks that may be under way at once: a service that hangs is not asked by everybody.
const AT_ONCE: usize = 16;
const MOST_HALVINGS: u32 = 4;
const CALM: TimeDelta = TimeDelta::seconds(60);
/// However much a look cost, the lane goes on after so many seconds.
const LONGEST_DEBT: f64 = 30.0;

pub(super) struct Lane {
    clock: Arc<dyn Clock>,
    share: Share,
    room: Arc<Semaphore>,
    inner: Mutex<Inner>,
}

struct Inner {
    /// The budget by which all of this is reckoned.
    budget: Budget,
    urgent: VecDeque<oneshot::Sender<Ticket>>,
    routine: VecDeque<oneshot::Sender<Ticket>>,
    /// Urgent tickets since the last routine one.
    in_front: u32,
    /// When everything granted so far would have been sent at an even rate.
    paid_until: Timestamp,
    /// The same for the looks that the rest of the budget had no room for, at half the rate.
    own_until: Timestamp,
    halvings: u32,
    calm_at: Timestamp,
    /// Does a task hand out tickets?
    open: bool,
}

/// The right to look once; held while looking.
#[derive(Debug)]
pub(super) struct Ticket {
    _room: OwnedSemaphorePermit,
    /// Is it from the half that stays for looks whatever else is asked?
    reserved: bool,
}

impl Lane {
    pub(super) fn new(clock: Arc<dyn Clock>, share: Share) -> Self {
        let (urgent, routine, now) = (VecDeque::new(), VecDeque::new(), clock.now());
        let inner = Inner {
            budget: share.now(),
            urgent,
            routine,
            in_front: 0,
            paid_until: now,
            own_until: now,
            halvings: 0,
            calm_at: now,
            open: false,
        };
        Self { clock, share, room: Arc::new(Semaphore::new(AT_ONCE)), inner: Mutex::new(inner) }
    }

    /// What it may ask while nothing throttles it.
    #[cfg(test)]
    pub(super) fn per_second(&self) -> f64 {
        self.share.now().per_second
    }

    /// Waits for a place in the budget. Dropping the future gives the place up.
    pub(super) async fn ticket(self: &Arc<Self>, urgent: bool) -> Option<Ticket> {
        let (grant, ticket) = oneshot::channel();
        {
            let mut inner = self.inner(self.clock.now());
            if urgent {
                inner.urgent.push_back(grant)
            } else {
                inner.routine.push_back(grant)
            }
            if !inner.open {
                inner.open = true;
                tokio::spawn(hand_out(self.clone()));
            }
        }
        ticket.await.ok()
    }

    /// Charges requests that a look took beyond the one of its ticket.
    pub(super) fn looked(&self, ticket: &Ticket, requests: u32) {
        let now = self.clock.now();
        self.inner(now).looked(ticket.reserved, f64::from(requests), now);
    }

    /// Charges requests that were made without a ticket.
    pub(super) fn spent(&self, requests: u32) {
        let now = self.clock.now();
        self.inner(now).charge(f64::from(requests), now);
    }

    /// The service asked for patience.
    pub(super) fn throttled(&self) {
        let now = self.clock.now();
        let mut inner = self.inner(now);
        inner.halvings = (inner.halvings + 1).min(MOST_HALVINGS);
        inner.calm_at = now + CALM;
        // What was saved up is gone, too.
        let full = inner.saved_up();
        inner.paid_until = inner.paid_until.max(now + full);
    }

    /// How long until the next ticket; `None` when nobody wants one any more.
    fn next(&self) -> Option<TimeDelta> {
        let now = self.clock.now();
        let mut inner = self.inner(now);
        inner.urgent.retain(|wanted| !wanted.is_closed());
        inner.routine.retain(|wanted| !wanted.is_closed());
        if inner.urgent.is_empty() && inner.routine.is_empty() {
            inner.open = false;
            return None;
        }
        if inner.halvings > 0 && now >= inner.calm_at {
            inner.halvings -= 1;
            inner.calm_at = now + CALM;
        }
        // Nothing is owed for longer than that; it could seem so when the clock was set back.
        inner.charge(0.0, now);
        inner.own_until = inner.own_until.min(now + seconds(LONGEST_DEBT));
        Some((inner.paid_until - inner.saved_up()).min(inner.own_until) - now)
    }

    /// As of now, by this process's part of the budget.
    fn inner(&self, now: Timestamp) -> MutexGuard<'_, Inner> {
        let mut inner = lock(&self.inner);
        inner.reckon_by(self.share.now(), now);
        inner
    }

    fn grant(&self, room: OwnedSemaphorePermit) {
        let now = self.clock.now();
        let mut inner = self.inner(now);
        let reserved = inner.paid_until - inner.saved_up() > now;
        let mut ticket = Ticket { _room: room, reserved };
        while let Some(wanted) = inner.pop() {
            match wanted.send(ticket) {
                Ok(()) => return inner.looked(reserved, 1.0, now),
                Err(unwanted) => ticket = unwanted,
            }
        }
    }
}

impl Inner {
    fn rate(&self) -> f64 {
        (self.budget.per_second / f64::from(1_u32 << self.halvings)).max(0.001)
    }

    /// The time in which a full burst builds up.
    fn saved_up(&self) -> TimeDelta {
        seconds((self.budget.burst - 1.0).max(0.0) / self.budget.per_second.max(0.001))
    }

    /// Another part of the budget: what is owed, and what is saved up, stay as many requests as they were.
    fn reckon_by(&mut self, budget: Budget, now: Timestamp) {
        let shorter = self.budget.per_second.max(0.001) / budget.per_second.max(0.001);
        if (shorter - 1.0).abs() > f64::EPSILON {
            let stretched = |until: Timestamp| now + seconds((until - now).as_seconds_f64() * shorter);
            (self.paid_until, self.own_until) = (stretched(self.paid_until), stretched(self.own_until));
            self.budget = budget;
        }
    }

    fn looked(&mut self, reserved: bool, requests: f64, now: Timestamp) {
        self.charge(requests, now);
        if reserved {
            let cost = seconds(2.0 * requests / self.rate());
            self.own_until = (self.own_until.max(now) + cost).min(now + seconds(LONGEST_DEBT));
        }
    }

    fn charge(&mut self, requests: f64, now: Timestamp) {
        let cost = seconds(requests / self.rate());
        let most = now + self.saved_up() + seconds(LONGEST_DEBT);
        self.paid_until = (self.paid_until.max(now) + cost).min(most);
    }

    fn pop(&mut self) -> Option<oneshot::Sender<Ticket>> {
        if self.in_front < 3
            && let Some(urgent) = self.urgent.pop_front()
        {
            self.in_front += 1;
            return Some(urgent);
        }
        self.in_front = 0;
        self.routine.pop_front().or_else(|| self.urgent.pop_front())
    }
}

/// Hands out tickets until nobody wants one.
async fn hand_out(lane: Arc<Lane>) {
    while let Some(wait) = lane.next() {
        if wait > TimeDelta::zero() {
            let longest = seconds(LONGEST_DEBT);
            lane.clock.sleep(wait.min(longest).to_std().unwrap_or_default()).await;
            continue;
        }
        let Ok(room) = lane.room.clone().acquire_owned().await else { return };
        lane.grant(room);
    }
}

fn seconds(seconds: f64) -> TimeDelta {
    #[expect(clippy::cast_possible_truncation, reason = "at most minutes, in microseconds")]
    TimeDelta::microseconds((seconds * 1e6) as i64)
}
