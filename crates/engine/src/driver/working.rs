//! What a run has going on outside: looks, changes, recoveries, and waiting at the gate.
//!
//! The driver polls all of it itself. A step that is done by a task of its own costs a task, and wakes a thread for each word
//! between the two: on an idle machine that was a third of a run's time. Work goes on whenever its driver waits, also while it
//! waits for a commit ([`Working::beside`]); when the driver is dropped, so is the work.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use domain::run::{Entry, StepPath};
use futures::StreamExt;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use tokio::sync::{oneshot, watch};

/// What work has to say.
pub(crate) struct Report {
    pub(crate) step: StepPath,
    pub(crate) entries: Vec<Entry>,
    pub(crate) next: Next,
}

/// How the work goes on.
pub(crate) enum Next {
    /// It is over.
    Nothing,
    /// It goes on by itself.
    On,
    /// It goes on by itself, and waits until the entries are committed; dropped when they never will be.
    Told(oneshot::Sender<()>),
    /// This is to be done once the entries are committed; never, when they never will be.
    Then(BoxFuture<'static, Report>),
}

/// One thing that is going on.
pub(super) struct Work {
    /// Tells it from what was going on for the same step before.
    n: u64,
    handle: AbortHandle,
    /// May be dropped at any moment: nothing outside depends on its end.
    pub(super) looking: bool,
    /// A call of it is announced: it is on its way, or about to be.
    announced: bool,
    /// Will soon have something to commit: an intent, or what one look saw.
    pub(super) brief: bool,
    /// Tells it that a person wants to be asked now.
    pub(super) hurry: watch::Sender<bool>,
}

/// What work says on its way. It is polled by whoever listens, so that nobody is woken for it.
#[derive(Clone, Default)]
pub(crate) struct Words(Arc<Mutex<Vec<Report>>>);

impl Words {
    pub(crate) fn say(&self, report: Report) {
        self.said().push(report);
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Vec<Report>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work that says at its end which it was.
struct Numbered {
    n: u64,
    work: BoxFuture<'static, Report>,
}

impl Future for Numbered {
    type Output = (u64, Report);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.work.as_mut().poll(cx).map(|report| (self.n, report))
    }
}

#[derive(Default)]
pub(super) struct Working {
    works: BTreeMap<StepPath, Work>,
    running: FuturesUnordered<Abortable<Numbered>>,
    /// What ended, and was not taken yet.
    ended: VecDeque<(u64, Report)>,
    words: Words,
    begun: u64,
}

impl Working {
    pub(super) fn is_empty(&self) -> bool {
        self.works.is_empty()
    }

    pub(super) fn has(&self, step: &StepPath) -> bool {
        self.works.contains_key(step)
    }

    pub(super) fn get(&self, step: &StepPath) -> Option<&Work> {
        self.works.get(step)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Work> {
        self.works.values()
    }

    /// Where its works say what they have to say on their way.
    pub(super) fn words(&self) -> Words {
        self.words.clone()
    }

    /// Has something been said, or ended, that nobody has heard of?
    pub(super) fn has_news(&self) -> bool {
        !self.ended.is_empty() || !self.words.said().is_empty()
    }

    /// Sets something going for a step for which nothing is.
    pub(super) fn begin(
        &mut self,
        step: StepPath,
        (looking, brief): (bool, bool),
        hurry: watch::Sender<bool>,
        work: BoxFuture<'static, Report>,
    ) {
        let (n, handle) = self.run(work);
        self.works.insert(step, Work { n, handle, looking, announced: false, brief, hurry });
    }

    /// Lets the work of a step go on by something new; nothing, when it was dropped meanwhile.
    pub(super) fn go_on(&mut self, step: &StepPath, work: BoxFuture<'static, Report>) {
        if self.works.contains_key(step) {
            let (n, handle) = self.run(work);
            if let Some(was) = self.works.get_mut(step) {
                (was.n, was.handle) = (n, handle);
            }
        }
    }

    fn run(&mut self, work: BoxFuture<'static, Report>) -> (u64, AbortHandle) {
        self.begun += 1;
        let n = self.begun;
        let (handle, registration) = AbortHandle::new_pair();
        self.running.push(Abortable::new(Numbered { n, work }, registration));
        (n, handle)
    }

    /// What it has announced is not to be dropped any more: its call would be left for others to look for.
    pub(super) fn announces(&mut self, step: &StepPath) {
        if let Some(work) = self.works.get_mut(step) {
            (work.announced, work.brief) = (true, false);
        }
    }

    /// Drops everything but calls that are on their way.
    pub(super) fn drop_all_but_calls(&mut self) {
        self.retain(|_, work| work.announced);
    }

    /// It has said that it goes on: what comes will not come soon.
    pub(super) fn takes_longer(&mut self, step: &StepPath) {
        if let Some(work) = self.works.get_mut(step) {
            work.brief = false;
        }
    }

    /// It is over, or nobody waits for it any more.
    pub(super) fn end(&mut self, step: &StepPath) {
        if let Some(work) = self.works.remove(step) {
            work.handle.abort();
        }
    }

    /// Drops all work of which `keep` does not approve.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&StepPath, &Work) -> bool) {
        self.works.retain(|step, work| {
            let kept = keep(step, work);
            if !kept {
                work.handle.abort();
            }
            kept
        });
    }

    /// What was said, in that order, and then what has ended. What was dropped meanwhile has not ended, least of all what has
    /// been set going in its place.
    pub(super) fn news(&mut self) -> Vec<Report> {
        let mut news = std::mem::take(&mut *self.words.said());
        let works = &self.works;
        let ended = self.ended.drain(..);
        let known = ended.filter(|(n, report)| works.get(&report.step).is_some_and(|work| work.n == *n));
        news.extend(known.map(|(_, report)| report));
        news
    }

    /// Completes when there is news: all that there is at that moment. May be dropped and asked again.
    pub(super) async fn go(&mut self) {
        poll_fn(|cx| {
            while let Poll::Ready(Some(ended)) = self.running.poll_next_unpin(cx) {
                self.ended.extend(ended.ok());
            }
            if self.has_news() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await
    }

    /// Waits for something else, while the work goes on.
    pub(super) async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::pin!(other);
        loop {
            tokio::select! {
                biased;
                answer = &mut other => return answer,
                Some(ended) = self.running.next() => self.ended.extend(ended.ok()),
            }
        }
    }
}
