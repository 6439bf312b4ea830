//! "Look again", over server-sent events. A page that hears it fetches its fresh self; one that hears nothing polls.
//!
//! An event says only how many seconds later the page had better look again by itself. It carries no content, so a lost one
//! costs nothing and none can show what its reader may not see.
//!
//! While there is nothing to say, it says every ten seconds that it is alive: as an event, because no script sees a comment. Whoever
//! does not hear it any more knows that the connection is gone, also where the network said nothing of it.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use futures::stream;
use uuid::Uuid;

use crate::app::App;
use crate::error::{Problem, Thing};
use crate::watched::Subject;

type Events = Sse<
    axum::response::sse::KeepAliveStream<
        std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>,
    >,
>;

/// A stream is never silent for longer: what a page makes of it stands in `web/static/live.js`.
const ALIVE: Duration = Duration::from_secs(10);

/// `GET /events`: fleets, signals and runs.
pub(crate) async fn situation(State(app): State<App>) -> Events {
    told(&app, Subject::Situation)
}

/// `GET /runs/{id}/events`: one run.
pub(crate) async fn run(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Events, Problem> {
    store::pages::run(app.pool(), id).await?.ok_or_else(|| Problem::no_such(Thing::Run))?;
    Ok(told(&app, Subject::Run(id)))
}

fn told(app: &App, subject: Subject) -> Events {
    let ear = app.watched().open(app, subject);
    let ending = app.settings().ending.clone();
    let events = stream::unfold((ear, ending, true), |(mut ear, mut ending, first)| async move {
        // The first one at once: whatever happened between the page's drawing and this stream's opening is made up for.
        let more = first
            || tokio::select! {
                _ = ending.wait_for(|ending| *ending) => false,
                told = ear.told() => told,
            };
        let pace = ear.pace().as_secs().to_string();
        more.then(|| (Ok(Event::default().event("changed").data(pace)), (ear, ending, false)))
    });
    let events: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(events);
    let alive = Event::default().event("alive").data("still here");
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE).event(alive))
}
