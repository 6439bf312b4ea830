//! The form before a start that needs more than a press: it asks for what the runbook's page asks for, in the same words.
//!
//! ```text
//!  plan ─▶ Asked (target? freeze? limits? lock?) ─▶ form ─▶ Answers ─▶ the engine's one door, which alone decides
//!                                                     ▲                    │
//!                                                     └── refused: why, under the field that it is about
//! ```

use domain::Actor;
use domain::brake::{Acknowledged, Overrides};
use domain::plan::{Plan, to_type};
use serde_json::{Map, Value, json};
use store::slack::Preview;

use super::blocks::{self, FIELD, START, plain, section};
use crate::app::App;
use crate::obstacles::Obstacles;
use crate::plans::Confirmation;
use crate::words;

/// Slack takes 2000 characters in a label.
const LABEL: usize = 1900;
/// The longest reason, as on the page.
const LONGEST_REASON: usize = 500;

/// The box that is ticked to start despite a freeze.
const FREEZE: &str = "freeze";
/// The reason of the start.
const REASON: &str = "reason";
/// Before the place of a limit: why it may be passed this once.
const LIMIT: &str = "limit-";
/// The box that is ticked to stand in line.
const WAIT: &str = "wait";

/// What somebody must say to start a plan.
pub(super) struct Asked<'a> {
    plan: &'a Plan,
    /// Type this.
    target: Option<&'a str>,
    /// Say why: others must agree, and it was not typed with the command.
    why: bool,
    /// Say that it starts despite a freeze, and why.
    frozen: bool,
    /// Say of each why it may be passed this once.
    limits: Vec<&'a str>,
    /// Stand in line: a lock is held.
    held: bool,
}

/// What they said.
#[derive(Debug, Default)]
pub(super) struct Answers {
    pub(super) confirm: Option<String>,
    /// Instead of the reason that was typed with the command.
    pub(super) reason: Option<String>,
    pub(super) overrides: Overrides,
    pub(super) wait: bool,
}

impl<'a> Asked<'a> {
    /// Of this person, for what was previewed.
    pub(super) fn of(app: &App, kept: &'a Preview, by: &'a Actor) -> Self {
        let plan = &kept.plan;
        let obstacles = Obstacles { plan, by, narrowed: None };
        let text = app.engine().library().runbook(&kept.runbook);
        let unexplained = kept.reason.is_none() && text.is_some_and(|text| text.approval().is_some());
        let target = to_type(plan.risk, &plan.title, &plan.runbook);
        Self {
            plan,
            target,
            why: unexplained || obstacles.frozen(),
            frozen: obstacles.frozen(),
            limits: obstacles.limits(),
            held: obstacles.held(),
        }
    }

    /// A press is enough.
    pub(super) fn nothing(&self) -> bool {
        self.target.is_none() && !self.why && self.limits.is_empty() && !self.held
    }

    /// The form. `reason` was typed with the command.
    pub(super) fn form(&self, reason: Option<&str>, back: &Value) -> Value {
        let none = Confirmation { target: None, approval: None };
        let mut blocks = vec![section(&blocks::plan(self.plan, &none))];
        if self.frozen {
            blocks.push(ticked(
                FREEZE,
                "A freeze is on",
                "Start despite it; the reason below says why",
                false,
            ));
        }
        if self.why {
            let mut why = text(REASON, "Why (for whoever reads this later)", LONGEST_REASON);
            if let Some(reason) = reason {
                why["element"]["initial_value"] = words::shorten(reason, LONGEST_REASON).into();
            }
            blocks.push(why);
        }
        for (at, limit) in self.limits.iter().enumerate() {
            let label = format!("Why the limit “{limit}” may be passed this once");
            blocks.push(text(&format!("{LIMIT}{at}"), &label, LONGEST_REASON));
        }
        if let Some(target) = self.target {
            blocks.push(text(FIELD, &format!("Type {target} to start it"), 300));
        }
        let says = "Stand in line, at most half an hour";
        let label = if self.held { "It is locked" } else { "If it is locked" };
        blocks.push(ticked(WAIT, label, says, !self.held));
        blocks::modal(START, ("Start a run", "Start"), &blocks, back)
    }

    /// Reads what was filled in.
    pub(super) fn read(&self, values: &Map<String, Value>) -> Answers {
        let given = |block: &str| Some(written(values, block)).filter(|text| !text.is_empty());
        let reasons = self.limits.iter().enumerate();
        let reasons = reasons.filter_map(|(at, limit)| Some((limit, given(&format!("{LIMIT}{at}"))?)));
        let acknowledge =
            reasons.map(|(limit, reason)| Acknowledged { limit: (*limit).to_owned(), reason }).collect();
        Answers {
            confirm: given(FIELD),
            reason: given(REASON),
            overrides: Overrides { despite_freeze: is_ticked(values, FREEZE), acknowledge },
            wait: is_ticked(values, WAIT),
        }
    }
}

/// What was typed into a field.
pub(super) fn written(values: &Map<String, Value>, block: &str) -> String {
    let typed = values.get(block).and_then(|block_of| block_of[block]["value"].as_str());
    typed.unwrap_or_default().trim().to_owned()
}

fn is_ticked(values: &Map<String, Value>, block: &str) -> bool {
    let options = values.get(block).and_then(|block_of| block_of[block]["selected_options"].as_array());
    options.is_some_and(|options| !options.is_empty())
}

/// The field of a form that a refusal is about. Slack takes words only under a field that the form has.
pub(super) fn field_of(code: &str, values: &Map<String, Value>) -> String {
    let limit = format!("{LIMIT}0");
    let wanted = match code {
        "locked" => WAIT,
        "freeze" => FREEZE,
        "bad_override" | "no_reason" => REASON,
        "limit" => &limit,
        _ => FIELD,
    };
    let all = [wanted, FIELD, REASON, &limit, WAIT, FREEZE];
    all.into_iter().find(|block| values.contains_key(*block)).unwrap_or(FIELD).to_owned()
}

fn text(id: &str, label: &str, longest: usize) -> Value {
    json!({
        "type": "input", "block_id": id, "label": plain(&words::shorten(label, LABEL)),
        "element": { "type": "plain_text_input", "action_id": id, "max_length": longest },
    })
}

fn ticked(id: &str, label: &str, says: &str, optional: bool) -> Value {
    json!({
        "type": "input", "block_id": id, "label": plain(label), "optional": optional,
        "element": { "type": "checkboxes", "action_id": id, "options": [{ "text": plain(says), "value": id }] },
    })
}
