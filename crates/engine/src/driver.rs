//! One task per run: asks `domain::run::next` what follows, lets it be done, and writes down what happened.
//!
//! The driver is the only writer of its run's journal. Everything that works for it (looks, changes, recoveries; see
//! `working`) reports to it and waits for its entries to be committed. When a write is fenced, the run belongs to somebody else:
//! the driver drops everything it has and touches nothing.
//!
//! Commits are what costs, so entries gather (`write`): the result of a change waits a moment for the intent of the next one,
//! and a run is created together with its first intent. Nothing is *sent* before its intent is committed, and what waits is
//! only ever what a look could find out again.

mod rest;
mod working;
mod write;

mod gate;

use std::sync::Arc;
use std::time::Instant;

use domain::Timestamp;
use domain::audit::Link;
use domain::run::{Ask, Entry, Illegal, Moves, Perform, Program, Record, State, StepPath, next};
use domain::runbook::{Children, Runbook};
use futures::FutureExt;
use store::StoreError;
use store::claims::Claimed;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use crate::Core;
use crate::perform::{self, Job};
use working::Working;
pub(crate) use working::{Next, Report, Words};
use write::Pending;
pub(crate) use write::{Birth, Unborn};

/// Something that a driver is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Nudge {
    /// The inbox holds something.
    Inbox,
    /// Start nothing new; end once no call is in flight.
    Drain,
}

/// Why a run cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeUpError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Illegal(#[from] Illegal),
    #[error("it is not in the database")]
    Missing,
    #[error("its runbook's text cannot be read by this version: {0}")]
    Runbook(String),
}

/// Why a driver stops.
enum Stop {
    /// Nothing but waiting is going on: the driver may rest, until this moment at the latest.
    Rest(Option<Timestamp>),
    /// The run has ended, or was handed back.
    Over,
    /// It never came to be; whoever asked for it was told why.
    Unborn,
    /// Another worker owns the run.
    Fenced,
    /// An entry that the state does not allow, or that cannot be stored: a bug of ours, told loudly and never written.
    Broken(String),
}

impl From<Illegal> for Stop {
    fn from(illegal: Illegal) -> Self {
        Self::Broken(illegal.to_string())
    }
}

/// What is to be done, as `next` said last: that stands until another entry, or this moment.
#[derive(Default)]
struct Due {
    seq: i64,
    until: Option<Timestamp>,
    steps: Vec<StepPath>,
}

pub(crate) struct Driver {
    core: Arc<Core>,
    run_id: Uuid,
    epoch: i64,
    program: Program,
    /// With what is pending; the committed part of it is in the store.
    state: State,
    /// Where the journal's hash chain stands, without what is pending.
    link: Link,
    /// Until the run is in the database.
    birth: Option<Box<Birth>>,
    pending: Pending,
    due: Due,
    /// May the inbox hold something unanswered?
    wishes: bool,
    working: Working,
    nudges: mpsc::UnboundedReceiver<Nudge>,
    draining: bool,
    /// How often it has rested so far.
    naps: u32,
}

impl Driver {
    /// The driver of a run that is asked for here, and not yet written.
    pub(crate) fn born(
        core: &Arc<Core>,
        program: Program,
        entry: Entry,
        gated: Option<Entry>,
        birth: Birth,
    ) -> (Self, mpsc::UnboundedSender<Nudge>) {
        // A request is legal as the first entry by construction; should it ever not be, replaying the journal says why.
        let record = Record { seq: 1, at: birth.run.at, epoch: 1, entry };
        let state = State::first(&record).unwrap_or_else(|e| unreachable!("{e}"));
        let (run_id, link) = (birth.run.id, Link::origin(birth.run.id));
        let (mut driver, nudge) = Self::new(core, run_id, 1, program, (state, link));
        driver.birth = Some(Box::new(birth));
        driver.pending.records.push(record);
        // So is a gate as the second one.
        driver.push(gated.into_iter().collect()).unwrap_or_else(|e| unreachable!("{e}"));
        (driver, nudge)
    }

    /// The driver of a run that another worker left.
    pub(crate) fn take_over(
        core: &Arc<Core>,
        claimed: &Claimed,
        runbook: &Arc<Runbook>,
        children: Children,
        state: State,
        link: Link,
    ) -> Result<(Self, mpsc::UnboundedSender<Nudge>), TakeUpError> {
        let program = core.program(runbook, children, state.inputs(), claimed.run_id, state.by());
        let (mut driver, nudge) = Self::new(core, claimed.run_id, claimed.epoch, program, (state, link));
        driver.wishes = true;
        driver.push(vec![Entry::TakenOver { worker: core.lease.worker() }])?;
        Ok((driver, nudge))
    }

    fn new(
        core: &Arc<Core>,
        run_id: Uuid,
        epoch: i64,
        program: Program,
        (state, link): (State, Link),
    ) -> (Self, mpsc::UnboundedSender<Nudge>) {
        let (nudge, nudges) = mpsc::unbounded_channel();
        let driver = Self {
            core: core.clone(),
            run_id,
            epoch,
            program,
            state,
            link,
            birth: None,
            pending: Pending::default(),
            due: Due::default(),
            wishes: false,
            working: Working::default(),
            nudges,
            draining: false,
            naps: 0,
        };
        (driver, nudge)
    }

    pub(crate) fn run_id(&self) -> Uuid {
        self.run_id
    }

    pub(crate) fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Drives the run until it has ended, or is no longer ours.
    ///
    /// Boxed, all of it: a task is as large as the largest thing it ever does, and most runs rest most of the time.
    pub(crate) async fn drive(mut self: Box<Self>) {
        let (core, run, epoch) = (self.core.clone(), self.run_id, self.epoch);
        let stop = loop {
            let rested = match Box::pin(self.work()).await {
                Ok((driver, wake_at)) => driver.rest().until(wake_at).await,
                Err(stop) => Err(stop),
            };
            match rested {
                Ok(driver) => self = driver,
                Err(stop) => break stop,
            }
        };
        match stop {
            Stop::Over | Stop::Unborn | Stop::Rest(_) => {}
            Stop::Fenced => {
                tracing::warn!(%run, "another worker owns this run now; nothing more is done here")
            }
            Stop::Broken(why) => {
                tracing::error!(%run, "the run stands still: {why}");
                core.stands_still(run, epoch, &why).await;
            }
        }
    }

    /// Works until there is nothing to do but wait; says until when.
    async fn work(mut self: Box<Self>) -> Result<(Box<Self>, Option<Timestamp>), Stop> {
        loop {
            match self.turn().await {
                Ok(()) => {}
                Err(Stop::Rest(wake_at)) => return Ok((self, wake_at)),
                Err(stop) => return Err(stop),
            }
        }
    }

    /// Writes what can be written, sets going what must be done, then waits for something to happen.
    async fn turn(&mut self) -> Result<(), Stop> {
        if std::mem::take(&mut self.wishes) {
            self.answer_wishes().await?;
        }
        let moves = self.settle()?;
        if self.state.outcome().is_some() {
            self.flush().await?;
            // A kill switch may have cut off what ended it.
            let Some((outcome, _)) = self.state.outcome() else { return Ok(()) };
            self.core.meters.ended(&self.program.runbook.name, outcome);
            return Err(Stop::Over);
        }
        if self.draining {
            self.drain().await?;
        } else {
            if let Some(doorstep) = moves.gate
                && self.at_the_gate(doorstep).await?
            {
                return Ok(());
            }
            for perform in moves.perform {
                self.set_going(perform);
            }
        }
        if self.flush_is_due() {
            self.flush().await?;
            // What was refused, or came in meanwhile, may change what follows.
            if self.pending.refused {
                self.pending.refused = false;
                return Ok(());
            }
        }
        let wake = match moves.wake_at {
            Some(at) => self.core.clock.sleep((at - self.core.clock.now()).to_std().unwrap_or_default()),
            None => futures::future::pending().boxed(),
        };
        let (may_rest, rest_after) = (self.may_rest(), self.rest_after());
        let (patience, now) = (self.pending.patience(), Instant::now());
        tokio::select! {
            biased; // a word of what goes on is heard when it has just been said, and not by being woken again for it
            () = self.working.go() => {
                for report in self.working.news() {
                    self.take(report)?;
                }
                Ok(())
            }
            nudge = self.nudges.recv() => {
                self.draining |= matches!(nudge, Some(Nudge::Drain) | None);
                self.wishes |= matches!(nudge, Some(Nudge::Inbox));
                Ok(())
            }
            () = wake => Ok(()),
            () = tokio::time::sleep(rest_after), if may_rest => Err(Stop::Rest(moves.wake_at)),
            () = tokio::time::sleep_until(patience.unwrap_or(now).into()), if patience.is_some() => self.flush().await,
        }
    }

    /// Everything that follows without touching the outside.
    fn settle(&mut self) -> Result<Moves, Stop> {
        loop {
            let mut moves = next(&self.program, &self.state, self.core.clock.now());
            if moves.record.is_empty() {
                self.due = Due {
                    seq: self.state.seq(),
                    until: moves.wake_at,
                    steps: moves.perform.iter().map(|perform| perform.step().clone()).collect(),
                };
                return Ok(moves);
            }
            self.push(std::mem::take(&mut moves.record))?;
        }
    }

    /// Lets calls in flight end, drops everything else (also looking for what became of one, which may take minutes, and which whoever
    /// takes the run over begins anew), and is over once nothing is left.
    async fn drain(&mut self) -> Result<(), Stop> {
        self.working.drop_all_but_calls();
        if self.working.is_empty() {
            self.flush().await?;
            return Err(Stop::Over);
        }
        Ok(())
    }

    async fn answer_wishes(&mut self) -> Result<(), Stop> {
        // A run that is not in the database yet has no inbox.
        if self.birth.is_some() {
            self.wishes = true;
            return Ok(());
        }
        let wishes = store::inbox::after(&self.core.pool, self.run_id, self.state.inbox());
        let wishes = match self.working.beside(self.core.soon(wishes)).await {
            Ok(wishes) => wishes,
            // The poll of the whole process nudges again, within a minute.
            Err(e) => {
                self.wishes = true;
                tracing::warn!(run = %self.run_id, "the inbox cannot be read now: {e}");
                return Ok(());
            }
        };
        for wish in wishes {
            let refused = domain::run::acceptable(&self.state, &wish.ask, self.now())
                .and_then(|()| domain::run::answer_to(&self.state, &wish.by, &wish.ask))
                .err()
                .map(|e| e.0);
            let hurry = match (&wish.ask, &refused) {
                (Ask::StopLooking { step }, None) => self.working.get(step).map(|work| work.hurry.clone()),
                _ => None,
            };
            self.push(vec![Entry::Asked { inbox: wish.n, by: wish.by, ask: wish.ask, refused }])?;
            if let Some(hurry) = hurry {
                hurry.send_replace(true);
            }
        }
        Ok(())
    }

    fn set_going(&mut self, perform: Perform) {
        let step = perform.step().clone();
        if self.working.has(&step) {
            return;
        }
        let looking = matches!(perform, Perform::Look { .. });
        let brief = matches!(perform, Perform::Look { watch: None, .. } | Perform::Change { .. });
        let (hurry, hurried) = watch::channel(matches!(perform, Perform::Recover { hurried: true, .. }));
        let node = self.state.node(&step);
        let job = Job {
            core: self.core.clone(),
            run_id: self.run_id,
            runbooks: self.state.runbooks_around(&step).into_iter().map(str::to_owned).collect(),
            untouched: !self.state.has_changed_anything(),
            attempts: node.map_or_else(Vec::new, |n| n.attempts.clone()),
            on_its_way: node.filter(|_| perform.changes()).and_then(|n| n.on_its_way().cloned()),
            hurry: hurried,
            perform,
            words: self.working.words(),
        };
        self.working.begin(step, (looking, brief), hurry, perform::perform(job).boxed());
    }

    fn take(&mut self, report: Report) -> Result<(), Stop> {
        if !self.is_of_use(&report)? {
            if !matches!(report.next, Next::On) {
                self.working.end(&report.step);
            }
            return Ok(());
        }
        self.push(report.entries)?;
        match report.next {
            Next::Nothing => self.working.end(&report.step),
            Next::On => self.working.takes_longer(&report.step),
            Next::Told(told) => {
                self.working.takes_longer(&report.step);
                self.pending.told.push(told);
            }
            Next::Then(work) => {
                self.working.announces(&report.step);
                self.pending.then.push((report.step, work));
            }
        }
        Ok(())
    }

    fn is_of_use(&mut self, report: &Report) -> Result<bool, Stop> {
        // A look that was cut short (the run is being ended) may still report: its step is over, nobody waits for it.
        if gate::is_stale(report, &self.state)
            || self.state.node(&report.step).is_some_and(|n| n.status.is_over())
        {
            return Ok(false);
        }
        // A change that was still looking when the run was stopped or went on without it is not announced any more; it is set
        // going again later, if it is still to be made. What is to be made now only `next` can tell.
        let announces = report.entries.iter().any(|e| matches!(e, Entry::Intent { .. }));
        if !announces {
            return Ok(true);
        }
        if self.draining {
            return Ok(false);
        }
        let Due { seq, until, .. } = self.due;
        if seq != self.state.seq() || until.is_some_and(|until| until <= self.core.clock.now()) {
            self.settle()?;
        }
        Ok(self.due.steps.contains(&report.step))
    }

    /// The time of the next entry: never before the last one's.
    fn now(&self) -> Timestamp {
        self.core.clock.now().max(self.state.at())
    }
}
