//! Prometheus: one instant query.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::action::{ActionError, CallRecord, Ctx, ErrorClass, Observe};
use reqwest::{Client, StatusCode, Url};
use schemars::JsonSchema;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::shell::quote;
use crate::{SetupError, input};

/// A Prometheus server, or the lack of one.
pub(crate) struct Prometheus(Option<Server>);

struct Server {
    http: Client,
    query: Url,
}

impl Prometheus {
    /// Sets the client up; calls nothing.
    pub(crate) fn new(url: Option<&str>) -> Result<Self, SetupError> {
        let Some(url) = url else { return Ok(Self(None)) };
        let wrong = |reason: String| SetupError::Prometheus { url: url.to_owned(), reason };
        let query = Url::parse(&format!("{}/api/v1/query", url.trim_end_matches('/')))
            .map_err(|e| wrong(format!("{e}; write it like http://prometheus:9090")))?;
        let http = Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .build()
            .map_err(|e| wrong(e.to_string()))?;
        Ok(Self(Some(Server { http, query })))
    }
}

/// `metrics.query`.
pub(crate) struct Query(pub(crate) Prometheus);

/// What to ask.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct QueryInput {
    /// An expression in PromQL that gives an instant vector or a scalar.
    #[serde(deserialize_with = "input::name")]
    query: String,
}

/// The answer.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Samples {
    /// One for each series; none when nothing matches.
    samples: Vec<Sample>,
}

/// One value.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Sample {
    /// The series' labels.
    labels: BTreeMap<String, String>,
    /// Its value; null for what JSON cannot hold (NaN and the infinities).
    value: Option<f64>,
}

/// As Prometheus answers: <https://prometheus.io/docs/prometheus/latest/querying/api/>.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: Option<String>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<Series>),
    Scalar((f64, String)),
    Matrix(IgnoredAny),
    String(IgnoredAny),
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Observe for Query {
    const NAME: &'static str = "metrics.query";
    const SUMMARY: &'static str = "Ask Prometheus for the present value of an expression";
    const PERMISSIONS: &'static [&'static str] = &[];
    type Input = QueryInput;
    type Output = Samples;

    async fn observe(&self, ctx: &Ctx, input: &QueryInput) -> Result<Samples, ActionError> {
        let Some(server) = &self.0.0 else {
            return Err(ActionError::refused("not_configured", "No Prometheus is configured.")
                .remedy("add `prometheus = \"http://…:9090\"` to the configuration"));
        };
        let (at, started) = (ctx.clock.now(), Instant::now());
        let result = server.ask(&input.query, ctx.deadline).await;
        ctx.calls.push(CallRecord {
            at,
            service: "prometheus".into(),
            operation: "query".into(),
            target: input.query.clone(),
            request_id: None,
            status: result.as_ref().map_or_else(|error| error.code.clone(), |_| "ok".into()),
            duration_ms: started.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            mutating: false,
        });
        result
    }

    fn command(&self, input: &QueryInput) -> String {
        let url = match &self.0.0 {
            Some(server) => server.query.as_str(),
            None => "http://prometheus:9090/api/v1/query",
        };
        format!(
            "curl --silent --get {} --data-urlencode {}",
            quote(url),
            quote(&format!("query={}", input.query))
        )
    }
}

impl Server {
    async fn ask(&self, query: &str, deadline: Duration) -> Result<Samples, ActionError> {
        let transient = |code: &str, e: reqwest::Error| {
            // The URL would be shown with the whole query in it.
            ActionError::new(ErrorClass::Transient, code, format!("Prometheus: {}.", chain(&e.without_url())))
        };
        let response = self
            .http
            .get(self.query.clone())
            .query(&[("query", query)])
            .timeout(deadline)
            .send()
            .await
            .map_err(|e| {
                let code = if e.is_timeout() { "timeout" } else { "cannot_connect" };
                transient(code, e)
            })?;
        let status = response.status();
        let body = response.bytes().await.map_err(|e| transient("no_answer", e))?;
        read(status, &body)
    }
}

fn read(status: StatusCode, body: &[u8]) -> Result<Samples, ActionError> {
    let class = match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => ErrorClass::Busy,
        s if s.is_server_error() => ErrorClass::Transient,
        _ => ErrorClass::Refused,
    };
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else {
        return Err(ActionError::new(
            class,
            format!("http_{}", status.as_u16()),
            format!("Prometheus answered with status {status} and no JSON that it would send."),
        )
        .remedy("check that the configured address is that of Prometheus itself"));
    };
    let samples = match answer.data {
        Some(Data::Vector(series)) => {
            series.into_iter().map(|s| Sample { labels: s.metric, value: number(&s.value.1) }).collect()
        }
        Some(Data::Scalar((_, value))) => {
            vec![Sample { labels: BTreeMap::new(), value: number(&value) }]
        }
        Some(Data::Matrix(_) | Data::String(_)) => {
            return Err(ActionError::refused(
                "not_instant",
                "The expression gives a range or a string, not present values.",
            )
            .remedy("wrap a range in a function, such as `rate(…[5m])`"));
        }
        None => {
            return Err(ActionError::new(
                class,
                answer.error_type.unwrap_or_else(|| format!("http_{}", status.as_u16())),
                format!("Prometheus: {}", answer.error.unwrap_or_else(|| status.to_string())),
            ));
        }
    };
    Ok(Samples { samples })
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_and_scalars_are_read() {
        let vector = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"cluster":"shard-b"},"value":[1.5,"0.25"]},{"metric":{},"value":[1.5,"NaN"]}]}}"#;
        let samples = read(StatusCode::OK, vector).unwrap().samples;
        assert_eq!(samples[0].labels["cluster"], "shard-b");
        assert_eq!(samples[0].value, Some(0.25));
        assert_eq!(samples[1].value, None);
        let scalar = br#"{"status":"success","data":{"resultType":"scalar","result":[1.5,"7"]}}"#;
        assert_eq!(read(StatusCode::OK, scalar).unwrap().samples[0].value, Some(7.0));
    }

    #[test]
    fn errors_say_what_is_wrong() {
        let bad = br#"{"status":"error","errorType":"bad_data","error":"parse error at char 3"}"#;
        let error = read(StatusCode::BAD_REQUEST, bad).unwrap_err();
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Refused, "bad_data"));
        let page = read(StatusCode::BAD_GATEWAY, b"<html>").unwrap_err();
        assert_eq!((page.class, page.code.as_str()), (ErrorClass::Transient, "http_502"));
        let range = br#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#;
        assert_eq!(read(StatusCode::OK, range).unwrap_err().code, "not_instant");
    }
}
