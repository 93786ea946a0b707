//! What templates can make of CloudWatch Logs.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{LogGroup, arn, delete_events};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes, number};

/// The types.
pub const TYPES: &[ResourceType] = &[ResourceType::new(
    "AWS::Logs::LogGroup",
    &["LogGroupName", "RetentionInDays", "Tags"],
    &LogGroupType,
)
.named_by("LogGroupName")];

#[derive(Debug)]
struct LogGroupType;

impl LogGroupType {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let days = number(&properties["RetentionInDays"], 0);
        let groups = &place.cloud.services.logs.groups;
        let created = groups.get(id).map_or_else(Timestamp::now, |g| g.created);
        groups.put(id, LogGroup { retention_days: (days > 0).then_some(days), created })?;
        Ok(attributes(json!({ "Arn": arn(place.cloud, id) })))
    }
}

#[async_trait]
impl Handler for LogGroupType {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.logs.groups.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.cloud.services.logs.groups.remove(id)?;
        delete_events(place.cloud, id);
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.logs.groups.get(id).map(|group| {
            let mut properties = json!({ "LogGroupName": id });
            if let Some(days) = group.retention_days {
                properties["RetentionInDays"] = days.into();
            }
            properties
        }))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(cloud.config.arn("logs", &format!("log-group:{id}")))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.logs.groups.names(""))
    }
}
