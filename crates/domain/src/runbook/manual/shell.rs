//! Words of a shell: values quoted, and values that are worked out when the line is run.

/// Quotes where a shell would read more than the value.
pub(super) fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

/// A filter as one word.
pub(super) fn filter(filter: &str) -> String {
    format!("'{}'", filter.replace('\'', r"'\''"))
}

/// The value of a filter as one word.
pub(super) fn now(text: &str) -> String {
    format!("\"$(now {})\"", filter(text))
}

/// The items of a filter's list as so many words. They are ids: a shell reads nothing else into them.
pub(super) fn now_each(text: &str) -> String {
    format!("$(each {})", filter(text))
}

/// Text within double quotes.
pub(super) fn within_quotes(text: &str) -> String {
    let mut quoted = String::new();
    for c in text.chars() {
        if matches!(c, '\\' | '"' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_break_out() {
        assert_eq!(quote("i-0abc"), "i-0abc");
        assert_eq!(quote("it's; rm -rf $HOME"), r"'it'\''s; rm -rf $HOME'");
        assert_eq!(now("$steps.a | contains(\"it's\")"), r#""$(now '$steps.a | contains("it'\''s")')""#);
        assert_eq!(within_quotes("a \"b\" `c` $d \\"), r#"a \"b\" \`c\` \$d \\"#);
    }
}
