//! The scoreboard: each occasion on which a trigger would have done something, beside what was done.

use chrono::TimeDelta;
use serde::Serialize;
use uuid::Uuid;

use crate::Timestamp;

/// A trigger had something to do: once for a run that it started, offered, or would have started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Occasion {
    /// `runbook/trigger`
    pub rule: String,
    /// Its runbook.
    pub runbook: String,
    /// When it came to its verdict.
    pub at: Timestamp,
    /// What is struck.
    pub targets: Vec<String>,
    /// Its incident is open: what is not done yet may be.
    pub open: bool,
    /// The run that came of it, or else the first one that somebody asked for on the same targets in the same incident.
    pub run: Option<Done>,
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Done {
    /// Its id.
    pub id: Uuid,
    /// Of which runbook.
    pub runbook: String,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// How it ended, if it has.
    pub outcome: Option<String>,
    /// It is the trigger's own: started by it, or by a person who took its offer.
    pub own: bool,
    /// A person asked for it.
    pub by_person: bool,
}

/// What a trigger did, or would have done, beside what was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compared {
    /// It has started the run.
    Started,
    /// A person took its offer.
    Taken,
    /// A person did the same without it.
    Same,
    /// A person did something else.
    Different,
    /// Nobody has done anything so far.
    Open,
    /// Nobody did anything.
    Nothing,
}

impl Occasion {
    /// Compares.
    pub fn compared(&self) -> Compared {
        match &self.run {
            None if self.open => Compared::Open,
            None => Compared::Nothing,
            Some(run) if run.own && run.by_person => Compared::Taken,
            Some(run) if run.own => Compared::Started,
            Some(run) if run.runbook == self.runbook => Compared::Same,
            Some(_) => Compared::Different,
        }
    }

    /// How much earlier its verdict was than the person who did the same; negative, where the person was earlier.
    pub fn lead(&self) -> Option<TimeDelta> {
        match (self.compared(), &self.run) {
            (Compared::Taken | Compared::Same, Some(run)) => Some(run.at - self.at),
            _ => None,
        }
    }
}

/// All occasions of one trigger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Score {
    /// How many.
    pub occasions: usize,
    /// It started the run.
    pub started: usize,
    /// People took its offer.
    pub taken: usize,
    /// People did the same without it.
    pub same: usize,
    /// People did something else.
    pub different: usize,
    /// Nobody has done anything so far.
    pub open: usize,
    /// Nobody did anything.
    pub nothing: usize,
    /// Of the runs that came of it: the symptom was gone.
    pub succeeded: usize,
    /// They failed, or had to be taken back.
    pub failed: usize,
    /// How many seconds earlier its verdict was than the people who did the same: the middle of all.
    pub median_lead_s: Option<i64>,
}

/// Adds up.
pub fn score<'a>(occasions: impl IntoIterator<Item = &'a Occasion>) -> Score {
    let mut score = Score::default();
    let mut leads = Vec::new();
    for occasion in occasions {
        score.occasions += 1;
        match occasion.compared() {
            Compared::Started => score.started += 1,
            Compared::Taken => score.taken += 1,
            Compared::Same => score.same += 1,
            Compared::Different => score.different += 1,
            Compared::Open => score.open += 1,
            Compared::Nothing => score.nothing += 1,
        }
        leads.extend(occasion.lead().map(|lead| lead.num_seconds()));
        let outcome = occasion.run.as_ref().filter(|run| run.own).and_then(|run| run.outcome.as_deref());
        score.succeeded += usize::from(outcome == Some("succeeded"));
        score.failed += usize::from(outcome.is_some_and(super::demotes));
    }
    leads.sort_unstable();
    score.median_lead_s = leads.get(leads.len() / 2).copied();
    score
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: i64) -> Timestamp {
        Timestamp::from_timestamp(s, 0).unwrap()
    }

    fn occasion(run: Option<Done>) -> Occasion {
        let targets = vec!["fleet:us".into()];
        Occasion {
            rule: "replace/x".into(),
            runbook: "replace".into(),
            at: at(100),
            targets,
            open: false,
            run,
        }
    }

    fn run(runbook: &str, s: i64, own: bool, by_person: bool, outcome: &str) -> Option<Done> {
        let (by, outcome) = ("x".into(), Some(outcome.into()));
        Some(Done { id: Uuid::nil(), runbook: runbook.into(), by, at: at(s), outcome, own, by_person })
    }

    #[test]
    fn what_was_done_is_set_beside_what_it_would_have_done() {
        let all = [
            occasion(run("replace", 101, true, false, "failed")),
            occasion(run("replace", 160, true, true, "succeeded")),
            occasion(run("replace", 700, false, true, "succeeded")),
            occasion(run("failover", 90, false, true, "failed")),
            occasion(None),
        ];
        let compared: Vec<_> = all.iter().map(Occasion::compared).collect();
        use Compared::{Different, Nothing, Same, Started, Taken};
        assert_eq!(compared, [Started, Taken, Same, Different, Nothing]);
        let score = score(&all);
        // What people did without it is neither its success nor its failure.
        assert_eq!((score.occasions, score.succeeded, score.failed), (5, 1, 1));
        assert_eq!(score.median_lead_s, Some(600));
    }

    #[test]
    fn without_an_occasion_nothing_is_said() {
        assert_eq!(score([]), Score::default());
    }
}
