//! The gate that every change passes: `cargo xtask ci`.

use anyhow::{Context as _, Result};

use crate::parts::Part;
use crate::{cargo, metadata, setup};

/// Files that are made from code and kept in the repository: a name, and the cargo command that fails when the kept
/// one is stale.
const GENERATED: [(&str, &[&str]); 1] = [(
    "runbooks/runbook.schema.json",
    &[
        "run",
        "--quiet",
        "--locked",
        "--package",
        "firebreak",
        "--",
        "runbook",
        "schema",
        "--check",
        "runbooks/runbook.schema.json",
    ],
)];

pub(crate) fn lint() -> Result<()> {
    cargo::run(cargo::cargo(&["fmt", "--all", "--check"]))?;
    cargo::run(cargo::cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
}

/// Cheap questions first.
pub(crate) fn ci() -> Result<()> {
    setup::ensure(&Part::ALL)?;
    lint()?;
    metadata::check()?;
    for (name, command) in GENERATED {
        cargo::run(cargo::cargo(command)).with_context(|| format!("{name} is stale"))?;
    }
    cargo::run(cargo::cargo(&["xtask", "test"])) // as the README says it
}
