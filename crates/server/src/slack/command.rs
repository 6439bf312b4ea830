//! What somebody typed behind `/firebreak`, read. Pure: who they are, and whether they may, is asked elsewhere.

use std::time::Duration;

use domain::Role;
use serde_json::{Map, Value};

/// What is wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Command {
    Help,
    Status,
    /// `true`: with a button that starts it.
    Plan {
        what: What,
        start: bool,
    },
    Approve {
        run: String,
    },
    Abort {
        run: String,
        undo: bool,
        reason: String,
    },
    Lock {
        target: String,
        lasts: Option<Duration>,
        reason: String,
    },
    Unlock {
        target: String,
        reason: Option<String>,
    },
    /// The kill switch, on or off.
    Switch {
        on: bool,
        runbook: Option<String>,
        reason: String,
    },
    Freeze {
        runbook: Option<String>,
        lasts: Duration,
        reason: String,
    },
    Thaw {
        freeze: Option<String>,
        reason: String,
    },
    Incidents,
    Open {
        targets: Vec<String>,
        title: String,
    },
    Take {
        incident: String,
    },
    Note {
        incident: String,
        text: String,
    },
    Link,
}

/// Which runbook, with what, and why.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct What {
    pub(super) runbook: String,
    pub(super) inputs: Map<String, Value>,
    pub(super) reason: Option<String>,
}

/// Each form with what it does, and the least role that it does anything for.
pub(super) const FORMS: [(&str, &str, Role); 17] = [
    ("help", "what you may type", Role::Viewer),
    ("status", "how things are: findings, incidents, runs, what holds back", Role::Viewer),
    ("plan RUNBOOK INPUT=VALUE …", "what a run would do; changes nothing", Role::Viewer),
    ("run RUNBOOK INPUT=VALUE … WHY", "the same, with a button that starts that very plan", Role::Responder),
    ("approve RUN", "the plan that is asked about, with buttons", Role::Approver),
    ("abort RUN WHY", "ends a run; `abort RUN undo WHY` takes back what it changed", Role::Responder),
    ("lock TARGET WHY", "“I am on it”; `lock TARGET for=2h WHY` gives it back by itself", Role::Responder),
    ("unlock TARGET", "gives it back; somebody else's takes an admin and a reason", Role::Responder),
    (
        "stop WHY",
        "the kill switch: nothing is changed any more; `stop runbook=NAME WHY` for one",
        Role::Responder,
    ),
    ("allow WHY", "changes are allowed again; `allow runbook=NAME WHY` for one", Role::Responder),
    (
        "freeze 2h WHY",
        "triggers start nothing, people confirm; `freeze 2h runbook=NAME WHY` for one",
        Role::Responder,
    ),
    ("thaw WHY", "lifts the freeze; `thaw id=… WHY` if there are several", Role::Responder),
    ("incident", "those that are open", Role::Viewer),
    ("incident open TARGET … : TITLE", "opens one", Role::Responder),
    ("incident take N", "“I have it”", Role::Responder),
    ("incident note N TEXT", "writes it into the incident", Role::Responder),
    ("link", "who you are here", Role::Viewer),
];

/// Words, with what stands in quotation marks as one; Slack makes curly ones of them.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        match c {
            '"' | '“' | '”' => {
                quoted = !quoted;
                any = true;
            }
            c if c.is_whitespace() && !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

/// What is there, in one line.
fn rest(words: &[String]) -> String {
    words.join(" ").trim().to_owned()
}

/// Reads it, or says what to type instead.
pub(super) fn read(text: &str) -> Result<Command, String> {
    let words = words(text);
    let Some((verb, args)) = words.split_first() else { return Ok(Command::Help) };
    let form = |form: &str| format!("Write `/firebreak {form}`.");
    let first = |wanted: &str| args.first().cloned().ok_or_else(|| form(wanted));
    match verb.to_lowercase().as_str() {
        "help" => Ok(Command::Help),
        "status" => Ok(Command::Status),
        "plan" => Ok(Command::Plan { what: what(args).ok_or_else(|| form(FORMS[2].0))?, start: false }),
        "run" => Ok(Command::Plan { what: what(args).ok_or_else(|| form(FORMS[3].0))?, start: true }),
        "approve" => Ok(Command::Approve { run: first(FORMS[4].0)? }),
        "abort" => {
            let run = first(FORMS[5].0)?;
            let undo = args.get(1).is_some_and(|word| word.eq_ignore_ascii_case("undo"));
            Ok(Command::Abort { run, undo, reason: rest(&args[1 + usize::from(undo)..]) })
        }
        "lock" => {
            let target = first(FORMS[6].0)?;
            let (lasts, args) = match args.get(1).and_then(|word| word.strip_prefix("for=")) {
                Some(span) => (Some(lasting(span)?), &args[2..]),
                None => (None, &args[1..]),
            };
            Ok(Command::Lock { target, lasts, reason: rest(args) })
        }
        "unlock" => {
            let target = first(FORMS[7].0)?;
            Ok(Command::Unlock { target, reason: Some(rest(&args[1..])).filter(|why| !why.is_empty()) })
        }
        verb @ ("stop" | "allow") => {
            let (runbook, reason) = of_one(args);
            Ok(Command::Switch { on: verb == "stop", runbook, reason })
        }
        "freeze" => {
            let lasts = lasting(&first(FORMS[10].0)?)?;
            let (runbook, reason) = of_one(&args[1..]);
            Ok(Command::Freeze { runbook, lasts, reason })
        }
        "thaw" => {
            let freeze = args.first().and_then(|word| word.strip_prefix("id=")).map(str::to_owned);
            let reason = rest(&args[usize::from(freeze.is_some())..]);
            Ok(Command::Thaw { freeze, reason })
        }
        "incident" | "incidents" => incident(args),
        "link" => Ok(Command::Link),
        other => Err(format!("There is no `{other}` here. `/firebreak help` tells what there is.")),
    }
}

/// Of one runbook or of all, and why.
fn of_one(args: &[String]) -> (Option<String>, String) {
    let runbook = args.first().and_then(|word| word.strip_prefix("runbook=")).map(str::to_owned);
    let reason = rest(&args[usize::from(runbook.is_some())..]);
    (runbook, reason)
}

/// Inputs come before the reason: the first word that is none begins it.
fn what(args: &[String]) -> Option<What> {
    let (runbook, args) = args.split_first()?;
    let mut inputs = Map::new();
    let mut from = args.len();
    for (at, word) in args.iter().enumerate() {
        match word.split_once('=').filter(|(name, _)| !name.is_empty()) {
            Some((name, value)) => {
                inputs.insert(name.to_owned(), value.into());
            }
            None => {
                from = at;
                break;
            }
        }
    }
    let reason = Some(rest(&args[from..])).filter(|why| !why.is_empty());
    Some(What { runbook: runbook.clone(), inputs, reason })
}

fn lasting(span: &str) -> Result<Duration, String> {
    let year = Duration::from_secs(366 * 24 * 3600);
    let read = humantime::parse_duration(span).ok().filter(|read| !read.is_zero() && *read <= year);
    read.ok_or_else(|| format!("`{span}` is no span of time; write 30m, 2h or 3d."))
}

fn incident(args: &[String]) -> Result<Command, String> {
    let form = |form: &str| format!("Write `/firebreak {form}`.");
    let Some((verb, args)) = args.split_first() else { return Ok(Command::Incidents) };
    match verb.to_lowercase().as_str() {
        "list" => Ok(Command::Incidents),
        "open" => {
            // `a b : title`, and also `a b: title`.
            let text = rest(args);
            let (targets, title) = text.split_once(": ").ok_or_else(|| form(FORMS[13].0))?;
            let targets = targets.split_whitespace().map(|target| target.trim_end_matches(':').to_owned());
            let targets: Vec<String> = targets.filter(|target| !target.is_empty()).collect();
            Ok(Command::Open { targets, title: title.trim().to_owned() })
        }
        "take" => Ok(Command::Take { incident: args.first().cloned().ok_or_else(|| form(FORMS[14].0))? }),
        "note" => {
            let (incident, text) = args.split_first().ok_or_else(|| form(FORMS[15].0))?;
            Ok(Command::Note { incident: incident.clone(), text: rest(text) })
        }
        other => Err(format!("An incident knows no `{other}`; there are list, open, take and note.")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn inputs_come_first_and_what_follows_is_the_reason() {
        let Command::Plan { what, start } =
            read("run replace-proxysql fleet=proxysql-us mode=\"very soft\" logins fail = badly").unwrap()
        else {
            panic!("no plan")
        };
        assert!(start);
        assert_eq!(json!(what.inputs), json!({ "fleet": "proxysql-us", "mode": "very soft" }));
        assert_eq!(what.reason.as_deref(), Some("logins fail = badly"));
        let Command::Plan { what, start } = read("plan x").unwrap() else { panic!("no plan") };
        assert_eq!((start, what.runbook.as_str(), what.reason), (false, "x", None));
    }

    #[test]
    fn every_form_is_read_as_it_is_told() {
        let some = |text: &str| read(text).unwrap();
        assert_eq!(some("  "), Command::Help);
        assert_eq!(
            some("abort 01ab undo it is wrong"),
            Command::Abort { run: "01ab".into(), undo: true, reason: "it is wrong".into() }
        );
        assert_eq!(
            some("abort 01ab enough"),
            Command::Abort { run: "01ab".into(), undo: false, reason: "enough".into() }
        );
        assert_eq!(
            some("lock cluster:shard-a for=2h I am on it"),
            Command::Lock {
                target: "cluster:shard-a".into(),
                lasts: Some(Duration::from_secs(7200)),
                reason: "I am on it".into()
            }
        );
        assert_eq!(some("unlock fleet:us"), Command::Unlock { target: "fleet:us".into(), reason: None });
        assert_eq!(
            some("freeze 1d runbook=failover-cluster holidays"),
            Command::Freeze {
                runbook: Some("failover-cluster".into()),
                lasts: Duration::from_secs(86_400),
                reason: "holidays".into()
            }
        );
        assert_eq!(
            some("stop it acts on a wrong view"),
            Command::Switch { on: true, runbook: None, reason: "it acts on a wrong view".into() }
        );
        assert_eq!(
            some("allow runbook=failover-cluster understood"),
            Command::Switch {
                on: false,
                runbook: Some("failover-cluster".into()),
                reason: "understood".into()
            }
        );
        assert_eq!(some("thaw over"), Command::Thaw { freeze: None, reason: "over".into() });
        assert_eq!(
            some("thaw id=0a over"),
            Command::Thaw { freeze: Some("0a".into()), reason: "over".into() }
        );
        let open = Command::Open {
            targets: vec!["fleet:us".into(), "cluster:b".into()],
            title: "Logins fail".into(),
        };
        assert_eq!(some("incident open fleet:us cluster:b : Logins fail"), open);
        assert_eq!(some("incident open fleet:us cluster:b: Logins fail"), open);
        assert_eq!(
            some("incident note 17 “still bad”"),
            Command::Note { incident: "17".into(), text: "still bad".into() }
        );
        for wrong in
            ["abort", "run", "lock", "freeze", "freeze soon x", "incident open x", "incident sing", "drop"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for (form, ..) in FORMS {
            assert!(read(form.split(' ').next().unwrap()).is_ok() || form.contains(' '), "{form}");
        }
    }
}
