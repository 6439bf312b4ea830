//! Any run of any runbook: all step forms inside each other, whatever work brings back, whoever takes over, whatever a
//! person asks, in any order. The state machine never meets an entry that it does not allow, any prefix of a journal can
//! be gone on from, no change is made twice without a reason in the journal, and every run can be brought to an end.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod runbooks_support;
#[expect(dead_code, reason = "each test file uses its own part")]
mod runs_support;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::TimeDelta;
use domain::run::{Ask, Entry, Record, State, StepPath, next};
use proptest::prelude::*;
use runs_support::{Choices, Run};

/// Writes runbooks by choices.
struct Author<'c> {
    choices: &'c mut Choices,
    /// Ids are used once, so that no name is taken.
    ids: u32,
    /// The runbook that may be run.
    child: Option<&'static str>,
}

impl Author<'_> {
    fn book(&mut self, name: &str, child: Option<&'static str>) -> String {
        self.child = child;
        let mut text = format!(
            "runbook: {name}\ntitle: Any\nwhen: Never\nrisk: low\nlocks: [thing]\n\
             inputs:\n  group: {{ type: string, default: g, description: Which }}\nsteps:\n"
        );
        self.steps(&mut text, 2, 0);
        if self.choices.one_of(2) == 1 {
            text.push_str(
                "verify:\n  use: autoscaling.describe_refreshes\n  with: { region: r, group: g }\n  \
                 until: size(out.active) == 0\n  timeout: 1m\n  message: still there\n",
            );
        }
        text
    }

    fn steps(&mut self, text: &mut String, indent: usize, depth: usize) {
        for _ in 0..=self.choices.one_of(3) {
            self.step(text, indent, depth);
        }
    }

    fn step(&mut self, text: &mut String, indent: usize, depth: usize) {
        self.ids += 1;
        let pad = " ".repeat(indent);
        writeln!(text, "{pad}- id: s{}", self.ids).unwrap();
        let pad = " ".repeat(indent + 2);
        // The nesting ends somewhere.
        let form = self.choices.one_of(if depth < 2 { 11 } else { 8 });
        let max = "use: autoscaling.set_max_size\nwith: { region: r, group: g, max: 3 }\n";
        let lines = match form {
            0 => "use: autoscaling.describe_refreshes\nwith: { region: r, group: g }".to_owned(),
            1 => "use: autoscaling.scale_to\nwith: { region: r, group: g, desired: 1 }".to_owned(),
            2 => format!("{max}{}", self.pick(&["undo: automatic", "finally: undo"])),
            3 => format!("assert: {}\nmessage: it does not hold", self.pick(&["1 == 1", "1 == 2"])),
            4 => "value: \"${1 + 2}\"".to_owned(),
            5 => "wait: 5m".to_owned(),
            6 => {
                let undo = self.pick(&["", "undo: automatic", "finally: undo"]);
                format!("each: '[\"a\", \"b\", \"c\"]'\n{}{undo}", max.replace("group: g", "group: \"${item}\""))
            }
            7 => "use: autoscaling.describe_refreshes\nwith: { region: r, group: g }\nuntil: size(out.active) == 0\ntimeout: 1m"
                .to_owned(),
            8 => "each: '[\"a\", \"b\", \"c\"]'".to_owned(),
            9 => String::new(),
            _ => self.child.map_or("wait: 10s".to_owned(), |child| format!("run: {child}\nwith: {{ group: h }}")),
        };
        let counts = if matches!(form, 6 | 8) {
            let at_once = self.pick(&["1", "2", "50%", "100%"]);
            format!(
                "at_once: {at_once}\n{}",
                self.pick(&["", "stop_after: 1", "stop_after: 2", "stop_after: 70%"])
            )
        } else {
            String::new()
        };
        let on_failure = self.pick(&[
            "",
            "on_failure: continue",
            "on_failure: pause",
            "on_failure: undo",
            "on_failure: fail",
        ]);
        let condition = self.pick(&["", "", "", "", "if: 1 == 1", "if: 1 == 2"]);
        for line in [lines.as_str(), &counts, on_failure, condition].into_iter().flat_map(str::lines) {
            writeln!(text, "{pad}{line}").unwrap();
        }
        match form {
            8 => {
                writeln!(text, "{pad}steps:").unwrap();
                self.steps(text, indent + 4, depth + 1);
            }
            9 => {
                writeln!(text, "{pad}together:").unwrap();
                for branch in ["left", "right"] {
                    writeln!(text, "{pad}  {branch}:").unwrap();
                    self.steps(text, indent + 6, depth + 1);
                }
            }
            _ => {}
        }
    }

    fn pick(&mut self, of: &[&'static str]) -> &'static str {
        of[usize::from(self.choices.one_of(u8::try_from(of.len()).unwrap()))]
    }
}

/// A runbook that runs another one, which runs a third.
fn books(bytes: Vec<u8>) -> Vec<(&'static str, String)> {
    let mut choices = Choices::new(bytes);
    let mut author = Author { choices: &mut choices, ids: 0, child: None };
    ["any", "inner", "innermost"]
        .into_iter()
        .zip([Some("inner"), Some("innermost"), None])
        .map(|(name, child)| (name, author.book(name, child)))
        .collect()
}

/// Between two intents of a step stands why: an attempt that failed, or a person who asked for it.
fn each_change_has_its_reason(journal: &[Record]) {
    let mut last: BTreeMap<&StepPath, usize> = BTreeMap::new();
    for (n, record) in journal.iter().enumerate() {
        let Entry::Intent { step, .. } = &record.entry else { continue };
        if let Some(before) = last.insert(step, n) {
            let reason = journal[before..n].iter().any(|record| match &record.entry {
                Entry::AttemptFailed { step: failed, .. } => failed == step,
                Entry::Asked {
                    ask: Ask::Retry { step: asked } | Ask::DidNotHappen { step: asked, .. },
                    refused: None,
                    ..
                } => asked == step || step.is_inside(asked),
                _ => false,
            });
            assert!(reason, "{step} is changed again without a reason: {journal:#?}");
        }
    }
}

/// The journal means the state; and after a prefix, whatever follows is legal. Every fourth one is tried: the cases differ.
fn prefixes_can_be_gone_on_from(run: &Run) {
    let mut state = State::first(&run.journal[0]).unwrap();
    for record in &run.journal[1..] {
        if state.seq() % 4 != 0 {
            state.apply(record).unwrap();
            continue;
        }
        let mut ahead = state.clone();
        let moves = next(&run.program, &ahead, record.at);
        for entry in moves.record {
            let next = Record { seq: ahead.seq() + 1, at: record.at, epoch: ahead.epoch(), entry };
            ahead.apply(&next).unwrap_or_else(|e| panic!("{e}: {next:#?}"));
        }
        state.apply(record).unwrap();
    }
    assert_eq!(state, run.state);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_run_is_legal_replays_and_can_be_brought_to_an_end(
        text in prop::collection::vec(any::<u8>(), 0..120),
        bytes in prop::collection::vec(any::<u8>(), 0..160),
    ) {
        let mut choices = Choices::new(bytes);
        let mut run = Run::new(&books(text));
        for turn in 0.. {
            prop_assert!(turn < 4000, "it never ends: {:#?}", &run.journal[run.journal.len().saturating_sub(10)..]);
            run.settle();
            if run.state.outcome().is_some() {
                break;
            }
            if choices.exhausted() && run.working.is_empty() {
                run.help();
                continue;
            }
            match choices.one_of(8) {
                6 => run.some_wish(&mut choices),
                7 => run.take_over(),
                _ => {
                    let n = usize::from(choices.one_of(8));
                    let work = run.under_way();
                    if let Some(step) = work.get(n % work.len().max(1)) {
                        run.advance(step, &mut choices);
                    }
                }
            }
            run.now += TimeDelta::seconds(1);
        }
        prop_assert!(run.state.in_flight().next().is_none(), "nothing is left in the air");
        each_change_has_its_reason(&run.journal);
        prefixes_can_be_gone_on_from(&run);
        let through_json: Vec<Record> =
            serde_json::from_value(serde_json::to_value(&run.journal).unwrap()).unwrap();
        prop_assert_eq!(through_json, run.journal);
    }
}
