//! One JSON line per request on standard output, written in blocks.
//!
//! Lines gather per thread and go to a writer thread through a bounded channel that drops rather
//! than waits: a slow disk must not slow forecasts. What was dropped is counted in the metrics.

use std::cell::RefCell;
use std::io::Write;
use std::sync::OnceLock;
use std::time::Duration;

use http::HeaderName;
use serde::Serialize;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Longest time that a line waits.
pub const FLUSH_EVERY: Duration = Duration::from_millis(500);
/// Size of a block.
const BLOCK_BYTES: usize = 16 * 1024;
/// Blocks that wait to be written.
const BLOCKS_MAX: usize = 256;
/// Longest trace id that is logged; others are left out.
const TRACE_BYTES_MAX: usize = 128;

/// Headers that name a trace.
static AMAZON: HeaderName = HeaderName::from_static("x-amzn-trace-id");
static STANDARD: HeaderName = HeaderName::from_static("traceparent");

static WRITER: OnceLock<NonBlocking> = OnceLock::new();

thread_local! {
    static LINES: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(BLOCK_BYTES + 1024));
}

/// One answered request.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    /// When it was answered, RFC 3339 in UTC.
    pub timestamp: jiff::Timestamp,
    /// Always `access`.
    pub target: &'static str,
    /// Method.
    pub method: &'a str,
    /// The route; `other` for an unknown path.
    pub path: &'a str,
    /// Status of the answer.
    pub status: u16,
    /// Time to answer, in microseconds.
    pub micros: u64,
    /// Model version in service.
    pub model_version: &'a str,
    /// What the client calls the request, from `X-Amzn-Trace-Id` or `traceparent`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<&'a str>,
}

/// Starts writing; lines before it are not kept. The guard writes what is left when it is dropped.
pub fn start() -> Option<WorkerGuard> {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(BLOCKS_MAX)
        .lossy(true)
        .finish(std::io::stdout());
    WRITER.set(writer).ok().map(|()| guard)
}

/// Blocks that were dropped because the writer could not keep up.
pub fn dropped_blocks() -> usize {
    WRITER.get().map(NonBlocking::error_counter).map_or(0, |c: ErrorCounter| c.dropped_lines())
}

/// Adds a line.
pub fn record(line: &Line<'_>) {
    if WRITER.get().is_none() {
        return;
    }
    let full = LINES.with_borrow_mut(|lines| {
        // Writing JSON to memory does not fail.
        let _ = serde_json::to_writer(&mut *lines, line);
        lines.push(b'\n');
        lines.len() >= BLOCK_BYTES
    });
    if full {
        flush();
    }
}

/// Hands this thread's lines to the writer.
pub fn flush() {
    let Some(writer) = WRITER.get() else { return };
    LINES.with_borrow_mut(|lines| {
        if !lines.is_empty() {
            // Counted by the writer when it is dropped.
            let _ = writer.clone().write_all(lines);
            lines.clear();
        }
    });
}

/// A trace id that is safe to log.
pub fn trace_id(headers: &http::HeaderMap) -> Option<&str> {
    let value = headers.get(&AMAZON).or_else(|| headers.get(&STANDARD))?.to_str().ok()?;
    (value.len() <= TRACE_BYTES_MAX).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_taken_from_either_header_unless_it_is_too_long() {
        let headers = |name: &'static str, value: &str| {
            http::HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                value.parse().expect("a value"),
            )])
        };
        let lambda =
            headers("x-amzn-trace-id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1");
        assert_eq!(trace_id(&lambda), Some("Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"));
        assert_eq!(trace_id(&headers("traceparent", "00-a-b-01")), Some("00-a-b-01"));
        assert_eq!(trace_id(&headers("traceparent", &"x".repeat(129))), None);
        assert_eq!(trace_id(&http::HeaderMap::new()), None);
    }
}
