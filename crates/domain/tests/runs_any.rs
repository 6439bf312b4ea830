//! Any run: whatever work brings back, whoever takes over, whatever a person asks, in any order. The state machine never
//! meets an entry that it does not allow, a replayed journal means the same, and every run can be brought to an end.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod runbooks_support;

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use domain::action::{ActionError, Effect, ErrorClass, UndoCall};
use domain::run::{
    Ask, Attempt, Entry, How, Perform, Program, Record, State, StepPath, Takeback, Undo, answer, next,
};
use domain::runbook::parse;
use domain::{Actor, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const RUNBOOK: &str = r#"
runbook: any
title: Any
when: Never
risk: low
locks: [thing]
steps:
  - id: look
    use: autoscaling.describe_refreshes
    with: { region: r, group: g }
  - id: guard
    assert: size(steps.look.active) < 2
    message: too many
    on_failure: pause
  - id: quiet
    use: autoscaling.suspend_processes
    with: { region: r, group: g, processes: [A] }
    finally: undo
  - id: maybe
    if: size(steps.look.active) == 1
    use: autoscaling.set_max_size
    with: { region: r, group: g, max: 3 }
    undo: automatic
    on_failure: continue
  - id: each_one
    each: '["a", "b", "c"]'
    at_once: 2
    steps:
      - id: set
        use: autoscaling.scale_to
        with: { region: r, group: "${item}", desired: 1 }
      - id: value
        value: "${steps.set.desired + 1}"
  - id: last
    use: autoscaling.set_max_size
    with: { region: r, group: g, max: "${steps.each_one[0].value}" }
    undo: automatic
    on_failure: undo
verify:
  use: autoscaling.describe_refreshes
  with: { region: r, group: g }
  until: size(out.active) == 0
  timeout: 1m
  message: still there
"#;

/// Choices: what the test case brings, then always the first (the good one), so that every run ends.
struct Choices(std::vec::IntoIter<u8>);

impl Choices {
    fn one_of(&mut self, n: u8) -> u8 {
        self.0.next().map_or(0, |choice| choice % n)
    }

    fn exhausted(&self) -> bool {
        self.0.len() == 0
    }
}

struct Run {
    program: Program,
    journal: Vec<Record>,
    state: State,
    now: Timestamp,
    epoch: i64,
    inbox: i64,
}

impl Run {
    fn new() -> Self {
        let runbook = Arc::new(parse("any.yaml", RUNBOOK).unwrap_or_else(|e| panic!("{e:?}")));
        let now = DateTime::from_timestamp(1_715_092_200, 0).unwrap();
        let by = Actor::person("ana");
        let entry = Entry::Requested {
            runbook: "any".into(),
            hash: runbook.hash.clone(),
            inputs: Map::new(),
            by,
            reason: None,
            plan_hash: None,
            locks: vec![],
            overrides: Default::default(),
        };
        let first = Record { seq: 1, at: now, epoch: 1, entry };
        let registry = runbooks_support::registry();
        let program = Program {
            runbook,
            registry,
            inputs: json!({}),
            inventory: json!({}).into(),
            run: json!({ "id": "x" }),
        };
        Self { program, state: State::first(&first).unwrap(), journal: vec![first], now, epoch: 1, inbox: 0 }
    }

    fn write(&mut self, entry: Entry) {
        let record = Record { seq: self.state.seq() + 1, at: self.now, epoch: self.epoch, entry };
        self.state.apply(&record).unwrap_or_else(|e| panic!("{e}\n{:#?}\n{record:#?}", self.journal));
        self.journal.push(record);
    }

    /// Everything that follows by itself.
    fn settle(&mut self) -> Vec<Perform> {
        loop {
            let moves = next(&self.program, &self.state, self.now);
            if moves.record.is_empty() {
                if let Some(at) = moves.wake_at {
                    self.now = self.now.max(at);
                }
                return moves.perform;
            }
            for entry in moves.record {
                self.write(entry);
            }
        }
    }

    /// One piece of work comes back, well or not.
    fn perform(&mut self, perform: &Perform, choices: &mut Choices) {
        let step = perform.step().clone();
        let error = |class| ActionError::new(class, "trouble", "it did not work");
        let trouble = [ErrorClass::Transient, ErrorClass::Busy, ErrorClass::Refused, ErrorClass::Gone];
        match perform {
            Perform::Look { .. } => match choices.one_of(4) {
                0 | 1 => {
                    let active: Vec<_> = (0..choices.one_of(3)).map(|n| n.to_string()).collect();
                    self.write(Entry::Done { step, output: json!({ "active": active }), how: How::Looked });
                }
                2 => self.write(Entry::Observed { step, output: json!({ "active": ["x"] }) }),
                _ => {
                    let class = trouble[usize::from(choices.one_of(4))];
                    self.write(perform.failed(&self.attempts(&step), error(class), self.now));
                }
            },
            Perform::Change { attempt, action, input, undo, .. } => {
                let output = json!({ "desired": 1, "max": 1, "suspended": [] });
                match choices.one_of(6) {
                    1 => return self.write(Entry::Done { step, output, how: How::AlreadySo }),
                    2 => {
                        let attempts = self.attempts(&step);
                        return self.write(perform.failed(&attempts, error(ErrorClass::Transient), self.now));
                    }
                    _ => {}
                }
                let call = UndoCall { action: action.clone(), input: input.clone() };
                let intent = Entry::Intent {
                    step: step.clone(),
                    attempt: *attempt,
                    action: action.clone(),
                    input: input.clone(),
                    facts: Value::Null,
                    effect: if choices.one_of(2) == 0 { Effect::Idempotent } else { Effect::Blind },
                    deadline: self.now,
                    undo: undo.map(|finally| Undo { call, finally }),
                };
                let before = self.attempts(&step);
                self.write(intent);
                match choices.one_of(5) {
                    0 | 1 => self.write(Entry::Done { step, output, how: How::Called { request_id: None } }),
                    2 => self.write(Entry::Unclear { step, error: error(ErrorClass::Unknown) }),
                    3 => self.take_over(),
                    _ => {
                        let class = trouble[usize::from(choices.one_of(4))];
                        self.write(perform.failed(&before, error(class), self.now));
                    }
                }
            }
            Perform::Recover { attempt, intent, .. } => match choices.one_of(3) {
                0 => {
                    let output = json!({ "desired": 1, "max": 1, "suspended": [] });
                    self.write(Entry::Done { step, output, how: How::FoundDone });
                }
                1 => self.write(Entry::AttemptFailed {
                    step,
                    attempt: *attempt,
                    error: error(ErrorClass::Transient),
                    retry_at: self.now,
                }),
                _ if intent.effect == Effect::Blind => {
                    self.write(Entry::OutcomeUnknown { step, facts: Value::Null });
                }
                _ => {}
            },
        }
    }

    fn attempts(&self, step: &StepPath) -> Vec<Attempt> {
        self.state.node(step).map_or_else(Vec::new, |n| n.attempts.clone())
    }

    fn take_over(&mut self) {
        self.epoch += 1;
        self.write(Entry::TakenOver { worker: self.epoch });
    }

    /// A person asks for something; impossible wishes are answered too.
    fn ask(&mut self, ask: Ask) {
        self.inbox += 1;
        let refused = answer(&self.state, &ask).err().map(|e| e.0);
        self.write(Entry::Asked { inbox: self.inbox, by: Actor::person("ana"), ask, refused });
    }

    fn some_wish(&mut self, choices: &mut Choices) {
        let steps: Vec<StepPath> = self.state.nodes().map(|(path, _)| path.clone()).collect();
        let Some(step) = steps.get(usize::from(choices.one_of(32)) % steps.len().max(1)).cloned() else {
            return;
        };
        let reason = "why not".to_owned();
        self.ask(match choices.one_of(7) {
            0 => Ask::Pause { reason: None },
            1 => Ask::Resume,
            2 => Ask::Retry { step },
            3 => Ask::Skip { step, reason },
            4 => Ask::MarkDone { step, reason, output: Value::Null },
            5 => Ask::Abort { takeback: Takeback::Finally, reason },
            _ => Ask::Abort { takeback: Takeback::All, reason },
        });
    }

    /// What a person does who wants it to be over.
    fn help(&mut self) {
        let blocked = self.state.blocked().map(|(step, _)| step.clone()).next();
        if let Some(step) = blocked {
            self.ask(Ask::Skip { step, reason: "to an end".into() });
        } else if self.state.held().is_some() {
            self.ask(Ask::Resume);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_run_is_legal_replays_and_can_be_brought_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let mut choices = Choices(bytes.into_iter());
        let mut run = Run::new();
        for turn in 0.. {
            prop_assert!(turn < 2000, "it never ends: {:#?}", &run.journal[run.journal.len() - 10..]);
            let work = run.settle();
            if run.state.outcome().is_some() {
                break;
            }
            if choices.exhausted() && work.is_empty() {
                run.help();
                continue;
            }
            match choices.one_of(8) {
                6 => run.some_wish(&mut choices),
                7 => run.take_over(),
                _ => {
                    let n = usize::from(choices.one_of(8));
                    if let Some(perform) = work.get(n % work.len().max(1)) {
                        run.perform(perform, &mut choices);
                    }
                }
            }
            run.now += TimeDelta::seconds(1);
        }
        let replayed = State::replay(&run.journal).unwrap();
        prop_assert_eq!(&replayed, &run.state);
        prop_assert!(run.state.in_flight().next().is_none(), "nothing is left in the air");
        let through_json: Vec<Record> =
            serde_json::from_value(serde_json::to_value(&run.journal).unwrap()).unwrap();
        prop_assert_eq!(through_json, run.journal);
    }
}
