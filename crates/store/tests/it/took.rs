//! How long runs took, without what people took.

use domain::Timestamp;
use sqlx::PgPool;
use store::history::took;
use uuid::Uuid;

use crate::history::{db, execute};

/// A run that ended so, with these entries: the minute, the kind (and what is asked, and `refused`), and the step.
async fn run(pool: &PgPool, outcome: &str, entries: &[(i64, &str, &str)]) {
    let id = Uuid::now_v7();
    let at = |minute: i64| Timestamp::from_timestamp(1_715_090_400 + minute * 60, 0).unwrap().to_rfc3339();
    let (last, end) = (entries.len(), at(entries.last().unwrap().0));
    let begin = format!(
        "INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, outcome, epoch, seq, created_at, updated_at, ended_at)
         VALUES ('{id}', 'rb', 'x', 'X', '{{}}', 'ana', '{id}', '{outcome}', '{outcome}', 1, {last}, '{}', '{end}', '{end}')",
        at(0)
    );
    execute(pool, &begin).await;
    for (seq, (minute, kind, step)) in (1..).zip(entries) {
        let mut words = kind.split(' ');
        let (kind, ask, refused) = (words.next().unwrap(), words.next(), words.next());
        let entry = serde_json::json!({ "ask": { "ask": ask }, "refused": refused });
        let append = format!(
            "INSERT INTO journal_line (run_id, seq, epoch, at, kind, step, entry, write_id)
             VALUES ('{id}', {seq}, 1, '{}', '{kind}', nullif('{step}', ''), '{entry}', gen_random_uuid())",
            at(*minute)
        );
        execute(pool, &append).await;
    }
}

/// What is known: the step, of how many times, and half of them in minutes.
async fn known(pool: &PgPool) -> Vec<(String, i64, f64)> {
    let took = took(pool, "rb").await.unwrap();
    took.into_iter().map(|t| (t.step.unwrap_or("all".into()), t.times, t.p50 / 60.0)).collect()
}

fn is(step: &str, times: i64, minutes: f64) -> (String, i64, f64) {
    (step.to_owned(), times, minutes)
}

#[tokio::test]
async fn what_people_took_before_and_between_steps_is_not_counted() {
    let db = db().await;
    let gate = [(0, "requested", ""), (0, "gated", ""), (60, "asked", ""), (61, "admitted", "")];
    let steps = [
        (61, "intent", "a"),
        (63, "done", "a"),
        (63, "awaits_approval", "yes"),
        (70, "asked pause", ""),
        (71, "asked approve refused", "yes"),
        (90, "asked resume", ""),
        (93, "asked approve", "yes"),
        (93, "done", "yes"),
    ];
    let rest = [
        (93, "intent", "b"),
        (94, "paused", "b"),
        (95, "asked resume refused", ""),
        (194, "asked retry", "b"),
        (194, "intent", "b"),
        (197, "done", "b"),
        (197, "ended", ""),
    ];
    run(db.pool(), "succeeded", &[&gate[..], &steps[..], &rest[..]].concat()).await;
    assert_eq!(known(db.pool()).await, [is("a", 1, 2.0), is("all", 1, 6.0)]);
}

#[tokio::test]
async fn a_pause_by_hand_is_no_time_of_the_run_whatever_ends_or_is_said_meanwhile() {
    let db = db().await;
    let entries = [
        (0, "requested", ""),
        (1, "expanded", "all"),
        (1, "intent", "all[x].do"),
        (2, "asked pause", ""),
        (5, "asked pause refused", ""),
        (6, "done", "all[x].do"),
        (40, "asked retry refused", "all[x].do"),
        (61, "asked resume", ""),
        (61, "intent", "all[y].do"),
        (64, "done", "all[y].do"),
        (64, "done", "all"),
        (64, "ended", ""),
    ];
    run(db.pool(), "succeeded", &entries).await;
    // Of the steps, what was under way goes on; but who can tell how long it would have been without.
    assert_eq!(known(db.pool()).await, [is("all[].do", 1, 3.0), is("all", 1, 4.0)]);
}

#[tokio::test]
async fn whoever_comes_while_another_branch_goes_on_has_taken_what_was_left_of_the_time() {
    let db = db().await;
    let entries = [
        (0, "requested", ""),
        (0, "intent", "a"),
        (0, "intent", "b"),
        (3, "outcome_unknown", "a"),
        (4, "asked stop_looking", "b"),
        (5, "done", "b"),
        (95, "asked mark_done", "a"),
        (95, "ended", ""),
    ];
    run(db.pool(), "succeeded", &entries).await;
    assert_eq!(known(db.pool()).await, [is("b", 1, 5.0), is("all", 1, 3.0)]);
}

#[tokio::test]
async fn a_step_inside_which_something_was_tried_again_tells_nothing() {
    let db = db().await;
    let smooth = [
        (0, "requested", ""),
        (1, "expanded", "all"),
        (1, "intent", "all[x].do"),
        (4, "done", "all[x].do"),
        (4, "done", "all"),
        (5, "ended", ""),
    ];
    run(db.pool(), "succeeded", &smooth).await;
    let rough = [
        (0, "requested", ""),
        (0, "intent", "ally"),
        (1, "done", "ally"),
        (1, "expanded", "all"),
        (1, "intent", "all[x].do"),
        (2, "attempt_failed", "all[x].do"),
        (50, "intent", "all[x].do"),
        (55, "done", "all[x].do"),
        (55, "done", "all"),
        (55, "ended", ""),
    ];
    run(db.pool(), "failed", &rough).await;
    assert_eq!(
        known(db.pool()).await,
        [is("all", 1, 3.0), is("all[].do", 1, 3.0), is("ally", 1, 1.0), is("all", 1, 4.0)]
    );
}

#[tokio::test]
async fn a_run_that_had_nothing_to_do_took_no_time_and_one_that_failed_tells_only_of_its_steps() {
    let db = db().await;
    run(db.pool(), "failed", &[(0, "requested", ""), (1, "intent", "a"), (2, "done", "a"), (3, "ended", "")])
        .await;
    assert_eq!(known(db.pool()).await, [is("a", 1, 1.0)]);
    run(db.pool(), "succeeded", &[(0, "requested", ""), (1, "done", "a"), (1, "ended", "")]).await;
    assert_eq!(known(db.pool()).await, [is("a", 1, 1.0), is("all", 1, 0.0)]);
}
