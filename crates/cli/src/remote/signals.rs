//! `firebreak signals`, `firebreak signal`: what machines say is wrong, and what became of it.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::lists::List;
use super::server::Server;
use super::which::SIGNAL;
use super::words::{day, table, word};
use super::{Remote, tell, watch};
use crate::terminal::remark;

/// `firebreak signals`
#[derive(clap::Args)]
pub(crate) struct Signals {
    /// Those that are over, too
    #[arg(long)]
    all: bool,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = super::at_least_one)]
    limit: usize,
    #[command(flatten)]
    remote: Remote,
}

/// `firebreak signal`
#[derive(clap::Args)]
#[command(after_help = super::exit::CODES)]
pub(crate) struct Signal {
    /// Its id, from `firebreak signals`, or the beginning or the end of it
    id: String,
    /// Start what a rule has prepared for it, and watch
    #[arg(long)]
    start: bool,
    /// Only if it is what this verdict offers, as `firebreak signal` has shown it
    #[arg(long, value_name = "NUMBER", requires = "start")]
    verdict: Option<i64>,
    /// The target, as typed to start what is of high risk
    #[arg(long, value_name = "TARGET", requires = "start")]
    confirm: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Lists signals, each with its verdict: first those that ask for somebody, however many came after them, then the newest.
pub(crate) async fn signals(args: Signals) -> anyhow::Result<ExitCode> {
    let server = Server::of(&args.remote)?;
    let query = (!args.all).then(|| ("firing", "1".to_owned())).into_iter().collect();
    let list = |query| List { path: "/api/v1/signals", name: "signals", cursor: "before", query };
    let (newest, next) = list(query).read(&server, None, args.limit).await?;
    let mut signals = Vec::new();
    if !args.all {
        let asks = vec![("asks", "1".to_owned())];
        signals = list(asks).read(&server, None, args.limit).await?.0;
    }
    let known: Vec<_> = signals.iter().map(|signal| word(signal, "id").to_owned()).collect();
    signals.extend(newest.into_iter().filter(|signal| !known.iter().any(|id| id == word(signal, "id"))));
    let more = next.is_some() || signals.len() > args.limit;
    signals.truncate(args.limit);
    tell(args.remote.json, &json!({ "signals": signals }), |_| {
        let row = |signal: &Value| {
            let verdict = signal["verdict"].as_str().unwrap_or("being judged");
            vec![
                word(signal, "id").into(),
                day(&signal["first_seen"]),
                word(signal, "state").into(),
                verdict.into(),
                word(signal, "summary").into(),
            ]
        };
        match signals.as_slice() {
            [] => "No signals.".into(),
            all => table(&all.iter().map(row).collect::<Vec<_>>()),
        }
    });
    if more && !args.remote.json {
        remark("there are more: --limit shows them");
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows a signal with its verdicts, or starts what a rule has prepared.
pub(crate) async fn signal(args: Signal) -> anyhow::Result<ExitCode> {
    let server = Server::of(&args.remote)?;
    let path = format!("/api/v1/signals/{}", SIGNAL.find(&server, &args.id).await?);
    if args.start {
        let started = server
            .post(&format!("{path}/start"), &json!({ "verdict": args.verdict, "confirm": args.confirm }))
            .await?;
        let run = word(&started, "run_id").to_owned();
        remark(format!("run {run}, {}/runs/{run}", server.url));
        return watch::to_the_end(&server, &run, args.remote.json).await;
    }
    let told = server.get(&path).await?;
    tell(args.remote.json, &told, |told| {
        let signal = &told["signal"];
        let mut lines = vec![format!(
            "{}  ({}, {})",
            word(signal, "summary"),
            word(signal, "kind"),
            word(signal, "state")
        )];
        lines.push(format!(
            "from {}, first seen {}, last {}",
            word(signal, "source"),
            day(&signal["first_seen"]),
            day(&signal["last_seen"])
        ));
        let (verdict, title) = (&signal["verdict_id"], word(signal, "title"));
        if signal["verdict"] == "asked" && signal["run_id"].is_null() && signal["state"] == "firing" {
            let id = word(signal, "id");
            lines.push(format!(
                "prepared: {title}; `firebreak signal {id} --start --verdict {verdict}` starts it"
            ));
        }
        for verdict in told["verdicts"].as_array().into_iter().flatten() {
            let says = format!(
                "{}  {}: {}",
                day(&verdict["at"]),
                word(verdict, "verdict"),
                word(verdict, "because")
            );
            lines.push(says);
        }
        lines.join("\n")
    });
    Ok(ExitCode::SUCCESS)
}
