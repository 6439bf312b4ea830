//! How numbers, times and values are said, wherever people read them: on pages, in Slack, in a terminal.

use std::fmt;

use serde_json::Value;

/// `1 call`, `2 calls`, `3 entries`, `4 branches`.
pub fn many(n: impl fmt::Display, one: &str) -> String {
    let n = n.to_string();
    if n == "1" {
        return format!("1 {one}");
    }
    match one.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{n} {stem}ies"),
        _ if one.ends_with("ch") => format!("{n} {one}es"),
        _ => format!("{n} {one}s"),
    }
}

/// `4 s`, `2 m 14 s`, `3 h 05 m`, `2 d 3 h`.
pub fn span(seconds: i64) -> String {
    let s = seconds.max(0);
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} m {:02} s", s / 60, s % 60),
        3600..86400 => format!("{} h {:02} m", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86400, s % 86400 / 3600),
    }
}

/// At most so many characters, the last of which says that there were more.
pub fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A value in a few words, for people: ids of things rather than things, counts rather than long lists.
pub fn brief(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::Number(n) => n.to_string(),
        Value::String(text) => shorten(text, 160),
        Value::Array(items) if items.is_empty() => "none".into(),
        Value::Array(items) => {
            let names: Vec<_> = items.iter().take(6).map(name).collect();
            let rest = items.len().saturating_sub(names.len());
            let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
            let count = if items.len() > 2 { format!("{}: ", items.len()) } else { String::new() };
            format!("{count}{}{more}", names.join(", "))
        }
        Value::Object(_) => name(value),
    }
}

fn name(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let named = ["id", "name", "key"].iter().find_map(|key| fields.get(*key).and_then(Value::as_str));
            // What has no name of its own is told by its words: `direct shard-b`.
            let words = || fields.values().filter_map(Value::as_str).take(3).collect::<Vec<_>>().join(" ");
            let told = named.map(str::to_owned).or_else(|| Some(words()).filter(|words| !words.is_empty()));
            told.map_or_else(|| shorten(&value.to_string(), 80), |told| shorten(&told, 80))
        }
        Value::String(text) => shorten(text, 80),
        other => shorten(&other.to_string(), 80),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn spans_read_like_a_watch() {
        let said = [-1, 4, 134, 11_100, 183_600].map(span);
        assert_eq!(said, ["0 s", "4 s", "2 m 14 s", "3 h 05 m", "2 d 3 h"]);
    }

    #[test]
    fn what_is_shortened_says_so_and_is_no_longer_than_it_may_be() {
        assert_eq!(["", "äöü", "äöüß"].map(|text| shorten(text, 3)), ["", "äöü", "äö…"]);
    }

    #[test]
    fn values_are_told_by_name_and_count() {
        assert_eq!(brief(&json!([{"id": "i-1", "az": "a"}, {"id": "i-2"}])), "i-1, i-2");
        assert_eq!(brief(&json!([1, 2, 3, 4, 5, 6, 7, 8])), "8: 1, 2, 3, 4, 5, 6 and 2 more");
        assert_eq!(brief(&json!([])), "none");
        assert_eq!(brief(&json!([{"host": "direct", "ok": true, "cluster": "shard-b"}])), "direct shard-b");
    }

    #[test]
    fn what_is_counted_stands_in_the_right_number() {
        let said = ["mistake", "entry", "day", "branch"].map(|one| [0, 1, 2].map(|n| many(n, one)));
        assert_eq!(
            said,
            [
                ["0 mistakes", "1 mistake", "2 mistakes"],
                ["0 entries", "1 entry", "2 entries"],
                ["0 days", "1 day", "2 days"],
                ["0 branches", "1 branch", "2 branches"],
            ]
        );
    }
}
