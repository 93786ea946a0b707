//! One error for all services.

use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use thiserror::Error;

/// What went wrong, as far as a program has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The thing does not exist.
    NotFound,
    /// The caller may not.
    Denied,
    /// The credentials have expired or are missing.
    Credentials,
    /// Nobody answered.
    Unreachable,
    /// Anything else that the service said.
    Refused,
}

/// A call that failed.
#[derive(Debug, Error)]
#[error("{call} failed: {message}")]
pub struct AwsError {
    /// `s3:PutObject`.
    pub call: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The service's code.
    pub code: String,
    /// The service's words.
    pub message: String,
}

impl AwsError {
    /// The error of a call.
    pub fn new<E, R>(call: &'static str, error: SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let raw = match &error {
            SdkError::ServiceError(context) => format!("{:?}", context.raw()),
            _ => String::new(),
        };
        let message = match error.message() {
            Some(message) => message.to_owned(),
            // HEAD answers have no body, and so neither code nor message.
            None if !raw.is_empty() => format!("the service answered with status {}", status(&raw)),
            None => chain(&error),
        };
        let kind = match &error {
            SdkError::ServiceError(_) => service_kind(&code, &message, status(&raw)),
            SdkError::ConstructionFailure(_) => Kind::Credentials,
            _ if message.contains("redential") => Kind::Credentials,
            _ => Kind::Unreachable,
        };
        Self { call, kind, code, message }
    }

    /// A failure that no service reported.
    pub fn local(call: &'static str, message: impl Into<String>) -> Self {
        Self { call, kind: Kind::Refused, code: String::new(), message: message.into() }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Credentials => Some(
                "sign in again (`aws sso login`), or check the profile in steppe.toml; then repeat the command, it continues where it stopped",
            ),
            Kind::Unreachable => Some(
                "check the network; for the environment `local`, see `cargo xtask local status`",
            ),
            Kind::Denied => Some("the caller's policies do not allow this call"),
            Kind::NotFound | Kind::Refused => None,
        }
    }

    /// Whether a condition of the request did not hold.
    pub fn is_precondition(&self) -> bool {
        matches!(self.code.as_str(), "PreconditionFailed" | "ConditionalRequestConflict")
    }

    /// Whether the thing does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind == Kind::NotFound
    }
}

/// What went wrong and why, without the SDK's own data.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

/// The HTTP status in the SDK's rendering of an answer.
fn status(raw: &str) -> &str {
    raw.split("StatusCode(").nth(1).and_then(|rest| rest.split(')').next()).unwrap_or_default()
}

fn service_kind(code: &str, message: &str, status: &str) -> Kind {
    match code {
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId" => Kind::Credentials,
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => Kind::Denied,
        "NoSuchKey"
        | "NoSuchBucket"
        | "NotFound"
        | "NoSuchEntity"
        | "EntityNotFoundException"
        | "ResourceNotFoundException"
        | "ChangeSetNotFound" => Kind::NotFound,
        "StateMachineDoesNotExist" | "ExecutionDoesNotExist" | "NoSuchTagSet" => Kind::NotFound,
        _ if message.ends_with("does not exist") => Kind::NotFound,
        "" if status == "404" => Kind::NotFound,
        "" if status == "403" => Kind::Denied,
        _ => Kind::Refused,
    }
}
