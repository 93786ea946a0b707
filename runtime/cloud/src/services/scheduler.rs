//! EventBridge Scheduler: schedules that send once or again and again, in any time zone.
//!
//! What a schedule sends is in the store before the schedule goes on, and is tried again as its
//! retry policy says; then it goes to its dead-letter queue. What was due while the process did not
//! run is sent when it runs again, if it is not older than the retry policy's greatest age.
//!
//! Differences from AWS: schedules are deleted after completion when the last thing is on its way,
//! not when it has arrived; a group is deleted at once with its schedules. Universal targets
//! (`aws-sdk:…`), targets of ECS, Kinesis, SageMaker and EventBridge, and keys of KMS are refused by
//! name.

mod expression;
mod groups;
mod resources;
mod run;
mod schedules;
mod target;

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::delivery::Delivery;
use crate::kernel::error::ApiError;
use crate::kernel::outbox::Outbox;
use crate::kernel::pages::Pages;
use crate::kernel::service::{Service, Tagged, Tagging};
use crate::kernel::store::Table;
use crate::{model, op};

use self::expression::Expression;
use self::target::Target;

pub use self::run::{run_deliveries, run_schedules};

/// What the scheduler has.
#[derive(Debug)]
pub struct State {
    /// Schedules by `group/name`.
    schedules: Table<Schedule>,
    /// Groups by name, but for `default`.
    groups: Table<Group>,
    /// Woken when a schedule is made, changed or deleted.
    changed: tokio::sync::Notify,
    /// What schedules have sent and nobody has taken yet.
    deliveries: Outbox<Delivery>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            schedules: opening.table("scheduler_schedules"),
            groups: opening.table("scheduler_groups"),
            changed: tokio::sync::Notify::new(),
            deliveries: Outbox::open(opening, "scheduler_deliveries"),
        })
    }
}

#[cfg(test)]
impl State {
    /// What is on its way.
    pub fn deliveries(&self) -> &Outbox<Delivery> {
        &self.deliveries
    }
}

/// A schedule.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Schedule {
    expression: Expression,
    /// Name of the time zone.
    zone: String,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    enabled: bool,
    description: Option<String>,
    target: Target,
    /// Minutes within which it sends; at once without.
    window_mins: Option<u64>,
    delete_after: bool,
    created: Timestamp,
    modified: Timestamp,
    /// Up to when everything that was due is on its way.
    done_until: Timestamp,
    /// By which a repeated request is known.
    token: Option<String>,
}

/// A group of schedules.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    created: Timestamp,
    modified: Timestamp,
    tags: BTreeMap<String, String>,
    token: Option<String>,
}

/// Items in an answer.
const PAGES: Pages = Pages::of("MaxResults", "NextToken", 100);

/// How groups of schedules carry tags.
const TAGGED: Tagged = Tagged {
    all: |cloud| {
        let all = cloud.services.scheduler.groups.all().into_iter();
        all.map(|(name, one)| (group_arn(cloud, &name), one.tags.clone())).collect()
    },
    change: Tagging::ByArn("ResourceArn", ["Key", "Value"]),
};

/// API of the scheduler.
pub static SERVICE: Service = Service {
    types: resources::TYPES,
    tagged: Some(TAGGED),
    ..Service::new(
        "scheduler",
        model!("scheduler"),
        &[
            op!(CreateSchedule(Name, GroupName, ScheduleExpression, StartDate, EndDate, Description,
                ScheduleExpressionTimezone, State, Target, FlexibleTimeWindow, ClientToken,
                ActionAfterCompletion) => schedules::create),
            op!(UpdateSchedule(Name, GroupName, ScheduleExpression, StartDate, EndDate, Description,
                ScheduleExpressionTimezone, State, Target, FlexibleTimeWindow, ClientToken,
                ActionAfterCompletion) => schedules::update),
            op!(GetSchedule(Name, GroupName) => schedules::get),
            op!(ListSchedules(GroupName, NamePrefix, State, NextToken, MaxResults)
                => schedules::list),
            op!(DeleteSchedule(Name, GroupName, ClientToken) => schedules::delete),
            op!(CreateScheduleGroup(Name, Tags, ClientToken) => groups::create),
            op!(GetScheduleGroup(Name) => groups::get),
            op!(ListScheduleGroups(NamePrefix, NextToken, MaxResults) => groups::list),
            op!(DeleteScheduleGroup(Name, ClientToken) => groups::delete),
            op!(TagResource(ResourceArn, Tags) => groups::tag),
            op!(UntagResource(ResourceArn, TagKeys) => groups::untag),
            op!(ListTagsForResource(ResourceArn) => groups::tags),
        ],
    )
};

/// The ARN of a schedule.
fn arn(cloud: &Cloud, group: &str, name: &str) -> String {
    cloud.config.arn("scheduler", &format!("schedule/{group}/{name}"))
}

/// The ARN of a group.
fn group_arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.arn("scheduler", &format!("schedule-group/{name}"))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", message)
}

fn conflict(message: impl Into<String>) -> ApiError {
    ApiError::new("ConflictException", message).with_status(409)
}

fn missing(message: impl Into<String>) -> ApiError {
    ApiError::new("ResourceNotFoundException", message).with_status(404)
}
