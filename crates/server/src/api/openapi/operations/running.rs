//! What is going on, what can be done, and what is being done.

use domain::forecast::{Forecast, Took};
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
use crate::api::openapi::shapes::{
    anything, at, boolean, list, number, object, or_null, page, some_object, text, uuid,
};
use crate::api::openapi::{Generators, Key, Operation, Shape};
use crate::api::runs;
use crate::web;

pub(super) fn all() -> Vec<Operation> {
    let started: Shape =
        |g| object(&[("run_id", uuid()), ("new", boolean()), ("run", g.written::<RunRow>())]);
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
            |_| {
                object(&[("whole", boolean()), ("sealed", or_null(some_object())), ("report", some_object())])
            },
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
    members.push(("at", at()));
    members.push(("unseen", list(text())));
    members.push(("well", boolean()));
    members.push(("runs", list(generators.written::<RunRow>())));
    members.push(("signals", list(generators.written::<SignalRow>())));
    members.push(("firing", json!({ "type": "integer" })));
    members.push(("incidents", list(generators.written::<Incident>())));
    members.push(("not_ready", list(generators.written::<Readiness>())));
    members.push(("untold", list(generators.written::<Untold>())));
    object(&members)
}

/// One that is sound has a title, inputs and the rest; one with mistakes has these.
fn runbook() -> Value {
    let input = object(&[
        ("name", text()),
        ("type", anything()),
        ("description", text()),
        ("optional", boolean()),
        ("default", anything()),
        ("choices", or_null(list(anything()))),
    ]);
    let mut runbook = object(&[("name", text()), ("file", text())]);
    runbook["properties"]["title"] = text();
    runbook["properties"]["when"] = text();
    runbook["properties"]["risk"] = json!({ "enum": ["low", "medium", "high", "severe"] });
    runbook["properties"]["hash"] = text();
    runbook["properties"]["inputs"] = list(input);
    runbook["properties"]["approval"] = or_null(some_object());
    runbook["properties"]["policy"] = or_null(some_object());
    runbook["properties"]["mistakes"] = list(some_object());
    // Of the file as it is now, where the last good version stays in force.
    runbook["properties"]["refused"] = object(&[("mistakes", list(some_object()))]);
    runbook["properties"]["text"] = text();
    runbook
}

fn run(generators: &mut Generators) -> Value {
    let pairs = || list(list(text()));
    let step = object(&[
        ("path", text()),
        ("title", text()),
        ("why", or_null(text())),
        ("kind", text()),
        ("action", or_null(text())),
        ("one_way", boolean()),
        ("status", text()),
        ("started_at", or_null(at())),
        ("ended_at", or_null(at())),
        ("duration_s", or_null(number())),
        ("forecast", or_null(generators.written::<Took>())),
        ("attempts", list(some_object())),
        ("waits_for", or_null(text())),
        ("seen", pairs()),
        ("error", or_null(some_object())),
        ("facts", pairs()),
        ("changes", list(some_object())),
        ("how", or_null(text())),
        ("skipped", or_null(text())),
        ("command", or_null(text())),
        ("input", anything()),
        ("output", anything()),
        ("progress", or_null(text())),
        // Those inside it, of the same form.
        ("steps", list(some_object())),
    ]);
    let remaining = object(&[("p50_s", number()), ("p95_s", number()), ("from_history", boolean())]);
    let pause = object(&[("why", text()), ("step", or_null(text())), ("at", at())]);
    let ask = object(&[
        ("ask", text()),
        ("takeback", or_null(text())),
        ("possible", boolean()),
        ("why_not", or_null(text())),
        ("preview", anything()),
    ]);
    object(&[
        ("run", generators.written::<RunRow>()),
        ("paused", or_null(pause)),
        ("plan", or_null(some_object())),
        ("steps", list(step)),
        ("calls", list(some_object())),
        ("asks", list(ask)),
        ("decisions", list(some_object())),
        ("forecast", or_null(generators.written::<Forecast>())),
        ("remaining", or_null(remaining)),
        ("comparison", or_null(some_object())),
        ("gate", some_object()),
        ("cause", or_null(some_object())),
        ("incidents", list(generators.written::<Incident>())),
        ("now", at()),
    ])
}

fn journal() -> Value {
    let mut entry = object(&[("kind", text())]);
    // The rest is as its kind has it.
    entry["additionalProperties"] = true.into();
    list(object(&[("seq", number()), ("at", at()), ("epoch", number()), ("entry", entry)]))
}
