//! Who looks at alarms: at every full minute (every ten seconds for periods below one), and when a
//! value came that can only raise them.
//!
//! Evaluation goes by the cloud's clock; after it was put forward alarms are evaluated once, as of
//! then. Every change of state is on record before its actions are taken.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::alarm::Alarm;
use super::evaluation::{State, evaluate};
use super::history::{self, Kind};
use super::reason;
use super::series::Metric;
use crate::kernel::bus::{self, Right, Sender};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::ApiResult;
use crate::kernel::store::NotStored;
use crate::services::sns;

/// How often alarms with short periods are evaluated.
const SHORT: Duration = Duration::from_secs(10);
/// How often the others are.
const MINUTE_SECS: i64 = 60;
/// Who calls functions for alarms.
const CALLER: &str = "lambda.alarms.cloudwatch.amazonaws.com";

/// Evaluates alarms for as long as the process runs.
pub async fn run(cloud: Arc<Cloud>) {
    loop {
        let now = cloud.clock.now().as_second();
        let short = SHORT.as_secs() as i64;
        let next = now - now.rem_euclid(short) + short;
        cloud.clock.sleep_until(Timestamp::from_second(next).unwrap_or(Timestamp::MAX)).await;
        let (all, at) = (cloud.clone(), cloud.clock.now().as_second());
        let whole_minute = at / MINUTE_SECS != now / MINUTE_SECS;
        let work = tokio::task::spawn_blocking(move || {
            for (name, alarm) in all.services.cloudwatch.alarms.all() {
                let short = alarm.period_secs < MINUTE_SECS;
                if short || whole_minute {
                    let step = if short { SHORT.as_secs() as i64 } else { MINUTE_SECS };
                    look(&all, &name, &alarm, at - at.rem_euclid(step));
                }
            }
        });
        work.await.unwrap_or_else(|error| tracing::error!("alarms are not evaluated: {error}"));
    }
}

/// Looks at the alarms on a metric that got a value. The period is not over: only those are looked
/// at that more values cannot bring back.
pub fn told(cloud: &Arc<Cloud>, metric: &Metric) {
    for (name, alarm) in cloud.services.cloudwatch.alarms.all() {
        let grows = matches!(alarm.statistic.as_str(), "Sum" | "Maximum" | "SampleCount");
        if alarm.metric == *metric && grows && alarm.comparison.is_upwards() {
            let step = alarm.period_secs.min(MINUTE_SECS);
            let now = cloud.clock.now().as_second();
            let end = now - now.rem_euclid(step) + step;
            if evaluate(&alarm.rule(), &alarm.datapoints(cloud, end)) == Some(State::Alarm) {
                look(cloud, &name, &alarm, end);
            }
        }
    }
}

/// Evaluates an alarm whose last period ends at `end`.
pub fn look(cloud: &Arc<Cloud>, name: &str, alarm: &Alarm, end: i64) {
    let points = alarm.datapoints(cloud, end);
    let Some(state) = evaluate(&alarm.rule(), &points) else { return };
    if state == alarm.state.value {
        return;
    }
    let (reason, data) = reason::of(alarm, state, &points, end, cloud.clock.now());
    if let Err(error) = change(cloud, name, state, &reason, Some(data)) {
        tracing::error!("the state of the alarm `{name}` is not stored: {error}");
    }
}

/// Changes the state of an alarm, and takes its actions; whether there is such an alarm.
pub fn change(
    cloud: &Arc<Cloud>,
    name: &str,
    state: State,
    reason: &str,
    data: Option<String>,
) -> Result<bool, NotStored> {
    let now = cloud.clock.now();
    let mut former = None;
    cloud.services.cloudwatch.alarms.update(name, |alarm| {
        former = Some(alarm.clone());
        if alarm.state.value != state {
            alarm.state.since = now;
        }
        alarm.state.value = state;
        alarm.state.updated = now;
        alarm.state.reason = reason.to_owned();
        alarm.state.data = data;
    })?;
    let Some(former) = former else { return Ok(false) };
    if former.state.value != state
        && let Some(alarm) = cloud.services.cloudwatch.alarms.get(name)
    {
        let summary =
            format!("Alarm updated from {} to {}", former.state.value.word(), state.word());
        let data = json!({
            "version": "1.0",
            "oldState": {
                "stateValue": former.state.value.word(), "stateReason": former.state.reason,
            },
            "newState": { "stateValue": state.word(), "stateReason": reason },
        });
        history::add(cloud, name, Kind::StateUpdate, &summary, &data)?;
        act(cloud, name, &alarm, &former);
    }
    Ok(true)
}

/// Takes the actions of the state that an alarm has now, while the caller goes on.
fn act(cloud: &Arc<Cloud>, name: &str, alarm: &Alarm, former: &Alarm) {
    if !alarm.actions_enabled {
        return;
    }
    for arn in alarm.actions_for(alarm.state.value) {
        let (cloud, name, arn) = (cloud.clone(), name.to_owned(), arn.clone());
        let (alarm, former) = (alarm.clone(), former.clone());
        let work = async move {
            let done = take(&cloud, &name, &alarm, &former, &arn).await;
            let outcome = if done.is_ok() { "Successfully executed" } else { "Failed to execute" };
            let error = done.err().map(|error| error.to_string());
            if let Some(error) = &error {
                tracing::error!("the alarm `{name}` could not tell `{arn}`: {error}");
            }
            let data =
                json!({ "actionState": outcome, "notificationResource": arn, "error": error });
            let summary = format!("{outcome} action {arn}");
            if let Err(error) = history::add(&cloud, &name, Kind::Action, &summary, &data) {
                tracing::error!("an action of the alarm `{name}` is not on record: {error}");
            }
        };
        // Alarms are also changed outside of the runtime's threads.
        tokio::runtime::Handle::try_current().map_or_else(
            |error| tracing::error!("actions are not taken: {error}"),
            |runtime| drop(runtime.spawn(work)),
        );
    }
}

async fn take(
    cloud: &Arc<Cloud>,
    name: &str,
    alarm: &Alarm,
    former: &Alarm,
    arn: &str,
) -> ApiResult<()> {
    if arn.starts_with("arn:aws:sns:") {
        let subject =
            format!("{}: \"{name}\" in {}", alarm.state.value.word(), cloud.config.region);
        let message = message(cloud, name, alarm, former).to_string();
        return sns::deliver(cloud, arn, Some(&subject), &message).map(drop);
    }
    let source = super::alarm_arn(cloud, name);
    let sender = Sender { service: CALLER, source_arn: &source, session: name };
    let body = event(cloud, name, alarm, former).to_string();
    bus::deliver(cloud, sender, Right::Own, arn, body, Value::Null).await.map(drop)
}

/// What topics are told.
fn message(cloud: &Cloud, name: &str, alarm: &Alarm, former: &Alarm) -> Value {
    let described = alarm.describe(cloud, name);
    let dimensions: Vec<Value> = alarm
        .metric
        .dimensions
        .iter()
        .map(|(name, value)| json!({ "value": value, "name": name }))
        .collect();
    json!({
        "AlarmName": name, "AlarmDescription": alarm.description,
        "AWSAccountId": cloud.config.account,
        "AlarmConfigurationUpdatedTimestamp": iso(alarm.configured),
        "NewStateValue": alarm.state.value.word(), "NewStateReason": alarm.state.reason,
        "StateChangeTime": iso(alarm.state.since), "Region": cloud.config.region,
        "AlarmArn": super::alarm_arn(cloud, name), "OldStateValue": former.state.value.word(),
        "OKActions": described["OKActions"], "AlarmActions": described["AlarmActions"],
        "InsufficientDataActions": described["InsufficientDataActions"],
        "Trigger": {
            "MetricName": alarm.metric.name, "Namespace": alarm.metric.namespace,
            "StatisticType": "Statistic", "Statistic": alarm.statistic.to_uppercase(),
            "Unit": alarm.unit, "Dimensions": dimensions, "Period": alarm.period_secs,
            "EvaluationPeriods": alarm.periods, "DatapointsToAlarm": alarm.to_alarm,
            "ComparisonOperator": alarm.comparison, "Threshold": alarm.threshold,
            "TreatMissingData": alarm.missing.unwrap_or_default(),
            "EvaluateLowSampleCountPercentile": "",
        },
    })
}

/// What functions are told.
fn event(cloud: &Cloud, name: &str, alarm: &Alarm, former: &Alarm) -> Value {
    let state = |alarm: &Alarm| {
        json!({
            "value": alarm.state.value.word(), "reason": alarm.state.reason,
            "reasonData": alarm.state.data, "timestamp": iso(alarm.state.updated),
        })
    };
    let metric = json!({
        "id": "m1", "returnData": true,
        "metricStat": {
            "metric": {
                "namespace": alarm.metric.namespace, "name": alarm.metric.name,
                "dimensions": alarm.metric.dimensions,
            },
            "period": alarm.period_secs, "stat": alarm.statistic,
        },
    });
    json!({
        "source": "aws.cloudwatch", "alarmArn": super::alarm_arn(cloud, name),
        "accountId": cloud.config.account, "time": iso(alarm.state.since),
        "region": cloud.config.region,
        "alarmData": {
            "alarmName": name, "state": state(alarm), "previousState": state(former),
            "configuration": { "description": alarm.description, "metrics": [metric] },
        },
    })
}
