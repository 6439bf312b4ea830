//! How large may what an expression makes become?
//!
//! CEL has no loops and always ends, but `'a'.replace('a', 'aaaaaaaaaa')` makes a text ten times as long, and twenty of them in a
//! chain more than any memory holds. So the size of every part is estimated, in characters and items, as if each value that it is
//! given had [`GIVEN`] of them: for finding what grows without measure, not for measuring.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr as Ast, LiteralValue, operators as op};

use super::vocabulary::{self, Gives};

/// Of a value that is not written out: characters of a text, items of a list.
const GIVEN: f64 = 50.0;
/// Larger than anything that people read or actions take, given such values; with all that loops within loops may come to.
const MAX: f64 = 3e7;

/// The node that may become too large.
pub(super) fn bounded(expr: &IdedExpr) -> Result<(), u64> {
    Estimate { bound: Vec::new() }.of(expr).map(drop)
}

struct Estimate<'e> {
    /// The variables of the loops around.
    bound: Vec<(&'e str, f64)>,
}

impl<'e> Estimate<'e> {
    fn of(&mut self, expr: &'e IdedExpr) -> Result<f64, u64> {
        let size = match &expr.expr {
            Ast::Literal(LiteralValue::String(text)) => text.inner().chars().count() as f64,
            Ast::Literal(_) | Ast::Unspecified => 1.0,
            Ast::Ident(name) => {
                self.bound.iter().rev().find(|(bound, _)| bound == name).map_or(GIVEN, |(_, size)| *size)
            }
            Ast::Select(select) => self.of(&select.operand)?,
            Ast::Call(call) => self.call(call)?,
            Ast::Comprehension(c) => self.comprehension(c)?,
            Ast::List(list) => self.all(&list.elements)? + list.elements.len() as f64,
            Ast::Map(map) => {
                let mut size = 0.0;
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(e) = &entry.expr {
                        size += self.of(&e.key)? + self.of(&e.value)?;
                    }
                }
                size
            }
            Ast::Struct(_) => 1.0,
        };
        if size > MAX { Err(expr.id) } else { Ok(size) }
    }

    fn all(&mut self, parts: &'e [IdedExpr]) -> Result<f64, u64> {
        parts.iter().try_fold(0.0, |size, part| Ok(size + self.of(part)?))
    }

    fn call(&mut self, call: &'e CallExpr) -> Result<f64, u64> {
        let name = call.func_name.as_str();
        let on = match call.target.as_deref() {
            Some(IdedExpr { expr: Ast::Ident(name), .. }) if vocabulary::is_namespace(name) => 0.0,
            Some(target) => self.of(target)?,
            None => 0.0,
        };
        let args: Vec<f64> = call.args.iter().map(|arg| self.of(arg)).collect::<Result<_, _>>()?;
        Ok(match (name, args.as_slice()) {
            (op::CONDITIONAL, [_, a, b]) => a.max(*b),
            (op::ADD, [a, b]) => a + b,
            (op::INDEX, [of, _]) => *of,
            ("replace", [from, to, ..]) => match &call.args[0].expr {
                Ast::Literal(LiteralValue::String(_)) if *from > 0.0 => on * (to / from).max(1.0),
                // Nothing stands between any two characters.
                _ => (on + 1.0) * (to + 1.0),
            },
            ("join", [between]) => on * (between + 1.0),
            ("string", [of]) => *of,
            _ => match vocabulary::function(name, call.target.is_some()).map(|f| f.gives) {
                Some(Gives::Text | Gives::Texts | Gives::Same | Gives::Any) => on + args.iter().sum::<f64>(),
                _ => 1.0,
            },
        })
    }

    /// What a macro has become: `filter` and `map` build up a list, the others come to one answer.
    fn comprehension(&mut self, c: &'e ComprehensionExpr) -> Result<f64, u64> {
        let range = self.of(&c.iter_range)?;
        let start = self.of(&c.accu_init)?;
        let builds = matches!(c.accu_init.expr, Ast::List(_) | Ast::Map(_));
        let outside = self.bound.len();
        self.bound.push((&c.accu_var, start));
        self.bound.push((&c.iter_var, range));
        self.bound.extend(c.iter_var2.as_deref().map(|name| (name, range)));
        self.of(&c.loop_cond)?;
        let step = self.of(&c.loop_step)?;
        self.bound.truncate(outside);
        Ok(match (builds, keeps(&c.loop_step, &c.iter_var)) {
            (true, true) => range,
            (true, false) => range * step,
            (false, _) => step,
        })
    }
}

/// Does a round add the item as it is? All of them together are what is gone through.
fn keeps(step: &IdedExpr, item: &str) -> bool {
    match &step.expr {
        Ast::Call(call) if call.func_name == op::CONDITIONAL => {
            call.args.get(1).is_some_and(|then| keeps(then, item))
        }
        Ast::Call(call) if call.func_name == op::ADD => matches!(
            call.args.get(1).map(|added| &added.expr),
            Some(Ast::List(list)) if matches!(list.elements.as_slice(), [IdedExpr { expr: Ast::Ident(name), .. }] if name == item)
        ),
        _ => false,
    }
}
