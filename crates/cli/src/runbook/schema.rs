//! `firebreak runbook schema`: the JSON Schema of the runbook language, for editors.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::terminal::say;

/// `firebreak runbook schema`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print nothing; fail when this file is not what would be printed
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// Prints it, or compares it with a file.
pub(crate) async fn schema(args: Args) -> anyhow::Result<ExitCode> {
    let registry = super::described(None).await?;
    let text = serde_json::to_string_pretty(&domain::runbook::schema::schema(&registry))?;
    let Some(file) = args.check else {
        say(text);
        return Ok(ExitCode::SUCCESS);
    };
    let kept = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
    if kept.trim_end() == text {
        return Ok(ExitCode::SUCCESS);
    }
    say(format!("{0} is stale; renew it: firebreak runbook schema > {0}", file.display()));
    Ok(ExitCode::FAILURE)
}
