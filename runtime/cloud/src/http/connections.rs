//! Connections: how many there are, and how long a client may keep one waiting.
//!
//! A head must arrive within [`HEAD`], which also closes connections without work; a body must go
//! on within [`STALL`], and so must the reading of an answer. What a request does may take as long
//! as it takes.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::response::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, Sleep};

/// Connections at the same time; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 512;
/// Time for the head of a request.
pub const HEAD: Duration = Duration::from_secs(30);
/// Time without any progress of a body or an answer.
const STALL: Duration = Duration::from_secs(60);
/// Pause when the process has no descriptors left.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// Serves until `stop` is notified, and then until no request is under way.
pub async fn serve<A, F>(listener: TcpListener, stop: Arc<Notify>, answer: A)
where
    A: Fn(SocketAddr, Request<Body>) -> F + Clone + Send + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
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
            let answered = answer(peer, request.map(|body| Body::new(PatientBody::new(body))));
            async move { Ok::<_, std::convert::Infallible>(answered.await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .serve_connection(TokioIo::new(PatientStream::new(stream)), service);
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
    sleep: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Patience {
    fn new() -> Self {
        Self { sleep: Box::pin(tokio::time::sleep(STALL)), waiting: false }
    }

    /// Whether the other side has been waited for too long.
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.waiting {
            self.waiting = true;
            self.sleep.as_mut().reset(Instant::now() + STALL);
        }
        self.sleep.as_mut().poll(cx).is_ready()
    }
}

/// The body of a request whose sender must go on.
struct PatientBody {
    body: Incoming,
    patience: Patience,
}

impl PatientBody {
    fn new(body: Incoming) -> Self {
        Self { body, patience: Patience::new() }
    }
}

impl hyper::body::Body for PatientBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.patience.waiting = false;
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending if self.patience.is_over(cx) => {
                Poll::Ready(Some(Err("the sender of the body stopped sending".into())))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection whose client must read what it is sent.
struct PatientStream {
    stream: TcpStream,
    patience: Patience,
}

impl PatientStream {
    fn new(stream: TcpStream) -> Self {
        Self { stream, patience: Patience::new() }
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
