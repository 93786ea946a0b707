//! Creates, updates, rolls back and deletes stacks.
//!
//! Every decision rests on the stored stack, so an operation that the process did not survive is
//! taken up again: a creation or update that was cut off is rolled back, a deletion goes on. A
//! resource that was in progress then counts as not begun.

mod apply;
mod changes;
mod delete;
mod failures;
mod rollback;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

pub use changes::plan;
pub use delete::forget_change_sets;

use super::{
    OnFailure, Operation, Resource, Stack, events, permissions, settle_status, store_status,
};
use crate::kernel::cloud::Cloud;
use crate::kernel::identity::Caller;
use crate::kernel::resource::{self, Made, Place};
use crate::kernel::store::NotStored;
use apply::apply;
use rollback::{clean_up, stop_creation, undo_update};

/// How long deleted stacks can be looked at, as in AWS.
const DELETED_KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);
/// How many of them.
const DELETED_MAX: usize = 500;

/// Pseudo parameters beside the template's own.
pub fn all_parameters(
    cloud: &Cloud,
    stack_id: &str,
    stack: Option<&Stack>,
    own: BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    let mut all = own;
    let name = stack.map(|stack| stack.name.as_str()).unwrap_or_default();
    let topics = stack.map(|stack| stack.notifications.clone()).unwrap_or_default();
    for (key, value) in [
        ("AWS::AccountId", cloud.config.account.as_str()),
        ("AWS::Region", &cloud.config.region),
        ("AWS::Partition", "aws"),
        ("AWS::URLSuffix", "amazonaws.com"),
        ("AWS::StackName", name),
        ("AWS::StackId", stack_id),
    ] {
        all.insert(key.to_owned(), value.into());
    }
    all.insert("AWS::NotificationARNs".to_owned(), topics.into());
    all
}

fn place<'a>(
    cloud: &'a Arc<Cloud>,
    id: &'a str,
    stack: &'a Stack,
    logical_id: &'a str,
) -> Place<'a> {
    let caller = permissions::caller(cloud, id);
    Place { cloud, caller, stack_id: id, stack_name: &stack.name, logical_id }
}

/// Changes a resource in place; its attributes.
async fn update(place: &Place<'_>, resource: &Resource, old: &Value) -> Made {
    let handler = resource::find(&resource.kind)?.handler;
    let made = handler.update(place, &resource.physical_id, &resource.properties, old).await?;
    Ok(if made.is_empty() { resource.attributes.clone() } else { made })
}

/// A new operation.
pub fn order(kind: &str, token: Option<&str>) -> Operation {
    Operation {
        id: uuid::Uuid::new_v4().to_string(),
        kind: kind.to_owned(),
        token: token.map(str::to_owned),
        ..Operation::default()
    }
}

/// An operation, and who ordered it.
pub struct Ordered<'a> {
    /// What is to be done.
    pub operation: Operation,
    /// Whose rights count.
    pub caller: &'a Caller,
}

/// Starts an operation in the background; its status is stored first, so that what was
/// acknowledged goes on after a crash. `change` takes over what the operation works with.
fn begin(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    status: &str,
    ordered: Ordered<'_>,
    change: impl FnOnce(&mut Stack),
) -> Result<(), NotStored> {
    if let Some(stack) = cloud.services.cloudformation.stacks.get(stack_id) {
        cloud.services.cloudformation.work.earlier().insert(stack_id.to_owned(), stack);
    }
    store_status(cloud, stack_id, status, Some("User Initiated"), |stack| {
        change(stack);
        stack.operation = Operation { caller: Some(ordered.caller.clone()), ..ordered.operation };
    })
}

/// Adds a stack and starts its creation.
pub fn create_new(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    mut stack: Stack,
    caller: &Caller,
) -> Result<(), NotStored> {
    stack.operation.caller = Some(caller.clone());
    cloud.faults.record();
    cloud.services.cloudformation.stacks.put(stack_id, stack.clone())?;
    events::of_stack(cloud, stack_id, &stack);
    let (cloud, stack_id) = (cloud.clone(), stack_id.to_owned());
    tokio::spawn(async move { create(&cloud, &stack_id).await });
    Ok(())
}

/// Starts the creation of the resources of a stack that was reviewed.
pub fn start_create(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    ordered: Ordered<'_>,
    change: impl FnOnce(&mut Stack),
) -> Result<(), NotStored> {
    begin(cloud, stack_id, "CREATE_IN_PROGRESS", ordered, change)?;
    let (cloud, stack_id) = (cloud.clone(), stack_id.to_owned());
    tokio::spawn(async move { create(&cloud, &stack_id).await });
    Ok(())
}

async fn create(cloud: &Arc<Cloud>, stack_id: &str) {
    let minutes =
        cloud.services.cloudformation.stacks.get(stack_id).and_then(|s| s.operation.timeout_mins);
    match minutes {
        None => create_until(cloud, stack_id, std::future::pending()).await,
        Some(minutes) => {
            let limit = Duration::from_secs(minutes.saturating_mul(60));
            create_until(cloud, stack_id, cloud.clock.sleep(limit)).await;
        }
    }
}

/// Makes a stack's resources; when `limit` comes first, the creation has failed. A deletion that is
/// ordered meanwhile ends it.
async fn create_until(cloud: &Arc<Cloud>, stack_id: &str, limit: impl Future<Output = ()>) {
    let cancelled = cloud.services.cloudformation.work.cancellation(stack_id);
    let applied = tokio::select! {
        applied = apply(cloud, stack_id) => applied,
        () = limit => {
            failures::cancel(cloud, stack_id);
            Err("Stack creation time exceeded the specified timeout.".to_owned())
        }
        () = cancelled.notified() => Err("User Initiated".to_owned()),
    };
    cloud.services.cloudformation.work.cancellations.lock().remove(stack_id);
    end_creation(cloud, stack_id, applied).await;
}

/// Ends a creation: complete, undone, or deleted when that was ordered meanwhile.
async fn end_creation(cloud: &Arc<Cloud>, stack_id: &str, applied: Result<(), String>) {
    let undone = {
        let _admitted = cloud.services.cloudformation.work.admit();
        let status = cloud.services.cloudformation.stacks.get(stack_id).map(|s| s.status.clone());
        if status.as_deref() == Some("DELETE_IN_PROGRESS") {
            failures::cancel(cloud, stack_id);
            Some(OnFailure::Delete)
        } else {
            // A creation that the disk does not know would be rolled back after a restart.
            let complete = || store_status(cloud, stack_id, "CREATE_COMPLETE", None, |_| {});
            let done = applied.and_then(|()| Ok(complete()?));
            done.err().map(|reason| stop_creation(cloud, stack_id, &reason))
        }
    };
    match undone {
        None | Some(OnFailure::DoNothing) => {}
        Some(OnFailure::Delete) => delete::stack(cloud, stack_id).await,
        Some(OnFailure::Rollback) => rollback::remove_everything(cloud, stack_id).await,
    }
}

/// Starts an update; `change` puts the new template in the place of the old.
pub fn start_update(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    ordered: Ordered<'_>,
    change: impl FnOnce(&mut Stack),
) -> Result<(), NotStored> {
    begin(cloud, stack_id, "UPDATE_IN_PROGRESS", ordered, change)?;
    let (cloud, stack_id) = (cloud.clone(), stack_id.to_owned());
    // What an earlier operation was told too late is not for this one.
    cloud.services.cloudformation.work.cancellations.lock().remove(&stack_id);
    let cancelled = cloud.services.cloudformation.work.cancellation(&stack_id);
    tokio::spawn(async move {
        let applied = tokio::select! {
            applied = apply(&cloud, &stack_id) => applied,
            () = cancelled.notified() => {
                let stacks = &cloud.services.cloudformation.stacks;
                // Who cancels an update wants it undone.
                stacks.settle(&stack_id, |stack| stack.operation.keep_failed = false);
                Err("User Initiated".to_owned())
            }
        };
        cloud.services.cloudformation.work.cancellations.lock().remove(&stack_id);
        let done = applied.and_then(|()| {
            let status = "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS";
            Ok(store_status(&cloud, &stack_id, status, None, |_| {})?)
        });
        match done {
            Ok(()) => clean_up(&cloud, &stack_id).await,
            Err(reason) => undo_update(&cloud, &stack_id, &reason).await,
        }
    });
    Ok(())
}

/// Starts a deletion; a creation that is under way ends, and deletes what it has made.
pub fn start_delete(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    ordered: Ordered<'_>,
) -> Result<(), NotStored> {
    let creates = ordered.operation.former.as_deref() == Some("CREATE_IN_PROGRESS");
    begin(cloud, stack_id, "DELETE_IN_PROGRESS", ordered, |_| {})?;
    if creates {
        cloud.services.cloudformation.work.cancellation(stack_id).notify_one();
        return Ok(());
    }
    let (cloud, stack_id) = (cloud.clone(), stack_id.to_owned());
    tokio::spawn(async move { delete::stack(&cloud, &stack_id).await });
    Ok(())
}

/// Starts putting back, once more, what a failed rollback left.
pub fn continue_rollback(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    ordered: Ordered<'_>,
) -> Result<(), NotStored> {
    begin(cloud, stack_id, "UPDATE_ROLLBACK_IN_PROGRESS", ordered, |_| {})?;
    let (cloud, stack_id) = (cloud.clone(), stack_id.to_owned());
    tokio::spawn(async move { rollback::put_back(&cloud, &stack_id).await });
    Ok(())
}

/// Starts to undo a creation or an update that failed and was kept.
pub fn start_rollback(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    ordered: Ordered<'_>,
    of_creation: bool,
) -> Result<(), NotStored> {
    let status = if of_creation { "ROLLBACK_IN_PROGRESS" } else { "UPDATE_ROLLBACK_IN_PROGRESS" };
    begin(cloud, stack_id, status, ordered, |_| {})?;
    let (cloud, stack_id) = (cloud.clone(), stack_id.to_owned());
    tokio::spawn(async move {
        match of_creation {
            true => rollback::remove_everything(&cloud, &stack_id).await,
            false => rollback::put_back(&cloud, &stack_id).await,
        }
    });
    Ok(())
}

/// Asks the update of a stack to stop and to be undone.
pub fn cancel_update(cloud: &Cloud, stack_id: &str) {
    cloud.services.cloudformation.work.cancellation(stack_id).notify_one();
}

/// Takes up what an earlier process left in progress, and forgets what was deleted long ago.
pub fn resume(cloud: &Arc<Cloud>) {
    let reason = "the embedded cloud stopped while the operation ran.";
    let stacks = &cloud.services.cloudformation.stacks;
    let busy = |status: &Option<String>| status.as_ref().is_some_and(|s| s.ends_with("_PROGRESS"));
    for (id, _) in stacks.texts(["status"]).into_iter().filter(|(_, [status])| busy(status)) {
        let Some(stack) = stacks.get(&id).filter(|stack| stack.is_busy()) else { continue };
        let cloud = cloud.clone();
        tokio::spawn(async move {
            match stack.status.as_str() {
                "CREATE_IN_PROGRESS" => end_creation(&cloud, &id, Err(reason.to_owned())).await,
                "ROLLBACK_IN_PROGRESS" => rollback::remove_everything(&cloud, &id).await,
                "UPDATE_IN_PROGRESS" => undo_update(&cloud, &id, reason).await,
                "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS" => clean_up(&cloud, &id).await,
                "DELETE_IN_PROGRESS" => delete::stack(&cloud, &id).await,
                // Both phases of an update's rollback; what was done is found done.
                _ => rollback::put_back(&cloud, &id).await,
            }
        });
    }
}

/// Forgets deleted stacks when they are old or many.
pub fn forget_deleted(cloud: &Cloud) {
    let all = cloud.services.cloudformation.stacks.picked(|entry| entry.deleted);
    let mut deleted: Vec<(Timestamp, String)> =
        all.into_iter().map(|(id, deleted)| (deleted, id)).collect();
    deleted.sort();
    let surplus = deleted.len().saturating_sub(DELETED_MAX);
    let now = cloud.clock.now();
    for (n, (time, id)) in deleted.into_iter().enumerate() {
        if n >= surplus && now.duration_since(time) < DELETED_KEPT {
            continue;
        }
        match cloud.services.cloudformation.stacks.remove(&id) {
            Ok(_) => events::forget(cloud, &id),
            Err(error) => tracing::error!("a deleted stack cannot be forgotten: {error}"),
        }
    }
}

/// A failure, and what it means for the stack.
fn fail(cloud: &Arc<Cloud>, stack_id: &str, status: &str, reason: &str) {
    settle_status(cloud, stack_id, status, Some(reason));
}

/// Whether a creation that fails is undone, kept or deleted.
fn on_failure(cloud: &Cloud, stack_id: &str) -> OnFailure {
    cloud
        .services
        .cloudformation
        .stacks
        .get(stack_id)
        .map(|s| s.operation.on_failure)
        .unwrap_or_default()
}
