//! Ends what nobody says is over: events of AWS that are said once, and incidents whose signals are all over.

use domain::Timestamp;
use domain::notice::{Notice, Urgency};
use domain::signal::EVENT_LASTS;
use store::StoreError;

use super::delta;
use crate::{Core, Topic};

/// Looks once.
pub(super) async fn tidy(core: &Core) {
    let now = core.clock.now();
    if let Err(e) = core.soon(store::signals::events_are_over(&core.pool, now - EVENT_LASTS, now)).await {
        tracing::warn!("events that are over were not ended: {e}");
    }
    let quiet_since = now - delta(core.settings.triage.quiet);
    if let Err(e) = close_incidents(core, quiet_since, now).await {
        tracing::warn!("incidents that are over were not closed: {e}");
    }
}

/// Closes what is over, and tells of it.
async fn close_incidents(core: &Core, quiet_since: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    for (id, number, title) in core.soon(store::triage::quiet_incidents(&core.pool, quiet_since)).await? {
        let notice = Notice {
            key: format!("incident:{id}:closed"),
            kind: "incident_closed".into(),
            urgency: Urgency::Good,
            title: format!("Over: INC-{number} {title}"),
            text: "Its signals have been over for a while, so it was closed.".into(),
            path: format!("/incidents/{id}"),
            incident: Some(id),
            thread: None,
            place: None,
        };
        let notices = core.rows(&notice);
        if core.soon(store::triage::close_quiet(&core.pool, id, quiet_since, now, &notices)).await? {
            core.bell.ring(Topic::Signals);
        }
    }
    Ok(())
}
