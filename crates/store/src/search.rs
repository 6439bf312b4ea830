//! Who did what to what, and when: one search over `audit` and over what people did to runs.
//!
//! The second lies in the journals, among a hundred times as much that machines did: each journal's first entry says who
//! asked for the run, and entries of kind `asked` what people asked of it later. Where these are, two tables beside the
//! journals say (`run_listed`, `asked`); what is shown comes from the journals, which the chain covers. What a step did by
//! itself is not found here but on its run's page.
//!
//! Starting a run must stay fast, so requests have no index of their words: words and targets are looked for in the newest
//! [`READ`] requests that fit otherwise. A time, an actor or a run reaches further back.
//!
//! Every filter is optional, and each combination has its own best index. So the statement is put together, and planned
//! for these very values: a prepared one with `$1 IS NULL OR …` in it would in the end be planned for all of them at once.

use domain::Timestamp;
use serde_json::Value;
use sqlx::{PgPool, Postgres, QueryBuilder};
use uuid::Uuid;

use crate::StoreError;

/// How many requests are read for words or a target in them.
pub const READ: i64 = 250;

/// What is looked for; what is absent fits.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Who.
    pub actor: Option<String>,
    /// Did what: an action of `audit`, or the kind of a journal's entry (`requested`, `asked`).
    pub action: Option<String>,
    /// To what: a target of `audit`, or a lock or runbook that a run was asked for with.
    pub target: Option<String>,
    /// About which step of a run.
    pub step: Option<String>,
    /// About which run.
    pub run: Option<Uuid>,
    /// With these words in it; quotes, `or` and `-` as in a search engine.
    pub text: Option<String>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Only what comes after this one in the list.
    pub after: Option<(Timestamp, String)>,
}

/// One thing that somebody did.
#[derive(Debug, Clone, serde::Serialize, sqlx::FromRow, schemars::JsonSchema)]
pub struct Found {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Did what.
    pub action: String,
    /// To what.
    pub target: String,
    /// With which particulars.
    pub details: Value,
    /// The run it is about.
    pub run_id: Option<Uuid>,
    /// The step.
    pub step: Option<String>,
    /// Tells it from others of the same time.
    pub key: String,
}

/// What fits, the newest first.
pub async fn search(pool: &PgPool, search: &Search, limit: i64) -> Result<Vec<Found>, StoreError> {
    let mut query = statement(search, limit);
    Ok(query.build_query_as().persistent(false).fetch_all(pool).await?)
}

/// The plan that Postgres makes for it, as JSON.
pub async fn explain(pool: &PgPool, search: &Search, limit: i64) -> Result<Value, StoreError> {
    let mut explained = QueryBuilder::new("EXPLAIN (FORMAT JSON) ");
    put(&mut explained, search, limit);
    Ok(explained.build_query_scalar().persistent(false).fetch_one(pool).await?)
}

fn statement(search: &Search, limit: i64) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("");
    put(&mut query, search, limit);
    query
}

fn put(query: &mut QueryBuilder<Postgres>, search: &Search, limit: i64) {
    query.push("SELECT * FROM (");
    let of_kind = |kind: &str| search.action.as_deref().is_none_or(|action| action == kind);
    let mut parts: Vec<fn(&mut QueryBuilder<Postgres>, &Search, i64)> = Vec::new();
    // A step is a run's, so no row of `audit` and no request is about one.
    if search.step.is_none() {
        parts.push(in_audit);
        if of_kind("requested") {
            parts.push(in_requests);
        }
    }
    if of_kind("asked") || parts.is_empty() {
        parts.push(in_asks);
    }
    for (nth, part) in parts.into_iter().enumerate() {
        query.push(if nth == 0 { "(" } else { " UNION ALL (" });
        part(query, search, limit);
        query.push(")");
    }
    query.push(") AS found ORDER BY at DESC, key DESC LIMIT ").push_bind(limit);
}

fn in_audit(query: &mut QueryBuilder<Postgres>, search: &Search, limit: i64) {
    query.push(
        "SELECT at, actor, action, target, details, NULL::uuid AS run_id, NULL::text AS step, \
                'a' || lpad(seq::text, 19, '0') COLLATE \"C\" AS key FROM audit WHERE true",
    );
    for (column, wanted) in [("actor", &search.actor), ("action", &search.action), ("target", &search.target)]
    {
        if let Some(wanted) = wanted {
            query.push(format!(" AND {column} = ")).push_bind(wanted.clone());
        }
    }
    if let Some(run) = search.run {
        query.push(" AND target = ").push_bind(run.to_string());
    }
    if let Some(text) = &search.text {
        query.push(" AND audit_words(actor, action, target, details) @@ websearch_to_tsquery('simple', ");
        query.push_bind(text.clone()).push(")");
    }
    when(query, search, "'a' || lpad(seq::text, 19, '0')");
    query.push(" ORDER BY at DESC, seq DESC LIMIT ").push_bind(limit);
}

/// An entry of a journal, from a query that finds it and calls it `j`.
const FROM_JOURNAL: &str = "SELECT j.at, coalesce(j.entry -> 'by' ->> 'name', '') AS actor, j.kind AS action, \
    (SELECT title FROM run WHERE id = j.run_id) AS target, \
    j.entry::jsonb - '{kind,by,step,plan_hash,hash}'::text[] AS details, j.run_id, j.step, \
    'j' || j.run_id || lpad(j.seq::text, 19, '0') COLLATE \"C\" AS key FROM (";

fn in_requests(query: &mut QueryBuilder<Postgres>, search: &Search, limit: i64) {
    let read = search.target.is_some() || search.text.is_some();
    let most = if read { READ.max(limit) } else { limit };
    query.push(FROM_JOURNAL);
    // A run is as old as its first entry. The newest are chosen before their journals are looked into.
    let runs = if search.run.is_some() { "run" } else { "run_listed" };
    query.push(format!(
        "SELECT first.* FROM (SELECT id, created_at FROM (SELECT id, requested_by, created_at, created_at AS at FROM {runs}) AS run WHERE true"
    ));
    if let Some(actor) = &search.actor {
        query.push(" AND requested_by = ").push_bind(actor.clone());
    }
    if let Some(run) = search.run {
        query.push(" AND id = ").push_bind(run);
    }
    when(query, search, "'j' || id || lpad('1', 19, '0')");
    query.push(" ORDER BY created_at DESC, id DESC LIMIT ").push_bind(most);
    query.push(
        ") AS run CROSS JOIN LATERAL (SELECT * FROM journal_line \
           WHERE run_id = run.id AND seq = 1 AND kind = 'requested' OFFSET 0) AS first",
    );
    query.push(") AS j WHERE true");
    if let Some(target) = &search.target {
        query.push(" AND strpos(j.entry::text, ");
        query.push_bind(Value::from(target.as_str()).to_string()).push(") > 0");
    }
    if let Some(text) = &search.text {
        query.push(
            " AND json_to_tsvector('simple', j.entry, '[\"string\"]') @@ websearch_to_tsquery('simple', ",
        );
        query.push_bind(text.clone()).push(")");
    }
    query.push(" ORDER BY at DESC, run_id DESC LIMIT ").push_bind(limit);
}

fn in_asks(query: &mut QueryBuilder<Postgres>, search: &Search, limit: i64) {
    query.push(FROM_JOURNAL).push("SELECT j.* FROM (SELECT run_id, seq FROM asked WHERE true");
    if let Some(actor) = &search.actor {
        query.push(" AND by = ").push_bind(actor.clone());
    }
    // With a step, any other action is one that no entry has.
    if let Some(kind) = &search.action {
        query.push(" AND 'asked' = ").push_bind(kind.clone());
    }
    if let Some(step) = &search.step {
        query.push(" AND step = ").push_bind(step.clone());
    }
    if let Some(run) = search.run {
        query.push(" AND run_id = ").push_bind(run);
    }
    if let Some(target) = &search.target {
        // The words find it by index; only the whole name, as a value of its own, is it.
        query.push(" AND words @@ phraseto_tsquery('simple', ").push_bind(target.clone());
        query.push(
            ") AND EXISTS (SELECT FROM journal_line j WHERE j.run_id = asked.run_id AND j.seq = asked.seq AND strpos(j.entry::text, ",
        );
        query.push_bind(Value::from(target.as_str()).to_string()).push(") > 0)");
    }
    if let Some(text) = &search.text {
        query.push(" AND words @@ websearch_to_tsquery('simple', ").push_bind(text.clone()).push(")");
    }
    when(query, search, "'j' || run_id || lpad(seq::text, 19, '0')");
    query.push(" ORDER BY at DESC, run_id DESC, seq DESC LIMIT ").push_bind(limit);
    query.push(") AS a JOIN journal_line j ON j.run_id = a.run_id AND j.seq = a.seq) AS j");
}

fn when(query: &mut QueryBuilder<Postgres>, search: &Search, key: &str) {
    if let Some(since) = search.since {
        query.push(" AND at >= ").push_bind(since);
    }
    if let Some(until) = search.until {
        query.push(" AND at < ").push_bind(until);
    }
    if let Some((at, after)) = &search.after {
        query.push(" AND at <= ").push_bind(*at).push(" AND (at < ").push_bind(*at);
        query.push(format!(" OR ({key}) COLLATE \"C\" < ")).push_bind(after.clone()).push(")");
    }
}
