//! The app's bot against a Slack that is busy, breaks, and does not let it in.

use std::time::Duration;

use actions::secrets::Secret;
use actions::slack::{Bot, BotSettings, Identity};
use domain::chat::{Card, Chat as _};
use domain::notice::{Channel as _, Found, Letter, Notice, Undelivered, Urgency, letter_id};
use serde_json::{Value, json};

use crate::notify::{Answer, Service, json_of};

async fn bot(answers: &[Answer]) -> (Service, Bot, String) {
    let (service, url) = Service::answering(answers).await;
    let settings = BotSettings {
        api: Some(url.clone()),
        token: Secret::new("xoxb-1"),
        channel: Some("C0".into()),
        environment: Some("staging".into()),
    };
    (service, Bot::new(settings).unwrap(), url)
}

fn begun() -> Notice {
    Notice {
        key: "card:1".into(),
        kind: "card".into(),
        urgency: Urgency::Info,
        title: "Replace hosts: us".into(),
        text: "Asked for by ada.".into(),
        path: "/runs/1".into(),
        incident: None,
        thread: None,
        place: Some("C7".into()),
    }
}

fn letter<'a>(notice: &'a Notice, thread: Option<&'a Value>) -> Letter<'a> {
    let id = letter_id("slack: runs", &notice.key);
    Letter { notice, link: "https://firebreak.example.com/runs/1", id, thread, theirs: None, trace: None }
}

fn refused(error: &str) -> Answer {
    (200, None, json!({ "ok": false, "error": error }))
}

#[tokio::test]
async fn where_the_bot_is_not_let_in_the_configured_channel_is_told_instead_and_the_receipt_says_so() {
    let posted = (200, None, json!({ "ok": true, "channel": "C0", "ts": "1.0" }));
    let reply = (200, None, json!({ "ok": true, "channel": "C0", "ts": "2.0" }));
    let (service, bot, _) = bot(&[refused("not_in_channel"), posted, reply, refused("invalid_auth")]).await;
    let notice = begun();
    let at = bot.send(&letter(&notice, None)).await.unwrap().unwrap();
    assert_eq!(at, json!({ "channel": "C0", "ts": "1.0" }));
    let step = Notice { kind: "step".into(), key: "step:1".into(), ..begun() };
    bot.send(&letter(&step, Some(&at))).await.unwrap();
    let below = json_of(&service.asked()[2].2);
    assert_eq!(
        (&below["channel"], &below["thread_ts"]),
        (&json!("C0"), &json!("1.0")),
        "where its message is"
    );
    let orphan = bot.send(&letter(&step, None)).await.unwrap_err();
    assert!(matches!(orphan, Undelivered::Never(_)), "nothing of a thread stands alone: {orphan:?}");
    let shut = bot.send(&letter(&notice, None)).await.unwrap_err();
    assert_eq!(shut, later("Slack says invalid_auth"), "the token will be put right");
}

fn later(error: &str) -> Undelivered {
    Undelivered::Later { error: error.into(), after: None }
}

#[tokio::test]
async fn a_token_or_a_channel_that_is_wrong_is_waited_for_and_a_message_that_is_gone_is_not() {
    let words = ["token_revoked", "account_inactive", "not_in_channel", "missing_scope", "is_archived"];
    let mut answers: Vec<Answer> = words.map(refused).into();
    answers.push(refused("message_not_found"));
    answers.push(refused("invalid_auth"));
    let (_, bot, _) = bot(&answers).await;
    let (card, at) = (card(), json!({ "channel": "C0", "ts": "1.0" }));
    for word in words {
        let error = bot.edit(&at, &card, "l").await.unwrap_err();
        assert_eq!(error, later(&format!("Slack says {word}")));
    }
    assert!(matches!(bot.edit(&at, &card, "l").await, Err(Undelivered::Never(_))));
    // Nor is it guessed meanwhile whether a message is there.
    let unseen = bot.find(&letter(&begun(), None)).await.unwrap_err();
    assert_eq!(unseen, later("Slack says invalid_auth"));
}

#[tokio::test]
async fn a_lost_reply_is_looked_for_in_the_whole_thread() {
    let step = Notice { kind: "step".into(), key: "step:1".into(), ..begun() };
    let id = letter_id("slack: runs", "step:1").to_string();
    let page = |messages: Value, next: &str| {
        (200, None, json!({ "ok": true, "messages": messages, "response_metadata": { "next_cursor": next } }))
    };
    let ours = json!([{ "ts": "3.0", "metadata": { "event_payload": { "id": id } } }]);
    let none = || json!([{ "ts": "2.0" }]);
    let mut answers = vec![page(none(), "more=="), page(ours, ""), page(none(), "more=="), page(none(), "")];
    answers.extend((0..20).map(|_| page(none(), "more==")));
    let (service, bot, _) = bot(&answers).await;
    let thread = json!({ "channel": "C0", "ts": "1.0" });
    let letter = letter(&step, Some(&thread));
    let found = bot.find(&letter).await.unwrap();
    assert_eq!(found, Found::There(Some(json!({ "channel": "C0", "ts": "3.0" }))));
    assert!(service.asked()[1].0.contains("cursor=more%3D%3D"), "{}", service.asked()[1].0);
    assert_eq!(bot.find(&letter).await.unwrap(), Found::NotThere);
    // What was not read to its end tells nothing.
    assert!(matches!(bot.find(&letter).await, Err(Undelivered::Unclear(_))));
}

fn card() -> Card {
    Card {
        run: Default::default(),
        title: "Replace hosts: us".into(),
        state: "Running".into(),
        urgency: Urgency::Info,
        by: "ada".into(),
        reason: None,
        says: None,
        done: 1,
        of: 2,
        now: Vec::new(),
        approvals: Vec::new(),
    }
}

#[tokio::test]
async fn a_lost_post_is_found_in_either_place_by_its_id() {
    let notice = begun();
    let id = letter_id("slack: runs", &notice.key).to_string();
    let ours =
        json!({ "ok": true, "messages": [{ "ts": "3.0", "metadata": { "event_payload": { "id": id } } }] });
    let none = json!({ "ok": true, "messages": [] });
    let answers = [
        refused("channel_not_found"),
        (200, None, ours),
        (200, None, none.clone()),
        (200, None, none),
        refused("missing_scope"),
    ];
    let (_, bot, _) = bot(&answers).await;
    let found = bot.find(&letter(&notice, None)).await.unwrap();
    assert_eq!(found, Found::There(Some(json!({ "channel": "C0", "ts": "3.0" }))));
    assert_eq!(bot.find(&letter(&notice, None)).await.unwrap(), Found::NotThere);
    assert!(matches!(bot.find(&letter(&notice, None)).await, Err(Undelivered::Unclear(_))));
}

#[tokio::test]
async fn edits_and_answers_say_what_became_of_them_and_answers_go_to_slack_alone() {
    let answers = [
        (429, Some(7), json!({ "ok": false, "error": "ratelimited" })),
        (500, None, Value::Null),
        refused("message_not_found"),
        (200, None, json!("ok")),
        (404, None, json!("used_url")),
        (200, None, json!({ "ok": true, "team": "Acme", "team_id": "T1", "user": "firebreak" })),
    ];
    let (service, bot, url) = bot(&answers).await;
    let card = card();
    let at = json!({ "channel": "C0", "ts": "1.0" });
    let busy = bot.edit(&at, &card, "https://f.example.com").await.unwrap_err();
    assert!(
        matches!(&busy, Undelivered::Later { after: Some(after), .. } if *after == Duration::from_secs(7)),
        "{busy:?}"
    );
    assert!(matches!(bot.edit(&at, &card, "l").await, Err(Undelivered::Unclear(_))));
    assert!(matches!(bot.edit(&at, &card, "l").await, Err(Undelivered::Never(_))));
    let message = json!({ "text": "Started" });
    bot.answer(&format!("{url}commands/1"), &message).await.unwrap();
    assert!(matches!(bot.answer(&format!("{url}commands/1"), &message).await, Err(Undelivered::Never(_))));
    for elsewhere in
        ["https://example.com/commands/1", "http://169.254.169.254/latest", "file:///etc/passwd", "nonsense"]
    {
        let error = bot.answer(elsewhere, &message).await.unwrap_err();
        assert!(matches!(error, Undelivered::Never(_)), "{elsewhere}: {error:?}");
    }
    let who = bot.who().await.unwrap();
    assert_eq!(who, Identity { team_id: "T1".into(), team: "Acme".into(), user: "firebreak".into() });
    let asked = service.asked();
    assert_eq!(asked.len(), 6, "nobody else was asked");
    assert_eq!(asked[0].0, "POST /chat.update");
    assert!(!asked[3].1.contains_key("authorization"), "an answer's address needs no token, and gets none");
}
