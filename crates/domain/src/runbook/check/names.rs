//! Which names mean something at a place of a runbook.

use std::collections::BTreeMap;

use super::shape::Shape;
use crate::runbook::expr::path::Path;
use crate::runbook::scope::listed;
use crate::runbook::suggest::suggest;
use crate::runbook::{Runbook, Step};

/// The names at a place.
#[derive(Debug, Clone)]
pub(super) struct Names {
    inputs: Shape,
    /// Steps that are done by then, the nearest last.
    steps: Vec<(String, Shape)>,
    /// Steps that are not: the one at this place, and those that come later.
    ahead: Vec<(String, Ahead)>,
    /// Steps inside of an `each` or `together`: of which and what that means, and how they are named from outside.
    inside: BTreeMap<String, (String, String)>,
    /// Inside of `each`.
    item: Option<Shape>,
    /// Inside of `until` and `give_up_if`.
    out: Option<Shape>,
    /// Inside of `triggers`: then nothing else of the runbook has a meaning.
    signal: Option<Shape>,
}

/// Why a step has no output yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ahead {
    Itself,
    Around,
    Later,
}

/// A name that means nothing: byte offset within the expression, length in characters.
pub(super) struct Unknown {
    pub(super) at: usize,
    pub(super) len: usize,
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Names {
    /// Those before the first step.
    pub(super) fn new(runbook: &Runbook) -> Self {
        let inputs =
            Shape::record(runbook.inputs.iter().map(|i| (i.name.as_str(), Shape::of_input(&i.kind))));
        let mut inside = BTreeMap::new();
        collect_inside(&runbook.steps, &mut inside);
        Self { inputs, steps: Vec::new(), ahead: Vec::new(), inside, item: None, out: None, signal: None }
    }

    /// Those of a trigger.
    pub(super) fn of_a_signal(runbook: &Runbook) -> Self {
        Self { signal: Some(Shape::signal()), ..Self::new(runbook) }
    }

    /// With a list of steps to come.
    pub(super) fn enter(&mut self, steps: &[Step]) {
        for (_, ahead) in &mut self.ahead {
            if *ahead == Ahead::Itself {
                *ahead = Ahead::Around;
            }
        }
        self.ahead.extend(steps.iter().map(|s| (s.id.clone(), Ahead::Later)));
    }

    /// At a step.
    pub(super) fn at(&mut self, id: &str) {
        if let Some((_, ahead)) = self.ahead.iter_mut().find(|(name, _)| name == id) {
            *ahead = Ahead::Itself;
        }
    }

    /// After a step.
    pub(super) fn done(&mut self, id: &str, output: Shape) {
        self.ahead.retain(|(name, _)| name != id);
        self.steps.push((id.to_owned(), output));
    }

    /// What a step gave.
    pub(super) fn output(&self, id: &str) -> Shape {
        self.steps.iter().rev().find(|(name, _)| name == id).map_or(Shape::Any, |(_, shape)| shape.clone())
    }

    /// With `item`.
    pub(super) fn with_item(&self, item: Shape) -> Self {
        Self { item: Some(item), ..self.clone() }
    }

    /// With `out`.
    pub(super) fn with_out(&self, out: Shape) -> Self {
        Self { out: Some(out), ..self.clone() }
    }

    /// What the beginning of a path is, and how many of its parts that takes.
    pub(super) fn lookup(&self, path: &Path) -> Result<(Shape, usize), Unknown> {
        let here = |what: &str, remedy: &str| Unknown {
            at: path.at,
            len: path.root.chars().count(),
            what: what.to_owned(),
            remedy: remedy.to_owned(),
        };
        match path.root.as_str() {
            "signal" => self.signal.clone().map(|signal| (signal, 0)).ok_or_else(|| {
                here(
                    "`signal` has no meaning here",
                    "use it in `triggers`, which hand what it says to `inputs`",
                )
            }),
            name @ ("inputs" | "run" | "steps") if self.signal.is_some() => Err(here(
                &format!("`{name}` has no meaning in `triggers`: there is no run yet"),
                "name `signal` or `inventory`",
            )),
            "inputs" => Ok((self.inputs.clone(), 0)),
            "inventory" => Ok((Shape::inventory(), 0)),
            "run" => Ok((Shape::run(), 0)),
            "item" => self.item.clone().map(|item| (item, 0)).ok_or_else(|| {
                here("`item` has no meaning here", "use it inside `each`: in `with`, `until` and the steps")
            }),
            "out" => self.out.clone().map(|out| (out, 0)).ok_or_else(|| {
                here(
                    "`out` has no meaning here",
                    "use it in `until`, its `message` and `give_up_if`; elsewhere name the step: `steps.name`",
                )
            }),
            "steps" => match path.first_field() {
                Some(id) => self.step(path, id),
                None => Ok((Shape::Any, 0)),
            },
            _ => Ok((Shape::Any, 0)),
        }
    }

    fn step(&self, path: &Path, id: &str) -> Result<(Shape, usize), Unknown> {
        if let Some((_, shape)) = self.steps.iter().rev().find(|(name, _)| name == id) {
            return Ok((shape.clone(), 1));
        }
        let (what, remedy) = match (self.ahead.iter().find(|(name, _)| name == id), self.inside.get(id)) {
            (Some((_, Ahead::Itself)), _) => (
                format!("step `{id}` refers to itself"),
                "use `out` in `until`, or name a step before it".to_owned(),
            ),
            (Some((_, Ahead::Around)), _) => (
                format!("`{id}` is the step around this one, so it has no output yet"),
                "use `item`".to_owned(),
            ),
            (Some((_, Ahead::Later)), _) => (
                format!("step `{id}` comes later, so it has no output yet"),
                format!("move `{id}` before this step"),
            ),
            (None, Some((why, remedy))) => (format!("step `{id}` is inside of {why}"), remedy.clone()),
            (None, None) => {
                let known = self.steps.iter().map(|(name, _)| name);
                let remedy =
                    suggest(id, known.clone().map(String::as_str)).unwrap_or_else(|| match known.len() {
                        0 => "there is no step before this place".to_owned(),
                        _ => format!("the steps before this place: {}", listed(known)),
                    });
                (format!("there is no step `{id}`"), remedy)
            }
        };
        let at = path.segs.first().map_or(path.at, |part| part.at);
        Err(Unknown { at, len: id.chars().count(), what, remedy })
    }
}

fn collect_inside(steps: &[Step], inside: &mut BTreeMap<String, (String, String)>) {
    for step in steps {
        for (branch, inner) in step.inside() {
            let around = &step.id;
            inside.extend(inner.iter().map(|s| {
                let id = &s.id;
                let told = match branch {
                    None => (
                        format!("`{around}`, so there is one for each item"),
                        format!("of all items, it is `steps.{around}.map(x, x.{id})`"),
                    ),
                    Some(branch) => (
                        format!("a branch of `{around}`, so it is not known by this name outside of it"),
                        format!("once `{around}` is done, it is `steps.{around}.{branch}.{id}`"),
                    ),
                };
                (id.clone(), told)
            }));
            collect_inside(inner, inside);
        }
    }
}
