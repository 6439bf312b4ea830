//! What may be asked of a run by whoever looks at it, as the commands to paste: for each button that works on its page, one.

use serde_json::Value;

use super::words::word;

/// What is to be filled in by hand.
const WHY: &str = "\"…\"";

/// Each command, with what it says where the page has a word of its own for it.
pub(super) fn commands(told: &Value) -> Vec<Vec<String>> {
    let run = word(&told["run"], "id");
    let gate = &told["gate"];
    let list = |value: &'_ Value| value.as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    let mut put = |choices: &Value, step: Option<&str>| {
        for choice in list(choices).iter().filter(|choice| choice["why_not"].is_null()) {
            let command = vec![command(run, choice, step), word(choice, "label").to_owned()];
            if !all.iter().any(|known: &Vec<String>| known[0] == command[0]) {
                all.push(command);
            }
        }
    };
    for decision in &list(&told["decisions"]) {
        put(&decision["choices"], decision["path"].as_str());
    }
    for approval in list(&gate["approvals"]).iter().filter(|approval| approval["open"] == true) {
        put(&approval["choices"], approval["step"].as_str());
    }
    put(&gate["drift"]["choices"], None);
    put(&gate["held_back"]["choices"], None);
    put(&told["asks"], None);
    all
}

fn command(run: &str, choice: &Value, step: Option<&str>) -> String {
    let ask = word(choice, "ask");
    let (verb, flags) = match ask {
        "begin_despite" => ("resume".to_owned(), format!(" --despite {WHY}")),
        "abort" if choice["takeback"] == "all" => (ask.to_owned(), format!(" --undo --reason {WHY}")),
        "abort" => (ask.to_owned(), format!(" --reason {WHY}")),
        _ => {
            let step = step.map_or_else(String::new, |step| format!(" --step {}", quoted(step)));
            let needed = ["skip", "mark_done", "did_not_happen", "reject", "break_glass"].contains(&ask);
            let reason = if needed { format!(" --reason {WHY}") } else { String::new() };
            (ask.replace('_', "-"), format!("{step}{reason}"))
        }
    };
    format!("firebreak {verb} {run}{flags}")
}

/// As one word for a shell: a path may name an item, as `each[i-1].drain`.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use serde_json::json;

    use super::*;
    use crate::Cli;

    fn shown(told: &Value) -> Vec<String> {
        commands(told).into_iter().map(|row| row[0].clone()).collect()
    }

    #[test]
    fn whatever_may_be_asked_is_a_command_of_this_program() {
        let run = "018f0000-0000-7000-8000-00000000aaaa";
        let all = |asks: &[&str]| asks.iter().map(|ask| json!({ "ask": ask, "why_not": null })).collect();
        let all: &dyn Fn(&[&str]) -> Value = &all;
        let told = json!({
            "run": { "id": run },
            "decisions": [{
                "path": "each[it's].drain",
                "choices": all(&["retry", "skip", "mark_done", "did_not_happen", "stop_looking", "abort"]),
            }],
            "gate": {
                "approvals": [
                    { "step": null, "open": true, "choices": all(&["approve", "reject", "break_glass"]) },
                    { "step": "ask", "open": true, "choices": all(&["approve", "reject", "break_glass"]) },
                    { "step": "over", "open": false, "choices": all(&["approve"]) },
                ],
                "drift": { "choices": all(&["accept_plan"]) },
                "held_back": { "choices": all(&["begin_despite"]) },
            },
            "asks": [
                { "ask": "pause", "why_not": null },
                { "ask": "resume", "why_not": "it is not paused" },
                { "ask": "abort", "takeback": "finally", "why_not": null },
                { "ask": "abort", "takeback": "all", "why_not": null },
            ],
        });
        let shown = shown(&told);
        assert_eq!(shown.len(), 16, "{shown:#?}");
        assert!(shown[0].ends_with(r"--step 'each[it'\''s].drain'"), "{}", shown[0]);
        for command in &shown {
            let words = command.replace(r"'each[it'\''s].drain'", "drain");
            let parsed = Cli::command().try_get_matches_from(words.split(' '));
            assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
        }
        assert!(
            !shown.iter().any(|command| command == &format!("firebreak resume {run}")),
            "it does not work"
        );
    }
}
