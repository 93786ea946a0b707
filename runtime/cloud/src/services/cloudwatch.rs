//! CloudWatch alarms on the metrics that this cloud itself produces.
//!
//! A metric is a count of events (a failed execution, a failed invocation). An alarm rises when the
//! count within its period reaches its threshold, and falls when a period passes without any. An
//! alarm on any other metric is refused, because nothing would ever raise it.
//!
//! `StatusCheckFailed` stays at zero: instances are directories and processes of this machine,
//! which is reachable for as long as anything here runs. What ends inside of an instance fails no
//! status check on EC2 either.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cloud::{Cloud, iso};
use crate::services::sns;

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
}

/// Counts one event of a metric.
pub fn count(cloud: &Arc<Cloud>, namespace: &str, metric: &str, dimension: (&str, &str)) {
    for (name, alarm) in cloud.alarms.all() {
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
    let rose = cloud.alarms.settle(name, |alarm| {
        let begin = now - SignedDuration::from_secs(alarm.period_secs);
        alarm.events.retain(|t| *t > begin);
        alarm.events.push(now);
        let was = alarm.raised;
        alarm.raised = alarm.events.len() as f64 >= alarm.threshold;
        alarm.raised && !was
    });
    let Some(alarm) = cloud.alarms.get(name) else { return };
    if rose == Some(true) {
        tell(cloud, name, &alarm);
    }
    let (cloud, name, period) =
        (cloud.clone(), name.to_owned(), Duration::from_secs(alarm.period_secs.max(1) as u64));
    tokio::spawn(async move {
        tokio::time::sleep(period).await;
        let quiet = |alarm: &mut Alarm| {
            if alarm.events.last().is_none_or(|last| *last <= now) {
                alarm.raised = false;
            }
        };
        cloud.alarms.settle(&name, quiet);
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
