//! `rds.failover_events`: the failovers of a cluster, as RDS tells them.
//!
//! Events are hints: RDS may tell them late, in another order, or not at all. So they name what was seen, and count failovers;
//! whether a failover succeeded is asked of the cluster. A failover counts by any of its events: what has been completed or taken back
//! had begun, also where the word of that is missing.

use std::sync::Arc;

use aws_sdk_rds::types::SourceType;
use chrono::TimeDelta;
use domain::Timestamp;
use domain::action::{ActionError, Ctx, Observe};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::SERVICE;
use crate::aws::{Aws, Purpose};
use crate::calls::Calls;
use crate::input;
use crate::shell::Command;

/// `rds.failover_events`.
pub(super) struct ClusterEvents(pub(super) Arc<Aws>);

/// Whose events, and how far back.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsInput {
    /// AWS region.
    #[serde(deserialize_with = "input::name")]
    region: String,
    /// The cluster, by its id in the inventory or its DB cluster identifier.
    #[serde(deserialize_with = "input::name")]
    cluster: String,
    /// How many minutes back, up to 14 days.
    #[serde(default = "an_hour")]
    #[schemars(range(min = 1, max = 20160))]
    minutes: i32,
}

fn an_hour() -> i32 {
    60
}

/// The failovers of a cluster in that time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Failovers {
    /// All of them, oldest first.
    events: Vec<Event>,
    /// How many began: those of which RDS tells anything at all.
    started: usize,
    /// The last event says that the old writer was promoted again (RDS-EVENT-0070).
    reverted: bool,
    /// The last event says that the failover failed (RDS-EVENT-0069).
    failed: bool,
    /// When the last one began: the first that RDS tells of it. Null when none did.
    last_started: Option<Timestamp>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
struct Event {
    /// When, by RDS's clock.
    at: Timestamp,
    kind: Kind,
    /// The sentence of RDS.
    message: String,
}

/// What an event of the category `failover` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// RDS-EVENT-0072, -0073.
    Started,
    /// RDS-EVENT-0071.
    Completed,
    /// RDS-EVENT-0070: the old writer was promoted again.
    Reverted,
    /// RDS-EVENT-0069.
    Failed,
    /// Something else.
    Other,
}

impl Kind {
    /// The API gives no event ids, only sentences, and they vary: `Completed failover`, `Completed customer initiated failover`.
    fn of(message: &str) -> Self {
        let has = |words: &str| message.contains(words);
        if has("Promoting previous primary again") {
            Self::Reverted
        } else if message.starts_with("Started ") && has("failover") {
            Self::Started
        } else if message.starts_with("Completed ") && has("failover") {
            Self::Completed
        } else if has("failover failed") || has("Failover failed") {
            Self::Failed
        } else {
            Self::Other
        }
    }
}

/// Events of one failover are no further apart than this: without a reader the writer is made anew, which takes ten minutes.
const APART: TimeDelta = TimeDelta::minutes(15);

/// The failovers that the events are of, oldest first, each as its events.
fn failovers(events: &[Event]) -> Vec<Vec<&Event>> {
    let mut failovers: Vec<Vec<&Event>> = Vec::new();
    for event in events.iter().filter(|event| event.kind != Kind::Other) {
        match failovers.last_mut() {
            // One begins once and ends once each way.
            Some(last)
                if event.kind != Kind::Started
                    && last.iter().all(|e| e.kind != event.kind && event.at - e.at <= APART) =>
            {
                last.push(event);
            }
            _ => failovers.push(vec![event]),
        }
    }
    failovers
}

impl Failovers {
    fn of(mut events: Vec<Event>) -> Self {
        events.sort_by_key(|event| (event.at, event.kind));
        let last = events.iter().rev().find(|e| e.kind != Kind::Other).map(|e| e.kind);
        let failovers = failovers(&events);
        Self {
            started: failovers.len(),
            last_started: failovers.last().and_then(|of| of.first()).map(|e| e.at),
            reverted: last == Some(Kind::Reverted),
            failed: last == Some(Kind::Failed),
            events,
        }
    }

    /// When the last one began.
    pub(super) fn last_started(&self) -> Option<Timestamp> {
        self.last_started
    }

    /// Asks RDS about a cluster, by its name as steps give it.
    pub(super) async fn within(
        aws: &Aws,
        calls: &Calls<'_>,
        region: &str,
        name: &str,
        minutes: i32,
    ) -> Result<Self, ActionError> {
        let client = aws.of_cluster(region, name, Purpose::Observe)?.rds;
        let cluster = aws.cluster_identifier(region, name);
        let answer = calls
            .look(SERVICE, "DescribeEvents", cluster, |gate| {
                client
                    .describe_events()
                    .source_type(SourceType::DbCluster)
                    .source_identifier(cluster)
                    .event_categories("failover")
                    .duration(minutes)
                    .customize()
                    .interceptor(gate)
                    .send()
            })
            .await?;
        let events = answer.events().iter().filter_map(|event| {
            let at = event.date()?;
            let message = event.message()?.to_owned();
            let at = Timestamp::from_timestamp(at.secs(), at.subsec_nanos())?;
            Some(Event { at, kind: Kind::of(&message), message })
        });
        Ok(Self::of(events.collect()))
    }
}

impl Observe for ClusterEvents {
    const NAME: &'static str = "rds.failover_events";
    const SUMMARY: &'static str = "Failovers of an Aurora cluster in the last minutes, as RDS tells them";
    const PERMISSIONS: &'static [&'static str] = &["rds:DescribeEvents"];
    const BY_HAND: Option<&'static str> = Some(
        r#"
  local id
  id=$(jq -r --arg id "$cluster" '[.clusters[] | select(.id == $id).identifier][0] // $id' <<<"$inventory") || return
  aws rds describe-events --region "$region" --source-type db-cluster --source-identifier "$id" --event-categories failover \
    --duration "${minutes:-60}" --output json |
    jq -c '
      def kind: if contains("Promoting previous primary again") then "reverted"
        elif startswith("Started ") and contains("failover") then "started"
        elif startswith("Completed ") and contains("failover") then "completed"
        elif test("[Ff]ailover failed") then "failed" else "other" end;
      def order: . as $kind | ["started", "completed", "reverted", "failed", "other"] | index($kind);
      def second: .at | sub("[.][0-9]+"; "") | sub("[+]00:00$"; "Z") | fromdate;
      ([.Events[] | { at: .Date, kind: (.Message | kind), message: .Message }] | sort_by(.at, (.kind | order))) as $events |
      (reduce ($events[] | select(.kind != "other")) as $e ([];
        if length > 0 and $e.kind != "started" and (.[-1] | all(.kind != $e.kind and ($e | second) - second <= 900))
        then .[-1] += [$e] else . + [[$e]] end)) as $failovers | [$events[] | select(.kind != "other").kind][-1] as $last | {
        events: $events, started: ($failovers | length), reverted: ($last == "reverted"), failed: ($last == "failed"),
        last_started: $failovers[-1][0].at
      }'
"#,
    );
    type Input = EventsInput;
    type Output = Failovers;

    async fn observe(&self, ctx: &Ctx, input: &EventsInput) -> Result<Failovers, ActionError> {
        Failovers::within(&self.0, &Calls::new(ctx), &input.region, &input.cluster, input.minutes).await
    }

    fn command(&self, input: &EventsInput) -> String {
        let id = self.0.cluster_identifier(&input.region, &input.cluster);
        Command::aws("rds describe-events", &input.region)
            .option("--source-type", "db-cluster")
            .option("--source-identifier", id)
            .option("--event-categories", "failover")
            .option("--duration", &input.minutes.to_string())
            .line()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(messages: &[&str]) -> Failovers {
        let events = messages.iter().zip(0..).map(|(message, at)| Event {
            at: Timestamp::from_timestamp(at, 0).unwrap(),
            kind: Kind::of(message),
            message: (*message).to_owned(),
        });
        Failovers::of(events.collect())
    }

    /// Sentences as seen on real clusters.
    #[test]
    fn sentences_are_understood_in_all_their_forms() {
        let there = told(&[
            "Started cross AZ failover to DB instance: b-2",
            "Completed customer initiated failover to DB instance: b-2",
            "Started same AZ failover to DB instance: b-3",
            "Completed failover to DB instance: b-3",
        ]);
        assert_eq!((there.started, there.reverted, there.failed), (2, false, false));
        assert_eq!(there.last_started, Timestamp::from_timestamp(2, 0));
        let back =
            told(&["Started cross AZ failover to DB instance: b-2", "Promoting previous primary again: b-1"]);
        assert_eq!((back.started, back.reverted), (1, true));
        assert!(
            !told(&["Promoting previous primary again: b-1", "Completed failover to DB instance: b-2"])
                .reverted
        );
        assert_eq!(told(&[]), Failovers::default());
    }

    #[test]
    fn a_failover_counts_by_whatever_is_told_of_it() {
        let minute = |at: i64| Timestamp::from_timestamp(at * 60, 0).unwrap();
        let told = |messages: &[(i64, &str)]| {
            let event = |(at, message): &(i64, &str)| Event {
                at: minute(*at),
                kind: Kind::of(message),
                message: (*message).to_owned(),
            };
            let there = Failovers::of(messages.iter().map(event).collect());
            (there.started, there.last_started)
        };
        let (start, end) =
            ("Started cross AZ failover to DB instance: b-2", "Completed failover to DB instance: b-2");
        let back = "Promoting previous primary again: b-1";
        assert_eq!(told(&[(3, end)]), (1, Some(minute(3))));
        assert_eq!(told(&[(3, back)]), (1, Some(minute(3))));
        assert_eq!(told(&[(3, "DB cluster failover failed, check it")]), (1, Some(minute(3))));
        // One, however it is told.
        assert_eq!(told(&[(3, end), (2, start)]), (1, Some(minute(2))));
        assert_eq!(told(&[(2, start), (2, end)]), (1, Some(minute(2))));
        assert_eq!(told(&[(2, end), (2, start)]), (1, Some(minute(2))));
        assert_eq!(told(&[(1, start), (2, end), (3, back)]), (1, Some(minute(1))));
        assert_eq!(told(&[(1, start), (11, end)]), (1, Some(minute(1))));
        // Two, of which words are missing.
        assert_eq!(told(&[(2, end), (4, end)]), (2, Some(minute(4))));
        assert_eq!(told(&[(2, start), (4, start)]), (2, Some(minute(4))));
        assert_eq!(told(&[(2, start), (40, end)]), (2, Some(minute(40))));
        assert_eq!(told(&[(2, end), (10, start), (11, end)]), (2, Some(minute(10))));
        assert_eq!(told(&[(2, "Something else")]), (0, None));
    }
}
