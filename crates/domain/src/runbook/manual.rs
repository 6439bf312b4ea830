//! The manual: a runbook as Markdown for a person with a terminal, while Firebreak is down or not trusted.
//!
//! ```text
//!  steps, guards, messages ──▶ prose, and what must be true in the words of the runbook
//!  what is known (inputs, inventory) ──────────────▶ filled in
//!  what only an earlier step can tell ──▶ jq over what the shell has kept ──▶ filled in when the line is run
//!  actions: `by_hand` looks, `command` changes, `undo_by_hand` takes back
//! ```
//!
//! The shell keeps what each look saw under the step's id (`$steps`), so that guards, waits and later commands ask by hand
//! exactly what they ask in a run. It has the run's manners, too: a guard that says no, a look or a change that fails holds
//! every later change back until a person decides; each change is written down before it is made; what a step must take
//! back is worked out before it changes anything.
//!
//! Not done by hand: locks and approvals (said in prose), items at the same time (they come one after the other). What
//! cannot be said in a shell is left to the person in a line that stops until they have done it.

mod command;
mod jq;
mod rest;
mod shell;
mod steps;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use self::command::Given;
use self::jq::Unsayable;
pub use self::rest::Rest;
use super::expr::Expr;
use super::expr::path::Path;
use super::template::{Node, Piece, Template, plain_text};
use super::{Children, Limit, LimitRule, Risk, Runbook, Scope, input_values, inventory_value};
use crate::action::{Action, Registry};
use crate::inventory::{Inventory, SecretRef};
use crate::words::many;

/// What a manual is made of.
#[derive(Clone, Copy)]
pub struct Manual<'a> {
    /// The runbook, sound.
    pub runbook: &'a Runbook,
    /// All that it runs.
    pub children: &'a Children,
    /// The actions, over the same inventory.
    pub registry: &'a Registry,
    /// Where everything is.
    pub inventory: &'a Inventory,
    /// The inputs, as [`super::resolve_inputs`] stores them.
    pub inputs: &'a Map<String, Value>,
    /// Of a run that has got so far: the rest.
    pub rest: Option<Rest<'a>>,
}

const HELPERS: &str = include_str!("manual/helpers.sh");
/// The line of the helpers at which [`EXPRESSIONS`] stand.
const HERE: &str = "    # what expressions need of jq\n";
/// What jq has not, or means differently.
const EXPRESSIONS: &str = include_str!("manual/expressions.jq");

impl Manual<'_> {
    /// The manual, as Markdown. Its blocks of `sh` are for a bash, in order.
    pub fn markdown(&self) -> String {
        let scope = Scope {
            inputs: Arc::new(input_values(self.runbook, self.inventory, self.inputs)),
            inventory: Arc::new(inventory_value(self.inventory)),
            ..Scope::default()
        };
        let mut page = Page {
            manual: *self,
            inputs: scope.inputs.clone(),
            scope,
            later: BTreeSet::new(),
            actions: BTreeSet::new(),
            unseen: BTreeSet::new(),
            text: String::new(),
        };
        page.steps_of(self.runbook, "");
        let steps = std::mem::take(&mut page.text);
        page.head();
        page.prepare();
        page.text.push_str(&steps);
        page.foot();
        page.text
    }
}

/// A manual that is being written.
struct Page<'a> {
    manual: Manual<'a>,
    /// What is known: inputs and inventory.
    scope: Scope,
    /// The inputs of the runbook itself.
    inputs: Arc<Value>,
    /// Inputs, of a child, that only a step can tell.
    later: BTreeSet<String>,
    /// The actions that are looked with.
    actions: BTreeSet<&'static str>,
    /// Steps whose output a shell does not have.
    unseen: BTreeSet<String>,
    text: String,
}

impl Page<'_> {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn paragraph(&mut self, text: &str) {
        self.line(text.trim_end());
        self.text.push('\n');
    }

    fn block(&mut self, code: &[String]) {
        if !code.is_empty() {
            let _ = writeln!(self.text, "```sh\n{}\n```\n", code.join("\n"));
        }
    }

    /// The value of an expression, where it is known already.
    fn known(&self, expr: &Expr) -> Option<Value> {
        let known = |path: &Path| match path.root.as_str() {
            "inventory" => true,
            "inputs" => path.first_field().map_or(self.later.is_empty(), |input| !self.later.contains(input)),
            _ => false,
        };
        expr.paths().iter().all(known).then(|| expr.eval(&self.scope).ok()).flatten()
    }

    /// An expression as a filter.
    fn filter(&self, expr: &Expr) -> Result<String, Unsayable> {
        for path in expr.paths() {
            if path.root == "run" {
                return Err(Unsayable("what only a run knows of itself".into()));
            }
            let unseen =
                path.first_field().filter(|step| path.root == "steps" && self.unseen.contains(*step));
            if let Some(step) = unseen {
                return Err(Unsayable(format!("what `{step}` gave")));
            }
        }
        match self.known(expr) {
            Some(value) => Ok(value.to_string()),
            None => jq::of_expr(expr),
        }
    }

    /// A template, with what is known filled in.
    fn given(&self, template: &Template) -> Result<Given, Unsayable> {
        let mut all_known = true;
        template.each_expr(&mut |expr| all_known &= self.known(expr).is_some());
        if all_known && let Ok(value) = template.eval(&self.scope) {
            return Ok(Given::Known(value));
        }
        Ok(match &template.node {
            Node::Literal(value) => Given::Known(value.clone()),
            Node::Whole(expr) => Given::Filter(self.filter(expr)?),
            Node::Text(pieces) => {
                let parts = pieces.iter().map(|piece| match piece {
                    Piece::Text(text) => Ok(jq::text_literal(text)),
                    Piece::Expr(expr) => Ok(format!("({} | plain)", self.filter(expr)?)),
                });
                Given::Filter(parts.collect::<Result<Vec<_>, Unsayable>>()?.join(" + "))
            }
            Node::List(items) => {
                Given::List(items.iter().map(|item| self.given(item)).collect::<Result<_, _>>()?)
            }
            Node::Record(fields) => Given::Record(
                fields
                    .iter()
                    .map(|(name, _, value)| Ok((name.clone(), self.given(value)?)))
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    /// The fields of a `with:`.
    fn with(&self, template: &Template) -> Result<Vec<(String, Given)>, Unsayable> {
        match self.given(template)? {
            Given::Known(Value::Object(fields)) => {
                Ok(fields.into_iter().map(|(n, v)| (n, Given::Known(v))).collect())
            }
            Given::Record(fields) => Ok(fields),
            _ => Err(Unsayable("an input that is one expression".into())),
        }
    }

    /// A message within double quotes of a shell: its values are worked out when it is said.
    fn message(&self, template: &Template) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => shell::within_quotes(text),
            Piece::Expr(expr) => match self.known(expr) {
                Some(value) => shell::within_quotes(&plain_text(&value)),
                None => self.filter(expr).map_or_else(
                    |_| shell::within_quotes(expr.source()),
                    |filter| format!("$(now {})", shell::filter(&filter)),
                ),
            },
        };
        let text: String = match &template.node {
            Node::Text(pieces) => pieces.iter().map(piece).collect(),
            Node::Whole(expr) => piece(&Piece::Expr(expr.clone())),
            _ => shell::within_quotes(&plain_text(&template.source())),
        };
        text.trim_end().to_owned()
    }

    /// A text for people: what is known filled in, and the rest as it is written.
    fn prose(&self, template: &Template) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Expr(expr) => self
                .known(expr)
                .map_or_else(|| format!("‹{}›", expr.source().trim()), |value| plain_text(&value)),
        };
        match &template.node {
            Node::Text(pieces) => pieces.iter().map(piece).collect::<String>().trim_end().to_owned(),
            Node::Whole(expr) => piece(&Piece::Expr(expr.clone())),
            _ => plain_text(&template.source()).trim_end().to_owned(),
        }
    }

    /// Does any expression name the output of this step?
    fn named(&self, step: &str) -> bool {
        let name = format!("steps.{step}");
        let runbooks =
            std::iter::once(self.manual.runbook).chain(self.manual.children.values().map(AsRef::as_ref));
        runbooks.into_iter().any(|runbook| {
            runbook.source.match_indices(&name).any(|(at, _)| {
                let after = runbook.source[at + name.len()..].chars().next();
                !after.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_')
            })
        })
    }

    fn action(&self, name: &str) -> Result<&Arc<dyn Action>, Unsayable> {
        self.manual.registry.get(name).ok_or_else(|| Unsayable(format!("the action `{name}`")))
    }

    /// When, what it costs, who must agree, and with which inputs.
    fn head(&mut self) {
        let runbook = self.manual.runbook;
        self.paragraph(&format!("# {}, by hand", runbook.title));
        self.paragraph(&format!(
            "This is `{}` (text {}) as commands for a terminal: the same looks, guards, changes and waits, in the same order. It was written for the inputs below; print it again for others: `firebreak runbook manual {} --input …`.",
            runbook.name,
            &runbook.hash[..12],
            runbook.name
        ));
        self.paragraph(&format!("**When.** {}", runbook.when.trim()));
        if let Some(impact) = &runbook.impact {
            let impact = self.prose(impact);
            self.paragraph(&format!("**What will be felt.** {impact}"));
        }
        self.line("| Input | Value | |\n|---|---|---|");
        for input in &runbook.inputs {
            let value = self.manual.inputs.get(&input.name).map_or_else(|| "–".to_owned(), plain_text);
            self.line(&format!("| `{}` | {value} | {} |", input.name, input.description));
        }
        self.text.push('\n');
        let mut before = Vec::new();
        for lock in &runbook.locks {
            before.push(format!(
                "Nobody else may work on it meanwhile, Firebreak least of all: `firebreak lock take {} --reason \"by hand\"`, and `give-back` when you are done.",
                self.prose(lock)
            ));
        }
        if let Some(approval) = runbook.approval() {
            before.push(format!(
                "{} with the role {} or above, not you, must agree first; in an emergency one {} alone.",
                match approval.count {
                    1 => "One person".to_owned(),
                    n => format!("{n} persons"),
                },
                approval.by,
                approval.break_glass
            ));
        }
        for Limit { name, rule } in &runbook.limits {
            let name = self.prose(name);
            before.push(match rule {
                LimitRule::AtMost { runs, per } => {
                    format!(
                        "Not more often than {} in {}: {name}.",
                        many(runs, "time"),
                        humantime::format_duration(*per)
                    )
                }
                LimitRule::Cooldown(rest) => {
                    format!("Not within {} of the last time: {name}.", humantime::format_duration(*rest))
                }
            });
        }
        if runbook.risk >= Risk::High {
            before.push("Read it to its end before you begin, and let somebody watch you.".into());
        }
        if !before.is_empty() {
            self.paragraph("## Before you begin");
            before.iter().for_each(|point| self.line(&format!("- {point}")));
            self.text.push('\n');
        }
    }

    /// In which accounts the targets are, and what they are reached through.
    fn whereabouts(&self) -> String {
        let inventory = self.manual.inventory;
        let named: Vec<&str> = self.manual.inputs.values().filter_map(Value::as_str).collect();
        let clusters = inventory.clusters.iter().filter(|c| {
            let through =
                |f: &crate::inventory::ProxyFleet| named.contains(&&*f.id) && f.clusters.contains(&c.id);
            named.contains(&&*c.id) || inventory.fleets.iter().any(through)
        });
        let fleets = inventory
            .fleets
            .iter()
            .filter(|f| named.contains(&&*f.id) || f.clusters.iter().any(|id| named.contains(&&**id)));
        let places = clusters.map(|c| (&c.id, &c.account)).chain(fleets.map(|f| (&f.id, &f.account)));
        let told: Vec<String> =
            places.filter_map(|(id, account)| Some(format!("{id} is in `{}`", account.as_ref()?))).collect();
        if told.is_empty() { String::new() } else { format!("{}. ", told.join(", ")) }
    }

    /// What the commands need: a shell that keeps what was seen, passwords, and the looks.
    fn prepare(&mut self) {
        self.paragraph("## Prepare a shell");
        self.paragraph(&format!(
            "You need `bash`, `aws`, `jq` and `mysql` on a machine that reaches the hosts, and credentials of AWS that allow what `firebreak runbook permissions {}` prints. Paste these blocks into a bash, then the steps, one block after the other, and read what each says.",
            self.manual.runbook.name
        ));
        let accounts = self.manual.inventory.accounts.iter();
        let accounts: Vec<String> =
            accounts.map(|a| format!("`{}` ({})", a.id, a.number().unwrap_or("?"))).collect();
        if !accounts.is_empty() {
            self.paragraph(&format!(
                "The commands take the credentials of the shell, and the inventory has these accounts: {}. {}Be there with a role that may act (`export AWS_PROFILE=…`), in each one for what is in it; `aws sts get-caller-identity` says where you are.",
                accounts.join(", "),
                self.whereabouts()
            ));
        }
        self.paragraph(
            "**When it says STOP, stop.** From then on no block changes anything. Once you know better than the guard: `stopped=`, and paste the block again. Each change is written to `$log` before it is made. `put_back` takes back what can be taken back, whenever you give up.",
        );
        let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
        let done = self.manual.rest.map(|rest| Value::Object(rest.steps.clone()));
        let mut data = vec![
            "# What it is about, and where everything is.".to_owned(),
            format!("inputs=$(jq -c . <<'JSON'\n{}\nJSON\n)", pretty(&self.inputs)),
            format!("inventory=$(jq -c . <<'JSON'\n{}\nJSON\n)", self.places()),
            String::new(),
        ];
        data.extend(self.passwords());
        self.block(&data);
        let expressions: String = EXPRESSIONS.lines().map(|line| format!("    {line}\n")).collect();
        self.block(&[HELPERS.replace(HERE, &expressions).trim_end().to_owned()]);
        if let Some(done) = done {
            self.paragraph("What the run has seen so far:");
            self.block(&[format!("steps=$(jq -c . <<'JSON'\n{}\nJSON\n)", pretty(&done))]);
        }
        self.changed();
        let actions = std::mem::take(&mut self.actions);
        let looks: Vec<String> = actions
            .iter()
            .filter_map(|name| {
                let spec = self.manual.registry.get(name)?.spec();
                let body = spec.by_hand?.trim_matches('\n');
                Some(format!("# {}.\n{name}() {{\n  local \"$@\"\n{body}\n}}", spec.summary))
            })
            .collect();
        if !looks.is_empty() {
            self.paragraph("The looks, each with the name of the action that it is by hand:");
            self.block(&[looks.join("\n\n")]);
        }
    }

    /// The inventory with the names of the accounts, one line for each cluster and fleet.
    fn places(&self) -> String {
        let Inventory { clusters, fleets, .. } = self.manual.inventory;
        let value = inventory_value(self.manual.inventory);
        let list = |of: &str, name: &str, users: Vec<&str>| {
            let items = value.get(of).and_then(Value::as_array).into_iter().flatten().zip(users);
            let lines = items.map(|(item, user)| {
                let mut item = item.clone();
                if let Some(fields) = item.as_object_mut() {
                    fields.insert(name.into(), json!(user));
                }
                format!("    {item}")
            });
            lines.collect::<Vec<_>>().join(",\n")
        };
        format!(
            "{{\n  \"clusters\": [\n{}\n  ],\n  \"fleets\": [\n{}\n  ]\n}}",
            list("clusters", "user", clusters.iter().map(|c| c.probe.user.as_str()).collect()),
            list("fleets", "admin", fleets.iter().map(|f| f.admin.user.as_str()).collect()),
        )
    }

    /// Where each account's password is; never the password.
    fn passwords(&self) -> Vec<String> {
        let Inventory { clusters, fleets, .. } = self.manual.inventory;
        let accounts = clusters.iter().map(|c| &c.probe).chain(fleets.iter().map(|f| &f.admin));
        let mut lines = vec![
            "# The password of a MySQL account, from where Firebreak reads it. Where you have it from elsewhere: change this."
                .to_owned(),
            "password() {".to_owned(),
            "  case $1 in".to_owned(),
        ];
        let mut seen = BTreeSet::new();
        for account in accounts.filter(|account| seen.insert(account.user.as_str())) {
            let from = match &account.password {
                SecretRef::Env(name) => format!("printf %s \"${name}\""),
                SecretRef::File(path) => format!("cat {}", shell::quote(path)),
            };
            lines.push(format!("    {}) {from} ;;", shell::quote(&account.user)));
        }
        lines.extend(["  esac".to_owned(), "}".to_owned()]);
        lines
    }

    /// The end, and the way out.
    fn foot(&mut self) {
        self.paragraph("## When you give up half-way");
        self.paragraph(
            "This takes back what can be taken back, the last change first. What cannot is said at its step. Then say what you did, and why, where your colleagues look; `$log` has the commands.",
        );
        self.paragraph("    put_back");
    }
}
