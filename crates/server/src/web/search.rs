//! What the audit is asked for, as the page's form and the API's query say it.

use axum::http::StatusCode;
use chrono::{NaiveDate, NaiveDateTime, TimeDelta};
use domain::Timestamp;
use serde::Deserialize;
use store::search::{Found, Search, search};

use super::cursor::{cursor, read_cursor};
use crate::app::App;
use crate::error::{Problem, Thing};
use crate::ids;

/// On one page.
const PAGE: usize = 100;

/// The fields of the form; an empty one fits everything.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub(crate) struct Filter {
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) target: String,
    pub(crate) step: String,
    pub(crate) run: String,
    pub(crate) text: String,
    pub(crate) since: String,
    pub(crate) until: String,
    /// A cursor, from the page before.
    after: String,
    /// How many at most; never more than a page.
    limit: Option<u32>,
}

impl Filter {
    async fn read(&self, app: &App) -> Result<Search, Problem> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|t| !t.is_empty());
        let run = match given(&self.run) {
            Some(word) => Some(ids::meant(app, Thing::Run, &word).await?),
            None => None,
        };
        Ok(Search {
            actor: given(&self.actor),
            action: given(&self.action),
            target: given(&self.target),
            step: given(&self.step),
            run,
            text: given(&self.text),
            since: given(&self.since).map(|text| time(&text, app.now())).transpose()?,
            until: given(&self.until).map(|text| time(&text, app.now())).transpose()?,
            after: given(&self.after).map(|text| read_cursor(&text, ("Audit", "/audit"))).transpose()?,
        })
    }

    /// The fields that are set, by name.
    fn set(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let Self { actor, action, target, step, run, text, since, until, after: _, limit: _ } = self;
        let all = [
            ("actor", actor),
            ("action", action),
            ("target", target),
            ("step", step),
            ("run", run),
            ("text", text),
            ("since", since),
            ("until", until),
        ];
        all.into_iter().map(|(name, value)| (name, value.trim())).filter(|(_, value)| !value.is_empty())
    }

    /// The query of the next page.
    pub(crate) fn next(&self, cursor: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.set()).append_pair("after", cursor);
        query.finish()
    }
}

/// One page, and where the next one begins.
pub(crate) async fn some(app: &App, filter: &Filter) -> Result<(Vec<Found>, Option<String>), Problem> {
    let most = filter.limit.and_then(|limit| usize::try_from(limit).ok());
    let most = most.map_or(PAGE, |most| most.clamp(1, PAGE));
    let limit = i64::try_from(most + 1).unwrap_or(i64::MAX);
    let mut found = search(app.pool(), &filter.read(app).await?, limit).await?;
    let more = found.len() > most;
    found.truncate(most);
    let last = found.last().filter(|_| more);
    let next = last.map(|last| cursor(last.at, &last.key));
    Ok((found, next))
}

/// A day, a minute of a day, or a time as programs write it, all in UTC; or how long ago it was.
fn time(text: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    let ago = humantime::parse_duration(text).ok().and_then(|ago| TimeDelta::from_std(ago).ok());
    if let Some(then) = ago.and_then(|ago| now.checked_sub_signed(ago)) {
        return Ok(then);
    }
    let day = NaiveDate::parse_from_str(text, "%F").map(|day| day.and_time(chrono::NaiveTime::MIN));
    let minute = |form| NaiveDateTime::parse_from_str(text, form);
    text.parse::<Timestamp>()
        .or_else(|_| day.or_else(|_| minute("%FT%R")).or_else(|_| minute("%F %R")).map(|at| at.and_utc()))
        .map_err(|_| bad(text, "a time, such as 2024-05-07, 2024-05-07T14:42 (UTC), or 2h for two hours ago"))
}

fn bad(text: &str, wanted: &str) -> Problem {
    let detail = format!("`{text}` is not {wanted}.");
    Problem::new(StatusCode::BAD_REQUEST, "bad_filter", detail).link("Audit", "/audit")
}
