//! The guardian: a small shell process that starts Postgres, knows its users, and stops it after the last.
//!
//! A signal handler would not run after `kill -9`, and a process that waits for its parent knows only one. So every user
//! holds the write end of a FIFO, and the kernel tells the guardian when the last one has let go (`guardian.sh`).
//! Neither Postgres nor any child process gets hold of an end: the standard library opens files close-on-exec, and the
//! guardian closes its own before it starts anything.
//!
//! Without the guardian (killed by hand) the server runs on, until the next start stops it.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::{Account, Folder, Problem};

/// Longer than `pg_ctl` waits for a start.
const PATIENCE: Duration = Duration::from_secs(110);
const POLL: Duration = Duration::from_millis(10);

/// What came of asking the guardian.
pub(super) enum Answer {
    /// We are users; dropping this file, or dying, ends that.
    Ready(File),
    /// Postgres did not start.
    Failed,
    /// There is no guardian, or it is leaving.
    Gone,
}

/// Becomes a user of the server that runs. Call it under the lock.
pub(super) fn join(folder: &Folder) -> Result<Answer, Problem> {
    let path = folder.root.join("users");
    if !fs::metadata(&path).is_ok_and(|m| m.file_type().is_fifo()) {
        return Ok(Answer::Gone);
    }
    let ends = Ends::open(&path)?;
    drop(ends.both); // from here on, writing fails if the guardian does not hold its end
    ask(folder, ends.write, None)
}

/// Starts a guardian, and Postgres through it. Call it under the lock, when nobody else runs.
pub(super) fn start(folder: &Folder, account: Account, cluster: &Cluster) -> Result<Answer, Problem> {
    let path = folder.root.join("users");
    if !path.exists() {
        let mut mkfifo = account.command("mkfifo");
        mkfifo.args(["-m", "600"]).arg(&path).current_dir(&folder.root);
        super::cluster::run(mkfifo, "mkfifo")?;
    }
    // Held until the guardian has opened its own end: else it would wait for a writer, or we for a reader.
    let ends = Ends::open(&path)?;
    let script = folder.root.join("guardian.sh");
    fs::write(&script, include_str!("guardian.sh")).map_err(Problem::io("write", &script))?;
    account.own(&script)?;
    let mut shell = account.command("/bin/sh");
    // The cluster by its bare name: pg_ctl hands a path with a quote in it to a shell.
    shell.arg(&script).arg(&cluster.bin).arg(&cluster.name).current_dir(&folder.root);
    shell.process_group(0); // Ctrl-C in the terminal is meant for the user, not for the guardian
    let mut guardian = shell.spawn().map_err(Problem::io("run", Path::new("/bin/sh")))?;
    let answer = ask(folder, ends.write, Some(&mut guardian))?;
    if !matches!(answer, Answer::Ready(_)) {
        // With the last user it goes.
        drop(ends.both);
        guardian.wait().map_err(Problem::io("wait for", &path))?;
    }
    Ok(answer)
}

/// Both ends of the FIFO. Opening for reading and writing never blocks, and neither does opening the write end while
/// somebody reads.
struct Ends {
    both: File,
    write: File,
}

impl Ends {
    fn open(path: &Path) -> Result<Self, Problem> {
        let both = OpenOptions::new().read(true).write(true).open(path).map_err(Problem::io("open", path))?;
        let write = OpenOptions::new().write(true).open(path).map_err(Problem::io("open", path))?;
        Ok(Self { both, write })
    }
}

fn ask(folder: &Folder, mut users: File, mut guardian: Option<&mut Child>) -> Result<Answer, Problem> {
    let path = folder.root.join("users");
    let answer = folder.root.join("answer");
    // Only one asks at a time, under the lock, so an old answer can only be an old process's with our id.
    match fs::remove_file(&answer) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(Problem::io("remove", &answer)(e)),
        _ => {}
    }
    let word = std::process::id().to_string();
    let (ready, failed) = (format!("ready {word}\n"), format!("failed {word}\n"));
    let since = Instant::now();
    let mut say = format!("{word}\n");
    while since.elapsed() < PATIENCE {
        match users.write_all(say.as_bytes()) {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => return Ok(Answer::Gone),
            Err(e) => return Err(Problem::io("write to", &path)(e)),
            Ok(()) => "\n".clone_into(&mut say), // an empty word asks nothing, but meets the broken pipe
        }
        match fs::read_to_string(&answer) {
            Ok(said) if said == ready => return Ok(Answer::Ready(users)),
            Ok(said) if said == failed => return Ok(Answer::Failed),
            _ => {}
        }
        if let Some(child) = guardian.as_mut()
            && child.try_wait().map_err(Problem::io("wait for", &path))?.is_some()
        {
            return Ok(Answer::Gone);
        }
        thread::sleep(POLL);
    }
    Err(Problem::Silent { log: log(folder) })
}

pub(super) fn log(folder: &Folder) -> PathBuf {
    folder.root.join("log")
}
