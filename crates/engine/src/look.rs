//! Looking: once, or until what a step waits for has come true.
//!
//! All looks of steps go through the shared observer. This file only asks it and lets `domain::run::Watch` judge; between
//! two things worth judging a waiting run costs a timer and a place in a list.

use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::action::{ActionError, ErrorClass};
use domain::run::{Entry, How, Verdict, Watch};
use serde_json::Value;

use crate::observer::{News, Subscription, Wish};
use crate::perform::{Dropped, Job};

/// The longest rest before what could not be seen at the end of a wait is looked at once more (clock time).
const ONCE_MORE: Duration = Duration::from_secs(5);

impl Job {
    /// Looks once.
    pub(crate) async fn look(&self, attempt: u32, action: &str, input: &Value) -> Vec<Entry> {
        let action = match self.action(action) {
            Ok(action) => action,
            Err(e) => return self.failed(e),
        };
        let look = self.core.observer.once(&action, input).await;
        self.keep_calls(attempt, &look.calls).await;
        match &look.result {
            Ok(output) => match self.foreign(&*action, output) {
                Some(error) => {
                    let facts = Value::clone(output);
                    vec![Entry::Failed { step: self.step().clone(), error, facts }]
                }
                None => self.done(output.clone(), How::Looked),
            },
            Err(e) => self.failed(e.clone()),
        }
    }

    /// Looks until what is waited for has come true, or waiting longer is pointless.
    pub(crate) async fn wait(
        &self,
        attempt: u32,
        action: &str,
        input: &Value,
        watch: &Watch,
        since: Timestamp,
    ) -> Result<Vec<Entry>, Dropped> {
        let action = match self.action(action) {
            Ok(action) => action,
            Err(e) => return Ok(self.failed(e)),
        };
        let wish = Wish { every: watch.until.every, since, expect: watch.until.expect };
        let mut sight = self.core.observer.watch(&action, input, wish);
        let (mut held_since, mut shown) = (None, None);
        let mut last: Option<Arc<Value>> = None;
        // Why the last look saw nothing; and since when nothing was seen here, which begins anew with each process.
        let begun = self.now();
        let (mut blind, mut blind_since) = (None::<ActionError>, Some(begun));
        loop {
            let Some(News { look, gap }) = self.next(&mut sight, watch.due(since, held_since)).await else {
                // Time is up, and nothing can be seen.
                let now = self.now();
                let blind_since = *blind_since.get_or_insert(now);
                let verdict = watch.overdue(since, blind_since, now, blind.as_ref());
                match self.waited(verdict, last.as_deref()) {
                    Some(entries) => return Ok(entries),
                    None => continue,
                }
            };
            if gap {
                held_since = None;
            }
            let verdict = match &look.result {
                Ok(out) => {
                    (last, blind, blind_since) = (Some(out.clone()), None, None);
                    watch.judge(out, (since, begun), &mut held_since, look.at)
                }
                Err(e) if matches!(e.class, ErrorClass::Refused | ErrorClass::Gone) => {
                    Verdict::Failed(e.clone())
                }
                // A look that may succeed the next time breaks a soak, and nothing else.
                Err(e) => {
                    held_since = None;
                    let blind_since = *blind_since.get_or_insert(look.at);
                    watch.overdue(since, blind_since, look.at, Some(blind.insert(e.clone())))
                }
            };
            sight.soaks(held_since.is_some());
            Box::pin(self.keep_calls(attempt, &look.calls)).await;
            if let Some(entries) = self.waited(verdict, last.as_deref()) {
                return Ok(entries);
            }
            if blind.is_some() && watch.due(since, held_since) <= self.now() {
                self.core.clock.sleep(watch.until.every.min(ONCE_MORE)).await;
            }
            if let Ok(out) = &look.result
                && shown.as_ref() != Some(out)
            {
                shown = Some(out.clone());
                let entry = Entry::Observed { step: self.step().clone(), output: out.clone() };
                if held_since.is_some() {
                    // A look that is missed meanwhile would break the soak.
                    self.tell(entry);
                } else {
                    // What many see at the same moment is copied into their journals by a few at a time. What ends a wait
                    // does not queue here.
                    let _turn = self.core.telling.acquire().await;
                    self.commit(entry).await?;
                }
            }
        }
    }

    /// What is worth judging next: news, or a look of the moment at which a soak or the patience ends. `None` when that
    /// look could not be had in good time.
    async fn next(&self, sight: &mut Subscription, due: Timestamp) -> Option<News> {
        let left = (due - self.now()).to_std().unwrap_or_default();
        if !left.is_zero() {
            tokio::select! {
                news = sight.news() => return Some(news),
                () = self.core.clock.sleep(left) => {}
            }
        }
        tokio::time::timeout(self.core.settings.look_deadline, sight.fresh()).await.ok()
    }

    /// How the wait has ended, if it has.
    fn waited(&self, verdict: Verdict, last: Option<&Value>) -> Option<Vec<Entry>> {
        let last = last.cloned().unwrap_or_default();
        match verdict {
            Verdict::NotYet => None,
            Verdict::Holds | Verdict::Expired => Some(self.done(last, How::Looked)),
            Verdict::Failed(error) => {
                Some(vec![Entry::Failed { step: self.step().clone(), error, facts: last }])
            }
        }
    }
}
