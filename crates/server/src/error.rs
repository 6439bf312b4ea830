//! From failures to HTTP, for pages and programs alike.
//!
//! A handler returns a [`Problem`]; [`render`], which wraps all routes, draws it as a page or as
//! `application/problem+json` (RFC 9457). So do time-outs, refused bodies and unknown paths, which come from layers that
//! know nothing of us. What is internal is logged under a number and never shown.

mod answer;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use domain::incident::Refusal;
use engine::{
    AskError, BrakeError, IncidentError, OfferError, PlanError, RehearseError, ReviewError, StartError,
    TrustError,
};
use serde_json::{Map, Value, json};
use store::StoreError;
use uuid::Uuid;

pub(crate) use answer::render;

/// The code of a start that another run stands in the way of.
pub(crate) const LOCKED: &str = "locked";
/// Codes of refused starts that the engine itself has audited.
pub(crate) const AUDITED: [&str; 5] = [LOCKED, "kill_switch", "freeze", "taken_by_hand", "limit"];

/// Codes with which a start is refused.
pub(crate) const REFUSES: [&str; 18] = [
    LOCKED,
    "kill_switch",
    "freeze",
    "taken_by_hand",
    "limit",
    "bad_inputs",
    "bad_override",
    "broken_runbook",
    "expression",
    "narrowed",
    "no_idempotency_key",
    "no_reason",
    "not_allowed",
    "not_confirmed",
    "out_of_scope",
    "plan_changed",
    "plan_needed",
    "unknown_runbook",
];

/// Why a request was not done, for the person or program that made it.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Stable; programs branch on it.
    pub(crate) code: &'static str,
    /// In a sentence; never internal.
    pub(crate) detail: String,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
    /// Where to go from here.
    pub(crate) link: Option<Box<Link>>,
    /// Worth asking again after so many seconds.
    pub(crate) retry_after: Option<u64>,
    /// Further members of the JSON form.
    pub(crate) more: Box<Map<String, Value>>,
}

/// What is looked for by an id or a name that somebody typed or copied.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Thing {
    Run,
    Signal,
    Incident,
    Drill,
}

/// A way out.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) label: String,
    pub(crate) href: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            remedy: None,
            link: None,
            retry_after: None,
            more: Box::default(),
        }
    }

    /// What was given makes no sense; says why.
    pub(crate) fn unfit(why: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unfit", sentence(&why.into()))
    }

    /// There is none of that id or name: says what lists those that there are, on the pages and in a terminal.
    pub(crate) fn no_such(thing: Thing) -> Self {
        let (one, page, address, verb) = match thing {
            Thing::Run => ("run", "Runs", "/runs", "firebreak runs"),
            Thing::Signal => ("signal", "Signals", "/signals", "firebreak signals --all"),
            Thing::Incident => ("incident", "Incidents", "/incidents", "firebreak incident list"),
            Thing::Drill => ("drill", "Drills", "/drills", "firebreak drills list"),
        };
        Self::not_found(&format!("such {one}"))
            .remedy(format!("The page {page}, or `{verb}`, lists those that there are."))
            .link(page, address)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("There is no {what}."))
            .remedy("Check the address; it may have been cut off where it was copied.")
    }

    pub(crate) fn signed_out() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "signed_out", "You are not signed in.")
            .remedy("Sign in at your provider or by a link; `firebreak sign-in NAME --role ROLE --config FILE` on the server prints one. Programs send `Authorization: Bearer` with a token.")
            .link("How to sign in", "/sign-in")
    }

    /// Something of ours failed: logged in full under a number, and only the number is shown.
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        let id = Uuid::now_v7();
        tracing::error!(%id, "a request failed: {error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side.")
            .remedy(format!("Try again; if it stays, look for {id} in the server's log."))
    }

    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    #[must_use]
    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    #[must_use]
    pub(crate) fn link(mut self, label: impl Into<String>, href: impl Into<String>) -> Self {
        self.link = Some(Box::new(Link { label: label.into(), href: href.into() }));
        self
    }

    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }

    fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    /// `public_url` is where the page is that says what the code means.
    fn json(&self, public_url: &str) -> Value {
        let mut body = json!({
            "type": format!("{}/docs/errors/{}", public_url.trim_end_matches('/'), self.code),
            "title": self.title(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if let Value::Object(body) = &mut body {
            body.extend(self.remedy.iter().map(|remedy| ("remedy".to_owned(), Value::from(remedy.as_str()))));
            body.extend((*self.more).clone());
        }
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        if error.is_unfit() {
            let detail =
                "The request holds a character, a time or a number that cannot be kept. Nothing was done.";
            return Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_storable", detail)
                .remedy("Leave out control characters, and times that no calendar has.");
        }
        let unavailable = error.is_unavailable();
        let mut problem = Self::internal(error);
        if unavailable {
            problem.status = StatusCode::SERVICE_UNAVAILABLE;
            problem.code = "store_unavailable";
            problem.retry_after = Some(2);
            problem.detail = "The database did not answer.".into();
        }
        problem
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let detail = sentence(&error.to_string());
        match error {
            StartError::UnknownRunbook { known, .. } => {
                Self::new(StatusCode::NOT_FOUND, "unknown_runbook", detail)
                    .with("known", json!(known))
                    .link("All runbooks", "/runbooks")
            }
            StartError::BrokenRunbook { name, mistakes } => {
                Self::new(StatusCode::CONFLICT, "broken_runbook", detail)
                    .remedy("Correct the file; every mistake is shown on the runbook's page.")
                    .with("mistakes", json!(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>()))
                    .link("The mistakes", format!("/runbooks/{name}"))
            }
            StartError::BadInputs(mistakes) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_inputs", detail)
                    .with("mistakes", json!(mistakes))
            }
            StartError::Expression(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "expression", detail)
                .remedy("The runbook's locks or title cannot be worked out from these inputs."),
            StartError::Locked(holder) => Self::new(StatusCode::CONFLICT, LOCKED, detail)
                .with("lock", json!(holder.target))
                .with("held_by", json!(holder.run_id))
                .link(format!("Open {}", holder.title), format!("/runs/{}", holder.run_id)),
            StartError::Held(brake) => Self::new(StatusCode::CONFLICT, brake.code(), detail)
                .remedy(brake.remedy())
                .with("brake", json!(brake))
                .link("What holds it back", "/brakes"),
            StartError::BadOverride(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "bad_override", detail),
            StartError::NotAllowed(_) => not_allowed(detail),
            StartError::OutOfScope(_) => out_of_scope(detail),
            StartError::Narrowed(_) => narrowed(detail),
            StartError::NotConfirmed { target, .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "not_confirmed", detail)
                    .with("confirm", json!(target))
            }
            StartError::NoReason(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no_reason", detail),
            StartError::NoPlan(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "plan_needed", detail),
            StartError::OtherPlan(_) => Self::new(StatusCode::CONFLICT, "plan_changed", detail),
            StartError::Stopping => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", detail).retry_after(2)
            }
            StartError::Store(error) => error.into(),
        }
    }
}

impl From<PlanError> for Problem {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Start(error) => error.into(),
            PlanError::Store(error) => error.into(),
        }
    }
}

impl From<RehearseError> for Problem {
    fn from(error: RehearseError) -> Self {
        let detail = sentence(&error.to_string());
        match error {
            RehearseError::NoSuchCase { .. } => {
                Self::not_found("such rehearsal").link("Readiness", "/readiness")
            }
            RehearseError::Asks { .. } => Self::new(StatusCode::CONFLICT, "not_rehearsed", detail)
                .remedy("Plan it on the runbook's page, with what you would choose."),
            RehearseError::AtWork(_) => Self::new(StatusCode::CONFLICT, "not_rehearsed", detail)
                .remedy("Wait until the run has ended, and rehearse then."),
            RehearseError::Store(error) => error.into(),
        }
    }
}

impl From<OfferError> for Problem {
    fn from(error: OfferError) -> Self {
        let detail = sentence(&error.to_string());
        match error {
            OfferError::NotThere => Self::new(StatusCode::CONFLICT, "no_offer", detail)
                .remedy("It may be over, or somebody may have started it: look at the signals again.")
                .link("Signals", "/signals"),
            OfferError::Changed(offer) => Self::new(StatusCode::CONFLICT, "plan_changed", detail)
                .remedy("Look at what is prepared now, and start it if you agree to that.")
                .with(
                    "offer",
                    json!({
                        "verdict": offer.verdict,
                        "runbook": offer.runbook,
                        "inputs": offer.inputs,
                        "title": offer.plan["title"],
                    }),
                ),
            OfferError::Start(error) => error.into(),
            OfferError::Store(error) => error.into(),
        }
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let detail = error.to_string();
        match error {
            AskError::NoSuchRun(_) => Self::no_such(Thing::Run),
            AskError::NotAllowed(_) => not_allowed(sentence(&detail)),
            AskError::OutOfScope(_) => out_of_scope(sentence(&detail)),
            AskError::Narrowed(_) => narrowed(sentence(&detail)),
            AskError::Refused(_) => Self::new(StatusCode::CONFLICT, "not_possible_now", sentence(&detail))
                .remedy("Look at the run again: it may have moved since."),
            AskError::LockLost(held) => Self::new(StatusCode::CONFLICT, "lock_lost", sentence(&detail))
                .remedy("Wait until it is free; then the run takes it back by itself when you ask again.")
                .with("held", json!(held)),
            AskError::KeyReused => key_reused(sentence(&detail)),
            AskError::Illegal(error) => Self::internal(error),
            AskError::Store(error) => error.into(),
        }
    }
}

impl From<BrakeError> for Problem {
    fn from(error: BrakeError) -> Self {
        use BrakeError::{
            BadName, BadTime, Calendar, Held, Moving, NoReason, NotAllowed, NotThere, OutOfScope, Store,
        };
        let detail = sentence(&error.to_string());
        let code = error.code().unwrap_or("internal");
        let problem = match error {
            NotAllowed { .. } => not_allowed(detail),
            OutOfScope(_) => out_of_scope(detail),
            NoReason | BadName(_) | BadTime(_) | Calendar(_) => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
            }
            Held(held) => Self::new(StatusCode::CONFLICT, code, detail).with("held", json!(held)),
            NotThere(_) | Moving(_) => Self::new(StatusCode::CONFLICT, code, detail),
            Store(error) => return error.into(),
        };
        problem.link("Brakes", "/brakes")
    }
}

impl From<ReviewError> for Problem {
    fn from(error: ReviewError) -> Self {
        let detail = sentence(&error.to_string());
        match error {
            ReviewError::NoSuchReview(_) => Self::not_found("such review"),
            ReviewError::NotAllowed(_) | ReviewError::Own => not_allowed(detail),
            ReviewError::OutOfScope(_) => out_of_scope(detail),
            ReviewError::NoNote => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no_note", detail),
            ReviewError::Closed(_) => Self::new(StatusCode::CONFLICT, "not_possible_now", detail),
            ReviewError::Store(error) => error.into(),
        }
    }
}

impl From<IncidentError> for Problem {
    fn from(error: IncidentError) -> Self {
        let detail = sentence(&error.to_string());
        match error {
            IncidentError::NotThere(_) => Self::no_such(Thing::Incident),
            IncidentError::NoSuchTarget(_) => Self::unfit(detail),
            IncidentError::Refused(Refusal::NotAllowed(_)) => not_allowed(detail),
            IncidentError::Refused(Refusal::OutOfScope(_)) => out_of_scope(detail),
            IncidentError::Refused(Refusal::Unfit(_)) => Self::unfit(detail),
            IncidentError::Refused(Refusal::NotNow(_)) | IncidentError::Changed => {
                Self::new(StatusCode::CONFLICT, "not_possible_now", detail).link("Incidents", "/incidents")
            }
            IncidentError::Store(error) => error.into(),
        }
    }
}

impl From<TrustError> for Problem {
    fn from(error: TrustError) -> Self {
        let detail = sentence(&error.to_string());
        match error {
            TrustError::NotAllowed { .. } => not_allowed(detail),
            TrustError::OutOfScope(_) => out_of_scope(detail),
            TrustError::NoReason => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "no_reason", detail),
            TrustError::NoSuchRule(_) => Self::not_found("such trigger"),
            TrustError::Over => Self::new(StatusCode::CONFLICT, "not_possible_now", detail),
            TrustError::Store(error) => error.into(),
        }
    }
}

/// A role that is not enough.
pub(crate) fn not_allowed(detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "not_allowed", detail)
        .remedy("Ask somebody who may; an admin can print a sign-in link for another role.")
}

/// A policy that names others.
fn narrowed(detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "narrowed", detail)
        .remedy("Ask one of them; who they are stands under `policies` in the configuration, and their groups at your provider.")
}

/// A token that is not good for this.
pub(crate) fn out_of_scope(detail: String) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "out_of_scope", detail)
        .remedy("Use another token; tokens are made under Settings, or by `firebreak token create`.")
}

/// A key that stands for something else already.
pub(crate) fn key_reused(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "key_reused", detail)
        .remedy("Take a fresh key for each intent.")
}

/// With a capital at the front and a full stop at the end.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    let stop = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{first}{}{stop}", chars.as_str())
}
