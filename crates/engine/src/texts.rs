//! Runbooks by the hash of their text, so that ten thousand runs of one text share one runbook.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use domain::runbook::{Runbook, parse};
use store::{PgPool, StoreError, claims};

use crate::Library;
use crate::driver::TakeUpError;

/// Holds no runbook alive by itself.
#[derive(Default)]
pub(crate) struct Texts(Mutex<HashMap<String, Weak<Runbook>>>);

impl Texts {
    /// The runbook that a run is pinned to: from the shelf, from another run, or from the database.
    pub(crate) async fn get(
        &self,
        pool: &PgPool,
        library: &Library,
        name: &str,
        hash: &str,
    ) -> Result<Arc<Runbook>, TakeUpError> {
        if let Some(runbook) = library.runbook(name).filter(|runbook| runbook.hash == hash) {
            return Ok(runbook);
        }
        if let Some(runbook) = self.held(hash) {
            return Ok(runbook);
        }
        let text = claims::text(pool, hash).await?.ok_or_else(|| missing(hash))?;
        let runbook = parse(&format!("{name}.yaml"), &text).map_err(|mistakes| {
            TakeUpError::Runbook(mistakes.iter().map(|m| m.what.clone()).collect::<Vec<_>>().join("; "))
        })?;
        let runbook = Arc::new(runbook);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, runbook| runbook.strong_count() > 0);
        held.insert(hash.to_owned(), Arc::downgrade(&runbook));
        Ok(runbook)
    }

    fn held(&self, hash: &str) -> Option<Arc<Runbook>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hash)?.upgrade()
    }
}

fn missing(hash: &str) -> TakeUpError {
    TakeUpError::Store(StoreError::Corrupt {
        what: "runbook text",
        key: hash.to_owned(),
        why: "there is none".into(),
    })
}
