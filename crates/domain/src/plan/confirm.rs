//! What the person who starts must do, as the risk demands.

use crate::runbook::Risk;

/// Must the target be typed to start it? Then only a person does.
pub fn is_typed(risk: Risk) -> bool {
    risk == Risk::High
}

/// What must be typed to start: for high risk the target, as the title names it; without one, the runbook's name. Severe risk
/// needs another person instead, who looks at the same plan: the runbook's `approval`.
pub fn to_type<'a>(risk: Risk, title: &'a str, runbook: &'a str) -> Option<&'a str> {
    is_typed(risk).then(|| title.rsplit_once(": ").map_or(runbook, |(_, target)| target))
}
