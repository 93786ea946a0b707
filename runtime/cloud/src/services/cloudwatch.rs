//! CloudWatch: metrics, their statistics, and alarms that evaluate them.
//!
//! Values are on the disk before they are answered; [`series`] says how long datapoints are kept.
//! What the services of this cloud count (failed executions, errors of functions, failed
//! invocations of rules) goes through the same store. Alarms are evaluated by the cloud's clock at
//! every full minute, every ten seconds for periods below one, and at once when a value came that
//! can only raise them; their actions are topics of SNS and whatever takes messages of the bus.
//!
//! Where it differs from AWS:
//! - Of the metrics that AWS's services send only those named above are there; `StatusCheckFailed`
//!   of instances gets a value only when a script of faults lets a check fail, because an instance
//!   is a directory and processes of this machine, which is reachable for as long as anything here
//!   runs.
//! - A percentile is the smallest value that so many of the values do not exceed; of a datapoint
//!   with more than 500 different values neighbours are merged.
//! - An alarm looks at two periods beyond those that it evaluates for datapoints that are not
//!   missing.
//! - At most 20,000 metrics and 5,000 alarms; the history of an alarm has 100 entries.
//! - Refused by name: metric mathematics, composite and log alarms, anomaly detection, trimmed
//!   means, dashboards, metric streams, insight rules, entities, actions on instances.

mod alarm;
mod alarms;
mod data;
mod evaluation;
mod history;
mod points;
mod reason;
mod resources;
mod series;
mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use serde::Deserialize;

use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::service::{Service, Tagged, Tagging};
use crate::kernel::store::Table;
use crate::{model, op};

pub use self::alarm::{Alarm, Stated, from_properties};
pub use self::alarms::store as put_alarm;
pub use self::evaluation::State as AlarmState;
pub use self::series::{Metric, keep};
pub use self::watch::run as evaluate;

/// What CloudWatch has.
#[derive(Debug)]
pub struct State {
    /// Alarms by name.
    pub alarms: Table<Alarm>,
    /// Metrics by ID.
    metrics: Table<series::Known>,
    /// Their datapoints, by ID and hour.
    hours: Table<series::Hour>,
    /// What happened to alarms.
    history: Table<history::History>,
}

impl State {
    /// Opens the records, and takes over the alarms of older clouds.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        let alarms: Table<Alarm> = opening.table("metric_alarms");
        let former: Table<Former> = opening.table("alarms");
        for (name, alarm) in former.all() {
            alarms.create(&name, alarm.now(opening.clock.now()))?;
            former.remove(&name)?;
        }
        Ok(Self {
            alarms,
            metrics: opening.table("metrics"),
            hours: opening.table("metric_hours"),
            history: opening.table("alarm_history"),
        })
    }
}

/// An alarm as older clouds had them: a sum over one period that reaches a threshold.
#[derive(Debug, Clone, serde::Serialize, Deserialize)]
struct Former {
    description: String,
    namespace: String,
    metric: String,
    dimension: (String, String),
    threshold: f64,
    period_secs: i64,
    actions: Vec<String>,
    raised: bool,
    #[serde(default)]
    missing_data: Option<String>,
}

impl Former {
    fn now(&self, now: Timestamp) -> Alarm {
        let missing = self.missing_data.as_deref();
        let value = if self.raised { AlarmState::Alarm } else { AlarmState::Ok };
        Alarm {
            description: Some(self.description.clone()),
            metric: Metric {
                namespace: self.namespace.clone(),
                name: self.metric.clone(),
                dimensions: BTreeMap::from([self.dimension.clone()]),
            },
            statistic: "Sum".to_owned(),
            period_secs: self.period_secs,
            unit: None,
            periods: 1,
            to_alarm: None,
            comparison: evaluation::Comparison::GreaterThanOrEqualToThreshold,
            threshold: self.threshold,
            missing: missing.and_then(|name| serde_json::from_value(name.into()).ok()),
            actions_enabled: true,
            actions: BTreeMap::from([("ALARM".to_owned(), self.actions.clone())]),
            tags: BTreeMap::new(),
            configured: now,
            state: Stated {
                value,
                updated: now,
                since: now,
                reason: "Taken over from an older cloud".to_owned(),
                data: None,
            },
        }
    }
}

/// ARN of an alarm, or of all with `*`.
pub fn alarm_arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.arn("cloudwatch", &format!("alarm:{name}"))
}

/// Counts one event of a metric.
pub fn count(cloud: &Arc<Cloud>, namespace: &str, metric: &str, dimension: (&str, &str)) {
    let metric = Metric {
        namespace: namespace.to_owned(),
        name: metric.to_owned(),
        dimensions: BTreeMap::from([(dimension.0.to_owned(), dimension.1.to_owned())]),
    };
    record(cloud, &metric, 1.0, "Count");
}

/// Records a value of a metric that a service of this cloud sends. One that cannot be stored is
/// lost, as in AWS; the service goes on.
pub fn record(cloud: &Arc<Cloud>, metric: &Metric, value: f64, unit: &str) {
    let now = cloud.clock.now().as_second();
    let sample = series::Sample {
        at_secs: now - now.rem_euclid(60),
        point: points::Point::of(value, 1.0),
        unit: unit.to_owned(),
    };
    match series::put(cloud, metric, &[sample]) {
        Ok(()) => watch::told(cloud, metric),
        Err(error) => tracing::error!("a value of {} is lost: {error}", metric.name),
    }
}

/// How alarms carry tags.
const TAGGED: Tagged = Tagged {
    all: |cloud| {
        let all = cloud.services.cloudwatch.alarms.all().into_iter();
        all.map(|(name, one)| (alarm_arn(cloud, &name), one.tags.clone())).collect()
    },
    change: Tagging::ByArn("ResourceARN", ["Key", "Value"]),
};

/// API of CloudWatch.
pub static SERVICE: Service = Service {
    invalid: "ValidationError",
    prefix: "cloudwatch",
    types: resources::TYPES,
    data: &["GetMetricData", "GetMetricStatistics", "ListMetrics", "PutMetricData"],
    tagged: Some(TAGGED),
    ..Service::new(
        "monitoring",
        model!("monitoring"),
        &[
            op!(PutMetricData(
                Namespace,
                MetricData {
                    MetricName, Dimensions, Timestamp, Value, StatisticValues, Values, Counts, Unit,
                    StorageResolution,
                }
            ) => async data::put),
            op!(GetMetricData(
                MetricDataQueries { Id, MetricStat, Label, ReturnData }, StartTime, EndTime, ScanBy
            ) => data::get),
            op!(GetMetricStatistics(
                Namespace, MetricName, Dimensions, StartTime, EndTime, Period, Statistics,
                ExtendedStatistics, Unit
            ) => data::statistics),
            op!(ListMetrics(Namespace, MetricName, Dimensions, NextToken, RecentlyActive)
                => data::list),
            op!(PutMetricAlarm(
                AlarmName, AlarmDescription, ActionsEnabled, OKActions, AlarmActions,
                InsufficientDataActions, MetricName, Namespace, Statistic, ExtendedStatistic,
                Dimensions, Period, Unit, EvaluationPeriods, DatapointsToAlarm, Threshold,
                ComparisonOperator, TreatMissingData, EvaluateLowSampleCountPercentile, Tags
            ) => async alarms::put),
            op!(DescribeAlarms(
                AlarmNames, AlarmNamePrefix, AlarmTypes, StateValue, ActionPrefix, MaxRecords,
                NextToken
            ) => alarms::describe),
            op!(DescribeAlarmsForMetric(
                MetricName, Namespace, Statistic, ExtendedStatistic, Dimensions, Period, Unit
            ) => alarms::for_metric),
            op!(DescribeAlarmHistory(
                AlarmName, AlarmTypes, HistoryItemType, StartDate, EndDate, MaxRecords, NextToken,
                ScanBy
            ) => history::describe),
            op!(DeleteAlarms(AlarmNames) => alarms::delete),
            op!(EnableAlarmActions(AlarmNames) => |call| alarms::switch(call, true)),
            op!(DisableAlarmActions(AlarmNames) => |call| alarms::switch(call, false)),
            op!(SetAlarmState(AlarmName, StateValue, StateReason, StateReasonData)
                => async alarms::set_state),
            op!(TagResource(ResourceARN, Tags) => alarms::tag),
            op!(UntagResource(ResourceARN, TagKeys) => alarms::untag),
            op!(ListTagsForResource(ResourceARN) => alarms::tags),
        ],
    )
};
