//! The folders that tasks work in.

use std::env;
use std::path::{Path, PathBuf};

/// The repository.
pub(crate) fn repository() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The target folder that this program was built into, whatever it is called.
pub(crate) fn target() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    let found = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    found.map_or_else(|| repository().join("target"), Path::to_owned)
}

/// What setup puts there.
pub(crate) fn tools() -> PathBuf {
    target().join("tools")
}

/// Where packages are unpacked that we may not install.
pub(crate) fn unpacked() -> PathBuf {
    tools().join("root")
}
