//! What machines say, and what people do about it together.

use domain::incident::Incident;
use domain::runbook::Mode;
use serde_json::json;
use store::outbox::OutboxRow;
use store::signals::SignalRow;
use store::triage::VerdictRow;

use super::{BODY, BODY_AT, act, look};
use crate::api::openapi::shapes::{boolean, list, object, or_null, page, some_object, text, uuid};
use crate::api::openapi::{Key, Operation, Shape};
use crate::api::{incidents, signals};
use crate::web;

pub(super) fn all() -> Vec<Operation> {
    let started: Shape = |_| object(&[("run_id", uuid()), ("new", boolean())]);
    let signal: Shape =
        |g| object(&[("signal", g.written::<SignalRow>()), ("verdicts", list(g.written::<VerdictRow>()))]);
    let opened: Shape = |_| object(&[("incident", uuid()), ("new", boolean())]);
    vec![
        look(
            "signals",
            "/api/v1/signals",
            "Signals, the newest first",
            |g| page::<SignalRow>(g, "signals"),
            &[400],
        )
        .with_query(|g| g.sent::<web::signals::Filter>()),
        look(
            "signals",
            "/api/v1/signals/{id}",
            "One signal with all its verdicts",
            |g| {
                object(&[("signal", g.written::<SignalRow>()), ("verdicts", list(g.written::<VerdictRow>()))])
            },
            &[400, 404],
        ),
        act(
            "signals",
            "/api/v1/signals/{id}/start",
            "Starts what a rule has prepared for a signal; the same again is the same run, whoever asks",
            |g| g.sent::<signals::Taking>(),
            &[(201, started), (200, started)],
            BODY_AT,
        )
        .with_key(Key::None),
        act(
            "signals",
            "/api/v1/signals/{id}/dismiss",
            "A person's word instead of the verdict: nothing is to be done, until it changes",
            |g| g.sent::<signals::Saying>(),
            &[(200, signal)],
            BODY_AT,
        ),
        act(
            "signals",
            "/api/v1/signals/{id}/judge",
            "Has a signal judged anew",
            |g| g.sent::<signals::Saying>(),
            &[(200, signal)],
            BODY_AT,
        ),
        look(
            "signals",
            "/api/v1/triggers",
            "Triggers with their modes and scores, and the occasions that these rest on",
            |_| object(&[("triggers", list(some_object())), ("occasions", list(some_object()))]),
            &[],
        ),
        act(
            "signals",
            "/api/v1/triggers/mode",
            "Sets how far a trigger may go; `auto` takes an approver",
            |g| g.sent::<incidents::ModeBody>(),
            &[(200, |g| object(&[("rule", text()), ("mode", or_null(g.written::<Mode>()))]))],
            BODY_AT,
        ),
        look(
            "incidents",
            "/api/v1/incidents",
            "Incidents, the newest first; `next` is a number",
            |g| {
                object(&[
                    ("incidents", list(g.written::<Incident>())),
                    ("next", or_null(json!({ "type": "integer" }))),
                ])
            },
            &[400],
        )
        .with_query(|g| g.sent::<web::incidents::Filter>()),
        act(
            "incidents",
            "/api/v1/incidents",
            "Opens an incident, or finds the one that is open at one of these targets",
            |g| g.sent::<incidents::Opening>(),
            &[(201, opened), (200, opened)],
            BODY,
        ),
        look(
            "incidents",
            "/api/v1/incidents/{incident}",
            "One incident: timeline, signals, runs, times",
            |g| {
                object(&[
                    ("incident", g.written::<Incident>()),
                    ("name", text()),
                    ("times", some_object()),
                    ("signals", list(some_object())),
                    ("verdicts", list(some_object())),
                    ("runs", list(some_object())),
                    ("timeline", list(some_object())),
                    ("said", list(some_object())),
                    ("graphs", list(object(&[("title", text()), ("svg", text())]))),
                ])
            },
            &[400, 404],
        ),
        act(
            "incidents",
            "/api/v1/incidents/{incident}/ask",
            "Says or does something in an incident: note, severity, title, take, hand_over, close",
            |g| g.sent::<domain::incident::Ask>(),
            &[(200, |g| object(&[("incident", g.written::<Incident>())]))],
            BODY_AT,
        ),
        look(
            "incidents",
            "/api/v1/incidents/{incident}/post-mortem.md",
            "The post-mortem pack, as a document",
            |_| text(),
            &[400, 404],
        ),
        look(
            "incidents",
            "/api/v1/outbox",
            "What people elsewhere are to be told, the newest first",
            |g| page::<OutboxRow>(g, "messages"),
            &[400],
        )
        .with_query(|g| g.sent::<web::outbox::Filter>()),
    ]
}
