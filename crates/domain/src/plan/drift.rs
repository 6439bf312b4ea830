//! What became different between the plan that people saw and the world in which the run would begin.

use serde::{Deserialize, Serialize};

use super::{Plan, PlannedOutcome};
use crate::run::StepPath;

/// A step that would do something else than was said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The step.
    pub path: StepPath,
    /// What it does.
    pub title: String,
    /// What was said; nothing, when it was not in the plan.
    pub was: Option<PlannedOutcome>,
    /// What it would do now; nothing, when it is not in the plan any more.
    pub now: Option<PlannedOutcome>,
}

/// Step by step, in the order of the new plan; what is gone comes last. Empty exactly when both plans have the same steps
/// with the same material outcomes.
pub fn differences(was: &Plan, now: &Plan) -> Vec<Difference> {
    let outcome = |plan: &Plan, path: &StepPath| {
        plan.material().find(|step| step.path == *path).map(|step| step.outcome.clone())
    };
    let changed = now.material().filter_map(|step| {
        let before = outcome(was, &step.path);
        (before.as_ref().map(PlannedOutcome::essence) != Some(step.outcome.essence())).then(|| Difference {
            path: step.path.clone(),
            title: step.title.clone(),
            was: before,
            now: Some(step.outcome.clone()),
        })
    });
    let gone = was.material().filter(|step| outcome(now, &step.path).is_none()).map(|step| Difference {
        path: step.path.clone(),
        title: step.title.clone(),
        was: Some(step.outcome.clone()),
        now: None,
    });
    changed.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::{Map, json};

    use super::*;
    use crate::action::ObjectChange;
    use crate::plan::{PlannedStep, Verdict};
    use crate::runbook::Risk;

    fn plan(steps: &[(&str, PlannedOutcome)]) -> Plan {
        let mut plan = Plan {
            runbook: "r".into(),
            runbook_hash: "h".into(),
            children: Default::default(),
            title: "R".into(),
            risk: Risk::Low,
            impact: None,
            inputs: Map::new(),
            locks: vec![],
            brakes: vec![],
            foreign: vec![],
            steps: steps
                .iter()
                .map(|(path, outcome)| PlannedStep {
                    path: (*path).into(),
                    title: (*path).to_owned(),
                    action: None,
                    one_way: false,
                    taken_back: false,
                    undoable: false,
                    outcome: outcome.clone(),
                })
                .collect(),
            verdict: Verdict::Ready,
            customers_percent: 0.0,
            forecast: None,
            at: DateTime::UNIX_EPOCH,
            hash: String::new(),
        };
        plan.hash = plan.digest();
        plan
    }

    fn changes(after: i64) -> PlannedOutcome {
        let change =
            ObjectChange { object: "a".into(), property: "p".into(), before: json!(0), after: json!(after) };
        PlannedOutcome::Changes { changes: vec![change] }
    }

    #[test]
    fn what_is_other_new_or_gone_is_told_and_what_was_only_looked_at_is_not() {
        let was = plan(&[("look", PlannedOutcome::Looked), ("a", changes(1)), ("b", changes(1))]);
        let now = plan(&[("a", changes(2)), ("c", changes(1))]);
        assert_ne!(was.hash, now.hash);
        let told: Vec<_> = differences(&was, &now)
            .into_iter()
            .map(|d| (d.path.to_string(), d.was.is_some(), d.now.is_some()))
            .collect();
        let expected = [("a", true, true), ("c", false, true), ("b", true, false)];
        assert_eq!(told, expected.map(|(path, was, now)| (path.to_owned(), was, now)));
        assert_eq!(differences(&was, &was), []);
    }
}
