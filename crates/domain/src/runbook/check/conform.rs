//! Does what a runbook hands to an action fit what the action takes?

use serde_json::Value;

use super::infer;
use super::names::Names;
use super::shape::{Record, Shape};
use crate::runbook::diagnostic::Diagnostic;
use crate::runbook::scope::listed;
use crate::runbook::suggest::suggest;
use crate::runbook::{Template, template};

/// Compares a template with the shape of an input. `whose` is how messages call it.
pub(super) fn conform(
    given: &Template,
    want: &Shape,
    whose: &str,
    names: &Names,
    mistakes: &mut Vec<Diagnostic>,
) {
    match (&given.node, want) {
        (template::Node::Record(fields), Shape::Record(record)) => {
            for (key, pos, value) in fields {
                match record.fields.iter().find(|f| f.name == *key) {
                    Some(field) => conform(value, &field.shape, key, names, mistakes),
                    None => {
                        infer::template(value, names, mistakes);
                        if !record.open {
                            mistakes.push(Diagnostic::new(
                                *pos,
                                format!("`{whose}` takes no `{key}`"),
                                takes(key, record),
                            ));
                        }
                    }
                }
            }
            for field in
                record.fields.iter().filter(|f| f.required && !fields.iter().any(|(key, ..)| *key == f.name))
            {
                let what = format!("`{whose}` needs `{}`", field.name);
                mistakes.push(Diagnostic::new(
                    given.pos,
                    what,
                    format!("add `{}: …` ({})", field.name, field.shape),
                ));
            }
        }
        (template::Node::List(items), Shape::List(_)) if items.is_empty() => mistakes.push(Diagnostic::new(
            given.pos,
            format!("`{whose}` is an empty list"),
            "name what is meant; an empty list of targets never means \"all\"",
        )),
        (template::Node::List(items), Shape::List(of)) => {
            items.iter().for_each(|item| conform(item, of, whose, names, mistakes));
        }
        (template::Node::Literal(value), want) => {
            if let Err((what, remedy)) = literal(value, given.as_written(), want, whose) {
                mistakes.push(Diagnostic::new(given.pos, what, remedy));
            }
        }
        (_, want) => {
            let have = infer::template(given, names, mistakes);
            if let Err(why) = fits(&have, want) {
                let what = format!("`{whose}` takes {want}, and this is {have}{why}");
                mistakes.push(Diagnostic::new(given.pos, what, convert(&have, want)));
            }
        }
    }
}

fn takes(key: &str, record: &Record) -> String {
    let names = record.fields.iter().map(|f| &f.name);
    suggest(key, names.clone().map(String::as_str)).unwrap_or_else(|| format!("it takes: {}", listed(names)))
}

/// A literal is judged exactly.
fn literal(value: &Value, written: Option<&str>, want: &Shape, whose: &str) -> Result<(), (String, String)> {
    let have = Shape::of_value(value);
    if let (Shape::Word(words), Value::String(text)) = (want, value) {
        if words.contains(text) {
            return Ok(());
        }
        let remedy = suggest(text, words.iter().map(String::as_str))
            .unwrap_or_else(|| format!("write one of {}", listed(words.iter())));
        return Err((format!("`{whose}` is one of {}, and not `{text}`", words.join(", ")), remedy));
    }
    fits(&have, want).map_err(|why| {
        let remedy = match (value, want) {
            (Value::Number(_) | Value::Bool(_), Shape::Text) => quoted(value, written),
            (Value::String(text), Shape::Int | Shape::Number | Shape::Bool)
                if text.parse::<f64>().is_ok() || text == "true" || text == "false" =>
            {
                format!("write it without quotes: `{text}`")
            }
            (_, Shape::List(_)) => "put it in brackets: `[…]`".to_owned(),
            _ => format!("write {want}"),
        };
        (format!("`{whose}` takes {want}, and this is {have}{why}"), remedy)
    })
}

/// As the text that its author meant: a number has lost its zeros.
pub(super) fn quoted(value: &Value, written: Option<&str>) -> String {
    format!("put it in quotes: `\"{}\"`", written.map_or_else(|| value.to_string(), str::to_owned))
}

/// Can this be handed in where that is wanted? If surely not, a clause that says why.
fn fits(have: &Shape, want: &Shape) -> Result<(), String> {
    match (have, want) {
        (Shape::Any | Shape::Null, _) | (_, Shape::Any | Shape::Null) => Ok(()),
        (Shape::Int, Shape::Number) => Ok(()),
        (Shape::Word(have), Shape::Word(want)) if have.iter().any(|word| want.contains(word)) => Ok(()),
        (Shape::Text, Shape::Word(_)) | (Shape::Word(_), Shape::Text) => Ok(()),
        (Shape::List(have), Shape::List(want)) => fits(have, want),
        (Shape::Record(have), Shape::Record(want)) => {
            for field in &want.fields {
                match have.fields.iter().find(|f| f.name == field.name) {
                    Some(given) if fits(&given.shape, &field.shape).is_err() => {
                        return Err(format!(" whose `{}` is {}", field.name, given.shape));
                    }
                    None if field.required && !have.open => return Err(format!(" without `{}`", field.name)),
                    _ => {}
                }
            }
            match have.fields.iter().find(|f| want.strict && !want.fields.iter().any(|w| w.name == f.name)) {
                Some(extra) => Err(format!(" with `{}`, which it does not take", extra.name)),
                None => Ok(()),
            }
        }
        (have, want) if have == want => Ok(()),
        _ => Err(String::new()),
    }
}

fn convert(have: &Shape, want: &Shape) -> String {
    match (have, want) {
        (Shape::Number, Shape::Int) => "make it whole: `int(…)`".into(),
        (Shape::Int | Shape::Number, Shape::Text) => "make a text of it: `string(…)`".into(),
        (Shape::List(_), Shape::Record(_) | Shape::Text | Shape::Word(_) | Shape::Int) => {
            "take one of its items with `[0]`, or do it for each of them with `each`".into()
        }
        (Shape::Record(record), Shape::Text) if record.fields.iter().any(|f| f.name == "id") => {
            "name its `.id`".into()
        }
        (Shape::List(of), Shape::List(_)) if matches!(**of, Shape::Record(_)) => {
            "take one field of each item: `.map(x, x.id)`".into()
        }
        (Shape::Text | Shape::Word(_), Shape::Int) => {
            "make a number of it: `int(…)`; a string that is one whole `${…}` keeps its type".into()
        }
        (_, Shape::List(_)) => "put it in brackets: `[…]`".into(),
        _ => format!("give {want}"),
    }
}
