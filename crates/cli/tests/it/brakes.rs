//! Holding it back from a terminal, and how that looks on the situation page.

use std::process::Command;

use serde_json::{Value, json};
use sim::{FaultKind, Sim};

use crate::chrome::Chrome;
use crate::kills::small_world;
use crate::remote::Terminal;
use crate::served::Served;

const CALENDAR: &str = "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:always\nDTSTART:20240101T000000\nDTEND:20340101T000000\n\
                        SUMMARY:Elections\nEND:VEVENT\nEND:VCALENDAR\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_held_back_from_a_terminal_and_the_page_says_so() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 100.0, ..sim::Options::default() }).await.unwrap();
    let served = Served::on(&sim).await;
    let person = served.person().await;
    let plan = async || {
        let inputs = json!({ "fleet": "proxysql-us", "cluster": "shard-b" });
        person.post("/api/v1/runbooks/replace-proxysql/plan", &inputs).await
    };
    let brakes = |plan: &Value| -> Vec<String> {
        plan["brakes"].as_array().unwrap().iter().map(|b| b["brake"].as_str().unwrap().to_owned()).collect()
    };

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("elections.ics");
    std::fs::write(&file, CALENDAR).unwrap();
    let said = served.command(&["stop", "--by", "ada", "--reason", "it acts on a wrong view"]);
    assert!(said.contains("are stopped"), "{said}");
    let locks = served.command(&["locks", "--by", "ada"]);
    assert!(locks.contains("CHANGES OF everything ARE STOPPED by ada"), "{locks}");
    for (mistyped, meant) in [
        (["stop", "--runbook", "replace-proxsql"], "replace-proxysql"),
        (["lock", "take", "fleet:proxysql-su"], "fleet:proxysql-us"),
    ] {
        let refused = served.output(&[&mistyped[..], &["--by", "ada", "--reason", "x"]].concat());
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains(&format!("did you mean `{meant}`?")), "{said}");
        // Which database that was, and why.
        assert!(said.contains("note: the database is ") && said.contains("as DATABASE_URL says"), "{said}");
        assert!(!said.contains("postgres://"), "{said}");
    }
    let file = file.display().to_string();
    served.command(&["freeze", "import", &file, "--zone", "America/New_York", "--by", "ada"]);
    assert!(served.command(&["freeze", "list", "--by", "ada"]).contains("Elections"));
    served.command(&["lock", "take", "fleet:proxysql-us", "--by", "ada", "--reason", "I am on it"]);
    assert!(served.command(&["lock", "list", "--by", "ada"]).contains("taken by ada by hand: I am on it"));
    assert_eq!(brakes(&plan().await), ["kill_switch", "taken_by_hand", "freeze"]);

    let chrome = Chrome::start().await;
    // The first link was used up above.
    let link = served.command(&["sign-in", "bob"]);
    chrome.go(link.trim()).await;
    chrome.press("#sign-in").await;
    chrome.wait("[data-kill-switch]").await;
    chrome.wait("[data-freeze]").await;
    chrome.wait(r#"[data-lock="fleet:proxysql-us"]"#).await;
    chrome.picture("held-back").await;
    chrome.go(&format!("{}/brakes", served.url)).await;
    chrome.wait("#locks").await;
    chrome.picture("brakes").await;
    words_stay_with_what_they_were_typed_for(&served, &chrome).await;
    chrome.type_into("#switch-\\* input[name=reason]", "understood").await;
    chrome.press("#switch-\\* button").await;
    chrome.wait("#kill-switch").await;
    assert!(!brakes(&plan().await).contains(&"kill_switch".to_owned()));
    chrome.resize(500, 900).await;
    let overflow = chrome.script("return document.documentElement.scrollWidth - innerWidth").await;
    assert!(overflow.as_i64().unwrap() <= 0, "{overflow} pixels stick out");
    let complaints = chrome.console().await;
    assert!(complaints.is_empty(), "the console says: {complaints:#?}");

    served.command(&["lock", "give-back", "fleet:proxysql-us", "--by", "ada"]);
    sim.strike(FaultKind::InstanceRefresh { fleet: "proxysql-us".into(), duration_s: 100_000 });
    let plan = plan().await;
    assert_eq!(brakes(&plan), ["freeze"]);
    assert!(plan["foreign"][0]["what"].as_str().unwrap().contains("InProgress"), "{}", plan["foreign"]);
    assert!(
        plan["verdict"]["message"].as_str().unwrap().contains("somebody else is at work"),
        "{}",
        plan["verdict"]
    );
}

/// While somebody types why one freeze is to be lifted, another one goes: the row above, or below.
async fn words_stay_with_what_they_were_typed_for(served: &Served, chrome: &Chrome) {
    let second =
        ["freeze", "add", "--until", "2033-01-01T00:00:00Z", "--by", "ada", "--reason", "moving house"];
    served.command(&second);
    chrome.wait("[data-freeze] ~ [data-freeze]").await;
    let rows = chrome
        .script("return [...document.querySelectorAll('[data-freeze]')].map(row => row.dataset.freeze)")
        .await;
    let [gone, kept] = [0, 1].map(|n| rows[n].as_str().unwrap().to_owned());
    chrome.type_into(&format!("[data-freeze='{kept}'] input[name=reason]"), "half a wo").await;
    served.command(&["freeze", "lift", &gone, "--by", "ada", "--reason", "over"]);
    chrome.wait(&format!("main:not(:has([data-freeze='{gone}']))")).await;
    let at = "const at = document.activeElement;
              return [at.value, at.form.getAttribute('action'), at.closest('[data-freeze]').dataset.freeze]";
    let expected = json!(["half a wo", format!("/brakes/freezes/{kept}/lift"), kept]);
    assert_eq!(chrome.script(at).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_is_told_the_same_by_the_database_and_by_a_server() {
    let sim =
        Sim::start(small_world(), sim::Options { speed: 10.0, ..sim::Options::default() }).await.unwrap();
    let served = Served::on(&sim).await;
    let ada = Terminal::of(&served, "ada", &["--role", "admin"]);
    let folder = tempfile::tempdir().unwrap();
    let calendar = folder.path().join("elections.ics").display().to_string();
    std::fs::write(&calendar, CALENDAR).unwrap();
    let direct = |args: &[&str]| {
        let output = served.output(&[args, &["--by", "ada", "--json"]].concat());
        let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let told: Value =
            serde_json::from_str(&said).unwrap_or_else(|e| panic!("{args:?}: {e}: {said}{why}"));
        (output.status.code().unwrap(), told)
    };
    let over_the_api = |args: &[&str]| ada.json(&[args, &["--json"]].concat());

    let both = |args: &[&str], between: &[&str]| {
        let first = direct(args);
        if !between.is_empty() {
            direct(between);
        }
        assert_eq!(first, over_the_api(args), "{args:?}");
        first
    };
    let why = ["--reason", "it acts on a wrong view"];
    let with = |args: &[&'static str]| [args, &why].concat();
    let (stop, allow) = (with(&["stop"]), with(&["allow-changes"]));
    assert_eq!(both(&stop, &allow), (0, json!({ "on": true, "new": true })));
    assert_eq!(both(&allow, &stop), (0, json!({ "on": false })));
    let take = with(&["lock", "take", "cluster:shard-a"]);
    let back = ["lock", "give-back", "cluster:shard-a"];
    assert_eq!(both(&take, &back), (0, json!({ "target": "cluster:shard-a", "holder": "ada" })));
    assert_eq!(both(&back, &take), (0, json!({ "released": "cluster:shard-a" })));
    let import = ["freeze", "import", &calendar, "--zone", "America/New_York"];
    assert_eq!(direct(&import), (0, json!({ "events": 1, "windows": 1, "replaced": 0 })));
    assert_eq!(both(&import, &[]).0, 0);
    assert_eq!(both(&["freeze", "list"], &[]).1[0]["reason"], "Elections");
    let add = with(&["freeze", "add", "--until", "2037-01-01T00:00:00Z"]);
    let (_, freeze) = direct(&add);
    assert_eq!((&freeze["by"], &freeze["reason"]), (&json!("ada"), &json!(why[1])));
    let id = freeze["id"].as_str().unwrap();
    assert_eq!(direct(&[&["freeze", "lift", id], &why[..]].concat()), (0, json!({ "lifted": id })));
    assert_eq!(both(&["locks"], &[]).1["locks"], json!([]));

    // Refusals: the same exit code, and the same word for it.
    let past = with(&["freeze", "add", "--until", "2001-01-01T00:00:00Z"]);
    let gone = [&["freeze", "lift", id], &why[..]].concat();
    let refused = [
        (with(&["stop", "--runbook", "replace-proxsql"]), "bad_name"),
        (past, "bad_time"),
        (vec!["stop", "--reason", " "], "no_reason"),
        (gone, "not_there"),
    ];
    for (args, code) in refused {
        for (exit, problem) in [direct(&args), over_the_api(&args)] {
            assert_eq!((exit, &problem["code"]), (3, &json!(code)), "{args:?}: {problem}");
        }
    }
    let theirs = served.output(&[&take[..], &["--by", "bob"]].concat());
    assert!(theirs.status.success(), "{theirs:?}");
    let (exit, problem) = direct(&take);
    assert_eq!((exit, &problem["held"]["holder"]), (3, &json!("bob")), "{problem}");
    assert_eq!(over_the_api(&take).1["held"], problem["held"]);
}

#[test]
fn a_database_that_is_away_is_no_wrong_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("firebreak.yaml");
    std::fs::write(&config, "inventory: {}\n").unwrap();
    let stop = |by: &str, database: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firebreak"));
        command.args(["stop", "--reason", "x", "--json", "--by", by, "--config"]).arg(&config).env_clear();
        command.env("DATABASE_URL", database).output().unwrap()
    };
    let away = stop("ada", "postgres://firebreak@127.0.0.1:9/firebreak");
    let problem: Value = serde_json::from_slice(&away.stdout).unwrap();
    assert_eq!((away.status.code(), &problem["code"]), (Some(5), &json!("store_unavailable")));
    for wrong in [stop("", "postgres://firebreak@127.0.0.1:9/firebreak"), stop("ada", "no address")] {
        assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
    }
}
