//! Operations on alarms.

use std::sync::Arc;

use serde_json::{Value, json};

use super::alarm::{self, Alarm, from_properties};
use super::evaluation::State;
use super::history::{self, Kind};
use super::series::dimensions;
use super::{alarm_arn, watch};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;
use crate::kernel::store::NotStored;

/// Alarms of an account, which AWS lets grow.
const ALARMS_MAX: usize = 5_000;
/// Alarms that one question may name.
const NAMES_MAX: usize = 100;
const PAGES: Pages = Pages {
    items: 50,
    wrong_token: "InvalidNextToken",
    ..Pages::of("MaxRecords", "NextToken", 100)
};

/// `PutMetricAlarm`: settings are replaced, the state of an alarm that is there stays.
pub async fn put(call: &Call<'_>) -> ApiResult {
    let (name, cloud) = (call.required("AlarmName")?, call.cloud);
    call.authorize(&alarm_arn(cloud, name))?;
    let alarm = from_properties(cloud, call.params)?;
    if !alarm.tags.is_empty() {
        cloud.authorize(call.caller, "cloudwatch:TagResource", &alarm_arn(cloud, name), &[])?;
    }
    store(cloud, name, alarm)?;
    Ok(json!({}))
}

/// Puts an alarm, and evaluates it.
pub fn store(cloud: &Arc<Cloud>, name: &str, alarm: Alarm) -> ApiResult<()> {
    let alarms = &cloud.services.cloudwatch.alarms;
    if !alarms.contains(name) && alarms.len() >= ALARMS_MAX {
        let words = format!("The account has {ALARMS_MAX} alarms, which is the limit.");
        return Err(ApiError::new("LimitExceeded", words));
    }
    let former = alarms.replace(name, |former| {
        let mut alarm = alarm;
        if let Some(former) = former {
            alarm.state = former.state.clone();
            // Tags of an alarm that is there are changed by operations of their own.
            alarm.tags = former.tags.clone();
        }
        Ok::<_, NotStored>(alarm)
    })?;
    let done = if former.is_some() { "updated" } else { "created" };
    let data =
        json!({ "version": "1.0", "type": if former.is_some() { "Update" } else { "Create" } });
    history::add(
        cloud,
        name,
        Kind::ConfigurationUpdate,
        &format!("Alarm \"{name}\" {done}"),
        &data,
    )?;
    if let Some(alarm) = alarms.get(name) {
        let now = cloud.clock.now().as_second();
        watch::look(cloud, name, &alarm, now - now.rem_euclid(alarm.period_secs.min(60)));
    }
    Ok(())
}

/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html>
pub fn describe(call: &Call<'_>) -> ApiResult {
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
            && text("StateValue").is_none_or(|state| state == alarm.state.value.word())
            && text("ActionPrefix").is_none_or(|prefix| {
                alarm.actions.values().flatten().any(|action| action.starts_with(prefix))
            })
    };
    let all = if metric_alarms { cloud.services.cloudwatch.alarms.all() } else { vec![] };
    let chosen = all.iter().filter(|(name, alarm)| wanted(name, alarm));
    let described = chosen.map(|(name, alarm)| alarm.describe(cloud, name)).collect();
    let mut answer = PAGES.answer(params, "MetricAlarms", described)?;
    answer["CompositeAlarms"] = json!([]);
    Ok(answer)
}

/// `DescribeAlarmsForMetric`.
pub fn for_metric(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize(&alarm_arn(cloud, "*"))?;
    let (namespace, name) = (call.required("Namespace")?, call.required("MetricName")?);
    let wrong = |words: String| ApiError::new("InvalidParameterValue", words);
    let wanted = dimensions(&params["Dimensions"]).map_err(wrong)?;
    let statistic = call.text("Statistic").or(call.text("ExtendedStatistic"));
    let period = params["Period"].as_i64();
    let all = cloud.services.cloudwatch.alarms.all();
    let found = all.iter().filter(|(_, alarm)| {
        alarm.metric.namespace == namespace
            && alarm.metric.name == name
            && alarm.metric.dimensions == wanted
            && statistic.is_none_or(|statistic| statistic == alarm.statistic)
            && period.is_none_or(|period| period == alarm.period_secs)
            && call.text("Unit").is_none_or(|unit| alarm.unit.as_deref() == Some(unit))
    });
    let found: Vec<Value> = found.map(|(name, alarm)| alarm.describe(cloud, name)).collect();
    Ok(json!({ "MetricAlarms": found }))
}

fn missing(name: &str) -> ApiError {
    ApiError::new("ResourceNotFound", format!("Unknown alarm: {name}")).with_status(404)
}

/// The alarms that a call names, of all of which the caller may do this.
fn named<'a>(call: &Call<'a>) -> ApiResult<Vec<&'a str>> {
    let names = call.params["AlarmNames"].as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    if names.len() > NAMES_MAX {
        return Err(ApiError::validation(format!("AlarmNames has more than {NAMES_MAX} names.")));
    }
    for name in &names {
        call.authorize(&alarm_arn(call.cloud, name))?;
    }
    Ok(names)
}

/// `DeleteAlarms`: all of them, or none.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let names = named(call)?;
    let alarms = &call.cloud.services.cloudwatch.alarms;
    if let Some(name) = names.iter().find(|name| !alarms.contains(name)) {
        return Err(missing(name));
    }
    for name in names {
        alarms.remove(name)?;
        let (summary, data) = (format!("Alarm \"{name}\" deleted"), json!({ "type": "Delete" }));
        history::add(call.cloud, name, Kind::ConfigurationUpdate, &summary, &data)?;
    }
    Ok(json!({}))
}

/// `EnableAlarmActions` and `DisableAlarmActions`; names of no alarm are passed over, as in AWS.
pub fn switch(call: &Call<'_>, enabled: bool) -> ApiResult {
    for name in named(call)? {
        let alarms = &call.cloud.services.cloudwatch.alarms;
        alarms.update(name, |alarm| alarm.actions_enabled = enabled)?;
    }
    Ok(json!({}))
}

/// `SetAlarmState`, until the next evaluation.
pub async fn set_state(call: &Call<'_>) -> ApiResult {
    let name = call.required("AlarmName")?;
    call.authorize(&alarm_arn(call.cloud, name))?;
    let data = call.text("StateReasonData");
    if data.is_some_and(|data| serde_json::from_str::<Value>(data).is_err()) {
        let words = "TypeError: StateReasonData is not JSON.";
        return Err(ApiError::new("InvalidFormat", words));
    }
    let state = State::named(call.required("StateValue")?);
    let state = state.ok_or_else(|| ApiError::validation("StateValue is no state."))?;
    let reason = call.required("StateReason")?;
    match watch::change(call.cloud, name, state, reason, data.map(str::to_owned))? {
        true => Ok(json!({})),
        false => Err(missing(name)),
    }
}

/// The alarm of an ARN.
fn tagged<'a>(call: &Call<'a>) -> ApiResult<&'a str> {
    let arn = call.required("ResourceARN")?;
    call.authorize(arn)?;
    let none = || {
        ApiError::new("ResourceNotFoundException", format!("{arn} is not there.")).with_status(404)
    };
    let name = arn.strip_prefix(alarm_arn(call.cloud, "").as_str()).ok_or_else(none)?;
    match call.cloud.services.cloudwatch.alarms.contains(name) {
        true => Ok(name),
        false => Err(none()),
    }
}

/// `TagResource`.
pub fn tag(call: &Call<'_>) -> ApiResult {
    let (name, added) = (tagged(call)?, alarm::tags(&call.params["Tags"])?);
    call.cloud.services.cloudwatch.alarms.update(name, |alarm| alarm.tags.extend(added))?;
    Ok(json!({}))
}

/// `UntagResource`.
pub fn untag(call: &Call<'_>) -> ApiResult {
    let keys = call.params["TagKeys"].as_array().into_iter().flatten();
    let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
    let name = tagged(call)?;
    let alarms = &call.cloud.services.cloudwatch.alarms;
    alarms.update(name, |alarm| alarm.tags.retain(|key, _| !keys.contains(&key.as_str())))?;
    Ok(json!({}))
}

/// `ListTagsForResource`.
pub fn tags(call: &Call<'_>) -> ApiResult {
    let alarm = call.cloud.services.cloudwatch.alarms.get(tagged(call)?);
    let tags = alarm.iter().flat_map(|alarm| &alarm.tags);
    let tags: Vec<Value> = tags.map(|(k, v)| json!({ "Key": k, "Value": v })).collect();
    Ok(json!({ "Tags": tags }))
}
