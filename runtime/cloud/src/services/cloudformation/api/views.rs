//! What can be looked at.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::request::{flag, page, template_of};
use super::{change_sets, existing};
use crate::kernel::cloud::iso;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::cloudformation::stacks::Entry;
use crate::services::cloudformation::template::{Template, parse};
use crate::services::cloudformation::{OnFailure, Resource, STACK, Stack, events};
use crate::services::required;

/// Entries in one answer.
pub const PAGE: usize = 100;
/// Stacks of an account.
pub const STACKS_MAX: u64 = 2_000;

pub fn stacks(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let stale = cloud.faults.is_stale("cloudformation", "DescribeStacks");
    let described = |id: &str, stack: &Arc<Stack>| {
        let earlier =
            cloud.services.cloudformation.work.earlier().get(id).cloned().filter(|_| stale);
        describe_stack(id, earlier.as_ref().unwrap_or(stack))
    };
    if params["StackName"].is_string() {
        let (id, stack) = existing(cloud, params)?;
        return Ok(json!({ "Stacks": [described(&id, &stack)] }));
    }
    let (chosen, next) =
        page(cloud.services.cloudformation.stacks.chosen(Entry::is_live), params, PAGE)?;
    let stacks = cloud.services.cloudformation.stacks.rows(chosen);
    let stacks: Vec<Value> = stacks.map(|(id, stack)| described(&id, &stack)).collect();
    Ok(json!({ "Stacks": stacks, "NextToken": next }))
}

fn describe_stack(id: &str, stack: &Stack) -> Value {
    // A stack of an earlier version may have a template that is refused today.
    let template = parse(&stack.template).ok();
    let parameters = template.as_ref().map(|t| t.described_values(&stack.parameters()));
    let capabilities = template.as_ref().map(|t| t.capabilities()).unwrap_or_default();
    let operation = &stack.operation;
    json!({
        "StackId": id, "StackName": stack.name, "StackStatus": stack.status,
        "StackStatusReason": stack.reason, "CreationTime": iso(stack.created),
        "Description": template.as_ref().and_then(|t| t.description()),
        "LastUpdatedTime": stack.updated.map(iso), "DeletionTime": stack.deleted.map(iso),
        "Parameters": parameters.unwrap_or_default(), "Capabilities": capabilities,
        "Outputs": stack.outputs.values().collect::<Vec<_>>(), "Tags": stack.tags,
        "EnableTerminationProtection": stack.protected,
        "DeletionMode": operation.force.then_some("FORCE_DELETE_STACK"),
        "DisableRollback": operation.on_failure == OnFailure::DoNothing,
        "TimeoutInMinutes": operation.timeout_mins, "NotificationARNs": stack.notifications,
        "RollbackConfiguration": {}, "RetainExceptOnCreate": operation.retain_except_on_create,
        "DriftInformation": stack.drift.described(), "RoleARN": stack.role,
    })
}

/// What AWS gives an account.
pub fn limits(call: &Call<'_>) -> ApiResult {
    let limit = |(name, value): (&str, u64)| json!({ "Name": name, "Value": value });
    let limits = [
        ("StackLimit", STACKS_MAX),
        ("StackOutputsLimit", 200),
        ("ConcurrentResourcesLimit", 2_500),
    ];
    let (limits, next) = page(limits.map(limit).to_vec(), call.params, PAGE)?;
    Ok(json!({ "AccountLimits": limits, "NextToken": next }))
}

pub fn list_stacks(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let wanted = super::request::texts(params, "StackStatusFilter");
    let created = |entry: &Entry| {
        (wanted.is_empty() || wanted.contains(&entry.status)).then_some(entry.created)
    };
    let mut chosen = cloud.services.cloudformation.stacks.picked(created);
    chosen.sort_by_key(|(_, created)| std::cmp::Reverse(*created));
    let (chosen, next) = page(chosen, params, PAGE)?;
    let summary = |(id, s): (String, Arc<Stack>)| {
        json!({
            "StackId": id, "StackName": s.name, "CreationTime": iso(s.created),
            "StackStatus": s.status, "StackStatusReason": s.reason,
            "LastUpdatedTime": s.updated.map(iso), "DeletionTime": s.deleted.map(iso),
            "DriftInformation": s.drift.described(),
        })
    };
    let stacks = cloud.services.cloudformation.stacks.rows(chosen);
    let summaries: Vec<Value> = stacks.map(summary).collect();
    Ok(json!({ "StackSummaries": summaries, "NextToken": next }))
}

pub fn stack_events(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let (id, _) = existing(cloud, params)?;
    let (mut events, next) = page(events::all(cloud, &id), params, PAGE)?;
    for event in events.iter_mut().filter_map(Value::as_object_mut) {
        event.remove("OperationType");
    }
    Ok(json!({ "StackEvents": events, "NextToken": next }))
}

/// Events by operation: of a stack, or of the making of a change set.
pub fn operation_events(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let failed_only = flag(&params["Filters"], "FailedEvents");
    let set = params["ChangeSetName"].as_str().filter(|n| n.starts_with("arn:"));
    let events = if set.is_some() {
        let (_, set) = change_sets::find(cloud, params)?;
        set.problems.clone()
    } else if params["StackName"].is_string() {
        let (id, _) = existing(cloud, params)?;
        events::all(cloud, &id).into_iter().map(as_operation_event).collect()
    } else if params["OperationId"].is_string() {
        let stacks = cloud.services.cloudformation.stacks.all();
        let of_stack = |(id, _): &(String, Arc<Stack>)| events::all(cloud, id);
        stacks.iter().flat_map(of_stack).map(as_operation_event).collect()
    } else {
        return Err(ApiError::validation(
            "One of ChangeSetName, OperationId or StackName must be specified",
        ));
    };
    let operation = params["OperationId"].as_str();
    let wanted = |event: &Value| {
        operation.is_none_or(|o| event["OperationId"] == o) && (!failed_only || is_failure(event))
    };
    let events: Vec<Value> = events.into_iter().filter(wanted).collect();
    let (events, next) = page(events, params, PAGE)?;
    Ok(json!({ "OperationEvents": events, "NextToken": next }))
}

fn as_operation_event(mut event: Value) -> Value {
    let status = event["ResourceStatus"].as_str().unwrap_or_default();
    let failed = status.ends_with("_FAILED") && event["ResourceType"] != STACK;
    event["EventType"] = if failed { "PROVISIONING_ERROR" } else { "STACK_EVENT" }.into();
    if let Some(fields) = event.as_object_mut() {
        fields.remove("StackName");
    }
    event
}

fn is_failure(event: &Value) -> bool {
    event["EventType"] == "VALIDATION_ERROR"
        || event["EventType"] == "PROVISIONING_ERROR"
        || event["OperationStatus"] == "FAILED"
}

fn describe_resource(id: &str, stack: &Stack, logical_id: &str, resource: &Resource) -> Value {
    json!({
        "StackName": stack.name, "StackId": id, "LogicalResourceId": logical_id,
        "PhysicalResourceId": resource.physical_id, "ResourceType": resource.kind,
        "Timestamp": iso(resource.updated), "ResourceStatus": resource.status,
        "ResourceStatusReason": resource.reason,
        "DriftInformation": stack.drift.of_resource(logical_id),
    })
}

pub fn resources(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let logical = params["LogicalResourceId"].as_str();
    let physical = params["PhysicalResourceId"].as_str();
    let holds = |s: &Stack| s.resources.values().any(|r| Some(r.physical_id.as_str()) == physical);
    let (id, stack) = match (params["StackName"].is_string(), physical) {
        (true, None) => existing(cloud, params)?,
        (false, Some(physical)) => {
            let mut all = cloud.services.cloudformation.stacks.all().into_iter();
            let live = |s: &Stack| s.status != "DELETE_COMPLETE";
            all.find(|(_, s)| live(s) && holds(s)).ok_or_else(|| {
                ApiError::validation(format!("Stack for {physical} does not exist"))
            })?
        }
        _ => {
            return Err(ApiError::validation(
                "You must specify either StackName or PhysicalResourceId, but not both.",
            ));
        }
    };
    let chosen = stack.resources.iter().filter(|(name, _)| logical.is_none_or(|l| l == *name));
    // AWS gives the first hundred here; the whole is what ListStackResources is for.
    let described = chosen.take(PAGE).map(|(name, r)| describe_resource(&id, &stack, name, r));
    Ok(json!({ "StackResources": described.collect::<Vec<_>>() }))
}

pub fn resource(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let (id, stack) = existing(cloud, params)?;
    let name = required(params, "LogicalResourceId")?;
    let resource = stack.resources.get(name).ok_or_else(|| {
        let stack = &stack.name;
        ApiError::validation(format!("Resource {name} does not exist for stack {stack}"))
    })?;
    let mut detail = describe_resource(&id, &stack, name, resource);
    if let Some(fields) = detail.as_object_mut() {
        fields.remove("Timestamp");
    }
    detail["LastUpdatedTimestamp"] = iso(resource.updated).into();
    let template = parse(&stack.template).ok();
    let metadata = template.and_then(|t| t.resource(name).get("Metadata").map(Value::to_string));
    detail["Metadata"] = metadata.unwrap_or_else(|| "{}".to_owned()).into();
    Ok(json!({ "StackResourceDetail": detail }))
}

pub fn list_resources(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let (_, stack) = existing(cloud, params)?;
    let summary = |(name, r): (&String, &Resource)| {
        json!({
            "LogicalResourceId": name, "PhysicalResourceId": r.physical_id,
            "ResourceType": r.kind, "LastUpdatedTimestamp": iso(r.updated),
            "ResourceStatus": r.status, "ResourceStatusReason": r.reason,
            "DriftInformation": stack.drift.of_resource(name),
        })
    };
    let (summaries, next) = page(stack.resources.iter().map(summary).collect(), params, PAGE)?;
    Ok(json!({ "StackResourceSummaries": summaries, "NextToken": next }))
}

pub fn template(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let stage = params["TemplateStage"].as_str().unwrap_or("Original");
    if !matches!(stage, "Original" | "Processed") {
        return Err(ApiError::validation(format!("{stage} is no value of TemplateStage")));
    }
    let text = if params["ChangeSetName"].is_string() {
        change_sets::find(cloud, params)?.1.template.clone()
    } else {
        existing(cloud, params)?.1.template.clone()
    };
    Ok(json!({ "TemplateBody": text, "StagesAvailable": ["Original", "Processed"] }))
}

pub fn validated(template: &Template) -> Value {
    json!({
        "Parameters": template.declared_parameters(false), "Description": template.description(),
        "Capabilities": template.capabilities(),
        "CapabilitiesReason": template.capabilities_reason(),
    })
}

pub fn summary(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let template = if params["StackName"].is_string() {
        let (_, stack) = existing(cloud, params)?;
        parse(&stack.template).map_err(ApiError::validation)?
    } else {
        template_of(cloud, caller, params, None)?.1
    };
    let kinds: BTreeSet<&str> =
        template.resources().filter_map(|(_, r)| r["Type"].as_str()).collect();
    let mut answer = validated(&template);
    let more = json!({
        "Parameters": template.declared_parameters(true), "ResourceTypes": kinds,
        "Version": "2010-09-09", "Metadata": template.metadata().map(Value::to_string),
        "DeclaredTransforms": [],
    });
    if let (Some(fields), Value::Object(more)) = (answer.as_object_mut(), more) {
        fields.extend(more.into_iter().collect::<Map<_, _>>());
    }
    Ok(answer)
}
