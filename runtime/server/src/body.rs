//! Bodies in both directions, with their bounds: what a request may bring, and how much of finished
//! answers may wait for clients that are slow to take them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problems::RequestError;

/// Answers up to this size are bounded by the number of connections alone.
const SMALL_BYTES: usize = 64 * 1024;
/// What the memory for large answers is counted in.
const UNIT_BYTES: usize = 1_024;

/// The whole body, at most `bytes_max` of it.
pub async fn body_of(request: Request, bytes_max: usize) -> Result<Bytes, RequestError> {
    let too_large = || RequestError::BodyTooLarge(bytes_max);
    // What announces that it is too large is not read at all.
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large());
    }
    axum::body::to_bytes(request.into_body(), bytes_max).await.map_err(|_| too_large())
}

/// The media type of a body without its parameters, in lower case; empty when none is given.
pub fn media_type(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).map_or("", |v| v.to_str().unwrap_or("?"));
    given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Refuses a body that does not say that it is JSON: a page of another site may send any text, but
/// not under this name.
pub fn check_json(headers: &HeaderMap) -> Result<(), RequestError> {
    // What nearly every client sends, without a copy.
    let given = headers.get(header::CONTENT_TYPE).map(|v| v.as_bytes());
    if given == Some(b"application/json") {
        return Ok(());
    }
    match media_type(headers) {
        json if json == "application/json" || json.ends_with("+json") => Ok(()),
        other => Err(RequestError::WrongType(other)),
    }
}

/// Memory for large answers that clients have not taken yet.
#[derive(Debug)]
pub struct Untaken {
    units: Arc<Semaphore>,
    bytes: usize,
}

impl Untaken {
    /// At most about `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self { units: Arc::new(Semaphore::new(bytes / UNIT_BYTES)), bytes }
    }

    /// `answer` as a body whose memory counts until the client has taken it.
    pub fn body(&self, answer: Vec<u8>) -> Result<Body, RequestError> {
        if answer.len() <= SMALL_BYTES {
            return Ok(Body::from(answer));
        }
        let units = answer.len().div_ceil(UNIT_BYTES);
        if answer.len() > self.bytes {
            return Err(RequestError::AnswerTooLarge);
        }
        let units = u32::try_from(units).map_err(|_| RequestError::AnswerTooLarge)?;
        let held = self.units.clone().try_acquire_many_owned(units);
        let _held = held.map_err(|_| RequestError::Untaken)?;
        Ok(Body::new(Parts(Bytes::from_owner(Held { answer, _held }))))
    }
}

/// A large answer in parts, because a connection copies what it sends: one part at a time, and the
/// memory of the whole counts until the last part is on its way.
struct Parts(Bytes);

impl hyper::body::Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let length = self.0.len().min(SMALL_BYTES);
        let part = (length > 0).then(|| Ok(Frame::data(self.0.split_to(length))));
        Poll::Ready(part)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

/// An answer and its share of the memory.
struct Held {
    answer: Vec<u8>,
    _held: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn large_answers_wait_within_a_bound_and_small_ones_do_not_count() {
        let untaken = Untaken::new(300 * 1024);
        let first = untaken.body(vec![0; 200 * 1024]).expect("fits");
        assert!(matches!(untaken.body(vec![0; 200 * 1024]), Err(RequestError::Untaken)));
        assert!(untaken.body(vec![0; SMALL_BYTES]).is_ok());
        drop(first);
        assert!(untaken.body(vec![0; 200 * 1024]).is_ok(), "what was taken counts no more");
        assert!(matches!(untaken.body(vec![0; 400 * 1024]), Err(RequestError::AnswerTooLarge)));
    }

    #[tokio::test]
    async fn a_large_answer_comes_in_parts_and_whole() {
        let answer: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        let untaken = Untaken::new(300 * 1024);
        let mut body = untaken.body(answer.clone()).expect("fits");
        assert_eq!(hyper::body::Body::size_hint(&body).exact(), Some(200_000));
        let mut taken = Vec::new();
        while let Some(frame) = body.frame().await {
            let part = frame.expect("a frame").into_data().expect("data");
            assert!((1..=SMALL_BYTES).contains(&part.len()));
            assert_eq!(untaken.units.available_permits() < 200, !part.is_empty());
            taken.extend_from_slice(&part);
        }
        assert!(taken == answer && untaken.units.available_permits() == 300);
    }

    #[test]
    fn json_is_known_by_its_name() {
        let check = |value: Option<&str>| {
            let mut headers = HeaderMap::new();
            value.map(|v| headers.insert(header::CONTENT_TYPE, v.parse().expect("a value")));
            check_json(&headers).is_ok()
        };
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/x+json"] {
            assert!(check(Some(json)), "{json}");
        }
        for other in ["text/plain", "text/plain; application/json", "", "multipart/form-data"] {
            assert!(!check(Some(other)), "{other}");
        }
        assert!(!check(None));
    }
}
