//! Drills: which there are, the one that is played, and how those went that were played.

use askama::Template;
use axum::Form;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::TimeDelta;
use domain::drill::{Curve, Player, Score};
use store::drills::Drill;
use store::fleets::Sample;
use uuid::Uuid;

use super::form::field;
use super::{Frame, html, is_fragment};
use crate::app::{App, to_the_end};
use crate::chart::{self, Chart, HEIGHT, WIDTH};
use crate::drills::{DrillError, Offer, Playing};
use crate::error::{Problem, Thing};
use crate::ids;
use crate::session::Visitor;
use crate::words;

/// So many that were played are listed.
pub(crate) const PLAYED: i64 = 30;

#[derive(Template)]
#[template(path = "drills.html", blocks = ["main"])]
struct List {
    frame: Frame,
    /// Nothing, where none can be played.
    offers: Option<Vec<Offer>>,
    playing: Option<Playing>,
    played: Vec<Drill>,
    simulated: bool,
}

/// `GET /drills`
pub(crate) async fn list(
    State(app): State<App>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let drills = app.settings().drills.clone();
    let page = List {
        frame: Frame::new(&app, &visitor, "drills", "Drills").live("/events"),
        offers: drills.as_ref().map(|drills| drills.offers()),
        playing: drills.and_then(|drills| drills.playing()),
        played: store::drills::newest(app.people(), PLAYED).await?,
        simulated: app.settings().simulated,
    };
    if is_fragment(&headers) { html(&page.as_main()) } else { html(&page) }
}

#[derive(Template)]
#[template(path = "drill.html", blocks = ["main"])]
struct Page {
    frame: Frame,
    drill: Drill,
    playing: Option<Playing>,
    chart: Option<Chart>,
}

impl Page {
    fn seconds(&self, seconds: &Option<i64>) -> String {
        seconds.map_or_else(|| "–".into(), |s| words::span(TimeDelta::seconds(s)))
    }

    /// The row's name, here, and in reality.
    fn rows(&self, score: &Score) -> Vec<(&'static str, String, Option<String>)> {
        let real = score.reality.as_ref();
        let at = |seconds: i64| words::span(TimeDelta::seconds(seconds));
        let share = |share: f64| words::share(&share);
        vec![
            (
                "Trouble to decision",
                self.seconds(&score.seconds_to_decision),
                real.map(|r| at(r.seconds_to_decision)),
            ),
            (
                "Trouble to first change",
                self.seconds(&score.seconds_to_first_change),
                real.map(|_| "not told".into()),
            ),
            (
                "Trouble to all well",
                self.seconds(&score.seconds_to_recovered),
                real.map(|r| at(r.seconds_to_recovered)),
            ),
            (
                "Most requests that failed at once",
                share(score.error_share_peak),
                real.map(|r| share(r.error_share_peak)),
            ),
        ]
    }

    fn thousands(&self, count: &f64) -> String {
        let digits = format!("{count:.0}");
        let groups: Vec<&str> =
            digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
        groups.join("\u{202f}")
    }

    /// How it compares with reality, in a sentence.
    fn sooner(&self, score: &Score) -> Option<String> {
        let sooner = score.sooner_than_reality()?;
        let span = words::span(TimeDelta::seconds(sooner.abs()));
        Some(if sooner >= 0 {
            format!("All well {span} sooner than in reality.")
        } else {
            format!("All well {span} later than in reality.")
        })
    }

    fn since_trigger(&self, playing: &Playing) -> String {
        let since = playing.now - playing.trigger;
        if since < TimeDelta::zero() {
            format!("It goes wrong in {}.", words::span(-since))
        } else {
            format!("It went wrong {} ago.", words::span(since))
        }
    }

    fn played_at(&self, seconds: &i64) -> String {
        words::offset(TimeDelta::seconds(*seconds))
    }
}

/// Curves beside each other, from shortly before it goes wrong.
fn draw(curves: &[(&str, &'static str, &Curve)]) -> Option<Chart> {
    let begin = domain::Timestamp::from_timestamp(0, 0)?;
    let at = |seconds: i64| begin + TimeDelta::seconds(seconds);
    let last = curves.iter().flat_map(|(_, _, curve)| curve.last()).map(|(s, _)| *s).max()?;
    let lines = curves.iter().filter(|(_, _, curve)| !curve.is_empty()).map(|(name, class, curve)| {
        let samples =
            curve.iter().map(|(s, value)| Sample { subject: (*name).to_owned(), at: at(*s), value: *value });
        (*class, samples.collect::<Vec<_>>())
    });
    let first = curves.iter().flat_map(|(_, _, curve)| curve.first()).map(|(s, _)| *s).min()?;
    chart::beside("Share of requests that fail", lines.collect(), (at(first), at(last)), |at| {
        words::offset(*at - begin)
    })
}

/// One of them, and how it stands while it is on.
pub(crate) async fn find(app: &App, id: Uuid) -> Result<(Drill, Option<Playing>), Problem> {
    let drill = store::drills::one(app.people(), id).await?;
    let drill = drill.ok_or_else(|| Problem::no_such(Thing::Drill))?;
    let playing = app.settings().drills.as_ref().and_then(|drills| drills.playing());
    Ok((drill, playing.filter(|on| on.id == id)))
}

/// `GET /drills/{id}`: also by a part of the id.
pub(crate) async fn page(
    State(app): State<App>,
    visitor: Visitor,
    Path(word): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Ok(id) = word.parse::<Uuid>() else {
        return ids::in_full(&app, Thing::Drill, ("/drills", &word), None).await;
    };
    let (drill, playing) = find(&app, id).await?;
    let chart = match (&drill.score, &playing) {
        (Some(score), _) => {
            let (nobody, here) =
                (("had nobody acted", "calm", &score.nobody), ("this drill", "worst-1", &score.here));
            match &score.reality {
                Some(_) => draw(&[nobody, ("in reality, as simulated", "worst-2", &score.real), here]),
                None => draw(&[nobody, here]),
            }
        }
        (None, Some(on)) => {
            let until = on.here.last().map_or(0, |(s, _)| *s);
            let nobody: Curve = on.nobody.iter().filter(|(s, _)| *s <= until).copied().collect();
            draw(&[("had nobody acted", "calm", &nobody), ("this drill", "worst-1", &on.here)])
        }
        (None, None) => None,
    };
    let mut frame = Frame::new(&app, &visitor, "drills", drill.title.clone());
    if playing.is_some() {
        frame = frame.live("/events");
    }
    let page = Page { frame, drill, playing, chart };
    if is_fragment(&headers) { html(&page.as_main()) } else { html(&page) }
}

fn house(app: &App) -> Result<std::sync::Arc<dyn crate::drills::Drills>, Problem> {
    app.settings().drills.clone().ok_or_else(|| {
        Problem::new(StatusCode::CONFLICT, "no_drills_here", "This server plays no drills: what it works on is not its own.")
            .remedy("`firebreak demo` plays them on a simulated AWS of its own; `firebreak drill FILE` does so without pages.")
            .link("Drills", "/drills")
    })
}

/// Begins one: its id.
pub(crate) async fn begin(
    app: &App,
    visitor: &Visitor,
    name: String,
    player: Player,
) -> Result<Uuid, Problem> {
    let by = visitor.actor();
    domain::drill::may_play(&by).map_err(DrillError::from)?;
    let drills = house(app)?;
    Ok(to_the_end(async move { drills.start(&name, player, &by).await }).await??)
}

/// What becomes of the one that is on.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Part {
    /// It is scored; its world stays.
    End,
    /// Its world goes.
    Leave,
}

/// Ends it, or leaves it.
pub(crate) async fn part(app: &App, visitor: &Visitor, id: Uuid, part: Part) -> Result<(), Problem> {
    let by = visitor.actor();
    domain::drill::may_play(&by).map_err(DrillError::from)?;
    let drills = house(app)?;
    let parted = async move {
        match part {
            Part::End => drills.end(id, &by).await,
            Part::Leave => drills.leave(id, &by).await,
        }
    };
    Ok(to_the_end(parted).await??)
}

/// `POST /drills`
pub(crate) async fn start(
    State(app): State<App>,
    visitor: Visitor,
    Form(form): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let name = field(&form, "drill").to_owned();
    let player = Player::named(field(&form, "player")).unwrap_or(Player::People);
    let id = begin(&app, &visitor, name, player).await?;
    Ok(Redirect::to(&format!("/drills/{id}")).into_response())
}

/// `POST /drills/{id}/end`
pub(crate) async fn end(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    part(&app, &visitor, id, Part::End).await?;
    Ok(Redirect::to(&format!("/drills/{id}")).into_response())
}

/// `POST /drills/{id}/leave`
pub(crate) async fn leave(
    State(app): State<App>,
    visitor: Visitor,
    Path(id): Path<Uuid>,
) -> Result<Response, Problem> {
    part(&app, &visitor, id, Part::Leave).await?;
    Ok(Redirect::to(&format!("/drills/{id}")).into_response())
}
