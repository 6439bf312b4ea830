//! What an expression gives, as far as that is sure, and the mistakes that show on the way.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr as Ast, LiteralValue, operators as op};

use super::names::Names;
use super::shape::{Record, Shape};
use crate::runbook::diagnostic::{Diagnostic, Pos};
use crate::runbook::expr::path::{Path, Seg};
use crate::runbook::expr::vocabulary::{self, Gives};
use crate::runbook::scope::listed;
use crate::runbook::suggest::suggest;
use crate::runbook::{Expr, Template, template};

/// The shape of an expression.
pub(super) fn expr(expr: &Expr, names: &Names, mistakes: &mut Vec<Diagnostic>) -> Shape {
    Infer { expr, names, mistakes, bound: Vec::new() }.shape(expr.tree())
}

/// The shape of a template.
pub(super) fn template(value: &Template, names: &Names, mistakes: &mut Vec<Diagnostic>) -> Shape {
    match &value.node {
        template::Node::Literal(value) => Shape::of_value(value),
        template::Node::Whole(e) => expr(e, names, mistakes),
        template::Node::Text(_) => {
            value.each_expr(&mut |e| drop(expr(e, names, mistakes)));
            Shape::Text
        }
        template::Node::List(items) => {
            let shapes: Vec<_> = items.iter().map(|item| template(item, names, mistakes)).collect();
            Shape::list(shapes.into_iter().reduce(Shape::or).unwrap_or(Shape::Any))
        }
        template::Node::Record(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, _, value)| (name.as_str(), template(value, names, mistakes)))
                .collect();
            Shape::record(fields)
        }
    }
}

pub(super) struct Infer<'a> {
    pub(super) expr: &'a Expr,
    names: &'a Names,
    mistakes: &'a mut Vec<Diagnostic>,
    bound: Vec<(&'a str, Shape)>,
}

impl<'a> Infer<'a> {
    pub(super) fn wrong(&mut self, pos: Pos, what: impl Into<String>, remedy: impl Into<String>) {
        self.mistakes.push(Diagnostic::new(pos, what, remedy));
    }

    pub(super) fn at(&self, node: &IdedExpr, len: usize) -> Pos {
        self.expr.pos_of(self.expr.offset_of(node), len)
    }

    fn shape(&mut self, node: &'a IdedExpr) -> Shape {
        if let Some(path) = self.expr.path(node) {
            return self.path(&path);
        }
        match &node.expr {
            Ast::Literal(literal) => match literal {
                LiteralValue::Boolean(_) => Shape::Bool,
                LiteralValue::Int(_) => Shape::Int,
                LiteralValue::Double(_) => Shape::Number,
                LiteralValue::String(text) => Shape::Word(vec![text.inner().to_owned()]),
                LiteralValue::Null => Shape::Null,
                LiteralValue::Bytes(_) | LiteralValue::UInt(_) => Shape::Any,
            },
            Ast::Select(select) => {
                let of = self.shape(&select.operand);
                let (dot, len) = (self.expr.offset_of(node) + 1, select.field.chars().count());
                let pos = self.expr.pos_of(dot, len);
                self.field(&of, &select.field, "this", pos)
            }
            Ast::Call(call) => self.call(node, call),
            Ast::Comprehension(c) => self.comprehension(c),
            Ast::List(list) => {
                let shapes: Vec<_> = list.elements.iter().map(|e| self.shape(e)).collect();
                Shape::list(shapes.into_iter().reduce(Shape::or).unwrap_or(Shape::Any))
            }
            Ast::Map(map) => {
                let mut fields = Vec::new();
                let mut fixed = true;
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(e) = &entry.expr {
                        let shape = self.shape(&e.value);
                        match &e.key.expr {
                            Ast::Literal(LiteralValue::String(name)) => fields.push((name.inner(), shape)),
                            _ => fixed = false,
                        }
                    }
                }
                if fixed { Shape::record(fields) } else { Shape::Any }
            }
            Ast::Ident(_) | Ast::Struct(_) | Ast::Unspecified => Shape::Any,
        }
    }

    /// What a path leads to: through names, records and lists.
    fn path(&mut self, path: &Path) -> Shape {
        let bound =
            self.bound.iter().rev().find(|(name, _)| *name == path.root).map(|(_, shape)| shape.clone());
        let (mut here, from) = match bound {
            Some(shape) => (shape, 0),
            None if vocabulary::TYPES.contains(&path.root.as_str()) => return Shape::Any,
            None => match self.names.lookup(path) {
                Ok(found) => found,
                Err(mistake) => {
                    let pos = self.expr.pos_of(mistake.at, mistake.len);
                    self.wrong(pos, mistake.what, mistake.remedy);
                    return Shape::Any;
                }
            },
        };
        for (depth, part) in path.segs.iter().enumerate().skip(from) {
            here = match (&part.seg, here) {
                (Seg::Field(name), of) => {
                    let pos = self.expr.pos_of(part.at, name.chars().count());
                    self.field(&of, name, &path.upto(depth), pos)
                }
                (Seg::Index(_), Shape::List(of)) => *of,
                (Seg::Index(_), Shape::Any | Shape::Record(Record { open: true, .. })) => Shape::Any,
                (Seg::Index(i), other) => {
                    let what = format!("`{}` is {other}, so it has no item [{i}]", path.upto(depth));
                    self.wrong(self.expr.pos_of(part.at, 1), what, "only lists have items");
                    Shape::Any
                }
            };
        }
        here
    }

    fn field(&mut self, of: &Shape, name: &str, whose: &str, pos: Pos) -> Shape {
        let owner = if whose == "this" { whose.to_owned() } else { format!("`{whose}`") };
        match of {
            Shape::Any | Shape::Null => Shape::Any,
            Shape::Record(record) => {
                if let Some(field) = record.fields.iter().find(|f| f.name == name) {
                    return field.shape.clone();
                }
                if !record.open {
                    let names = record.fields.iter().map(|f| &f.name);
                    let remedy = suggest(name, names.clone().map(String::as_str))
                        .unwrap_or_else(|| format!("it has: {}", listed(names)));
                    self.wrong(pos, format!("{owner} has no field `{name}`"), remedy);
                }
                Shape::Any
            }
            Shape::List(_) => {
                let what = format!("{owner} is a list, so it has no field `{name}`");
                self.wrong(
                    pos,
                    what,
                    format!("take one of its items with `[0]`, or of all of them with `.map(x, x.{name})`"),
                );
                Shape::Any
            }
            other => {
                self.wrong(
                    pos,
                    format!("{owner} is {other}, so it has no field `{name}`"),
                    "leave the field out",
                );
                Shape::Any
            }
        }
    }

    fn call(&mut self, node: &'a IdedExpr, call: &'a CallExpr) -> Shape {
        let target = call
            .target
            .as_deref()
            .filter(|t| !matches!(&t.expr, Ast::Ident(n) if vocabulary::is_namespace(n)));
        let receiver = target.map(|t| self.shape(t));
        let args: Vec<Shape> = call.args.iter().map(|arg| self.shape(arg)).collect();
        match (call.func_name.as_str(), args.as_slice()) {
            (op::CONDITIONAL, [condition, a, b]) => {
                self.must_be_bool(&call.args[0], condition);
                a.clone().or(b.clone())
            }
            (op::LOGICAL_AND | op::LOGICAL_OR, _) => {
                for (arg, shape) in call.args.iter().zip(&args) {
                    self.must_be_bool(arg, shape);
                }
                Shape::Bool
            }
            (op::LOGICAL_NOT, [of]) => {
                self.must_be_bool(&call.args[0], of);
                Shape::Bool
            }
            (op::EQUALS | op::NOT_EQUALS, [a, b]) => {
                self.comparable(node, call, a, b);
                Shape::Bool
            }
            (op::LESS | op::LESS_EQUALS | op::GREATER | op::GREATER_EQUALS, [a, b]) => {
                self.ordered(node, call, a, b);
                Shape::Bool
            }
            (op::IN, [item, list]) => {
                self.contained(node, item, list);
                Shape::Bool
            }
            (op::ADD | op::SUBSTRACT | op::MULTIPLY | op::DIVIDE | op::MODULO, [a, b]) => {
                self.arithmetic(node, call, a, b)
            }
            (op::NEGATE, [of]) => of.clone(),
            (op::INDEX, [Shape::List(of), _]) => (**of).clone(),
            (op::NOT_STRICTLY_FALSE, _) => Shape::Bool,
            (name, _) => self.function(name, node, call, receiver, &args),
        }
    }

    fn function(
        &mut self,
        name: &str,
        node: &'a IdedExpr,
        call: &'a CallExpr,
        receiver: Option<Shape>,
        args: &[Shape],
    ) -> Shape {
        let is_method = receiver.is_some();
        let name = match (is_method, &call.target) {
            (false, Some(_)) => format!("math.{name}"),
            _ => name.to_owned(),
        };
        let function = vocabulary::function(&name, is_method);
        if let Some(function) = function {
            self.called(function, node, call, receiver.as_ref(), args);
        }
        match function.map(|f| f.gives) {
            Some(Gives::Text) => Shape::Text,
            Some(Gives::Int) => Shape::Int,
            Some(Gives::Number) => Shape::Number,
            Some(Gives::Bool) => Shape::Bool,
            Some(Gives::Texts) => Shape::list(Shape::Text),
            Some(Gives::Same) => receiver.unwrap_or(Shape::Any),
            Some(Gives::Any) | None => Shape::Any,
        }
    }

    /// CEL turns `filter`, `map`, `all` and `exists` into loops that build up a result.
    fn comprehension(&mut self, c: &'a ComprehensionExpr) -> Shape {
        let range = self.shape(&c.iter_range);
        let item = match &range {
            Shape::List(of) => (**of).clone(),
            Shape::Record(_) => Shape::Text,
            Shape::Any | Shape::Null => Shape::Any,
            other => {
                let pos = self.at(&c.iter_range, 1);
                self.wrong(
                    pos,
                    format!("this is {other}, and only lists have items to go through"),
                    "name a list",
                );
                Shape::Any
            }
        };
        let start = match self.shape(&c.accu_init) {
            Shape::List(_) => Shape::Any,
            other => other,
        };
        let outside = self.bound.len();
        self.bound.push((&c.accu_var, start.clone()));
        self.bound.push((&c.iter_var, item));
        if let Some(second) = &c.iter_var2 {
            self.bound.push((second, Shape::Any));
        }
        self.shape(&c.loop_cond);
        let added = self.step(&c.loop_step);
        let result = self.shape(&c.result);
        self.bound.truncate(outside);
        // Several variables mean something else is going on than the macros above.
        match added {
            Some(added) if c.iter_var2.is_none() && matches!(start, Shape::Any) => Shape::list(added),
            _ => result,
        }
    }

    /// One round of a loop: what it adds to a list, if that is what it does.
    fn step(&mut self, step: &'a IdedExpr) -> Option<Shape> {
        match &step.expr {
            Ast::Call(call) if call.func_name == op::CONDITIONAL => {
                let [condition, then, _] = call.args.as_slice() else { return None };
                let shape = self.shape(condition);
                self.must_be_bool(condition, &shape);
                self.step(then)
            }
            Ast::Call(call) if call.func_name == op::ADD => match call.args.as_slice() {
                [_, IdedExpr { expr: Ast::List(list), .. }] => list.elements.first().map(|e| self.shape(e)),
                _ => {
                    self.shape(step);
                    None
                }
            },
            _ => {
                self.shape(step);
                None
            }
        }
    }

    fn must_be_bool(&mut self, node: &IdedExpr, shape: &Shape) {
        if !matches!(shape, Shape::Bool | Shape::Any) {
            let pos = self.at(node, 1);
            self.wrong(
                pos,
                format!("this is {shape}, where true or false is needed"),
                "compare it with something, such as `> 0` or `!= null`",
            );
        }
    }

    fn operator(&self, node: &IdedExpr, call: &CallExpr) -> (String, Pos) {
        let sign = call.func_name.trim_matches(|c| c == '_' || c == '@').to_owned();
        let pos = self.at(node, sign.chars().count());
        (sign, pos)
    }

    fn comparable(&mut self, node: &IdedExpr, call: &CallExpr, a: &Shape, b: &Shape) {
        let (sign, pos) = self.operator(node, call);
        if let (Some(x), Some(y)) = (Kind::of(a), Kind::of(b))
            && x != y
        {
            let what = format!("`{sign}` compares {a} with {b}: they are never the same");
            self.wrong(pos, what, "compare things of one kind, or convert with `int(…)`, `string(…)`");
        }
        if let (Shape::Word(a), Shape::Word(b)) = (a, b)
            && let (Some(x), Some(y)) = (a.first(), b.first())
            && !a.iter().any(|word| b.contains(word))
        {
            // Of two single words, the one that is written here is what the other never is.
            let written = a.len() == 1 && matches!(call.args[0].expr, Ast::Literal(_));
            let (word, words) = if written || b.len() > 1 { (x, b) } else { (y, a) };
            let remedy = || match &words[..] {
                [only] => format!("it is always `{only}`"),
                _ => format!("it is one of {}", listed(words.iter())),
            };
            if word.is_empty() {
                self.wrong(pos, "it is never empty", remedy());
            } else {
                let remedy = suggest(word, words.iter().map(String::as_str)).unwrap_or_else(remedy);
                self.wrong(pos, format!("it is never `{word}`"), remedy);
            }
        }
    }

    fn ordered(&mut self, node: &IdedExpr, call: &CallExpr, a: &Shape, b: &Shape) {
        let (Some(x), Some(y)) = (Kind::of(a), Kind::of(b)) else { return };
        if x != y || !matches!(x, Kind::Number | Kind::Text) {
            let (sign, pos) = self.operator(node, call);
            let remedy = match (a, b) {
                (Shape::List(_), _) | (_, Shape::List(_)) => "compare the number of its items: `size(…)`",
                _ => "compare numbers with numbers and texts with texts",
            };
            self.wrong(pos, format!("`{sign}` does not work on {a} and {b}"), remedy);
        }
    }

    fn contained(&mut self, node: &IdedExpr, item: &Shape, list: &Shape) {
        let pos = self.at(node, 2);
        match list {
            Shape::List(of) => {
                if let (Some(x), Some(y)) = (Kind::of(item), Kind::of(of))
                    && x != y
                {
                    let what = format!("`in` looks for {item} in {list}: it is never there");
                    let remedy = if y == Kind::Record {
                        "look in a list of their ids: `.map(x, x.id)`"
                    } else {
                        "look for what the list holds"
                    };
                    self.wrong(pos, what, remedy);
                }
            }
            Shape::Any | Shape::Null | Shape::Record(_) => {}
            other => self.wrong(
                pos,
                format!("`in` does not work on {other}"),
                "put a list on its right; for texts there is `.contains(…)`",
            ),
        }
    }

    fn arithmetic(&mut self, node: &IdedExpr, call: &CallExpr, a: &Shape, b: &Shape) -> Shape {
        let is_add = call.func_name == op::ADD;
        match (a, b) {
            (Shape::Int, Shape::Int) => return Shape::Int,
            (Shape::Number, Shape::Number) => return Shape::Number,
            (a, b) if is_add && a.is_text() && b.is_text() => return Shape::Text,
            (Shape::List(_), Shape::List(_)) if is_add => return a.clone().or(b.clone()),
            _ => {}
        }
        if let (Some(x), Some(y)) = (Kind::of(a), Kind::of(b)) {
            let (sign, pos) = self.operator(node, call);
            let remedy = match (x, y) {
                (Kind::Number, Kind::Number) => "make both decimal: `double(…)`, and `2.0` for `2`",
                (Kind::Text, Kind::Number) | (Kind::Number, Kind::Text) if is_add => {
                    "make a text of the number: `string(…)`"
                }
                _ => "calculate with numbers",
            };
            self.wrong(pos, format!("`{sign}` does not work on {a} and {b}"), remedy);
        }
        Shape::Any
    }
}

/// What can be compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Number,
    Text,
    List,
    Record,
}

impl Kind {
    /// `None` where anything may be.
    fn of(shape: &Shape) -> Option<Self> {
        match shape {
            Shape::Any | Shape::Null => None,
            Shape::Bool => Some(Self::Bool),
            Shape::Int | Shape::Number => Some(Self::Number),
            Shape::Text | Shape::Word(_) => Some(Self::Text),
            Shape::List(_) => Some(Self::List),
            Shape::Record(_) => Some(Self::Record),
        }
    }
}
