//! The table of verdicts, row by row.

use super::*;
use crate::brake::{Freeze, KillSwitch};

fn at(text: &str) -> Timestamp {
    format!("2024-05-07T{text}Z").parse().unwrap()
}

fn rule(runbook: &str) -> Rule {
    Rule { runbook: runbook.into(), trigger: "logins-fail".into() }
}

fn candidate(runbook: &str, mode: Mode, standing: Standing) -> Candidate {
    Candidate { rule: rule(runbook), mode, standing }
}

fn run() -> Run {
    Run { id: Uuid::from_u128(7), title: "Replace hosts: us".into(), by: "ana".into() }
}

fn fits() -> Standing {
    Standing::Fits { title: "Replace hosts: us".into(), targets: vec!["fleet:us".into()], typed: false }
}

fn refuted() -> Standing {
    Standing::Refuted { step: "sick".into(), message: "Every login works.".into() }
}

fn frozen() -> Standing {
    let (starts, ends) = (at("10:00:00"), at("18:00:00"));
    let scope = "*".to_owned();
    Standing::Held(Brake::Freeze(Freeze {
        id: Uuid::nil(),
        scope,
        starts,
        ends,
        reason: "launch".into(),
        by: "bob".into(),
        uid: None,
    }))
}

fn judged(candidates: &[Candidate], around: &Surroundings) -> Decision {
    let (now, budget) = (at("14:42:30"), Budget::default());
    decide(&Case { state: SignalState::Firing, now, candidates, around, budget: &budget })
}

fn alone(mode: Mode, standing: Standing) -> Decision {
    judged(&[candidate("replace", mode, standing)], &Surroundings::default())
}

#[test]
fn what_is_over_or_not_understood_starts_nothing_whatever_fits() {
    let candidates = [candidate("replace", Mode::Auto, fits())];
    for (state, verdict, code) in [
        (SignalState::Resolved, Verdict::Suppressed, "resolved"),
        (SignalState::Unclear, Verdict::Ignored, "unclear"),
    ] {
        let (around, budget) = (Surroundings::default(), Budget::default());
        let case =
            Case { state, now: at("14:42:30"), candidates: &candidates, around: &around, budget: &budget };
        let decision = decide(&case);
        assert_eq!((decision.verdict, decision.code, decision.again), (verdict, code, None));
    }
}

#[test]
fn each_standing_of_a_single_rule_has_its_verdict_and_its_sentence() {
    use Verdict::{Asked, Ignored, Joined, Started, Suggested, Suppressed};
    let typed = Standing::Fits { title: "x".into(), targets: vec![], typed: true };
    let switch = KillSwitch {
        scope: "*".into(),
        by: "ana".into(),
        reason: "wrong view".into(),
        since: at("14:00:00"),
    };
    let table: [(Mode, Standing, Verdict, &str, &str); 12] = [
        (Mode::Auto, Standing::Unfit("no fleet".into()), Ignored, "unfit", "no fleet"),
        (
            Mode::Auto,
            Standing::Running(run()),
            Joined,
            "joined",
            "“Replace hosts: us”, asked for by ana, is at work on it.",
        ),
        (
            Mode::Auto,
            Standing::Acted(run(), "succeeded".into()),
            Suppressed,
            "acted",
            "not done twice by itself",
        ),
        (Mode::Auto, resting(), Suppressed, "cooldown", "rests until 15:12:00 UTC"),
        (
            Mode::Auto,
            Standing::Blind("AWS is dark".into()),
            Suppressed,
            "blind",
            "AWS is dark. A person must look.",
        ),
        (
            Mode::Auto,
            barred(),
            Suppressed,
            "barred",
            "`launch` may not be done: At most ten. A person must look.",
        ),
        (Mode::Auto, refuted(), Suppressed, "refuted", "by its guard `sick`: Every login works."),
        (Mode::Auto, frozen(), Suppressed, "freeze", "launch (entered by bob). If it cannot wait, confirm"),
        (Mode::Auto, Standing::Held(Brake::KillSwitch(switch)), Suppressed, "kill_switch", "wrong view"),
        (Mode::Shadow, fits(), Suggested, "shadow", "mode shadow"),
        (Mode::Ask, fits(), Asked, "ask", "a person starts it"),
        (Mode::Auto, typed, Asked, "typed", "type the target"),
    ];
    for (mode, standing, verdict, code, words) in table {
        let decision = alone(mode, standing.clone());
        assert_eq!((decision.verdict, decision.code), (verdict, code), "{standing:?}");
        assert!(decision.because.contains(words), "{}", decision.because);
        assert_eq!(decision.of, Some(0), "{standing:?}");
        assert!(decision.again.is_some(), "while it fires, it is looked at again: {standing:?}");
    }
    let decision = alone(Mode::Auto, fits());
    assert_eq!((decision.verdict, decision.of), (Started, Some(0)));
    assert_eq!(judged(&[], &Surroundings::default()).code, "no_rule");
}

fn resting() -> Standing {
    Standing::Resting(run(), at("15:12:00"))
}

fn barred() -> Standing {
    Standing::Barred { step: "launch".into(), message: "At most ten.".into() }
}

fn blind() -> Standing {
    Standing::Blind("AWS is dark".into())
}

#[test]
fn what_keeps_a_rule_from_asking_or_acting_is_told_and_in_shadow_there_is_nothing_to_tell() {
    for standing in [frozen(), blind(), resting()] {
        for (mode, told) in [(Mode::Auto, true), (Mode::Ask, true), (Mode::Shadow, false)] {
            assert_eq!(alone(mode, standing.clone()).held_back, told, "{mode:?} {standing:?}");
        }
    }
    for standing in [refuted(), fits(), Standing::Running(run())] {
        assert!(!alone(Mode::Auto, standing.clone()).held_back, "{standing:?}");
    }
}

#[test]
fn what_a_rule_in_shadow_says_hides_nothing_that_another_is_kept_from() {
    for hides in [fits(), frozen(), resting()] {
        for held in [frozen(), blind(), resting()] {
            let candidates = [
                candidate("failover", Mode::Shadow, hides.clone()),
                candidate("replace", Mode::Ask, held.clone()),
            ];
            let decision = judged(&candidates, &Surroundings::default());
            assert_eq!((decision.of, decision.held_back), (Some(1), true), "{hides:?} {held:?}");
        }
    }
    // What can be done is told instead.
    let candidates = [candidate("failover", Mode::Ask, fits()), candidate("replace", Mode::Auto, frozen())];
    let decision = judged(&candidates, &Surroundings::default());
    assert_eq!((decision.verdict, decision.of), (Verdict::Asked, Some(0)));
}

#[test]
fn of_two_runbooks_the_one_is_chosen_whose_guards_hold() {
    let candidates = [candidate("failover", Mode::Auto, refuted()), candidate("replace", Mode::Auto, fits())];
    let decision = judged(&candidates, &Surroundings::default());
    assert_eq!((decision.verdict, decision.of), (Verdict::Started, Some(1)));
}

#[test]
fn when_two_fit_a_person_chooses() {
    let candidates = [candidate("failover", Mode::Auto, fits()), candidate("replace", Mode::Auto, fits())];
    let decision = judged(&candidates, &Surroundings::default());
    assert_eq!((decision.verdict, decision.code), (Verdict::Asked, "several"));
    assert!(decision.because.contains("failover/logins-fail and of replace/logins-fail"));
}

#[test]
fn beside_a_run_that_is_at_work_nothing_else_is_started() {
    let candidates = [
        candidate("failover", Mode::Auto, fits()),
        candidate("replace", Mode::Auto, Standing::Running(run())),
    ];
    let decision = judged(&candidates, &Surroundings::default());
    assert_eq!((decision.verdict, decision.run), (Verdict::Joined, Some(run().id)));
}

#[test]
fn when_none_fits_all_guards_that_said_no_are_told() {
    let candidates =
        [candidate("failover", Mode::Auto, refuted()), candidate("replace", Mode::Auto, refuted())];
    let decision = judged(&candidates, &Surroundings::default());
    assert_eq!(decision.code, "refuted");
    assert!(decision.because.contains("failover/") && decision.because.contains("replace/"));
}

#[test]
fn a_storm_is_left_to_people() {
    let struck = |n: usize| (0..n).map(|i| format!("fleet:{i}")).collect();
    let candidates = [candidate("replace", Mode::Auto, fits())];
    let around = |n| Surroundings { struck: struck(n), ..Surroundings::default() };
    assert_eq!(judged(&candidates, &around(2)).verdict, Verdict::Started);
    let decision = judged(&candidates, &around(3));
    assert_eq!((decision.verdict, decision.code), (Verdict::Asked, "storm"));
}

#[test]
fn a_rule_a_target_and_all_together_have_a_budget() {
    let start = |runbook: &str, target: &str| Start { rule: rule(runbook), targets: vec![target.to_owned()] };
    let candidates = [candidate("replace", Mode::Auto, fits())];
    let with = |starts: Vec<Start>| judged(&candidates, &Surroundings { starts, ..Surroundings::default() });
    assert_eq!(with(vec![start("replace", "fleet:eu")]).verdict, Verdict::Started);
    let spent = [
        vec![start("replace", "fleet:eu"), start("replace", "fleet:ap")],
        vec![start("other", "fleet:us"), start("another", "fleet:us")],
        (0..4).map(|n| start(&format!("r{n}"), &format!("fleet:{n}"))).collect(),
    ];
    for starts in spent {
        let decision = with(starts);
        assert_eq!((decision.verdict, decision.code), (Verdict::Asked, "budget"), "{}", decision.because);
    }
}

#[test]
fn a_process_that_has_just_begun_to_look_asks_until_it_is_warm() {
    let candidates = [candidate("replace", Mode::Auto, fits())];
    let around = |warm_at| Surroundings { warm_at: Some(at(warm_at)), ..Surroundings::default() };
    let decision = judged(&candidates, &around("14:43:00"));
    assert_eq!((decision.verdict, decision.code), (Verdict::Asked, "warming_up"));
    assert_eq!(decision.again, Some(TimeDelta::seconds(31)));
    assert_eq!(judged(&candidates, &around("14:42:30")).verdict, Verdict::Started);
}
