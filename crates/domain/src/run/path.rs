//! How a step of a run is known: by the ids its author gave, never by position.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `ready`, `prove[i-0abc]`, `remove[i-0abc].drain`, `both[readers].resize` (a branch), `heal.launch` (in a child),
/// `undo:quiet`.
///
/// Its text is shared: a path is handed on with every entry, every piece of work and every report on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, schemars::JsonSchema)]
#[serde(transparent)]
pub struct StepPath(Arc<str>);

const UNDO: &str = "undo:";
const VERIFY: &str = "verify";

impl StepPath {
    /// A step at the top.
    pub fn top(id: &str) -> Self {
        Self(id.into())
    }

    /// The check after the last step.
    pub fn verify() -> Self {
        Self(VERIFY.into())
    }

    /// Is it the check after the last step?
    pub(super) fn is_verify(&self) -> bool {
        &*self.0 == VERIFY
    }

    /// One item of this `each`.
    #[must_use]
    pub fn item(&self, key: &str) -> Self {
        self.item_text(key, &mut String::new()).into()
    }

    /// A step inside this item.
    #[must_use]
    pub fn child(&self, id: &str) -> Self {
        Self::text_in(Some(&self.0), id, &mut String::new()).into()
    }

    /// What [`Self::item`] is as text, written over `text`: enough to look a step up.
    pub(super) fn item_text<'t>(&self, key: &str, text: &'t mut String) -> &'t str {
        write_over(text, &[&self.0, "[", key, "]"])
    }

    /// The same of [`Self::child`], or of [`Self::top`] where there is nothing around.
    pub(super) fn text_in<'t>(around: Option<&str>, id: &'t str, text: &'t mut String) -> &'t str {
        around.map_or(id, |around| write_over(text, &[around, ".", id]))
    }

    /// The step that takes this one back.
    #[must_use]
    pub fn undo(&self) -> Self {
        write_over(&mut String::new(), &[UNDO, &self.0]).into()
    }

    /// Is it one that takes another back?
    pub fn is_undo(&self) -> bool {
        self.0.starts_with(UNDO)
    }

    /// The step that this one takes back; itself, if it takes none back.
    #[must_use]
    pub fn taken_back(&self) -> Self {
        self.0.strip_prefix(UNDO).map_or_else(|| self.clone(), Self::from)
    }

    /// Is it inside that step?
    pub fn is_inside(&self, around: &Self) -> bool {
        self.0.strip_prefix(&*around.0).is_some_and(|rest| rest.starts_with(['[', '.']))
    }

    /// The steps around it, and its items and branches on the way: the outermost first.
    pub fn around(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices(['.', '[']).map(|(at, _)| &self.0[..at])
    }

    /// The same for every item of an `each`, in every run: `remove[].drain`. What durations are kept by.
    pub fn form(&self) -> String {
        let mut form = String::with_capacity(self.0.len());
        let mut rest = self.as_str();
        while let Some((before, after)) = rest.split_once('[') {
            form.push_str(before);
            form.push_str("[]");
            rest = after.split_once(']').map_or("", |(_, after)| after);
        }
        form + rest
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for StepPath {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// Paths sort, and are the same, as their texts are.
impl Borrow<str> for StepPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for StepPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StepPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn write_over<'t>(text: &'t mut String, parts: &[&str]) -> &'t str {
    text.clear();
    text.reserve(parts.iter().map(|part| part.len()).sum());
    text.extend(parts.iter().copied());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_forgets_which_item_and_inside_is_not_a_prefix() {
        assert_eq!(StepPath::from("remove[i-0abc].both[x].drain").form(), "remove[].both[].drain");
        assert_eq!(StepPath::from("ready").form(), "ready");
        let drain = StepPath::from("remove[i-0].both[x].drain");
        let around: Vec<_> = drain.around().collect();
        assert_eq!(around, ["remove", "remove[i-0]", "remove[i-0].both", "remove[i-0].both[x]"]);
        let heal = StepPath::top("heal");
        assert!(StepPath::from("heal.quiet").is_inside(&heal) && StepPath::from("heal[a]").is_inside(&heal));
        assert!(!StepPath::from("healed.quiet").is_inside(&heal) && !heal.is_inside(&heal));
    }
}
