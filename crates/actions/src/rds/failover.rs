//! `rds.failover_cluster`: hands the writer's part to one named reader.
//!
//! RDS takes no token, and a second call would hand it on again or back. So the target is always named (a repeat for the same
//! target is refused by RDS itself), and no failover is asked for soon after another. The call itself is never repeated when its
//! answer was lost. That it took effect shows by the writer, or, where the cluster has gone back to its old one meanwhile, by an
//! event. That it took none shows by nothing: events may be missing, and a cluster that went back looks as if nothing had
//! been. So a person says so.

use std::sync::Arc;

use chrono::TimeDelta;
use domain::Timestamp;
use domain::action::{ActionError, Change, Ctx, Effect, ObjectChange, UndoCall};
use domain::words::many;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SERVICE;
use super::events::Failovers;
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

/// `rds.failover_cluster`.
pub(super) struct FailOver(pub(super) Arc<Aws>);

/// The new writer.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FailOverInput {
    /// AWS region.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// The cluster, by its id in the inventory or its DB cluster identifier.
    #[serde(deserialize_with = "input::name")]
    cluster: String,
    /// DB instance identifier of the reader that is to write.
    #[serde(deserialize_with = "input::name")]
    target: String,
    /// Also when the last failover began less than an hour ago (never within ten minutes of it).
    #[serde(default)]
    again: bool,
}

/// What is seen before the call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Roles {
    at: Timestamp,
    status: String,
    writer: Option<String>,
    readers: Vec<String>,
    last_failover: Option<Timestamp>,
}

/// Who writes now.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Handed {
    /// The cluster, by its DB cluster identifier.
    cluster: String,
    /// DB instance identifier of the new writer.
    writer: String,
}

/// One failover in an hour: a cluster that fails over again and again is not healed by one more.
const COOL_OFF: TimeDelta = TimeDelta::hours(1);
/// RDS's clock and ours are not quite the same.
const BLUR: TimeDelta = TimeDelta::seconds(30);
/// Never sooner: the last one may not be over.
const SETTLING: TimeDelta = TimeDelta::minutes(10);

impl Change for FailOver {
    const NAME: &'static str = "rds.failover_cluster";
    const SUMMARY: &'static str = "Make a named reader of an Aurora cluster its writer";
    const PERMISSIONS: &'static [&'static str] =
        &["rds:DescribeDBClusters", "rds:DescribeEvents", "rds:FailoverDBCluster"];
    const EFFECT: Effect = Effect::Probe;
    const REPEATABLE: bool = false;
    const UNDOABLE: bool = false;
    type Input = FailOverInput;
    type Facts = Roles;
    type Output = Handed;

    async fn observe(&self, ctx: &Ctx, input: &FailOverInput) -> Result<Roles, ActionError> {
        let calls = Calls::new(ctx);
        let cluster = super::cluster(&self.0, &calls, &input.region, &input.cluster).await?;
        let (mut writer, mut readers) = (None, Vec::new());
        for member in cluster.db_cluster_members() {
            let id = member.db_instance_identifier().unwrap_or_default().to_owned();
            match member.is_cluster_writer() {
                Some(true) => writer = Some(id),
                _ => readers.push(id),
            }
        }
        let failovers = Failovers::within(&self.0, &calls, &input.region, &input.cluster, 60).await?;
        Ok(Roles {
            at: ctx.clock.now(),
            status: cluster.status().unwrap_or_default().to_owned(),
            writer,
            readers,
            last_failover: failovers.last_started(),
        })
    }

    /// By identity: the status lags behind, and also says `available` when a failover has gone back.
    fn settled(&self, input: &FailOverInput, facts: &Roles) -> Option<Handed> {
        (facts.writer.as_ref() == Some(&input.target)).then(|| self.handed(input))
    }

    /// What is asked for is to be accepted: a failover that began since then was, wherever it led. Whether the target writes is
    /// for a later step to see, which says it when it went back.
    fn happened(&self, input: &FailOverInput, before: &Roles, now: &Roles) -> Option<Handed> {
        let began = now.last_failover > before.last_failover
            && now.last_failover.is_some_and(|at| at >= before.at - BLUR);
        self.settled(input, now).or_else(|| began.then(|| self.handed(input)))
    }

    fn plan(&self, input: &FailOverInput, facts: &Roles) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_cluster(&input.region, &input.cluster)?;
        if !facts.readers.contains(&input.target) {
            return Err(ActionError::refused(
                "no_such_reader",
                format!(
                    "{} is no reader of {}; its readers are: {}.",
                    input.target,
                    input.cluster,
                    list(&facts.readers)
                ),
            ));
        }
        Ok(vec![ObjectChange {
            object: format!("DB cluster {}", self.0.cluster_identifier(&input.region, &input.cluster)),
            property: "writer".into(),
            before: facts.writer.clone().into(),
            after: input.target.clone().into(),
        }])
    }

    fn forbidden(&self, input: &FailOverInput, facts: &Roles) -> Option<ActionError> {
        if facts.status != "available" {
            return Some(
                ActionError::refused(
                    "cluster_busy",
                    format!(
                        "The cluster {} is `{}`; only one that is `available` can fail over.",
                        input.cluster, facts.status
                    ),
                )
                .remedy("wait until it is available"),
            );
        }
        let age = facts.at - facts.last_failover?;
        let (limit, remedy) = if input.again {
            (SETTLING, "wait until it has settled, and look whether it went back by itself")
        } else {
            (COOL_OFF, "find out why the last one did not help; `again: true` allows another one")
        };
        (age < limit).then(|| {
            let writer = facts.writer.as_deref().unwrap_or("nobody");
            ActionError::refused(
                "failed_over_lately",
                format!(
                    "A failover of {} began {} ago, and {writer} is the writer now; another one so soon is refused.",
                    input.cluster,
                    many(age.num_minutes(), "minute")
                ),
            )
            .remedy(remedy)
        })
    }

    fn predict(&self, input: &FailOverInput, _facts: &Roles) -> Option<Handed> {
        Some(self.handed(input))
    }

    /// The call is only accepted: that the writer is another one is for a later step to see.
    async fn apply(&self, ctx: &Ctx, input: &FailOverInput, _facts: &Roles) -> Result<Handed, ActionError> {
        let client = self.0.of_cluster(&input.region, &input.cluster, Purpose::Act)?.rds;
        let id = self.0.cluster_identifier(&input.region, &input.cluster);
        Calls::new(ctx)
            .change(SERVICE, "FailoverDBCluster", id, |gate| {
                client
                    .failover_db_cluster()
                    .db_cluster_identifier(id)
                    .target_db_instance_identifier(&input.target)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        Ok(self.handed(input))
    }

    fn undo(&self, _input: &FailOverInput, _facts: &Roles) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &FailOverInput) -> String {
        let id = self.0.cluster_identifier(&input.region, &input.cluster);
        Command::aws("rds failover-db-cluster", &input.region)
            .option("--db-cluster-identifier", id)
            .option("--target-db-instance-identifier", &input.target)
            .line()
    }
}

impl FailOver {
    fn handed(&self, input: &FailOverInput) -> Handed {
        let cluster = self.0.cluster_identifier(&input.region, &input.cluster).to_owned();
        Handed { cluster, writer: input.target.clone() }
    }
}

fn list(ids: &[String]) -> String {
    if ids.is_empty() { "none".into() } else { ids.join(", ") }
}
