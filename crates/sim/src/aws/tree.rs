//! The content of an answer, apart from how it is written: for a service that speaks more than one protocol.

use chrono::{DateTime, Utc};
use ciborium::Value;
use serde_json::Value as Json;

use super::time;
use super::xml::Xml;

/// A value, as the service's model has it.
pub(super) enum Tree {
    Text(String),
    Whole(i64),
    Real(f64),
    Flag(bool),
    Time(DateTime<Utc>),
    List(Vec<Tree>),
    Structure(Members),
}

/// The members of a structure, by name.
pub(super) type Members = Vec<(&'static str, Tree)>;

impl Tree {
    pub(super) fn text(value: impl Into<String>) -> Self {
        Self::Text(value.into())
    }

    /// As an element of that name: the query protocol's way.
    fn xml(&self, name: &str, x: &mut Xml) {
        match self {
            Self::Text(text) => x.text(name, text),
            Self::Whole(number) => x.text(name, number),
            Self::Real(number) => x.text(name, number),
            Self::Flag(flag) => x.text(name, flag),
            Self::Time(at) => x.text(name, time(*at)),
            Self::List(items) => x.node(name, |x| {
                for item in items {
                    item.xml("member", x);
                }
            }),
            Self::Structure(members) => x.node(name, |x| elements(members, x)),
        };
    }

    /// As CBOR: RPC v2's way, with times as seconds since the epoch under tag 1.
    fn cbor(&self) -> Value {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Whole(number) => (*number).into(),
            Self::Real(number) => (*number).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::Time(at) => Value::Tag(1, Box::new(Value::Float(at.timestamp_millis() as f64 / 1000.0))),
            Self::List(items) => Value::Array(items.iter().map(Self::cbor).collect()),
            Self::Structure(members) => cbor(members),
        }
    }

    /// As JSON 1.0 has it, with times as seconds since the epoch.
    fn json(&self) -> Json {
        match self {
            Self::Text(text) => text.as_str().into(),
            Self::Whole(number) => (*number).into(),
            Self::Real(number) => (*number).into(),
            Self::Flag(flag) => (*flag).into(),
            Self::Time(at) => (at.timestamp_millis() as f64 / 1000.0).into(),
            Self::List(items) => items.iter().map(Self::json).collect(),
            Self::Structure(members) => json(members),
        }
    }
}

/// The members as elements.
pub(super) fn elements(members: &Members, x: &mut Xml) {
    for (name, value) in members {
        value.xml(name, x);
    }
}

/// The members as a JSON object.
pub(super) fn json(members: &Members) -> Json {
    members.iter().map(|(name, value)| ((*name).to_owned(), value.json())).collect()
}

/// The members as a CBOR map.
pub(super) fn cbor(members: &Members) -> Value {
    Value::Map(members.iter().map(|(name, value)| ((*name).into(), value.cbor())).collect())
}
