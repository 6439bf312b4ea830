//! The steps of a manual: prose for each, and the lines that do it.

mod around;
mod changes;
mod waits;

use serde_json::Value;

use self::waits::waits;
use super::command::Given;
use super::jq::Unsayable;
use super::{Page, shell};
use crate::runbook::{Body, Each, EachBody, OnFailure, Runbook, Step};

/// Code of a step, line by line.
type Code = Vec<String>;

impl Page<'_> {
    /// All steps of a runbook, what is taken back at its end, and its final check. `number` is that of the step it is.
    pub(super) fn steps_of(&mut self, runbook: &Runbook, number: &str) {
        let first = self.manual.rest.filter(|_| number.is_empty()).map_or(0, |rest| {
            let next = |step: &Step| rest.next == Some(step.id.as_str());
            runbook.steps.iter().position(next).unwrap_or(runbook.steps.len())
        });
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

    /// One step with a heading of its own.
    fn section(&mut self, step: &Step, number: &str) {
        self.paragraph(&format!("### {number}. {}", title(step)));
        for told in self.told(step) {
            self.paragraph(&told);
        }
        if let Some(rest) = self.manual.rest.filter(|rest| rest.next == Some(step.id.as_str())) {
            self.begun(&rest);
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
            Body::Use(call) => told.extend(call.until.as_ref().map(waits)),
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
            Body::Run(_) | Body::Value(_) => {}
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
            Body::Assert { that, message, .. } => {
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
}

/// Folded: a line break in the file is none on the page.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn title(step: &Step) -> String {
    step.title.clone().unwrap_or_else(|| step.id.replace('_', " "))
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
