//! `at_once` and `stop_after`: a number from 1, or a percentage. What is neither would fail where the step begins, long after others
//! have changed something.

use cel::common::ast::{Expr as Ast, operators as op};

use super::names::Names;
use super::shape::Shape;
use super::{Checker, infer};
use crate::runbook::template::{Node, Piece};
use crate::runbook::{Expr, Template};

impl Checker<'_> {
    pub(super) fn amount(&mut self, key: &str, amount: &Template, names: &Names) {
        let shape = infer::template(amount, names, &mut self.mistakes);
        let wrong = match &amount.node {
            Node::Whole(expr) => whole(key, expr, &shape),
            Node::Text(pieces) => match pieces.last() {
                Some(Piece::Text(end)) if !end.trim_end().ends_with('%') => {
                    Some((format!("`{key}` is no percentage: it does not end with `%`"), WRITE.to_owned()))
                }
                _ => None,
            },
            // Judged where it was read.
            Node::Literal(_) | Node::List(_) | Node::Record(_) => None,
        };
        if let Some((what, remedy)) = wrong {
            self.wrong(amount.pos, what, remedy);
        }
    }
}

const WRITE: &str = "write a number from 1, or a percentage such as `\"${inputs.share}%\"`";

fn whole(key: &str, expr: &Expr, shape: &Shape) -> Option<(String, String)> {
    let source = expr.source().trim();
    match shape {
        Shape::Number => Some((
            format!("`{key}` takes a whole number or a percentage, and this is {shape}"),
            format!(
                "write `\"${{{source}}}%\"` if it is a percentage, and `\"${{int({source})}}\"` if it is not"
            ),
        )),
        Shape::Int if divides(expr) => Some((
            format!("`{key}` would be 0 of a few: whole numbers are rounded down"),
            format!(
                "write a percentage such as `50%`, of which there is always one, or `\"${{math.greatest(1, {source})}}\"`"
            ),
        )),
        Shape::Word(words) if !words.iter().any(|word| word.trim_end().ends_with('%')) => {
            Some((format!("`{key}` takes a number or a percentage, and this is {shape}"), WRITE.to_owned()))
        }
        Shape::Bool | Shape::List(_) | Shape::Record(_) => {
            Some((format!("`{key}` takes a number or a percentage, and this is {shape}"), WRITE.to_owned()))
        }
        Shape::Any | Shape::Null | Shape::Int | Shape::Text | Shape::Word(_) => None,
    }
}

/// Is it the result of a division?
fn divides(expr: &Expr) -> bool {
    matches!(&expr.tree().expr, Ast::Call(call) if call.func_name == op::DIVIDE)
}
