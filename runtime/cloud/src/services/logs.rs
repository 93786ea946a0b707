//! CloudWatch Logs: groups with one file of events each. Retention is kept and reported, not executed.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cloud::Cloud;
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;
use crate::services::required;

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

/// Writes events as `caller`, who needs the permission. A group that is not there is an error, as in AWS.
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
    match operation {
        "DescribeLogGroups" => {
            cloud.authorize(
                caller,
                "logs:DescribeLogGroups",
                &cloud.config.arn("logs", "log-group:*"),
                &[],
            )?;
            let prefix = params["logGroupNamePrefix"].as_str().unwrap_or_default();
            let groups: Vec<Value> = cloud
                .log_groups
                .range(prefix, None)
                .iter()
                .map(|(name, g)| {
                    let mut group = json!({ "logGroupName": name, "creationTime": g.created.as_millisecond(), "arn": arn(cloud, name), "storedBytes": 0 });
                    if let Some(days) = g.retention_days {
                        group["retentionInDays"] = days.into();
                    }
                    group
                })
                .collect();
            Ok(json!({ "logGroups": groups }))
        }
        "FilterLogEvents" => filter(cloud, caller, params),
        other => Err(ApiError::unknown_operation("logs", other)),
    }
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
    let since = params["startTime"].as_i64().unwrap_or(0);
    let limit = params["limit"].as_u64().map_or(EVENTS_MAX, |l| (l as usize).min(EVENTS_MAX));
    let events = match std::fs::File::open(file(cloud, group)) {
        Ok(file) => std::io::BufReader::new(file)
            .lines()
            .map_while(Result::ok)
            .filter_map(|l| serde_json::from_str::<Event>(&l).ok())
            .collect(),
        Err(_) => Vec::new(),
    };
    let skip: usize = params["nextToken"].as_str().and_then(|t| t.parse().ok()).unwrap_or(0);
    let matching: Vec<&Event> = events.iter().filter(|e| e.time >= since).collect();
    let page: Vec<Value> = matching
        .iter()
        .enumerate()
        .skip(skip)
        .take(limit)
        .map(|(i, e)| json!({ "logStreamName": e.stream, "timestamp": e.time, "ingestionTime": e.time, "message": e.message, "eventId": i.to_string() }))
        .collect();
    let mut answer = json!({ "events": page, "searchedLogStreams": [] });
    if skip + page.len() < matching.len() {
        answer["nextToken"] = (skip + page.len()).to_string().into();
    }
    Ok(answer)
}
