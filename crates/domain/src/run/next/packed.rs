//! What a wait's expressions see, kept small: a run may wait for hours, and is judged when something has changed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::Arc;

use flate2::Compression;
use flate2::bufread::DeflateDecoder;
use flate2::write::DeflateEncoder;
use serde_json::{Value, json};

use crate::runbook::{Scope, Slot};

#[derive(Debug, Clone)]
pub(super) enum Packed {
    /// As it is.
    Whole(Box<Scope>),
    /// As deflated JSON: what is looked at repeats itself (twenty hosts have the same six keys). The inventory is shared anyway.
    Deflated(Box<[u8]>, Arc<Value>),
}

impl Packed {
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Whole(scope) => Scope::clone(scope),
            Self::Deflated(bytes, inventory) => unpack(bytes, inventory).unwrap_or_default(),
        }
    }

    /// Packs it, unless its values would not be the same again.
    pub(super) fn pack(&mut self) {
        if let Self::Whole(scope) = self
            && let Some(bytes) = deflated(scope)
            && unpack(&bytes, &scope.inventory).is_some_and(|unpacked| same(&unpacked, scope))
        {
            *self = Self::Deflated(bytes.into(), scope.inventory.clone());
        }
    }
}

fn deflated(scope: &Scope) -> Option<Vec<u8>> {
    let known: Option<serde_json::Map<String, Value>> = scope
        .steps
        .iter()
        .map(|(id, slot)| match slot {
            Slot::Known(value) => Some((id.clone(), Value::clone(value))),
            Slot::Later { .. } => None,
        })
        .collect();
    let item: Vec<_> = scope.item.iter().collect();
    let text = json!([&*scope.inputs, known?, item, &*scope.run]).to_string();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).ok()?;
    encoder.finish().ok()
}

fn unpack(bytes: &[u8], inventory: &Arc<Value>) -> Option<Scope> {
    type Parts = (Value, BTreeMap<String, Value>, Vec<Value>, Value);
    let mut text = Vec::new();
    DeflateDecoder::new(bytes).read_to_end(&mut text).ok()?;
    let (inputs, steps, mut item, run): Parts = serde_json::from_slice(&text).ok()?;
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
        let host = |n| json!({ "id": format!("i-0123456789abc{n:04}"), "az": "eu-west-1a", "healthy": true, "protected": false });
        let group = json!({ "in_service": (0..20).map(host).collect::<Vec<_>>() });
        let scope =
            Scope { steps: [("group".to_owned(), Slot::known(group.clone()))].into(), ..Scope::default() };
        let mut packed = Packed::Whole(Box::new(scope.clone()));
        packed.pack();
        assert!(same(&packed.scope(), &scope));
        let Packed::Deflated(bytes, _) = packed else { panic!("it stays as it is") };
        assert!(bytes.len() * 4 < group.to_string().len(), "{} bytes", bytes.len());

        let later = Slot::Later { after: "x".into() };
        let scope = Scope { steps: [("x".to_owned(), later)].into(), ..Scope::default() };
        let mut packed = Packed::Whole(Box::new(scope));
        packed.pack();
        assert!(matches!(packed, Packed::Whole(_)));
    }
}
