//! The steps of a run as bars over its time: what took long, what went on beside what, and where nothing went on because people were
//! waited for.

use domain::Timestamp;

use super::{RunView, StepView};
use crate::chart::{WIDTH, place};
use crate::words;

/// Steps inside steps inside steps are on the tab of the steps.
const DEEPEST: usize = 1;
/// The narrowest that a bar is drawn: a step of no time is seen, too.
const NARROWEST: f64 = 4.0;

/// One step.
pub(crate) struct Bar {
    pub(crate) title: String,
    /// How far in it is.
    pub(crate) depth: usize,
    /// Its colour, and the word that says the same.
    pub(crate) tone: &'static str,
    pub(crate) word: &'static str,
    /// Where it begins, of [`WIDTH`].
    pub(crate) x: f64,
    pub(crate) width: f64,
    /// Where its changes were made.
    pub(crate) marks: Vec<f64>,
    pub(crate) began: words::Moment,
    pub(crate) lasted: String,
}

/// All of them, and the time that they are drawn over.
pub(crate) struct Gantt {
    pub(crate) bars: Vec<Bar>,
    /// Its beginning, middle and end.
    pub(crate) times: [String; 3],
}

/// Draws the steps that have begun; `None` before there is one.
pub(crate) fn draw(run: &RunView) -> Option<Gantt> {
    let (from, to) = (run.row.created_at, run.row.ended_at.unwrap_or(run.now));
    let mut bars = Vec::new();
    for step in &run.steps {
        add(&mut bars, step, 0, from, to);
    }
    let times = [from, from + (to - from) / 2, to].map(|at| words::moment(&at).plain());
    (!bars.is_empty()).then_some(Gantt { bars, times })
}

fn add(bars: &mut Vec<Bar>, step: &StepView, depth: usize, from: Timestamp, to: Timestamp) {
    let Some(began) = step.started_at else { return };
    let x = place(began, from, to);
    let width = (place(step.ended_at.unwrap_or(to), from, to) - x).max(NARROWEST);
    let changes = step.calls.iter().filter(|call| call.mutating && call.status == "ok");
    bars.push(Bar {
        title: step.title.clone(),
        depth,
        tone: step.badge.tone.class(),
        word: step.badge.word,
        x: x.min(WIDTH - width),
        width,
        marks: changes.map(|call| place(call.at, from, to)).collect(),
        began: words::moment(&began),
        lasted: step.duration(),
    });
    if depth < DEEPEST {
        for inside in &step.steps {
            add(bars, inside, depth + 1, from, to);
        }
    }
}
