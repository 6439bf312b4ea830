//! IAM: what a caller may do, when a test or a drill says so.
//!
//! A caller (an access key) without a policy may do everything; [`EVERYBODY`]'s is that of all who have none of their own. One with a policy may do what some statement allows and no
//! statement denies, as AWS evaluates identity-based policies: actions and resources match by wildcards, and every
//! resource of a call must be allowed. What a policy says beyond that is refused when it is given, so that nothing is
//! believed to be enforced that is not.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::Value;

use super::autoscaling_describe::group_arn;
use super::params::Params;
use super::{Dialect, Service};
use crate::physics::{Physics, Refusal};

/// A policy that is none, or that says more than is enforced here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the IAM policy of {caller}: {what}")]
pub struct PolicyError {
    /// Whose.
    pub caller: String,
    /// What is wrong with it.
    pub what: String,
}

/// Stands for every caller without a policy of their own.
pub const EVERYBODY: &str = "*";

/// The policies, by caller.
#[derive(Debug, Default)]
pub(crate) struct Policies(Mutex<BTreeMap<String, Vec<Statement>>>);

/// A policy in AWS's grammar.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Document {
    version: String,
    #[serde(default, rename = "Id")]
    _id: Option<String>,
    statement: Many<Statement>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct Statement {
    #[serde(default, rename = "Sid")]
    _sid: Option<String>,
    effect: Verdict,
    action: Many<String>,
    resource: Many<String>,
    #[serde(default)]
    condition: Option<Condition>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Verdict {
    Allow,
    Deny,
}

/// The one condition that is simulated: the region that is called.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    #[serde(rename = "StringEquals")]
    equals: Equals,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Equals {
    #[serde(rename = "aws:RequestedRegion")]
    region: Many<String>,
}

/// One, or a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Many<T> {
    One(T),
    Several(Vec<T>),
}

impl<T> Many<T> {
    fn all(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Several(all) => all,
        }
    }
}

/// Who calls, and where.
pub(super) struct Caller<'a> {
    pub(super) key: &'a str,
    pub(super) region: &'a str,
}

impl Policies {
    /// From now on `caller` may do no more than `policy` allows.
    pub(crate) fn set(&self, caller: &str, policy: &Value) -> Result<(), PolicyError> {
        let wrong = |what: String| PolicyError { caller: caller.to_owned(), what };
        let document = Document::deserialize(policy).map_err(|e| wrong(e.to_string()))?;
        if document.version != "2012-10-17" {
            return Err(wrong(format!("its version is {}; only 2012-10-17 is enforced", document.version)));
        }
        let statements = document.statement.all().to_vec();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(caller.to_owned(), statements);
        Ok(())
    }

    /// From now on `caller` may do everything.
    pub(crate) fn lift(&self, caller: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(caller);
    }

    /// AWS's refusal, when the caller may not do it.
    pub(super) fn refuse(
        &self,
        service: &Service,
        operation: &str,
        caller: &Caller<'_>,
        params: &Params,
        world: &Physics,
    ) -> Option<Refusal> {
        let policies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let statements = policies.get(caller.key).or_else(|| policies.get(EVERYBODY))?;
        // Whoever has credentials may ask whose they are.
        if (service.name, operation) == ("sts", "GetCallerIdentity") {
            return None;
        }
        // CloudWatch signs with an older name.
        let prefix = if service.name == "monitoring" { "cloudwatch" } else { service.name };
        let action = format!("{prefix}:{operation}");
        let resources = resources(service.name, operation, caller.region, params, world);
        let said = |verdict, resource: &str| {
            statements.iter().any(|s| s.effect == verdict && s.covers(&action, resource, caller.region))
        };
        let refused = |resource: &&String| !said(Verdict::Allow, resource) || said(Verdict::Deny, resource);
        let resource = resources.iter().find(refused)?;
        let why = if said(Verdict::Deny, resource) {
            "with an explicit deny in an identity-based policy".to_owned()
        } else {
            format!("because no identity-based policy allows the {action} action")
        };
        let on = if resource == ANY { String::new() } else { format!(" on resource: {resource}") };
        let account = &world.world.account;
        let user = match caller.key.strip_prefix("role/") {
            Some(role) => format!("arn:aws:sts::{account}:assumed-role/{role}/session"),
            None => format!("arn:aws:iam::{account}:user/{}", caller.key),
        };
        let sentence = format!("User: {user} is not authorized to perform: {action}{on} {why}");
        Some(match service.dialect {
            Dialect::Query | Dialect::Rpc(_) => Refusal::new("AccessDenied", sentence).with_status(403),
            Dialect::Ec2 => {
                let message = format!("You are not authorized to perform this operation. {sentence}");
                Refusal::new("UnauthorizedOperation", message).with_status(403)
            }
        })
    }
}

impl Statement {
    fn covers(&self, action: &str, resource: &str, region: &str) -> bool {
        let action = action.to_ascii_lowercase();
        self.action.all().iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &action))
            && self.resource.all().iter().any(|pattern| matches(pattern, resource))
            && self
                .condition
                .as_ref()
                .is_none_or(|condition| condition.equals.region.all().iter().any(|r| r == region))
    }
}

/// The resource of an operation that knows none.
const ANY: &str = "*";

/// The ARNs that AWS authorizes an operation on (Service Authorization Reference). A listing that names nothing is
/// authorized on all of its kind.
fn resources(service: &str, operation: &str, region: &str, params: &Params, world: &Physics) -> Vec<String> {
    let account = &world.world.account;
    let rds = |kind: &str, id: Option<&str>| match id {
        Some(arn) if arn.starts_with("arn:") => vec![arn.to_owned()],
        id => vec![format!("arn:aws:rds:{region}:{account}:{kind}:{}", id.unwrap_or("*"))],
    };
    match (service, operation) {
        ("autoscaling", "TerminateInstanceInAutoScalingGroup") => {
            let id = params.get("InstanceId").unwrap_or_default();
            let fleet = world.hosts.iter().find(|h| h.instance_id == id).map(|h| h.fleet);
            vec![fleet.map_or_else(|| unknown_group(region, account, "*"), |fleet| group_arn(world, fleet))]
        }
        ("autoscaling", operation) if !operation.starts_with("Describe") => {
            let name = params.get("AutoScalingGroupName").unwrap_or("*");
            let found = world.group_index(name).ok();
            vec![found.map_or_else(|| unknown_group(region, account, name), |fleet| group_arn(world, fleet))]
        }
        ("ec2", "TerminateInstances") => {
            let arn = |id: &String| format!("arn:aws:ec2:{region}:{account}:instance/{id}");
            params.list("InstanceId").iter().map(arn).collect()
        }
        ("monitoring", "DescribeAlarms") => vec![format!("arn:aws:cloudwatch:{region}:{account}:alarm:*")],
        ("rds", "DescribeEvents" | "DescribeOrderableDBInstanceOptions") => vec![ANY.to_owned()],
        ("rds", "DescribeBlueGreenDeployments") => {
            vec![format!("arn:aws:rds:{region}:{account}:deployment:*")]
        }
        ("rds", operation) if operation.contains("DBCluster") => {
            rds("cluster", params.get("DBClusterIdentifier"))
        }
        ("rds", operation) if operation.contains("DBInstance") => {
            rds("db", params.get("DBInstanceIdentifier"))
        }
        _ => vec![ANY.to_owned()],
    }
}

/// A group that does not exist still has a name to be authorized on.
fn unknown_group(region: &str, account: &str, name: &str) -> String {
    format!("arn:aws:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/{name}")
}

/// `*` is any text, `?` any character.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last `*` stands, and how much it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wildcards_take_any_text() {
        for (pattern, text, does) in [
            ("*", "", true),
            ("rds:Describe*", "rds:DescribeDBClusters", true),
            ("rds:Describe*", "rds:FailoverDBCluster", false),
            ("arn:*:cluster:shard-?", "arn:aws:rds:r:a:cluster:shard-b", true),
            ("arn:*:cluster:shard-?", "arn:aws:rds:r:a:cluster:shard-bb", false),
            ("*a*b", "xxaxxbxb", true),
            ("*a*b", "xxaxxbx", false),
        ] {
            assert_eq!(matches(pattern, text), does, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_not_enforced_is_not_accepted() {
        let policies = Policies::default();
        let with = |extra: Value| {
            let mut statement = json!({ "Effect": "Allow", "Action": "rds:*", "Resource": "*" });
            statement.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            json!({ "Version": "2012-10-17", "Statement": statement })
        };
        assert_eq!(policies.set("a", &with(json!({}))), Ok(()));
        for extra in [
            json!({ "NotAction": "rds:*" }),
            json!({ "Condition": { "Bool": { "aws:MultiFactorAuthPresent": "true" } } }),
            json!({ "Condition": { "StringEquals": { "aws:SourceVpc": "vpc-1" } } }),
        ] {
            assert!(policies.set("a", &with(extra.clone())).is_err(), "{extra}");
        }
        let old = json!({ "Version": "2008-10-17", "Statement": [] });
        assert!(policies.set("a", &old).unwrap_err().to_string().contains("2008-10-17"));
    }
}
