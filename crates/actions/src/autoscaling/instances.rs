//! Single instances of a group: their state, their protection, their end.

use std::sync::Arc;

use domain::action::{
    ActionError, Change, Ctx, Effect, ErrorClass, ObjectChange, Observe, UndoByHand, UndoCall,
};
use domain::words::many;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SERVICE, Stage};
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

/// The state that is told for an instance that the group does not have (any more).
const GONE: &str = "gone";

/// `autoscaling.describe_instance`.
pub(super) struct DescribeInstance(pub(super) Arc<Aws>);

/// Which instance.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InstanceInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// EC2 instance id.
    #[serde(deserialize_with = "input::name")]
    instance: String,
}

/// Where one instance is in its life.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct InstanceState {
    /// EC2 instance id.
    id: String,
    /// Lifecycle state as Auto Scaling names it, or `gone`.
    state: String,
    /// In service.
    in_service: bool,
    /// Being terminated or detached.
    leaving: bool,
    /// Not in the group (any more).
    gone: bool,
}

impl Observe for DescribeInstance {
    const NAME: &'static str = "autoscaling.describe_instance";
    const SUMMARY: &'static str = "Lifecycle state of one instance of a group";
    const PERMISSIONS: &'static [&'static str] = &["autoscaling:DescribeAutoScalingGroups"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  aws autoscaling describe-auto-scaling-groups --region "$region" --auto-scaling-group-names "$group" --output json |
    jq -c --arg id "$instance" '.AutoScalingGroups[0] |
      ([.Instances[] | select(.InstanceId == $id).LifecycleState][0] // "gone") as $state | {
        id: $id, state: $state, in_service: ($state == "InService"),
        leaving: ($state | startswith("Terminat") or startswith("Detach")), gone: ($state == "gone")
      }'
"#,
    );
    type Input = InstanceInput;
    type Output = InstanceState;

    async fn observe(&self, ctx: &Ctx, input: &InstanceInput) -> Result<InstanceState, ActionError> {
        let group = super::group(&Calls::new(ctx), &self.0, &input.region, &input.group).await?;
        let state = group
            .instances()
            .iter()
            .find(|instance| instance.instance_id() == Some(&input.instance))
            .map_or(GONE, |instance| instance.lifecycle_state().map_or("", |state| state.as_str()));
        Ok(InstanceState {
            id: input.instance.clone(),
            state: state.to_owned(),
            in_service: Stage::of(state) == Stage::InService,
            leaving: Stage::of(state) == Stage::Leaving,
            gone: state == GONE,
        })
    }

    fn command(&self, input: &InstanceInput) -> String {
        Command::aws("autoscaling describe-auto-scaling-instances", &input.region)
            .option("--instance-ids", &input.instance)
            .line()
    }
}

/// `autoscaling.protect_instances`.
pub(super) struct ProtectInstances(pub(super) Arc<Aws>);

/// Which instances, and whether they shall be protected.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProtectInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// EC2 instance ids, at most 50.
    #[schemars(length(min = 1, max = 50))]
    #[serde(deserialize_with = "input::names")]
    instances: Vec<String>,
    /// Protected from scale-in, or not. It does not protect from `autoscaling.terminate_instance`.
    protected: bool,
}

/// How the instances are protected now.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Protection {
    /// Protected already.
    protected: Vec<String>,
    /// Not protected.
    unprotected: Vec<String>,
    /// Leaving, or not in the group (any more): nothing can be set on them.
    missing: Vec<String>,
}

/// What was set.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Protected {
    /// The group.
    group: String,
    /// The instances that this changed.
    changed: Vec<String>,
    /// The wanted state.
    protected: bool,
}

/// AWS takes at most this many ids in one call.
const MOST_PROTECTED: usize = 50;

impl ProtectInput {
    fn todo<'a>(&self, facts: &'a Protection) -> &'a [String] {
        if self.protected { &facts.unprotected } else { &facts.protected }
    }

    fn outcome(&self, facts: &Protection) -> Protected {
        Protected { group: self.group.clone(), changed: self.todo(facts).to_vec(), protected: self.protected }
    }
}

impl Change for ProtectInstances {
    const NAME: &'static str = "autoscaling.protect_instances";
    const SUMMARY: &'static str = "Protect instances from scale-in, or end their protection";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeAutoScalingGroups", "autoscaling:SetInstanceProtection"];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = true;
    const UNDO_BY_HAND: Option<UndoByHand> = Some(UndoByHand {
        look: Some("autoscaling.describe_group"),
        look_with: &["region", "group"],
        each: None,
        when: "[$before.in_service[] | select(.protected != $with.protected and (.id | within($with.instances)))] != []",
        with: &[
            (
                "instances",
                "[$before.in_service[] | select(.protected != $with.protected and (.id | within($with.instances))).id]",
            ),
            ("protected", "$with.protected | not"),
        ],
    });
    type Input = ProtectInput;
    type Facts = Protection;
    type Output = Protected;

    async fn observe(&self, ctx: &Ctx, input: &ProtectInput) -> Result<Protection, ActionError> {
        let group = super::group(&Calls::new(ctx), &self.0, &input.region, &input.group).await?;
        let mut facts = Protection { protected: Vec::new(), unprotected: Vec::new(), missing: Vec::new() };
        let mut wanted = input.instances.clone();
        wanted.sort();
        wanted.dedup();
        for id in wanted {
            let member = group.instances().iter().find(|instance| {
                instance.instance_id() == Some(&id)
                    && Stage::of(instance.lifecycle_state().map_or("", |s| s.as_str())) != Stage::Leaving
            });
            match member.map(|instance| instance.protected_from_scale_in().unwrap_or_default()) {
                Some(true) => facts.protected.push(id),
                Some(false) => facts.unprotected.push(id),
                None => facts.missing.push(id),
            }
        }
        Ok(facts)
    }

    /// An instance that has left needs no end of its protection.
    fn settled(&self, input: &ProtectInput, facts: &Protection) -> Option<Protected> {
        let nothing_to_protect = input.protected && !facts.missing.is_empty();
        (input.todo(facts).is_empty() && !nothing_to_protect).then(|| input.outcome(facts))
    }

    fn plan(&self, input: &ProtectInput, facts: &Protection) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_group(&input.region, &input.group)?;
        if input.instances.len() > MOST_PROTECTED {
            return Err(ActionError::refused(
                "too_many_instances",
                format!(
                    "{} instances are named; AWS sets the protection of at most {MOST_PROTECTED} in one call.",
                    input.instances.len()
                ),
            )
            .remedy("name fewer, in several steps"));
        }
        if input.protected && !facts.missing.is_empty() {
            return Err(ActionError::new(
                ErrorClass::Gone,
                "instance_not_in_group",
                format!("{} left the group {}, or were never in it.", facts.missing.join(", "), input.group),
            ));
        }
        Ok(input
            .todo(facts)
            .iter()
            .map(|id| ObjectChange {
                object: format!("host {id}"),
                property: "protected from scale-in".into(),
                before: (!input.protected).into(),
                after: input.protected.into(),
            })
            .collect())
    }

    fn predict(&self, input: &ProtectInput, facts: &Protection) -> Option<Protected> {
        Some(input.outcome(facts))
    }

    async fn apply(
        &self,
        ctx: &Ctx,
        input: &ProtectInput,
        facts: &Protection,
    ) -> Result<Protected, ActionError> {
        let outcome = input.outcome(facts);
        if outcome.changed.is_empty() {
            return Ok(outcome);
        }
        let client = self.0.of_group(&input.region, &input.group, Purpose::Act)?.autoscaling;
        Calls::new(ctx)
            .change(SERVICE, "SetInstanceProtection", &input.group, |gate| {
                client
                    .set_instance_protection()
                    .auto_scaling_group_name(&input.group)
                    .set_instance_ids(Some(outcome.changed.clone()))
                    .protected_from_scale_in(input.protected)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        Ok(outcome)
    }

    fn undo(&self, input: &ProtectInput, facts: &Protection) -> Option<UndoCall> {
        let instances = input.todo(facts).to_vec();
        if instances.is_empty() {
            return None;
        }
        let before = ProtectInput {
            region: input.region.clone(),
            group: input.group.clone(),
            instances,
            protected: !input.protected,
        };
        input::call(Self::NAME, &before)
    }

    fn command(&self, input: &ProtectInput) -> String {
        let flag = if input.protected { "--protected-from-scale-in" } else { "--no-protected-from-scale-in" };
        Command::aws("autoscaling set-instance-protection", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .list("--instance-ids", &input.instances)
            .flag(flag)
            .line()
    }
}

/// `autoscaling.terminate_instance`.
pub(super) struct TerminateInstance(pub(super) Arc<Aws>);

/// Which instance goes, and whether the group gets smaller by it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TerminateInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// EC2 instance id.
    #[serde(deserialize_with = "input::name")]
    instance: String,
    /// Lower the desired capacity by one, so that the group launches no other instance in its place.
    decrement: bool,
}

/// What the termination rests on.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Member {
    /// Lifecycle state, or `gone`.
    state: String,
    desired: i32,
    min: i32,
}

/// The end of an instance.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Terminated {
    /// EC2 instance id.
    instance: String,
    /// Its lifecycle state: `Terminating`, as far as it got, or `gone`.
    state: String,
}

/// The decrement makes a blind repeat harmful: whether it happened is looked up first, by the instance's state.
impl Change for TerminateInstance {
    const NAME: &'static str = "autoscaling.terminate_instance";
    const SUMMARY: &'static str = "Terminate one instance of a group by its id";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeAutoScalingGroups", "autoscaling:TerminateInstanceInAutoScalingGroup"];
    const EFFECT: Effect = Effect::Probe;
    const UNDOABLE: bool = false;
    type Input = TerminateInput;
    type Facts = Member;
    type Output = Terminated;

    async fn observe(&self, ctx: &Ctx, input: &TerminateInput) -> Result<Member, ActionError> {
        let group = super::group(&Calls::new(ctx), &self.0, &input.region, &input.group).await?;
        let state = group
            .instances()
            .iter()
            .find(|instance| instance.instance_id() == Some(&input.instance))
            .map_or(GONE, |instance| instance.lifecycle_state().map_or("", |state| state.as_str()));
        Ok(Member {
            state: state.to_owned(),
            desired: group.desired_capacity().unwrap_or_default(),
            min: group.min_size().unwrap_or_default(),
        })
    }

    fn settled(&self, input: &TerminateInput, facts: &Member) -> Option<Terminated> {
        (facts.state == GONE || Stage::of(&facts.state) == Stage::Leaving)
            .then(|| Terminated { instance: input.instance.clone(), state: facts.state.clone() })
    }

    fn plan(&self, input: &TerminateInput, facts: &Member) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_group(&input.region, &input.group)?;
        // Not "from 6 to 5": by the time this is done, earlier steps may have changed the number.
        let after =
            if input.decrement { "Terminating, one fewer desired" } else { "Terminating, to be replaced" };
        Ok(vec![ObjectChange {
            object: format!("host {}", input.instance),
            property: "state".into(),
            before: facts.state.clone().into(),
            after: after.into(),
        }])
    }

    fn forbidden(&self, input: &TerminateInput, facts: &Member) -> Option<ActionError> {
        if input.decrement && facts.desired <= facts.min {
            return Some(ActionError::refused(
                "below_minimum",
                format!(
                    "The group {} keeps at least {}, and its desired capacity is {}; terminating {} would go below.",
                    input.group, many(facts.min, "host"), facts.desired, input.instance
                ),
            )
            .remedy("launch a host first (`autoscaling.scale_to`)"));
        }
        None
    }

    fn predict(&self, input: &TerminateInput, _facts: &Member) -> Option<Terminated> {
        Some(Terminated { instance: input.instance.clone(), state: "Terminating".into() })
    }

    async fn apply(
        &self,
        ctx: &Ctx,
        input: &TerminateInput,
        _facts: &Member,
    ) -> Result<Terminated, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Act)?.autoscaling;
        Calls::new(ctx)
            .change(SERVICE, "TerminateInstanceInAutoScalingGroup", &input.instance, |gate| {
                client
                    .terminate_instance_in_auto_scaling_group()
                    .instance_id(&input.instance)
                    .should_decrement_desired_capacity(input.decrement)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        Ok(Terminated { instance: input.instance.clone(), state: "Terminating".into() })
    }

    fn undo(&self, _input: &TerminateInput, _facts: &Member) -> Option<UndoCall> {
        None
    }

    fn command(&self, input: &TerminateInput) -> String {
        let flag = if input.decrement {
            "--should-decrement-desired-capacity"
        } else {
            "--no-should-decrement-desired-capacity"
        };
        Command::aws("autoscaling terminate-instance-in-auto-scaling-group", &input.region)
            .option("--instance-id", &input.instance)
            .flag(flag)
            .line()
    }
}
