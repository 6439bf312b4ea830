//! Drills that people play on a simulated world: what the pages know of them, and the stage on which one is played.
//!
//! ```text
//!  request ─▶ staged ─┬─ a drill is on, and it is not about people or drills ─▶ the drill's own server, engine and database
//!                     └─ else ────────────────────────────────────────────────▶ the server at home
//! ```
//!
//! While one is played, every page is of its world: people practise on the real pages. Who they are, their tokens and the scores are
//! always at home. Only one is on the stage at a time. Who plays them is given from outside ([`Drills`]); a server that works on a
//! real AWS is given nobody, and so cannot offer any.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use domain::drill::{Curve, NotAllowed, Player};
use domain::{Actor, Timestamp};
use futures::future::BoxFuture;
use store::StoreError;
use tower::ServiceExt as _;
use uuid::Uuid;

use crate::error::{Problem, Thing, out_of_scope, sentence};

/// A drill that could be played.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct Offer {
    /// Name of its file.
    pub name: String,
    /// What goes wrong.
    pub title: String,
    /// What goes wrong, for somebody who was not there. It gives the answer away.
    pub about: String,
    /// It really happened.
    pub real: bool,
    /// Why it cannot be played here.
    pub why_not: Option<String>,
}

/// How the drill that is on stands.
#[derive(Debug, Clone, serde::Serialize, schemars::JsonSchema)]
pub struct Playing {
    /// Its id.
    pub id: Uuid,
    /// What goes wrong.
    pub title: String,
    /// Who acts.
    pub player: Player,
    /// Who started it.
    pub by: String,
    /// It is scored; its world is still there to be looked at.
    pub over: bool,
    /// Time in its world.
    pub now: Timestamp,
    /// When it goes wrong there.
    pub trigger: Timestamp,
    /// Whose customers it is about.
    pub cluster: String,
    /// What they have seen so far.
    pub here: Curve,
    /// What they would have seen had nobody acted.
    pub nobody: Curve,
}

/// Why something was not done about a drill.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// Only one at a time.
    #[error("another drill is being played: {0}")]
    On(String),
    /// There is no such drill.
    #[error("there is no drill `{0}`")]
    Unknown(String),
    /// Not here.
    #[error("it cannot be played here: {0}")]
    NotHere(String),
    /// None is on, or another one.
    #[error("that drill is not being played any more")]
    NotOn,
    /// Its world did not come up.
    #[error("its world did not come up: {0}")]
    Failed(String),
    /// By the rules.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who plays drills.
pub trait Drills: fmt::Debug + Send + Sync {
    /// All that there are.
    fn offers(&self) -> Vec<Offer>;

    /// The one that is on.
    fn playing(&self) -> Option<Playing>;

    /// Begins one, which is written down first: its id.
    fn start<'a>(
        &'a self,
        name: &'a str,
        player: Player,
        by: &'a Actor,
    ) -> BoxFuture<'a, Result<Uuid, DrillError>>;

    /// Ends it and scores it. Its world stays.
    fn end<'a>(&'a self, id: Uuid, by: &'a Actor) -> BoxFuture<'a, Result<(), DrillError>>;

    /// Takes its world away; one that is not over is given up.
    fn leave<'a>(&'a self, id: Uuid, by: &'a Actor) -> BoxFuture<'a, Result<(), DrillError>>;
}

impl From<DrillError> for Problem {
    fn from(error: DrillError) -> Self {
        let detail = sentence(&error.to_string());
        let problem = match error {
            DrillError::On(_) => Problem::new(StatusCode::CONFLICT, "drill_is_on", detail)
                .remedy("One is played at a time: end it and leave it first."),
            DrillError::Unknown(_) => Self::no_such(Thing::Drill),
            DrillError::NotHere(_) => Problem::new(StatusCode::CONFLICT, "drill_not_here", detail),
            DrillError::NotOn => Problem::new(StatusCode::CONFLICT, "drill_not_on", detail)
                .remedy("Its score, if it came to its end, is in the list."),
            DrillError::Failed(why) => return Self::internal(why),
            DrillError::NotAllowed(NotAllowed::Role(_)) => {
                Problem::new(StatusCode::FORBIDDEN, "not_allowed", detail)
                    .remedy("Ask somebody who may; an admin can print a sign-in link for another role.")
            }
            DrillError::NotAllowed(NotAllowed::OutOfScope(_)) => out_of_scope(detail),
            DrillError::Store(error) => return error.into(),
        };
        problem.link("Drills", "/drills")
    }
}

/// What is played just now: another server, or nothing.
#[derive(Debug, Clone, Default)]
pub struct Stage(Arc<RwLock<Option<Router>>>);

impl Stage {
    /// Lets another server answer, or nobody but the one at home.
    pub fn put(&self, guest: Option<Router>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = guest;
    }

    fn guest(&self) -> Option<Router> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is never asked of a guest: people, the drills themselves, and whether and how this process lives.
const AT_HOME: [&str; 8] =
    ["/drills", "/api/v1/drills", "/sign-in", "/sign-out", "/settings", "/healthz", "/readyz", "/metrics"];

fn is_at_home(path: &str) -> bool {
    AT_HOME
        .iter()
        .any(|own| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// The server at home, with a stage before it.
pub fn staged(home: Router, stage: Stage) -> Router {
    Router::new().fallback(move |request: Request| {
        let guest = stage.guest().filter(|_| !is_at_home(request.uri().path()));
        let answers = guest.unwrap_or_else(|| home.clone());
        async move { answers.oneshot(request).await }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_drills_are_asked_at_home_and_nothing_else() {
        for path in [
            "/drills",
            "/drills/1/end",
            "/api/v1/drills",
            "/sign-in/abc",
            "/sign-out",
            "/settings/tokens",
            "/readyz",
            "/metrics",
        ] {
            assert!(is_at_home(path), "{path}");
        }
        for path in ["/", "/drillsergeant", "/runs", "/api/v1/runs", "/events"] {
            assert!(!is_at_home(path), "{path}");
        }
    }
}
