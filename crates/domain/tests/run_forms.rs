//! The step forms, one by one and inside each other: what follows, in which order, and what a failure does to it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod runbooks_support;
#[expect(dead_code, reason = "each test file uses its own part")]
mod runs_support;

use chrono::TimeDelta;
use domain::run::{Ask, Entry, Outcome, State, Status, StepPath, Takeback, abort_preview, acceptable};
use runs_support::Run;
use serde_json::json;

fn book(name: &str, rest: &str) -> String {
    format!("runbook: {name}\ntitle: T\nwhen: Never\nrisk: low\nlocks: [\"lock of {name}\"]\n{rest}")
}

fn run(steps: &str) -> Run {
    Run::new(&[("book", book("book", steps))])
}

const SET: &str = "use: autoscaling.set_max_size\n        with: { region: r, group: g, max: 3 }";

fn status(run: &Run, step: &str) -> Option<Status> {
    run.state.node(&step.into()).map(|n| n.status)
}

fn outcome(run: &Run) -> Option<Outcome> {
    run.state.outcome().map(|(outcome, _)| outcome)
}

const BRANCHES: &str = r#"steps:
  - id: both
    ON
    together:
      left:
        - id: a
          use: autoscaling.scale_to
          with: { region: r, group: a, desired: 1 }
        - id: b
          use: autoscaling.scale_to
          with: { region: r, group: b, desired: "${steps.a.desired}" }
      right:
        - id: c
          use: autoscaling.set_max_size
          with: { region: r, group: c, max: 3 }
          undo: automatic
        - id: d
          use: autoscaling.scale_to
          with: { region: r, group: d, desired: 1 }
  - id: after
    value: "${steps.both.left.b.desired + steps.both.right.c.max}"
"#;

fn branches(on_failure: &str) -> Run {
    run(&BRANCHES.replace("ON", on_failure))
}

#[test]
fn branches_go_on_side_by_side_and_the_step_is_done_when_all_are() {
    let mut run = branches("why: Both at once.");
    run.settle();
    assert_eq!(run.under_way(), ["both[left].a", "both[right].c"]);
    run.well("both[left].a");
    run.settle();
    assert_eq!(run.under_way(), ["both[left].b", "both[right].c"]);
    run.go();
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));
    assert_eq!(*run.state.node(&"after".into()).unwrap().output, json!(2));
}

#[test]
fn a_failed_step_in_a_branch_pauses_the_run_where_it_failed_unless_the_step_around_has_an_answer() {
    let mut run = branches("why: Both at once.");
    run.settle();
    run.fails("both[left].a");
    run.settle();
    assert_eq!(run.state.blocked().map(|(at, _)| at.as_str()).collect::<Vec<_>>(), ["both[left].a"]);
    // What is under way beside it ends, and nothing new begins.
    run.well("both[right].c");
    run.settle();
    assert_eq!(run.under_way(), [""; 0]);
    run.ask(Ask::Retry { step: "both[left].a".into() });
    run.go();
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));

    let mut run = branches("on_failure: continue");
    run.settle();
    run.fails("both[left].a");
    run.go();
    assert_eq!(status(&run, "both[right].d"), Some(Status::Done), "the other branch goes to its end");
    assert_eq!(status(&run, "both"), Some(Status::Failed));
    assert_eq!(run.state.node(&"both".into()).unwrap().because, [StepPath::from("both[left].a")]);
    // `after` cannot be worked out from nothing, and that is told, not guessed.
    assert_eq!(run.state.paused().unwrap().step, Some("after".into()));
}

#[test]
fn a_failed_branch_that_ends_the_run_waits_for_calls_under_way_and_begins_nothing_new() {
    for (on_failure, ended, undone) in
        [("on_failure: undo", Outcome::Undone, true), ("on_failure: fail", Outcome::Failed, false)]
    {
        let mut run = branches("why: Both at once.");
        run = {
            let text = BRANCHES.replace("ON", "why: Both.").replace(
                "group: a, desired: 1 }",
                &format!("group: a, desired: 1 }}\n          {on_failure}"),
            );
            drop(run);
            self::run(&text)
        };
        run.settle();
        let mut good = runs_support::Choices::new(Vec::new());
        run.advance("both[right].c", &mut good);
        run.fails("both[left].a");
        assert_eq!(run.under_way(), ["both[right].c"], "its call is in the air");
        assert_eq!(run.state.outcome(), None);
        run.go();
        assert_eq!(outcome(&run), Some(ended));
        assert_eq!(status(&run, "both[right].d"), None);
        assert_eq!(status(&run, "undo:both[right].c"), undone.then_some(Status::Done));
    }
}

#[test]
fn a_wait_is_over_by_the_clock_also_for_another_worker() {
    let mut run = run("steps:\n  - id: pause\n    wait: 5m\n  - id: after\n    value: \"${steps.pause}\"\n");
    let from = run.now;
    let moves = domain::run::next(&run.program, &run.state, run.now);
    for entry in moves.record {
        run.write(entry);
    }
    run.take_over();
    let moves = domain::run::next(&run.program, &run.state, run.now + TimeDelta::seconds(299));
    assert_eq!((moves.record.len(), moves.wake_at), (0, Some(from + TimeDelta::seconds(300))));
    run.now += TimeDelta::seconds(300);
    run.go();
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));
    assert_eq!(*run.state.node(&"after".into()).unwrap().output, json!(300));
}

fn items(counts: &str) -> Run {
    run(&format!(
        "steps:\n  - id: all\n    each: '[\"a\", \"b\", \"c\", \"d\", \"e\", \"f\"]'\n    {counts}\n    steps:\n      - id: set\n        {SET}\n        undo: automatic\n      - id: then\n        value: ${{1}}\n  - id: after\n    value: ${{size(steps.all)}}\n"
    ))
}

#[test]
fn so_many_failed_items_are_too_many() {
    // One is borne: the others are done, and the failed one has no output.
    let mut one = items("at_once: 2\n    stop_after: 2");
    one.settle();
    one.fails("all[a].set");
    one.go();
    assert_eq!(outcome(&one), Some(Outcome::Succeeded));
    assert_eq!(status(&one, "all[a].then"), None);
    let output = &one.state.node(&"all".into()).unwrap().output;
    assert_eq!((output[0]["set"].is_null(), output[1]["then"].clone()), (true, json!(1)));

    // With the second, nothing new is begun, what is under way ends, and the step has failed.
    let mut two = items("at_once: 3\n    stop_after: 34%");
    two.settle();
    two.advance("all[c].set", &mut runs_support::Choices::new(Vec::new()));
    two.fails("all[a].set");
    two.fails("all[b].set");
    assert_eq!(two.under_way(), ["all[c].set", "all[d].set"], "one is called, the other still looks");
    two.go();
    assert_eq!(status(&two, "all[c].then"), Some(Status::Done));
    assert_eq!(status(&two, "all[d].set"), None);
    assert_eq!(two.state.paused().unwrap().step, Some("all".into()));
    let why = &two.state.node(&"all".into()).unwrap().error.as_ref().unwrap().message;
    assert_eq!(
        why,
        "2 of 6 items failed (all[a].set: all[a].set did not work; all[b].set: all[b].set did not work)"
    );
    // Tried again, it goes on with the failed ones; one of them may be left out first.
    two.ask(Ask::Skip { step: "all[b].set".into(), reason: "not needed".into() });
    two.ask(Ask::Retry { step: "all".into() });
    two.settle();
    assert!(
        two.under_way().contains(&"all[a].set".to_owned())
            && status(&two, "all[b].set") == Some(Status::Skipped)
    );
    two.go();
    assert_eq!(outcome(&two), Some(Outcome::Succeeded));
}

#[test]
fn a_list_of_which_all_have_failed_is_not_done_because_it_was_shorter_than_the_threshold() {
    let mut run = items("at_once: 6\n    stop_after: 10");
    run.settle();
    for item in ["a", "b", "c", "d", "e", "f"] {
        run.fails(&format!("all[{item}].set"));
    }
    run.go();
    assert_eq!(run.state.paused().unwrap().step, Some("all".into()));
}

#[test]
fn without_a_threshold_the_first_failed_item_pauses_the_run() {
    let mut run = items("at_once: 50%");
    run.settle();
    assert_eq!(run.under_way().len(), 3);
    run.advance("all[a].set", &mut runs_support::Choices::new(Vec::new()));
    run.fails("all[b].set");
    run.go();
    assert_eq!(run.state.paused().unwrap().step, Some("all[b].set".into()));
    assert_eq!((status(&run, "all[a].set"), status(&run, "all[d].set")), (Some(Status::Done), None));
}

const CHILD: &str = r#"inputs:
  group: { type: string, description: Which }
  wait: { type: duration, default: 1m, description: How long }
steps:
  - id: quiet
    use: autoscaling.suspend_processes
    with: { region: r, group: "${inputs.group}", processes: [A] }
    finally: undo
  - id: max
    use: autoscaling.set_max_size
    with: { region: r, group: "${inputs.group}", max: 3 }
    undo: automatic
  - id: waited
    value: "${inputs.wait}"
verify:
  use: autoscaling.describe_refreshes
  with: { region: r, group: "${inputs.group}" }
  until: size(out.active) == 0
  timeout: 1m
  message: still there
"#;

fn parent(on_failure: &str) -> Run {
    let steps = format!(
        "steps:\n  - id: heal\n    run: child\n    with: {{ group: g, wait: 90s }}\n    {on_failure}\n  - id: last\n    use: autoscaling.scale_to\n    with: {{ region: r, group: g, desired: \"${{steps.heal.max.max}}\" }}\n"
    );
    Run::new(&[
        ("parent", book("parent", &steps)),
        ("child", book("child", CHILD).replace("lock of child", "group:${inputs.group}")),
    ])
}

#[test]
fn a_child_is_a_part_of_the_run_with_names_of_its_own_and_its_locks_are_the_runs() {
    let mut run = parent("why: It heals.");
    let Entry::Requested { locks, children, .. } = &run.journal[0].entry else { panic!() };
    assert_eq!(locks, &["lock of parent", "group:g"]);
    assert_eq!(children["child"], run.program.children["child"].hash);
    run.settle();
    assert_eq!(run.under_way(), ["heal.quiet"]);
    run.well("heal.quiet");
    run.settle();
    run.well("heal.max");
    run.settle();
    // What it marks `finally` is taken back when the child is over; then its symptom is looked at, then the parent goes on.
    assert_eq!(run.under_way(), ["undo:heal.quiet"]);
    run.well("undo:heal.quiet");
    run.settle();
    assert_eq!(run.under_way(), ["heal.verify"]);
    run.well("heal.verify");
    run.settle();
    assert_eq!(run.under_way(), ["last"]);
    assert_eq!(run.state.node(&"heal".into()).unwrap().output["waited"], json!(90));
    run.go();
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));
    // Taken over at any point, it means the same.
    assert_eq!(State::replay(&run.journal).unwrap(), run.state);
}

#[test]
fn a_run_can_say_at_its_end_what_its_final_check_saw() {
    let result = "result: \"${size(steps.verify.active)} are left\"\n";
    let verify = CHILD.split_once("verify:").unwrap().1.replace("${inputs.group}", "g");
    let text = format!("steps:\n  - id: one\n    value: 1\nverify:{verify}{result}");
    let mut run = Run::new(&[("told", book("told", &text))]);
    run.settle();
    run.advance("verify", &mut runs_support::Choices::new(vec![0, 2]));
    run.go();
    let Entry::Ended { message, .. } = &run.journal.last().unwrap().entry else { panic!() };
    assert_eq!(message, "2 are left");
}

#[test]
fn a_symptom_that_persists_in_a_child_is_a_failed_step_with_the_childs_message() {
    let mut run = parent("why: It heals.");
    for step in ["heal.quiet", "heal.max", "undo:heal.quiet"] {
        run.settle();
        run.well(step);
    }
    run.settle();
    run.times_out("heal.verify");
    run.settle();
    let pause = run.state.paused().unwrap();
    assert_eq!((pause.step.clone(), pause.why.as_str()), (Some("heal.verify".into()), "still there"));
    run.ask(Ask::Skip { step: "heal.verify".into(), reason: "seen it".into() });
    run.go();
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));
}

#[test]
fn a_failed_child_does_what_the_step_that_runs_it_says() {
    let mut go_on = parent("on_failure: continue");
    go_on.settle();
    go_on.well("heal.quiet");
    go_on.settle();
    go_on.fails("heal.max");
    go_on.settle();
    assert_eq!(status(&go_on, "heal"), Some(Status::Failed));
    assert_eq!(
        go_on.state.paused().unwrap().step,
        Some("last".into()),
        "it needs what the child did not give"
    );
    go_on.ask(Ask::Skip { step: "last".into(), reason: "to an end".into() });
    go_on.go();
    assert_eq!(outcome(&go_on), Some(Outcome::Succeeded));
    assert_eq!(status(&go_on, "undo:heal.quiet"), Some(Status::Done), "at the end of the run");

    let mut undo = parent("on_failure: undo");
    for step in ["heal.quiet", "heal.max", "undo:heal.quiet"] {
        undo.settle();
        undo.well(step);
    }
    undo.settle();
    undo.fails("heal.verify");
    undo.go();
    assert_eq!(outcome(&undo), Some(Outcome::Undone));
    assert_eq!(status(&undo, "undo:heal.max"), Some(Status::Done));
    let undone =
        undo.journal.iter().filter(|r| matches!(&r.entry, Entry::Intent { step, .. } if step.is_undo()));
    assert_eq!(undone.count(), 2, "what the child took back itself is not taken back twice");
}

#[test]
fn an_undo_that_fails_is_stuck_also_in_a_child_under_way() {
    let mut run = parent("why: It heals.");
    for step in ["heal.quiet", "heal.max"] {
        run.settle();
        run.well(step);
    }
    run.settle();
    run.fails("undo:heal.quiet");
    run.settle();
    assert_eq!(run.state.paused().unwrap().step, Some("undo:heal.quiet".into()));
    run.ask(Ask::Abort { takeback: Takeback::All, reason: "enough".into() });
    run.settle();
    assert_eq!(status(&run, "undo:heal.max"), None);
    run.go();
    assert_eq!(run.state.word(), "stuck");
    run.ask(Ask::Retry { step: "undo:heal.quiet".into() });
    run.go();
    assert_eq!(outcome(&run), Some(Outcome::Undone));
}

#[test]
fn an_abort_tells_what_it_leaves_and_what_it_takes_back() {
    let mut run = parent("why: It heals.");
    run.settle();
    run.well("heal.quiet");
    run.settle();
    run.well("heal.max");
    run.settle();
    run.well("undo:heal.quiet");
    run.settle();
    run.well("heal.verify");
    run.settle();
    let mut good = runs_support::Choices::new(Vec::new());
    run.advance("last", &mut good);
    let paths = |steps: &[StepPath]| steps.iter().map(ToString::to_string).collect::<Vec<_>>();
    let keep = abort_preview(&run.state, Takeback::Finally);
    assert_eq!((paths(&keep.in_flight), paths(&keep.done)), (vec!["last".into()], vec!["heal.max".into()]));
    assert_eq!((keep.takes_back.len(), paths(&keep.left)), (0, vec!["heal.max".into()]));
    let all = abort_preview(&run.state, Takeback::All);
    assert_eq!(all.takes_back.iter().map(|t| t.step.as_str()).collect::<Vec<_>>(), ["heal.max"]);
    assert!(all.left.is_empty());
    run.well("last");
    let all = abort_preview(&run.state, Takeback::All);
    assert_eq!((paths(&all.left), paths(&all.no_way_back)), (vec!["last".into()], vec!["last".into()]));
}

#[test]
fn what_the_run_went_on_without_is_not_announced_any_more() {
    let mut run = branches("why: Both at once.");
    run.settle();
    // Both changes are still looking when a person aborts.
    run.ask(Ask::Abort { takeback: Takeback::All, reason: "enough".into() });
    run.go();
    assert_eq!(outcome(&run), Some(Outcome::Undone));
    assert!(!run.state.has_changed_anything());
    let late = Entry::Intent {
        step: "both[left].a".into(),
        attempt: 1,
        action: "autoscaling.scale_to".into(),
        input: json!({}).into(),
        facts: json!(null).into(),
        effect: domain::action::Effect::Idempotent,
        deadline: run.now,
        undo: None,
    };
    let closing = run.journal.iter().position(|r| matches!(r.entry, Entry::Closing { .. })).unwrap();
    let mut state = State::replay(&run.journal[..=closing]).unwrap();
    let late = domain::run::Record { seq: state.seq() + 1, at: run.now, epoch: state.epoch(), entry: late };
    assert!(state.apply(&late).unwrap_err().why.contains("past that step"));
}

/// Why this is not written down, if it is not.
fn refused(run: &Run, ask: Ask) -> String {
    acceptable(&run.state, &ask, run.now).map_or_else(|e| e.0, |()| String::new())
}

fn wishes(step: &str) -> [Ask; 3] {
    let (step, reason) = (|| StepPath::from(step), || "why not".to_owned());
    [
        Ask::Retry { step: step() },
        Ask::Skip { step: step(), reason: reason() },
        Ask::MarkDone { step: step(), reason: reason(), output: json!(null) },
    ]
}

#[test]
fn what_the_run_is_past_is_not_tried_again() {
    let items = format!(
        "steps:\n  - id: all\n    each: '[\"a\", \"b\"]'\n    stop_after: 2\n    {}\n  - id: wait\n    wait: 5m\nverify:\n  use: autoscaling.describe_refreshes\n  with: {{ region: r, group: g }}\n  until: size(out.active) == 0\n  timeout: 1m\n  message: still there\n",
        SET.replace("        with", "    with").replace("group: g", "group: \"${item}\"")
    );
    let mut run = run(&items);
    run.settle();
    run.fails("all[a]");
    run.settle();
    // The others are under way: whoever wants it tried again is heard.
    assert_eq!(wishes("all[a]").map(|wish| refused(&run, wish)), ["", "", ""]);
    run.well("all[b]");
    run.settle();
    assert_eq!((status(&run, "all"), status(&run, "all[a]")), (Some(Status::Done), Some(Status::Failed)));
    let past = "the run is past this step: `all`, which it is in, is done";
    assert_eq!(wishes("all[a]").map(|wish| refused(&run, wish)), [past; 3]);
    // A journal of a version that took it stays readable.
    run.ask(Ask::Retry { step: "all[a]".into() });
    assert!(matches!(run.journal.last().unwrap().entry, Entry::Asked { refused: None, .. }));
    assert_eq!(State::replay(&run.journal).unwrap(), run.state);
    run.go();
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));
}

#[test]
fn what_has_failed_with_the_step_around_it_is_tried_again_with_that_and_may_be_left_out() {
    let mut run = branches("on_failure: continue");
    run.settle();
    run.fails("both[left].a");
    run.go();
    assert_eq!(status(&run, "both"), Some(Status::Failed));
    let [again, skip, done] = wishes("both[left].a").map(|wish| refused(&run, wish));
    assert_eq!([skip.as_str(), &done], ["", ""]);
    assert_eq!(again, "`both` has failed with this step in it: retry that");
    assert_eq!(refused(&run, Ask::Retry { step: "both".into() }), "");

    // What failed on the way is past once the run takes things back.
    let reason = || "enough".to_owned();
    run.ask(Ask::Abort { takeback: Takeback::All, reason: reason() });
    assert_eq!(refused(&run, Ask::Retry { step: "after".into() }), "the run is being aborted");
    run.settle();
    let end = "the run is past this step: it is at its end";
    assert_eq!(wishes("after").map(|wish| refused(&run, wish)), [end; 3]);
    run.fails("undo:both[right].c");
    assert_eq!(wishes("undo:both[right].c").map(|wish| refused(&run, wish)), ["", "", ""]);
}
