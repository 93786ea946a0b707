//! What a process of a function writes, on its way to the log group.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::net::unix::pipe;

use crate::kernel::cloud::Cloud;
use crate::services::logs;

/// Longest line; what is longer becomes several.
const LINE_BYTES_MAX: usize = 256 * 1024;
/// What `LogType=Tail` answers with at most.
const TAIL_BYTES_MAX: usize = 4 * 1024;
/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// Reads before others have a turn: more than a pipe holds.
const READS_MAX: usize = 8;

/// Output of a process, standard output and standard error in one.
#[derive(Debug)]
pub struct Log {
    cloud: Arc<Cloud>,
    group: String,
    /// Name of its stream.
    pub stream: String,
    /// Whether the function's role may write; without that it runs all the same.
    allowed: bool,
    pipe: pipe::Receiver,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// A line whose end has not come yet.
    partial: Vec<u8>,
    /// The newest bytes of the invocation that goes on.
    tail: Vec<u8>,
}

impl Log {
    /// A log of what comes out of `pipe`.
    pub fn new(
        cloud: &Arc<Cloud>,
        group: &str,
        stream: String,
        allowed: bool,
        pipe: io::PipeReader,
    ) -> io::Result<Arc<Self>> {
        let pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(pipe))?;
        let log = Arc::new(Self {
            cloud: cloud.clone(),
            group: group.to_owned(),
            stream,
            allowed,
            pipe,
            state: Mutex::default(),
        });
        tokio::spawn(log.clone().keep());
        Ok(log)
    }

    /// Reads until everybody has closed the pipe, so that the function never waits for it.
    async fn keep(self: Arc<Self>) {
        while self.pipe.readable().await.is_ok() {
            if self.drain() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Keeps what has been written so far; whether that was the end.
    pub fn drain(&self) -> bool {
        let mut state = self.state();
        let mut lines = Vec::new();
        let mut buffer = [0; READ_BYTES];
        let mut ended = false;
        for _ in 0..READS_MAX {
            match self.pipe.try_read(&mut buffer) {
                Ok(0) => ended = true,
                Ok(count) => take_lines(&mut state.partial, &buffer[..count], &mut lines),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => ended = true,
            }
            if ended {
                break;
            }
        }
        if ended && !state.partial.is_empty() {
            lines.push(text(&std::mem::take(&mut state.partial)));
        }
        self.keep_lines(&mut state, &lines);
        ended
    }

    /// Adds lines of Lambda itself.
    pub fn add(&self, lines: &[String]) {
        self.keep_lines(&mut self.state(), lines);
    }

    fn keep_lines(&self, state: &mut State, lines: &[String]) {
        for line in lines {
            state.tail.extend(line.bytes());
            state.tail.push(b'\n');
        }
        let surplus = state.tail.len().saturating_sub(TAIL_BYTES_MAX);
        state.tail.drain(..surplus);
        if self.allowed && !lines.is_empty() {
            let kept = logs::append(&self.cloud, &self.group, &self.stream, lines);
            kept.unwrap_or_else(|e| tracing::debug!("lines of a log are lost: {e}"));
        }
    }

    /// Begins an invocation of a version.
    pub fn begin(&self, id: &str, version: &str) {
        let mut state = self.state();
        state.tail.clear();
        self.keep_lines(&mut state, &[format!("START RequestId: {id} Version: {version}")]);
    }

    /// The newest bytes of the invocation.
    pub fn tail(&self) -> Vec<u8> {
        self.state().tail.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

fn take_lines(partial: &mut Vec<u8>, bytes: &[u8], lines: &mut Vec<String>) {
    for part in bytes.split_inclusive(|b| *b == b'\n') {
        partial.extend(part);
        if partial.last() == Some(&b'\n') {
            partial.pop();
            lines.push(text(partial));
            partial.clear();
        } else if partial.len() >= LINE_BYTES_MAX {
            lines.push(text(partial));
            partial.clear();
        }
    }
}

/// Bytes that are no text are shown as such; they must not end the log.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_need_not_be_text() {
        let (mut partial, mut lines) = (Vec::new(), Vec::new());
        take_lines(&mut partial, b"a\n\xff", &mut lines);
        take_lines(&mut partial, b"b\nc", &mut lines);
        assert_eq!(
            (lines.as_slice(), partial.as_slice()),
            (&["a".into(), "\u{fffd}b".into()][..], &b"c"[..])
        );
        for _ in 0..40 {
            take_lines(&mut partial, &[b'x'; READ_BYTES], &mut lines);
        }
        assert!(partial.len() < LINE_BYTES_MAX + READ_BYTES);
        assert_eq!(lines.len(), 4);
    }
}
