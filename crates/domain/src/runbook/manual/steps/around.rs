//! Steps that hold others: items, branches, and other runbooks.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::command::Given;
use super::super::jq::Unsayable;
use super::super::{Page, shell};
use super::{Code, by_hand, indented, title};
use crate::runbook::inputs::child_given;
use crate::runbook::{
    Body, Branch, Child, Each, EachBody, InputMistake, InputType, Runbook, Step, input_values,
};

impl Page<'_> {
    pub(super) fn each(&mut self, step: &Step, each: &Each) -> Result<Code, Unsayable> {
        let (id, items) = (&step.id, self.filter(&each.items)?);
        let mut inside = vec!["[ -z \"$stopped\" ] || break".to_owned()];
        let record = match &each.body {
            EachBody::One(call) => {
                let one = Step { body: Body::Use(call.clone()), ..step.clone() };
                inside.extend(self.call(&one, call)?);
                format!("$steps.{id}")
            }
            EachBody::Steps(steps) => {
                for inner in steps {
                    inside.push(format!("# {}", title(inner)));
                    inside.extend(self.code(inner));
                }
                let fields: Vec<String> =
                    steps.iter().map(|inner| format!("{0}: $steps.{0}", inner.id)).collect();
                format!("{{key: ($item | if type == \"object\" then .id else . end), {}}}", fields.join(", "))
            }
        };
        // What all of them gave is kept where a later step asks for it.
        let gathered = self.named(id) && !self.unseen.contains(id);
        if gathered {
            inside.push(format!("all_{id}+=({})", shell::now(&format!("{record} | tojson"))));
        }
        let mut code = vec![
            format!("mapfile -t items < <(now {})", shell::filter(&format!("{items} | .[] | tojson"))),
            format!("around_{id}=$item{}", if gathered { format!(" all_{id}=()") } else { String::new() }),
            "for item in \"${items[@]}\"; do".to_owned(),
        ];
        code.extend(indented(inside));
        code.extend(["done".to_owned(), format!("item=$around_{id}")]);
        if gathered {
            code.push(format!("keep {id} \"[$(IFS=,; echo \"${{all_{id}[*]}}\")]\""));
        }
        Ok(code)
    }

    pub(super) fn together(&mut self, step: &Step, branches: &[Branch]) -> Code {
        let mut code = Vec::new();
        let mut record = Vec::new();
        for branch in branches {
            code.push(format!("# {}", branch.name));
            let mut fields = Vec::new();
            for inner in &branch.steps {
                code.push(format!("# {}", title(inner)));
                code.extend(self.code(inner));
                fields.push(format!("{0}: $steps.{0}", inner.id));
            }
            // Another branch may have steps of the same names.
            let kept = format!("{}_{}", step.id, branch.name);
            code.push(format!("keep {kept} {}", shell::now(&format!("{{{}}} | tojson", fields.join(", ")))));
            record.push(format!("{}: $steps.{kept}", branch.name));
        }
        code.push(format!("keep {} {}", step.id, shell::now(&format!("{{{}}} | tojson", record.join(", ")))));
        code
    }

    /// Another runbook, with sections of its own.
    pub(super) fn child(&mut self, step: &Step, child: &Child, number: &str) {
        self.within(step, child, |page, runbook, enter, leave| {
            page.block(&[enter]);
            page.steps_of(runbook, number);
            page.block(&[leave]);
        });
    }

    /// Another runbook in the middle of code.
    pub(super) fn child_code(&mut self, step: &Step, child: &Child) -> Code {
        let mut code = Vec::new();
        self.within(step, child, |page, runbook, enter, leave| {
            code.push(enter);
            for inner in &runbook.steps {
                code.push(format!("# {}", title(inner)));
                code.extend(page.code(inner));
            }
            let finals: Vec<&str> =
                runbook.steps.iter().filter(|s| s.finally).map(|s| s.id.as_str()).collect();
            if !finals.is_empty() {
                code.push(format!("put_back {}", finals.join(" ")));
            }
            if let Some(verify) = &runbook.verify {
                let late = format!("stop \"{}\"", page.message(&verify.message));
                let waiting = page.waiting("verify", &verify.look, &late);
                code.extend(waiting.unwrap_or_else(|e| by_hand("verify", &e)));
            }
            code.push(leave);
        });
        code
    }

    /// Calls `write` with the names as the child sees them.
    fn within(
        &mut self,
        step: &Step,
        child: &Child,
        write: impl FnOnce(&mut Self, &Runbook, String, String),
    ) {
        let Some(runbook) = self.manual.children.get(&child.runbook).cloned() else { return };
        let (inside, later, enter) = match self.inputs_of(&runbook, child) {
            Ok(inputs) => inputs,
            Err(e) => {
                let later = runbook.inputs.iter().map(|input| input.name.clone()).collect();
                (Value::Null, later, by_hand(&step.id, &e).concat())
            }
        };
        let outside = (
            std::mem::replace(&mut self.scope.inputs, inside.into()),
            std::mem::replace(&mut self.later, later),
            std::mem::take(&mut self.unseen),
        );
        write(self, &runbook, enter, format!("leave {}", step.id));
        (self.scope.inputs, self.later, self.unseen) = outside;
    }

    /// The child's inputs as its expressions see them, as far as they are known; those that are not; and the line that
    /// works out all of them.
    fn inputs_of(
        &self,
        runbook: &Runbook,
        child: &Child,
    ) -> Result<(Value, BTreeSet<String>, String), Unsayable> {
        let inventory = self.manual.inventory;
        let (mut given, mut later) = (serde_json::Map::new(), Vec::new());
        for (name, value) in self.with(&child.with)? {
            match value {
                Given::Known(value) => {
                    given.insert(name, value);
                }
                value => later.push((name, value)),
            }
        }
        let wrong = |mistakes: Vec<InputMistake>| {
            Unsayable(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
        };
        let mut stored = child_given(runbook, &given).map_err(wrong)?;
        for input in &runbook.inputs {
            let absent = stored.get(&input.name).is_none_or(Value::is_null);
            if let Some(default) = input.default.as_ref().filter(|_| absent) {
                stored.insert(input.name.clone(), default.clone());
            }
        }
        let known = input_values(runbook, inventory, &stored);
        let of = |name: &str| runbook.inputs.iter().find(|input| input.name == name).map(|input| &input.kind);
        let mut all: Vec<(String, Given)> = Vec::new();
        for (name, value) in known.as_object().into_iter().flatten() {
            let told = later.iter().find(|(later, _)| later == name).map(|(_, given)| given.filter());
            let value = match (told, of(name)) {
                (None, _) => Given::Known(value.clone()),
                (Some(filter), Some(InputType::Cluster)) => record("clusters", &filter),
                (Some(filter), Some(InputType::ProxyFleet)) => record("fleets", &filter),
                (Some(filter), _) => Given::Filter(filter),
            };
            all.push((name.clone(), value));
        }
        let enter = format!("enter {}", shell::filter(&Given::Record(all).filter()));
        Ok((known, later.into_iter().map(|(name, _)| name).collect(), enter))
    }
}

/// The record of the inventory, from its id or itself.
fn record(of: &str, filter: &str) -> Given {
    Given::Filter(format!(
        "({filter} | if type == \"object\" then .id else . end) as $id | $inventory.{of}[] | select(.id == $id)"
    ))
}
