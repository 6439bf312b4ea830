//! `approval:` of a runbook, and `approve:` of a step.

use super::Decoder;
use super::field::Fields;
use crate::Role;
use crate::runbook::yaml::{Entry, Node};
use crate::runbook::{Approval, Approve, OnFailure};

pub(super) const KEYS: &[&str] = &["by", "count", "within", "break_glass"];
pub(super) const STEP_KEYS: &[&str] = &["by", "count", "within", "break_glass", "otherwise"];

/// A viewer has no voice.
const ROLES: &[(&str, Role)] =
    &[("responder", Role::Responder), ("approver", Role::Approver), ("admin", Role::Admin)];

impl Decoder {
    /// `approval: { by: approver, count: 1, within: 30m }`; what is left out is as there.
    pub(super) fn approval(&mut self, node: &Node) -> Option<Approval> {
        let fields = self.fields(node, "`approval`", KEYS)?;
        self.needs(&fields)
    }

    /// `approve: { by: approver, count: 1, within: 30m, otherwise: fail }`
    pub(super) fn approve(&mut self, step: &Fields<'_>, entry: &Entry) -> Option<Approve> {
        if let Some(entry) = step.get("on_failure") {
            let what = "`on_failure` has no meaning with `approve`";
            self.wrong(entry.pos, what, "say it inside: `approve: { otherwise: pause }`");
        }
        let message = self
            .required(step, "message", "`message:` and what they agree to")
            .and_then(|e| self.template(&e.value));
        let fields = self.fields(&entry.value, "`approve`", STEP_KEYS)?;
        let approval = self.needs(&fields);
        let otherwise = fields.get("otherwise").map_or(Some(OnFailure::Fail), |e| {
            self.choice(
                &e.value,
                &[("fail", OnFailure::Fail), ("continue", OnFailure::Continue), ("pause", OnFailure::Pause)],
            )
        });
        Some(Approve { approval: approval?, message: message?, otherwise: otherwise? })
    }

    fn needs(&mut self, fields: &Fields<'_>) -> Option<Approval> {
        let default = Approval::default();
        let by = fields.get("by").map_or(Some(default.by), |e| self.choice(&e.value, ROLES));
        let count = fields.get("count").map_or(Some(default.count), |e| self.count(&e.value));
        let within_s =
            fields.get("within").map_or(Some(default.within_s), |e| Some(self.seconds(&e.value)?.as_secs()));
        let break_glass =
            fields.get("break_glass").map_or(Some(default.break_glass), |e| self.choice(&e.value, ROLES));
        Some(Approval { by: by?, count: count?, within_s: within_s?, break_glass: break_glass? })
    }
}
