//! A run without an engine: what a driver does, with the outside played by choices.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use domain::action::{ActionError, Effect, ErrorClass, UndoCall};
use domain::inventory::Inventory;
use domain::run::{
    Ask, Attempt, Entry, How, Moves, Perform, Program, Record, State, StepPath, Takeback, Undo, answer, next,
};
use domain::runbook::{check_all, descend, render};
use domain::{Actor, Timestamp};
use serde_json::{Map, Value, json};

use crate::runbooks_support::registry;

/// Choices: what the test case brings, then always the first (the good one), so that every run ends.
pub(crate) struct Choices(std::vec::IntoIter<u8>);

impl Choices {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into_iter())
    }

    pub(crate) fn one_of(&mut self, n: u8) -> u8 {
        self.0.next().map_or(0, |choice| choice % n)
    }

    pub(crate) fn exhausted(&self) -> bool {
        self.0.len() == 0
    }
}

/// Work under way, as a driver keeps it.
#[derive(Clone)]
pub(crate) struct Work {
    pub(crate) perform: Perform,
    /// The step's attempts when it was set going.
    attempts: Vec<Attempt>,
    /// Its intent is committed, and the call made.
    called: bool,
}

pub(crate) struct Run {
    pub(crate) program: Program,
    pub(crate) journal: Vec<Record>,
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    pub(crate) working: BTreeMap<StepPath, Work>,
    /// What may be announced.
    proposed: BTreeSet<StepPath>,
    epoch: i64,
    inbox: i64,
}

impl Run {
    /// A run of the first of these runbooks (name and text); the others are there to be run by it.
    pub(crate) fn new(books: &[(&str, String)]) -> Self {
        let files = books.iter().map(|(name, text)| (format!("{name}.yaml"), text.clone()));
        let checked = check_all(files, &registry());
        let mut sound = BTreeMap::new();
        for book in checked {
            let picture = |m: Vec<_>| format!("{}\n{}", render(&book.file, &book.text, &m, false), book.text);
            sound.insert(book.name, book.runbook.unwrap_or_else(|m| panic!("{}", picture(m))));
        }
        let runbook = Arc::clone(&sound[books[0].0]);
        let children = descend(&runbook, |name| sound.get(name).cloned());
        let now = DateTime::from_timestamp(1_715_092_200, 0).unwrap();
        let program = Program {
            runbook,
            children,
            registry: registry(),
            inputs: json!({}).into(),
            inventory: json!({}).into(),
            places: Arc::new(Inventory::default()),
            run: json!({ "id": "x" }).into(),
            window: Duration::from_secs(300),
        };
        let entry = Entry::Requested {
            runbook: books[0].0.into(),
            hash: program.runbook.hash.clone(),
            inputs: Map::new(),
            by: Actor::person("ana"),
            reason: None,
            plan_hash: None,
            locks: program.at_start().unwrap().locks,
            children: program.pins(),
            overrides: Default::default(),
        };
        let first = Record { seq: 1, at: now, epoch: 1, entry };
        let state = State::first(&first).unwrap();
        let (working, proposed) = (BTreeMap::new(), BTreeSet::new());
        Self { program, state, journal: vec![first], now, working, proposed, epoch: 1, inbox: 0 }
    }

    pub(crate) fn write(&mut self, entry: Entry) {
        let record = Record { seq: self.state.seq() + 1, at: self.now, epoch: self.epoch, entry };
        self.state.apply(&record).unwrap_or_else(|e| panic!("{e}\n{:#?}\n{record:#?}", self.journal));
        self.journal.push(record);
        let state = &self.state;
        let over = |step: &StepPath| state.node(step).is_some_and(|n| n.status.is_over());
        self.working.retain(|step, work| !matches!(work.perform, Perform::Look { .. }) || !over(step));
    }

    /// Everything that follows by itself; then work is set going. When nothing can be done before some time, it passes.
    pub(crate) fn settle(&mut self) {
        loop {
            let moves = next(&self.program, &self.state, self.now);
            if moves.record.is_empty() {
                self.stands(&moves);
                self.proposed = moves.perform.iter().map(|p| p.step().clone()).collect();
                for perform in moves.perform {
                    let step = perform.step().clone();
                    let attempts = self.state.node(&step).map_or_else(Vec::new, |n| n.attempts.clone());
                    let work = Work { perform, attempts, called: false };
                    self.working.entry(step).or_insert(work);
                }
                if let Some(at) = moves.wake_at.filter(|_| self.working.is_empty()) {
                    self.now = self.now.max(at);
                    if next(&self.program, &self.state, self.now).wake_at != Some(at) {
                        continue;
                    }
                }
                return;
            }
            for entry in moves.record {
                self.write(entry);
            }
        }
    }

    /// What is to be done does not change with time alone, before `wake_at`: whoever drives a run asks again only then.
    fn stands(&self, moves: &Moves) {
        let steps = |moves: &Moves| moves.perform.iter().map(|p| p.step().clone()).collect::<Vec<_>>();
        let long = self.now + TimeDelta::days(300);
        let just_before = moves.wake_at.map_or(long, |at| at - TimeDelta::microseconds(1)).max(self.now);
        let later = next(&self.program, &self.state, just_before);
        assert!(later.record.is_empty(), "at {just_before}: {:#?}", later.record);
        assert_eq!((steps(&later), later.wake_at), (steps(moves), moves.wake_at));
    }

    /// The names of what is under way.
    pub(crate) fn under_way(&self) -> Vec<String> {
        self.working.keys().map(ToString::to_string).collect()
    }

    /// Everything goes well until the run has ended or waits for a person.
    pub(crate) fn go(&mut self) {
        self.settle();
        while let Some(step) = self.working.keys().next().cloned() {
            self.well(step.as_str());
            self.settle();
        }
    }

    /// A piece of work goes well.
    pub(crate) fn well(&mut self, step: &str) {
        let mut good = Choices::new(Vec::new());
        self.advance(step, &mut good);
        if self.working.get(&StepPath::from(step)).is_some_and(|w| w.called) {
            self.advance(step, &mut good);
        }
    }

    /// A piece of work fails for good.
    pub(crate) fn fails(&mut self, step: &str) {
        self.fails_with(step, "trouble");
    }

    /// A wait saw to its end that what it waits for is not there.
    pub(crate) fn times_out(&mut self, step: &str) {
        self.fails_with(step, "timeout");
    }

    fn fails_with(&mut self, step: &str, code: &str) {
        let work = self.working.remove(&StepPath::from(step)).unwrap_or_else(|| panic!("{step}"));
        let error = ActionError::refused(code, format!("{step} did not work"));
        self.write(work.perform.failed(&work.attempts, error, self.now));
        self.settle();
    }

    /// A piece of work comes a bit further, well or not.
    pub(crate) fn advance(&mut self, step: &str, choices: &mut Choices) {
        let path = StepPath::from(step);
        let Some(work) = self.working.remove(&path) else {
            panic!("{step} is not under way: {:?}", self.under_way())
        };
        if self.state.node(&path).is_some_and(|n| n.status.is_over()) {
            return;
        }
        let error = |class| ActionError::new(class, "trouble", "it did not work");
        let trouble = [ErrorClass::Transient, ErrorClass::Busy, ErrorClass::Refused, ErrorClass::Gone];
        let output = Arc::new(json!({ "desired": 1, "max": 1, "suspended": [] }));
        match &work.perform {
            Perform::Look { .. } => match choices.one_of(4) {
                0 | 1 => {
                    let active: Vec<_> = (0..choices.one_of(3)).map(|n| n.to_string()).collect();
                    self.write(Entry::Done {
                        step: path,
                        output: json!({ "active": active }).into(),
                        how: How::Looked,
                    });
                }
                2 => {
                    self.write(Entry::Observed {
                        step: path.clone(),
                        output: json!({ "active": ["x"] }).into(),
                    });
                    self.working.insert(path, work);
                }
                _ => {
                    let class = trouble[usize::from(choices.one_of(4))];
                    self.write(work.perform.failed(&work.attempts, error(class), self.now));
                }
            },
            Perform::Change { .. } if work.called => match choices.one_of(5) {
                0 | 1 => {
                    self.write(Entry::Done { step: path, output, how: How::Called { request_id: None } });
                }
                2 => self.write(Entry::Unclear { step: path, error: error(ErrorClass::Unknown) }),
                3 => {
                    self.working.insert(path, work);
                    self.take_over();
                }
                _ => {
                    let class = trouble[usize::from(choices.one_of(4))];
                    self.write(work.perform.failed(&work.attempts, error(class), self.now));
                }
            },
            Perform::Change { attempt, action, input, undo, .. } => match choices.one_of(6) {
                1 => self.write(Entry::Done { step: path, output, how: How::AlreadySo }),
                2 => self.write(work.perform.failed(&work.attempts, error(ErrorClass::Transient), self.now)),
                // What the run went on without is not announced any more.
                _ if !self.proposed.contains(&path) => {}
                _ => {
                    let call = UndoCall::new(action.clone(), Value::clone(input));
                    self.write(Entry::Intent {
                        step: path.clone(),
                        attempt: *attempt,
                        action: action.clone(),
                        input: input.clone(),
                        facts: Arc::default(),
                        effect: if choices.one_of(2) == 0 { Effect::Idempotent } else { Effect::Blind },
                        deadline: self.now,
                        undo: undo.map(|finally| Undo { call, finally }),
                    });
                    self.working.insert(path, Work { called: true, ..work });
                }
            },
            Perform::Recover { attempt, intent, hurried, .. } => match choices.one_of(3) {
                0 => self.write(Entry::Done { step: path, output, how: How::FoundDone }),
                1 => self.write(Entry::AttemptFailed {
                    step: path,
                    attempt: *attempt,
                    error: error(ErrorClass::Transient),
                    retry_at: self.now,
                }),
                _ if *hurried || intent.effect == Effect::Blind => {
                    self.write(Entry::OutcomeUnknown { step: path, facts: Value::Null });
                }
                _ => {}
            },
        }
    }

    /// The answer of a call that nobody can look for is lost, and a person is asked.
    pub(crate) fn loses_sight(&mut self, step: &str) {
        // Announced as blind, unanswered, and not to be looked for.
        self.advance(step, &mut Choices::new(vec![0, 1]));
        self.advance(step, &mut Choices::new(vec![2]));
        self.settle();
        self.advance(step, &mut Choices::new(vec![2]));
    }

    /// The worker is gone with all it was doing.
    pub(crate) fn take_over(&mut self) {
        self.epoch += 1;
        self.working.clear();
        self.write(Entry::TakenOver { worker: self.epoch });
    }

    /// A person asks for something; impossible wishes are answered too.
    pub(crate) fn ask(&mut self, ask: Ask) {
        self.inbox += 1;
        let refused = answer(&self.state, &ask).err().map(|e| e.0);
        self.write(Entry::Asked { inbox: self.inbox, by: Actor::person("ana"), ask, refused });
    }

    pub(crate) fn some_wish(&mut self, choices: &mut Choices) {
        let steps: Vec<StepPath> = self.state.nodes().map(|(path, _)| path.clone()).collect();
        let Some(step) = steps.get(usize::from(choices.one_of(32)) % steps.len().max(1)).cloned() else {
            return;
        };
        let reason = "why not".to_owned();
        self.ask(match choices.one_of(9) {
            0 => Ask::Pause { reason: None },
            1 => Ask::Resume,
            2 => Ask::Retry { step },
            3 => Ask::Skip { step, reason },
            4 => Ask::MarkDone { step, reason, output: Value::Null },
            5 => Ask::Abort { takeback: Takeback::Finally, reason },
            6 => Ask::DidNotHappen { step, reason },
            7 => Ask::StopLooking { step },
            _ => Ask::Abort { takeback: Takeback::All, reason },
        });
    }

    /// What a person does who wants it to be over.
    pub(crate) fn help(&mut self) {
        let blocked = self.state.blocked().map(|(step, _)| step.clone()).next();
        if let Some(step) = blocked {
            self.ask(Ask::Skip { step, reason: "to an end".into() });
        } else if self.state.held().is_some() {
            self.ask(Ask::Resume);
        }
    }
}
