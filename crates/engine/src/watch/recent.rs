//! The login matrix of the last rounds together: a host that fails one login in thirty is sick, and one round alone would
//! show it only now and then.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

/// Rounds that are told together: with the default pause of ten seconds, the last minute.
const ROUNDS: usize = 6;

/// The last rounds of one fleet.
#[derive(Debug, Default)]
pub(super) struct Recent(VecDeque<Value>);

impl Recent {
    /// Adds a round; tells all that are kept as one matrix, of the pairs that the newest round has.
    pub(super) fn add(&mut self, round: Value) -> Value {
        self.0.push_back(round);
        if self.0.len() > ROUNDS {
            self.0.pop_front();
        }
        json!({ "direct": self.cells("direct"), "via": self.cells("via"), "rounds": self.0.len() })
    }

    /// What cannot be seen now is not filled in from before.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    fn cells(&self, side: &str) -> Vec<Value> {
        let rows = |round: &Value| round.get(side).and_then(Value::as_array).cloned().unwrap_or_default();
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

    fn round(failed: u64) -> Value {
        let error = if failed > 0 { json!({ "kind": "access_denied" }) } else { Value::Null };
        json!({ "direct": [], "via": [{ "host": "i-1", "cluster": "b", "tries": 5, "failed": failed, "ok": failed == 0, "error": error }] })
    }

    #[test]
    fn a_failure_is_told_for_as_many_rounds_as_are_kept_and_not_longer() {
        let mut recent = Recent::default();
        recent.add(round(1));
        for n in 2..=ROUNDS as u64 {
            let cell = recent.add(round(0))["via"][0].clone();
            assert_eq!((cell["tries"].as_u64(), cell["failed"].as_u64()), (Some(5 * n), Some(1)));
            assert_eq!((&cell["ok"], &cell["error"]["kind"]), (&json!(false), &json!("access_denied")));
        }
        assert_eq!(recent.add(round(0))["via"][0]["failed"], 0);
    }

    #[test]
    fn a_host_that_is_gone_is_not_told_any_more() {
        let mut recent = Recent::default();
        recent.add(round(1));
        assert_eq!(recent.add(json!({ "direct": [], "via": [] }))["via"], json!([]));
    }
}
