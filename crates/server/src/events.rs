//! "Look again", over server-sent events. A page that hears it fetches its fresh self; one that hears nothing polls.
//!
//! Events carry no content, so a lost one costs nothing and none can show what its reader may not see.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use engine::Topic;
use futures::Stream;
use futures::stream;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::watch;
use uuid::Uuid;

use crate::app::App;
use crate::error::Problem;

/// At most five events a second, however fast a run moves.
const GATHER: Duration = Duration::from_millis(200);

type Events = Sse<
    axum::response::sse::KeepAliveStream<
        std::pin::Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>,
    >,
>;

/// `GET /events`: fleets, signals and runs.
pub(crate) async fn situation(State(app): State<App>) -> Events {
    told(&app, |topic| matches!(topic, Topic::Fleets | Topic::Brakes | Topic::Signals | Topic::Run(_)))
}

/// `GET /runs/{id}/events`: one run.
pub(crate) async fn run(State(app): State<App>, Path(id): Path<Uuid>) -> Result<Events, Problem> {
    store::pages::run(app.pool(), id).await?.ok_or_else(|| Problem::not_found("such run"))?;
    Ok(told(&app, move |topic| matches!(topic, Topic::Run(of) | Topic::Inbox(of) if of == id)))
}

struct Ear<F> {
    topics: Receiver<Topic>,
    ending: watch::Receiver<bool>,
    wanted: F,
    first: bool,
}

fn told(app: &App, wanted: impl Fn(Topic) -> bool + Send + 'static) -> Events {
    let ending = app.settings().ending.clone();
    let ear = Ear { topics: app.engine().listen(), ending, wanted, first: true };
    let events = stream::unfold(ear, |mut ear| async move {
        // The first one at once: whatever happened between the page's drawing and this stream's opening is made up for.
        if !std::mem::take(&mut ear.first) {
            ear.next().await?;
        }
        Some((Ok(Event::default().event("changed").data("")), ear))
    });
    let events: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(events);
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(10)))
}

impl<F: Fn(Topic) -> bool> Ear<F> {
    /// Waits for something of interest and gathers what follows closely; `None` when the process ends.
    async fn next(&mut self) -> Option<()> {
        loop {
            tokio::select! {
                _ = self.ending.wait_for(|ending| *ending) => return None,
                topic = self.topics.recv() => match topic {
                    Ok(topic) if (self.wanted)(topic) => break,
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return None,
                },
            }
        }
        tokio::select! {
            _ = self.ending.wait_for(|ending| *ending) => return None,
            () = tokio::time::sleep(GATHER) => {}
        }
        while let Ok(_) | Err(TryRecvError::Lagged(_)) = self.topics.try_recv() {}
        Some(())
    }
}
