//! The cluster: what `initdb` makes, and the settings that we run it with.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Account, Folder, Problem, Programs, USER};

#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) bin: PathBuf,
    /// Its folder's name in the server's folder.
    pub(super) name: String,
    pub(super) data: PathBuf,
    pub(super) durable: bool,
}

impl Cluster {
    pub(super) fn of(folder: &Folder, programs: &Programs, durable: bool) -> Self {
        let name = programs.major.to_string();
        Self { bin: programs.bin.clone(), data: folder.root.join(&name), name, durable }
    }

    /// Runs `initdb`, unless that was done, and writes the settings. An `initdb` that was interrupted leaves no trace,
    /// because the folder gets its name last.
    pub(super) fn prepare(&self, folder: &Folder, account: Account) -> Result<(), Problem> {
        if !self.data.join("PG_VERSION").is_file() {
            let unfinished = self.data.with_extension("new");
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished).map_err(Problem::io("remove", &unfinished))?;
            }
            let mut initdb = account.command(self.bin.join("initdb"));
            initdb.arg("-D").arg(&unfinished).current_dir(&folder.root);
            initdb.arg(format!("--username={USER}")).args([
                "--auth-local=trust", // the socket's folder lets nobody else in
                "--auth-host=reject",
                "--encoding=UTF8",
                "--locale=C",
            ]);
            if !self.durable {
                initdb.arg("--no-sync");
            }
            run(initdb, "initdb")?;
            fs::rename(&unfinished, &self.data).map_err(Problem::io("rename", &unfinished))?;
        }
        let path = self.data.join("postgresql.conf");
        fs::write(&path, self.settings(folder)).map_err(Problem::io("write", &path))?;
        account.own(&path)
    }

    fn settings(&self, folder: &Folder) -> Vec<u8> {
        let mut text = b"# Written at every start.\n\
            listen_addresses = ''\n\
            max_connections = 200\n\
            timezone = 'UTC'\n\
            log_timezone = 'UTC'\n\
            unix_socket_directories = '\""
            .to_vec();
        for &byte in folder.sockets.as_os_str().as_bytes() {
            match byte {
                b'\'' => text.extend(b"''"),
                b'"' => text.extend(b"\"\""),
                b'\\' => text.extend(b"\\\\"),
                other => text.push(other),
            }
        }
        text.extend(b"\"'\n");
        if !self.durable {
            text.extend(b"fsync = off\nfull_page_writes = off\n");
        }
        text
    }

    /// Stops a server that has no guardian, or waits until the one that is being stopped is gone.
    pub(super) fn stop(&self, folder: &Folder, account: Account) -> Result<(), Problem> {
        if !self.data.join("postmaster.pid").exists() {
            return Ok(());
        }
        let mut pg_ctl = account.command(self.bin.join("pg_ctl"));
        pg_ctl
            .args(["stop", "-m", "fast", "-w", "-t", "100", "-D"])
            .arg(&self.name)
            .current_dir(&folder.root);
        // It fails if the file is a dead server's, and that is as good. A live one that does not stop keeps the next
        // start from succeeding, which then says why.
        pg_ctl.status().map(drop).map_err(Problem::io("run", &self.bin))
    }
}

/// Runs a program to its end; what it said is in the error.
pub(super) fn run(mut command: Command, what: &str) -> Result<(), Problem> {
    let program = PathBuf::from(command.get_program());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = command.output().map_err(Problem::io("run", &program))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(Problem::Failed { what: what.to_owned(), said: last_lines(&String::from_utf8_lossy(&said)) })
}

pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
