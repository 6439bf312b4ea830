//! `firebreak migrate`: brings the schema up to date, as its owner.
//!
//! Where the application runs as a role that may add to history and change nothing in it (`deploy/database.sql`), it may
//! not change the schema either: whoever deploys runs this first, once.

use std::process::ExitCode;

use crate::database::Database;
use crate::terminal::say;

/// `firebreak migrate`
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    database: Database,
}

/// Applies what is missing, and grants the application's role what it may do.
pub(crate) async fn migrate(args: Args) -> anyhow::Result<ExitCode> {
    let pool = store::open(&args.database.url()?).await?;
    let missing = store::schema::missing(&pool).await?;
    store::schema::migrate(&pool).await?;
    say(match missing.as_slice() {
        [] => "The schema is up to date.".to_owned(),
        [one] => format!("Applied migration {one}."),
        many => format!(
            "Applied migrations {}.",
            many.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
    });
    Ok(ExitCode::SUCCESS)
}
