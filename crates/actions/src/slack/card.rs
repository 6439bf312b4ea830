//! How a run looks in Slack: its message, and what is told below it. Each has a text of its own for whoever cannot see blocks.

use std::fmt::Write as _;

use domain::chat::{Approval, Card, Press};
use domain::notice::{Letter, Urgency};
use domain::words::many;
use serde_json::{Value, json};

use super::{cut, escape};

/// Slack takes 3000 characters in a section,
const SECTION: usize = 2900;
/// and 2000 in a button's value.
const VALUE: usize = 2000;

fn sign(urgency: Urgency) -> &'static str {
    match urgency {
        Urgency::Info => ":information_source:",
        Urgency::Good => ":white_check_mark:",
        Urgency::Attention => ":raised_hand:",
        Urgency::Bad => ":rotating_light:",
    }
}

fn titled(title: &str, environment: Option<&str>) -> String {
    environment.map_or_else(|| title.to_owned(), |environment| format!("[{environment}] {title}"))
}

fn section(words: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": cut(words, SECTION) } })
}

/// A notice of a run: its message as it begins, or something below it.
pub(super) fn notice(letter: &Letter<'_>, place: &str, environment: Option<&str>) -> Value {
    let notice = letter.notice;
    let title = titled(&notice.title, environment);
    let words = match letter.thread {
        None => format!(
            "{} *<{}|{}>*\n{}",
            sign(notice.urgency),
            letter.link,
            escape(&title),
            escape(&notice.text)
        ),
        Some(_) => format!("{} *{}*  {}", sign(notice.urgency), escape(&notice.title), escape(&notice.text)),
    };
    let mut message = json!({
        "channel": place,
        "text": cut(&format!("{title}. {}", notice.text), SECTION),
        "blocks": [section(&words)],
        "metadata": { "event_type": "firebreak_run", "event_payload": { "id": letter.id, "key": notice.key } },
        "unfurl_links": false,
    });
    if let Some(ts) = letter.thread.and_then(|thread| thread["ts"].as_str()) {
        message["thread_ts"] = ts.into();
        // What somebody must decide, and how it ended, is not hidden in a thread.
        let tells = notice.kind == "ended" || notice.kind == "needs_a_person";
        message["reply_broadcast"] = tells.into();
    }
    message
}

/// The message of a run as it stands.
pub(super) fn edited(at: &Value, card: &Card, link: &str, environment: Option<&str>) -> Value {
    let title = titled(&card.title, environment);
    let mut words =
        format!("{} *<{link}|{}>*\n*{}*", sign(card.urgency), escape(&title), escape(&card.state));
    if card.of > 0 {
        _ = write!(words, " · {} of {}", card.done, many(card.of, "step"));
    }
    _ = write!(words, " · asked for by {}", escape(&card.by));
    if let Some(reason) = &card.reason {
        _ = write!(words, ": {}", escape(reason));
    }
    for step in card.now.iter().take(5) {
        _ = write!(words, "\n:hourglass_flowing_sand: {}", escape(step));
    }
    if let Some(says) = &card.says {
        _ = write!(words, "\n{}", escape(says));
    }
    let mut blocks = vec![section(&words)];
    for approval in &card.approvals {
        blocks.push(section(&asked(approval)));
        blocks.extend(buttons(card, approval));
    }
    json!({
        "channel": at["channel"],
        "ts": at["ts"],
        "text": cut(&format!("{title}. {}.", card.state), SECTION),
        "blocks": blocks,
    })
}

fn asked(approval: &Approval) -> String {
    let about = approval.title.as_deref().map_or_else(|| "The start".to_owned(), escape);
    match &approval.ruling {
        Some(ruling) => format!("{about}: *{}*", escape(ruling)),
        None if !approval.open => format!("{about}: not decided, and not asked any more"),
        None => {
            let until = approval.until.format("%H:%M:%S UTC");
            let agreed = if approval.names.is_empty() {
                String::new()
            } else {
                format!("; agreed so far: {}", escape(&approval.names.join(", ")))
            };
            format!("{about} waits for {} until {until}{agreed}", escape(&approval.needs))
        }
    }
}

/// Buttons for who may decide; whether they may is asked when they are pressed.
fn buttons(card: &Card, approval: &Approval) -> Option<Value> {
    let (run, step) = (card.run, approval.step.clone());
    let agree = Press::Approve { run, step: step.clone(), plan_hash: approval.plan_hash.clone() }.value();
    let reject = Press::Reject { run, step }.value();
    // One that is too long would have the whole message refused: the page has them, too.
    if !approval.open || agree.len() > VALUE || reject.len() > VALUE {
        return None;
    }
    let button = |id: &str, label: &str, style: &str, value: String| {
        json!({
            "type": "button", "action_id": id, "style": style, "value": value,
            "text": { "type": "plain_text", "text": label },
        })
    };
    Some(json!({
        "type": "actions",
        "elements": [button("approve", "Approve", "primary", agree), button("reject", "Reject…", "danger", reject)],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card {
            run: Default::default(),
            title: "Replace <hosts>: us".into(),
            state: "Waiting for approval".into(),
            urgency: Urgency::Attention,
            by: "ada".into(),
            reason: Some("logins & more fail".into()),
            says: None,
            done: 2,
            of: 7,
            now: vec!["Prove the new hosts".into()],
            approvals: vec![Approval {
                step: None,
                title: None,
                needs: "the approval of an approver".into(),
                names: Vec::new(),
                until: chrono::DateTime::from_timestamp(1_715_090_400, 0).unwrap(),
                plan_hash: Some("0f".into()),
                ruling: None,
                open: true,
            }],
        }
    }

    #[test]
    fn an_approval_has_buttons_until_it_is_decided_and_then_says_who_did() {
        let at = json!({ "channel": "C1", "ts": "1.0" });
        let mut shown = card();
        let message = edited(&at, &shown, "https://f.example.com/runs/0", Some("staging"));
        let words = message["blocks"][0]["text"]["text"].as_str().unwrap();
        assert!(
            words.contains("[staging] Replace &lt;hosts&gt;: us>*\n*Waiting for approval* · 2 of 7 steps"),
            "{words}"
        );
        assert!(words.contains("asked for by ada: logins &amp; more fail"), "{words}");
        let pressed = message["blocks"][2]["elements"][0]["value"].as_str().unwrap();
        let wanted = Press::Approve { run: Default::default(), step: None, plan_hash: Some("0f".into()) };
        assert_eq!(Press::read(pressed), Some(wanted));

        shown.approvals[0].ruling = Some("approved by bob at 14:42:00".into());
        shown.approvals[0].open = false;
        let message = edited(&at, &shown, "https://f.example.com/runs/0", None);
        assert_eq!(message["blocks"].as_array().unwrap().len(), 2);
        assert_eq!(message["blocks"][1]["text"]["text"], "The start: *approved by bob at 14:42:00*");
        assert_eq!((&message["channel"], &message["ts"]), (&at["channel"], &at["ts"]));
    }
}
