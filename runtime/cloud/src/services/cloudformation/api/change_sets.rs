//! Change sets.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::request::{
    change_set_name, check_capabilities, check_room, check_updatable, flag, has_failed,
    is_repeated, notifications, on_failure, page, parameters_of, stack_name, tags, template_of,
    token, worker,
};
use super::stacks::{is_same, new, take_over};
use super::{existing, views};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::cloudformation::engine::{self, Ordered, order};
use crate::services::cloudformation::template::parse;
use crate::services::cloudformation::{
    ChangeSet, OnFailure, Operation, Stack, drift, events, find_stack,
};
use crate::services::required;

/// Changes in one answer.
const PAGE: usize = 100;
/// Change sets of one stack.
const SETS_MAX: usize = 1_000;

const NO_CHANGES: &str = "The submitted information didn't contain changes. \
                          Submit different information to create a change set.";

fn sets_of(cloud: &Cloud, stack_id: &str) -> Vec<(String, Arc<ChangeSet>)> {
    let sets = &cloud.services.cloudformation.change_sets;
    let all = sets.texts(["stack"]).into_iter();
    let own = all.filter(|(_, [stack])| stack.as_deref() == Some(stack_id));
    own.filter_map(|(id, _)| sets.get(&id).map(|set| (id, set))).collect()
}

pub fn create(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let set_name = change_set_name(params)?;
    let token = token(params, "ClientToken")?;
    let kind = params["ChangeSetType"].as_str().unwrap_or("UPDATE");
    if !matches!(kind, "CREATE" | "UPDATE") {
        let words =
            format!("The embedded cloud does not implement change sets of the type {kind}.");
        return Err(ApiError::new("NotImplemented", words).with_status(501));
    }
    let name = required(params, "StackName")?;
    let _admitted = cloud.services.cloudformation.work.admit();
    let found = find_stack(cloud, name).filter(|(_, s)| s.status != "DELETE_COMPLETE");
    if let Some((id, _)) = &found
        && let Some(same) = same_set(cloud, id, set_name, token)?
    {
        return Ok(json!({ "Id": same, "StackId": id }));
    }
    let previous = found.as_ref().map(|(_, s)| &**s);
    let (text, template) = template_of(cloud, caller, params, previous)?;
    check_capabilities(params, &template)?;
    let parameters = parameters_of(cloud, caller, params, &template, previous)?;
    let given_tags = tags(params)?;
    let (id, stack) = stack_for(cloud, params, kind, found, &text)?;
    let tags = given_tags.unwrap_or_else(|| stack.tags.clone());
    let (worker, role) = worker(cloud, caller, params, Some(&stack))?;
    let topics = notifications(cloud, params, &worker)?;
    let reverts_drift = reverts_drift(params)?;
    let mut now = (*stack).clone();
    if reverts_drift {
        now.resources = drift::as_is(cloud, &stack);
    }
    now.notifications = topics.clone().unwrap_or(now.notifications);
    let mut planned = match engine::plan(cloud, &id, &now, &template, &parameters) {
        Ok(planned) => planned,
        Err(reason) => {
            withdraw(cloud, &id, &stack)?;
            return Err(ApiError::validation(reason));
        }
    };
    if flag(params, "DisableValidation") {
        planned.problems.clear();
    }
    let new = stack.status == "REVIEW_IN_PROGRESS";
    let same = planned.changes.is_empty()
        && is_same(&stack, &template)
        && stack.tags == tags
        && stack.notifications == now.notifications
        && !has_failed(&stack);
    let missing = planned.missing_export.map(|name| format!("No export named {name} found."));
    let reason = match (missing.or_else(|| refusal(&planned.problems)), same && !new) {
        (Some(refusal), _) => Some(refusal),
        (None, true) => Some(NO_CHANGES.to_owned()),
        (None, false) => None,
    };
    let unique = uuid::Uuid::new_v4();
    let set_id = cloud.config.arn("cloudformation", &format!("changeSet/{set_name}/{unique}"));
    let failed = reason.is_some();
    let set = ChangeSet {
        name: set_name.to_owned(),
        stack: id.clone(),
        status: if failed { "FAILED" } else { "CREATE_COMPLETE" }.to_owned(),
        execution_status: if failed { "UNAVAILABLE" } else { "AVAILABLE" }.to_owned(),
        problems: problem_events(cloud.clock.now(), planned.problems, &id, reason.as_deref()),
        reason,
        template: text,
        parameters: parameters.given,
        resolved: parameters.resolved,
        tags,
        changes: planned.changes,
        description: params["Description"].as_str().map(str::to_owned),
        token: token.map(str::to_owned),
        on_failure: on_failure(params, "OnStackFailure")?,
        created: cloud.clock.now(),
        reverts_drift,
        role,
        notifications: topics,
    };
    cloud.services.cloudformation.change_sets.put(&set_id, set)?;
    Ok(json!({ "Id": set_id, "StackId": id }))
}

/// Whether a change set also brings back what has drifted.
fn reverts_drift(params: &Value) -> ApiResult<bool> {
    match params["DeploymentMode"].as_str() {
        None => Ok(false),
        Some("REVERT_DRIFT") => Ok(true),
        Some(other) => Err(ApiError::validation(format!("{other} is no value of DeploymentMode"))),
    }
}

/// The change set of that name, if it is the one that this request has made before.
fn same_set(
    cloud: &Cloud,
    stack_id: &str,
    name: &str,
    token: Option<&str>,
) -> ApiResult<Option<String>> {
    let sets = sets_of(cloud, stack_id);
    if sets.len() >= SETS_MAX {
        let words = format!("Stack {stack_id} has {SETS_MAX} change sets, which is the limit");
        return Err(ApiError::new("LimitExceededException", words));
    }
    match sets.into_iter().find(|(_, set)| set.name == name) {
        None => Ok(None),
        Some((id, set)) if token.is_some() && set.token.as_deref() == token => Ok(Some(id)),
        Some((id, _)) => {
            let words = format!("ChangeSet [{id}] already exists");
            Err(ApiError::new("AlreadyExistsException", words))
        }
    }
}

/// The stack of a change set; one that is to be made waits for the review.
fn stack_for(
    cloud: &Arc<Cloud>,
    params: &Value,
    kind: &str,
    found: Option<(String, Arc<Stack>)>,
    text: &str,
) -> ApiResult<(String, Arc<Stack>)> {
    match (found, kind) {
        (Some((id, stack)), "CREATE") if stack.status == "REVIEW_IN_PROGRESS" => Ok((id, stack)),
        (Some((id, stack)), "CREATE") => {
            let set_name = required(params, "ChangeSetName")?;
            let name = &stack.name;
            Err(ApiError::new(
                "AlreadyExistsException",
                format!(
                    "Stack [{name}] already exists and cannot be created again with the changeSet \
                     [{set_name}]: {id}"
                ),
            ))
        }
        // It has no template yet, and counts as not there.
        (Some((_, stack)), _) if stack.status == "REVIEW_IN_PROGRESS" => {
            let words = format!("Stack [{}] does not exist", stack.name);
            Err(ApiError::validation(words))
        }
        (Some((id, stack)), _) => {
            // Whether its failures are kept is said when it is executed.
            check_updatable(&stack, &id, true)?;
            Ok((id, stack))
        }
        (None, "CREATE") => {
            let name = stack_name(params)?;
            check_room(cloud)?;
            let operation = order("CREATE_CHANGESET", None);
            let status = "REVIEW_IN_PROGRESS";
            let (id, stack) = new(cloud, name, text.to_owned(), json!([]), status, operation);
            cloud.services.cloudformation.stacks.put(&id, stack.clone())?;
            events::of_stack(cloud, &id, &stack);
            Ok((id, Arc::new(stack)))
        }
        (None, _) => {
            let name = required(params, "StackName")?;
            Err(ApiError::validation(format!("Stack [{name}] does not exist")))
        }
    }
}

/// A stack that was added for a change set that is refused goes again, if it has no other.
fn withdraw(cloud: &Cloud, id: &str, stack: &Stack) -> ApiResult<()> {
    if stack.status == "REVIEW_IN_PROGRESS" && sets_of(cloud, id).is_empty() {
        cloud.services.cloudformation.stacks.remove(id)?;
        events::forget(cloud, id);
    }
    Ok(())
}

/// What a change set that early validation refuses says.
fn refusal(problems: &[(&'static str, Value)]) -> Option<String> {
    let mut names: Vec<&str> = problems.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| {
        format!(
            "The following hook(s)/validation failed: [{}]. To troubleshoot Early Validation \
             errors, use the DescribeEvents API for detailed failure information.",
            names.join(", ")
        )
    })
}

/// The problems as `DescribeEvents` tells them, after the failure of the operation itself.
fn problem_events(
    now: Timestamp,
    problems: Vec<(&'static str, Value)>,
    stack_id: &str,
    reason: Option<&str>,
) -> Vec<Value> {
    if problems.is_empty() {
        return vec![];
    }
    let (operation, now) = (uuid::Uuid::new_v4().to_string(), iso(now));
    let complete = |mut event: Value| {
        event["EventId"] = uuid::Uuid::new_v4().to_string().into();
        event["StackId"] = stack_id.into();
        event["OperationId"] = operation.as_str().into();
        event["OperationType"] = "CREATE_CHANGESET".into();
        event["Timestamp"] = now.as_str().into();
        event
    };
    let mut events = vec![complete(json!({
        "EventType": "STACK_EVENT", "OperationStatus": "FAILED", "StartTime": now, "EndTime": now,
        "ResourceStatusReason": reason,
    }))];
    events.extend(problems.into_iter().map(|(_, event)| complete(event)));
    events
}

/// The change set that a request names.
pub fn find(cloud: &Cloud, params: &Value) -> ApiResult<(String, Arc<ChangeSet>)> {
    let name = required(params, "ChangeSetName")?;
    let missing = || {
        ApiError::new("ChangeSetNotFound", format!("ChangeSet [{name}] does not exist"))
            .with_status(404)
    };
    if name.starts_with("arn:") {
        let set = cloud.services.cloudformation.change_sets.get(name).ok_or_else(missing)?;
        return Ok((name.to_owned(), set));
    }
    if params["StackName"].is_null() {
        return Err(ApiError::validation(
            "StackName must be specified if ChangeSetName is not specified as an ARN.",
        ));
    }
    let (stack, _) = existing(cloud, params)?;
    let mut sets = sets_of(cloud, &stack).into_iter();
    sets.find(|(_, set)| set.name == name).ok_or_else(missing)
}

pub fn describe(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let (id, set) = find(cloud, params)?;
    let with_values = flag(params, "IncludePropertyValues");
    let changes = set.changes.iter().map(|change| match with_values {
        true => change.clone(),
        false => without_values(change.clone()),
    });
    let (changes, next) = page(changes.collect(), params, PAGE)?;
    let stack_name = cloud.services.cloudformation.stacks.get(&set.stack).map(|s| s.name.clone());
    let parameters =
        parse(&set.template).map(|t| t.described_values(&set.parameters())).unwrap_or_default();
    Ok(json!({
        "ChangeSetId": id, "ChangeSetName": set.name, "StackId": set.stack,
        "StackName": stack_name, "Status": set.status, "StatusReason": set.reason,
        "ExecutionStatus": set.execution_status, "CreationTime": iso(set.created),
        "Changes": changes, "NextToken": next, "Parameters": parameters, "Tags": set.tags,
        "Description": set.description, "IncludeNestedStacks": false,
        "NotificationARNs": set.notifications,
        "DeploymentMode": set.reverts_drift.then_some("REVERT_DRIFT"),
        "OnStackFailure": match set.on_failure {
            OnFailure::Rollback => None,
            OnFailure::DoNothing => Some("DO_NOTHING"),
            OnFailure::Delete => Some("DELETE"),
        },
    }))
}

/// Values are shown only when they are asked for.
fn without_values(mut change: Value) -> Value {
    let resource = &mut change["ResourceChange"];
    if let Some(fields) = resource.as_object_mut() {
        fields.remove("BeforeContext");
        fields.remove("AfterContext");
    }
    for detail in resource["Details"].as_array_mut().into_iter().flatten() {
        if let Some(target) = detail["Target"].as_object_mut() {
            target.remove("BeforeValue");
            target.remove("AfterValue");
        }
    }
    change
}

pub fn execute(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let token = token(params, "ClientRequestToken")?;
    let _admitted = cloud.services.cloudformation.work.admit();
    let (set_id, set) = find(cloud, params)?;
    let stack = cloud.services.cloudformation.stacks.get(&set.stack);
    let stack = stack.ok_or_else(|| ApiError::validation("the stack no longer exists"))?;
    let create = stack.status == "REVIEW_IN_PROGRESS";
    if set.execution_status == "EXECUTE_COMPLETE" {
        let kinds = ["CREATE_STACK", "UPDATE_STACK"];
        for kind in kinds.into_iter().filter(|k| *k == stack.operation.kind) {
            if is_repeated(&stack, kind, token)? {
                return Ok(json!({}));
            }
        }
    }
    if set.execution_status != "AVAILABLE" {
        let status = &set.execution_status;
        let words = format!(
            "ChangeSet [{set_id}] cannot be executed in its current execution status of [{status}]"
        );
        return Err(ApiError::new("InvalidChangeSetStatus", words));
    }
    let disable = flag(params, "DisableRollback");
    let given = json!({ "RoleARN": set.role });
    let (worker, role) = worker(cloud, caller, &given, Some(&stack))?;
    let operation = Operation {
        keep_failed: disable,
        on_failure: if disable { OnFailure::DoNothing } else { set.on_failure },
        retain_except_on_create: flag(params, "RetainExceptOnCreate"),
        ..order(if create { "CREATE_STACK" } else { "UPDATE_STACK" }, token)
    };
    let ordered = Ordered { operation, caller: &worker };
    let parameters = set.parameters();
    if create {
        engine::start_create(cloud, &set.stack, ordered, |stack| {
            stack.template.clone_from(&set.template);
            (stack.parameters, stack.resolved) = (parameters.given, parameters.resolved);
            stack.tags = set.tags.clone();
            stack.notifications = set.notifications.clone().unwrap_or_default();
            stack.role = role;
        })?;
    } else {
        check_updatable(&stack, &set.stack, disable)?;
        let resources = set.reverts_drift.then(|| drift::as_is(cloud, &stack));
        engine::start_update(cloud, &set.stack, ordered, |stack| {
            stack.resources = resources.unwrap_or(std::mem::take(&mut stack.resources));
            take_over(stack, &set.template, &parameters, &set.tags);
            stack.notifications = set.notifications.clone().unwrap_or(stack.notifications.clone());
            stack.role = role;
        })?;
    }
    retire(cloud, &set_id, &set.stack);
    Ok(json!({}))
}

/// The operation has begun: its change set is executed, and the others no longer fit. What the
/// disk refuses here is found again when somebody wants to execute it.
fn retire(cloud: &Cloud, executed: &str, stack_id: &str) {
    cloud
        .services
        .cloudformation
        .change_sets
        .settle(executed, |s| s.execution_status = "EXECUTE_COMPLETE".to_owned());
    for (id, _) in sets_of(cloud, stack_id).iter().filter(|(id, _)| id != executed) {
        if let Err(error) = cloud.services.cloudformation.change_sets.remove(id) {
            tracing::error!("a change set that no longer fits is left: {error}");
        }
    }
}

pub fn delete(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let _admitted = cloud.services.cloudformation.work.admit();
    match find(cloud, params) {
        Ok((id, _)) => drop(cloud.services.cloudformation.change_sets.remove(&id)?),
        Err(error) if error.code == "ChangeSetNotFound" => {}
        Err(error) => return Err(error),
    }
    Ok(json!({}))
}

pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let (stack_id, stack) = existing(cloud, params)?;
    let mut sets = sets_of(cloud, &stack_id);
    sets.sort_by_key(|(_, set)| std::cmp::Reverse(set.created));
    let summary = |(id, set): &(String, Arc<ChangeSet>)| {
        json!({
            "StackId": stack_id, "StackName": stack.name, "ChangeSetId": id,
            "ChangeSetName": set.name, "ExecutionStatus": set.execution_status,
            "Status": set.status, "StatusReason": set.reason, "CreationTime": iso(set.created),
            "Description": set.description, "IncludeNestedStacks": false,
        })
    };
    let (summaries, next) = page(sets.iter().map(summary).collect(), params, views::PAGE)?;
    Ok(json!({ "Summaries": summaries, "NextToken": next }))
}
