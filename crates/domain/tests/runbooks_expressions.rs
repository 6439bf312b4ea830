//! Expressions, templates, scopes and inputs: what they give, and what they say when they cannot.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;

use domain::inventory::Inventory;
use domain::runbook::{self, EvalError, Expr, Scope, Slot, input_values, inventory_value, resolve_inputs};
use serde_json::{Map, Value, json};

fn scope() -> Scope {
    let steps = [
        (
            "group",
            Slot::known(
                json!({"desired": 2, "max": 9, "ids": ["a", "b"], "in_service": [{"id": "b", "z": 1}, {"id": "a", "z": 2.5}]}),
            ),
        ),
        ("make_room", Slot::known(Value::Null)),
        ("launch", Slot::Later { after: "launch".into() }),
    ];
    Scope {
        inputs:
            json!({"fleet": {"id": "f", "target_group": null}, "share": 50.0, "wait": 90, "huge": u64::MAX})
                .into(),
        steps: steps.into_iter().map(|(id, slot)| (id.to_owned(), slot)).collect::<BTreeMap<_, _>>(),
        inventory: json!({"clusters": [{"id": "c1"}], "fleets": []}).into(),
        ..Scope::default()
    }
}

fn eval(source: &str) -> Result<Value, EvalError> {
    Expr::parse(source).unwrap_or_else(|e| panic!("{source}: {e}")).eval(&scope())
}

fn fails(source: &str) -> String {
    eval(source).unwrap_err().to_string()
}

#[test]
fn values_keep_their_types() {
    for (source, value) in [
        ("steps.group.desired + 1", json!(3)),
        ("steps.group.desired < 2.5", json!(true)),
        ("steps.group.desired == 2.0", json!(true)),
        ("size(steps.group.in_service)", json!(2)),
        ("steps.group.in_service.filter(h, h.id in steps.group.ids).map(h, h.id)", json!(["b", "a"])),
        ("steps.group.in_service[1].z", json!(2.5)),
        ("steps[\"group\"].ids[0]", json!("a")),
        ("inputs.fleet.target_group != null", json!(false)),
        ("inputs.fleet.target_group == null ? [] : [inputs.fleet.target_group]", json!([])),
        ("steps.make_room == null", json!(true)),
        ("has(steps.group.nothing)", json!(false)),
        ("inputs.share / 2.0", json!(25.0)),
        ("math.least(steps.group.desired, 1)", json!(1)),
        ("int(math.ceil(double(steps.group.desired) * 0.7))", json!(2)),
        ("steps.group.ids.join(', ')", json!("a, b")),
        ("[3, 1, 2].sort()", json!([1, 2, 3])),
        ("inventory.clusters.exists(c, c.id == 'c1')", json!(true)),
        ("inputs.huge", json!(u64::MAX)),
    ] {
        assert_eq!(eval(source).unwrap_or_else(|e| panic!("{source}: {e}")), value, "{source}");
    }
}

#[test]
fn a_bare_path_keeps_the_order_of_fields() {
    assert_eq!(eval("steps.group.in_service[0]").unwrap().to_string(), r#"{"id":"b","z":1}"#);
}

#[test]
fn failures_are_told_in_the_words_of_the_runbook() {
    let told: Vec<String> = [
        "steps.make_room.max",
        "steps.make_room.max > 3",
        "steps.group.dezired + 1",
        "steps.nothing.at_all",
        "inputs.fleet.target_group.arn",
        "steps.group.desired + 1.5",
        "steps.group.desired / 0",
        "steps.group.ids[7] == 'a'",
        "steps.group.ids[7]",
        "steps.group.desired.x",
        "steps.group.ids < 3",
        "steps.group.desired ? 1 : 2",
        "item.id",
        "out.x == 1",
        "inputs.huge + 1",
        "9223372036854775807 + steps.group.desired",
        "'a' + 1",
        "int('x')",
        "steps.group.in_service.map(h, h.ip)",
        "0.0 / 0.0",
    ]
    .into_iter()
    .map(fails)
    .collect();
    insta::assert_snapshot!(told.join("\n"));
    let not_bool = Expr::parse("steps.group.desired").unwrap().test(&scope()).unwrap_err();
    assert_eq!(
        not_bool.to_string(),
        "`steps.group.desired`: this is a whole number, where true or false is needed"
    );
}

#[test]
fn what_rests_on_a_step_that_has_not_run_is_known_later() {
    let later = Err(EvalError::Later { after: "launch".into() });
    for source in [
        "steps.launch.desired",
        "steps.launch == null",
        "[1].map(x, x + steps.launch.desired)",
        "steps['launch'].desired > 1",
        "steps.size() > 1",
        "false && steps.launch.done",
    ] {
        assert_eq!(eval(source), later, "{source}");
    }
    assert_eq!(eval("steps.group.desired"), Ok(json!(2)));
}

#[test]
fn facts_are_the_values_that_a_guard_saw() {
    let guard = Expr::parse(
        "size(steps.group.in_service.filter(h, h.id in steps.group.ids)) > steps.group.desired && steps.make_room.max > 1",
    )
    .unwrap();
    assert_eq!(
        Value::Object(guard.facts(&scope())),
        json!({
            "steps.group.in_service": [{"id": "b", "z": 1}, {"id": "a", "z": 2.5}],
            "steps.group.ids": ["a", "b"],
            "steps.group.desired": 2,
        })
    );
}

#[test]
fn compiled_runbooks_can_be_shared_between_threads() {
    fn shared<T: Clone + Send + Sync + std::fmt::Debug>() {}
    shared::<Expr>();
    shared::<runbook::Runbook>();
}

#[test]
fn item_and_out_are_nested() {
    let scope = scope().with_item(json!({"id": "i"})).with_out(json!({"ok": true}));
    assert!(Expr::parse("item.id == 'i' && out.ok").unwrap().test(&scope).unwrap());
}

#[test]
fn mistakes_in_expressions_have_a_remedy() {
    let told: Vec<String> = [
        "",
        "a b",
        "(steps.x",
        "steps.",
        "x = 1",
        "steps.x and true",
        "not steps.x",
        "'open",
        "size(",
        "foo.bar",
        "inputs.x.fliter(i, i)",
        "inputs.x.filter(i)",
        "inputs.x.filter(steps, true)",
        "Foo{a: 1}",
        "lists.range(9)",
        "'é' ++ 'é'",
        "hos",
        "inputs.x.map(h, hh.id)",
        "'a'.matches('b')",
        "1 === 2",
        "steps.a & steps.b",
        "[1].map(a, [1].map(b, [1].map(c, [1].map(d, a))))",
    ]
    .into_iter()
    .map(|source| format!("{source:40} {}", Expr::parse(source).unwrap_err()))
    .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn comments_end_with_their_line_and_hide_nothing() {
    let refused = |source: &str| Expr::parse(source).unwrap_err().to_string();
    assert_eq!(eval("1 // don't\n + 1").unwrap(), json!(2));
    assert_eq!(eval("'http://a' + \"//\"").unwrap(), json!("http://a//"));
    // Behind the apostrophe it is counted on.
    let deep = format!("true // don't\n && {}1{} == 1", "(".repeat(30), ")".repeat(30));
    assert!(refused(&deep).contains("too deep"), "{}", refused(&deep));
    let open = format!("'open\n + {}1{}", "(".repeat(30), ")".repeat(30));
    assert!(refused(&open).contains("too deep"), "{}", refused(&open));
    // Lines that YAML folds into one would be the comment's.
    assert!(refused("true // why && false").contains("up to the end"), "{}", refused("true // why && false"));
    let value = |value: &str| {
        let text =
            format!("runbook: r\ntitle: R\nwhen: Never\nrisk: low\nsteps:\n  - id: v\n    value: {value}\n");
        runbook::parse("r.yaml", &text).map(drop).map_err(|e| e[0].what.clone())
    };
    assert_eq!(value("|\n      ${ 1 // don't, not even {here\n      + 1 } and more"), Ok(()));
    assert!(value("${1 // don't}").unwrap_err().contains("up to the end"));
}

#[test]
fn what_grows_without_measure_is_refused_before_it_is_tried() {
    let tenfold = |n: usize| format!("'a'{}", ".replace('a', 'aaaaaaaaaa')".repeat(n));
    assert!(eval(&tenfold(5)).is_ok());
    for source in [
        tenfold(20),
        format!("'{}'{}", "a".repeat(900), ".replace('a', inputs.x)".repeat(5)),
        "[inputs.x].map(x, x.split('').map(c, x).join('')).map(x, x.split('').map(c, x).join('')).map(x, x.split('').map(c, x).join(''))".into(),
        "inputs.x.split('').join(inputs.x).split('').join(inputs.x).split('').join(inputs.x).split('').join(inputs.x).split('').join(inputs.x)".into(),
    ] {
        let told = Expr::parse(&source).unwrap_err().to_string();
        assert!(told.contains("too large"), "{source}: {told}");
    }
    for sound in [
        "inputs.x.replace('-', '_').replace('.', '_').replace(' ', '_').replace(':', '_').replace('/', '_')",
        "inputs.x.map(a, inputs.y.map(b, inputs.z.map(c, c.id + a.id))).flatten()",
        "inputs.x.filter(a, inputs.y.filter(b, inputs.z.exists(c, c.id == a.id)).map(b, b.id).join(', ') != '')",
        "'a, ' + inputs.x.map(h, h.id + ' in ' + h.zone).join(', ')",
    ] {
        assert!(Expr::parse(sound).is_ok(), "{sound}: {:?}", Expr::parse(sound).err());
    }
}

/// Threads have two megabytes of stack; whatever passes `parse` must be safe to evaluate there, and to parse.
#[test]
fn deep_and_long_expressions_are_refused_or_safe() {
    let shapes: [&dyn Fn(usize) -> String; 12] = [
        &|n| vec!["1"; n].join("+"),
        &|n| vec!["true"; n].join("&&"),
        &|n| vec!["1"; n].join("<"),
        &|n| format!("inputs{}", ".a".repeat(n)),
        &|n| format!("[1]{}", "[0]".repeat(n)),
        &|n| format!("{}1", "true?1:".repeat(n)),
        &|n| format!("{}1{}", "(".repeat(n), ")".repeat(n)),
        &|n| format!("{}1{}", "[".repeat(n), "]".repeat(n)),
        &|n| format!("{}true", "!".repeat(n)),
        &|n| format!("{}true{}", "!(".repeat(n), ")".repeat(n)),
        &|n| format!("[1]{}", ".map(x, x)".repeat(n)),
        &|n| format!("{}1{}", "{'a':".repeat(n), "}".repeat(n)),
    ];
    for shape in shapes {
        let mut passed = 0;
        for n in [1, 2, 5, 10, 15, 20, 22, 24, 26, 40, 100, 249, 300, 3000, 100_000] {
            if let Ok(expr) = Expr::parse(&shape(n)) {
                let _ = expr.eval(&scope());
                passed += 1;
            }
        }
        assert!(passed > 2, "{}", shape(3));
    }
}

fn inventory() -> Inventory {
    let account = json!({"user": "u", "password": {"env": "X"}});
    serde_json::from_value(json!({
        "clusters": [
            {"id": "shard-a", "region": "r", "endpoint": "a.example", "probe": account},
            {"id": "shard-b", "region": "r", "identifier": "rds-b", "endpoint": "b.example", "probe": account},
        ],
        "fleets": [{"id": "proxysql-us", "region": "r", "account": null, "group": "g", "clusters": ["shard-a", "shard-b"], "admin": account}],
    }))
    .unwrap()
}

const FORM: &str = "
runbook: form
title: A form
when: Always.
risk: low
inputs:
  fleet: { type: proxy_fleet, description: a fleet }
  cluster: { type: cluster, optional: true, description: a cluster }
  which: { type: enum, values: [all, sick], default: all, description: a word }
  count: { type: integer, default: 2, description: a number }
  share: { type: percent, default: 50%, description: a share }
  wait: { type: duration, default: 3m, description: a time }
  force: { type: boolean, default: false, description: yes or no }
  factor: { type: number, optional: true, description: a factor }
  shards: { type: list, of: cluster, optional: true, description: clusters }
  note: { type: string, optional: true, description: a note }
steps:
  - id: nothing
    value: 1
";

fn form() -> runbook::Runbook {
    runbook::parse("form.yaml", FORM)
        .unwrap_or_else(|e| panic!("{}", runbook::render("form.yaml", FORM, &e, false)))
}

fn given(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn inputs_come_as_text_or_json_and_are_stored_the_same() {
    let expected = json!({
        "fleet": "proxysql-us", "cluster": "shard-b", "which": "sick", "count": 6, "share": "25%", "wait": "1m 30s",
        "force": true, "factor": 1.5, "shards": ["shard-a", "shard-b"], "note": "hello",
    });
    for form_or_json in [
        json!({"fleet": "proxysql-us", "cluster": " shard-b ", "which": "sick", "count": "6", "share": "25%", "wait": "90s",
            "force": "on", "factor": "1.5", "shards": "shard-a, shard-b", "note": "hello"}),
        json!({"fleet": "proxysql-us", "cluster": "shard-b", "which": "sick", "count": 6, "share": 25, "wait": "1m 30s",
            "force": true, "factor": 1.5, "shards": ["shard-a", "shard-b"], "note": "hello"}),
    ] {
        let stored = resolve_inputs(&form(), &inventory(), &given(form_or_json)).unwrap();
        assert_eq!(Value::Object(stored), expected);
    }
}

#[test]
fn expressions_see_records_seconds_and_numbers_and_never_credentials() {
    let stored = resolve_inputs(
        &form(),
        &inventory(),
        &given(json!({"fleet": "proxysql-us", "cluster": "", "note": null})),
    )
    .unwrap();
    let seen = input_values(&form(), &inventory(), &stored);
    assert_eq!(
        seen,
        json!({
            "fleet": {"id": "proxysql-us", "region": "r", "account": null, "group": "g", "target_group": null, "port": 6033, "admin_port": 6032,
                "clusters": ["shard-a", "shard-b"], "backend_connections": 1000},
            "cluster": null, "which": "all", "count": 2, "share": 50.0, "wait": 180, "force": false, "factor": null,
            "shards": null, "note": null,
        })
    );
    assert_eq!(inventory_value(&inventory())["clusters"][1]["identifier"], "rds-b");
    assert!(!inventory_value(&inventory()).to_string().contains("password"));
    let scope = Scope { inputs: seen.into(), ..Scope::default() };
    let at_once = Expr::parse("inputs.share / 2.0 < double(inputs.wait)").unwrap();
    assert!(at_once.test(&scope).unwrap());
}

#[test]
fn a_list_that_names_nothing_is_refused() {
    for nothing in [",", " , \n,"] {
        let inputs = json!({"fleet": "proxysql-us", "shards": nothing});
        let mistakes = resolve_inputs(&form(), &inventory(), &given(inputs)).unwrap_err();
        assert_eq!(mistakes.len(), 1);
        assert!(
            mistakes[0].input == "shards" && mistakes[0].what.contains("names nothing"),
            "{}",
            mistakes[0]
        );
    }
}

#[test]
fn every_mistake_in_the_inputs_is_told_at_once() {
    let mistakes = resolve_inputs(
        &form(),
        &inventory(),
        &given(json!({"cluster": "shard-c", "which": "sik", "count": "six", "share": 150, "wait": 5, "force": "maybe",
            "factor": [], "shards": ["shard-a", "x"], "flet": "proxysql-us", "note": {}})),
    )
    .unwrap_err();
    insta::assert_snapshot!(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn templates_keep_types_alone_and_make_text_together() {
    let text = r#"
runbook: t
title: Templates
when: Always.
risk: low
inputs:
  share: { type: percent, default: 50%, description: a share }
steps:
  - id: values
    value:
      whole: "${inputs.share}"
      text: "${inputs.share}% of ${steps.group.ids} and ${steps.group.in_service[0]}, ${null}"
      escaped: "$${inputs.share} costs $5 and {braces}"
      braces: "${{'a': {'b': '}'}}.a.b} ${\"it's } fine\"}"
      list: ["${1 + 1}", two, 3, true, ~, 1.5]
      folded: >-
        first
        ${steps.group.desired}
        last
  - id: says
    value: "Hosts ${steps.group.ids}; in service: ${steps.group.in_service}; ${[1, 2, 3]}, ${[]}, ${{'zone': 'a', 'of': ['x']}}."
"#;
    let book = runbook::parse("t.yaml", text)
        .unwrap_or_else(|e| panic!("{}", runbook::render("t.yaml", text, &e, false)));
    let runbook::Body::Value(template) = &book.steps[0].body else { panic!() };
    let mut scope = scope();
    scope.inputs = json!({"share": 50.0}).into();
    assert_eq!(
        template.eval(&scope).unwrap(),
        json!({
            "whole": 50.0,
            "text": r#"50% of ["a","b"] and {"id":"b","z":1}, null"#,
            "escaped": "${inputs.share} costs $5 and {braces}",
            "braces": "} it's } fine",
            "list": [2, "two", 3, true, null, 1.5],
            "folded": "first 2 last",
        })
    );
    let runbook::Body::Value(says) = &book.steps[1].body else { panic!() };
    assert_eq!(says.words(&scope), "Hosts a and b; in service: b and a; 1, 2 and 3, none, of x, zone a.");
    assert_eq!(template.source()["whole"], "${inputs.share}");
    let Value::Object(facts) = json!({"inputs.share": 50.0, "steps.group.ids": ["a", "b"],
        "steps.group.in_service[0]": {"id": "b", "z": 1}, "steps.group.desired": 2})
    else {
        panic!()
    };
    assert_eq!(template.facts(&scope), facts);
}
