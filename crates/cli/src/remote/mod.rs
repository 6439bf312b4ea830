//! The verbs that speak to a server's API: the same names and the same refusals as on the pages.
//!
//! ```text
//!  login ─▶ a file with address and token ─▶ server (asks, reads problems) ─▶ plan · status · readiness · run · watch · runs · show · ask · decide · locks · signals · incidents · audit · drills
//!                                                    └─▶ exit (what a script is told)
//! ```
//!
//! Results go to stdout, as text for people or, with `--json`, as the API told them; everything else goes to stderr. Nothing is
//! decided here: what the API refuses is told with its reason and its remedy.

pub(crate) mod ask;
pub(crate) mod audit;
pub(crate) mod complete;
pub(crate) mod decide;
pub(crate) mod drills;
pub(crate) mod exit;
pub(crate) mod incidents;
mod lists;
pub(crate) mod locks;
pub(crate) mod login;
mod may;
pub(crate) mod plan;
pub(crate) mod readiness;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod server;
pub(crate) mod signals;
pub(crate) mod status;
mod steps;
pub(crate) mod watch;
pub(crate) mod which;
pub(crate) mod words;

use serde_json::Value;

use crate::terminal::say;

/// The flags that every one of them takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Remote {
    /// The server, such as https://firebreak.example.com; the one of `firebreak login` when left out
    #[arg(long, env = "FIREBREAK_URL")]
    pub(crate) url: Option<String>,
    /// Tell the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How many of a list: none would be nothing to ask for.
fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse::<usize>().ok().filter(|limit| *limit > 0).ok_or_else(|| "write a number from 1 on".to_owned())
}

/// Tells a result: as it came, or in words.
pub(crate) fn tell(json: bool, value: &Value, words: impl FnOnce(&Value) -> String) {
    say(if json { format!("{value:#}") } else { words(value) });
}
