//! What every handler may reach: the engine, the settings, and the plans that people are looking at.

use std::future::Future;
use std::sync::Arc;

use domain::Timestamp;
use engine::{Engine, StartError, StartRequest, Started};
use store::PgPool;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use crate::drills::Drills;
use crate::error::Problem;
use crate::hooks::{Hooks, PLACES, PLACES_OF_STRANGERS};
use crate::limits::Limits;
use crate::metrics::{Answers, Readers};
use crate::oidc::Oidc;
use crate::plans::Plans;
use crate::proxy::TrustedProxy;
use crate::slack::Slack;
use crate::watched::Watched;

/// How this server presents itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where people reach it, such as `https://firebreak.example.com`: for links.
    pub public_url: String,
    /// Send cookies over TLS only. Off for a demo on `http://localhost`.
    pub secure_cookies: bool,
    /// Named in the strip on top of each page, so that nobody takes one for another: `production`, `demo`.
    pub environment: Option<String>,
    /// Behind this engine is a simulator: said on each page.
    pub simulated: bool,
    /// Who plays drills. Nobody, where what this server works on is not its own simulator.
    pub drills: Option<Arc<dyn Drills>>,
    /// The drill that this server is the world of: said on each page.
    pub drill: Option<OnStage>,
    /// Where people, their sessions, tokens and drills are kept, if not in the engine's database.
    pub people: Option<PgPool>,
    /// A proxy in front that says who people are.
    pub proxy: Option<TrustedProxy>,
    /// A provider at which people sign in.
    pub oidc: Option<Arc<Oidc>>,
    /// How many requests of the API one session or token may send in a minute.
    pub requests_per_minute: u32,
    /// Which alert sources are open, and how each proves itself.
    pub hooks: Hooks,
    /// Slack, where it is set up.
    pub slack: Option<Slack>,
    /// A metrics source is asked how many requests fail: while it does not say, nobody knows that all is well.
    pub watches_errors: bool,
    /// Becomes true when the process is to end; open event streams then end. Its sender's end means the same.
    pub ending: watch::Receiver<bool>,
}

/// The drill that a server is the world of.
#[derive(Debug, Clone)]
pub struct OnStage {
    /// Its id.
    pub id: Uuid,
    /// What goes wrong in it.
    pub title: String,
    /// Becomes true when it is over, and scored.
    pub over: watch::Receiver<bool>,
}

impl OnStage {
    /// Its page, which has its score.
    pub(crate) fn page(&self) -> String {
        format!("/drills/{}", self.id)
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }
}

/// Shared by all handlers; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

struct Inner {
    engine: Engine,
    settings: Settings,
    plans: Plans,
    /// Room for deliveries of alert sources.
    intake: Semaphore,
    /// And for what is read before it is known who sends it.
    strangers: Semaphore,
    limits: Limits,
    watched: Watched,
    answers: Answers,
    readers: Readers,
}

impl App {
    pub(crate) fn new(engine: Engine, settings: Settings) -> Self {
        let limits = Limits::new(settings.requests_per_minute);
        let (intake, strangers) = (Semaphore::new(PLACES), Semaphore::new(PLACES_OF_STRANGERS));
        let (plans, watched) = (Plans::default(), Watched::default());
        let (answers, readers) = (Answers::default(), Readers::default());
        let inner = Inner { engine, settings, plans, intake, strangers, limits, watched, answers, readers };
        Self(Arc::new(inner))
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    pub(crate) fn plans(&self) -> &Plans {
        &self.0.plans
    }

    pub(crate) fn intake(&self) -> &Semaphore {
        &self.0.intake
    }

    pub(crate) fn strangers(&self) -> &Semaphore {
        &self.0.strangers
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn watched(&self) -> &Watched {
        &self.0.watched
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.0.answers
    }

    pub(crate) fn readers(&self) -> &Readers {
        &self.0.readers
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.0.engine.pool()
    }

    /// The database that knows people: see [`Settings::people`].
    pub(crate) fn people(&self) -> &PgPool {
        self.settings().people.as_ref().unwrap_or_else(|| self.pool())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.0.engine.clock().now()
    }

    /// The run that was started under this key before: a repeat is answered by it, whatever would keep it from being started now.
    pub(crate) async fn started(&self, idem_key: &str) -> Result<Option<Started>, Problem> {
        let run = store::runs::of_key(self.pool(), idem_key).await?;
        Ok(run.map(|run_id| Started { run_id, new: false }))
    }

    /// Starts a run. Goes on to its end even if the browser hangs up halfway: a run that was written must be driven.
    pub(crate) async fn start(&self, request: StartRequest) -> Result<Result<Started, StartError>, Problem> {
        let engine = self.engine().clone();
        to_the_end(async move { engine.start(request).await }).await
    }
}

/// Runs a future to its end, even if the one who asked for it is gone.
pub(crate) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Problem> {
    tokio::spawn(work).await.map_err(Problem::internal)
}
