//! Checks what the row of a run says against its journal.
//!
//! Lists, pages, triage and exports read the row, and no chain covers it: it moves with each step. What it says of how the run
//! began, how far it is and how it ended stands in the journal too, and must be the same. Not compared is what is in no journal:
//! the title, and what the run does right now, as long as it goes on.

use serde_json::Value;
use uuid::Uuid;

use super::{Kind, Place, Report};
use crate::Timestamp;
use crate::plan::Plan;

/// What the row of a run says.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Which run.
    pub run: Uuid,
    /// Name of its runbook.
    pub runbook: String,
    /// Hash of its text.
    pub hash: String,
    /// Who asked for it.
    pub requested_by: String,
    /// Its inputs.
    pub inputs: Value,
    /// The plan that they saw.
    pub plan: Option<Value>,
    /// When it was asked for.
    pub created_at: Timestamp,
    /// When it moved last.
    pub updated_at: Timestamp,
    /// Its state, in a word.
    pub state: String,
    /// How it ended.
    pub outcome: Option<String>,
    /// That, in a sentence.
    pub message: Option<String>,
    /// When.
    pub ended_at: Option<Timestamp>,
}

/// What its journal says of the same.
#[derive(Debug, Clone)]
pub struct Told {
    /// The first entry: the request.
    pub request: (Value, Timestamp),
    /// When the entry was written that the row counts as the last; none when there is no such entry.
    pub moved: Option<Timestamp>,
    /// Was that entry written together with the request? Rows of earlier versions say until the next write that the run moved last
    /// when it was asked for, a moment before.
    pub newborn: bool,
    /// The entry that ended it.
    pub end: Option<(Value, Timestamp)>,
}

impl Facts {
    /// Notes whatever the journal says otherwise.
    pub fn check(&self, told: &Told, report: &mut Report) {
        let (request, requested_at) = &told.request;
        let words = [
            ("runbook", &self.runbook, &request["runbook"]),
            ("hash", &self.hash, &request["hash"]),
            ("requested_by", &self.requested_by, &request["by"]["name"]),
        ];
        for (name, row, entry) in words {
            if entry != row.as_str() {
                self.changed(report, format!("its row says {name} {row}, entry 1 says {}", plain(entry)));
            }
        }
        if !same(&self.inputs, &request["inputs"]) {
            self.changed(report, "its row has other inputs than entry 1");
        }
        if self.created_at != *requested_at {
            let why = format!(
                "its row says that it was asked for {}, entry 1 is of {requested_at}",
                self.created_at
            );
            self.changed(report, why);
        }
        self.plan(&request["plan_hash"], report);
        let newborn = told.newborn && self.updated_at == *requested_at;
        // That the entry is missing, the check of the journal says.
        if let Some(moved) = told.moved.filter(|moved| *moved != self.updated_at && !newborn) {
            let why =
                format!("its row says that it moved last {}, its last entry is of {moved}", self.updated_at);
            self.changed(report, why);
        }
        self.end(told.end.as_ref(), report);
    }

    /// The plan that people see is the one that was agreed to.
    fn plan(&self, agreed: &Value, report: &mut Report) {
        let place = Place::Run { run: self.run };
        match (&self.plan, agreed.as_str()) {
            (None, None) => {}
            (None, Some(_)) => {
                report.add(place, Kind::Removed, "its row has no plan any more, and entry 1 names one")
            }
            (Some(_), None) => report.add(place, Kind::Added, "its row has a plan, and entry 1 names none"),
            (Some(plan), Some(agreed)) => match serde_json::from_value::<Plan>(plan.clone()) {
                Ok(plan) if plan.hash == agreed && plan.is_known_by(agreed) => {}
                Ok(_) => {
                    self.changed(report, "the plan in its row is not the one that entry 1 names by its hash")
                }
                Err(e) => self.changed(report, format!("the plan in its row cannot be read: {e}")),
            },
        }
    }

    fn end(&self, end: Option<&(Value, Timestamp)>, report: &mut Report) {
        let Some((end, at)) = end else {
            if self.outcome.is_some() || self.ended_at.is_some() {
                let outcome = self.outcome.as_deref().unwrap_or("in no way");
                self.changed(report, format!("its row says that it ended ({outcome}), its journal does not"));
            }
            return;
        };
        if self.ended_at != Some(*at) {
            let row = self.ended_at.map_or("goes on".to_owned(), |at| format!("ended {at}"));
            self.changed(report, format!("its row says that it {row}, its journal that it ended {at}"));
        }
        let words = [
            ("state", Some(&self.state), &end["outcome"]),
            ("outcome", self.outcome.as_ref(), &end["outcome"]),
            ("message", self.message.as_ref(), &end["message"]),
        ];
        for (name, row, entry) in words {
            if entry.as_str() != row.map(String::as_str) {
                let row = row.map_or("nothing", String::as_str);
                let why = format!("its row says {name} {row}, the entry that ended it says {}", plain(entry));
                self.changed(report, why);
            }
        }
    }

    fn changed(&self, report: &mut Report, why: impl Into<String>) {
        report.add(Place::Run { run: self.run }, Kind::Changed, why);
    }
}

/// A text without its quotation marks.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Whether two values are the same, however a number is written: the row keeps 1e16 with all its digits, the entry does not.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => {
            one.as_f64() == other.as_f64()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| same(one, other)))
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        let big: Value = serde_json::from_str(r#"{"n": [1e16, -0.0]}"#).unwrap();
        assert!(same(&big, &json!({ "n": [10_000_000_000_000_000_u64, 0] })));
        assert!(!same(&big, &json!({ "n": [10_000_000_000_000_000_u64, 1] })));
        assert!(!same(&json!({ "a": 1 }), &json!({ "a": 1, "b": null })));
        assert!(!same(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
    }
}
