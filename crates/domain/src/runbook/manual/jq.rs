//! Expressions for a terminal: CEL as a jq filter over `$inputs`, `$steps`, `$item` and `$out`.
//!
//! The translation follows the syntax tree, so that a guard asks by hand exactly what it asks in a run. What jq and CEL mean
//! differently goes through small functions of the preamble (`size`, `within`, `plain`); what cannot be said in jq is an
//! error, and the manual leaves it to the person.

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr as Ast, LiteralValue};

use super::super::expr::Expr;
use super::super::template::{Node, Piece, Template};

/// What cannot be said in jq, such as a function that it has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unsayable(pub(super) String);

type Filter = Result<String, Unsayable>;

/// The filter of an expression.
pub(super) fn of_expr(expr: &Expr) -> Filter {
    filter(expr.tree())
}

/// The filter of a template, with the same value.
pub(super) fn of_template(template: &Template) -> Filter {
    Ok(match &template.node {
        Node::Literal(value) => value.to_string(),
        Node::Whole(expr) => of_expr(expr)?,
        Node::Text(pieces) => {
            let parts = pieces.iter().map(|piece| match piece {
                Piece::Text(text) => Ok(text_literal(text)),
                Piece::Expr(expr) => Ok(format!("({} | plain)", of_expr(expr)?)),
            });
            parts.collect::<Result<Vec<_>, _>>()?.join(" + ")
        }
        Node::List(items) => {
            format!("[{}]", items.iter().map(of_template).collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        Node::Record(fields) => {
            let fields = fields
                .iter()
                .map(|(key, _, value)| Ok(format!("{}: ({})", text_literal(key), of_template(value)?)));
            format!("{{{}}}", fields.collect::<Result<Vec<_>, _>>()?.join(", "))
        }
    })
}

/// A jq string. JSON's escapes are jq's, and a backslash comes out doubled, so that nothing is interpolated.
pub(super) fn text_literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn filter(node: &IdedExpr) -> Filter {
    Ok(match &node.expr {
        Ast::Ident(name) => variable(name),
        Ast::Literal(literal) => of_literal(literal)?,
        Ast::Select(select) if select.test => {
            format!("({} | has({}))", filter(&select.operand)?, text_literal(&select.field))
        }
        Ast::Select(select) => format!("{}{}", operand(&select.operand)?, field(&select.field)),
        Ast::List(list) => {
            format!("[{}]", list.elements.iter().map(filter).collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        Ast::Map(map) => {
            let entries = map.entries.iter().map(|entry| match &entry.expr {
                EntryExpr::MapEntry(e) => Ok(format!("({}): ({})", filter(&e.key)?, filter(&e.value)?)),
                EntryExpr::StructField(_) => Err(Unsayable("a typed record".into())),
            });
            format!("{{{}}}", entries.collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        Ast::Call(call) => of_call(call)?,
        Ast::Comprehension(c) => of_loop(c)?,
        Ast::Struct(_) | Ast::Unspecified => return Err(Unsayable("a typed record".into())),
    })
}

/// As the left side of `.field` or `[index]`, or under an operator: anything that is not one thing gets brackets.
fn operand(node: &IdedExpr) -> Filter {
    let text = filter(node)?;
    let one_thing = matches!(&node.expr, Ast::Ident(_) | Ast::Literal(_) | Ast::List(_) | Ast::Map(_))
        || matches!(&node.expr, Ast::Select(select) if !select.test)
        || matches!(&node.expr, Ast::Call(call) if call.func_name == op::INDEX);
    Ok(if one_thing || text.starts_with('(') && closes_at_end(&text) { text } else { format!("({text})") })
}

/// Is it one pair of brackets from end to end?
fn closes_at_end(text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => {
                depth = depth.saturating_sub(1);
                if depth == 0 && at + 1 < text.len() {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
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
    if plain && !WORDS.contains(&name) {
        format!(".{name}")
    } else {
        format!("[{}]", text_literal(name))
    }
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

fn of_call(call: &CallExpr) -> Filter {
    let args = call.args.as_slice();
    let both = |sign: &str, a: &IdedExpr, b: &IdedExpr| Ok(format!("{} {sign} {}", operand(a)?, operand(b)?));
    match (call.func_name.as_str(), args) {
        (op::CONDITIONAL, [condition, a, b]) => {
            Ok(format!("(if {} then {} else {} end)", filter(condition)?, filter(a)?, filter(b)?))
        }
        (op::LOGICAL_AND, [a, b]) => both("and", a, b),
        (op::LOGICAL_OR, [a, b]) => both("or", a, b),
        (op::LOGICAL_NOT, [a]) => Ok(format!("({} | not)", filter(a)?)),
        (op::EQUALS, [a, b]) => both("==", a, b),
        (op::NOT_EQUALS, [a, b]) => both("!=", a, b),
        (op::LESS, [a, b]) => both("<", a, b),
        (op::LESS_EQUALS, [a, b]) => both("<=", a, b),
        (op::GREATER, [a, b]) => both(">", a, b),
        (op::GREATER_EQUALS, [a, b]) => both(">=", a, b),
        (op::ADD, [a, b]) => both("+", a, b),
        (op::SUBSTRACT, [a, b]) => both("-", a, b),
        (op::MULTIPLY, [a, b]) => both("*", a, b),
        (op::MODULO, [a, b]) => both("%", a, b),
        (op::DIVIDE, [a, b]) if decimal(a) || decimal(b) => both("/", a, b),
        (op::DIVIDE, _) => Err(Unsayable("a division that may be one of whole numbers".into())),
        (op::NEGATE, [a]) => Ok(format!("(-{})", operand(a)?)),
        (op::INDEX, [of, at]) => Ok(format!("{}[{}]", operand(of)?, filter(at)?)),
        (op::IN, [item, list]) => Ok(format!("({} | within({}))", filter(item)?, filter(list)?)),
        ("size", _) => {
            let of = call.target.as_deref().or(args.first());
            let of = of.ok_or_else(|| Unsayable("size of nothing".into()))?;
            Ok(format!("({} | size)", filter(of)?))
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

fn of_function(name: &str, target: Option<&IdedExpr>, args: &[IdedExpr]) -> Filter {
    let args = args.iter().map(filter).collect::<Result<Vec<_>, _>>()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let unsayable = || Unsayable(format!("the function `{name}`"));
    if let Some(target) = target.filter(|t| !matches!(&t.expr, Ast::Ident(n) if n == "math")) {
        let of = filter(target)?;
        return match (name, args.as_slice()) {
            ("contains", [part]) => Ok(format!("({of} | contains({part}))")),
            ("startsWith", [part]) => Ok(format!("({of} | startswith({part}))")),
            ("endsWith", [part]) => Ok(format!("({of} | endswith({part}))")),
            ("indexOf", [part]) => Ok(format!("({of} | index({part}) // -1)")),
            ("lastIndexOf", [part]) => Ok(format!("({of} | rindex({part}) // -1)")),
            ("join", []) => Ok(format!("({of} | join(\"\"))")),
            ("join", [by]) => Ok(format!("({of} | join({by}))")),
            ("split", [by]) => Ok(format!("({of} | split({by}))")),
            ("lowerAscii", []) => Ok(format!("({of} | ascii_downcase)")),
            ("upperAscii", []) => Ok(format!("({of} | ascii_upcase)")),
            ("replace", [from, to]) => Ok(format!("({of} | split({from}) | join({to}))")),
            ("substring", [from]) => Ok(format!("({of} | .[{from}:])")),
            ("substring" | "slice", [from, to]) => Ok(format!("({of} | .[{from}:{to}])")),
            ("reverse", []) => Ok(format!("({of} | reverse)")),
            ("sort", []) => Ok(format!("({of} | sort)")),
            ("distinct", []) => Ok(format!("({of} | distinct)")),
            ("flatten", []) => Ok(format!("({of} | flatten(1))")),
            _ => Err(unsayable()),
        };
    }
    match (name, args.as_slice()) {
        ("string", [of]) => Ok(format!("({of} | plain)")),
        ("int", [of]) => Ok(format!("({of} | tonumber | trunc)")),
        ("double", [of]) => Ok(format!("({of} | tonumber)")),
        ("dyn", [of]) => Ok((*of).to_owned()),
        ("ceil", [of]) => Ok(format!("({of} | ceil)")),
        ("floor", [of]) => Ok(format!("({of} | floor)")),
        ("round", [of]) => Ok(format!("({of} | round)")),
        ("abs", [of]) => Ok(format!("({of} | fabs)")),
        ("least", [all @ ..]) if all.len() > 1 => Ok(format!("([{}] | min)", all.join(", "))),
        ("greatest", [all @ ..]) if all.len() > 1 => Ok(format!("([{}] | max)", all.join(", "))),
        _ => Err(unsayable()),
    }
}

/// CEL turns `filter`, `map`, `all` and `exists` into loops that build up a result; here they are told apart again.
fn of_loop(c: &ComprehensionExpr) -> Filter {
    if c.iter_var2.is_some() {
        return Err(Unsayable("a loop with two variables".into()));
    }
    let each = format!("{}[] as {}", operand(&c.iter_range)?, variable(&c.iter_var));
    let is_result = |node: &IdedExpr| matches!(&node.expr, Ast::Ident(name) if *name == c.accu_var);
    let added = |node: &IdedExpr| -> Option<Filter> {
        let Ast::Call(call) = &node.expr else { return None };
        let [result, IdedExpr { expr: Ast::List(list), .. }] = call.args.as_slice() else { return None };
        let [item] = list.elements.as_slice() else { return None };
        (call.func_name == op::ADD && is_result(result)).then(|| filter(item))
    };
    if let Some(item) = added(&c.loop_step) {
        return Ok(format!("[{each} | {}]", item?));
    }
    let Ast::Call(step) = &c.loop_step.expr else { return Err(Unsayable("a loop".into())) };
    match (step.func_name.as_str(), step.args.as_slice()) {
        (op::LOGICAL_OR, [result, condition]) if is_result(result) => {
            Ok(format!("any({each} | {}; .)", filter(condition)?))
        }
        (op::LOGICAL_AND, [result, condition]) if is_result(result) => {
            Ok(format!("all({each} | {}; .)", filter(condition)?))
        }
        (op::CONDITIONAL, [condition, then, otherwise]) if is_result(otherwise) => match added(then) {
            Some(item) => Ok(format!("[{each} | select({}) | {}]", filter(condition)?, item?)),
            // `exists_one` counts.
            None => Ok(format!("([{each} | select({})] | length == 1)", filter(condition)?)),
        },
        _ => Err(Unsayable("a loop".into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jq(cel: &str) -> String {
        of_expr(&Expr::parse(cel).unwrap()).unwrap()
    }

    /// That they mean the same as in CEL is shown with jq itself, in the tests of the binary.
    #[test]
    fn expressions_read_as_filters() {
        for (cel, expected) in [
            ("size(steps.group.in_service) > 0", "($steps.group.in_service | size) > 0"),
            ("!(\"Launch\" in steps.group.suspended)", "((\"Launch\" | within($steps.group.suspended)) | not)"),
            (
                "out.in_service.filter(h, !(h.id in steps.group.ids))",
                "[$out.in_service[] as $h | select(($h.id | within($steps.group.ids)) | not) | $h]",
            ),
            ("steps.old.map(h, h.id)", "[$steps.old[] as $h | $h.id]"),
            ("steps.before.members.exists(m, !m.writer)", "any($steps.before.members[] as $m | ($m.writer | not); .)"),
            ("out.all(h, h.ok && has(h.end))", "all($out[] as $h | $h.ok and ($h | has(\"end\")); .)"),
            (
                "inputs.which == \"sick\" ? steps.a[0].id : steps.b.map(x, x.id)[1]",
                "(if $inputs.which == \"sick\" then $steps.a[0].id else ([$steps.b[] as $x | $x.id])[1] end)",
            ),
            ("steps.x.end + 1", "$steps.x[\"end\"] + 1"),
            ("(inputs.a + 1) * 2", "($inputs.a + 1) * 2"),
            ("math.ceil(double(inputs.a) / 2.0)", "(($inputs.a | tonumber) / 2 | ceil)"),
        ] {
            assert_eq!(jq(cel), expected, "{cel}");
        }
        assert!(of_expr(&Expr::parse("inputs.a / inputs.b").unwrap()).is_err());
    }
}
