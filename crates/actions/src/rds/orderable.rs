//! `rds.orderable_zones`: in which zones a class can be ordered for an engine version.
//!
//! Orderable is not in stock: the change itself may still be refused for want of capacity.

use std::collections::BTreeSet;
use std::sync::Arc;

use domain::action::{ActionError, Ctx, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SERVICE;
use crate::aws::Aws;
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

/// `rds.orderable_zones`.
pub(super) struct OrderableZones(pub(super) Arc<Aws>);

/// Which class.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClassInput {
    /// AWS region.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// The account, by its name in the inventory; needed only where the region is used in several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    /// Instance class, such as `db.r6i.12xlarge`.
    #[serde(deserialize_with = "input::name")]
    class: String,
    /// Engine version of Aurora MySQL, as `rds.describe_cluster` tells it.
    #[serde(deserialize_with = "input::name")]
    engine_version: String,
}

/// A class, and where it can be ordered.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Zones {
    /// Zones in which it can be ordered; none when the engine version does not have it at all.
    zones: BTreeSet<String>,
    /// Size of the class within its family, in units of `xlarge`; 0 when unknown.
    size: f64,
    /// Memory of the class in GiB, by AWS's table; 0 when unknown.
    memory_gib: f64,
}

const ENGINE: &str = "aurora-mysql";
/// One class of one version has a handful of options; RDS tells at most so many at a time.
const PAGE: i32 = 100;

impl Observe for OrderableZones {
    const NAME: &'static str = "rds.orderable_zones";
    const SUMMARY: &'static str = "Zones in which an instance class can be ordered";
    const PERMISSIONS: &'static [&'static str] = &["rds:DescribeOrderableDBInstanceOptions"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  aws rds describe-orderable-db-instance-options --region "$region" --engine aurora-mysql --engine-version "$engine_version" \
    --db-instance-class "$class" --output json |
    jq -c --arg class "$class" '
      def size: split(".")[-1] | { medium: 0.25, large: 0.5, xlarge: 1 }[.] // (capture("^(?<n>[0-9]+)xlarge$").n | tonumber)? // 0;
      def memory: size * ({ r4: 30.5, r5: 32, r6g: 32, r6i: 32, r7g: 32, r7i: 32, r8g: 32, x2g: 64, t3: 16, t4g: 16 }[split(".")[1] // ""] // 0);
      { zones: ([.OrderableDBInstanceOptions[].AvailabilityZones[].Name] | unique), size: ($class | size), memory_gib: ($class | memory) }'
"#,
    );
    type Input = ClassInput;
    type Output = Zones;

    async fn observe(&self, ctx: &Ctx, input: &ClassInput) -> Result<Zones, ActionError> {
        let client = self.0.around(&input.region, input.account.as_deref())?.rds;
        let calls = Calls::new(ctx);
        let (mut zones, mut marker) = (BTreeSet::new(), None);
        loop {
            let page = calls
                .look(SERVICE, "DescribeOrderableDBInstanceOptions", &input.class, |gate| {
                    client
                        .describe_orderable_db_instance_options()
                        .engine(ENGINE)
                        .engine_version(&input.engine_version)
                        .db_instance_class(&input.class)
                        .max_records(PAGE)
                        .set_marker(marker.take())
                        .customize()
                        .interceptor(gate)
                        .send()
                })
                .await?;
            for option in page.orderable_db_instance_options() {
                zones.extend(option.availability_zones().iter().filter_map(|z| z.name()).map(str::to_owned));
            }
            marker = page.marker;
            if marker.is_none() {
                break;
            }
        }
        let (size, memory_gib) = (super::class::size(&input.class), super::class::memory_gib(&input.class));
        Ok(Zones { zones, size, memory_gib })
    }

    fn command(&self, input: &ClassInput) -> String {
        Command::aws("rds describe-orderable-db-instance-options", &input.region)
            .option("--engine", ENGINE)
            .option("--engine-version", &input.engine_version)
            .option("--db-instance-class", &input.class)
            .line()
    }
}
