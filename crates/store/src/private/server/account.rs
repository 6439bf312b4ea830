//! As whom the server runs: as ourselves, or, because Postgres refuses to run as root, as somebody else.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Problem;

/// The user that the server's files and processes belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    gid: u32,
    /// We are root and become this user for every program of Postgres.
    pub(super) other: bool,
}

impl Account {
    /// Ourselves; for root `postgres`, else `nobody`.
    pub(super) fn choose() -> Result<Self, Problem> {
        let (uid, gid) = (id("-u")?, id("-g")?);
        if uid != 0 {
            return Ok(Self { uid, gid, other: false });
        }
        let path = Path::new("/etc/passwd");
        let passwd = fs::read_to_string(path).map_err(Problem::io("read", path))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| look_up(&passwd, name))
            .map(|(uid, gid)| Self { uid, gid, other: true })
            .ok_or(Problem::NoAccount)
    }

    /// A command that runs as this user. The standard library drops the supplementary groups along with root.
    pub(super) fn command(self, program: impl AsRef<OsStr>) -> Command {
        let mut command = plain(program.as_ref());
        if self.other {
            command.gid(self.gid).uid(self.uid);
        }
        command
    }

    /// Gives a file or folder to this user.
    pub(super) fn own(self, path: &Path) -> Result<(), Problem> {
        if self.other {
            chown(path, Some(self.uid), Some(self.gid)).map_err(Problem::io("give away", path))?;
        }
        Ok(())
    }

    /// Can this user get into the folder? Every parent must be searchable too, which `/root` is not.
    pub(super) fn can_enter(self, folder: &Path) -> bool {
        let mut shell = self.command("/bin/sh");
        shell.args(["-c", "cd \"$1\"", "sh"]).arg(folder).current_dir("/");
        shell.status().is_ok_and(|status| status.success())
    }
}

/// A command without terminal and without the `PG…` variables, which would send it to another server.
pub(super) fn plain(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C").env("TZ", "UTC");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn id(which: &str) -> Result<u32, Problem> {
    let output = plain("id")
        .arg(which)
        .stdout(Stdio::piped())
        .output()
        .map_err(Problem::io("run", Path::new("id")))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    said.parse().map_err(|_| Problem::Failed { what: format!("id {which}"), said })
}

/// User and group id from the text of `/etc/passwd`.
fn look_up(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::look_up;

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/sh\npostgres-old:x:7:8::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(look_up(passwd, "postgres"), Some((101, 104)));
        assert_eq!(look_up(passwd, "nobody"), None);
        assert_eq!(look_up("nobody:*:-2:-2::/:/usr/bin/false\n", "nobody"), None);
    }
}
