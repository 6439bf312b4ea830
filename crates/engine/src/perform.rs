//! The three kinds of work: look (see `look`), change, recover. Each talks to the outside, reports, and decides nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::Timestamp;
use domain::action::{
    Action, ActionError, CallLog, CallRecord, Ctx, Effect, ErrorClass, ForeignWork, Gate, GateClosed,
};
use domain::run::{
    Attempt, Entry, FOREIGN_WORK, How, Intent, Perform, Recovery, StepPath, Undo, is_unanswered, recover,
};
use serde_json::Value;
use store::calls::Kept;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::Core;
use crate::driver::{Next, Report, Words};

pub(crate) struct Job {
    pub(crate) core: Arc<Core>,
    pub(crate) run_id: Uuid,
    /// The runbooks that the step is inside of, by name: what is said of any of them holds for it.
    pub(crate) runbooks: Arc<[String]>,
    /// Had the run not changed anything when the work began?
    pub(crate) untouched: bool,
    /// The step's attempts when the work began.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) perform: Perform,
    /// The change of this step of which a copy may still be on its way, though a person has said that it did not happen.
    pub(crate) on_its_way: Option<Intent>,
    /// Turns true when a person says that it is not to be looked for any longer what became of a call.
    pub(crate) hurry: watch::Receiver<bool>,
    pub(crate) words: Words,
}

/// Does the work, up to its end or to what must be committed before it goes on.
///
/// What is short is boxed: a look that waits for hours is not to hold the space of a change.
pub(crate) async fn perform(mut job: Job) -> Report {
    if !matches!(job.perform, Perform::Look { .. }) {
        job.core.tails.wait(job.run_id, &*job.core.clock).await;
    }
    if let Perform::Look { watch: Some(watch), .. } = &mut job.perform {
        watch.pack();
    }
    let entries = match &job.perform {
        Perform::Look { attempt, action, input, watch: None, .. } => {
            Ok(Box::pin(job.look(*attempt, action, input)).await)
        }
        Perform::Look { attempt, action, input, watch: Some(watch), since, .. } => {
            job.wait(*attempt, action, input, watch, *since).await
        }
        Perform::Change { .. } => return Box::pin(job.change()).await,
        Perform::Recover { attempt, intent, .. } => {
            let mut hurry = job.hurry.clone();
            Ok(Box::pin(job.recover(*attempt, intent, &mut hurry)).await)
        }
    };
    job.ends(entries.unwrap_or_else(|Dropped| Vec::new()))
}

/// The driver is gone.
pub(crate) struct Dropped;

impl Job {
    pub(crate) fn step(&self) -> &StepPath {
        self.perform.step()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.core.clock.now()
    }

    fn ends(&self, entries: Vec<Entry>) -> Report {
        Report { step: self.step().clone(), entries, next: Next::Nothing }
    }

    /// Reports, and goes on.
    pub(crate) fn tell(&self, entry: Entry) {
        self.words.say(Report { step: self.step().clone(), entries: vec![entry], next: Next::On });
    }

    /// Reports, and waits until it is committed.
    pub(crate) async fn commit(&self, entry: Entry) -> Result<(), Dropped> {
        let (committed, wait) = oneshot::channel();
        let (step, next) = (self.step().clone(), Next::Told(committed));
        self.words.say(Report { step, entries: vec![entry], next });
        wait.await.map_err(|_| Dropped)
    }

    pub(crate) fn failed(&self, error: ActionError) -> Vec<Entry> {
        vec![self.perform.failed(&self.attempts, error, self.now())]
    }

    pub(crate) fn done(&self, output: impl Into<Arc<Value>>, how: How) -> Vec<Entry> {
        vec![Entry::Done { step: self.step().clone(), output: output.into(), how }]
    }

    pub(crate) fn action(&self, name: &str) -> Result<Arc<dyn Action>, ActionError> {
        self.core.registry.get(name).cloned().ok_or_else(|| {
            ActionError::refused(
                "unknown_action",
                format!("this version of Firebreak has no action `{name}`"),
            )
        })
    }

    fn ctx(&self, deadline: Duration, gate: Gate) -> Ctx {
        Ctx {
            clock: self.core.clock.clone(),
            calls: CallLog::default(),
            gate,
            deadline,
            // Of the step, not of the attempt: a call whose answer was lost is made again by the next attempt, and the
            // receiver must know it for the same.
            token: [self.run_id.hyphenated().encode_lower(&mut Uuid::encode_buffer()), self.step().as_str()]
                .join(":"),
        }
    }

    /// Looks once, within the deadline, and keeps the calls that it took. Not shared: what a change rests on, or what became
    /// of one, is looked at by this run, now.
    async fn observe(&self, action: &dyn Action, attempt: u32, input: &Value) -> Result<Value, ActionError> {
        let deadline = self.core.settings.look_deadline;
        let ctx = self.ctx(deadline, Gate::new(|| Err(GateClosed("looking changes nothing".into()))));
        let seen = match tokio::time::timeout(deadline, action.observe(&ctx, input)).await {
            Ok(seen) => seen,
            Err(_) => {
                let waited = humantime(deadline);
                Err(ActionError::new(ErrorClass::Transient, "timeout", format!("no answer within {waited}")))
            }
        };
        let calls = ctx.calls.take();
        let busy = matches!(&seen, Err(e) if e.class == ErrorClass::Busy);
        self.core.observer.spent(action, input, &calls, busy);
        self.keep_calls(attempt, &calls).await;
        seen
    }

    /// Calls are kept as soon as they were made.
    pub(crate) async fn keep_calls(&self, attempt: u32, calls: &[CallRecord]) {
        let (run_id, step) = (self.run_id, self.step().clone());
        self.core.calls.keep(Kept { run_id, step, attempt, calls: calls.to_vec() }).await;
    }

    /// Work of others on what was looked at, before this run has changed anything: a guard that every runbook has. A look that
    /// waits (`until`) may well wait for just that to be over.
    pub(crate) fn foreign(&self, action: &dyn Action, output: &Value) -> Option<ActionError> {
        self.untouched.then(|| foreign_work(&action.foreign(output)))?
    }

    /// Announces a change; once that is committed, makes it.
    async fn change(self) -> Report {
        let Perform::Change { attempt, action, input, undo, .. } = &self.perform else {
            return self.ends(Vec::new());
        };
        let attempt = *attempt;
        // Unreadable counts as on; unlike a switch that is on, it passes by itself.
        self.core.kill_switch.readable().await;
        let (action, intent, closes) = match self.announce(attempt, action, input, *undo).await {
            Ok(announced) => announced,
            Err(entries) => return self.ends(entries),
        };
        let (step, facts) = (self.step().clone(), intent.facts.clone());
        let announced = Entry::Intent {
            step: step.clone(),
            attempt,
            action: intent.action,
            input: intent.input,
            facts: intent.facts,
            effect: intent.effect,
            deadline: intent.deadline,
            undo: intent.undo,
        };
        let apply = async move {
            let entries = match &self.perform {
                Perform::Change { input, .. } => self.apply(&*action, attempt, input, &facts, closes).await,
                _ => Vec::new(),
            };
            self.ends(entries)
        };
        Report { step, entries: vec![announced], next: Next::Then(Box::pin(apply)) }
    }

    /// Everything before the intent: look, see whether it is so already, ask the action whether it would refuse.
    /// `Err` holds the entries when nothing is to be sent.
    async fn announce(
        &self,
        attempt: u32,
        name: &str,
        input: &Arc<Value>,
        undo: Option<bool>,
    ) -> Result<(Arc<dyn Action>, Intent, Instant), Vec<Entry>> {
        let failed = |e| self.failed(e);
        let action = self.action(name).map_err(failed)?;
        if let Some(doubt) = self.core.tails.doubt(self.run_id, self.step(), action.spec().effect) {
            return Err(failed(doubt));
        }
        let facts = self.observe(&*action, attempt, input).await.map_err(failed)?;
        if let Some(earlier) = &self.on_its_way {
            self.wait_for(earlier, &*action, attempt, &facts)?;
        }
        if let Some(output) = action.settled(input, &facts).map_err(failed)? {
            if let Some(doubt) = undo.and_then(|_| self.core.tails.doubt_of_undo(self.run_id, self.step())) {
                return Err(failed(doubt));
            }
            return Err(self.done(output, How::AlreadySo));
        }
        if let Some(why) = action.plan(input, &facts).map_err(failed)?.forbidden
            && !self.sends_again(&*action)
        {
            return Err(failed(why));
        }
        let undo = match undo {
            Some(finally) => action.undo(input, &facts).map_err(failed)?.map(|call| Undo { call, finally }),
            None => None,
        };
        let Some(deadline) = self.deadline().await else {
            return Err(failed(lease_over()));
        };
        // Taken once: however long the commit of the intent takes, the call is not sent after what the intent says.
        let closes = Instant::now() + deadline;
        let intent = Intent {
            action: name.to_owned(),
            input: input.clone(),
            facts: facts.into(),
            effect: action.spec().effect,
            deadline: self.now() + from_std(self.core.clock.of_wall(deadline)),
            undo,
        };
        Ok((action, intent, closes))
    }

    /// A call that its receiver knows by its token, and whose answer was lost: it was allowed when it was made first, and what
    /// forbids it now may be its own effect. Once it was answered, what forbids it is something else.
    fn sends_again(&self, action: &dyn Action) -> bool {
        action.spec().effect == Effect::Token && is_unanswered(&self.attempts)
    }

    /// A person has said that a change did not happen, and it is to be made anew. Not before no copy of it can land any more, or
    /// it might be made twice; should one land meanwhile, the step is done.
    fn wait_for(
        &self,
        earlier: &Intent,
        action: &dyn Action,
        attempt: u32,
        facts: &Value,
    ) -> Result<(), Vec<Entry>> {
        let landed = action.happened(&earlier.input, &earlier.facts, facts).map_err(|e| self.failed(e))?;
        if let Some(output) = landed {
            return Err(self.done(output, How::FoundDone));
        }
        let window = self.core.settings.signature_window;
        let Recovery::LookAgainAt(safe) =
            recover(earlier.effect, true, false, self.now(), earlier.deadline, window)
        else {
            return Ok(());
        };
        let message = "somebody says that it did not happen; until then a copy of the call whose answer was lost may still land";
        Err(vec![Entry::AttemptFailed {
            step: self.step().clone(),
            attempt,
            error: ActionError::new(ErrorClass::Busy, "may_still_land", message), // nothing was sent
            retry_at: safe,
        }])
    }

    /// How long a change may take from now: never longer than the lease lasts.
    async fn deadline(&self) -> Option<Duration> {
        // Nothing is announced with a moment left to do it in: it would only be given up, or cut short.
        let left = self.core.lease.comfortable().await?;
        Some(left.min(self.core.settings.change_deadline))
    }

    /// The one mutating call, after its intent was committed.
    async fn apply(
        &self,
        action: &dyn Action,
        attempt: u32,
        input: &Value,
        facts: &Value,
        closes: Instant,
    ) -> Vec<Entry> {
        let deadline = closes.saturating_duration_since(Instant::now());
        if deadline.is_zero() || self.core.lease.remaining().is_none() {
            return self.failed(lease_over());
        }
        if let Err(shut) = self.core.kill_switch.check(&self.runbooks) {
            return self.failed(ActionError::new(
                ErrorClass::Busy,
                "kill_switch",
                format!("not sent: {shut}"),
            ));
        }
        let ctx = self.ctx(deadline, self.gate(closes));
        let answer = tokio::time::timeout(deadline, action.apply(&ctx, input, facts)).await;
        self.core.meters.called(action.spec().name, answer.as_ref().ok());
        let calls = ctx.calls.take();
        let request_id = calls.iter().rev().find(|c| c.mutating).and_then(|c| c.request_id.clone());
        self.keep_calls(attempt, &calls).await;
        match answer {
            Ok(Ok(output)) => self.done(output, How::Called { request_id }),
            Ok(Err(error)) if error.class == ErrorClass::Unknown => self.unclear(error),
            Ok(Err(error)) => self.failed(error),
            Err(_) => {
                let message = format!("no answer within {}", humantime(deadline));
                self.unclear(ActionError::new(ErrorClass::Unknown, "timeout", message))
            }
        }
    }

    fn unclear(&self, error: ActionError) -> Vec<Entry> {
        vec![Entry::Unclear { step: self.step().clone(), error }]
    }

    /// Open while the lease and the deadline last, both on the monotonic clock, and while the kill switch is known to be off.
    fn gate(&self, closes: Instant) -> Gate {
        let lease = self.core.lease.clone();
        let (kill_switch, runbooks) = (self.core.kill_switch.clone(), self.runbooks.clone());
        Gate::new(move || {
            kill_switch.check(&runbooks).map_err(|shut| GateClosed(shut.to_string()))?;
            if lease.remaining().is_none() {
                return Err(GateClosed("this process's lease has run out".into()));
            }
            if Instant::now() >= closes {
                return Err(GateClosed("the call's deadline has passed".into()));
            }
            Ok(())
        })
    }

    /// Finds out what became of a call whose answer was lost. A person may cut it short: then one more look is taken, and where
    /// that does not settle it, they are asked, with the facts that it saw.
    async fn recover(&self, attempt: u32, intent: &Intent, hurry: &mut watch::Receiver<bool>) -> Vec<Entry> {
        let action = match self.action(&intent.action) {
            Ok(action) => action,
            // The call may land all the same, and a step that has failed may be passed. This version cannot look, so a person is asked.
            Err(e) => return vec![self.outcome_unknown(&e)],
        };
        let mut unanswered = 0;
        loop {
            let hurried = *hurry.borrow_and_update();
            let looked = self.observe(&*action, attempt, &intent.input).await;
            let seen =
                looked.and_then(|facts| Ok((action.happened(&intent.input, &intent.facts, &facts)?, facts)));
            let (settled, facts) = match seen {
                Ok(seen) => seen,
                Err(e) => {
                    unanswered += 1;
                    if hurried || unanswered >= LOOKS_BEFORE_ASKING {
                        return vec![self.outcome_unknown(&e)];
                    }
                    self.pause(Duration::from_secs(5), hurry).await;
                    continue;
                }
            };
            unanswered = 0;
            let now = self.now();
            let window = self.core.settings.signature_window;
            let repeatable = action.spec().repeatable;
            return match recover(intent.effect, repeatable, settled.is_some(), now, intent.deadline, window) {
                Recovery::FoundDone => self.done(settled.unwrap_or_default(), How::FoundDone),
                Recovery::SendAgain if intent.effect == Effect::Token => vec![self.again_by_token(facts)],
                Recovery::SendAgain => vec![Entry::AttemptFailed {
                    step: self.step().clone(),
                    attempt,
                    error: ActionError::new(
                        ErrorClass::Transient,
                        "did_not_happen",
                        "the call's answer was lost; a look shows that it took no effect, and it can no longer do so",
                    ),
                    retry_at: now,
                }],
                Recovery::LookAgainAt(at) if !hurried => {
                    // Looked at meanwhile: should the old call land after all, the run goes on at once.
                    self.pause((at - now).to_std().unwrap_or_default().min(LOOK_EVERY), hurry).await;
                    continue;
                }
                Recovery::LookAgainAt(_) | Recovery::AskPerson => {
                    vec![Entry::OutcomeUnknown { step: self.step().clone(), facts }]
                }
            };
        }
    }
}

impl Job {
    /// Nobody can look for what became of a call.
    fn outcome_unknown(&self, why: &ActionError) -> Entry {
        let facts = serde_json::to_value(why).unwrap_or_default();
        Entry::OutcomeUnknown { step: self.step().clone(), facts }
    }

    /// Between two looks (clock time); at once, when somebody wants to be asked.
    async fn pause(&self, time: Duration, hurry: &mut watch::Receiver<bool>) {
        tokio::select! {
            () = self.core.clock.sleep(time) => {}
            Ok(_) = hurry.wait_for(|hurried| *hurried) => {}
        }
    }

    /// A call that carries a token is made again without knowing what became of it, after a pause; when that was in vain too
    /// often, a person must find out.
    fn again_by_token(&self, facts: Value) -> Entry {
        let again = self.perform.again(&self.attempts, self.now());
        again.unwrap_or_else(|| Entry::OutcomeUnknown { step: self.step().clone(), facts })
    }
}

/// The refusal, if somebody else is at work.
pub(crate) fn foreign_work(found: &[ForeignWork]) -> Option<ActionError> {
    let told: Vec<_> = found.iter().map(ToString::to_string).collect();
    let refused = || {
        ActionError::refused(FOREIGN_WORK, format!("somebody else is at work there: {}", told.join("; ")))
            .remedy("wait until it has ended, or end it, and start again")
    };
    (!told.is_empty()).then(refused)
}

/// Pause between two looks while an old call may still land (clock time).
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A service that cannot be looked at this often in a row is left to a person.
const LOOKS_BEFORE_ASKING: u32 = 60;

fn lease_over() -> ActionError {
    ActionError::new(
        ErrorClass::Busy, // nothing was sent: it uses up no attempt
        "lease_over",
        "not sent: the time that the intent gave, or this process's lease, has run out",
    )
}

fn from_std(duration: Duration) -> chrono::TimeDelta {
    chrono::TimeDelta::from_std(duration).unwrap_or(chrono::TimeDelta::days(3650))
}

fn humantime(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64().round())
}
