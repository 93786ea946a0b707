//! What templates can make of CloudWatch.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Alarm, alarm_arn, check_metric};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes, number, text};

/// The types.
pub const TYPES: &[ResourceType] = &[ResourceType::new(
    "AWS::CloudWatch::Alarm",
    &[
        "AlarmName",
        "AlarmDescription",
        "Namespace",
        "MetricName",
        "Dimensions/Name",
        "Dimensions/Value",
        "Statistic",
        "Period",
        "EvaluationPeriods",
        "Threshold",
        "ComparisonOperator",
        "TreatMissingData",
        "AlarmActions",
    ],
    &AlarmType,
)
.named_by("AlarmName")];

#[derive(Debug)]
struct AlarmType;

impl AlarmType {
    fn set(place: &Place<'_>, id: &str, p: &Value) -> Made {
        let supported = text(p, "Statistic") == "Sum"
            && text(p, "ComparisonOperator") == "GreaterThanOrEqualToThreshold"
            && number(&p["EvaluationPeriods"], 0) == 1
            && p["Dimensions"].as_array().is_some_and(|d| d.len() == 1)
            && p["Threshold"].as_f64().is_some_and(|t| t > 0.0);
        if !supported {
            return Err("the embedded cloud has alarms on sums with one dimension over one \
                        period, with GreaterThanOrEqualToThreshold and a threshold above 0"
                .into());
        }
        let dimension = &p["Dimensions"][0];
        check_metric(text(p, "Namespace"), text(p, "MetricName"), text(dimension, "Name"))?;
        let actions = p["AlarmActions"].as_array().into_iter().flatten();
        let now = place.cloud.clock.now();
        let alarm = Alarm {
            description: text(p, "AlarmDescription").to_owned(),
            namespace: text(p, "Namespace").to_owned(),
            metric: text(p, "MetricName").to_owned(),
            dimension: (text(dimension, "Name").to_owned(), text(dimension, "Value").to_owned()),
            threshold: p["Threshold"].as_f64().unwrap_or(1.0),
            period_secs: number(&p["Period"], 60) as i64,
            actions: actions.filter_map(Value::as_str).map(str::to_owned).collect(),
            events: vec![],
            raised: false,
            missing_data: p["TreatMissingData"].as_str().map(str::to_owned),
            changed: Some((now, now)),
        };
        place.cloud.services.cloudwatch.alarms.put(id, alarm)?;
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
        Live::of(cloud.services.cloudwatch.alarms.get(id).map(|a| a.describe(cloud, id)))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(alarm_arn(cloud, id))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.cloudwatch.alarms.names(""))
    }
}
