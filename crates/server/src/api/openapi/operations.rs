//! What each route of the API takes and answers: a file for each few of the headings.

mod holding;
mod knowing;
mod running;
mod telling;

use super::{Key, Operation, Shape};

/// The headings, in their order.
pub(super) const GROUPS: [(&str, &str); 9] = [
    ("situation", "What is going on."),
    ("runbooks", "What can be done, and what it would do."),
    ("runs", "What is being done, and was."),
    ("signals", "What machines say is wrong, and what became of it."),
    ("incidents", "What people do together about one trouble, and what they elsewhere are told."),
    ("brakes", "What holds Firebreak back: kill switch, freezes, locks."),
    ("drills", "Practice on a simulated world: only where `firebreak demo` plays them."),
    ("audit", "Who did what, and that it was not changed since."),
    ("access", "Who you are, the tokens of your programs, and who else is here."),
];

const BODY: &[u16] = &[400, 409, 413, 415, 422];
const BODY_AT: &[u16] = &[400, 404, 409, 413, 415, 422];

fn look(
    group: &'static str,
    path: &'static str,
    says: &'static str,
    answer: Shape,
    refusals: &'static [u16],
) -> Operation {
    let answers = vec![(200, answer)];
    Operation { method: "GET", path, group, says, query: None, body: None, key: Key::None, answers, refusals }
}

fn act(
    group: &'static str,
    path: &'static str,
    says: &'static str,
    body: Shape,
    answers: &[(u16, Shape)],
    refusals: &'static [u16],
) -> Operation {
    let (body, answers) = (Some(body), answers.to_vec());
    Operation { method: "POST", path, group, says, query: None, body, key: Key::Optional, answers, refusals }
}

/// What is asked is all in the path.
fn without_body(operation: Operation) -> Operation {
    Operation { body: None, ..operation }
}

impl Operation {
    fn with_query(self, query: Shape) -> Self {
        Self { query: Some(query), ..self }
    }

    fn with_key(self, key: Key) -> Self {
        Self { key, ..self }
    }
}

/// All of them, in the order of the headings.
pub(super) fn all() -> Vec<Operation> {
    [running::all(), telling::all(), holding::all(), knowing::all()].into_iter().flatten().collect()
}
