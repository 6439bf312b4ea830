//! Why a step failed, said once: where people read it first, in full; in the other places, where that is.

use domain::action::ActionError;
use domain::run::{Node, State, StepPath};

use super::steps::Try;
use crate::words;

/// Where the error of a step is read first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// With the step.
    Here,
    /// Where a person is asked what to do about it.
    WhereAsked,
    /// At the top of the page: the run has ended because of it.
    AtTheTop,
}

/// Where the error of this step is read first.
pub(super) fn said(state: &State, path: &StepPath, node: Option<&Node>) -> Said {
    let Some(error) = node.and_then(|node| node.error.as_ref()) else { return Said::Here };
    if state.blocked().any(|(at, pause)| at == path && pause.why == error.message) {
        return Said::WhereAsked;
    }
    match state.outcome() {
        Some((_, message)) if message == error.message => Said::AtTheTop,
        _ => Said::Here,
    }
}

/// Attempts, one after the other, that failed in the same words.
pub(crate) struct Failure<'a> {
    first: &'a Try,
    last: &'a Try,
    /// In what words; none where they stand right above.
    pub(crate) error: Option<&'a ActionError>,
}

impl Failure<'_> {
    /// `Attempt 1, 14:02:11`, `Attempts 1 to 3, 14:02:11 to 14:03:40`.
    pub(crate) fn when(&self) -> String {
        let (from, to) = (words::moment(&self.first.at).plain(), words::moment(&self.last.at).plain());
        match (self.first.number, self.last.number) {
            (first, last) if first == last => format!("Attempt {first}, {from}"),
            (first, last) => format!("Attempts {first} to {last}, {from} to {to}"),
        }
    }
}

/// The attempts that failed, those with the same words together; `above` is what is said above them already.
pub(super) fn failures<'a>(attempts: &'a [Try], above: Option<&ActionError>) -> Vec<Failure<'a>> {
    let same =
        |one: &ActionError, other: &ActionError| (&one.code, &one.message) == (&other.code, &other.message);
    let failed = attempts.iter().filter_map(|attempt| Some((attempt, attempt.error.as_ref()?)));
    let mut all: Vec<(Failure<'a>, &ActionError)> = Vec::new();
    for (attempt, error) in failed {
        match all.last_mut() {
            Some((failure, before)) if same(before, error) => failure.last = attempt,
            _ => {
                let told = Some(error).filter(|error| above.is_none_or(|above| !same(above, error)));
                all.push((Failure { first: attempt, last: attempt, error: told }, error));
            }
        }
    }
    all.into_iter().map(|(failure, _)| failure).collect()
}

#[cfg(test)]
mod tests {
    use domain::Timestamp;

    use super::*;

    #[test]
    fn attempts_that_failed_in_the_same_words_are_told_together_and_not_what_stands_above() {
        let at = |second: i64| Timestamp::from_timestamp(second, 0).unwrap();
        let told = |words: &[Option<&str>], above: Option<&str>| -> Vec<String> {
            let error = |text: &str| ActionError::refused("odd", text);
            let attempts: Vec<Try> = (1..)
                .zip(words)
                .map(|(number, text)| Try {
                    number,
                    at: at(i64::from(number) * 60),
                    ended_at: None,
                    error: text.map(error),
                })
                .collect();
            let above = above.map(error);
            let failures = failures(&attempts, above.as_ref());
            let line = |f: &Failure<'_>| format!("{}: {}", f.when(), f.error.map_or("", |e| &e.message));
            failures.iter().map(line).collect()
        };
        let (loose, dark) = (Some("loose"), Some("dark"));
        assert_eq!(told(&[loose], None), ["Attempt 1, 00:01:00: loose"]);
        assert_eq!(
            told(&[loose, loose, dark, loose, None], None),
            [
                "Attempts 1 to 2, 00:01:00 to 00:02:00: loose",
                "Attempt 3, 00:03:00: dark",
                "Attempt 4, 00:04:00: loose"
            ]
        );
        assert_eq!(told(&[dark, loose], loose), ["Attempt 1, 00:01:00: dark", "Attempt 2, 00:02:00: "]);
    }
}
