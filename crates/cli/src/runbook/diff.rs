//! `firebreak runbook diff`: two versions of a runbook, compared by meaning.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use domain::runbook::{Runbook, diff as differences, parse, render};

use crate::files;
use crate::terminal::{self, say};

/// `firebreak runbook diff`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The old version; when it stands alone, it is the new one, and the old one is that of this binary
    old: PathBuf,
    /// The new version
    new: Option<PathBuf>,
    /// Print the differences as JSON
    #[arg(long)]
    json: bool,
}

/// Exits with 0 when they mean the same, with 1 when they differ, with 2 when one cannot be read.
pub(crate) fn diff(args: Args) -> anyhow::Result<ExitCode> {
    let first = read(&args.old)?;
    let (old, new) = match &args.new {
        Some(new) => (first, read(new)?),
        None => (embedded(&first.name)?, first),
    };
    let found = differences::diff(&old, &new);
    if args.json {
        say(serde_json::to_string_pretty(&found)?);
    } else {
        found.iter().for_each(say);
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path) -> anyhow::Result<Runbook> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    parsed(&path.display().to_string(), &text)
}

fn embedded(name: &str) -> anyhow::Result<Runbook> {
    let all = files::runbooks(None)?;
    let known = |file: &str| Path::new(file).file_stem().is_some_and(|stem| stem == name);
    match all.iter().find(|(file, _)| known(file)) {
        Some((file, text)) => parsed(file, text),
        None => bail!("this binary has no runbook `{name}` to compare with; name a second file"),
    }
}

/// A version that lies about may have any file name.
fn parsed(file: &str, text: &str) -> anyhow::Result<Runbook> {
    let named = text.lines().find_map(|line| line.strip_prefix("runbook:"));
    let name = named.map_or(file, |name| name.trim().trim_matches(['"', '\'']));
    parse(&format!("{name}.yaml"), text).map_err(|mistakes| {
        anyhow::anyhow!("the runbook has mistakes:\n{}", render(file, text, &mistakes, terminal::coloured()))
    })
}
