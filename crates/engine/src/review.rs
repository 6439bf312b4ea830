//! Broken glass is told to everybody, and looked at by somebody else.

use domain::token::{Deed, OutOfScope};
use domain::{Actor, Role};
use serde_json::{Value, json};
use store::StoreError;

use crate::{Engine, Topic};

/// Why a review was not closed.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    /// There is no such review.
    #[error("there is no review {0}")]
    NoSuchReview(i64),
    /// Their role does not allow it.
    #[error("to close a review takes {}, and you are {}", Role::Approver.one(), .0.one())]
    NotAllowed(Role),
    /// The token is not good for it.
    #[error(transparent)]
    OutOfScope(#[from] OutOfScope),
    /// Who broke the glass does not judge it.
    #[error("you broke the glass, so somebody else must look at it")]
    Own,
    /// It says nothing.
    #[error("say in a few words what you found")]
    NoNote,
    /// Somebody has.
    #[error("{0} has closed it already")]
    Closed(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// Closes a review with a note.
    pub async fn close_review(&self, id: i64, by: &Actor, note: &str) -> Result<(), ReviewError> {
        let core = &self.core;
        let review = store::reviews::one(&core.pool, id).await?.ok_or(ReviewError::NoSuchReview(id))?;
        if by.role() < Role::Approver {
            return Err(ReviewError::NotAllowed(by.role()));
        }
        by.within_scope(Deed::Other)?;
        if review.opened_by == by.name() {
            return Err(ReviewError::Own);
        }
        let note = note.trim();
        if note.is_empty() {
            return Err(ReviewError::NoNote);
        }
        if !store::reviews::close(&core.pool, id, by, note, core.clock.now()).await? {
            let now = store::reviews::one(&core.pool, id).await?;
            return Err(ReviewError::Closed(now.and_then(|r| r.closed_by).unwrap_or_default()));
        }
        core.bell.ring(Topic::Run(review.run_id));
        Ok(())
    }
}

/// What the audit says of it, written together with the wish: neither is without the other, and a wish that is sent again is one.
pub(crate) fn told(by: &Actor, reason: &str) -> (&'static str, Value) {
    ("glass broken", json!({ "reason": reason, "role": by.role() }))
}
