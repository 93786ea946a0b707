//! CloudWatch Logs: groups with one file of events each.
//!
//! `RetentionInDays` is executed: events beyond it are not shown, and are deleted when the group is
//! written to, at every start and every hour. A group keeps at most 64 MiB, which AWS does not
//! know; beyond them its older half goes. Streams are names in events, so what bounds the group
//! bounds them.

mod file;
mod resources;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::kernel::cloud::Cloud;
use crate::kernel::cloud::Opening;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::pages::Pages;
use crate::kernel::service::{Call, Service};
use crate::kernel::store::Table;
use crate::{model, op};
use anyhow::Result;
use file::Bounds;
pub use file::Event;
use parking_lot::Mutex;

/// What CloudWatch Logs has.
#[derive(Debug)]
pub struct State {
    /// Log groups by name.
    pub groups: Table<LogGroup>,
    /// Held while a log group's file is written.
    pub files: Mutex<()>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self { groups: opening.table("log_groups"), files: Mutex::default() })
    }
}

/// Bytes of one group.
const GROUP_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// How often groups that nobody writes to are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);
const PAGES_OF_EVENTS: Pages =
    Pages::of("limit", "nextToken", 10_000).refusing("InvalidParameterException");
const PAGES_OF_GROUPS: Pages =
    Pages::of("limit", "nextToken", 50).refusing("InvalidParameterException");

/// A log group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogGroup {
    /// Days that events are kept.
    pub retention_days: Option<u64>,
    /// When it was made.
    pub created: Timestamp,
}

impl LogGroup {
    fn bounds(&self) -> Bounds {
        let days = self.retention_days.and_then(|days| i64::try_from(days).ok());
        let age = days.and_then(|days| Some(SignedDuration::from_hours(days.checked_mul(24)?)));
        let oldest = age.and_then(|age| Timestamp::now().checked_sub(age).ok());
        Bounds {
            bytes_max: GROUP_BYTES_MAX,
            oldest: oldest.map_or(i64::MIN / 2, Timestamp::as_millisecond),
        }
    }
}

/// The group's ARN as policies name it.
pub fn arn(cloud: &Cloud, group: &str) -> String {
    cloud.config.arn("logs", &format!("log-group:{group}:*"))
}

fn path(cloud: &Cloud, group: &str) -> PathBuf {
    cloud.path("logs").join(format!("{}.ndjson", hex::encode(&Sha256::digest(group)[..16])))
}

/// A group's events that are not too old, oldest first.
pub fn events(cloud: &Cloud, group: &str) -> ApiResult<Vec<Event>> {
    let bounds = find(cloud, group)?.bounds();
    file::read(&path(cloud, group), bounds).map_err(ApiError::internal)
}

/// Bytes of a group's file.
pub fn stored_bytes(cloud: &Cloud, group: &str) -> u64 {
    std::fs::metadata(path(cloud, group)).map_or(0, |metadata| metadata.len())
}

/// Deletes a group's events.
pub fn delete_events(cloud: &Cloud, group: &str) {
    match std::fs::remove_file(path(cloud, group)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!("cannot delete the events of `{group}`: {e}")
        }
        _ => {}
    }
}

/// Writes events as `caller`, who needs the permission. A group that is not there is an error, as
/// in AWS.
pub fn write(
    cloud: &Cloud,
    caller: &Caller,
    group: &str,
    stream: &str,
    lines: &[String],
) -> ApiResult<()> {
    cloud.authorize(caller, "logs:CreateLogStream", &arn(cloud, group), &[])?;
    cloud.authorize(caller, "logs:PutLogEvents", &arn(cloud, group), &[])?;
    append(cloud, group, stream, lines)
}

/// Writes events of which the permission has been checked.
pub fn append(cloud: &Cloud, group: &str, stream: &str, lines: &[String]) -> ApiResult<()> {
    let bounds = find(cloud, group)?.bounds();
    let time = Timestamp::now().as_millisecond();
    let event =
        |message: &String| Event { stream: stream.to_owned(), time, message: message.clone() };
    let events: Vec<Event> = lines.iter().map(event).collect();
    let _writing = cloud.services.logs.files.lock();
    file::append(&path(cloud, group), &events, bounds).map_err(ApiError::internal)
}

fn find(cloud: &Cloud, group: &str) -> ApiResult<Arc<LogGroup>> {
    let missing = "The specified log group does not exist.";
    cloud
        .services
        .logs
        .groups
        .get(group)
        .ok_or_else(|| ApiError::new("ResourceNotFoundException", missing))
}

/// Executes the groups' retention, now and every hour.
pub async fn keep_retention(cloud: Arc<Cloud>) {
    loop {
        let all = cloud.clone();
        let swept = tokio::task::spawn_blocking(move || sweep(&all)).await;
        swept.unwrap_or_else(|e| tracing::error!("retention of logs is not executed: {e}"));
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

/// Deletes the events of all groups that are beyond their retention.
pub fn sweep(cloud: &Cloud) {
    for (name, group) in cloud.services.logs.groups.all() {
        let _writing = cloud.services.logs.files.lock();
        if let Err(error) = file::sweep(&path(cloud, &name), group.bounds()) {
            tracing::error!("old events of `{name}` cannot be deleted: {error}");
        }
    }
}

/// API of CloudWatch Logs.
pub static SERVICE: Service = Service {
    invalid: "InvalidParameterException",
    types: resources::TYPES,
    data: &["FilterLogEvents", "GetLogEvents", "PutLogEvents"],
    ..Service::new(
        "logs",
        model!("logs"),
        &[
            op!(DescribeLogGroups(logGroupNamePrefix, limit, nextToken) => list_groups),
            op!(FilterLogEvents(
            logGroupName, logStreamNames, startTime, endTime, filterPattern, limit, nextToken
        ) => filter),
        ],
    )
};

fn list_groups(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    call.authorize(&cloud.config.arn("logs", "log-group:*"))?;
    let groups =
        cloud.services.logs.groups.range(call.text("logGroupNamePrefix").unwrap_or_default(), None);
    let groups = groups.iter().map(|(name, g)| describe(cloud, name, g)).collect();
    PAGES_OF_GROUPS.answer(call.params, "logGroups", groups)
}

fn describe(cloud: &Cloud, name: &str, group: &LogGroup) -> Value {
    let stored = stored_bytes(cloud, name);
    let mut out = json!({
        "logGroupName": name, "creationTime": group.created.as_millisecond(),
        "arn": arn(cloud, name), "storedBytes": stored,
    });
    if let Some(days) = group.retention_days {
        out["retentionInDays"] = days.into();
    }
    out
}

fn filter(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let group = call.required("logGroupName")?;
    call.authorize(&arn(cloud, group))?;
    if !params["filterPattern"].as_str().unwrap_or_default().is_empty() {
        return Err(ApiError::new(
            "InvalidParameterException",
            "The embedded cloud has no filter patterns.",
        ));
    }
    let events = events(cloud, group)?;
    let mut answer = PAGES_OF_EVENTS.answer(params, "events", matching(events, params))?;
    answer["searchedLogStreams"] = json!([]);
    Ok(answer)
}

/// The events that a filter asks for, in the API's form.
fn matching(events: Vec<Event>, params: &Value) -> Vec<Value> {
    let since = params["startTime"].as_i64().unwrap_or(0);
    let until = params["endTime"].as_i64().unwrap_or(i64::MAX);
    let streams = params["logStreamNames"].as_array();
    let wanted = |e: &Event| {
        (since..=until).contains(&e.time)
            && streams.is_none_or(|all| all.iter().any(|s| *s == e.stream))
    };
    let (mut last, mut count) = (i64::MIN, 0);
    let mut found = Vec::new();
    for event in events {
        // The ID stays the same when older events go.
        count = if event.time == last { count + 1 } else { 0 };
        last = event.time;
        if wanted(&event) {
            found.push(json!({
                "logStreamName": event.stream, "timestamp": event.time,
                "ingestionTime": event.time, "message": event.message,
                "eventId": format!("{}{count:08}", event.time),
            }));
        }
    }
    found
}
