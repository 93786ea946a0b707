//! Conditions of requests: of readers, of writers, and of copies on their source.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html>

use axum::http::{HeaderMap, HeaderValue, header};
use s3s::dto::{ETag, ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3Error, S3ErrorCode, S3Result};

use super::errors::{invalid_argument, not_implemented, precondition_failed};
use super::store::{Condition, Object, StoreError, Which, sequence_of};

/// What a reader expects of an object, or a copy of its source.
#[derive(Default)]
pub struct ReadConditions {
    /// `If-Match`.
    pub matches: Option<ETagCondition>,
    /// `If-None-Match`.
    pub matches_not: Option<ETagCondition>,
    /// `If-Modified-Since`.
    pub modified_since: Option<Timestamp>,
    /// `If-Unmodified-Since`.
    pub unmodified_since: Option<Timestamp>,
}

/// What the conditions come to.
enum Verdict {
    Holds,
    Failed,
    NotModified,
}

impl ReadConditions {
    /// A condition on ETags outweighs its partner on times, as RFC 9110 has it.
    fn judge(&self, object: &Object) -> Verdict {
        // HTTP dates know whole seconds.
        let modified = object.modified.as_second();
        match &self.matches {
            Some(tag) if !is(tag, object) => return Verdict::Failed,
            None if self.unmodified_since.as_ref().is_some_and(|t| modified > epoch_secs(t)) => {
                return Verdict::Failed;
            }
            _ => {}
        }
        match &self.matches_not {
            Some(tag) if is(tag, object) => Verdict::NotModified,
            None if self.modified_since.as_ref().is_some_and(|t| modified <= epoch_secs(t)) => {
                Verdict::NotModified
            }
            _ => Verdict::Holds,
        }
    }

    /// For GET and HEAD: what has not changed is 304.
    pub fn check_read(&self, object: &Object) -> S3Result<()> {
        match self.judge(object) {
            Verdict::Holds => Ok(()),
            Verdict::Failed => Err(precondition_failed()),
            Verdict::NotModified => Err(not_modified(object)),
        }
    }

    /// For copies: whatever does not hold is 412.
    pub fn check_copy(&self, object: &Object) -> S3Result<()> {
        match self.judge(object) {
            Verdict::Holds => Ok(()),
            Verdict::Failed | Verdict::NotModified => Err(precondition_failed()),
        }
    }
}

/// Seconds since 1970; times that cannot be written lie at their beginning.
fn epoch_secs(time: &Timestamp) -> i64 {
    let mut text = Vec::new();
    let written = time.format(TimestampFormat::EpochSeconds, &mut text).is_ok();
    let text = std::str::from_utf8(&text).ok().filter(|_| written);
    text.and_then(|t| t.split('.').next()?.parse().ok()).unwrap_or_default()
}

fn is(condition: &ETagCondition, object: &Object) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(tag) => tag.value() == object.etag,
    }
}

/// 304 tells the ETag and the time, as the answer with the object would.
fn not_modified(object: &Object) -> S3Error {
    let mut error = S3Error::new(S3ErrorCode::NotModified);
    let mut headers = HeaderMap::new();
    if let Ok(tag) = ETag::Strong(object.etag.clone()).to_http_header() {
        headers.insert(header::ETAG, tag);
    }
    let mut text = Vec::new();
    let time: Timestamp = std::time::SystemTime::from(object.modified).into();
    if time.format(TimestampFormat::HttpDate, &mut text).is_ok()
        && let Ok(value) = HeaderValue::from_bytes(&text)
    {
        headers.insert(header::LAST_MODIFIED, value);
    }
    error.set_headers(headers);
    error
}

/// What a writer expects of the object that is there.
#[derive(Debug, Default)]
pub struct WriteConditions {
    matches: Option<ETagCondition>,
    must_be_new: bool,
}

impl WriteConditions {
    /// Reads the conditions; S3 takes only one of them, and `If-None-Match` only as `*`.
    pub fn new(
        if_match: Option<ETagCondition>,
        if_none_match: Option<ETagCondition>,
    ) -> S3Result<Self> {
        match (&if_match, &if_none_match) {
            (Some(_), Some(_)) => Err(not_implemented("If-Match beside If-None-Match")),
            (_, Some(ETagCondition::ETag(_))) => {
                Err(not_implemented("If-None-Match with anything but * when writing"))
            }
            _ => Ok(Self { matches: if_match, must_be_new: if_none_match.is_some() }),
        }
    }

    /// The conditions of a copy on its destination, which `s3s` does not read.
    pub fn of_headers(headers: &HeaderMap) -> S3Result<Self> {
        let read = |name: header::HeaderName| -> S3Result<Option<ETagCondition>> {
            let Some(value) = headers.get(&name) else { return Ok(None) };
            let parsed = ETagCondition::parse_http_header(value.as_bytes());
            parsed.map(Some).map_err(|_| invalid_argument(format!("The header {name} is invalid.")))
        };
        Self::new(read(header::IF_MATCH)?, read(header::IF_NONE_MATCH)?)
    }
}

impl Condition for WriteConditions {
    fn judge(&self, existing: Option<&Object>) -> Result<(), StoreError> {
        match (&self.matches, existing) {
            (Some(_), None) => Err(StoreError::NoSuchKey),
            (Some(tag), Some(object)) if !is(tag, object) => Err(StoreError::ConditionFailed),
            (None, Some(_)) if self.must_be_new => Err(StoreError::ConditionFailed),
            _ => Ok(()),
        }
    }
}

/// What somebody who deletes expects of the object that is there.
pub struct DeleteCondition(pub Option<ETagCondition>);

impl Condition for DeleteCondition {
    fn judge(&self, existing: Option<&Object>) -> Result<(), StoreError> {
        match (&self.0, existing) {
            (Some(_), None) => Err(StoreError::NoSuchKey),
            (Some(tag), Some(object)) if !is(tag, object) => Err(StoreError::ConditionFailed),
            _ => Ok(()),
        }
    }
}

/// The version that a request names.
pub fn which(version: Option<&str>) -> S3Result<Which> {
    match version {
        None => Ok(Which::Current),
        Some("null") => Ok(Which::Null),
        Some("") => Err(invalid_argument("Version id cannot be the empty string")),
        Some(id) if sequence_of(id).is_some() => Ok(Which::Id(id.to_owned())),
        Some(_) => Err(invalid_argument("Invalid version id specified")),
    }
}
