//! The logins to one cluster in the last minute, together: a host that fails one login in thirty is sick, and one round alone
//! would show it only now and then.

use std::collections::VecDeque;

use chrono::TimeDelta;
use domain::Timestamp;
use serde_json::{Map, Value, json};

/// Rounds of so long (clock time) are told together.
const KEPT: TimeDelta = TimeDelta::seconds(60);

/// How a login fails where nobody listens.
const SILENCE: [&str; 2] = ["refused", "timeout_connect"];

/// The last rounds of one cluster, each with when it began.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<(Timestamp, Value)>);

impl Recent {
    /// Adds a round.
    pub(super) fn add(&mut self, at: Timestamp, round: Value) {
        self.0.push_back((at, round));
    }

    /// Direct logins, and those through hosts: of the pairs that the newest round has, all that was seen in the last minute. What
    /// was not tried for so long is not told.
    pub(super) fn told(&mut self, now: Timestamp) -> (Vec<Value>, Vec<Value>) {
        self.0.retain(|(at, _)| now - *at < KEPT);
        (self.cells("direct"), self.cells("via"))
    }

    /// Did any login fail, as far as is kept?
    pub(super) fn fails(&self) -> bool {
        let rows = self.0.iter().flat_map(|(_, round)| ["direct", "via"].map(|side| &round[side]));
        rows.filter_map(Value::as_array).flatten().any(|cell| cell["failed"].as_u64().unwrap_or(0) > 0)
    }

    /// Did a login through this host fail, as far as is kept?
    pub(super) fn fails_through(&self, host: &Value) -> bool {
        self.via(host).any(|cell| cell["failed"].as_u64().unwrap_or(0) > 0)
    }

    /// Did a login through it get any answer: work, or fail at what only a process that listens can say?
    pub(super) fn is_answered_by(&self, host: &Value) -> bool {
        self.via(host).any(|cell| {
            let failed = cell["failed"].as_u64().unwrap_or(0);
            let silent = cell["error"]["kind"].as_str().is_some_and(|kind| SILENCE.contains(&kind));
            failed < cell["tries"].as_u64().unwrap_or(0) || (failed > 0 && !silent)
        })
    }

    /// Did it refuse a connection?
    pub(super) fn is_refused_by(&self, host: &Value) -> bool {
        self.via(host).any(|cell| cell["error"]["kind"] == "refused")
    }

    /// What was seen through a host is not told any more.
    pub(super) fn forget(&mut self, host: &Value) {
        for (_, round) in &mut self.0 {
            if let Some(cells) = round["via"].as_array_mut() {
                cells.retain(|cell| cell["host"] != *host);
            }
        }
    }

    /// What was seen through any host is not told any more.
    pub(super) fn forget_hosts(&mut self) {
        for (_, round) in &mut self.0 {
            round["via"] = json!([]);
        }
    }

    fn via(&self, host: &Value) -> impl Iterator<Item = &Value> {
        let cells = self.0.iter().filter_map(|(_, round)| round["via"].as_array()).flatten();
        cells.filter(move |cell| cell["host"] == *host)
    }

    fn cells(&self, side: &str) -> Vec<Value> {
        let rows = |(_, round): &(Timestamp, Value)| {
            round.get(side).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let newest = self.0.back().map(rows).unwrap_or_default();
        let earlier: Vec<Value> = self.0.iter().rev().skip(1).flat_map(rows).collect();
        newest
            .into_iter()
            .map(|cell| {
                let pair = (cell["host"].clone(), cell["cluster"].clone());
                earlier.iter().filter(|c| c["host"] == pair.0 && c["cluster"] == pair.1).fold(cell, add)
            })
            .collect()
    }
}

/// All clusters of a fleet as one matrix.
pub(super) fn matrix(clusters: impl Iterator<Item = (Vec<Value>, Vec<Value>)>) -> Value {
    let (mut direct, mut via) = (Vec::new(), Vec::new());
    for (past, through) in clusters {
        direct.extend(past);
        via.extend(through);
    }
    json!({ "direct": direct, "via": via })
}

/// Adds an older cell to a newer one; the newest error stays.
fn add(cell: Value, older: &Value) -> Value {
    let Value::Object(mut cell) = cell else { return cell };
    let sum = |cell: &Map<String, Value>, field: &str| {
        cell.get(field).and_then(Value::as_u64).unwrap_or(0) + older[field].as_u64().unwrap_or(0)
    };
    let (tries, failed) = (sum(&cell, "tries"), sum(&cell, "failed"));
    cell.insert("tries".into(), tries.into());
    cell.insert("failed".into(), failed.into());
    cell.insert("ok".into(), (failed == 0).into());
    if cell.get("error").is_none_or(Value::is_null) {
        cell.insert("error".into(), older["error"].clone());
    }
    Value::Object(cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn round(failed: u64) -> Value {
        let error = if failed > 0 { json!({ "kind": "access_denied" }) } else { Value::Null };
        json!({ "direct": [], "via": [{ "host": "i-1", "cluster": "b", "tries": 5, "failed": failed, "ok": failed == 0, "error": error }] })
    }

    #[test]
    fn a_failure_is_told_for_a_minute_and_not_longer() {
        let mut recent = Recent::default();
        recent.add(at(0), round(1));
        for n in 1..6 {
            recent.add(at(10 * n), round(0));
            let cell = recent.told(at(10 * n)).1[0].clone();
            assert_eq!((cell["tries"].as_i64(), cell["failed"].as_u64()), (Some(5 * (n + 1)), Some(1)));
            assert!(recent.fails());
            assert_eq!((&cell["ok"], &cell["error"]["kind"]), (&json!(false), &json!("access_denied")));
        }
        assert_eq!(recent.told(at(60)).1[0]["failed"], 0);
        assert!(!recent.fails());
    }

    #[test]
    fn a_host_that_is_gone_is_not_told_any_more() {
        let mut recent = Recent::default();
        recent.add(at(0), round(1));
        recent.add(at(10), json!({ "direct": [], "via": [] }));
        assert!(recent.told(at(10)).1.is_empty());
    }

    #[test]
    fn a_host_that_is_forgotten_has_said_nothing() {
        let mut recent = Recent::default();
        recent.add(at(0), round(5));
        recent.add(at(10), round(5));
        let host = json!("i-1");
        assert!(
            recent.fails_through(&host)
                && !recent.is_refused_by(&host)
                && !recent.fails_through(&json!("i-2"))
        );
        recent.forget(&host);
        assert!(!recent.fails_through(&host) && recent.told(at(10)).1.is_empty());
    }

    #[test]
    fn a_host_that_does_not_listen_yet_has_not_answered() {
        let (mut recent, host) = (Recent::default(), json!("i-1"));
        let failing = |kind: &str| json!({ "direct": [], "via": [{ "host": "i-1", "cluster": "b", "tries": 5, "failed": 5, "ok": false, "error": { "kind": kind } }] });
        for kind in SILENCE {
            recent.add(at(0), failing(kind));
            assert!(!recent.is_answered_by(&host) && recent.fails_through(&host));
        }
        recent.add(at(1), failing("access_denied"));
        assert!(recent.is_answered_by(&host), "that is sick, not late");
        recent.forget(&host);
        recent.add(at(2), round(4));
        assert!(recent.is_answered_by(&host), "one of five works");
    }

    #[test]
    fn what_was_not_tried_for_a_minute_is_not_told() {
        let mut recent = Recent::default();
        recent.add(at(0), round(1));
        assert_eq!(recent.told(at(59)).1.len(), 1);
        assert!(recent.told(at(60)).1.is_empty());
    }
}
