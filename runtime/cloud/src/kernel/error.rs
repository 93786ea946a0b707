//! Errors in AWS's words.

use std::fmt;

use serde_json::{Map, Value};

/// An error of an API: AWS's code, its HTTP status, and a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: u16,
    /// AWS's error code.
    pub code: String,
    /// What happened.
    pub message: String,
    /// What else AWS's shape of the error has: `CancellationReasons`.
    pub more: Option<Box<Map<String, Value>>>,
}

/// Result of an API call.
pub type ApiResult<T = serde_json::Value> = Result<T, ApiError>;

impl ApiError {
    /// An error that the caller can mend.
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { status: 400, code: code.to_owned(), message: message.into(), more: None }
    }

    /// The same error with another HTTP status.
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The same error with another member of its shape.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.get_or_insert_default().insert(name.to_owned(), value);
        self
    }

    /// An operation that this cloud does not have. It never pretends.
    pub fn unknown_operation(service: &str, operation: &str) -> Self {
        let message = format!("The embedded cloud does not implement {service}:{operation}.");
        Self::new("NotImplemented", message).with_status(501)
    }

    /// A parameter of an operation that this cloud does not act on: `operation` is
    /// `glue:StartJobRun`. Ignoring it would be pretending.
    pub fn unknown_parameter(name: &str, operation: &str) -> Self {
        let message =
            format!("The embedded cloud does not implement the parameter {name} of {operation}.");
        Self::new("NotImplemented", message).with_status(501)
    }

    /// Temporary credentials that have expired. Protocols and S3 have their own words for it.
    pub fn expired_token() -> Self {
        Self::new("ExpiredToken", "The security token included in the request is expired")
            .with_status(403)
    }

    /// A parameter that is missing or wrong.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationError", message)
    }

    /// Something that is this process's fault.
    pub fn internal(error: impl fmt::Display) -> Self {
        Self::new("InternalFailure", format!("the embedded cloud failed: {error}")).with_status(500)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ApiError {}
