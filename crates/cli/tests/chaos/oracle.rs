//! What must hold of a seed: every journal is whole, and it and the simulator's ledger tell the same story.
//!
//! Runs on one fleet exclude each other by its lock, so the changes of all runs to one target can simply be counted:
//!
//! - calls to a target ≤ announced attempts on it: nothing was sent without an intent, nothing twice on one;
//! - effects on a target = steps that say they made one, give or take those that ended without knowing (failed, left out).

use std::collections::BTreeMap;

use domain::Timestamp;
use domain::audit::Link;
use domain::run::{Entry, How, Record, State, Status, StepPath};
use serde_json::Value;
use sim::LedgerEntry;
use sqlx::PgPool;
use uuid::Uuid;

use crate::person::Promises;
use crate::schedule::Start;

/// What is changed, and how: the operation and its object.
pub(crate) type Target = String;

/// What one step of a run announced, and what became of it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) run: Uuid,
    pub(crate) step: StepPath,
    pub(crate) target: Target,
    intents: usize,
    status: Option<Status>,
    how: Option<How>,
}

impl Change {
    pub(crate) fn is_done(&self) -> bool {
        self.status == Some(Status::Done)
    }

    /// In a line.
    fn told(&self) -> String {
        let status = self.status.map_or("unknown", Status::word);
        format!("{} of {}: {} attempts, {status}, {:?}", self.step, self.run, self.intents, self.how)
    }

    /// How many effects it explains, at least and at most.
    fn explains(&self) -> (usize, usize) {
        match self.status {
            Some(Status::Done) => (1, 1),
            _ => (0, 1),
        }
    }
}

/// Everything that a run announced.
pub(crate) fn changes(run: Uuid, journal: &[Record]) -> Vec<Change> {
    let state = State::replay(journal).ok();
    let mut found: Vec<Change> = Vec::new();
    for record in journal {
        let Entry::Intent { step, action, input, .. } = &record.entry else { continue };
        match found.iter_mut().find(|c| c.step == *step) {
            Some(change) => change.intents += 1,
            None => {
                let node = state.as_ref().and_then(|s| s.node(step));
                found.push(Change {
                    run,
                    step: step.clone(),
                    target: announced(action, input),
                    intents: 1,
                    status: node.map(|n| n.status),
                    how: node.and_then(|n| n.how.clone()),
                });
            }
        }
    }
    found
}

/// The target of an announced change.
fn announced(action: &str, input: &Value) -> Target {
    let text = |pointer: &str| input.pointer(pointer).and_then(Value::as_str).unwrap_or("?");
    match action {
        "autoscaling.suspend_processes" => format!("SuspendProcesses {}", text("/group")),
        "autoscaling.resume_processes" => format!("ResumeProcesses {}", text("/group")),
        "autoscaling.set_max_size" => format!("UpdateAutoScalingGroup {}", text("/group")),
        "autoscaling.scale_to" => format!("SetDesiredCapacity {}", text("/group")),
        "autoscaling.terminate_instance" => {
            format!("TerminateInstanceInAutoScalingGroup {}", text("/instance"))
        }
        "autoscaling.protect_instances" => {
            let protected = input.get("protected").and_then(Value::as_bool).unwrap_or_default();
            format!("SetInstanceProtection {} {protected}", text("/group"))
        }
        "proxysql.pause" => format!("PROXYSQL PAUSE {}", text("/host/ip")),
        "proxysql.resume" => format!("PROXYSQL RESUME {}", text("/host/ip")),
        other => format!("{other}, which the oracle does not know"),
    }
}

/// The target of a call.
fn called(entry: &LedgerEntry) -> Target {
    let param = |name: &str| entry.params.get(name).map_or("?", String::as_str);
    let object = match entry.operation.as_str() {
        "TerminateInstanceInAutoScalingGroup" => param("InstanceId").to_owned(),
        "SetInstanceProtection" => {
            format!("{} {}", param("AutoScalingGroupName"), param("ProtectedFromScaleIn"))
        }
        "PROXYSQL PAUSE" | "PROXYSQL RESUME" => param("host").to_owned(),
        _ => param("AutoScalingGroupName").to_owned(),
    };
    format!("{} {object}", entry.operation)
}

/// How often each target was really changed.
pub(crate) fn effects(ledger: &[LedgerEntry]) -> BTreeMap<Target, usize> {
    count(ledger.iter().filter(|e| e.mutating && e.effect.is_some()).map(called))
}

fn count(of: impl Iterator<Item = Target>) -> BTreeMap<Target, usize> {
    let mut counts = BTreeMap::new();
    for target in of {
        *counts.entry(target).or_default() += 1;
    }
    counts
}

/// One line of a journal as it is stored.
#[derive(sqlx::FromRow)]
struct Line {
    seq: i64,
    epoch: i64,
    at: Timestamp,
    text: String,
    hash: Option<Vec<u8>>,
}

/// All journals, as versions of today read them.
pub(crate) async fn journals(pool: &PgPool) -> anyhow::Result<BTreeMap<Uuid, Vec<Record>>> {
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM run").fetch_all(pool).await?;
    let mut all = BTreeMap::new();
    for id in ids {
        all.insert(id, store::runs::journal(pool, id).await?);
    }
    Ok(all)
}

/// Everything that is wrong.
pub(crate) async fn judge(
    pool: &PgPool,
    starts: &[Start],
    promises: &Promises,
    ledger: &[LedgerEntry],
) -> anyhow::Result<Vec<String>> {
    let mut wrong = promises.strange.clone();
    let journals = journals(pool).await?;
    for (run, journal) in &journals {
        wrong.extend(chain(pool, *run).await?.into_iter().map(|w| format!("run {run}: {w}")));
        wrong.extend(ending(pool, *run, journal).await?.into_iter().map(|w| format!("run {run}: {w}")));
    }
    wrong.extend(kept(pool, starts, promises, &journals).await?);
    wrong.extend(explained(&journals, ledger));
    let locks = store::pages::locks(pool).await?;
    if !locks.is_empty() {
        wrong.push(format!("locks are still held: {locks:?}"));
    }
    Ok(wrong)
}

/// Numbers without gaps, epochs that never go down, a chain that verifies.
async fn chain(pool: &PgPool, run: Uuid) -> anyhow::Result<Vec<String>> {
    let lines: Vec<Line> = sqlx::query_as(
        "SELECT seq, epoch, at, entry::text AS text, hash FROM journal WHERE run_id = $1 ORDER BY seq",
    )
    .bind(run)
    .fetch_all(pool)
    .await?;
    let (mut wrong, mut link, mut epoch) = (Vec::new(), Link::origin(run), 1);
    for (n, line) in (1..).zip(&lines) {
        if line.seq != n {
            wrong.push(format!("entry {n} is missing"));
            break;
        }
        if line.epoch < epoch {
            wrong.push(format!("entry {n} was written under epoch {}, after {epoch}", line.epoch));
        }
        let taken_over = line.text.contains("\"kind\":\"taken_over\"");
        if line.epoch > epoch && !taken_over {
            wrong.push(format!("epoch {} begins at entry {n} without a take-over", line.epoch));
        }
        epoch = line.epoch;
        link = link.then(line.seq, line.epoch, line.at, &line.text);
        if line.hash.as_deref() != Some(link.as_bytes()) {
            wrong.push(format!("the chain breaks at entry {n}"));
            break;
        }
    }
    Ok(wrong)
}

/// The journal is legal, has a named end, and the run's row says the same.
async fn ending(pool: &PgPool, run: Uuid, journal: &[Record]) -> anyhow::Result<Vec<String>> {
    let state = match State::replay(journal) {
        Ok(state) => state,
        Err(e) => return Ok(vec![format!("its journal is not legal: {e}")]),
    };
    let Some(row) = store::pages::run(pool, run).await? else { return Ok(vec!["it has no row".into()]) };
    let mut wrong = Vec::new();
    match state.outcome() {
        None => wrong.push(format!("it has no end, it is {}", state.word())),
        Some((outcome, _)) if row.outcome.as_deref() != Some(outcome.word()) => {
            wrong.push(format!("its row says {:?}, its journal {outcome:?}", row.outcome));
        }
        Some(_) => {}
    }
    if (row.seq, row.state.as_str()) != (state.seq(), state.word()) {
        wrong.push(format!(
            "its row is at {} ({}), its journal at {} ({})",
            row.seq,
            row.state,
            state.seq(),
            state.word()
        ));
    }
    Ok(wrong)
}

/// What was acknowledged is there, once; what is there was asked for.
async fn kept(
    pool: &PgPool,
    starts: &[Start],
    promises: &Promises,
    journals: &BTreeMap<Uuid, Vec<Record>>,
) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let keys: Vec<(Uuid, String)> = sqlx::query_as("SELECT id, idem_key FROM run").fetch_all(pool).await?;
    for start in starts {
        let of_key: Vec<Uuid> =
            keys.iter().filter(|(_, key)| key.ends_with(&start.key.to_string())).map(|(id, _)| *id).collect();
        if of_key.len() != 1 {
            wrong.push(format!("the start of {} made {} runs", start.runbook, of_key.len()));
        }
        for (_, run) in promises.runs.iter().filter(|(key, _)| *key == start.key) {
            if !of_key.contains(run) {
                wrong.push(format!("run {run} was promised, and is not there"));
            }
        }
    }
    if keys.len() > starts.len() {
        wrong.push(format!("{} runs for {} starts", keys.len(), starts.len()));
    }
    for (ask, run) in &promises.asks {
        let n: Option<i64> =
            sqlx::query_scalar("SELECT n FROM inbox WHERE id = $1").bind(ask).fetch_optional(pool).await?;
        let Some(n) = n else {
            wrong.push(format!("wish {ask} of run {run} was taken, and is lost"));
            continue;
        };
        let journal = journals.get(run).map(Vec::as_slice).unwrap_or_default();
        let answers =
            journal.iter().filter(|r| matches!(&r.entry, Entry::Asked { inbox, .. } if *inbox == n));
        let answers = answers.count();
        let ended = journal.iter().any(|r| matches!(r.entry, Entry::Ended { .. }));
        if answers > 1 || answers == 0 && !ended {
            wrong.push(format!("wish {ask} of run {run} was answered {answers} times"));
        }
    }
    Ok(wrong)
}

/// The ledger against the journals.
fn explained(journals: &BTreeMap<Uuid, Vec<Record>>, ledger: &[LedgerEntry]) -> Vec<String> {
    let mut wrong = Vec::new();
    let changes: Vec<Change> = journals.iter().flat_map(|(run, journal)| changes(*run, journal)).collect();
    let calls = count(ledger.iter().filter(|e| e.mutating).map(called));
    let effects = effects(ledger);
    let mut targets: Vec<&Target> = calls.keys().chain(changes.iter().map(|c| &c.target)).collect();
    targets.sort();
    targets.dedup();
    for target in targets {
        let of_it: Vec<&Change> = changes.iter().filter(|c| c.target == *target).collect();
        let intents: usize = of_it.iter().map(|c| c.intents).sum();
        let sent = calls.get(target).copied().unwrap_or_default();
        if sent > intents {
            wrong.push(format!(
                "{target}: {sent} calls, and {intents} attempts were announced: {}",
                told(&of_it)
            ));
        }
        let (least, most) = of_it.iter().fold((0, 0), |(least, most), c| {
            let (l, m) = c.explains();
            (least + l, most + m)
        });
        let made = effects.get(target).copied().unwrap_or_default();
        if !(least..=most).contains(&made) {
            wrong.push(format!(
                "{target}: {made} effects, and the journals tell of {least} to {most}: {}",
                told(&of_it)
            ));
        }
    }
    wrong
}

fn told(changes: &[&Change]) -> String {
    changes.iter().map(|c| c.told()).collect::<Vec<_>>().join("; ")
}
