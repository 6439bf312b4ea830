//! What may be asked of a run now: the very question that the worker asks before it obeys, put as buttons.

use domain::Actor;
use domain::policy::Policies;
use domain::run::{
    AbortPreview, Ask, Node, Phase, State, Status, StepPath, Takeback, abort_preview, answer_to, goes_around,
    is_past,
};
use serde::Serialize;

use crate::words;

/// A button, with its form.
#[derive(Debug, Clone, Serialize)]
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
    /// The plan that it is about.
    pub(crate) plan_hash: String,
    /// Cannot be taken back by another click.
    pub(crate) grave: bool,
    /// What an abort would leave and take back.
    pub(crate) preview: Option<AbortPreview>,
    /// Why not now.
    pub(crate) why_not: Option<String>,
}

/// Who looks, and what policies say of them: the same that the engine asks when they click.
#[derive(Debug, Clone)]
pub(crate) struct Asker<'a> {
    pub(crate) by: Actor,
    pub(crate) policies: &'a Policies,
}

impl Asker<'_> {
    fn why_not(&self, state: &State, ask: &Ask) -> Option<String> {
        let possible = answer_to(state, &self.by, ask)
            .and_then(|()| goes_around(state, ask))
            .and_then(|()| is_past(state, ask));
        let possible = possible.map_err(|refusal| refusal.0);
        possible.and_then(|()| self.policies.asked(state, &self.by, ask).map_err(|e| e.to_string())).err()
    }
}

/// What tells one form of a run's page from the others, as it says itself when it is sent.
pub(crate) fn form_of(ask: &str, takeback: &str, step: Option<&str>) -> String {
    let step = step.map_or(String::new(), |step| format!("-{step}"));
    format!("ask-{ask}{takeback}{step}")
}

impl Choice {
    /// Its form on the page.
    pub(crate) fn form(&self) -> String {
        form_of(self.ask, self.takeback, self.step.as_deref())
    }

    pub(super) fn new(
        state: &State,
        by: &Asker<'_>,
        ask: &Ask,
        label: &'static str,
        says: impl Into<String>,
    ) -> Self {
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
                Ask::Approve { .. } => "approve",
                Ask::Reject { .. } => "reject",
                Ask::BreakGlass { .. } => "break_glass",
                Ask::AcceptPlan { .. } => "accept_plan",
                Ask::DidNotHappen { .. } => "did_not_happen",
                Ask::StopLooking { .. } => "stop_looking",
                Ask::BeginDespite { .. } => "begin_despite",
                Ask::Abort { .. } => "abort",
            },
            label,
            step: ask.step().map(ToString::to_string),
            takeback,
            says: says.into(),
            reason: ask.reason_needed(),
            grave: matches!(
                ask,
                Ask::Abort { .. } | Ask::Reject { .. } | Ask::BreakGlass { .. } | Ask::BeginDespite { .. }
            ),
            plan_hash: match ask {
                Ask::Approve { plan_hash, .. } | Ask::BreakGlass { plan_hash, .. } => {
                    plan_hash.clone().unwrap_or_default()
                }
                Ask::AcceptPlan { plan_hash } => plan_hash.clone(),
                _ => String::new(),
            },
            preview: match ask {
                Ask::Abort { takeback, .. } => Some(abort_preview(state, *takeback)),
                _ => None,
            },
            why_not: by.why_not(state, ask),
        }
    }
}

/// What may be asked of the run as a whole; also what is not possible now, with the reason.
pub(crate) fn choices(state: &State, by: &Asker<'_>) -> Vec<Choice> {
    let kept = "What was done stays done; what the runbook always takes back at its end is taken back.";
    let undo = "Takes back everything that can be, the last change first.";
    let reason = String::new;
    vec![
        Choice::new(
            state,
            by,
            &Ask::Pause { reason: None },
            "Pause",
            "What is under way ends; nothing new begins.",
        ),
        Choice::new(state, by, &Ask::Resume, "Resume", "Goes on where it stopped."),
        Choice::new(
            state,
            by,
            &Ask::Abort { takeback: Takeback::Finally, reason: reason() },
            "Abort, keep changes",
            kept,
        ),
        Choice::new(
            state,
            by,
            &Ask::Abort { takeback: Takeback::All, reason: reason() },
            "Abort and undo",
            undo,
        ),
    ]
}

/// The same for a page: where both aborts come to the same, one button. While something moves they may not, by the time of the click.
pub(crate) fn shown(state: &State, by: &Asker<'_>) -> Vec<Choice> {
    let mut shown = choices(state, by);
    let (kept, undone) = (abort_preview(state, Takeback::Finally), abort_preview(state, Takeback::All));
    let says = if state.gate().is_some() {
        Some(
            "Ends the run before it has begun. If it begins sooner than you press, what it has done by then stays.",
        )
    } else {
        // Of a call of unknown outcome somebody may say later that it was made, and then it is taken back, or not.
        let still = state.paused().is_some() && state.nodes().all(|(_, node)| node.status.is_over());
        still.then_some("Ends the run here.")
    };
    if let Some(says) = says.filter(|_| kept == undone) {
        shown.retain(|choice| choice.takeback != "all");
        for abort in shown.iter_mut().filter(|choice| choice.ask == "abort") {
            abort.label = "Abort";
            abort.says = says.into();
        }
    }
    shown
}

/// A step that waits for a person.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Decision {
    pub(crate) path: String,
    pub(crate) title: String,
    /// Why it waits, in a sentence.
    pub(crate) why: String,
    pub(crate) remedy: Option<String>,
    /// Nobody but a person can tell whether its call took effect.
    pub(crate) unknown: bool,
    /// Its call got no answer, and its effect is looked for: nothing needs to be decided yet.
    pub(crate) looking: bool,
    /// What was announced: the action and its input.
    pub(crate) action: Option<String>,
    pub(crate) input: Vec<(String, String)>,
    /// What was seen right before the call, to set beside what is seen now.
    pub(crate) before: Vec<(String, String)>,
    /// What is seen now, or what a failed guard saw.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) choices: Vec<Choice>,
}

/// All steps that wait for a person (of a run that is `ending`, or goes on), with what can be decided; and those whose effect is looked for, which a person may cut short.
pub(super) fn decisions(
    state: &State,
    by: &Asker<'_>,
    ending: bool,
    title: impl Fn(&str) -> Option<String>,
) -> Vec<Decision> {
    let unknown = |node: &Node| node.status == Status::OutcomeUnknown;
    let looking = |node: &Node| node.status == Status::Unclear && node.intent.is_some();
    let waiting = state
        .nodes()
        .filter(|(path, node)| unknown(node) || looking(node) || state.blocked().any(|(at, _)| at == *path));
    waiting
        .map(|(path, node)| {
            let (unknown, looking) = (unknown(node), looking(node));
            let paused = state.blocked().find(|(at, _)| *at == path).map(|(_, pause)| pause.why.clone());
            let why = match paused {
                _ if looking => {
                    "The call got no answer. It is looked for what became of it, until it is certain that it cannot take effect any more.".into()
                }
                _ if unknown && node.abandoned => {
                    let left = "The call got no answer, and whoever aborted the run has left it as it is.";
                    let waits = " The run goes on to its end when the call cannot take effect any more.";
                    format!("{left}{}", if *state.phase() == Phase::Forward { waits } else { "" })
                }
                _ if unknown && node.hurried => {
                    "The call got no answer, and somebody did not want to look for its effect any longer. It may still come.".into()
                }
                _ if unknown => {
                    "The call got no answer, and nothing but a person can tell whether it took effect.".into()
                }
                Some(why) => why,
                None => node.error.as_ref().map_or_else(|| "It failed.".into(), |e| e.message.clone()),
            };
            let remedy = if looking {
                None
            } else if unknown && node.abandoned {
                let undoes = state.aborting().is_some_and(|(takeback, ..)| *takeback == Takeback::All);
                let then = if undoes { "it is not waited for, and what was done is taken back" } else { "it is not waited for" };
                Some(format!("Say what you found, if you know: then {then}."))
            } else if unknown {
                Some("Look for yourself, then say what you found. Nothing is done before you do.".into())
            } else {
                node.error.as_ref().and_then(|e| e.remedy.clone())
            };
            let intent = node.intent.as_ref().filter(|_| unknown || looking);
            Decision {
                title: title(path.as_str()).unwrap_or_else(|| path.to_string()),
                path: path.to_string(),
                why,
                remedy,
                unknown,
                looking,
                action: intent.map(|i| i.action.clone()),
                input: intent.map(|i| words::facts(&i.input)).unwrap_or_default(),
                before: intent.map(|i| words::facts(&i.facts)).unwrap_or_default(),
                facts: node.facts.as_ref().map(words::facts).unwrap_or_default(),
                choices: match node.status {
                    _ if looking => vec![cut_short(state, by, path)],
                    _ if unknown => of_unknown(state, by, path, node, ending),
                    _ => of_step(state, by, path),
                },
            }
        })
        .collect()
}

/// What may be asked about a step now.
fn of_step(state: &State, by: &Asker<'_>, path: &StepPath) -> Vec<Choice> {
    let (step, reason) = (|| path.clone(), String::new);
    let done = Ask::MarkDone { step: step(), reason: reason(), output: serde_json::Value::Null };
    let all = [
        Choice::new(state, by, &Ask::Retry { step: step() }, "Retry", "Tries it again."),
        Choice::new(
            state,
            by,
            &done,
            "Mark as done",
            "It happened, or was done by hand. Later steps read no output from it.",
        ),
        Choice::new(
            state,
            by,
            &Ask::Skip { step: step(), reason: reason() },
            "Skip",
            "Leaves it out and goes on.",
        ),
    ];
    all.into_iter().filter(|choice| choice.why_not.is_none()).collect()
}

/// What may be asked while it is looked for what became of a call.
fn cut_short(state: &State, by: &Asker<'_>, path: &StepPath) -> Choice {
    let says = "Looks once more, and asks you at once should that not tell.";
    Choice::new(state, by, &Ask::StopLooking { step: path.clone() }, "Stop looking", says)
}

/// What may be said of a change of unknown outcome: that it happened, that it did not, or that nobody goes on from here.
fn of_unknown(state: &State, by: &Asker<'_>, path: &StepPath, node: &Node, ending: bool) -> Vec<Choice> {
    let (step, reason) = (|| path.clone(), String::new);
    // What takes back is made anew all the same.
    let (ending, given_up) = (ending || path.is_undo(), ending && !path.is_undo());
    let happened = Ask::MarkDone { step: step(), reason: reason(), output: serde_json::Value::Null };
    let mut abandon = Choice::new(
        state,
        by,
        &Ask::Abort { takeback: Takeback::Finally, reason: reason() },
        "Abandon",
        "Ends the run without going on from here. What was done stays, and this call is left as it is.",
    );
    abandon.step = Some(path.to_string());
    let all = [
        Choice::new(
            state,
            by,
            &happened,
            "It happened",
            match ending {
                true => "The step counts as done, and the run ends.",
                false => "The step counts as done, and the run goes on. Later steps read no output from it.",
            },
        ),
        Choice::new(
            state,
            by,
            &Ask::DidNotHappen { step: step(), reason: reason() },
            "It did not happen",
            match node.on_its_way() {
                _ if given_up => {
                    "The step counts as not done, and the run ends, once no copy of the lost call can take effect any more."
                }
                Some(_) => {
                    "The call is made anew, once no copy of the lost one can take effect any more: within minutes."
                }
                None => "The call is made anew: look well, or it may be made twice.",
            },
        ),
        abandon,
        // A run that is ending already cannot be abandoned. The step can be left out.
        Choice::new(
            state,
            by,
            &Ask::Skip { step: step(), reason: reason() },
            "Leave it",
            "Leaves it as it is, and goes on.",
        ),
    ];
    all.into_iter().filter(|c| c.why_not.is_none() && (c.ask != "skip" || ending)).collect()
}
