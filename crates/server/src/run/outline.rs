//! The steps of a runbook as a list to read, before anything is started.

use domain::runbook::{Body, EachBody, Step};

use super::steps::title;
use crate::words;

/// A step as a runbook's page lists it.
pub(crate) struct Outline {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) why: Option<String>,
    /// What it is, in words.
    pub(crate) what: String,
    pub(crate) one_way: bool,
    pub(crate) undo: &'static str,
    /// Inside how many others.
    pub(crate) depth: usize,
}

impl Outline {
    fn branch(name: &str, depth: usize) -> Self {
        let (id, title) = (name.to_owned(), name.replace('_', " "));
        Self { id, title, why: None, what: "branch".to_owned(), one_way: false, undo: "", depth }
    }
}

pub(super) fn outline(steps: &[Step], depth: usize) -> Vec<Outline> {
    let mut lines = Vec::new();
    for step in steps {
        let what = match &step.body {
            Body::Use(call) if call.until.is_some() => format!("wait with {}", call.action),
            Body::Use(call) => call.action.clone(),
            Body::Assert { that, need: true, .. } => format!("is it needed: {}", that.source()),
            Body::Assert { that, .. } => format!("guard: {}", that.source()),
            Body::Value(_) => "value".to_owned(),
            Body::Approve(approve) => format!("waits for {}", approve.approval),
            Body::Each(each) => match &each.body {
                EachBody::One(call) => format!("{} for each of {}", call.action, each.items.source()),
                EachBody::Steps(_) => format!("for each of {}", each.items.source()),
            },
            Body::Together(branches) => format!("{} branches at the same time", branches.len()),
            Body::Run(child) => format!("run {}", child.runbook),
            Body::Wait(time) => {
                format!("wait {}", words::span(chrono::TimeDelta::from_std(*time).unwrap_or_default()))
            }
        };
        let undo = match (step.finally, step.undo) {
            (true, _) => "taken back at the end",
            (false, true) => "can be taken back",
            (false, false) => "",
        };
        let (id, title, why) = (step.id.clone(), title(step), step.why.clone());
        lines.push(Outline { id, title, why, what, one_way: step.one_way, undo, depth });
        for (branch, steps) in step.inside() {
            if let Some(name) = branch {
                lines.push(Outline::branch(name, depth + 1));
            }
            lines.extend(outline(steps, depth + 1 + usize::from(branch.is_some())));
        }
    }
    lines
}
