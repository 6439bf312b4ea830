//! The tree of a file to a [`Runbook`], by hand, so that every mistake is found at once and told at its place.
//!
//! Only the form is judged here: keys, words, types, expressions' syntax. Whether actions and names exist is
//! [`super::check`]'s to say.

mod approval;
mod field;
mod forms;
mod input;
mod limits;
mod step;
mod triggers;

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use self::field::Fields;
use super::diagnostic::{Diagnostic, Pos};
use super::yaml::{self, Data, Node};
use super::{OnTimeout, Risk, Runbook, Template, Verify};

/// More mistakes than a person reads.
const MAX_MISTAKES: usize = 100;

/// Reads a runbook. On failure, every mistake of form, in the order of the file.
pub fn parse(file_name: &str, text: &str) -> Result<Runbook, Vec<Diagnostic>> {
    match read(file_name, text) {
        (Some(runbook), mistakes) if mistakes.is_empty() => Ok(runbook),
        (_, mistakes) => Err(mistakes),
    }
}

/// Reads a runbook as far as it can be read: also one with mistakes in its head, with something else in their place, so that what
/// its steps name can be checked all the same. One with mistakes further down is none: what names the mistaken part would look
/// mistaken itself.
pub(super) fn read(file_name: &str, text: &str) -> (Option<Runbook>, Vec<Diagnostic>) {
    let (root, mistakes) = yaml::load(text);
    let mut decoder = Decoder { mistakes };
    let sound = decoder.mistakes.is_empty();
    let runbook = root.and_then(|root| decoder.runbook(file_name, text, &root)).filter(|_| sound);
    let mut mistakes = decoder.mistakes;
    sort(&mut mistakes);
    (runbook, mistakes)
}

/// In the order of the file, and no more than a person reads.
pub(super) fn sort(mistakes: &mut Vec<Diagnostic>) {
    mistakes.sort_by_key(|m| m.pos);
    mistakes.truncate(MAX_MISTAKES);
}

const KEYS: &[&str] = &[
    "runbook", "title", "when", "risk", "impact", "approval", "inputs", "locks", "limits", "triggers",
    "steps", "result", "verify",
];

const VERIFY_KEYS: &[&str] =
    &["use", "with", "until", "for", "every", "expect", "timeout", "give_up_if", "retry", "message"];

/// What `verify` could say once, and what runs may be pinned to: see `Verify::goes_on`.
const VERIFY_ONCE: &[&str] = &["on_timeout"];

/// The keys of each record of the language, by its place in the JSON Schema.
#[cfg(test)]
pub(super) fn keys() -> [(&'static str, &'static [&'static str]); 8] {
    [
        ("", KEYS),
        ("/properties/verify", VERIFY_KEYS),
        ("/properties/approval", approval::KEYS),
        ("/properties/limits/items", limits::KEYS),
        ("/properties/triggers/items", triggers::KEYS),
        ("/definitions/input", input::KEYS),
        ("/definitions/step", step::KEYS),
        ("/definitions/step/properties/approve", approval::STEP_KEYS),
    ]
}

/// Collects mistakes. Its readers return `None` when they have noted one.
struct Decoder {
    mistakes: Vec<Diagnostic>,
}

/// Absent, mistaken or read: `None` only when it was mistaken.
fn if_given<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    read.map_or(Some(None), |read| read.map(Some))
}

/// The name that a runbook in this file must have.
fn stem(file_name: &str) -> &str {
    Path::new(file_name).file_stem().and_then(|s| s.to_str()).unwrap_or_default()
}

impl Decoder {
    fn wrong(&mut self, pos: Pos, what: impl Into<String>, remedy: impl Into<String>) {
        self.mistakes.push(Diagnostic::new(pos, what, remedy));
    }

    fn runbook(&mut self, file_name: &str, text: &str, root: &Node) -> Option<Runbook> {
        let fields = self.fields(root, "a runbook", KEYS)?;
        let name = self.name(&fields, file_name);
        let title = self
            .required(&fields, "title", "`title: Replace ProxySQL hosts`")
            .and_then(|e| self.text(&e.value));
        let when = self
            .required(&fields, "when", "`when:` and, in a sentence or two, when to use it and when not")
            .and_then(|e| self.text(&e.value));
        let risk = self
            .required(&fields, "risk", "`risk: medium`; one of low, medium, high, severe")
            .and_then(|e| {
                self.choice(
                    &e.value,
                    &[
                        ("low", Risk::Low),
                        ("medium", Risk::Medium),
                        ("high", Risk::High),
                        ("severe", Risk::Severe),
                    ],
                )
            });
        let head = self.mistakes.len();
        let impact = fields.get("impact").and_then(|e| self.template(&e.value));
        let approval = fields.get("approval").map(|e| self.approval(&e.value));
        let inputs = fields.get("inputs").map_or_else(Vec::new, |e| self.inputs(&e.value));
        let locks = fields.get("locks").map_or_else(Vec::new, |e| self.locks(&e.value));
        let limits = fields.get("limits").map_or_else(Vec::new, |e| self.limits(&e.value));
        let triggers = fields.get("triggers").map_or_else(Vec::new, |e| self.triggers(&e.value));
        let steps =
            self.required(&fields, "steps", "`steps:` and a list of steps").map_or_else(Vec::new, |e| {
                self.unique(&e.value, &mut Vec::new());
                self.steps(&e.value)
            });
        let result = fields.get("result").and_then(|e| self.template(&e.value));
        let verify = fields.get("verify").map(|e| self.verify(&e.value));
        if self.mistakes.len() > head {
            return None;
        }
        Some(Runbook {
            name: name.unwrap_or_else(|| stem(file_name).to_owned()),
            title: title.unwrap_or_default(),
            when: when.unwrap_or_default(),
            risk: risk.unwrap_or(Risk::Low),
            impact,
            approval: if_given(approval)?,
            inputs,
            locks,
            limits,
            triggers,
            steps,
            result,
            verify: if_given(verify)?,
            source: Arc::from(text),
            hash: hex::encode(Sha256::digest(text)),
        })
    }

    fn name(&mut self, fields: &Fields<'_>, file_name: &str) -> Option<String> {
        let stem = stem(file_name);
        let entry = self.required(fields, "runbook", &format!("`runbook: {stem}`"))?;
        let name = self.text(&entry.value)?;
        let sound = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if !sound || name.len() > 60 {
            let what = format!("`{name}` is not a name for a runbook");
            self.wrong(
                entry.value.pos,
                what,
                "use at most 60 small letters, digits and `-`, a letter first: it becomes a command",
            );
            return None;
        }
        if name != stem {
            let what = format!("the runbook is called `{name}`, but its file `{stem}`");
            self.wrong(
                entry.value.pos,
                what,
                format!("write `runbook: {stem}`, or rename the file to `{name}.yaml`"),
            );
            return None;
        }
        Some(name)
    }

    fn locks(&mut self, node: &Node) -> Vec<Template> {
        let Data::List(items) = &node.data else {
            self.wrong(node.pos, "`locks` must be a list", "write `locks: [\"fleet:${inputs.fleet.id}\"]`");
            return Vec::new();
        };
        items
            .iter()
            .filter_map(|item| match &item.data {
                Data::Scalar(_) => self.template(item),
                _ => {
                    self.wrong(
                        item.pos,
                        "the name of a lock must be text",
                        "write `\"fleet:${inputs.fleet.id}\"`",
                    );
                    None
                }
            })
            .collect()
    }

    fn verify(&mut self, node: &Node) -> Option<Verify> {
        let fields = self.fields_and(node, "`verify`", VERIFY_KEYS, VERIFY_ONCE)?;
        let message = self
            .required(
                &fields,
                "message",
                "`message:` and what it means when the trouble is not over, and what to do then",
            )
            .and_then(|e| self.template(&e.value));
        self.required(
            &fields,
            "until",
            "`until:` and the condition on `out` that means that the trouble is over",
        );
        let entry = self.required(&fields, "use", "`use:` and an action that looks")?;
        let mut look = self.call(&fields, entry)?;
        let mut goes_on = None;
        if let Some(until) = look.until.as_mut().filter(|until| until.on_timeout == OnTimeout::Continue) {
            until.on_timeout = OnTimeout::Fail;
            goes_on = fields.get("on_timeout").map(|e| e.pos);
        }
        Some(Verify { look, message: message?, pos: entry.value.pos, goes_on })
    }
}
