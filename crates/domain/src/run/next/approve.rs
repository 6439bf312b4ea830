//! A step at which others must agree.

use serde_json::{Value, json};

use super::sight::Sight;
use super::text;
use super::walk::{Walk, Walker};
use crate::action::ActionError;
use crate::run::{Entry, Node, Ruling, StepPath};
use crate::runbook::Approve;

impl Walker<'_> {
    pub(super) fn approve(
        &mut self,
        approve: &Approve,
        path: &StepPath,
        node: Option<&Node>,
        sight: &Sight<'_>,
    ) -> Walk {
        let Some(ballot) = node.and_then(|_| self.state.ballot(Some(path))) else {
            let (approval, message) = (approve.approval.clone(), text(&approve.message, sight.scope()));
            return self.record(Entry::AwaitsApproval { step: path.clone(), approval, message });
        };
        let not_given = |code: &'static str, why: String| {
            ActionError::refused(code, why).remedy("retry to ask anew, or abort")
        };
        match &ballot.ruling {
            Some(ruling) if ruling.passes() => {
                let names: Vec<_> = match ruling {
                    Ruling::GlassBroken { by, .. } => vec![by.name()],
                    _ => ballot.voices.iter().map(|voice| voice.by.name()).collect(),
                };
                self.reasoned(path, json!({ "approved_by": names }))
            }
            Some(ruling) => {
                let error = not_given("not_approved", ballot.told(ruling));
                self.fail(path, error, Value::Null)
            }
            None if self.now >= ballot.until => {
                let error = not_given("approval_expired", format!("{} was not given in time", ballot.needs));
                self.fail(path, error, Value::Null)
            }
            None => {
                self.wake(ballot.until);
                Walk::Blocked
            }
        }
    }
}
