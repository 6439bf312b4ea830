//! Which runbooks a step is a part of: the run's own, and each that a `run` around the step began.
//!
//! A child's steps are steps of the parent's run, under its locks and in its journal. What is said of a runbook by its name,
//! such as a kill switch, is meant wherever that runbook is at work, so it is asked with all of these names.

use super::{State, StepPath};

impl State {
    /// The names of the runbooks that a step is inside of, the outermost first. What takes a step back is where that step is.
    pub fn runbooks_around(&self, step: &StepPath) -> Vec<&str> {
        let step = step.taken_back();
        let begun = step.around().filter_map(|path| self.known(path)?.1.runbook.as_deref());
        std::iter::once(self.runbook()).chain(begun).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use crate::run::{Entry, Record, State, StepPath};
    use crate::{Actor, Timestamp};

    #[test]
    fn a_step_is_inside_of_its_run_and_of_every_runbook_around_it_and_so_is_its_undo() {
        let entries = [
            json!({ "kind": "requested", "runbook": "heal-all", "hash": "h", "inputs": {}, "by": Actor::person("ana"),
                    "reason": null, "plan_hash": null, "locks": [], "children": { "heal": "1", "launch": "2" } }),
            json!({ "kind": "expanded", "step": "both", "items": [{ "key": "left", "value": null }], "at_once": 1 }),
            json!({ "kind": "entered", "step": "both[left].one", "runbook": "heal", "inputs": Map::new() }),
            json!({ "kind": "entered", "step": "both[left].one.two", "runbook": "launch", "inputs": Map::new() }),
        ];
        let journal: Vec<Record> = (1..)
            .zip(entries)
            .map(|(seq, entry)| {
                let entry: Entry = serde_json::from_value(entry).unwrap();
                Record { seq, at: Timestamp::UNIX_EPOCH, epoch: 1, entry }
            })
            .collect();
        let state = State::replay(&journal).unwrap();
        let around = |step: &str| state.runbooks_around(&StepPath::from(step)).join(" ");
        assert_eq!(around("both[right].set"), "heal-all");
        assert_eq!(around("both[left].one"), "heal-all", "to begin it is the parent's");
        assert_eq!(around("both[left].one.quiet"), "heal-all heal");
        assert_eq!(around("both[left].one.two.each[i-0.1].go"), "heal-all heal launch");
        assert_eq!(around("undo:both[left].one.two.go"), "heal-all heal launch");
    }
}
