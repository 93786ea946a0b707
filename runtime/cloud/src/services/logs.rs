//! CloudWatch Logs: groups with one file of events each. Retention is kept and reported, not
//! executed.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cloud::Cloud;
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;
use crate::services::{known, page, required};

/// Events in one answer.
const EVENTS_MAX: usize = 10_000;

/// A log group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogGroup {
    /// Days that events are kept.
    pub retention_days: Option<u64>,
    /// When it was made.
    pub created: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Event {
    stream: String,
    time: i64,
    message: String,
}

/// The group's ARN as policies name it.
pub fn arn(cloud: &Cloud, group: &str) -> String {
    cloud.config.arn("logs", &format!("log-group:{group}:*"))
}

fn file(cloud: &Cloud, group: &str) -> PathBuf {
    cloud.path("logs").join(format!("{}.ndjson", hex::encode(&Sha256::digest(group)[..16])))
}

/// Deletes a group's events.
pub fn delete_events(cloud: &Cloud, group: &str) {
    match std::fs::remove_file(file(cloud, group)) {
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
    if !cloud.log_groups.contains(group) {
        return Err(ApiError::new(
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        ));
    }
    let time = Timestamp::now().as_millisecond();
    let mut text = String::new();
    for message in lines {
        let event = Event { stream: stream.to_owned(), time, message: message.clone() };
        text += &serde_json::to_string(&event).map_err(ApiError::internal)?;
        text.push('\n');
    }
    let path = file(cloud, group);
    let append = || -> std::io::Result<()> {
        std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)?
            .write_all(text.as_bytes())
    };
    append().map_err(ApiError::internal)
}

/// API of CloudWatch Logs.
pub fn handle(cloud: &Cloud, caller: &Caller, operation: &str, params: &Value) -> ApiResult {
    known(params, "logs", operation, used(operation))?;
    match operation {
        "DescribeLogGroups" => {
            cloud.authorize(
                caller,
                "logs:DescribeLogGroups",
                &cloud.config.arn("logs", "log-group:*"),
                &[],
            )?;
            let prefix = params["logGroupNamePrefix"].as_str().unwrap_or_default();
            let groups = cloud.log_groups.range(prefix, None);
            let groups = groups.iter().map(|(name, g)| describe(cloud, name, g)).collect();
            let (groups, next) = page(groups, params, ("limit", "nextToken"), 50, 50)?;
            let mut answer = json!({ "logGroups": groups });
            if let Some(next) = next {
                answer["nextToken"] = next.into();
            }
            Ok(answer)
        }
        "FilterLogEvents" => filter(cloud, caller, params),
        other => Err(ApiError::unknown_operation("logs", other)),
    }
}

/// The input members that an operation uses; any other one is refused.
fn used(operation: &str) -> &'static [&'static str] {
    match operation {
        "DescribeLogGroups" => &["logGroupNamePrefix", "limit", "nextToken"],
        _ => &[
            "logGroupName",
            "logStreamNames",
            "startTime",
            "endTime",
            "filterPattern",
            "limit",
            "nextToken",
        ],
    }
}

fn describe(cloud: &Cloud, name: &str, group: &LogGroup) -> Value {
    let stored = std::fs::metadata(file(cloud, name)).map_or(0, |m| m.len());
    let mut out = json!({
        "logGroupName": name, "creationTime": group.created.as_millisecond(),
        "arn": arn(cloud, name), "storedBytes": stored,
    });
    if let Some(days) = group.retention_days {
        out["retentionInDays"] = days.into();
    }
    out
}

fn filter(cloud: &Cloud, caller: &Caller, params: &Value) -> ApiResult {
    let group = required(params, "logGroupName")?;
    cloud.authorize(caller, "logs:FilterLogEvents", &arn(cloud, group), &[])?;
    if !params["filterPattern"].as_str().unwrap_or_default().is_empty() {
        return Err(ApiError::new(
            "InvalidParameterException",
            "The embedded cloud has no filter patterns.",
        ));
    }
    if !cloud.log_groups.contains(group) {
        return Err(ApiError::new(
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        ));
    }
    let events = match std::fs::File::open(file(cloud, group)) {
        Ok(file) => matching(std::io::BufReader::new(file), params),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(ApiError::internal(error)),
    };
    let (events, next) = page(events, params, ("limit", "nextToken"), EVENTS_MAX, EVENTS_MAX)?;
    let mut answer = json!({ "events": events, "searchedLogStreams": [] });
    if let Some(next) = next {
        answer["nextToken"] = next.into();
    }
    Ok(answer)
}

/// The events that a filter asks for, in the API's form.
fn matching(lines: impl BufRead, params: &Value) -> Vec<Value> {
    let since = params["startTime"].as_i64().unwrap_or(0);
    let until = params["endTime"].as_i64().unwrap_or(i64::MAX);
    let streams = params["logStreamNames"].as_array();
    let wanted = |e: &Event| {
        (since..=until).contains(&e.time)
            && streams.is_none_or(|all| all.iter().any(|s| *s == e.stream))
    };
    let parsed = lines.lines().map_while(Result::ok);
    let events = parsed.filter_map(|line| serde_json::from_str::<Event>(&line).ok());
    let describe = |(i, e): (usize, Event)| {
        json!({
            "logStreamName": e.stream, "timestamp": e.time, "ingestionTime": e.time,
            "message": e.message, "eventId": i.to_string(),
        })
    };
    events.enumerate().filter(|(_, e)| wanted(e)).map(describe).collect()
}
