//! `rds.modify_instance_class`: gives one reader another class, at once.
//!
//! RDS stops nobody from taking two instances of a cluster down at the same time, nor from taking the writer down; and `at
//! once` also applies everything that others had put off. So all of that is looked at right before the call, and refused.

use std::sync::Arc;

use aws_sdk_rds::types::DbInstance;
use domain::action::{ActionError, Change, Ctx, Effect, ObjectChange, UndoCall};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SERVICE;
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

/// `rds.modify_instance_class`.
pub(super) struct ModifyClass(pub(super) Arc<Aws>);

/// Which instance, and its class to be.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ModifyInput {
    /// AWS region.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// The cluster, by its id in the inventory or its DB cluster identifier.
    #[serde(deserialize_with = "input::name")]
    cluster: String,
    /// DB instance identifier of a reader.
    #[serde(deserialize_with = "input::name")]
    instance: String,
    /// Its class to be, such as `db.r6i.12xlarge`.
    #[serde(deserialize_with = "input::name")]
    class: String,
}

/// What is seen before the call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Members {
    status: String,
    writer: Option<String>,
    members: Vec<Instance>,
}

/// An instance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Instance {
    id: String,
    status: String,
    class: String,
    pending_class: Option<String>,
    pending: Vec<String>,
}

/// An instance whose class is being changed, or is the one wanted.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Modified {
    /// DB instance identifier.
    instance: String,
    /// The class that it has, or will have within minutes.
    class: String,
}

impl Change for ModifyClass {
    const NAME: &'static str = "rds.modify_instance_class";
    const SUMMARY: &'static str = "Give one reader of an Aurora cluster another class, at once";
    const PERMISSIONS: &'static [&'static str] =
        &["rds:DescribeDBClusters", "rds:DescribeDBInstances", "rds:ModifyDBInstance"];
    // A repeat finds the class pending and does nothing; one that overtakes that is refused by RDS.
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = false;
    type Input = ModifyInput;
    type Facts = Members;
    type Output = Modified;

    async fn observe(&self, ctx: &Ctx, input: &ModifyInput) -> Result<Members, ActionError> {
        let calls = Calls::new(ctx);
        let cluster = super::cluster(&self.0, &calls, &input.region, &input.cluster).await?;
        let instances = super::instances(&self.0, &calls, &input.region, &input.cluster).await?;
        let writer = cluster.db_cluster_members().iter().find(|m| m.is_cluster_writer() == Some(true));
        Ok(Members {
            status: cluster.status().unwrap_or_default().to_owned(),
            writer: writer.and_then(|m| m.db_instance_identifier()).map(str::to_owned),
            members: instances.iter().map(Instance::of).collect(),
        })
    }

    fn settled(&self, input: &ModifyInput, facts: &Members) -> Option<Modified> {
        let instance = facts.find(&input.instance)?;
        let becomes = instance.pending_class.as_ref().unwrap_or(&instance.class);
        // Put off to the maintenance window it would show as pending, too, but then nothing is `modifying`.
        let begun = instance.pending_class.is_none() || instance.status != "available";
        (*becomes == input.class && begun).then(|| modified(input))
    }

    fn plan(&self, input: &ModifyInput, facts: &Members) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_cluster(&input.region, &input.cluster)?;
        let Some(instance) = facts.find(&input.instance) else {
            let members: Vec<&str> = facts.members.iter().map(|m| m.id.as_str()).collect();
            return Err(ActionError::refused(
                "no_such_instance",
                format!(
                    "{} is no instance of {}; its instances are: {}.",
                    input.instance,
                    input.cluster,
                    members.join(", ")
                ),
            ));
        };
        Ok(vec![ObjectChange {
            object: format!("DB instance {}", instance.id),
            property: "class".into(),
            before: instance.class.clone().into(),
            after: input.class.clone().into(),
        }])
    }

    fn forbidden(&self, input: &ModifyInput, facts: &Members) -> Option<ActionError> {
        let refuse = |code: &'static str, why: String, remedy: &'static str| {
            Some(ActionError::refused(code, why).remedy(remedy))
        };
        let name = &input.instance;
        if facts.writer.as_ref().is_none_or(|writer| writer == name) {
            let who =
                facts.writer.as_ref().map_or("nobody knows who writes just now", |_| "it is the writer");
            return refuse(
                "is_writer",
                format!(
                    "The class of {name} is not changed: {who}, and its change is minutes without writes."
                ),
                "hand the writer's part to another instance first (failover-cluster)",
            );
        }
        let instance = facts.find(name)?;
        let others: Vec<&str> =
            instance.pending.iter().map(String::as_str).filter(|p| *p != "class").collect();
        let class_of_others = instance.pending_class.as_ref().filter(|pending| **pending != input.class);
        if !others.is_empty() || class_of_others.is_some() {
            let what = class_of_others.map_or_else(|| others.join(", "), |class| format!("class {class}"));
            return refuse(
                "pending_changes",
                format!("{name} has changes pending ({what}); to apply ours at once would apply them, too."),
                "find out whose they are; apply or take them back first",
            );
        }
        if let Some(down) = facts.members.iter().find(|m| m.status != "available") {
            return refuse(
                "not_all_available",
                format!(
                    "{} is `{}`; the class of {name} is changed only while every instance of {} is available.",
                    down.id, down.status, input.cluster
                ),
                "wait until it is available: never two instances at once",
            );
        }
        if facts.status != "available" {
            return refuse(
                "cluster_busy",
                format!(
                    "The cluster {} is `{}`; only one that is `available` is changed.",
                    input.cluster, facts.status
                ),
                "wait until it is available",
            );
        }
        None
    }

    fn predict(&self, input: &ModifyInput, _facts: &Members) -> Option<Modified> {
        Some(modified(input))
    }

    /// The call is only accepted: that the class is another one is for a later step to see.
    async fn apply(&self, ctx: &Ctx, input: &ModifyInput, _facts: &Members) -> Result<Modified, ActionError> {
        let client = self.0.of_cluster(&input.region, &input.cluster, Purpose::Act)?.rds;
        Calls::new(ctx)
            .change(SERVICE, "ModifyDBInstance", &input.instance, |gate| {
                client
                    .modify_db_instance()
                    .db_instance_identifier(&input.instance)
                    .db_instance_class(&input.class)
                    .apply_immediately(true)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        Ok(modified(input))
    }

    fn undo(&self, _input: &ModifyInput, _facts: &Members) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &ModifyInput) -> String {
        Command::aws("rds modify-db-instance", &input.region)
            .option("--db-instance-identifier", &input.instance)
            .option("--db-instance-class", &input.class)
            .flag("--apply-immediately")
            .line()
    }
}

impl Members {
    fn find(&self, id: &str) -> Option<&Instance> {
        self.members.iter().find(|m| m.id == id)
    }
}

impl Instance {
    fn of(instance: &DbInstance) -> Self {
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        Self {
            id: text(instance.db_instance_identifier()),
            status: text(instance.db_instance_status()),
            class: text(instance.db_instance_class()),
            pending_class: super::pending_class(instance),
            pending: super::pending(instance),
        }
    }
}

fn modified(input: &ModifyInput) -> Modified {
    Modified { instance: input.instance.clone(), class: input.class.clone() }
}
