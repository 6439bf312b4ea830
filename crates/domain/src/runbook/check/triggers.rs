//! `triggers`: do they ask what a signal can answer, and give the inputs that the runbook needs?

use super::Checker;
use super::names::Names;
use crate::runbook::template::Node;
use crate::runbook::{Mode, Risk, Runbook, Trigger};

impl Checker<'_> {
    pub(super) fn triggers(&mut self, runbook: &Runbook) {
        let names = Names::of_a_signal(runbook);
        for trigger in &runbook.triggers {
            self.condition(&trigger.condition, &names);
            if !trigger.condition.paths().iter().any(|path| path.root == "signal") {
                let what = "the condition does not look at `signal`, so it would take all of them or none";
                self.wrong(trigger.condition.pos(), what, "name a field of it, such as `signal.kind`");
            }
            if let Node::Record(given) = &trigger.inputs.node {
                self.template(&trigger.inputs, &names);
                self.given(trigger.pos, given, runbook, &names, "inputs");
            }
            self.may_start(trigger, runbook);
        }
    }

    /// What must be typed to start is not typed by a trigger.
    fn may_start(&mut self, trigger: &Trigger, runbook: &Runbook) {
        if trigger.mode == Mode::Auto && runbook.risk == Risk::High {
            let what = "`mode: auto`, but of what is of high risk the target must be typed to start it";
            self.wrong(trigger.pos, what, "write `mode: ask`, or another `risk`");
        }
    }
}
