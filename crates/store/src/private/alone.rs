//! A Postgres that one test has to itself: it can be stopped, killed, copied to a standby, and promoted.
//!
//! The shared server of the tests must not be touched so. This one costs a second to set up, and its guardian ends it
//! with the test, whatever way the test ends.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::PathBuf;
use std::process::Stdio;

use sqlx::postgres::PgConnectOptions;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use uuid::Uuid;

use super::server::Programs;
use super::{Options, PrivateError, Server};

/// How a server goes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Statements are cut off, everything is written, sessions are told.
    Fast,
    /// As in a crash: nothing is written any more.
    Immediate,
}

/// The server. Dropping it removes it with all its files.
#[derive(Debug)]
pub struct Alone {
    // None only while it is being dropped.
    server: Option<Server>,
    folder: PathBuf,
}

impl Alone {
    /// A new, empty server.
    pub async fn start() -> Result<Self, PrivateError> {
        let shared = Options::fleeting().data;
        let name = format!("alone-{}", &Uuid::new_v4().simple().to_string()[..12]);
        Self::at(shared.with_file_name(name)).await
    }

    async fn at(data: PathBuf) -> Result<Self, PrivateError> {
        let server = Server::start(Options { data, durable: false }).await?;
        let folder = server.folder();
        Ok(Self { server: Some(server), folder })
    }

    /// The URL of a database on it.
    pub fn url(&self, database: &str) -> String {
        self.server.as_ref().map(|server| server.url(database)).unwrap_or_default()
    }

    /// Its socket, for a proxy.
    pub fn socket(&self) -> PathBuf {
        let options = self.url("postgres").parse::<PgConnectOptions>().ok();
        options.and_then(|o| o.get_socket().cloned()).unwrap_or_default().join(".s.PGSQL.5432")
    }

    /// Stops it, and returns once it is down.
    pub async fn stop(&self, how: Stop) -> Result<(), PrivateError> {
        let mode = if how == Stop::Fast { "fast" } else { "immediate" };
        self.pg_ctl(&["stop", "-w", "-t", "60", "-m", mode]).await
    }

    /// Starts it again.
    pub async fn resume(&self) -> Result<(), PrivateError> {
        self.pg_ctl(&["start", "-w", "-t", "60", "-l", "log"]).await
    }

    /// A standby that follows it, asynchronously unless `synchronous_standby_names` says otherwise.
    pub async fn standby(&self) -> Result<Self, PrivateError> {
        let data = self.folder.with_extension("standby");
        let owner = fs::metadata(&self.folder).map_err(failed)?;
        fs::create_dir_all(&data).map_err(failed)?;
        chown(&data, Some(owner.uid()), Some(owner.gid())).map_err(failed)?;
        let programs = programs()?;
        let copy = data.join(programs.major.to_string());
        let mut basebackup = self.command(&programs, "pg_basebackup")?;
        basebackup.args(["--no-sync", "--checkpoint=fast", "--write-recovery-conf", "-d"]);
        run(basebackup.arg(self.url("postgres")).arg("-D").arg(copy), "pg_basebackup").await?;
        Self::at(data).await
    }

    /// Makes a standby a primary, and returns once it takes writes.
    pub async fn promote(&self) -> Result<(), PrivateError> {
        self.pg_ctl(&["promote", "-w", "-t", "60"]).await
    }

    /// Has psql do what a script says, as one of its roles. What psql complains of is the error.
    pub async fn script(
        &self,
        role: &str,
        variables: &[(&str, &str)],
        script: &'static str,
    ) -> Result<(), PrivateError> {
        let mut command = self.command(&programs()?, "psql")?;
        command.args(["--no-psqlrc", "--quiet", "-d", "postgres", "-U", role, "-h"]);
        command.arg(self.socket().with_file_name("")).args(["-f", "-"]);
        for (name, value) in variables {
            command.arg("-v").arg(format!("{name}={value}"));
        }
        command.stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut psql = command.spawn().map_err(failed)?;
        if let Some(mut input) = psql.stdin.take() {
            input.write_all(script.as_bytes()).await.map_err(failed)?;
        }
        let done = psql.wait_with_output().await.map_err(failed)?;
        if done.status.success() {
            return Ok(());
        }
        Err(PrivateError::Start(String::from_utf8_lossy(&done.stderr).into_owned()))
    }

    async fn pg_ctl(&self, args: &[&str]) -> Result<(), PrivateError> {
        let programs = programs()?;
        let mut command = self.command(&programs, "pg_ctl")?;
        command.args(args).arg("-D").arg(programs.major.to_string());
        run(&mut command, args.first().unwrap_or(&"pg_ctl")).await
    }

    /// A program of Postgres, run as whoever owns the server's files, and in their folder.
    fn command(&self, programs: &Programs, name: &str) -> Result<Command, PrivateError> {
        let owner = fs::metadata(&self.folder).map_err(failed)?;
        // The folder on the PATH may hold no more than links to the three that a server needs.
        let mut program = programs.bin.join(name);
        if !program.is_file() {
            program = fs::canonicalize(programs.bin.join("postgres")).map_err(failed)?.with_file_name(name);
        }
        let mut command = Command::new(program);
        command.uid(owner.uid()).gid(owner.gid()).current_dir(&self.folder);
        // What Postgres inherits of our pipes would keep them open for as long as it runs.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(command)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        if let Ok(programs) = programs()
            && let Ok(mut command) = self.command(&programs, "pg_ctl")
        {
            let command = command.as_std_mut();
            command.args(["stop", "-w", "-m", "immediate", "-D"]).arg(programs.major.to_string());
            // It may be down already.
            let _ = command.status();
        }
        self.server = None;
        if let Err(e) = fs::remove_dir_all(&self.folder) {
            tracing::warn!("{} stays behind: {e}", self.folder.display());
        }
    }
}

fn programs() -> Result<Programs, PrivateError> {
    Programs::find().map_err(|problem| PrivateError::Start(problem.to_string()))
}

fn failed(e: std::io::Error) -> PrivateError {
    PrivateError::Start(e.to_string())
}

async fn run(command: &mut Command, what: &str) -> Result<(), PrivateError> {
    let status = command.status().await.map_err(failed)?;
    if status.success() { Ok(()) } else { Err(PrivateError::Start(format!("{what} failed: {status}"))) }
}
