//! Waiting: for a condition on what is seen again and again, within a step and at the end.

use super::super::jq::Unsayable;
use super::super::{Page, shell};
use super::{Code, by_hand, one_line};
use crate::runbook::{OnTimeout, Until, Use, Verify};

impl Page<'_> {
    pub(super) fn verify(&mut self, verify: &Verify, number: &str) {
        self.paragraph(&format!("### {number}. Is it over?"));
        if let Some(until) = &verify.look.until {
            self.paragraph(&waits(until));
        }
        let message = self.message(&verify.message);
        let code = match self.waiting("verify", &verify.look, &format!("stop \"{message}\"")) {
            Ok(code) => code,
            Err(e) => by_hand("verify", &e),
        };
        self.block(&code);
    }

    /// A wait, and what is done when it was in vain.
    pub(super) fn waiting(&mut self, id: &str, call: &Use, late: &str) -> Result<Code, Unsayable> {
        let Some(until) = &call.until else { return Err(Unsayable("a wait without an end".into())) };
        let action = self.action(&call.action)?.clone();
        let with = self.with(&call.with)?;
        let look = self.look(&*action, &with)?;
        let filter = self.filter(&until.condition)?;
        let hold = until.hold.map_or(0, |hold| hold.as_secs());
        let give_up = match &until.give_up {
            Some(give_up) => format!("give_up={} ", shell::filter(&self.filter(&give_up.condition)?)),
            None => String::new(),
        };
        Ok(vec![
            format!("{give_up}wait_for {id} {} \\", shell::filter(&filter)),
            format!("  {} {} {hold} {look} ||", until.timeout.as_secs(), until.every.as_secs().max(1)),
            format!("  {late}"),
        ])
    }
}

/// What is waited for, in words.
pub(super) fn waits(until: &Until) -> String {
    let mut told = format!(
        "Wait until `{}`{}",
        one_line(until.condition.source()),
        until.hold.map_or_else(String::new, |hold| format!(
            ", for {} without a break",
            humantime::format_duration(hold)
        ))
    );
    if let Some(expect) = until.expect {
        told.push_str(&format!("; it usually takes {}", humantime::format_duration(expect)));
    }
    let late = match until.on_timeout {
        OnTimeout::Continue => "then go on all the same",
        OnTimeout::Fail => "then stop",
    };
    told.push_str(&format!("; at most {}, {late}.", humantime::format_duration(until.timeout)));
    if let Some(give_up) = &until.give_up {
        told.push_str(&format!(
            " Waiting longer is pointless if `{}`.",
            one_line(give_up.condition.source())
        ));
    }
    told
}
