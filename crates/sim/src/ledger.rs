//! Every call that reached the simulator, in order: the oracle of the tests.
//!
//! "Each change once", "a plan changes nothing", "killed between these two calls" are all questions
//! to this list.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// One call and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Position in the ledger, from 1; 0 for a call that is being held and not yet entered.
    pub n: u64,
    /// Simulated time.
    pub at: DateTime<Utc>,
    /// Signing name of the service (`autoscaling`, `ec2`, ...) or `proxysql`.
    pub service: String,
    /// Operation, e.g. `SetDesiredCapacity` or `PROXYSQL PAUSE`.
    pub operation: String,
    /// Access key id, `role/NAME` of an assumed role, or the MySQL user on the admin port.
    pub caller: String,
    /// The request's parameters, flattened as on the wire.
    pub params: BTreeMap<String, String>,
    /// Whether the operation is one that can change something.
    pub mutating: bool,
    /// What really changed; none if nothing did.
    pub effect: Option<String>,
    /// Id of the request, as in the answer.
    pub request_id: String,
    /// HTTP status of the answer; 0 if the caller never got one. The admin port uses 200 and 400.
    pub status: u16,
}
