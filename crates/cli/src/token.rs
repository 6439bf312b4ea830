//! `firebreak token`: tokens of programs, directly in the database: the first one has nobody to ask for it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use domain::token::{DAYS, Scope, Wish};
use domain::{Actor, Clock, Role};
use engine::clock::SystemClock;
use store::PgPool;
use store::tokens::Token;
use uuid::Uuid;

use crate::config::Config;
use crate::simulated;
use crate::terminal::{remark, say};

/// Who does it, and where.
#[derive(clap::Args)]
pub(crate) struct Who {
    /// The configuration file of the server
    #[arg(long, env = "FIREBREAK_CONFIG")]
    config: PathBuf,
    /// Your name, as the audit shall have it
    #[arg(long, env = "USER", default_value = "", hide_default_value = true)]
    by: String,
}

/// `firebreak token`
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token, and print it: it is shown this once
    Create {
        #[command(flatten)]
        who: Who,
        /// How it is called in lists and in the audit
        name: String,
        /// For whom it speaks: a person, or a machine such as `ci`; you when left out
        #[arg(long)]
        person: Option<String>,
        /// What it may do: viewer, responder, approver or admin
        #[arg(long, default_value_t = Role::Responder)]
        role: Role,
        /// It only looks and plans
        #[arg(long)]
        read_only: bool,
        /// It starts and steers runs of this runbook alone; may be given again
        #[arg(long = "runbook", value_name = "RUNBOOK")]
        runbooks: Vec<String>,
        /// For how many days; at most 365
        #[arg(long, default_value_t = DAYS)]
        days: u32,
    },
    /// List all tokens
    List {
        #[command(flatten)]
        who: Who,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token: it is good for nothing from now on
    Revoke {
        #[command(flatten)]
        who: Who,
        /// Its id, from `firebreak token list`
        id: Uuid,
    },
}

impl Who {
    /// As a flag or the environment says it: a service and a container often have no USER.
    fn name(&self) -> anyhow::Result<String> {
        let known = [Some(self.by.clone()), std::env::var("LOGNAME").ok()];
        let named = known.into_iter().flatten().find(|name| !name.trim().is_empty());
        named.context("say who you are, as the audit shall have it, such as --by ana: USER is not set here")
    }

    /// Whoever has the database may do as much anyway.
    fn actor(&self) -> anyhow::Result<Actor> {
        Ok(Actor::with_role(self.name()?, Role::Admin))
    }

    async fn open(&self) -> anyhow::Result<(PgPool, Arc<dyn Clock>)> {
        let config = Config::read(&self.config)?;
        let pool = store::connect(&config.database_url()?).await?;
        let clock: Arc<dyn Clock> = match &config.simulation {
            Some(simulation) => simulated::remote_clock(&simulation.control).await?,
            None => Arc::new(SystemClock),
        };
        Ok((pool, clock))
    }
}

/// Runs a subcommand.
pub(crate) async fn token(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Create { who, name, person, role, read_only, runbooks, days } => {
            let (by, (pool, clock)) = (who.actor()?, who.open().await?);
            let runbooks = Some(runbooks).filter(|names| !names.is_empty());
            let wish = Wish { name, role, scope: Scope { read_only, runbooks }, days };
            let person = person.as_deref().unwrap_or(by.name());
            let (secret, token) = server::make_token(&pool, person, &wish, &by, clock.now()).await?;
            remark(format!("{}; keep it: it is shown this once", told(&token)));
            say(secret);
        }
        Command::List { who, json } => {
            let tokens = store::tokens::list(&who.open().await?.0, None).await?;
            if json {
                say(serde_json::to_string_pretty(&tokens)?);
            } else if tokens.is_empty() {
                say("No token yet.");
            } else {
                tokens.iter().for_each(|token| say(format!("{}  {}", token.id, told(token))));
            }
        }
        Command::Revoke { who, id } => {
            let (by, (pool, clock)) = (who.actor()?, who.open().await?);
            if !store::tokens::revoke(&pool, id, None, &by, clock.now()).await? {
                bail!("there is no token {id} that could be revoked; see `firebreak token list`");
            }
            say("Revoked.");
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(token: &Token) -> String {
    let Token { name, person, role, scope, expires_at, .. } = token;
    let until = match token.revoked_at {
        Some(at) => format!("revoked at {}", at.format("%F %H:%MZ")),
        None if !token.good => format!("expired at {}", expires_at.format("%F %H:%MZ")),
        None => format!("until {}", expires_at.format("%F")),
    };
    let used =
        token.used_at.map_or("never used".into(), |at| format!("last used {}", at.format("%F %H:%MZ")));
    format!("token {name} of {person}, {}: {}; {until}, {used}", role.one(), scope.told())
}
