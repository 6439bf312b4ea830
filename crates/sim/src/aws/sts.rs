//! STS: who am I, and who may I be. Any key is accepted, so any role of the account may be assumed; what a role may do is not
//! asked here.
//!
//! A session is kept nowhere: its token says it all, and comes back with every call that is signed with it.

use chrono::TimeDelta;

use super::params::{Manner, Params};
use super::{Act, Answer, Dialect, Outcome, Service, time};
use crate::physics::{Physics, Refusal, bits};

pub(super) static SERVICE: Service = Service {
    name: "sts",
    version: "2011-06-15",
    namespace: "https://sts.amazonaws.com/doc/2011-06-15/",
    dialect: Dialect::Query,
    target: None,
    manner: Manner::Validation,
    throttled: ("Throttling", 400),
    operations: &[("GetCallerIdentity", Act::Look(caller_identity)), ("AssumeRole", Act::Look(assume_role))],
};

/// Seconds that a session lasts: shortest, longest, and if nothing is said.
const SHORTEST_S: i64 = 900;
const LONGEST_S: i64 = 43_200;
const USUAL_S: i64 = 3_600;
/// Letters that a session policy may have.
const LONGEST_POLICY: usize = 2048;
/// What every token of ours begins with; role and session follow.
const TOKEN: &str = "sim-session/";

/// Role and session of a token that [`assume_role`] gave out.
pub(super) fn session(token: &str) -> Option<(&str, &str)> {
    token.strip_prefix(TOKEN)?.split_once('/')
}

/// The id of a role, in AWS's form.
fn role_id(world: &Physics, role: &str) -> String {
    format!("AROA{:016X}", bits(world.seed(), role, 0))
}

fn caller_identity(params: &Params, world: &Physics) -> Outcome {
    let account = &world.world.account;
    let assumed = params.session.as_deref().and_then(session);
    Ok(Answer::looked(|x| {
        match assumed {
            Some((role, name)) => x
                .text("Arn", format!("arn:aws:sts::{account}:assumed-role/{role}/{name}"))
                .text("UserId", format!("{}:{name}", role_id(world, role))),
            None => x
                .text("Arn", format!("arn:aws:iam::{account}:user/sim"))
                .text("UserId", "AIDASIMULATEDUSER0001"),
        }
        .text("Account", account);
    }))
}

fn assume_role(params: &Params, world: &Physics) -> Outcome {
    let arn = params.required("RoleArn")?;
    let name = params.required("RoleSessionName")?;
    let account = &world.world.account;
    let malformed = || Refusal::validation(format!("{arn} is invalid"));
    let of_account = arn.strip_prefix("arn:aws:iam::").ok_or_else(malformed)?;
    let (owner, role) = of_account.split_once(":role/").ok_or_else(malformed)?;
    // A role may have a path, which the session's ARN leaves out.
    let role = role.rsplit('/').next().filter(|r| !r.is_empty()).ok_or_else(malformed)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    if !(2..=64).contains(&name.len()) || !name.chars().all(plain) {
        return Err(Refusal::validation(format!(
            "1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: Member \
             must satisfy regular expression pattern: [\\w+=,.@-]*"
        )));
    }
    let seconds = params.parsed("DurationSeconds")?.unwrap_or(USUAL_S);
    if !(SHORTEST_S..=LONGEST_S).contains(&seconds) {
        return Err(Refusal::validation(format!(
            "DurationSeconds must be between {SHORTEST_S} and {LONGEST_S}, not {seconds}"
        )));
    }
    if let Some(policy) = params.get("Policy") {
        if policy.len() > LONGEST_POLICY {
            let message = format!("The policy has {} letters of {LONGEST_POLICY}", policy.len());
            return Err(Refusal::new("PackedPolicyTooLarge", message));
        }
        if serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(policy).is_err() {
            return Err(Refusal::new("MalformedPolicyDocument", "This policy contains invalid Json"));
        }
    }
    if owner != account {
        let message = format!(
            "User: arn:aws:iam::{account}:user/sim is not authorized to perform: sts:AssumeRole on resource: {arn}"
        );
        return Err(Refusal::new("AccessDenied", message).with_status(403));
    }
    let now = world.now();
    let draw =
        |what: &str| bits(world.seed(), &format!("{what} of {role}/{name}"), now.timestamp().unsigned_abs());
    Ok(Answer::looked(|x| {
        x.node("Credentials", |x| {
            x.text("AccessKeyId", format!("ASIA{:016X}", draw("key")))
                .text("SecretAccessKey", format!("{:016x}{:016x}", draw("secret"), draw("secret tail")))
                .text("SessionToken", format!("{TOKEN}{role}/{name}"))
                .text("Expiration", time(now + TimeDelta::seconds(seconds)));
        })
        .node("AssumedRoleUser", |x| {
            x.text("AssumedRoleId", format!("{}:{name}", role_id(world, role)))
                .text("Arn", format!("arn:aws:sts::{account}:assumed-role/{role}/{name}"));
        });
    }))
}
