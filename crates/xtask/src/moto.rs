//! moto, a stand-in for AWS by other people: installed with pip into the target folder, and nowhere else.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::{cargo, parts, places};

/// What the tests were written against.
const PINNED: &str = "moto[server]==5.2.5";

/// Where it is: a folder for PYTHONPATH, named by `FIREBREAK_MOTO` or filled by [`install`].
pub(crate) fn folder() -> Option<PathBuf> {
    if let Some(given) = env::var_os("FIREBREAK_MOTO").filter(|v| !v.is_empty()) {
        return Some(given.into());
    }
    let ours = places::tools().join("moto");
    fs::read_to_string(ours.join("pinned")).is_ok_and(|is| is == PINNED).then_some(ours)
}

/// pip: Python's own module, else the one that Debian keeps for new virtual environments.
pub(crate) fn pip() -> Option<Command> {
    let python = parts::python()?;
    let pip = || {
        let mut command = Command::new(&python);
        command.args(["-m", "pip"]);
        command
    };
    let mut asked = pip();
    asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if asked.status().is_ok_and(|status| status.success()) {
        return Some(pip());
    }
    let wheels =
        [PathBuf::from("/usr/share/python-wheels"), places::unpacked().join("usr/share/python-wheels")];
    let files = wheels.iter().filter_map(|folder| folder.read_dir().ok()).flatten().flatten();
    let wheel = files
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("pip-")))?;
    let mut command = pip();
    command.env("PYTHONPATH", wheel);
    Some(command)
}

pub(crate) fn install() -> Result<()> {
    let (new, ready) = (places::tools().join("moto.new"), places::tools().join("moto"));
    for folder in [&new, &ready] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
        }
    }
    let mut pip = pip().context("Python has no pip")?;
    pip.args([
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-warn-conflicts",
        "--only-binary=:all:",
    ]);
    pip.arg("--root-user-action=ignore").arg("--target").arg(&new).arg(PINNED).stdin(Stdio::null());
    cargo::run(pip)?;
    fs::write(new.join("pinned"), PINNED).with_context(|| format!("cannot write into {}", new.display()))?;
    fs::rename(&new, &ready).with_context(|| format!("cannot rename {}", new.display()))
}
