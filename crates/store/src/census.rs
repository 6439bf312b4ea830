//! How much of everything there is right now, for whoever measures this service from outside: counted, not listed.
//!
//! One question, so that all numbers are of one moment; each part of it goes by an index of what is open, and of those there are few.

use domain::Timestamp;
use sqlx::PgPool;
use sqlx::types::Json;
use std::collections::BTreeMap;

use crate::StoreError;

/// How much there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Census {
    /// Runs that have not ended, by their state's word.
    pub runs: BTreeMap<String, i64>,
    /// Runs that nobody drives: their worker's lease is over, and none has taken them over yet.
    pub undriven: i64,
    /// Workers that have a lease.
    pub workers: i64,
    /// Kill switches that are on.
    pub switches: i64,
    /// Incidents that are open.
    pub incidents: i64,
    /// Signals that fire.
    pub firing: i64,
    /// Messages to people that were not taken by their channel yet: a collector of traces that is away wakes nobody.
    pub messages: i64,
    /// Since when the oldest of them waits.
    pub oldest_message: Option<Timestamp>,
    /// Broken glass that nobody has reviewed.
    pub reviews: i64,
}

/// Counts.
pub async fn take(pool: &PgPool) -> Result<Census, StoreError> {
    let counted = sqlx::query!(
        r#"SELECT (SELECT coalesce(jsonb_object_agg(state, n), '{}') FROM (SELECT state, count(*) AS n FROM run WHERE ended_at IS NULL GROUP BY state) AS s)
                      AS "runs!: Json<BTreeMap<String, i64>>",
                  (SELECT count(*) FROM run WHERE ended_at IS NULL
                      AND NOT EXISTS (SELECT FROM worker w WHERE w.id = run.owner AND w.lease_until > clock_timestamp())) AS "undriven!",
                  (SELECT count(*) FROM worker WHERE lease_until > clock_timestamp()) AS "workers!",
                  (SELECT count(*) FROM kill_switch) AS "switches!",
                  (SELECT count(*) FROM incident WHERE closed_at IS NULL) AS "incidents!",
                  (SELECT count(*) FROM signal WHERE state = 'firing') AS "firing!",
                  (SELECT count(*) FROM review WHERE closed_at IS NULL) AS "reviews!",
                  m.n AS "messages!", m.oldest
             FROM (SELECT count(*) AS n, min(at) AS oldest FROM outbox
                    WHERE due IS NOT NULL AND message->>'kind' IS DISTINCT FROM 'trace') AS m"#
    )
    .fetch_one(pool)
    .await?;
    Ok(Census {
        runs: counted.runs.0,
        undriven: counted.undriven,
        workers: counted.workers,
        switches: counted.switches,
        incidents: counted.incidents,
        firing: counted.firing,
        messages: counted.messages,
        oldest_message: counted.oldest,
        reviews: counted.reviews,
    })
}
