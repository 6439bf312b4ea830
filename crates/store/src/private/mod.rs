//! A Postgres of our own, so that nobody has to set one up before the demo or the tests.
//!
//! `DATABASE_URL` always wins: with it, no server is started. Else one server per data folder runs as long as any
//! process uses it (`server`), and each test has a database of its own on it ([`TestDb`]); a test
//! that stops or promotes servers has some to itself ([`Alone`]).
//!
//! Production does not come here: it connects to the server it is given.

mod alone;
mod server;
mod template;
mod test_db;
#[cfg(test)]
mod tests;

use std::env;
use std::path::PathBuf;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::StoreError;

pub use alone::{Alone, Stop};
pub use test_db::TestDb;

/// Names a server that runs; no private one is started then.
pub const URL_VARIABLE: &str = "DATABASE_URL";

/// Why there is no private database.
#[derive(Debug, thiserror::Error)]
pub enum PrivateError {
    /// The server does not start; it says why, and what to do.
    #[error("{0}")]
    Start(String),
    /// The server refused a question.
    #[error("private Postgres: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema was not accepted.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server we were told to use.
    #[error("DATABASE_URL: {0}")]
    Given(String),
}

/// How to run the private server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its data folder. Processes that name the same folder share one server. Root may get another place, if the
    /// server's user cannot enter this one: see [`Server::folder`].
    pub data: PathBuf,
    /// Whether the data is to outlive a crash of the machine. Tests do without, and are several times as fast.
    pub durable: bool,
}

impl Options {
    /// For the demo: `$XDG_STATE_HOME/firebreak/postgres`, else `~/.local/state/firebreak/postgres`.
    pub fn lasting() -> Self {
        let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
        let home = || env::var_os("HOME").map(|h| PathBuf::from(h).join(".local/state"));
        let data = state.or_else(home).unwrap_or_else(env::temp_dir).join("firebreak/postgres");
        Self { data, durable: true }
    }

    /// For tests: in the target folder that this program was built into, else in the temporary folder.
    pub fn fleeting() -> Self {
        let program = env::current_exe().unwrap_or_default();
        let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
        let data = target.map_or_else(env::temp_dir, PathBuf::from).join("firebreak-test-postgres");
        Self { data, durable: false }
    }
}

/// A use of the private server. It runs as long as any process holds one of these for its data folder, and stops after
/// the last is dropped or dead, `kill -9` included.
#[derive(Debug)]
pub struct Server {
    running: server::Running,
}

impl Server {
    /// Starts the server, or joins the one that runs.
    pub async fn start(options: Options) -> Result<Self, PrivateError> {
        let start = move || server::Running::start(&options.data, options.durable);
        let mut running = match tokio::task::spawn_blocking(start).await {
            Ok(started) => started.map_err(|problem| PrivateError::Start(problem.to_string()))?,
            Err(e) => std::panic::resume_unwind(e.into_panic()),
        };
        if let Some(_alone) = running.alone() {
            template::remove_stale(&running.url("postgres")).await?;
        }
        Ok(Self { running })
    }

    /// The URL of a database on it, which need not exist.
    pub fn url(&self, database: &str) -> String {
        self.running.url(database)
    }

    /// Creates the database, unless it is there, and returns its URL. Its schema is not touched: [`crate::connect`]
    /// brings it up to date.
    pub async fn ensure_database(&self, name: &str) -> Result<String, PrivateError> {
        let mut admin = PgConnection::connect(&self.url("postgres")).await?;
        let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(name)
            .fetch_one(&mut admin)
            .await?;
        if !there {
            let create = format!("CREATE DATABASE {}", quoted(name));
            if let Err(e) = sqlx::query(AssertSqlSafe(create)).execute(&mut admin).await
                && e.as_database_error().and_then(|e| e.code()).as_deref() != Some("42P04")
            {
                return Err(e.into()); // 42P04: another process created it just now
            }
        }
        admin.close().await?;
        Ok(self.url(name))
    }

    /// Creates the database anew, empty, whatever was in it, and returns its URL.
    pub async fn fresh_database(&self, name: &str) -> Result<String, PrivateError> {
        let mut admin = PgConnection::connect(&self.url("postgres")).await?;
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
        sqlx::query(AssertSqlSafe(drop)).execute(&mut admin).await?;
        admin.close().await?;
        self.ensure_database(name).await
    }

    /// Where its files are.
    pub fn folder(&self) -> PathBuf {
        self.running.folder()
    }
}

/// A database to work in: the one that `DATABASE_URL` names, or one on the private server.
#[derive(Debug)]
pub struct Database {
    /// Its URL.
    pub url: String,
    /// The private server. None: we were given one.
    pub server: Option<Server>,
}

impl Database {
    /// `DATABASE_URL` as it is, else a fresh database of this name on the private server.
    pub async fn given_or_fresh(options: Options, name: &str) -> Result<Self, PrivateError> {
        if let Some(url) = given()? {
            return Ok(Self { url, server: None });
        }
        let server = Server::start(options).await?;
        let url = server.fresh_database(name).await?;
        Ok(Self { url, server: Some(server) })
    }
}

/// `DATABASE_URL`, unless it is unset or empty.
fn given() -> Result<Option<String>, PrivateError> {
    match env::var(URL_VARIABLE) {
        Ok(url) if url.is_empty() => Ok(None),
        Ok(url) => Ok(Some(url)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(PrivateError::Given("is not UTF-8".to_owned())),
    }
}

/// An SQL name.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
