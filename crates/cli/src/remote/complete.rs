//! Completion in the shell: verbs and flags from the program itself, runbooks, inputs, runs, incidents and targets from the server.
//!
//! A server that does not answer within two seconds completes nothing: nobody waits for a key to be heard.

use std::ffi::OsStr;
use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::engine::CompletionCandidate;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use serde_json::Value;

use super::Remote;
use super::plan::escaped;
use super::server::Server;
use super::words::word;
use crate::Cli;

/// Which shell.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shell {
    /// eval "$(firebreak completion bash)" in ~/.bashrc
    Bash,
    /// eval "$(firebreak completion zsh)" in ~/.zshrc
    Zsh,
    /// firebreak completion fish | source, in ~/.config/fish/config.fish
    Fish,
}

/// Prints what a shell must evaluate.
pub(crate) fn completion(shell: Shell) -> anyhow::Result<ExitCode> {
    let shell: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let name = Cli::command().get_name().to_owned();
    shell.write_registration("COMPLETE", &name, &name, &name, &mut std::io::stdout())?;
    Ok(ExitCode::SUCCESS)
}

/// Names of runbooks.
pub(super) fn runbooks(begun: &OsStr) -> Vec<CompletionCandidate> {
    let each = |runbook: &Value| (word(runbook, "name").to_owned(), word(runbook, "title").to_owned());
    listed("/api/v1/runbooks", "runbooks", each, begun)
}

/// Runs that have not ended.
pub(super) fn runs(begun: &OsStr) -> Vec<CompletionCandidate> {
    let each = |run: &Value| (word(run, "id").to_owned(), word(run, "title").to_owned());
    listed("/api/v1/runs?open=1", "runs", each, begun)
}

/// Incidents, the newest first.
pub(super) fn incidents(begun: &OsStr) -> Vec<CompletionCandidate> {
    listed("/api/v1/incidents", "incidents", incident, begun)
}

/// Incidents that are open.
pub(super) fn open_incidents(begun: &OsStr) -> Vec<CompletionCandidate> {
    listed("/api/v1/incidents?open=1", "incidents", incident, begun)
}

fn incident(incident: &Value) -> (String, String) {
    (format!("INC-{}", incident["number"]), word(incident, "title").to_owned())
}

/// Drills that can be played.
pub(super) fn offers(begun: &OsStr) -> Vec<CompletionCandidate> {
    let all = asked("/api/v1/drills")["offers"].as_array().cloned().unwrap_or_default();
    let here = all.iter().filter(|offer| offer["why_not"].is_null());
    candidates(here.map(|offer| (word(offer, "name").to_owned(), word(offer, "title").to_owned())), begun)
}

/// What may be struck, or locked: fleets and clusters of the inventory.
pub(super) fn targets(begun: &OsStr) -> Vec<CompletionCandidate> {
    let now = asked("/api/v1/situation");
    let of = |kind: &'static str, name: &str| {
        let all = now[name].as_array().cloned().unwrap_or_default();
        all.into_iter()
            .map(move |one| (format!("{kind}:{}", word(&one, "id")), word(&one, "region").to_owned()))
    };
    candidates(of("fleet", "fleets").chain(of("cluster", "clusters")), begun)
}

/// Inputs of the runbook that stands before: their names, and their values where these can be chosen.
pub(super) fn inputs(begun: &OsStr) -> Vec<CompletionCandidate> {
    let words: Vec<String> = std::env::args().collect();
    let verb = words.iter().position(|word| word == "plan" || word == "run");
    let runbook = verb.and_then(|at| words[at + 1..].iter().find(|word| !word.starts_with('-')));
    let Some(runbook) = runbook else { return Vec::new() };
    let each = |input: &Value| {
        let (name, about) = (word(input, "name"), word(input, "description").to_owned());
        let values = input["choices"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut all: Vec<_> = values.map(|value| (format!("{name}={value}"), about.clone())).collect();
        if all.is_empty() {
            all.push((format!("{name}="), about));
        }
        all
    };
    let answer = asked(&format!("/api/v1/runbooks/{}", escaped(runbook)));
    let inputs = answer["inputs"].as_array().into_iter().flatten();
    candidates(inputs.flat_map(each), begun)
}

fn listed(
    path: &str,
    name: &str,
    each: impl Fn(&Value) -> (String, String),
    begun: &OsStr,
) -> Vec<CompletionCandidate> {
    let answer = asked(path);
    candidates(answer[name].as_array().into_iter().flatten().map(each), begun)
}

fn candidates(all: impl Iterator<Item = (String, String)>, begun: &OsStr) -> Vec<CompletionCandidate> {
    let begun = begun.to_string_lossy();
    all.filter(|(value, _)| value.starts_with(&*begun))
        .map(|(value, about)| CompletionCandidate::new(value).help(Some(about.into())))
        .collect()
}

/// Asks the server, from a place that is not asynchronous; nothing when it does not answer.
fn asked(path: &str) -> Value {
    let Ok(server) = Server::of(&Remote { url: std::env::var("FIREBREAK_URL").ok(), json: false }) else {
        return Value::Null;
    };
    soon(async { server.get(path).await.unwrap_or(Value::Null) })
}

fn soon(work: impl Future<Output = Value>) -> Value {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Value::Null;
    };
    runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(2), work).await.unwrap_or(Value::Null) })
}
