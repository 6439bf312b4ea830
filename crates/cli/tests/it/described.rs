//! The API answers as its own description says, whatever it is sent: schemathesis makes up requests from the served document,
//! authenticated as each role.

use std::process::Command;
use std::time::Duration;

use domain::Role;
use serde_json::json;
use sim::Sim;

use crate::kills::small_world;
use crate::served::Served;

/// So many made-up requests for each operation and role, beside those that cover its description. Not so much time: on a busy
/// machine it would ask nothing.
const EXAMPLES: &str = "4";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_that_can_be_made_up_gets_an_answer_that_is_not_described() {
    let _machine = crate::machine::for_itself().await;
    let sim =
        Sim::start(small_world(), sim::Options { speed: 10.0, ..sim::Options::default() }).await.unwrap();
    let served = Served::on_with(&sim, &json!({ "api": { "requests_per_minute": 1_000_000 } })).await;
    let python = std::env::var("FIREBREAK_PYTHON").expect("FIREBREAK_PYTHON: run `cargo xtask test`");
    let folder =
        std::env::var("FIREBREAK_SCHEMATHESIS").expect("FIREBREAK_SCHEMATHESIS: run `cargo xtask test`");
    let here = tempfile::tempdir().unwrap();
    for role in Role::ALL {
        let token =
            served.command(&["token", "create", "fuzz", "--person", role.word(), "--role", role.word()]);
        let mut run = Command::new(&python);
        run.args(["-m", "schemathesis.cli", "run", &format!("{}/api/v1/openapi.json", served.url)])
            .args(["--header", &format!("Authorization: Bearer {}", token.trim())])
            .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method"])
            // Streams do not end.
            .args(["--exclude-path-regex", "/events$", "--max-examples", EXAMPLES])
            // One thread: before 3.11.8, Python fails at random where two of them parse source (python/cpython#106905).
            .args(["--workers", "1", "--request-timeout", "20", "--warnings", "off", "--no-color", "--continue-on-failure"])
            .env("PYTHONPATH", &folder)
            .current_dir(here.path());
        let output = tokio::task::spawn_blocking(move || run.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "as {role}:\n{said}{}", String::from_utf8_lossy(&output.stderr));
        let count = |what: &str| {
            said.split(what).nth(1).and_then(|rest| rest.split(['/', '\n']).next()).map(str::trim)
        };
        let asked = count("Tested:");
        assert!(
            asked.is_some() && asked == count("Selected:"),
            "as {role}: something was not asked:\n{said}"
        );
    }
    // And it still works.
    let person = tokio::time::timeout(Duration::from_secs(20), served.person()).await.unwrap();
    assert_eq!(person.get("/api/v1/session").await["person"], "on-call");
}
