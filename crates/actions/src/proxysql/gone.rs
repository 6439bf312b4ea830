//! A host that does not answer: is it in trouble, or not there any more?
//!
//! A process that has ended refuses its port at once. A machine that has ended says nothing at all: EC2 drops what is sent to an
//! address that nobody has, and a connection to it runs into its deadline just as one over a broken network does. The host says
//! nothing, so its group is asked. What the group has let go needs no pause taken back, and no clients waited for.

use domain::action::{ActionError, Ctx, ErrorClass};
use domain::inventory::ProxyFleet;

use super::{Host, Hosts};
use crate::autoscaling;
use crate::calls::Calls;

impl Hosts {
    /// The error of a host that could not be reached: [`ErrorClass::Gone`] if its group says so. It stays what it was where the
    /// group has it, or cannot be asked.
    pub(super) async fn told_apart(
        &self,
        ctx: &Ctx,
        fleet: &ProxyFleet,
        host: &Host,
        error: ActionError,
    ) -> ActionError {
        if error.class != ErrorClass::Transient {
            return error;
        }
        let calls = Calls::new(ctx);
        let left = match autoscaling::group(&calls, &self.aws, &fleet.region, &fleet.group).await {
            Ok(group) => match autoscaling::stage(&group, &host.id) {
                None => "does not have it (any more)",
                Some(autoscaling::Stage::Leaving) => "is terminating or detaching it",
                Some(_) => return error,
            },
            Err(why) => {
                let message =
                    format!("{} Whether its group still has it cannot be told: {why}", error.message);
                return ActionError { message, ..error };
            }
        };
        let message = format!("{} Its group {} {left}.", error.message, fleet.group);
        ActionError { class: ErrorClass::Gone, message, ..error }
    }
}
