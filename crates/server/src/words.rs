//! How things are said: times, shares, states. A state is always a word, an icon and a colour.

use std::fmt;

use askama::filters::{Escaper as _, Html, HtmlSafe};
use chrono::TimeDelta;
use domain::Timestamp;
use domain::forecast::Took;
use serde_json::Value;

/// How something is, as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Good.
    Ok,
    /// Under way.
    Busy,
    /// Waits, for time or a condition.
    Wait,
    /// Needs a person.
    Warn,
    /// Bad.
    Bad,
    /// Not there, left out, or still to come.
    Off,
}

impl Tone {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Busy => "busy",
            Self::Wait => "wait",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Off => "off",
        }
    }
}

/// A state: word, icon and colour.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Badge {
    pub(crate) tone: Tone,
    pub(crate) icon: Icon,
    pub(crate) word: &'static str,
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"<span class="badge {}">{}{}</span>"#, self.tone.class(), self.icon, self.word)
    }
}

impl HtmlSafe for Badge {}

/// A sign of sixteen by sixteen, drawn in the text's colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Icon {
    Check,
    Play,
    Clock,
    Pause,
    Cross,
    Alert,
    Undo,
    Skip,
    Dot,
    Question,
}

impl Icon {
    fn path(self) -> &'static str {
        match self {
            Self::Check => "M3 8.5l3.2 3.2L13 4.8",
            Self::Play => "M5 3.5v9l7.5-4.5z",
            Self::Clock => "M8 2.2a5.8 5.8 0 1 0 .01 0M8 4.8V8l2.2 1.6",
            Self::Pause => "M5.5 3.5v9M10.5 3.5v9",
            Self::Cross => "M4 4l8 8M12 4l-8 8",
            Self::Alert => "M8 2.2L14.2 13.3H1.8zM8 6.4v3M8 11.3v.2",
            Self::Undo => "M3 3.5v3.6h3.6M3.3 7A5.2 5.2 0 1 1 3.6 10.4",
            Self::Skip => "M3.5 3.8v8.4L9 8zM12 3.8v8.4",
            Self::Dot => "M8 5.2a2.8 2.8 0 1 0 .01 0",
            Self::Question => "M5.6 6a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2.9-1.2 1.8M8 12.2v.2",
        }
    }
}

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d="{}"/></svg>"#,
            self.path()
        )
    }
}

impl HtmlSafe for Icon {}

/// The state of a run, from the word that the store keeps.
pub(crate) fn run_badge(state: &str) -> Badge {
    let (tone, icon, word) = match state {
        "running" => (Tone::Busy, Icon::Play, "Running"),
        "verifying" => (Tone::Wait, Icon::Clock, "Verifying"),
        "closing" => (Tone::Busy, Icon::Undo, "Cleaning up"),
        "undoing" => (Tone::Busy, Icon::Undo, "Undoing"),
        "waiting_for_approval" => (Tone::Warn, Icon::Question, "Waits for approval"),
        "queued" => (Tone::Wait, Icon::Clock, "In line"),
        "expired" => (Tone::Off, Icon::Clock, "Expired"),
        "paused" => (Tone::Warn, Icon::Pause, "Paused"),
        "outcome_unknown" => (Tone::Warn, Icon::Question, "Outcome unknown"),
        "stuck" => (Tone::Bad, Icon::Alert, "Stuck"),
        "succeeded" => (Tone::Ok, Icon::Check, "Succeeded"),
        "symptom_persists" => (Tone::Bad, Icon::Alert, "Symptom persists"),
        "refused" => (Tone::Warn, Icon::Skip, "Refused"),
        "failed" => (Tone::Bad, Icon::Cross, "Failed"),
        "aborted" => (Tone::Off, Icon::Cross, "Aborted"),
        "undone" => (Tone::Off, Icon::Undo, "Undone"),
        _ => (Tone::Off, Icon::Dot, "Unknown"),
    };
    Badge { tone, icon, word }
}

/// What became of a signal, from the word that the store keeps; none before triage has looked.
pub(crate) fn verdict_badge(verdict: Option<&str>) -> Badge {
    let (tone, icon, word) = match verdict {
        Some("started") => (Tone::Busy, Icon::Play, "Started"),
        Some("asked") => (Tone::Warn, Icon::Question, "Asks you"),
        Some("suggested") => (Tone::Wait, Icon::Dot, "Would have started"),
        Some("joined") => (Tone::Busy, Icon::Clock, "Joined a run"),
        Some("suppressed") => (Tone::Off, Icon::Skip, "Suppressed"),
        Some("ignored") => (Tone::Off, Icon::Dot, "Ignored"),
        Some(_) => (Tone::Off, Icon::Dot, "Unknown"),
        None => (Tone::Wait, Icon::Clock, "Being judged"),
    };
    Badge { tone, icon, word }
}

/// The state of a signal.
pub(crate) fn signal_badge(state: &str) -> Badge {
    let (tone, icon, word) = match state {
        "firing" => (Tone::Bad, Icon::Alert, "Firing"),
        "resolved" => (Tone::Ok, Icon::Check, "Over"),
        "unclear" => (Tone::Warn, Icon::Question, "Not understood"),
        _ => (Tone::Off, Icon::Dot, "Unknown"),
    };
    Badge { tone, icon, word }
}

/// The state of a message in the outbox.
pub(crate) fn message_badge(state: &str) -> Badge {
    let (tone, icon, word) = match state {
        "waiting" => (Tone::Wait, Icon::Clock, "Waits"),
        "sent" => (Tone::Ok, Icon::Check, "Sent"),
        "left_out" => (Tone::Off, Icon::Skip, "Not for it"),
        "unclear" => (Tone::Warn, Icon::Question, "May have been sent"),
        "failed" => (Tone::Bad, Icon::Cross, "Not sent"),
        _ => (Tone::Off, Icon::Dot, "Unknown"),
    };
    Badge { tone, icon, word }
}

/// How a drill stands.
pub(crate) fn drill_badge(drill: &store::drills::Drill) -> Badge {
    let (tone, icon, word) = match (&drill.score, drill.ended_at) {
        (Some(score), _) if score.recovered => (Tone::Ok, Icon::Check, "Recovered"),
        (Some(_), _) => (Tone::Warn, Icon::Cross, "Not recovered"),
        (None, None) => (Tone::Busy, Icon::Play, "Begun"),
        (None, Some(_)) => (Tone::Off, Icon::Skip, "Given up"),
    };
    Badge { tone, icon, word }
}

/// So many of a plan's steps are listed as its checks and waits: what changes something stands above them, and what is only worked
/// out is not listed.
pub(crate) fn checks(plan: &domain::plan::Plan) -> usize {
    use domain::plan::PlannedOutcome::{Changes, Value};
    let listed = |step: &&domain::plan::PlannedStep| match &step.outcome {
        Value => false,
        Changes { changes } => changes.is_empty(),
        _ => true,
    };
    plan.steps.iter().filter(listed).count()
}

/// Would a run of this plan stop?
pub(crate) fn stops(plan: &domain::plan::Plan) -> bool {
    matches!(plan.verdict, domain::plan::Verdict::Stops { .. })
}

/// Does a run in this state wait for a person?
pub(crate) fn needs_a_person(state: &str) -> bool {
    matches!(state, "waiting_for_approval" | "paused" | "outcome_unknown" | "stuck")
}

/// A moment: time of day, and the whole of it for whoever asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(Timestamp);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<time datetime="{}" title="{}">{}</time>"#,
            self.0.format("%Y-%m-%dT%H:%M:%SZ"),
            self.0.format("%-d %B %Y, %H:%M:%S UTC"),
            self.0.format("%H:%M:%S")
        )
    }
}

impl Moment {
    /// The time of day alone.
    pub(crate) fn plain(&self) -> String {
        self.0.format("%H:%M:%S").to_string()
    }
}

impl HtmlSafe for Moment {}

/// A moment with its day.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Day(Timestamp);

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"<time datetime="{}">{}</time>"#,
            self.0.format("%Y-%m-%dT%H:%M:%SZ"),
            self.0.format("%-d %b %Y %H:%M:%S")
        )
    }
}

impl HtmlSafe for Day {}

/// The time of day, for templates.
pub(crate) fn moment(at: &Timestamp) -> Moment {
    Moment(*at)
}

/// Day and time, for templates.
pub(crate) fn day(at: &Timestamp) -> Day {
    Day(*at)
}

/// `4 s`, `2 m 14 s`, `3 h 05 m`, `2 d 3 h`.
pub(crate) fn span(delta: TimeDelta) -> String {
    domain::words::span(delta.num_seconds())
}

/// The same, for templates.
pub(crate) fn lasted(delta: &TimeDelta) -> String {
    span(*delta)
}

/// The same from whole seconds, for templates.
pub(crate) fn seconds(seconds: &u64) -> String {
    span(TimeDelta::seconds(i64::try_from(*seconds).unwrap_or(i64::MAX / 1000)))
}

/// The same from seconds with a sign, for templates.
pub(crate) fn lasted_s(seconds: &i64) -> String {
    span(TimeDelta::seconds(*seconds))
}

/// What a step usually takes, for templates.
pub(crate) fn usually(took: &Took) -> String {
    took.usually()
}

/// Is a step inside another one, so that its path says more than its title?
pub(crate) fn is_inside(path: &domain::run::StepPath) -> bool {
    path.as_str().contains(['[', '.'])
}

/// `+02:14`, `+1:02:14`.
pub(crate) fn offset(delta: TimeDelta) -> String {
    let s = delta.num_seconds().max(0);
    if s < 3600 {
        format!("+{:02}:{:02}", s / 60, s % 60)
    } else {
        format!("+{}:{:02}:{:02}", s / 3600, s % 3600 / 60, s % 60)
    }
}

/// Words with `code` between backticks, as pages draw them.
pub(crate) struct Prose(String);

impl fmt::Display for Prose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pieces: Vec<&str> = self.0.split('`').collect();
        for (n, piece) in pieces.iter().enumerate() {
            // A last backtick that none closes is one.
            let (before, after) = match n % 2 {
                0 => ("", ""),
                _ if n + 1 == pieces.len() => ("`", ""),
                _ => ("<code>", "</code>"),
            };
            f.write_str(before)?;
            Html.write_escaped_str(&mut *f, piece)?;
            f.write_str(after)?;
        }
        Ok(())
    }
}

impl HtmlSafe for Prose {}

/// What is said with `code` in it, for templates.
pub(crate) fn prose(text: &str) -> Prose {
    Prose(text.to_owned())
}

/// What stops a plan, and what can be done about an error, for templates: actions say it without a capital and a full stop.
pub(crate) fn said(text: &str) -> Prose {
    Prose(crate::error::sentence(text))
}

pub(crate) use domain::advice::{percent, share};
pub(crate) use domain::words::{brief, many, shorten};

/// The fields of a record in a few words each; a value that is no record is its own only field.
pub(crate) fn facts(value: &Value) -> Vec<(String, String)> {
    const MOST: usize = 14;
    match value {
        Value::Null => Vec::new(),
        Value::Object(fields) => {
            fields.iter().take(MOST).map(|(key, value)| (key.replace('_', " "), brief(value))).collect()
        }
        other => vec![(String::new(), brief(other))],
    }
}

/// JSON, indented.
pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_read_like_a_watch() {
        assert_eq!(offset(TimeDelta::seconds(134)), "+02:14");
        assert_eq!(offset(TimeDelta::seconds(3_734)), "+1:02:14");
    }

    #[test]
    fn code_is_drawn_as_code_and_everything_is_escaped() {
        assert_eq!(
            prose("see `a <b>` & `c`").to_string(),
            "see <code>a &#60;b&#62;</code> &#38; <code>c</code>"
        );
        assert_eq!(prose("`a`, then ` alone").to_string(), "<code>a</code>, then ` alone");
        assert_eq!(said("run `x <id>`").to_string(), "Run <code>x &#60;id&#62;</code>.");
        assert_eq!(said("`x` does it.").to_string(), "<code>x</code> does it.");
    }

    #[test]
    fn a_little_is_not_nothing_and_almost_is_not_all() {
        assert_eq!(share(&0.0), "0 %");
        assert_eq!(share(&0.000_1), "< 0.1 %");
        assert_eq!(share(&0.004), "0.4 %");
        assert_eq!(share(&0.31), "31 %");
        assert_eq!(share(&0.999), "99 %");
        assert_eq!(share(&1.0), "100 %");
    }
}
