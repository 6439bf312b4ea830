//! Reading one value of a kind, or noting what is wrong with it.

use std::time::Duration;

use serde_json::{Map, Value};

use super::Decoder;
use crate::runbook::diagnostic::{Diagnostic, Place, Pos};
use crate::runbook::expr::compile::Flaw;
use crate::runbook::suggest::suggest;
use crate::runbook::template;
use crate::runbook::yaml::{Data, Entry, Node, Scalar};
use crate::runbook::{Expr, Template};

/// Longer waits are mistakes: a run of a week is not an incident.
const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 3600);

/// The fields of a record.
pub(super) struct Fields<'n> {
    /// Where the record begins.
    pub(super) pos: Pos,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// The field of that name.
    pub(super) fn get(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|e| e.key == key)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'n Entry> {
        self.entries.iter()
    }
}

impl Decoder {
    /// A record; keys that are not among the known ones are noted.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Option<Fields<'n>> {
        self.fields_and(node, what, known, &[])
    }

    /// The same, where keys that are known no more are left to others to speak of.
    pub(super) fn fields_and<'n>(
        &mut self,
        node: &'n Node,
        what: &str,
        known: &[&str],
        once: &[&str],
    ) -> Option<Fields<'n>> {
        let Data::Record(entries) = &node.data else {
            self.wrong(
                node.pos,
                format!("{what} must be a record, and this is {}", kind(node)),
                format!("write `key: value` lines with {}", known.join(", ")),
            );
            return None;
        };
        let unknown = |e: &&Entry| !known.contains(&e.key.as_str()) && !once.contains(&e.key.as_str());
        for entry in entries.iter().filter(unknown) {
            let remedy = suggest(&entry.key, known.iter().copied())
                .unwrap_or_else(|| format!("it has {}", known.join(", ")));
            self.wrong(entry.pos, format!("{what} has no key `{}`", entry.key), remedy);
        }
        Some(Fields { pos: node.pos, entries })
    }

    /// A field that must be there.
    pub(super) fn required<'n>(&mut self, fields: &Fields<'n>, key: &str, write: &str) -> Option<&'n Entry> {
        let entry = fields.get(key);
        if entry.is_none() {
            self.wrong(fields.pos, format!("`{key}` is missing"), format!("add {write}"));
        }
        entry
    }

    fn scalar<'n>(&mut self, node: &'n Node, want: &str) -> Option<&'n Scalar> {
        match &node.data {
            Data::Scalar(scalar) if !scalar.is_null() => Some(scalar),
            _ => {
                self.wrong(
                    node.pos,
                    format!("this must be {want}, and it is {}", kind(node)),
                    format!("write {want}"),
                );
                None
            }
        }
    }

    /// Text without expressions.
    pub(super) fn text(&mut self, node: &Node) -> Option<String> {
        let scalar = self.scalar(node, "text")?;
        if scalar.text.trim().is_empty() {
            self.wrong(node.pos, "the text is empty", "write something, or leave the key out");
            return None;
        }
        if let Some(at) = scalar.text.find("${") {
            let offset = scalar.text[..at].chars().count();
            self.wrong(
                scalar.place.pos(offset, 2),
                "this text is shown as it is, without `${ }`",
                "write it without an expression",
            );
            return None;
        }
        Some(scalar.text.clone())
    }

    /// `true` or `false`.
    pub(super) fn bool(&mut self, node: &Node) -> Option<bool> {
        let scalar = self.scalar(node, "true or false")?;
        let value = scalar.bool();
        if value.is_none() {
            self.wrong(
                node.pos,
                format!("`{}` is not true or false", scalar.text),
                "write `true` or `false`, unquoted",
            );
        }
        value
    }

    /// A whole number from 1.
    pub(super) fn count(&mut self, node: &Node) -> Option<u32> {
        let scalar = self.scalar(node, "a whole number")?;
        let value = scalar.text.parse().ok().filter(|n| *n > 0);
        if value.is_none() {
            self.wrong(
                node.pos,
                format!("`{}` is not a whole number from 1", scalar.text),
                "write a number such as `3`",
            );
        }
        value
    }

    /// A duration longer than nothing.
    pub(super) fn duration(&mut self, node: &Node) -> Option<Duration> {
        let scalar = self.scalar(node, "a duration such as `90s` or `3m`")?;
        match duration(&scalar.text) {
            Ok(duration) => Some(duration),
            Err(what) => {
                self.wrong(node.pos, what, duration_remedy(&scalar.text));
                None
            }
        }
    }

    /// A duration that is kept in whole seconds: less than one would be none, and what it limits without a limit.
    pub(super) fn seconds(&mut self, node: &Node) -> Option<Duration> {
        let duration = self.duration(node)?;
        if duration.subsec_nanos() != 0 {
            let what = "this must be whole seconds, and it is more or less";
            self.wrong(node.pos, what, "write a duration such as `1s`, `90s` or `3m`");
            return None;
        }
        Some(duration)
    }

    /// One of these words.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, words: &[(&str, T)]) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let choice = match names.as_slice() {
            [only] => format!("`{only}`"),
            several => format!("one of {}", several.join(", ")),
        };
        let scalar = self.scalar(node, &choice)?;
        let found = words.iter().find(|(word, _)| *word == scalar.text).map(|(_, value)| *value);
        if found.is_none() {
            let remedy =
                suggest(&scalar.text, names.into_iter()).unwrap_or_else(|| format!("write {choice}"));
            self.wrong(node.pos, format!("`{}` is not {choice}", scalar.text), remedy);
        }
        found
    }

    /// An expression, bare.
    pub(super) fn expr(&mut self, node: &Node) -> Option<Expr> {
        let scalar = self.scalar(node, "an expression")?;
        let trimmed = scalar.text.trim();
        if let Some(inner) = trimmed.strip_prefix("${").and_then(|t| t.strip_suffix('}')) {
            let what = "an expression stands here already, so it needs no `${ }`";
            self.wrong(node.pos, what, format!("write `{}`", inner.trim()));
            return None;
        }
        match Expr::at(&scalar.text, scalar.place.clone()) {
            Ok(expr) => Some(expr),
            Err(flaw) => {
                self.flaw(flaw, &scalar.place);
                None
            }
        }
    }

    /// Any value, with expressions in its strings.
    pub(super) fn template(&mut self, node: &Node) -> Option<Template> {
        let parts = match &node.data {
            Data::Scalar(scalar) => {
                return match scalar.json() {
                    Value::String(text) => match Template::text(&text, node.pos, &scalar.place) {
                        Ok(template) => Some(template),
                        Err(flaws) => {
                            flaws.into_iter().for_each(|flaw| self.flaw(flaw, &scalar.place));
                            None
                        }
                    },
                    value => Some(Template::written(node.pos, value, &scalar.text)),
                };
            }
            Data::List(items) => {
                let read: Vec<_> = items.iter().map(|item| self.template(item)).collect();
                template::Node::List(read.into_iter().collect::<Option<_>>()?)
            }
            Data::Record(entries) => {
                let read: Vec<_> =
                    entries.iter().map(|e| Some((e.key.clone(), e.pos, self.template(&e.value)?))).collect();
                template::Node::Record(read.into_iter().collect::<Option<_>>()?)
            }
        };
        Some(Template::new(node.pos, parts))
    }

    fn flaw(&mut self, flaw: Flaw, place: &Place) {
        self.mistakes.push(Diagnostic::new(place.pos(flaw.offset, flaw.len), flaw.what, flaw.remedy));
    }
}

/// What a node is, with its article.
pub(super) fn kind(node: &Node) -> &'static str {
    match &node.data {
        Data::Scalar(scalar) => match scalar.json() {
            Value::Null => "empty",
            value => crate::runbook::scope::kind(&value),
        },
        Data::List(_) => "a list",
        Data::Record(_) => "a record",
    }
}

/// A node as JSON, for literal defaults.
pub(super) fn json(node: &Node) -> Value {
    match &node.data {
        Data::Scalar(scalar) => scalar.json(),
        Data::List(items) => Value::Array(items.iter().map(json).collect()),
        Data::Record(entries) => {
            Value::Object(entries.iter().map(|e| (e.key.clone(), json(&e.value))).collect::<Map<_, _>>())
        }
    }
}

/// A duration as people write it: longer than nothing, at most a week.
fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|_| format!("`{text}` is not a duration"))?;
    if duration.is_zero() {
        Err("a duration of nothing".into())
    } else if duration > MAX_DURATION {
        Err(format!("`{text}` is longer than a week"))
    } else {
        Ok(duration)
    }
}

fn duration_remedy(text: &str) -> String {
    if text.parse::<u64>().is_ok_and(|n| n > 0) {
        format!("give the unit: `{text}s` or `{text}m`")
    } else {
        "write a duration such as `5s`, `90s`, `3m` or `1h 30m`".into()
    }
}

/// May it stand after a dot in an expression, and be told from everything else?
pub(super) fn identifier(name: &str) -> Result<(), String> {
    const RESERVED: &[&str] = &[
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "namespace",
        "null",
        "package",
        "return",
        "true",
        "var",
        "void",
        "while",
    ];
    let sound = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= 60;
    if !sound {
        let fixed: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let example = if fixed.starts_with(|c: char| c.is_ascii_alphabetic()) && fixed.len() <= 60 {
            format!(", such as `{fixed}`")
        } else {
            String::new()
        };
        return Err(format!(
            "use at most 60 letters, digits and `_`, a letter first{example}: expressions name it"
        ));
    }
    if RESERVED.contains(&name) {
        return Err(format!("`{name}` is a reserved word of the expression language; take another"));
    }
    Ok(())
}
