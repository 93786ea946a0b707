//! What templates can make of EventBridge.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{arn, parse};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes};

/// The types.
pub const TYPES: &[ResourceType] = &[ResourceType::new(
    "AWS::Events::Rule",
    &[
        "Name",
        "Description",
        "ScheduleExpression",
        "EventPattern",
        "State",
        "Targets/Id",
        "Targets/Arn",
        "Targets/RoleArn",
        "Targets/Input",
        "Targets/InputPath",
        "Targets/InputTransformer",
        "Targets/SqsParameters",
        "Targets/RetryPolicy",
        "Targets/DeadLetterConfig",
    ],
    &Rule,
)
.named_by("Name")];

#[derive(Debug)]
struct Rule;

impl Rule {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let events = &place.cloud.services.events;
        let created = events.rules.get(id).map_or_else(Timestamp::now, |r| r.created);
        let rule = parse(properties, created)?;
        for role in rule.targets.iter().filter_map(|target| target.role.as_deref()) {
            place.may_pass(role, "events.amazonaws.com")?;
            let arn = arn(place.cloud, id);
            place.cloud.assume_for(role, "events.amazonaws.com", id, Some(&arn))?;
        }
        events.rules.put(id, rule)?;
        events.rules_changed.notify_one();
        Ok(attributes(json!({ "Arn": arn(place.cloud, id) })))
    }
}

#[async_trait]
impl Handler for Rule {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.events.rules.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.cloud.services.events.rules.remove(id)?;
        place.cloud.services.events.rules_changed.notify_one();
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.events.rules.get(id).map(|rule| rule.properties(id)))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(arn(cloud, id))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.events.rules.names(""))
    }
}
