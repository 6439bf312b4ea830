//! Files that belong together, checked together: a runbook may run another one.

use std::sync::Arc;

use super::check::{Other, Others, check};
use super::children::{descend, runs};
use super::decode::{read, sort};
use super::{Approval, Diagnostic, Runbook};
use crate::action::Registry;

/// A file, read and checked.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The file's name.
    pub file: String,
    /// Its text.
    pub text: String,
    /// The name of the runbook, also where it cannot be read: then the file's.
    pub name: String,
    /// The runbook, or every mistake in it.
    pub runbook: Result<Arc<Runbook>, Vec<Diagnostic>>,
}

/// Reads and checks files (name and text), each with the others at hand. A runbook that runs one with mistakes is mistaken
/// itself; a sound one is as dangerous as the most dangerous runbook in it, and needs whatever agreement any of them needs: what
/// nobody may do alone is not done alone by way of another runbook.
pub fn check_all(files: impl IntoIterator<Item = (String, String)>, registry: &Registry) -> Vec<Checked> {
    // Each as far as it can be read, beside what is sound.
    let (parts, mut all): (Vec<Option<Arc<Runbook>>>, Vec<Checked>) = files
        .into_iter()
        .map(|(file, text)| {
            let (part, mistakes) = read(&file, &text);
            let part = part.map(Arc::new);
            let stem = file.rsplit('/').next().and_then(|f| f.split('.').next()).unwrap_or(&file).to_owned();
            let name = part.as_ref().map_or(stem, |r| r.name.clone());
            let runbook = part.clone().filter(|_| mistakes.is_empty()).ok_or(mistakes);
            (part, Checked { file, text, name, runbook })
        })
        .unzip();
    let other =
        |c: &Checked| Other { runbook: c.runbook.as_ref().ok().cloned(), mistaken: c.runbook.is_err() };
    let mut others: Others = all.iter().map(|c| (c.name.clone(), other(c))).collect();
    // A mistake in one makes those mistaken that run it, and so on up: until a round finds no other mistaken runbook.
    loop {
        let mistakes = |part: &Option<Arc<Runbook>>| {
            part.as_ref().map_or_else(Vec::new, |runbook| check(runbook, registry, &others))
        };
        let found: Vec<Vec<Diagnostic>> = parts.iter().map(mistakes).collect();
        let mut new = false;
        for (checked, _) in all.iter().zip(&found).filter(|(_, found)| !found.is_empty()) {
            if let Some(other) = others.get_mut(&checked.name) {
                new |= !std::mem::replace(&mut other.mistaken, true);
            }
        }
        if !new {
            for (checked, mut found) in all.iter_mut().zip(found).filter(|(_, found)| !found.is_empty()) {
                found.extend(checked.runbook.as_mut().err().map(std::mem::take).into_iter().flatten());
                sort(&mut found);
                checked.runbook = Err(found);
            }
            break;
        }
    }
    for checked in &mut all {
        let Ok(runbook) = &mut checked.runbook else { continue };
        if runs(&runbook.steps).is_empty() {
            continue;
        }
        let inside = descend(runbook, |name| others.get(name).and_then(|other| other.runbook.clone()));
        let highest = inside.values().map(|child| child.risk).max();
        let runbook = Arc::make_mut(runbook);
        runbook.risk = highest.map_or(runbook.risk, |highest| highest.max(runbook.risk));
        let asked = inside.values().filter_map(|child| child.approval());
        runbook.approval = asked.chain(runbook.approval()).reduce(Approval::and);
    }
    all
}
