//! The protocols that carry structures instead of flat parameters: RPC v2 in CBOR, which the newer SDKs speak to CloudWatch,
//! and JSON 1.0, which awscli does.
//!
//! A request is flattened into the parameters of the query protocol, so that an operation is written once. An error says its
//! shape in the body and, for callers that grew up with the query protocol, its code in a header.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};
use ciborium::Value;

use super::tree::{self, Members, Tree};
use crate::physics::Refusal;

/// How a structure is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Cbor,
    Json,
}

/// The format and the operation of a call to the service that these protocols call `target`; none if it is a call in
/// another protocol.
pub(super) fn operation<'c>(
    target: &str,
    path: &'c str,
    headers: &'c HeaderMap,
) -> Option<(Format, &'c str)> {
    let in_path =
        |path: &'c str| path.strip_prefix("/service/")?.strip_prefix(target)?.strip_prefix("/operation/");
    if let Some(operation) = in_path(path) {
        return Some((Format::Cbor, operation));
    }
    let named = headers.get("x-amz-target")?.to_str().ok()?;
    Some((Format::Json, named.strip_prefix(target)?.strip_prefix('.')?))
}

impl Format {
    /// The body's members as query parameters: `MetricDataQueries.member.1.Id`.
    pub(super) fn parameters(self, body: &[u8]) -> Result<BTreeMap<String, String>, Refusal> {
        let mut flat = BTreeMap::new();
        if !body.is_empty() {
            let read = match self {
                Self::Cbor => ciborium::from_reader::<Value, _>(body).map_err(|e| e.to_string()),
                Self::Json => serde_json::from_slice::<serde_json::Value>(body)
                    .map_err(|e| e.to_string())
                    .and_then(|v| Value::serialized(&v).map_err(|e| e.to_string())),
            };
            let malformed = |e| Refusal::new("SerializationException", format!("The body is malformed: {e}"));
            flatten(String::new(), &read.map_err(malformed)?, &mut flat);
        }
        Ok(flat)
    }

    pub(super) fn answered(self, members: &Members, id: &str) -> Response {
        self.respond(200, members, id)
    }

    pub(super) fn refused(self, refusal: &Refusal, id: &str) -> Response {
        let fault = if refusal.status < 500 { "Sender" } else { "Receiver" };
        let members = vec![
            ("__type", Tree::Text(format!("com.amazonaws.cloudwatch#{}", shape(refusal.code)))),
            ("message", Tree::text(&refusal.message)),
        ];
        let error = [("x-amzn-query-error", format!("{};{fault}", refusal.code))];
        (error, self.respond(refusal.status, &members, id)).into_response()
    }

    fn respond(self, status: u16, members: &Members, id: &str) -> Response {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        match self {
            Self::Cbor => {
                let mut body = Vec::new();
                if ciborium::into_writer(&tree::cbor(members), &mut body).is_err() {
                    return StatusCode::INTERNAL_SERVER_ERROR.into_response();
                }
                let headers = [
                    (header::CONTENT_TYPE.as_str(), "application/cbor"),
                    ("smithy-protocol", "rpc-v2-cbor"),
                    ("x-amzn-requestid", id),
                ];
                (status, headers, body).into_response()
            }
            Self::Json => {
                let headers =
                    [(header::CONTENT_TYPE.as_str(), "application/x-amz-json-1.0"), ("x-amzn-requestid", id)];
                (status, headers, tree::json(members).to_string()).into_response()
            }
        }
    }
}

/// The name of the error's shape, where it is not the code.
fn shape(code: &str) -> &str {
    match code {
        "InvalidParameterValue" => "InvalidParameterValueException",
        "InvalidParameterCombination" => "InvalidParameterCombinationException",
        "MissingParameter" => "MissingRequiredParameterException",
        same => same,
    }
}

fn flatten(name: String, value: &Value, flat: &mut BTreeMap<String, String>) {
    let text = match value {
        Value::Map(members) => {
            for (key, held) in members {
                let key = key.as_text().unwrap_or_default();
                let inside = if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
                flatten(inside, held, flat);
            }
            return;
        }
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                flatten(format!("{name}.member.{}", n + 1), item, flat);
            }
            return;
        }
        Value::Tag(1, at) => instant(at),
        Value::Text(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Integer(number) => Some(i128::from(*number).to_string()),
        Value::Float(number) => Some(number.to_string()),
        _ => None,
    };
    flat.extend(text.map(|text| (name, text)));
}

/// Seconds since the epoch as the query protocol writes a time.
fn instant(at: &Value) -> Option<String> {
    let seconds = at.as_float().or_else(|| at.as_integer().map(|n| i128::from(n) as f64))?;
    let time = DateTime::from_timestamp_millis((seconds * 1000.0).round() as i64)?;
    Some(time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use ciborium::cbor;

    use super::*;

    fn pairs(flat: BTreeMap<String, String>) -> Vec<(String, String)> {
        flat.into_iter().collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_request_becomes_query_parameters() {
        let mut body = Vec::new();
        let start = Value::Tag(1, Box::new(Value::Integer(1_715_092_200.into())));
        let value = cbor!({
            "MetricDataQueries" => [{ "Id" => "a", "ReturnData" => true }],
            "Start" => start,
            "None" => null,
        });
        ciborium::into_writer(&value.expect("a value"), &mut body).expect("written");
        let flat = Format::Cbor.parameters(&body).expect("parameters");
        let (id, returns) = (
            pair("MetricDataQueries.member.1.Id", "a"),
            pair("MetricDataQueries.member.1.ReturnData", "true"),
        );
        assert_eq!(pairs(flat), [id, returns, pair("Start", "2024-05-07T14:30:00.000Z")]);
        let flat =
            Format::Json.parameters(br#"{"A":["x"],"B":{"C":1.5,"D":7},"E":null}"#).expect("parameters");
        assert_eq!(pairs(flat), [pair("A.member.1", "x"), pair("B.C", "1.5"), pair("B.D", "7")]);
        for format in [Format::Cbor, Format::Json] {
            assert_eq!(format.parameters(b"").expect("nothing").len(), 0);
            assert_eq!(format.parameters(b"\xbf").expect_err("cut off").code, "SerializationException");
        }
    }

    #[test]
    fn path_or_header_name_the_operation() {
        let (plain, mut aimed) = (HeaderMap::new(), HeaderMap::new());
        aimed.insert("x-amz-target", "S.Get".parse().expect("a header"));
        assert_eq!(operation("S", "/service/S/operation/Get", &plain), Some((Format::Cbor, "Get")));
        assert_eq!(operation("S", "/service/T/operation/Get", &plain), None);
        assert_eq!(operation("S", "/", &plain), None);
        assert_eq!(operation("S", "/", &aimed), Some((Format::Json, "Get")));
        assert_eq!(operation("T", "/", &aimed), None);
    }
}
