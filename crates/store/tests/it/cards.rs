//! The card of a run in a chat.

use std::time::Duration;

use store::cards::{Edited, claim, settle};
use store::private::TestDb;

use crate::history::execute;

#[tokio::test]
async fn to_wait_for_its_message_is_no_try_and_to_be_refused_is_one() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    for sql in [
        "INSERT INTO worker (name, lease_until) VALUES ('w', now() + interval '1 hour')",
        "INSERT INTO runbook_text (hash, name, source, first_seen) VALUES ('h', 'r', '', now())",
        "INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, owner, epoch, seq, created_at, updated_at)
         VALUES (gen_random_uuid(), 'r', 'h', 'T', '{}', 'ada', 'k', 'running', 1, 1, 10, now(), now())",
        "INSERT INTO run_card (run_id, place) SELECT id, 'C0' FROM run",
    ] {
        execute(pool, sql).await;
    }
    let attempts = async |became: Edited| {
        let behind = claim(pool, 1, 1).await.unwrap().remove(0);
        settle(pool, &behind, &became).await.unwrap();
        behind.attempts
    };
    let later = |error: Option<&str>| Edited::Later { error: error.map(str::to_owned), rest: Duration::ZERO };
    let waits = || later(None);
    let tries = [waits(), waits(), later(Some("busy")), later(Some("busy")), later(Some("busy"))];
    let mut counted = Vec::new();
    for became in tries {
        counted.push(attempts(became).await);
    }
    assert_eq!(counted, [0, 0, 0, 1, 2]);
}
