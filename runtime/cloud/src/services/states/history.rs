//! The history of one execution: a file with one event per line.
//!
//! It is also the journal that a redrive reads ([`super::progress`]): what that needs besides AWS's
//! own members stands in members that begin with an underscore, which nobody else is shown.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::interpreter::Failure;
use crate::kernel::clock::Clock;
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Events of one execution, as in AWS.
pub const EVENTS_MAX: u64 = 25_000;
/// Events kept free for what ends an execution.
const EVENTS_RESERVED: u64 = 10;

/// A history that is being written.
pub struct History {
    writer: Mutex<Writer>,
    clock: Clock,
}

struct Writer {
    file: Option<std::fs::File>,
    events: u64,
    broken: Option<String>,
}

fn path(cloud: &Cloud, arn: &str) -> PathBuf {
    cloud.path("executions").join(format!("{}.ndjson", hex::encode(&Sha256::digest(arn)[..16])))
}

impl History {
    /// Begins the history of an execution.
    pub fn new(cloud: &Cloud, arn: &str) -> Self {
        Self::opened(cloud, open(&path(cloud, arn)), 0)
    }

    /// Goes on with the history of an execution; the events that it has. An event of which a crash
    /// left half is cut off.
    pub fn resume(cloud: &Cloud, arn: &str) -> (Self, Vec<Value>) {
        let path = path(cloud, arn);
        let read = open(&path).and_then(|file| {
            let (events, bytes) = whole_events(&path)?;
            file.set_len(bytes)?;
            Ok((file, events))
        });
        match read {
            Ok((file, events)) => {
                let written = events.len() as u64;
                (Self::opened(cloud, Ok(file), written), events)
            }
            Err(error) => (Self::opened(cloud, Err(error), 0), vec![]),
        }
    }

    fn opened(cloud: &Cloud, file: std::io::Result<std::fs::File>, events: u64) -> Self {
        let (file, broken) = match file {
            Ok(file) => (Some(file), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let writer = Mutex::new(Writer { file, events, broken });
        Self { writer, clock: cloud.clock.clone() }
    }

    /// A history that nobody reads.
    pub fn unread(cloud: &Cloud) -> Self {
        let writer = Mutex::new(Writer { file: None, events: 0, broken: None });
        Self { writer, clock: cloud.clock.clone() }
    }

    /// Number of events.
    pub fn events(&self) -> u64 {
        self.writer.lock().events
    }

    /// Adds an event. A disk that refuses it ends the execution at its next state.
    pub fn add(&self, kind: &str, details: Value) {
        let mut writer = self.writer.lock();
        let Writer { file, events, broken } = &mut *writer;
        *events += 1;
        let mut event = json!({
            "timestamp": epoch_secs(self.clock.now()), "type": kind, "id": *events,
            "previousEventId": *events - 1,
        });
        if let (Value::Object(event), Value::Object(details)) = (&mut event, details) {
            event.extend(details);
        }
        if let Some(Err(error)) =
            file.as_mut().map(|f| f.write_all(format!("{event}\n").as_bytes()))
        {
            tracing::error!("an event of a history is lost: {error}");
            *broken = Some(error.to_string());
        }
    }

    /// Whether the execution may go on: there is room for more events, and they can be written.
    pub fn check(&self) -> Result<(), Failure> {
        let writer = self.writer.lock();
        if let Some(error) = &writer.broken {
            let cause = format!("the embedded cloud cannot write the history: {error}");
            return Err(Failure::new("States.Runtime", cause));
        }
        if writer.events >= EVENTS_MAX - EVENTS_RESERVED {
            let cause = "The execution reached the maximum number of history events (25000).";
            return Err(Failure::new("States.Runtime", cause));
        }
        Ok(())
    }
}

fn open(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::create_dir_all(path.parent().unwrap_or(path))?;
    std::fs::OpenOptions::new().create(true).append(true).open(path)
}

/// The events of a file, and the bytes that they take from its beginning.
fn whole_events(path: &Path) -> std::io::Result<(Vec<Value>, u64)> {
    let mut reader = std::io::BufReader::new(std::fs::File::open(path)?);
    let (mut events, mut bytes, mut line) = (vec![], 0, vec![]);
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        match serde_json::from_slice(&line) {
            Ok(event) if line.last() == Some(&b'\n') => events.push(event),
            _ => return Ok((events, bytes)),
        }
        bytes += read as u64;
    }
}

/// Forgets the history of an execution that is no longer kept.
pub fn delete(cloud: &Cloud, arn: &str) {
    match std::fs::remove_file(path(cloud, arn)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!("the history of {arn} stays: {e}");
        }
        _ => {}
    }
}

/// `GetExecutionHistory`, page by page.
pub fn read(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let (arn, _) = super::find(call)?;
    let mut events = match whole_events(&path(cloud, arn)) {
        Ok((events, _)) => events,
        // The execution is known, and its first event is not written yet.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(ApiError::internal(error)),
    };
    for event in events.iter_mut().filter_map(Value::as_object_mut) {
        event.retain(|name, _| !name.starts_with('_'));
    }
    if params["reverseOrder"] == true {
        events.reverse();
    }
    if params["includeExecutionData"] == false {
        events.iter_mut().for_each(without_data);
    }
    super::page(params, "events", events)
}

fn without_data(event: &mut Value) {
    let details = event.as_object_mut().into_iter().flatten().map(|(_, value)| value);
    for fields in details.filter_map(Value::as_object_mut) {
        fields.retain(|name, _| {
            !matches!(name.as_str(), "input" | "output" | "parameters" | "assignedVariables")
        });
    }
}
