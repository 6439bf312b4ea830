//! What an AWS failure means for the run: the one place where codes become classes.
//!
//! The question is always "may something have changed, and what may be done now?". An answer of the service is believed;
//! silence after a mutating request was sent is `unknown`, whatever its reason.

use std::error::Error;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use domain::action::{ActionError, ErrorClass, GateClosed};

use crate::calls::Operation;

/// The class of a failed AWS call, with the service's code and message kept.
pub(crate) fn from_sdk<E>(
    error: SdkError<E, HttpResponse>,
    operation: Operation<'_>,
    sent: bool,
) -> ActionError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    if let SdkError::ServiceError(service) = &error {
        let status = service.raw().status().as_u16();
        let meta = service.err().meta();
        return answered(
            operation,
            status,
            meta.code().unwrap_or_default(),
            meta.message().unwrap_or_default(),
        );
    }
    let what = name(operation);
    if let Some(closed) = source::<GateClosed>(&error) {
        return ActionError::new(ErrorClass::Busy, "gate_closed", format!("{what}: {closed}."));
    }
    if let Some(missing) = source::<CredentialsError>(&error) {
        return no_credentials(&what, missing);
    }
    let cause = cause(&error);
    let status = error.raw_response().map(|raw| raw.status().as_u16());
    match (&error, status) {
        (SdkError::ConstructionFailure(_), _) => {
            ActionError::refused("bad_request", format!("{what} could not be put together: {cause}."))
        }
        // Not the protocol's answer at all: a load balancer's or an emulator's page.
        (SdkError::ResponseError(_), Some(status)) => answered(operation, status, "", &cause),
        _ if source::<hyper_util::client::legacy::Error>(&error).is_some_and(|e| e.is_connect()) => {
            ActionError::new(
                ErrorClass::Transient,
                "cannot_connect",
                format!("{what}: no connection, so nothing was sent: {cause}."),
            )
        }
        (SdkError::TimeoutError(_), _) => silent(operation, sent, "timeout", &cause),
        _ => silent(operation, sent, "no_answer", &cause),
    }
}

/// The call's deadline passed without an answer.
pub(crate) fn deadline(operation: Operation<'_>, sent: bool, limit: Duration) -> ActionError {
    silent(operation, sent, "timeout", &format!("no answer within {:.1} s", limit.as_secs_f64()))
}

/// The service answered with an error.
pub(crate) fn answered(operation: Operation<'_>, status: u16, code: &str, message: &str) -> ActionError {
    let class = class_of(operation, status, code, message);
    let shown = if code.is_empty() { format!("http_{status}") } else { code.to_owned() };
    let text = if message.is_empty() { format!("HTTP status {status}") } else { message.to_owned() };
    let error = ActionError::new(class, shown, format!("{}: {text}", name(operation)));
    match remedy(operation, code) {
        Some(remedy) if class == ErrorClass::Refused => error.remedy(remedy),
        _ => error,
    }
}

fn class_of(operation: Operation<'_>, status: u16, code: &str, message: &str) -> ErrorClass {
    // Wire codes sometimes carry `Fault`, sometimes not; for the class it makes no difference.
    let bare = code.strip_suffix("Fault").unwrap_or(code);
    match bare {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete"
        | "ResourceContention"
        | "ScalingActivityInProgress" => ErrorClass::Busy,
        _ if status == 429 || message.starts_with("Rate exceeded") => ErrorClass::Busy,
        _ if bare.contains("NotFound") => ErrorClass::Gone,
        // Auto Scaling has no code of its own for what is not there: only the sentence tells.
        "ValidationError" if message.contains("not found") => ErrorClass::Gone,
        _ if status >= 500 && operation.mutating => ErrorClass::Unknown,
        _ if status >= 500 => ErrorClass::Transient,
        _ if (200..300).contains(&status) && operation.mutating => ErrorClass::Unknown,
        _ => ErrorClass::Refused,
    }
}

/// What a person can do about a refusal.
fn remedy(operation: Operation<'_>, code: &str) -> Option<String> {
    match code {
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" | "NotAuthorized" => Some(format!(
            "allow `{}:{}` for Firebreak's role; `firebreak runbook permissions` prints the whole policy",
            operation.service, operation.name
        )),
        "ExpiredToken" | "ExpiredTokenException" => {
            Some("the session credentials have expired; renew them where Firebreak gets them from".into())
        }
        "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "AuthFailure"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature" => Some(
            "AWS does not accept the credentials; check which ones Firebreak is given (`aws sts get-caller-identity`)".into(),
        ),
        "RequestExpired" => Some("the machine's clock is wrong, or the request was held up; check NTP".into()),
        _ => None,
    }
}

/// No answer, or none that could be read.
pub(crate) fn silent(operation: Operation<'_>, sent: bool, code: &str, cause: &str) -> ActionError {
    let what = name(operation);
    match (operation.mutating, sent) {
        (true, true) => ActionError::new(
            ErrorClass::Unknown,
            code,
            format!("{what} was sent, and it is not known whether it took effect: {cause}."),
        ),
        (true, false) => {
            ActionError::new(ErrorClass::Transient, code, format!("{what} was not sent: {cause}."))
        }
        (false, _) => ActionError::new(ErrorClass::Transient, code, format!("{what}: {cause}.")),
    }
}

pub(crate) fn no_credentials(what: &str, error: &CredentialsError) -> ActionError {
    let why = cause(error);
    // What STS says of a role that does not trust us, or that is not there: it says the same of both.
    if why.contains("AssumeRole") && why.contains("AccessDenied") {
        return ActionError::refused(
            "role_not_assumed",
            format!(
                "{what} was not sent: the account's role does not let Firebreak assume it ({}).",
                why.trim_end_matches('.')
            ),
        )
        .remedy(
            "let the role's trust policy name the identity that Firebreak runs as, with the external id of the inventory if it asks for one, and allow that identity `sts:AssumeRole` on the role; `firebreak runbook permissions` prints it",
        );
    }
    // A provider that failed may work the next time; having none at all does not pass by itself.
    let class = match error {
        CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => ErrorClass::Transient,
        _ => ErrorClass::Refused,
    };
    // Where none was found, the SDK goes on to say in many lines how each place to look has none.
    let why = why.split_once(" Attempted:").map_or(why.as_str(), |(why, _)| why);
    ActionError::new(
        class,
        "no_credentials",
        format!("{what} was not sent: no AWS credentials ({}).", why.trim_end_matches('.')),
    )
    .remedy(
        "give Firebreak credentials as the AWS SDKs look for them: an instance or pod role, AWS_PROFILE, or keys in the environment",
    )
}

fn name(operation: Operation<'_>) -> String {
    match operation.target {
        "" => operation.name.to_owned(),
        target => format!("{} on {target}", operation.name),
    }
}

/// The whole chain of causes in one line.
fn cause(error: &dyn Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}

/// The cause of this type in the chain of causes.
pub(crate) fn source<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
