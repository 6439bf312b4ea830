//! `firebreak runbook …`: work with runbook files, without a server, a database or AWS.

mod check;
mod diff;
mod manual;
mod permissions;
mod schema;

pub(crate) use permissions::least_privilege;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use domain::action::Registry;
use domain::runbook::{Children, Runbook, check_all, descend, render};

use crate::config::Config;
use crate::files;
use crate::terminal;

/// What can be done.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Find mistakes, each with its place and what to write instead
    Check(check::Args),
    /// Compare two versions by meaning: inputs, steps by id, guards
    Diff(diff::Args),
    /// Print a runbook as a page for a person with a terminal: prose, guards, and the commands
    Manual(manual::Args),
    /// Print the least-privilege IAM policy for some runbooks, or for everything
    Permissions(permissions::Args),
    /// Print the JSON Schema of the language, for editors
    Schema(schema::Args),
}

/// Does it.
pub(crate) async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check(args) => check::check(args).await,
        Command::Diff(args) => diff::diff(args),
        Command::Manual(args) => manual::manual(args).await,
        Command::Permissions(args) => permissions::permissions(args).await,
        Command::Schema(args) => schema::schema(args).await,
    }
}

/// The actions, for what they say of themselves: no secrets, no network.
pub(crate) async fn described(config: Option<&Config>) -> anyhow::Result<Registry> {
    let (inventory, settings) = config.map(|c| (c.inventory.clone(), c.actions())).unwrap_or_default();
    Ok(actions::described(Arc::new(inventory), settings).await?)
}

/// The configuration, for commands that can do without.
#[derive(clap::Args)]
struct Configured {
    /// The configuration file of the server, for its inventory and its runbooks
    #[arg(long, env = "FIREBREAK_CONFIG")]
    config: Option<PathBuf>,
}

impl Configured {
    fn read(&self) -> anyhow::Result<Option<Config>> {
        self.config.as_deref().map(Config::read).transpose()
    }
}

/// The runbooks of a configuration, or the embedded ones, each sound.
pub(crate) struct Shelf(Vec<Arc<Runbook>>);

impl Shelf {
    fn open(config: Option<&Config>, registry: &Registry) -> anyhow::Result<Self> {
        Self::of(config.and_then(|config| config.runbooks.as_deref()), registry)
    }

    /// Of a folder; the embedded ones when none is named.
    pub(crate) fn of(folder: Option<&Path>, registry: &Registry) -> anyhow::Result<Self> {
        let checked = check_all(files::runbooks(folder)?, registry).into_iter().map(|checked| {
            checked.runbook.map_err(|mistakes| {
                anyhow::anyhow!(
                    "the runbook has mistakes:\n{}",
                    render(&checked.file, &checked.text, &mistakes, terminal::coloured())
                )
            })
        });
        checked.collect::<anyhow::Result<_>>().map(Self)
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[Arc<Runbook>] {
        &self.0
    }

    /// Those of these names; all, when none is named.
    fn named(&self, names: &[String]) -> anyhow::Result<Vec<&Arc<Runbook>>> {
        if names.is_empty() {
            return Ok(self.0.iter().collect());
        }
        names.iter().map(|name| self.get(name)).collect()
    }

    fn get(&self, name: &str) -> anyhow::Result<&Arc<Runbook>> {
        if let Some(found) = self.0.iter().find(|runbook| runbook.name == name) {
            return Ok(found);
        }
        let known: Vec<&str> = self.0.iter().map(|runbook| runbook.name.as_str()).collect();
        bail!("there is no runbook `{name}`; there is: {}", known.join(", "))
    }

    /// All that a runbook runs.
    fn children(&self, runbook: &Runbook) -> Children {
        descend(runbook, |name| self.0.iter().find(|r| r.name == name).cloned())
    }
}
