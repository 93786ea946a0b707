//! Schedules: made, changed, shown and deleted.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::expression::{Expression, zone};
use super::target::Target;
use super::{PAGES, Schedule, arn, conflict, groups, invalid, missing, run};
use crate::kernel::cloud::epoch_secs;
use crate::kernel::error::ApiResult;
use crate::kernel::service::Call;

/// The group that everybody has.
pub const DEFAULT: &str = "default";

fn group_of<'a>(call: &Call<'a>) -> &'a str {
    call.text("GroupName").unwrap_or(DEFAULT)
}

pub fn key(group: &str, name: &str) -> String {
    format!("{group}/{name}")
}

fn moment(value: &Value) -> Option<Timestamp> {
    Timestamp::from_millisecond((value.as_f64()? * 1e3) as i64).ok()
}

/// A schedule out of an input.
fn read(call: &Call<'_>, group: &str, created: Timestamp) -> ApiResult<Schedule> {
    let (params, now) = (call.params, call.cloud.clock.now());
    let text = call.required("ScheduleExpression")?;
    let expression = Expression::try_from(text.to_owned())
        .map_err(|why| invalid(format!("Invalid Schedule Expression {text}: it {why}.")))?;
    let zone_name = call.text("ScheduleExpressionTimezone").unwrap_or("UTC");
    if zone(zone_name).is_none() {
        return Err(invalid(format!("Invalid ScheduleExpressionTimezone {zone_name}.")));
    }
    let (start, end) = (moment(&params["StartDate"]), moment(&params["EndDate"]));
    if end.is_some_and(|end| end <= start.unwrap_or(now)) {
        return Err(invalid(
            "The EndDate you specify cannot be earlier than the StartDate, or now.",
        ));
    }
    let window = &params["FlexibleTimeWindow"];
    let minutes = window["MaximumWindowInMinutes"].as_u64();
    let window_mins = match (window["Mode"].as_str(), minutes) {
        (Some("OFF"), None) => None,
        (Some("OFF"), Some(_)) => {
            return Err(invalid(
                "MaximumWindowInMinutes cannot be set when FlexibleTimeWindow is OFF.",
            ));
        }
        (_, Some(minutes)) => Some(minutes),
        (_, None) => {
            return Err(invalid("MaximumWindowInMinutes is required for a flexible time window."));
        }
    };
    let target = Target::read(call, group)?;
    Ok(Schedule {
        expression,
        zone: zone_name.to_owned(),
        start,
        end,
        enabled: call.text("State") != Some("DISABLED"),
        description: call.text("Description").map(str::to_owned),
        target,
        window_mins,
        delete_after: call.text("ActionAfterCompletion") == Some("DELETE"),
        created,
        modified: now,
        done_until: now,
        token: call.text("ClientToken").map(str::to_owned),
    })
}

/// `CreateSchedule`. The same request again, by its token, is answered alike.
pub fn create(call: &Call<'_>) -> ApiResult {
    let (cloud, state) = (call.cloud, &call.cloud.services.scheduler);
    let (group, name) = (group_of(call), call.required("Name")?);
    let own = arn(cloud, group, name);
    call.authorize(&own)?;
    groups::check_exists(cloud, group)?;
    let mut schedule = read(call, group, cloud.clock.now())?;
    // A rate sends first when it begins, which is now unless a start is given.
    schedule.done_until = run::just_before(schedule.created);
    if !state.schedules.create(&key(group, name), schedule.clone())? {
        let there = state.schedules.get(&key(group, name));
        if !there.is_some_and(|there| is_repeated(schedule, &there)) {
            return Err(conflict(format!("Schedule {name} already exists.")));
        }
    }
    state.changed.notify_one();
    Ok(json!({ "ScheduleArn": own }))
}

/// Whether the same was asked for with the same token.
fn is_repeated(asked: Schedule, there: &Schedule) -> bool {
    let Schedule { created, modified, done_until, .. } = *there;
    let asked = Schedule { created, modified, done_until, ..asked };
    there.token.is_some() && json!(asked) == json!(there)
}

/// The schedule of a call, when its caller may do this with it.
fn named<'a>(call: &Call<'a>) -> ApiResult<(&'a str, &'a str, Arc<Schedule>)> {
    let (group, name) = (group_of(call), call.required("Name")?);
    call.authorize(&arn(call.cloud, group, name))?;
    let schedule = call.cloud.services.scheduler.schedules.get(&key(group, name));
    let schedule = schedule.ok_or_else(|| missing(format!("Schedule {name} does not exist.")))?;
    Ok((group, name, schedule))
}

/// `UpdateSchedule`: what is not given is as if it were made so.
pub fn update(call: &Call<'_>) -> ApiResult {
    let state = &call.cloud.services.scheduler;
    let (group, name, former) = named(call)?;
    let schedule = read(call, group, former.created)?;
    let updated = state.schedules.update(&key(group, name), |there| *there = schedule)?;
    updated.ok_or_else(|| missing(format!("Schedule {name} does not exist.")))?;
    state.changed.notify_one();
    Ok(json!({ "ScheduleArn": arn(call.cloud, group, name) }))
}

/// `DeleteSchedule`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (group, name, _) = named(call)?;
    let state = &call.cloud.services.scheduler;
    state.schedules.remove(&key(group, name))?;
    state.changed.notify_one();
    Ok(json!({}))
}

fn state_of(schedule: &Schedule) -> &'static str {
    if schedule.enabled { "ENABLED" } else { "DISABLED" }
}

/// `GetSchedule`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let (group, name, schedule) = named(call)?;
    Ok(described(call, group, name, &schedule))
}

fn described(call: &Call<'_>, group: &str, name: &str, schedule: &Schedule) -> Value {
    let window = match schedule.window_mins {
        Some(minutes) => json!({ "Mode": "FLEXIBLE", "MaximumWindowInMinutes": minutes }),
        None => json!({ "Mode": "OFF" }),
    };
    json!({
        "Arn": arn(call.cloud, group, name), "GroupName": group, "Name": name,
        "ScheduleExpression": schedule.expression.to_string(),
        "ScheduleExpressionTimezone": schedule.zone, "StartDate": schedule.start.map(epoch_secs),
        "EndDate": schedule.end.map(epoch_secs), "Description": schedule.description,
        "State": state_of(schedule), "CreationDate": epoch_secs(schedule.created),
        "LastModificationDate": epoch_secs(schedule.modified), "Target": schedule.target.shown(),
        "FlexibleTimeWindow": window,
        "ActionAfterCompletion": if schedule.delete_after { "DELETE" } else { "NONE" },
    })
}

/// `ListSchedules`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    call.authorize(&arn(cloud, call.text("GroupName").unwrap_or("*"), "*"))?;
    if let Some(group) = call.text("GroupName") {
        groups::check_exists(cloud, group)?;
    }
    let all = cloud.services.scheduler.schedules.all();
    let wanted = all.iter().filter_map(|(key, schedule)| {
        let (group, name) = key.split_once('/')?;
        let is = |member: &str, own: &str| call.text(member).is_none_or(|given| given == own);
        let prefix = call.text("NamePrefix").unwrap_or_default();
        let wanted =
            is("GroupName", group) && is("State", state_of(schedule)) && name.starts_with(prefix);
        wanted.then(|| {
            json!({
                "Arn": arn(cloud, group, name), "Name": name, "GroupName": group,
                "State": state_of(schedule), "CreationDate": epoch_secs(schedule.created),
                "LastModificationDate": epoch_secs(schedule.modified),
                "Target": { "Arn": schedule.target.arn },
            })
        })
    });
    PAGES.answer(call.params, "Schedules", wanted.collect())
}
