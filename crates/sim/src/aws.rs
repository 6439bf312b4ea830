//! AWS on the wire: one HTTP port for every service, told apart by the credential scope of SigV4.
//!
//! A call passes, in this order: fault dials, the caller's policy, the trap before its effect, the effect together
//! with its ledger entry (one lock), the trap after its effect, the answer. It runs in a task of its own: like
//! the real AWS it finishes what it began, even if the caller has gone.

mod autoscaling;
mod autoscaling_describe;
mod autoscaling_launch;
mod autoscaling_refresh;
mod cloudwatch;
mod cloudwatch_alarms;
mod ec2;
mod elbv2;
mod iam;
mod params;
mod rds;
mod rpc;
mod service;
mod sts;
mod tree;
mod xml;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat, Utc};

use crate::fault::ApiTrouble;
use crate::hold::{Lost, Phase};
use crate::ledger::LedgerEntry;
use crate::physics::{Effect, Refusal};
use crate::shared::Shared;
pub(crate) use autoscaling_describe::{group_arn, subnet};
pub(crate) use cloudwatch::named_dimensions;
use iam::Caller;
pub(crate) use iam::Policies;
pub use iam::{EVERYBODY, PolicyError};
use params::Params;
use service::{Act, Dialect, SERVICES, Service};
pub use service::{Operation, operations};
use tree::Members;
use xml::Xml;

/// What a service's operation answers.
struct Answer {
    /// The inside of the result element.
    result: Xml,
    /// The operation has no result element, not even an empty one.
    silent: bool,
    /// The same for a protocol other than XML, of a service that speaks one.
    members: Members,
    effect: Effect,
}

impl Answer {
    /// An answer that changed nothing.
    fn looked(write: impl FnOnce(&mut Xml)) -> Self {
        Self::changed(None, write)
    }

    /// The answer of a change.
    fn changed(effect: Effect, write: impl FnOnce(&mut Xml)) -> Self {
        let mut result = Xml::default();
        write(&mut result);
        Self { result, silent: false, members: Members::new(), effect }
    }

    /// The answer of a change that has nothing to say.
    fn done(effect: Effect) -> Self {
        Self { result: Xml::default(), silent: true, members: Members::new(), effect }
    }

    /// An answer that changed nothing, in whatever protocol it is asked for.
    fn of(members: Members) -> Self {
        Self { members, ..Self::looked(|_| {}) }
    }
}

type Outcome = Result<Answer, Refusal>;

/// A call that has been understood.
struct Call {
    service: &'static Service,
    dialect: Dialect,
    region: String,
    entry: LedgerEntry,
    params: Params,
}

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(receive).with_state(shared)
}

async fn receive(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request_id = shared.request_id();
    let Some(Scope { caller, region, service: name }) = credential_scope(&headers) else {
        let refusal = Refusal::new(
            "MissingAuthenticationToken",
            "Missing Authentication Token: the simulator tells services apart by the credential scope of \
             the Authorization header (any key will do)",
        );
        return refused(&sts::SERVICE, Dialect::Query, &refusal.with_status(403), &request_id);
    };
    let Some(service) = SERVICES.iter().find(|s| s.name == name) else {
        let known: Vec<&str> = SERVICES.iter().map(|s| s.name).collect();
        let message = format!("the simulator has no service '{name}'; it has {}", known.join(", "));
        return refused(&sts::SERVICE, Dialect::Query, &Refusal::new("InvalidAction", message), &request_id);
    };
    let structured = service.target.and_then(|target| rpc::operation(target, uri.path(), &headers));
    let (dialect, operation, mut params) = match structured {
        None => {
            let params = Params::parse(&body, service.manner);
            (service.dialect, params.get("Action").unwrap_or_default().to_owned(), params)
        }
        Some((format, operation)) => match format.parameters(&body) {
            Ok(all) => (Dialect::Rpc(format), operation.to_owned(), Params::new(all, service.manner)),
            Err(refusal) => return format.refused(&refusal, &request_id),
        },
    };
    let session = headers.get("x-amz-security-token").and_then(|token| token.to_str().ok());
    params.session = session.map(str::to_owned);
    // Whoever has assumed a role acts as that role.
    let caller = session.and_then(sts::session).map_or(caller, |(role, _)| format!("role/{role}"));
    let flat = params.all.iter().filter(|(k, _)| !matches!(k.as_str(), "Action" | "Version"));
    let entry = LedgerEntry {
        n: 0,
        at: shared.clock.now(),
        service: service.name.into(),
        // What it does not know, it cannot vouch for.
        mutating: service.find(&operation).is_none_or(Act::changes),
        operation,
        caller,
        params: flat.map(|(k, v)| (k.clone(), v.clone())).collect(),
        effect: None,
        request_id,
        status: 0,
    };
    let call = Call { service, dialect, region, entry, params };
    let running = tokio::spawn(async move {
        let until = shared.clone();
        tokio::select! {
            answer = run(shared, call) => answer,
            () = until.stopped() => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        }
    });
    running.await.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Who calls what, and where.
struct Scope {
    /// The access key.
    caller: String,
    region: String,
    service: String,
}

/// `AWS4-HMAC-SHA256 Credential=AKID/20240507/us-east-1/autoscaling/aws4_request, ...`.
fn credential_scope(headers: &HeaderMap) -> Option<Scope> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let scope = authorization.split_once("Credential=")?.1.split([',', ' ']).next()?;
    let mut parts = scope.rsplit('/');
    let (_request, service, region) = (parts.next()?, parts.next()?, parts.next()?);
    let caller = scope.split('/').next()?.to_owned();
    Some(Scope { caller, region: region.to_owned(), service: service.to_owned() })
}

async fn run(shared: Arc<Shared>, call: Call) -> Response {
    let Call { service, dialect, region, mut entry, params } = call;
    let trouble = shared.world(|w| w.dials.meet(service.name, &entry.operation));
    let id = entry.request_id.clone();
    let refusal = match trouble {
        Some(ApiTrouble::Throttle) => {
            Some(Refusal::new(service.throttled.0, "Rate exceeded").with_status(service.throttled.1))
        }
        Some(ApiTrouble::Refused) => {
            let message = format!("{} is not authorized to perform {}", entry.caller, entry.operation);
            Some(Refusal::new("AccessDenied", message).with_status(403))
        }
        Some(ApiTrouble::InternalError) => {
            let code = if service.dialect == Dialect::Ec2 { "InternalError" } else { "InternalFailure" };
            Some(Refusal::new(code, "An internal error has occurred.").with_status(500))
        }
        Some(ApiTrouble::Unavailable) => {
            let code = if service.dialect == Dialect::Ec2 { "Unavailable" } else { "ServiceUnavailable" };
            Some(Refusal::new(code, "Service is unavailable. Please try again.").with_status(503))
        }
        Some(ApiTrouble::TimeoutBefore) => {
            shared.enter(entry);
            return std::future::pending().await;
        }
        Some(ApiTrouble::Latency { seconds }) => {
            shared.clock.sleep(Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))).await;
            None
        }
        Some(ApiTrouble::TimeoutAfter) | None => None,
    };
    let refusal = refusal.or_else(|| {
        let caller = Caller { key: &entry.caller, region: &region };
        shared.world(|w| shared.policies.refuse(service, &entry.operation, &caller, &params, w))
    });
    if let Some(refusal) = refusal {
        entry.status = refusal.status;
        shared.enter(entry);
        return refused(service, dialect, &refusal, &id);
    }
    if let Err(Lost) = shared.holds.pass(Phase::BeforeEffect, &entry).await {
        return std::future::pending().await;
    }
    let unanswered = trouble == Some(ApiTrouble::TimeoutAfter);
    let (outcome, entry) = shared.world(|w| {
        let outcome = match service.find(&entry.operation) {
            Some(Act::Look(look)) => look(&params, w),
            Some(Act::Change(change)) => change(&params, w),
            None => Err(invalid_action(service, &entry.operation)),
        };
        entry.effect = outcome.as_ref().ok().and_then(|a| a.effect.clone());
        entry.status = match &outcome {
            _ if unanswered => 0,
            Ok(_) => 200,
            Err(refusal) => refusal.status,
        };
        (outcome, shared.enter(entry))
    });
    let lost = shared.holds.pass(Phase::AfterEffect, &entry).await;
    if unanswered || lost == Err(Lost) {
        return std::future::pending().await;
    }
    match outcome {
        Ok(answer) => answered(service, dialect, &entry.operation, &answer, &id),
        Err(refusal) => refused(service, dialect, &refusal, &id),
    }
}

fn invalid_action(service: &Service, operation: &str) -> Refusal {
    Refusal::new(
        "InvalidAction",
        match service.dialect {
            Dialect::Ec2 => format!("The action {operation} is not valid for this web service."),
            Dialect::Query | Dialect::Rpc(_) => {
                format!("Could not find operation {operation} for version {}", service.version)
            }
        },
    )
}

fn answered(service: &Service, dialect: Dialect, operation: &str, answer: &Answer, id: &str) -> Response {
    if let Dialect::Rpc(format) = dialect {
        return format.answered(&answer.members, id);
    }
    let mut x = Xml::default();
    x.node(&format!("{operation}Response xmlns=\"{}\"", service.namespace), |x| {
        if dialect == Dialect::Ec2 {
            x.text("requestId", id).raw(&answer.result);
        } else {
            if !answer.silent {
                x.node(&format!("{operation}Result"), |x| {
                    x.raw(&answer.result);
                    tree::elements(&answer.members, x);
                });
            }
            x.node("ResponseMetadata", |x| {
                x.text("RequestId", id);
            });
        }
    });
    respond(200, x, id)
}

fn refused(service: &Service, dialect: Dialect, refusal: &Refusal, id: &str) -> Response {
    if let Dialect::Rpc(format) = dialect {
        return format.refused(refusal, id);
    }
    let mut x = Xml::default();
    let error = |x: &mut Xml| {
        x.text("Code", refusal.code).text("Message", &refusal.message);
    };
    if dialect == Dialect::Ec2 {
        x.node("Response", |x| {
            x.node("Errors", |x| {
                x.node("Error", error);
            });
            x.text("RequestID", id);
        });
    } else {
        x.node(&format!("ErrorResponse xmlns=\"{}\"", service.namespace), |x| {
            x.node("Error", |x| {
                x.text("Type", if refusal.status < 500 { "Sender" } else { "Receiver" });
                error(x);
            });
            x.text("RequestId", id);
        });
    }
    respond(refusal.status, x, id)
}

fn respond(status: u16, x: Xml, id: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = [("content-type", "text/xml"), ("x-amzn-requestid", id)];
    (status, headers, x.document()).into_response()
}

/// A time as AWS's XML has it.
fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
