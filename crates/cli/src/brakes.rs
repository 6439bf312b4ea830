//! `firebreak stop`, `allow-changes`, `freeze …`, `lock …`: holding Firebreak back from a terminal.
//!
//! ```text
//!  with the server's configuration file ─▶ the database alone, so that everything can be stopped while no server answers
//!  without ──────────────────────────────▶ a server's API, with a token (`remote::locks`)
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Subcommand;
use domain::brake::EVERYTHING;
use domain::words::many;
use domain::{Actor, Clock, Timestamp};
use engine::clock::SystemClock;
use engine::{Brakes, Known};
use uuid::Uuid;

use crate::config::Config;
use crate::moment::moment;
use crate::remote::{Remote, locks};
use crate::terminal::{remark, say};
use crate::{files, simulated};

/// Who does it, and where.
#[derive(clap::Args)]
pub(crate) struct Who {
    /// The configuration file of the server: to speak to its database, with no server in between
    #[arg(long, env = "FIREBREAK_CONFIG")]
    config: Option<PathBuf>,
    /// Your name, as the audit shall have it; a token knows its person
    #[arg(long, env = "USER", default_value = "", hide_default_value = true)]
    by: String,
    #[command(flatten)]
    pub(crate) remote: Remote,
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
        #[arg(long, value_parser = moment)]
        from: Option<Timestamp>,
        /// When it ends
        #[arg(long, value_parser = moment)]
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

/// `firebreak lock`: `lock TARGET` is short for `lock take TARGET`
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LockArgs {
    #[command(subcommand)]
    command: Option<Lock>,
    #[command(flatten)]
    who: Who,
    /// Take this target by hand, such as cluster:shard-a
    target: Option<String>,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Until when, such as 2024-12-20T17:00:00Z; for good when left out
    #[arg(long, value_parser = moment)]
    until: Option<Timestamp>,
}

impl LockArgs {
    /// What is to be done.
    pub(crate) fn read(self) -> anyhow::Result<Lock> {
        match (self.command, self.target, self.reason) {
            (Some(command), ..) => Ok(command),
            (None, Some(target), Some(reason)) => {
                Ok(Lock::Take { who: self.who, target, reason, until: self.until })
            }
            (None, ..) => {
                bail!("say what is locked, and why: `firebreak lock cluster:shard-a --reason \"I am on it\"`")
            }
        }
    }
}

/// `firebreak unlock`
#[derive(clap::Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    who: Who,
    /// The target's name
    target: String,
    /// Why; needed for what somebody else has taken
    #[arg(long)]
    reason: Option<String>,
}

impl From<Unlock> for Lock {
    fn from(Unlock { who, target, reason }: Unlock) -> Self {
        Self::GiveBack { who, target, reason }
    }
}

/// What is done with locks.
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
        #[arg(long, value_parser = moment)]
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

impl Freeze {
    fn who(&self) -> &Who {
        match self {
            Self::List(who) | Self::Add { who, .. } | Self::Lift { who, .. } | Self::Import { who, .. } => {
                who
            }
        }
    }
}

impl Lock {
    fn who(&self) -> &Who {
        match self {
            Self::List(who)
            | Self::Take { who, .. }
            | Self::GiveBack { who, .. }
            | Self::Force { who, .. } => who,
        }
    }
}

impl Who {
    fn actor(&self) -> Actor {
        // Whoever has the database may do as much anyway.
        Actor::with_role(&self.by, domain::Role::Admin)
    }

    /// The database, where there is a configuration; said aloud, because it need not be the one that the configuration means.
    async fn brakes(&self) -> anyhow::Result<Option<Brakes>> {
        let Some(config) = &self.config else { return Ok(None) };
        if self.by.trim().is_empty() {
            bail!("say who you are, as the audit shall have it: --by NAME");
        }
        let config = Config::read(config)?;
        let pool = store::connect(&config.database_url()?).await?;
        let wins = if std::env::var_os("DATABASE_URL").is_some() {
            ", as DATABASE_URL says, which comes before --config"
        } else {
            ""
        };
        remark(format!("the database is {}{wins}", store::place(&pool)));
        let clock: Arc<dyn Clock> = match &config.simulation {
            Some(simulation) => simulated::remote_clock(&simulation.control).await?,
            None => Arc::new(SystemClock),
        };
        // Where the folder cannot be read, any name may be one.
        let runbooks = files::runbooks(config.runbooks.as_deref()).ok();
        let stem = |file: &String| Some(Path::new(file).file_stem()?.to_str()?.to_owned());
        let names = runbooks.map(|files| files.iter().filter_map(|(file, _)| stem(file)).collect());
        Ok(Some(Brakes::new(
            pool,
            clock,
            Known::of(names, &config.inventory),
            config.engine().signature_window,
        )))
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
    let Some(brakes) = who.brakes().await? else {
        return locks::switch(who.remote, true, runbook.as_deref(), &reason).await;
    };
    let new = brakes.stop(runbook.as_deref(), &who.actor(), &reason).await?;
    let already = if new { "" } else { " (that was so already)" };
    say(format!(
        "Changes of {} are stopped{already}; within a second no replica begins one.",
        of(runbook.as_deref())
    ));
    Ok(ExitCode::SUCCESS)
}

/// Allows changes again.
pub(crate) async fn allow(Switch { who, runbook, reason }: Switch) -> anyhow::Result<ExitCode> {
    let Some(brakes) = who.brakes().await? else {
        return locks::switch(who.remote, false, runbook.as_deref(), &reason).await;
    };
    brakes.allow(runbook.as_deref(), &who.actor(), &reason).await?;
    say(format!(
        "Changes of {} are allowed again. Runs that were stopped stay paused: look at each, and resume it.",
        of(runbook.as_deref())
    ));
    Ok(ExitCode::SUCCESS)
}

/// Freezes.
pub(crate) async fn freeze(command: Freeze) -> anyhow::Result<ExitCode> {
    let remote = command.who().remote.clone();
    let Some(brakes) = command.who().brakes().await? else { return locks::freeze(remote, command).await };
    match command {
        Freeze::List(_) => {
            let in_force = brakes.in_force().await?;
            if remote.json {
                say(serde_json::to_string_pretty(&in_force.freezes)?);
                return Ok(ExitCode::SUCCESS);
            }
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
            let from = from.unwrap_or_else(|| brakes.now());
            let freeze = brakes.freeze(runbook.as_deref(), (from, until), &who.actor(), &reason).await?;
            say(freeze.id);
        }
        Freeze::Lift { who, id, reason } => {
            brakes.lift(id, &who.actor(), &reason).await?;
            say("Lifted.");
        }
        Freeze::Import { who, file, runbook, zone } => {
            let text =
                std::fs::read_to_string(&file).with_context(|| format!("the calendar {}", file.display()))?;
            let imported = brakes.import(runbook.as_deref(), &text, zone.as_deref(), &who.actor()).await?;
            say(format!(
                "{}, {}; they replace {} of before.",
                many(imported.events, "event"),
                many(imported.windows, "window"),
                many(imported.replaced, "window")
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Locks.
pub(crate) async fn lock(command: Lock) -> anyhow::Result<ExitCode> {
    let remote = command.who().remote.clone();
    let Some(brakes) = command.who().brakes().await? else { return locks::lock(remote, command).await };
    match command {
        Lock::List(_) => {
            let in_force = brakes.in_force().await?;
            if remote.json {
                say(serde_json::to_string_pretty(&in_force)?);
                return Ok(ExitCode::SUCCESS);
            }
            locks::stopped(&serde_json::to_value(&in_force)?).for_each(say);
            for lock in &in_force.locks {
                say(format!("{lock} (since {})", lock.since));
            }
            if in_force.locks.is_empty() {
                say("Nothing is locked.");
            }
        }
        Lock::Take { who, target, reason, until } => {
            brakes.take(&target, &who.actor(), &reason, until).await?;
            say(format!("`{target}` is yours; nobody else starts a run on it."));
        }
        Lock::GiveBack { who, target, reason } => {
            brakes.give_back(&target, &who.actor(), reason.as_deref()).await?;
            say(format!("`{target}` is free of hands."));
        }
        Lock::Force { who, target, run, reason } => {
            brakes.force(&target, run, &who.actor(), &reason).await?;
            say(format!(
                "`{target}` is free. Run {run} stays where it is until it has it back; read its page before you act on the target."
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
