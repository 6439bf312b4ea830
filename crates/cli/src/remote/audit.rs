//! `firebreak audit search`: who did what to what, and when; asked of a server with the filters of its page.
//!
//! Its sisters `verify` and `export` read the database itself, because they prove something about it (`crate::audit`).

use std::process::ExitCode;

use clap_complete::engine::ArgValueCompleter;
use domain::words::{brief, shorten};
use serde_json::{Value, json};

use super::complete::targets;
use super::lists::List;
use super::server::Server;
use super::which::RUN;
use super::words::{day, table, word};
use super::{Remote, tell};
use crate::terminal::remark;

/// `firebreak audit search`
#[derive(clap::Args)]
#[command(after_help = super::exit::CODES)]
pub(crate) struct Search {
    /// Words in it; quotation marks, `or` and `-` as in a search engine
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    /// Who did it
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// What was done, such as requested, asked, "incident note" or "sign-in"
    #[arg(long)]
    action: Option<String>,
    /// To what: a lock, a runbook, or what else the audit names
    #[arg(long, add = ArgValueCompleter::new(targets))]
    target: Option<String>,
    /// In which run: its id, or the beginning or the end of it
    #[arg(long)]
    run: Option<String>,
    /// At which step of a run
    #[arg(long)]
    step: Option<String>,
    /// Not before: 2h (so long ago), 2024-05-07, or 2024-05-07T14:42 (UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 50, value_parser = super::at_least_one)]
    limit: usize,
    /// Go on where an earlier search ended: its `next`
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Searches, the newest first.
pub(crate) async fn search(args: Search) -> anyhow::Result<ExitCode> {
    let server = Server::of(&args.remote)?;
    let text = Some(args.words.join(" ")).filter(|text| !text.trim().is_empty());
    let run = match &args.run {
        Some(typed) => Some(RUN.find(&server, typed).await?.to_string()),
        None => None,
    };
    let given = [
        ("actor", args.actor),
        ("action", args.action),
        ("target", args.target),
        ("run", run),
        ("step", args.step),
        ("text", text),
        ("since", args.since),
        ("until", args.until),
    ];
    let query = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let list = List { path: "/api/v1/audit", name: "entries", cursor: "after", query };
    let (entries, next) = list.read(&server, args.after.as_deref(), args.limit).await?;
    tell(args.remote.json, &json!({ "entries": entries, "next": next }), |_| match entries.as_slice() {
        [] => "Nothing fits.".into(),
        all => table(&all.iter().map(row).collect::<Vec<_>>()),
    });
    if let Some(next) = next.filter(|_| !args.remote.json) {
        remark(format!("there is more: --after {next}"));
    }
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &Value) -> Vec<String> {
    let target = match entry["step"].as_str() {
        Some(step) => format!("{} ({step})", word(entry, "target")),
        None => word(entry, "target").to_owned(),
    };
    let details = entry["details"].as_object().into_iter().flatten();
    let details = details.filter(|(_, value)| !value.is_null());
    let details: Vec<_> =
        details.map(|(name, value)| format!("{name}={}", shorten(&brief(value), 80))).collect();
    let (at, actor, action) = (day(&entry["at"]), word(entry, "actor"), word(entry, "action"));
    vec![at, actor.to_owned(), action.to_owned(), target, details.join("  ")]
}
