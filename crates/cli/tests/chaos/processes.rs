//! `firebreak serve`, several times, each started again whenever it ends, as a container platform would.

use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::chaos::Chaos;
use crate::schedule::LEASE;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Kill,
    Stop,
    Continue,
    Terminate,
    Interrupt,
    Quit,
    /// Changes nothing: is it there?
    Probe,
}

/// Sends a signal; false when there is no such process.
pub(crate) fn signal(pid: u32, signal: Signal) -> bool {
    let name = match signal {
        Signal::Kill => "KILL",
        Signal::Stop => "STOP",
        Signal::Continue => "CONT",
        Signal::Terminate => "TERM",
        Signal::Interrupt => "INT",
        Signal::Quit => "QUIT",
        Signal::Probe => "0",
    };
    let mut shell = StdCommand::new("/bin/sh");
    shell.args(["-c", "kill -\"$0\" \"$1\" 2>/dev/null", name, &pid.to_string()]);
    shell.status().is_ok_and(|status| status.success())
}

/// One server: a supervisor and, most of the time, a process.
pub(crate) struct Process {
    /// What it was told and what it says.
    pub(crate) log: PathBuf,
    pub(crate) url: String,
    wanted: watch::Sender<bool>,
    supervisor: JoinHandle<Option<String>>,
}

pub(crate) struct Setting {
    pub(crate) server: usize,
    pub(crate) folder: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) url: String,
    pub(crate) database: String,
}

impl Process {
    pub(crate) fn start(setting: Setting, chaos: Arc<Chaos>) -> Self {
        let log = setting.folder.join(format!("server-{}.log", setting.server));
        let (url, wanted) = (setting.url.clone(), watch::Sender::new(true));
        let supervisor = tokio::spawn(supervise(setting, log.clone(), chaos, wanted.subscribe()));
        Self { log, url, wanted, supervisor }
    }

    /// Does the process answer?
    pub(crate) async fn is_up(&self, client: &reqwest::Client) -> bool {
        let answer = client.get(format!("{}/readyz", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Lets it drain and end; says what was wrong with its end.
    pub(crate) async fn end(self) -> Option<String> {
        self.wanted.send_replace(false);
        self.supervisor.await.unwrap_or_else(|e| Some(e.to_string()))
    }
}

/// What a process ends with whose first start fails: it says why, and leaves it to its supervisor to start another.
const NOT_STARTED: i32 = 2;
/// How long a first start takes at the most, beside other servers on a busy machine.
const FIRST_START: Duration = Duration::from_secs(3);
const SIGTERM: i32 = 15;
const SIGABRT: i32 = 6;
/// Longer than any call in flight may take.
const DRAIN_PATIENCE: Duration = Duration::from_secs(40);

async fn supervise(
    setting: Setting,
    log: PathBuf,
    chaos: Arc<Chaos>,
    mut wanted: watch::Receiver<bool>,
) -> Option<String> {
    let server = setting.server;
    while *wanted.borrow() {
        let mut child = match command(&setting, &log).and_then(|mut command| command.spawn()) {
            Ok(child) => child,
            Err(e) => return Some(format!("server {server} cannot be started: {e}")),
        };
        let (pid, begun) = (child.id(), std::time::Instant::now());
        chaos.runs_as(server, pid);
        let ended = tokio::select! {
            ended = child.wait() => Some(ended),
            _ = wanted.wait_for(|wanted| !wanted) => None,
        };
        if let Some(ended) = ended {
            if ended.as_ref().is_ok_and(|status| status.signal() == Some(SIGABRT))
                && !may_abort(&chaos, server)
            {
                return Some(format!("server {server} ended itself, and was not frozen for long"));
            }
            chaos.runs_as(server, None);
            chaos.note(format!("server {server} ({pid:?}) ended: {ended:?}"));
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        }
        // One that has only just been started may not have come to listening for signals: it has done nothing yet.
        chaos.signal(server, Signal::Continue);
        let age = begun.elapsed().saturating_sub(chaos.frozen(server));
        chaos.signal(server, Signal::Terminate);
        let ended = tokio::time::timeout(DRAIN_PATIENCE, child.wait()).await;
        let may_abort = may_abort(&chaos, server);
        chaos.runs_as(server, None);
        let not_started = |status: ExitStatus| {
            age < Duration::from_secs(1) && status.signal() == Some(SIGTERM)
                || age < FIRST_START && status.code() == Some(NOT_STARTED)
        };
        return match ended {
            Ok(Ok(status)) if status.success() || not_started(status) => None,
            Ok(Ok(status)) if may_abort && status.signal() == Some(SIGABRT) => None,
            Ok(ended) => Some(format!("server {server}, asked to end, ended badly: {ended:?}")),
            Err(_) => Some(format!("server {server}, asked to end, went on for {DRAIN_PATIENCE:?}")),
        };
    }
    None
}

/// One that wakes up two leases after it last renewed its own (up to a third of one before it froze) ends itself at once, as
/// it must.
fn may_abort(chaos: &Chaos, server: usize) -> bool {
    chaos.frozen(server) >= LEASE.mul_f64(1.6)
}

fn command(setting: &Setting, log: &Path) -> std::io::Result<Command> {
    let out: File = OpenOptions::new().create(true).append(true).open(log)?;
    // Another one, to see whether it fails where this version does.
    let other = std::env::var_os("FIREBREAK_CHAOS_BINARY");
    let mut command = Command::new(other.unwrap_or_else(|| env!("CARGO_BIN_EXE_firebreak").into()));
    command
        .args(["serve", "--config"])
        .arg(&setting.config)
        .env("DATABASE_URL", &setting.database)
        // Who called, in the simulator's ledger.
        .env("AWS_ACCESS_KEY_ID", format!("server-{}", setting.server))
        .env("AWS_SECRET_ACCESS_KEY", "made-up")
        .env("RUST_LOG", "warn,engine=info,firebreak=info")
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .kill_on_drop(true);
    Ok(command)
}
