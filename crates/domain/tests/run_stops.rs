//! What stops a run, also on its way to its end: a pause by hand, a call of which nobody knows what became, and a check that
//! could not look.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod runbooks_support;
#[expect(dead_code, reason = "each test file uses its own part")]
mod runs_support;

use domain::Timestamp;
use domain::action::{ActionError, ErrorClass};
use domain::run::{
    ANSWER_LOST, Ask, Entry, Outcome, Pause, State, Status, StepPath, Takeback, acceptable, next,
};
use runs_support::Run;

const SHEDS: &str = r#"steps:
  - id: shed
    use: autoscaling.suspend_processes
    with: { region: r, group: g, processes: [A] }
    undo: automatic
    finally: undo
"#;

const WAIT: &str = "    use: autoscaling.describe_refreshes\n    with: { region: r, group: g }\n    until: size(out.active) == 0\n    timeout: 6m\n";

fn run(steps: &str) -> Run {
    let text = format!("runbook: book\ntitle: T\nwhen: Never\nrisk: low\nlocks: [thing]\n{steps}");
    Run::new(&[("book", text)])
}

fn outcome(run: &Run) -> Option<Outcome> {
    run.state.outcome().map(|(outcome, _)| outcome)
}

fn status(run: &Run, step: &str) -> Option<Status> {
    run.state.node(&step.into()).map(|n| n.status)
}

fn pause(run: &mut Run) {
    run.ask(Ask::Pause { reason: Some("look at this".into()) });
    assert!(run.state.held().is_some());
}

fn abort(run: &mut Run, takeback: Takeback) {
    run.ask(Ask::Abort { takeback, reason: "enough".into() });
}

/// Nothing follows by itself, and the run says that it is paused.
fn stands(run: &mut Run) {
    run.settle();
    assert_eq!((run.under_way(), run.state.word(), outcome(run)), (vec![], "paused", None));
}

#[test]
fn a_paused_run_takes_nothing_back_and_does_not_end_when_what_it_waits_for_comes_true_or_does_not() {
    for (well, ended) in [(true, Outcome::Succeeded), (false, Outcome::Failed)] {
        let mut run = run(&format!("{SHEDS}  - id: served\n{WAIT}    on_failure: fail\n"));
        run.settle();
        run.well("shed");
        run.settle();
        pause(&mut run);
        match well {
            true => run.well("served"),
            false => run.times_out("served"),
        }
        stands(&mut run);
        assert_eq!(status(&run, "undo:shed"), None);
        run.ask(Ask::Resume);
        run.go();
        assert_eq!((outcome(&run), status(&run, "undo:shed")), (Some(ended), Some(Status::Done)));
    }
}

#[test]
fn an_approval_that_expires_while_the_run_is_paused_ends_it_only_once_it_is_resumed() {
    let mut run =
        run(&format!("{SHEDS}  - id: agree\n    approve: {{ by: approver, within: 1m }}\n    message: M\n"));
    run.settle();
    run.well("shed");
    let moves = next(&run.program, &run.state, run.now);
    for entry in moves.record {
        run.write(entry);
    }
    pause(&mut run);
    // Time passes, as nothing else is under way.
    stands(&mut run);
    assert_eq!((status(&run, "agree"), status(&run, "undo:shed")), (Some(Status::Failed), None));
    run.ask(Ask::Resume);
    run.go();
    assert_eq!((outcome(&run), status(&run, "undo:shed")), (Some(Outcome::Failed), Some(Status::Done)));
}

#[test]
fn where_nobody_can_tell_whether_others_must_agree_they_are_asked_and_the_step_is_not_skipped() {
    let agree = "  - id: agree\n    if: size(steps.served.active) > 3\n    approve: { by: approver, within: 1m }\n    message: M\n";
    let mut run = run(&format!("{SHEDS}  - id: served\n{WAIT}{agree}"));
    run.settle();
    run.well("shed");
    run.settle();
    run.times_out("served");
    // Without an output there is nothing to count.
    let output = Default::default();
    run.ask(Ask::MarkDone { step: "served".into(), reason: "by hand".into(), output });
    let moves = next(&run.program, &run.state, run.now);
    for entry in moves.record {
        run.write(entry);
    }
    assert!(run.state.ballot(Some(&"agree".into())).is_some());
    // Nobody comes. What has failed so is not skipped either.
    run.settle();
    let skip = Ask::Skip { step: "agree".into(), reason: "quick".into() };
    assert_eq!(status(&run, "agree"), Some(Status::Failed));
    assert!(acceptable(&run.state, &skip, run.now).is_err());
    assert_eq!(State::replay(&run.journal).unwrap(), run.state);
}

#[test]
fn a_paused_run_keeps_its_targets_until_somebody_resumes_it_though_the_symptom_is_gone() {
    for well in [true, false] {
        let mut run = run(&format!("{SHEDS}verify:\n{}  message: still there\n", WAIT.replace("    ", "  ")));
        for step in ["shed", "undo:shed"] {
            run.settle();
            run.well(step);
        }
        run.settle();
        pause(&mut run);
        match well {
            true => run.well("verify"),
            false => run.times_out("verify"),
        }
        stands(&mut run);
        run.ask(Ask::Resume);
        run.go();
        let ended = if well { Outcome::Succeeded } else { Outcome::SymptomPersists };
        assert_eq!(outcome(&run), Some(ended));
    }
}

#[test]
fn an_abort_does_not_wait_for_who_has_paused() {
    let mut run = run(&format!("{SHEDS}  - id: served\n{WAIT}"));
    run.settle();
    run.well("shed");
    run.settle();
    pause(&mut run);
    abort(&mut run, Takeback::Finally);
    run.go();
    assert_eq!((outcome(&run), status(&run, "undo:shed")), (Some(Outcome::Aborted), Some(Status::Done)));
}

const RINGS: &str =
    "  - id: ring\n    use: autoscaling.scale_to\n    with: { region: r, group: g, desired: 1 }\n";

/// A run whose second change got no answer, and which is being looked for.
fn unclear() -> Run {
    let mut run = run(&format!("{SHEDS}{RINGS}"));
    run.settle();
    run.well("shed");
    run.settle();
    run.advance("ring", &mut runs_support::Choices::new(vec![0, 1]));
    run.advance("ring", &mut runs_support::Choices::new(vec![2]));
    run.settle();
    assert_eq!(status(&run, "ring"), Some(Status::Unclear));
    run
}

#[test]
fn a_run_that_is_being_aborted_asks_what_became_of_a_call_before_it_ends() {
    for (answer, in_words) in [
        (Ask::MarkDone { step: "ring".into(), reason: "seen".into(), output: Default::default() }, "done"),
        (Ask::DidNotHappen { step: "ring".into(), reason: "seen".into() }, "skipped"),
        (Ask::Skip { step: "ring".into(), reason: "leave it".into() }, "skipped"),
    ] {
        let mut run = unclear();
        abort(&mut run, Takeback::All);
        run.ask(Ask::StopLooking { step: "ring".into() });
        // It was said that somebody is asked, so somebody is, before others may come near.
        run.working.clear();
        run.settle();
        run.advance("ring", &mut runs_support::Choices::new(vec![2]));
        run.settle();
        assert_eq!((outcome(&run), run.state.word()), (None, "outcome_unknown"));
        assert_eq!(run.state.blocked().map(|(at, _)| at.as_str()).collect::<Vec<_>>(), ["ring"]);
        run.ask(answer);
        run.go();
        assert_eq!(status(&run, "ring").unwrap().word(), in_words);
        assert_eq!((outcome(&run), status(&run, "undo:shed")), (Some(Outcome::Undone), Some(Status::Done)));
        assert!(!run.state.outcome().unwrap().1.contains("not known"));
    }
}

#[test]
fn who_aborts_a_run_that_asks_leaves_the_call_as_it_is_and_the_end_says_so() {
    let mut run = unclear();
    run.advance("ring", &mut runs_support::Choices::new(vec![2]));
    run.settle();
    assert_eq!(run.state.word(), "outcome_unknown");
    abort(&mut run, Takeback::Finally);
    // It moves: nobody is asked any more, and nobody may force its locks away.
    assert_eq!(run.state.word(), "running");
    let safe = waits_until_safe(&run, "ring");
    run.settle();
    assert_eq!((run.under_way(), run.state.word()), (vec!["undo:shed".to_owned()], "closing"));
    assert!(run.now >= safe);
    run.go();
    let (ended, message) = run.state.outcome().unwrap();
    assert_eq!(ended, Outcome::Aborted);
    assert!(message.ends_with("(what became of ring is not known)"), "{message}");
    assert_eq!(State::replay(&run.journal).unwrap(), run.state);
}

/// Nothing is made anew and nothing freed before no copy of the step's call can take effect any more; from when on that is.
fn waits_until_safe(run: &Run, step: &str) -> Timestamp {
    let intent = run.state.node(&step.into()).unwrap().intent.clone().unwrap();
    let safe = intent.lands_before(run.program.window);
    let moves = next(&run.program, &run.state, run.now);
    assert!(run.now < safe && moves.record.is_empty() && moves.perform.is_empty(), "{moves:?}");
    assert_eq!(moves.wake_at, Some(safe));
    safe
}

fn ends_when_safe(run: &mut Run, step: &str) {
    let safe = waits_until_safe(run, step);
    run.go();
    assert!(run.now >= safe);
    assert_eq!((outcome(run), status(run, step)), (Some(Outcome::Undone), Some(Status::Skipped)));
}

#[test]
fn a_branch_that_ends_the_run_does_not_silence_the_question_of_another_one() {
    let branches = format!(
        "steps:\n  - id: both\n    together:\n      left:\n{}      right:\n        - id: served\n{}          on_failure: undo\n",
        RINGS
            .replace("  - id", "        - id")
            .replace("    use", "          use")
            .replace("    with", "          with"),
        WAIT.replace("    ", "          ")
    );
    let asks = || {
        let mut run = run(&branches);
        run.settle();
        run.loses_sight("both[left].ring");
        run.settle();
        assert_eq!(run.state.word(), "outcome_unknown");
        run.times_out("both[right].served");
        assert_eq!((outcome(&run), run.state.word()), (None, "outcome_unknown"));
        run
    };
    let (mut happened, output) = (asks(), Default::default());
    happened.ask(Ask::MarkDone { step: "both[left].ring".into(), reason: "seen".into(), output });
    happened.go();
    assert_eq!(outcome(&happened), Some(Outcome::Undone));
    let mut did_not = asks();
    did_not.ask(Ask::DidNotHappen { step: "both[left].ring".into(), reason: "I looked".into() });
    ends_when_safe(&mut did_not, "both[left].ring");
}

#[test]
fn a_run_that_is_ending_waits_until_the_call_that_somebody_says_did_not_happen_can_happen_no_more() {
    let mut run = unclear();
    run.advance("ring", &mut runs_support::Choices::new(vec![2]));
    run.settle();
    run.ask(Ask::DidNotHappen { step: "ring".into(), reason: "I looked".into() });
    abort(&mut run, Takeback::All);
    ends_when_safe(&mut run, "ring");
}

#[test]
fn whoever_has_left_a_call_as_it_is_may_still_say_what_they_found_and_need_not_wait() {
    let mut run = unclear();
    run.advance("ring", &mut runs_support::Choices::new(vec![2]));
    run.settle();
    abort(&mut run, Takeback::All);
    waits_until_safe(&run, "ring");
    run.ask(Ask::MarkDone { step: "ring".into(), reason: "seen".into(), output: Default::default() });
    run.settle();
    assert_eq!(run.state.word(), "undoing");
    run.go();
    let (ended, message) = run.state.outcome().unwrap();
    assert!(ended == Outcome::Undone && !message.contains("not known"), "{message}");
}

#[test]
fn a_run_does_not_end_while_a_call_that_was_skipped_may_still_land() {
    let mut run = unclear();
    run.advance("ring", &mut runs_support::Choices::new(vec![2]));
    run.settle();
    run.ask(Ask::Skip { step: "ring".into(), reason: "leave it".into() });
    let safe = waits_until_safe(&run, "ring");
    run.go();
    assert!(run.now >= safe);
    assert_eq!(outcome(&run), Some(Outcome::Succeeded));
}

/// A pause that comes after the abort stops what the abort would begin: to take back.
#[test]
fn who_pauses_a_run_that_is_being_aborted_is_heard() {
    let mut run = unclear();
    run.advance("ring", &mut runs_support::Choices::new(vec![2]));
    run.settle();
    abort(&mut run, Takeback::All);
    let safe = waits_until_safe(&run, "ring");
    run.ask(Ask::Pause { reason: Some("wait for me".into()) });
    run.now = safe;
    run.settle();
    assert_eq!((outcome(&run), run.state.word()), (None, "paused"));
    run.ask(Ask::Resume);
    run.go();
    assert_eq!(outcome(&run), Some(Outcome::Undone));
    assert_eq!(State::replay(&run.journal).unwrap(), run.state);
}

#[test]
fn a_run_does_not_end_while_what_takes_a_change_back_may_still_land_though_somebody_skipped_it() {
    let mut run = run(&format!("{SHEDS}  - id: served\n{WAIT}"));
    run.settle();
    run.well("shed");
    run.settle();
    abort(&mut run, Takeback::All);
    run.settle();
    run.loses_sight("undo:shed");
    run.settle();
    assert_eq!(run.state.word(), "stuck");
    run.ask(Ask::Skip { step: "undo:shed".into(), reason: "leave it".into() });
    let safe = waits_until_safe(&run, "undo:shed");
    run.go();
    assert!(run.now >= safe);
    assert_eq!(outcome(&run), Some(Outcome::Undone));
}

#[test]
fn only_who_has_looked_says_that_the_symptom_is_still_there() {
    let text = format!("{SHEDS}verify:\n{}  message: still there\n", WAIT.replace("    ", "  "));
    let blind = || {
        let mut run = run(&text);
        for step in ["shed", "undo:shed"] {
            run.settle();
            run.well(step);
        }
        run.settle();
        run.fails("verify");
        let paused = run.state.paused().unwrap();
        assert_eq!(paused.step, Some(StepPath::verify()));
        assert!(paused.why.contains("could not be seen: verify did not work"), "{}", paused.why);
        run
    };
    let mut again = blind();
    again.ask(Ask::Retry { step: StepPath::verify() });
    again.go();
    assert_eq!(outcome(&again), Some(Outcome::Succeeded));

    let mut left_out = blind();
    left_out.ask(Ask::Skip { step: StepPath::verify(), reason: "the inventory has changed".into() });
    left_out.go();
    let (ended, message) = left_out.state.outcome().unwrap();
    assert_eq!(ended, Outcome::Succeeded);
    assert_eq!(
        message,
        "All steps are done. Whether the symptom is gone was left out by ana: the inventory has changed"
    );
}

/// Between two attempts of a call under a token, or once somebody has said that it did not happen.
#[test]
fn a_version_without_the_action_does_not_fail_a_step_whose_call_may_still_land() {
    for told in [false, true] {
        let mut run = run(&format!("steps:\n{RINGS}    on_failure: continue\n  - id: after\n    value: 1\n"));
        run.settle();
        run.advance("ring", &mut runs_support::Choices::new(vec![0, 1]));
        run.advance("ring", &mut runs_support::Choices::new(vec![2]));
        run.settle();
        if told {
            run.advance("ring", &mut runs_support::Choices::new(vec![2]));
            run.settle();
            run.ask(Ask::DidNotHappen { step: "ring".into(), reason: "I looked".into() });
        } else {
            let error = ActionError::new(ErrorClass::Transient, ANSWER_LOST, "no answer");
            run.write(Entry::AttemptFailed { step: "ring".into(), attempt: 1, error, retry_at: run.now });
        }
        run.take_over();
        let known = std::mem::take(&mut run.program.registry);
        stands(&mut run);
        assert_eq!(status(&run, "after"), None);
        let Pause { step, why, .. } = run.state.paused().unwrap().clone();
        assert!(step.is_none() && why.contains("ring: this version of Firebreak has no action"), "{why}");
        // It stays where it is until a version comes that has it.
        run.ask(Ask::Resume);
        stands(&mut run);
        run.take_over();
        run.program.registry = known;
        run.ask(Ask::Resume);
        run.go();
        assert_eq!((outcome(&run), status(&run, "ring")), (Some(Outcome::Succeeded), Some(Status::Done)));
        assert_eq!(State::replay(&run.journal).unwrap(), run.state);
    }
}
