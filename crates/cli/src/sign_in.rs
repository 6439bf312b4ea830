//! `firebreak sign-in`: a link that signs a person in, once.

use std::path::PathBuf;
use std::process::ExitCode;

use domain::Role;

use crate::config::Config;
use crate::terminal::say;

/// `firebreak sign-in`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How the person is called on the pages and in the audit
    name: String,
    /// What they may do: viewer, responder, approver or admin
    #[arg(long, default_value_t = Role::Responder)]
    role: Role,
    /// The configuration file of the server
    #[arg(long, env = "FIREBREAK_CONFIG")]
    config: PathBuf,
}

/// Prints the link.
pub(crate) async fn sign_in(args: Args) -> anyhow::Result<ExitCode> {
    let config = Config::read(&args.config)?;
    let pool = store::connect(&config.database_url()?).await?;
    say(server::sign_in_link(&pool, &args.name, args.role, &config.public_url()).await?);
    Ok(ExitCode::SUCCESS)
}
