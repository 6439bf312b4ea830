//! STS: who am I. Enough for a caller to check its credentials and its account.

use super::params::{Manner, Params};
use super::{Act, Answer, Dialect, Outcome, Service};
use crate::physics::Physics;

pub(super) static SERVICE: Service = Service {
    name: "sts",
    version: "2011-06-15",
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    dialect: Dialect::Query,
    target: None,
    manner: Manner::Validation,
    throttled: ("Throttling", 400),
    operations: &[("GetCallerIdentity", Act::Look(caller_identity))],
};

fn caller_identity(_: &Params, world: &Physics) -> Outcome {
    let account = &world.world.account;
    Ok(Answer::looked(|x| {
        x.text("Arn", format!("arn:aws:iam::{account}:user/sim"))
            .text("UserId", "AIDASIMULATEDUSER0001")
            .text("Account", account);
    }))
}
