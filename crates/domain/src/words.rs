//! Numbers with the noun that they count, for everything that is told to people.

use std::fmt;

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

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_counted_stands_in_the_right_number() {
        let said = ["mistake", "entry", "day", "branch"].map(|one| [0, 1, 2].map(|n| super::many(n, one)));
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
