//! Where the server keeps its things. The folder asked for, if the server's user can get there; else one in a public
//! place, named after it.
//!
//! ```text
//! lock        held by whoever starts or joins
//! users       FIFO: every process that uses the server holds its write end
//! answer      the guardian's last word
//! log         what Postgres says
//! 15/         the cluster, by major version
//! .s.PGSQL.…  the socket, unless its path would be too long
//! ```

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{Account, Problem};

/// A socket's path has room for 104 bytes on macOS, 108 on Linux, with the zero at its end.
const LONGEST_SOCKET: usize = 103;
/// In a socket folder that only its owner can enter, the port is but part of a name.
const SOCKET_NAME: &str = "/.s.PGSQL.5432";

#[derive(Debug)]
pub(super) struct Folder {
    pub(super) root: PathBuf,
    pub(super) sockets: PathBuf,
}

impl Folder {
    /// Makes the folders and gives them to the account, unless they are there.
    pub(super) fn prepare(wanted: &Path, account: Account) -> Result<Self, Problem> {
        let wanted = std::path::absolute(wanted).map_err(Problem::io("find", wanted))?;
        let parent = wanted.parent().unwrap_or(&wanted);
        fs::create_dir_all(parent).map_err(Problem::io("create", parent))?;
        let root = if account.other && !account.can_enter(parent) {
            // /var/tmp outlives a restart of the machine, the temporary folder need not.
            let public = Path::new("/var/tmp");
            let public = if public.is_dir() { public.to_owned() } else { std::env::temp_dir() };
            public.join(public_name(&wanted, account))
        } else {
            wanted.clone()
        };
        private(&root, account)?;
        let sockets = if root.as_os_str().len() + SOCKET_NAME.len() <= LONGEST_SOCKET {
            root.clone()
        } else {
            let short = Path::new("/tmp").join(public_name(&wanted, account));
            private(&short, account)?;
            short
        };
        Ok(Self { root, sockets })
    }

    /// The URL of a database, for sqlx, for libpq and for psql.
    pub(super) fn url(&self, user: &str, database: &str) -> String {
        let mut host = String::new();
        for &byte in self.sockets.as_os_str().as_bytes() {
            match byte {
                b'/' | b'.' | b'-' | b'_' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => {
                    host.push(char::from(byte))
                }
                _ => host.push_str(&format!("%{byte:02X}")),
            }
        }
        format!("postgres://{user}@localhost/{database}?host={host}")
    }
}

fn public_name(wanted: &Path, account: Account) -> String {
    let mut hash = DefaultHasher::new();
    wanted.hash(&mut hash);
    format!("firebreak-postgres-{}-{:016x}", account.uid, hash.finish())
}

/// A folder that nobody but the account (and root) can enter. In a public place somebody may have been there first.
fn private(folder: &Path, account: Account) -> Result<(), Problem> {
    if !folder.exists() {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => account.own(folder)?,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {} // another process, just now
            Err(e) => return Err(Problem::io("create", folder)(e)),
        }
    }
    let found = fs::symlink_metadata(folder).map_err(Problem::io("look at", folder))?;
    if found.uid() != account.uid && (!account.other || found.uid() != 0) || !found.is_dir() {
        return Err(Problem::Foreign { folder: folder.to_owned(), owner: found.uid() });
    }
    account.own(folder)?; // root made it, and was interrupted
    if found.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .map_err(Problem::io("close", folder))?;
    }
    Ok(())
}
