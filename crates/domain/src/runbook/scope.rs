//! What expressions can see: the names, and their values at this moment.
//!
//! A scope is plain data, filled by whoever evaluates (the run, the plan, a form preview). Which steps are visible where
//! is decided there and by the checker; here a name is simply known, known later, or unknown.
//!
//! Values are shared: a scope is filled anew whenever somebody asks what follows.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::Until;
use super::expr::path::{Path, Seg};
use super::expr::{EvalError, Expr};
use crate::words::many;

/// The names that expressions can see, with their values.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// `inputs`: see [`super::input_values`].
    pub inputs: Arc<Value>,
    /// `steps`: outputs by step id; inside `each … steps` the caller puts the inner ones over the outer ones.
    pub steps: BTreeMap<String, Slot>,
    /// `item`, inside `each`.
    pub item: Option<Value>,
    /// `out`, inside `until` and `give_up_if`.
    pub out: Option<Value>,
    /// `inventory`: see [`super::inventory_value`]; one value, shared by all runs.
    pub inventory: Arc<Value>,
    /// `run`: what is known of the run itself, such as its id.
    pub run: Arc<Value>,
    /// `signal`, inside `triggers`: see [`crate::signal::Signal::value`].
    pub signal: Option<Arc<Value>>,
}

/// The output of a step.
#[derive(Debug, Clone, PartialEq)]
pub enum Slot {
    /// It is this. `null` when the step was skipped, or failed and the run went on.
    Known(Arc<Value>),
    /// While planning: it exists only after this step has really run.
    Later {
        /// The step.
        after: String,
    },
}

/// The names that stand at the beginning of a path.
pub(crate) const ROOTS: [&str; 7] = ["inputs", "steps", "item", "out", "inventory", "run", "signal"];

impl Scope {
    /// The same, with `item`.
    #[must_use]
    pub fn with_item(&self, item: Value) -> Self {
        Self { item: Some(item), ..self.clone() }
    }

    /// The same, with `out`.
    #[must_use]
    pub fn with_out(&self, out: Value) -> Self {
        Self { out: Some(out), ..self.clone() }
    }

    /// No more than a wait's expressions name: a run that waits for hours keeps nothing else of what its steps saw.
    #[must_use]
    pub fn for_wait(&self, until: &Until) -> Self {
        let mut exprs = vec![&until.condition];
        if let Some(message) = &until.message {
            message.each_expr(&mut |expr| exprs.push(expr));
        }
        if let Some(give_up) = &until.give_up {
            exprs.push(&give_up.condition);
            give_up.message.each_expr(&mut |expr| exprs.push(expr));
        }
        let paths: Vec<&Path> = exprs.into_iter().flat_map(Expr::paths).collect();
        let of_steps = || paths.iter().filter(|p| p.root == "steps").map(|p| p.first_field());
        let names = |id: &str| of_steps().any(|first| first.is_none_or(|first| first == id));
        Self {
            inputs: if paths.iter().any(|p| p.root == "inputs") {
                self.inputs.clone()
            } else {
                Arc::default()
            },
            steps: self
                .steps
                .iter()
                .filter(|(id, _)| names(id))
                .map(|(id, slot)| (id.clone(), slot.clone()))
                .collect(),
            out: None,
            item: self.item.clone(),
            inventory: self.inventory.clone(),
            run: self.run.clone(),
            signal: None,
        }
    }

    /// The value of a root other than `steps`; `None` where it has no meaning here.
    pub(super) fn root(&self, name: &str) -> Option<&Value> {
        match name {
            "inputs" => Some(&self.inputs),
            "item" => self.item.as_ref(),
            "out" => self.out.as_ref(),
            "inventory" => Some(&self.inventory),
            "run" => Some(&self.run),
            "signal" => self.signal.as_deref(),
            _ => None,
        }
    }

    /// Fails when the path leads through an output that does not exist yet.
    pub(super) fn later(&self, path: &Path) -> Result<(), EvalError> {
        if path.root != "steps" {
            return Ok(());
        }
        let later = match path.first_field() {
            Some(id) => self.steps.get(id).and_then(Slot::later),
            None => self.steps.values().find_map(Slot::later),
        };
        later.map_or(Ok(()), |after| Err(EvalError::Later { after: after.to_owned() }))
    }

    /// The value at a path, or why there is none, in words.
    pub(super) fn look(&self, path: &Path) -> Result<Value, String> {
        if path.root != "steps" {
            let value = self.root(&path.root).ok_or_else(|| no_root(&path.root))?;
            return descend(value, path, 0).cloned();
        }
        let Some(id) = path.first_field() else {
            return Ok(Value::Object(
                self.known().map(|(id, value)| (id.to_owned(), value.clone())).collect(),
            ));
        };
        match self.steps.get(id) {
            Some(Slot::Known(value)) => descend(value, path, 1).cloned(),
            Some(Slot::Later { after }) => Err(format!("steps.{id} is known only after step `{after}`")),
            None => Err(format!("steps.{id}: there is no step `{id}` before this one")),
        }
    }

    /// The outputs that are known.
    pub(super) fn known(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.steps.iter().filter_map(|(id, slot)| match slot {
            Slot::Known(value) => Some((id.as_str(), &**value)),
            Slot::Later { .. } => None,
        })
    }
}

impl Slot {
    /// It is this.
    pub fn known(value: Value) -> Self {
        Self::Known(Arc::new(value))
    }

    fn later(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Later { after } => Some(after),
        }
    }
}

fn no_root(name: &str) -> String {
    match name {
        "item" => "`item` is known only inside `each`".into(),
        "out" => "`out` is known only inside `until`, its `message` and `give_up_if`".into(),
        "signal" => "`signal` is known only inside `triggers`".into(),
        _ => format!("`{name}` is not a known name"),
    }
}

fn descend<'a>(value: &'a Value, path: &Path, from: usize) -> Result<&'a Value, String> {
    let mut here = value;
    for (depth, seg) in path.segs.iter().enumerate().skip(from) {
        let so_far = path.upto(depth);
        here = match (&seg.seg, here) {
            (_, Value::Null) if path.root == "steps" && depth == 1 => {
                return Err(format!(
                    "{so_far} was skipped (or failed and the run went on), so it has no output"
                ));
            }
            (_, Value::Null) => return Err(format!("{so_far} is null, so it has no {}", seg.seg)),
            (Seg::Field(name), Value::Object(fields)) => fields.get(name).ok_or_else(|| {
                format!("{so_far} has no field `{name}`; it has: {}", listed(fields.keys()))
            })?,
            (Seg::Index(i), Value::Array(items)) => {
                usize::try_from(*i).ok().and_then(|i| items.get(i)).ok_or_else(|| {
                    format!("{so_far} has {}, so there is no {}", many(items.len(), "item"), seg.seg)
                })?
            }
            (seg, other) => return Err(format!("{so_far} is {}, so it has no {seg}", kind(other))),
        };
    }
    Ok(here)
}

/// Names for a message: the first twenty.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(String::as_str).collect();
    match names.len() {
        0 => "nothing".into(),
        1..=20 => names.join(", "),
        n => format!("{} and {} more", names[..20].join(", "), n - 20),
    }
}

/// What a value is, with its article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(n) if n.is_f64() => "a number",
        Value::Number(_) => "a whole number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a record",
    }
}
