//! Bodies that nobody read, because the request was refused before.
//!
//! A connection that is closed with unread bytes in it is reset, and the client may never see why
//! it was refused. So what is left of a short body is read; after a long one, and when the client
//! waits to be told to go on, the answer says that the connection ends.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body as AxumBody;
use axum::http::{HeaderValue, header};
use bytes::Bytes;
use futures::StreamExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use s3s::{Body, HttpRequest, HttpResponse};
use tokio::sync::oneshot;

/// Bytes of a refused request that are read.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long they may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// A body that is given back when it is dropped before its end.
pub struct Returning {
    inner: Option<AxumBody>,
    back: Option<oneshot::Sender<AxumBody>>,
}

impl Returning {
    /// The request with such a body, and where what nobody read of it will be.
    pub fn wrap(request: axum::extract::Request) -> (HttpRequest, Unread) {
        let (send, receive) = oneshot::channel();
        let returning = |body| Self { inner: Some(body), back: Some(send) };
        (request.map(returning).map(Body::http_body_unsync), Unread(receive))
    }
}

impl HttpBody for Returning {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.inner.as_mut() {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Returning {
    fn drop(&mut self) {
        if let (Some(body), Some(back)) = (self.inner.take(), self.back.take())
            && !body.is_end_stream()
        {
            // Nobody waits for the body of a request that succeeded.
            drop(back.send(body));
        }
    }
}

/// Where the rest of a body comes back to.
pub struct Unread(oneshot::Receiver<AxumBody>);

impl Unread {
    /// Reads the rest, or lets the answer say that the connection ends.
    pub async fn end(mut self, waits: bool, response: &mut HttpResponse) {
        let Ok(body) = self.0.try_recv() else { return };
        if waits || !is_drained(body).await {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

async fn is_drained(body: AxumBody) -> bool {
    let drain = async {
        let mut left = BYTES_MAX;
        let mut stream = body.into_data_stream();
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(bytes) if bytes.len() <= left => left -= bytes.len(),
                _ => return false,
            }
        }
        true
    };
    tokio::time::timeout(TIME_MAX, drain).await.unwrap_or(false)
}
