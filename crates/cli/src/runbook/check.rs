//! `firebreak runbook check`: every mistake, with its place and what to write instead.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use domain::runbook::{check_all, render};

use crate::files;
use crate::terminal::{self, say};

/// `firebreak runbook check`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files; the embedded runbooks when none is named
    files: Vec<PathBuf>,
}

/// Checks them; the exit code says whether all are sound.
pub(crate) async fn check(args: Args) -> anyhow::Result<ExitCode> {
    let paths = args.files;
    let named = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        Ok((path.display().to_string(), text))
    };
    let mut texts = match paths.as_slice() {
        [] => files::runbooks(None)?,
        paths => paths.iter().map(named).collect::<anyhow::Result<_>>()?,
    };
    let asked = texts.len();
    // A runbook may run one that lies beside it: it is looked at, and not told about.
    texts.extend(files::beside(&paths)?);
    let registry = super::described(None).await?;
    let mut failed = false;
    for checked in check_all(texts, &registry).into_iter().take(asked) {
        let (file, text) = (checked.file, checked.text);
        let mistakes = checked.runbook.err().unwrap_or_default();
        if mistakes.is_empty() {
            say(format!("{file}: ok"));
        } else {
            failed = true;
            say(render(&file, &text, &mistakes, terminal::coloured()));
        }
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
