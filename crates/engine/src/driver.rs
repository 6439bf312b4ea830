//! One task per run: asks `domain::run::next` what follows, lets it be done, and writes down what happened.
//!
//! The driver is the only writer of its run's journal. Everything that works for it (looks, changes, recoveries) reports
//! over a channel and waits for its entries to be committed. When a write is fenced, the run belongs to somebody else:
//! the driver drops everything it has and touches nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::Timestamp;
use domain::audit::Link;
use domain::run::{Entry, Illegal, Moves, Perform, Program, Record, State, StepPath, next};
use domain::runbook::parse;
use futures::FutureExt;
use store::StoreError;
use store::runs::{Append, Appended, Claimed};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use uuid::Uuid;

use crate::perform::{self, Job};
use crate::start::program;
use crate::{Core, Topic};

/// Something that a driver is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Nudge {
    /// The inbox holds something.
    Inbox,
    /// Start nothing new; end once no call is in flight.
    Drain,
}

/// What work has to say.
pub(crate) struct Report {
    pub(crate) step: StepPath,
    pub(crate) entries: Vec<Entry>,
    /// Told once the entries are committed; dropped when they never will be.
    pub(crate) committed: Option<oneshot::Sender<()>>,
    /// Is this its last word?
    pub(crate) finished: bool,
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
    /// The run has ended, or was handed back.
    Over,
    /// Another worker owns the run.
    Fenced,
    /// An entry that the state does not allow: a bug of ours, told loudly and never written.
    Illegal(Illegal),
}

pub(crate) struct Driver {
    core: Arc<Core>,
    run_id: Uuid,
    epoch: i64,
    program: Program,
    state: State,
    /// Where the journal's hash chain stands.
    link: Link,
    taken_over: bool,
    working: HashMap<StepPath, Work>,
    nudges: mpsc::UnboundedReceiver<Nudge>,
    reports: (mpsc::UnboundedSender<Report>, mpsc::UnboundedReceiver<Report>),
    draining: bool,
}

struct Work {
    handle: AbortHandle,
    /// May be dropped at any moment: nothing outside depends on its end.
    looking: bool,
}

impl Driver {
    /// The driver of a run that was just created here.
    pub(crate) fn born(
        core: &Arc<Core>,
        run_id: Uuid,
        program: Program,
        entry: Entry,
        at: Timestamp,
        link: Link,
    ) -> (Self, mpsc::UnboundedSender<Nudge>) {
        // A request is legal as the first entry by construction; should it ever not be, replaying the journal says why.
        let record = Record { seq: 1, at, epoch: 1, entry };
        let state = State::first(&record).unwrap_or_else(|e| unreachable!("{e}"));
        Self::new(core, run_id, 1, program, (state, link), false)
    }

    /// The driver of a run that another worker left.
    pub(crate) async fn take_over(
        core: &Arc<Core>,
        claimed: &Claimed,
    ) -> Result<(Self, mpsc::UnboundedSender<Nudge>), TakeUpError> {
        let loaded = store::runs::load(&core.pool, claimed.run_id).await?.ok_or(TakeUpError::Missing)?;
        let state = State::replay(&loaded.journal)?;
        let file = format!("{}.yaml", loaded.runbook);
        let runbook = parse(&file, &loaded.source).map_err(|mistakes| {
            TakeUpError::Runbook(mistakes.iter().map(|m| m.what.clone()).collect::<Vec<_>>().join("; "))
        })?;
        let program = program(
            &Arc::new(runbook),
            &core.registry,
            &core.inventory,
            state.inputs(),
            claimed.run_id,
            state.by(),
        );
        Ok(Self::new(core, claimed.run_id, claimed.epoch, program, (state, loaded.link), true))
    }

    fn new(
        core: &Arc<Core>,
        run_id: Uuid,
        epoch: i64,
        program: Program,
        (state, link): (State, Link),
        taken_over: bool,
    ) -> (Self, mpsc::UnboundedSender<Nudge>) {
        let (nudge, nudges) = mpsc::unbounded_channel();
        let core = core.clone();
        let (working, reports, draining) = (HashMap::new(), mpsc::unbounded_channel(), false);
        (
            Self {
                core,
                run_id,
                epoch,
                program,
                state,
                link,
                taken_over,
                working,
                nudges,
                reports,
                draining,
            },
            nudge,
        )
    }

    pub(crate) fn run_id(&self) -> Uuid {
        self.run_id
    }

    /// Drives the run until it has ended, or is no longer ours.
    pub(crate) async fn drive(mut self) {
        let stop = self.go().await;
        for work in self.working.values() {
            work.handle.abort();
        }
        let run = self.run_id;
        match stop {
            Stop::Over => tracing::info!(%run, state = self.state.word(), "let go of a run"),
            Stop::Fenced => {
                tracing::warn!(%run, "another worker owns this run now; nothing more is done here")
            }
            Stop::Illegal(e) => tracing::error!(%run, "the run stands still: {e}"),
        }
    }

    async fn go(&mut self) -> Stop {
        if self.taken_over {
            let worker = self.core.lease.worker();
            if let Err(stop) = self.write(vec![Entry::TakenOver { worker }]).await {
                return stop;
            }
        }
        loop {
            if let Err(stop) = self.turn().await {
                return stop;
            }
        }
    }

    /// Writes what can be written, sets going what must be done, then waits for something to happen.
    async fn turn(&mut self) -> Result<(), Stop> {
        self.answer_wishes().await?;
        let moves = self.settle().await?;
        if self.state.outcome().is_some() {
            return Err(Stop::Over);
        }
        if self.draining {
            self.working.retain(|_, work| {
                !work.looking || {
                    work.handle.abort();
                    false
                }
            });
            if self.working.is_empty() {
                return Err(Stop::Over);
            }
        } else {
            for perform in moves.perform {
                self.set_going(perform);
            }
        }
        let wake = match moves.wake_at {
            Some(at) => self.core.clock.sleep((at - self.core.clock.now()).to_std().unwrap_or_default()),
            None => futures::future::pending().boxed(),
        };
        tokio::select! {
            Some(report) = self.reports.1.recv() => self.take(report).await,
            nudge = self.nudges.recv() => {
                self.draining |= matches!(nudge, Some(Nudge::Drain) | None);
                Ok(())
            }
            () = wake => Ok(()),
            () = self.core.lease.lost() => Err(Stop::Fenced),
        }
    }

    /// Everything that follows without touching the outside, in one write.
    async fn settle(&mut self) -> Result<Moves, Stop> {
        let mut ahead = self.state.clone();
        let mut entries = Vec::new();
        let moves = loop {
            let now = self.core.clock.now();
            let mut moves = next(&self.program, &ahead, now);
            if moves.record.is_empty() {
                break moves;
            }
            for entry in moves.record.drain(..) {
                let record = Record { seq: ahead.seq() + 1, at: now, epoch: self.epoch, entry };
                ahead.apply(&record).map_err(Stop::Illegal)?;
                entries.push(record.entry);
            }
        };
        self.write(entries).await?;
        Ok(moves)
    }

    async fn answer_wishes(&mut self) -> Result<(), Stop> {
        let wishes = match store::inbox::after(&self.core.pool, self.run_id, self.state.inbox()).await {
            Ok(wishes) => wishes,
            Err(e) => {
                tracing::warn!(run = %self.run_id, "the inbox cannot be read now: {e}");
                return Ok(());
            }
        };
        for wish in wishes {
            let refused = domain::run::answer(&self.state, &wish.ask).err().map(|e| e.0);
            let entry = Entry::Asked { inbox: wish.n, by: wish.by, ask: wish.ask, refused };
            self.write(vec![entry]).await?;
        }
        Ok(())
    }

    fn set_going(&mut self, perform: Perform) {
        let step = perform.step().clone();
        if self.working.contains_key(&step) {
            return;
        }
        let looking = matches!(perform, Perform::Look { .. });
        let job = Job {
            core: self.core.clone(),
            run_id: self.run_id,
            state: self.state.clone(),
            perform,
            reports: self.reports.0.clone(),
        };
        let handle = tokio::spawn(perform::perform(job)).abort_handle();
        self.working.insert(step, Work { handle, looking });
    }

    async fn take(&mut self, report: Report) -> Result<(), Stop> {
        if report.finished {
            self.working.remove(&report.step);
        }
        // A look that was cut short (the run is being ended) may still report: its step is over, nobody waits for it.
        if self.state.node(&report.step).is_some_and(|n| n.status.is_over()) {
            return Ok(());
        }
        // A change that was still looking when the run was stopped is not announced any more; it is set going again later.
        let stopped = self.draining || self.state.is_stopped();
        if stopped && report.entries.iter().any(|e| matches!(e, Entry::Intent { .. })) {
            return Ok(());
        }
        self.write(report.entries).await?;
        if let Some(committed) = report.committed {
            let _ = committed.send(());
        }
        Ok(())
    }

    /// Appends entries: legal by the state, fenced by owner and epoch, tried again while the lease lasts.
    async fn write(&mut self, entries: Vec<Entry>) -> Result<(), Stop> {
        if entries.is_empty() {
            return Ok(());
        }
        let mut ahead = self.state.clone();
        let mut records = Vec::with_capacity(entries.len());
        for entry in entries {
            let (seq, at) = (ahead.seq() + 1, self.core.clock.now().max(ahead.at()));
            let record = Record { seq, at, epoch: self.epoch, entry };
            ahead.apply(&record).map_err(Stop::Illegal)?;
            records.push(record);
        }
        let append = Append {
            run_id: self.run_id,
            owner: self.core.lease.worker(),
            epoch: self.epoch,
            records: &records,
            after: self.link,
            state: ahead.word(),
            outcome: ahead.outcome(),
            inbox: ahead.inbox(),
            write_id: Uuid::now_v7(),
        };
        loop {
            match store::runs::append(&self.core.pool, &append).await {
                Ok(Appended::Written(link)) => {
                    self.link = link;
                    break;
                }
                Ok(Appended::Fenced) => return Err(Stop::Fenced),
                // The write may have happened all the same: the same write_id tells, at the next try.
                Err(e) => {
                    tracing::warn!(run = %self.run_id, "the journal cannot be written now: {e}");
                    if self.core.lease.remaining().is_none() {
                        return Err(Stop::Fenced);
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            }
        }
        self.state = ahead;
        for (step, work) in &self.working {
            if work.looking && self.state.node(step).is_some_and(|n| n.status.is_over()) {
                work.handle.abort();
            }
        }
        let state = &self.state;
        self.working
            .retain(|step, work| !(work.looking && state.node(step).is_some_and(|n| n.status.is_over())));
        self.core.bell.ring(Topic::Run(self.run_id));
        Ok(())
    }
}
