//! What expressions see at a place of the walk.
//!
//! It is put together when the first of them is evaluated, and for most places that is never: their step is over, or waits,
//! or names nothing.

use std::cell::OnceCell;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Program;
use crate::run::{State, StepPath};
use crate::runbook::{EvalError, Runbook, Scope, Slot, Step, Template};

/// What is seen at one place.
pub(super) struct Sight<'s> {
    state: &'s State,
    around: Around<'s>,
    /// The path of what these are in.
    inside: Option<&'s str>,
    /// The steps before.
    before: &'s [Step],
    scope: OnceCell<Scope>,
}

/// What is seen besides the steps before.
#[derive(Clone, Copy)]
pub(super) enum Around<'s> {
    /// The run's inputs.
    Run(&'s Program),
    /// A child's inputs, and nothing of the run around it.
    Child(&'s Program, &'s Runbook, &'s Map<String, Value>),
    /// What the step around sees.
    Step(&'s Sight<'s>),
    /// The same, and an item of it.
    Item(&'s Sight<'s>, &'s Value),
}

impl<'s> Sight<'s> {
    pub(super) fn new(
        state: &'s State,
        around: Around<'s>,
        inside: Option<&'s str>,
        before: &'s [Step],
    ) -> Self {
        Self { state, around, inside, before, scope: OnceCell::new() }
    }

    /// What is seen when the last step of the run is over.
    pub(super) fn at_the_end(program: &'s Program, state: &'s State) -> Self {
        Self::new(state, Around::Run(program), None, &program.runbook.steps)
    }

    pub(super) fn scope(&self) -> &Scope {
        self.scope.get_or_init(|| {
            let mut scope = match self.around {
                Around::Run(program) => program.scope(),
                Around::Child(program, runbook, inputs) => program.scope_of_child(runbook, inputs),
                Around::Step(sight) => sight.scope().clone(),
                Around::Item(sight, item) => sight.scope().with_item(item.clone()),
            };
            let mut text = String::new();
            for step in self.before {
                let known = self.state.known(StepPath::text_in(self.inside, &step.id, &mut text));
                let output = known.map_or_else(Arc::default, |(_, node)| node.output.clone());
                scope.steps.insert(step.id.clone(), Slot::Known(output));
            }
            scope
        })
    }

    /// The same with what the final check saw last, as `steps.verify`.
    pub(super) fn with_verify(&self) -> Scope {
        let mut scope = self.scope().clone();
        let seen = self.state.node(&StepPath::verify()).map_or_else(Arc::default, |node| node.output.clone());
        scope.steps.insert("verify".into(), Slot::Known(seen));
        scope
    }

    /// The value of a template; nothing is put together for one that is the same always.
    pub(super) fn value(&self, template: &Template) -> Result<Arc<Value>, EvalError> {
        match template.as_literal() {
            Some(value) => Ok(value.clone()),
            None => template.eval(self.scope()).map(Arc::new),
        }
    }
}
