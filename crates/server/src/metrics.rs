//! `GET /metrics`: this process and what all processes share, in the words of Prometheus.
//!
//! A snapshot for whoever keeps Firebreak alive: what to be woken for is in `deploy/prometheus-rules.yaml`. It takes a token
//! of any role, as every look does (`authorization` in a scrape configuration). Three sources: what the engine counts on its way, what
//! the store counts when it is asked, and how requests were answered, which is counted here.
//!
//! A token ends one day, and then nothing is read any more: when that is, is one of the numbers, so that it is known before.
//!
//! The numbers of the store are the same from every replica: read them by `max`, not by `sum`.
//!
//! While the database is away there are none, and `firebreak_database_up` says why; what the process counts itself is told all the
//! same, to whoever has shown a good token within the last hour: the database is where tokens are looked up, too.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use store::StoreError;
use store::census::Census;
use tokio::time::timeout;

use crate::app::App;
use crate::error::Problem;
use crate::session::{Known, Visitor};
use crate::tokens;

/// Where they are read.
pub(crate) const PATH: &str = "/metrics";

/// How long the database may take (wall time), for the token and for the numbers each: both are over within the ten seconds that
/// Prometheus waits.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a token that was good may read on (wall time), while nobody can tell whether it still is.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// Of a request, from what is read from Postgres to what looks at the world.
const REQUEST_SECONDS: [f64; 8] = [0.005, 0.02, 0.05, 0.2, 1.0, 5.0, 20.0, 180.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answer {
    method: &'static str,
    /// As the table of routes has it; nothing of what was asked for.
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// How requests were answered; all clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Answers(Family<Answer, Histogram, fn() -> Histogram>);

impl Default for Answers {
    fn default() -> Self {
        Self(Family::new_with_constructor(|| Histogram::new(REQUEST_SECONDS)))
    }
}

/// Counts each request, until its answer begins: a stream of events is open for as long as somebody listens.
pub(crate) async fn count(
    State(app): State<App>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    // What is no method or route of ours has one name, or whoever asks for nonsense would fill the memory with it.
    let method = match request.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        _ => "other",
    };
    let answer = next.run(request).await;
    let route = path.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let told = Answer { method, route, status: answer.status().as_u16() };
    app.answers().0.get_or_create(&told).observe(begun.elapsed().as_secs_f64());
    answer
}

/// Who has read them, by the hash of the token: as many as there are good ones.
#[derive(Debug, Default)]
pub(crate) struct Readers(Mutex<HashMap<Vec<u8>, (Visitor, Instant)>>);

impl Readers {
    fn remember(&self, visitor: &Visitor, now: Instant) {
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        readers.retain(|_, (_, at)| now.duration_since(*at) < GOOD_FOR);
        readers.insert(visitor.session.clone(), (visitor.clone(), now));
    }

    fn recall(&self, session: &[u8], now: Instant) -> Option<Visitor> {
        let readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (visitor, at) = readers.get(session)?;
        (now.duration_since(*at) < GOOD_FOR).then(|| visitor.clone())
    }

    fn forget(&self, session: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(session);
    }
}

/// Who reads, as `identified` says. While the database does not, a token that was good goes on being good here, and nowhere else.
pub(crate) async fn reader(
    app: &App,
    headers: &HeaderMap,
    identified: impl Future<Output = Result<Known, Problem>>,
) -> Result<Known, Problem> {
    let (shown, now) = (headers.get(header::AUTHORIZATION).and_then(tokens::shown), Instant::now());
    let problem = match timeout(PATIENCE, identified).await {
        Ok(Ok(known)) => {
            if known.0.token.is_some() {
                app.readers().remember(&known.0, now);
            }
            return Ok(known);
        }
        Ok(Err(problem)) if problem.code != "store_unavailable" => {
            shown.inspect(|session| app.readers().forget(session));
            return Err(problem);
        }
        Ok(Err(problem)) => problem,
        Err(_) => StoreError::Again("the database does not answer").into(),
    };
    let remembered = shown.and_then(|session| app.readers().recall(&session, now));
    remembered.map(|visitor| (visitor, None)).ok_or(problem)
}

/// What the store counts; nothing while it is away.
async fn census(app: &App) -> Result<Option<Census>, Problem> {
    match timeout(PATIENCE, store::census::take(app.pool())).await {
        Ok(Ok(census)) => Ok(Some(census)),
        Ok(Err(e)) if !e.is_unavailable() => Err(e.into()),
        Ok(Err(e)) => {
            tracing::warn!("what the database counts cannot be told: {e}");
            Ok(None)
        }
        Err(_) => {
            tracing::warn!("what the database counts cannot be told: it does not answer");
            Ok(None)
        }
    }
}

/// `GET /metrics`
pub(crate) async fn page(State(app): State<App>, visitor: Visitor) -> Result<Response, Problem> {
    let census = census(&app).await?;
    let mut registry = Registry::with_prefix("firebreak");
    let build = Family::<Build, Gauge>::default();
    build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("build_info", "The version, as a label", build);
    app.engine().measure(&mut registry);
    let about = "Whether the database answers (1 or 0); while it does not, what is counted there is missing";
    registry.register("database_up", about, ConstGauge::new(i64::from(census.is_some())));
    if let Some(census) = census {
        tell(&census, app.now(), &mut registry);
    }
    if let Some(token) = visitor.token {
        let about = "When the token expires that these numbers are read with (Unix time)";
        let at = ConstGauge::new(token.expires_at.timestamp());
        registry.register_with_unit("token_expires_timestamp", about, Unit::Seconds, at);
    }
    let about = "Requests over HTTP, until their answer began";
    registry.register_with_unit("http_request", about, Unit::Seconds, app.answers().0.clone());
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).map_err(|e| Problem::internal(e.to_string()))?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn tell(census: &Census, now: Timestamp, registry: &mut Registry) {
    let runs = Family::<InState, Gauge>::default();
    for (state, n) in &census.runs {
        runs.get_or_create(&InState { state: state.clone() }).set(*n);
    }
    registry.register("runs", "Runs that have not ended, by state", runs);
    let oldest = census.oldest_message.map_or(0.0, |at| (now - at).as_seconds_f64().max(0.0));
    for (name, about, n) in [
        ("runs_undriven", "Runs whose worker is gone, and that no other has taken over yet", census.undriven),
        ("workers", "Processes that have a lease", census.workers),
        ("kill_switches", "Kill switches that are on", census.switches),
        ("incidents_open", "Incidents that are open", census.incidents),
        ("signals_firing", "Signals that fire", census.firing),
        ("messages_waiting", "Messages that their channel has not taken yet", census.messages),
        ("reviews_open", "Broken glass that nobody has reviewed", census.reviews),
    ] {
        registry.register(name, about, ConstGauge::new(n));
    }
    let about = "How long the oldest of these messages has waited";
    registry.register_with_unit("messages_oldest", about, Unit::Seconds, ConstGauge::new(oldest));
}

#[cfg(test)]
mod tests {
    use domain::Role;

    use super::*;

    #[test]
    fn a_reader_is_remembered_for_an_hour_and_forgotten_when_the_token_is_bad() {
        let visitor = |session: &[u8]| Visitor {
            person: "prometheus".into(),
            role: Role::Viewer,
            csrf: String::new(),
            groups: Vec::new(),
            token: None,
            session: session.to_vec(),
        };
        let (readers, begin) = (Readers::default(), Instant::now());
        let minutes = |n: u64| begin + Duration::from_secs(60 * n);
        readers.remember(&visitor(b"a"), begin);
        readers.remember(&visitor(b"b"), begin);
        assert_eq!(readers.recall(b"a", minutes(59)).unwrap().person, "prometheus");
        assert!(readers.recall(b"c", begin).is_none() && readers.recall(b"a", minutes(60)).is_none());
        readers.forget(b"a");
        assert!(readers.recall(b"a", begin).is_none());
        readers.remember(&visitor(b"c"), minutes(60));
        assert_eq!(readers.0.lock().unwrap().len(), 1, "whoever reads no more takes no room");
    }
}
