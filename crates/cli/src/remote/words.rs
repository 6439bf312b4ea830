//! How things are said in a terminal: marks, moments, colours.

use chrono::TimeDelta;
use domain::Timestamp;
use serde_json::Value;

use crate::terminal::coloured;

/// A colour, where somebody is looking and wants one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ink {
    Good,
    Bad,
    Warn,
    Busy,
    Dim,
    Bold,
}

/// Colours a text.
pub(crate) fn paint(ink: Ink, text: &str) -> String {
    if !coloured() {
        return text.to_owned();
    }
    let code = match ink {
        Ink::Good => "32",
        Ink::Bad => "31",
        Ink::Warn => "33",
        Ink::Busy => "36",
        Ink::Dim => "2",
        Ink::Bold => "1",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// A mark and its ink, from the word for the state of a step or a run.
pub(crate) fn mark(state: &str) -> (&'static str, Ink) {
    match state {
        "done" | "succeeded" => ("✔", Ink::Good),
        "failed" | "stuck" | "symptom_persists" => ("✘", Ink::Bad),
        "running" | "undoing" | "closing" | "verifying" => ("▶", Ink::Busy),
        "skipped" | "refused" => ("↷", Ink::Warn),
        "paused" | "outcome unknown" | "outcome_unknown" | "waiting_for_approval" => ("?", Ink::Warn),
        "not reached" | "to come" => ("·", Ink::Dim),
        "undone" | "aborted" | "expired" => ("↶", Ink::Dim),
        _ => ("◦", Ink::Busy),
    }
}

/// From one time to another, both as the API writes them; nothing where one is missing.
pub(crate) fn between(from: &Value, to: &Value) -> Option<TimeDelta> {
    Some(time(to)? - time(from)?)
}

pub(crate) fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// `14:42:07Z`: what is read beside a local clock, and pasted elsewhere, says which one it is of.
pub(crate) fn clock(value: &Value) -> String {
    time(value).map_or_else(|| "–".into(), |at| at.format("%H:%M:%SZ").to_string())
}

/// `2024-05-07 14:42:07Z`, as `--since` and its like read it, too.
pub(crate) fn day(value: &Value) -> String {
    time(value).map_or_else(|| "–".into(), |at| at.format("%F %H:%M:%SZ").to_string())
}

/// The time of day; with the day, where that is another one than today.
pub(crate) fn moment(value: &Value, now: &Value) -> String {
    let days = [value, now].map(|value| time(value).map(|at| at.date_naive()));
    if days[0] == days[1] { clock(value) } else { day(value) }
}

/// A word of an answer.
pub(crate) fn word<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Rows as columns: each as wide as its widest, the last as it is.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}
