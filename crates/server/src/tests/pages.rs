//! What pages show.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use futures::StreamExt;
use serde_json::{Value, json};
use store::fleets::{FleetView, Sample};
use tower::ServiceExt;

use super::bench::{Answer, Bench, Person, run_of};
use super::incidents::dark;

/// The inner part, without what differs from run to run.
fn stable(answer: &Answer, secrets: &[&str]) -> String {
    let main = answer.text.split("<main id=\"main\">").nth(1).unwrap().split("</main>").next().unwrap();
    let mut text = main.to_owned();
    for secret in secrets {
        text = text.replace(secret, "[…]");
    }
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("<time") {
        out.push_str(before);
        out.push_str("[time]");
        rest = after.split_once("</time>").map_or("", |(_, rest)| rest);
    }
    out.push_str(rest);
    out.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_plan_page() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let page = person.form("/runbooks/switch-lamp/plan", &[("input.fleet", "lamps-eu")]).await;
    let (hash, key) = (page.field("plan_hash"), page.field("idem_key"));
    let runbook_hash = &bench.engine.library().runbook("switch-lamp").unwrap().hash;
    let short = |hash: &str| hash[..12].to_owned();
    let secrets = [&hash, &short(&hash), &key, &person.csrf, runbook_hash, &short(runbook_hash)];
    let changes = page.text.split("id=\"changes\"").nth(1).unwrap().split("</table>").next().unwrap();
    assert!(changes.contains("</svg>Can be taken back</span>"), "{changes}");
    insta::assert_snapshot!(stable(&page, &secrets.map(String::as_str)));
}

/// Shown, with the same number of tries failed through each host, and seen at the present moment.
pub(super) async fn seen(bench: &Bench, failed: u32, age_s: i64) {
    let cell = |host: &str, cluster: &str, failed: u32| {
        let error =
            (failed > 0).then(|| json!({ "kind": "timeout_login", "code": null, "message": "no <answer>" }));
        json!({ "host": host, "cluster": cluster, "ok": failed == 0, "tries": 10, "failed": failed, "error": error,
                "server_id": null, "read_only": false, "ms": 1.0 })
    };
    let hosts = ["i-0aaa", "i-0bbb"];
    let via: Vec<_> =
        hosts.iter().flat_map(|host| [cell(host, "shard-a", 0), cell(host, "shard-b", failed)]).collect();
    let at = bench.engine.clock().now() - chrono::TimeDelta::seconds(age_s);
    let host = |id: &str| json!({ "id": id, "az": "eu-west-1a", "ip": "10.0.0.1", "protected": false, "healthy": true });
    let view = FleetView {
        fleet: "lamps-eu".into(),
        at,
        group: Some(json!({ "group": "lamps", "desired": 2, "in_service": hosts.map(host), "ids": hosts,
                            "pending": ["i-0ccc"], "leaving": [], "other": [], "suspended": ["AZRebalance"] })),
        matrix: Some(
            json!({ "direct": [cell("direct", "shard-a", 0), cell("direct", "shard-b", 0)], "via": via }),
        ),
        error: None,
    };
    store::fleets::put(bench.engine.pool(), &view).await.unwrap();
}

#[tokio::test]
async fn the_situation_says_what_is_wrong_and_what_is_old() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let page = person.get("/").await;
    assert!(
        page.text.contains("never seen") && page.text.contains("data-unseen"),
        "nothing seen is not all well"
    );
    assert!(!page.text.contains("data-all-well"));

    seen(&bench, 3, 0).await;
    let now = bench.engine.clock().now();
    let sample = |subject: &str, minutes: i64, value: f64| Sample {
        subject: subject.into(),
        at: now - chrono::TimeDelta::minutes(minutes),
        value,
    };
    let samples = [sample("shard-a", 2, 0.0), sample("shard-b", 2, 0.2), sample("shard-b", 1, 0.31)];
    store::fleets::add_samples(bench.engine.pool(), "error_share", &samples).await.unwrap();
    let page = person.get("/").await;
    let says = "Logins through 2 of 2 hosts of lamps-eu (30 % of tries) to shard-b fail; direct logins work.";
    assert!(page.text.contains(says), "{}", page.text);
    assert!(!page.text.contains("data-advice"), "a runbook that is not on the shelf is not offered");
    assert!(page.text.contains("class=\"line worst-1\" data-cluster=\"shard-b\""));
    assert!(page.text.contains("data-host=\"i-0ccc\" data-host-state=\"starting\""));
    assert!(page.text.contains("no &#60;answer&#62;"), "what comes from outside is escaped");

    let json = person.get("/api/v1/situation").await.json();
    assert_eq!(json["findings"][0]["runbook"]["name"], "replace-proxysql");
    assert_eq!(json["fleets"][0]["hosts"].as_array().unwrap().len(), 3);

    assert!(!page.text.contains("data-at-work"));
    let take = [("target", "fleet:lamps-eu"), ("reason", "I am on it")];
    assert_eq!(person.form("/brakes/locks", &take).await.status, StatusCode::SEE_OTHER);
    let page = person.get("/").await.text;
    let on_it =
        page.split("data-at-work=\"fleet:lamps-eu\"").nth(1).expect("whoever comes later sees who is on it");
    assert!(on_it.trim_start_matches('>').contains("<b>ada</b>, by hand: I am on it"), "{on_it}");
    // Since when, with the day: a lock may be held over night.
    let listed = page.split("data-lock=\"fleet:lamps-eu\"").nth(1).unwrap().split("</li>").next().unwrap();
    let above = on_it.split("</p>").next().unwrap();
    assert!(above.contains(">7 May 2024 ") && listed.contains(">7 May 2024 "), "{above} {listed}");

    seen(&bench, 0, -1).await;
    assert!(person.get("/").await.text.contains("data-all-well"));
    // What was green two minutes ago is not green now.
    seen(&bench, 0, -2).await;
    let clock = bench.engine.clock();
    clock.sleep(std::time::Duration::from_secs(120)).await;
    let page = person.get("/").await;
    assert!(!page.text.contains("data-all-well") && page.text.contains("Stale"));
}

/// Who is on the first finding, as the API tells it; and the page.
async fn on_it(person: &Person<'_>) -> (Value, String) {
    let now = person.get("/api/v1/situation").await.json();
    (now["findings"][0]["on_it"].clone(), person.get("/").await.text)
}

#[tokio::test]
async fn whoever_has_asked_for_a_run_that_waits_for_an_approver_is_on_it() {
    let bench = Bench::new().await;
    let ada = bench.sign_in("ada").await;
    seen(&bench, 3, -3600).await;
    assert_eq!(on_it(&ada).await.0, Value::Null);
    let fields = ada.planned("switch-lamp-severe").await;
    let run = run_of(&ada.start("switch-lamp-severe", &fields).await);
    bench.until(run, "waiting_for_approval").await;
    let (told, page) = on_it(&ada).await;
    assert_eq!((&told["stands"], &told["run_id"]), (&json!("waits_for_approval"), &json!(run)), "{told}");
    let asked = page.split("data-asked=\"fleet:lamps-eu\"").nth(1).expect("it holds no lock, and is there");
    assert!(
        asked.contains("Asked for by <b>ada</b>, waits for the approval of an approver: <a href=\"/runs/")
    );
    assert!(!page.contains("data-at-work"), "nobody is at work");
}

#[tokio::test]
async fn a_run_that_has_stopped_is_not_somebody_who_is_on_it_and_its_cause_is_told() {
    let bench = Bench::new().await;
    bench.lamp().broken = Some("The bulb is loose.");
    let ada = bench.sign_in("ada").await;
    let fields = ada.planned("switch-lamp").await;
    let run = run_of(&ada.start("switch-lamp", &fields).await);
    bench.until(run, "paused").await;
    seen(&bench, 3, -3600).await;
    let (told, page) = on_it(&ada).await;
    assert_eq!((&told["stands"], &told["run_id"]), (&json!("stopped"), &json!(run)), "{told}");
    let why = told["why"].as_str().unwrap();
    assert!(why.contains("The bulb is loose."), "{why}");
    let stopped = page.split("data-stopped=\"fleet:lamps-eu\"").nth(1).expect("it says that it has stopped");
    assert!(
        stopped.contains("The run has stopped and needs a decision")
            && stopped.contains("The bulb is loose.")
    );
    assert!(!page.contains("Somebody is on it"), "it does nothing");
    // Released by force it holds nothing, and still waits there for a person.
    sqlx::query("DELETE FROM lock").execute(bench.engine.pool()).await.unwrap();
    assert_eq!(on_it(&ada).await.0["stands"], "stopped");
}

#[tokio::test]
async fn while_the_metrics_source_does_not_say_how_many_requests_fail_nobody_is_told_that_all_is_well() {
    let mut bench = Bench::new().await;
    let settings = crate::Settings { watches_errors: true, ..bench.settings.clone() };
    bench.router = crate::router(bench.engine.clone(), settings);
    let person = bench.sign_in("ada").await;
    // The clock of the bench runs fast: what was seen just now is to be fresh for long.
    seen(&bench, 0, -3600).await;
    let told = async || {
        let now = person.get("/api/v1/situation").await.json();
        (now["well"] == true, now["unseen"].as_array().unwrap().first().map(ToString::to_string))
    };
    let says = async |subject: &str, age_s: i64| {
        let at = bench.engine.clock().now() - chrono::TimeDelta::seconds(age_s);
        let sample = Sample { subject: subject.into(), at, value: 0.0 };
        store::fleets::add_samples(bench.engine.pool(), "error_share", &[sample]).await.unwrap();
    };
    let (well, unseen) = told().await;
    assert!(!well && unseen.unwrap().contains("How many requests fail is not known"));
    says("shard-a", 1800).await;
    says("shard-b", -3600).await;
    let (well, unseen) = told().await;
    assert!(!well && unseen.unwrap().contains("How many requests of shard-a fail was last said "));
    says("shard-a", -3600).await;
    assert_eq!(told().await, (true, None));
}

#[tokio::test]
async fn what_could_not_be_seen_just_now_is_said_and_never_called_well() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let cell =
        |host: &str, cluster: &str| json!({ "host": host, "cluster": cluster, "tries": 5, "failed": 0 });
    let direct = [cell("direct", "shard-a"), cell("direct", "shard-b")];
    let group = |hosts: &[Value]| json!({ "desired": 2, "in_service": hosts, "ids": [], "pending": ["i-2"], "leaving": [], "other": [], "suspended": ["Launch"] });
    let serving = group(&[json!({ "id": "i-1" })]);
    let whole = json!({ "direct": direct, "via": [cell("i-1", "shard-a"), cell("i-1", "shard-b")] });
    let part = json!({ "direct": direct, "via": [cell("i-1", "shard-a")] });
    let cases = [
        (Some(&serving), Some(&whole), None, None),
        (
            None,
            Some(&whole),
            Some("The group could not be read: no."),
            Some("The group could not be read: no."),
        ),
        (Some(&serving), None, None, Some("were tried within the last minute: to shard-a, shard-b.")),
        (Some(&serving), Some(&part), None, Some("were tried within the last minute: to shard-b.")),
        (None, None, None, Some("were tried within the last minute: to shard-a, shard-b.")),
    ];
    for (group, matrix, error, unseen) in cases {
        let view = FleetView {
            fleet: "lamps-eu".into(),
            at: bench.engine.clock().now(),
            group: group.cloned(),
            matrix: matrix.cloned(),
            error: error.map(str::to_owned),
        };
        store::fleets::put(bench.engine.pool(), &view).await.unwrap();
        let page = person.get("/").await.text;
        let now = person.get("/api/v1/situation").await.json();
        assert_eq!(
            (page.contains("data-all-well"), &now["well"]),
            (unseen.is_none(), &json!(unseen.is_none()))
        );
        assert!(unseen.is_none_or(|unseen| page.contains(unseen) && page.contains("data-unseen")), "{page}");
        assert_eq!(now["unseen"].as_array().unwrap().len(), usize::from(unseen.is_some()), "{now:#}");
        assert_eq!(now["findings"], json!([]));
    }
    let none = FleetView {
        fleet: "lamps-eu".into(),
        at: bench.engine.clock().now(),
        group: Some(group(&[])),
        matrix: Some(json!({ "direct": direct, "via": [] })),
        error: None,
    };
    store::fleets::put(bench.engine.pool(), &none).await.unwrap();
    let now = person.get("/api/v1/situation").await.json();
    assert_eq!((&now["well"], &now["unseen"]), (&json!(false), &json!([])));
    let what = now["findings"][0]["what"].as_str().unwrap();
    assert!(what.starts_with("lamps-eu has no host in service (1 starting, 2 wanted)"), "{what}");
    let advice = now["findings"][0]["advice"].as_str().unwrap();
    assert!(advice.contains("describe-scaling-activities") && advice.contains("Launch"), "{advice}");
}

#[tokio::test]
async fn the_first_page_says_who_was_not_told_and_why() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let told = async |key: &str, channel: &str, state: &str, attempts: i32, error: Option<&str>| {
        sqlx::query(
            "INSERT INTO outbox (channel, key, message, at, state, attempts, error, due)
             VALUES ($1, $2, '{}', $3, $4, $5, $6, CASE WHEN $4 = 'waiting' THEN $3 END)",
        )
        .bind(channel)
        .bind(key)
        .bind(bench.engine.clock().now())
        .bind(state)
        .bind(attempts)
        .bind(error)
        .execute(bench.engine.pool())
        .await
        .unwrap();
    };
    told("a", "mail", "sent", 1, None).await;
    told("b", "mail", "waiting", 1, Some("busy")).await;
    assert!(!person.get("/").await.text.contains("data-untold"), "once is nothing");
    told("c", "mail", "waiting", 2, Some("535 who are you?")).await;
    told("d", "pager", "failed", 300, Some("given up <after> all")).await;
    told("e", "pager", "unclear", 1, Some("lost")).await;
    let page = person.get("/").await.text;
    for shown in [
        "data-untold=\"mail\"",
        "1 tried again (535 who are you?)",
        "data-untold=\"pager\"",
        "2 given up, or not taken for everybody (lost)",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let untold = person.get("/api/v1/situation").await.json()["untold"].clone();
    assert_eq!(
        (&untold[0]["channel"], &untold[0]["waiting"], &untold[1]["lost"]),
        (&"mail".into(), &1.into(), &2.into())
    );

    // It leads to those messages, however many were told since.
    assert!(page.contains("href=\"/outbox?state=untold\""), "{page}");
    for n in 0..101 {
        told(&format!("later-{n}"), "mail", "sent", 1, None).await;
    }
    let count = |page: &str| page.matches("<tr data-state=").count();
    let untold = person.get("/outbox?state=untold").await.text;
    assert_eq!((count(&untold), untold.contains("rel=\"next\"")), (3, false), "{untold}");
    assert!(untold.contains("<option value=\"untold\" selected>"), "{untold}");
    let newest = person.get("/outbox?state=sent").await.text;
    let older = newest.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let rest = person.get(&older.replace("&amp;", "&")).await.text;
    assert_eq!((count(&newest), count(&rest), rest.contains("rel=\"next\"")), (100, 2, false), "{rest}");
    let told = person.get("/api/v1/outbox").await.json();
    let rest = person.get(&format!("/api/v1/outbox?before={}", told["next"].as_str().unwrap())).await.json();
    let ids = |page: &Value| -> Vec<i64> {
        page["messages"].as_array().unwrap().iter().map(|message| message["id"].as_i64().unwrap()).collect()
    };
    assert_eq!([ids(&told), ids(&rest)].concat(), (1..=106).rev().collect::<Vec<_>>());
    for wrong in ["state=loud", "before=yesterday"] {
        let answer = person.get(&format!("/api/v1/outbox?{wrong}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[tokio::test]
async fn pages_are_small_and_carry_no_style_or_script_of_their_own() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    seen(&bench, 3, 0).await;
    let fields = person.planned("switch-lamp").await;
    let run = run_of(&person.start("switch-lamp", &fields).await);
    let run = format!("/runs/{run}");
    for path in [
        "/",
        "/runbooks",
        "/runbooks/switch-lamp?fleet=lamps-eu",
        "/runs",
        "/audit",
        "/sign-in",
        run.as_str(),
    ] {
        let page = person.get(path).await;
        assert_eq!(page.status, StatusCode::OK, "{path}");
        assert!(!page.text.contains("style=\""), "{path}");
        assert_eq!(
            page.text.matches("<script").count(),
            page.text.matches("<script defer src=").count(),
            "{path}"
        );
        assert!(!page.text.contains(" onclick"), "{path}");
        let assets: usize =
            [include_str!("../../../../web/static/app.css"), include_str!("../../../../web/static/live.js")]
                .iter()
                .map(|a| a.len())
                .sum();
        assert!(page.text.len() + assets < 100_000, "{path}: {} bytes", page.text.len() + assets);
    }
    bench.lamp().warm = true;
}

#[tokio::test]
async fn inputs_in_the_address_fill_the_form() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let page = person.get("/runbooks/switch-lamp?fleet=lamps-eu&cluster=shard-b").await;
    assert!(
        page.text.contains("value=\"lamps-eu\" selected") && page.text.contains("value=\"shard-b\" selected")
    );
}

#[tokio::test]
async fn a_broken_runbook_is_shown_with_its_mistakes_and_cannot_be_planned() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    assert!(person.get("/runbooks").await.text.contains("cannot be run"));
    let page = person.get("/runbooks/broken").await;
    assert!(page.text.contains("data-broken") && page.text.contains("broken.yaml:"), "{}", page.text);
    let page = person.form("/runbooks/broken/plan", &[]).await;
    assert_eq!(page.status, StatusCode::CONFLICT);
    assert!(page.text.contains("has 1 mistake and cannot be run"), "{}", page.text);
}

#[tokio::test]
async fn the_runbooks_page_leads_to_readiness_with_a_mark_of_how_it_stands() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let page = person.get("/runbooks").await.text;
    assert!(
        page.contains("href=\"/readiness\"") && !page.contains("would"),
        "nothing is rehearsed yet: {page}"
    );
    let rehearse = [("runbook", "switch-lamp"), ("target", "fleet:lamps-eu")];
    assert_eq!(person.form("/readiness", &rehearse).await.status, StatusCode::SEE_OTHER);
    let page = person.get("/runbooks").await.text;
    assert!(page.contains("</svg>1 would work"), "{page}");
    bench.lamp().on = true;
    assert_eq!(person.form("/readiness", &rehearse).await.status, StatusCode::SEE_OTHER);
    let page = person.get("/runbooks").await.text;
    assert!(page.contains("1 would stop"), "{page}");
    let page = person.get("/readiness").await.text;
    let (first, second) = (page.find("data-ready=").unwrap(), page.rfind("data-ready=").unwrap());
    assert!(page[first..].starts_with("data-ready=\"stops\"") && first < second, "{page}");
}

#[tokio::test]
async fn a_page_is_found_by_a_part_of_its_id_and_what_is_not_there_is_said_under_the_navigation() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let fields = person.planned("switch-lamp").await;
    let run = run_of(&person.start("switch-lamp", &fields).await).to_string();
    for part in [&run[..8], &run[run.len() - 8..]] {
        let page = person.get(&format!("/runs/{part}?tab=calls")).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{part}: {}", page.text);
        assert_eq!(page.header(header::LOCATION), format!("/runs/{run}?tab=calls"));
        let manual = person.get(&format!("/runs/{part}/by-hand")).await;
        assert!(manual.header(header::CONTENT_DISPOSITION).contains(&run[..8]), "{}", manual.text);
    }
    bench.engine.receive(&dark(), None, Some("{}")).await.unwrap();
    let signals = person.get("/api/v1/signals").await.json();
    let signal = signals["signals"][0]["id"].as_str().unwrap();
    let page = person.get(&format!("/signals/{}", &signal[..8])).await;
    assert_eq!(page.header(header::LOCATION), format!("/signals/{signal}"));

    for (path, thing) in
        [("/runs/ffffffff", "run"), ("/runs/x", "run"), ("/signals/x", "signal"), ("/drills/x", "drill")]
    {
        let page = person.get(path).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert!(page.text.contains(&format!("There is no such {thing}.")), "{path}: {}", page.text);
        assert!(page.text.contains("<nav") && page.text.contains("href=\"/runs\""), "{path}: {}", page.text);
    }
    // What acts takes an id in full.
    let acts = person.form(&format!("/runs/{}/ask", &run[..8]), &[("ask", "pause")]).await;
    assert_eq!(acts.status, StatusCode::BAD_REQUEST);
    bench.lamp().warm = true;
}

#[tokio::test]
async fn whoever_loses_their_way_finds_on_under_the_navigation_and_a_stranger_sees_none() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let lost = person.get("/nowhere/at/all").await;
    assert!(lost.status == StatusCode::NOT_FOUND && lost.text.contains("<nav"), "{}", lost.text);
    let wrong = person.form("/audit", &[]).await;
    assert_eq!(wrong.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(wrong.text.contains("<nav") && wrong.text.contains("id=\"sign-out\""), "{}", wrong.text);
    let stranger = bench.get("/nowhere/at/all").await;
    assert!(stranger.status == StatusCode::NOT_FOUND && !stranger.text.contains("<nav"), "{}", stranger.text);
}

#[tokio::test]
async fn a_run_shows_what_it_was_given_in_the_order_of_the_form_and_its_steps_where_no_such_tab_is() {
    let bench = Bench::new().await;
    bench.lamp().warm = true;
    let person = bench.sign_in("ada").await;
    let inputs = json!({ "mode": "hard", "cluster": "shard-b", "fleet": "lamps-eu" });
    let started =
        person.post("/api/v1/runs", "k", &json!({ "runbook": "switch-lamp", "inputs": inputs })).await;
    let run = started.json()["run_id"].as_str().unwrap().to_owned();
    bench.until(run.parse().unwrap(), "succeeded").await;
    let page = person.get(&format!("/runs/{run}?tab=zzz")).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    assert!(page.text.contains("id=\"steps\""), "{}", page.text);
    let at = |name: &str| page.text.find(&format!("<dt>{name}</dt>")).unwrap();
    assert!(at("fleet") < at("cluster") && at("cluster") < at("mode"), "{}", page.text);
    let timeline = person.get(&format!("/runs/{run}?tab=timeline")).await.text;
    assert!(timeline.contains(", 1 change made<"), "{timeline}");
    // What it was not given is not shown.
    let alone = json!({ "runbook": "switch-lamp", "inputs": { "fleet": "lamps-eu" } });
    bench.lamp().on = false;
    let run = person.post("/api/v1/runs", "k2", &alone).await.json()["run_id"].as_str().unwrap().to_owned();
    assert!(!person.get(&format!("/runs/{run}")).await.text.contains("<dt>cluster</dt>"));
    bench.until(run.parse().unwrap(), "succeeded").await;
}

#[tokio::test]
async fn the_script_gets_the_inner_part_alone() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let request = person.request(Method::GET, "/").header("x-fragment", "1").body(Body::empty()).unwrap();
    let part = bench.send(request).await;
    assert!(part.text.contains("id=\"findings\"") && !part.text.contains("<html"));
}

#[tokio::test]
async fn events_come_at_once_and_end_when_the_process_does() {
    let bench = Bench::new().await;
    let person = bench.sign_in("ada").await;
    let request = person.request(Method::GET, "/events").body(Body::empty()).unwrap();
    let response = bench.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = response.into_body().into_data_stream();
    let first = events.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: changed"));
    bench.ending.send(true).unwrap();
    assert!(events.next().await.is_none());
}
