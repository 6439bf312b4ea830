//! What came of a step that is done: in a few words for its line, and how it came to be done.

use domain::action::ObjectChange;
use domain::run::{How, Node, Status};
use serde_json::Value;

use crate::words;

/// What came of a step that is done, for its line. A guard says it in its title.
pub(super) fn gave(kind: &str, node: &Node, changes: &[ObjectChange]) -> Option<String> {
    if node.status != Status::Done {
        return None;
    }
    let said = match (&node.how, changes) {
        (Some(How::AlreadySo), _) => "it was so already".to_owned(),
        (Some(How::MarkedDone { by, .. }), _) => format!("marked as done by {by}"),
        (_, [change, more @ ..]) => {
            let (before, after) = (words::brief(&change.before), words::brief(&change.after));
            let more = if more.is_empty() { String::new() } else { format!(", and {} more", more.len()) };
            format!("{} {before} → {after}{more}", change.property)
        }
        _ if kind == "value" => match &*node.output {
            Value::Array(items) if items.len() > 2 => format!("{} of them", items.len()),
            value => words::brief(value),
        },
        _ => return None,
    };
    Some(words::shorten(&said, 90))
}

/// How a step came to be done, in a sentence.
pub(super) fn how(how: &How) -> String {
    match how {
        How::Called { request_id: Some(id) } => format!("Called and answered, request {id}"),
        How::Called { request_id: None } => "Called and answered".into(),
        How::AlreadySo => "It was so already; nothing was called".into(),
        How::FoundDone => "The answer was lost; a look found it done".into(),
        How::Looked => "Looked".into(),
        How::Reasoned => "Worked out from what was known".into(),
        How::MarkedDone { by, reason } => format!("Marked as done by {by}: {reason}"),
    }
}
