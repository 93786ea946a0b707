//! CloudFormation: templates become resources, in dependency order and in parallel, with change
//! sets, early validation, events, rollback and wedged states.
//!
//! A stack deletes only what it made: a resource counts as made when its creation has begun, and
//! creation begins only after its name was found free. Every decision rests on the stored stack, so
//! an operation that the process did not survive is taken up again.
//!
//! Differences from AWS: macros, nested stacks, stack sets, imports of resources, update
//! policies and creation policies of other types than instances and wait conditions are not
//! implemented and refused by name; a template may use the resource types and properties that
//! services register only. The caller needs the
//! permission for the operation of CloudFormation, for reading the template from S3, for passing
//! roles to services, and for what the stack does to each resource ([`permissions`]). Signals
//! of wait conditions are kept in memory only, because a creation that was cut off is rolled back.
//! Instances are made anew where AWS would stop and start them
//! (`ResourceType::also_replacing`).

mod api;
mod creation_policy;
mod drift;
mod engine;
mod events;
mod exports;
mod nested;
mod notifications;
mod permissions;
mod records;
mod resources;
mod signals;
mod stack_policy;
mod stacks;
mod template;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

pub use api::SERVICE;
pub use creation_policy::signal_by_instance;
pub use engine::resume;
pub use nested::check_used;
pub use permissions::{Work as Rights, check_rights, note_work};
pub use records::{Before, ChangeSet, OnFailure, Operation, Policy, Resource, Stack};
pub use signals::{Refused, signal};
pub use template::{Parameters, Template, parse};

use crate::kernel::cloud::Cloud;
use crate::kernel::cloud::Opening;
use crate::kernel::indexed::Indexed;
use crate::kernel::store::NotStored;
use crate::kernel::store::Table;
use anyhow::Result;

/// Whether a text is a template.
pub fn parses(text: &str) -> bool {
    template::parse(text).is_ok()
}

/// What CloudFormation has.
#[derive(Debug)]
pub struct State {
    /// Stacks by ID.
    pub stacks: Indexed<Stack, stacks::Entry>,
    /// Change sets by ARN.
    pub change_sets: Table<ChangeSet>,
    /// Detections of drift by ID.
    pub detections: Table<drift::Detection>,
    /// What is kept in memory only.
    pub work: Work,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            stacks: Indexed::new(opening.table("stacks")),
            change_sets: opening.table("change_sets"),
            detections: opening.table("drift_detections"),
            work: Work::default(),
        })
    }
}

/// The type under which a stack appears among its own events.
const STACK: &str = "AWS::CloudFormation::Stack";

/// What the service keeps in memory only.
#[derive(Debug, Default)]
pub struct Work {
    /// Held while an operation is admitted, so that two requests cannot both begin one.
    admission: Mutex<()>,
    /// Held from the look for a free name until the resource is there.
    creation: tokio::sync::Mutex<()>,
    /// Stacks as they were before the operation under way, for stale reads.
    earlier: Mutex<HashMap<String, Arc<Stack>>>,
    /// Signals of wait conditions that are awaited.
    signals: signals::Signals,
    /// Updates that may be cancelled, by the stack's ID.
    cancellations: Mutex<HashMap<String, Arc<tokio::sync::Notify>>>,
}

impl Work {
    fn admit(&self) -> MutexGuard<'_, ()> {
        self.admission.lock()
    }

    async fn create(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.creation.lock().await
    }

    /// What wakes the update of a stack when it is to be cancelled.
    fn cancellation(&self, stack_id: &str) -> Arc<tokio::sync::Notify> {
        self.cancellations.lock().entry(stack_id.to_owned()).or_default().clone()
    }

    fn earlier(&self) -> MutexGuard<'_, HashMap<String, Arc<Stack>>> {
        self.earlier.lock()
    }
}

/// The newest stack of that name or with that ID; a deleted one only by ID.
fn find_stack(cloud: &Cloud, name_or_id: &str) -> Option<(String, Arc<Stack>)> {
    if name_or_id.starts_with("arn:") {
        return cloud
            .services
            .cloudformation
            .stacks
            .get(name_or_id)
            .map(|s| (name_or_id.to_owned(), s));
    }
    let stacks = &cloud.services.cloudformation.stacks;
    let id = stacks.first(|entry| entry.is_live() && entry.name == name_or_id)?;
    let stack = stacks.get(&id)?;
    Some((id, stack))
}

/// Sets a stack's status and stores it, with an event. It is an error when it cannot be stored.
fn store_status(
    cloud: &Cloud,
    stack_id: &str,
    status: &str,
    reason: Option<&str>,
    change: impl FnOnce(&mut Stack),
) -> Result<(), NotStored> {
    cloud.faults.record();
    let stored = cloud.services.cloudformation.stacks.update(stack_id, |stack| {
        change(stack);
        stack.status = status.to_owned();
        stack.reason = reason.map(str::to_owned);
        stack.clone()
    })?;
    if let Some(stack) = stored {
        events::of_stack(cloud, stack_id, &stack);
    }
    Ok(())
}

/// Like [`store_status`] for failures, which memory has to know also when the disk does not: after
/// a restart the operation is taken up again.
fn settle_status(cloud: &Cloud, stack_id: &str, status: &str, reason: Option<&str>) {
    cloud.faults.record();
    let settled = cloud.services.cloudformation.stacks.settle(stack_id, |stack| {
        stack.status = status.to_owned();
        stack.reason = reason.map(str::to_owned);
        stack.clone()
    });
    if let Some(stack) = settled {
        events::of_stack(cloud, stack_id, &stack);
    }
}

/// Writes a resource into its stack, without an event.
fn store_resource(
    cloud: &Cloud,
    stack_id: &str,
    logical_id: &str,
    resource: &Resource,
) -> Result<(), NotStored> {
    cloud.faults.record();
    cloud.services.cloudformation.stacks.update(stack_id, |s| {
        s.resources.insert(logical_id.to_owned(), resource.clone());
    })?;
    Ok(())
}

/// Like [`store_resource`] for failures.
fn settle_resource(cloud: &Cloud, stack_id: &str, logical_id: &str, resource: &Resource) {
    cloud.faults.record();
    cloud.services.cloudformation.stacks.settle(stack_id, |s| {
        s.resources.insert(logical_id.to_owned(), resource.clone());
    });
}
