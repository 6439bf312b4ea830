//! What is hashed of a row of `audit`, and of a call to the outside.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::Link;
use super::merkle::{self, Hash};
use crate::Timestamp;

/// A row of `audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRow {
    /// Its place in the chain, from 1 without gaps.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// Did what.
    pub action: String,
    /// To what.
    pub target: String,
    /// With which particulars: the text of a `jsonb`.
    pub details: String,
    /// The link that is stored with it.
    pub link: Link,
}

impl AuditRow {
    /// The link that it should have after `previous`.
    pub fn link(&self, previous: Link) -> Link {
        let mut hash = Sha256::new();
        hash.update(previous.bytes());
        hash.update(self.seq.to_be_bytes());
        hash.update(self.at.timestamp_micros().to_be_bytes());
        for text in [&self.actor, &self.action, &self.target, &self.details] {
            hash.update(Sha256::digest(text));
        }
        Link(hash.finalize().into())
    }
}

/// A call to the outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRow {
    /// Its number; grows, with gaps.
    pub id: i64,
    /// When it was written, in the order of transactions.
    pub tx: Option<i64>,
    /// The run that made it.
    pub run_id: Uuid,
    /// The step.
    pub step: String,
    /// In which attempt.
    pub attempt: i32,
    /// When it was sent.
    pub at: Timestamp,
    /// The service.
    pub service: String,
    /// What was called.
    pub operation: String,
    /// What it was about.
    pub target: String,
    /// The service's id of the request.
    pub request_id: Option<String>,
    /// `ok`, or the error code.
    pub status: String,
    /// Wall time in milliseconds.
    pub duration_ms: i64,
    /// Did it change something?
    pub mutating: bool,
}

impl CallRow {
    /// As a leaf of a block's tree of calls.
    pub fn leaf(&self) -> Hash {
        let text = |text: &str| -> Hash { Sha256::digest(text).into() };
        let request_id = self.request_id.as_deref().map_or([0; 32], text);
        merkle::leaf(&[
            &self.id.to_be_bytes(),
            self.run_id.as_bytes(),
            &text(&self.step),
            &self.attempt.to_be_bytes(),
            &self.at.timestamp_micros().to_be_bytes(),
            &text(&self.service),
            &text(&self.operation),
            &text(&self.target),
            &request_id,
            &text(&self.status),
            &self.duration_ms.to_be_bytes(),
            &[u8::from(self.mutating)],
        ])
    }
}
