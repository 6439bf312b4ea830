//! `GET /metrics`: this process and what all processes share, in the words of Prometheus.
//!
//! A snapshot for whoever keeps Firebreak alive: what to be woken for is in `deploy/prometheus-rules.yaml`. It takes a token
//! of any role, as every look does (`authorization` in a scrape configuration). Three sources: what the engine counts on its way, what
//! the store counts when it is asked, and how requests were answered, which is counted here.
//!
//! The numbers of the store are the same from every replica: read them by `max`, not by `sum`.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use store::census::Census;

use crate::app::App;
use crate::error::Problem;

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

/// `GET /metrics`
pub(crate) async fn page(State(app): State<App>) -> Result<Response, Problem> {
    let census = store::census::take(app.pool()).await?;
    let mut registry = Registry::with_prefix("firebreak");
    let build = Family::<Build, Gauge>::default();
    build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
    registry.register("build_info", "The version, as a label", build);
    app.engine().measure(&mut registry);
    tell(&census, app.now(), &mut registry);
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
