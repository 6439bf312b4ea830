//! `firebreak runbook check`: mistakes, each with its place and what to write instead.
//!
//! What steps name is looked at once they, and the inputs, can be read: what names a part that cannot would look mistaken itself.

use std::path::PathBuf;
use std::process::ExitCode;

use domain::runbook::{check_all, render};

use crate::files;
use crate::terminal::{self, say};

/// `firebreak runbook check`
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files, or folders of them; the embedded runbooks when none is named
    files: Vec<PathBuf>,
}

/// Checks them; the exit code says whether all are sound.
pub(crate) async fn check(args: Args) -> anyhow::Result<ExitCode> {
    let (mut texts, mut there, mut failed) = (Vec::new(), Vec::new(), false);
    if args.files.is_empty() {
        texts = files::runbooks(None)?;
    }
    // One that is not there keeps nobody from hearing about the others.
    for path in in_folders(args.files)? {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                texts.push((path.display().to_string(), text));
                there.push(path);
            }
            Err(e) => {
                failed = true;
                say(format!("{}: cannot be read: {e}", path.display()));
            }
        }
    }
    let asked = texts.len();
    // A runbook may run one that lies beside it: it is looked at, and not told about.
    texts.extend(files::beside(&there)?);
    let registry = super::described(None).await?;
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

/// A folder stands for the runbooks in it, as it does in the configuration.
fn in_folders(paths: Vec<PathBuf>) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        if path.is_dir() {
            let inside = files::runbooks(Some(&path))?;
            anyhow::ensure!(!inside.is_empty(), "{} has no runbook in it (no .yaml file)", path.display());
            files.extend(inside.into_iter().map(|(file, _)| PathBuf::from(file)));
        } else {
            files.push(path);
        }
    }
    Ok(files)
}
