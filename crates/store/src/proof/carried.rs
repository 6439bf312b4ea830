//! The entries of journals, out of rows that may hold two.
//!
//! The entry that a row carries has no link of its own: it is worked out from the link that is stored before it. So it fits
//! always, and what was changed in it shows at the entry that carries it. Where the row before is gone, that is not known
//! either, and both show.

use domain::Timestamp;
use domain::audit::Link;
use domain::audit::check::EntryRow;
use serde::Deserialize;
use uuid::Uuid;

use crate::StoreError;

/// The text of an entry that a row carries, and when it was.
pub(super) type Carried<'a> = (&'a str, Timestamp);

/// Takes rows apart that come in order of run and number.
#[derive(Default)]
pub(super) struct Entries {
    /// The run of the last row, and the link that is stored there.
    last: Option<(Uuid, Option<Link>)>,
}

/// What columns say of an entry that has a row of its own.
#[derive(Deserialize, Default)]
struct Columns<'a> {
    kind: &'a str,
    step: Option<String>,
}

impl Entries {
    /// Hands over what the row carries, and the row's own entry.
    pub(super) fn of_row(
        &mut self,
        row: EntryRow<'_>,
        carried: Option<Carried<'_>>,
        mut each: impl FnMut(&EntryRow<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let before = match self.last.replace((row.run_id, row.link)) {
            Some((run, link)) if run == row.run_id => link,
            _ => Some(Link::origin(row.run_id)),
        };
        if let Some((entry, at)) = carried {
            let seq = row.seq - 1;
            // What says nothing of the kind is told by the check: no column agrees with it.
            let columns: Columns<'_> = serde_json::from_str(entry).unwrap_or_default();
            let link = before.map(|link| link.then(seq, row.epoch, at, entry));
            each(&EntryRow {
                seq,
                at,
                kind: columns.kind,
                step: columns.step.as_deref(),
                entry,
                link,
                ..row
            })?;
        }
        each(&row)
    }
}
