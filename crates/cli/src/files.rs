//! The runbooks and drills: from a folder, or the ones that come with the binary.

use std::path::{Path, PathBuf};

use anyhow::Context;
use include_dir::{Dir, include_dir};

static RUNBOOKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../runbooks");

/// Runbook files (name and text) of a folder, or the embedded ones. What begins with a dot is an editor's, or the file system's.
pub(crate) fn runbooks(folder: Option<&Path>) -> anyhow::Result<Vec<(String, String)>> {
    let Some(folder) = folder else {
        let embedded = RUNBOOKS.files().filter(|f| is_yaml(f.path()));
        return Ok(embedded.filter_map(|f| Some((name(f.path()), f.contents_utf8()?.to_owned()))).collect());
    };
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("the runbook folder {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if is_yaml(&path) && !entry.file_name().as_encoded_bytes().starts_with(b".") {
            let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
            files.push((path.display().to_string(), text));
        }
    }
    files.sort();
    Ok(files)
}

/// The runbook files that lie in the same folders as these, without them.
pub(crate) fn beside(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, String)>> {
    let mut beside = Vec::new();
    let mut seen: Vec<PathBuf> = Vec::new();
    for folder in paths.iter().map(|p| p.parent().filter(|p| *p != Path::new("")).unwrap_or(Path::new("."))) {
        if seen.iter().any(|known| known == folder) {
            continue;
        }
        seen.push(folder.to_owned());
        for (file, text) in runbooks(Some(folder))? {
            let name = Path::new(&file).file_name();
            if !paths.iter().any(|p| p.file_name() == name) {
                beside.push((file, text));
            }
        }
    }
    Ok(beside)
}

/// A drill: the file of that path, or the embedded one of that name (`runbooks/drills/2024-05-07.yaml`).
pub(crate) fn drill(path: &Path) -> anyhow::Result<String> {
    if path.exists() {
        return std::fs::read_to_string(path).with_context(|| format!("{}", path.display()));
    }
    let embedded = path.strip_prefix("runbooks").unwrap_or(path);
    RUNBOOKS
        .get_file(embedded)
        .and_then(|f| f.contents_utf8())
        .map(str::to_owned)
        .with_context(|| format!("there is no drill {}, neither as a file nor embedded", path.display()))
}

/// All drills that are embedded.
pub(crate) fn drills() -> Vec<&'static str> {
    let files = RUNBOOKS.get_dir("drills").into_iter().flat_map(Dir::files);
    files.filter(|f| is_yaml(f.path())).filter_map(|f| f.contents_utf8()).collect()
}

/// Where state of this user is kept: `$XDG_STATE_HOME/firebreak`, else `~/.local/state/firebreak`, else the temporary folder.
pub(crate) fn state_folder() -> PathBuf {
    let base = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    base.or_else(home).unwrap_or_else(std::env::temp_dir).join("firebreak")
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml")
}

fn name(path: &Path) -> String {
    format!("runbooks/{}", path.display())
}
