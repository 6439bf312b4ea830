//! Templates: YAML values whose strings may contain `${ expression }`.
//!
//! A string that is one whole `${…}` keeps the type of its value; in others, values become text. `$${` is a literal `${`.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::diagnostic::{Place, Pos};
use super::expr::compile::{Flaw, after_comment, after_string};
use super::expr::{EvalError, Expr};
use super::scope::Scope;

/// A value with expressions in it.
#[derive(Debug, Clone)]
pub struct Template {
    pub(super) pos: Pos,
    pub(super) node: Node,
    /// Its value, where no expression is in it: the same for every step of every run that is given it.
    constant: Option<Arc<Value>>,
    /// How the file writes what is no text to YAML, where its value does not tell: `8.10`, `012`.
    written: Option<Arc<str>>,
}

/// What a template is made of.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// A value as it is.
    Literal(Value),
    /// One whole `${…}`.
    Whole(Expr),
    /// Text with values in it.
    Text(Vec<Piece>),
    /// A list.
    List(Vec<Template>),
    /// A record: key, place of the key, value.
    Record(Vec<(String, Pos, Template)>),
}

/// A piece of text.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// As it is.
    Text(String),
    /// The value of this.
    Expr(Expr),
}

impl Template {
    /// A value without expressions.
    pub fn literal(value: Value) -> Self {
        Self::new(Pos::default(), Node::Literal(value))
    }

    /// What stands at a place.
    pub(super) fn new(pos: Pos, node: Node) -> Self {
        let constant = node.constant().map(Arc::new);
        Self { pos, node, constant, written: None }
    }

    /// A number, or `true` or `false`, as the file writes it.
    pub(super) fn written(pos: Pos, value: Value, text: &str) -> Self {
        let shown = value.to_string();
        let written = Some(text).filter(|text| *text != shown).map(Arc::from);
        Self { written, ..Self::new(pos, Node::Literal(value)) }
    }

    /// How the file writes a number that, made a text, would be another one.
    pub(super) fn as_written(&self) -> Option<&str> {
        self.written.as_deref().filter(|text| !text.is_empty())
    }

    /// From a string of a file; all mistakes in it.
    pub(super) fn text(source: &str, pos: Pos, place: &Place) -> Result<Self, Vec<Flaw>> {
        let chars: Vec<char> = source.chars().collect();
        let mut pieces = Vec::new();
        let mut flaws = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while at < chars.len() {
            match chars[at..] {
                ['$', '$', '{', ..] => {
                    plain.push_str("${");
                    at += 3;
                }
                ['$', '{', ..] => {
                    let Some(end) = closing(&chars, at + 2) else {
                        flaws.push(Flaw::new(
                            at,
                            2,
                            "`${` is never closed",
                            "close it with `}`, or write `$${` for a literal `${`",
                        ));
                        break;
                    };
                    let inner: String = chars[at + 2..end].iter().collect();
                    match Expr::at(&inner, place.from(at + 2)) {
                        Ok(expr) => {
                            if !plain.is_empty() {
                                pieces.push(Piece::Text(std::mem::take(&mut plain)));
                            }
                            pieces.push(Piece::Expr(expr));
                        }
                        Err(flaw) => flaws.push(Flaw { offset: flaw.offset + at + 2, ..flaw }),
                    }
                    at = end + 1;
                }
                _ => {
                    plain.push(chars[at]);
                    at += 1;
                }
            }
        }
        if !flaws.is_empty() {
            return Err(flaws);
        }
        let node = if pieces.is_empty() {
            Node::Literal(Value::String(plain))
        } else {
            if !plain.is_empty() {
                pieces.push(Piece::Text(plain));
            }
            match pieces.as_slice() {
                [Piece::Expr(expr)] => Node::Whole(expr.clone()),
                _ => Node::Text(pieces),
            }
        };
        Ok(Self::new(pos, node))
    }

    /// Its value.
    pub fn eval(&self, scope: &Scope) -> Result<Value, EvalError> {
        if let Some(constant) = &self.constant {
            return Ok(Value::clone(constant));
        }
        match &self.node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Whole(expr) => expr.eval(scope),
            Node::Text(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => Ok(text.clone()),
                    Piece::Expr(expr) => expr.eval(scope).map(|value| plain_text(&value)),
                })
                .collect::<Result<String, _>>()
                .map(Value::String),
            Node::List(items) => {
                items.iter().map(|item| item.eval(scope)).collect::<Result<_, _>>().map(Value::Array)
            }
            Node::Record(fields) => fields
                .iter()
                .map(|(key, _, value)| Ok((key.clone(), value.eval(scope)?)))
                .collect::<Result<Map<_, _>, _>>()
                .map(Value::Object),
        }
    }

    /// As a sentence for people: lists are counted up, and records told by their name. Should it not evaluate, its failure is told
    /// rather than nothing.
    pub fn words(&self, scope: &Scope) -> String {
        let told = match &self.node {
            Node::Text(pieces) => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Text(text) => Ok(text.clone()),
                    Piece::Expr(expr) => expr.eval(scope).map(|value| in_words(&value)),
                })
                .collect(),
            _ => self.eval(scope).map(|value| in_words(&value)),
        };
        told.unwrap_or_else(|error| error.to_string())
    }

    /// As it was written, with the expressions unevaluated; what the manual shows.
    pub fn source(&self) -> Value {
        match &self.node {
            Node::Literal(value) => value.clone(),
            Node::Whole(expr) => Value::String(format!("${{{}}}", expr.source())),
            Node::Text(pieces) => Value::String(
                pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => text.clone(),
                        Piece::Expr(expr) => format!("${{{}}}", expr.source()),
                    })
                    .collect(),
            ),
            Node::List(items) => Value::Array(items.iter().map(Self::source).collect()),
            Node::Record(fields) => {
                Value::Object(fields.iter().map(|(key, _, value)| (key.clone(), value.source())).collect())
            }
        }
    }

    /// Its value, if that is the same always.
    pub fn as_literal(&self) -> Option<&Arc<Value>> {
        self.constant.as_ref()
    }

    /// What it rests on: every path that its expressions name, with the value that they saw.
    pub fn facts(&self, scope: &Scope) -> Map<String, Value> {
        let mut facts = Map::new();
        self.each_expr(&mut |expr| facts.extend(expr.facts(scope)));
        facts
    }

    /// Calls `f` with every expression in it, in order.
    pub fn each_expr<'a>(&'a self, f: &mut dyn FnMut(&'a Expr)) {
        match &self.node {
            Node::Literal(_) => {}
            Node::Whole(expr) => f(expr),
            Node::Text(pieces) => pieces.iter().for_each(|piece| {
                if let Piece::Expr(expr) = piece {
                    f(expr);
                }
            }),
            Node::List(items) => items.iter().for_each(|item| item.each_expr(f)),
            Node::Record(fields) => fields.iter().for_each(|(_, _, value)| value.each_expr(f)),
        }
    }
}

impl Node {
    fn constant(&self) -> Option<Value> {
        let of = |template: &Template| template.constant.as_deref().cloned();
        match self {
            Self::Literal(value) => Some(value.clone()),
            Self::Whole(_) | Self::Text(_) => None,
            Self::List(items) => items.iter().map(of).collect::<Option<_>>().map(Value::Array),
            Self::Record(fields) => fields
                .iter()
                .map(|(key, _, value)| Some((key.clone(), of(value)?)))
                .collect::<Option<_>>()
                .map(Value::Object),
        }
    }
}

/// The `}` that closes what was opened before `from`; braces within the expression, its texts and comments are skipped.
fn closing(chars: &[char], from: usize) -> Option<usize> {
    let (mut at, mut open, mut comment) = (from, 0_usize, false);
    while let Some(c) = chars.get(at) {
        match c {
            '"' | '\'' if !comment => {
                at = after_string(chars, at);
                continue;
            }
            '/' if !comment => match after_comment(chars, at) {
                // One that does not end with its line is refused where the expression is read, so that is to be found.
                Some(end) if end == chars.len() => comment = true,
                Some(end) => at = end,
                None => {}
            },
            '{' => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// A value within a sentence: `i-1, i-2 and i-3`; a record by its id or name, where it has one.
fn in_words(value: &Value) -> String {
    match value {
        Value::Array(items) => match items.split_last() {
            None => "none".into(),
            Some((last, [])) => in_words(last),
            Some((last, before)) => {
                let before: Vec<_> = before.iter().map(in_words).collect();
                format!("{} and {}", before.join(", "), in_words(last))
            }
        },
        Value::Object(fields) => match fields.get("id").or_else(|| fields.get("name")) {
            Some(name) => in_words(name),
            None => {
                let fields = fields
                    .iter()
                    .map(|(key, value)| format!("{} {}", key.replace('_', " "), in_words(value)));
                fields.collect::<Vec<_>>().join(", ")
            }
        },
        other => plain_text(other),
    }
}

/// A value within a text: strings bare, whole numbers without `.0`, lists and records as compact JSON.
pub(super) fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() && f.fract() == 0.0 && f.abs() < 1e15 => format!("{f:.0}"),
            _ => n.to_string(),
        },
        other => other.to_string(),
    }
}
