//! Carries out what somebody typed: the same calls as pages and programs make, the same refusals in the same words.

use std::fmt::Write as _;

use chrono::TimeDelta;
use domain::Role;
use domain::chat::Press;
use domain::incident::Ask as IncidentAsk;
use domain::run::{Ask, Takeback};
use engine::{BrakeError, StartError};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use store::pages::RunFilter;
use store::slack::Preview;
use uuid::Uuid;

use super::answer::Asker;
use super::blocks::{self, Offer, escape, told};
use super::command::{Command, FORMS, What, read};
use super::confirm::Asked;
use super::{COMMAND, link};
use crate::app::{App, to_the_end};
use crate::error::{Problem, sentence};
use crate::ids::{AMONG, one_of};
use crate::obstacles::Obstacles;
use crate::on_it::{OnIt, Stands};
use crate::plans::{self, Confirmation};
use crate::run::{self, Looks};
use crate::session::Visitor;
use crate::web::incidents::act;
use crate::web::runbooks::{audit_refusal, idem_key};
use crate::web::runs::put;
use crate::{incident, situation, words};

/// So many of each list are told.
const LISTED: usize = 8;

/// Answers a command.
pub(super) async fn command(app: App, asker: Asker, visitor: Option<Visitor>, text: &str) -> Value {
    let (read, teller) = (read(text), asker.clone());
    let work = match (visitor, read) {
        (None, Ok(Command::Link)) => {
            in_words(app.clone(), async move { link::offer(&app, &asker.member).await })
        }
        // Not even what there is to type.
        (None, _) => {
            return told(&format!("Firebreak does not know who you are yet. Type `{COMMAND} link`."));
        }
        (Some(_), Err(why)) => return told(&escape(&why)),
        (Some(visitor), Ok(Command::Plan { what, start: true })) if visitor.role < Role::Responder => {
            in_words(app.clone(), async move { Err(may_not_start(&app, &visitor, &what.runbook).await?) })
        }
        (Some(visitor), Ok(Command::Plan { what, start })) => {
            // It looks at the world, which takes as long as it takes.
            let meanwhile = told(&format!("Looking, to plan `{}` …", escape(&what.runbook)));
            let work =
                in_words(app.clone(), async move { planned(&app, &asker, &visitor, what, start).await });
            teller.afterwards(work);
            return meanwhile;
        }
        (Some(visitor), Ok(wanted)) => {
            in_words(app.clone(), async move { done(&app, &visitor, wanted).await })
        }
    };
    teller.promptly(told("This takes longer than usual; the answer follows."), work).await
}

/// What comes of it, refusals in words.
fn in_words(
    app: App,
    work: impl Future<Output = Result<Value, Problem>> + Send + 'static,
) -> BoxFuture<'static, Value> {
    async move { work.await.unwrap_or_else(|problem| super::told(&app, &problem)) }.boxed()
}

/// Why somebody may not start, and that they wanted to, on record.
async fn may_not_start(app: &App, visitor: &Visitor, runbook: &str) -> Result<Problem, Problem> {
    let problem = Problem::from(StartError::NotAllowed(visitor.role));
    audit_refusal(app, visitor, runbook, &problem).await?;
    Ok(problem)
}

async fn planned(
    app: &App,
    asker: &Asker,
    visitor: &Visitor,
    what: What,
    start: bool,
) -> Result<Value, Problem> {
    let What { runbook, inputs, reason } = what;
    let plan = plans::make(app, &visitor.actor(), &runbook, &inputs).await?;
    let text = app.engine().library().runbook(&runbook).ok_or_else(|| Problem::not_found("such runbook"))?;
    let confirmation = Confirmation::of(&plan, &text);
    let page = format!("{}/runbooks/{}", app.settings().public_url, plan.runbook);
    if !start {
        return Ok(blocks::preview(&plan, &confirmation, &Offer::Nothing, &page));
    }
    let by = visitor.actor();
    let narrowed = app.engine().lets_start(&text, &by).err().map(|error| sentence(&error.to_string()));
    let obstacles = Obstacles { plan: &plan, by: &by, narrowed: narrowed.as_deref() };
    let stops = obstacles.stops().filter(|_| !obstacles.held());
    let foreign = plan.foreign.first().map(|work| format!("Somebody else is at work on {work}"));
    let why = stops.or(foreign);
    let offer = if let Some(why) = &why {
        Offer::Stops(why)
    } else {
        let preview = Uuid::now_v7();
        let kept = Preview {
            id: preview,
            member: (asker.member.team.clone(), asker.member.id.clone()),
            place: asker.place.clone(),
            runbook: runbook.clone(),
            inputs,
            plan: plan.clone(),
            reason,
            start_key: start_key(visitor, preview)?,
            over: false,
        };
        store::slack::put_preview(app.pool(), &kept).await?;
        Offer::Run { preview, asks: !Asked::of(app, &kept, &by).nothing() }
    };
    Ok(blocks::preview(&plan, &confirmation, &offer, &page))
}

/// The key of the run that a preview becomes: however often its button is pressed, it is this one.
pub(super) fn start_key(visitor: &Visitor, preview: Uuid) -> Result<String, Problem> {
    idem_key(visitor, &format!("slack:{preview}"))
}

async fn done(app: &App, visitor: &Visitor, wanted: Command) -> Result<Value, Problem> {
    let by = visitor.actor();
    let said = match wanted {
        Command::Help => help(visitor),
        Command::Status => status(app).await?,
        Command::Link => format!(
            "You are *{}* here, {}. <{}/settings|Settings> shows and removes it.",
            escape(&visitor.person),
            visitor.role.one(),
            app.settings().public_url
        ),
        Command::Approve { run } => return decide(app, visitor, &run).await,
        Command::Abort { run, undo, reason } => {
            let id = find_run(app, &run).await?;
            let takeback = if undo { Takeback::All } else { Takeback::Finally };
            put(app, visitor, id, Uuid::now_v7(), Ask::Abort { takeback, reason }).await?;
            format!("Asked to abort {}.", run_link(app, id, "the run"))
        }
        Command::Lock { target, lasts, reason } => {
            let (brakes, lock) = (app.engine().brakes(), target.clone());
            let until = lasts.and_then(|span| TimeDelta::from_std(span).ok()).map(|span| app.now() + span);
            to_the_end(async move { brakes.take(&lock, &by, &reason, until).await }).await??;
            format!("`{}` is yours. `{COMMAND} unlock {}` gives it back.", escape(&target), escape(&target))
        }
        Command::Unlock { target, reason } => {
            let (brakes, lock) = (app.engine().brakes(), target.clone());
            to_the_end(async move { brakes.give_back(&lock, &by, reason.as_deref()).await }).await??;
            format!("`{}` is free.", escape(&target))
        }
        Command::Switch { on, runbook, reason } => switch(app, visitor, on, runbook, reason).await?,
        Command::Freeze { runbook, lasts, reason } => {
            let (brakes, now) = (app.engine().brakes(), app.now());
            let ends = now + TimeDelta::from_std(lasts).unwrap_or(TimeDelta::days(366));
            let freeze =
                to_the_end(async move { brakes.freeze(runbook.as_deref(), (now, ends), &by, &reason).await })
                    .await??;
            format!("Frozen until {}. `{COMMAND} thaw WHY` lifts it.", freeze.ends.format("%-d %b %H:%M UTC"))
        }
        Command::Thaw { freeze, reason } => {
            let id = find_freeze(app, freeze.as_deref()).await?;
            let brakes = app.engine().brakes();
            to_the_end(async move { brakes.lift(id, &by, &reason).await }).await??;
            "The freeze is lifted.".into()
        }
        Command::Incidents => incidents(app).await?,
        Command::Open { targets, title } => {
            let engine = app.engine().clone();
            let (id, new) =
                to_the_end(async move { engine.open_incident(&title, &targets, &by).await }).await??;
            let incident = app.engine().incident(id).await?;
            let how = if new { "is open" } else { "is open there already" };
            format!("{} {how}.", incident_link(app, &incident))
        }
        Command::Take { incident } => {
            let id = incident::find(app, &incident).await?;
            act(app, visitor, id, IncidentAsk::Take, None).await?;
            format!("You have {}.", incident_link(app, &app.engine().incident(id).await?))
        }
        Command::Note { incident, text } => {
            let id = incident::find(app, &incident).await?;
            act(app, visitor, id, IncidentAsk::Note { text }, None).await?;
            format!("Noted in {}.", incident_link(app, &app.engine().incident(id).await?))
        }
        // Planned elsewhere, because it takes its time.
        Command::Plan { .. } => return Err(Problem::unfit("a plan is made afterwards")),
    };
    Ok(told(&said))
}

/// The kill switch.
async fn switch(
    app: &App,
    visitor: &Visitor,
    on: bool,
    runbook: Option<String>,
    reason: String,
) -> Result<String, Problem> {
    let (brakes, by, named) = (app.engine().brakes(), visitor.actor(), runbook.clone());
    let new = to_the_end(async move {
        match on {
            true => brakes.stop(named.as_deref(), &by, &reason).await,
            false => brakes.allow(named.as_deref(), &by, &reason).await.map(|()| true),
        }
    })
    .await??;
    let whose = runbook.as_deref().map_or_else(|| "all".to_owned(), |name| format!("`{}`", escape(name)));
    let named = runbook.map_or_else(String::new, |name| format!(" runbook={}", escape(&name)));
    Ok(match (on, new) {
        (true, true) => {
            format!("Changes of {whose} are stopped. `{COMMAND} allow{named} WHY` allows them again.")
        }
        (true, false) => {
            format!(
                "Changes of {whose} were stopped already. `{COMMAND} allow{named} WHY` allows them again."
            )
        }
        (false, _) => format!(
            "Changes of {whose} are allowed again. Runs that were stopped stay paused: look at each, and resume it."
        ),
    })
}

fn help(visitor: &Visitor) -> String {
    let mut text = format!("You are *{}*, {}. You may type:", escape(&visitor.person), visitor.role.one());
    for (form, does, needs) in FORMS {
        if visitor.role >= needs {
            _ = write!(text, "\n`{COMMAND} {form}`  {does}");
        }
    }
    text
}

/// How things stand. First, what keeps everything else from being done: a message that is too long loses its end.
async fn status(app: &App) -> Result<String, Problem> {
    let now = situation::read(app).await?;
    let mut lines = Vec::new();
    if now.well {
        lines.push(":white_check_mark: Nothing is found to be wrong.".to_owned());
    }
    lines.extend(now.switches.iter().map(|switch| {
        let (scope, by, reason) = (escape(&switch.scope), escape(&switch.by), escape(&switch.reason));
        format!(":no_entry: Kill switch ({scope}) by {by}: {reason}")
    }));
    lines.extend(some(now.freezes.iter().map(|freeze| {
        let (scope, ends) = (escape(&freeze.scope), freeze.ends.format("%-d %b %H:%M UTC"));
        format!(
            ":snowflake: Freeze ({scope}) until {ends}: {} · `{}`",
            escape(&freeze.reason),
            short(freeze.id)
        )
    })));
    let by_hand = now.locks.iter().filter(|lock| lock.kind == "person");
    lines.extend(some(by_hand.map(|lock| format!(":lock: {}", escape(&lock.to_string())))));
    lines.extend(some(now.unseen.iter().map(|unseen| format!(":grey_question: {}", escape(unseen)))));
    lines.extend(some(now.findings.iter().map(|found| {
        let finding = &found.finding;
        let who = found.on_it.as_ref().map_or_else(String::new, |on_it| format!(" {}", who(app, on_it)));
        format!(":rotating_light: {} {}{who}", escape(&finding.what), escape(&finding.advice))
    })));
    lines.extend(some(now.incidents.iter().map(|incident| {
        let driver = incident.driver.as_deref().unwrap_or("nobody");
        format!(":fire: {} · {} has it", incident_link(app, incident), escape(driver))
    })));
    lines.extend(some(now.runs.iter().map(|row| {
        let (link, state) = (run_link(app, row.id, &row.title), words::run_badge(&row.state).word);
        format!(":arrow_forward: {link} · {state} · `{}`", short(row.id))
    })));
    lines.push(format!("<{}/|The situation>", app.settings().public_url));
    Ok(lines.join("\n"))
}

/// As many of a list as a message has room for, and how many there are besides.
fn some(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut lines: Vec<String> = all.collect();
    let more = lines.len().saturating_sub(LISTED);
    lines.truncate(LISTED);
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
    lines
}

/// Who is on it, and what they wait for.
fn who(app: &App, on_it: &OnIt) -> String {
    let held = &on_it.held;
    let run = held.run_id.map(|id| run_link(app, id, held.title.as_deref().unwrap_or("the run")));
    match (on_it.stands, run) {
        (Stands::WaitsForApproval, Some(run)) => {
            format!("*Asked for by {}, waits for {}:* {run}", escape(&held.holder), escape(on_it.awaited()))
        }
        (Stands::Stopped, Some(run)) => {
            let why = on_it.why.as_deref().map_or_else(String::new, |why| format!(". {}", escape(why)));
            format!("*The run has stopped and needs a decision:* {run}{why}")
        }
        _ => format!("*Somebody is on it:* {}", escape(&held.to_string())),
    }
}

async fn incidents(app: &App) -> Result<String, Problem> {
    let open = store::incidents::list(app.pool(), true, None, 50).await?;
    let lines = open.iter().map(|incident| {
        let severity = incident.severity.map_or_else(String::new, |severity| format!(" · {severity}"));
        let driver = incident.driver.as_deref().unwrap_or("nobody");
        format!(":fire: {}{severity} · {} has it", incident_link(app, incident), escape(driver))
    });
    let lines = some(lines);
    Ok(if lines.is_empty() { "No incident is open.".into() } else { lines.join("\n") })
}

/// The plan that is asked about, with the buttons that decide: agreed is to what was seen, never blindly.
async fn decide(app: &App, visitor: &Visitor, word: &str) -> Result<Value, Problem> {
    let id = find_run(app, word).await?;
    let view = run::read(app, id, Looks::Newest).await?;
    let mut text = run_link(app, id, &view.row.title);
    let gate = view.gate(&run::Asker { by: visitor.actor(), policies: app.engine().policies() });
    let mut buttons = Vec::new();
    for approval in &gate.approvals {
        let about =
            approval.step.as_deref().map_or_else(|| "The start".to_owned(), |step| format!("Step `{step}`"));
        match &approval.ruling {
            Some(ruling) => _ = write!(text, "\n{about}: {}", escape(ruling)),
            None if approval.open => {
                _ = write!(text, "\n{about} waits for {}.", escape(&approval.needs));
                if let Some(message) = &approval.message {
                    _ = write!(text, "\n{}", escape(message));
                }
                let step = approval.step.as_deref().map(Into::into);
                let plan_hash = approval.plan_hash.clone();
                let agree = Press::Approve { run: id, step, plan_hash };
                let step = approval.step.as_deref().map(Into::into);
                buttons.push((agree, Press::Reject { run: id, step }));
            }
            None => {}
        }
    }
    if buttons.is_empty() {
        text.push_str("\nNobody's approval is asked for here.");
    } else if let Some(plan) = view.plan() {
        let none = Confirmation { target: None, approval: None };
        _ = write!(text, "\n{}", blocks::plan(&plan, &none));
    }
    Ok(blocks::decision(&text, buttons))
}

/// A run by its id, or by the beginning or the end of it among those that are open.
async fn find_run(app: &App, word: &str) -> Result<Uuid, Problem> {
    if let Ok(id) = word.parse() {
        return Ok(id);
    }
    let filter = RunFilter { open: true, ..RunFilter::default() };
    let open = store::pages::runs(app.pool(), &filter, AMONG).await?;
    one_of(open.iter().map(|row| row.id), word).ok_or_else(|| {
        Problem::not_found("one open run that begins or ends like this").remedy("`status` tells their ids.")
    })
}

async fn find_freeze(app: &App, word: Option<&str>) -> Result<Uuid, Problem> {
    let freezes = app.engine().brakes().in_force().await?.freezes;
    let found = match word {
        Some(word) => one_of(freezes.iter().map(|freeze| freeze.id), word),
        None if freezes.len() > 1 => {
            return Err(Problem::unfit("there are several freezes; name one, as `thaw id=… WHY`"));
        }
        None => freezes.first().map(|freeze| freeze.id),
    };
    found.ok_or_else(|| BrakeError::NotThere("there is no such freeze (any more)".into()).into())
}

/// The end of an id: what differs soonest between two that are of the same day.
pub(super) fn short(id: Uuid) -> String {
    let id = id.to_string();
    id[id.len() - 8..].to_owned()
}

pub(super) fn run_link(app: &App, id: Uuid, title: &str) -> String {
    format!("<{}/runs/{id}|{}>", app.settings().public_url, escape(title))
}

fn incident_link(app: &App, incident: &domain::incident::Incident) -> String {
    let url = &app.settings().public_url;
    format!("<{url}/incidents/{}|{} {}>", incident.id, incident.name(), escape(&incident.title))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_id_the_end_is_told() {
        assert_eq!(short("018f0000-0000-7000-8000-00000000bbbb".parse().unwrap()), "0000bbbb");
    }
}
