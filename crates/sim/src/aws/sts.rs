//! STS: who am I. Enough for a caller to check its credentials and its account.

use super::params::Params;
use super::{Answer, Dialect, Outcome, Service};
use crate::physics::Physics;

pub(super) static SERVICE: Service = Service {
    name: "sts",
    version: "2011-06-15",
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    dialect: Dialect::Query,
    throttled: ("Throttling", 400),
    handle,
};

fn handle(operation: &str, _: &Params, world: &mut Physics) -> Option<Outcome> {
    let account = &world.world.account;
    let who = |x: &mut super::Xml| {
        x.text("Arn", format!("arn:aws:iam::{account}:user/sim"))
            .text("UserId", "AIDASIMULATEDUSER0001")
            .text("Account", account);
    };
    (operation == "GetCallerIdentity").then(|| Ok(Answer::looked(who)))
}
