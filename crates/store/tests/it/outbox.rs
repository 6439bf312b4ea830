//! What channels are told, and in which order.

use domain::Timestamp;
use domain::notice::{Notice, RunNews, Urgency};
use serde_json::json;
use sqlx::PgPool;
use store::outbox::{OutboxFilter, Sending, Sent, claim, put, rows, runs, settle, untold};
use store::private::TestDb;
use uuid::Uuid;

use crate::history::execute;

const NOW: &str = "2024-05-07T15:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

async fn told(pool: &PgPool, title: &str, incident: Uuid) {
    let notice = Notice {
        key: title.into(),
        kind: "asked".into(),
        urgency: Urgency::Attention,
        title: title.into(),
        text: String::new(),
        path: "/".into(),
        incident: Some(incident),
        thread: None,
        place: None,
    };
    put(pool, &rows(&notice, ["ops"]), now()).await.unwrap();
}

async fn due(pool: &PgPool) -> Vec<Sending> {
    claim(pool, 1, &["ops".to_owned()], &[], now(), 10).await.unwrap()
}

fn titles(sendings: &[Sending]) -> Vec<&str> {
    sendings.iter().map(|s| s.notice.title.as_str()).collect()
}

#[tokio::test]
async fn a_message_that_is_never_taken_does_not_silence_what_comes_after_it_once_the_channel_takes_others() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    execute(pool, "INSERT INTO worker (name, lease_until) VALUES ('w', now() + interval '1 hour')").await;
    let [one, other] = [Uuid::now_v7(), Uuid::now_v7()];
    told(pool, "first", one).await;
    told(pool, "second", one).await;
    let later = || Sent::Later { error: "it answered 404".into(), due: now(), doubt: false };
    // Nothing at all gets through: the channel is at fault, and the order is kept however long it lasts.
    for _ in 0..8 {
        let sendings = due(pool).await;
        assert_eq!(titles(&sendings), ["first"]);
        settle(pool, &sendings[0], &later(), now()).await.unwrap();
    }
    told(pool, "of another incident", other).await;
    let sendings = due(pool).await;
    assert_eq!(titles(&sendings), ["first", "of another incident"]);
    settle(pool, &sendings[0], &later(), now()).await.unwrap();
    settle(pool, &sendings[1], &Sent::There { receipt: None }, now()).await.unwrap();
    assert_eq!(titles(&due(pool).await), ["first", "second"]);
}

#[tokio::test]
async fn a_message_that_was_not_taken_for_everybody_is_told_on_the_first_page() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    execute(pool, "INSERT INTO worker (name, lease_until) VALUES ('w', now() + interval '1 hour')").await;
    told(pool, "first", Uuid::now_v7()).await;
    let refused = json!({ "refused": { "oncall@example.com": "450 greylisted" } });
    let sendings = due(pool).await;
    settle(pool, &sendings[0], &Sent::There { receipt: Some(refused) }, now()).await.unwrap();
    let found = untold(pool, now() - chrono::TimeDelta::hours(1)).await.unwrap();
    assert_eq!((found.len(), found[0].lost, found[0].waiting), (1, 1, 0));
    assert!(found[0].error.as_deref().unwrap().contains("oncall@example.com"), "{found:?}");
}

#[tokio::test]
async fn a_message_that_this_version_cannot_read_silences_no_other_and_is_told_as_one_that_was_not_sent() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    execute(pool, "INSERT INTO worker (name, lease_until) VALUES ('w', now() + interval '1 hour')").await;
    let incident = Uuid::now_v7();
    told(pool, "of another version", incident).await;
    execute(pool, "UPDATE outbox SET message = message - 'title'").await;
    told(pool, "elsewhere", Uuid::now_v7()).await;
    let sendings = due(pool).await;
    assert_eq!(titles(&sendings), ["elsewhere"]);
    settle(pool, &sendings[0], &Sent::There { receipt: None }, now()).await.unwrap();
    assert!(due(pool).await.is_empty(), "not again at once");
    let found = untold(pool, now() - chrono::TimeDelta::hours(1)).await.unwrap();
    let error = found[0].error.as_deref().unwrap();
    assert!(found.len() == 1 && error.contains("cannot read it") && error.contains("title"), "{error}");
    told(pool, "behind it", incident).await;
    assert_eq!(titles(&due(pool).await), ["behind it"]);

    // The version that can read it has sent it, and did not hear what became of that: it is to look before it sends it again.
    let sent = "UPDATE outbox SET claim = gen_random_uuid(), due = at WHERE NOT message ? 'title'";
    execute(pool, sent).await;
    assert!(titles(&due(pool).await).iter().all(|title| *title == "behind it"));
    execute(pool, "UPDATE outbox SET message = message || '{\"title\": \"read\"}', due = at WHERE NOT message ? 'title'").await;
    let sendings = due(pool).await;
    let read = sendings.iter().find(|sending| sending.notice.title == "read").unwrap();
    assert!(read.doubt && !read.taken_over);
}

#[tokio::test]
async fn people_are_told_before_a_trace_is_sent_and_one_that_waits_is_no_message_that_nobody_got() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    execute(pool, "INSERT INTO worker (name, lease_until) VALUES ('w', now() + interval '1 hour')").await;
    let run = RunNews {
        id: Uuid::now_v7(),
        title: "Heal".into(),
        by: "ada".into(),
        state: "succeeded".into(),
        seq: 9,
        message: None,
        why: None,
        ended: true,
        incident: None,
    };
    let trace = domain::trace::notice(&run).unwrap();
    put(pool, &rows(&trace, ["ops"]), now()).await.unwrap();
    told(pool, "somebody must decide", Uuid::now_v7()).await;
    let names = ["ops".to_owned()];
    let first = claim(pool, 1, &names, &[], now(), 1).await.unwrap();
    assert_eq!(titles(&first), ["somebody must decide"]);
    let later = Sent::Later { error: "nobody there".into(), due: now(), doubt: false };
    for _ in 0..3 {
        let second = claim(pool, 1, &names, &[first[0].claim], now(), 1).await.unwrap();
        assert_eq!(titles(&second), ["Trace: Heal"]);
        settle(pool, &second[0], &later, now()).await.unwrap();
    }
    let counted = store::census::take(pool).await.unwrap();
    assert_eq!((counted.messages, counted.oldest_message), (1, Some(now())), "somebody must decide");
    settle(pool, &first[0], &Sent::There { receipt: None }, now()).await.unwrap();
    assert_eq!(store::census::take(pool).await.unwrap().messages, 0);
    assert!(untold(pool, now() - chrono::TimeDelta::hours(1)).await.unwrap().is_empty());
}

/// Nobody heard that they moved.
#[tokio::test]
async fn a_run_that_was_asked_for_days_ago_is_found_by_how_it_stands_and_when_it_ended() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    for sql in [
        "INSERT INTO runbook_text (hash, name, source, first_seen) VALUES ('h', 'heal', '', now()), ('i', 'heal', '', now()), ('j', 'drain', '', now())",
        "INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, epoch, seq, created_at, updated_at, ended_at)
         SELECT gen_random_uuid(), runbook, hash, title, '{}', 'ana', title, state, 1, 1, '2024-05-01T00:00:00Z', ended::timestamptz, ended::timestamptz
           FROM (VALUES ('heal', 'h', 'ended now', 'succeeded', '2024-05-07T14:59:00Z'), ('heal', 'i', 'ended before', 'failed', '2024-05-07T13:00:00Z'),
                        ('drain', 'j', 'failed now', 'failed', '2024-05-07T14:58:00Z')) AS t (runbook, hash, title, state, ended)",
        "INSERT INTO run (id, runbook, hash, title, inputs, requested_by, idem_key, state, epoch, seq, created_at, updated_at)
         SELECT gen_random_uuid(), 'heal', 'h', title, '{}', 'ana', title, state, 1, 1, '2024-05-01T00:00:00Z', '2024-05-07T00:00:00Z'
           FROM (VALUES ('waits for a person', 'paused'), ('goes on', 'running')) AS t (title, state)",
    ] {
        execute(pool, sql).await;
    }
    let found = runs(pool, None, now() - chrono::TimeDelta::hours(1)).await.unwrap();
    let mut titles: Vec<_> = found.iter().map(|run| run.title.as_str()).collect();
    titles.sort_unstable();
    assert_eq!(titles, ["ended now", "failed now", "waits for a person"]);
}

/// It would be refused, and the message be sent again and again.
#[tokio::test]
async fn what_a_receiver_answers_is_kept_whatever_bytes_it_is_made_of() {
    let db = TestDb::new().await.unwrap();
    let pool = db.pool();
    execute(pool, "INSERT INTO worker (name, lease_until) VALUES ('w', now() + interval '1 hour')").await;
    let receipt = || Some(json!({ "ts": "1\0", "of": ["\0a"], "refused": { "boss\0": "n\0o" } }));
    let answers = [
        (Sent::There { receipt: receipt() }, "sent", r#"not taken for {"boss":"no"}"#),
        (Sent::Later { error: "4\u{0}04".into(), due: now(), doubt: false }, "waiting", "404"),
        (Sent::Failed { error: "no\0body".into() }, "failed", "nobody"),
    ];
    for (answer, state, error) in answers {
        told(pool, state, Uuid::now_v7()).await;
        let sendings = due(pool).await;
        settle(pool, sendings.last().unwrap(), &answer, now()).await.unwrap();
        let listed = store::outbox::list(pool, OutboxFilter::default(), 1).await.unwrap();
        assert_eq!((listed[0].state.as_str(), listed[0].error.as_deref()), (state, Some(error)));
    }
}
