//! What templates can make of CloudFormation itself: wait conditions and their handles.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::kernel::resource::{Handler, Made, Place, ResourceType, number, text};

/// The types.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new("AWS::CloudFormation::WaitConditionHandle", &[], &Handle),
    ResourceType::new(
        "AWS::CloudFormation::WaitCondition",
        &["Handle", "Timeout", "Count"],
        &Condition,
    )
    .also_replacing(&["Handle", "Timeout", "Count"]),
];

#[derive(Debug)]
struct Handle;

#[async_trait]
impl Handler for Handle {
    fn id(&self, place: &Place<'_>, _: Option<&str>, _: &Value) -> String {
        let (endpoint, random) = (place.cloud.config.endpoint(), uuid::Uuid::new_v4().simple());
        format!("{endpoint}/_steppe/wait/{random}")
    }

    async fn create(&self, _: &Place<'_>, _: &str, _: &Value) -> Made {
        Ok(Map::new())
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.cloud.services.cloudformation.work.signals.forget(id);
        Ok(())
    }
}

#[derive(Debug)]
struct Condition;

#[async_trait]
impl Handler for Condition {
    fn id(&self, place: &Place<'_>, _: Option<&str>, _: &Value) -> String {
        format!("{}/{}/{}", place.stack_id, place.logical_id, uuid::Uuid::new_v4().simple())
    }

    async fn create(&self, _: &Place<'_>, _: &str, _: &Value) -> Made {
        Ok(Map::new())
    }

    async fn settle(
        &self,
        place: &Place<'_>,
        _: &str,
        properties: &Value,
        made: Map<String, Value>,
    ) -> Made {
        if properties["Handle"].is_null() {
            // Its creation policy is what it waits for.
            return Ok(made);
        }
        let count = usize::try_from(number(&properties["Count"], 1)).unwrap_or(usize::MAX);
        let limit = Duration::from_secs(number(&properties["Timeout"], 300));
        let signals = &place.cloud.services.cloudformation.work.signals;
        signals.wait(&place.cloud.clock, text(properties, "Handle"), count, limit).await
    }

    async fn delete(&self, _: &Place<'_>, _: &str, _: &Value) -> Result<(), String> {
        Ok(())
    }
}
