//! What templates make of the scheduler: schedules and their groups.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::schedules::{DEFAULT, key};
use super::{arn, group_arn};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Failure, Handler, Live, Made, Place, ResourceType, attributes};
use crate::kernel::tags;

/// All of them.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new(
        "AWS::Scheduler::Schedule",
        &[
            "Description",
            "EndDate",
            "FlexibleTimeWindow",
            "GroupName",
            "Name",
            "ScheduleExpression",
            "ScheduleExpressionTimezone",
            "StartDate",
            "State",
            "Target/Arn",
            "Target/DeadLetterConfig",
            "Target/Input",
            "Target/RetryPolicy",
            "Target/RoleArn",
            "Target/SqsParameters",
        ],
        &Schedules,
    )
    .named_by("Name"),
    ResourceType::new("AWS::Scheduler::ScheduleGroup", &["Name", "Tags"], &Groups).named_by("Name"),
];

#[derive(Debug)]
struct Schedules;

fn group(properties: &Value) -> &str {
    properties["GroupName"].as_str().unwrap_or(DEFAULT)
}

/// The input of the API; templates may write numbers as texts.
fn params(id: &str, properties: &Value) -> Result<Value, Failure> {
    let mut params = properties.clone();
    params["Name"] = id.into();
    for name in ["StartDate", "EndDate"] {
        if let Some(text) = properties[name].as_str() {
            let time: Timestamp = text.parse().map_err(|_| {
                Failure::Other(format!("{name} is not a time as in 2026-11-25T10:00:00Z: {text}"))
            })?;
            params[name] = time.as_second().into();
        }
    }
    for path in [
        "/FlexibleTimeWindow/MaximumWindowInMinutes",
        "/Target/RetryPolicy/MaximumEventAgeInSeconds",
        "/Target/RetryPolicy/MaximumRetryAttempts",
    ] {
        if let Some(value) = params.pointer_mut(path)
            && let Some(number) = value.as_str().and_then(|text| text.parse::<u64>().ok())
        {
            *value = number.into();
        }
    }
    Ok(params)
}

#[async_trait]
impl Handler for Schedules {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Option<bool> {
        Some(cloud.services.scheduler.schedules.contains(&key(group(properties), id)))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        place.call("scheduler", "CreateSchedule", &params(id, properties)?).await?;
        Ok(attributes(json!({ "Arn": arn(place.cloud, group(properties), id) })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        place.call("scheduler", "UpdateSchedule", &params(id, properties)?).await?;
        Ok(attributes(json!({ "Arn": arn(place.cloud, group(properties), id) })))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, properties: &Value) -> Result<(), String> {
        let params = json!({ "Name": id, "GroupName": group(properties) });
        place.call_unless_gone("scheduler", "DeleteSchedule", &params).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Live {
        let group = group(properties);
        let schedule = cloud.services.scheduler.schedules.get(&key(group, id));
        Live::of(schedule.map(|schedule| {
            let window = match schedule.window_mins {
                Some(minutes) => json!({ "Mode": "FLEXIBLE", "MaximumWindowInMinutes": minutes }),
                None => json!({ "Mode": "OFF" }),
            };
            json!({
                "Name": id, "GroupName": group, "Description": schedule.description,
                "ScheduleExpression": schedule.expression.to_string(),
                "ScheduleExpressionTimezone": schedule.zone, "FlexibleTimeWindow": window,
                "StartDate": schedule.start.map(|time| time.to_string()),
                "EndDate": schedule.end.map(|time| time.to_string()),
                "State": if schedule.enabled { "ENABLED" } else { "DISABLED" },
                "Target": schedule.target.shown(),
            })
        }))
    }
}

#[derive(Debug)]
struct Groups;

#[async_trait]
impl Handler for Groups {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(id == DEFAULT || cloud.services.scheduler.groups.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let params = json!({ "Name": id, "Tags": properties["Tags"] });
        place.call("scheduler", "CreateScheduleGroup", &params).await?;
        let group = place.cloud.services.scheduler.groups.get(id);
        let time = |time: Timestamp| time.to_string();
        Ok(attributes(json!({
            "Arn": group_arn(place.cloud, id), "State": "ACTIVE",
            "CreationDate": group.as_ref().map(|group| time(group.created)),
            "LastModificationDate": group.map(|group| time(group.modified)),
        })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        let resource = group_arn(place.cloud, id);
        let keys = |properties: &Value| -> Vec<Value> {
            let tags = properties["Tags"].as_array().into_iter().flatten();
            tags.map(|tag| tag["Key"].clone()).collect()
        };
        let kept = keys(properties);
        let gone: Vec<Value> = keys(old).into_iter().filter(|key| !kept.contains(key)).collect();
        if !gone.is_empty() {
            let params = json!({ "ResourceArn": resource, "TagKeys": gone });
            place.call("scheduler", "UntagResource", &params).await?;
        }
        if !kept.is_empty() {
            let params = json!({ "ResourceArn": resource, "Tags": properties["Tags"] });
            place.call("scheduler", "TagResource", &params).await?;
        }
        Ok(attributes(json!({ "Arn": resource, "State": "ACTIVE" })))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.call_unless_gone("scheduler", "DeleteScheduleGroup", &json!({ "Name": id })).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        let group = cloud.services.scheduler.groups.get(id);
        Live::of(group.map(|group| json!({ "Name": id, "Tags": tags::list(&group.tags) })))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(group_arn(cloud, id))
    }
}
