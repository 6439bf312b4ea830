//! What a step costs in the rules alone, `next` and `State::apply`: without a store, a clock or a world.
//!
//! Every run goes well to its end, and is asked what follows as often as the engine asks: after everything that is written,
//! and once more when an intent is about to be (is that change still to be made?). `cargo bench -p domain --bench walk`
//! prints microseconds per step: the best of some rounds, because on a machine with other work only the best is our own.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a program for the terminal, which stops at the first surprise"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::action::{ActionError, Change, Ctx, Effect, ObjectChange, Registry, UndoCall};
use domain::inventory::Inventory;
use domain::run::{Entry, How, Moves, Perform, Program, Record, State, next};
use domain::runbook::{check_all, descend, render};
use domain::{Actor, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

/// How often each is measured.
const ROUNDS: usize = 20;

fn main() {
    let literal = |n: u32| n.to_string();
    let named = |n: u32| if n == 1 { "1".into() } else { format!("'${{steps.s{}.value}}'", n - 1) };
    println!("{:>34} {:>8} {:>8}  us per step", "", "next", "apply");
    measure("ten steps", &ten(&literal), 10.0, 100);
    measure("ten, each names the one before", &ten(&named), 10.0, 100);
    measure("three steps for each of a hundred", &each(), 300.0, 1);
}

fn measure(what: &str, text: &str, steps: f64, runs: u32) {
    let program = program(text);
    let mut best = Cost { next: Duration::MAX, apply: Duration::MAX };
    for _ in 0..ROUNDS {
        let mut cost = Cost::default();
        for _ in 0..runs {
            run(&program, &mut cost);
        }
        best = Cost { next: best.next.min(cost.next), apply: best.apply.min(cost.apply) };
    }
    let per_step = |time: Duration| time.as_secs_f64() * 1e6 / steps / f64::from(runs);
    println!("{what:>34} {:>8.2} {:>8.2}", per_step(best.next), per_step(best.apply));
}

#[derive(Default)]
struct Cost {
    next: Duration,
    apply: Duration,
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    *total += begun.elapsed();
    done
}

/// One run, to its end.
fn run(program: &Program, cost: &mut Cost) {
    let at = Timestamp::UNIX_EPOCH;
    let mut state = State::first(&requested(program, at)).unwrap();
    let follows = |state: &State, cost: &mut Cost| timed(&mut cost.next, || next(program, state, at));
    let write = |state: &mut State, cost: &mut Cost, entry: Entry| {
        let record = Record { seq: state.seq() + 1, at, epoch: 1, entry };
        timed(&mut cost.apply, || state.apply(&record)).unwrap();
    };
    let settle = |state: &mut State, cost: &mut Cost| -> Moves {
        loop {
            let mut moves = follows(state, cost);
            if moves.record.is_empty() {
                return moves;
            }
            for entry in std::mem::take(&mut moves.record) {
                write(state, cost, entry);
            }
        }
    };
    loop {
        let mut moves = settle(&mut state, cost);
        if state.outcome().is_some() {
            return;
        }
        let Perform::Change { step, attempt, action, input, .. } = moves.perform.swap_remove(0) else {
            panic!("nothing but changes is asked for")
        };
        settle(&mut state, cost);
        let intent = Entry::Intent {
            step: step.clone(),
            attempt,
            action,
            input,
            facts: json!({ "value": 0 }).into(),
            effect: Effect::Idempotent,
            deadline: at,
            undo: None,
        };
        write(&mut state, cost, intent);
        settle(&mut state, cost);
        let how = How::Called { request_id: None };
        write(&mut state, cost, Entry::Done { step, output: json!({ "value": 1 }).into(), how });
    }
}

fn requested(program: &Program, at: Timestamp) -> Record {
    let entry = Entry::Requested {
        runbook: program.runbook.name.clone(),
        hash: program.runbook.hash.clone(),
        inputs: Map::new(),
        by: Actor::person("ana"),
        reason: None,
        plan_hash: None,
        locks: Vec::new(),
        children: program.pins(),
        overrides: Default::default(),
    };
    Record { seq: 1, at, epoch: 1, entry }
}

fn program(text: &str) -> Program {
    let registry = Registry::default().changing(Set);
    let checked = check_all([("bench.yaml".into(), text.into())], &registry).remove(0);
    let runbook = checked.runbook.unwrap_or_else(|m| panic!("{}", render(&checked.file, text, &m, false)));
    Program {
        children: descend(&runbook, |_| None),
        runbook,
        registry,
        inputs: json!({}).into(),
        inventory: json!({}).into(),
        places: Arc::new(Inventory::default()),
        run: json!({ "id": "x" }).into(),
        window: Duration::ZERO,
    }
}

/// Ten changes.
fn ten(value: &dyn Fn(u32) -> String) -> String {
    let step = |n| {
        let value = value(n);
        format!("  - id: s{n}\n    use: bench.set\n    with: {{ name: n{n}, value: {value} }}\n")
    };
    header() + &(1..=10).map(step).collect::<String>()
}

/// Three changes for each of a hundred items, ten at the same time.
fn each() -> String {
    let step = |n| {
        format!(
            "      - id: s{n}\n        use: bench.set\n        with: {{ name: '${{item}}', value: {n} }}\n"
        )
    };
    let items: Vec<_> = (0..100).map(|n| format!("\"i{n}\"")).collect();
    let each = format!("  - id: all\n    each: '[{}]'\n    at_once: 10\n    steps:\n", items.join(", "));
    header() + &each + &(1..=3).map(step).collect::<String>()
}

fn header() -> String {
    "runbook: bench\ntitle: Bench\nwhen: In benchmarks\nrisk: low\nlocks: [bench]\nsteps:\n".into()
}

/// Sets a number that nobody keeps.
struct Set;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Target {
    #[expect(dead_code, reason = "for the checker")]
    name: String,
    #[expect(dead_code, reason = "for the checker")]
    value: i64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Number {
    value: i64,
}

impl Change for Set {
    const NAME: &'static str = "bench.set";
    const SUMMARY: &'static str = "Sets a number that nobody keeps";
    const PERMISSIONS: &'static [&'static str] = &[];
    const EFFECT: Effect = Effect::Idempotent;
    const UNDOABLE: bool = false;
    type Input = Target;
    type Facts = Number;
    type Output = Number;

    async fn observe(&self, _ctx: &Ctx, _input: &Target) -> Result<Number, ActionError> {
        Ok(Number { value: 0 })
    }

    fn settled(&self, _input: &Target, _facts: &Number) -> Option<Number> {
        None
    }

    fn plan(&self, _input: &Target, _facts: &Number) -> Result<Vec<ObjectChange>, ActionError> {
        Ok(Vec::new())
    }

    fn predict(&self, _input: &Target, _facts: &Number) -> Option<Number> {
        None
    }

    async fn apply(&self, _ctx: &Ctx, _input: &Target, facts: &Number) -> Result<Number, ActionError> {
        Ok(Number { value: facts.value })
    }

    fn undo(&self, _input: &Target, _facts: &Number) -> Option<UndoCall> {
        None
    }

    fn command(&self, _input: &Target) -> String {
        String::new()
    }
}
