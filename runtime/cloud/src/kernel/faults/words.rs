//! Errors that services make by themselves, in their words.

use crate::kernel::error::ApiError;

/// A failure inside of a service.
pub fn failed_inside(service: &str) -> ApiError {
    let (code, words) = match service {
        "s3" => ("InternalError", "We encountered an internal error. Please try again."),
        "ec2" => ("InternalError", "An internal error has occurred."),
        "lambda" => ("ServiceException", "The Lambda service encountered an internal error."),
        _ => ("InternalFailure", "An internal error has occurred."),
    };
    ApiError::new(code, words).with_status(500)
}

/// Too many calls.
pub fn throttled(service: &str) -> ApiError {
    let (code, words, status) = match service {
        "ec2" => ("RequestLimitExceeded", "Request limit exceeded.", 503),
        "s3" => ("SlowDown", "Please reduce your request rate.", 503),
        "lambda" => ("TooManyRequestsException", "Rate Exceeded.", 429),
        "sns" => ("Throttled", "Rate exceeded", 429),
        "cloudformation" | "iam" | "sts" => ("Throttling", "Rate exceeded", 400),
        _ => ("ThrottlingException", "Rate exceeded", 400),
    };
    ApiError::new(code, words).with_status(status)
}
