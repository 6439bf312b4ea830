//! A host that does not answer: is it in trouble, or not there any more?
//!
//! A process that has ended refuses its port at once. A machine that has ended says nothing at all: EC2 drops what is sent to an
//! address that nobody has, and a connection to it runs into its deadline just as one over a broken network does. The host says
//! nothing, so its group is asked. What the group has let go needs no pause taken back, and no clients waited for.
//!
//! Looks at hosts are budgeted by host, and this question goes to Auto Scaling, where a fleet that has fallen silent must not be asked
//! by each of its hosts, whenever one of them is looked at. So a group is asked once in some seconds, for all of its hosts together,
//! and more seldom when it does not answer. What was heard a moment ago says at most that a host is still there. That it is gone is
//! only ever believed of an answer to this very question: a host may be younger than what was heard before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_autoscaling::types::AutoScalingGroup;
use chrono::TimeDelta;
use domain::Timestamp;
use domain::action::{ActionError, Ctx, ErrorClass};
use domain::inventory::ProxyFleet;
use tokio::sync::Mutex as Turn;

use super::{Host, Hosts};
use crate::autoscaling::{self, Stage};
use crate::calls::Calls;

/// For so long a host that its group had is taken to be there.
const STILL: TimeDelta = TimeDelta::seconds(10);
/// A group that could not be asked is left alone for so long.
const LEFT_ALONE: TimeDelta = TimeDelta::seconds(30);

/// What the groups of silent hosts said last, by region and name.
#[derive(Default)]
pub(super) struct Groups(Mutex<HashMap<(String, String), Asked>>);

/// A group that is asked by one at a time.
type Asked = Arc<Turn<Option<Heard>>>;

struct Heard {
    at: Timestamp,
    said: Result<AutoScalingGroup, ActionError>,
}

impl Heard {
    /// Is it enough to know that the host is there, or that nobody can be asked?
    fn still(&self, host: &Host, now: Timestamp) -> bool {
        match &self.said {
            Ok(group) => {
                let there = autoscaling::stage(group, &host.id).is_some_and(|stage| stage != Stage::Leaving);
                there && now - self.at < STILL
            }
            Err(_) => now - self.at < LEFT_ALONE,
        }
    }
}

impl Groups {
    /// One at a time for each group: who comes meanwhile hears what the first one heard.
    fn turn(&self, fleet: &ProxyFleet) -> Asked {
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        groups.entry((fleet.region.clone(), fleet.group.clone())).or_default().clone()
    }
}

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
        let turn = self.groups.turn(fleet);
        let mut heard = turn.lock().await;
        let known = heard.as_ref().is_some_and(|heard| heard.still(host, ctx.clock.now()));
        let heard = match &mut *heard {
            Some(heard) if known => heard,
            slot => {
                let at = ctx.clock.now();
                let calls = Calls::new(ctx);
                let said = autoscaling::group(&calls, &self.aws, &fleet.region, &fleet.group).await;
                slot.insert(Heard { at, said })
            }
        };
        let left = match &heard.said {
            Ok(group) => match autoscaling::stage(group, &host.id) {
                None => "does not have it (any more)",
                Some(Stage::Leaving) => "is terminating or detaching it",
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
