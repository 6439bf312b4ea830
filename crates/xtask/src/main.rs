//! `cargo xtask …`: what a person or a machine does with this repository, as one command each.
//!
//! It is built before everything else, so it uses little but the standard library. What is missing on the machine it
//! installs where it may (`setup`), and it runs everything else in an environment in which that is found
//! (`environment`). The last command of a task replaces this process: Ctrl-C and standard input go where they belong.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod cargo;
mod chaos;
mod environment;
mod gate;
mod metadata;
mod npm;
mod packages;
mod parts;
mod places;
#[path = "../../store/src/private/server/mod.rs"]
mod postgres; // std only, and needed before `store` compiles: its SQL is checked against a server
mod pypi;
mod relocate;
mod rootless;
mod setup;
mod tarball;

use std::process::ExitCode;

use anyhow::{Result, bail};
use parts::Part;

const HELP: &str = "\
cargo xtask setup [--what postgres,browser,moto,awscli,schemathesis,mariadb,jq,prometheus,axe,oidc-provider] install what is missing
cargo xtask demo [ARGS]                                    the incident, on this machine   (also: cargo demo)
cargo xtask test [CARGO TEST ARGS]                         all tests, with all they need
cargo xtask bench                                          what the engine costs, as ratios to what Postgres can do
cargo xtask chaos [--seeds N] [--from S] [--jobs J]        many seeds of the chaos test; a seed repeats its failure
cargo xtask lint                                           rustfmt and clippy
cargo xtask sqlx [--check]                                 write (or compare) crates/store/.sqlx
cargo xtask bench-audit [ENTRIES]                          how fast a large history is searched and proven
cargo xtask bench-pages [ENTRIES]                          the pages on that history, and a thousand watchers of one run
cargo xtask bench-hooks                                    a storm of alerts over HTTP: is any lost, how late, how much memory
cargo xtask ci                                             the gate: lint, sqlx --check, generated files, test
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("cargo xtask: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (task, rest) = args.split_first().map_or(("help", &[][..]), |(task, rest)| (task.as_str(), rest));
    if task != "help" {
        environment::enter()?;
    }
    match (task, rest) {
        ("setup", _) => setup::command(rest),
        ("demo", _) => {
            // A server that we are given is used as it is, and none of our own needed.
            let given = std::env::var_os("DATABASE_URL").is_some_and(|url| !url.is_empty());
            setup::ensure(if given { &[] } else { &[Part::Postgres] })?;
            cargo::become_demo(rest)
        }
        ("test", _) => {
            setup::ensure(&Part::ALL)?;
            cargo::become_test(rest)
        }
        ("bench", _) => {
            setup::ensure(&[Part::Postgres])?;
            cargo::become_bench(rest)
        }
        ("chaos", _) => {
            setup::ensure(&[Part::Postgres])?;
            chaos::become_chaos(rest)
        }
        ("lint", []) => gate::lint(),
        ("sqlx", []) => metadata::write(),
        ("sqlx", [flag]) if flag == "--check" => metadata::check(),
        ("bench-audit", _) => {
            setup::ensure(&[Part::Postgres])?;
            cargo::become_audit_bench(rest)
        }
        ("bench-hooks", _) => {
            setup::ensure(&[Part::Postgres])?;
            cargo::become_hooks_bench(rest)
        }
        ("bench-pages", _) => {
            setup::ensure(&[Part::Postgres])?;
            cargo::become_pages_bench(rest)
        }
        ("ci", []) => gate::ci(),
        ("help" | "--help" | "-h", _) => {
            print!("{HELP}");
            Ok(())
        }
        _ => bail!("`{}` is not a task; these are:\n{HELP}", args.join(" ")),
    }
}
