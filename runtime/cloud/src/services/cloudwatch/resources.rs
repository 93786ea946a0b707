//! What templates can make of CloudWatch.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{alarm_arn, from_properties, put_alarm};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes};

/// The types.
pub const TYPES: &[ResourceType] = &[ResourceType::new(
    "AWS::CloudWatch::Alarm",
    &[
        "AlarmName",
        "AlarmDescription",
        "ActionsEnabled",
        "AlarmActions",
        "ComparisonOperator",
        "DatapointsToAlarm",
        "Dimensions/Name",
        "Dimensions/Value",
        "EvaluationPeriods",
        "ExtendedStatistic",
        "InsufficientDataActions",
        "MetricName",
        "Namespace",
        "OKActions",
        "Period",
        "Statistic",
        "Tags",
        "Threshold",
        "TreatMissingData",
        "Unit",
    ],
    &AlarmType,
)
.named_by("AlarmName")];

#[derive(Debug)]
struct AlarmType;

impl AlarmType {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let put = from_properties(place.cloud, properties)
            .and_then(|alarm| put_alarm(place.cloud, id, alarm));
        put.map_err(|error| error.message)?;
        Ok(attributes(json!({ "Arn": alarm_arn(place.cloud, id) })))
    }
}

#[async_trait]
impl Handler for AlarmType {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.cloudwatch.alarms.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.cloud.services.cloudwatch.alarms.remove(id)?;
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.cloudwatch.alarms.get(id).map(|a| a.properties(id)))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(alarm_arn(cloud, id))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.cloudwatch.alarms.names(""))
    }
}
