//! CloudWatch alarms on the metrics that this cloud itself produces.
//!
//! A metric is a count of events (a failed execution, a failed invocation). An alarm rises when the
//! count within its period reaches its threshold, and falls when a period passes without any. An
//! alarm on any other metric is refused, because nothing would ever raise it.
//!
//! `StatusCheckFailed` stays at zero: instances are directories and processes of this machine,
//! which is reachable for as long as anything here runs. What ends inside of an instance fails no
//! status check on EC2 either.

mod resources;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kernel::cloud::Opening;
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::{Call, Service};
use crate::kernel::store::Table;
use crate::services::sns;
use crate::{model, op};
use anyhow::Result;

/// What CloudWatch has.
#[derive(Debug)]
pub struct State {
    /// Alarms by name.
    pub alarms: Table<Alarm>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self { alarms: opening.table("alarms") })
    }
}

/// Alarms that one question may name.
const NAMES_MAX: usize = 100;
const PAGES: Pages = Pages {
    items: 50,
    wrong_token: "InvalidNextToken",
    ..Pages::of("MaxRecords", "NextToken", 100)
};

/// The metrics: namespace, name, dimension.
const METRICS: [(&str, &str, &str); 5] = [
    ("AWS/States", "ExecutionsFailed", "StateMachineArn"),
    ("AWS/States", "ExecutionsTimedOut", "StateMachineArn"),
    ("AWS/Lambda", "Errors", "FunctionName"),
    ("AWS/Events", "FailedInvocations", "RuleName"),
    ("AWS/EC2", "StatusCheckFailed", "InstanceId"),
];

/// Refuses a metric that nothing here counts.
pub fn check_metric(namespace: &str, name: &str, dimension: &str) -> Result<(), String> {
    if METRICS.contains(&(namespace, name, dimension)) {
        return Ok(());
    }
    let known = METRICS.map(|(namespace, name, by)| format!("{namespace} {name} by {by}"));
    Err(format!(
        "the embedded cloud does not count {namespace} {name} by {dimension}; it counts {}",
        known.join(", ")
    ))
}

/// An alarm.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Alarm {
    /// What it means.
    pub description: String,
    /// Namespace of the metric: `AWS/States`.
    pub namespace: String,
    /// Name of the metric: `ExecutionsFailed`.
    pub metric: String,
    /// Dimension and its value.
    pub dimension: (String, String),
    /// Events in a period that raise it.
    pub threshold: f64,
    /// Length of a period.
    pub period_secs: i64,
    /// Topics that are told.
    pub actions: Vec<String>,
    /// Times of the recent events.
    pub events: Vec<Timestamp>,
    /// Whether it is raised.
    pub raised: bool,
    /// `TreatMissingData`.
    #[serde(default)]
    pub missing_data: Option<String>,
    /// When its settings and its state last changed; older records have neither.
    #[serde(default)]
    pub changed: Option<(Timestamp, Timestamp)>,
}

impl Alarm {
    fn set_raised(&mut self, raised: bool) {
        if self.raised != raised {
            let now = Timestamp::now();
            self.changed = Some((self.changed.map_or(now, |(configured, _)| configured), now));
        }
        self.raised = raised;
    }

    fn state(&self) -> &'static str {
        if self.raised { "ALARM" } else { "OK" }
    }

    fn describe(&self, cloud: &Cloud, name: &str) -> Value {
        let mut out = json!({
            "AlarmName": name, "AlarmArn": alarm_arn(cloud, name),
            "AlarmDescription": self.description, "ActionsEnabled": true,
            "OKActions": [], "AlarmActions": self.actions, "InsufficientDataActions": [],
            "StateValue": self.state(), "MetricName": self.metric, "Namespace": self.namespace,
            "Statistic": "Sum", "Period": self.period_secs, "EvaluationPeriods": 1,
            "Dimensions": [{ "Name": self.dimension.0, "Value": self.dimension.1 }],
            "Threshold": self.threshold, "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": self.missing_data,
        });
        if let Some((configured, stated)) = self.changed {
            out["AlarmConfigurationUpdatedTimestamp"] = iso(configured).into();
            out["StateUpdatedTimestamp"] = iso(stated).into();
            out["StateTransitionedTimestamp"] = iso(stated).into();
        }
        out
    }
}

/// ARN of an alarm, or of all with `*`.
pub fn alarm_arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.arn("cloudwatch", &format!("alarm:{name}"))
}

/// API of CloudWatch: alarms are described; they are made by CloudFormation.
pub static SERVICE: Service = Service {
    invalid: "ValidationError",
    prefix: "cloudwatch",
    types: resources::TYPES,
    ..Service::new(
        "monitoring",
        model!("monitoring"),
        &[op!(DescribeAlarms(
            AlarmNames, AlarmNamePrefix, AlarmTypes, StateValue, ActionPrefix, MaxRecords, NextToken
        ) => describe_alarms)],
    )
};

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html>
fn describe_alarms(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize(&alarm_arn(cloud, "*"))?;
    let text = |name: &str| params[name].as_str();
    let names = params["AlarmNames"].as_array();
    if names.is_some_and(|names| names.len() > NAMES_MAX) {
        return Err(ApiError::validation(format!("AlarmNames has more than {NAMES_MAX} names.")));
    }
    if names.is_some() && text("AlarmNamePrefix").is_some() {
        let message = "AlarmNames and AlarmNamePrefix cannot be given together.";
        return Err(ApiError::validation(message));
    }
    let metric_alarms = params["AlarmTypes"]
        .as_array()
        .is_none_or(|types| types.iter().any(|kind| kind == "MetricAlarm"));
    let wanted = |name: &str, alarm: &Alarm| {
        names.is_none_or(|names| names.iter().any(|n| n == name))
            && text("AlarmNamePrefix").is_none_or(|prefix| name.starts_with(prefix))
            && text("StateValue").is_none_or(|state| state == alarm.state())
            && text("ActionPrefix")
                .is_none_or(|prefix| alarm.actions.iter().any(|a| a.starts_with(prefix)))
    };
    let all = if metric_alarms { cloud.services.cloudwatch.alarms.all() } else { vec![] };
    let chosen = all.iter().filter(|(name, alarm)| wanted(name, alarm));
    let described = chosen.map(|(name, alarm)| alarm.describe(cloud, name)).collect();
    let mut answer = PAGES.answer(params, "MetricAlarms", described)?;
    answer["CompositeAlarms"] = json!([]);
    Ok(answer)
}

/// Counts one event of a metric.
pub fn count(cloud: &Arc<Cloud>, namespace: &str, metric: &str, dimension: (&str, &str)) {
    for (name, alarm) in cloud.services.cloudwatch.alarms.all() {
        let concerned = alarm.namespace == namespace
            && alarm.metric == metric
            && alarm.dimension.0 == dimension.0
            && alarm.dimension.1 == dimension.1;
        if concerned {
            record(cloud, &name);
        }
    }
}

fn record(cloud: &Arc<Cloud>, name: &str) {
    let now = Timestamp::now();
    let rose = cloud.services.cloudwatch.alarms.settle(name, |alarm| {
        let begin = now - SignedDuration::from_secs(alarm.period_secs);
        alarm.events.retain(|t| *t > begin);
        alarm.events.push(now);
        let was = alarm.raised;
        alarm.set_raised(alarm.events.len() as f64 >= alarm.threshold);
        alarm.raised && !was
    });
    let Some(alarm) = cloud.services.cloudwatch.alarms.get(name) else { return };
    if rose == Some(true) {
        tell(cloud, name, &alarm);
    }
    let (cloud, name, period) =
        (cloud.clone(), name.to_owned(), Duration::from_secs(alarm.period_secs.max(1) as u64));
    tokio::spawn(async move {
        tokio::time::sleep(period).await;
        let quiet = |alarm: &mut Alarm| {
            if alarm.events.last().is_none_or(|last| *last <= now) {
                alarm.set_raised(false);
            }
        };
        cloud.services.cloudwatch.alarms.settle(&name, quiet);
    });
}

fn tell(cloud: &Arc<Cloud>, name: &str, alarm: &Alarm) {
    let message = json!({
        "AlarmName": name, "AlarmDescription": alarm.description, "NewStateValue": "ALARM", "OldStateValue": "OK",
        "StateChangeTime": iso(Timestamp::now()), "Trigger": { "Namespace": alarm.namespace, "MetricName": alarm.metric },
    });
    for topic in &alarm.actions {
        let subject = format!("ALARM: \"{name}\"");
        if let Err(error) = sns::deliver(cloud, topic, Some(&subject), &message.to_string()) {
            tracing::error!("the alarm `{name}` could not tell `{topic}`: {error}");
        }
    }
}
