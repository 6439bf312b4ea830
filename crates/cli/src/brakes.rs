//! `firebreak stop`, `allow-changes`, `freeze …`, `lock …`: holding Firebreak back from a terminal.
//!
//! They speak to the database alone, so that everything can be stopped while no server answers.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Subcommand;
use domain::brake::EVERYTHING;
use domain::{Actor, Clock, Timestamp};
use engine::Brakes;
use engine::clock::SystemClock;
use uuid::Uuid;

use crate::config::Config;
use crate::simulated;
use crate::terminal::say;

/// Who does it, and where.
#[derive(clap::Args)]
pub(crate) struct Who {
    /// The configuration file of the server
    #[arg(long, env = "FIREBREAK_CONFIG")]
    config: PathBuf,
    /// Your name, as the audit shall have it
    #[arg(long, env = "USER")]
    by: String,
}

/// `firebreak stop`, `firebreak allow-changes`
#[derive(clap::Args)]
pub(crate) struct Switch {
    #[command(flatten)]
    who: Who,
    /// Only the changes of this runbook
    #[arg(long)]
    runbook: Option<String>,
    /// Why, for whoever meets it later
    #[arg(long)]
    reason: String,
}

/// `firebreak freeze`
#[derive(Subcommand)]
pub(crate) enum Freeze {
    /// List freezes, now and to come
    List(Who),
    /// Enter a freeze: triggers start nothing, people confirm
    Add {
        #[command(flatten)]
        who: Who,
        /// Only this runbook
        #[arg(long)]
        runbook: Option<String>,
        /// When it begins, such as 2024-12-20T17:00:00Z; now when left out
        #[arg(long)]
        from: Option<Timestamp>,
        /// When it ends
        #[arg(long)]
        until: Timestamp,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Lift a freeze
    Lift {
        #[command(flatten)]
        who: Who,
        /// Its id, from `firebreak freeze list`
        id: Uuid,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Import freezes from an iCalendar file; again and again the same file changes nothing
    Import {
        #[command(flatten)]
        who: Who,
        /// The .ics file
        file: PathBuf,
        /// Only this runbook
        #[arg(long)]
        runbook: Option<String>,
        /// Time zone of times that name none, such as Europe/Berlin
        #[arg(long)]
        zone: Option<String>,
    },
}

/// `firebreak lock`
#[derive(Subcommand)]
pub(crate) enum Lock {
    /// List what is locked, by whom and why
    List(Who),
    /// Take a target by hand ("I am on it"): nobody else starts a run on it
    Take {
        #[command(flatten)]
        who: Who,
        /// Its name, such as cluster:shard-a
        target: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Until when, such as 2024-12-20T17:00:00Z; for good when left out
        #[arg(long)]
        until: Option<Timestamp>,
    },
    /// Give a target back that was taken by hand; somebody else's needs a reason
    GiveBack {
        #[command(flatten)]
        who: Who,
        /// Its name
        target: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Release a lock of a run that waits for a person; the run takes it back before it moves again
    Force {
        #[command(flatten)]
        who: Who,
        /// Its name
        target: String,
        /// The run that holds it
        #[arg(long)]
        run: Uuid,
        /// Why
        #[arg(long)]
        reason: String,
    },
}

impl Who {
    fn actor(&self) -> Actor {
        // Whoever has the database may do as much anyway.
        Actor::with_role(&self.by, domain::Role::Admin)
    }

    async fn brakes(&self) -> anyhow::Result<Brakes> {
        let config = Config::read(&self.config)?;
        let pool = store::connect(&config.database_url()?).await?;
        let clock: Arc<dyn Clock> = match &config.simulation {
            Some(simulation) => simulated::remote_clock(&simulation.control).await?,
            None => Arc::new(SystemClock),
        };
        Ok(Brakes::new(pool, clock))
    }
}

fn of(scope: Option<&str>) -> String {
    match scope {
        None | Some(EVERYTHING) => "everything".into(),
        Some(runbook) => format!("`{runbook}`"),
    }
}

/// Stops changes.
pub(crate) async fn stop(Switch { who, runbook, reason }: Switch) -> anyhow::Result<ExitCode> {
    let new = who.brakes().await?.stop(runbook.as_deref(), &who.actor(), &reason).await?;
    let already = if new { "" } else { " (that was so already)" };
    say(format!(
        "Changes of {} are stopped{already}; within a second no replica begins one.",
        of(runbook.as_deref())
    ));
    Ok(ExitCode::SUCCESS)
}

/// Allows changes again.
pub(crate) async fn allow(Switch { who, runbook, reason }: Switch) -> anyhow::Result<ExitCode> {
    who.brakes().await?.allow(runbook.as_deref(), &who.actor(), &reason).await?;
    say(format!(
        "Changes of {} are allowed again. Runs that were stopped stay paused: look at each, and resume it.",
        of(runbook.as_deref())
    ));
    Ok(ExitCode::SUCCESS)
}

/// Freezes.
pub(crate) async fn freeze(command: Freeze) -> anyhow::Result<ExitCode> {
    match command {
        Freeze::List(who) => {
            let in_force = who.brakes().await?.in_force().await?;
            for f in &in_force.freezes {
                say(format!(
                    "{}  {} to {}  {}  {} ({})",
                    f.id,
                    f.starts,
                    f.ends,
                    of(Some(&f.scope)),
                    f.reason,
                    f.by
                ));
            }
            if in_force.freezes.is_empty() {
                say("No freeze, now or to come.");
            }
        }
        Freeze::Add { who, runbook, from, until, reason } => {
            let brakes = who.brakes().await?;
            let from = from.unwrap_or_else(|| brakes.now());
            let freeze = brakes.freeze(runbook.as_deref(), (from, until), &who.actor(), &reason).await?;
            say(freeze.id);
        }
        Freeze::Lift { who, id, reason } => {
            who.brakes().await?.lift(id, &who.actor(), &reason).await?;
            say("Lifted.");
        }
        Freeze::Import { who, file, runbook, zone } => {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("the calendar {}", file.display()))?;
            let imported =
                who.brakes().await?.import(runbook.as_deref(), &text, zone.as_deref(), &who.actor()).await?;
            say(format!(
                "{} events, {} windows; they replace {} windows of before.",
                imported.events, imported.windows, imported.replaced
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Locks.
pub(crate) async fn lock(command: Lock) -> anyhow::Result<ExitCode> {
    match command {
        Lock::List(who) => {
            let in_force = who.brakes().await?.in_force().await?;
            for lock in &in_force.locks {
                say(format!("{lock} (since {})", lock.since));
            }
            if in_force.locks.is_empty() {
                say("Nothing is locked.");
            }
        }
        Lock::Take { who, target, reason, until } => {
            who.brakes().await?.take(&target, &who.actor(), &reason, until).await?;
            say(format!("`{target}` is yours; nobody else starts a run on it."));
        }
        Lock::GiveBack { who, target, reason } => {
            who.brakes().await?.give_back(&target, &who.actor(), reason.as_deref()).await?;
            say(format!("`{target}` is free of hands."));
        }
        Lock::Force { who, target, run, reason } => {
            who.brakes().await?.force(&target, run, &who.actor(), &reason).await?;
            say(format!(
                "`{target}` is free. Run {run} stays where it is until it has it back; read its page before you act on the target."
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
