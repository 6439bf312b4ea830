//! What can keep a private Postgres from starting, in words that say what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no private Postgres.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The programs are not on this machine.
    Missing(String),
    /// The operating system refused something.
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file or program.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// We are root, which Postgres refuses to run as, and there is nobody else to run it as.
    NoAccount,
    /// A folder in a public place belongs to somebody else.
    Foreign {
        /// The folder.
        folder: PathBuf,
        /// Its owner's user id.
        owner: u32,
    },
    /// A program of Postgres ended badly.
    Failed {
        /// Which one.
        what: String,
        /// What it said, the last lines.
        said: String,
    },
    /// No answer in time.
    Silent {
        /// Where its log is.
        log: PathBuf,
    },
}

impl Problem {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, path: path.to_owned(), source }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(
                f,
                "no Postgres here: {what}. Run `cargo xtask setup --what postgres`, or install it yourself \
                 (Debian, Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server; macOS: brew \
                 install postgresql@17), or set DATABASE_URL to a server that runs"
            ),
            Self::Io { doing, path, source } => write!(f, "private Postgres: {doing} {}: {source}", path.display()),
            Self::NoAccount => f.write_str(
                "private Postgres: it refuses to run as root, and /etc/passwd has neither `postgres` nor `nobody` \
                 to run it as. Run as a normal user, or set DATABASE_URL to a server that runs",
            ),
            Self::Foreign { folder, owner } => write!(
                f,
                "private Postgres: {} belongs to user id {owner}, not to us; remove it or have it removed",
                folder.display()
            ),
            Self::Failed { what, said } => write!(f, "private Postgres: {what} failed:\n{}", said.trim_end()),
            Self::Silent { log } => {
                write!(f, "private Postgres: did not start in time; its log is {}", log.display())
            }
        }
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
