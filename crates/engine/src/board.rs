//! Shows runs in a chat: one message for each, edited in place, and what happened in its thread.
//!
//! ```text
//!  a run moves ──▶ its card is behind ──claim──▶ news into the outbox ──▶ edit ──▶ shown, up to this entry
//!                        ▲                        (each once, in order)    └─ not taken, or nobody knows: later, from how it stands then
//!                        └── 2 s at least between two edits; the last state is shown in any case
//! ```
//!
//! What is posted is posted by the outbox, which never posts twice. An edit says how things are, not what changed: one that may have
//! been lost is made again, and only the newest state is ever of interest. A card that nobody could edit for a while shows nothing
//! wrong for ever, because it stays behind until an edit was taken.

use std::sync::Arc;
use std::time::Duration;

use domain::chat::{BOARD, Card, Chat, news};
use domain::notice::Undelivered;
use domain::run::State;
use domain::runbook;
use futures::future::join_all;
use store::StoreError;
use store::cards::{Behind, Edited, settle};
use tokio::sync::broadcast::error::RecvError;
use uuid::Uuid;

use crate::outbox::{gather, since, told_of, within};
use crate::{Core, Topic};

/// At least so long (wall time) between two edits of one message: Slack takes about one a second in a channel.
const REST: Duration = Duration::from_secs(2);
/// How often cards that had to rest, or whose ring was lost, are looked for (wall time).
const TICK: Duration = Duration::from_millis(500);
/// How often all runs are looked over for one without a card (wall time).
const SWEEP: Duration = Duration::from_secs(30);
/// An edit that was not answered for so long (wall time) may have been taken.
const DEADLINE: Duration = Duration::from_secs(10);
/// The longest rest after an edit that was not taken, unless the chat asks for more.
const LONGEST_REST: Duration = Duration::from_secs(60);
/// After so many tries in a row it is given up: half a day.
const TRIES: i32 = 700;
/// So many messages are edited at the same time.
const AT_ONCE: i64 = 8;

/// Why it looks.
enum Heard {
    Ring(Result<Topic, RecvError>),
    All,
    Nothing,
}

/// Shows runs until the process ends.
pub(crate) async fn show(core: Arc<Core>, chat: Arc<dyn Chat>) {
    let mut rings = core.bell.listen();
    let (mut tick, mut sweep) = (tokio::time::interval(TICK), tokio::time::interval(SWEEP));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // Nothing is gathered inside of it: what it does not choose is dropped.
        let heard = tokio::select! {
            topic = rings.recv() => Heard::Ring(topic),
            _ = sweep.tick() => Heard::All,
            _ = tick.tick() => Heard::Nothing,
        };
        let begun = match heard {
            Heard::Ring(Ok(topic @ (Topic::Run(_) | Topic::Runs))) => {
                let runs = gather(&mut rings, topic).await;
                begin(&core, &*chat, runs.as_deref()).await
            }
            Heard::Ring(Ok(_)) => continue,
            Heard::Ring(Err(RecvError::Closed)) => std::future::pending().await,
            Heard::Ring(Err(RecvError::Lagged(_))) | Heard::All => begin(&core, &*chat, None).await,
            Heard::Nothing => Ok(()),
        };
        let shown = match begun {
            Ok(()) => catch_up(&core, &*chat).await,
            failed => failed,
        };
        if let Err(e) = shown {
            tracing::warn!("runs are not shown in the chat: {e}");
        }
    }
}

async fn begin(core: &Core, chat: &dyn Chat, runs: Option<&[Uuid]>) -> Result<(), StoreError> {
    let since = since(core).await?;
    core.soon(store::cards::begin(&core.pool, runs, since, chat.place())).await
}

/// Edits what is behind and may be edited now.
async fn catch_up(core: &Core, chat: &dyn Chat) -> Result<(), StoreError> {
    loop {
        // Whoever has lost the lease has lost the right to edit: another process may be at it.
        if core.lease.remaining().is_none() {
            return Ok(());
        }
        let behind = core.soon(store::cards::claim(&core.pool, core.lease.worker(), AT_ONCE)).await?;
        if behind.is_empty() {
            return Ok(());
        }
        let all = join_all(behind.iter().map(|behind| one(core, chat, behind))).await;
        all.into_iter().collect::<Result<(), _>>()?;
    }
}

async fn one(core: &Core, chat: &dyn Chat, behind: &Behind) -> Result<(), StoreError> {
    let edited = match edit(core, chat, behind).await {
        // What is written there is not for this version, or not for the database: asked again at once, it says the same.
        Err(e) if e.is_final() => Edited::Later { error: Some(e.to_string()), rest: LONGEST_REST },
        edited => edited?,
    };
    if let Edited::GivenUp { error } = &edited {
        tracing::warn!(run = %behind.run_id, "its message is not edited any more: {error}");
    }
    core.soon(settle(&core.pool, behind, &edited)).await
}

async fn edit(core: &Core, chat: &dyn Chat, behind: &Behind) -> Result<Edited, StoreError> {
    let (pool, run) = (&core.pool, behind.run_id);
    let later = |error: Option<String>, rest| Ok(Edited::Later { error, rest });
    let given_up = |error: String| Ok(Edited::GivenUp { error });
    let ids = [run];
    let runs = store::outbox::runs(pool, Some(&ids), domain::Timestamp::UNIX_EPOCH);
    let Some(now) = core.soon(runs).await?.pop() else { return given_up("there is no such run".into()) };
    let journal = core.soon(store::runs::journal(pool, run)).await?;
    let state = match State::replay(&journal) {
        Ok(state) => state,
        // Written by a newer version, which shows it.
        Err(e) => return later(Some(e.to_string()), LONGEST_REST),
    };
    let text = core.soon(store::pages::runbook_text(pool, state.hash())).await?.unwrap_or_default();
    let text = runbook::parse(state.runbook(), &text).ok();
    let (title, told) = (now.title.clone(), told_of(now));
    let notices = news(&told, &state, text.as_ref(), &behind.place);
    let rows: Vec<_> =
        notices.iter().flat_map(|notice| rows_of(store::outbox::rows(notice, [BOARD]))).collect();
    core.soon(store::outbox::put(pool, &rows.into(), core.clock.now())).await?;

    let parent = core.soon(store::cards::parent(pool, BOARD, run)).await?;
    let at = match parent {
        Some(parent) => match (parent.receipt, parent.settled) {
            (Some(at), _) => at,
            (None, true) => return given_up("its message was not posted; the outbox says why".into()),
            (None, false) => return later(None, until_posted(parent.attempts)),
        },
        None => return later(None, TICK),
    };
    let card = Card::of(run, &title, &state, text.as_ref());
    let link = format!("{}/runs/{run}", core.settings.public_url);
    let Some(lease) = core.lease.remaining() else { return later(None, TICK) };
    match within(DEADLINE.min(lease), chat.edit(&at, &card, &link)).await {
        Ok(()) => {
            // The entries of a journal that has ended are all there are.
            let rest = state.outcome().is_none().then_some(REST);
            Ok(Edited::Shown { seq: state.seq(), rest })
        }
        Err(Undelivered::Never(error)) => given_up(error),
        Err(e) if behind.attempts >= TRIES => given_up(format!("given up after {TRIES} tries: {e}")),
        Err(Undelivered::Later { error, after }) => {
            later(Some(error), patience(behind.attempts).max(after.unwrap_or_default()))
        }
        Err(Undelivered::Unclear(error)) => later(Some(error), patience(behind.attempts)),
    }
}

fn rows_of(rows: serde_json::Value) -> Vec<serde_json::Value> {
    match rows {
        serde_json::Value::Array(rows) => rows,
        _ => Vec::new(),
    }
}

/// How long a card waits for its message, which the outbox posts: what is not posted soon may not be for hours.
fn until_posted(attempts: i32) -> Duration {
    if attempts <= 1 { TICK } else { patience(attempts) }
}

fn patience(attempts: i32) -> Duration {
    Duration::from_secs(1 << attempts.clamp(0, 10)).min(LONGEST_REST)
}
