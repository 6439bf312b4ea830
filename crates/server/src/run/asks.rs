//! What may be asked of a run now: the very question that the worker asks before it obeys, put as buttons.

use domain::run::{Ask, State, StepPath, Takeback, answer};

/// A button, with its form.
#[derive(Debug, Clone)]
pub(crate) struct Choice {
    /// The verb in the form: `pause`, `retry`, …
    pub(crate) ask: &'static str,
    /// On the button.
    pub(crate) label: &'static str,
    /// The step that it is about.
    pub(crate) step: Option<String>,
    /// How much is taken back, of an abort.
    pub(crate) takeback: &'static str,
    /// What it does, in a sentence.
    pub(crate) says: String,
    /// Must a reason be given?
    pub(crate) reason: bool,
    /// Cannot be taken back by another click.
    pub(crate) grave: bool,
    /// Why not now.
    pub(crate) why_not: Option<String>,
}

impl Choice {
    fn new(state: &State, ask: &Ask, label: &'static str, says: impl Into<String>) -> Self {
        let takeback = match ask {
            Ask::Abort { takeback: Takeback::All, .. } => "all",
            Ask::Abort { takeback: Takeback::Finally, .. } => "finally",
            _ => "",
        };
        Self {
            ask: match ask {
                Ask::Pause { .. } => "pause",
                Ask::Resume => "resume",
                Ask::Retry { .. } => "retry",
                Ask::Skip { .. } => "skip",
                Ask::MarkDone { .. } => "mark_done",
                Ask::Abort { .. } => "abort",
            },
            label,
            step: ask.step().map(ToString::to_string),
            takeback,
            says: says.into(),
            reason: matches!(ask, Ask::Skip { .. } | Ask::MarkDone { .. } | Ask::Abort { .. }),
            grave: matches!(ask, Ask::Abort { .. }),
            why_not: answer(state, ask).err().map(|refusal| refusal.0),
        }
    }
}

/// What may be asked of the run as a whole; also what is not possible now, with the reason.
pub(crate) fn choices(state: &State) -> Vec<Choice> {
    let undone: Vec<_> = state.takebacks(Takeback::All).into_iter().map(|(path, _)| path.to_string()).collect();
    let kept = "What was done stays done; what the runbook always takes back at its end is taken back.";
    let undo = match undone.as_slice() {
        [] => "There is nothing that could be taken back.".to_owned(),
        steps => format!("Takes back, the last first: {}.", steps.join(", ")),
    };
    let reason = String::new;
    vec![
        Choice::new(state, &Ask::Pause { reason: None }, "Pause", "What is under way ends; nothing new begins."),
        Choice::new(state, &Ask::Resume, "Resume", "Goes on where it stopped."),
        Choice::new(state, &Ask::Abort { takeback: Takeback::Finally, reason: reason() }, "Abort, keep changes", kept),
        Choice::new(state, &Ask::Abort { takeback: Takeback::All, reason: reason() }, "Abort and undo", undo),
    ]
}

/// What may be asked about a step now; nothing for a step that needs nobody.
pub(super) fn of_step(state: &State, path: &StepPath) -> Vec<Choice> {
    let (step, reason) = (|| path.clone(), String::new);
    let all = [
        Choice::new(state, &Ask::Retry { step: step() }, "Retry", "Tries it again."),
        Choice::new(
            state,
            &Ask::MarkDone { step: step(), reason: reason(), output: serde_json::Value::Null },
            "Mark as done",
            "It happened, or was done by hand. Later steps read no output from it.",
        ),
        Choice::new(state, &Ask::Skip { step: step(), reason: reason() }, "Skip", "Leaves it out and goes on."),
    ];
    all.into_iter().filter(|choice| choice.why_not.is_none()).collect()
}
