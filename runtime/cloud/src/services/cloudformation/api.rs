//! API of CloudFormation.

mod change_sets;
mod request;
mod stacks;
mod views;

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Stack, find_stack};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::services::{known, required};

/// Operations, with the members of their inputs that are used. Others are refused by name.
const OPERATIONS: &[(&str, &[&str])] = &[
    (
        "CreateStack",
        &[
            "StackName",
            "TemplateBody",
            "TemplateURL",
            "Parameters",
            "Capabilities",
            "Tags",
            "ClientRequestToken",
            "EnableTerminationProtection",
            "DisableRollback",
            "OnFailure",
            "TimeoutInMinutes",
            "RetainExceptOnCreate",
        ],
    ),
    (
        "UpdateStack",
        &[
            "StackName",
            "TemplateBody",
            "TemplateURL",
            "UsePreviousTemplate",
            "Parameters",
            "Capabilities",
            "Tags",
            "ClientRequestToken",
            "RetainExceptOnCreate",
        ],
    ),
    ("DeleteStack", &["StackName", "RetainResources", "ClientRequestToken", "DeletionMode"]),
    (
        "CreateChangeSet",
        &[
            "StackName",
            "ChangeSetName",
            "ChangeSetType",
            "TemplateBody",
            "TemplateURL",
            "UsePreviousTemplate",
            "Parameters",
            "Capabilities",
            "Tags",
            "ClientToken",
            "Description",
            "OnStackFailure",
            "DisableValidation",
        ],
    ),
    ("DescribeChangeSet", &["ChangeSetName", "StackName", "NextToken", "IncludePropertyValues"]),
    (
        "ExecuteChangeSet",
        &[
            "ChangeSetName",
            "StackName",
            "ClientRequestToken",
            "DisableRollback",
            "RetainExceptOnCreate",
        ],
    ),
    ("DeleteChangeSet", &["ChangeSetName", "StackName"]),
    ("ListChangeSets", &["StackName", "NextToken"]),
    ("ContinueUpdateRollback", &["StackName", "ResourcesToSkip", "ClientRequestToken"]),
    ("DescribeStacks", &["StackName", "NextToken"]),
    ("ListStacks", &["NextToken", "StackStatusFilter"]),
    ("DescribeStackEvents", &["StackName", "NextToken"]),
    ("DescribeEvents", &["StackName", "ChangeSetName", "OperationId", "Filters", "NextToken"]),
    ("DescribeStackResources", &["StackName", "LogicalResourceId", "PhysicalResourceId"]),
    ("DescribeStackResource", &["StackName", "LogicalResourceId"]),
    ("ListStackResources", &["StackName", "NextToken"]),
    ("GetTemplate", &["StackName", "ChangeSetName", "TemplateStage"]),
    ("GetTemplateSummary", &["TemplateBody", "TemplateURL", "StackName"]),
    ("ValidateTemplate", &["TemplateBody", "TemplateURL"]),
    ("UpdateTerminationProtection", &["EnableTerminationProtection", "StackName"]),
    ("ListExports", &["NextToken"]),
    ("ListImports", &["ExportName", "NextToken"]),
];

/// Answers an operation.
pub async fn handle(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    operation: &str,
    params: &Value,
) -> ApiResult {
    let action = format!("cloudformation:{operation}");
    cloud.authorize(caller, &action, &resource_of(cloud, params), &[])?;
    check_members(operation, params)?;
    match operation {
        "CreateChangeSet" => change_sets::create(cloud, caller, params),
        "DescribeChangeSet" => change_sets::describe(cloud, params),
        "ExecuteChangeSet" => change_sets::execute(cloud, caller, params),
        "DeleteChangeSet" => change_sets::delete(cloud, params),
        "ListChangeSets" => change_sets::list(cloud, params),
        "CreateStack" => stacks::create(cloud, caller, params),
        "UpdateStack" => stacks::update(cloud, caller, params),
        "DeleteStack" => stacks::delete(cloud, caller, params),
        "ContinueUpdateRollback" => stacks::continue_update_rollback(cloud, caller, params),
        "UpdateTerminationProtection" => stacks::protect(cloud, params),
        "ValidateTemplate" => {
            let (_, template) = request::template_of(cloud, caller, params, None)?;
            Ok(views::validated(&template))
        }
        "GetTemplateSummary" => views::summary(cloud, caller, params),
        "DescribeStacks" => views::stacks(cloud, params),
        "ListStacks" => views::list_stacks(cloud, params),
        "DescribeStackEvents" => views::stack_events(cloud, params),
        "DescribeEvents" => views::operation_events(cloud, params),
        "DescribeStackResources" => views::resources(cloud, params),
        "DescribeStackResource" => views::resource(cloud, params),
        "ListStackResources" => views::list_resources(cloud, params),
        "GetTemplate" => views::template(cloud, params),
        // Templates cannot export anything here.
        "ListExports" => Ok(json!({ "Exports": [] })),
        "ListImports" => {
            let name = required(params, "ExportName")?;
            Err(ApiError::validation(format!("Export '{name}' is not imported by any stack.")))
        }
        other => Err(ApiError::unknown_operation("cloudformation", other)),
    }
}

/// The stack that an operation is about, as policies name it.
fn resource_of(cloud: &Cloud, params: &Value) -> String {
    let arn = |name: &str| cloud.config.arn("cloudformation", &format!("stack/{name}/*"));
    match (params["StackName"].as_str(), params["ChangeSetName"].as_str()) {
        (Some(name), _) if name.starts_with("arn:") => name.to_owned(),
        (Some(name), _) => find_stack(cloud, name).map_or_else(|| arn(name), |(id, _)| id),
        (None, Some(set)) if set.starts_with("arn:") => {
            cloud.services.cloudformation.change_sets.get(set).map_or_else(|| arn("*"), |s| s.stack.clone())
        }
        // Operations on no stack in particular have no resource that a policy could name.
        _ => "*".to_owned(),
    }
}

/// Members that would change what happens, and are not used: ignoring them would be pretending.
fn check_members(operation: &str, params: &Value) -> ApiResult<()> {
    let Some((_, used)) = OPERATIONS.iter().find(|(name, _)| *name == operation) else {
        return Err(ApiError::unknown_operation("cloudformation", operation));
    };
    // What says that an option is not wanted.
    let absent = |v: &Value| match v {
        Value::Null => true,
        Value::String(text) => text.is_empty() || text == "false",
        Value::Array(items) => items.is_empty(),
        _ => false,
    };
    let members = params.as_object().into_iter().flatten();
    let given = members.filter(|(_, v)| !absent(v)).map(|(name, v)| (name.clone(), v.clone()));
    known(&Value::Object(given.collect()), "cloudformation", operation, used)
}

fn existing(cloud: &Cloud, params: &Value) -> ApiResult<(String, Arc<Stack>)> {
    let name = required(params, "StackName")?;
    find_stack(cloud, name)
        .ok_or_else(|| ApiError::validation(format!("Stack with id {name} does not exist")))
}
