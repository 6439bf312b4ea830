//! How a step of a run is known: by the ids its author gave, never by position.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `ready`, `prove[i-0abc]`, `remove[i-0abc].drain`, `both[readers].resize` (a branch), `heal.launch` (in a child),
/// `undo:quiet`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct StepPath(String);

const UNDO: &str = "undo:";

impl StepPath {
    /// A step at the top.
    pub fn top(id: &str) -> Self {
        Self(id.to_owned())
    }

    /// The check after the last step.
    pub fn verify() -> Self {
        Self("verify".to_owned())
    }

    /// One item of this `each`.
    #[must_use]
    pub fn item(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// A step inside this item.
    #[must_use]
    pub fn child(&self, id: &str) -> Self {
        Self(format!("{}.{id}", self.0))
    }

    /// The step that takes this one back.
    #[must_use]
    pub fn undo(&self) -> Self {
        Self(format!("{UNDO}{}", self.0))
    }

    /// Is it one that takes another back?
    pub fn is_undo(&self) -> bool {
        self.0.starts_with(UNDO)
    }

    /// The step that this one takes back; itself, if it takes none back.
    #[must_use]
    pub fn taken_back(&self) -> Self {
        Self(self.0.strip_prefix(UNDO).unwrap_or(&self.0).to_owned())
    }

    /// Is it inside that step?
    pub fn is_inside(&self, around: &Self) -> bool {
        self.0.strip_prefix(&around.0).is_some_and(|rest| rest.starts_with(['[', '.']))
    }

    /// The steps around it, and its items and branches on the way: the outermost first.
    pub fn around(&self) -> impl Iterator<Item = Self> {
        self.0.match_indices(['.', '[']).map(|(at, _)| Self(self.0[..at].to_owned()))
    }

    /// The same for every item of an `each`, in every run: `remove[].drain`. What durations are kept by.
    pub fn form(&self) -> String {
        let mut form = String::with_capacity(self.0.len());
        let mut rest = self.0.as_str();
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
        Self(text.to_owned())
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_forgets_which_item_and_inside_is_not_a_prefix() {
        assert_eq!(StepPath::from("remove[i-0abc].both[x].drain").form(), "remove[].both[].drain");
        assert_eq!(StepPath::from("ready").form(), "ready");
        let around: Vec<_> = StepPath::from("remove[i-0].both[x].drain").around().map(|p| p.0).collect();
        assert_eq!(around, ["remove", "remove[i-0]", "remove[i-0].both", "remove[i-0].both[x]"]);
        let heal = StepPath::top("heal");
        assert!(StepPath::from("heal.quiet").is_inside(&heal) && StepPath::from("heal[a]").is_inside(&heal));
        assert!(!StepPath::from("healed.quiet").is_inside(&heal) && !heal.is_inside(&heal));
    }
}
