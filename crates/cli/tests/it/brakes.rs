//! Holding it back from a terminal, and how that looks on the situation page.

use serde_json::{Value, json};
use sim::{FaultKind, Sim};

use crate::chrome::Chrome;
use crate::kills::small_world;
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
