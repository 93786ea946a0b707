//! The history of one execution: a file with one event per line.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::interpreter::Failure;
use crate::cloud::{Cloud, epoch_secs};
use crate::error::{ApiError, ApiResult};

/// Events of one execution, as in AWS.
const EVENTS_MAX: u64 = 25_000;
/// Events kept free for what ends an execution.
const EVENTS_RESERVED: u64 = 10;

/// A history that is being written.
pub struct History {
    writer: Mutex<Writer>,
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
        let path = path(cloud, arn);
        let open = || {
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            std::fs::OpenOptions::new().create(true).append(true).open(&path)
        };
        let (file, broken) = match open() {
            Ok(file) => (Some(file), None),
            Err(error) => (None, Some(error.to_string())),
        };
        Self { writer: Mutex::new(Writer { file, events: 0, broken }) }
    }

    /// Adds an event. A disk that refuses it ends the execution at its next state.
    pub fn add(&self, kind: &str, details: Value) {
        let mut writer = self.writer.lock();
        let Writer { file, events, broken } = &mut *writer;
        *events += 1;
        let mut event = json!({
            "timestamp": epoch_secs(Timestamp::now()), "type": kind, "id": *events,
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
pub fn read(cloud: &Cloud, arn: &str, params: &Value) -> ApiResult {
    let file = std::fs::File::open(path(cloud, arn)).map_err(ApiError::internal)?;
    let lines = std::io::BufReader::new(file).lines().map_while(Result::ok);
    let mut events: Vec<Value> =
        lines.filter_map(|line| serde_json::from_str(&line).ok()).collect();
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
        fields.retain(|name, _| !matches!(name.as_str(), "input" | "output" | "parameters"));
    }
}
