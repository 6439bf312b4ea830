//! What inputs have in common: a target is never empty, and an empty set of targets means refuse.

use domain::action::UndoCall;
use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// A name or id that is not empty.
pub(crate) fn name<'de, D: Deserializer<'de>>(input: D) -> Result<String, D::Error> {
    let name = String::deserialize(input)?;
    if name.trim().is_empty() {
        return Err(D::Error::custom("a name is empty; an empty target is refused, it never means `all`"));
    }
    Ok(name)
}

/// A list of targets that is not empty, and holds no empty name.
pub(crate) fn names<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<String>, D::Error> {
    let names = targets(input)?;
    if names.iter().any(|name: &String| name.trim().is_empty()) {
        return Err(D::Error::custom(
            "the list of targets holds an empty name; an empty target is refused, it never means `all`",
        ));
    }
    Ok(names)
}

pub(crate) const EMPTY: &str = "the list of targets is empty; an empty set is refused, it never means `all`";

/// A list of targets that is not empty.
pub(crate) fn targets<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    let targets = Vec::deserialize(input)?;
    if targets.is_empty() {
        return Err(D::Error::custom(EMPTY));
    }
    Ok(targets)
}

/// An action with its input, for taking something back.
pub(crate) fn call<T: Serialize>(action: &str, input: &T) -> Option<UndoCall> {
    // Inputs are plain structs of strings and numbers: they always become JSON.
    Some(UndoCall::new(action, serde_json::to_value(input).ok()?))
}
