//! `run`: is there such a runbook, does it take these inputs, does it end, and can its locks be told at the start?

use std::collections::BTreeSet;
use std::sync::Arc;

use super::conform::quoted;
use super::names::Names;
use super::shape::Shape;
use super::{Checker, infer};
use crate::runbook::children::{descend, fields, names_input, runs};
use crate::runbook::diagnostic::Pos;
use crate::runbook::scope::listed;
use crate::runbook::suggest::suggest;
use crate::runbook::template::Node;
use crate::runbook::{Body, Child, Each, EachBody, Expr, Input, InputType, Runbook, Step, Template, inputs};

/// So many runbooks may be inside each other: more is a program, and not something to read at night.
const DEEPEST: usize = 4;

impl Checker<'_> {
    /// The shape of a child's output: what its steps give.
    pub(super) fn child(&mut self, pos: Pos, child: &Child, names: &Names) -> Shape {
        for (_, value) in fields(&child.with) {
            infer::template(value, names, &mut self.mistakes);
        }
        let name = child.runbook.as_str();
        let runbook = match self.others.get(name) {
            _ if name == self.runbook => {
                self.wrong(
                    pos,
                    "a runbook that runs itself never ends",
                    "name another runbook, or leave the step out",
                );
                return Shape::Any;
            }
            None => {
                let known = self.others.keys().map(String::as_str).filter(|known| *known != self.runbook);
                let remedy = suggest(name, known).unwrap_or_else(|| match self.others.len() {
                    0 => "there is no other runbook".into(),
                    _ => format!("there is: {}", listed(self.others.keys())),
                });
                self.wrong(pos, format!("there is no runbook `{name}`"), remedy);
                return Shape::Any;
            }
            Some(other) => other.clone(),
        };
        if let Some(Err((what, remedy))) = runbook.runbook.as_ref().map(|runbook| self.ends(runbook)) {
            self.wrong(pos, what, remedy);
            return Shape::Any;
        }
        let Some(runbook) = runbook.runbook.filter(|_| !runbook.mistaken) else {
            let what = format!("runbook `{name}` has mistakes itself");
            self.wrong(pos, what, "correct them; `firebreak runbook check` shows them");
            return Shape::Any;
        };
        if let Node::Record(given) = &child.with.node {
            self.given(pos, given, &runbook, names, "with");
        }
        self.outputs(&runbook)
    }

    /// Does it end: does it never lead back to this runbook, nor too deep?
    fn ends(&self, child: &Arc<Runbook>) -> Result<(), (String, String)> {
        let find = |name: &str| self.others.get(name).and_then(|other| other.runbook.clone());
        if descend(child, find).contains_key(self.runbook) || child.name == self.runbook {
            let what = format!("`{}` runs `{}`, so this would never end", child.name, self.runbook);
            return Err((what, "take the steps that both need into a runbook of their own".into()));
        }
        let mut layer = BTreeSet::from([child.name.clone()]);
        for _ in 0..DEEPEST {
            let below = layer
                .iter()
                .filter_map(|name| find(name))
                .flat_map(|r| runs(&r.steps).into_iter().map(|(_, c)| c.runbook.clone()).collect::<Vec<_>>());
            layer = below.collect();
            if layer.is_empty() {
                return Ok(());
            }
        }
        let what = format!("more than {DEEPEST} runbooks would be inside each other");
        Err((what, "say the steps where they are needed".into()))
    }

    /// Do the inputs fit that are given under this key?
    pub(super) fn given(
        &mut self,
        pos: Pos,
        given: &[(String, Pos, Template)],
        runbook: &Runbook,
        names: &Names,
        under: &str,
    ) {
        for (key, key_pos, value) in given {
            let Some(input) = runbook.inputs.iter().find(|i| i.name == *key) else {
                let remedy =
                    suggest(key, runbook.inputs.iter().map(|i| i.name.as_str())).unwrap_or_else(|| {
                        format!("it takes: {}", listed(runbook.inputs.iter().map(|i| &i.name)))
                    });
                self.wrong(*key_pos, format!("`{}` takes no `{key}`", runbook.name), remedy);
                continue;
            };
            let wrong = match value.as_literal() {
                Some(value) if value.is_null() => None,
                Some(constant) => {
                    let stored = inputs::store(&input.kind, constant, None).err();
                    stored.or_else(|| altered(&input.kind, value))
                }
                None => {
                    // Its mistakes were told above.
                    let have = infer::template(value, names, &mut Vec::new());
                    (!takes(&input.kind, &have))
                        .then(|| (format!("`{key}` of `{}` cannot be {have}", runbook.name), wanted(input)))
                }
            };
            if let Some((what, remedy)) = wrong {
                self.wrong(value.pos, what, remedy);
            }
        }
        for input in &runbook.inputs {
            let missing = !given.iter().any(|(key, ..)| *key == input.name);
            if missing && !input.optional && input.default.is_none() {
                let what = format!("`{}` needs `{}`: {}", runbook.name, input.name, input.description);
                self.wrong(pos, what, format!("add `{under}: {{ {}: … }}`", input.name));
            }
        }
    }

    /// What a sound runbook's steps give.
    fn outputs(&self, runbook: &Runbook) -> Shape {
        let mut checker =
            Checker { runbook: &runbook.name, mistakes: Vec::new(), first_change: None, ..*self };
        let mut names = Names::new(runbook);
        checker.steps(&runbook.steps, &mut names, false);
        Shape::record(runbook.steps.iter().map(|s| (s.id.as_str(), names.output(&s.id))))
    }

    /// Locks are taken at the start: those of a child must not rest on what only a step can tell.
    pub(super) fn locks(&mut self, runbook: &Runbook) {
        let known = Known { later: BTreeSet::new(), values: BTreeSet::new(), item: true };
        self.locks_of(&runbook.steps, &known, None);
    }

    fn locks_of(&mut self, steps: &[Step], known: &Known, from: Option<Pos>) {
        let mut known = known.clone();
        for step in steps {
            match &step.body {
                Body::Value(value) if !known.rests_on_a_step(value) => {
                    known.values.insert(step.id.clone());
                }
                Body::Each(Each { items, body: EachBody::Steps(steps), .. }) => {
                    let item = !known.is_later(items);
                    self.locks_of(steps, &Known { item, ..known.clone() }, from);
                }
                Body::Together(branches) => {
                    branches.iter().for_each(|branch| self.locks_of(&branch.steps, &known, from));
                }
                Body::Run(child) => self.locks_of_child(step, child, &known, from),
                _ => {}
            }
        }
    }

    fn locks_of_child(&mut self, step: &Step, child: &Child, known: &Known, from: Option<Pos>) {
        let Some(runbook) = self.others.get(&child.runbook).and_then(|other| other.runbook.clone()) else {
            return;
        };
        if child.runbook == self.runbook || self.ends(&runbook).is_err() {
            return;
        }
        let later: BTreeSet<String> = fields(&child.with)
            .filter(|(_, value)| known.rests_on_a_step(value))
            .map(|(name, _)| name.to_owned())
            .collect();
        for name in runbook.names_at_start() {
            if let Some(input) = later.iter().find(|input| names_input(name, input)) {
                let given = fields(&child.with).find(|(name, _)| name == input).map(|(_, value)| value.pos);
                let pos = from.or(given).unwrap_or(step.body_pos);
                let what = format!(
                    "`{}` locks or limits what its `{input}` names, and that is known only after a step: both are asked at the start",
                    runbook.name
                );
                let remedy =
                    format!("give `{input}` from `inputs`, or start `{}` as a run of its own", runbook.name);
                self.wrong(pos, what, remedy);
            }
        }
        let inside = Known { later, values: BTreeSet::new(), item: true };
        self.locks_of(&runbook.steps, &inside, from.or(Some(step.body_pos)));
    }
}

/// What is known when a run starts.
#[derive(Clone)]
struct Known {
    /// Inputs that are not.
    later: BTreeSet<String>,
    /// Steps that only work something out from what is.
    values: BTreeSet<String>,
    /// The item of the `each` around.
    item: bool,
}

impl Known {
    fn rests_on_a_step(&self, template: &Template) -> bool {
        let mut later = false;
        template.each_expr(&mut |expr| later |= self.is_later(expr));
        later
    }

    fn is_later(&self, expr: &Expr) -> bool {
        expr.paths().iter().any(|path| match (path.root.as_str(), path.first_field()) {
            ("steps", Some(id)) => !self.values.contains(id),
            ("steps", None) => true,
            ("item", _) => !self.item,
            ("inputs", Some(input)) => self.later.contains(input),
            ("inputs", None) => !self.later.is_empty(),
            _ => false,
        })
    }
}

/// What would be handed on as another text than the file has, because it is a number there.
fn altered(kind: &InputType, given: &Template) -> Option<(String, String)> {
    match (kind, &given.node) {
        (InputType::String, Node::Literal(value)) => given.as_written().map(|written| {
            (
                format!("text is wanted, and `{written}` is a number here: `{value}`"),
                quoted(value, Some(written)),
            )
        }),
        (InputType::List(of), Node::List(items)) => items.iter().find_map(|item| altered(of, item)),
        _ => None,
    }
}

/// May an expression of this shape be handed to an input of that type?
fn takes(kind: &InputType, have: &Shape) -> bool {
    match (kind, have) {
        (_, Shape::Any | Shape::Null) => true,
        (InputType::String | InputType::Duration | InputType::Percent, have) if have.is_text() => true,
        (InputType::Enum(_), Shape::Text) => true,
        (InputType::Enum(words), Shape::Word(have)) => have.iter().any(|word| words.contains(word)),
        (InputType::Integer | InputType::Duration, Shape::Int) => true,
        (InputType::Number | InputType::Percent, Shape::Int | Shape::Number) => true,
        (InputType::Boolean, Shape::Bool) => true,
        (InputType::List(of), Shape::List(have)) => takes(of, have),
        (InputType::Cluster | InputType::ProxyFleet, have) => {
            have.is_text() || *have == Shape::of_input(kind)
        }
        _ => false,
    }
}

fn wanted(input: &Input) -> String {
    let what = match &input.kind {
        InputType::String => "text",
        InputType::Integer => "a whole number",
        InputType::Number => "a number",
        InputType::Boolean => "true or false",
        InputType::Duration => "a duration such as `3m`, or seconds",
        InputType::Percent => "a percentage",
        InputType::Enum(words) => return format!("give one of {}", listed(words.iter())),
        InputType::List(_) => "a list",
        InputType::Cluster => "a cluster or its id",
        InputType::ProxyFleet => "a proxy fleet or its id",
    };
    format!("give {what}")
}
