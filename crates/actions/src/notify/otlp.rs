//! A collector of traces (OpenTelemetry, Jaeger, Tempo, …), by OTLP over HTTP in its binary form, which each of them takes.
//!
//! It is told no messages, but sent each run that has ended as one trace. It may meet a trace again: the same ids say so.

use std::str::FromStr as _;

use domain::Timestamp;
use domain::notice::{Channel, Found, Letter, Undelivered, Urgency};
use domain::trace::{Span, SpanId, Trace};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Wire, Status};
use prost::Message as _;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde_json::Value;

use super::{Voice, http};
use crate::secrets::Secret;

pub(super) struct Otlp {
    voice: Voice,
    http: Client,
    url: Url,
    headers: HeaderMap,
}

impl Otlp {
    pub(super) fn new(voice: Voice, url: &str, headers: Vec<(String, Secret)>) -> Result<Self, String> {
        // Nothing secret is in a trace, so a collector beside us may take it in the open; what lets us in there is.
        let url = match headers.is_empty() {
            true => {
                let open = Url::parse(url).map_err(|e| format!("`{url}` is no address: {e}"))?;
                matches!(open.scheme(), "http" | "https")
                    .then_some(open)
                    .ok_or_else(|| format!("`{url}` is neither http nor https"))?
            }
            false => http::address(url)?,
        };
        if url.path() == "/" {
            return Err(format!("`{url}` has no path; for most collectors it is /v1/traces"));
        }
        let headers = headers.into_iter().map(|(name, secret)| {
            let name = HeaderName::from_str(&name).map_err(|_| format!("`{name}` is no name of a header"))?;
            let mut value = HeaderValue::from_str(secret.expose())
                .map_err(|_| format!("what is configured for the header `{name}` cannot stand in one"))?;
            value.set_sensitive(true);
            Ok((name, value))
        });
        Ok(Self { voice, http: http::client()?, url, headers: headers.collect::<Result<_, String>>()? })
    }

    fn body(&self, trace: &Trace) -> Vec<u8> {
        let mut about = vec![
            attribute("service.name", &"firebreak".into()),
            attribute("service.version", &env!("CARGO_PKG_VERSION").into()),
        ];
        if let Some(environment) = &self.voice.environment {
            about.push(attribute("deployment.environment.name", &environment.as_str().into()));
        }
        let scope = InstrumentationScope { name: "firebreak".into(), ..Default::default() };
        let spans = trace.spans.iter().map(|span| wire(trace, span)).collect();
        let resource = Resource { attributes: about, ..Default::default() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
        let of_us = ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() };
        ExportTraceServiceRequest { resource_spans: vec![of_us] }.encode_to_vec()
    }
}

impl Channel for Otlp {
    fn least(&self) -> Urgency {
        self.voice.least
    }

    fn takes_traces(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, letter: &'a Letter<'a>) -> BoxFuture<'a, Result<Option<Value>, Undelivered>> {
        async move {
            let Some(trace) = letter.trace else {
                return Err(Undelivered::Never("it takes traces, and this is none".into()));
            };
            let request = self
                .http
                .post(self.url.clone())
                .headers(self.headers.clone())
                .header(CONTENT_TYPE, "application/x-protobuf")
                .body(self.body(trace));
            let answer = http::send(request).await?;
            if !answer.status.is_success() {
                return Err(answer.refusal());
            }
            // Whoever answers in another form has taken it, too.
            let told = ExportTraceServiceResponse::decode(answer.body.as_slice()).unwrap_or_default();
            match told.partial_success {
                Some(part) if part.rejected_spans > 0 => Err(Undelivered::Never(format!(
                    "it did not take {} of {} spans: {}",
                    part.rejected_spans,
                    trace.spans.len(),
                    part.error_message
                ))),
                _ => Ok(None),
            }
        }
        .boxed()
    }

    fn find<'a>(&'a self, _: &'a Letter<'a>) -> BoxFuture<'a, Result<Found, Undelivered>> {
        std::future::ready(Ok(Found::Harmless)).boxed()
    }
}

fn wire(trace: &Trace, span: &Span) -> Wire {
    let id = |id: SpanId| id.to_vec();
    let failed = |why: &String| Status { code: StatusCode::Error.into(), message: why.clone() };
    Wire {
        trace_id: trace.id.as_bytes().to_vec(),
        span_id: id(span.id),
        parent_span_id: span.parent.map(id).unwrap_or_default(),
        name: span.name.clone(),
        kind: if span.outside { SpanKind::Client } else { SpanKind::Internal }.into(),
        start_time_unix_nano: nanos(span.from),
        // A step may be journaled by another process than began it, whose clock is behind.
        end_time_unix_nano: nanos(span.to.max(span.from)),
        attributes: span.about.iter().map(|(key, value)| attribute(key, value)).collect(),
        events: span.tries.iter().map(|(at, why)| failed_try(*at, why)).collect(),
        status: span.failed.as_ref().map(failed),
        ..Default::default()
    }
}

fn failed_try(at: Timestamp, why: &str) -> Event {
    let attributes = vec![attribute("exception.message", &why.into())];
    Event { time_unix_nano: nanos(at), name: "exception".into(), attributes, ..Default::default() }
}

fn attribute(key: &str, value: &Value) -> KeyValue {
    let value = match value {
        Value::Bool(value) => Any::BoolValue(*value),
        Value::Number(number) if number.is_i64() => Any::IntValue(number.as_i64().unwrap_or_default()),
        Value::String(text) => Any::StringValue(text.clone()),
        other => Any::StringValue(other.to_string()),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

/// Nanoseconds since 1970, as OTLP counts.
fn nanos(at: Timestamp) -> u64 {
    at.timestamp_nanos_opt().and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or_default()
}
