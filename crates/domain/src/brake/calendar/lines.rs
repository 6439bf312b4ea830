//! Content lines: unfolded, and taken apart into name, parameters and value.

use super::{NotUnderstood, refuse};

/// `NAME;PARAMETER=…:VALUE`
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Number of its first line in the file, from 1.
    pub(super) number: usize,
    /// In capitals.
    pub(super) name: String,
    parameters: Vec<(String, String)>,
    /// As it stands.
    pub(super) value: String,
}

impl Line {
    pub(super) fn is(&self, name: &str, value: &str) -> bool {
        self.name == name && self.value.trim().eq_ignore_ascii_case(value)
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value as text: without its escapes.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut chars = self.value.chars();
        while let Some(c) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some('n' | 'N') => text.push(' '),
                    Some(other) => text.push(other),
                    None => {}
                },
                c => text.push(c),
            }
        }
        text.trim().to_owned()
    }
}

/// The lines of a file. A line that begins with a blank goes on with the one before it.
pub(super) fn unfold(text: &str) -> Result<Vec<Line>, NotUnderstood> {
    let mut whole: Vec<(usize, String)> = Vec::new();
    for (n, raw) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        match (raw.strip_prefix([' ', '\t']), whole.last_mut()) {
            (Some(more), Some((_, line))) => line.push_str(more),
            _ if raw.trim().is_empty() => {}
            _ => whole.push((n + 1, raw.trim_end_matches('\r').to_owned())),
        }
    }
    whole.into_iter().map(|(number, line)| part(number, &line)).collect()
}

fn part(number: usize, line: &str) -> Result<Line, NotUnderstood> {
    // A colon or semicolon inside quotes belongs to a parameter's value.
    let mut quoted = false;
    let mut cuts = Vec::new();
    let mut colon = None;
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ';' if !quoted => cuts.push(at),
            ':' if !quoted => {
                colon = Some(at);
                break;
            }
            _ => {}
        }
    }
    let Some(colon) = colon else {
        return refuse(number, "this is no line of a calendar: a name, `:` and a value are expected");
    };
    cuts.push(colon);
    let name = line[..cuts[0]].trim().to_ascii_uppercase();
    let parameters = cuts
        .windows(2)
        .filter_map(|pair| line[pair[0] + 1..pair[1]].split_once('='))
        .map(|(key, value)| (key.trim().to_ascii_uppercase(), value.trim().trim_matches('"').to_owned()))
        .collect();
    Ok(Line { number, name, parameters, value: line[colon + 1..].to_owned() })
}
