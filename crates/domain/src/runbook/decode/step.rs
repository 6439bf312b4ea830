//! Steps: one body each, and the modifiers that fit it.

use std::time::Duration;

use super::field::{Fields, identifier};
use super::{Decoder, if_given};
use crate::runbook::diagnostic::{Diagnostic, Pos};
use crate::runbook::yaml::{Data, Entry, Node};
use crate::runbook::{Body, GiveUp, OnFailure, OnTimeout, Retry, Step, Template, Until, Use, template};

pub(super) const KEYS: &[&str] = &[
    "id",
    "title",
    "why",
    "if",
    "use",
    "with",
    "until",
    "for",
    "every",
    "expect",
    "timeout",
    "on_timeout",
    "give_up_if",
    "retry",
    "assert",
    "need",
    "approve",
    "message",
    "each",
    "at_once",
    "stop_after",
    "steps",
    "value",
    "together",
    "run",
    "wait",
    "undo",
    "finally",
    "one_way",
    "on_failure",
];
/// The keys that make a step what it is.
const BODIES: [&str; 8] = ["each", "use", "assert", "approve", "value", "together", "run", "wait"];
const ALWAYS: &[&str] = &["id", "title", "why", "if", "on_failure"];
pub(super) const WITH_USE: &[&str] = &[
    "use",
    "with",
    "until",
    "for",
    "every",
    "expect",
    "timeout",
    "on_timeout",
    "give_up_if",
    "message",
    "retry",
    "undo",
    "finally",
    "one_way",
];
const WITH_UNTIL: &[&str] = &["for", "every", "expect", "timeout", "on_timeout", "give_up_if", "message"];

/// Pause between looks, where the file does not say.
const EVERY: Duration = Duration::from_secs(5);

impl Decoder {
    /// A list of steps, at least one.
    pub(super) fn steps(&mut self, node: &Node) -> Vec<Step> {
        match &node.data {
            Data::List(items) if !items.is_empty() => {
                items.iter().filter_map(|item| self.step(item)).collect()
            }
            _ => {
                let remedy =
                    "write at least one step, such as `- id: look` with `use: autoscaling.describe_group`";
                self.wrong(node.pos, "`steps` must be a list of steps", remedy);
                Vec::new()
            }
        }
    }

    fn step(&mut self, node: &Node) -> Option<Step> {
        let fields = self.fields(node, "a step", KEYS)?;
        let id = self.id(&fields);
        let title = fields.get("title").and_then(|e| self.text(&e.value));
        let why = fields.get("why").and_then(|e| self.text(&e.value));
        let condition = fields.get("if").map(|e| self.expr(&e.value));
        let undo = fields.get("undo").map(|e| self.choice(&e.value, &[("automatic", ())])).is_some();
        let finally = fields.get("finally").map(|e| self.choice(&e.value, &[("undo", ())])).is_some();
        let one_way = fields.get("one_way").and_then(|e| self.bool(&e.value)).unwrap_or(false);
        let on_failure = fields.get("on_failure").and_then(|e| {
            self.choice(
                &e.value,
                &[
                    ("pause", OnFailure::Pause),
                    ("continue", OnFailure::Continue),
                    ("undo", OnFailure::Undo),
                    ("fail", OnFailure::Fail),
                ],
            )
        });
        if one_way && (undo || finally) {
            let entry = fields.get("undo").or(fields.get("finally"))?;
            let what = "a step cannot be `one_way` and undone";
            self.wrong(entry.pos, what, "keep `one_way: true` if it cannot be taken back, else leave it out");
        }
        let body = self.body(&fields);
        let (id, pos) = id?;
        let condition = if_given(condition)?;
        let (body, body_pos) = body?;
        let on_failure = match &body {
            Body::Approve(approve) => Some(approve.otherwise),
            _ => on_failure,
        };
        Some(Step {
            id,
            title,
            why,
            condition,
            body,
            undo: undo || finally,
            finally,
            one_way,
            on_failure,
            pos,
            body_pos,
        })
    }

    fn id(&mut self, fields: &Fields<'_>) -> Option<(String, Pos)> {
        let entry =
            self.required(fields, "id", "`id: some_name`: the step is known by it, never by its place")?;
        let id = self.text(&entry.value)?;
        if let Err(remedy) = identifier(&id) {
            self.wrong(entry.value.pos, format!("`{id}` cannot be the id of a step"), remedy);
            return None;
        }
        if id == "verify" {
            let what = "`verify` cannot be the id of a step: the final check is known by it";
            self.wrong(entry.value.pos, what, "give the step another id");
            return None;
        }
        Some((id, entry.value.pos))
    }

    /// Ids are known once among a step's siblings and around it, so that a name never means two things. Looks at the
    /// bare nodes, so that a step with another mistake in it counts too.
    pub(super) fn unique<'n>(&mut self, steps: &'n Node, around: &mut Vec<(&'n str, Pos)>) {
        let Data::List(steps) = &steps.data else { return };
        let outside = around.len();
        for step in steps {
            let Some(Node { pos, data: Data::Scalar(id) }) = step.get("id") else { continue };
            if let Some((_, first)) = around.iter().find(|(known, _)| *known == id.text) {
                let what = format!("the id `{}` is taken", id.text);
                self.mistakes.push(
                    Diagnostic::new(*pos, what, "give this step another id").see(*first, "by this step"),
                );
            } else {
                around.push((&id.text, *pos));
            }
        }
        for step in steps {
            let branches = step.get("together").into_iter().flat_map(|branches| match &branches.data {
                Data::Record(branches) => branches.iter().map(|b| &b.value).collect(),
                _ => Vec::new(),
            });
            for inner in step.get("steps").into_iter().chain(branches) {
                self.unique(inner, around);
            }
        }
        around.truncate(outside);
    }

    fn body(&mut self, fields: &Fields<'_>) -> Option<(Body, Pos)> {
        let bodies: Vec<&Entry> = BODIES.into_iter().filter_map(|key| fields.get(key)).collect();
        match bodies.as_slice() {
            [] => {
                let remedy = "add one of `use:` (an action), `assert:` (a guard), `approve:` (others must agree), `each:` (for every item), `together:` (branches), \
                              `run:` (another runbook), `wait:` (a duration) or `value:`";
                self.wrong(fields.pos, "the step does nothing", remedy);
                None
            }
            [each, call] if each.key == "each" && call.key == "use" => self.each(fields, each),
            [first, second, ..] => {
                let what =
                    format!("a step is one thing, and this is both `{}` and `{}`", first.key, second.key);
                self.mistakes.push(
                    Diagnostic::new(second.pos, what, "make two steps of it")
                        .see(first.pos, "this is the other"),
                );
                None
            }
            [only] => match only.key.as_str() {
                "each" => self.each(fields, only),
                "use" => {
                    self.fits(fields, "use", WITH_USE);
                    Some((Body::Use(Box::new(self.call(fields, only)?)), only.value.pos))
                }
                "assert" => {
                    self.fits(fields, "assert", &["assert", "message", "need"]);
                    let that = self.expr(&only.value);
                    let message = self
                        .required(
                            fields,
                            "message",
                            "`message:` and what is wrong when it does not hold, and what to do",
                        )
                        .and_then(|e| self.template(&e.value));
                    let need = fields.get("need").and_then(|e| self.bool(&e.value)).unwrap_or(false);
                    Some((Body::Assert { that: that?, message: message?, need }, only.value.pos))
                }
                "approve" => {
                    self.fits(fields, "approve", &["approve", "message"]);
                    Some((Body::Approve(self.approve(fields, only)?), only.value.pos))
                }
                "together" => {
                    self.fits(fields, "together", &["together"]);
                    Some((Body::Together(self.together(&only.value)?), only.pos))
                }
                "run" => {
                    self.fits(fields, "run", &["run", "with"]);
                    Some((Body::Run(self.child(fields, only)?), only.value.pos))
                }
                "wait" => {
                    self.fits(fields, "wait", &["wait"]);
                    Some((Body::Wait(self.duration(&only.value)?), only.value.pos))
                }
                _ => {
                    self.fits(fields, "value", &["value"]);
                    Some((Body::Value(self.template(&only.value)?), only.value.pos))
                }
            },
        }
    }

    /// Notes the keys that have no meaning with this body.
    pub(super) fn fits(&mut self, fields: &Fields<'_>, body: &str, allowed: &[&str]) {
        for entry in fields.iter() {
            let key = entry.key.as_str();
            if KEYS.contains(&key) && !ALWAYS.contains(&key) && !allowed.contains(&key) {
                let remedy = match (key, body) {
                    ("steps", _) => {
                        "`steps` belongs to `each`; without it, write the steps one after the other"
                            .to_owned()
                    }
                    ("at_once" | "stop_after", _) => format!("`{key}` belongs to `each`"),
                    ("message", _) => {
                        "`message` belongs to `assert` and `approve`; describe a step with `why`".to_owned()
                    }
                    ("undo" | "finally" | "one_way", "each … steps" | "together") => {
                        format!("put `{key}` on the step inside that makes the change")
                    }
                    ("undo" | "finally" | "one_way", "run") => {
                        "leave it out: the steps of the other runbook say so themselves".to_owned()
                    }
                    ("timeout", "wait") => "leave it out: the wait itself is the time".to_owned(),
                    (_, "each … steps" | "together") => format!("put `{key}` on a step inside"),
                    _ => format!(
                        "leave `{key}` out; with `{body}` there can be {}",
                        ALWAYS.iter().chain(allowed).copied().collect::<Vec<_>>().join(", ")
                    ),
                };
                self.wrong(entry.pos, format!("`{key}` has no meaning with `{body}`"), remedy);
            }
        }
    }

    /// `use` and what belongs to it.
    pub(super) fn call(&mut self, fields: &Fields<'_>, entry: &Entry) -> Option<Use> {
        let action = self.text(&entry.value);
        let with = match fields.get("with") {
            None => Some(Template::new(entry.value.pos, template::Node::Record(Vec::new()))),
            Some(with) if matches!(with.value.data, Data::Record(_)) => self.template(&with.value),
            Some(with) => {
                let what = "`with` must be a record: the action's input by name";
                self.wrong(with.value.pos, what, "write `with: { name: value }`");
                None
            }
        };
        let until = match fields.get("until") {
            Some(until) => Some(self.until(fields, until)),
            None => {
                for key in WITH_UNTIL {
                    if let Some(entry) = fields.get(key) {
                        let what = format!("`{key}` has no meaning without `until`");
                        self.wrong(
                            entry.pos,
                            what,
                            format!("add `until:` and a condition on `out`, or leave `{key}` out"),
                        );
                    }
                }
                None
            }
        };
        let retry = fields.get("retry").map(|e| self.retry(&e.value));
        Some(Use {
            action: action?,
            with: with?,
            until: if_given(until)?,
            retry: if_given(retry)?.unwrap_or_default(),
        })
    }

    fn until(&mut self, fields: &Fields<'_>, until: &Entry) -> Option<Until> {
        let condition = self.expr(&until.value);
        let mut duration = |key: &str| fields.get(key).map(|e| self.duration(&e.value));
        let (hold, every, expect) = (duration("for"), duration("every"), duration("expect"));
        let timeout = match fields.get("timeout") {
            Some(entry) => self.duration(&entry.value),
            None => {
                let what = "`until` without `timeout` could wait for ever";
                self.wrong(until.pos, what, "add `timeout: 10m`, a few times what it usually takes");
                None
            }
        };
        let on_timeout = fields.get("on_timeout").and_then(|e| {
            self.choice(&e.value, &[("fail", OnTimeout::Fail), ("continue", OnTimeout::Continue)])
        });
        let message = fields.get("message").map(|e| self.template(&e.value));
        let give_up = fields.get("give_up_if").map(|e| self.give_up(&e.value));
        if let (Some(Some(hold)), Some(timeout), Some(entry)) = (hold, timeout, fields.get("for"))
            && hold >= timeout
        {
            let what = "it must hold for as long as all of it may take";
            self.wrong(entry.value.pos, what, "make `timeout` longer than `for`");
        }
        Some(Until {
            condition: condition?,
            hold: hold.flatten(),
            every: every.flatten().unwrap_or(EVERY),
            expect: expect.flatten(),
            timeout: timeout?,
            on_timeout: on_timeout.unwrap_or_default(),
            message: if_given(message)?,
            give_up: if_given(give_up)?,
        })
    }

    fn give_up(&mut self, node: &Node) -> Option<GiveUp> {
        let fields = self.fields(node, "`give_up_if`", &["condition", "message"])?;
        let condition = self
            .required(&fields, "condition", "`condition:` and when waiting longer is pointless")
            .and_then(|e| self.expr(&e.value));
        let message = self
            .required(&fields, "message", "`message:` and why waiting longer is pointless, and what to do")
            .and_then(|e| self.template(&e.value));
        Some(GiveUp { condition: condition?, message: message? })
    }

    fn retry(&mut self, node: &Node) -> Option<Retry> {
        let fields = self.fields(node, "`retry`", &["attempts", "backoff"])?;
        let default = Retry::default();
        let attempts = fields.get("attempts").map_or(Some(default.attempts), |e| self.count(&e.value));
        let backoff = fields.get("backoff").map_or(Some(default.backoff), |e| self.duration(&e.value));
        Some(Retry { attempts: attempts?, backoff: backoff? })
    }
}
