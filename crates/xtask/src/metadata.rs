//! `crates/store/.sqlx`: what the SQL macros learnt from a database, kept so that nobody needs one to compile.
//!
//! The macros of sqlx write it themselves when they see a database and `SQLX_OFFLINE_DIR`. So: a private Postgres with the
//! migrations, and one `check` of `store` with a flag that it has never seen, which makes the compiler run again without
//! touching a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::parts::Part;
use crate::{cargo, places, postgres, setup};

/// File name and text.
type Metadata = BTreeMap<String, String>;

fn kept() -> PathBuf {
    places::repository().join("crates/store/.sqlx")
}

/// Replaces what is kept.
pub(crate) fn write() -> Result<()> {
    let (now, before) = (learn()?, read(&kept())?);
    fs::create_dir_all(kept()).context("cannot create crates/store/.sqlx")?;
    for name in before.keys().filter(|name| !now.contains_key(*name)) {
        fs::remove_file(kept().join(name)).with_context(|| format!("cannot remove {name}"))?;
    }
    for (name, text) in now.iter().filter(|(name, text)| before.get(*name) != Some(text)) {
        fs::write(kept().join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    println!("{} queries in {}", now.len(), kept().display());
    Ok(())
}

/// Fails if `write` would change anything.
pub(crate) fn check() -> Result<()> {
    let (now, kept) = (learn()?, read(&kept())?);
    let mut complaints = Vec::new();
    for (name, text) in &now {
        match kept.get(name) {
            None => complaints.push(format!("missing: {}", query_of(text))),
            Some(other) if other != text => complaints.push(format!("stale: {}", query_of(text))),
            Some(_) => {}
        }
    }
    let gone = kept.iter().filter(|(name, _)| !now.contains_key(*name));
    complaints.extend(gone.map(|(_, text)| format!("no longer asked: {}", query_of(text))));
    if complaints.is_empty() {
        println!("{} queries agree with crates/store/.sqlx", now.len());
        return Ok(());
    }
    bail!("crates/store/.sqlx does not fit the SQL; run `cargo xtask sqlx`.\n{}", complaints.join("\n"))
}

/// Compiles `store` against a database with the migrations, and collects what the macros learn.
fn learn() -> Result<Metadata> {
    setup::ensure(&[Part::Postgres])?;
    let mut server = postgres::Running::start(&places::target().join("firebreak-test-postgres"), false)?;
    println!("Postgres in {}", server.folder().display());
    drop(server.alone()); // tests may join
    // By this name it counts as a test's, and is removed at the next start if we cannot.
    let database = format!("firebreak_test_sqlx_{}", std::process::id());
    let psql = |database: &str| -> Result<Command> {
        let mut psql = Command::new(psql_program()?);
        psql.arg(server.url(database)).args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]);
        psql.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(psql)
    };
    let administer = |sql: String| -> Result<()> {
        let mut psql = psql("postgres")?;
        psql.arg("--command").arg(sql);
        quietly(psql)
    };
    administer(format!("CREATE DATABASE {database}"))?;
    let learnt = migrations().and_then(|files| {
        for file in files {
            let mut psql = psql(&database)?;
            psql.arg("--single-transaction").arg("--file").arg(file);
            quietly(psql)?;
        }
        compile_against(&server.url(&database))
    });
    administer(format!("DROP DATABASE {database} WITH (FORCE)"))?;
    learnt
}

fn compile_against(url: &str) -> Result<Metadata> {
    let folder = places::target().join(format!("sqlx-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let never_seen = format!("metadata_run=\"{}\"", std::process::id());
    let mut check =
        cargo::cargo(&["rustc", "--package", "store", "--lib", "--profile", "check", "--locked", "--"]);
    check.args(["--cfg", &never_seen, "--allow", "warnings"]);
    check.env("DATABASE_URL", url).env("SQLX_OFFLINE", "false").env("SQLX_OFFLINE_DIR", &folder);
    let learnt = cargo::run(check).and_then(|()| read(&folder));
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    learnt
}

/// In the order of their numbers.
fn migrations() -> Result<Vec<PathBuf>> {
    let folder = places::repository().join("migrations");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|e| e == "sql"));
    files.sort();
    Ok(files)
}

fn read(folder: &Path) -> Result<Metadata> {
    let mut found = Metadata::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "json") {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            found.insert(name, text);
        }
    }
    Ok(found)
}

/// The query's own line of the metadata, to know it by.
fn query_of(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| line.starts_with("\"query\"")).unwrap_or("a query")
}

/// psql lies beside the server's programs, or on the PATH.
fn psql_program() -> Result<PathBuf> {
    let beside = postgres::Programs::find()?.bin.join("psql");
    Ok(if beside.is_file() { beside } else { PathBuf::from("psql") })
}

fn quietly(mut command: Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", cargo::shown(&command)))?;
    if !status.success() {
        bail!("`{}` failed", cargo::shown(&command));
    }
    Ok(())
}
