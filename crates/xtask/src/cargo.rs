//! The cargo commands. They agree on features, so that one target folder holds one AWS SDK: `tests/tidy.rs` proves that
//! building the binary alone asks for the same features of it as building everything with its tests.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{places, postgres};

/// cargo, in the repository, with a lock file that stays as it is.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.args(args).current_dir(places::repository());
    // cargo set these for this very program; a build script or test that reads one would mistake us for itself
    for (name, _) in std::env::vars_os() {
        let cargos = ["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_"];
        if cargos.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a step and fails with it.
pub(crate) fn run(mut command: Command) -> Result<()> {
    let shown = shown(&command);
    println!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot run {shown}"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Goes on as this command. Only returns if that fails.
pub(crate) fn become_command(mut command: Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot run {}", shown(&command)))
}

pub(crate) fn become_demo(args: &[String]) -> Result<()> {
    let mut command = cargo(&["run", "--locked", "--package", "firebreak", "--", "demo"]);
    command.args(args);
    become_command(command)
}

/// Optimized: half of it is hashing.
pub(crate) fn become_audit_bench(args: &[String]) -> Result<()> {
    let mut command =
        cargo(&["run", "--release", "--locked", "--package", "store", "--example", "audit_bench", "--"]);
    command.args(args);
    become_command(command)
}

pub(crate) fn test(args: &[String]) -> Command {
    let mut command = cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(args);
    command
}

pub(crate) fn become_test(args: &[String]) -> Result<()> {
    become_command(test(args))
}

/// Optimized, and of `engine` alone: nothing of it needs the AWS SDK.
pub(crate) fn become_bench(args: &[String]) -> Result<()> {
    let command = cargo(&["bench", "--locked", "--package", "engine", "--bench", "steps", "--"]);
    become_compared(command, args)
}

/// Optimized, on what [`become_audit_bench`] has made.
pub(crate) fn become_pages_bench(args: &[String]) -> Result<()> {
    let mut command =
        cargo(&["run", "--release", "--locked", "--package", "server", "--example", "pages_bench", "--"]);
    command.args(args);
    become_command(command)
}

/// Optimized. Nothing of it needs the AWS SDK.
pub(crate) fn become_hooks_bench(args: &[String]) -> Result<()> {
    let command =
        cargo(&["run", "--release", "--locked", "--package", "server", "--example", "hooks_bench", "--"]);
    become_compared(command, args)
}

/// With pgbench, which says what this Postgres can do at all.
fn become_compared(mut command: Command, args: &[String]) -> Result<()> {
    // Beside the server's programs, of which a distribution links only some to the PATH.
    let server = postgres::Programs::find().map_err(|problem| anyhow!("{problem}"))?.bin.join("postgres");
    let server = server.canonicalize().with_context(|| format!("cannot find {}", server.display()))?;
    command.args(args).env("PGBENCH", server.with_file_name("pgbench"));
    become_command(command)
}

/// As one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let mut line = program.rsplit('/').next().unwrap_or(&program).to_owned();
    for arg in command.get_args() {
        line.push(' ');
        line.push_str(&arg.to_string_lossy());
    }
    line
}
