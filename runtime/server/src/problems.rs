//! Every way a request can fail, as a problem document.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use steppe_wire::problem::{CONTENT_TYPE, Problem};
use thiserror::Error;

/// Why a request was not answered with a forecast.
#[derive(Debug, Error)]
pub enum RequestError {
    /// The body is not a request.
    #[error("{0}")]
    Invalid(String),
    /// The body is too large.
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(usize),
    /// Another bucket than the server's.
    #[error("bucket `{asked}` is not this server's; it reads only `{own}`")]
    WrongBucket {
        /// The bucket asked for.
        asked: String,
        /// The server's bucket.
        own: String,
    },
    /// The body does not say that it is JSON.
    #[error(
        "the body's content type is `{0}`; expected `application/json`, or at \
         `/invocations` of a model about rows `text/csv` or `application/jsonlines`"
    )]
    WrongType(String),
    /// The request addresses another host.
    #[error("this server is not `{0}`; address it by its IP address, or name it in `STEPPE_HOSTS`")]
    WrongHost(String),
    /// A page of another site asks.
    #[error("requests from pages of other sites are not answered; this one is from `{0}`")]
    OtherSite(String),
    /// The server may not read the data set.
    #[error("this server may not read `{0}`; data sets lie below `processed/`")]
    Denied(String),
    /// No such data set.
    #[error("there is no data set at `{0}`; run the cleaning job first")]
    NoDataset(String),
    /// The data set is there, but cannot be used.
    #[error("the data set at `{key}` cannot be used: {reason}")]
    BadDataset {
        /// Its key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A series that the data set does not have.
    #[error("there is no series `{name}`{hint}")]
    UnknownSeries {
        /// The name.
        name: String,
        /// A similar name, or how many there are.
        hint: String,
    },
    /// Too short a history.
    #[error("series `{name}` has {length} values; the model needs {needed}")]
    TooShort {
        /// The series.
        name: String,
        /// Its values.
        length: usize,
        /// Values needed.
        needed: usize,
    },
    /// Observations in the request that cannot be used.
    #[error("the history of `{series}` cannot be used: {reason}")]
    BadHistory {
        /// The series.
        series: String,
        /// What is wrong.
        reason: String,
    },
    /// A row in the request that cannot be used.
    #[error("rows[{row}]: {reason}")]
    BadRow {
        /// The number of the row, from 0.
        row: usize,
        /// What is wrong.
        reason: String,
    },
    /// An entity that the data set does not have.
    #[error("there is no row about `{name}`{hint}")]
    UnknownEntity {
        /// The name.
        name: String,
        /// A similar name, or how many there are.
        hint: String,
    },
    /// More steps than the model was trained for.
    #[error("the horizon is {asked}; this model forecasts 1 to {max} steps")]
    Horizon {
        /// Steps asked for.
        asked: usize,
        /// Steps at most.
        max: usize,
    },
    /// A forecast beyond the range of numbers.
    #[error(
        "the answer about `{0}` is not a finite number; are its values in the units of the \
         training?"
    )]
    NotFinite(String),
    /// More numbers than one answer may have.
    #[error(
        "the answer would be too large; ask for fewer series, steps or rows, or without quantiles \
         or reasons"
    )]
    AnswerTooLarge,
    /// Another model version than the one in service.
    #[error("model version `{asked}` is not in service; `{serving}` is")]
    WrongVersion {
        /// The version asked for.
        asked: String,
        /// The version in service.
        serving: String,
    },
    /// S3 did not answer as expected.
    #[error("reading `{key}` from S3 failed: {reason}")]
    Storage {
        /// The key.
        key: String,
        /// What S3 said.
        reason: String,
    },
    /// The queue is full.
    #[error("{0} requests are waiting already")]
    Busy(usize),
    /// Too much is waiting to be taken.
    #[error("too many large answers wait to be taken by their clients")]
    Untaken,
    /// The answer came too late.
    #[error("the request was not answered within {0} seconds")]
    Deadline(u64),
    /// A defect of this program.
    #[error("the server failed on this request; its log says where")]
    Internal,
    /// The server is about to stop.
    #[error("the server is stopping")]
    Draining,
    /// No such path or method.
    #[error("{0}")]
    NotFound(String),
}

impl RequestError {
    /// The problem document.
    pub fn problem(&self) -> Problem {
        let (status, slug, title) = match self {
            Self::Invalid(_) => (400, "invalid-request", "The request is not valid"),
            Self::BodyTooLarge(_) => (413, "body-too-large", "The body is too large"),
            Self::WrongBucket { .. } => (403, "wrong-bucket", "The bucket is not this server's"),
            Self::WrongType(_) => (415, "not-json", "The body is not JSON"),
            Self::WrongHost(_) => (421, "wrong-host", "The request is for another host"),
            Self::OtherSite(_) => (403, "other-site", "The request is from another site"),
            Self::Denied(_) => (403, "data-set-denied", "The data set may not be read"),
            Self::NoDataset(_) => (404, "no-data-set", "The data set does not exist"),
            Self::BadDataset { .. } => (422, "bad-data-set", "The data set cannot be used"),
            Self::UnknownSeries { .. } => (404, "unknown-series", "The series does not exist"),
            Self::TooShort { .. } => (422, "series-too-short", "The series is too short"),
            Self::BadHistory { .. } => (422, "bad-history", "The history cannot be used"),
            Self::BadRow { .. } => (422, "bad-row", "A row cannot be used"),
            Self::UnknownEntity { .. } => (404, "unknown-entity", "There is no row about this"),
            Self::Horizon { .. } => (422, "horizon", "The horizon is out of range"),
            Self::NotFinite(_) => (422, "not-finite", "The forecast is not a finite number"),
            Self::AnswerTooLarge => (422, "answer-too-large", "The answer would be too large"),
            Self::WrongVersion { .. } => {
                (409, "wrong-model-version", "The model version is not in service")
            }
            Self::Storage { .. } => (502, "storage", "The storage did not answer as expected"),
            Self::Busy(_) => (429, "busy", "Too many requests are waiting"),
            Self::Untaken => (429, "untaken", "Too many answers wait to be taken"),
            Self::Internal => (500, "internal", "The server failed"),
            Self::Deadline(_) => (503, "deadline", "The answer took too long"),
            Self::Draining => (503, "draining", "The server is stopping"),
            Self::NotFound(_) => (404, "not-found", "There is nothing at this path"),
        };
        Problem::new(status, slug, title, self.to_string())
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let problem = self.problem();
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&problem)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if matches!(status.as_u16(), 429 | 503) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
