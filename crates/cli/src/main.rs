//! `firebreak`: the one binary. Configuration and wiring, nothing else.
//!
//! - `serve` runs the control plane on a configuration file;
//! - `demo` runs it on embedded defaults, against a simulated AWS in which the incident of 7 May 2024 happens;
//! - `drill` plays an incident head-less and scores it;
//! - `stop`, `allow-changes`, `freeze`, `lock` hold it back, also while no server answers;
//! - `login`, `plan`, `run`, `watch`, `runs`, `show`, `approve`, `retry`, `signals`, `incident`, `drills` and their like speak to a server's API (`remote`);
//! - `doctor` says what is missing; `completion` teaches a shell;
//! - `sign-in` prints a link that signs a person in;
//! - `token` makes, lists and revokes tokens of programs;
//! - `sim` runs the simulated AWS alone;
//! - `migrate` brings the database up to date, as its owner;
//! - `audit` searches history, proves that it is as it was written, and exports it;
//! - `triggers backtest` replays the signals of the past against edited rules;
//! - `inventory compare` finds what AWS has and the inventory does not, or otherwise;
//! - `runbook …` works with runbook files: `check`, `manual`, `permissions`, `diff`, `schema`.

mod app;
mod audit;
mod brakes;
mod config;
mod database;
mod demo;
mod doctor;
mod drill;
mod files;
mod foreign;
mod inventory;
mod migrate;
mod moment;
mod reload;
mod remote;
mod runbook;
mod serve;
mod sign_in;
mod simulated;
mod terminal;
mod token;
mod triggers;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use remote::exit::{Exit, Failure};
use remote::{ask, complete, decide, drills, incidents, login, plan, readiness, run, runs, signals, status};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    /// Take a target by hand ("I am on it"), and what else is done with locks
    Lock(brakes::LockArgs),
    /// Give a target back that was taken by hand
    Unlock(brakes::Unlock),
    /// List what is locked, by whom and why
    Locks(brakes::Who),
    /// Say what is wrong, what to type against it, and who is on it
    Status(remote::Remote),
    /// List what would refuse if it were needed now
    Readiness(remote::Remote),
    /// Keep a server's address and a token for the verbs below
    Login(login::Login),
    /// Forget them
    Logout,
    /// Say who you are at the server
    Whoami(remote::Remote),
    /// Show what a run would do; changes nothing
    Plan(plan::Args),
    /// Show the plan, have it confirmed, start it and watch
    Run(run::Args),
    /// Watch a run live until it ends
    Watch(run::Watch),
    /// List runs, the newest first
    Runs(runs::Runs),
    /// Show one run: its steps, and what can be asked of it
    Show(runs::Show),
    /// Agree to what somebody else wants to start, or to a step
    Approve(ask::Approve),
    /// Do not agree
    Reject(ask::Reject),
    /// Go on alone where others should agree; everybody is told, and somebody else reviews it afterwards
    BreakGlass(ask::BreakGlass),
    /// Take the new plan in the place of the one that was seen before
    AcceptPlan(ask::AcceptPlan),
    /// Try a failed step again
    Retry(decide::Retry),
    /// Leave a failed step out
    Skip(decide::Why),
    /// Count a step as done: it was done by hand, or a call that got no answer did happen
    MarkDone(decide::MarkDone),
    /// Say that a call that got no answer did not happen: it is made anew
    DidNotHappen(decide::Why),
    /// End a run
    Abort(ask::Abort),
    /// Let a run begin nothing new
    Pause(ask::Pause),
    /// Let a paused run go on
    Resume(ask::Resume),
    /// Be asked now what became of a call that got no answer
    StopLooking(ask::StopLooking),
    /// List what machines say is wrong, with verdicts
    Signals(signals::Signals),
    /// Show one signal, or start what a rule has prepared for it
    Signal(signals::Signal),
    /// What people do together about one trouble: list, show, open, note, take, close
    #[command(subcommand)]
    Incident(incidents::Incident),
    /// Drills that are played on a server's pages: list, start, show, end, leave
    #[command(subcommand)]
    Drills(drills::Drills),
    /// Say whether everything is here that a server needs
    Doctor(doctor::Args),
    /// Print what a shell evaluates to complete verbs, runbooks and inputs
    Completion {
        /// Which shell
        shell: complete::Shell,
    },
    /// Print a link that signs a person in, once
    SignIn(sign_in::Args),
    /// Tokens of programs: make, list, revoke
    #[command(subcommand)]
    Token(token::Command),
    /// Bring the database's schema up to date, as its owner
    Migrate(migrate::Args),
    /// Search history, prove that it is as it was written, and export it
    #[command(subcommand)]
    Audit(audit::Command),
    /// How far triggers may go, and what edited ones would have done
    #[command(subcommand)]
    Triggers(triggers::Command),
    /// Compare the inventory with what AWS has
    #[command(subcommand)]
    Inventory(inventory::Command),
    /// Work with runbook files
    #[command(subcommand)]
    Runbook(runbook::Command),
}

fn main() -> ExitCode {
    // One TLS stack for every client in this process; only a second call of this line could fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // A shell that asks for completions is answered, and nothing else happens.
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    terminal::log_to_stderr();
    let outcome =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Into::into).and_then(
            |runtime| {
                let outcome = runtime.block_on(async {
                    match Cli::parse().command {
                        Command::Serve(args) => Box::pin(serve::serve(args)).await,
                        Command::Demo(args) => Box::pin(demo::demo(args)).await,
                        Command::Drill(args) => Box::pin(drill::drill(args)).await,
                        Command::Stop(args) => brakes::stop(args).await,
                        Command::AllowChanges(args) => brakes::allow(args).await,
                        Command::Freeze(command) => brakes::freeze(command).await,
                        Command::Lock(args) => brakes::lock(args.read()?).await,
                        Command::Unlock(args) => brakes::lock(args.into()).await,
                        Command::Locks(who) => brakes::lock(brakes::Lock::List(who)).await,
                        Command::Status(remote) => status::status(remote).await,
                        Command::Readiness(remote) => readiness::readiness(remote).await,
                        Command::Login(args) => login::login(args).await,
                        Command::Logout => login::logout(),
                        Command::Whoami(remote) => login::whoami(remote).await,
                        Command::Plan(args) => plan::plan(args).await,
                        Command::Run(args) => Box::pin(run::run(args)).await,
                        Command::Watch(args) => run::watch(args).await,
                        Command::Runs(args) => runs::runs(args).await,
                        Command::Show(args) => runs::show(args).await,
                        Command::Approve(args) => ask::approve(args).await,
                        Command::Reject(args) => ask::reject(args).await,
                        Command::BreakGlass(args) => ask::break_glass(args).await,
                        Command::AcceptPlan(args) => ask::accept_plan(args).await,
                        Command::Retry(args) => decide::retry(args).await,
                        Command::Skip(args) => decide::skip(args).await,
                        Command::MarkDone(args) => decide::mark_done(args).await,
                        Command::DidNotHappen(args) => decide::did_not_happen(args).await,
                        Command::Abort(args) => ask::abort(args).await,
                        Command::Pause(args) => ask::pause(args).await,
                        Command::Resume(args) => ask::resume(args).await,
                        Command::StopLooking(args) => ask::stop_looking(args).await,
                        Command::Signals(args) => signals::signals(args).await,
                        Command::Signal(args) => signals::signal(args).await,
                        Command::Incident(command) => incidents::incident(command).await,
                        Command::Drills(command) => drills::drills(command).await,
                        Command::Doctor(args) => Box::pin(doctor::doctor(args)).await,
                        Command::Completion { shell } => complete::completion(shell),
                        Command::SignIn(args) => sign_in::sign_in(args).await,
                        Command::Token(command) => token::token(command).await,
                        Command::Sim(args) => simulated::sim(args).await,
                        Command::Migrate(args) => migrate::migrate(args).await,
                        Command::Audit(command) => audit::audit(command).await,
                        Command::Triggers(command) => triggers::triggers(command).await,
                        Command::Inventory(command) => inventory::inventory(command).await,
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
            let failure = e.downcast_ref::<Failure>();
            // Who asked for JSON reads the problem as the API told it.
            if let Some(problem) = failure.and_then(|f| f.problem.as_ref()).filter(|_| wants_json()) {
                terminal::say(format!("{problem:#}"));
            }
            failure.map_or(Exit::Usage, |failure| failure.exit).into()
        }
    }
}

fn wants_json() -> bool {
    std::env::args().any(|arg| arg == "--json")
}
