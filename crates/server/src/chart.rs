//! Lines over time, drawn as SVG on the server: a page that shows them needs no script.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use domain::Timestamp;
use store::fleets::Sample;

use crate::words;

/// The drawing's inner size; it is stretched to its place, so only proportions count.
pub(crate) const WIDTH: f64 = 1000.0;
/// See [`WIDTH`].
pub(crate) const HEIGHT: f64 = 200.0;
/// So many of the worst lines are drawn in colour.
const NAMED: usize = 3;

/// A share over time for each subject.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// What is drawn.
    pub(crate) title: &'static str,
    /// The worst last: it lies on top.
    pub(crate) lines: Vec<Line>,
    /// The top of the scale, as text: `50 %`.
    pub(crate) top: String,
    /// Half of it.
    pub(crate) middle: String,
    /// Where the window begins, in the middle, and where it ends.
    pub(crate) times: [String; 3],
    /// Where something was done.
    pub(crate) marks: Vec<Mark>,
    /// In a sentence, for whoever does not see it.
    pub(crate) summary: String,
}

/// A moment at which something was done: a stroke across the lines, with its number.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// Where, of [`WIDTH`].
    pub(crate) x: f64,
    /// When, and what.
    pub(crate) at: words::Moment,
    pub(crate) says: String,
}

/// One line.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) subject: String,
    /// SVG path data; a gap in the samples is a gap in the line.
    pub(crate) path: String,
    /// The newest value, 0 to 1.
    pub(crate) last: f64,
    /// `worst-1` and so on for those that stand out, else `calm`.
    pub(crate) class: &'static str,
}

impl Line {
    pub(crate) fn share(&self) -> String {
        words::share(&self.last)
    }
}

impl Chart {
    /// The lines in colour, the worst first.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().rev().filter(|l| l.class != "calm")
    }

    /// How many are drawn in grey, and only counted.
    pub(crate) fn others(&self) -> usize {
        self.lines.len() - self.named().count()
    }

    /// Marks what was done, where it falls into the window.
    #[must_use]
    pub(crate) fn marked(
        mut self,
        done: impl Iterator<Item = (Timestamp, String)>,
        (from, to): (Timestamp, Timestamp),
    ) -> Self {
        let within = done.filter(|(at, _)| *at >= from && *at <= to);
        self.marks =
            within.map(|(at, says)| Mark { x: place(at, from, to), at: words::moment(&at), says }).collect();
        if !self.marks.is_empty() {
            self.summary = format!("{} Changes made meanwhile: {}.", self.summary, self.marks.len());
        }
        self
    }
}

/// Where a moment is between two others, of [`WIDTH`].
pub(crate) fn place(at: Timestamp, from: Timestamp, to: Timestamp) -> f64 {
    let seconds = |delta: TimeDelta| delta.as_seconds_f64();
    (seconds(at - from) / seconds(to - from).max(1.0)).clamp(0.0, 1.0) * WIDTH
}

/// Draws lines whose colours are given, each with its samples in order of time; `None` when there are none. The last lies on top.
pub(crate) fn beside(
    title: &'static str,
    lines: Vec<(&'static str, Vec<Sample>)>,
    (from, to): (Timestamp, Timestamp),
    told: impl Fn(&Timestamp) -> String,
) -> Option<Chart> {
    let top = ceiling(lines.iter().flat_map(|(_, samples)| samples).map(|s| s.value).fold(0.0, f64::max));
    let lines: Vec<Line> = lines
        .into_iter()
        .filter_map(|(class, samples)| {
            let (last, samples) = (samples.last()?.value, samples.iter().collect::<Vec<_>>());
            let subject = samples.first()?.subject.clone();
            Some(Line { subject, path: path(&samples, from, to, top), last, class })
        })
        .collect();
    let ends =
        lines.iter().rev().map(|l| format!("{} {}", l.subject, l.share())).collect::<Vec<_>>().join(", ");
    (!lines.is_empty()).then(|| Chart {
        title,
        summary: format!("{title}. At the end of each line: {ends}."),
        top: words::share(&top),
        middle: words::share(&(top / 2.0)),
        times: [from, from + (to - from) / 2, to].map(|at| told(&at)),
        marks: Vec::new(),
        lines,
    })
}

/// Draws samples between two moments; `None` when there are none.
pub(crate) fn draw(title: &'static str, samples: &[Sample], from: Timestamp, to: Timestamp) -> Option<Chart> {
    let mut by_subject: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in samples.iter().filter(|s| s.at >= from && s.at <= to && s.value.is_finite()) {
        by_subject.entry(&sample.subject).or_default().push(sample);
    }
    let top = ceiling(by_subject.values().flatten().map(|s| s.value).fold(0.0, f64::max));
    let mut lines: Vec<(f64, Line)> = by_subject
        .iter()
        .filter_map(|(subject, samples)| {
            let last = samples.last()?.value;
            let peak = samples.iter().map(|s| s.value).fold(0.0, f64::max);
            let path = path(samples, from, to, top);
            Some((peak, Line { subject: (*subject).to_owned(), path, last, class: "calm" }))
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    // Worst now, then worst in the window: a healed line keeps its colour while its peak is in sight.
    lines.sort_by(|(a_peak, a), (b_peak, b)| a.last.total_cmp(&b.last).then(a_peak.total_cmp(b_peak)));
    for ((peak, line), class) in lines.iter_mut().rev().take(NAMED).zip(["worst-1", "worst-2", "worst-3"]) {
        if *peak >= 0.005 {
            line.class = class;
        }
    }
    let lines: Vec<Line> = lines.into_iter().map(|(_, line)| line).collect();
    let worst =
        lines.iter().rev().take(NAMED).map(|l| format!("{} {}", l.subject, l.share())).collect::<Vec<_>>();
    Some(Chart {
        title,
        summary: format!(
            "{title}, from {} to {}. At the end: {}.",
            from.format("%H:%M"),
            to.format("%H:%M"),
            worst.join(", ")
        ),
        top: words::share(&top),
        middle: words::share(&(top / 2.0)),
        times: [from, from + (to - from) / 2, to].map(|at| words::moment(&at).plain()),
        marks: Vec::new(),
        lines,
    })
}

/// The next round share above the highest value.
fn ceiling(highest: f64) -> f64 {
    [0.02, 0.05, 0.1, 0.2, 0.5].into_iter().find(|top| highest <= *top).unwrap_or(1.0)
}

fn path(samples: &[&Sample], from: Timestamp, to: Timestamp, top: f64) -> String {
    use std::fmt::Write;
    let gap = gap(samples);
    let mut path = String::new();
    let mut before: Option<Timestamp> = None;
    for sample in samples {
        let x = place(sample.at, from, to);
        let y = HEIGHT - (sample.value / top).clamp(0.0, 1.0) * HEIGHT;
        let joined = before.is_some_and(|at| sample.at - at <= gap);
        let _ = write!(path, "{}{x:.1} {y:.1}", if joined { "L" } else { "M" });
        before = Some(sample.at);
    }
    path
}

/// How far two samples may be apart and still be joined: five times what is usual, and two minutes at least.
fn gap(samples: &[&Sample]) -> TimeDelta {
    let mut steps: Vec<TimeDelta> = samples.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    steps.sort();
    steps.get(steps.len() / 2).map_or(TimeDelta::zero(), |usual| *usual * 5).max(TimeDelta::minutes(2))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        DateTime::from_timestamp(minute * 60, 0).unwrap()
    }

    fn samples(subject: &str, values: &[(i64, f64)]) -> Vec<Sample> {
        values
            .iter()
            .map(|(m, value)| Sample { subject: subject.into(), at: at(*m), value: *value })
            .collect()
    }

    #[test]
    fn the_worst_line_stands_out_and_lies_on_top() {
        let mut all = samples("calm", &[(0, 0.0), (30, 0.001), (60, 0.0)]);
        all.extend(samples("sick", &[(0, 0.0), (30, 0.3), (60, 0.45)]));
        let chart = draw("Errors", &all, at(0), at(60)).unwrap();
        assert_eq!(chart.top, "50 %");
        let named: Vec<_> = chart.named().map(|l| (l.subject.as_str(), l.share(), l.class)).collect();
        assert_eq!(named, [("sick", "45 %".to_owned(), "worst-1")]);
        assert_eq!(chart.others(), 1);
    }

    #[test]
    fn a_gap_in_the_samples_is_a_gap_in_the_line() {
        let all = samples("a", &[(0, 0.1), (1, 0.1), (2, 0.1), (40, 0.1), (41, 0.1)]);
        let chart = draw("Errors", &all, at(0), at(60)).unwrap();
        assert_eq!(chart.lines[0].path.matches('M').count(), 2);
    }

    #[test]
    fn what_was_done_is_marked_where_it_was_done() {
        let all = samples("a", &[(0, 0.1), (60, 0.1)]);
        let done = [(at(15), "first"), (at(61), "too late")].map(|(at, says)| (at, says.to_owned()));
        let chart = draw("Errors", &all, at(0), at(60)).unwrap().marked(done.into_iter(), (at(0), at(60)));
        let marks: Vec<_> = chart.marks.iter().map(|m| (m.x, m.says.as_str())).collect();
        assert_eq!(marks, [(250.0, "first")]);
        assert!(chart.summary.ends_with("Changes made meanwhile: 1."));
    }

    #[test]
    fn nothing_is_drawn_from_nothing() {
        assert!(draw("Errors", &[], at(0), at(60)).is_none());
    }
}
