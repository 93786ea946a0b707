//! Undoes creations and updates, and clears up after updates.

use std::sync::Arc;

use super::delete::{self, Doomed, everything};
use super::{fail, on_failure, place, update};
use crate::kernel::cloud::Cloud;
use crate::services::cloudformation::permissions::{self, Work};
use crate::services::cloudformation::template::parse;
use crate::services::cloudformation::{
    OnFailure, Policy, Resource, Stack, events, settle_resource, settle_status, store_status,
};

/// What an update says that could not delete what it no longer needs.
const LEFT: &str = "Update successful. One or more resources could not be deleted.";

/// Stops a creation that failed; what is to be done with what it made.
pub fn stop_creation(cloud: &Arc<Cloud>, stack_id: &str, reason: &str) -> OnFailure {
    super::failures::cancel(cloud, stack_id);
    let ordered = on_failure(cloud, stack_id);
    match ordered {
        OnFailure::DoNothing => fail(cloud, stack_id, "CREATE_FAILED", reason),
        OnFailure::Delete => {
            let reason = format!("{reason} Delete requested by user.");
            settle_status(cloud, stack_id, "DELETE_IN_PROGRESS", Some(&reason));
        }
        OnFailure::Rollback => {
            let reason = format!("{reason} Rollback requested by user.");
            settle_status(cloud, stack_id, "ROLLBACK_IN_PROGRESS", Some(&reason));
        }
    }
    ordered
}

/// Deletes what a creation made.
pub async fn remove_everything(cloud: &Arc<Cloud>, stack_id: &str) {
    let Some(stack) = cloud.services.cloudformation.stacks.get(stack_id) else { return };
    let except = stack.operation.retain_except_on_create;
    let doomed = everything(&stack, |_, r| r.deletion.keeps(true, except));
    let failed = delete::all(cloud, stack_id, doomed).await;
    let done = match failed.as_slice() {
        [] => store_status(cloud, stack_id, "ROLLBACK_COMPLETE", None, |s| s.found = None)
            .map_err(|e| e.to_string()),
        failed => {
            let names = failed.join(", ");
            Err(format!("The following resource(s) failed to delete: [{names}]. "))
        }
    };
    done.unwrap_or_else(|reason| fail(cloud, stack_id, "ROLLBACK_FAILED", &reason));
}

/// Undoes an update.
pub async fn undo_update(cloud: &Arc<Cloud>, stack_id: &str, reason: &str) {
    super::failures::cancel(cloud, stack_id);
    let Some(stack) = cloud.services.cloudformation.stacks.get(stack_id) else { return };
    if stack.operation.keep_failed {
        put_back_failed(cloud, stack_id, &stack).await;
        return fail(cloud, stack_id, "UPDATE_FAILED", reason);
    }
    if stack.before.is_none() {
        // It never had a stable state to which it could go back.
        settle_status(cloud, stack_id, "ROLLBACK_IN_PROGRESS", Some(reason));
        return remove_everything(cloud, stack_id).await;
    }
    settle_status(cloud, stack_id, "UPDATE_ROLLBACK_IN_PROGRESS", Some(reason));
    put_back(cloud, stack_id).await;
}

/// Where failures are kept, what failed goes back to its last stable state all the same. What
/// cannot be put back is tried again by the next update.
async fn put_back_failed(cloud: &Arc<Cloud>, stack_id: &str, stack: &Stack) {
    for (id, now) in stack.resources.iter().filter(|(_, r)| r.status == "UPDATE_FAILED") {
        let Some(old) = stack.former(id).filter(|old| is_same(old, now)) else { continue };
        if old.properties == now.properties {
            continue;
        }
        let place = place(cloud, stack_id, stack, id);
        match update(&place, old, &now.properties).await {
            Ok(attributes) => {
                let properties = old.properties.clone();
                let back = Resource { properties, attributes, ..now.clone() };
                settle_resource(cloud, stack_id, id, &back);
            }
            Err(failure) => tracing::error!("`{id}` stays as a failed update left it: {failure}"),
        }
    }
}

/// Brings every resource back to what it was before the update, then deletes what is new.
pub async fn put_back(cloud: &Arc<Cloud>, stack_id: &str) {
    match restore(cloud, stack_id).await {
        Ok(()) => {}
        Err(reason) => fail(cloud, stack_id, "UPDATE_ROLLBACK_FAILED", &reason),
    }
}

async fn restore(cloud: &Arc<Cloud>, stack_id: &str) -> Result<(), String> {
    let stack =
        cloud.services.cloudformation.stacks.get(stack_id).ok_or("the stack no longer exists")?;
    if let Some(before) = &stack.before {
        let mut failed = Vec::new();
        for (id, old) in &before.resources {
            let Some(now) = stack.resources.get(id) else { continue };
            if is_changed(old, now) && !put_back_one(cloud, stack_id, &stack, id, now, old).await {
                failed.push(id.clone());
            }
        }
        if !failed.is_empty() {
            let names = failed.join(", ");
            return Err(format!("The following resource(s) failed to update: [{names}]. "));
        }
    }
    let status = "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS";
    settle_status(cloud, stack_id, status, None);
    // As in AWS, what cannot be deleted now is left behind, with an event that says so.
    delete::all(cloud, stack_id, new_resources(&stack)).await;
    store_status(cloud, stack_id, "UPDATE_ROLLBACK_COMPLETE", None, |s| {
        s.found = None;
        if let Some(before) = s.before.take() {
            s.template = before.template;
            s.parameters = before.parameters;
            s.resolved = before.resolved;
            s.outputs = before.outputs;
            s.resources = before.resources;
            s.tags = before.tags;
            s.imports = before.imports;
        }
    })?;
    Ok(())
}

/// Whether two records are of one thing.
pub fn is_same(one: &Resource, other: &Resource) -> bool {
    one.kind == other.kind && one.physical_id == other.physical_id
}

/// Whether an update changed or tried to change the thing itself. What was replaced has another.
fn is_changed(old: &Resource, now: &Resource) -> bool {
    let unfinished = now.status.ends_with("_FAILED") || now.status.ends_with("_IN_PROGRESS");
    is_same(old, now) && (unfinished || now.properties != old.properties)
}

/// Puts one resource back; whether that worked.
async fn put_back_one(
    cloud: &Arc<Cloud>,
    stack_id: &str,
    stack: &Stack,
    id: &str,
    now: &Resource,
    old: &Resource,
) -> bool {
    let mut resource = Resource { status: "UPDATE_IN_PROGRESS".to_owned(), ..old.clone() };
    events::of_resource(cloud, stack_id, stack, id, &resource);
    let skipped = stack.operation.skip.iter().any(|s| s == id);
    let place = place(cloud, stack_id, stack, id);
    let allowed = || {
        permissions::check(&place, old, Work::Update(&now.properties))?;
        cloud.faults.resource("UpdateResource", id, &old.kind)
    };
    let result = match skipped {
        true => Ok(()),
        false => match allowed() {
            Ok(()) => {
                let updated = update(&place, old, &now.properties).await;
                let work = Work::Update(&now.properties);
                updated
                    .map(|_| permissions::note(&place, old, work))
                    .map_err(|failure| failure.to_string())
            }
            Err(reason) => Err(reason),
        },
    };
    resource.status = if result.is_ok() { "UPDATE_COMPLETE" } else { "UPDATE_FAILED" }.to_owned();
    let done = result.is_ok();
    resource.reason = result.err();
    settle_resource(cloud, stack_id, id, &resource);
    events::of_resource(cloud, stack_id, stack, id, &resource);
    done
}

/// What the update that is undone made.
fn new_resources(stack: &Stack) -> Vec<Doomed> {
    let except = stack.operation.retain_except_on_create;
    let old = |id: &str| stack.before.as_ref().and_then(|b| b.resources.get(id));
    stack
        .resources
        .iter()
        .filter(|(id, now)| old(id).is_none_or(|o| !is_same(o, now)))
        .filter(|_| stack.before.is_some())
        .map(|(id, now)| Doomed {
            logical_id: id.clone(),
            resource: now.clone(),
            keep: now.deletion.keeps(true, except),
            current: true,
        })
        .collect()
}

/// After an update: deletes what the new template no longer has, and what was replaced.
pub async fn clean_up(cloud: &Arc<Cloud>, stack_id: &str) {
    let Some(stack) = cloud.services.cloudformation.stacks.get(stack_id) else { return };
    let active = match active(cloud, stack_id, &stack) {
        Ok(active) => active,
        Err(reason) => return fail(cloud, stack_id, "UPDATE_FAILED", &reason),
    };
    let mut gone = Vec::new();
    for (id, old) in stack.before.iter().flat_map(|b| &b.resources) {
        let now = stack.resources.get(id).filter(|_| active.contains(id));
        let keep = match now {
            None => old.deletion.keeps(false, false),
            Some(now) if is_same(old, now) => continue,
            // Whichever of the two templates wants to keep it.
            Some(now) => old.replacement == Policy::Retain || now.replacement == Policy::Retain,
        };
        let (logical_id, resource) = (id.clone(), old.clone());
        gone.push(Doomed { logical_id, resource, keep, current: false });
    }
    gone.extend(left_by_failures(&stack, &active));
    // What cannot be deleted is left behind and said so; the update itself has succeeded.
    let left = delete::all(cloud, stack_id, gone).await;
    let reason = (!left.is_empty()).then_some(LEFT);
    let done = store_status(cloud, stack_id, "UPDATE_COMPLETE", reason, |s| {
        s.resources.retain(|id, _| active.contains(id));
        (s.before, s.found) = (None, None);
    });
    if let Err(error) = done {
        // The next start clears up again; what is gone is found gone.
        tracing::error!("the update of `{}` cannot be finished: {error}", stack.name);
        settle_status(cloud, stack_id, "UPDATE_COMPLETE", Some(&error.to_string()));
    }
}

/// What updates that failed made and the new template does not have.
fn left_by_failures(stack: &Stack, active: &[String]) -> Vec<Doomed> {
    let stable = |id: &String| stack.before.as_ref().is_some_and(|b| b.resources.contains_key(id));
    stack
        .resources
        .iter()
        .filter(|(id, now)| now.made && !active.contains(id) && !stable(id))
        .map(|(id, now)| Doomed {
            logical_id: id.clone(),
            resource: now.clone(),
            keep: now.deletion.keeps(false, false),
            current: false,
        })
        .collect()
}

/// Logical IDs of the new template's resources.
fn active(cloud: &Cloud, stack_id: &str, stack: &Stack) -> Result<Vec<String>, String> {
    let template = parse(&stack.template)?;
    let own = template.values(&stack.parameters());
    let parameters = super::all_parameters(cloud, stack_id, Some(stack), own);
    let conditions = template.conditions(&parameters)?;
    Ok(template.active(&conditions))
}
