//! What people type of an id: its beginning or its end, among the newest of its kind.

use axum::response::{IntoResponse, Redirect, Response};
use store::pages::RunFilter;
use store::signals::SignalFilter;
use uuid::Uuid;

use crate::app::App;
use crate::error::{Problem, Thing};
use crate::incident;

/// Among so many of the newest it is looked for: what is older is named in full.
pub(crate) const AMONG: i64 = 1000;

/// Does it begin or end like this?
pub(crate) fn is_like(id: Uuid, part: &str) -> bool {
    let (id, part) = (id.to_string(), part.trim().to_lowercase());
    id.starts_with(&part) || id.ends_with(&part)
}

/// The only one that begins or ends like this; nobody in particular is meant by a few characters.
pub(crate) fn one_of(ids: impl Iterator<Item = Uuid>, word: &str) -> Option<Uuid> {
    let mut found = ids.filter(|id| word.trim().len() >= 4 && is_like(*id, word));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The one that is meant by an id or a part of it, where somebody only wants to look. What acts takes ids in full.
pub(crate) async fn meant(app: &App, thing: Thing, word: &str) -> Result<Uuid, Problem> {
    if let Ok(id) = word.trim().parse() {
        return Ok(id);
    }
    let newest: Vec<Uuid> = match thing {
        Thing::Run => {
            let runs = store::pages::runs(app.pool(), &RunFilter::default(), AMONG).await?;
            runs.iter().map(|run| run.id).collect()
        }
        Thing::Signal => {
            let all = SignalFilter { firing: false, before: None };
            let signals = store::signals::list(app.pool(), all, AMONG).await?;
            signals.iter().map(|signal| signal.id).collect()
        }
        Thing::Drill => {
            let drills = store::drills::newest(app.people(), AMONG).await?;
            drills.iter().map(|drill| drill.id).collect()
        }
        Thing::Incident => return incident::find(app, word).await,
    };
    one_of(newest.into_iter(), word).ok_or_else(|| Problem::no_such(thing))
}

/// On to the page's own address, of which only a part of the id was given.
pub(crate) async fn in_full(
    app: &App,
    thing: Thing,
    (pages, word): (&str, &str),
    query: Option<&str>,
) -> Result<Response, Problem> {
    let id = meant(app, thing, word).await?;
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Ok(Redirect::to(&format!("{pages}/{id}{query}")).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_by_either_end_when_only_one_has_it() {
        let ids = ["018f0000-0000-7000-8000-00000000aaaa", "018f0000-0000-7000-8000-00000000bbbb"];
        let ids = ids.map(|id| id.parse::<Uuid>().unwrap());
        assert_eq!(one_of(ids.into_iter(), "0000AAAA"), Some(ids[0]));
        assert_eq!(one_of(ids.into_iter(), "018f0000"), None, "both begin like this");
        for short in ["aaa", "a   ", "    "] {
            assert_eq!(one_of(ids.into_iter().take(1), short), None, "too short to mean one");
        }
    }
}
