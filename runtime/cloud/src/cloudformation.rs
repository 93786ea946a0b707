//! CloudFormation: templates become resources, in dependency order and in parallel, with change
//! sets, events, rollback and wedged states.
//!
//! Differences from AWS: macros, nested stacks, stack sets, imports and drift are not implemented
//! and refused; a template may use the resource types and properties of [`resources`] only.

mod api;
mod engine;
mod resources;
mod template;

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

pub use api::handle;
pub use engine::resume;

use crate::cloud::{Cloud, iso};

/// The type under which a stack appears among its own events.
const STACK: &str = "AWS::CloudFormation::Stack";

/// A stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stack {
    /// Its name.
    pub name: String,
    /// Status in CloudFormation's words.
    pub status: String,
    /// Why it has this status.
    pub reason: Option<String>,
    /// The template as it was given.
    pub template: String,
    /// Values of the parameters, resolved.
    pub parameters: BTreeMap<String, String>,
    /// Tags.
    pub tags: Value,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Option<Timestamp>,
    /// When it was deleted.
    pub deleted: Option<Timestamp>,
    /// Outputs.
    pub outputs: BTreeMap<String, Value>,
    /// Resources by logical ID.
    pub resources: BTreeMap<String, Resource>,
    /// What an unfinished update has to put back: resources as they were; absent ones were not there.
    pub before: Option<Before>,
    /// Whether it must not be deleted.
    pub protected: bool,
}

/// The state before an update.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Before {
    /// The template.
    pub template: String,
    /// Parameters.
    pub parameters: BTreeMap<String, String>,
    /// Resources.
    pub resources: BTreeMap<String, Resource>,
    /// Outputs.
    pub outputs: BTreeMap<String, Value>,
}

/// A resource of a stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Its type.
    pub kind: String,
    /// Its ID; what `Ref` gives.
    pub physical_id: String,
    /// Status in CloudFormation's words.
    pub status: String,
    /// Why it has this status.
    pub reason: Option<String>,
    /// Its properties, resolved.
    pub properties: Value,
    /// What `Fn::GetAtt` gives.
    pub attributes: Map<String, Value>,
    /// Logical IDs that it needs.
    pub needs: Vec<String>,
    /// Whether it stays when the stack goes.
    pub retained: bool,
    /// Last change.
    pub updated: Timestamp,
}

/// A change set.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeSet {
    /// Its name.
    pub name: String,
    /// The stack's ID.
    pub stack: String,
    /// `CREATE_COMPLETE` or `FAILED`.
    pub status: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// `AVAILABLE`, `UNAVAILABLE`, `EXECUTE_COMPLETE`.
    pub execution_status: String,
    /// The template.
    pub template: String,
    /// Values of the parameters, resolved.
    pub parameters: BTreeMap<String, String>,
    /// Tags.
    pub tags: Value,
    /// Changes in the API's form.
    pub changes: Vec<Value>,
    /// When it was made.
    pub created: Timestamp,
}

fn events_file(cloud: &Cloud, stack_id: &str) -> PathBuf {
    cloud.path("events").join(format!("{}.ndjson", hex::encode(&Sha256::digest(stack_id)[..16])))
}

/// Something that happened to a resource or to the stack itself.
struct Event<'a> {
    logical_id: &'a str,
    kind: &'a str,
    physical_id: &'a str,
    status: &'a str,
    reason: Option<&'a str>,
}

/// Adds an event to a stack's history.
fn add_event(cloud: &Cloud, stack_id: &str, stack_name: &str, happened: &Event<'_>) {
    let mut event = json!({
        "StackId": stack_id, "EventId": uuid::Uuid::new_v4().to_string(), "StackName": stack_name,
        "LogicalResourceId": happened.logical_id, "PhysicalResourceId": happened.physical_id, "ResourceType": happened.kind,
        "Timestamp": iso(Timestamp::now()), "ResourceStatus": happened.status,
    });
    if let Some(reason) = happened.reason {
        event["ResourceStatusReason"] = reason.into();
    }
    let path = events_file(cloud, stack_id);
    let append = || -> std::io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        writeln!(std::fs::OpenOptions::new().create(true).append(true).open(&path)?, "{event}")
    };
    append().unwrap_or_else(|e| tracing::error!("an event of `{stack_name}` is lost: {e}"));
}

/// A stack's events, newest first.
fn events(cloud: &Cloud, stack_id: &str) -> Vec<Value> {
    let Ok(file) = std::fs::File::open(events_file(cloud, stack_id)) else { return Vec::new() };
    let mut events: Vec<Value> = std::io::BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .filter_map(|l| serde_json::from_str(&l).ok())
        .collect();
    events.reverse();
    events
}

/// The newest stack of that name or with that ID; a deleted one only by ID.
fn find_stack(cloud: &Cloud, name_or_id: &str) -> Option<(String, std::sync::Arc<Stack>)> {
    if name_or_id.starts_with("arn:") {
        return cloud.stacks.get(name_or_id).map(|s| (name_or_id.to_owned(), s));
    }
    cloud
        .stacks
        .all()
        .into_iter()
        .find(|(_, s)| s.name == name_or_id && s.status != "DELETE_COMPLETE")
}

/// Sets a stack's status, with an event.
fn set_status(cloud: &Cloud, stack_id: &str, status: &str, reason: Option<&str>) {
    let name = cloud.stacks.settle(stack_id, |stack| {
        stack.status = status.to_owned();
        stack.reason = reason.map(str::to_owned);
        stack.name.clone()
    });
    if let Some(name) = name {
        add_event(
            cloud,
            stack_id,
            &name,
            &Event { logical_id: &name, kind: STACK, physical_id: stack_id, status, reason },
        );
    }
}

/// Writes a resource into its stack, with an event.
fn set_resource(cloud: &Cloud, stack_id: &str, logical_id: &str, resource: &Resource) {
    let name = cloud.stacks.settle(stack_id, |stack| {
        stack.resources.insert(logical_id.to_owned(), resource.clone());
        stack.name.clone()
    });
    if let Some(name) = name {
        let Resource { kind, physical_id, status, reason, .. } = resource;
        add_event(
            cloud,
            stack_id,
            &name,
            &Event { logical_id, kind, physical_id, status, reason: reason.as_deref() },
        );
    }
}
