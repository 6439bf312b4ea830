//! Load balancers: what a target group thinks of its targets, and how long it lets go of one.

use std::sync::Arc;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::TargetHealthStateEnum as State;
use domain::action::{ActionError, Ctx, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aws::Aws;
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

const SERVICE: &str = "elasticloadbalancing";

/// `elbv2.target_health`.
pub(crate) struct TargetHealth(pub(crate) Arc<Aws>);

/// Which target group.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetGroupInput {
    /// AWS region.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// ARN of the target group.
    #[serde(deserialize_with = "input::name")]
    target_group: String,
}

/// A target group at one moment.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Targets {
    /// Ids of the targets that are healthy.
    healthy: Vec<String>,
    /// All targets.
    targets: Vec<Target>,
    /// Seconds that a deregistered target stays `draining`.
    deregistration_delay_s: u32,
    /// Whether connections are cut when that time is over. When not, a busy connection stays on its old target until the
    /// host itself goes.
    connection_termination: bool,
}

/// A target.
#[derive(Debug, Serialize, JsonSchema)]
struct Target {
    /// EC2 instance id (or address).
    id: String,
    /// Its port.
    port: Option<i32>,
    /// `initial`, `healthy`, `unhealthy`, `unused`, `draining`, `unavailable`, …
    state: String,
    /// The reason's code, such as `Target.FailedHealthChecks`; empty for a healthy one.
    reason: String,
}

/// The deregistration delay of a target group that names none, in seconds.
const DEREGISTRATION_DELAY: u32 = 300;

impl Observe for TargetHealth {
    const NAME: &'static str = "elbv2.target_health";
    const SUMMARY: &'static str = "Health of a target group's targets, and its deregistration delay";
    const PERMISSIONS: &'static [&'static str] =
        &["elasticloadbalancing:DescribeTargetHealth", "elasticloadbalancing:DescribeTargetGroupAttributes"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  local health attributes
  health=$(aws elbv2 describe-target-health --region "$region" --target-group-arn "$target_group" --output json) || return
  attributes=$(aws elbv2 describe-target-group-attributes --region "$region" --target-group-arn "$target_group" --output json) || return
  jq -c --argjson attributes "$attributes" '
    def attribute(key): [$attributes.Attributes[] | select(.Key == key).Value][0];
    ([.TargetHealthDescriptions[] | { id: .Target.Id, port: .Target.Port, state: .TargetHealth.State,
      reason: (.TargetHealth.Reason // "") }] | sort_by(.id)) as $targets | {
      healthy: [$targets[] | select(.state == "healthy").id], targets: $targets,
      deregistration_delay_s: (attribute("deregistration_delay.timeout_seconds") // "300" | tonumber),
      connection_termination: (attribute("deregistration_delay.connection_termination.enabled") == "true")
    }' <<<"$health"
"#,
    );
    type Input = TargetGroupInput;
    type Output = Targets;

    async fn observe(&self, ctx: &Ctx, input: &TargetGroupInput) -> Result<Targets, ActionError> {
        let client = self.0.of_arn(&input.region, &input.target_group)?.elbv2;
        let calls = Calls::new(ctx);
        let arn = &input.target_group;
        let mut targets = targets(&client, &calls, arn).await?;
        let attributes = calls
            .look(SERVICE, "DescribeTargetGroupAttributes", arn, |gate| {
                client
                    .describe_target_group_attributes()
                    .target_group_arn(arn)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        let attribute =
            |key: &str| attributes.attributes().iter().find(|a| a.key() == Some(key)).and_then(|a| a.value());
        targets.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(Targets {
            healthy: targets
                .iter()
                .filter(|target| target.state == State::Healthy.as_str())
                .map(|target| target.id.clone())
                .collect(),
            targets,
            deregistration_delay_s: attribute("deregistration_delay.timeout_seconds")
                .and_then(|seconds| seconds.parse().ok())
                .unwrap_or(DEREGISTRATION_DELAY),
            connection_termination: attribute("deregistration_delay.connection_termination.enabled")
                == Some("true"),
        })
    }

    fn command(&self, input: &TargetGroupInput) -> String {
        Command::aws("elbv2 describe-target-health", &input.region)
            .option("--target-group-arn", &input.target_group)
            .line()
    }
}

/// The targets as AWS tells them now.
async fn targets(client: &Client, calls: &Calls<'_>, arn: &str) -> Result<Vec<Target>, ActionError> {
    let health = calls
        .look(SERVICE, "DescribeTargetHealth", arn, |gate| {
            client.describe_target_health().target_group_arn(arn).customize().interceptor(gate).send()
        })
        .await?;
    let targets = health.target_health_descriptions().iter().map(|description| {
        let (target, health) = (description.target(), description.target_health());
        Target {
            id: target.and_then(|t| t.id()).unwrap_or_default().to_owned(),
            port: target.and_then(|t| t.port()),
            state: health.and_then(|h| h.state()).map_or("", |s| s.as_str()).to_owned(),
            reason: health.and_then(|h| h.reason()).map_or("", |r| r.as_str()).to_owned(),
        }
    });
    Ok(targets.collect())
}

/// What a target group says of one target; `None` when it has none of that id.
pub(crate) async fn state(
    aws: &Aws,
    calls: &Calls<'_>,
    region: &str,
    arn: &str,
    id: &str,
) -> Result<Option<String>, ActionError> {
    let client = aws.of_arn(region, arn)?.elbv2;
    let found = targets(&client, calls, arn).await?.into_iter().find(|target| target.id == id);
    Ok(found.map(|target| target.state))
}
