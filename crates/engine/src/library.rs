//! The runbooks on the shelf: each either checked and ready, or refused with its mistakes.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::action::Registry;
use domain::runbook::{Diagnostic, Runbook, check, parse};

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
        let shelves = files.into_iter().map(|(file, text)| {
            let runbook = parse(&file, &text).and_then(|runbook| match check(&runbook, registry) {
                mistakes if mistakes.is_empty() => Ok(Arc::new(runbook)),
                mistakes => Err(mistakes),
            });
            let stem = file.rsplit('/').next().and_then(|f| f.split('.').next()).unwrap_or(&file).to_owned();
            let name = runbook.as_ref().map_or(stem, |r| r.name.clone());
            (name, Shelf { file, text: text.into(), runbook: runbook.map_err(Arc::from) })
        });
        Self(Arc::new(shelves.collect()))
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
