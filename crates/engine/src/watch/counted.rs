//! What the hosts themselves count, in the last minute: connections to databases that were made, and tries that failed.
//!
//! Counters alone say that something is wrong, not what: where they rise and every login of the prober works, it looks closer.

use std::collections::{BTreeMap, VecDeque};

use chrono::TimeDelta;
use domain::Timestamp;
use serde_json::{Value, json};

/// Looks of so long (clock time) are compared.
const KEPT: TimeDelta = TimeDelta::seconds(60);

/// The counters of one host at one moment.
#[derive(Debug, Clone, Copy)]
struct Count {
    at: Timestamp,
    clients: u64,
    connected: u64,
    failed: u64,
}

/// The last minute of each host.
#[derive(Debug, Default)]
pub(super) struct Counted(BTreeMap<String, VecDeque<Count>>);

impl Counted {
    /// Takes in what `proxysql.statistics` told. A counter that went back is that of a process that began anew.
    pub(super) fn add(&mut self, at: Timestamp, told: &Value) {
        let number = |field: &str| told[field].as_u64().unwrap_or(0);
        let Some(host) = told["host"].as_str() else { return };
        let counts = self.0.entry(host.to_owned()).or_default();
        let count = Count {
            at,
            clients: number("clients"),
            connected: number("connected"),
            failed: number("failed"),
        };
        if counts.back().is_some_and(|last| count.connected < last.connected || count.failed < last.failed) {
            counts.clear();
        }
        counts.push_back(count);
        while counts.len() > 1 && at - counts[0].at > KEPT {
            counts.pop_front();
        }
    }

    /// Of these hosts alone, and only what was told within the last minute: clients now, and the differences.
    pub(super) fn told(&mut self, now: Timestamp, hosts: &[&Value]) -> Vec<Value> {
        self.0.retain(|host, counts| {
            hosts.iter().any(|h| *h == host) && counts.back().is_some_and(|last| now - last.at < KEPT)
        });
        let of = |(host, counts): (&String, &VecDeque<Count>)| {
            let (first, last) = (counts.front()?, counts.back()?);
            Some(json!({
                "host": host, "clients": last.clients, "connected": last.connected - first.connected,
                "failed": last.failed - first.failed, "seconds": (last.at - first.at).num_seconds(),
            }))
        };
        self.0.iter().filter_map(of).collect()
    }

    /// Does any host count failures?
    pub(super) fn rise(&self) -> bool {
        self.0.values().any(|counts| {
            counts.front().zip(counts.back()).is_some_and(|(first, last)| last.failed > first.failed)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn told(connected: u64, failed: u64) -> Value {
        json!({ "host": "i-1", "clients": 7, "connected": connected, "failed": failed })
    }

    #[test]
    fn the_last_minute_is_told_and_a_process_that_began_anew_counts_from_its_beginning() {
        let (mut counted, host) = (Counted::default(), json!("i-1"));
        counted.add(at(0), &told(100, 5));
        assert!(!counted.rise());
        counted.add(at(10), &told(110, 9));
        assert!(counted.rise());
        let now = counted.told(at(10), &[&host]);
        assert_eq!(
            now,
            [json!({ "host": "i-1", "clients": 7, "connected": 10, "failed": 4, "seconds": 10 })]
        );
        counted.add(at(65), &told(120, 9));
        assert_eq!(counted.told(at(65), &[&host])[0]["failed"], 0);
        counted.add(at(70), &told(3, 0));
        assert_eq!(counted.told(at(70), &[&host])[0]["seconds"], 0);
        assert!(counted.told(at(131), &[&host]).is_empty(), "what is a minute old is not told");
    }

    #[test]
    fn a_host_that_has_gone_is_forgotten() {
        let mut counted = Counted::default();
        counted.add(at(0), &told(1, 1));
        assert!(counted.told(at(0), &[]).is_empty());
        assert!(counted.told(at(0), &[&json!("i-1")]).is_empty());
    }
}
