//! `rds.set_promotion_tier`: how early an instance is chosen when Aurora itself must fail over. No outage.

use std::sync::Arc;

use domain::action::{ActionError, Change, Ctx, Effect, ErrorClass, ObjectChange, UndoByHand, UndoCall};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DEFAULT_TIER, SERVICE};
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

/// `rds.set_promotion_tier`.
pub(super) struct SetTier(pub(super) Arc<Aws>);

/// Which instance, and its tier to be.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TierInput {
    /// AWS region.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// The cluster, by its id in the inventory or its DB cluster identifier.
    #[serde(deserialize_with = "input::name")]
    cluster: String,
    /// DB instance identifier.
    #[serde(deserialize_with = "input::name")]
    instance: String,
    /// 0 (first choice) to 15.
    #[schemars(range(min = 0, max = 15))]
    tier: i32,
}

/// What is seen before the call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Before {
    tier: i32,
    status: String,
    pending: Vec<String>,
}

/// An instance and its tier.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Tier {
    /// DB instance identifier.
    instance: String,
    /// Its promotion tier.
    tier: i32,
}

impl Change for SetTier {
    const NAME: &'static str = "rds.set_promotion_tier";
    const SUMMARY: &'static str = "Set how early an instance is chosen when Aurora fails over by itself";
    const PERMISSIONS: &'static [&'static str] = &["rds:DescribeDBInstances", "rds:ModifyDBInstance"];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = true;
    const UNDO_BY_HAND: Option<UndoByHand> = Some(UndoByHand {
        look: Some("rds.describe_cluster"),
        look_with: &["region", "cluster"],
        each: None,
        when: "[$before.members[] | select(.id == $with.instance).tier] != [$with.tier]",
        with: &[("tier", "$before.members[] | select(.id == $with.instance).tier")],
    });
    type Input = TierInput;
    type Facts = Before;
    type Output = Tier;

    async fn observe(&self, ctx: &Ctx, input: &TierInput) -> Result<Before, ActionError> {
        let instances = super::instances(&self.0, &Calls::new(ctx), &input.region, &input.cluster).await?;
        let found = instances.iter().find(|i| i.db_instance_identifier() == Some(&input.instance));
        let instance = found.ok_or_else(|| {
            let message = format!("{} is no instance of {}.", input.instance, input.cluster);
            ActionError::new(ErrorClass::Gone, "DBInstanceNotFound", message)
        })?;
        Ok(Before {
            tier: instance.promotion_tier().unwrap_or(DEFAULT_TIER),
            status: instance.db_instance_status().unwrap_or_default().to_owned(),
            pending: super::pending(instance),
        })
    }

    fn settled(&self, input: &TierInput, facts: &Before) -> Option<Tier> {
        (facts.tier == input.tier).then(|| tier(input))
    }

    fn plan(&self, input: &TierInput, facts: &Before) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_cluster(&input.region, &input.cluster)?;
        if !(0..=15).contains(&input.tier) {
            let message = format!("The tier {} does not exist; tiers are 0 to 15.", input.tier);
            return Err(ActionError::refused("bad_input", message));
        }
        Ok(vec![ObjectChange {
            object: format!("DB instance {}", input.instance),
            property: "promotion tier".into(),
            before: facts.tier.into(),
            after: input.tier.into(),
        }])
    }

    /// The call says "at once", and that would apply what others have put off.
    fn forbidden(&self, input: &TierInput, facts: &Before) -> Option<ActionError> {
        if !facts.pending.is_empty() {
            let what = facts.pending.join(", ");
            return Some(
                ActionError::refused(
                    "pending_changes",
                    format!(
                        "{} has changes pending ({what}); to set its tier at once would apply them, too.",
                        input.instance
                    ),
                )
                .remedy("find out whose they are; apply or take them back first"),
            );
        }
        (facts.status != "available").then(|| {
            ActionError::refused(
                "not_available",
                format!("{} is `{}`; only one that is `available` is changed.", input.instance, facts.status),
            )
            .remedy("wait until it is available")
        })
    }

    fn predict(&self, input: &TierInput, _facts: &Before) -> Option<Tier> {
        Some(tier(input))
    }

    async fn apply(&self, ctx: &Ctx, input: &TierInput, _facts: &Before) -> Result<Tier, ActionError> {
        let client = self.0.of_cluster(&input.region, &input.cluster, Purpose::Act)?.rds;
        Calls::new(ctx)
            .change(SERVICE, "ModifyDBInstance", &input.instance, |gate| {
                client
                    .modify_db_instance()
                    .db_instance_identifier(&input.instance)
                    .promotion_tier(input.tier)
                    .apply_immediately(true)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        Ok(tier(input))
    }

    fn undo(&self, input: &TierInput, facts: &Before) -> Option<UndoCall> {
        let TierInput { region, cluster, instance, .. } = input;
        let before = TierInput {
            region: region.clone(),
            cluster: cluster.clone(),
            instance: instance.clone(),
            tier: facts.tier,
        };
        (facts.tier != input.tier).then(|| input::call(Self::NAME, &before)).flatten()
    }

    fn command(&self, input: &TierInput) -> String {
        Command::aws("rds modify-db-instance", &input.region)
            .option("--db-instance-identifier", &input.instance)
            .option("--promotion-tier", &input.tier.to_string())
            .flag("--apply-immediately")
            .line()
    }
}

fn tier(input: &TierInput) -> Tier {
    Tier { instance: input.instance.clone(), tier: input.tier }
}
