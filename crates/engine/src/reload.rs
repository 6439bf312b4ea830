//! Runbooks that change while the process lives.
//!
//! What is good replaces what was there, at once and for the next plan or start; what is not is kept beside the last good version.
//! Each change is audited before it counts. Runs under way are pinned to their texts and feel nothing of it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use domain::Actor;
use serde_json::{Value, json};
use store::StoreError;

use crate::aside::aside;
use crate::{Core, Engine, Library, Reloaded};

impl Engine {
    /// Takes files (name and text) for the shelf, and says what became of each that is not as it was. When the audit cannot be
    /// written, everything stays as it is.
    pub async fn reload(
        &self,
        files: Vec<(String, String)>,
    ) -> Result<BTreeMap<String, Reloaded>, StoreError> {
        // One after the other: each is compared with what the one before left.
        let _turn = self.core.reloading.lock().await;
        let (library, changes) = apart(self.core.clone(), files).await;
        for (name, change) in &changes {
            let (action, details) = told(change);
            let file = library.get(name).map(|shelf| shelf.file.clone());
            let details = json!({ "file": file, "worker": self.core.settings.worker, "change": details });
            let (pool, at) = (&self.core.pool, self.core.clock.now());
            store::audit::add(pool, at, &Actor::system("reload"), action, name, details).await?;
        }
        if !changes.is_empty() {
            *self.core.library.write().unwrap_or_else(PoisonError::into_inner) = library;
        }
        Ok(changes)
    }

    /// The runbooks, as they are now.
    pub fn library(&self) -> Library {
        self.core.library()
    }
}

impl Core {
    pub(crate) fn library(&self) -> Library {
        self.library.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Checks files where it holds up nobody: a shelf takes long enough to be noticed by those who wait for a lease, or an answer.
async fn apart(core: Arc<Core>, files: Vec<(String, String)>) -> (Library, BTreeMap<String, Reloaded>) {
    aside(move || core.library().reload(files, &core.registry)).await
}

fn told(change: &Reloaded) -> (&'static str, Value) {
    match change {
        Reloaded::Added(hash) => ("runbook added", json!({ "hash": hash })),
        Reloaded::Changed(from, to) => ("runbook changed", json!({ "from": from, "to": to })),
        Reloaded::Refused(mistakes) => ("runbook refused", json!({ "mistakes": mistakes })),
        Reloaded::Back => ("runbook as before", Value::Null),
        Reloaded::Removed => ("runbook removed", Value::Null),
    }
}
