//! What people do together about one trouble, and what they did, asked and said from terminals.

use serde_json::Value;
use sim::World;

use crate::kills::small_world;
use crate::remote::{Terminal, world_of};

/// Nothing is wrong in it, so no verdict opens an incident beside those of the test.
fn calm() -> World {
    World { faults: Vec::new(), ..small_world() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incident_is_opened_driven_and_closed_from_terminals() {
    let (_sim, served) = world_of(calm(), 20.0).await;
    let (ada, bob) = (Terminal::of(&served, "ada", &[]), Terminal::of(&served, "bob", &[]));
    let vera = Terminal::of(&served, "vera", &["--role", "viewer"]);
    let (code, said, _) = ada.said(&["incident", "list"]);
    assert!(code == 0 && said.trim() == "No incidents.", "{said}");

    let open = ["incident", "open", "--target", "cluster:shard-a", "Logins", "fail", "--json"];
    let (code, opened) = ada.json(&open);
    assert_eq!((code, &opened["new"]), (0, &Value::Bool(true)), "{opened}");
    assert_eq!(opened["incident"]["title"], "Logins fail");
    let name = format!("INC-{}", opened["incident"]["number"]);
    let (code, said, _) = bob.said(&["incident", "open", "--target", "cluster:shard-a", "me too"]);
    assert!(code == 0 && said.contains(&format!("{name} is open there already: Logins fail")), "{said}");
    let (code, _, why) = bob.said(&["incident", "open", "--target", "cluster:moon", "x"]);
    assert!(code == 3 && why.contains("names no fleet"), "{code}: {why}");

    let (code, said, _) = ada.said(&["incident", "take", &name]);
    assert!(code == 0 && said.contains(&format!("You have {name}.")), "{said}");
    let (code, _, why) = bob.said(&["incident", "take", &name]);
    assert!(
        code == 3 && why.contains(&format!("ada has {name} since")) && why.contains("--over"),
        "{code}: {why}"
    );
    assert_eq!(bob.said(&["incident", "take", &name, "--over"]).0, 0);
    let number = name.trim_start_matches("INC-");
    assert_eq!(bob.said(&["incident", "hand-over", number, "--to", "ada", "--note", "lunch"]).0, 0);
    let (code, said, _) = ada.said(&["incident", "note", &name, "It", "began with <shard-e>."]);
    assert!(code == 0 && said.contains(&format!("Noted in {name}.")), "{said}");
    let (code, said, _) = ada.said(&["incident", "severity", &name, "SEV2"]);
    assert!(code == 0 && said.contains(&format!("{name} is SEV2.")), "{said}");
    assert_eq!(ada.said(&["incident", "severity", &name, "sev9"]).0, 2);
    assert_eq!(ada.said(&["incident", "title", &name, "Logins to shard-a fail"]).0, 0);
    let (code, _, why) = vera.said(&["incident", "note", &name, "me"]);
    assert!(code == 3 && why.contains("you are a viewer"), "{code}: {why}");

    let (code, shown, _) = vera.said(&["incident", "show", &name]);
    assert_eq!(code, 0, "{shown}");
    for told in [
        "Logins to shard-a fail",
        "driver    ada since",
        "SEV2",
        "cluster:shard-a",
        "began with <shard-e>",
        "lunch",
    ] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    let (code, pack, _) = vera.said(&["incident", "show", &name, "--post-mortem"]);
    assert!(code == 0 && pack.contains("| Severity | SEV2"), "{pack}");
    assert_eq!(ada.completed(&["firebreak", "incident", "take", "INC"]), [name.as_str()]);
    assert_eq!(
        ada.completed(&["firebreak", "incident", "open", "--target", "cluster:shard-e"]),
        ["cluster:shard-e"]
    );

    let (code, closed) = ada.json(&["incident", "close", &name, "--reason", "a drill", "--json"]);
    assert_eq!((code, &closed["incident"]["closed_by"]), (0, &"ada".into()), "{closed}");
    let (code, _, why) = bob.said(&["incident", "take", &name]);
    assert!(code == 3 && why.contains("is closed"), "{code}: {why}");
    for wrong in ["INC-999", "nonsense"] {
        let (code, _, why) = bob.said(&["incident", "show", wrong]);
        assert!(code == 3 && why.contains("There is no such incident"), "{wrong}: {code}: {why}");
        assert!(why.contains("`firebreak incident list`"), "{why}");
    }

    let second = ["incident", "open", "--target", "cluster:shard-b", "It is back", "--json"];
    assert_eq!(bob.json(&second).0, 0);
    let titles = |args: &[&str]| -> (Vec<String>, Value) {
        let (_, list) = ada.json(&[&["incident", "list", "--json"], args].concat());
        let all = list["incidents"].as_array().unwrap().iter();
        (all.map(|one| one["title"].as_str().unwrap().to_owned()).collect(), list["next"].clone())
    };
    assert_eq!(titles(&["--open"]).0, ["It is back"]);
    let (newest, next) = titles(&["--limit", "1"]);
    assert_eq!(newest, ["It is back"]);
    assert_eq!(
        titles(&["--before", &next.to_string()]),
        (vec!["Logins to shard-a fail".to_owned()], Value::Null)
    );
    assert_eq!(ada.said(&["incident", "list", "--limit", "0"]).0, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_did_is_searched_from_a_terminal_page_by_page() {
    let (_sim, served) = world_of(calm(), 20.0).await;
    let (ada, bob) = (Terminal::of(&served, "ada", &[]), Terminal::of(&served, "bob", &["--read-only"]));
    assert_eq!(ada.said(&["lock", "cluster:shard-a", "--reason", "a strange noise"]).0, 0);
    assert_eq!(ada.said(&["unlock", "cluster:shard-a"]).0, 0);
    assert_eq!(ada.said(&["lock", "cluster:shard-b", "--reason", "another noise"]).0, 0);

    let (code, said, _) = bob.said(&["audit", "search", "strange", "noise"]);
    assert!(code == 0 && said.lines().count() == 2, "{said}");
    for told in ["ada", "cluster:shard-a", "a strange noise"] {
        assert!(said.contains(told), "{told}: {said}");
    }
    let entries = |args: &[&str]| {
        let (code, found) = bob.json(&[&["audit", "search", "--json"], args].concat());
        assert_eq!(code, 0, "{found}");
        let all = found["entries"].as_array().unwrap().iter();
        let targets: Vec<_> = all.map(|entry| entry["target"].as_str().unwrap().to_owned()).collect();
        (targets, found["next"].clone())
    };
    let taken = "lock taken by hand";
    let noise = ["--actor", "ada", "--action", taken, "--since", "2020-01-01", "noise"];
    assert_eq!(entries(&noise).0, ["cluster:shard-b", "cluster:shard-a"]);
    let (first, next) = entries(&[&noise[..], &["--limit", "1"]].concat());
    assert_eq!(first, ["cluster:shard-b"]);
    let (rest, next) = entries(&[&noise[..], &["--after", next.as_str().unwrap()]].concat());
    assert_eq!((rest, next), (vec!["cluster:shard-a".to_owned()], Value::Null));
    assert_eq!(entries(&["--target", "cluster:shard-a"]).0.len(), 2);
    assert!(entries(&["--actor", "nobody"]).0.is_empty());
    let (code, said, more) = bob.said(&["audit", "search", "--limit", "1"]);
    assert!(
        code == 0 && said.lines().count() == 1 && more.contains("there is more: --after "),
        "{said}{more}"
    );
    let (code, _, why) = bob.said(&["audit", "search", "--since", "yesterday"]);
    assert!(code == 2 && why.contains("`yesterday` is not a time"), "{code}: {why}");
    let (code, _, why) = bob.said(&["audit", "search", "--after", "x"]);
    assert!(code == 2 && why.contains("The cursor is not one of this list"), "{code}: {why}");
}

/// Asks for the status until it has these words: what is shown comes with the next look of the prober, and is stale soon after on a
/// machine that is slow.
pub(crate) async fn status(terminal: &Terminal<'_>, words: &str) -> String {
    let end = std::time::Instant::now() + crate::served::PATIENCE;
    loop {
        let (code, said, why) = terminal.said(&["status"]);
        assert_eq!(code, 0, "{why}");
        if said.contains(words) {
            return said;
        }
        assert!(std::time::Instant::now() < end, "never {words}: {said}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_says_what_to_type_and_who_is_on_it() {
    let (_sim, served) = world_of(small_world(), 10.0).await;
    let ada = Terminal::of(&served, "ada", &[]);
    let fits = "  firebreak run replace-proxysql fleet=proxysql-us cluster=shard-b --reason \"…\"";
    let said = status(&ada, fits).await;
    assert!(
        said.contains("✘ Logins through") && said.contains("The hosts are sick, not the cluster"),
        "{said}"
    );

    assert_eq!(ada.said(&["lock", "fleet:proxysql-us", "--reason", "I look at it"]).0, 0);
    let said = status(&ada, "somebody is on it: ada, by hand, since ").await;
    assert!(!said.contains(fits), "{said}");
    assert!(said.contains("fleet:proxysql-us is taken by ada"), "{said}");
    assert_eq!(ada.said(&["stop", "--reason", "a test"]).0, 0);
    status(&ada, "CHANGES OF everything ARE STOPPED by ada: a test").await;
    let (code, told) = ada.json(&["status", "--json"]);
    assert_eq!((code, &told["switches"][0]["scope"]), (0, &Value::from("*")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_is_wrong_the_status_says_so_in_a_line() {
    let (_sim, served) = world_of(calm(), 10.0).await;
    let ada = Terminal::of(&served, "ada", &[]);
    status(&ada, "✔ Every login that was tried works, directly and through every host.").await;
}
