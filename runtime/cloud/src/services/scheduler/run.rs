//! Schedules at work.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::expression::zone;
use super::target::Sending;
use super::{Schedule, State};
use crate::kernel::clock;
use crate::kernel::cloud::Cloud;
use crate::kernel::delivery::{self, Delivery};
use crate::kernel::outbox;
use crate::kernel::store::NotStored;

/// How often the schedules are looked at in any case: the clock may have been set back.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Times of one schedule that are caught up together: those of a day, every minute.
const TOGETHER: usize = 1_440;

/// Sends what schedules send, for as long as the process runs.
pub async fn run_deliveries(cloud: Arc<Cloud>) {
    outbox::run(cloud, |cloud| &cloud.services.scheduler.deliveries, delivery::attempt).await;
}

/// Lets schedules act for as long as the process runs.
pub async fn run_schedules(cloud: Arc<Cloud>) {
    let state = &cloud.services.scheduler;
    loop {
        let now = cloud.clock.now();
        let mut next = Timestamp::MAX;
        for (key, schedule) in state.schedules.all() {
            match act(&cloud, state, &key, &schedule, now) {
                Ok(due) => next = next.min(due.unwrap_or(Timestamp::MAX)),
                Err(error) => tracing::error!("the schedule {key} could not act: {error}"),
            }
        }
        tokio::select! {
            () = cloud.clock.sleep_until(next) => {}
            () = state.changed.notified() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// The first time after `from` at which a schedule sends.
fn next_after(schedule: &Schedule, from: Timestamp) -> Option<Timestamp> {
    let zone = zone(&schedule.zone)?;
    if schedule.expression.is_once() {
        // Begin and end are ignored.
        return schedule.expression.next_after(&zone, from, schedule.created);
    }
    // What was made before the clock was set back has begun.
    let set_back = from < just_before(schedule.created);
    let begin = schedule.start.unwrap_or(if set_back { from } else { schedule.created });
    if schedule.expression.is_rate() && from < begin {
        return Some(begin);
    }
    // What is exactly at the begin counts.
    let from = from.max(just_before(begin));
    let next = schedule.expression.next_after(&zone, from, begin);
    next.filter(|next| schedule.end.is_none_or(|end| *next <= end))
}

/// The moment before a time.
pub fn just_before(time: Timestamp) -> Timestamp {
    time.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(time)
}

/// Sends what is due; the time that is due next.
fn act(
    cloud: &Cloud,
    state: &State,
    key: &str,
    schedule: &Schedule,
    now: Timestamp,
) -> Result<Option<Timestamp>, NotStored> {
    if !schedule.enabled {
        return Ok(None);
    }
    // What sends once has sent, whatever the clock shows.
    let done = match schedule.expression.is_once() {
        true => schedule.done_until,
        false => clock::done_until(schedule.done_until, now),
    };
    let (mut due, mut next) = (Vec::new(), next_after(schedule, done));
    // What is too old to be sent is not looked at one by one.
    let age = i64::try_from(schedule.target.retry.age_secs_max).unwrap_or(i64::MAX);
    let oldest = now.checked_sub(SignedDuration::from_secs(age)).unwrap_or(Timestamp::MIN);
    if next.is_some_and(|next| next < oldest) {
        next = next_after(schedule, oldest);
    }
    while let Some(time) = next.filter(|time| *time <= now) {
        if due.len() == TOGETHER {
            break;
        }
        due.push(time);
        next = next_after(schedule, time);
    }
    let done_until = match next.filter(|time| *time <= now) {
        // The rest comes in the next round.
        Some(_) => due.last().copied().unwrap_or(now),
        None => now,
    };
    if !due.is_empty() {
        state.deliveries.add_due(due.iter().map(|time| sending(cloud, key, schedule, *time)))?;
    }
    if next.is_none() && schedule.delete_after {
        // Unless it was changed meanwhile.
        let same =
            |there: Option<&Schedule>| there.is_some_and(|t| t.modified == schedule.modified);
        let removed = state.schedules.remove_if(key, |there| match same(there) {
            true => Ok(()),
            false => Err(Changed::Meanwhile),
        });
        return match removed {
            Ok(_) | Err(Changed::Meanwhile) => Ok(None),
            Err(Changed::NotStored(error)) => Err(error),
        };
    }
    if !due.is_empty() || done != schedule.done_until {
        state.schedules.update(key, |there| {
            if there.modified == schedule.modified {
                there.done_until = done_until;
            }
        })?;
    }
    Ok(next)
}

/// Why a schedule is not deleted.
enum Changed {
    Meanwhile,
    NotStored(NotStored),
}

impl From<NotStored> for Changed {
    fn from(error: NotStored) -> Self {
        Self::NotStored(error)
    }
}

/// What is sent for a time: as old as that, and due within the window.
fn sending(
    cloud: &Cloud,
    key: &str,
    schedule: &Schedule,
    time: Timestamp,
) -> (Delivery, Timestamp, Timestamp) {
    let (group, name) = key.split_once('/').unwrap_or(("default", key));
    let window_secs = schedule.window_mins.unwrap_or(0) * 60;
    let later = fastrand::u64(0..=window_secs);
    let due = time.checked_add(SignedDuration::from_secs(later as i64)).unwrap_or(time);
    (schedule.target.delivery(cloud, &Sending { group, name, due: time }), time, due)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kernel::error::ApiResult;
    use crate::kernel::service;

    /// Makes the schedule `s` with a token, and the role of its target if there is none.
    async fn create(cloud: &Arc<Cloud>, expression: &str) -> ApiResult {
        let caller = cloud.identities.administrator();
        let trust = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "Service": "scheduler.amazonaws.com" },
            "Action": "sts:AssumeRole",
        }] });
        let role = json!({ "RoleName": "r", "AssumeRolePolicyDocument": trust.to_string() });
        // The second schedule finds it there.
        service::call(cloud, &caller, "iam", "CreateRole", &role).await.unwrap_or_default();
        let schedule = json!({
            "Name": "s", "ScheduleExpression": expression, "ClientToken": "t",
            "FlexibleTimeWindow": { "Mode": "OFF" },
            "Target": {
                "Arn": "arn:aws:sqs:us-east-1:000000000000:q",
                "RoleArn": "arn:aws:iam::000000000000:role/r",
            },
        });
        service::call(cloud, &caller, "scheduler", "CreateSchedule", &schedule).await
    }

    #[tokio::test]
    async fn a_request_is_repeated_by_its_token_and_another_one_is_a_conflict() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let cloud = Cloud::for_tests(folder.path());
        let made = create(&cloud, "rate(1 hour)").await.expect("made");
        assert_eq!(create(&cloud, "rate(1 hour)").await.expect("the same"), made);
        let refused = create(&cloud, "rate(2 hours)").await.expect_err("another");
        let told = (refused.code.as_str(), refused.message.as_str());
        assert_eq!(told, ("ConflictException", "Schedule s already exists."));
    }

    /// What a schedule sends when it is looked at at these times, each in seconds from its begin.
    async fn sent(expression: &str, looks: &[i64]) -> Vec<usize> {
        let folder = tempfile::TempDir::new().expect("a folder");
        let cloud = Cloud::for_tests(folder.path());
        create(&cloud, expression).await.expect("a schedule");
        let state = &cloud.services.scheduler;
        let key = "default/s";
        let begin = state.schedules.get(key).expect("there").created;
        let look = |secs: &i64| {
            let schedule = state.schedules.get(key).expect("there");
            let now = begin + SignedDuration::from_secs(*secs);
            act(&cloud, state, key, &schedule, now).expect("stored");
            let mut count = 0;
            while state.deliveries.take_due(Timestamp::MAX).is_some() {
                count += 1;
            }
            count
        };
        looks.iter().map(look).collect()
    }

    const DAY: i64 = 24 * 60 * 60;

    #[tokio::test]
    async fn a_clock_that_is_set_back_neither_stops_a_schedule_nor_lets_it_send_twice() {
        // From its begin on, every hour; the clock is set back by a day and goes on from there.
        let looks = [0, 3_600, 3_600 - DAY, 3_700 - DAY, 7_200 - DAY, 7_300 - DAY, 10_800 - DAY];
        assert_eq!(sent("rate(1 hour)", &looks).await, [1, 1, 0, 0, 1, 0, 1]);
        // A correction by five seconds right after it has sent.
        assert_eq!(sent("rate(1 hour)", &[0, 3_600, 3_595, 3_601, 7_200]).await, [1, 1, 0, 0, 1]);
        // Once is once.
        let soon = (Timestamp::now() + SignedDuration::from_secs(5)).strftime("%Y-%m-%dT%H:%M:%S");
        let looks = [0, 10, 10 - DAY, 0, 10];
        assert_eq!(sent(&format!("at({soon})"), &looks).await, [0, 1, 0, 0, 0]);
    }
}
