//! A run in lines: its header, and its steps in their order, those inside others further in.

use domain::forecast::Took;
use domain::words::{shorten, span};
use serde::Deserialize as _;
use serde_json::Value;

use super::words::{Ink, between, clock, mark, paint, word};

/// What stands above the steps.
pub(super) fn header(told: &Value) -> Vec<String> {
    let row = &told["run"];
    let state = word(row, "state");
    let (sign, ink) = mark(state);
    let mut lines = vec![format!(
        "{} {}  {}",
        paint(ink, sign),
        paint(Ink::Bold, word(row, "title")),
        paint(ink, &state.replace('_', " "))
    )];
    let mut about = vec![format!("by {}", word(row, "requested_by"))];
    if let Some(elapsed) = elapsed(row, told) {
        about.push(format!("for {}", span(elapsed)));
    }
    if let Some(left) = told["remaining"]["p50_s"].as_i64().filter(|_| row["ended_at"].is_null()) {
        about.push(format!("about {} left", span(left)));
    }
    about.push(word(row, "id").to_owned());
    lines.push(paint(Ink::Dim, &format!("  {}", about.join(" · "))));
    if let Some(message) = row["message"].as_str() {
        lines.push(format!("  {message}"));
    }
    lines.extend(paused(told).map(|why| paint(Ink::Warn, &format!("  {why}"))));
    for approval in told["gate"]["approvals"].as_array().into_iter().flatten().filter(|a| a["open"] == true) {
        let step = approval["step"].as_str().map_or(String::new(), |step| format!(" for `{step}`"));
        let until = match &approval["until"] {
            Value::Null => String::new(),
            until => format!(" until {}", clock(until)),
        };
        lines.push(paint(Ink::Warn, &format!("  waits for {}{step}{until}", word(approval, "needs"))));
    }
    for ahead in told["gate"]["ahead"].as_array().into_iter().flatten() {
        lines.push(paint(Ink::Warn, &format!("  stands in line for `{}`", word(ahead, "target"))));
    }
    lines
}

/// Why it was paused, by a person or the kill switch. Of a step that waits for somebody, the step tells.
pub(super) fn paused(told: &Value) -> Option<&str> {
    let pause = &told["paused"];
    pause["why"].as_str().filter(|_| pause["step"].is_null())
}

/// On the server's clock, which may be a simulator's; so one that runs is measured by when its newest entry was written.
fn elapsed(row: &Value, told: &Value) -> Option<i64> {
    let end = if row["ended_at"].is_null() { &told["now"] } else { &row["ended_at"] };
    between(&row["created_at"], end).map(|d| d.num_seconds())
}

/// The steps.
pub(super) fn lines(told: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    put(&told["steps"], 1, &mut lines);
    lines
}

fn put(steps: &Value, deep: usize, lines: &mut Vec<String>) {
    for step in steps.as_array().into_iter().flatten() {
        let status = word(step, "status");
        let (sign, ink) = mark(status);
        let indent = "  ".repeat(deep);
        let mut about = Vec::new();
        about.extend(step["progress"].as_str().map(str::to_owned));
        if !matches!(status, "done" | "not reached" | "to come") {
            about.push(status.to_owned());
        }
        about.extend(step["duration_s"].as_i64().filter(|s| *s > 0).map(span));
        let took = Took::deserialize(&step["forecast"]).ok();
        about.extend(took.filter(|took| took.p50_s > 0 && status == "running").map(|took| took.usually()));
        let about = paint(Ink::Dim, &about.join(", "));
        lines.push(
            format!("{indent}{} {}  {about}", paint(ink, sign), word(step, "title")).trim_end().to_owned(),
        );
        if let Some(waits) = step["waits_for"].as_str().filter(|_| status != "done") {
            lines.push(paint(Ink::Dim, &format!("{indent}  until {}", shorten(waits, 100))));
        }
        if let Some(error) = step["error"]["message"].as_str().filter(|_| status != "done") {
            lines.push(format!("{indent}  {}", paint(Ink::Bad, error)));
        }
        // Of what is over, or has not begun, nobody reads the inside; `show --json` has it.
        if !matches!(status, "done" | "skipped" | "to come" | "not reached") {
            put(&step["steps"], deep + 1, lines);
        }
    }
}

/// All steps, those inside others too.
pub(super) fn flat(told: &Value) -> Vec<&Value> {
    fn collect<'a>(steps: &'a Value, all: &mut Vec<&'a Value>) {
        for step in steps.as_array().into_iter().flatten() {
            all.push(step);
            collect(&step["steps"], all);
        }
    }
    let mut all = Vec::new();
    collect(&told["steps"], &mut all);
    all
}
