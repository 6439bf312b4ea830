//! Who did what, and who may.

use store::known::Known;
use store::reviews::Review;
use store::search::Found;
use store::tokens::Token;

use super::{BODY, BODY_AT, act, look, without_body};
use crate::api::openapi::shapes::{list, number, object, or_null, page, some_object, text, uuid};
use crate::api::openapi::{Key, Operation, Shape};
use crate::api::{people, reviews, slack, tokens};
use crate::web;

pub(super) fn all() -> Vec<Operation> {
    let review: Shape = |g| object(&[("review", g.written::<Review>())]);
    vec![
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
                    ("groups", list(text())),
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
            |_| {
                object(&[
                    ("openapi", text()),
                    ("info", some_object()),
                    ("servers", list(some_object())),
                    ("security", list(some_object())),
                    ("tags", list(some_object())),
                    ("paths", some_object()),
                    ("components", some_object()),
                ])
            },
            &[],
        ),
    ]
}
