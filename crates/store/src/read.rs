//! A row of a journal as it is stored, and the entries in it: its own, and perhaps the one before, which it carries.

use domain::Timestamp;
use domain::audit::Link;
use domain::run::Record;
use serde_json::Value;
use uuid::Uuid;

use crate::StoreError;

/// A row of `journal_line`.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) run_id: Uuid,
    pub(crate) seq: i64,
    pub(crate) at: Timestamp,
    pub(crate) epoch: i64,
    pub(crate) entry: Value,
    pub(crate) carried: Option<Value>,
    pub(crate) carried_at: Option<Timestamp>,
    pub(crate) hash: Option<Vec<u8>>,
}

impl Stored {
    /// The link of its last entry.
    pub(crate) fn link(&self) -> Result<Link, StoreError> {
        self.hash.as_deref().and_then(Link::read).ok_or_else(|| {
            let place = format!("{}/{}", self.run_id, self.seq);
            StoreError::corrupt("hash", place, "the journal's chain has no such link")
        })
    }

    /// Its entries, in order.
    pub(crate) fn records(self) -> impl Iterator<Item = Result<Record, StoreError>> {
        let Self { run_id, seq, at, epoch, .. } = self;
        let corrupt = move |seq, why: &dyn std::fmt::Display| {
            StoreError::corrupt("journal entry", format!("{run_id}/{seq}"), why)
        };
        let carried = match (self.carried, self.carried_at) {
            (None, None) => None,
            (Some(entry), Some(at)) => Some(Ok((seq - 1, at, entry))),
            _ => Some(Err(corrupt(seq, &"it carries half an entry"))),
        };
        carried.into_iter().chain([Ok((seq, at, self.entry))]).map(move |stored| {
            let (seq, at, entry) = stored?;
            let entry = serde_json::from_value(entry).map_err(|e| corrupt(seq, &e))?;
            Ok(Record { seq, at, epoch, entry })
        })
    }
}
