//! What a wait's expressions see, kept small: a run may wait for hours, and is judged when something has changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::runbook::{Scope, Slot};

#[derive(Debug, Clone)]
pub(super) enum Packed {
    /// As it is.
    Whole(Box<Scope>),
    /// As JSON text, a fraction of the size; the inventory is shared anyway.
    Text(Box<str>, Arc<Value>),
}

impl Packed {
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Whole(scope) => Scope::clone(scope),
            Self::Text(text, inventory) => unpack(text, inventory).unwrap_or_default(),
        }
    }

    /// Packs it, unless its values would not be the same again.
    pub(super) fn pack(&mut self) {
        if let Self::Whole(scope) = self
            && let Some(text) = text(scope)
            && unpack(&text, &scope.inventory).is_some_and(|unpacked| same(&unpacked, scope))
        {
            *self = Self::Text(text.into(), scope.inventory.clone());
        }
    }
}

fn text(scope: &Scope) -> Option<String> {
    let known: Option<serde_json::Map<String, Value>> = scope
        .steps
        .iter()
        .map(|(id, slot)| match slot {
            Slot::Known(value) => Some((id.clone(), Value::clone(value))),
            Slot::Later { .. } => None,
        })
        .collect();
    let item: Vec<_> = scope.item.iter().collect();
    Some(json!([&*scope.inputs, known?, item, &*scope.run]).to_string())
}

fn unpack(text: &str, inventory: &Arc<Value>) -> Option<Scope> {
    type Parts = (Value, BTreeMap<String, Value>, Vec<Value>, Value);
    let (inputs, steps, mut item, run): Parts = serde_json::from_str(text).ok()?;
    let steps = steps.into_iter().map(|(id, value)| (id, Slot::known(value))).collect();
    let (inputs, run) = (inputs.into(), run.into());
    Some(Scope { inputs, steps, item: item.pop(), inventory: inventory.clone(), run, ..Scope::default() })
}

fn same(a: &Scope, b: &Scope) -> bool {
    (&a.inputs, &a.steps, &a.item, &a.run) == (&b.inputs, &b.steps, &b.item, &b.run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_scope_is_the_same_again_or_stays_as_it_is() {
        for number in [json!(0.1), json!(u64::MAX), json!(-1), json!(1.0), json!(123_456_789.123_456_78)] {
            let scope = Scope {
                inputs: Arc::new(json!({ "z": number, "a": null })),
                steps: [("group".to_owned(), Slot::known(json!({ "ids": ["b", "a"] })))].into(),
                item: Some(Value::Null),
                ..Scope::default()
            };
            let mut packed = Packed::Whole(Box::new(scope.clone()));
            packed.pack();
            assert!(same(&packed.scope(), &scope), "{packed:?}");
        }
        let later = Slot::Later { after: "x".into() };
        let scope = Scope { steps: [("x".to_owned(), later)].into(), ..Scope::default() };
        let mut packed = Packed::Whole(Box::new(scope));
        packed.pack();
        assert!(matches!(packed, Packed::Whole(_)));
    }
}
