//! What is going on, what can be done, and what is being done.

use domain::incident::Incident;
use domain::plan::Plan;
use domain::readiness::Answer;
use domain::run::Ask;
use engine::Readiness;
use serde_json::{Value, json};
use store::outbox::Untold;
use store::pages::RunRow;
use store::signals::SignalRow;

use super::{BODY_AT, act, look};
use crate::api::openapi::shapes::{boolean, list, object, or_null, page, some_object, text, uuid};
use crate::api::openapi::{Generators, Key, Operation, Shape};
use crate::api::runs;
use crate::web;

pub(super) fn all() -> Vec<Operation> {
    let started: Shape = |_| object(&[("run_id", uuid()), ("new", boolean())]);
    vec![
        look(
            "situation",
            "/api/v1/situation",
            "Fleets, clusters, signals, runs and brakes, as the first page shows them",
            situation,
            &[],
        ),
        look(
            "runbooks",
            "/api/v1/runbooks",
            "All runbooks with their inputs",
            |_| object(&[("runbooks", list(runbook()))]),
            &[],
        ),
        look("runbooks", "/api/v1/runbooks/{name}", "One runbook, with its text", |_| runbook(), &[400, 404]),
        act(
            "runbooks",
            "/api/v1/runbooks/{name}/plan",
            "What a run would do with the inputs in the body; changes nothing",
            |_| some_object(),
            &[(200, |g| g.written::<Plan>())],
            BODY_AT,
        )
        .with_key(Key::None),
        look(
            "runbooks",
            "/api/v1/readiness",
            "Every runbook on every target, and whether it would work if it were needed; what would stop comes first",
            |g| object(&[("readiness", list(g.written::<Readiness>()))]),
            &[],
        ),
        act(
            "runbooks",
            "/api/v1/readiness",
            "Rehearses a runbook on a target now; changes nothing",
            |g| g.sent::<web::readiness::Which>(),
            &[(200, |g| g.written::<Answer>())],
            BODY_AT,
        )
        .with_key(Key::None),
        look("runs", "/api/v1/runs", "Runs, the newest first", |g| page::<RunRow>(g, "runs"), &[400])
            .with_query(|g| g.sent::<web::runs::Filter>()),
        act(
            "runs",
            "/api/v1/runs",
            "Starts a run",
            |g| g.sent::<runs::StartBody>(),
            &[(201, started), (200, started)],
            BODY_AT,
        )
        .with_key(Key::Needed),
        look(
            "runs",
            "/api/v1/runs/{id}",
            "One run: its steps, and what can be asked of it now",
            run,
            &[400, 404],
        ),
        look(
            "runs",
            "/api/v1/runs/{id}/journal",
            "Everything that happened in a run, in its order",
            |_| journal(),
            &[400, 404],
        ),
        look(
            "runs",
            "/api/v1/runs/{id}/proof",
            "Whether a run's journal is as it was written",
            |_| object(&[("whole", boolean()), ("report", some_object())]),
            &[400, 404],
        ),
        look(
            "runs",
            "/api/v1/runs/{id}/events",
            "Says `changed` whenever the run should be looked at again, and `alive` when it has said nothing for ten seconds",
            |_| text(),
            &[400, 404],
        ),
        act(
            "runs",
            "/api/v1/runs/{id}/ask",
            "Asks something of a run: pause, resume, retry, skip, approve, reject, abort, …",
            |g| g.sent::<Ask>(),
            &[(202, |_| object(&[("id", uuid()), ("note", or_null(text()))]))],
            BODY_AT,
        )
        .with_key(Key::NeededUuid),
    ]
}

fn situation(generators: &mut Generators) -> Value {
    let lists = ["findings", "fleets", "clusters", "switches", "freezes", "locks", "reviews"];
    let mut members: Vec<(&str, Value)> = lists.map(|name| (name, list(some_object()))).into();
    members.push(("unseen", list(text())));
    members.push(("well", boolean()));
    members.push(("runs", list(generators.written::<RunRow>())));
    members.push(("signals", list(generators.written::<SignalRow>())));
    members.push(("firing", json!({ "type": "integer" })));
    members.push(("untold", list(generators.written::<Untold>())));
    object(&members)
}

/// One that is sound has a title, inputs and the rest; one with mistakes has these.
fn runbook() -> Value {
    let input = object(&[("name", text()), ("description", text()), ("optional", boolean())]);
    let mut runbook = object(&[("name", text()), ("file", text())]);
    runbook["properties"]["title"] = text();
    runbook["properties"]["when"] = text();
    runbook["properties"]["risk"] = json!({ "enum": ["low", "medium", "high", "severe"] });
    runbook["properties"]["hash"] = text();
    runbook["properties"]["inputs"] = list(input);
    runbook["properties"]["mistakes"] = list(some_object());
    runbook["properties"]["text"] = text();
    runbook
}

fn run(generators: &mut Generators) -> Value {
    let step = object(&[
        ("path", text()),
        ("title", text()),
        ("kind", text()),
        ("status", text()),
        ("steps", list(some_object())),
    ]);
    let at = json!({ "type": "string", "format": "date-time" });
    let pause = object(&[("why", text()), ("step", or_null(text())), ("at", at.clone())]);
    let ask = object(&[("ask", text()), ("possible", boolean()), ("why_not", or_null(text()))]);
    object(&[
        ("run", generators.written::<RunRow>()),
        ("paused", or_null(pause)),
        ("plan", or_null(some_object())),
        ("steps", list(step)),
        ("calls", list(some_object())),
        ("asks", list(ask)),
        ("decisions", list(some_object())),
        ("gate", some_object()),
        ("incidents", list(generators.written::<Incident>())),
        ("now", at),
    ])
}

fn journal() -> Value {
    let number = json!({ "type": "integer" });
    let entry = object(&[("kind", text())]);
    let at = json!({ "type": "string", "format": "date-time" });
    list(object(&[("seq", number.clone()), ("at", at), ("epoch", number), ("entry", entry)]))
}
