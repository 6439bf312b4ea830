//! How many hosts a group should have, and how many it may have.
//!
//! Both are stated as absolute numbers, and numbers at which AWS would choose victims by itself are refused.

use std::sync::Arc;

use domain::action::{ActionError, Change, Ctx, Effect, ObjectChange, UndoByHand, UndoCall};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SERVICE, Stage, named};
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::input;
use crate::shell::{Command, quote};

/// `autoscaling.scale_to`.
pub(super) struct ScaleTo(pub(super) Arc<Aws>);

/// The wanted size.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScaleInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// The desired capacity, as an absolute number.
    desired: i32,
    /// Only lowers, and no further than to the hosts that the group has: so a launch is taken back as far as it did not happen, and
    /// nothing that runs is cut.
    #[serde(default)]
    spare_hosts: bool,
}

impl ScaleInput {
    /// The number that is set, given what there is now.
    fn wanted(&self, facts: &Sizes) -> i32 {
        if self.spare_hosts {
            self.desired.max(facts.hosts).max(facts.min).min(facts.desired)
        } else {
            self.desired
        }
    }

    fn outcome(&self, facts: &Sizes) -> Scaled {
        Scaled { group: self.group.clone(), desired: self.wanted(facts) }
    }
}

/// The sizes of a group.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sizes {
    desired: i32,
    min: i32,
    max: i32,
    /// Its hosts, but for those that leave.
    #[serde(default)]
    hosts: i32,
}

/// The size that a group was given.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Scaled {
    /// The group.
    group: String,
    /// Its desired capacity.
    desired: i32,
}

impl Sizes {
    async fn of(aws: &Aws, ctx: &Ctx, region: &str, group: &str) -> Result<Self, ActionError> {
        let group = super::group(&Calls::new(ctx), aws, region, group).await?;
        let states =
            group.instances().iter().map(|host| host.lifecycle_state().map_or("", |state| state.as_str()));
        let hosts = states.filter(|state| Stage::of(state) != Stage::Leaving).count();
        Ok(Self {
            hosts: i32::try_from(hosts).unwrap_or(i32::MAX),
            desired: group.desired_capacity().unwrap_or_default(),
            min: group.min_size().unwrap_or_default(),
            max: group.max_size().unwrap_or_default(),
        })
    }
}

/// Taken back, it lowers what is desired to what the group has: where hosts cannot be had, the group would never rest, and launch them
/// unproven hours later. Hosts that are there stay, because AWS would choose which of them go. (AWS knows no condition: a host whose
/// launch begins between the look and the call may cost one. The look comes right before it; what somebody
/// else has raised meanwhile and AWS has not launched yet is taken back with it.) By hand the number is worked out in the very line that
/// sets it: one from before the change would be no safe one after it.
impl Change for ScaleTo {
    const NAME: &'static str = "autoscaling.scale_to";
    const SUMMARY: &'static str = "Set the desired capacity of a group to an absolute number";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeAutoScalingGroups", "autoscaling:SetDesiredCapacity"];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = true;
    type Input = ScaleInput;
    type Facts = Sizes;
    type Output = Scaled;

    async fn observe(&self, ctx: &Ctx, input: &ScaleInput) -> Result<Sizes, ActionError> {
        Sizes::of(&self.0, ctx, &input.region, &input.group).await
    }

    fn settled(&self, input: &ScaleInput, facts: &Sizes) -> Option<Scaled> {
        (facts.desired == input.wanted(facts)).then(|| input.outcome(facts))
    }

    fn plan(&self, input: &ScaleInput, facts: &Sizes) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_group(&input.region, &input.group)?;
        Ok(vec![ObjectChange {
            object: named(&input.group),
            property: "desired capacity".into(),
            before: facts.desired.into(),
            after: input.wanted(facts).into(),
        }])
    }

    fn forbidden(&self, input: &ScaleInput, facts: &Sizes) -> Option<ActionError> {
        // A number that was right when the step was planned, until a scaling policy or a person raised it meanwhile.
        if !input.spare_hosts && input.desired < facts.desired {
            return Some(
                ActionError::refused(
                    "would_shrink",
                    format!(
                        "The desired capacity of {} is {} now; one of {} would have AWS terminate hosts of its own choice.",
                        input.group, facts.desired, input.desired
                    ),
                )
                .remedy(
                    "find out who raised it (the group's activities tell), and plan again; to remove hosts, name them (`autoscaling.terminate_instance`)",
                ),
            );
        }
        if !(facts.min..=facts.max).contains(&input.wanted(facts)) {
            return Some(ActionError::refused(
                "beyond_limits",
                format!(
                    "The group {} may have {} to {} hosts, so its desired capacity cannot be {} (it is {}).",
                    input.group, facts.min, facts.max, input.desired, facts.desired
                ),
            )
            .remedy(
                "raise the maximum first (`autoscaling.set_max_size`), or choose a number within the limits",
            ));
        }
        None
    }

    fn predict(&self, input: &ScaleInput, facts: &Sizes) -> Option<Scaled> {
        Some(input.outcome(facts))
    }

    async fn apply(&self, ctx: &Ctx, input: &ScaleInput, facts: &Sizes) -> Result<Scaled, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Act)?.autoscaling;
        Calls::new(ctx)
            .change(SERVICE, "SetDesiredCapacity", &input.group, |gate| {
                client
                    .set_desired_capacity()
                    .auto_scaling_group_name(&input.group)
                    .desired_capacity(input.wanted(facts))
                    .honor_cooldown(false)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        Ok(input.outcome(facts))
    }

    fn undo(&self, input: &ScaleInput, facts: &Sizes) -> Option<UndoCall> {
        if facts.desired >= input.wanted(facts) {
            return None;
        }
        let (region, group) = (input.region.clone(), input.group.clone());
        let undo = input::call(
            Self::NAME,
            &ScaleInput { region, group, desired: facts.desired, spare_hosts: true },
        )?;
        Some(undo.leaving(
            "hosts that have come by then stay, and are desired: AWS would choose which of them go. Terminate by id, and with \
             `--should-decrement-desired-capacity`, those that are too many",
        ))
    }

    /// To spare hosts, the number is worked out when the command is run: one that was right when it was written down would cost some.
    fn command(&self, input: &ScaleInput) -> String {
        let set = Command::aws("autoscaling set-desired-capacity", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .flag("--no-honor-cooldown");
        if !input.spare_hosts {
            return set.option("--desired-capacity", &input.desired.to_string()).line();
        }
        let query = format!(
            r#"AutoScalingGroups[0].min([DesiredCapacity, max([`{}`, length(Instances[?!starts_with(LifecycleState, `"Terminat"`)])])])"#,
            input.desired
        );
        let look = Command::aws("autoscaling describe-auto-scaling-groups", &input.region)
            .option("--auto-scaling-group-names", &input.group)
            .option("--output", "text")
            .option("--query", &query)
            .line();
        format!("sh -c {}", quote(&format!("{} --desired-capacity \"$({look})\"", set.line())))
    }
}

/// `autoscaling.set_max_size`.
pub(super) struct SetMaxSize(pub(super) Arc<Aws>);

/// The wanted maximum.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MaxInput {
    /// AWS region of the group.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// Name of the Auto Scaling group.
    #[serde(deserialize_with = "input::name")]
    group: String,
    /// The greatest size, as an absolute number.
    max: i32,
    /// When more hosts are desired than that: as many as are desired. So an abort in the middle of a replacement restores
    /// what it can, and cuts nothing that runs.
    #[serde(default)]
    spare_desired: bool,
}

impl MaxInput {
    /// The number that is set, given what is desired now.
    fn wanted(&self, facts: &Sizes) -> i32 {
        if self.spare_desired { self.max.max(facts.desired) } else { self.max }
    }

    fn outcome(&self, facts: &Sizes) -> Maximum {
        Maximum { group: self.group.clone(), max: self.wanted(facts) }
    }
}

/// The maximum that a group was given.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Maximum {
    /// The group.
    group: String,
    /// Its greatest size.
    max: i32,
}

impl Change for SetMaxSize {
    const NAME: &'static str = "autoscaling.set_max_size";
    const SUMMARY: &'static str = "Set the greatest size of a group";
    const PERMISSIONS: &'static [&'static str] =
        &["autoscaling:DescribeAutoScalingGroups", "autoscaling:UpdateAutoScalingGroup"];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = true;
    const UNDO_BY_HAND: Option<UndoByHand> = Some(UndoByHand {
        look: Some("autoscaling.describe_group"),
        look_with: &["region", "group"],
        each: None,
        when: "$before.max != $with.max",
        with: &[("max", "$before.max")],
    });
    type Input = MaxInput;
    type Facts = Sizes;
    type Output = Maximum;

    async fn observe(&self, ctx: &Ctx, input: &MaxInput) -> Result<Sizes, ActionError> {
        Sizes::of(&self.0, ctx, &input.region, &input.group).await
    }

    fn settled(&self, input: &MaxInput, facts: &Sizes) -> Option<Maximum> {
        (facts.max == input.wanted(facts)).then(|| input.outcome(facts))
    }

    fn plan(&self, input: &MaxInput, facts: &Sizes) -> Result<Vec<ObjectChange>, ActionError> {
        self.0.may_change_group(&input.region, &input.group)?;
        Ok(vec![ObjectChange {
            object: named(&input.group),
            property: "maximum size".into(),
            before: facts.max.into(),
            after: input.wanted(facts).into(),
        }])
    }

    fn forbidden(&self, input: &MaxInput, facts: &Sizes) -> Option<ActionError> {
        // Below the desired capacity AWS would terminate hosts of its own choice.
        let wanted = input.wanted(facts);
        if wanted < facts.desired || wanted < facts.min {
            return Some(
                ActionError::refused(
                    "beyond_limits",
                    format!(
                        "The maximum of {} cannot be {}: its desired capacity is {}, and its minimum {}.",
                        input.group, wanted, facts.desired, facts.min
                    ),
                )
                .remedy("remove the surplus hosts by id first, then lower the maximum"),
            );
        }
        None
    }

    fn predict(&self, input: &MaxInput, facts: &Sizes) -> Option<Maximum> {
        Some(input.outcome(facts))
    }

    async fn apply(&self, ctx: &Ctx, input: &MaxInput, facts: &Sizes) -> Result<Maximum, ActionError> {
        let client = self.0.of_group(&input.region, &input.group, Purpose::Act)?.autoscaling;
        Calls::new(ctx)
            .change(SERVICE, "UpdateAutoScalingGroup", &input.group, |gate| {
                client
                    .update_auto_scaling_group()
                    .auto_scaling_group_name(&input.group)
                    .max_size(input.wanted(facts))
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        Ok(input.outcome(facts))
    }

    fn undo(&self, input: &MaxInput, facts: &Sizes) -> Option<UndoCall> {
        if facts.max == input.wanted(facts) {
            return None;
        }
        let (region, group) = (input.region.clone(), input.group.clone());
        let undo = input::call(Self::NAME, &MaxInput { region, group, max: facts.max, spare_desired: true })?;
        Some(undo.leaving("it stays as high as hosts are desired"))
    }

    fn command(&self, input: &MaxInput) -> String {
        Command::aws("autoscaling update-auto-scaling-group", &input.region)
            .option("--auto-scaling-group-name", &input.group)
            .option("--max-size", &input.max.to_string())
            .line()
    }
}
