//! Packages of the operating system, and whether we may install them.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::{cargo, relocate, rootless};

/// Who packs for this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Debian,
    Ubuntu,
    Fedora,
    Homebrew,
}

impl Family {
    fn here() -> Option<Self> {
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let ubuntu = release.lines().any(|line| {
            line.split_once('=').is_some_and(|(key, value)| key.starts_with("ID") && value.contains("ubuntu"))
        });
        match () {
            () if on_path("apt-get").is_some() && ubuntu => Some(Self::Ubuntu),
            () if on_path("apt-get").is_some() => Some(Self::Debian),
            () if on_path("dnf").is_some() => Some(Self::Fedora),
            () if on_path("brew").is_some() => Some(Self::Homebrew),
            () => None,
        }
    }

    /// What installs these, as root; brew does without.
    fn commands(self, packages: &[&str]) -> Vec<Vec<String>> {
        let install: &[&[&str]] = match self {
            Self::Debian | Self::Ubuntu => &[
                &["apt-get", "-q", "update"],
                &["apt-get", "-q", "install", "--yes", "--no-install-recommends"],
            ],
            Self::Fedora => &[&["dnf", "install", "--assumeyes"]],
            Self::Homebrew => &[&["brew", "install"]],
        };
        let mut commands: Vec<Vec<String>> =
            install.iter().map(|words| words.iter().map(|&w| w.to_owned()).collect()).collect();
        if let Some(last) = commands.last_mut() {
            last.extend(packages.iter().map(|&p| p.to_owned()));
        }
        commands
    }
}

/// Installs the packages of each family's names, or unpacks them where we may not install, or says what to run.
pub(crate) fn install(what: &str, packages: impl Fn(Family) -> Vec<&'static str>) -> Result<()> {
    let Some(family) = Family::here() else {
        bail!(
            "{what}: missing, and neither apt-get, dnf nor brew is here to install it. With your own package \
             manager, install what Debian calls: {}",
            packages(Family::Debian).join(" ")
        );
    };
    let names = packages(family);
    let commands = family.commands(&names);
    let prefix: &[&str] = match family {
        Family::Homebrew if !is_root() => &[],
        _ if is_root() && family != Family::Homebrew => &[],
        _ if sudo_works() && family != Family::Homebrew => &["sudo", "-n"],
        Family::Debian | Family::Ubuntu if on_path("dpkg").is_some() => {
            println!("{what}: no right to install, so it is unpacked into the target folder");
            return rootless::unpack(&names);
        }
        _ => {
            let lines: Vec<String> =
                commands.iter().map(|words| format!("  sudo {}", words.join(" "))).collect();
            bail!(
                "{what}: missing, and we may not install it. Run this, then try again:\n{}",
                lines.join("\n")
            );
        }
    };
    for words in commands {
        let mut all = prefix.iter().map(|&w| w.to_owned()).chain(words);
        let Some(program) = all.next() else { continue };
        let mut command = Command::new(program);
        command.args(all).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        cargo::run(command)?;
    }
    Ok(())
}

/// The same for what would start a service where it is installed: unpacked, it starts nothing.
pub(crate) fn install_without_service(
    what: &str,
    packages: impl Fn(Family) -> Vec<&'static str>,
) -> Result<()> {
    match Family::here() {
        Some(family @ (Family::Debian | Family::Ubuntu)) if on_path("dpkg").is_some() => {
            println!("{what}: unpacked into the target folder, so that no service starts");
            rootless::unpack(&packages(family))?;
            relocate::alertmanager()
        }
        _ => install(what, packages),
    }
}

pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Without asking for a password.
fn sudo_works() -> bool {
    let mut sudo = Command::new("sudo");
    sudo.args(["-n", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    sudo.status().is_ok_and(|status| status.success())
}
