//! Whose agreement is needed, before a run begins or in the middle of it.

use serde::{Deserialize, Serialize};

use super::{OnFailure, Risk, Runbook, Template};
use crate::Role;

/// So long an approval is waited for, where the file does not say: half an hour, after which what was looked at is old.
const WITHIN_S: u64 = 30 * 60;

/// Whose agreement is needed, and within which time. Never the requester's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The least role whose voice counts.
    pub by: Role,
    /// So many persons.
    pub count: u32,
    /// Within so many seconds (clock time); then it has expired.
    pub within_s: u64,
    /// The least role that may proceed alone, with a reason, in an emergency.
    pub break_glass: Role,
}

impl Default for Approval {
    /// One approver, within half an hour; an admin may break the glass.
    fn default() -> Self {
        Self { by: Role::Approver, count: 1, within_s: WITHIN_S, break_glass: Role::Admin }
    }
}

impl Approval {
    /// What satisfies both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            by: self.by.max(other.by),
            count: self.count.max(other.count),
            within_s: self.within_s.min(other.within_s),
            break_glass: self.break_glass.max(other.break_glass),
        }
    }
}

/// A step at which others must agree.
#[derive(Debug, Clone)]
pub struct Approve {
    /// Whose agreement.
    pub approval: Approval,
    /// What they agree to; may name what the steps before it saw.
    pub message: Template,
    /// What a rejection, or nobody's answer in time, does to the run. It is the step's `on_failure`.
    pub otherwise: OnFailure,
}

impl Runbook {
    /// Whose agreement a start needs: what the file says; for severe risk one approver's at least; else nobody's.
    pub fn approval(&self) -> Option<Approval> {
        match (&self.approval, self.risk) {
            (Some(approval), _) => Some(approval.clone()),
            (None, Risk::Severe) => Some(Approval::default()),
            (None, Risk::Low | Risk::Medium | Risk::High) => None,
        }
    }
}
