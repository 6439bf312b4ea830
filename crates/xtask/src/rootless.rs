//! Debian packages without the right to install: apt finds out, in folders of our own, which packages are missing
//! and fetches them (with its usual signature checks); they are unpacked beside each other, and `environment` makes
//! them findable. Their installation scripts do not run: nothing is started and no user is created.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::places;

pub(crate) fn unpack(packages: &[&str]) -> Result<()> {
    let apt = places::tools().join("apt");
    for folder in ["state/lists/partial", "cache/archives/partial", "log"] {
        let folder = apt.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    println!("apt-get update and install --download-only, in {}: {}", apt.display(), packages.join(" "));
    run(apt_get(&apt, &["update"]))?;
    let mut fetch = apt_get(&apt, &["install", "--download-only", "--yes", "--no-install-recommends"]);
    fetch.args(packages);
    run(fetch)?;

    let into = places::unpacked();
    fs::create_dir_all(&into).with_context(|| format!("cannot create {}", into.display()))?;
    let fetched = apt.join("cache/archives");
    let mut count = 0_u32;
    for entry in fs::read_dir(&fetched).with_context(|| format!("cannot read {}", fetched.display()))? {
        let file = entry?.path();
        // A second C library beside the loader of the first stops every program.
        let c_library = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libc6_"));
        if file.extension().is_some_and(|e| e == "deb") && !c_library {
            let status = Command::new("dpkg").arg("--extract").arg(&file).arg(&into).status();
            if !status.context("cannot run dpkg")?.success() {
                bail!("cannot unpack {}", file.display());
            }
            fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
            count += 1;
        }
    }
    println!("{count} packages unpacked into {}", into.display());
    Ok(())
}

fn run(mut apt_get: Command) -> Result<()> {
    let status = apt_get.status().context("cannot run apt-get")?;
    if !status.success() {
        bail!("apt-get failed ({status})");
    }
    Ok(())
}

/// apt-get on our folders, except for the list of what is installed.
fn apt_get(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    let mut option = |key: &str, value: &str| {
        command.arg("-o").arg(format!("{key}={value}"));
    };
    option("Dir::State", &folder.join("state").display().to_string());
    option("Dir::State::status", "/var/lib/dpkg/status");
    option("Dir::Cache", &folder.join("cache").display().to_string());
    option("Dir::Log", &folder.join("log").display().to_string());
    option("Debug::NoLocking", "true"); // the lock is root's
    option("APT::Keep-Downloaded-Packages", "true");
    option("Acquire::Languages", "none");
    option("Acquire::Retries", "5");
    command.arg("-qq").args(args).env("LC_ALL", "C").stdin(Stdio::null());
    command
}
