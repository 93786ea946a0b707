//! Rules that act by themselves.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Rule;
use super::emit::{deliveries_of, scheduled_event};
use crate::kernel::clock::done_until;
use crate::kernel::cloud::Cloud;

/// Fires rules on a schedule for as long as the process runs.
pub async fn run_schedules(cloud: Arc<Cloud>) {
    let mut from = cloud.clock.now();
    loop {
        from = done_until(from, cloud.clock.now());
        let rules = cloud.services.events.rules.all();
        let next = rules.iter().filter_map(|(_, rule)| due_after(rule, from, from)).min();
        tokio::select! {
            () = cloud.clock.sleep_until(next.unwrap_or(Timestamp::MAX)) => {}
            () = cloud.services.events.rules_changed.notified() => {}
            // The clock may have been set back, and then what is next is earlier.
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = cloud.clock.now();
        fire_due(&cloud, from, now);
        from = done_until(from.max(now), now);
    }
}

/// How often the schedules are looked at in any case.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Fires every rule, once, whose schedule has a time after `from` and not after `to`.
pub fn fire_due(cloud: &Cloud, from: Timestamp, to: Timestamp) {
    for (name, rule) in cloud.services.events.rules.all() {
        let Some(due) = due_after(&rule, from, to).filter(|due| *due <= to) else { continue };
        let deliveries = deliveries_of(cloud, &name, &rule, &scheduled_event(cloud, &name, due));
        if let Err(error) = cloud.services.events.deliveries.add(deliveries, cloud.clock.now()) {
            tracing::error!("the rule `{name}` could not act: {error}");
        }
    }
}

fn due_after(rule: &Rule, from: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let schedule = rule.schedule.as_ref().filter(|_| rule.enabled)?;
    schedule.next_after(from, rule.created, now)
}
