//! The environment that every task runs in: what was unpacked is found like what was installed, and tests learn where
//! their helpers are. What a person has set stays.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::npm::OIDC_PROVIDER;
use crate::pypi::{AWSCLI, MOTO, SCHEMATHESIS};
use crate::tarball::AXE;
use crate::{cargo, npm, parts, places};

/// Starts this program over with the variables that it and its children need, unless they are set. Once they are, it
/// returns.
pub(crate) fn enter() -> Result<()> {
    let wanted = wanted()?;
    if wanted.iter().all(|(name, value)| env::var_os(name).is_some_and(|is| is == *value)) {
        return Ok(());
    }
    let mut again = Command::new(env::current_exe().context("where is this program?")?);
    again.args(env::args_os().skip(1)).envs(wanted);
    cargo::become_command(again)
}

fn wanted() -> Result<Vec<(&'static str, OsString)>> {
    let mut wanted = Vec::new();
    let unpacked = places::unpacked();
    if unpacked.is_dir() {
        wanted.push(("PATH", with("PATH", &["usr/bin", "usr/sbin"].map(|f| unpacked.join(f)))?));
        wanted.push(("LD_LIBRARY_PATH", with("LD_LIBRARY_PATH", &libraries(&unpacked))?));
        if unpacked.join("usr/share/fonts").is_dir() && !Path::new("/etc/fonts/fonts.conf").exists() {
            wanted.push(("FONTCONFIG_FILE", fonts(&unpacked)?.into()));
        }
    }
    let found = [
        ("FIREBREAK_POSTGRES_BIN", parts::unpacked_postgres()),
        ("FIREBREAK_CHROMIUM", parts::chromium()),
        ("FIREBREAK_CHROMEDRIVER", parts::chromedriver()),
        ("FIREBREAK_MARIADBD", parts::mariadbd()),
        ("FIREBREAK_PYTHON", parts::python()),
        ("FIREBREAK_PROMETHEUS", parts::prometheus()),
        ("FIREBREAK_ALERTMANAGER", parts::alertmanager()),
        (AXE.variable, AXE.place()),
        (MOTO.variable, MOTO.folder()),
        (AWSCLI.variable, AWSCLI.folder()),
        (SCHEMATHESIS.variable, SCHEMATHESIS.folder()),
        ("FIREBREAK_NODE", npm::node()),
        (OIDC_PROVIDER.variable, OIDC_PROVIDER.folder()),
    ];
    for (name, place) in found {
        match (env::var_os(name), place) {
            (Some(set), _) => wanted.push((name, set)),
            (None, Some(place)) => wanted.push((name, place.into())),
            (None, None) => {}
        }
    }
    Ok(wanted)
}

/// The variable's list of folders, and these after it.
fn with(variable: &str, folders: &[PathBuf]) -> Result<OsString> {
    let now = env::var_os(variable).filter(|v| !v.is_empty()).unwrap_or_default();
    let mut all: Vec<PathBuf> = env::split_paths(&now).filter(|f| !f.as_os_str().is_empty()).collect();
    all.extend(folders.iter().filter(|f| f.is_dir() && !all.contains(f)).cloned().collect::<Vec<_>>());
    env::join_paths(all).with_context(|| format!("a folder of {variable} has a colon in its name"))
}

/// Every folder with shared libraries: packages put some in folders of their own.
fn libraries(unpacked: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for base in ["usr/lib", "lib"] {
        let Ok(inside) = unpacked.join(base).read_dir() else { continue };
        for folder in
            inside.flatten().map(|e| e.path()).filter(|p| p.to_string_lossy().ends_with("-linux-gnu"))
        {
            let below = folder.read_dir().into_iter().flatten().flatten().map(|e| e.path());
            found.extend(below.filter(|p| p.is_dir() && has_library(p)));
            found.push(folder);
        }
    }
    found.sort();
    found
}

fn has_library(folder: &Path) -> bool {
    let mut files = folder.read_dir().into_iter().flatten().flatten();
    files.any(|file| file.file_name().to_string_lossy().starts_with("lib") && file.path().is_file())
}

/// Chromium does not start without a font.
fn fonts(unpacked: &Path) -> Result<PathBuf> {
    let file = places::tools().join("fonts.conf");
    let text = format!(
        "<?xml version=\"1.0\"?>\n<!DOCTYPE fontconfig SYSTEM \"fonts.dtd\">\n<fontconfig><dir>{}</dir><cachedir>{}</cachedir></fontconfig>\n",
        unpacked.join("usr/share/fonts").display(),
        places::tools().join("fonts").display()
    );
    if !fs::read_to_string(&file).is_ok_and(|now| now == text) {
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(file)
}
