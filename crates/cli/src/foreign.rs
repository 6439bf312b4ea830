//! Text of others (alert senders, calendars, whoever gave a reason), made so that a terminal shows it and does nothing else.
//!
//! ```text
//!  a server's answer ─▶ value, line ─▶ words of ours, and their colours ─▶ shown ─▶ the terminal
//!                                      everything else ────────────────────▶
//! ```
//!
//! A control character can erase a line, forge one, or fill the clipboard, in a tool that prints commands to paste. It is shown as
//! JSON writes it (`\u001b`), so that JSON which is shown says the same as before.

use std::fmt::Write as _;

use serde_json::Value;

/// A text that is meant to have lines.
pub(crate) fn lines(text: &str) -> String {
    let mut seen = String::with_capacity(text.len());
    // Forms in a browser end their lines with both.
    text.replace("\r\n", "\n").chars().for_each(|c| put(c, &mut seen));
    seen
}

/// A text that is shown in a line of ours, where another line would look like one of ours, too.
pub(crate) fn line(text: &str) -> String {
    lines(text).replace('\n', " ⏎ ").replace('\t', " ")
}

/// An answer of which each text, and each name, is shown in a line.
pub(crate) fn value(answer: Value) -> Value {
    match answer {
        Value::String(text) => line(&text).into(),
        Value::Array(items) => items.into_iter().map(value).collect(),
        Value::Object(fields) => {
            fields.into_iter().map(|(name, field)| (line(&name), value(field))).collect()
        }
        other => other,
    }
}

/// What goes to the terminal, whoever wrote it: colours are the only sequences that pass.
pub(crate) fn shown(text: &str) -> String {
    let (mut seen, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('\u{1b}') {
        let (before, from) = rest.split_at(at);
        seen += &lines(before);
        let sequence = colour(from).unwrap_or_else(|| {
            put('\u{1b}', &mut seen);
            ""
        });
        seen += sequence;
        rest = &from[sequence.len().max(1)..];
    }
    seen + &lines(rest)
}

/// The colour with which a text begins, such as `ESC [ 31 m`.
fn colour(text: &str) -> Option<&str> {
    let code = text.strip_prefix("\u{1b}[")?;
    let end = code.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    code[end..].starts_with('m').then(|| &text[..text.len() - code.len() + end + 1])
}

fn put(c: char, into: &mut String) {
    // Marks that turn the direction of writing make a command read otherwise than it is pasted.
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if turns || c.is_control() && !matches!(c, '\n' | '\t') {
        let _ = write!(into, "\\u{:04x}", u32::from(c));
    } else {
        into.push(c);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FORGED: &str = "gone\r\u{1b}[2K\u{1b}]52;c;cm0=\u{7}\u{9b}2J\u{7f}\u{202e}";

    #[test]
    fn what_could_steer_a_terminal_is_shown_as_json_writes_it() {
        let seen = r"gone\u000d\u001b[2K\u001b]52;c;cm0=\u0007\u009b2J\u007f\u202e";
        assert_eq!([lines(FORGED), line(FORGED), shown(FORGED)], [seen; 3]);
        let told = format!("{:#}", json!({ "summary": FORGED }));
        assert_eq!(serde_json::from_str::<Value>(&shown(&told)).unwrap()["summary"], FORGED);
    }

    #[test]
    fn lines_stay_where_they_are_meant_and_nowhere_else() {
        assert_eq!(lines("one\r\n\ttwo\n"), "one\n\ttwo\n");
        assert_eq!(line("one\r\n\ttwo"), "one ⏎  two");
        let answer = json!({ "a\nb": ["é\n✔", 1, null, { "at": "2024-05-07T14:42:00Z" }] });
        let seen = json!({ "a ⏎ b": ["é ⏎ ✔", 1, null, { "at": "2024-05-07T14:42:00Z" }] });
        assert_eq!(value(answer), seen);
    }

    #[test]
    fn colours_of_ours_pass_and_those_of_others_do_not() {
        let painted = "\u{1b}[31m✘ No login works.\u{1b}[0m\n\u{1b}[1;94m|\u{1b}[m";
        assert_eq!(shown(painted), painted);
        assert_eq!(line("\u{1b}[32mall well"), r"\u001b[32mall well");
        assert_eq!(shown("\u{1b}[2A\u{1b}[\u{1b}"), r"\u001b[2A\u001b[\u001b");
    }
}
