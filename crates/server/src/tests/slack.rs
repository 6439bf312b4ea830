//! What people type and press in Slack, against a Slack that is busy, loses answers and delivers twice.

mod office;

use std::time::Instant;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use domain::Role;
use futures::stream::{self, StreamExt as _};
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::Bench;
use super::hooks::proven;
use crate::Source;
use office::{Mood, Office, SECRET, now, signed, typed};

#[tokio::test]
async fn without_configuration_the_routes_say_that_slack_is_not_set_up() {
    let bench = Bench::new().await;
    for path in crate::SLACK_PATHS {
        let answer = bench.send(signed(path, &typed("U1", "help", "t"), SECRET, now())).await;
        assert_eq!(
            (answer.status, answer.json()["code"].clone()),
            (StatusCode::UNAUTHORIZED, json!("slack_closed"))
        );
    }
}

#[tokio::test]
async fn only_what_slack_has_signed_lately_for_a_team_and_app_of_ours_is_heard() {
    let office = Office::new().await;
    let send = |body: String, secret: &'static str, at: i64| {
        let request = signed("/slack/commands", &body, secret, at);
        async { office.bench.send(request).await }
    };
    let body = || typed("U1", "help", "t1");
    let wrong = send(body(), "another secret", now()).await;
    assert_eq!((wrong.status, wrong.json()["code"].clone()), (StatusCode::UNAUTHORIZED, json!("not_proven")));
    let old = send(body(), SECRET, now() - 301).await;
    assert!(old.status == StatusCode::UNAUTHORIZED && old.text.contains("five minutes"), "{}", old.text);
    for (from, to) in [("team_id=T1", "team_id=T2"), ("api_app_id=A1", "api_app_id=A2")] {
        let elsewhere = send(body().replace(from, to), SECRET, now()).await;
        assert_eq!(elsewhere.json()["code"], "slack_elsewhere", "{to}");
    }
    let there = send("ssl_check=1&token=x".into(), SECRET, now()).await;
    assert_eq!((there.status, there.text.as_str()), (StatusCode::OK, ""));
    let half = send("team_id=T1".into(), SECRET, now()).await;
    assert_eq!(half.json()["code"], "unfit");
    // Nobody was heard so far, so the same id is still fresh.
    let heard = send(body(), SECRET, now()).await;
    assert!(heard.text.contains("does not know who you are"), "{}", heard.text);
    // Again under the same signature, and again as Slack itself would, signed anew.
    for at in [now(), now() - 1] {
        let again = send(body(), SECRET, at).await;
        assert!(again.status == StatusCode::OK && again.text.contains("received already"), "{}", again.text);
    }
}

#[tokio::test]
async fn an_unlinked_member_gets_only_how_to_link_and_a_link_is_confirmed_once_and_removed() {
    let office = Office::new().await;
    for text in ["help", "status", "run switch-lamp fleet=lamps-eu", "nonsense"] {
        let (said, _) = office.types("U1", text).await;
        assert_eq!(said, "Firebreak does not know who you are yet. Type `/firebreak link`.", "{text}");
    }
    let (said, _) = office.types("U1", "link").await;
    let path = said.split("http://localhost:8080").nth(1).unwrap().split('|').next().unwrap().to_owned();
    assert_eq!(
        office.bench.get(&path).await.status,
        StatusCode::UNAUTHORIZED,
        "who is signed in confirms it"
    );
    let vera = office.bench.sign_in_as("vera", Role::Viewer).await;
    assert_eq!(vera.form(&path, &[]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(vera.form(&path, &[]).await.status, StatusCode::GONE, "it works once");
    let (help, _) = office.types("U1", "help").await;
    assert!(help.contains("You are *vera*, a viewer") && help.contains("firebreak plan"), "{help}");
    assert!(!help.contains("firebreak run ") && !help.contains("firebreak approve"), "{help}");
    let (status, _) = office.types("U1", "status").await;
    assert!(status.contains(":grey_question: lamps-eu was never seen"), "{status}");
    assert!(!status.contains("white_check_mark"), "{status}");
    let (refused, _) = office.types("U1", "run switch-lamp fleet=lamps-eu").await;
    assert!(refused.starts_with("To start a run takes a responder, and you are a viewer."), "{refused}");

    // Somebody else cannot take the member over, and does not see the link; an admin does.
    let (again, _) = office.types("U1", "link").await;
    assert!(again.contains("You are *vera* here"), "{again}");
    let page = vera.get("/settings").await;
    let remove = page.text.split("/settings/slack/links/").nth(1).unwrap().split('"').next().unwrap();
    let remove = format!("/settings/slack/links/{remove}");
    let ada = office.bench.sign_in("ada").await;
    assert!(!ada.get("/settings").await.text.contains("/settings/slack/links/"));
    assert_eq!(ada.form(&remove, &[]).await.status, StatusCode::CONFLICT);
    let root = office.bench.sign_in_as("root", Role::Admin).await;
    assert!(root.get("/settings").await.text.contains(&remove));
    // Programs see and remove the same.
    assert_eq!(ada.get("/api/v1/slack/links").await.json(), json!({ "links": [] }));
    let links = root.get("/api/v1/slack/links").await.json()["links"].clone();
    assert_eq!((&links[0]["person"], &links[0]["member"]), (&json!("vera"), &json!("U1")), "{links}");
    let path = format!("/api/v1/slack/links/{}/remove", links[0]["id"].as_str().unwrap());
    assert_eq!(ada.post(&path, "k", &json!({})).await.json()["code"], "not_there");
    let removed = vera.post(&path, "k", &json!({})).await;
    assert_eq!((removed.status, &removed.json()["removed"]), (StatusCode::OK, &links[0]["id"]));
    assert_eq!(vera.form(&remove, &[]).await.status, StatusCode::CONFLICT, "it is gone");
    let (said, _) = office.types("U1", "help").await;
    assert!(said.contains("does not know who you are"), "{said}");
    let audit = root.get("/audit").await.text;
    assert!(audit.contains("slack linked") && audit.contains("slack link removed"), "{audit}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_may_never_do_more_than_their_person_may_now() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Approver).await;
    assert!(office.types("U1", "help").await.0.contains("You are *ada*, an approver"));
    // As a provider says at her next sign-in, which no proxy or provider of this server grants.
    let lost = "UPDATE person SET via = 'provider', role = NULL WHERE name = 'ada'";
    assert_eq!(sqlx::query(lost).execute(office.bench.engine.pool()).await.unwrap().rows_affected(), 1);
    for text in ["help", "run switch-lamp fleet=lamps-eu"] {
        let said = office.types("U1", text).await.0;
        assert!(said.contains("You speak for ada, who may do nothing here any more"), "{said}");
    }
    assert!(office.runs().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_starts_one_run_however_often_it_is_pressed_and_its_message_is_edited_to_the_end() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Responder).await;
    let (run, _) = office.previews("U1", "switch-lamp").await;
    assert!(office.runs().await.is_empty(), "a preview starts nothing");

    // Delivered twice by Slack, and pressed twice by its member, at the same time.
    let body = Office::press("U1", &run, true, "p1");
    let again = Office::press("U1", &run, true, "p2");
    let sent = [&body, &body, &again].map(|body| office.send("/slack/interactions", body));
    for answer in futures::future::join_all(sent).await {
        assert_eq!(answer.status, StatusCode::OK);
    }
    // Slack is in a bad mood for all that follows: the message, its edits, what is told.
    office.workspace.moody(&[
        Mood::LosesAnswer,
        Mood::Busy,
        Mood::Breaks,
        Mood::LosesAnswer,
        Mood::Busy,
        Mood::Breaks,
    ]);
    office.workspace.answered("https://hooks.slack.com/p1", "Started").await;
    office.workspace.answered("https://hooks.slack.com/p2", "Started").await;
    let runs = office.runs().await;
    assert_eq!((runs.len(), runs[0].requested_by.as_str()), (1, "ada"));
    let waits = office.workspace.shown("shown at work", |card| card.now == ["Wait until it is warm"]).await;
    assert_eq!((waits.state.as_str(), waits.reason.as_deref()), ("Running", Some("it is dark")));
    office.workspace.moody(&[Mood::Breaks, Mood::LosesAnswer, Mood::Busy]);
    office.bench.lamp().warm = true;
    let last = office.workspace.shown("shown to its end", |card| card.state == "Succeeded").await;
    assert_eq!((last.done, last.of), (4, 4));
    assert_eq!(office.bench.lamp().switched, 1);

    // One message, its steps and its end below it, each once.
    let end = office.workspace.until("told its end", |this| {
        let posted = this.posted.lock().unwrap();
        posted.iter().any(|(_, _, title)| title.starts_with("Succeeded")).then(|| posted.clone())
    });
    let posted = end.await;
    let titles: Vec<&str> = posted.iter().map(|(_, _, title)| title.as_str()).collect();
    let steps = ["Look at the lamp", "The lamp is off", "Switch it on", "Wait until it is warm"];
    assert_eq!(titles[0], "Switch the lamp on: lamps-eu");
    assert_eq!(titles[1..5], steps);
    assert_eq!(titles.len(), 6, "{titles:?}");
    assert!(
        posted[0].1.is_none() && posted[1..].iter().all(|(_, thread, _)| *thread == Some(1)),
        "{posted:?}"
    );
    assert_eq!(office.workspace.cards.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_cancelled_or_is_somebody_elses_starts_nothing() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Responder).await;
    office.links("U2", "bob", Role::Responder).await;
    let (run, cancel) = office.previews("U1", "switch-lamp").await;
    let url = office.presses("U2", &run, true).await;
    office.workspace.answered(&url, "somebody else's").await;
    let mut other: Value = serde_json::from_str(run.as_str().unwrap()).unwrap();
    other["plan_hash"] = "0".into();
    let url = office.presses("U1", &other.to_string().into(), true).await;
    office.workspace.answered(&url, "The plan has changed since you looked, so nothing was started.").await;
    let url = office.presses("U1", &cancel, true).await;
    office.workspace.answered(&url, "Cancelled").await;
    let url = office.presses("U1", &run, true).await;
    office.workspace.answered(&url, "was cancelled").await;
    let url = office.presses("U3", &run, true).await;
    office.workspace.answered(&url, "does not know who you are").await;
    assert!(office.runs().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_cancels_what_has_started_already_is_told_so() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Responder).await;
    let (run, cancel) = office.previews("U1", "switch-lamp").await;
    let url = office.presses("U1", &run, true).await;
    office.workspace.answered(&url, "Started").await;
    let url = office.presses("U1", &cancel, true).await;
    office.workspace.answered(&url, "It was started before it was cancelled").await;
    assert_eq!(office.runs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn high_risk_is_started_by_typing_its_target_into_a_form() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Responder).await;
    let (run, _) = office.previews("U1", "switch-lamp-high").await;
    office.presses("U1", &run, true).await;
    office.workspace.until("a form", |this| (this.forms.lock().unwrap().len() == 1).then_some(())).await;
    let view = office.workspace.forms.lock().unwrap()[0].clone();
    assert!(
        view.to_string().contains("Type lamps-eu to start it") && view.to_string().contains("lamp lamps-eu"),
        "{view}"
    );
    let wrong = office.fills("U1", "lamps-us").await.json();
    assert_eq!(wrong["response_action"], "errors");
    let why = wrong["errors"]["field"].as_str().unwrap();
    assert!(why.starts_with("`switch-lamp-high` is of high risk: type `lamps-eu` to start it."), "{why}");
    assert!(office.runs().await.is_empty());
    let right = office.fills("U1", "lamps-eu").await;
    assert_eq!((right.status, right.text.as_str()), (StatusCode::OK, ""), "closes the form");
    assert_eq!(office.runs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_what_others_must_agree_to_is_asked_why() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Responder).await;
    let (_, url) = office.types("U1", "run switch-lamp-severe fleet=lamps-eu").await;
    let preview = office.workspace.answered(&url, "Plan `").await;
    office.presses("U1", &preview["blocks"][1]["elements"][0]["value"], true).await;
    office.form(1).await;
    let silent = office.fills_all("U1", &[("reason", " ")]).await.json();
    let why = silent["errors"]["reason"].as_str().unwrap_or_default();
    assert!(why.contains("needs the agreement of others: say why"), "{silent}");
    assert!(office.runs().await.is_empty());
    let told = office.fills_all("U1", &[("reason", "it is dark")]).await;
    assert_eq!((told.status, told.text.as_str()), (StatusCode::OK, ""), "closes the form");
    let card = office.workspace.shown("asked", |card| card.approvals.iter().any(|a| a.open)).await;
    assert_eq!(card.reason.as_deref(), Some("it is dark"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_person_approves_by_a_button_that_then_says_who_did() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Admin).await;
    office.links("U2", "bob", Role::Approver).await;
    let (run, _) = office.previews("U1", "switch-lamp-severe").await;
    let url = office.presses("U1", &run, true).await;
    office.workspace.answered(&url, "Started").await;
    let card = office.workspace.shown("asked", |card| card.approvals.iter().any(|a| a.open)).await;
    let id = card.run;
    super::pages::seen(&office.bench, 3, -3600).await;
    let status = office.types("U2", "status").await.0;
    assert!(status.contains("*Asked for by ada, waits for the approval of an approver:* <http"), "{status}");
    let agree =
        domain::chat::Press::Approve { run: id, step: None, plan_hash: card.approvals[0].plan_hash.clone() };
    let agree = Value::from(agree.value());
    let url = office.presses("U1", &agree, false).await;
    let own = office.workspace.answered(&url, "You asked for it, so somebody else must agree").await;
    assert_eq!(own["replace_original"], false, "what all see stays");
    assert_eq!(office.bench.lamp().switched, 0);
    let (said, _) = office.types("U2", &format!("approve {id}")).await;
    assert!(said.contains("waits for") && said.contains("on no → *yes*"), "{said}");

    // What holds the run back all the same is said to who agrees.
    let bob = domain::Actor::with_role("bob", Role::Approver);
    let brakes = office.bench.engine.brakes();
    brakes.stop(Some("switch-lamp-severe"), &bob, "the lamp is hot").await.unwrap();
    office.bench.lamp().warm = true;
    let url = office.presses("U2", &agree, false).await;
    let but = office.workspace.answered(&url, "You have approved").await;
    assert!(
        but["text"]
            .as_str()
            .unwrap()
            .contains("the lamp is hot. The run stops again before its next change."),
        "{but}"
    );
    assert_eq!(but["replace_original"], false, "what all see stays");
    office.bench.until(id, "paused").await;
    brakes.allow(Some("switch-lamp-severe"), &bob, "it has cooled").await.unwrap();
    let resume = domain::run::Ask::Resume;
    assert_eq!(office.bench.engine.ask(id, Uuid::now_v7(), &bob, &resume).await.unwrap(), None);
    let card = office.workspace.shown("decided", |card| card.approvals[0].ruling.is_some()).await;
    assert!(card.approvals[0].ruling.as_ref().unwrap().starts_with("approved by bob at "), "{card:?}");
    office.bench.until(id, "succeeded").await;
    assert_eq!(office.bench.lamp().switched, 1);
    let reject = domain::chat::Press::Reject { run: id, step: None };
    office.presses("U2", &reject.value().into(), false).await;
    office.workspace.until("a form", |this| (this.forms.lock().unwrap().len() == 1).then_some(())).await;
    let late = office.fills("U2", "no").await.json();
    assert!(
        late["errors"]["field"].as_str().unwrap().starts_with("It is decided: approved by bob at "),
        "{late}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_freezes_and_incidents_are_the_same_as_on_the_pages() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Responder).await;
    let say = async |text: &str| office.types("U1", text).await.0;
    let no_reason = say("lock fleet:lamps-eu").await;
    assert!(
        no_reason.starts_with("This needs a reason: it is read by whoever meets it later."),
        "{no_reason}"
    );
    let mistyped = say("lock fleet:lamps-ue I am on it").await;
    assert!(
        mistyped.contains("did you mean `fleet:lamps-eu`?") && !mistyped.contains("is yours"),
        "{mistyped}"
    );
    assert!(say("lock fleet:lamps-eu for=2h I am on it").await.contains("is yours"));
    assert!(say("freeze 2h holidays").await.contains("Frozen until"));
    let opened = say("incident open fleet:lamps-eu : It is dark").await;
    assert!(opened.contains("INC-1 It is dark> is open."), "{opened}");
    assert!(say("incident take INC-1").await.contains("You have"));
    assert!(say("incident note 1 “still dark”").await.contains("Noted in"));
    let status = say("status").await;
    for words in ["INC-1 It is dark", "ada has it", "Freeze (*)", "is taken by ada by hand: I am on it"] {
        assert!(status.contains(words), "{words}: {status}");
    }
    // Their own hand holds nobody back, and a freeze is what a form asks about; somebody else's hand is no way past.
    let frozen = office.previewed_text("U1", "switch-lamp").await;
    assert!(frozen.contains("Run…") && frozen.contains("holidays"), "{frozen}");
    assert!(frozen.contains("Every guard holds, but it is held back") && !frozen.contains("Nothing speaks"));
    office.links("U2", "bob", Role::Responder).await;
    let held = office.previewed_text("U2", "switch-lamp").await;
    assert!(held.contains("Not started: see") && held.contains("It cannot start: ada works on"), "{held}");
    assert!(say("thaw over").await.contains("is lifted"));
    assert!(say("thaw over").await.contains("There is no such freeze"), "the same words as elsewhere");
    assert!(
        say("stop runbook=switch-lamps they blink").await.contains("switch-lamp"),
        "a mistyped name stops nothing"
    );
    assert!(say("stop they blink").await.contains("Changes of all are stopped. `/firebreak allow WHY`"));
    assert!(say("stop they blink").await.contains("were stopped already"));
    let status = say("status").await;
    let stopped = status.find("Kill switch (*) by ada: they blink");
    assert!(stopped.is_some() && stopped < status.find("INC-1"), "before what may be cut off: {status}");
    assert!(say("allow runbook=switch-lamp fine").await.contains("not on"), "each switch is another");
    assert!(say("allow fine").await.contains("are allowed again. Runs that were stopped stay paused"));
    assert!(say("unlock fleet:lamps-eu").await.contains("is free"));
    assert!(say("incident").await.contains("INC-1"));
    let ada = office.bench.sign_in("ada").await;
    let page = ada.get("/incidents/1").await;
    let page = ada.get(page.header(axum::http::header::LOCATION)).await;
    assert!(page.text.contains("still dark"), "{}", page.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_is_passed_in_a_form_by_whoever_says_why() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Responder).await;
    // Planned in peace: the press meets a freeze that has come since.
    let (run, _) = office.previews("U1", "switch-lamp").await;
    office.types("U1", "freeze 2h holidays").await;
    let url = office.presses("U1", &run, true).await;
    office.workspace.answered(&url, "its button then asks for what this takes").await;

    let (run, _) = office.previews("U1", "switch-lamp").await;
    office.presses("U1", &run, true).await;
    let form = office.form(1).await;
    assert!(form.to_string().contains("holidays") && form.to_string().contains("it is dark"), "{form}");
    let unticked = office.fills_all("U1", &[]).await.json();
    let why = unticked["errors"]["freeze"].as_str().unwrap();
    assert!(why.contains("confirm that you start despite the freeze"), "{unticked}");
    let silent = office.fills_all("U1", &[("freeze", "true"), ("reason", " ")]).await;
    assert_eq!((silent.status, silent.text.as_str()), (StatusCode::OK, ""), "the command's reason holds");
    let runs = office.runs().await;
    assert_eq!(runs.len(), 1);
    let journal = store::runs::journal(office.bench.engine.pool(), runs[0].id).await.unwrap();
    let first = serde_json::to_value(&journal[0].entry).unwrap().to_string();
    assert!(first.contains("\"despite_freeze\":true") && first.contains("it is dark"), "{first}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freeze_is_not_passed_without_any_reason() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Responder).await;
    office.types("U1", "freeze 2h holidays").await;
    let (said, url) = office.types("U1", "run switch-lamp fleet=lamps-eu").await;
    assert!(said.starts_with("Looking"), "{said}");
    let preview = office.workspace.answered(&url, "Plan `").await;
    office.presses("U1", &preview["blocks"][1]["elements"][0]["value"], true).await;
    office.form(1).await;
    let silent = office.fills_all("U1", &[("freeze", "true")]).await.json();
    assert!(silent["errors"]["reason"].as_str().unwrap().contains("needs a reason"), "{silent}");
    assert!(office.runs().await.is_empty());
    let said = office.fills_all("U1", &[("freeze", "true"), ("reason", "nobody sees a thing")]).await;
    assert_eq!((said.status, said.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(office.runs().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_passed_this_once_in_a_form() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Responder).await;
    office.bench.lamp().warm = true;
    let (run, _) = office.previews("U1", "switch-lamp-limited").await;
    let url = office.presses("U1", &run, true).await;
    office.workspace.answered(&url, "Started").await;
    let first = office.runs().await[0].id;
    office.bench.until(first, "succeeded").await;
    office.bench.lamp().on = false;

    let (run, _) = office.previews("U1", "switch-lamp-limited").await;
    office.presses("U1", &run, true).await;
    let form = office.form(1).await;
    assert!(
        form.to_string().contains("Why the limit “switching lamps-eu” may be passed this once"),
        "{form}"
    );
    let silent = office.fills_all("U1", &[]).await.json();
    assert!(silent["errors"]["limit-0"].as_str().unwrap().contains("acknowledge the limit"), "{silent}");
    let said = office.fills_all("U1", &[("limit-0", "it went out again")]).await;
    assert_eq!((said.status, said.text.as_str()), (StatusCode::OK, ""));
    assert_eq!(office.runs().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_meets_a_lock_stands_in_line_by_a_form() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Responder).await;
    office.links("U2", "bob", Role::Responder).await;
    let (early, _) = office.previews("U2", "switch-lamp").await;
    let (run, _) = office.previews("U1", "switch-lamp").await;
    let url = office.presses("U1", &run, true).await;
    office.workspace.answered(&url, "Started").await;
    let holder = office.runs().await[0].id;
    // Planned while it was free.
    let url = office.presses("U2", &early, true).await;
    office.workspace.answered(&url, "its button then asks for what this takes").await;

    office.workspace.shown("at work", |card| card.now == ["Wait until it is warm"]).await;
    // The lock alone is to be in the way.
    office.bench.lamp().on = false;
    let (run, _) = office.previews("U2", "switch-lamp-high").await;
    office.presses("U2", &run, true).await;
    let form = office.form(1).await;
    assert!(form.to_string().contains("Stand in line, at most half an hour"), "{form}");
    let now = office.fills("U2", "lamps-eu").await.json();
    assert!(now["errors"]["wait"].as_str().unwrap().contains("is locked by"), "{now}");
    let waits = office.fills_all("U2", &[("field", "lamps-eu"), ("wait", "true")]).await;
    assert_eq!((waits.status, waits.text.as_str()), (StatusCode::OK, ""));
    let runs = office.runs().await;
    let queued = runs.iter().find(|run| run.id != holder).unwrap();
    assert_eq!(queued.requested_by, "bob");
    office.bench.until(queued.id, "queued").await;
}

/// How fast it is, is only told: on a machine that does other things, too, a time says little.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_signals_pour_in_every_command_is_answered() {
    let office = Office::new().await;
    office.links("U1", "ada", Role::Responder).await;
    let flood = async {
        let send = async |n: usize| {
            let alert = json!({ "status": "firing", "labels": { "alertname": "Flood" }, "fingerprint": format!("f{n}") });
            let body = json!({ "version": "4", "alerts": [alert] }).to_string();
            let mut request = Request::post("/hooks/alertmanager");
            for (name, value) in proven(Source::Alertmanager, body.as_bytes()) {
                request = request.header(name, value);
            }
            let answer = office.bench.send(request.body(Body::from(body)).unwrap()).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        };
        stream::iter(0..1000).for_each_concurrent(32, send).await;
    };
    let commands = async {
        let mut took = Vec::new();
        for n in 0..200 {
            let text = ["help", "status", "incident", "nonsense"][n % 4];
            let begun = Instant::now();
            let (said, _) = office.types("U1", text).await;
            took.push(begun.elapsed());
            assert!(!said.is_empty() && !said.contains("takes longer than usual"), "{said}");
        }
        took
    };
    let ((), mut took) = futures::future::join(flood, commands).await;
    took.sort();
    let at = |percent: usize| took[took.len() * percent / 100 - 1];
    println!("commands under a flood of 1000 alerts: p50 {:?}, p99 {:?}, of {}", at(50), at(99), took.len());
    assert_eq!(took.len(), 200);
    let signals: i64 = sqlx::query_scalar("SELECT count(*) FROM signal")
        .fetch_one(office.bench.engine.pool())
        .await
        .unwrap();
    assert_eq!(signals, 1000, "none is lost");
}
