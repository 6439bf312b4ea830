//! Runbooks that run others: who runs whom, and which locks and limits that brings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::inputs::{child_given, input_values, resolve_inputs};
use super::template::Node;
use super::{Body, Child, Each, EachBody, EvalError, Runbook, Scope, Slot, Step, Template};
use crate::action::{Effect, Registry};
use crate::brake::Limit;
use crate::inventory::Inventory;

/// Runbooks by name: all that one runs, directly or through others.
pub type Children = BTreeMap<String, Arc<Runbook>>;

/// All that a runbook runs, as far as `find` has them.
pub fn descend(runbook: &Runbook, find: impl Fn(&str) -> Option<Arc<Runbook>>) -> Children {
    let mut children = Children::new();
    let mut open: Vec<String> = runs(&runbook.steps).into_iter().map(|(_, c)| c.runbook.clone()).collect();
    while let Some(name) = open.pop() {
        if children.contains_key(&name) {
            continue;
        }
        if let Some(child) = find(&name) {
            open.extend(runs(&child.steps).into_iter().map(|(_, c)| c.runbook.clone()));
            children.insert(name, child);
        }
    }
    children
}

/// The `run` steps among these and inside them.
pub(super) fn runs(steps: &[Step]) -> Vec<(&Step, &Child)> {
    let mut found = Vec::new();
    for step in steps {
        if let Body::Run(child) = &step.body {
            found.push((step, child));
        }
        found.extend(step.inside().flat_map(|(_, steps)| runs(steps)));
    }
    found
}

/// Does it change nothing, whatever comes, nor do those that it runs? What is not known may change something.
pub fn only_looks(runbook: &Runbook, children: &Children, registry: &Registry) -> bool {
    let own = |runbook: &Runbook| {
        let known = runs(&runbook.steps).iter().all(|(_, child)| children.contains_key(&child.runbook));
        known && steps_only_look(&runbook.steps, registry)
    };
    own(runbook) && descend(runbook, |name| children.get(name).cloned()).values().all(|child| own(child))
}

fn steps_only_look(steps: &[Step], registry: &Registry) -> bool {
    steps.iter().all(|step| {
        let call = match &step.body {
            Body::Use(call) | Body::Each(Each { body: EachBody::One(call), .. }) => Some(call),
            _ => None,
        };
        let looks =
            call.is_none_or(|c| registry.get(&c.action).is_some_and(|a| a.spec().effect == Effect::Observe));
        looks && step.inside().all(|(_, steps)| steps_only_look(steps, registry))
    })
}

/// What a run must hold and keep to from its start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AtStart {
    /// The names of its locks.
    pub locks: Vec<String>,
    /// Its limits.
    pub limits: Vec<Limit>,
}

/// The locks and limits of a run: its runbook's and those of all that it runs, as its inputs say them. A child that an `if`
/// surely leaves out brings none; one that may be left out later does.
pub fn at_start(
    runbook: &Runbook,
    children: &Children,
    inventory: &Inventory,
    scope: &Scope,
) -> Result<AtStart, EvalError> {
    let mut gather = Gather { children, inventory, found: AtStart::default() };
    gather.of(runbook, &BTreeSet::new(), scope)?;
    Ok(gather.found)
}

struct Gather<'a> {
    children: &'a Children,
    inventory: &'a Inventory,
    found: AtStart,
}

impl Gather<'_> {
    /// `later`: inputs that only a step can tell.
    fn of(&mut self, runbook: &Runbook, later: &BTreeSet<String>, scope: &Scope) -> Result<(), EvalError> {
        let named = runbook.names_at_start().find_map(|t| later.iter().find(|input| names_input(t, input)));
        if let Some(input) = named {
            return Err(EvalError::Later { after: format!("{} has its `{input}`", runbook.name) });
        }
        for template in &runbook.locks {
            let name = match template.eval(scope)? {
                Value::String(name) => name,
                other => other.to_string(),
            };
            if !self.found.locks.contains(&name) {
                self.found.locks.push(name);
            }
        }
        for limit in Limit::of(runbook, scope)? {
            if !self.found.limits.contains(&limit) {
                self.found.limits.push(limit);
            }
        }
        self.steps(&runbook.steps, &mut scope.clone())
    }

    fn steps(&mut self, steps: &[Step], scope: &mut Scope) -> Result<(), EvalError> {
        for step in steps {
            let left_out = step.condition.as_ref().is_some_and(|c| c.test(scope) == Ok(false));
            let mut slot = Slot::Later { after: step.id.clone() };
            match &step.body {
                _ if left_out => slot = Slot::known(Value::Null),
                Body::Value(template) => {
                    if let Ok(value) = template.eval(scope) {
                        slot = Slot::known(value);
                    }
                }
                Body::Run(child) => self.child(child, scope)?,
                Body::Each(Each { items, body: EachBody::Steps(steps), .. }) => match items.eval(scope) {
                    Ok(Value::Array(items)) => {
                        for item in items {
                            self.steps(steps, &mut scope.with_item(item))?;
                        }
                    }
                    _ => self.steps(steps, &mut Scope { item: None, ..scope.clone() })?,
                },
                Body::Together(branches) => {
                    for branch in branches {
                        self.steps(&branch.steps, &mut scope.clone())?;
                    }
                }
                Body::Use(_) | Body::Assert { .. } | Body::Approve(_) | Body::Each(_) | Body::Wait(_) => {}
            }
            scope.steps.insert(step.id.clone(), slot);
        }
        Ok(())
    }

    fn child(&mut self, child: &Child, scope: &Scope) -> Result<(), EvalError> {
        // A name that is not there is a mistake that the check finds; the step itself fails, should it ever come to that.
        let Some(runbook) = self.children.get(&child.runbook).cloned() else { return Ok(()) };
        let (mut given, mut later) = (Map::new(), BTreeSet::new());
        for (name, value) in fields(&child.with) {
            match value.eval(scope) {
                Ok(value) => drop(given.insert(name.to_owned(), value)),
                Err(_) => drop(later.insert(name.to_owned())),
            }
        }
        let stored = child_given(&runbook, &given).and_then(|mut given| {
            // What is not known yet is left out here, and checked when the step begins.
            let mut known = (*runbook).clone();
            known.inputs.retain(|input| !later.contains(&input.name));
            given.retain(|name, _| !later.contains(name));
            resolve_inputs(&known, self.inventory, &given)
        });
        let stored = stored.map_err(|mistakes| EvalError::Failed {
            expression: format!("run: {}", runbook.name),
            message: mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        })?;
        let scope = Scope { steps: BTreeMap::new(), item: None, out: None, ..scope.clone() };
        let scope = Scope { inputs: input_values(&runbook, self.inventory, &stored).into(), ..scope };
        self.of(&runbook, &later, &scope)
    }
}

impl Runbook {
    /// What its locks and limits are named by.
    pub(super) fn names_at_start(&self) -> impl Iterator<Item = &Template> {
        self.locks.iter().chain(self.limits.iter().map(|limit| &limit.name))
    }
}

/// The fields of a record in a file.
pub(super) fn fields(template: &Template) -> impl Iterator<Item = (&str, &Template)> {
    let fields: &[_] = match &template.node {
        Node::Record(fields) => fields,
        _ => &[],
    };
    fields.iter().map(|(name, _, value)| (name.as_str(), value))
}

/// Does a template look at an input?
pub(super) fn names_input(template: &Template, input: &str) -> bool {
    let mut named = false;
    template.each_expr(&mut |expr| {
        named |= expr
            .paths()
            .iter()
            .any(|p| p.root == "inputs" && p.first_field().is_none_or(|field| field == input));
    });
    named
}
