//! Any run behind a gate: whoever speaks, whatever drifts, whoever takes over, in any order. Nothing begins before enough
//! others have agreed to the very plan and the locks are held; and every run can be brought to an end.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod runbooks_support;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use domain::brake::{Brake, Freeze};
use domain::plan::{Plan, PlannedOutcome, PlannedStep, Verdict, differences};
use domain::run::{
    Ask, Doorstep, Entry, Gate, How, Outcome, Perform, Program, Record, Ruling, State, StepPath, Takeback,
    acceptable, answer_to, next,
};
use domain::runbook::{Approval, Risk, parse};
use domain::{Actor, Role, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const RUNBOOK: &str = r#"
runbook: any
title: Any
when: Never
risk: severe
locks: [thing]
steps:
  - id: look
    use: autoscaling.describe_refreshes
    with: { region: r, group: g }
  - id: agree
    approve: { by: responder, count: 2, within: 1m, otherwise: pause }
    message: "There are ${size(steps.look.active)}."
  - id: who
    value: "${size(steps.agree.approved_by)}"
"#;

const PEOPLE: [(&str, Role); 6] = [
    ("ana", Role::Admin),
    ("ana", Role::Approver),
    ("bob", Role::Approver),
    ("cy", Role::Approver),
    ("dee", Role::Responder),
    ("eve", Role::Viewer),
];

fn person(n: usize) -> Actor {
    let (name, role) = PEOPLE[n % PEOPLE.len()];
    Actor::with_role(name, role)
}

struct Choices(std::vec::IntoIter<u8>);

impl Choices {
    fn one_of(&mut self, n: u8) -> u8 {
        self.0.next().map_or(0, |choice| choice % n)
    }
}

struct Run {
    program: Program,
    journal: Vec<Record>,
    state: State,
    now: Timestamp,
    epoch: i64,
    inbox: i64,
    /// Has it stood still at the gate, with freezes and limits asked for long ago?
    stood: bool,
}

/// The plan as the world is in its `n`-th way.
fn plan(n: u8) -> Plan {
    let inputs = Map::from_iter([("n".to_owned(), Value::from(n))]);
    let mut plan = Plan {
        runbook: "any".into(),
        runbook_hash: "h".into(),
        title: "Any".into(),
        risk: Risk::Severe,
        impact: None,
        inputs,
        locks: vec![],
        brakes: vec![],
        foreign: vec![],
        children: Default::default(),
        forecast: None,
        steps: vec![],
        verdict: Verdict::Ready,
        customers_percent: 0.0,
        at: DateTime::UNIX_EPOCH,
        hash: String::new(),
    };
    plan.hash = plan.digest();
    plan
}

fn freeze(now: Timestamp) -> Brake {
    Brake::Freeze(Freeze {
        id: Default::default(),
        scope: "*".into(),
        starts: now - TimeDelta::hours(1),
        ends: now + TimeDelta::hours(1),
        reason: "holidays".into(),
        by: "zoe".into(),
        uid: None,
    })
}

impl Run {
    fn new(approval: Option<Approval>, planned: bool) -> Self {
        let runbook = Arc::new(parse("any.yaml", RUNBOOK).unwrap_or_else(|e| panic!("{e:?}")));
        let now = DateTime::from_timestamp(1_715_092_200, 0).unwrap();
        let requested = Entry::Requested {
            runbook: "any".into(),
            hash: runbook.hash.clone(),
            inputs: Map::new(),
            by: Actor::person("ana"),
            reason: None,
            plan_hash: planned.then(|| plan(0).hash),
            locks: vec!["thing".into()],
            overrides: Default::default(),
            children: Default::default(),
        };
        let first = Record { seq: 1, at: now, epoch: 1, entry: requested };
        let registry = runbooks_support::registry();
        let program = Program {
            runbook,
            children: Default::default(),
            registry,
            inputs: json!({}).into(),
            inventory: json!({}).into(),
            places: Default::default(),
            run: json!({ "id": "x" }).into(),
            window: Duration::ZERO,
        };
        let state = State::first(&first).unwrap();
        let journal = vec![first];
        let mut run = Self { program, state, journal, now, epoch: 1, inbox: 0, stood: false };
        run.write(Entry::Gated { approval });
        run
    }

    fn try_write(&mut self, entry: Entry) -> Result<(), String> {
        let record = Record { seq: self.state.seq() + 1, at: self.now, epoch: self.epoch, entry };
        let mut ahead = self.state.clone();
        ahead.apply(&record).map_err(|e| e.to_string())?;
        let goes_on = match &record.entry {
            Entry::TakenOver { .. } => true,
            Entry::Asked { ask, refused, .. } => {
                refused.is_none() && matches!(ask, Ask::Resume | Ask::BeginDespite { .. })
            }
            _ => false,
        };
        match &record.entry {
            _ if goes_on => self.stood |= self.state.gate().is_some(),
            // Asked for right before it.
            Entry::Admitted { .. } => self.stood = false,
            _ => {}
        }
        self.state = ahead;
        self.journal.push(record);
        Ok(())
    }

    fn write(&mut self, entry: Entry) {
        self.try_write(entry).unwrap_or_else(|e| panic!("{e}\n{:#?}", self.journal));
    }

    /// Everything that follows by itself; how long nothing would happen otherwise.
    fn settle(&mut self) -> (Vec<Perform>, Option<Doorstep>, Option<Timestamp>) {
        loop {
            let moves = next(&self.program, &self.state, self.now);
            if moves.record.is_empty() {
                return (moves.perform, moves.gate, moves.wake_at);
            }
            for entry in moves.record {
                self.write(entry);
            }
        }
    }

    fn ask(&mut self, by: Actor, ask: Ask) -> Result<(), String> {
        self.inbox += 1;
        let refused = acceptable(&self.state, &ask, self.now)
            .and_then(|()| answer_to(&self.state, &by, &ask))
            .err()
            .map(|e| e.0);
        self.write(Entry::Asked { inbox: self.inbox, by, ask, refused: refused.clone() });
        refused.map_or(Ok(()), Err)
    }

    /// The hash that a look at the page tells.
    fn hash(&self) -> Option<String> {
        self.state.ballot(None).and_then(|b| b.plan_hash.clone())
    }

    fn step(&mut self, doorstep: Doorstep, choices: &mut Choices) {
        match doorstep {
            Doorstep::TakeLocks { in_line } => {
                if choices.one_of(5) == 4 {
                    self.hold_back();
                } else if choices.one_of(2) == 0 {
                    self.write(Entry::Admitted { locks: vec!["thing".into()] });
                } else if !in_line {
                    self.write(Entry::Queued { target: "thing".into(), held_by: "somebody".into() });
                }
            }
            Doorstep::ComparePlan => {
                assert!(self.state.asks_brakes() || !self.stood, "{:#?}", self.journal);
                let seen = self.state.accepted_plan().cloned().unwrap_or_else(|| plan(0));
                let now = match choices.one_of(3) {
                    0 => seen.clone(),
                    n => plan(n),
                };
                if now.hash == seen.hash && self.state.asks_brakes() && choices.one_of(3) == 2 {
                    self.hold_back();
                } else if now.hash == seen.hash {
                    self.write(Entry::PlanHolds { plan_hash: now.hash });
                } else {
                    let differences = differences(&seen, &now);
                    self.write(Entry::Drifted { plan: Box::new(now), differences });
                }
            }
        }
    }

    fn hold_back(&mut self) {
        let brakes = vec![freeze(self.now)];
        self.write(Entry::HeldBack { brakes });
    }

    fn some_wish(&mut self, choices: &mut Choices) {
        let by = person(usize::from(choices.one_of(6)));
        let step = (choices.one_of(2) == 1).then(|| StepPath::top("agree"));
        let plan_hash = if choices.one_of(3) == 2 { Some(plan(7).hash) } else { self.hash() };
        let drifted = self.state.drift().map_or_else(|| plan(9).hash, |d| d.plan.hash.clone());
        let reason = || "why not".to_owned();
        let ask = match choices.one_of(10) {
            0..=2 => Ask::Approve { step, plan_hash },
            3 => Ask::Reject { step, reason: reason() },
            4 => Ask::BreakGlass { step, reason: reason(), plan_hash },
            5 => Ask::AcceptPlan { plan_hash: drifted },
            6 => Ask::Pause { reason: None },
            7 => Ask::Resume,
            8 => Ask::BeginDespite { reason: reason() },
            _ => Ask::Abort { takeback: Takeback::Finally, reason: reason() },
        };
        let _ = self.ask(by, ask);
    }

    /// Has what must come before the first step come?
    fn may_begin(&self, needs: Option<&Approval>) -> bool {
        let agreed = self.state.ballot(None).is_none_or(|ballot| match &ballot.ruling {
            Some(Ruling::Approved { .. }) => {
                let mut names: Vec<_> = ballot.voices.iter().map(|v| v.by.name()).collect();
                names.sort_unstable();
                names.dedup();
                names.len() >= needs.map_or(0, |n| n.count as usize)
                    && ballot.voices.iter().all(|v| v.by.role() >= Role::Approver && v.by.name() != "ana")
            }
            Some(Ruling::GlassBroken { by, .. }) => by.role() == Role::Admin,
            _ => false,
        });
        let admitted = self.journal.iter().any(|r| matches!(r.entry, Entry::Admitted { .. }));
        let holds = self.state.plan_hash().is_none_or(|hash| {
            self.journal
                .iter()
                .any(|r| matches!(&r.entry, Entry::PlanHolds { plan_hash } if plan_hash == hash))
        });
        agreed && admitted && holds
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn nothing_begins_before_the_gate_and_every_run_ends(
        bytes in prop::collection::vec(any::<u8>(), 0..160), count in 0..3u32, planned: bool,
    ) {
        let needs = (count > 0).then(|| Approval { count, ..Approval::default() });
        let mut choices = Choices(bytes.into_iter());
        let mut run = Run::new(needs.clone(), planned);
        for turn in 0.. {
            prop_assert!(turn < 1000, "it never ends: {:#?}", run.journal);
            let (work, doorstep, wake) = run.settle();
            if run.state.outcome().is_some() {
                break;
            }
            if run.state.nodes().next().is_some() || !work.is_empty() {
                prop_assert!(run.may_begin(needs.as_ref()), "{:#?}", run.journal);
            }
            // A step that is smuggled in is refused.
            let gate = run.state.gate();
            if matches!(gate, Some(Gate::Approval | Gate::Locks { .. } | Gate::Drift(_) | Gate::Brakes(_))) {
                let started = Entry::Done { step: "look".into(), output: Arc::default(), how: How::Looked };
                prop_assert!(run.try_write(started).is_err());
            }
            let exhausted = choices.0.len() == 0;
            match choices.one_of(6) {
                _ if exhausted && run.state.paused().is_some() => {
                    let reason = "to an end".to_owned();
                    run.ask(person(0), Ask::Abort { takeback: Takeback::All, reason }).unwrap();
                }
                4 => run.some_wish(&mut choices),
                5 => {
                    run.epoch += 1;
                    let worker = run.epoch;
                    run.write(Entry::TakenOver { worker });
                }
                _ => if let Some(doorstep) = doorstep {
                    run.step(doorstep, &mut choices);
                } else if let Some(Perform::Look { step, .. }) = work.first() {
                    let output = json!({ "active": [] }).into();
                    run.write(Entry::Done { step: step.clone(), output, how: How::Looked });
                } else if let (true, Some(at)) = (exhausted, wake) {
                    run.now = run.now.max(at);
                } else if exhausted {
                    let reason = "to an end".to_owned();
                    run.ask(person(0), Ask::Abort { takeback: Takeback::All, reason }).unwrap();
                },
            }
            run.now += TimeDelta::seconds(1);
        }
        prop_assert_eq!(&State::replay(&run.journal).unwrap(), &run.state);
        let through_json: Vec<Record> =
            serde_json::from_value(serde_json::to_value(&run.journal).unwrap()).unwrap();
        prop_assert_eq!(through_json, run.journal);
    }
}

fn waiting(count: u32) -> Run {
    let mut run = Run::new(Some(Approval { count, ..Approval::default() }), true);
    run.settle();
    assert_eq!(run.state.word(), "waiting_for_approval");
    run
}

fn approve(run: &Run) -> Ask {
    Ask::Approve { step: None, plan_hash: run.hash() }
}

#[test]
fn who_may_not_agree_is_told_why() {
    let mut run = waiting(2);
    let why = |run: &mut Run, by: Actor, ask: Ask| run.ask(by, ask).unwrap_err();
    let agree = approve(&run);
    assert_eq!(why(&mut run, person(1), agree.clone()), "you asked for it, so somebody else must agree");
    assert_eq!(
        why(&mut run, person(4), agree.clone()),
        "to approve takes an approver, and you are a responder"
    );
    let other = Ask::Approve { step: None, plan_hash: Some("another".into()) };
    assert!(why(&mut run, person(2), other).contains("another plan"));
    run.ask(person(2), agree.clone()).unwrap();
    assert_eq!(run.state.word(), "waiting_for_approval", "one of two");
    assert!(why(&mut run, person(2), agree.clone()).contains("agreed already"));
    run.ask(person(3), agree.clone()).unwrap();
    assert_eq!(run.state.word(), "queued");
    let late = why(&mut run, Actor::with_role("zoe", Role::Admin), agree);
    assert!(late.starts_with("it is decided: approved by bob and cy at 14:30:"), "{late}");
}

#[test]
fn a_rejection_ends_it_and_a_late_click_is_told_who_decided() {
    let mut run = waiting(1);
    run.ask(person(2), Ask::Reject { step: None, reason: "not now".into() }).unwrap();
    run.settle();
    let (outcome, message) = run.state.outcome().unwrap();
    assert_eq!(outcome, Outcome::Refused);
    assert!(message.starts_with("Rejected by bob") && message.ends_with(": not now"), "{message}");
    let late = answer_to(&run.state, &person(3), &approve(&run)).unwrap_err().0;
    assert!(late.starts_with("it is decided: rejected by bob"), "{late}");
}

#[test]
fn what_nobody_answers_expires() {
    let mut run = waiting(1);
    let (.., wake) = run.settle();
    run.now = wake.unwrap();
    let agree = approve(&run);
    assert!(acceptable(&run.state, &agree, run.now).is_err());
    run.settle();
    assert_eq!(run.state.outcome().unwrap().0, Outcome::Expired);
    let late = answer_to(&run.state, &person(3), &agree).unwrap_err().0;
    assert!(late.starts_with("it is decided: it expired at 15:00:00 UTC"), "{late}");
}

#[test]
fn a_step_at_which_others_must_agree_is_not_left_out_by_who_asked_for_the_run() {
    let mut run = Run::new(None, false);
    run.write(Entry::Admitted { locks: vec!["thing".into()] });
    run.settle();
    run.write(Entry::Done { step: "look".into(), output: json!({ "active": [] }).into(), how: How::Looked });
    run.settle();
    let step = || StepPath::from("agree");
    run.ask(person(2), Ask::Reject { step: Some(step()), reason: "not now".into() }).unwrap();
    run.settle();
    assert_eq!(run.state.word(), "paused");
    let reason = || "it is fine".to_owned();
    let output = json!({ "approved_by": ["bob"] });
    for around in [
        Ask::Skip { step: step(), reason: reason() },
        Ask::MarkDone { step: step(), reason: reason(), output },
    ] {
        let refused = run.ask(person(0), around).unwrap_err();
        assert!(
            refused.contains("for the approval of 2 persons") && refused.contains("retry it"),
            "{refused}"
        );
    }
    // They are asked anew, and in an emergency the glass is there.
    run.ask(person(0), Ask::Retry { step: step() }).unwrap();
    run.settle();
    assert_eq!(run.state.word(), "waiting_for_approval");
    run.ask(person(0), Ask::BreakGlass { step: Some(step()), reason: reason(), plan_hash: None }).unwrap();
    run.settle();
    assert_eq!(run.state.outcome().unwrap().0, Outcome::Succeeded);
}

#[test]
fn a_new_plan_needs_agreement_anew_and_not_from_who_took_it() {
    let mut run = waiting(1);
    let agree = approve(&run);
    run.ask(person(2), agree.clone()).unwrap();
    run.write(Entry::Admitted { locks: vec!["thing".into()] });
    let now = plan(1);
    run.write(Entry::Drifted { plan: Box::new(now.clone()), differences: vec![] });
    assert_eq!((run.state.word(), run.state.paused().unwrap().step.clone()), ("paused", None));
    assert!(run.ask(person(2), Ask::Resume).unwrap_err().contains("accept the new one"));
    run.ask(person(2), Ask::AcceptPlan { plan_hash: now.hash.clone() }).unwrap();
    assert_eq!(run.state.word(), "waiting_for_approval");
    assert!(run.ask(person(3), agree).unwrap_err().contains("another plan"));
    let agree = approve(&run);
    assert!(run.ask(person(2), agree.clone()).unwrap_err().contains("you asked for it"));
    run.ask(person(3), agree).unwrap();
    assert_eq!(run.state.gate(), Some(&Gate::Plan), "the locks are held already");
    run.write(Entry::PlanHolds { plan_hash: now.hash });
    assert_eq!(run.state.gate(), None);
}

/// Nobody has to decide about a plan that does nothing any more. Where something could not be seen, that is another matter.
#[test]
fn a_new_plan_that_a_guard_refuses_ends_the_run_in_the_words_of_the_guard() {
    for (action, ends) in [(None, true), (Some("world.look"), false)] {
        let mut run = waiting(1);
        run.ask(person(2), approve(&run)).unwrap();
        run.write(Entry::Admitted { locks: vec!["thing".into()] });
        let stops = PlannedStep {
            path: "sick".into(),
            title: "Logins fail".into(),
            action: action.map(str::to_owned),
            one_way: false,
            taken_back: false,
            undoable: false,
            outcome: PlannedOutcome::Stops { message: "Every login works.".into(), facts: Map::new() },
        };
        let mut now = Plan { steps: vec![stops], ..plan(1) };
        now.hash = now.digest();
        run.write(Entry::Drifted { plan: Box::new(now), differences: vec![] });
        run.settle();
        let outcome = run.state.outcome();
        assert_eq!(outcome.as_ref().map(|(outcome, _)| *outcome), ends.then_some(Outcome::Refused));
        assert!(outcome.is_none_or(|(_, why)| why.ends_with("stop at “Logins fail”: Every login works.")));
    }
}

#[test]
fn what_is_held_back_begins_only_when_a_person_lets_it_and_despite_no_more_than_they_saw() {
    let mut run = waiting(1);
    run.ask(person(2), approve(&run)).unwrap();
    assert!(run.state.asks_brakes() && run.state.despite().freezes.is_none());
    run.hold_back();
    let (gate, doorstep, wake) = run.settle();
    assert!(gate.is_empty() && doorstep.is_none() && wake.is_none(), "it waits for a person");
    assert_eq!(run.state.word(), "paused");
    let why = &run.state.paused().unwrap().why;
    assert!(why.starts_with("held back before it has begun: all changes are frozen until"), "{why}");

    // To resume is to ask once more, and to say nothing against it.
    run.ask(person(4), Ask::Resume).unwrap();
    assert_eq!(run.settle().1, Some(Doorstep::TakeLocks { in_line: false }));
    assert!(run.state.despite().freezes.is_none());
    run.hold_back();
    let seen = run.now;
    run.now += TimeDelta::hours(1);
    let despite = Ask::BeginDespite { reason: "customers cannot log in".into() };
    run.ask(person(4), despite.clone()).unwrap();
    assert_eq!(run.state.despite().freezes, Some(seen), "a later freeze is not covered");
    run.write(Entry::Admitted { locks: vec!["thing".into()] });
    assert!(!run.state.asks_brakes(), "it begins at once");
    assert_eq!(run.ask(person(4), despite).unwrap_err(), "nothing holds it back");
}

#[test]
fn a_journal_of_a_version_that_compared_no_plan_stays_readable() {
    let mut run = Run::new(None, true);
    let mut first = run.journal.swap_remove(0);
    first.seq = 1;
    run.state = State::first(&first).unwrap();
    run.write(Entry::Done { step: "look".into(), output: Arc::default(), how: How::Looked });
    assert_eq!(run.state.gate(), None);
    let person: Actor = serde_json::from_value(json!({ "type": "person", "name": "ana" })).unwrap();
    assert_eq!(person, Actor::person("ana"), "nobody had a role");
}

#[test]
fn a_run_that_stood_still_before_its_first_step_asks_for_the_brakes_once_more() {
    let at_plan = || {
        let mut run = Run::new(None, true);
        run.write(Entry::Admitted { locks: vec!["thing".into()] });
        assert_eq!((run.state.gate(), run.state.asks_brakes()), (Some(&Gate::Plan), false));
        run
    };
    let mut resumed = at_plan();
    resumed.ask(person(4), Ask::Pause { reason: None }).unwrap();
    resumed.ask(person(4), Ask::Resume).unwrap();
    let mut taken_over = at_plan();
    taken_over.epoch += 1;
    taken_over.write(Entry::TakenOver { worker: 2 });
    for mut run in [resumed, taken_over] {
        assert!(run.state.asks_brakes());
        // Whoever goes on despite a freeze, hours later, has said nothing of the next one.
        run.hold_back();
        run.ask(person(4), Ask::BeginDespite { reason: "customers cannot log in".into() }).unwrap();
        assert_eq!((run.state.gate(), run.state.asks_brakes()), (Some(&Gate::Plan), true));
        run.write(Entry::PlanHolds { plan_hash: plan(0).hash });
        assert!(!run.state.asks_brakes());
        // Once it has begun, it goes on.
        run.epoch += 1;
        run.write(Entry::TakenOver { worker: run.epoch });
        assert!(!run.state.asks_brakes());
    }
}

#[test]
fn glass_is_broken_for_the_plan_that_was_seen() {
    let mut run = waiting(1);
    let seen = run.hash();
    let glass = |plan_hash: Option<String>| Ask::BreakGlass { step: None, reason: "alone".into(), plan_hash };
    run.ask(person(2), approve(&run)).unwrap();
    run.write(Entry::Admitted { locks: vec!["thing".into()] });
    let now = plan(1);
    run.write(Entry::Drifted { plan: Box::new(now.clone()), differences: vec![] });
    run.ask(person(2), Ask::AcceptPlan { plan_hash: now.hash.clone() }).unwrap();
    assert!(run.ask(person(0), glass(seen)).unwrap_err().contains("another plan"));
    assert_eq!(run.state.word(), "waiting_for_approval");
    // A client of before says nothing of a plan, and means the one that is asked about.
    for seen in [None, Some(now.hash)] {
        assert_eq!(answer_to(&run.state, &person(0), &glass(seen)), Ok(()));
    }
    let before: Ask = serde_json::from_value(json!({ "ask": "break_glass", "reason": "alone" })).unwrap();
    assert_eq!(before, glass(None));
    assert_eq!(
        serde_json::to_value(&before).unwrap(),
        json!({ "ask": "break_glass", "step": null, "reason": "alone" })
    );
}
