//! The runbooks on the shelf: each either checked and ready, or refused with its mistakes.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::action::Registry;
use domain::runbook::{Children, Diagnostic, Runbook, check_all, descend};

/// A file of the shelf.
#[derive(Debug, Clone)]
pub struct Shelf {
    /// The file's name, for messages.
    pub file: String,
    /// Its text.
    pub text: Arc<str>,
    /// The runbook, or every mistake in it.
    pub runbook: Result<Arc<Runbook>, Arc<[Diagnostic]>>,
}

/// All runbooks, by name.
#[derive(Debug, Clone, Default)]
pub struct Library(Arc<BTreeMap<String, Shelf>>);

impl Library {
    /// Parses and checks files (name and text). A file with mistakes is kept with them, and cannot be run.
    pub fn open(files: impl IntoIterator<Item = (String, String)>, registry: &Registry) -> Self {
        let shelves = check_all(files, registry).into_iter().map(|checked| {
            let runbook = checked.runbook.map_err(Arc::from);
            (checked.name, Shelf { file: checked.file, text: checked.text.into(), runbook })
        });
        Self(Arc::new(shelves.collect()))
    }

    /// The runbooks that one runs, directly or through others.
    pub(crate) fn children(&self, runbook: &Runbook) -> Children {
        descend(runbook, |name| self.get(name).and_then(|shelf| shelf.runbook.clone().ok()))
    }

    /// The shelf of a name.
    pub fn get(&self, name: &str) -> Option<&Shelf> {
        self.0.get(name)
    }

    /// All, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Shelf)> {
        self.0.iter().map(|(name, shelf)| (name.as_str(), shelf))
    }
}
