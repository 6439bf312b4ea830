//! What holds everything back, and practice.

use domain::brake::Freeze;
use engine::InForce;
use store::brakes::Imported;
use store::drills::Drill;

use super::{BODY, BODY_AT, act, look, without_body};
use crate::api::openapi::shapes::{boolean, list, object, or_null, some_object, text, uuid};
use crate::api::openapi::{Operation, Shape};
use crate::api::{brakes, drills};
use crate::drills::{Offer, Playing};

pub(super) fn all() -> Vec<Operation> {
    let released: Shape = |_| object(&[("released", text())]);
    let on: Shape = |_| object(&[("on", boolean()), ("new", boolean())]);
    let off: Shape = |_| object(&[("on", boolean())]);
    let drill: Shape =
        |g| object(&[("drill", g.written::<Drill>()), ("playing", or_null(g.written::<Playing>()))]);
    vec![
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
            &[(200, off)],
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
            &[(200, |_| object(&[("released", text()), ("run_id", uuid())]))],
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
    ]
}
