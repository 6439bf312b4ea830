//! CloudWatch: the values of a metric, and the alarms.
//!
//! Its SDK crate asks for other features of the crates that all of the SDK rests on, so that with it every build would begin
//! with minutes of EC2; for two questions they are put and signed here instead ([`signed`]), in AWS's own JSON protocol.

mod alarms;
mod metric;
mod signed;

use std::sync::Arc;

use domain::action::Registry;

use crate::aws::Aws;
use signed::Signed;

/// Adds the actions of this service.
pub(crate) fn register(registry: Registry, aws: &Arc<Aws>) -> Registry {
    let signed = || Signed(Arc::clone(aws));
    registry.observing(alarms::DescribeAlarms(signed())).observing(metric::Metric(signed()))
}
