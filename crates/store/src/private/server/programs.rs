//! Where the programs of a Postgres server lie: `initdb`, `postgres` and `pg_ctl`, all three in one folder.
//!
//! Debian keeps them off the PATH, so the usual places are looked at too. Nothing is installed here: that is
//! `cargo xtask setup`.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::Problem;

/// Names the folder of the programs, and wins over every other place.
pub(crate) const BIN_VARIABLE: &str = "FIREBREAK_POSTGRES_BIN";

/// Older ones are out of support.
const OLDEST: u32 = 14;

/// Folders that hold one folder per version, and the folder of the programs within it.
const PLACES: [(&str, &str, &str); 6] = [
    ("/usr/lib/postgresql", "", "bin"), // Debian, Ubuntu: /usr/lib/postgresql/15/bin
    ("/usr", "pgsql-", "bin"),          // packages of postgresql.org for Fedora: /usr/pgsql-17/bin
    ("/opt/homebrew/opt", "postgresql", "bin"), // Homebrew on ARM: …/postgresql@17/bin
    ("/usr/local/opt", "postgresql", "bin"), // Homebrew on Intel
    ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
    ("/usr/lib64", "pgsql", "bin"),
];

/// The folder of the programs and their major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    /// Holds `initdb`, `postgres` and `pg_ctl`.
    pub(crate) bin: PathBuf,
    /// Such as 15. Data folders of different major versions do not fit each other.
    pub(crate) major: u32,
}

impl Programs {
    /// Looks in `$FIREBREAK_POSTGRES_BIN`, on the PATH, and in the usual places, where the newest wins.
    pub(crate) fn find() -> Result<Self, Problem> {
        if let Some(folder) = env::var_os(BIN_VARIABLE).filter(|v| !v.is_empty()) {
            return Self::at(Path::new(&folder)).ok_or_else(|| {
                Problem::Missing(format!(
                    "{BIN_VARIABLE} is {folder:?}, which does not hold initdb, postgres and pg_ctl of version \
                     {OLDEST} or newer"
                ))
            });
        }
        let path = env::var_os("PATH").unwrap_or_default();
        if let Some(found) = env::split_paths(&path).find_map(|folder| Self::at(&folder)) {
            return Ok(found);
        }
        usual_places().iter().filter_map(|folder| Self::at(folder)).max_by_key(|p| p.major).ok_or_else(|| {
            Problem::Missing(
                "initdb, postgres and pg_ctl are neither on the PATH nor in the usual places".to_owned(),
            )
        })
    }

    fn at(folder: &Path) -> Option<Self> {
        let complete = ["initdb", "postgres", "pg_ctl"].iter().all(|name| folder.join(name).is_file());
        let major = if complete { version(folder)? } else { return None };
        (major >= OLDEST).then(|| Self { bin: folder.to_owned(), major })
    }
}

fn usual_places() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (parent, prefix, bin) in PLACES {
        let Ok(entries) = fs::read_dir(parent) else { continue };
        let fits = |name: &OsStr| name.to_str().is_some_and(|n| n.starts_with(prefix));
        found.extend(entries.flatten().filter(|e| fits(&e.file_name())).map(|e| e.path().join(bin)));
    }
    found
}

/// From `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, also with `18beta1`.
fn version(folder: &Path) -> Option<u32> {
    let mut postgres = super::account::plain(folder.join("postgres"));
    let output = postgres.arg("--version").stdout(Stdio::piped()).output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

fn parse_version(text: &str) -> Option<u32> {
    let after = text.split("(PostgreSQL) ").nth(1)?;
    let digits = after.find(|c: char| !c.is_ascii_digit()).map_or(after, |end| &after[..end]);
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn the_major_version_is_read_from_what_postgres_says() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(parse_version("postgres (PostgreSQL) 19beta1\n"), Some(19));
        assert_eq!(parse_version("postgres (PostgreSQL) 17\n"), Some(17));
        assert_eq!(parse_version("something else"), None);
    }
}
