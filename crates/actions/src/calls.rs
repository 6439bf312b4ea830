//! One call to AWS: its gate, its deadline, its record.
//!
//! ```text
//!  build ─▶ sign ─▶ connect ─▶ gate open? ──no──▶ not sent: busy, `gate_closed`
//!                                 │ yes: "sent" is noted
//!                                 ▼
//!                               socket ─▶ answer, error, or the deadline ─▶ record ─▶ class
//! ```
//!
//! "Sent" decides how a failure of a mutating call is read: before it nothing can have changed; after it only an answer
//! of the service says so, and everything else is `unknown`. Where that is decided, [`crate::departure`] says.

use std::error::Error;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextMut;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use bytes::Bytes;
use domain::action::{ActionError, CallRecord, Ctx};
use tokio::time::{Instant, timeout_at};

use crate::departure::Departure;
use crate::errors;

/// The calls of one observation or one application: they share its deadline.
pub(crate) struct Calls<'a> {
    ctx: &'a Ctx,
    until: Instant,
}

/// What is called, and on what.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    /// The service, by its IAM prefix.
    pub(crate) service: &'static str,
    /// The operation, as IAM and CloudTrail name it.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) target: &'a str,
    /// Does it change something?
    pub(crate) mutating: bool,
}

impl<'a> Calls<'a> {
    /// Starts the deadline.
    pub(crate) fn new(ctx: &'a Ctx) -> Self {
        Self { ctx, until: Instant::now() + ctx.deadline }
    }

    /// Looks. `send` must hand the interceptor to the operation it sends.
    pub(crate) async fn look<T, E, F>(
        &self,
        service: &'static str,
        name: &'static str,
        target: &str,
        send: impl FnOnce(Gatekeeper) -> F,
    ) -> Result<T, ActionError>
    where
        T: RequestId,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        self.call(Operation { service, name, target, mutating: false }, send).await
    }

    /// Makes the one mutating call. `send` must hand the interceptor to the operation it sends.
    pub(crate) async fn change<T, E, F>(
        &self,
        service: &'static str,
        name: &'static str,
        target: &str,
        send: impl FnOnce(Gatekeeper) -> F,
    ) -> Result<T, ActionError>
    where
        T: RequestId,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        self.call(Operation { service, name, target, mutating: true }, send).await
    }

    async fn call<T, E, F>(
        &self,
        operation: Operation<'_>,
        send: impl FnOnce(Gatekeeper) -> F,
    ) -> Result<T, ActionError>
    where
        T: RequestId,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let departure = operation.mutating.then(|| Departure::through(self.ctx.gate.clone()));
        let (at, started) = (self.ctx.clock.now(), Instant::now());
        // Boxed: the SDK's futures are tens of kilobytes.
        let answer = timeout_at(self.until, Box::pin(send(Gatekeeper(departure.clone())))).await;
        let sent = departure.is_some_and(|departure| departure.shut());
        let (request_id, result) = match answer {
            Ok(Ok(output)) => (output.request_id().map(str::to_owned), Ok(output)),
            Ok(Err(error)) => {
                (error.request_id().map(str::to_owned), Err(errors::from_sdk(error, operation, sent)))
            }
            Err(_) => (None, Err(errors::deadline(operation, sent, self.ctx.deadline))),
        };
        self.ctx.calls.push(CallRecord {
            at,
            service: operation.service.to_owned(),
            operation: operation.name.to_owned(),
            target: operation.target.to_owned(),
            request_id,
            status: result.as_ref().map_or_else(|error| error.code.clone(), |_| "ok".to_owned()),
            duration_ms: started.elapsed().as_millis().try_into().unwrap_or(u64::MAX),
            mutating: operation.mutating,
        });
        result
    }
}

/// Puts the gate of a change between its request and the socket; lets a look pass.
#[derive(Debug)]
pub(crate) struct Gatekeeper(Option<Departure>);

impl Intercept for Gatekeeper {
    fn name(&self) -> &'static str {
        "send gate"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(departure) = &self.0 else {
            return Ok(());
        };
        let body = context.request_mut().body_mut();
        match body.bytes() {
            Some(bytes) if !bytes.is_empty() => {
                *body = SdkBody::from_body_1_x(departure.guard(Bytes::copy_from_slice(bytes)));
            }
            // Nobody asks it for bytes.
            _ => departure.leave()?,
        }
        Ok(())
    }
}
