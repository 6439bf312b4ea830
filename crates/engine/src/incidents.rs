//! The door to incidents: people open them, write in them, drive them, close them. What is allowed, `domain::incident` says.

use domain::Actor;
use domain::incident::{self, Ask, Incident, Refusal};
use store::StoreError;
use uuid::Uuid;

use crate::{Engine, Known, Topic};

/// Why something was not done in an incident.
#[derive(Debug, thiserror::Error)]
pub enum IncidentError {
    /// There is none.
    #[error("there is no incident {0}")]
    NotThere(Uuid),
    /// A target that the inventory does not know.
    #[error("`{0}` names no fleet and no cluster of the inventory")]
    NoSuchTarget(String),
    /// By the rules.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody was faster.
    #[error("it has changed since you looked: look again, then say it again")]
    Changed,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// What may be struck: the names of locks that the inventory suggests.
    pub fn targets(&self) -> Vec<String> {
        Known::of(None, &self.core.inventory).targets
    }

    /// Opens an incident, or finds the one that is open at one of these targets: its id, and whether it is new.
    pub async fn open_incident(
        &self,
        title: &str,
        targets: &[String],
        by: &Actor,
    ) -> Result<(Uuid, bool), IncidentError> {
        incident::may_open(by, title, targets)?;
        let known = self.targets();
        if let Some(unknown) = targets.iter().find(|target| !known.contains(target)) {
            return Err(IncidentError::NoSuchTarget(unknown.clone()));
        }
        let id = Uuid::now_v7();
        let open =
            store::incidents::open(&self.core.pool, id, title, targets, by, self.core.clock.now()).await?;
        self.core.bell.ring(Topic::Signals);
        Ok((open, open == id))
    }

    /// Does what somebody asks in an incident, as they saw it: whoever drove it then still must.
    pub async fn in_incident(&self, seen: &Incident, ask: &Ask, by: &Actor) -> Result<(), IncidentError> {
        let pool = &self.core.pool;
        let firing =
            if matches!(ask, Ask::Close { .. }) { store::incidents::firing(pool, seen.id).await? } else { 0 };
        incident::allowed(seen, by, ask, firing)?;
        if !store::incidents::act(pool, seen, ask, by, self.core.clock.now()).await? {
            return Err(IncidentError::Changed);
        }
        self.core.bell.ring(Topic::Signals);
        Ok(())
    }

    /// One.
    pub async fn incident(&self, id: Uuid) -> Result<Incident, IncidentError> {
        store::incidents::one(&self.core.pool, id).await?.ok_or(IncidentError::NotThere(id))
    }
}
