//! The one table of all routes: who may use each, and how long it may take. What is not in it does not exist.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{Redirect, Response};
use axum::routing::{MethodRouter, get, post};
use domain::Role;
use engine::Engine;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;

use crate::app::{App, Settings};
use crate::{api, assets, docs, error, events, hooks, idempotency, metrics, run, session, slack, web};

/// The largest request that is read, in bytes, where the route says nothing else.
pub(crate) const BODY_LIMIT: usize = 256 * 1024;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everybody: what must work before anybody is signed in.
    Public,
    /// Whoever has a session; to change something, with its token.
    SignedIn,
    /// An alert source, or Slack, that proves itself by a signature or a token: see `hooks` and `slack`.
    Source,
}

/// How long a request may take (wall time).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Answered from Postgres alone.
    Quick,
    /// Looks at the world.
    Looking,
    /// Lasts as long as somebody listens.
    Stream,
}

impl Pace {
    fn limit(self) -> Option<Duration> {
        match self {
            Self::Quick => Some(Duration::from_secs(20)),
            Self::Looking => Some(Duration::from_secs(180)),
            Self::Stream => None,
        }
    }
}

/// One route.
pub(crate) struct Route {
    /// Its method, in capitals.
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pace: Pace,
    /// The same request again does nothing again by what the request itself says.
    own_key: bool,
    /// It bounds by itself what it reads.
    own_limit: bool,
    /// The least role that it does anything for. Only told here, on `/docs/permissions`: the engine sees to it, and a test to it
    /// that both say the same.
    pub(crate) needs: Role,
    serve: MethodRouter<App>,
}

impl Route {
    fn own_key(self) -> Self {
        Self { own_key: true, ..self }
    }

    fn own_limit(self) -> Self {
        Self { own_limit: true, ..self }
    }

    fn needs(self, needs: Role) -> Self {
        Self { needs, ..self }
    }
}

/// All routes.
pub(crate) fn table() -> Vec<Route> {
    use Access::{Public, SignedIn, Source};
    use Pace::{Looking, Quick, Stream};
    use Role::{Admin, Approver, Viewer};
    let look = |path, access, pace, serve| Route {
        method: "GET",
        path,
        access,
        pace,
        own_key: false,
        own_limit: false,
        needs: Role::Viewer,
        serve,
    };
    let act = |path, access, pace, serve| Route {
        method: "POST",
        path,
        access,
        pace,
        own_key: false,
        own_limit: false,
        needs: Role::Responder,
        serve,
    };
    vec![
        // For people.
        look("/", SignedIn, Quick, get(web::situation::page)),
        look("/events", SignedIn, Stream, get(events::situation)),
        look("/runbooks", SignedIn, Quick, get(web::runbooks::list)),
        look("/runbooks/{name}", SignedIn, Quick, get(web::runbooks::page)),
        act("/runbooks/{name}/plan", SignedIn, Looking, post(web::runbooks::plan)).needs(Viewer),
        act("/runbooks/{name}/start", SignedIn, Looking, post(web::runbooks::start)),
        look("/readiness", SignedIn, Quick, get(web::readiness::page)),
        act("/readiness", SignedIn, Looking, post(web::readiness::rehearse)).needs(Viewer),
        look("/runs", SignedIn, Quick, get(web::runs::list)),
        look("/runs/{id}", SignedIn, Quick, get(web::runs::page)),
        look("/runs/{id}/by-hand", SignedIn, Quick, get(run::by_hand::rest)),
        look("/runs/{id}/events", SignedIn, Stream, get(events::run)),
        act("/runs/{id}/ask", SignedIn, Quick, post(web::runs::ask)),
        look("/signals", SignedIn, Quick, get(web::signals::list)),
        look("/signals/{id}", SignedIn, Quick, get(web::signals::page)),
        act("/signals/{id}/start", SignedIn, Looking, post(web::signals::start)),
        act("/signals/{id}/dismiss", SignedIn, Quick, post(web::signals::dismiss)),
        act("/signals/{id}/judge", SignedIn, Quick, post(web::signals::judge)),
        look("/incidents", SignedIn, Quick, get(web::incidents::list)),
        act("/incidents", SignedIn, Quick, post(web::incidents::open)),
        look("/incidents/{id}", SignedIn, Quick, get(web::incidents::page)),
        act("/incidents/{id}/ask", SignedIn, Quick, post(web::incidents::ask)),
        look("/incidents/{id}/post-mortem.md", SignedIn, Quick, get(web::incidents::post_mortem)),
        look("/triggers", SignedIn, Quick, get(web::triggers::page)),
        act("/triggers/mode", SignedIn, Quick, post(web::triggers::set_mode)),
        look("/outbox", SignedIn, Quick, get(web::outbox::page)),
        look("/audit", SignedIn, Quick, get(web::audit::page)),
        look("/brakes", SignedIn, Quick, get(web::brakes::page)),
        act("/brakes/stop", SignedIn, Quick, post(web::brakes::stop)),
        act("/brakes/allow", SignedIn, Quick, post(web::brakes::allow)),
        act("/brakes/freezes", SignedIn, Quick, post(web::brakes::freeze)),
        act("/brakes/freezes/import", SignedIn, Quick, post(web::brakes::import)),
        act("/brakes/freezes/{id}/lift", SignedIn, Quick, post(web::brakes::lift)),
        act("/brakes/locks", SignedIn, Quick, post(web::brakes::take)),
        act("/brakes/locks/give-back", SignedIn, Quick, post(web::brakes::give_back)),
        act("/brakes/locks/force", SignedIn, Quick, post(web::brakes::force)).needs(Admin),
        act("/reviews/{number}/close", SignedIn, Quick, post(web::audit::close)).needs(Approver),
        look("/drills", SignedIn, Quick, get(web::drills::list)),
        act("/drills", SignedIn, Looking, post(web::drills::start)),
        look("/drills/{id}", SignedIn, Quick, get(web::drills::page)),
        act("/drills/{id}/end", SignedIn, Looking, post(web::drills::end)),
        act("/drills/{id}/leave", SignedIn, Looking, post(web::drills::leave)),
        look("/settings", SignedIn, Quick, get(web::settings::page)),
        act("/settings/tokens", SignedIn, Quick, post(web::settings::make)).needs(Viewer),
        act("/settings/tokens/{id}/revoke", SignedIn, Quick, post(web::settings::revoke)).needs(Viewer),
        act("/settings/sign-out-everywhere", SignedIn, Quick, post(web::settings::sign_out_everywhere))
            .needs(Viewer),
        act("/settings/people/sign-out", SignedIn, Quick, post(web::people::sign_out)).needs(Admin),
        act("/settings/people/revoke-tokens", SignedIn, Quick, post(web::people::revoke_tokens)).needs(Admin),
        act("/settings/people/let-go", SignedIn, Quick, post(web::people::let_go)).needs(Admin),
        look("/docs/permissions", SignedIn, Quick, get(web::permissions::page)),
        look("/sign-in", Public, Quick, get(web::sign_in::how)),
        look("/sign-in/with-provider", Public, Quick, get(web::provider::depart)),
        look("/sign-in/callback", Public, Quick, get(web::provider::arrive)),
        act("/sign-in/back-channel", Public, Quick, post(web::provider::back_channel)),
        look("/sign-in/{token}", Public, Quick, get(web::sign_in::page)),
        act("/sign-in/{token}", Public, Quick, post(web::sign_in::sign_in)),
        act("/sign-out", SignedIn, Quick, post(web::provider::sign_out)).needs(Viewer),
        look("/docs/errors", Public, Quick, get(docs::list)),
        look("/docs/errors/{code}", Public, Quick, get(docs::one)),
        look("/static/{hash}/{name}", Public, Quick, get(assets::serve)),
        // For programs.
        look("/api/v1/session", SignedIn, Quick, get(api::session)),
        look("/api/v1/situation", SignedIn, Quick, get(api::situation)),
        look("/api/v1/runbooks", SignedIn, Quick, get(api::runbooks::list)),
        look("/api/v1/runbooks/{name}", SignedIn, Quick, get(api::runbooks::one)),
        act("/api/v1/runbooks/{name}/plan", SignedIn, Looking, post(api::runbooks::plan))
            .own_key()
            .needs(Viewer),
        look("/api/v1/readiness", SignedIn, Quick, get(api::readiness::list)),
        act("/api/v1/readiness", SignedIn, Looking, post(api::readiness::rehearse)).own_key().needs(Viewer),
        look("/api/v1/runs", SignedIn, Quick, get(api::runs::list)),
        act("/api/v1/runs", SignedIn, Looking, post(api::runs::start)).own_key(),
        look("/api/v1/runs/{id}", SignedIn, Quick, get(api::runs::one)),
        look("/api/v1/runs/{id}/journal", SignedIn, Quick, get(api::runs::journal)),
        look("/api/v1/runs/{id}/proof", SignedIn, Quick, get(api::audit::proof)),
        look("/api/v1/audit", SignedIn, Quick, get(api::audit::search)),
        act("/api/v1/runs/{id}/ask", SignedIn, Quick, post(api::runs::ask)).own_key(),
        look("/api/v1/runs/{id}/events", SignedIn, Stream, get(events::run)),
        look("/api/v1/signals", SignedIn, Quick, get(api::signals::list)),
        look("/api/v1/signals/{id}", SignedIn, Quick, get(api::signals::one)),
        act("/api/v1/signals/{id}/start", SignedIn, Looking, post(api::signals::start)).own_key(),
        act("/api/v1/signals/{id}/dismiss", SignedIn, Quick, post(api::signals::dismiss)),
        act("/api/v1/signals/{id}/judge", SignedIn, Quick, post(api::signals::judge)),
        look("/api/v1/incidents", SignedIn, Quick, get(api::incidents::list)),
        act("/api/v1/incidents", SignedIn, Quick, post(api::incidents::open)),
        look("/api/v1/incidents/{incident}", SignedIn, Quick, get(api::incidents::one)),
        act("/api/v1/incidents/{incident}/ask", SignedIn, Quick, post(api::incidents::ask)),
        look(
            "/api/v1/incidents/{incident}/post-mortem.md",
            SignedIn,
            Quick,
            get(web::incidents::post_mortem),
        ),
        look("/api/v1/triggers", SignedIn, Quick, get(api::incidents::triggers)),
        act("/api/v1/triggers/mode", SignedIn, Quick, post(api::incidents::set_mode)),
        look("/api/v1/outbox", SignedIn, Quick, get(api::incidents::outbox)),
        look("/api/v1/brakes", SignedIn, Quick, get(api::brakes::in_force)),
        act("/api/v1/brakes/stop", SignedIn, Quick, post(api::brakes::stop)),
        act("/api/v1/brakes/allow", SignedIn, Quick, post(api::brakes::allow)),
        act("/api/v1/brakes/freezes", SignedIn, Quick, post(api::brakes::freeze)),
        act("/api/v1/brakes/freezes/import", SignedIn, Quick, post(api::brakes::import)),
        act("/api/v1/brakes/freezes/{id}/lift", SignedIn, Quick, post(api::brakes::lift)),
        act("/api/v1/brakes/locks", SignedIn, Quick, post(api::brakes::take)),
        act("/api/v1/brakes/locks/give-back", SignedIn, Quick, post(api::brakes::give_back)),
        act("/api/v1/brakes/locks/force", SignedIn, Quick, post(api::brakes::force)).needs(Admin),
        look("/api/v1/drills", SignedIn, Quick, get(api::drills::list)),
        act("/api/v1/drills", SignedIn, Looking, post(api::drills::start)),
        look("/api/v1/drills/{id}", SignedIn, Quick, get(api::drills::one)),
        act("/api/v1/drills/{id}/end", SignedIn, Looking, post(api::drills::end)),
        act("/api/v1/drills/{id}/leave", SignedIn, Looking, post(api::drills::leave)),
        look("/api/v1/reviews", SignedIn, Quick, get(api::reviews::list)),
        act("/api/v1/reviews/{number}/close", SignedIn, Quick, post(api::reviews::close)).needs(Approver),
        look("/api", SignedIn, Quick, get(api::openapi::page)),
        look("/api/v1/openapi.json", SignedIn, Quick, get(api::openapi::document)),
        look("/api/v1/tokens", SignedIn, Quick, get(api::tokens::list)),
        act("/api/v1/tokens", SignedIn, Quick, post(api::tokens::make)).own_key().needs(Viewer),
        act("/api/v1/tokens/{id}/revoke", SignedIn, Quick, post(api::tokens::revoke)).needs(Viewer),
        look("/api/v1/people", SignedIn, Quick, get(api::people::list)),
        act("/api/v1/people/sign-out", SignedIn, Quick, post(api::people::sign_out)).needs(Admin),
        act("/api/v1/people/revoke-tokens", SignedIn, Quick, post(api::people::revoke_tokens)).needs(Admin),
        act("/api/v1/people/let-go", SignedIn, Quick, post(api::people::let_go)).needs(Admin),
        look("/api/v1/slack/links", SignedIn, Quick, get(api::slack::list)),
        act("/api/v1/slack/links/{id}/remove", SignedIn, Quick, post(api::slack::remove)).needs(Viewer),
        look("/settings/slack/link/{token}", SignedIn, Quick, get(slack::link::page)),
        act("/settings/slack/link/{token}", SignedIn, Quick, post(slack::link::confirm)).needs(Viewer),
        act("/settings/slack/links/{id}/remove", SignedIn, Quick, post(slack::link::remove)).needs(Viewer),
        // For Slack.
        act(slack::PATHS[0], Source, Quick, post(slack::commands)),
        act(slack::PATHS[1], Source, Quick, post(slack::interactions)),
        // For machines.
        act("/hooks/{source}", Source, Quick, post(hooks::receive)).own_limit(),
        // For whoever keeps this process alive.
        look("/healthz", Public, Quick, get(api::healthy)),
        look("/readyz", Public, Quick, get(api::ready)),
        look(metrics::PATH, SignedIn, Quick, get(metrics::page)),
    ]
}

/// How long a request to this path may take here, so that whoever asks waits neither less nor much longer. A word in the place of one
/// in braces is anything; the query does not count.
#[must_use]
pub fn answers_within(method: &str, path: &str) -> Option<Duration> {
    let path = path.split('?').next().unwrap_or_default();
    let asked: Vec<&str> = path.split('/').collect();
    let is = |route: &Route| {
        let words = route.path.split('/');
        words.clone().count() == asked.len()
            && words.zip(&asked).all(|(word, asked)| word == *asked || word.starts_with('{'))
    };
    table().iter().find(|route| route.method == method && is(route))?.pace.limit()
}

/// Is it a program that asks for this? Then it may show a token, and what goes wrong is told as JSON.
pub(crate) fn is_for_programs(path: &str) -> bool {
    path.starts_with("/api/") || path == metrics::PATH
}

/// Pages that only act have an address, too, which people copy and reload: whoever opens it is led to the page above it. So many
/// segments of the address are that page's.
fn above(path: &str, looks: &BTreeSet<&str>) -> usize {
    let parts: Vec<&str> = path.split('/').collect();
    (1..parts.len()).rev().find(|n| looks.contains(parts[..*n].join("/").as_str())).unwrap_or_default()
}

fn lead_up(segments: usize) -> MethodRouter<App> {
    get(move |uri: Uri| async move {
        let page = uri.path().split('/').take(segments).collect::<Vec<_>>().join("/");
        Redirect::to(if page.is_empty() { "/" } else { &page })
    })
}

/// Everything this server answers.
pub fn router(engine: Engine, settings: Settings) -> Router {
    let app = App::new(engine, settings);
    let mut router = Router::new();
    let looks: BTreeSet<&str> = table().iter().filter(|r| r.method == "GET").map(|r| r.path).collect();
    for Route { method, path, access, pace, own_key, own_limit, mut serve, .. } in table() {
        tracing::debug!(method, path, ?access, "route");
        if method == "POST" && path.starts_with("/api/") && !own_key {
            serve = serve.route_layer(from_fn_with_state(app.clone(), idempotency::once));
        }
        if access == Access::SignedIn {
            serve = serve.route_layer(from_fn_with_state(app.clone(), session::require));
        }
        if !own_limit {
            serve = serve.route_layer(RequestBodyLimitLayer::new(BODY_LIMIT));
        }
        if let Some(limit) = pace.limit() {
            serve = serve.route_layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, limit));
        }
        // The same path with another method is added to what is there.
        router = router.route(path, serve);
        if method == "POST" && access != Access::Source && !path.starts_with("/api/") && !looks.contains(path)
        {
            router = router.route(path, lead_up(above(path, &looks)));
        }
    }
    let mut router = router
        .layer(from_fn(web::same_origin))
        .layer(CatchPanicLayer::new())
        .layer(from_fn_with_state(app.clone(), error::render))
        .layer(from_fn_with_state(app.clone(), metrics::count));
    if let Some(drill) = app.settings().drill.clone() {
        // A page that is open tells by it that the drill has come to its end.
        let told = move |_: &Response| {
            let page = drill.is_over().then(|| drill.page())?;
            HeaderValue::from_str(&page).ok()
        };
        router = router.layer(SetResponseHeaderLayer::if_not_present(DRILL_OVER, told));
    }
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        router = router.layer(SetResponseHeaderLayer::if_not_present(name, value));
    }
    router.with_state(app)
}

/// Where the score of the drill is whose world this is, once it is over.
const DRILL_OVER: HeaderName = HeaderName::from_static("x-drill-over");

/// On every answer. Pages carry no script or style of their own, so none may be smuggled in.
const HEADERS: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];
