//! One watcher's view of a subject.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::watch;

use super::Wish;
use super::subject::{Look, Seen, Subject, Wanted};

/// Dropping it ends the watch.
pub(crate) struct Subscription {
    subject: Arc<Subject>,
    id: u64,
    /// Only looks that began from then on count.
    asked: Instant,
    /// The last change that it was told.
    told: Option<u64>,
    /// The failures until then.
    failures: u64,
    soaking: bool,
    looked: watch::Receiver<Seen>,
    changed: watch::Receiver<()>,
}

/// What a watcher is told.
pub(crate) struct News {
    /// The look.
    pub(crate) look: Arc<Look>,
    /// There was a change, or a failure, in between that this watcher did not see: what it believed to last did not.
    pub(crate) gap: bool,
}

impl Subscription {
    pub(super) fn new(subject: &Arc<Subject>, id: u64, wish: Option<Wish>) -> Self {
        let asked = Instant::now();
        subject.join(id, wish);
        let (looked, changed) = (subject.looked.subscribe(), subject.changed.subscribe());
        let subject = subject.clone();
        Self { subject, id, asked, told: None, failures: 0, soaking: false, looked, changed }
    }

    /// The next look that says something new to this watcher: the first that began after it came, then each change, and
    /// to one that soaks each failure, too.
    ///
    /// May be dropped and asked again.
    pub(crate) async fn news(&mut self) -> News {
        loop {
            // Before the look is read: a change after that wakes us.
            self.changed.mark_unchanged();
            let seen = self.looked.borrow_and_update().clone();
            if let Some(look) = self.pick(seen) {
                return self.tell(look);
            }
            // The senders live in the subject, which this subscription holds.
            let _ = match self.told {
                Some(_) if !self.soaking => self.changed.changed().await,
                _ => self.looked.changed().await,
            };
        }
    }

    fn pick(&self, seen: Seen) -> Option<Arc<Look>> {
        let broken = |look: &Arc<Look>| self.soaking && look.failures != self.failures;
        let new = |look: &Arc<Look>| look.began >= self.asked && self.told != Some(look.change);
        seen.last.filter(broken).or_else(|| seen.standing.filter(new))
    }

    /// A look that begins from now on, whatever it says; or what one that is under way tells that is new, so that nothing is
    /// passed over.
    pub(crate) async fn fresh(&mut self) -> News {
        let asked = Instant::now();
        self.subject.want(Wanted::Now);
        loop {
            let seen = self.looked.borrow_and_update().clone();
            let fresh = seen.last.clone().filter(|look| look.began >= asked);
            if let Some(look) = fresh.or_else(|| self.pick(seen)) {
                return self.tell(look);
            }
            let _ = self.looked.changed().await;
        }
    }

    /// The first look that began after this subscription.
    pub(super) async fn first(mut self) -> Arc<Look> {
        self.since(self.asked).await
    }

    async fn since(&mut self, asked: Instant) -> Arc<Look> {
        loop {
            let last = self.looked.borrow_and_update().last.clone();
            if let Some(look) = last.filter(|look| look.began >= asked) {
                return look;
            }
            let _ = self.looked.changed().await;
        }
    }

    /// Says whether this watcher soaks: then it is told of failures, and its subject is not looked at more slowly.
    pub(crate) fn soaks(&mut self, soaking: bool) {
        if self.soaking != soaking {
            self.soaking = soaking;
            self.subject.soaks(self.id, soaking);
        }
    }

    fn tell(&mut self, look: Arc<Look>) -> News {
        let changed = self.told.is_some_and(|told| look.change > told + 1);
        let gap = changed || look.failures > self.failures;
        self.failures = look.failures;
        // A failure in passing says nothing of what stands; a change that it hides is told by the next look.
        if look.stands {
            self.told = Some(look.change);
        }
        News { look, gap }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.subject.leave(self.id);
    }
}
