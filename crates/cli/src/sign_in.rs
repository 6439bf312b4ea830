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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    #[test]
    fn what_is_told_of_it_can_be_typed() {
        let told = [
            include_str!("../../../README.md"),
            include_str!("../../../web/templates/sign_in.html"),
            include_str!("../../server/src/docs/errors.md"),
            include_str!("../../server/src/error.rs"),
            include_str!("../../server/src/web/provider.rs"),
        ];
        let mut commands = 0;
        for text in told {
            for (at, _) in text.match_indices("firebreak sign-in ") {
                let command = text[at..].split(['`', '<', '#', '\n']).next().unwrap().trim();
                let typed = command.replace("ROLE", "approver");
                let read = crate::Cli::try_parse_from(typed.split_whitespace());
                assert!(read.is_ok(), "{command}: {}", read.err().unwrap());
                commands += 1;
            }
        }
        assert!(commands >= 7, "{commands}");
    }
}
