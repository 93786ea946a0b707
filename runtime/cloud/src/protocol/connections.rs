//! Connections: how many there are, and how long a client may keep one waiting.
//!
//! A head must arrive within [`Limits::head`], which also closes connections without work; of a
//! body [`PROGRESS_BYTES`] must come within [`Limits::stall`], and an answer must be read on within
//! it. What a request does may take as long as it takes.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, Sleep};

/// What clients may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at the same time; more wait in the system's queue.
    pub connections: usize,
    /// Time for the head of a request, also of the next one on a connection that is kept.
    pub head: Duration,
    /// Time without any progress of a body or an answer.
    pub stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 512, head: Duration::from_secs(30), stall: Duration::from_secs(60) }
    }
}

/// Less is no progress of a body: a client that sends a byte a minute holds a connection for ever.
const PROGRESS_BYTES: usize = 1_024;
/// Bytes of a body that are read although nobody wants them.
const UNREAD_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Pause when the process has no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Serves until `stop` is notified, and then until no request is under way.
pub async fn serve<A, F>(listener: TcpListener, stop: Arc<Notify>, limits: Limits, answer: A)
where
    A: Fn(SocketAddr, Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let stopped = stop.notified();
    tokio::pin!(stopped);
    loop {
        let next = async {
            let permit = permits.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            accepted = next => accepted,
            () = &mut stopped => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(EXHAUSTED).await;
                continue;
            }
        };
        // Head and body of an answer are two writes; the second must not wait for an
        // acknowledgement of the first.
        stream.set_nodelay(true).unwrap_or_else(|e| tracing::debug!("no TCP_NODELAY: {e}"));
        let answer = answer.clone();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let patient = |body| Body::new(PatientBody::new(body, limits.stall));
            let answered = answer(peer, request.map(patient));
            async move { Ok::<_, std::convert::Infallible>(answered.await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head)
            .serve_connection(TokioIo::new(PatientStream::new(stream, limits.stall)), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let ended = connection.await;
            ended.unwrap_or_else(|e| tracing::debug!("a connection broke off: {e}"));
            drop(permit);
        });
    }
    graceful.shutdown().await;
}

/// A deadline that begins with the first moment of waiting and ends with any progress.
struct Patience {
    limit: Duration,
    sleep: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, sleep: Box::pin(tokio::time::sleep(limit)), waiting: false }
    }

    /// Whether the other side has been waited for too long.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.waiting {
            self.waiting = true;
            let end = Instant::now() + self.limit;
            self.sleep.as_mut().reset(end);
        }
        self.sleep.as_mut().poll(cx).is_ready()
    }
}

/// The body of a request whose sender must go on. What nobody reads of it is read all the same: a
/// sender whose connection is closed while it writes does not see the answer, which says why.
struct PatientBody {
    /// None once it has ended.
    body: Option<Incoming>,
    patience: Patience,
    /// Bytes since the patience began.
    progress: usize,
}

impl PatientBody {
    fn new(body: Incoming, limit: Duration) -> Self {
        Self { body: Some(body), patience: Patience::new(limit), progress: 0 }
    }
}

impl Drop for PatientBody {
    fn drop(&mut self) {
        let limit = self.patience.limit;
        let rest = self.body.take().filter(|body| !hyper::body::Body::is_end_stream(body));
        if let (Some(rest), Ok(runtime)) = (rest, tokio::runtime::Handle::try_current()) {
            runtime.spawn(unread(rest, limit));
        }
    }
}

/// Reads what is left of a body, at most [`UNREAD_BYTES_MAX`].
async fn unread(mut body: Incoming, limit: Duration) {
    let mut bytes = 0;
    while bytes < UNREAD_BYTES_MAX {
        match tokio::time::timeout(limit, body.frame()).await {
            Ok(Some(Ok(frame))) => bytes += frame.data_ref().map_or(0, Bytes::len),
            _ => return,
        }
    }
}

impl hyper::body::Body for PatientBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(frame) => {
                match &frame {
                    Some(Ok(frame)) => self.progress += frame.data_ref().map_or(0, Bytes::len),
                    _ => self.body = None,
                }
                if self.progress >= PROGRESS_BYTES {
                    (self.patience.waiting, self.progress) = (false, 0);
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending if self.patience.is_over(cx) => {
                Poll::Ready(Some(Err("the sender of the body sends too little".into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

/// A connection whose client must read what it is sent.
struct PatientStream {
    stream: TcpStream,
    patience: Patience,
}

impl PatientStream {
    fn new(stream: TcpStream, limit: Duration) -> Self {
        Self { stream, patience: Patience::new(limit) }
    }

    fn patiently<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<std::io::Result<T>>,
    ) -> Poll<std::io::Result<T>> {
        match written {
            Poll::Pending if self.patience.is_over(cx) => {
                Poll::Ready(Err(std::io::ErrorKind::TimedOut.into()))
            }
            Poll::Pending => Poll::Pending,
            done => {
                self.patience.waiting = false;
                done
            }
        }
    }
}

impl AsyncRead for PatientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PatientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.patiently(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.patiently(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse;
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

    use super::*;

    /// A server with short limits; answers with the length of the body, or with much.
    async fn server(connections: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let short = Duration::from_millis(200);
        let limits = Limits { connections, head: short, stall: short };
        tokio::spawn(serve(listener, Arc::default(), limits, |_, request| async move {
            if request.uri().path() == "/much" {
                return vec![0_u8; 64 * 1024 * 1024].into_response();
            }
            match axum::body::to_bytes(request.into_body(), usize::MAX).await {
                Ok(body) => body.len().to_string().into_response(),
                Err(error) => {
                    (axum::http::StatusCode::REQUEST_TIMEOUT, error.to_string()).into_response()
                }
            }
        }));
        address
    }

    async fn begun(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.expect("connects");
        stream.write_all(text.as_bytes()).await.expect("sent");
        stream
    }

    /// What comes until the other side closes the connection.
    async fn rest(mut stream: TcpStream) -> String {
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        read.map_or_else(|e| e.to_string(), |_| String::from_utf8_lossy(&answer).into_owned())
    }

    #[tokio::test]
    async fn heads_that_do_not_end_are_cut_off() {
        let address = server(64).await;
        for begin in ["", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
            let said = rest(begun(address, begin).await).await;
            assert!(!said.starts_with("HTTP/1.1 200"), "{said}");
        }
    }

    #[tokio::test]
    async fn bodies_that_do_not_go_on_are_cut_off() {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc";
        let said = rest(begun(server(64).await, head).await).await;
        assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    }

    #[tokio::test]
    async fn bodies_that_trickle_are_cut_off() {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
        let (read, mut write) = begun(server(64).await, head).await.into_split();
        let trickle = async {
            while write.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let mut answer = Vec::new();
        let mut read = BufReader::new(read);
        tokio::select! {
            () = trickle => {}
            _ = read.read_until(b'\n', &mut answer) => {}
        }
        let said = String::from_utf8_lossy(&answer);
        assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    }

    #[tokio::test]
    async fn connections_are_given_back_by_those_who_hold_them() {
        let address = server(2).await;
        let much = "GET /much HTTP/1.1\r\nHost: x\r\n\r\n";
        let holders = [begun(address, much).await, begun(address, "GET").await];
        let next = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let said = rest(begun(address, next).await).await;
        assert!(said.starts_with("HTTP/1.1 200"), "{said}");
        drop(holders);
    }
}
