//! The steps of a manual: prose for each, and the lines that do it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::command::{self, Given};
use super::jq::Unsayable;
use super::{Page, shell};
use crate::action::{Action, Effect, UndoByHand};
use crate::runbook::inputs::child_given;
use crate::runbook::{
    Body, Child, Each, EachBody, InputMistake, InputType, OnFailure, OnTimeout, Runbook, Step, Until, Use,
    Verify, input_values,
};

/// Code of a step, line by line.
type Code = Vec<String>;

impl Page<'_> {
    /// All steps of a runbook, what is taken back at its end, and its final check. `number` is that of the step it is.
    pub(super) fn steps_of(&mut self, runbook: &Runbook, number: &str) {
        let first = self
            .manual
            .rest
            .filter(|_| number.is_empty())
            .and_then(|rest| runbook.steps.iter().position(|step| step.id == rest.next))
            .unwrap_or_default();
        if number.is_empty() {
            self.paragraph("## The steps");
        }
        for (n, step) in runbook.steps.iter().enumerate().skip(first) {
            self.section(step, &format!("{number}{}", n + 1));
        }
        let finals: Vec<&str> = runbook.steps.iter().filter(|s| s.finally).map(|s| s.id.as_str()).collect();
        if !finals.is_empty() {
            self.paragraph(&format!("### {number}{}. Put back", runbook.steps.len() + 1));
            self.paragraph("What the run needed for itself, and nobody else does. Do it also when a step before has failed for good.");
            self.block(&[format!("put_back {}", finals.join(" "))]);
        }
        if let Some(verify) = &runbook.verify {
            self.verify(verify, &format!("{number}{}", runbook.steps.len() + 2));
        }
        if let Some(result) = &runbook.result {
            let result = self.message(result);
            self.block(&[format!("[ -n \"$stopped\" ] || echo \"{result}\"")]);
        }
    }

    fn verify(&mut self, verify: &Verify, number: &str) {
        self.paragraph(&format!("### {number}. Is it over?"));
        if let Some(until) = &verify.look.until {
            self.paragraph(&waits(until));
        }
        let message = self.message(&verify.message);
        let code = match self.waiting("verify", &verify.look, &format!("stop \"{message}\"")) {
            Ok(code) => code,
            Err(e) => by_hand("verify", &e),
        };
        self.block(&code);
    }

    /// One step with a heading of its own.
    fn section(&mut self, step: &Step, number: &str) {
        self.paragraph(&format!("### {number}. {}", title(step)));
        for told in self.told(step) {
            self.paragraph(&told);
        }
        if let (Body::Run(child), None) = (&step.body, &step.condition) {
            return self.child(step, child, &format!("{number}."));
        }
        let code = self.code(step);
        self.block(&code);
    }

    /// What is to be known of it, as lines of Markdown.
    fn told(&mut self, step: &Step) -> Vec<String> {
        let mut told: Vec<String> = step.why.iter().map(|why| why.trim().to_owned()).collect();
        match step.condition.as_ref().map(|condition| (self.known(condition), condition)) {
            Some((Some(Value::Bool(true)), _)) | None => {}
            Some((Some(_), _)) => told.push("Not with these inputs.".into()),
            Some((None, condition)) => told.push(format!("Only if `{}`.", one_line(condition.source()))),
        }
        match &step.body {
            Body::Assert { that, .. } => told.push(format!("Must be true: `{}`", one_line(that.source()))),
            Body::Use(Use { until: Some(until), .. }) => told.push(waits(until)),
            Body::Approve(approve) => {
                let message = self.prose(&approve.message);
                told.push(format!(
                    "Others ({} with the role {} or above, not you) must agree within {} to this: {message}",
                    approve.approval.count,
                    approve.approval.by,
                    humantime::format_duration(std::time::Duration::from_secs(approve.approval.within_s))
                ));
            }
            Body::Each(Each { items, body, .. }) => {
                told.push(format!("For each of `{}`, one after the other.", one_line(items.source())));
                if let EachBody::One(call) = body {
                    told.extend(call.until.as_ref().map(waits));
                }
            }
            Body::Together(_) => told.push("Independent of each other; here one after the other.".into()),
            Body::Wait(pause) => told.push(format!("Wait {}.", humantime::format_duration(*pause))),
            Body::Use(_) | Body::Run(_) | Body::Value(_) => {}
        }
        if step.one_way {
            told.push("**This cannot be taken back.**".into());
        }
        let inner = self.inner(step, "");
        if !inner.is_empty() {
            told.push(inner.join("\n"));
        }
        told
    }

    /// The steps inside it, as a list.
    fn inner(&mut self, step: &Step, indent: &str) -> Vec<String> {
        let mut list = Vec::new();
        for inner in step.inside().flat_map(|(_, steps)| steps) {
            let title = title(inner);
            let stop = if title.ends_with(['?', '!', '.']) { "" } else { "." };
            let told = self.told(inner);
            // Its own inner steps come as a list of theirs.
            let told: Vec<&str> = told.iter().map(String::as_str).filter(|t| !t.starts_with("- ")).collect();
            list.push(format!("{indent}- *{title}{stop}* {}", told.join(" ")).trim_end().to_owned());
            list.extend(self.inner(inner, &format!("{indent}  ")));
        }
        list
    }

    /// The lines that do it.
    fn code(&mut self, step: &Step) -> Code {
        match &step.condition {
            None => self.body(step),
            Some(condition) => match self.known(condition) {
                Some(Value::Bool(true)) => self.body(step),
                Some(_) if self.named(&step.id) => vec![format!("keep {} null", step.id)],
                Some(_) => Vec::new(),
                None => match self.filter(condition) {
                    Err(e) => by_hand(&step.id, &e),
                    Ok(filter) => {
                        let mut code = vec![format!("if holds {}; then", shell::filter(&filter))];
                        code.extend(indented(self.body(step)));
                        if self.named(&step.id) {
                            code.extend(["else".into(), format!("  keep {} null", step.id)]);
                        }
                        code.push("fi".into());
                        code
                    }
                },
            },
        }
    }

    fn body(&mut self, step: &Step) -> Code {
        let code = match &step.body {
            Body::Use(call) => self.call(step, call),
            Body::Assert { that, message } => {
                let message = self.message(message);
                self.filter(that)
                    .map(|filter| vec![format!("check {} {} \"{message}\"", step.id, shell::filter(&filter))])
            }
            Body::Value(value) => self.given(value).map(|given| {
                let json = match given {
                    Given::Known(value) => shell::quote(&value.to_string()),
                    given => shell::now(&format!("{} | tojson", given.filter())),
                };
                vec![format!("keep {} {json}", step.id)]
            }),
            Body::Each(each) => self.each(step, each),
            Body::Together(branches) => Ok(self.together(step, branches)),
            Body::Run(child) => Ok(self.child_code(step, child)),
            Body::Wait(pause) => {
                let kept = self.named(&step.id).then(|| format!("keep {} {}", step.id, pause.as_secs()));
                Ok(std::iter::once(format!("sleep {}", pause.as_secs())).chain(kept).collect())
            }
            Body::Approve(_) => {
                self.unseen.insert(step.id.clone());
                Ok(Vec::new())
            }
        };
        code.unwrap_or_else(|e| by_hand(&step.id, &e))
    }

    fn call(&mut self, step: &Step, call: &Use) -> Result<Code, Unsayable> {
        if call.until.is_some() {
            let goes_on = step.on_failure == Some(OnFailure::Continue)
                || call.until.as_ref().is_some_and(|until| until.on_timeout == OnTimeout::Continue);
            let late = match goes_on {
                true => format!("echo \"{}: not in time; on all the same\"", step.id),
                false => {
                    let message = call.until.as_ref().and_then(|until| until.message.as_ref());
                    let why =
                        message.map_or_else(|| "not in time".to_owned(), |message| self.message(message));
                    format!("stop \"{}: {why}\"", step.id)
                }
            };
            let mut code = self.waiting(&step.id, call, &late)?;
            soften(step, &mut code);
            return Ok(code);
        }
        let action = self.action(&call.action)?.clone();
        let with = self.with(&call.with)?;
        if action.spec().effect == Effect::Observe {
            let mut code = vec![format!("look {} {}", step.id, self.look(&*action, &with)?)];
            soften(step, &mut code);
            return Ok(code);
        }
        self.unseen.insert(step.id.clone());
        let mut code = Vec::new();
        if step.undo {
            code.extend(
                self.undo(step, &*action, &with)
                    .unwrap_or_else(|e| vec![format!("# To take it back: {} is for you to work out.", e.0)]),
            );
        }
        let mut change = vec![format!("change {}", command::line(&*action, &with)?)];
        soften(step, &mut change);
        code.extend(change);
        Ok(code)
    }

    /// `autoscaling.describe_group region=us-east-1 group=proxysql-us`
    fn look(&mut self, action: &dyn Action, with: &[(String, Given)]) -> Result<String, Unsayable> {
        let spec = action.spec();
        if spec.by_hand.is_none() {
            return Err(Unsayable(format!("`{}`", spec.name)));
        }
        self.actions.insert(spec.name);
        let given = with.iter().filter(|(_, given)| *given != Given::Known(Value::Null));
        let words: Vec<String> = given.map(|(name, given)| format!(" {name}={}", given.word())).collect();
        Ok(format!("{}{}", spec.name, words.concat()))
    }

    /// A wait, and what is done when it was in vain.
    fn waiting(&mut self, id: &str, call: &Use, late: &str) -> Result<Code, Unsayable> {
        let Some(until) = &call.until else { return Err(Unsayable("a wait without an end".into())) };
        let action = self.action(&call.action)?.clone();
        let with = self.with(&call.with)?;
        let look = self.look(&*action, &with)?;
        let filter = self.filter(&until.condition)?;
        let hold = until.hold.map_or(0, |hold| hold.as_secs());
        let give_up = match &until.give_up {
            Some(give_up) => format!("give_up={} ", shell::filter(&self.filter(&give_up.condition)?)),
            None => String::new(),
        };
        Ok(vec![
            format!("{give_up}wait_for {id} {} \\", shell::filter(&filter)),
            format!("  {} {} {hold} {look} ||", until.timeout.as_secs(), until.every.as_secs().max(1)),
            format!("  {late}"),
        ])
    }

    /// What is seen before a change, and what will take it back.
    fn undo(
        &mut self,
        step: &Step,
        action: &dyn Action,
        with: &[(String, Given)],
    ) -> Result<Code, Unsayable> {
        let spec = action.spec();
        let (Some(UndoByHand { look, look_with, each, when, with: differs }), Some(undoing)) =
            (spec.undo_by_hand, spec.undone_by)
        else {
            return Err(Unsayable(format!("the inverse of `{}`", spec.name)));
        };
        let before = format!("{}_before", step.id);
        let looking = self.action(look)?.clone();
        let seen: Vec<(String, Given)> =
            with.iter().filter(|(name, _)| look_with.contains(&name.as_str())).cloned().collect();
        let mut code = vec![format!("look {before} {}", self.look(&*looking, &seen)?)];
        let undoing = self.action(undoing)?.clone();
        let mut back = |with: Vec<(String, Given)>, one: &str| {
            // The names of the recipe give way to what they stand for here; the longest first.
            let mut names: Vec<(String, String)> =
                with.iter().map(|(name, given)| (format!("$with.{name}"), given.term())).collect();
            names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
            names.extend([("$before".into(), format!("$steps.{before}")), ("$one".into(), one.to_owned())]);
            let here = |filter: &str| {
                names.iter().fold(filter.to_owned(), |text, (name, is)| text.replace(name, is))
            };
            let with: Vec<(String, Given)> = with
                .iter()
                .map(|(name, given)| match (differs.iter().find(|(field, _)| field == name), given) {
                    // A command has no place for a truth that only the shell knows; this one is known.
                    (Some((_, filter)), Given::Known(Value::Bool(known)))
                        if *filter == format!("$with.{name} | not") =>
                    {
                        (name.clone(), Given::Known(Value::Bool(!known)))
                    }
                    (Some((_, filter)), _) => (name.clone(), Given::Filter(here(filter))),
                    (None, given) => (name.clone(), given.clone()),
                })
                .collect();
            let line = command::line(&*undoing, &with)?;
            code.push(format!("back {} {} \\\n  {line}", step.id, shell::filter(&here(when))));
            Ok::<_, Unsayable>(())
        };
        let Some(field) = each else {
            back(with.to_vec(), "null")?;
            return Ok(code);
        };
        let items = with.iter().find_map(|(name, given)| match given {
            Given::Known(Value::Array(items)) if name == field => Some(items.clone()),
            _ => None,
        });
        for item in items.ok_or_else(|| Unsayable(format!("a `{field}` that is known only later")))? {
            let one = |(name, given): &(String, Given)| match name == field {
                true => (name.clone(), Given::Known(Value::from(vec![item.clone()]))),
                false => (name.clone(), given.clone()),
            };
            back(with.iter().map(one).collect(), &item.to_string())?;
        }
        Ok(code)
    }

    fn each(&mut self, step: &Step, each: &Each) -> Result<Code, Unsayable> {
        let (id, items) = (&step.id, self.filter(&each.items)?);
        let mut inside = vec!["[ -z \"$stopped\" ] || break".to_owned()];
        let record = match &each.body {
            EachBody::One(call) => {
                let one = Step { body: Body::Use((**call).clone()), ..step.clone() };
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

    fn together(&mut self, step: &Step, branches: &[crate::runbook::Branch]) -> Code {
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
    fn child(&mut self, step: &Step, child: &Child, number: &str) {
        self.within(step, child, |page, runbook, enter, leave| {
            page.block(&[enter]);
            page.steps_of(runbook, number);
            page.block(&[leave]);
        });
    }

    /// Another runbook in the middle of code.
    fn child_code(&mut self, step: &Step, child: &Child) -> Code {
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

/// Folded: a line break in the file is none on the page.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn title(step: &Step) -> String {
    step.title.clone().unwrap_or_else(|| step.id.replace('_', " "))
}

/// What is waited for, in words.
fn waits(until: &Until) -> String {
    let mut told = format!(
        "Wait until `{}`{}",
        one_line(until.condition.source()),
        until.hold.map_or_else(String::new, |hold| format!(
            ", for {} without a break",
            humantime::format_duration(hold)
        ))
    );
    if let Some(expect) = until.expect {
        told.push_str(&format!("; it usually takes {}", humantime::format_duration(expect)));
    }
    let late = match until.on_timeout {
        OnTimeout::Continue => "then go on all the same",
        OnTimeout::Fail => "then stop",
    };
    told.push_str(&format!("; at most {}, {late}.", humantime::format_duration(until.timeout)));
    if let Some(give_up) = &until.give_up {
        told.push_str(&format!(
            " Waiting longer is pointless if `{}`.",
            one_line(give_up.condition.source())
        ));
    }
    told
}

/// A failure that the run would not stop at.
fn soften(step: &Step, code: &mut Code) {
    if step.on_failure == Some(OnFailure::Continue)
        && let Some(first) = code.first_mut()
    {
        first.insert_str(0, "soft=1 ");
    }
}

fn indented(code: Code) -> Code {
    code.into_iter().flat_map(|lines| lines.lines().map(|l| format!("  {l}")).collect::<Vec<_>>()).collect()
}

/// A line that stops until the person has done what cannot be said in a shell.
fn by_hand(id: &str, e: &Unsayable) -> Code {
    let what = shell::within_quotes(&e.0);
    vec![format!("stop \"{id}: do this one yourself; a shell cannot say {what}\"")]
}
