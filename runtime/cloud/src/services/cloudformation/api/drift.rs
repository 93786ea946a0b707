//! Operations about drift.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::existing;
use super::request::{page, texts};
use crate::kernel::cloud::iso;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::cloudformation::drift::{self, Found, NOT_CHECKED};
use crate::services::cloudformation::{Resource, Stack};
use crate::services::required;

/// Resources in one answer.
const PAGE: usize = 100;

/// Statuses in which AWS looks at a stack.
const DETECTABLE: [&str; 4] =
    ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED"];

fn detectable(id: &str, stack: &Stack) -> ApiResult<()> {
    if DETECTABLE.contains(&stack.status.as_str()) {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "Drift detection cannot be performed on stack [{id}] while it is in [{}] state",
        stack.status
    )))
}

pub fn detect_stack(call: &Call<'_>) -> ApiResult {
    let (id, stack) = existing(call.cloud, call.params)?;
    detectable(&id, &stack)?;
    let only: BTreeSet<String> = texts(call.params, "LogicalResourceIds").into_iter().collect();
    if let Some(other) = only.iter().find(|name| !stack.resources.contains_key(*name)) {
        return Err(no_resource(other, &stack));
    }
    let detection = drift::detect(call.cloud, &id, &stack, &only)?;
    Ok(json!({ "StackDriftDetectionId": detection }))
}

fn no_resource(name: &str, stack: &Stack) -> ApiError {
    let stack = &stack.name;
    ApiError::validation(format!("Resource {name} does not exist for stack {stack}"))
}

pub fn detect_resource(call: &Call<'_>) -> ApiResult {
    let (id, stack) = existing(call.cloud, call.params)?;
    detectable(&id, &stack)?;
    let name = required(call.params, "LogicalResourceId")?;
    let resource = stack.resources.get(name).ok_or_else(|| no_resource(name, &stack))?;
    let found = drift::look(call.cloud, &stack, resource);
    if found.status == NOT_CHECKED {
        return Err(ApiError::validation(format!(
            "Drift detection is not supported for the resource type {}",
            resource.kind
        )));
    }
    let described = described(&id, name, resource, &found);
    let stacks = &call.cloud.services.cloudformation.stacks;
    stacks.update(&id, |stack| drop(stack.drift.resources.insert(name.to_owned(), found)))?;
    Ok(json!({ "StackResourceDrift": described }))
}

/// A detection has ended when its order is answered.
pub fn detection(call: &Call<'_>) -> ApiResult {
    let id = required(call.params, "StackDriftDetectionId")?;
    let detection = call.cloud.services.cloudformation.detections.get(id);
    let detection = detection.ok_or_else(|| {
        ApiError::validation(format!("Drift detection with id {id} does not exist"))
    })?;
    Ok(json!({
        "StackId": detection.stack_id, "StackDriftDetectionId": id,
        "StackDriftStatus": detection.status, "DetectionStatus": "DETECTION_COMPLETE",
        "DriftedStackResourceCount": detection.drifted, "Timestamp": iso(detection.time),
    }))
}

pub fn resources(call: &Call<'_>) -> ApiResult {
    let (id, stack) = existing(call.cloud, call.params)?;
    let wanted = texts(call.params, "StackResourceDriftStatusFilters");
    let size = match call.params["MaxResults"].as_u64() {
        None => PAGE,
        Some(size) if (1..=PAGE as u64).contains(&size) => size as usize,
        Some(size) => {
            let words = format!("MaxResults must be between 1 and {PAGE}, not {size}");
            return Err(ApiError::validation(words));
        }
    };
    let found = stack.drift.resources.iter().filter_map(|(name, found)| {
        let resource = stack.resources.get(name)?;
        let is_wanted = wanted.is_empty() || wanted.contains(&found.status);
        (found.status != NOT_CHECKED && is_wanted).then(|| described(&id, name, resource, found))
    });
    let (drifts, next) = page(found.collect(), call.params, size)?;
    Ok(json!({ "StackResourceDrifts": drifts, "NextToken": next }))
}

fn described(stack_id: &str, logical_id: &str, resource: &Resource, found: &Found) -> Value {
    json!({
        "StackId": stack_id, "LogicalResourceId": logical_id,
        "PhysicalResourceId": resource.physical_id, "ResourceType": resource.kind,
        "ExpectedProperties": found.expected.to_string(),
        "ActualProperties": found.actual.as_ref().map(Value::to_string),
        "PropertyDifferences": found.differences, "StackResourceDriftStatus": found.status,
        "Timestamp": iso(found.time),
    })
}
