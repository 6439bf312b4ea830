//! What stands between a plan and its start, for one person, and the way past it: told alike by the runbook's page and in Slack.
//!
//! Nothing is decided here. The engine refuses, at every door, whatever is not said against a brake; this only knows what to ask for.

use domain::Actor;
use domain::brake::{Brake, Way};
use domain::plan::{Plan, Verdict};

/// A plan, and whoever would start it.
pub(crate) struct Obstacles<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) by: &'a Actor,
    /// Why they may not start it, by a policy.
    pub(crate) narrowed: Option<&'a str>,
}

impl<'a> Obstacles<'a> {
    /// A lock is held, and no brake that they may not pass: then one may stand in line.
    pub(crate) fn held(&self) -> bool {
        self.narrowed.is_none()
            && self.plan.lacks_a_lock()
            && self.plan.brakes.iter().all(|b| b.way(self.by) != Way::None)
    }

    /// Why this person cannot start it now, if so.
    pub(crate) fn stops(&self) -> Option<String> {
        let held = self.plan.brakes.iter().find(|b| b.way(self.by) == Way::None);
        if let Some(why) = self.narrowed {
            return Some(why.to_owned());
        }
        match (&self.plan.verdict, held) {
            (Verdict::Stops { message, .. }, _) => Some(format!("It would stop: {message}")),
            (Verdict::Ready, Some(brake)) => Some(format!("It cannot start: {brake}")),
            (Verdict::Ready, None) => None,
        }
    }

    /// May it start only with a word for a freeze?
    pub(crate) fn frozen(&self) -> bool {
        self.plan.brakes.iter().any(|b| b.way(self.by) == Way::Confirm)
    }

    /// Limits that are used up, and may be passed this once.
    pub(crate) fn limits(&self) -> Vec<&'a str> {
        let limits = self.plan.brakes.iter().filter_map(|b| match b {
            Brake::Limit(spent) => Some(spent.limit.name.as_str()),
            _ => None,
        });
        let mut names: Vec<_> = limits.collect();
        names.dedup();
        names
    }
}
