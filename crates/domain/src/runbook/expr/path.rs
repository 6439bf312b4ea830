//! The names an expression refers to, read off its syntax tree without evaluating it.
//!
//! A path is the longest chain of fixed steps from a known root: `steps.group.in_service` in
//! `steps.group.in_service.filter(…)`. Paths tell which values to hand to CEL, which outputs are missing in a plan, what
//! to show when a guard says no, and what the checker must find in the schemas.

use std::fmt;

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr as Ast, LiteralValue, SourceInfo, operators};

/// A chain of fields and indexes from a root.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    /// `inputs`, `steps`, … or an unknown name.
    pub(crate) root: String,
    /// What follows.
    pub(crate) segs: Vec<Part>,
    /// Where the root stands: byte offset in the expression.
    pub(crate) at: usize,
    /// The last part is only asked for with `has(…)`.
    pub(crate) test: bool,
}

/// One step of a path.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Which.
    pub(crate) seg: Seg,
    /// Where it stands: byte offset in the expression.
    pub(crate) at: usize,
}

/// A field or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seg {
    /// `.name` or `["name"]`.
    Field(String),
    /// `[0]`.
    Index(i64),
}

impl fmt::Display for Seg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, "field `{name}`"),
            Self::Index(i) => write!(f, "item [{i}]"),
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.upto(self.segs.len()))
    }
}

impl Path {
    /// The name right after the root, when it is fixed.
    pub(crate) fn first_field(&self) -> Option<&str> {
        match &self.segs.first()?.seg {
            Seg::Field(name) => Some(name),
            Seg::Index(_) => None,
        }
    }

    /// The path up to, not including, that part; as people write it.
    pub(crate) fn upto(&self, depth: usize) -> String {
        let mut text = self.root.clone();
        for part in self.segs.iter().take(depth) {
            match &part.seg {
                Seg::Field(name) => {
                    text.push('.');
                    text.push_str(name);
                }
                Seg::Index(i) => text.push_str(&format!("[{i}]")),
            }
        }
        text
    }
}

/// All paths from names that the expression does not bind itself, in reading order, each once per place.
pub(crate) fn paths(expr: &IdedExpr, info: &SourceInfo) -> Vec<Path> {
    let mut found = Vec::new();
    Walk { info, found: &mut found }.visit(expr, &mut Vec::new());
    found.sort_by_key(|p| p.at);
    found
}

/// The path that this expression is, if it is nothing else.
pub(crate) fn whole(expr: &IdedExpr, info: &SourceInfo) -> Option<Path> {
    let at = |id| info.offset_for(id).map_or(0, |(start, _)| start as usize);
    match &expr.expr {
        Ast::Ident(name) => Some(Path { root: name.clone(), segs: Vec::new(), at: at(expr.id), test: false }),
        Ast::Select(select) => {
            let mut path = whole(&select.operand, info).filter(|p| !p.test)?;
            // The offset of a selection is that of its dot; of a `has(…)`, that of the macro.
            let at = if select.test { path.at } else { at(expr.id) + 1 };
            path.segs.push(Part { seg: Seg::Field(select.field.clone()), at });
            path.test = select.test;
            Some(path)
        }
        Ast::Call(call) if call.func_name == operators::INDEX => {
            let [list, index] = call.args.as_slice() else { return None };
            let mut path = whole(list, info).filter(|p| !p.test)?;
            let seg = match &index.expr {
                Ast::Literal(LiteralValue::String(name)) => Seg::Field(name.inner().to_owned()),
                Ast::Literal(LiteralValue::Int(i)) => Seg::Index(*i.inner()),
                _ => return None,
            };
            path.segs.push(Part { seg, at: at(index.id) });
            Some(path)
        }
        _ => None,
    }
}

struct Walk<'a> {
    info: &'a SourceInfo,
    found: &'a mut Vec<Path>,
}

impl Walk<'_> {
    fn visit<'e>(&mut self, expr: &'e IdedExpr, bound: &mut Vec<&'e str>) {
        if let Some(path) = whole(expr, self.info) {
            if !bound.contains(&path.root.as_str()) {
                self.found.push(path);
            }
            return;
        }
        match &expr.expr {
            Ast::Call(call) => {
                // `math.least(…)`: the target is a namespace, not a value.
                if let Some(target) = &call.target
                    && !matches!(&target.expr, Ast::Ident(name) if super::vocabulary::is_namespace(name))
                {
                    self.visit(target, bound);
                }
                call.args.iter().for_each(|arg| self.visit(arg, bound));
            }
            Ast::Comprehension(c) => {
                self.visit(&c.iter_range, bound);
                let outside = bound.len();
                bound.push(&c.accu_var);
                self.visit(&c.accu_init, bound);
                bound.push(&c.iter_var);
                bound.extend(c.iter_var2.as_deref());
                self.visit(&c.loop_cond, bound);
                self.visit(&c.loop_step, bound);
                self.visit(&c.result, bound);
                bound.truncate(outside);
            }
            Ast::List(list) => list.elements.iter().for_each(|e| self.visit(e, bound)),
            Ast::Map(map) => map.entries.iter().for_each(|e| self.entry(&e.expr, bound)),
            Ast::Struct(s) => s.entries.iter().for_each(|e| self.entry(&e.expr, bound)),
            Ast::Select(select) => self.visit(&select.operand, bound),
            Ast::Ident(_) | Ast::Literal(_) | Ast::Unspecified => {}
        }
    }

    fn entry<'e>(&mut self, entry: &'e EntryExpr, bound: &mut Vec<&'e str>) {
        match entry {
            EntryExpr::MapEntry(e) => {
                self.visit(&e.key, bound);
                self.visit(&e.value, bound);
            }
            EntryExpr::StructField(f) => self.visit(&f.value, bound),
        }
    }
}
