//! `firebreak`: the one binary. Configuration and wiring, nothing else.
//!
//! - `serve` runs the control plane on a configuration file;
//! - `demo` runs it on embedded defaults, against a simulated AWS in which the incident of 7 May 2024 happens;
//! - `drill` plays an incident head-less and scores it;
//! - `stop`, `allow-changes`, `freeze`, `lock` hold it back, also while no server answers;
//! - `sign-in` prints a link that signs a person in;
//! - `sim` runs the simulated AWS alone;
//! - `migrate` brings the database up to date, as its owner;
//! - `audit` proves that history is as it was written, and exports it;
//! - `triggers backtest` replays the signals of the past against edited rules;
//! - `runbook …` works with runbook files: `check`, `manual`, `permissions`, `diff`, `schema`.

mod app;
mod audit;
mod brakes;
mod config;
mod database;
mod demo;
mod drill;
mod files;
mod migrate;
mod reload;
mod runbook;
mod serve;
mod sign_in;
mod simulated;
mod terminal;
mod triggers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "firebreak",
    version,
    about = "Incident response for databases and their proxies",
    max_term_width = 110
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the control plane on a configuration file
    Serve(serve::Args),
    /// Run everything on embedded defaults: the incident of 7 May 2024, on a simulated AWS
    Demo(demo::Args),
    /// Play an incident head-less, and score it
    Drill(drill::Args),
    /// Run the simulated AWS alone
    Sim(simulated::Args),
    /// Stop every change on every replica within a second (the kill switch)
    Stop(brakes::Switch),
    /// Release the kill switch; runs that it stopped stay paused until each is resumed
    AllowChanges(brakes::Switch),
    /// Freeze windows: triggers start nothing, people confirm
    #[command(subcommand)]
    Freeze(brakes::Freeze),
    /// Locks of runs, and targets that people take by hand
    #[command(subcommand)]
    Lock(brakes::Lock),
    /// Print a link that signs a person in, once
    SignIn(sign_in::Args),
    /// Bring the database's schema up to date, as its owner
    Migrate(migrate::Args),
    /// Prove that history is as it was written, and export it
    #[command(subcommand)]
    Audit(audit::Command),
    /// How far triggers may go, and what edited ones would have done
    #[command(subcommand)]
    Triggers(triggers::Command),
    /// Work with runbook files
    #[command(subcommand)]
    Runbook(runbook::Command),
}

fn main() -> ExitCode {
    terminal::log_to_stderr();
    // One TLS stack for every client in this process; only a second call of this line could fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let outcome =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Into::into).and_then(
            |runtime| {
                let outcome = runtime.block_on(async {
                    match Cli::parse().command {
                        Command::Serve(args) => serve::serve(args).await,
                        Command::Demo(args) => demo::demo(args).await,
                        Command::Drill(args) => Box::pin(drill::drill(args)).await,
                        Command::Stop(args) => brakes::stop(args).await,
                        Command::AllowChanges(args) => brakes::allow(args).await,
                        Command::Freeze(command) => brakes::freeze(command).await,
                        Command::Lock(command) => brakes::lock(command).await,
                        Command::SignIn(args) => sign_in::sign_in(args).await,
                        Command::Sim(args) => simulated::sim(args).await,
                        Command::Migrate(args) => migrate::migrate(args).await,
                        Command::Audit(command) => audit::audit(command).await,
                        Command::Triggers(command) => triggers::triggers(command).await,
                        Command::Runbook(command) => runbook::run(command).await,
                    }
                });
                runtime.shutdown_timeout(std::time::Duration::from_secs(2));
                outcome
            },
        );
    match outcome {
        Ok(code) => code,
        Err(e) => {
            terminal::complain(&e);
            ExitCode::from(2)
        }
    }
}
