//! `firebreak stop`, `allow-changes`, `freeze …`, `lock …`: holding Firebreak back from a terminal.
//!
//! ```text
//!  with the server's configuration file ─▶ the database alone, so that everything can be stopped while no server answers (`direct`)
//!  without ──────────────────────────────▶ a server's API, with a token (`remote::locks`)
//! ```
//!
//! A script is told the same either way: JSON as the API's, and the same exit codes.

mod direct;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use domain::Timestamp;
use uuid::Uuid;

use crate::moment::moment;
use crate::remote::{Remote, locks};

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

/// Stops changes.
pub(crate) async fn stop(args: Switch) -> anyhow::Result<ExitCode> {
    switch(args, true).await
}

/// Allows changes again.
pub(crate) async fn allow(args: Switch) -> anyhow::Result<ExitCode> {
    switch(args, false).await
}

async fn switch(Switch { who, runbook, reason }: Switch, on: bool) -> anyhow::Result<ExitCode> {
    match direct::brakes(&who).await? {
        Some(brakes) => Ok(direct::switch(&brakes, &who, on, runbook.as_deref(), &reason).await?),
        None => locks::switch(who.remote, on, runbook.as_deref(), &reason).await,
    }
}

/// Freezes.
pub(crate) async fn freeze(command: Freeze) -> anyhow::Result<ExitCode> {
    match direct::brakes(command.who()).await? {
        Some(brakes) => Ok(direct::freeze(&brakes, command).await?),
        None => locks::freeze(command.who().remote.clone(), command).await,
    }
}

/// Locks.
pub(crate) async fn lock(command: Lock) -> anyhow::Result<ExitCode> {
    match direct::brakes(command.who()).await? {
        Some(brakes) => Ok(direct::lock(&brakes, command).await?),
        None => locks::lock(command.who().remote.clone(), command).await,
    }
}
