//! S3's errors in S3's words.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use s3s::{S3Error, S3ErrorCode, s3_error};

use super::store::{Object, StoreError};
use crate::kernel::error::ApiError;

/// What S3 says to a caller who may not.
pub fn denied(error: ApiError) -> S3Error {
    if error.code == "ExpiredToken" {
        return S3Error::with_message(S3ErrorCode::ExpiredToken, "The provided token has expired.");
    }
    let code = if error.code == "AccessDeniedException" {
        S3ErrorCode::AccessDenied
    } else {
        S3ErrorCode::Custom(error.code.into())
    };
    // A policy that asks for what is not implemented decides nothing, so that is said instead.
    let status = match error.status {
        501 => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::FORBIDDEN,
    };
    let mut s3 = S3Error::with_message(code, error.message);
    s3.set_status_code(status);
    s3
}

/// A denial without a reason, as S3 gives it where a reason would tell what is there.
pub fn access_denied() -> S3Error {
    s3_error!(AccessDenied, "Access Denied")
}

/// A request that S3 does not take.
pub fn invalid_request(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidRequest, message)
}

/// An argument that S3 does not take.
pub fn invalid_argument(message: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidArgument, message)
}

/// What this cloud does not do, by name.
pub fn not_implemented(what: &str) -> S3Error {
    s3_error!(
        NotImplemented,
        "A header you provided implies functionality that is not implemented: the embedded cloud \
         does not implement {what}."
    )
}

/// XML that S3 does not take.
pub fn malformed_xml() -> S3Error {
    s3_error!(
        MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema"
    )
}

/// A condition that does not hold.
pub fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// An error with a code that `s3s` does not know.
pub fn custom(code: &'static str, status: u16, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message);
    if let Ok(status) = StatusCode::from_u16(status) {
        error.set_status_code(status);
    }
    error
}

/// Something that this process or its disk did wrong.
pub fn internal(error: impl std::fmt::Display) -> S3Error {
    S3Error::with_message(S3ErrorCode::InternalError, error.to_string())
}

/// A key that is not there because its latest version is a delete marker.
fn is_marker(marker: &Object) -> S3Error {
    let mut error = s3_error!(NoSuchKey, "The specified key does not exist.");
    error.set_headers(marker_headers(marker));
    error
}

/// A delete marker was asked for by its ID.
pub fn marker_itself(marker: &Object) -> S3Error {
    let mut error =
        s3_error!(MethodNotAllowed, "The specified method is not allowed against this resource.");
    let mut headers = marker_headers(marker);
    headers.insert(header::ALLOW, HeaderValue::from_static("DELETE"));
    let modified = marker.modified.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    if let Ok(modified) = HeaderValue::from_str(&modified) {
        headers.insert(header::LAST_MODIFIED, modified);
    }
    error.set_headers(headers);
    error
}

fn marker_headers(marker: &Object) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
    if let Ok(id) = HeaderValue::from_str(&marker.version_id()) {
        headers.insert("x-amz-version-id", id);
    }
    headers
}

impl From<StoreError> for S3Error {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::NoSuchBucket => S3ErrorCode::NoSuchBucket,
            StoreError::NoSuchKey => S3ErrorCode::NoSuchKey,
            StoreError::NoSuchVersion => S3ErrorCode::NoSuchVersion,
            StoreError::Marker(marker) => return is_marker(marker),
            StoreError::NoSuchUpload => S3ErrorCode::NoSuchUpload,
            StoreError::InvalidName => S3ErrorCode::InvalidBucketName,
            StoreError::BucketExists => S3ErrorCode::BucketAlreadyOwnedByYou,
            StoreError::BucketTaken => S3ErrorCode::BucketAlreadyExists,
            StoreError::NotEmpty | StoreError::HasVersions => S3ErrorCode::BucketNotEmpty,
            StoreError::ConditionFailed => S3ErrorCode::PreconditionFailed,
            StoreError::Damaged(_) | StoreError::Io(_) | StoreError::NotStored(_) => {
                S3ErrorCode::InternalError
            }
        };
        S3Error::with_message(code, error.to_string())
    }
}
