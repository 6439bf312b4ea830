//! Brakes on the database: what `firebreak stop`, `allow-changes`, `freeze`, `lock` and `unlock` do where there is the configuration
//! file of the server, so that everything can be stopped while no server answers.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use domain::brake::EVERYTHING;
use domain::words::many;
use domain::{Actor, Clock};
use engine::clock::SystemClock;
use engine::{BrakeError, Brakes, Known};
use serde_json::{Value, json};
use store::StoreError;

use super::{Freeze, Lock, Who};
use crate::config::Config;
use crate::remote::exit::{Exit, Failure};
use crate::remote::{locks, tell};
use crate::terminal::remark;
use crate::{files, foreign, simulated};

/// The database's, where there is a configuration; which one is said aloud, because it need not be the one that the configuration
/// means.
pub(super) async fn brakes(who: &Who) -> anyhow::Result<Option<Brakes>> {
    let Some(config) = &who.config else { return Ok(None) };
    if who.by.trim().is_empty() {
        bail!("say who you are, as the audit shall have it: --by NAME");
    }
    let config = Config::read(config)?;
    let pool = store::connect(&config.database_url()?).await.map_err(Failure::from)?;
    let wins = if std::env::var_os("DATABASE_URL").is_some() {
        ", as DATABASE_URL says, which comes before --config"
    } else {
        ""
    };
    remark(format!("the database is {}{wins}", store::place(&pool)));
    let clock: Arc<dyn Clock> = match &config.simulation {
        Some(simulation) => simulated::remote_clock(&simulation.control)
            .await
            .map_err(|e| Failure::new(Exit::Unreachable, format!("{e:#}")))?,
        None => Arc::new(SystemClock),
    };
    // Where the folder cannot be read, any name may be one.
    let runbooks = files::runbooks(config.runbooks.as_deref()).ok();
    let stem = |file: &String| Some(Path::new(file).file_stem()?.to_str()?.to_owned());
    let names = runbooks.map(|files| files.iter().filter_map(|(file, _)| stem(file)).collect());
    let known = Known::of(names, &config.inventory);
    Ok(Some(Brakes::new(pool, clock, known, config.engine().signature_window)))
}

impl Who {
    fn actor(&self) -> Actor {
        // Whoever has the database may do as much anyway.
        Actor::with_role(&self.by, domain::Role::Admin)
    }
}

/// Stops changes, or allows them again.
pub(super) async fn switch(
    brakes: &Brakes,
    who: &Who,
    on: bool,
    runbook: Option<&str>,
    reason: &str,
) -> Result<ExitCode, Failure> {
    let of = of(runbook);
    if on {
        let new = brakes.stop(runbook, &who.actor(), reason).await?;
        let already = if new { "" } else { " (that was so already)" };
        tell(who.remote.json, &json!({ "on": true, "new": new }), |_| {
            format!("Changes of {of} are stopped{already}; within a second no replica begins one.")
        });
    } else {
        brakes.allow(runbook, &who.actor(), reason).await?;
        tell(who.remote.json, &json!({ "on": false }), |_| {
            format!(
                "Changes of {of} are allowed again. Runs that were stopped stay paused: look at each, and resume it."
            )
        });
    }
    Ok(ExitCode::SUCCESS)
}

fn of(scope: Option<&str>) -> String {
    match scope {
        None | Some(EVERYTHING) => "everything".into(),
        Some(runbook) => format!("`{runbook}`"),
    }
}

/// `firebreak freeze …`
pub(super) async fn freeze(brakes: &Brakes, command: Freeze) -> Result<ExitCode, Failure> {
    let json = command.who().remote.json;
    match command {
        Freeze::List(_) => {
            let freezes = brakes.in_force().await?.freezes;
            tell(json, &json!(freezes), |_| frozen(&freezes));
        }
        Freeze::Add { who, runbook, from, until, reason } => {
            let from = from.unwrap_or_else(|| brakes.now());
            let freeze = brakes.freeze(runbook.as_deref(), (from, until), &who.actor(), &reason).await?;
            tell(json, &json!(freeze), |_| freeze.id.to_string());
        }
        Freeze::Lift { who, id, reason } => {
            brakes.lift(id, &who.actor(), &reason).await?;
            tell(json, &json!({ "lifted": id }), |_| "Lifted.".into());
        }
        Freeze::Import { who, file, runbook, zone } => {
            let text = std::fs::read_to_string(&file)
                .map_err(|e| Failure::new(Exit::Usage, format!("the calendar {}: {e}", file.display())))?;
            let imported = brakes.import(runbook.as_deref(), &text, zone.as_deref(), &who.actor()).await?;
            tell(json, &json!(imported), |_| {
                format!(
                    "{}, {}; they replace {} of before.",
                    many(imported.events, "event"),
                    many(imported.windows, "window"),
                    many(imported.replaced, "window")
                )
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn frozen(freezes: &[domain::brake::Freeze]) -> String {
    let line = |f: &domain::brake::Freeze| {
        let scope = of(Some(&f.scope));
        foreign::line(&format!("{}  {} to {}  {scope}  {} ({})", f.id, f.starts, f.ends, f.reason, f.by))
    };
    match freezes {
        [] => "No freeze, now or to come.".into(),
        all => all.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}

/// `firebreak lock …`
pub(super) async fn lock(brakes: &Brakes, command: Lock) -> Result<ExitCode, Failure> {
    let json = command.who().remote.json;
    match command {
        Lock::List(_) => {
            let in_force = brakes.in_force().await?;
            tell(json, &json!(in_force), |told| {
                let held = in_force
                    .locks
                    .iter()
                    .map(|lock| foreign::line(&format!("{lock} (since {})", lock.since)));
                let mut lines: Vec<String> =
                    locks::stopped(&foreign::value(told.clone())).chain(held).collect();
                if in_force.locks.is_empty() {
                    lines.push("Nothing is locked.".into());
                }
                lines.join("\n")
            });
        }
        Lock::Take { who, target, reason, until } => {
            brakes.take(&target, &who.actor(), &reason, until).await?;
            tell(json, &json!({ "target": target, "holder": who.by }), |_| {
                format!("`{target}` is yours; nobody else starts a run on it.")
            });
        }
        Lock::GiveBack { who, target, reason } => {
            brakes.give_back(&target, &who.actor(), reason.as_deref()).await?;
            tell(json, &json!({ "released": target }), |_| format!("`{target}` is free of hands."));
        }
        Lock::Force { who, target, run, reason } => {
            brakes.force(&target, run, &who.actor(), &reason).await?;
            tell(json, &json!({ "released": target, "run_id": run }), |_| {
                format!(
                    "`{target}` is free. Run {run} stays where it is until it has it back; read its page before you act on the target."
                )
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl From<BrakeError> for Failure {
    fn from(error: BrakeError) -> Self {
        let (says, code) = (error.to_string(), error.code().unwrap_or("internal"));
        let held = match error {
            BrakeError::Store(error) => return error.into(),
            BrakeError::Held(held) => Some(held),
            _ => None,
        };
        let mut failure = refused(Exit::Refused, code, says);
        if let (Some(held), Some(problem)) = (held, &mut failure.problem) {
            problem["held"] = json!(held);
        }
        failure
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let says = error.to_string();
        match error {
            // What is wrong is what was written where the database is named.
            StoreError::Url(_) => Self::new(Exit::Usage, says),
            error if error.is_unfit() => refused(Exit::Refused, "not_storable", says),
            error if error.is_unavailable() => refused(Exit::Unreachable, "store_unavailable", says),
            _ => refused(Exit::Unreachable, "internal", says),
        }
    }
}

/// With the code that a server would have told, for scripts that branch on it.
fn refused(exit: Exit, code: &str, says: String) -> Failure {
    let problem: Value = json!({ "code": code, "detail": says });
    Failure { problem: Some(problem), ..Failure::new(exit, foreign::lines(&says)) }
}
