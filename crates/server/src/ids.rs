//! What people type of an id: its beginning or its end, among the newest of its kind.

use uuid::Uuid;

/// Among so many of the newest it is looked for: what is older is named in full.
pub(crate) const AMONG: i64 = 1000;

/// Does it begin or end like this?
pub(crate) fn is_like(id: Uuid, part: &str) -> bool {
    let (id, part) = (id.to_string(), part.trim().to_lowercase());
    id.starts_with(&part) || id.ends_with(&part)
}

/// The only one that begins or ends like this; nobody in particular is meant by a few characters.
pub(crate) fn one_of(ids: impl Iterator<Item = Uuid>, word: &str) -> Option<Uuid> {
    let mut found = ids.filter(|id| word.trim().len() >= 4 && is_like(*id, word));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_known_by_either_end_when_only_one_has_it() {
        let ids = ["018f0000-0000-7000-8000-00000000aaaa", "018f0000-0000-7000-8000-00000000bbbb"];
        let ids = ids.map(|id| id.parse::<Uuid>().unwrap());
        assert_eq!(one_of(ids.into_iter(), "0000AAAA"), Some(ids[0]));
        assert_eq!(one_of(ids.into_iter(), "018f0000"), None, "both begin like this");
        for short in ["aaa", "a   ", "    "] {
            assert_eq!(one_of(ids.into_iter().take(1), short), None, "too short to mean one");
        }
    }
}
