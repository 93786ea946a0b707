//! Schedules at work.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::expression::zone;
use super::target::Sending;
use super::{Schedule, State};
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
    let begin = schedule.start.unwrap_or(schedule.created);
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
    let (mut due, mut next) = (Vec::new(), next_after(schedule, schedule.done_until));
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
    if !due.is_empty() {
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
