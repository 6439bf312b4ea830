//! The runbooks on the shelf: each either checked and ready, or refused with its mistakes.
//!
//! The shelf is replaced as a whole when files change ([`Library::reload`]): whoever holds one sees it unchanged, and a run is pinned
//! to its text anyway. A file that fails its check does not take the good version of yesterday away; it lies beside it, with its
//! mistakes.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::action::Registry;
use domain::runbook::{Checked, Children, Diagnostic, Runbook, check_all, descend};

/// A file of the shelf.
#[derive(Debug, Clone)]
pub struct Shelf {
    /// The file's name, for messages.
    pub file: String,
    /// Its text; that of the last good version, where a newer one was refused.
    pub text: Arc<str>,
    /// The runbook, or every mistake in it.
    pub runbook: Result<Arc<Runbook>, Arc<[Diagnostic]>>,
    /// What the file holds now and was refused.
    pub refused: Option<Refused>,
}

/// A newer text that failed its check.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The text.
    pub text: Arc<str>,
    /// Every mistake in it.
    pub mistakes: Arc<[Diagnostic]>,
}

/// What became of a runbook when files were read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// It is new, by this hash.
    Added(String),
    /// It has another text: from this hash, where it had one, to that.
    Changed(Option<String>, String),
    /// Its new text has so many mistakes; the last good one stays, if there was one.
    Refused(usize),
    /// Its file is as it was before the refused change.
    Back,
    /// Its file is gone.
    Removed,
}

/// All runbooks, by name. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Library(Arc<BTreeMap<String, Arc<Shelf>>>);

impl Library {
    /// Parses and checks files (name and text). A file with mistakes is kept with them, and cannot be run.
    pub fn open(files: impl IntoIterator<Item = (String, String)>, registry: &Registry) -> Self {
        let shelves = check_all(files, registry).into_iter().map(|checked| {
            let runbook = checked.runbook.map_err(Arc::from);
            let shelf = Shelf { file: checked.file, text: checked.text.into(), runbook, refused: None };
            (checked.name, Arc::new(shelf))
        });
        Self(Arc::new(shelves.collect()))
    }

    /// The shelf after its files were read again, and what became of each runbook that is not as it was.
    pub fn reload(
        &self,
        files: impl IntoIterator<Item = (String, String)>,
        registry: &Registry,
    ) -> (Self, BTreeMap<String, Reloaded>) {
        let mut files: Vec<(String, String)> = files.into_iter().collect();
        let mut refused: BTreeMap<String, Refused> = BTreeMap::new();
        // A refused text gives way to the last good one, and all are checked again: those that run it are checked with what
        // they would really run.
        let checked = loop {
            let checked = check_all(files.clone(), registry);
            let mut gave_way = false;
            for Checked { file, name, text, runbook } in &checked {
                if let Err(mistakes) = runbook
                    && let Some(good) = self.get(name).filter(|shelf| shelf.runbook.is_ok())
                    && !refused.contains_key(name)
                    // Where nothing was changed, the mistake is that of another one.
                    && *good.text != **text
                    && let Some(at) = files.iter().position(|(f, _)| f == file)
                {
                    let (text, mistakes) = (text.as_str().into(), mistakes.clone().into());
                    refused.insert(name.clone(), Refused { text, mistakes });
                    files[at].1 = good.text.to_string();
                    gave_way = true;
                }
            }
            if !gave_way {
                break checked;
            }
        };
        let shelves: BTreeMap<String, Arc<Shelf>> = checked
            .into_iter()
            .map(|checked| {
                let refused = refused.remove(&checked.name);
                let runbook = checked.runbook.map_err(Arc::from);
                let shelf = Shelf { file: checked.file, text: checked.text.into(), runbook, refused };
                (checked.name, Arc::new(shelf))
            })
            .collect();
        let new = Self(Arc::new(shelves));
        let changes = self.changes(&new);
        (new, changes)
    }

    fn changes(&self, new: &Self) -> BTreeMap<String, Reloaded> {
        let mut changes = BTreeMap::new();
        for (name, now) in new.iter() {
            let before = self.get(name);
            let hash = |shelf: &Shelf| shelf.runbook.as_ref().ok().map(|runbook| runbook.hash.clone());
            let change = match (&before, &now.refused, &now.runbook) {
                (Some(before), Some(refused), _) => {
                    let again = before.refused.as_ref().is_some_and(|b| b.text == refused.text);
                    (!again).then_some(Reloaded::Refused(refused.mistakes.len()))
                }
                (Some(before), None, Err(mistakes)) => {
                    let new = before.text != now.text || before.runbook.is_ok();
                    new.then_some(Reloaded::Refused(mistakes.len()))
                }
                (Some(before), None, Ok(_)) if before.text == now.text && before.runbook.is_ok() => {
                    before.refused.is_some().then_some(Reloaded::Back)
                }
                (Some(before), None, Ok(runbook)) => {
                    Some(Reloaded::Changed(hash(before), runbook.hash.clone()))
                }
                (None, _, Err(mistakes)) => Some(Reloaded::Refused(mistakes.len())),
                (None, _, Ok(runbook)) => Some(Reloaded::Added(runbook.hash.clone())),
            };
            changes.extend(change.map(|change| (name.to_owned(), change)));
        }
        let gone = self.iter().filter(|(name, _)| new.get(name).is_none());
        changes.extend(gone.map(|(name, _)| (name.to_owned(), Reloaded::Removed)));
        changes
    }

    /// The runbooks that one runs, directly or through others.
    pub(crate) fn children(&self, runbook: &Runbook) -> Children {
        descend(runbook, |name| self.runbook(name))
    }

    /// The shelf of a name.
    pub fn get(&self, name: &str) -> Option<Arc<Shelf>> {
        self.0.get(name).cloned()
    }

    /// The runbook of a name, if it can be run.
    pub fn runbook(&self, name: &str) -> Option<Arc<Runbook>> {
        self.0.get(name)?.runbook.clone().ok()
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Shelf)> {
        self.0.iter().map(|(name, shelf)| (name.as_str(), &**shelf))
    }

    /// All that can be run, by name.
    pub fn runbooks(&self) -> impl Iterator<Item = Arc<Runbook>> {
        self.0.values().filter_map(|shelf| shelf.runbook.clone().ok())
    }
}
