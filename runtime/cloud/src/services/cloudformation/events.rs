//! What happened to a stack: one line of JSON per event, the newest at the end.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Operation, Resource, STACK, Stack, notifications};
use crate::kernel::cloud::{Cloud, iso};

/// Bytes of a stack's history; when it has more, the older half goes.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Something that happened to a resource or to the stack itself.
pub struct Event<'a> {
    /// Name in the template; the stack's own for the stack.
    pub logical_id: &'a str,
    /// Resource type.
    pub kind: &'a str,
    /// ID of the thing.
    pub physical_id: &'a str,
    /// Status.
    pub status: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
    /// The properties of a resource.
    pub properties: Option<&'a Value>,
}

fn file(cloud: &Cloud, stack_id: &str) -> PathBuf {
    let name = hex::encode(&Sha256::digest(stack_id)[..16]);
    cloud.path("events").join(format!("{name}.ndjson"))
}

/// Adds the status that a stack has now.
pub fn of_stack(cloud: &Cloud, stack_id: &str, stack: &Stack) {
    let event = Event {
        logical_id: &stack.name,
        kind: STACK,
        physical_id: stack_id,
        status: &stack.status,
        reason: stack.reason.as_deref(),
        properties: None,
    };
    add(cloud, stack_id, stack, &event);
}

/// Adds the status that a resource has now.
pub fn of_resource(
    cloud: &Cloud,
    stack_id: &str,
    stack: &Stack,
    logical_id: &str,
    resource: &Resource,
) {
    let event = Event {
        logical_id,
        kind: &resource.kind,
        physical_id: &resource.physical_id,
        status: &resource.status,
        reason: resource.reason.as_deref(),
        properties: Some(&resource.properties),
    };
    add(cloud, stack_id, stack, &event);
}

/// Adds an event to a stack's history. One that cannot be written is lost, because the stack's
/// record and not its history decides.
pub fn add(cloud: &Cloud, stack_id: &str, stack: &Stack, happened: &Event<'_>) {
    let Operation { id: operation, kind, token, .. } = &stack.operation;
    let mut event = json!({
        "StackId": stack_id, "EventId": uuid::Uuid::new_v4().to_string(), "StackName": stack.name,
        "LogicalResourceId": happened.logical_id, "PhysicalResourceId": happened.physical_id,
        "ResourceType": happened.kind, "Timestamp": iso(cloud.clock.now()),
        "ResourceStatus": happened.status, "ClientRequestToken": token,
        "OperationId": operation, "OperationType": kind,
    });
    if let Some(reason) = happened.reason {
        event["ResourceStatusReason"] = reason.into();
    }
    let name = &stack.name;
    append(&file(cloud, stack_id), &event)
        .unwrap_or_else(|e| tracing::error!("an event of `{name}` is lost: {e}"));
    notifications::publish(cloud, stack, &event, happened.properties);
    cloud.faults.event();
}

fn append(path: &Path, event: &Value) -> std::io::Result<()> {
    std::fs::create_dir_all(path.parent().unwrap_or(path))?;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    // In one piece: resources are made side by side, and pieces of two lines make none.
    file.write_all(format!("{event}\n").as_bytes())?;
    if file.metadata()?.len() > BYTES_MAX { halve(path) } else { Ok(()) }
}

/// Forgets the older half of a history.
fn halve(path: &Path) -> std::io::Result<()> {
    let text = std::fs::read_to_string(path)?;
    let middle = text.len() / 2;
    let start = text.as_bytes()[middle..].iter().position(|b| *b == b'\n');
    let newer = start.map_or("", |s| &text[middle + s + 1..]);
    crate::kernel::durable::replace_file(path, newer.as_bytes())
}

/// A stack's events, newest first.
pub fn all(cloud: &Cloud, stack_id: &str) -> Vec<Value> {
    let Ok(file) = std::fs::File::open(file(cloud, stack_id)) else { return Vec::new() };
    let mut events: Vec<Value> = std::io::BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .filter_map(|l| serde_json::from_str(&l).ok())
        .filter(Value::is_object)
        .collect();
    events.reverse();
    events
}

/// Forgets a stack's history.
pub fn forget(cloud: &Cloud, stack_id: &str) {
    match std::fs::remove_file(file(cloud, stack_id)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!("the events of `{stack_id}` cannot be deleted: {e}");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_at_the_same_time_are_lines_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("events.ndjson");
        let event = json!({ "LogicalResourceId": "Bucket", "ResourceStatus": "CREATE_COMPLETE" });
        std::thread::scope(|threads| {
            for _ in 0..8 {
                let write = || (0..100).try_for_each(|_| append(&file, &event));
                threads.spawn(move || write().expect("written"));
            }
        });
        let text = std::fs::read_to_string(&file).expect("read");
        let whole = |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|v| v == event);
        assert_eq!(text.lines().filter(whole).count(), 800);
    }

    #[test]
    fn the_older_half_of_a_long_history_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("events.ndjson");
        let lines: Vec<String> = (0..9).map(|n| format!("{{\"n\":{n}}}")).collect();
        std::fs::write(&file, format!("{}\n", lines.join("\n"))).expect("written");
        halve(&file).expect("halved");
        let left = std::fs::read_to_string(&file).expect("read");
        assert_eq!(left, format!("{}\n", lines[5..].join("\n")));
    }
}
