//! Tells people elsewhere: chat, mail, other tools. Never in the way of a run, never twice.
//!
//! ```text
//!  a verdict ──its own statement──▶ outbox ──claim──▶ channel ──▶ sent
//!  a run, as its journal tells ──find_news──▶ ▲   │       └─ nobody knows ─▶ look ─▶ there / send again / unclear
//!                                             └───┴── not taken: later, with patience
//! ```
//!
//! Runs put nothing into the outbox themselves: their journal is there already, and one more row in each of its commits would cost
//! every run what only some need. What a run has to tell is worked out from how it stands, when the bell says that it moved and now
//! and again; the outbox keeps each key once, so that it does not matter how often, or by how many processes.
//!
//! A claim ends with its worker's lease. Whoever claims a message that somebody else had claimed does not know what became of it,
//! and asks the channel before sending; where it is not seen yet it may still be on its way, and is looked for once more (unless the
//! channel takes a message that it knows only once). So a
//! process that is told to stop takes nothing more, and lets what is on its way arrive.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::notice::{
    Channel, Found, Letter, Notice, RunNews, Undelivered, Urgency, letter_id, of_glass, of_run,
};
use domain::trace::{self, TRACE, Trace};
use serde_json::Value;
use store::StoreError;
use store::outbox::{RunNow, Sending, Sent};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Core, Topic, traces};

/// What was sent without an answer may still arrive: it is looked for again after this (clock time) before it is sent again.
const ARRIVES: Duration = Duration::from_secs(30);
/// A message of which nothing could be written down is not taken again for so long (wall time): it may be refused again and again.
const UNSETTLED: Duration = Duration::from_secs(5);
/// So many messages are on their way at the same time.
const AT_ONCE: usize = 8;
/// A channel that does not answer for so long (wall time) is given up for this time.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// After so many tries it is given up: about a day.
const TRIES: i32 = 300;
/// The longest rest between two tries.
const LONGEST_REST: TimeDelta = TimeDelta::minutes(5);
/// How often everything is looked over, for what the bell did not tell.
const SWEEP: Duration = Duration::from_secs(30);
/// What ended so long ago (clock time) is no news.
const NEWS: TimeDelta = TimeDelta::hours(1);
/// So soon it is tried again to work out what runs have to tell, after the database did not answer.
const AGAIN: Duration = Duration::from_secs(1);
/// So many runs are asked about together: no more are answered at a time.
const AT_A_TURN: usize = 1000;
/// Rings are gathered for so long.
const GATHER: Duration = Duration::from_millis(200);
/// What was told already is remembered for so many keys, to spare the database the question.
const REMEMBERED: usize = 10_000;

impl Core {
    /// A notice to every channel that wants it, in the form that the store takes.
    pub(crate) fn rows(&self, notice: &Notice) -> Value {
        let wants = |channel: &dyn Channel| match channel.takes_traces() {
            true => notice.kind == TRACE,
            false => notice.kind != TRACE && !channel.is_board() && notice.urgency >= channel.least(),
        };
        let wanting = self.channels.iter().filter(|(_, channel)| wants(channel.as_ref()));
        store::outbox::rows(notice, wanting.map(|(name, _)| name.as_str()))
    }
}

/// Works out what runs and triggers have to tell, until the process ends.
pub(crate) async fn find_news(core: Arc<Core>) {
    if core.channels.is_empty() {
        return;
    }
    let (mut rings, mut told) = (core.bell.listen(), HashSet::new());
    let mut sweep = tokio::time::interval(SWEEP);
    // Runs that have moved, until what they have to tell is in the outbox.
    let mut untold: BTreeSet<Uuid> = BTreeSet::new();
    loop {
        let looked = tokio::select! {
            // Nothing is gathered inside of it: what it does not choose is dropped.
            first = moved(&mut rings) => match gather_all(&mut rings, first).await {
                Some(runs) => {
                    untold.extend(runs);
                    these_tell(&core, &mut untold, &mut told).await
                }
                None => continue,
            },
            _ = sweep.tick() => all_tell(&core, &mut told).await,
            () = tokio::time::sleep(AGAIN), if !untold.is_empty() => these_tell(&core, &mut untold, &mut told).await,
        };
        if let Err(e) = looked {
            tracing::warn!("what is to be told was not worked out: {e}");
        }
    }
}

/// What these have to tell. They are kept while the database does not answer; what it refuses is left to the sweep.
async fn these_tell(
    core: &Core,
    untold: &mut BTreeSet<Uuid>,
    told: &mut HashSet<String>,
) -> Result<(), StoreError> {
    let runs: Vec<Uuid> = untold.iter().copied().take(AT_A_TURN).collect();
    let looked = runs_tell(core, Some(&runs), told).await;
    if looked.as_ref().err().is_none_or(StoreError::is_final) {
        untold.retain(|run| runs.binary_search(run).is_err());
    }
    looked
}

/// The runs that have moved; `None` where it is not known which, so that the next sweep finds them.
async fn gather_all(rings: &mut Receiver<Topic>, first: Option<Topic>) -> Option<Vec<Uuid>> {
    gather(rings, first?).await
}

/// Completes when runs have moved; with `None` where it was missed which.
async fn moved(rings: &mut Receiver<Topic>) -> Option<Topic> {
    loop {
        match rings.recv().await {
            Ok(topic @ (Topic::Run(_) | Topic::Runs)) => return Some(topic),
            Err(RecvError::Lagged(_)) => return None,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// This run, and all others that move in the next moment; `None` where it is not known which.
pub(crate) async fn gather(rings: &mut Receiver<Topic>, first: Topic) -> Option<Vec<Uuid>> {
    tokio::time::sleep(GATHER).await;
    let heard = std::iter::once(first).chain(std::iter::from_fn(|| rings.try_recv().ok()));
    let runs: Option<BTreeSet<Uuid>> = heard
        .filter_map(|topic| match topic {
            Topic::Run(id) => Some(Some(id)),
            Topic::Runs => Some(None),
            _ => None,
        })
        .collect();
    runs.map(|runs| runs.into_iter().collect())
}

/// Everything since what was told last. Who has never told anything does not begin with old news.
async fn all_tell(core: &Core, told: &mut HashSet<String>) -> Result<(), StoreError> {
    runs_tell(core, None, told).await?;
    let since = since(core).await?;
    for demoted in core.soon(store::trust::demotions(&core.pool, since)).await? {
        let notice = Notice {
            key: format!("demoted:{}", demoted.run_id),
            kind: "demoted".into(),
            urgency: Urgency::Attention,
            title: format!("Asks from now on: {}", demoted.rule),
            text: format!("{}; a person may let it act by itself again.", demoted.reason),
            path: "/triggers".into(),
            incident: None,
            thread: None,
            place: None,
        };
        tell(core, &notice, told).await?;
    }
    Ok(())
}

pub(crate) async fn since(core: &Core) -> Result<Timestamp, StoreError> {
    let now = core.clock.now();
    Ok(core.soon(store::outbox::newest(&core.pool)).await?.map_or(now, |newest| newest.min(now)) - NEWS)
}

async fn runs_tell(core: &Core, ids: Option<&[Uuid]>, told: &mut HashSet<String>) -> Result<(), StoreError> {
    let since = if ids.is_some() { core.clock.now() - NEWS } else { since(core).await? };
    for run in core.soon(store::outbox::runs(&core.pool, ids, since)).await? {
        let news = told_of(run);
        let traced = trace::notice(&news).filter(|_| core.channels.values().any(|c| c.takes_traces()));
        for notice in of_run(&news).into_iter().chain(traced) {
            tell(core, &notice, told).await?;
        }
    }
    let reviews = core.soon(store::reviews::open(&core.pool)).await?;
    for review in reviews.into_iter().filter(|review| review.opened_at > since) {
        let said = (review.opened_by.as_str(), review.reason.as_str());
        tell(core, &of_glass(review.id, (review.run_id, &review.title), said), told).await?;
    }
    Ok(())
}

/// A run, as notices tell of it.
pub(crate) fn told_of(run: RunNow) -> RunNews {
    RunNews {
        id: run.id,
        title: run.title,
        by: run.requested_by,
        state: run.state,
        seq: run.seq,
        message: run.message,
        why: run.why,
        ended: run.ended_at.is_some(),
        incident: run.incident,
    }
}

async fn tell(core: &Core, notice: &Notice, told: &mut HashSet<String>) -> Result<(), StoreError> {
    if told.contains(&notice.key) {
        return Ok(());
    }
    core.soon(store::outbox::put(&core.pool, &core.rows(notice), core.clock.now())).await?;
    core.bell.ring(Topic::Signals);
    if told.len() >= REMEMBERED {
        told.clear();
    }
    told.insert(notice.key.clone());
    Ok(())
}

/// Sends what is due, until the engine is shut down and what is on its way has arrived.
pub(crate) async fn send(core: Arc<Core>) {
    if core.channels.is_empty() {
        return;
    }
    let names: Vec<String> = core.channels.keys().cloned().collect();
    let mut at_work: JoinSet<(Uuid, bool)> = JoinSet::new();
    let mut claims: Vec<Uuid> = Vec::new();
    // Those of them of which nothing could be written down, each since when.
    let mut unsettled: Vec<(Instant, Uuid)> = Vec::new();
    let mut rings = core.bell.listen_but_runs();
    loop {
        if at_work.is_empty() && core.draining.load(Ordering::SeqCst) {
            return;
        }
        unsettled.retain(|(since, claim)| {
            let rests = since.elapsed() < UNSETTLED;
            claims.retain(|c| rests || c != claim);
            rests
        });
        let room = AT_ONCE - at_work.len().min(AT_ONCE);
        for sending in take(&core, &names, &claims, room).await {
            claims.push(sending.claim);
            let core = core.clone();
            at_work.spawn(async move {
                let settled = one(&core, &sending).await;
                if let Err(e) = &settled {
                    tracing::warn!(
                        channel = sending.channel,
                        "what became of a message was not written down: {e}"
                    );
                }
                (sending.claim, settled.is_ok())
            });
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            Some(done) = at_work.join_next(), if !at_work.is_empty() => match done {
                Ok((claim, true)) => claims.retain(|c| *c != claim),
                Ok((claim, false)) => unsettled.push((Instant::now(), claim)),
                // It panicked: what it had claimed is in doubt, and taken again.
                Err(_) if at_work.is_empty() => unsettled = claims.iter().map(|c| (Instant::now(), *c)).collect(),
                Err(_) => {}
            },
            () = crate::triage::heard(&mut rings), if room > 0 => {}
            () = core.drain.notified() => {}
        }
    }
}

async fn take(core: &Core, names: &[String], claims: &[Uuid], room: usize) -> Vec<Sending> {
    if core.lease.remaining().is_none() || core.draining.load(Ordering::SeqCst) {
        return Vec::new();
    }
    let limit = i64::try_from(room).unwrap_or(0);
    let now = core.clock.now();
    let due = store::outbox::claim(&core.pool, core.lease.worker(), names, claims, now, limit);
    core.soon(due).await.unwrap_or_else(|e| {
        tracing::warn!("what is to be told cannot be read: {e}");
        Vec::new()
    })
}

/// Sends one message, and writes down what became of it.
async fn one(core: &Core, sending: &Sending) -> Result<(), StoreError> {
    let Some(channel) = core.channels.get(&sending.channel) else { return Ok(()) };
    let theirs = match (channel.follows(), sending.notice.incident) {
        (Some(source), Some(incident)) => {
            core.soon(store::outbox::theirs(&core.pool, incident, source)).await?
        }
        _ => None,
    };
    let sent = match channel.follows() {
        Some(source) if theirs.is_none() => {
            Sent::LeftOut { why: format!("no signal of {source} belongs to its incident") }
        }
        _ if channel.takes_traces() => {
            match traces::draw(core, sending.notice.thread, sending.attempts).await? {
                Ok(trace) => attempt(core, channel.as_ref(), sending, None, Some(&trace)).await,
                Err(undelivered) => settled(core, sending, undelivered, sending.doubt),
            }
        }
        _ => attempt(core, channel.as_ref(), sending, theirs.as_deref(), None).await,
    };
    if let Sent::There { receipt: Some(receipt) } = &sent
        && let Some(who) = receipt.get("refused")
    {
        tracing::warn!(
            channel = sending.channel,
            key = sending.notice.key,
            "a message was not taken for {who}"
        );
    }
    if let Sent::Failed { error } | Sent::Unclear { error } = &sent {
        tracing::warn!(
            channel = sending.channel,
            key = sending.notice.key,
            "a message was not sent: {error}"
        );
    }
    core.soon(store::outbox::settle(&core.pool, sending, &sent, core.clock.now())).await
}

async fn attempt(
    core: &Core,
    channel: &dyn Channel,
    sending: &Sending,
    theirs: Option<&str>,
    trace: Option<&Trace>,
) -> Sent {
    let link = format!("{}{}", core.settings.public_url, sending.notice.path);
    let letter = Letter {
        notice: &sending.notice,
        link: &link,
        id: letter_id(&sending.channel, &sending.notice.key),
        thread: sending.thread.as_ref(),
        theirs,
        trace,
    };
    let mut doubt = sending.doubt;
    if doubt {
        match within(DEADLINE, channel.find(&letter)).await {
            Ok(Found::There(receipt)) => return Sent::There { receipt },
            Ok(Found::NotThere) if sending.taken_over => {
                let error = "whoever had it before may have sent it, and it is not seen yet".to_owned();
                return later(core, sending, error, Some(ARRIVES), doubt);
            }
            Ok(Found::NotThere | Found::Harmless) => doubt = false,
            // The next look is one after that time, too.
            Err(Undelivered::Later { error, after }) if sending.taken_over => {
                return later(core, sending, error, Some(after.unwrap_or_default().max(ARRIVES)), doubt);
            }
            Err(e) => return settled(core, sending, e, doubt),
        }
    }
    // Whoever has lost the lease has lost the right to send: another process may be at it. And none sends beyond it.
    let Some(lease) = core.lease.remaining() else {
        return later(core, sending, "this process has lost its lease".into(), None, doubt);
    };
    match within(DEADLINE.min(lease), channel.send(&letter)).await {
        Ok(receipt) => Sent::There { receipt },
        // Looked for at once: in most cases it is seen, and if not, it may be on its way still.
        Err(Undelivered::Unclear(error)) => match within(DEADLINE, channel.find(&letter)).await {
            Ok(Found::There(receipt)) => Sent::There { receipt },
            Ok(Found::NotThere) => later(core, sending, error, Some(ARRIVES), true),
            Ok(Found::Harmless) => later(core, sending, error, None, true),
            Err(Undelivered::Unclear(_)) => Sent::Unclear { error },
            Err(e) => settled(core, sending, e, true),
        },
        Err(e) => settled(core, sending, e, doubt),
    }
}

/// Nobody waits for ever; what did not answer in time may have been taken.
pub(crate) async fn within<T>(
    deadline: Duration,
    asked: impl Future<Output = Result<T, Undelivered>>,
) -> Result<T, Undelivered> {
    let seconds = deadline.as_secs();
    let late = |_| Err(Undelivered::Unclear(format!("no answer within {seconds} seconds")));
    tokio::time::timeout(deadline, asked).await.unwrap_or_else(late)
}

fn settled(core: &Core, sending: &Sending, undelivered: Undelivered, doubt: bool) -> Sent {
    match undelivered {
        Undelivered::Later { error, after } => later(core, sending, error, after, doubt),
        Undelivered::Unclear(error) => Sent::Unclear { error },
        Undelivered::Never(error) => Sent::Failed { error },
    }
}

fn later(core: &Core, sending: &Sending, error: String, after: Option<Duration>, doubt: bool) -> Sent {
    if sending.attempts >= TRIES {
        return Sent::Failed { error: format!("given up after {TRIES} tries: {error}") };
    }
    let patience = TimeDelta::seconds(1 << sending.attempts.clamp(0, 10)).min(LONGEST_REST);
    let asked = after.and_then(|after| TimeDelta::from_std(after).ok()).unwrap_or_default();
    Sent::Later { error, due: core.clock.now() + patience.max(asked), doubt }
}
