//! One signed question to CloudWatch, in AWS JSON 1.0, and what its failure means.

use std::sync::Arc;

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use domain::action::{ActionError, CallRecord, Ctx, ErrorClass};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::aws::{Aws, Purpose};
use crate::calls::Operation;
use crate::{errors, wall};

/// Asks with the credentials of [`Aws`].
pub(super) struct Signed(pub(super) Arc<Aws>);

/// What all operations of the service begin with.
const TARGET: &str = "GraniteServiceVersion20100801";
/// As it signs itself, and as its host is called.
const SIGNED_AS: &str = "monitoring";

/// Where a question goes, and what it is about.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) region: &'a str,
    pub(super) account: Option<&'a str>,
    pub(super) operation: &'static str,
    pub(super) about: &'a str,
}

/// An answer, and the request's id.
type Answered = (Result<Vec<u8>, ActionError>, Option<String>);

impl Signed {
    /// Asks, and keeps a record of it.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        ctx: &Ctx,
        question: Question<'_>,
        body: &Value,
    ) -> Result<T, ActionError> {
        let operation = Operation {
            service: "cloudwatch",
            name: question.operation,
            target: question.about,
            mutating: false,
        };
        let (at, started) = (ctx.clock.now(), Instant::now());
        let sent = timeout(ctx.deadline, Box::pin(self.send(operation, question, body))).await;
        let (answer, request_id) =
            sent.unwrap_or_else(|_| (Err(errors::deadline(operation, true, ctx.deadline)), None));
        let result = answer.and_then(|body| {
            serde_json::from_slice(&body).map_err(|e| {
                let message =
                    format!("{}: the answer is not what CloudWatch would send: {e}.", question.operation);
                ActionError::new(ErrorClass::Transient, "no_answer", message)
            })
        });
        ctx.calls.push(CallRecord {
            at,
            service: operation.service.into(),
            operation: question.operation.into(),
            target: question.about.into(),
            request_id,
            status: result.as_ref().map_or_else(|error: &ActionError| error.code.clone(), |_| "ok".into()),
            duration_ms: started.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            mutating: false,
        });
        result
    }

    async fn send(&self, operation: Operation<'_>, question: Question<'_>, body: &Value) -> Answered {
        match self.respond(operation, question, body).await {
            Ok(response) => {
                let id = header(&response, "x-amzn-requestid");
                (read(operation, response).await, id)
            }
            Err(error) => (Err(error), None),
        }
    }

    async fn respond(
        &self,
        operation: Operation<'_>,
        question: Question<'_>,
        body: &Value,
    ) -> Result<Response, ActionError> {
        let session = self.0.session(question.region, question.account, Purpose::Observe)?;
        let identity =
            session.credentials().await.map_err(|e| errors::no_credentials(question.operation, &e))?.into();
        let unsigned = |e: &dyn std::fmt::Display| {
            ActionError::refused("bad_request", format!("{} could not be signed: {e}.", question.operation))
        };
        let url = session.endpoint(SIGNED_AS, question.region);
        let (body, target) = (body.to_string(), format!("{TARGET}.{}", question.operation));
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", &target)];
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(question.region)
            .name(SIGNED_AS)
            .time(wall::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|e| unsigned(&e))?
            .into();
        let signable =
            SignableRequest::new("POST", &url, headers.into_iter(), SignableBody::Bytes(body.as_bytes()))
                .map_err(|e| unsigned(&e))?;
        let (signature, _) = sign(signable, &params).map_err(|e| unsigned(&e))?.into_parts();
        let mut request = self.0.http().post(&url);
        for (name, value) in headers.into_iter().chain(signature.headers()) {
            request = request.header(name, value);
        }
        request.body(body).send().await.map_err(|e| {
            let code = if e.is_connect() { "cannot_connect" } else { "no_answer" };
            errors::silent(operation, !e.is_connect(), code, &e.without_url().to_string())
        })
    }
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// The body of a success; the code and sentence of a refusal.
async fn read(operation: Operation<'_>, response: Response) -> Result<Vec<u8>, ActionError> {
    let status = response.status();
    let coded = header(&response, "x-amzn-query-error");
    let body = response
        .bytes()
        .await
        .map_err(|e| errors::silent(operation, true, "no_answer", &e.without_url().to_string()))?;
    if status == StatusCode::OK {
        return Ok(body.into());
    }
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
    // `com.amazonaws.cloudwatch#InvalidParameterValueException`, unless the header has the older code.
    let shape = text("__type").rsplit('#').next().unwrap_or_default();
    let code = coded.as_deref().and_then(|coded| coded.split(';').next()).unwrap_or(shape);
    let message = [text("message"), text("Message")].concat();
    Err(errors::answered(operation, status.as_u16(), code, &message))
}
