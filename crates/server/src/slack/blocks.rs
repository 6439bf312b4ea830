//! How Firebreak answers in Slack: messages that one person alone sees, previews with buttons, forms.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use domain::chat::Press;
use domain::plan::{Plan, PlannedOutcome, PlannedStep, Verdict};
use domain::runbook::Risk;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::Problem;
use crate::plans::Confirmation;
use crate::words;

/// Slack takes 3000 characters in a section.
const SECTION: usize = 2900;
/// Lines of a plan that are shown; its page has them all.
const LINES: usize = 18;

/// The form before a start.
pub(super) const START: &str = "start";
/// The form in which a reason is given.
pub(super) const REJECT: &str = "reject";
/// The field of a form.
pub(super) const FIELD: &str = "field";

/// As Slack asks for it: <https://docs.slack.dev/messaging/formatting-message-text#escaping>.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(super) fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": words::shorten(text, SECTION) } })
}

/// Words that only the one who asked sees; where they stand in the place of something that they saw, they replace it.
pub(super) fn told(text: &str) -> Value {
    json!({
        "response_type": "ephemeral", "replace_original": true,
        "text": words::shorten(text, SECTION), "blocks": [section(text)],
    })
}

/// The same beside a message that all see.
pub(super) fn beside(text: &str) -> Value {
    let mut told = told(text);
    told["replace_original"] = false.into();
    told
}

/// Why something was not done, in the very words of pages and programs.
pub(super) fn problem(problem: &Problem, public_url: &str) -> String {
    let mut text = escape(&problem.detail);
    if let Some(remedy) = &problem.remedy {
        _ = write!(text, "\n{}", escape(remedy));
    }
    if let Some(link) = &problem.link {
        _ = write!(text, "\n<{public_url}{}|{}>", link.href, escape(&link.label));
    }
    text
}

/// What a plan says, as far as there is room.
pub(super) fn plan(plan: &Plan, confirmation: &Confirmation) -> String {
    let mut text = format!("*{}*  ({} risk)", escape(&plan.title), risk(plan.risk));
    if let Some(impact) = &plan.impact {
        _ = write!(text, "\n{}", escape(impact));
    }
    if plan.customers_percent > 0.0 {
        let share = words::percent(&plan.customers_percent);
        _ = write!(text, "\nClusters with {share} of all customers are reached through it.");
    }
    if let Some(ways) = ways_back(plan) {
        _ = write!(text, "\n{ways}");
    }
    // That there is no way back stands at the change itself as well.
    let marked = |step: &PlannedStep| if step.one_way { " (no way back)" } else { "" };
    let changes = plan.steps.iter().flat_map(|step| step.changes().iter().map(move |c| (marked(step), c)));
    let changes = changes.map(|(way, c)| {
        let [before, after] = [&c.before, &c.after].map(|value| escape(&words::brief(value)));
        format!("• {}{way}: {} {before} → *{after}*", escape(&c.object), escape(&c.property))
    });
    let later = plan.steps.iter().filter_map(|step| match &step.outcome {
        PlannedOutcome::KnownAfter { step: after } => {
            Some(format!("• {}{}: known after `{after}`", escape(&step.title), marked(step)))
        }
        _ => None,
    });
    let lines: Vec<String> = changes.chain(later).collect();
    for line in lines.iter().take(LINES) {
        _ = write!(text, "\n{}", words::shorten(line, 200));
    }
    if lines.len() > LINES {
        _ = write!(text, "\n… and {} more", lines.len() - LINES);
    }
    for lock in &plan.locks {
        if let Some(holder) = &lock.held_by {
            _ = write!(text, "\n:lock: `{}` is held by {}", escape(&lock.target), escape(holder));
        }
    }
    for brake in &plan.brakes {
        _ = write!(text, "\n:no_entry: {}. {}", escape(&brake.to_string()), escape(brake.remedy()));
    }
    for work in &plan.foreign {
        _ = write!(text, "\n:no_entry: Somebody else is at work on {}", escape(&work.to_string()));
    }
    match &plan.verdict {
        Verdict::Ready if plan.is_held_back() => {
            text.push_str("\n:warning: Every guard holds, but it is held back.");
        }
        Verdict::Ready => text.push_str("\n:white_check_mark: Nothing speaks against it."),
        Verdict::Stops { step, message } => {
            _ = write!(text, "\n:x: It would stop at `{step}`: {}", escape(message));
        }
    }
    if let Some(approval) = &confirmation.approval {
        _ = write!(text, "\nIt begins after {}.", escape(approval));
    }
    _ = write!(text, "\nPlan `{}`", &plan.hash[..plan.hash.len().min(12)]);
    text
}

/// How many of the changes have which way back, on one line: there is no room for it at each. A step whose changes are only
/// known later counts as one, if its runbook says that it changes something.
fn ways_back(plan: &Plan) -> Option<String> {
    let mut ways: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all = 0;
    for step in &plan.steps {
        let way = step.way_back();
        let later = matches!(step.outcome, PlannedOutcome::KnownAfter { .. }) && way.is_some();
        let changes = step.changes().len() + usize::from(later);
        all += changes;
        if let Some(way) = way.filter(|_| changes > 0) {
            *ways.entry(way).or_default() += changes;
        }
    }
    let said: Vec<_> =
        ways.iter().map(|(way, some)| format!("{way}: {some} of {}", words::many(all, "change"))).collect();
    (!said.is_empty()).then(|| said.join(" · "))
}

fn risk(risk: Risk) -> &'static str {
    match risk {
        Risk::Low => "low",
        Risk::Medium => "medium",
        Risk::High => "high",
        Risk::Severe => "severe",
    }
}

/// What may be pressed below a plan.
pub(super) enum Offer<'a> {
    /// Nothing: it was only asked what would be done.
    Nothing,
    /// Nothing, because of this; the page tells more.
    Stops(&'a str),
    /// [Run], which opens a form where it takes more than a press, and [Cancel].
    Run { preview: Uuid, asks: bool },
}

/// A plan that only the one who asked sees.
pub(super) fn preview(made: &Plan, confirmation: &Confirmation, offer: &Offer<'_>, page: &str) -> Value {
    let words = plan(made, confirmation);
    let mut blocks = vec![section(&words)];
    match *offer {
        Offer::Run { preview, asks } => {
            let run = Press::Run { preview, plan_hash: made.hash.clone() };
            let style = if made.risk >= Risk::High { "danger" } else { "primary" };
            let label = if asks { "Run…" } else { "Run" };
            let mut run = button("run", label, style, &run);
            if made.risk == Risk::Medium && !asks {
                run["confirm"] = json!({
                    "title": plain(&words::shorten(&made.title, 90)), "text": plain("It starts now."),
                    "confirm": plain("Run"), "deny": plain("Cancel"),
                });
            }
            let mut cancel = button("cancel", "Cancel", "", &Press::Cancel { preview });
            if let Value::Object(cancel) = &mut cancel {
                cancel.remove("style");
            }
            blocks.push(json!({ "type": "actions", "elements": [run, cancel] }));
        }
        Offer::Stops(why) => {
            let why = escape(&words::shorten(why, 1000));
            blocks.push(section(&format!(
                "Not started: see <{page}|its page> for what may be done about it.\n{why}"
            )));
        }
        Offer::Nothing => {}
    }
    json!({
        "response_type": "ephemeral", "replace_original": true, "text": words::shorten(&words, SECTION), "blocks": blocks,
    })
}

/// The plan that an approval is about, with its buttons.
pub(super) fn decision(words: &str, approvals: Vec<(Press, Press)>) -> Value {
    let mut blocks = vec![section(words)];
    blocks.extend(approvals.into_iter().map(|(agree, reject)| {
        let buttons =
            [button("approve", "Approve", "primary", &agree), button("reject", "Reject…", "danger", &reject)];
        json!({ "type": "actions", "elements": buttons })
    }));
    json!({ "response_type": "ephemeral", "text": words::shorten(words, SECTION), "blocks": blocks })
}

pub(super) fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text })
}

fn button(id: &str, label: &str, style: &str, press: &Press) -> Value {
    json!({ "type": "button", "action_id": id, "style": style, "value": press.value(), "text": plain(label) })
}

/// The form in which somebody says why they do not agree.
pub(super) fn why_not(back: &Value) -> Value {
    let why = json!({
        "type": "input", "block_id": FIELD, "label": plain("Why"),
        "element": { "type": "plain_text_input", "action_id": FIELD, "max_length": 300 },
    });
    let says = section("The run does not go on as it was asked for.");
    modal(REJECT, ("Reject", "Reject"), &[says, why], back)
}

/// A form, under a title, with a button that sends it.
pub(super) fn modal(id: &str, (title, submit): (&str, &str), blocks: &[Value], back: &Value) -> Value {
    json!({
        "type": "modal", "callback_id": id, "private_metadata": back.to_string(),
        "title": plain(title), "submit": plain(submit), "close": plain("Cancel"), "blocks": blocks,
    })
}

/// What is wrong with what was filled in, under a field.
pub(super) fn wrong(field: &str, text: &str) -> Value {
    json!({ "response_action": "errors", "errors": { field: words::shorten(text, 1900) } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_says_how_much_of_a_plan_can_be_taken_back() {
        let change = json!({ "object": "host i-1", "property": "state", "before": "up", "after": "down" });
        let step = |path: &str, way: &str, outcome: Value| {
            let mut step =
                json!({ "path": path, "title": path, "action": "a.b", "one_way": false, "outcome": outcome });
            step[way] = true.into();
            step
        };
        let changes = |n: usize| json!({ "outcome": "changes", "changes": vec![&change; n] });
        let later = || json!({ "outcome": "known_after", "step": "group" });
        let told = |steps: Vec<Value>| {
            let made = json!({
                "runbook": "r", "runbook_hash": "", "title": "Replace", "risk": "low", "impact": null, "inputs": {},
                "locks": [], "verdict": { "verdict": "ready" }, "customers_percent": 0.0, "steps": steps,
                "at": "2024-05-07T14:00:00Z", "hash": "",
            });
            plan(&serde_json::from_value(made).unwrap(), &Confirmation { target: None, approval: None })
        };
        let all = told(vec![
            step("suspend", "undoable", changes(2)),
            step("drain", "undoable", later()),
            step("protect", "taken_back", changes(1)),
            step("end", "one_way", changes(1)),
            step("look", "undoable", json!({ "outcome": "looked" })),
        ]);
        let lines: Vec<&str> = all.lines().take(7).collect();
        assert_eq!(
            lines,
            [
                "*Replace*  (low risk)",
                "Can be taken back: 3 of 5 changes · No way back: 1 of 5 changes · Taken back at the end: 1 of 5 changes",
                "• host i-1: state up → *down*",
                "• host i-1: state up → *down*",
                "• host i-1: state up → *down*",
                "• host i-1 (no way back): state up → *down*",
                "• drain: known after `group`",
            ]
        );
        assert!(
            told(vec![step("suspend", "undoable", changes(1))])
                .contains("Can be taken back: 1 of 1 change\n")
        );
        assert!(!told(vec![step("look", "undoable", json!({ "outcome": "looked" }))]).contains("taken back"));
    }

    #[test]
    fn nothing_that_a_plan_names_can_call_a_channel_or_pose_as_a_link() {
        let odd = "<!channel> & <https://elsewhere|here>";
        let change = json!({ "object": odd, "property": odd, "before": odd, "after": [odd] });
        let made: Plan = serde_json::from_value(json!({
            "runbook": "light", "runbook_hash": "", "title": odd, "risk": "low", "impact": odd, "inputs": {},
            "locks": [{ "target": odd, "held_by": odd }], "verdict": { "verdict": "ready" }, "customers_percent": 0.0,
            "steps": [{ "path": "switch", "title": odd, "action": null, "one_way": false,
                        "outcome": { "outcome": "changes", "changes": [change] } }],
            "at": "2024-05-07T14:00:00Z", "hash": "",
        }))
        .unwrap();
        let told = plan(&made, &Confirmation { target: None, approval: Some(odd.into()) });
        assert!(told.matches("&lt;!channel&gt; &amp; ").count() >= 6, "{told}");
        assert!(!told.contains(['<', '>']), "{told}");
    }
}
