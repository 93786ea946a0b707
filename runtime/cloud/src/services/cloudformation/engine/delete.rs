//! Deletes resources: in parallel, each before what it needs, and only what the stack made.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::rollback::is_same;
use super::{fail, forget_deleted, place};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{self, Place};
use crate::services::cloudformation::permissions::{self, Work};
use crate::services::cloudformation::{
    Resource, Stack, events, exports, settle_resource, settle_status, store_resource, store_status,
};

/// A resource that has to go.
pub struct Doomed {
    /// Its name in the template.
    pub logical_id: String,
    /// What it is.
    pub resource: Resource,
    /// Whether it stays and only leaves the stack.
    pub keep: bool,
    /// Whether it is the one that the stack has under that name now, and not one that was replaced.
    pub current: bool,
}

/// Deletes them; the names of those that stay although they should not.
pub async fn all(cloud: &Arc<Cloud>, stack_id: &str, doomed: Vec<Doomed>) -> Vec<String> {
    let Some(stack) = cloud.services.cloudformation.stacks.get(stack_id) else { return vec![] };
    // Who still needs a resource, counted over those that are there.
    let mut needed: BTreeMap<String, usize> = BTreeMap::new();
    for one in &doomed {
        one.resource.needs.iter().for_each(|n| *needed.entry(n.clone()).or_default() += 1);
    }
    let mut left: Vec<Doomed> = doomed;
    let mut failed: Vec<String> = Vec::new();
    let mut working = FuturesUnordered::new();
    loop {
        let is_free = |one: &Doomed| needed.get(&one.logical_id).is_none_or(|n| *n == 0);
        let (free, held): (Vec<_>, Vec<_>) = left.into_iter().partition(is_free);
        left = held;
        free.into_iter().for_each(|one| working.push(delete_one(cloud, stack_id, &stack, one)));
        if working.is_empty() {
            // What is held by a failure stays. Without one, old and new needs go round in a circle.
            match left.pop() {
                Some(one) if failed.is_empty() => {
                    working.push(delete_one(cloud, stack_id, &stack, one));
                }
                _ => break,
            }
        }
        let Some((one, deleted)) = working.next().await else { break };
        if !deleted {
            failed.push(one.logical_id);
            continue;
        }
        for name in &one.resource.needs {
            if let Some(count) = needed.get_mut(name) {
                *count -= 1;
            }
        }
    }
    failed.sort();
    failed
}

/// Deletes one resource; whether it is gone.
async fn delete_one(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    stack: &Stack,
    mut one: Doomed,
) -> (Doomed, bool) {
    tokio::task::yield_now().await;
    if matches!(one.resource.status.as_str(), "DELETE_COMPLETE" | "DELETE_SKIPPED") {
        return (one, true);
    }
    let result = if !one.resource.made {
        Ok("DELETE_COMPLETE")
    } else if one.keep {
        Ok("DELETE_SKIPPED")
    } else {
        set(cloud, stack_id, stack, &mut one, "DELETE_IN_PROGRESS", None);
        let place = place(cloud, stack_id, stack, &one.logical_id);
        let allowed = permissions::check(&place, &one.resource, Work::Delete);
        let scripted =
            || cloud.faults.resource("DeleteResource", &one.logical_id, &one.resource.kind);
        match allowed.and_then(|()| scripted()) {
            Ok(()) => delete(&place, &one.resource).await,
            Err(reason) => Err(reason),
        }
    };
    let stored = result.and_then(|status| finish(cloud, stack_id, stack, &mut one, status));
    let deleted = stored.is_ok();
    if let Err(reason) = stored {
        set(cloud, stack_id, stack, &mut one, "DELETE_FAILED", Some(reason));
    }
    (one, deleted)
}

/// What is not there any more is deleted.
async fn delete(place: &Place<'_>, doomed: &Resource) -> Result<&'static str, String> {
    let handler = resource::find(&doomed.kind)?.handler;
    handler.delete(place, &doomed.physical_id, &doomed.properties).await?;
    permissions::note(place, doomed, Work::Delete);
    Ok("DELETE_COMPLETE")
}

/// Notes that a resource is gone. When that cannot be stored it counts as there: after a restart
/// its name would be deleted again, and then it may be somebody else's.
fn finish(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    stack: &Stack,
    one: &mut Doomed,
    status: &str,
) -> Result<(), String> {
    one.resource.status = status.to_owned();
    one.resource.reason = None;
    one.resource.updated = cloud.clock.now();
    if one.current {
        store_resource(cloud, stack_id, &one.logical_id, &one.resource)?;
    }
    events::of_resource(cloud, stack_id, stack, &one.logical_id, &one.resource);
    Ok(())
}

fn set(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    stack: &Stack,
    one: &mut Doomed,
    status: &str,
    reason: Option<String>,
) {
    one.resource.status = status.to_owned();
    one.resource.reason = reason;
    one.resource.updated = cloud.clock.now();
    if one.current {
        settle_resource(cloud, stack_id, &one.logical_id, &one.resource);
    }
    events::of_resource(cloud, stack_id, stack, &one.logical_id, &one.resource);
}

/// Everything that a stack has, what an unfinished update left among it.
pub fn everything(stack: &Stack, keep: impl Fn(&str, &Resource) -> bool) -> Vec<Doomed> {
    let current = stack.resources.iter().map(|(id, r)| (id, r, true));
    let replaced = stack
        .before
        .iter()
        .flat_map(|b| &b.resources)
        .filter(|(id, old)| stack.resources.get(*id).is_none_or(|r| !is_same(r, old)))
        .map(|(id, r)| (id, r, false));
    current
        .chain(replaced)
        .map(|(id, resource, current)| Doomed {
            logical_id: id.clone(),
            resource: resource.clone(),
            keep: keep(id, resource),
            current,
        })
        .collect()
}

/// Deletes a stack.
pub async fn stack(cloud: &Arc<Cloud>, stack_id: &str) {
    let Some(stack) = cloud.services.cloudformation.stacks.get(stack_id) else { return };
    if let Some(reason) = exports::blocks_deletion(cloud, &stack) {
        // The stack is what it was, and says why.
        let status = stack.operation.former.as_deref().unwrap_or("CREATE_COMPLETE");
        return settle_status(cloud, stack_id, status, Some(&reason));
    }
    let retain = &stack.operation.retain;
    let keeps = |id: &str, r: &Resource| {
        r.deletion.keeps(false, false) || retain.iter().any(|name| name == id)
    };
    let mut failed = all(cloud, stack_id, everything(&stack, keeps)).await;
    if stack.operation.force && !failed.is_empty() {
        // What cannot be deleted is left behind, and what it needs.
        let Some(now) = cloud.services.cloudformation.stacks.get(stack_id) else { return };
        let stays = |_: &str, r: &Resource| r.status != "DELETE_COMPLETE";
        failed = all(cloud, stack_id, everything(&now, stays)).await;
    }
    if !failed.is_empty() {
        let names = failed.join(", ");
        let reason = format!("The following resource(s) failed to delete: [{names}]. ");
        return fail(cloud, stack_id, "DELETE_FAILED", &reason);
    }
    let deleted = store_status(cloud, stack_id, "DELETE_COMPLETE", None, |s| {
        s.deleted = Some(cloud.clock.now());
        s.before = None;
    });
    if let Err(error) = deleted {
        return fail(cloud, stack_id, "DELETE_FAILED", &error.to_string());
    }
    cloud.services.cloudformation.work.earlier().remove(stack_id);
    forget_change_sets(cloud, stack_id);
    forget_deleted(cloud);
}

/// Removes the change sets of a stack that is deleted.
pub fn forget_change_sets(cloud: &Cloud, stack_id: &str) {
    for (id, [of]) in cloud.services.cloudformation.change_sets.texts(["stack"]) {
        if of.as_deref() == Some(stack_id) {
            let removed = cloud.services.cloudformation.change_sets.remove(&id);
            removed.map_or_else(|e| tracing::error!("a change set is left: {e}"), drop);
        }
    }
}
