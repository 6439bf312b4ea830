//! The one error of the simulated AWS: a code, an HTTP status and a sentence, as on the wire.

/// Why AWS refuses a call. Codes and statuses follow botocore's service models.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// Wire code, e.g. `ValidationError`.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// AWS's sentence.
    pub message: String,
}

impl Refusal {
    /// A refusal with HTTP status 400, as most are.
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, status: 400, message: message.into() }
    }

    /// The same with another HTTP status.
    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The query services' answer to any bad parameter.
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationError", message)
    }
}
