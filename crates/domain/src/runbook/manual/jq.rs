//! Expressions for a terminal: CEL as a jq filter over `$inputs`, `$steps`, `$item` and `$out`.
//!
//! The translation follows the syntax tree, so that a guard asks by hand exactly what it asks in a run. What jq and CEL mean
//! differently goes through small functions of the preamble (`size`, `within`, `plain`); what cannot be said in jq is an
//! error, and the manual leaves it to the person.

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr as Ast, LiteralValue};

use super::super::expr::Expr;

/// What cannot be said in jq, such as a function that it has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsayable(pub(super) String);

type Filter = Result<String, Unsayable>;

/// How tightly a filter holds together, loosest first: what is looser than its place allows gets brackets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tie {
    Pipe,
    Or,
    And,
    Compare,
    Add,
    Multiply,
    Term,
}

/// A filter under construction.
type Tied = Result<(String, Tie), Unsayable>;

/// The filter of an expression.
pub(super) fn of_expr(expr: &Expr) -> Filter {
    filter(expr.tree())
}

/// A jq string. JSON's escapes are jq's, and a backslash comes out doubled, so that nothing is interpolated.
pub(super) fn text_literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Where anything may stand.
fn filter(node: &IdedExpr) -> Filter {
    of_node(node).map(|(text, _)| text)
}

/// Where only what ties at least so tightly may stand.
fn at_least(tie: Tie, node: &IdedExpr) -> Filter {
    let (text, is) = of_node(node)?;
    Ok(if is < tie { format!("({text})") } else { text })
}

fn term(node: &IdedExpr) -> Filter {
    at_least(Tie::Term, node)
}

fn all(nodes: &[IdedExpr]) -> Result<Vec<String>, Unsayable> {
    // A comma would take a pipe apart.
    nodes.iter().map(|node| at_least(Tie::Or, node)).collect()
}

fn of_node(node: &IdedExpr) -> Tied {
    let term_of = |text| (text, Tie::Term);
    Ok(match &node.expr {
        Ast::Ident(name) => term_of(variable(name)),
        Ast::Literal(literal) => term_of(of_literal(literal)?),
        Ast::Select(select) if select.test => {
            (format!("{} | has({})", term(&select.operand)?, text_literal(&select.field)), Tie::Pipe)
        }
        Ast::Select(select) => term_of(format!("{}{}", term(&select.operand)?, field(&select.field))),
        Ast::List(list) => term_of(format!("[{}]", all(&list.elements)?.join(", "))),
        Ast::Map(map) => {
            let entries = map.entries.iter().map(|entry| match &entry.expr {
                EntryExpr::MapEntry(e) => Ok(format!("({}): ({})", filter(&e.key)?, filter(&e.value)?)),
                EntryExpr::StructField(_) => Err(Unsayable("a typed record".into())),
            });
            term_of(format!("{{{}}}", entries.collect::<Result<Vec<_>, _>>()?.join(", ")))
        }
        Ast::Call(call) => of_call(call)?,
        Ast::Comprehension(c) => of_loop(c)?,
        Ast::Struct(_) | Ast::Unspecified => return Err(Unsayable("a typed record".into())),
    })
}

/// Words that jq 1.6 takes for something else, also behind a `$` or a dot.
const WORDS: [&str; 19] = [
    "and", "as", "catch", "def", "elif", "else", "end", "foreach", "if", "import", "include", "label",
    "module", "not", "or", "reduce", "then", "try", "__loc__",
];

fn variable(name: &str) -> String {
    if WORDS.contains(&name) { format!("$its_{name}") } else { format!("${name}") }
}

fn field(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if plain && !WORDS.contains(&name) { format!(".{name}") } else { format!("[{}]", text_literal(name)) }
}

fn of_literal(literal: &LiteralValue) -> Filter {
    Ok(match literal {
        LiteralValue::Boolean(b) => b.inner().to_string(),
        LiteralValue::Double(f) => f.inner().to_string(),
        LiteralValue::Int(i) => i.inner().to_string(),
        LiteralValue::Null => "null".into(),
        LiteralValue::String(s) => text_literal(s.inner()),
        LiteralValue::Bytes(_) | LiteralValue::UInt(_) => return Err(Unsayable("bytes".into())),
    })
}

fn of_call(call: &CallExpr) -> Tied {
    let args = call.args.as_slice();
    // `left` and `right`: what may stand on either side without brackets.
    let both = |sign: &str, tie, left, right, a: &IdedExpr, b: &IdedExpr| {
        Ok((format!("{} {sign} {}", at_least(left, a)?, at_least(right, b)?), tie))
    };
    let compare = |sign, a, b| both(sign, Tie::Compare, Tie::Add, Tie::Add, a, b);
    match (call.func_name.as_str(), args) {
        (op::CONDITIONAL, [condition, a, b]) => {
            let text = format!("if {} then {} else {} end", filter(condition)?, filter(a)?, filter(b)?);
            Ok((text, Tie::Pipe))
        }
        (op::LOGICAL_AND, [a, b]) => both("and", Tie::And, Tie::And, Tie::And, a, b),
        (op::LOGICAL_OR, [a, b]) => both("or", Tie::Or, Tie::Or, Tie::Or, a, b),
        (op::LOGICAL_NOT, [a]) => Ok((format!("{} | not", filter(a)?), Tie::Pipe)),
        (op::EQUALS, [a, b]) => compare("==", a, b),
        (op::NOT_EQUALS, [a, b]) => compare("!=", a, b),
        (op::LESS, [a, b]) => compare("<", a, b),
        (op::LESS_EQUALS, [a, b]) => compare("<=", a, b),
        (op::GREATER, [a, b]) => compare(">", a, b),
        (op::GREATER_EQUALS, [a, b]) => compare(">=", a, b),
        (op::ADD, [a, b]) => both("+", Tie::Add, Tie::Add, Tie::Multiply, a, b),
        (op::SUBSTRACT, [a, b]) => both("-", Tie::Add, Tie::Add, Tie::Multiply, a, b),
        (op::MULTIPLY, [a, b]) => both("*", Tie::Multiply, Tie::Multiply, Tie::Term, a, b),
        (op::MODULO, [a, b]) => both("%", Tie::Multiply, Tie::Multiply, Tie::Term, a, b),
        (op::DIVIDE, [a, b]) if decimal(a) || decimal(b) => {
            both("/", Tie::Multiply, Tie::Multiply, Tie::Term, a, b)
        }
        (op::DIVIDE, _) => Err(Unsayable("a division that may be one of whole numbers".into())),
        (op::NEGATE, [a]) => Ok((format!("(-{})", term(a)?), Tie::Term)),
        (op::INDEX, [of, at]) => Ok((format!("{}[{}]", term(of)?, filter(at)?), Tie::Term)),
        (op::IN, [item, list]) => {
            Ok((format!("{} | within({})", at_least(Tie::Or, item)?, filter(list)?), Tie::Pipe))
        }
        ("size", _) => {
            let of = call.target.as_deref().or(args.first());
            let of = of.ok_or_else(|| Unsayable("size of nothing".into()))?;
            Ok((format!("{} | size", filter(of)?), Tie::Pipe))
        }
        (name, args) => of_function(name, call.target.as_deref(), args),
    }
}

/// Is it surely a number with decimals?
fn decimal(node: &IdedExpr) -> bool {
    match &node.expr {
        Ast::Literal(LiteralValue::Double(_)) => true,
        Ast::Call(call) => call.func_name == "double",
        _ => false,
    }
}

fn of_function(name: &str, target: Option<&IdedExpr>, args: &[IdedExpr]) -> Tied {
    let unsayable = || Unsayable(format!("the function `{name}`"));
    // `math.least` and `math.greatest` are macros: of several values, or of one list.
    if let ("math.@min" | "math.@max", several) = (name, args) {
        let of = match several {
            [list] => filter(list)?,
            several => format!("[{}]", all(several)?.join(", ")),
        };
        return Ok((format!("{of} | {}", &name["math.@".len()..]), Tie::Pipe));
    }
    let (of, args) = match (target, args) {
        (Some(target), args) if !matches!(&target.expr, Ast::Ident(n) if n == "math") => {
            (filter(target)?, args)
        }
        (_, [first, rest @ ..]) => (filter(first)?, rest),
        _ => return Err(unsayable()),
    };
    let args = all(args)?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let then = match (name, args.as_slice()) {
        ("contains", [part]) => format!("contains({part})"),
        ("startsWith", [part]) => format!("startswith({part})"),
        ("endsWith", [part]) => format!("endswith({part})"),
        ("indexOf", [part]) => format!("index({part}) // -1"),
        ("lastIndexOf", [part]) => format!("rindex({part}) // -1"),
        ("join", []) => "join(\"\")".into(),
        ("join", [by]) => format!("join({by})"),
        ("split", [by]) => format!("split({by})"),
        ("lowerAscii", []) => "ascii_downcase".into(),
        ("upperAscii", []) => "ascii_upcase".into(),
        ("replace", [from, to]) => format!("split({from}) | join({to})"),
        ("substring", [from]) => format!(".[{from}:]"),
        ("substring" | "slice", [from, to]) => format!(".[{from}:{to}]"),
        ("reverse" | "sort" | "distinct" | "ceil" | "floor" | "round", []) => name.into(),
        ("flatten", []) => "flatten(1)".into(),
        ("string", []) => "plain".into(),
        ("int", []) => "tonumber | trunc".into(),
        ("double", []) => "tonumber".into(),
        ("dyn", []) => ".".into(),
        ("abs", []) => "fabs".into(),
        _ => return Err(unsayable()),
    };
    Ok((format!("{of} | {then}"), Tie::Pipe))
}

/// CEL turns `filter`, `map`, `all` and `exists` into loops that build up a result; here they are told apart again.
fn of_loop(c: &ComprehensionExpr) -> Tied {
    if c.iter_var2.is_some() {
        return Err(Unsayable("a loop with two variables".into()));
    }
    let each = format!("{}[] as {}", term(&c.iter_range)?, variable(&c.iter_var));
    let is_result = |node: &IdedExpr| matches!(&node.expr, Ast::Ident(name) if *name == c.accu_var);
    let added = |node: &IdedExpr| -> Option<Filter> {
        let Ast::Call(call) = &node.expr else { return None };
        let [result, IdedExpr { expr: Ast::List(list), .. }] = call.args.as_slice() else { return None };
        let [item] = list.elements.as_slice() else { return None };
        (call.func_name == op::ADD && is_result(result)).then(|| filter(item))
    };
    let text = if let Some(item) = added(&c.loop_step) {
        format!("[{each} | {}]", item?)
    } else {
        let Ast::Call(step) = &c.loop_step.expr else { return Err(Unsayable("a loop".into())) };
        match (step.func_name.as_str(), step.args.as_slice()) {
            (op::LOGICAL_OR, [result, condition]) if is_result(result) => {
                format!("any({each} | {}; .)", filter(condition)?)
            }
            (op::LOGICAL_AND, [result, condition]) if is_result(result) => {
                format!("all({each} | {}; .)", filter(condition)?)
            }
            (op::CONDITIONAL, [condition, then, otherwise]) if is_result(otherwise) => match added(then) {
                Some(item) => format!("[{each} | select({}) | {}]", filter(condition)?, item?),
                // `exists_one` counts.
                None => format!("([{each} | select({})] | length == 1)", filter(condition)?),
            },
            _ => return Err(Unsayable("a loop".into())),
        }
    };
    Ok((text, Tie::Term))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::runbook::{Scope, Slot};

    fn jq(cel: &str) -> String {
        of_expr(&Expr::parse(cel).unwrap()).unwrap()
    }

    /// What jq says of them is what CEL says.
    #[test]
    fn filters_mean_what_their_expressions_mean() {
        let steps = json!({
            "group": { "ids": ["a", "b"], "hosts": [{ "id": "a", "n": 3 }, { "id": "c", "n": 1 }], "end": null, "desired": 6 },
            "text": "one, two",
        });
        let inputs = json!({ "which": "sick", "share": 50.0, "n": 5, "cluster": null });
        let scope = Scope {
            inputs: Arc::new(inputs.clone()),
            steps: steps
                .as_object()
                .unwrap()
                .iter()
                .map(|(id, v)| (id.clone(), Slot::known(v.clone())))
                .collect(),
            ..Scope::default()
        };
        for cel in [
            "size(steps.group.ids) * 2 - (inputs.n - 1) > 0 && inputs.which == \"sick\" || false",
            "steps.group.hosts.filter(h, !(h.id in steps.group.ids)).map(h, h.id)",
            "steps.group.hosts.all(h, h.n > 0) && steps.group.hosts.exists(h, h.n == 3)",
            "steps.group.hosts.exists_one(h, h.n > 2)",
            "\"ids\" in steps.group && !(\"nope\" in steps.group)",
            "has(steps.group.end) && !has(steps.group.nope)",
            "steps.group.end == null ? steps.group.hosts[1].id + \"!\" : \"\"",
            "steps.text.split(\", \").reverse().join(\"-\").upperAscii()",
            "steps.text.replace(\"o\", \"\\\\(0)\").contains(\"\\\\(\")",
            "[inputs.n, size(steps.text), 7 % 4]",
            "math.ceil(double(inputs.n) / 2.0)",
            "math.greatest(inputs.n, steps.group.desired)",
            "math.least([3, inputs.n, 4]) + math.greatest(1, 2, 3)",
            "string(inputs.n) + string(true)",
            "{\"a\": inputs.n, \"b\": [1, 2]}",
            "[1, 1, 2].distinct()",
            "inputs.cluster != null",
        ] {
            let expr = Expr::parse(cel).unwrap();
            let program = format!(
                "{} .inputs as $inputs | .steps as $steps | {}",
                super::super::EXPRESSIONS,
                of_expr(&expr).unwrap()
            );
            let mut jq = Command::new("jq")
                .args(["-c", &program])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("jq, which `cargo xtask test` installs");
            let input = json!({ "inputs": inputs, "steps": steps });
            jq.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
            let output = jq.wait_with_output().unwrap();
            let said: Value =
                serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{cel}: {e}: {program}"));
            let meant = expr.eval(&scope).unwrap();
            let same = meant == said || meant.as_f64().is_some_and(|m| Some(m) == said.as_f64());
            assert!(same, "{cel}: {meant}, and jq says {said}");
        }
    }

    #[test]
    fn expressions_read_as_filters() {
        for (cel, expected) in [
            ("size(steps.group.in_service) > 0", "($steps.group.in_service | size) > 0"),
            ("!(\"Launch\" in steps.group.suspended)", "\"Launch\" | within($steps.group.suspended) | not"),
            (
                "out.in_service.filter(h, !(h.id in steps.group.ids))",
                "[$out.in_service[] as $h | select($h.id | within($steps.group.ids) | not) | $h]",
            ),
            ("steps.old.map(h, h.id)", "[$steps.old[] as $h | $h.id]"),
            (
                "steps.before.members.exists(m, !m.writer)",
                "any($steps.before.members[] as $m | $m.writer | not; .)",
            ),
            ("out.all(h, h.ok && has(h.end))", "all($out[] as $h | $h.ok and ($h | has(\"end\")); .)"),
            (
                "inputs.which == \"sick\" ? steps.a[0].id : steps.b.map(x, x.id)[1]",
                "if $inputs.which == \"sick\" then $steps.a[0].id else [$steps.b[] as $x | $x.id][1] end",
            ),
            (
                "(inputs.a || inputs.b) && !inputs.c && size(steps.x) - (inputs.n - 1) > 2 * inputs.n",
                "($inputs.a or $inputs.b) and ($inputs.c | not) and ($steps.x | size) - ($inputs.n - 1) > 2 * $inputs.n",
            ),
            ("[size(steps.x), inputs.a == 1]", "[($steps.x | size), $inputs.a == 1]"),
            ("steps.x.end + 1", "$steps.x[\"end\"] + 1"),
            ("(inputs.a + 1) * 2", "($inputs.a + 1) * 2"),
            ("math.ceil(double(inputs.a) / 2.0)", "($inputs.a | tonumber) / 2 | ceil"),
        ] {
            assert_eq!(jq(cel), expected, "{cel}");
        }
        assert!(of_expr(&Expr::parse("inputs.a / inputs.b").unwrap()).is_err());
    }
}
