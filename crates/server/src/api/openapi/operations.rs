//! What each route of the API takes and answers.

use domain::brake::Freeze;
use domain::incident::Incident;
use domain::plan::Plan;
use domain::readiness::Answer;
use domain::run::Ask;
use domain::runbook::Mode;
use engine::{InForce, Readiness};
use serde_json::{Value, json};
use store::brakes::Imported;
use store::drills::Drill;
use store::known::Known;
use store::outbox::{OutboxRow, Untold};
use store::pages::RunRow;
use store::reviews::Review;
use store::search::Found;
use store::signals::SignalRow;
use store::tokens::Token;
use store::triage::VerdictRow;

use super::shapes::{boolean, list, number, object, or_null, page, some_object, text, uuid};
use super::{Generators, Key, Operation, Shape};
use crate::api::{brakes, drills, incidents, people, reviews, runs, signals, slack, tokens};
use crate::drills::{Offer, Playing};
use crate::web;

/// The headings, in their order.
pub(super) const GROUPS: [(&str, &str); 9] = [
    ("situation", "What is going on."),
    ("runbooks", "What can be done, and what it would do."),
    ("runs", "What is being done, and was."),
    ("signals", "What machines say is wrong, and what became of it."),
    ("incidents", "What people do together about one trouble, and what they elsewhere are told."),
    ("brakes", "What holds Firebreak back: kill switch, freezes, locks."),
    ("drills", "Practice on a simulated world: only where `firebreak demo` plays them."),
    ("audit", "Who did what, and that it was not changed since."),
    ("access", "Who you are, the tokens of your programs, and who else is here."),
];

const BODY: &[u16] = &[400, 409, 413, 415, 422];
const BODY_AT: &[u16] = &[400, 404, 409, 413, 415, 422];

fn look(
    group: &'static str,
    path: &'static str,
    says: &'static str,
    answer: Shape,
    refusals: &'static [u16],
) -> Operation {
    let answers = vec![(200, answer)];
    Operation { method: "GET", path, group, says, query: None, body: None, key: Key::None, answers, refusals }
}

fn act(
    group: &'static str,
    path: &'static str,
    says: &'static str,
    body: Shape,
    answers: &[(u16, Shape)],
    refusals: &'static [u16],
) -> Operation {
    let (body, answers) = (Some(body), answers.to_vec());
    Operation { method: "POST", path, group, says, query: None, body, key: Key::Optional, answers, refusals }
}

/// What is asked is all in the path.
fn without_body(operation: Operation) -> Operation {
    Operation { body: None, ..operation }
}

impl Operation {
    fn with_query(self, query: Shape) -> Self {
        Self { query: Some(query), ..self }
    }

    fn with_key(self, key: Key) -> Self {
        Self { key, ..self }
    }
}

/// All of them.
pub(super) fn all() -> Vec<Operation> {
    let released: Shape = |_| object(&[("released", text())]);
    let on: Shape = |_| object(&[("on", boolean())]);
    let started: Shape = |_| object(&[("run_id", uuid()), ("new", boolean())]);
    let review: Shape = |g| object(&[("review", g.written::<Review>())]);
    let signal: Shape =
        |g| object(&[("signal", g.written::<SignalRow>()), ("verdicts", list(g.written::<VerdictRow>()))]);
    let drill: Shape =
        |g| object(&[("drill", g.written::<Drill>()), ("playing", or_null(g.written::<Playing>()))]);
    let opened: Shape = |_| object(&[("incident", uuid()), ("new", boolean())]);
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
            "Says `changed` whenever the run should be looked at again",
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
            "Starts what a rule has prepared for a signal",
            |g| g.sent::<signals::Taking>(),
            &[(201, started), (200, started)],
            BODY_AT,
        ),
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
                    ("timeline", list(some_object())),
                    ("runs", list(some_object())),
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
            |g| object(&[("messages", list(g.written::<OutboxRow>()))]),
            &[],
        ),
        look("brakes", "/api/v1/brakes", "Everything that is on", |g| g.written::<InForce>(), &[]),
        act(
            "brakes",
            "/api/v1/brakes/stop",
            "The kill switch: no replica begins a change any more",
            |g| g.sent::<brakes::SwitchBody>(),
            &[(200, on)],
            BODY,
        ),
        act(
            "brakes",
            "/api/v1/brakes/allow",
            "Releases the kill switch",
            |g| g.sent::<brakes::SwitchBody>(),
            &[(200, on)],
            BODY,
        ),
        act(
            "brakes",
            "/api/v1/brakes/freezes",
            "Enters a freeze",
            |g| g.sent::<brakes::FreezeBody>(),
            &[(201, |g| g.written::<Freeze>())],
            BODY,
        ),
        act(
            "brakes",
            "/api/v1/brakes/freezes/import",
            "Imports freezes from an iCalendar file",
            |g| g.sent::<brakes::CalendarBody>(),
            &[(200, |g| g.written::<Imported>())],
            BODY,
        ),
        act(
            "brakes",
            "/api/v1/brakes/freezes/{id}/lift",
            "Lifts a freeze",
            |g| g.sent::<brakes::ReasonBody>(),
            &[(200, |_| object(&[("lifted", uuid())]))],
            BODY,
        ),
        act(
            "brakes",
            "/api/v1/brakes/locks",
            "Takes a target by hand",
            |g| g.sent::<brakes::TakeBody>(),
            &[(201, |_| object(&[("target", text()), ("holder", text())]))],
            BODY,
        ),
        act(
            "brakes",
            "/api/v1/brakes/locks/give-back",
            "Gives a target back",
            |g| g.sent::<brakes::GiveBackBody>(),
            &[(200, released)],
            BODY,
        ),
        act(
            "brakes",
            "/api/v1/brakes/locks/force",
            "Releases a lock of a run that waits for a person",
            |g| g.sent::<brakes::ForceBody>(),
            &[(200, released)],
            BODY,
        ),
        look(
            "drills",
            "/api/v1/drills",
            "Drills that can be played, the one that is, and those that were; `offers` is null where none can be",
            |g| {
                object(&[
                    ("offers", or_null(list(g.written::<Offer>()))),
                    ("playing", or_null(g.written::<Playing>())),
                    ("played", list(g.written::<drills::PlayedRow>())),
                ])
            },
            &[],
        ),
        act(
            "drills",
            "/api/v1/drills",
            "Starts a drill; until it is left, everything but people and drills is of its world",
            |g| g.sent::<drills::DrillBody>(),
            &[(201, drill)],
            BODY_AT,
        ),
        look(
            "drills",
            "/api/v1/drills/{id}",
            "One drill: how it stands while it is on, and its score",
            drill,
            &[400, 404],
        ),
        without_body(act(
            "drills",
            "/api/v1/drills/{id}/end",
            "Ends a drill and scores it; its world stays until it is left",
            |_| some_object(),
            &[(200, drill)],
            BODY_AT,
        )),
        without_body(act(
            "drills",
            "/api/v1/drills/{id}/leave",
            "Takes the world of a drill away; one that is not over is given up",
            |_| some_object(),
            &[(200, drill)],
            BODY_AT,
        )),
        look(
            "audit",
            "/api/v1/audit",
            "Who did what to what, the newest first",
            |g| page::<Found>(g, "entries"),
            &[400],
        )
        .with_query(|g| g.sent::<web::search::Filter>()),
        look(
            "audit",
            "/api/v1/reviews",
            "Where somebody went on alone, and nobody has looked at it yet",
            |g| object(&[("reviews", list(g.written::<Review>()))]),
            &[],
        ),
        act(
            "audit",
            "/api/v1/reviews/{number}/close",
            "Closes a review",
            |g| g.sent::<reviews::Closing>(),
            &[(200, review)],
            BODY_AT,
        ),
        look(
            "access",
            "/api/v1/session",
            "Who you are",
            |g| {
                object(&[
                    ("person", text()),
                    ("role", text()),
                    ("csrf", or_null(text())),
                    ("token", or_null(g.written::<Token>())),
                ])
            },
            &[],
        ),
        look(
            "access",
            "/api/v1/tokens",
            "Your tokens; an admin sees everybody's",
            |g| object(&[("tokens", list(g.written::<Token>()))]),
            &[],
        ),
        act(
            "access",
            "/api/v1/tokens",
            "Makes a token; its secret is told this once",
            |g| g.sent::<tokens::TokenBody>(),
            &[(201, |g| object(&[("secret", text()), ("token", g.written::<Token>())]))],
            BODY,
        )
        .with_key(Key::None),
        without_body(act(
            "access",
            "/api/v1/tokens/{id}/revoke",
            "Revokes a token",
            |_| some_object(),
            &[(200, |_| object(&[("revoked", uuid())]))],
            BODY,
        )),
        look(
            "access",
            "/api/v1/people",
            "You; an admin sees everybody: role, groups, last seen, what they have open",
            |g| object(&[("people", list(g.written::<Known>()))]),
            &[],
        ),
        act(
            "access",
            "/api/v1/people/sign-out",
            "Ends all sessions of somebody",
            |g| g.sent::<people::PersonBody>(),
            &[(200, |_| object(&[("ended", number())]))],
            BODY,
        ),
        act(
            "access",
            "/api/v1/people/revoke-tokens",
            "Revokes all tokens of somebody",
            |g| g.sent::<people::PersonBody>(),
            &[(200, |_| object(&[("ended", number())]))],
            BODY,
        ),
        act(
            "access",
            "/api/v1/people/let-go",
            "Lets go of somebody's account at the provider, and ends their sessions, tokens and members of Slack: the next one of that name is them",
            |g| g.sent::<people::PersonBody>(),
            &[(200, |_| object(&[("ended", number())]))],
            BODY,
        ),
        look(
            "access",
            "/api/v1/slack/links",
            "Who speaks for you in Slack; an admin sees everybody's",
            |g| object(&[("links", list(g.written::<slack::LinkRow>()))]),
            &[],
        ),
        without_body(act(
            "access",
            "/api/v1/slack/links/{id}/remove",
            "Removes a link; whoever it was for may do nothing in Slack any more",
            |_| some_object(),
            &[(200, |_| object(&[("removed", uuid())]))],
            BODY_AT,
        )),
        look(
            "access",
            "/api/v1/openapi.json",
            "This document",
            |_| object(&[("openapi", text()), ("paths", some_object())]),
            &[],
        ),
    ]
}

fn situation(generators: &mut Generators) -> Value {
    let lists = ["findings", "fleets", "clusters", "switches", "freezes", "locks", "reviews"];
    let mut members: Vec<(&str, Value)> = lists.map(|name| (name, list(some_object()))).into();
    members.push(("unseen", list(text())));
    members.push(("well", boolean()));
    members.push(("runs", list(generators.written::<RunRow>())));
    members.push(("signals", list(generators.written::<SignalRow>())));
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
