//! `firebreak audit`: proves that history is as it was written, and exports it with the proof; `search` asks a server
//! (`remote::audit`).

use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use domain::Timestamp;
use domain::audit::check::{Anchor, FileCheck, Line, Report, Scope};
use domain::words::many;
use store::proof;
use uuid::Uuid;

use crate::database::Database;
use crate::moment::moment;
use crate::remote::audit::{Search, search};
use crate::terminal::say;

/// `firebreak audit`
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Search who did what to what, and when
    Search(Search),
    /// Check every chain, every block and every call; ends with 1 if anything is not as it was written
    Verify(Verify),
    /// Write history with its proof, as JSON Lines, to stdout
    Export(Export),
}

/// `firebreak audit verify`
#[derive(clap::Args)]
pub(crate) struct Verify {
    #[command(flatten)]
    database: Database,
    /// An exported file instead of a database
    #[arg(long)]
    file: Option<PathBuf>,
    /// A block that was kept elsewhere, as an earlier check printed it: it must still be there
    #[arg(long, value_name = "NUMBER:HASH")]
    anchor: Option<Anchor>,
    /// Connections that read at the same time
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// The whole report as JSON
    #[arg(long)]
    json: bool,
}

/// `firebreak audit export`
#[derive(clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    database: Database,
    /// Only this run
    #[arg(long, conflicts_with = "since")]
    run: Option<Uuid>,
    /// Only the runs that have moved since, and what else was done from then on (2024-05-07T14:42:00Z)
    #[arg(long, value_parser = moment)]
    since: Option<Timestamp>,
}

/// Runs a subcommand.
pub(crate) async fn audit(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Search(args) => search(args).await,
        Command::Verify(args) => verify(args).await,
        Command::Export(args) => export(args).await,
    }
}

async fn verify(args: Verify) -> anyhow::Result<ExitCode> {
    let report = match &args.file {
        Some(path) => read(path, args.anchor).with_context(|| path.display().to_string())?,
        None => {
            let options = proof::Options { workers: args.workers, anchor: args.anchor };
            proof::verify(&args.database.url()?, options).await?
        }
    };
    say(if args.json { serde_json::to_string_pretty(&report)? } else { told(&report) });
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(path: &Path, anchor: Option<Anchor>) -> anyhow::Result<Report> {
    let mut check = FileCheck::new(anchor);
    for (n, line) in BufReader::new(File::open(path)?).lines().enumerate() {
        let at = || format!("line {}", n + 1);
        let line: Line = serde_json::from_str(&line.with_context(at)?).with_context(at)?;
        check.line(line)?;
    }
    Ok(check.finish()?)
}

fn told(report: &Report) -> String {
    let mut text = String::new();
    for found in &report.breaks {
        text += &format!("{}: {:?}: {}\n", found.place, found.kind, found.why);
    }
    let more = report.broken - report.breaks.len() as u64;
    if more > 0 {
        text += &format!("… and {more} more\n");
    }
    let Report { entries, runs, calls, audit, blocks, unsealed, unsealed_calls, broken, .. } = report;
    text += &match broken {
        0 => "Nothing was changed, removed or added".to_owned(),
        places => format!("BROKEN in {}", many(places, "place")),
    };
    text += &format!(
        ": {} of {}, {} to the outside, {} of audit, {}.",
        many(entries, "entry"),
        many(runs, "run"),
        many(calls, "call"),
        many(audit, "row"),
        many(blocks, "block")
    );
    if *unsealed > 0 {
        text += &format!(
            "\n{} in no block yet: that nothing is missing there is not proven.",
            many(unsealed, "entry")
        );
    }
    if *unsealed_calls > 0 {
        text += &format!(
            "\n{} to the outside in no block: that nothing was changed or is missing there is not proven.",
            many(unsealed_calls, "call")
        );
    }
    if let Some(newest) = &report.newest {
        text += &format!("\nNewest block, to be kept elsewhere and given as --anchor later: {newest}");
    }
    text
}

async fn export(args: Export) -> anyhow::Result<ExitCode> {
    let scope = match (args.run, args.since) {
        (Some(run), _) => Scope::Run(run),
        (None, Some(since)) => Scope::Since(since),
        (None, None) => Scope::All,
    };
    let mut out = BufWriter::new(std::io::stdout());
    proof::export(&args.database.url()?, scope, |line| {
        serde_json::to_writer(&mut out, &line)?;
        out.write_all(b"\n")
    })
    .await?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
