//! What people elsewhere are to be told, until they have been: each notice to each channel once.
//!
//! A row is written by the statement that makes it true (a verdict, the end of an incident), or worked out from history (a run). Of
//! one incident, or of one run in a chat, one channel is told in order, one message at a time: so that a thread has a beginning, and the last word is the last.

use chrono::TimeDelta;
use domain::Timestamp;
use domain::notice::Notice;
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

use crate::StoreError;

/// The rows of a notice to these channels, in the form that the statements take.
pub fn rows<'c>(notice: &Notice, channels: impl IntoIterator<Item = &'c str>) -> Value {
    let row = |channel| {
        json!({
            "channel": channel, "key": notice.key, "message": notice, "incident": notice.incident, "thread": notice.thread,
        })
    };
    channels.into_iter().map(row).collect()
}

/// Puts them in; those that are there already stay as they are. How many are new is not said.
pub async fn put(pool: &PgPool, rows: &Value, at: Timestamp) -> Result<(), StoreError> {
    sqlx::query!("SELECT tell($1, $2)", rows, at).fetch_one(pool).await?;
    Ok(())
}

/// A message that this process is to send.
#[derive(Debug, Clone)]
pub struct Sending {
    /// Its number.
    pub id: i64,
    /// The channel's name.
    pub channel: String,
    /// What is told.
    pub notice: Notice,
    /// Tries before this one.
    pub attempts: i32,
    /// It was tried, and nobody knows what became of that.
    pub doubt: bool,
    /// Whoever tried it did not come to say anything of it: since when it may be on its way, nobody knows.
    pub taken_over: bool,
    /// The right to send it.
    pub claim: Uuid,
    /// Where the channel has put the first message of the same incident.
    pub thread: Option<Value>,
}

/// So often a message may be refused before those behind it are told all the same, if its channel has taken others meanwhile: then it
/// is this message that is not taken (an alert that was deleted there, words that a filter in front of it does not let through).
const PATIENT: i32 = 5;

/// When a message is looked at again that this version cannot read (clock time).
const UNREAD: TimeDelta = TimeDelta::minutes(5);

/// Takes messages that are due: no other worker sends them while this one lives, and none of an incident before the one ahead of
/// it is settled, or has been refused so often that it is the message's fault. What this worker has taken before and does not send any more (`at_work` are those that it does) is taken again,
/// and told as `doubt`: nobody knows what became of it.
pub async fn claim(
    pool: &PgPool,
    worker: i64,
    channels: &[String],
    at_work: &[Uuid],
    at: Timestamp,
    limit: i64,
) -> Result<Vec<Sending>, StoreError> {
    let mut rows = sqlx::query!(
        r#"UPDATE outbox SET claim = gen_random_uuid(), claimed_by = $1, attempts = attempts + 1
             FROM (SELECT o.id, o.claim IS NOT NULL AS doubt, o.claimed_by IS NOT NULL AS taken_over FROM outbox o
                          WHERE o.due <= $2 AND o.channel = ANY ($3)
                            AND (o.claimed_by IS NULL OR o.claimed_by = $1 AND o.claim <> ALL ($4)
                                 OR NOT EXISTS (SELECT FROM worker w WHERE w.id = o.claimed_by AND w.lease_until > clock_timestamp()))
                            AND NOT EXISTS (SELECT FROM outbox a WHERE a.incident = o.incident AND a.channel = o.channel
                                               AND a.id < o.id AND a.due IS NOT NULL
                                               AND (a.attempts < $6 OR NOT EXISTS (SELECT FROM outbox s
                                                    WHERE s.id > a.id AND s.channel = a.channel AND s.state = 'sent')))
                            AND NOT EXISTS (SELECT FROM outbox a WHERE a.thread = o.thread AND a.channel = o.channel
                                               AND a.id < o.id AND a.due IS NOT NULL
                                               AND (a.attempts < $6 OR NOT EXISTS (SELECT FROM outbox s
                                                    WHERE s.id > a.id AND s.channel = a.channel AND s.state = 'sent')))
                          -- People before collectors of traces.
                          ORDER BY o.message->>'kind' IS NOT DISTINCT FROM 'trace', o.id LIMIT $5 FOR UPDATE SKIP LOCKED) due
            WHERE outbox.id = due.id
           RETURNING outbox.id, channel, message, attempts - 1 AS "attempts!", claim AS "claim!", doubt AS "doubt!", taken_over AS "taken_over!",
                     CASE WHEN outbox.thread IS NULL
                          THEN (SELECT f.receipt FROM outbox f WHERE f.incident = outbox.incident AND f.channel = outbox.channel
                                   AND f.receipt IS NOT NULL ORDER BY f.id LIMIT 1)
                          ELSE (SELECT f.receipt FROM outbox f WHERE f.thread = outbox.thread AND f.channel = outbox.channel
                                   AND f.receipt IS NOT NULL ORDER BY f.id LIMIT 1) END AS thread"#,
        worker,
        at,
        channels,
        at_work,
        limit,
        PATIENT,
    )
    .fetch_all(pool)
    .await?;
    // What an UPDATE returns comes in no order.
    rows.sort_unstable_by_key(|row| row.id);
    let (mut sendings, mut unread) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        match serde_json::from_value(row.message) {
            Ok(notice) => sendings.push(Sending {
                id: row.id,
                channel: row.channel,
                notice,
                attempts: row.attempts,
                doubt: row.doubt,
                taken_over: row.taken_over,
                claim: row.claim,
                thread: row.thread,
            }),
            Err(e) => unread.push(((row.claim, row.doubt), e.to_string())),
        }
    }
    // What is readable is sent all the same: one such message must not silence all.
    if !unread.is_empty()
        && let Err(e) = put_off(pool, unread, at).await
    {
        tracing::warn!("messages that this version cannot read were not put off: {e}");
    }
    Ok(sendings)
}

/// A claim, with whether it came with doubt, and why its message cannot be read.
type Unread = ((Uuid, bool), String);

/// Leaves messages for a while to the version that has written them, and says so where it is told what was not sent. Those behind them
/// do not wait for that. What was in doubt stays so: that version may have sent it already.
async fn put_off(pool: &PgPool, unread: Vec<Unread>, at: Timestamp) -> Result<(), StoreError> {
    let (claims, errors): (Vec<_>, Vec<_>) = unread.into_iter().unzip();
    let (claims, doubts): (Vec<_>, Vec<_>) = claims.into_iter().unzip();
    sqlx::query!(
        "UPDATE outbox SET claim = CASE WHEN u.doubt THEN u.claim END, claimed_by = NULL, due = $4, attempts = greatest(attempts, $5),
                error = 'this version cannot read it: ' || u.error
           FROM unnest($1::uuid[], $2::boolean[], $3::text[]) AS u(claim, doubt, error) WHERE outbox.claim = u.claim",
        &claims,
        &doubts,
        &errors,
        at + UNREAD,
        PATIENT,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// What became of a try.
#[derive(Debug, Clone, PartialEq)]
pub enum Sent {
    /// It is there.
    There {
        /// Where the channel has put it; under `refused`, for whom it was not taken.
        receipt: Option<Value>,
    },
    /// Not yet.
    Later {
        /// Why.
        error: String,
        /// When to try again.
        due: Timestamp,
        /// It may be there already.
        doubt: bool,
    },
    /// It is not for this channel.
    LeftOut {
        /// Why.
        why: String,
    },
    /// It may be there or not, and cannot be seen: it is not sent again.
    Unclear {
        /// Why.
        error: String,
    },
    /// It never will be.
    Failed {
        /// Why.
        error: String,
    },
}

/// Writes down what became of a try, if the right to say so still holds.
pub async fn settle(pool: &PgPool, sending: &Sending, sent: &Sent, at: Timestamp) -> Result<(), StoreError> {
    let doubtful = matches!(sent, Sent::Later { doubt: true, .. });
    let receipt = match sent {
        Sent::There { receipt } => receipt.as_ref().map(kept),
        _ => None,
    };
    let refused = receipt.as_ref().and_then(|receipt| receipt.get("refused"));
    let missed = refused.map(|who| format!("not taken for {who}"));
    let (state, error, due) = match sent {
        Sent::There { .. } => ("sent", missed.as_ref(), None),
        Sent::Later { error, due, .. } => ("waiting", Some(error), Some(*due)),
        Sent::LeftOut { why } => ("left_out", Some(why), None),
        Sent::Unclear { error } => ("unclear", Some(error), None),
        Sent::Failed { error } => ("failed", Some(error), None),
    };
    let error = error.map(|error| error.replace('\0', ""));
    sqlx::query!(
        // A claim that nobody holds is doubt.
        "UPDATE outbox SET state = $3, receipt = $4, error = $5, due = $6, claim = CASE WHEN $8 THEN claim END, claimed_by = NULL,
                settled_at = CASE WHEN $6::timestamptz IS NULL THEN $7::timestamptz END
          WHERE id = $1 AND claim = $2",
        sending.id,
        sending.claim,
        state,
        receipt,
        error,
        due,
        at,
        doubtful,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// An answer from outside as Postgres keeps it: no text there has a NUL.
fn kept(answer: &Value) -> Value {
    match answer {
        Value::String(text) => text.replace('\0', "").into(),
        Value::Array(values) => values.iter().map(kept).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.replace('\0', ""), kept(value))).collect()
        }
        other => other.clone(),
    }
}

/// When the newest message became true, if there was ever one.
pub async fn newest(pool: &PgPool) -> Result<Option<Timestamp>, StoreError> {
    Ok(sqlx::query_scalar!("SELECT max(at) FROM outbox").fetch_one(pool).await?)
}

/// The id that a source gives the trouble, by the newest of its signals in an incident.
pub async fn theirs(pool: &PgPool, incident: Uuid, source: &str) -> Result<Option<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        "SELECT fingerprint FROM signal WHERE incident = $1 AND source = $2 ORDER BY first_seen DESC LIMIT 1",
        incident,
        source,
    )
    .fetch_optional(pool)
    .await?)
}

/// A message, as people see it.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct OutboxRow {
    /// Its number.
    pub id: i64,
    /// The channel's name.
    pub channel: String,
    /// What is told.
    pub message: Value,
    /// The incident.
    pub incident: Option<Uuid>,
    /// When it became true.
    pub at: Timestamp,
    /// `waiting`, `sent`, `left_out`, `unclear`, `failed`.
    pub state: String,
    /// How often it was tried.
    pub attempts: i32,
    /// Why not, or not yet.
    pub error: Option<String>,
    /// When it is tried next.
    pub due: Option<Timestamp>,
    /// When that was settled.
    pub settled_at: Option<Timestamp>,
}

/// A question about what people were not told, or not all of them: given up, perhaps not there, not taken for somebody, or refused more
/// than once. Traces are told to no person.
macro_rules! of_untold {
    ($row:ty, $before:tt, $after:tt, $($given:expr),*) => {
        sqlx::query_as!(
            $row,
            $before
                + "message->>'kind' IS DISTINCT FROM 'trace' AND (state IN ('failed', 'unclear') OR state = 'sent' AND error IS NOT NULL
                       OR state = 'waiting' AND attempts > 1 AND error IS NOT NULL)"
                + $after,
            $($given),*
        )
    };
}

/// Which messages a list shows.
#[derive(Debug, Clone, Copy, Default)]
pub enum Which<'a> {
    /// Whatever there is.
    #[default]
    All,
    /// Those that people were not told, or not all of them: what [`untold`] counts.
    Untold,
    /// Those in this state.
    InState(&'a str),
}

/// Which messages a list shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutboxFilter<'a> {
    /// Those of which kind.
    pub which: Which<'a>,
    /// Only those that became true before this one (a cursor).
    pub before: Option<(Timestamp, i64)>,
}

/// Messages, the newest first.
pub async fn list(pool: &PgPool, filter: OutboxFilter<'_>, limit: i64) -> Result<Vec<OutboxRow>, StoreError> {
    let (untold, state) = match filter.which {
        Which::All => (false, None),
        Which::Untold => (true, None),
        Which::InState(state) => (false, Some(state)),
    };
    let (before, id) = filter.before.unzip();
    let found = of_untold!(
        OutboxRow,
        "SELECT id, channel, message, incident, at, state, attempts, error, due, settled_at FROM outbox
          WHERE ($1::text IS NULL OR state = $1) AND (NOT $2 OR ",
        ") AND ($3::timestamptz IS NULL OR (at, id) < ($3, $4)) ORDER BY at DESC, id DESC LIMIT $5",
        state,
        untold,
        before,
        id,
        limit
    );
    Ok(found.fetch_all(pool).await?)
}

/// What a channel was not told.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Untold {
    /// The channel's name.
    pub channel: String,
    /// So many messages were given up, may not have come, or were not taken for everybody.
    pub lost: i64,
    /// So many were refused more than once, and are tried again.
    pub waiting: i64,
    /// What was said of the newest.
    pub error: Option<String>,
    /// Since when it is so.
    pub since: Timestamp,
}

/// What the channels were not told since a moment, by channel. Traces are told to no person, and stand in the list alone.
pub async fn untold(pool: &PgPool, since: Timestamp) -> Result<Vec<Untold>, StoreError> {
    let found = of_untold!(
        Untold,
        r#"SELECT channel, count(*) FILTER (WHERE state <> 'waiting') AS "lost!", count(*) FILTER (WHERE state = 'waiting') AS "waiting!",
                  (array_agg(error ORDER BY id DESC))[1] AS error, min(at) AS "since!"
             FROM outbox
            WHERE at > $1 AND "#,
        " GROUP BY channel ORDER BY channel",
        since
    );
    Ok(found.fetch_all(pool).await?)
}

/// A run, as far as notices tell of it.
#[derive(Debug, Clone)]
pub struct RunNow {
    /// Its id.
    pub id: Uuid,
    /// What it does to what.
    pub title: String,
    /// Who asked for it.
    pub requested_by: String,
    /// How it stands.
    pub state: String,
    /// How it ended, in a sentence; of one that is open, why nobody can drive it.
    pub message: Option<String>,
    /// Why it paused, where a step of its own is why it stands as it does.
    pub why: Option<String>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Number of the entry that it has stood so since: the last that made it wait, or ended it.
    pub seq: i64,
    /// The incident at its targets.
    pub incident: Option<Uuid>,
}

/// Runs that may have something to tell: these, or all, of those that are open or have ended since a moment. All are found by what
/// they are now, not by when they were asked for: a run may take days.
pub async fn runs(pool: &PgPool, ids: Option<&[Uuid]>, since: Timestamp) -> Result<Vec<RunNow>, StoreError> {
    macro_rules! found {
        ($which:tt, $($given:expr),*) => {
            sqlx::query_as!(
                RunNow,
                r#"SELECT r.id, r.title, r.requested_by, r.state, r.message, r.ended_at,
                          coalesce((SELECT max(w.seq) FROM journal_line w WHERE w.run_id = r.id
                                       AND w.kind IN ('gated', 'awaits_approval', 'paused', 'outcome_unknown', 'drifted', 'held_back', 'closing')), 0) AS "seq!",
                          CASE WHEN r.state IN ('paused', 'stuck') THEN
                            (SELECT w.entry->>'why' FROM journal_line w WHERE w.run_id = r.id
                                AND w.kind IN ('gated', 'awaits_approval', 'paused', 'outcome_unknown', 'drifted', 'held_back', 'closing', 'asked')
                              ORDER BY w.seq DESC LIMIT 1) END AS why,
                          (SELECT i.id FROM incident i, journal_line j WHERE j.run_id = r.id AND j.seq = 1
                              AND i.targets && ARRAY(SELECT json_array_elements_text(j.entry->'locks'))
                              AND i.opened_at <= coalesce(r.ended_at, 'infinity') AND (i.closed_at IS NULL OR i.closed_at >= r.created_at)
                            ORDER BY i.opened_at DESC LIMIT 1) AS incident
                     FROM "#
                    + $which
                    + r#" AND (r.ended_at > $1 OR r.ended_at IS NULL)
                    ORDER BY r.created_at LIMIT 1000"#,
                $($given),*
            )
            .fetch_all(pool)
            .await?
        };
    }
    Ok(match ids {
        Some(ids) => found!("run r WHERE r.id = ANY ($2)", since, ids),
        None => found!(
            // What has ended is found runbook by runbook, as it is kept. Of each the newest: what one of them ended a thousand times
            // leaves room for the others.
            "(SELECT id FROM run
                     WHERE ended_at IS NULL AND state IN ('waiting_for_approval', 'paused', 'outcome_unknown', 'stuck')
                    UNION ALL
                    SELECT e.id FROM (SELECT DISTINCT name FROM runbook_text) t
                      JOIN LATERAL (SELECT id FROM run WHERE runbook = t.name AND ended_at IS NOT NULL AND ended_at > $1
                                     ORDER BY ended_at DESC LIMIT 1000) e ON true) found
                    JOIN run r ON r.id = found.id
                    WHERE true",
            since
        ),
    })
}
