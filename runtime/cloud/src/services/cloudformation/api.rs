//! API of CloudFormation.

mod change_sets;
mod drift;
mod policies;
mod request;
mod stacks;
mod views;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Stack, find_stack};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::{Call, Operation, Service};
use crate::services::required;
use crate::{model, op};

/// API of CloudFormation.
pub static SERVICE: Service = Service {
    invalid: "ValidationError",
    says_nothing,
    admits: allowed,
    types: super::resources::TYPES,
    ..Service::new("cloudformation", model!("cloudformation"), OPERATIONS)
};

const OPERATIONS: &[Operation] = &[
    op!(CreateStack(
        StackName, TemplateBody, TemplateURL, Parameters, Capabilities, Tags,
        ClientRequestToken, EnableTerminationProtection, DisableRollback, OnFailure,
        TimeoutInMinutes, RetainExceptOnCreate, RoleARN, StackPolicyBody, StackPolicyURL,
        NotificationARNs
    ) => stacks::create),
    op!(UpdateStack(
        StackName, TemplateBody, TemplateURL, UsePreviousTemplate, Parameters,
        Capabilities, Tags, ClientRequestToken, RetainExceptOnCreate, RoleARN, DisableRollback,
        StackPolicyBody, StackPolicyURL, StackPolicyDuringUpdateBody, StackPolicyDuringUpdateURL,
        NotificationARNs
    ) => stacks::update),
    op!(DeleteStack(
        StackName, RetainResources, ClientRequestToken, DeletionMode, RoleARN
    ) => stacks::delete),
    op!(CreateChangeSet(
        StackName, ChangeSetName, ChangeSetType, TemplateBody, TemplateURL,
        UsePreviousTemplate, Parameters, Capabilities, Tags, ClientToken, Description,
        OnStackFailure, DisableValidation, RoleARN, DeploymentMode, NotificationARNs
    ) => change_sets::create),
    op!(DescribeChangeSet(
        ChangeSetName, StackName, NextToken, IncludePropertyValues
    ) => change_sets::describe),
    op!(ExecuteChangeSet(
        ChangeSetName, StackName, ClientRequestToken, DisableRollback,
        RetainExceptOnCreate
    ) => change_sets::execute),
    op!(DeleteChangeSet(ChangeSetName, StackName) => change_sets::delete),
    op!(ListChangeSets(StackName, NextToken) => change_sets::list),
    op!(ContinueUpdateRollback(
        StackName, ResourcesToSkip, ClientRequestToken, RoleARN, ForceRollback
    ) => stacks::continue_update_rollback),
    op!(RollbackStack(
        StackName, ClientRequestToken, RoleARN, RetainExceptOnCreate
    ) => stacks::rollback),
    op!(SignalResource(
        StackName, LogicalResourceId, UniqueId, Status
    ) => stacks::signal),
    op!(CancelUpdateStack(StackName, ClientRequestToken) => stacks::cancel_update),
    op!(SetStackPolicy(StackName, StackPolicyBody, StackPolicyURL) => policies::set),
    op!(GetStackPolicy(StackName) => policies::get),
    op!(DetectStackDrift(StackName, LogicalResourceIds) => drift::detect_stack),
    op!(DetectStackResourceDrift(StackName, LogicalResourceId) => drift::detect_resource),
    op!(DescribeStackDriftDetectionStatus(StackDriftDetectionId) => drift::detection),
    op!(DescribeStackResourceDrifts(
        StackName, StackResourceDriftStatusFilters, NextToken, MaxResults
    ) => drift::resources),
    op!(DescribeAccountLimits(NextToken) => views::limits),
    op!(DescribeStacks(StackName, NextToken) => views::stacks),
    op!(ListStacks(NextToken, StackStatusFilter) => views::list_stacks),
    op!(DescribeStackEvents(StackName, NextToken) => views::stack_events),
    op!(DescribeEvents(
        StackName, ChangeSetName, OperationId, Filters, NextToken
    ) => views::operation_events),
    op!(DescribeStackResources(
        StackName, LogicalResourceId, PhysicalResourceId
    ) => views::resources),
    op!(DescribeStackResource(StackName, LogicalResourceId) => views::resource),
    op!(ListStackResources(StackName, NextToken) => views::list_resources),
    op!(GetTemplate(StackName, ChangeSetName, TemplateStage) => views::template),
    op!(GetTemplateSummary(TemplateBody, TemplateURL, StackName) => views::summary),
    op!(ValidateTemplate(TemplateBody, TemplateURL) => validate),
    op!(UpdateTerminationProtection(EnableTerminationProtection, StackName) => stacks::protect),
    op!(ListExports(NextToken) => exports),
    op!(ListImports(ExportName, NextToken) => imports),
];

/// What says that an option is not wanted.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(wanted) => !wanted,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn validate(call: &Call<'_>) -> ApiResult {
    let (_, template) = request::template_of(call.cloud, call.caller, call.params, None)?;
    Ok(views::validated(&template))
}

fn exports(call: &Call<'_>) -> ApiResult {
    let exports = super::exports::all(call.cloud).into_iter().map(|(name, export)| {
        json!({
            "Name": name, "Value": export.value, "ExportingStackId": export.stack_id,
        })
    });
    let (exports, next) = request::page(exports.collect(), call.params, views::PAGE)?;
    Ok(json!({ "Exports": exports, "NextToken": next }))
}

fn imports(call: &Call<'_>) -> ApiResult {
    let name = call.required("ExportName")?;
    let importers = super::exports::importers(call.cloud, name);
    if importers.is_empty() {
        return Err(ApiError::validation(format!("Export '{name}' is not imported by any stack.")));
    }
    let importers = importers.into_iter().map(Value::from).collect();
    let (importers, next) = request::page(importers, call.params, views::PAGE)?;
    Ok(json!({ "Imports": importers, "NextToken": next }))
}

/// Whether the caller may do this with the stack that the call is about.
fn allowed(call: &Call<'_>) -> ApiResult<()> {
    call.authorize(&resource_of(call.cloud, call.params))
}

/// The stack that an operation is about, as policies name it.
fn resource_of(cloud: &Cloud, params: &Value) -> String {
    let arn = |name: &str| cloud.config.arn("cloudformation", &format!("stack/{name}/*"));
    match (params["StackName"].as_str(), params["ChangeSetName"].as_str()) {
        (Some(name), _) if name.starts_with("arn:") => name.to_owned(),
        (Some(name), _) => find_stack(cloud, name).map_or_else(|| arn(name), |(id, _)| id),
        (None, Some(set)) if set.starts_with("arn:") => cloud
            .services
            .cloudformation
            .change_sets
            .get(set)
            .map_or_else(|| arn("*"), |s| s.stack.clone()),
        // Operations on no stack in particular have no resource that a policy could name.
        _ => "*".to_owned(),
    }
}

fn existing(cloud: &Cloud, params: &Value) -> ApiResult<(String, Arc<Stack>)> {
    let name = required(params, "StackName")?;
    find_stack(cloud, name)
        .ok_or_else(|| ApiError::validation(format!("Stack with id {name} does not exist")))
}
