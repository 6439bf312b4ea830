//! Expressions: CEL over JSON values, with integers kept whole and errors in the words of the runbook.
//!
//! Limits, so that a file cannot hang or crash what reads it: see `compile`. Lists of the real world (hosts, clusters)
//! have hundreds of items and at most three loops may be nested, so an evaluation is milliseconds; there is no
//! interruption of one that is under way.

pub(crate) mod compile;
pub(crate) mod path;
mod size;
mod value;
pub(crate) mod vocabulary;

use std::fmt;
use std::sync::Arc;

use cel::{Context, ExecutionError, IdedExpr, Program, Value as Cel};
use serde_json::{Map, Value};

use self::compile::{Flaw, chars_before};
use self::path::Path;
use super::diagnostic::{Diagnostic, Place, Pos};
use super::scope::{Scope, Slot};

/// An expression, compiled once.
#[derive(Clone)]
pub struct Expr(Arc<Inner>);

struct Inner {
    source: String,
    place: Place,
    program: Program,
    paths: Vec<Path>,
    /// The path that the whole expression is: then CEL is not asked, and records keep their order.
    whole: Option<Path>,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// While planning: it rests on what only exists after that step has really run.
    #[error("known only after step `{after}`")]
    Later {
        /// The step.
        after: String,
    },
    /// It cannot be worked out from these values.
    #[error("`{expression}`: {message}")]
    Failed {
        /// The expression.
        expression: String,
        /// Why, naming the path.
        message: String,
    },
}

impl Expr {
    /// Compiles an expression that stands in no file.
    pub fn parse(source: &str) -> Result<Self, Diagnostic> {
        Self::at(source, Place::default())
            .map_err(|flaw| Diagnostic::new(Pos::at(1, flaw.offset + 1, flaw.len), flaw.what, flaw.remedy))
    }

    /// Compiles one whose characters stand at these places of a file.
    pub(super) fn at(source: &str, place: Place) -> Result<Self, Flaw> {
        let program = compile::compile(source)?;
        let (tree, info) = (program.expression(), program.source_info());
        let paths = path::paths(tree, info);
        let whole = path::whole(tree, info).filter(|p| !p.test);
        Ok(Self(Arc::new(Inner { source: source.to_owned(), place, paths, whole, program })))
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Where it stands.
    pub fn pos(&self) -> Pos {
        self.0.place.pos(0, self.0.source.trim_end().chars().count())
    }

    /// Its value.
    pub fn eval(&self, scope: &Scope) -> Result<Value, EvalError> {
        self.0.paths.iter().try_for_each(|path| scope.later(path))?;
        if let Some(path) = &self.0.whole {
            return scope.look(path).map_err(|message| self.failed(message));
        }
        let context = self.bind(scope).map_err(|message| self.failed(message))?;
        match Cel::resolve(self.tree(), &context) {
            Ok(result) => value::from_cel(&result).map_err(|message| self.failed(message)),
            Err(e) => Err(self.failed(self.explain(&e, scope))),
        }
    }

    /// Its value, which must be true or false.
    pub fn test(&self, scope: &Scope) -> Result<bool, EvalError> {
        match self.eval(scope)? {
            Value::Bool(b) => Ok(b),
            other => {
                Err(self
                    .failed(format!("this is {}, where true or false is needed", super::scope::kind(&other))))
            }
        }
    }

    /// What it rests on: every path that it names, with the value that it saw. What has no value is left out.
    pub fn facts(&self, scope: &Scope) -> Map<String, Value> {
        self.0.paths.iter().filter_map(|path| Some((path.to_string(), scope.look(path).ok()?))).collect()
    }

    /// The names it refers to.
    pub(super) fn paths(&self) -> &[Path] {
        &self.0.paths
    }

    /// The path that a node of its tree is, if it is nothing else.
    pub(super) fn path(&self, node: &IdedExpr) -> Option<Path> {
        path::whole(node, self.0.program.source_info())
    }

    /// Its syntax tree.
    pub(super) fn tree(&self) -> &IdedExpr {
        self.0.program.expression()
    }

    /// Where a piece of it stands in the file: byte offset within the expression, length in characters.
    pub(super) fn pos_of(&self, byte: usize, len: usize) -> Pos {
        self.0.place.pos(chars_before(&self.0.source, byte), len)
    }

    /// Where a node of the tree begins: byte offset within the expression.
    pub(super) fn offset_of(&self, node: &IdedExpr) -> usize {
        self.0.program.source_info().offset_for(node.id).map_or(0, |(start, _)| start as usize)
    }

    fn failed(&self, message: String) -> EvalError {
        EvalError::Failed { expression: self.0.source.trim().to_owned(), message }
    }

    /// Hands CEL no more than what is named: `steps.group` of twenty steps, `inventory.clusters` without the fleets.
    fn bind(&self, scope: &Scope) -> Result<Context<'static, 'static>, String> {
        let mut context = Context::with_env(vocabulary::env());
        for root in super::scope::ROOTS {
            let mut of_root = self.0.paths.iter().filter(|p| p.root == root).peekable();
            if of_root.peek().is_none() {
                continue;
            }
            let firsts: Option<Vec<&str>> = of_root.map(Path::first_field).collect();
            let bound = match (root, firsts) {
                ("steps", Some(ids)) => {
                    let known = ids.into_iter().filter_map(|id| match scope.steps.get(id) {
                        Some(Slot::Known(value)) => Some((id, &**value)),
                        _ => None,
                    });
                    Some(value::record(known, 0)?)
                }
                ("steps", None) => Some(value::record(scope.known(), 0)?),
                (_, firsts) => match (scope.root(root), firsts) {
                    (Some(Value::Object(fields)), Some(names)) => {
                        let named =
                            names.into_iter().filter_map(|name| fields.get(name).map(|value| (name, value)));
                        Some(value::record(named, 0)?)
                    }
                    (Some(value), _) => Some(value::to_cel(value)?),
                    (None, _) => None,
                },
            };
            if let Some(bound) = bound {
                context.add_variable_from_value(root, bound);
            }
        }
        Ok(context)
    }

    /// CEL's error in the words of the runbook. A path that leads nowhere is the likeliest cause, and the clearest.
    fn explain(&self, error: &ExecutionError, scope: &Scope) -> String {
        let by_path = || self.0.paths.iter().filter(|p| !p.test).find_map(|path| scope.look(path).err());
        let plain = match error {
            ExecutionError::NoSuchKey(name) => {
                return by_path().unwrap_or_else(|| format!("a record has no field `{name}`"));
            }
            ExecutionError::UndeclaredReference(name) => {
                return by_path().unwrap_or_else(|| format!("`{name}` is not known here"));
            }
            ExecutionError::NoSuchOverload(e) if e.function() == "_._" => {
                let what = e.argument_types().first().map_or("this", |t| words(t));
                return by_path().unwrap_or_else(|| format!("{what} has no fields"));
            }
            ExecutionError::NoSuchOverload(e) => {
                let operator = e.function().trim_start_matches('@').replace('_', " ");
                let types: Vec<_> = e.argument_types().iter().map(|t| words(t)).collect();
                format!("`{}` does not work on {}", operator.trim(), types.join(" and "))
            }
            ExecutionError::UnsupportedBinaryOperator(name, a, b) => {
                let sign = match *name {
                    "add" => "+",
                    "sub" => "-",
                    "mul" => "*",
                    "div" => "/",
                    "rem" => "%",
                    other => other,
                };
                let (a, b) = (a.type_of().to_string(), b.type_of().to_string());
                let hint =
                    if a == b { "" } else { "; convert one with double(…), int(…) or string(…)" };
                format!("`{sign}` does not work on {} and {}{hint}", words(&a), words(&b))
            }
            ExecutionError::FunctionError { function, message } => format!("`{function}`: {message}"),
            ExecutionError::UnexpectedType { got, want } => {
                format!("this is {}, where {} is needed", words(got), words(want))
            }
            ExecutionError::ValuesNotComparable(a, b) => {
                let (a, b) = (a.type_of().to_string(), b.type_of().to_string());
                format!("{} and {} cannot be compared", words(&a), words(&b))
            }
            ExecutionError::DivisionByZero(_) => "it divides by zero".to_owned(),
            ExecutionError::RemainderByZero(_) => "it takes the remainder of a division by zero".to_owned(),
            ExecutionError::Overflow(..) => "a whole number becomes too large".to_owned(),
            ExecutionError::IndexOutOfBounds(Cel::Int(i)) => format!("a list has no item [{i}]"),
            // Others print the values they choke on, which may be whole inventories.
            other => other.to_string().chars().take(300).collect(),
        };
        match by_path() {
            Some(cause) if matches!(error, ExecutionError::NoSuchOverload(_)) => format!("{plain} ({cause})"),
            _ => plain,
        }
    }
}

/// CEL's names of types.
fn words(cel: &str) -> &str {
    match cel {
        "int" | "uint" => "a whole number",
        "double" | "float" => "a number with decimals",
        "string" => "text",
        "bool" => "true or false",
        "list" => "a list",
        "map" => "a record",
        "null" | "null_type" => "null",
        other => other,
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.0.source).finish()
    }
}
