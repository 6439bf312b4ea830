//! Reads the runbooks of a folder again when they change, and on SIGHUP.
//!
//! The folder is read every few seconds and compared: that works on every file system, in every container, and costs a few hundred
//! kilobytes. A change counts once it has been the same twice, so that a file is not taken while it is being written.

use std::path::PathBuf;
use std::time::Duration;

use engine::{Engine, Reloaded};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::files;

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(2);

/// SIGHUP, heard from the first moment on: by itself it would end the process.
pub(crate) fn hangup() -> anyhow::Result<Signal> {
    Ok(signal(SignalKind::hangup())?)
}

/// Watches until it is dropped. Without a folder there is nothing to read again.
pub(crate) async fn watch(engine: Engine, folder: Option<PathBuf>, hangup: &mut Signal) {
    let Some(folder) = folder else {
        while hangup.recv().await.is_some() {
            tracing::info!("the runbooks are those of this binary: there is nothing to read again");
        }
        return;
    };
    // What was tried last, and what was seen last.
    let (mut tried, mut seen) = (None, None);
    let mut dangling = engine.dangling();
    loop {
        let asked = tokio::select! {
            asked = hangup.recv() => asked.is_some(),
            () = tokio::time::sleep(EVERY) => false,
        };
        let files = match read(folder.clone()).await {
            // An empty folder is far more likely not mounted than meant.
            Ok(files) if files.is_empty() => {
                if asked || seen != Some(Vec::new()) {
                    tracing::error!("there is no runbook in {}: all stay as they are", folder.display());
                }
                seen = Some(Vec::new());
                continue;
            }
            Ok(files) => files,
            Err(e) => {
                tracing::error!("runbooks are not read again, and all stay as they are: {e:#}");
                continue;
            }
        };
        let settled = asked || seen.as_ref() == Some(&files);
        seen = Some(files.clone());
        if !settled || (!asked && tried.as_ref() == Some(&files)) {
            continue;
        }
        match engine.reload(files.clone()).await {
            Ok(changes) => {
                tried = Some(files);
                changes.iter().for_each(|(name, change)| say(&engine, name, change));
                let before = std::mem::replace(&mut dangling, engine.dangling());
                let new = dangling.iter().filter(|name| !before.contains(name));
                new.for_each(|name| tracing::error!("{name}"));
            }
            Err(e) => tracing::error!("runbooks are not reloaded yet, as it cannot be audited: {e}"),
        }
    }
}

/// A file system may take its time; whoever serves beside this is not to wait for it.
async fn read(folder: PathBuf) -> anyhow::Result<Vec<(String, String)>> {
    tokio::task::spawn_blocking(move || files::runbooks(Some(&folder))).await?
}

fn say(engine: &Engine, name: &str, change: &Reloaded) {
    match change {
        Reloaded::Added(_) => tracing::info!("runbook `{name}` is new"),
        Reloaded::Changed(..) => tracing::info!("runbook `{name}` has changed"),
        Reloaded::Back => tracing::info!("runbook `{name}` is as it was"),
        Reloaded::Removed => tracing::warn!("runbook `{name}` is gone: its file was removed"),
        Reloaded::Refused(_) => {
            let Some(shelf) = engine.library().get(name) else { return };
            let (text, mistakes) = match (&shelf.refused, &shelf.runbook) {
                (Some(refused), _) => (&refused.text, &refused.mistakes),
                (None, Err(mistakes)) => (&shelf.text, mistakes),
                (None, Ok(_)) => return,
            };
            let stays = if shelf.runbook.is_ok() { "; the last good version stays" } else { "" };
            let rendered = domain::runbook::render(&shelf.file, text, mistakes, false);
            tracing::error!("runbook `{name}` is refused{stays}:\n{rendered}");
        }
    }
}
