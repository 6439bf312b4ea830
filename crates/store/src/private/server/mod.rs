//! A Postgres server of our own: found, set up, started, shared and stopped.
//!
//! ```text
//!   lock ── join ── a guardian answers ───────────────────────────▶ users + 1
//!             └──── nobody does ── stop what is left ── initdb ── guardian + Postgres ──▶ users = 1
//!   users = 0 ── the guardian stops Postgres and leaves
//! ```
//!
//! Only the standard library is used and no query is sent: `xtask` includes this very folder, because it has to start
//! a server before `store` compiles (the SQL in it is checked against one).
//!
//! It does not listen on the network. Its socket lies in a folder that only the server's user and root can enter, so it
//! needs no password.

mod account;
mod cluster;
mod folder;
mod guardian;
mod problem;
mod programs;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use account::Account;
use cluster::Cluster;
use folder::Folder;
use guardian::Answer;

pub(crate) use problem::Problem;
pub(crate) use programs::Programs;

/// The superuser, and the owner of everything.
const USER: &str = "firebreak";

/// A use of the server: it runs at least until this is dropped, or until this process dies.
#[derive(Debug)]
pub(crate) struct Running {
    folder: Folder,
    _users: File,
    /// The lock, after a fresh start, so that its caller can tidy up before anybody joins.
    fresh: Option<File>,
}

impl Running {
    /// Joins the server that uses this folder, or starts it. Blocks: about 0.1 s, the first time a second.
    pub(crate) fn start(data: &Path, durable: bool) -> Result<Self, Problem> {
        let programs = Programs::find()?;
        let account = Account::choose()?;
        let folder = Folder::prepare(data, account)?;
        let path = folder.root.join("lock");
        let lock = File::create(&path).map_err(Problem::io("create", &path))?;
        lock.lock().map_err(Problem::io("lock", &path))?;
        match guardian::join(&folder)? {
            Answer::Ready(users) => return Ok(Self { folder, _users: users, fresh: None }),
            Answer::Failed => return Err(failed(&folder)), // others use it: not ours to throw away
            Answer::Gone => {}
        }
        let cluster = Cluster::of(&folder, &programs, durable);
        let mut second = durable; // never throw away what was meant to last
        loop {
            cluster.stop(&folder, account)?;
            cluster.prepare(&folder, account)?;
            let log = guardian::log(&folder);
            if log.exists() {
                fs::rename(&log, log.with_extension("old")).map_err(Problem::io("rename", &log))?;
            }
            if let Answer::Ready(users) = guardian::start(&folder, account, &cluster)? {
                return Ok(Self { folder, _users: users, fresh: Some(lock) });
            }
            if second {
                return Err(failed(&folder));
            }
            // Without fsync, a machine that lost power leaves a broken cluster. Nothing in it was to last.
            second = true;
            fs::remove_dir_all(&cluster.data).map_err(Problem::io("remove", &cluster.data))?;
        }
    }

    /// After a fresh start: as long as the caller keeps this, nobody can join.
    pub(crate) fn alone(&mut self) -> Option<File> {
        self.fresh.take()
    }

    /// The URL of a database on it.
    pub(crate) fn url(&self, database: &str) -> String {
        self.folder.url(USER, database)
    }

    /// Where its files are: the folder asked for, or for root perhaps another one.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.root.clone()
    }
}

/// Postgres did not start; its log says why.
fn failed(folder: &Folder) -> Problem {
    let log = guardian::log(folder);
    let said = fs::read_to_string(&log).map_or_else(|e| e.to_string(), |s| cluster::last_lines(&s));
    Problem::Failed { what: format!("the start (its log is {})", log.display()), said }
}
