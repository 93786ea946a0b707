//! One error for all services.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use thiserror::Error;

use crate::Result;

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
    /// Too many calls, or another operation on the same thing; later it would work.
    Busy,
    /// The service does not have this operation; another endpoint than AWS's may say so.
    NotImplemented,
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
    pub fn new<E>(call: &'static str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let code = error.code().unwrap_or_default().to_owned();
        let status = error.raw_response().map(|raw| raw.status().as_u16());
        let message = match (error.message(), &error, status) {
            (Some(message), ..) => message.to_owned(),
            // HEAD answers have no body, and so neither code nor message.
            (None, SdkError::ServiceError(_), Some(status)) => {
                format!("the service answered with status {status}")
            }
            _ => chain(&error),
        };
        let kind = match &error {
            SdkError::ServiceError(_) => service_kind(&code, &message, status.unwrap_or(0)),
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

    /// Credentials could not be had.
    pub(crate) fn without_credentials(call: &'static str, error: &dyn std::error::Error) -> Self {
        Self { call, kind: Kind::Credentials, code: String::new(), message: chain(error) }
    }

    /// What an answer says about whether a thing exists.
    pub(crate) fn as_existence<T>(answer: Result<T>) -> Result<bool> {
        match answer {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Credentials => Some(
                "sign in again (`aws sso login`), or check the profile in steppe.toml; then \
                 repeat the command, it continues where it stopped",
            ),
            Kind::Unreachable => Some(
                "check the network; for the environment `local`, see `cargo xtask local status`",
            ),
            // Lake Formation answers in the words of IAM, and no policy of IAM helps.
            Kind::Denied if self.message.contains("Lake Formation") => Some(
                "this account lets Lake Formation decide about the Glue catalogue: grant the \
                 pipeline's roles and yourself permissions on the database there, or give \
                 `IAMAllowedPrincipals` back its default permissions",
            ),
            Kind::Denied => Some(
                "the caller's policies do not allow this call; `cargo xtask doctor` prints the \
                 policy that a deployment needs",
            ),
            Kind::Busy => Some("wait a moment, then repeat the command"),
            Kind::NotFound | Kind::NotImplemented | Kind::Refused => None,
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

    /// Whether the same call may succeed later: nobody answered, or too many asked.
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, Kind::Unreachable | Kind::Busy)
    }
}

/// What went wrong and why, without the SDK's own data.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup();
    texts.join(": ")
}

fn service_kind(code: &str, message: &str, status: u16) -> Kind {
    match code {
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId" => Kind::Credentials,
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthorizationError"
        | "UnauthorizedOperation" => Kind::Denied,
        "NoSuchKey"
        | "NoSuchBucket"
        | "NotFound"
        | "NoSuchEntity"
        | "EntityNotFoundException"
        | "ResourceNotFoundException"
        | "ChangeSetNotFound"
        | "StateMachineDoesNotExist"
        | "ExecutionDoesNotExist"
        | "NoSuchTagSet"
        | "NoSuchBucketPolicy"
        | "NoSuchLifecycleConfiguration"
        | "NoSuchPublicAccessBlockConfiguration"
        | "ParameterNotFound" => Kind::NotFound,
        "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "SlowDown"
        | "ServiceUnavailable"
        | "InternalFailure"
        | "InternalError"
        | "OperationAborted" => Kind::Busy,
        "NotImplemented" | "UnknownOperationException" | "InvalidAction" => Kind::NotImplemented,
        _ if message.ends_with("does not exist") => Kind::NotFound,
        _ if code.ends_with(".NotFound") => Kind::NotFound,
        "" if status == 404 => Kind::NotFound,
        "" if status == 403 => Kind::Denied,
        _ => Kind::Refused,
    }
}
