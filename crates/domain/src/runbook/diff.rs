//! Two versions of a runbook, compared by meaning: inputs by name, steps by id, and of each what it says.
//!
//! Order among siblings counts, layout and comments do not. A step that moved is told as moved, whatever lies between; one
//! that became another form is told by what it was and what it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::template::Template;
use super::{Body, Each, EachBody, Input, LimitRule, Runbook, Step, Until, Use};
use crate::words::many;

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Of what: `runbook`, `input cluster`, `step remove/pause`.
    pub of: String,
    /// What became of it.
    #[serde(flatten)]
    pub change: Change,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// It is new.
    Added {
        /// What it is.
        is: String,
    },
    /// It is gone.
    Removed {
        /// What it was.
        was: String,
    },
    /// It stands elsewhere among its siblings.
    Moved {
        /// The sibling that it follows now; none when it is the first.
        after: Option<String>,
    },
    /// It says something else.
    Changed {
        /// Which of its keys.
        key: String,
        /// What it said; none where it said nothing.
        before: Option<String>,
        /// What it says; none where it says nothing any more.
        after: Option<String>,
    },
}

/// Everything that differs, in the order of the new version; what is gone comes last.
pub fn diff(old: &Runbook, new: &Runbook) -> Vec<Difference> {
    let mut found = Vec::new();
    changed("runbook", &of_runbook(old), &of_runbook(new), &mut found);
    let inputs = |runbook: &Runbook| -> Things {
        let named = |input: &Input| Thing { id: input.name.clone(), is: kind(input), says: of_input(input) };
        runbook.inputs.iter().map(named).collect()
    };
    things("input", &inputs(old), &inputs(new), &mut found);
    steps("", &old.steps, &new.steps, &mut found);
    found
}

/// What a thing says, by key.
type Says = BTreeMap<&'static str, String>;

struct Thing {
    id: String,
    /// In a word or two, for when it comes or goes.
    is: String,
    says: Says,
}

type Things = Vec<Thing>;

fn changed(of: &str, old: &Says, new: &Says, found: &mut Vec<Difference>) {
    let keys: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    for key in keys {
        let (before, after) = (old.get(key), new.get(key));
        if before != after {
            let (before, after) = (before.cloned(), after.cloned());
            let change = Change::Changed { key: key.to_owned(), before, after };
            found.push(Difference { of: of.to_owned(), change });
        }
    }
}

/// Things with names, in order.
fn things(kind: &str, old: &Things, new: &Things, found: &mut Vec<Difference>) {
    let of = |thing: &Thing| format!("{kind} {}", thing.id);
    let moved = moved(
        &old.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(),
        &new.iter().map(|t| t.id.as_str()).collect::<Vec<_>>(),
    );
    for (n, thing) in new.iter().enumerate() {
        let Some(was) = old.iter().find(|was| was.id == thing.id) else {
            found.push(Difference { of: of(thing), change: Change::Added { is: thing.is.clone() } });
            continue;
        };
        if moved.contains(thing.id.as_str()) {
            let after = n.checked_sub(1).and_then(|n| new.get(n)).map(|before| before.id.clone());
            found.push(Difference { of: of(thing), change: Change::Moved { after } });
        }
        changed(&of(thing), &was.says, &thing.says, found);
    }
    for was in old.iter().filter(|was| !new.iter().any(|thing| thing.id == was.id)) {
        found.push(Difference { of: of(was), change: Change::Removed { was: was.is.clone() } });
    }
}

fn steps(around: &str, old: &[Step], new: &[Step], found: &mut Vec<Difference>) {
    let all = |steps: &[Step]| -> Things {
        let thing =
            |step: &Step| Thing { id: format!("{around}{}", step.id), is: form(step), says: of_step(step) };
        steps.iter().map(thing).collect()
    };
    things("step", &all(old), &all(new), found);
    for step in new {
        let Some(was) = old.iter().find(|was| was.id == step.id) else { continue };
        let lists = |step: &Step| -> BTreeMap<String, Vec<Step>> {
            step.inside()
                .map(|(branch, steps)| (branch.unwrap_or_default().to_owned(), steps.to_vec()))
                .collect()
        };
        let (was, is) = (lists(was), lists(step));
        let branches: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
        for branch in branches {
            let name = if branch.is_empty() { String::new() } else { format!("{branch}/") };
            let list = |of: &BTreeMap<String, Vec<Step>>| of.get(branch).cloned().unwrap_or_default();
            steps(&format!("{around}{}/{name}", step.id), &list(&was), &list(&is), found);
        }
    }
}

/// Those that left their place: all but the longest row of common ids that kept its order.
fn moved<'a>(old: &[&'a str], new: &[&'a str]) -> BTreeSet<&'a str> {
    let places: Vec<(usize, &str)> =
        new.iter().filter_map(|id| Some((old.iter().position(|was| was == id)?, *id))).collect();
    // The longest row that ends at each place, and the place before it in that row.
    let mut rows: Vec<(usize, Option<usize>)> = Vec::new();
    for (n, (place, _)) in places.iter().enumerate() {
        let before = (0..n).filter(|&m| places[m].0 < *place).max_by_key(|&m| rows[m].0);
        rows.push((before.map_or(0, |m| rows[m].0) + 1, before));
    }
    let mut at = (0..rows.len()).max_by_key(|&n| rows[n].0);
    let mut kept = BTreeSet::new();
    while let Some(n) = at {
        kept.insert(places[n].1);
        at = rows[n].1;
    }
    places.into_iter().map(|(_, id)| id).filter(|id| !kept.contains(id)).collect()
}

/// Folded: how a text is laid out means nothing.
fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn written(template: &Template) -> String {
    match template.source() {
        Value::String(text) => folded(&text),
        other => folded(&other.to_string()),
    }
}

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The word that a value of the language is written with.
fn word(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(e) => e.to_string(),
    }
}

fn of_runbook(runbook: &Runbook) -> Says {
    let list = |texts: Vec<String>| texts.join("; ");
    let mut says = Says::from([
        ("runbook", runbook.name.clone()),
        ("title", folded(&runbook.title)),
        ("when", folded(&runbook.when)),
        ("risk", word(runbook.risk)),
    ]);
    says.extend(runbook.impact.as_ref().map(|impact| ("impact", written(impact))));
    says.extend(runbook.result.as_ref().map(|result| ("result", written(result))));
    says.extend(runbook.approval.as_ref().map(|approval| ("approval", word(approval))));
    if !runbook.locks.is_empty() {
        says.insert("locks", list(runbook.locks.iter().map(written).collect()));
    }
    if !runbook.limits.is_empty() {
        let limit = |limit: &super::Limit| match limit.rule {
            LimitRule::AtMost { runs, per } => {
                format!("{} at most {runs} per {}", written(&limit.name), time(per))
            }
            LimitRule::Cooldown(rest) => format!("{} cooldown {}", written(&limit.name), time(rest)),
        };
        says.insert("limits", list(runbook.limits.iter().map(limit).collect()));
    }
    if let Some(verify) = &runbook.verify {
        let inner = of_use(&verify.look);
        let text: Vec<String> = inner.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        says.insert("verify", list(text));
        says.insert("verify message", written(&verify.message));
    }
    says
}

fn kind(input: &Input) -> String {
    word(&input.kind)
}

fn of_input(input: &Input) -> Says {
    let mut says = Says::from([("type", kind(input)), ("description", folded(&input.description))]);
    if input.optional {
        says.insert("optional", "true".into());
    }
    says.extend(input.default.as_ref().map(|default| ("default", word(default))));
    says
}

/// What kind of step it is.
fn form(step: &Step) -> String {
    match &step.body {
        Body::Use(call) => format!("use {}", call.action),
        Body::Assert { .. } => "assert".into(),
        Body::Each(Each { body: EachBody::One(call), .. }) => format!("each, use {}", call.action),
        Body::Each(_) => "each".into(),
        Body::Value(_) => "value".into(),
        Body::Approve(_) => "approve".into(),
        Body::Together(_) => "together".into(),
        Body::Run(child) => format!("run {}", child.runbook),
        Body::Wait(_) => "wait".into(),
    }
}

fn of_step(step: &Step) -> Says {
    let mut says = Says::from([("form", form(step))]);
    says.extend(step.title.as_ref().map(|title| ("title", folded(title))));
    says.extend(step.why.as_ref().map(|why| ("why", folded(why))));
    says.extend(step.condition.as_ref().map(|condition| ("if", folded(condition.source()))));
    says.extend(step.on_failure.map(|does| ("on_failure", word(does))));
    for (key, is) in [
        ("undo", step.undo.then_some("automatic")),
        ("finally", step.finally.then_some("undo")),
        ("one_way", step.one_way.then_some("true")),
    ] {
        says.extend(is.map(|is| (key, is.to_owned())));
    }
    match &step.body {
        Body::Use(call) => says.extend(of_use(call)),
        Body::Assert { that, message, need } => {
            says.extend([("assert", folded(that.source())), ("message", written(message))]);
            says.extend(need.then(|| ("need", "true".to_owned())));
        }
        Body::Each(each) => {
            says.extend([("each", folded(each.items.source())), ("at_once", written(&each.at_once))]);
            says.extend(each.stop_after.as_ref().map(|after| ("stop_after", written(after))));
            if let EachBody::One(call) = &each.body {
                says.extend(of_use(call));
            }
        }
        Body::Value(value) => says.extend([("value", written(value))]),
        Body::Approve(approve) => {
            says.extend([("approve", word(&approve.approval)), ("message", written(&approve.message))]);
        }
        Body::Together(branches) => {
            let names: Vec<&str> = branches.iter().map(|branch| branch.name.as_str()).collect();
            says.insert("branches", names.join(", "));
        }
        Body::Run(child) => says.extend([("with", written(&child.with))]),
        Body::Wait(pause) => says.extend([("wait", time(*pause))]),
    }
    says
}

fn of_use(call: &Use) -> Says {
    let mut says = Says::from([("use", call.action.clone()), ("with", written(&call.with))]);
    let retry = format!("{}, {} apart", many(call.retry.attempts, "attempt"), time(call.retry.backoff));
    if call.retry != super::Retry::default() {
        says.insert("retry", retry);
    }
    let Some(Until { condition, hold, every, expect, timeout, on_timeout, message, give_up }) = &call.until
    else {
        return says;
    };
    says.extend([
        ("until", folded(condition.source())),
        ("every", time(*every)),
        ("timeout", time(*timeout)),
        ("on_timeout", word(on_timeout)),
    ]);
    says.extend(hold.map(|hold| ("for", time(hold))));
    says.extend(expect.map(|expect| ("expect", time(expect))));
    says.extend(message.as_ref().map(|message| ("message", written(message))));
    says.extend(give_up.as_ref().map(|give_up| {
        ("give_up_if", format!("{}: {}", folded(give_up.condition.source()), written(&give_up.message)))
    }));
    says
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = &self.of;
        match &self.change {
            Change::Added { is } => write!(f, "+ {of} ({is})"),
            Change::Removed { was } => write!(f, "- {of} ({was})"),
            Change::Moved { after: None } => write!(f, "> {of} comes first now"),
            Change::Moved { after: Some(after) } => write!(f, "> {of} comes after {after} now"),
            Change::Changed { key, before, after } => {
                let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "(nothing)".into());
                write!(f, "~ {of}, {key}:\n    - {}\n    + {}", text(before), text(after))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const OLD: &str = r#"
runbook: r
title: A runbook
when: Always.
risk: medium
inputs:
  fleet: { type: proxy_fleet, description: Which }
  share: { type: percent, default: 50%, description: How many }
locks: ["fleet:${inputs.fleet.id}"]
steps:
  - id: look
    use: a.look
    with: { group: "${inputs.fleet.group}" }
  - id: guard
    assert: size(steps.look.hosts) > 0
    message: None is there.
  - id: quiet
    use: a.quiet
    undo: automatic
  - id: remove
    each: steps.look.hosts
    at_once: "${inputs.share}%"
    steps:
      - id: pause
        use: a.pause
      - id: gone
        use: a.look
        until: out.gone
        timeout: 1m
"#;

    fn told(new: &str) -> Vec<String> {
        let (old, new) = (parse("r.yaml", OLD).unwrap(), parse("r.yaml", new).unwrap());
        diff(&old, &new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn layout_and_comments_are_no_difference() {
        let other = OLD
            .replace(
                "    assert: size(steps.look.hosts) > 0",
                "    # none, none\n    assert: >-\n      size(steps.look.hosts)\n      > 0",
            )
            .replace(
                "with: { group: \"${inputs.fleet.group}\" }",
                "with:\n      group: ${inputs.fleet.group}",
            );
        assert_eq!(told(&other), Vec::<String>::new());
    }

    #[test]
    fn inputs_steps_and_guards_are_told_by_name() {
        let quiet = "  - id: quiet\n    use: a.quiet\n    undo: automatic\n";
        let new = OLD
            .replace("risk: medium", "risk: high")
            .replace("default: 50%", "default: 25%")
            .replace("  share:", "  why: { type: string, optional: true, description: Why }\n  share:")
            .replace("> 0", "> 1")
            .replace("timeout: 1m", "timeout: 2m")
            .replace("      - id: pause\n        use: a.pause\n", "      - id: stop\n        wait: 5s\n")
            .replace(quiet, "")
            .replace("  - id: look\n", &format!("{quiet}  - id: look\n"));
        assert_eq!(
            told(&new),
            [
                "~ runbook, risk:\n    - medium\n    + high",
                "+ input why (string)",
                "~ input share, default:\n    - 50%\n    + 25%",
                "> step quiet comes first now",
                "~ step guard, assert:\n    - size(steps.look.hosts) > 0\n    + size(steps.look.hosts) > 1",
                "+ step remove/stop (wait)",
                "~ step remove/gone, timeout:\n    - 1m\n    + 2m",
                "- step remove/pause (use a.pause)",
            ]
        );
    }
}
