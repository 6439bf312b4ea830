//! The runbook language from the outside: the files of this repository, files with everything wrong, and any text.

mod runbooks_support;

use std::fs;
use std::path::Path;

use domain::Role;
use domain::runbook::{self, Checked, Diagnostic, OnTimeout, check_all};
use runbooks_support::registry;

fn drawn(file_name: &str, text: &str, mistakes: &[Diagnostic]) -> String {
    runbook::render(file_name, text, mistakes, false)
}

/// The mistakes of the first of these files, with the others at hand.
fn mistakes_of(files: &[(&str, &str)]) -> Vec<Diagnostic> {
    let files = files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    check_all(files, &registry()).swap_remove(0).runbook.err().unwrap_or_default()
}

#[test]
fn every_runbook_of_the_repository_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../runbooks");
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Err(mistakes) = runbook::parse(name, &text) {
            panic!("{}", drawn(name, &text, &mistakes));
        }
        read += 1;
    }
    assert!(read > 0, "no runbooks found");
}

#[test]
fn the_checker_finds_nothing_in_a_sound_runbook() {
    let text = include_str!("../../../runbooks/replace-proxysql.yaml");
    let mistakes = mistakes_of(&[("replace-proxysql.yaml", text)]);
    assert!(mistakes.is_empty(), "{}", drawn("replace-proxysql.yaml", text, &mistakes));
}

#[test]
fn every_mistake_of_form_is_shown_at_its_place() {
    let text = include_str!("runbooks_support/bad-form.yaml");
    let mistakes = runbook::parse("bad-form.yaml", text).unwrap_err();
    insta::assert_snapshot!(drawn("bad-form.yaml", text, &mistakes));
}

#[test]
fn every_mistake_of_meaning_is_shown_at_its_place() {
    let text = include_str!("runbooks_support/bad-names.yaml");
    let mistakes = mistakes_of(&[("bad-names.yaml", text)]);
    insta::assert_snapshot!(drawn("bad-names.yaml", text, &mistakes));
}

#[test]
fn what_an_item_of_a_written_list_never_is_is_said_of_the_item() {
    let told = |list: &str, condition: &str| {
        let text = format!(
            "runbook: r\ntitle: R\nwhen: Never\nrisk: low\nsteps:\n  - id: all\n    each: {list}\n    steps:\n      - id: one\n        if: {condition}\n        value: ${{item}}\n"
        );
        let mistakes = mistakes_of(&[("r.yaml", &text)]);
        mistakes.iter().map(|m| format!("{}; {}", m.what, m.remedy)).collect::<Vec<_>>().join("\n")
    };
    let one = r#"'["first"]'"#;
    assert_eq!(told(one, r#"item != """#), "it is never empty; it is always `first`");
    assert_eq!(told(one, r#"'"" != item'"#), "it is never empty; it is always `first`");
    assert_eq!(told(one, r#"item == "other""#), "it is never `other`; it is always `first`");
    assert_eq!(told(one, r#"item == "firts""#), "it is never `firts`; did you mean `first`?");
    let two = r#"'["first", "second"]'"#;
    assert_eq!(told(two, r#"item != """#), "it is never empty; it is one of first, second");
    assert_eq!(told(two, r#"item == "second""#), "");
}

/// The mistakes of a runbook with these inputs and steps.
fn told(inputs: &str, steps: &str) -> Vec<String> {
    let text = format!("runbook: r\ntitle: R\nwhen: Never\nrisk: low\ninputs:\n{inputs}steps:\n{steps}");
    mistakes_of(&[("r.yaml", &text)]).iter().map(|m| format!("{}; {}", m.what, m.remedy)).collect()
}

const GROUP: &str = "  group: { type: string, description: Which }\n";
const LOOK: &str =
    "  - { id: look, use: autoscaling.describe_group, with: { region: r, group: \"${inputs.group}\" } }\n";

#[test]
fn a_default_that_is_text_is_what_stands_there() {
    let text = "runbook: r\ntitle: R\nwhen: Never\nrisk: low\ninputs:\n\
        \x20 version: { type: string, default: 8.10, description: d }\n\
        \x20 account: { type: string, default: 012345678901, description: d }\n\
        \x20 yes: { type: string, default: True, description: d }\n\
        \x20 level: { type: enum, values: [1.0, 1.10], default: 1.10, description: d }\n\
        \x20 some: { type: list, of: string, default: [8.10, 007, a], description: d }\n\
        \x20 count: { type: integer, default: 007, description: d }\n\
        \x20 half: { type: number, default: 0.50, description: d }\n\
        steps:\n  - { id: nothing, value: 1 }\n";
    let runbook = runbook::parse("r.yaml", text).unwrap_or_else(|e| panic!("{e:?}"));
    let defaults: Vec<_> = runbook.inputs.iter().filter_map(|i| i.default.clone()).collect();
    let expected = serde_json::json!(["8.10", "012345678901", "True", "1.10", ["8.10", "007", "a"], 7, 0.5]);
    assert_eq!(serde_json::Value::from(defaults), expected);
}

#[test]
fn a_number_where_text_is_wanted_is_told_as_it_was_written() {
    let with = |group: &str| {
        told(
            GROUP,
            &format!(
                "  - {{ id: a, use: autoscaling.describe_group, with: {{ region: r, group: {group} }} }}\n"
            ),
        )
    };
    assert_eq!(
        with("8.10"),
        ["`group` takes text, and this is a number with decimals; put it in quotes: `\"8.10\"`"]
    );
    assert_eq!(with("012"), ["`group` takes text, and this is a whole number; put it in quotes: `\"012\"`"]);
    let child = "runbook: child\ntitle: C\nwhen: Never\nrisk: low\ninputs:\n  v: { type: string, description: d }\n  l: { type: list, of: string, optional: true, description: d }\nsteps:\n  - { id: nothing, value: 1 }\n";
    let given = |with: &str| {
        let text = format!(
            "runbook: r\ntitle: R\nwhen: Never\nrisk: low\nsteps:\n  - {{ id: a, run: child, with: {{ {with} }} }}\n"
        );
        let mistakes = mistakes_of(&[("r.yaml", &text), ("child.yaml", child)]);
        mistakes.iter().map(|m| format!("{}; {}", m.what, m.remedy)).collect::<Vec<_>>().join("\n")
    };
    let expected = |n: &str, v: &str| {
        format!("text is wanted, and `{n}` is a number here: `{v}`; put it in quotes: `\"{n}\"`")
    };
    assert_eq!(given("v: 8.10"), expected("8.10", "8.1"));
    assert_eq!(given("v: a, l: [b, 007]"), expected("007", "7"));
    assert_eq!(given("v: 8, l: [1.5]"), "", "what is the same text either way is taken");
}

#[test]
fn an_amount_is_a_number_or_a_percentage_before_anything_is_changed() {
    let amount = |key: &str, amount: &str| {
        let inputs = format!(
            "{GROUP}  share: {{ type: percent, default: 50%, description: d }}\n  n: {{ type: integer, default: 2, description: d }}\n  pace: {{ type: enum, values: [slow, 50%], default: slow, description: d }}\n  word: {{ type: string, default: a, description: d }}\n"
        );
        let each = format!(
            "  - {{ id: all, each: steps.look.ids, {key}: {amount}, use: autoscaling.describe_instance, with: {{ region: r, group: g, instance: \"${{item}}\" }} }}\n"
        );
        told(&inputs, &format!("{LOOK}{each}")).join("\n")
    };
    for key in ["at_once", "stop_after"] {
        for sound in [
            "2",
            "50%",
            "\"${inputs.n}\"",
            "\"${inputs.share}%\"",
            "\"${inputs.word}\"",
            "\"${inputs.pace}\"",
            "\"${math.greatest(1, size(steps.look.ids) / 2)}\"",
            "\"${int(inputs.share)}\"",
        ] {
            assert_eq!(amount(key, sound), "", "{sound}");
        }
        assert_eq!(
            amount(key, "\"${inputs.share}\""),
            format!(
                "`{key}` takes a whole number or a percentage, and this is a number with decimals; write `\"${{inputs.share}}%\"` if it is a percentage, and `\"${{int(inputs.share)}}\"` if it is not"
            )
        );
        assert!(
            amount(key, "\"${size(steps.look.ids) / 2}\"")
                .starts_with(&format!("`{key}` would be 0 of a few"))
        );
        assert!(amount(key, "\"${inputs.share} percent\"").contains("does not end with `%`"));
        assert!(amount(key, "\"${steps.look.ids}\"").contains("this is a list of texts"));
        assert!(amount(key, "\"${inputs.n > 1}\"").contains("this is true or false"));
    }
}

#[test]
fn a_function_is_called_on_what_it_works_on() {
    let says = |expression: &str| {
        let value = serde_json::Value::from(format!("${{{expression}}}"));
        told(GROUP, &format!("{LOOK}  - {{ id: v, value: {value} }}\n")).join("\n")
    };
    for sound in [
        "'i-1' in steps.look.ids",
        "inputs.group.contains('a') && steps.look.ids[0].startsWith('i-')",
        "math.ceil(double(size(steps.look.ids)) / 2.0)",
        "steps.look.in_service.map(h, h.id).join(', ') + steps.look.ids.join()",
        "steps.look.in_service.filter(h, h.az.endsWith('a')).slice(0, 1)",
        "signal.labels.x.contains('a')",
        "string(size(inputs.group)) + string(true) + inputs.group.split('-')[0].substring(1)",
        "math.least(1, 2, 3) + math.abs(int('1'))",
    ] {
        assert_eq!(
            says(sound).replace("`signal` is only known where a signal is", ""),
            says(sound),
            "{sound}"
        );
        if !sound.contains("signal") {
            assert_eq!(says(sound), "", "{sound}");
        }
    }
    for (wrong, expected) in [
        (
            "steps.look.ids.contains('i-1')",
            "`contains` does not work on a list of texts; write `\"i-1\" in steps.look.ids`",
        ),
        (
            "steps.look.in_service.exists(h, steps.look.ids.contains(h.id))",
            "`contains` does not work on a list of texts; write `h.id in steps.look.ids`",
        ),
        (
            "math.ceil(size(steps.look.ids) / 2)",
            "`math.ceil` does not work on a whole number; make it decimal before anything is divided: `double(…)`, and `2.0` for `2`",
        ),
        ("inputs.group.startsWith()", "`startsWith` is given nothing; write `text.startsWith(text)`"),
        (
            "inputs.group.indexOf('a', 1, 2)",
            "`indexOf` is given 3 values; write `text.indexOf(text)` or `text.indexOf(text, number)`",
        ),
        (
            "inputs.group.contains(1)",
            "`contains` takes text, and this is a whole number; make a text of it: `string(…)`",
        ),
        (
            "steps.look.desired.contains('a')",
            "`contains` does not work on a whole number; make a text of it: `string(…)`",
        ),
        (
            "steps.look.in_service.join(', ')",
            "`join` does not work on a list of records; take one field of each item: `.map(x, x.id)`",
        ),
        (
            "string(steps.look.ids)",
            "`string` does not work on a list of texts; take one of its items with `[0]`, or all of them with `.exists(x, …)` or `.map(x, …)`",
        ),
        ("size(1, 2)", "`size` is given 2 values; write `size(list)`"),
        ("inputs.group.sort()", "`sort` does not work on text; give it a list"),
    ] {
        assert_eq!(says(wrong), expected, "{wrong}");
    }
}

#[test]
fn what_is_kept_in_seconds_is_not_given_in_less() {
    let with = |top: &str, step: &str| {
        let text = format!("runbook: r\ntitle: R\nwhen: Never\nrisk: low\n{top}steps:\n{step}");
        match runbook::parse("r.yaml", &text) {
            Ok(_) => "sound".to_owned(),
            Err(mistakes) => {
                mistakes.iter().map(|m| format!("{} {}", m.pos.line, m.what)).collect::<Vec<_>>().join("\n")
            }
        }
    };
    let value = "  - { id: v, value: 1 }\n";
    let approve =
        |within: &str| format!("  - {{ id: a, approve: {{ within: {within} }}, message: Well? }}\n");
    let wrong = "this must be whole seconds, and it is more or less";
    for (text, less) in [("500ms", true), ("1500ms", true), ("1s", false), ("2000ms", false)] {
        let expected = |line: usize| if less { format!("{line} {wrong}") } else { "sound".to_owned() };
        assert_eq!(with(&format!("limits: [{{ name: n, at_most: 1, per: {text} }}]\n"), value), expected(5));
        assert_eq!(with(&format!("limits: [{{ name: n, cooldown: {text} }}]\n"), value), expected(5));
        assert_eq!(with(&format!("approval: {{ within: {text} }}\n"), value), expected(5));
        assert_eq!(with("", &approve(text)), expected(6));
        let trigger = format!("triggers: [{{ name: t, where: signal.kind == \"x\", cooldown: {text} }}]\n");
        assert_eq!(with(&trigger, value), expected(5));
    }
}

#[test]
fn every_mistake_in_triggers_is_shown_at_its_place() {
    let text = include_str!("runbooks_support/bad-trigger-form.yaml");
    let mistakes = runbook::parse("bad-trigger-form.yaml", text).unwrap_err();
    insta::assert_snapshot!("triggers_form", drawn("bad-trigger-form.yaml", text, &mistakes));
    let text = include_str!("runbooks_support/bad-triggers.yaml");
    let mistakes = mistakes_of(&[("bad-triggers.yaml", text)]);
    insta::assert_snapshot!("triggers_meaning", drawn("bad-triggers.yaml", text, &mistakes));
}

#[test]
fn what_is_not_a_plain_record_of_yaml_is_refused_with_a_remedy() {
    let told: Vec<String> = [
        "",
        "- a list",
        "just text",
        "runbook: x\n\ttitle: y",
        "runbook: [a, b\ntitle: y",
        "runbook: \"open",
        "runbook: x: y",
        "runbook: x\n  title: y\n when: z",
        "runbook: &anchor x",
        "a: &x 1\nb: *x",
        "a: *unknown",
        "<<: { a: b }",
        "title: !!str 5",
        "title: @x",
        "a: 1\n---\nb: 2",
        "{a, b}: c",
        "a: 1\na: 2",
        "a: \u{1}",
    ]
    .into_iter()
    .map(|text| {
        let mistakes = runbook::parse("x.yaml", text).unwrap_err();
        let yaml: Vec<_> = mistakes
            .iter()
            .filter(|m| !m.what.contains("is missing") && !m.what.contains("has no key"))
            .map(ToString::to_string)
            .collect();
        format!("{text:?}\n    {}", yaml.join("\n    "))
    })
    .collect();
    insta::assert_snapshot!(told.join("\n"));
}

const CHILD: &str = include_str!("runbooks_support/child.yaml");

#[test]
fn every_mistake_in_the_forms_that_hold_steps_is_shown_at_its_place() {
    let text = include_str!("runbooks_support/bad-holders.yaml");
    let mistakes = runbook::parse("bad-holders.yaml", text).unwrap_err();
    insta::assert_snapshot!(drawn("bad-holders.yaml", text, &mistakes));
}

#[test]
fn every_mistake_about_another_runbook_is_shown_at_its_place() {
    let text = include_str!("runbooks_support/bad-children.yaml");
    let broken =
        "runbook: broken\ntitle: B\nwhen: Never\nrisk: low\nsteps:\n  - id: a\n    value: ${steps.b}\n";
    let around =
        "runbook: around\ntitle: A\nwhen: Never\nrisk: low\nsteps:\n  - id: a\n    run: bad-children\n";
    let files = [
        ("bad-children.yaml", text),
        ("child.yaml", CHILD),
        ("broken.yaml", broken),
        ("around.yaml", around),
    ];
    insta::assert_snapshot!(drawn("bad-children.yaml", text, &mistakes_of(&files)));
}

#[test]
fn a_runbook_is_as_dangerous_as_the_most_dangerous_one_in_it() {
    let parent = "runbook: parent\ntitle: P\nwhen: Never\nrisk: low\ninputs:\n  fleet: { type: proxy_fleet, description: Which }\n\
                  steps:\n  - id: heal\n    run: child\n    with: { fleet: \"${inputs.fleet}\", wait: 90s, hosts: [a] }\n  \
                  - id: after\n    assert: steps.heal.look.desired > 0 && steps.heal.both.left.one == 1\n    message: none\n";
    let files = [("parent.yaml", parent), ("child.yaml", CHILD)].map(|(f, t)| (f.to_owned(), t.to_owned()));
    let Checked { runbook, .. } = check_all(files, &registry()).swap_remove(0);
    let runbook = runbook.unwrap_or_else(|mistakes| panic!("{}", drawn("parent.yaml", parent, &mistakes)));
    assert_eq!(runbook.risk, runbook::Risk::High);
}

/// What nobody may do alone is not done alone by way of a runbook that runs it.
#[test]
fn a_runbook_needs_whatever_agreement_any_runbook_in_it_needs() {
    let book = |name: &str, rest: &str| {
        let text = format!("runbook: {name}\ntitle: T\nwhen: Never\nlocks: [thing]\n{rest}");
        (format!("{name}.yaml"), text)
    };
    let runs = |child: &str| format!("steps:\n  - id: go\n    run: {child}\n");
    let files = [
        book("parent", &format!("risk: medium\n{}", runs("middle"))),
        book("own", &format!("risk: low\napproval: {{ by: responder, within: 5m }}\n{}", runs("middle"))),
        book("middle", &format!("risk: low\n{}", runs("child"))),
        book(
            "child",
            "risk: medium\napproval: { by: admin, count: 2, within: 20m, break_glass: admin }\nsteps:\n  - { id: one, value: 1 }\n",
        ),
        book("alone", "risk: low\nsteps:\n  - { id: one, value: 1 }\n"),
        book("over-severe", &format!("risk: low\n{}", runs("severe"))),
        book("severe", "risk: severe\nsteps:\n  - { id: one, value: 1 }\n"),
    ];
    let checked = check_all(files, &registry());
    let needs = |name: &str| {
        let found = checked.iter().find(|c| c.name == name).unwrap();
        let runbook =
            found.runbook.as_ref().unwrap_or_else(|m| panic!("{}", drawn(&found.file, &found.text, m)));
        runbook.approval().map(|a| (a.by, a.count, a.within_s))
    };
    assert_eq!(needs("parent"), Some((Role::Admin, 2, 1200)));
    assert_eq!(needs("own"), Some((Role::Admin, 2, 300)));
    assert_eq!(needs("over-severe"), Some((Role::Approver, 1, 1800)));
    assert_eq!(needs("alone"), None);
}

#[test]
fn a_guard_that_the_run_goes_on_despite_is_none_for_what_cannot_be_taken_back() {
    let told = |on_failure: &str| {
        let text = format!(
            "runbook: r\ntitle: R\nwhen: Never\nrisk: low\nlocks: [l]\nsteps:\n  - id: sure\n    assert: 1 == 1\n    message: It is not.\n    on_failure: {on_failure}\n  - id: gone\n    use: autoscaling.scale_to\n    with: {{ region: r, group: g, desired: 1 }}\n    one_way: true\n"
        );
        mistakes_of(&[("r.yaml", &text)]).iter().map(|m| m.what.clone()).collect::<Vec<_>>()
    };
    assert_eq!(told("fail"), [""; 0]);
    assert_eq!(told("continue"), ["step `gone` cannot be taken back, and no guard stands before it"]);
}

#[test]
fn a_check_of_the_symptom_that_would_pass_when_its_time_is_up_is_refused_and_runs_of_such_a_text_do_not_go_by_it()
 {
    let text = |on_timeout: &str| {
        format!(
            "runbook: r\ntitle: R\nwhen: Never\nrisk: low\nsteps:\n  - {{ id: one, value: 1 }}\nverify:\n  use: autoscaling.describe_refreshes\n  with: {{ region: r, group: g }}\n  until: size(out.active) == 0\n  timeout: 1m\n  on_timeout: {on_timeout}\n  message: still there\n"
        )
    };
    let told = |on_timeout| {
        let told = mistakes_of(&[("r.yaml", &text(on_timeout))]);
        told.iter().map(|m| (m.pos.line, m.what.clone())).collect::<Vec<_>>()
    };
    let [(12, what)] = &told("continue")[..] else { panic!("{:?}", told("continue")) };
    assert!(what.starts_with("`verify` cannot say `on_timeout: continue`"), "{what}");
    // It says what is so anyway.
    assert_eq!(told("fail"), []);
    let pinned = runbook::parse("r.yaml", &text("continue")).unwrap();
    assert_eq!(pinned.verify.unwrap().look.until.unwrap().on_timeout, OnTimeout::Fail);
}
