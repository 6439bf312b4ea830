//! Everything that comes in over HTTP: pages for people, JSON for programs, alerts of machines.
//!
//! ```text
//!  request ─▶ routes (who may?) ─▶ session (who is it?) ─▶ web | api ─▶ engine (start, plan, ask)
//!                                                            └─▶ store (what is shown)
//!  Problem ◀─────────────── whatever goes wrong, told as a page or as problem+json
//! ```
//!
//! - `routes`: the one table of all routes, each with who may use it and how long it may take.
//! - `session`: sign-in links, cookies, the token that every form carries back.
//! - `proxy`: one in front that signs people in by a header. `oidc`: a provider that does, by OpenID Connect.
//! - `people`: what an admin sees and ends of others.
//! - `tokens`: what programs show instead; `limits`: how often they may ask; `idempotency`: the same request again.
//! - `error`: the one place that turns a failure into HTTP.
//! - `web`: pages, drawn from Postgres alone. `api`: the same as JSON. `events`: "look again", over SSE; `watched`:
//!   who looks at the same page is told together.
//! - `drills`: practice on a simulated world, and the stage on which it is played.
//! - `docs`: what each error code means, as pages.
//! - `hooks`: alerts of other systems, each source proving itself by a signature or a token.
//! - `slack`: what people type and press in Slack.
//! - `obstacles`: what stands between a plan and its start, and the way past it.
//! - `words`: how things are said; `particulars`: what the audit keeps beside an act.
//! - `situation`, `plans`, `run`, `incident`: what pages and JSON show, worked out once for both. `on_it`: who is at work, or waits.
//!
//! It asks and shows; what may happen is decided in `domain` and `engine`. Deliberately absent: SQL, AWS, rules about runs.

mod api;
mod app;
mod assets;
mod chart;
mod docs;
mod drills;
mod error;
mod events;
mod hooks;
mod idempotency;
mod ids;
mod incident;
mod limits;
mod metrics;
mod obstacles;
mod oidc;
mod on_it;
mod particulars;
mod people;
mod plans;
mod proxy;
mod routes;
mod run;
mod session;
mod situation;
mod slack;
#[cfg(test)]
mod tests;
mod tokens;
mod watched;
mod web;
mod words;

pub use app::{OnStage, Settings};
pub use drills::{DrillError, Drills, Offer, Playing, Stage, staged};
pub use hooks::{Authority, Get, Hooks, Proof, Secret, Sns, Source};
pub use oidc::{
    Algorithm, Ask as AskProvider, Metadata, NoSuchAlgorithm, Oidc, OidcSettings, Refusal, is_safe,
};
pub use proxy::TrustedProxy;
pub use routes::{answers_within, router};
pub use session::{LINK_VALID, LinkError, sign_in_link};
pub use slack::{COMMAND as SLACK_COMMAND, PATHS as SLACK_PATHS, Slack};
pub use tokens::{TokenError, make_token};
