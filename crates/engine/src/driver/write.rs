//! What a driver writes, and when.
//!
//! Entries are legal by the state the moment they are pushed, and committed together a little later: at once when somebody
//! waits for it (an intent is about to be sent) or when nothing else is coming, else when the next intent is ready, but at
//! the latest after [`PATIENCE`]. So a run of N changes costs N + 1 commits when looks are quick, and a slow look delays no
//! result for longer than a person could notice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::run::{Entry, Record, State, StepPath};
use futures::future::BoxFuture;
use store::StoreError;
use store::journal::{Append, Appended, Switch};
use store::runs::{Created, NewRun};
use tokio::sync::oneshot;

use super::{Driver, Due, Report, Stop};
use crate::Topic;
use crate::committer::{Newborn, Unwritten};
use crate::start::{StartError, Started};

/// How long a result waits for the intent that follows it.
const PATIENCE: Duration = Duration::from_millis(10);
/// Pause between two tries while Postgres is away.
const PAUSE: Duration = Duration::from_millis(200);
/// How long somebody who asks for a run is kept waiting for a Postgres that is away.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// Entries that are not committed yet.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) records: Vec<Record>,
    /// Who waits for the commit.
    pub(super) told: Vec<oneshot::Sender<()>>,
    /// What is to be done after it.
    pub(super) then: Vec<(StepPath, BoxFuture<'static, Report>)>,
    /// Since when there has been something.
    since: Option<Instant>,
    /// Was the last commit refused in part, so that the state is another now?
    pub(super) refused: bool,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty() && !self.is_awaited()
    }

    fn is_awaited(&self) -> bool {
        !self.told.is_empty() || !self.then.is_empty()
    }

    /// When what is pending has waited long enough.
    pub(super) fn patience(&self) -> Option<Instant> {
        self.since.filter(|_| !self.records.is_empty()).map(|since| since + PATIENCE)
    }
}

/// A run that is about to be, and who waits for it.
pub(crate) struct Birth {
    pub(crate) run: NewRun,
    pub(crate) told: oneshot::Sender<Result<Started, Unborn>>,
}

/// Why a run did not come to be.
#[derive(Debug)]
pub(crate) enum Unborn {
    Refused(Created),
    Failed(StartError),
}

impl Driver {
    /// Takes entries up into the state; they are committed with the next flush.
    pub(super) fn push(&mut self, entries: Vec<Entry>) -> Result<(), domain::run::Illegal> {
        for entry in entries {
            let record = Record { seq: self.state.seq() + 1, at: self.now(), epoch: self.epoch, entry };
            self.state.apply(&record)?;
            self.pending.records.push(record);
        }
        if !self.pending.records.is_empty() {
            self.pending.since.get_or_insert_with(Instant::now);
        }
        let state = &self.state;
        self.working
            .retain(|step, work| !work.looking || !state.node(step).is_some_and(|n| n.status.is_over()));
        Ok(())
    }

    /// Is somebody waiting, or is nothing coming that could share the commit?
    pub(super) fn flush_is_due(&self) -> bool {
        !self.pending.records.is_empty()
            && (self.pending.is_awaited() || !self.working.all().any(|work| work.brief))
    }

    /// Commits what is pending: fenced by owner and epoch, tried again while the lease lasts.
    pub(super) async fn flush(&mut self) -> Result<(), Stop> {
        let records = std::mem::take(&mut self.pending.records);
        let told = std::mem::take(&mut self.pending.told);
        let then = std::mem::take(&mut self.pending.then);
        self.pending.since = None;
        if records.is_empty() {
            return Ok(());
        }
        let committed = match self.birth.take() {
            None => self.append(&records).await?,
            Some(birth) => self.be_born(*birth, &records).await?,
        };
        match committed {
            None => {
                for told in told {
                    let _ = told.send(());
                }
                for (step, work) in then {
                    self.working.go_on(&step, work);
                }
            }
            Some(switch) => {
                for (step, _) in then {
                    self.working.end(&step);
                }
                self.stopped(&switch, records).await?;
            }
        }
        self.core.bell.ring(Topic::Run(self.run_id));
        Ok(())
    }

    /// Appends to the journal. A kill switch that forbids it is told; nothing is written then.
    async fn append(&mut self, records: &[Record]) -> Result<Option<Switch>, Stop> {
        let append = Append::new(self.run_id, records, self.link, &self.state)
            .map_err(|e| Stop::Broken(e.to_string()))?;
        let append = Arc::new(append);
        loop {
            match self.working.beside(self.core.committer.append(append.clone())).await {
                Ok(Appended::Written) => {
                    self.link = append.link().unwrap_or(self.link);
                    return Ok(None);
                }
                Ok(Appended::Fenced) => return Err(Stop::Fenced),
                Ok(Appended::Stopped(switch)) => return Ok(Some(switch)),
                Err(e) if e.is_final() => return Err(Stop::Broken(e.to_string())),
                // The write may have happened all the same: the same write_id tells, at the next try. Only a lease that is
                // lost ends this: one that may not act just now may be renewed yet, and the run would be left undriven.
                Err(e) => {
                    tracing::warn!(run = %self.run_id, "the journal cannot be written now: {e}");
                    if self.core.lease.is_lost() {
                        return Err(Stop::Fenced);
                    }
                    self.working.beside(tokio::time::sleep(PAUSE)).await;
                }
            }
        }
    }

    /// The first commit: the run, its locks, and what is pending. Whoever asked for it is answered here.
    async fn be_born(&mut self, birth: Birth, records: &[Record]) -> Result<Option<Switch>, Stop> {
        let Birth { run, told } = birth;
        // A run that is over already is created running, and ended by the second commit, which releases its locks. So is one
        // that announces a change of a child: a start asks for the switches on the run's own name, an append for all. A gate
        // is never without its run, nor a run without its gate.
        let of_a_child = |r: &Record| match &r.entry {
            Entry::Intent { step, .. } => self.state.runbooks_around(step).len() > 1,
            _ => false,
        };
        let apart = self.state.outcome().is_some() || records.iter().any(of_a_child);
        let opening =
            1 + usize::from(matches!(records.get(1), Some(r) if matches!(r.entry, Entry::Gated { .. })));
        let (first, rest) = records.split_at(if apart { opening } else { records.len() });
        let begin = if apart {
            Append::new(run.id, first, self.link, &State::replay(first)?)
        } else {
            Append::new(run.id, first, self.link, &self.state)
        };
        let begin = begin.map_err(|e| Stop::Broken(e.to_string()))?;
        let newborn = Arc::new((run, begin));
        let (run, begin) = &*newborn;
        match self.create(&newborn).await {
            Ok(Created::New) => {
                self.link = begin.link().unwrap_or(self.link);
                let _ = told.send(Ok(Started { run_id: run.id, new: true }));
            }
            Ok(Created::Existing(run_id)) => {
                let _ = told.send(Ok(Started { run_id, new: false }));
                return Err(Stop::Unborn);
            }
            Ok(refused) => {
                let _ = told.send(Err(Unborn::Refused(refused)));
                return Err(Stop::Unborn);
            }
            Err(e) => {
                if !e.is_final() {
                    // It may be in the database after all: then it is ours, and must not be left without a driver.
                    self.core.remember_stray(run.id);
                }
                let _ = told.send(Err(Unborn::Failed(StoreError::from(e).into())));
                return Err(Stop::Unborn);
            }
        }
        if rest.is_empty() { Ok(None) } else { self.append(rest).await }
    }

    async fn create(&mut self, newborn: &Arc<Newborn>) -> Result<Created, Unwritten> {
        let patience = Instant::now() + START_PATIENCE;
        loop {
            match self.working.beside(self.core.committer.create(newborn.clone())).await {
                Err(e)
                    if !e.is_final()
                        && Instant::now() < patience
                        && self.core.lease.remaining().is_some() =>
                {
                    tracing::warn!(run = %self.run_id, "the run cannot be written now: {e}");
                    self.working.beside(tokio::time::sleep(PAUSE)).await;
                }
                answer => return answer,
            }
        }
    }

    /// A kill switch forbids a change: it is taken back from the state as if it had never been announced, what else was
    /// pending is kept, and the run waits for a person.
    async fn stopped(&mut self, switch: &Switch, records: Vec<Record>) -> Result<(), Stop> {
        let journal = loop {
            let journal = store::runs::journal(&self.core.pool, self.run_id);
            match self.working.beside(self.core.soon(journal)).await {
                Ok(journal) => break journal,
                Err(e) => {
                    tracing::warn!(run = %self.run_id, "the journal cannot be read now: {e}");
                    if self.core.lease.is_lost() {
                        return Err(Stop::Fenced);
                    }
                    self.working.beside(tokio::time::sleep(PAUSE)).await;
                }
            }
        };
        self.state = State::replay(&journal)?;
        self.due = Due::default(); // the numbers of what is taken back are given out anew
        // Of a run that has just been created, the beginning is written already.
        let written = self.state.seq();
        let kept = records.into_iter().filter(|r| r.seq > written).map(|r| r.entry);
        self.push(kept.filter(|e| !matches!(e, Entry::Intent { .. })).collect())?;
        if self.state.held().is_none() && self.state.outcome().is_none() {
            let scope = if switch.scope == "*" { "everything".to_owned() } else { switch.scope.clone() };
            let why = format!("the kill switch for {scope} was thrown by {}: {}", switch.by, switch.reason);
            self.push(vec![Entry::Paused { step: None, why }])?;
        }
        self.pending.refused = true;
        Ok(())
    }
}
