//! What a service is: a name, a dialect, and the operations that it offers.
//!
//! The dispatch is this table and nothing else, so that what is listed is what is there: the test that walks
//! every operation asks for the list, and a new operation without a walk fails it.

use serde::Serialize;

use super::params::{Manner, Params};
use super::rpc::Format;
use super::{Outcome, autoscaling, cloudwatch, ec2, elbv2, rds, sts};
use crate::physics::Physics;

/// One AWS service on the query protocol or on EC2's dialect of it.
pub(super) struct Service {
    /// Signing name.
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) namespace: &'static str,
    pub(super) dialect: Dialect,
    /// What it is called in the protocols that carry structures, if it speaks them, too.
    pub(super) target: Option<&'static str>,
    /// How it refuses bad parameters.
    pub(super) manner: Manner,
    /// What this service says when it throttles.
    pub(super) throttled: (&'static str, u16),
    pub(super) operations: &'static [(&'static str, Act)],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Query,
    Ec2,
    Rpc(Format),
}

/// What an operation does.
#[derive(Clone, Copy)]
pub(super) enum Act {
    /// It only looks.
    Look(fn(&Params, &Physics) -> Outcome),
    /// It may change the world.
    Change(fn(&Params, &mut Physics) -> Outcome),
}

impl Act {
    pub(super) fn changes(self) -> bool {
        matches!(self, Self::Change(_))
    }
}

impl Service {
    pub(super) fn find(&self, operation: &str) -> Option<Act> {
        self.operations.iter().find(|(name, _)| *name == operation).map(|(_, act)| *act)
    }
}

pub(super) static SERVICES: [&Service; 6] = [
    &autoscaling::SERVICE,
    &cloudwatch::SERVICE,
    &ec2::SERVICE,
    &elbv2::SERVICE,
    &rds::SERVICE,
    &sts::SERVICE,
];

/// An operation of the AWS API that the simulator offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Operation {
    /// Signing name of its service, e.g. `autoscaling`.
    pub service: &'static str,
    /// Its name, e.g. `SetDesiredCapacity`.
    pub operation: &'static str,
    /// Whether it can change something.
    pub mutating: bool,
}

/// Every operation that the simulator offers.
#[must_use]
pub fn operations() -> Vec<Operation> {
    let of = |service: &&'static Service| {
        let service = *service;
        service.operations.iter().map(|(operation, act)| Operation {
            service: service.name,
            operation,
            mutating: act.changes(),
        })
    };
    SERVICES.iter().flat_map(of).collect()
}
