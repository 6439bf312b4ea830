//! The rest of a run in flight: what it has seen, what it has changed, and how far it got with the step that is next.

use serde_json::{Map, Value};

use super::{Page, shell};
use crate::action::UndoCall;

/// How far a run has got: see [`crate::run::SoFar`].
#[derive(Clone, Copy)]
pub struct Rest<'a> {
    /// The outputs of the steps that are done, by id.
    pub steps: &'a Map<String, Value>,
    /// The top-level step that is next; none when only the end is left.
    pub next: Option<&'a str>,
    /// What is done of it already.
    pub inside: &'a [String],
    /// Its change was made, or was not: nobody knows.
    pub unclear: bool,
    /// What takes back what the run has changed, the first change first.
    pub takebacks: &'a [(String, UndoCall)],
}

impl Page<'_> {
    /// What takes back what a run has changed so far.
    pub(super) fn changed(&mut self) {
        let Some(rest) = self.manual.rest.filter(|rest| !rest.takebacks.is_empty()) else { return };
        self.paragraph(
            "What takes back what the run has changed so far; `put_back` does it when its time has come:",
        );
        let line = |(step, undo): &(String, UndoCall)| {
            let action = self.manual.registry.get(&undo.action);
            match action.and_then(|action| action.command(&undo.input).ok()) {
                // The names of items are no words of a shell's.
                Some(command) => format!("back {} true \\\n  {command}", shell::quote(step)),
                None => format!("# To take {step} back: `{}` is for you to work out.", undo.action),
            }
        };
        let lines: Vec<String> = rest.takebacks.iter().map(line).collect();
        self.block(&lines);
    }

    /// How far the run got with its next step.
    pub(super) fn begun(&mut self, rest: &Rest<'_>) {
        if rest.unclear {
            self.paragraph(
                "**The run made this change and never heard what became of it.** Look at what is so now before you do it again.",
            );
        }
        if !rest.inside.is_empty() {
            let done: Vec<String> = rest.inside.iter().map(|step| format!("`{step}`")).collect();
            self.paragraph(&format!(
                "The run has done this of it already, so leave it out: {}.",
                done.join(", ")
            ));
        }
    }
}
