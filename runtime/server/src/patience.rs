//! A stream that gives up on clients who do not take their answers, and reads nothing more from
//! them meanwhile: what a client has not taken cannot grow, and is not kept for ever.

use std::future::Future;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A stream whose answers must be taken within a time.
#[derive(Debug)]
pub struct Patient<S> {
    stream: S,
    limit: Duration,
    /// Ends the wait for a client that is behind; nothing while answers go out as they come.
    behind: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// `stream`, whose client has `limit` to take what is there for it.
    pub fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, behind: None }
    }

    /// What became of a write; one that must wait does so until the limit.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        if outcome.is_ready() {
            return outcome;
        }
        let limit = self.limit;
        let behind = self.behind.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(behind.as_mut().poll(cx));
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client does not take its answers")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        // The write that waits wakes this task.
        if self.behind.is_some() {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when everything has been written: the client is not behind any more.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.behind = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_not_read_from_and_given_up() {
        let (mut client, server) = duplex(16);
        let mut server = Patient::new(server, Duration::from_millis(30));
        client.write_all(b"next").await.expect("sent");
        let error = server.write_all(&[0; 64]).await.expect_err("given up");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let read = tokio::time::timeout(Duration::from_millis(5), server.read(&mut [0; 4])).await;
        assert!(read.is_err(), "nothing is read while the client is behind");
    }

    #[tokio::test]
    async fn a_client_that_caught_up_is_read_from_again() {
        let (mut client, server) = duplex(16);
        let mut server = Patient::new(server, Duration::from_secs(60));
        let taking = async {
            let mut answer = [0; 64];
            client.read_exact(&mut answer).await.expect("taken");
            client.write_all(b"next").await.expect("sent");
        };
        let answering = async {
            server.write_all(&[0; 64]).await.expect("written");
            server.flush().await.expect("flushed");
            server.read_exact(&mut [0; 4]).await.expect("read");
        };
        tokio::join!(taking, answering);
    }
}
