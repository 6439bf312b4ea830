//! Who is on it already: whoever holds a target of what is advised, or has asked for a run that will lock it.
//!
//! A run that waits for an approval holds no lock, and one that has stopped holds its locks and does nothing. Each is told as what
//! it is: else a second run is started beside the first, or everybody waits for a run that waits for them.

use domain::run::State;
use serde::Serialize;
use store::locks::Held;
use uuid::Uuid;

use crate::app::App;
use crate::error::Problem;
use crate::words;

/// A run or a person, and how it stands with them.
#[derive(Debug, Serialize)]
pub(crate) struct OnIt {
    #[serde(flatten)]
    pub(crate) held: Held,
    pub(crate) stands: Stands,
    /// Whose approval it waits for, or why it has stopped; nothing where that cannot be told.
    pub(crate) why: Option<String>,
}

/// Does it go on by itself?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stands {
    AtWork,
    WaitsForApproval,
    /// A person must decide.
    Stopped,
}

impl OnIt {
    /// Reads how it stands with a holder.
    pub(crate) async fn of(app: &App, held: Held) -> Result<Self, Problem> {
        let stands = match held.state.as_deref() {
            Some("waiting_for_approval") => Stands::WaitsForApproval,
            Some(state) if words::needs_a_person(state) => Stands::Stopped,
            _ => Stands::AtWork,
        };
        let why = match held.run_id {
            Some(run) if stands != Stands::AtWork => why(app, run).await?,
            _ => None,
        };
        Ok(Self { held, stands, why })
    }

    /// What it waits for, in words.
    pub(crate) fn awaited(&self) -> &str {
        self.why.as_deref().unwrap_or("an approver")
    }
}

/// What a run waits for. A journal that cannot be read makes a run stuck, and its row says so; the rest is to be seen all the same.
async fn why(app: &App, run: Uuid) -> Result<Option<String>, Problem> {
    let pool = app.pool();
    let state = store::runs::journal(pool, run).await.ok().and_then(|journal| State::replay(&journal).ok());
    let told = state.as_ref().and_then(|state| {
        let stopped = state.paused().map(|pause| pause.why.clone());
        stopped.or_else(|| state.open_ballots().next().map(|(_, ballot)| ballot.needs.to_string()))
    });
    match told {
        Some(told) => Ok(Some(told)),
        None => Ok(store::pages::run(pool, run).await?.and_then(|row| row.message)),
    }
}
