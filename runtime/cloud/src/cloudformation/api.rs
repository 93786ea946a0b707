//! API of CloudFormation.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::engine::{begin_update, changes, continue_rollback, start, start_delete};
use super::template::{Template, parse};
use super::{ChangeSet, Event, Resource, STACK, Stack, add_event, events, find_stack, set_status};
use crate::cloud::{Cloud, iso};
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;
use crate::services::required;

/// Bytes of a template in the request itself, and of one in S3, as in AWS.
const BODY_BYTES_MAX: usize = 51_200;
const OBJECT_BYTES_MAX: usize = 1_048_576;
/// Entries in one answer.
const PAGE: usize = 100;

const NO_CHANGES: &str = "The submitted information didn't contain changes. Submit different information to create a change set.";

/// Answers an operation.
pub async fn handle(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    operation: &str,
    params: &Value,
) -> ApiResult {
    let resource = match params["StackName"].as_str() {
        Some(name) if !name.starts_with("arn:") => {
            cloud.config.arn("cloudformation", &format!("stack/{name}/*"))
        }
        Some(arn) => arn.to_owned(),
        None => cloud.config.arn("cloudformation", "stack/*"),
    };
    cloud.authorize(caller, &format!("cloudformation:{operation}"), &resource, &[])?;
    refuse_options(params)?;
    match operation {
        "CreateChangeSet" => create_change_set(cloud, params),
        "DescribeChangeSet" => {
            let (id, set) = find_change_set(cloud, params)?;
            Ok(describe_change_set(cloud, &id, &set))
        }
        "ExecuteChangeSet" => execute_change_set(cloud, params),
        "DeleteChangeSet" => delete_change_set(cloud, params),
        "CreateStack" => create_stack(cloud, params),
        "UpdateStack" => update_stack(cloud, params),
        "DeleteStack" => delete_stack(cloud, params),
        "ContinueUpdateRollback" => {
            let (id, stack) = existing(cloud, params)?;
            if stack.status != "UPDATE_ROLLBACK_FAILED" {
                return Err(ApiError::validation(format!(
                    "Stack:{id} is in {} state and can not continue update rollback.",
                    stack.status
                )));
            }
            set_status(cloud, &id, "UPDATE_ROLLBACK_IN_PROGRESS", Some("User Initiated"));
            continue_rollback(cloud, &id);
            Ok(json!({}))
        }
        "DescribeStacks" => describe_stacks(cloud, params),
        "ListStacks" => {
            let wanted: Vec<&str> = params["StackStatusFilter"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let stacks = cloud.stacks.all();
            let chosen = stacks
                .iter()
                .filter(|(_, s)| wanted.is_empty() || wanted.contains(&s.status.as_str()));
            let summaries: Vec<Value> = chosen
                .map(|(id, s)| json!({ "StackId": id, "StackName": s.name, "CreationTime": iso(s.created), "StackStatus": s.status }))
                .collect();
            Ok(json!({ "StackSummaries": summaries }))
        }
        "DescribeStackEvents" => {
            let (id, _) = existing(cloud, params)?;
            let skip: usize =
                params["NextToken"].as_str().and_then(|t| t.parse().ok()).unwrap_or(0);
            let all = events(cloud, &id);
            let page: Vec<Value> = all.iter().skip(skip).take(PAGE).cloned().collect();
            let next = (skip + page.len() < all.len()).then(|| (skip + page.len()).to_string());
            Ok(json!({ "StackEvents": page, "NextToken": next }))
        }
        "DescribeStackResources" => {
            let (id, stack) = existing(cloud, params)?;
            let resources: Vec<Value> = stack
                .resources
                .iter()
                .map(|(name, r)| describe_resource(&id, &stack.name, name, r))
                .collect();
            Ok(json!({ "StackResources": resources }))
        }
        "ListStackResources" => {
            let (_, stack) = existing(cloud, params)?;
            let summary = |(name, r): (&String, &Resource)| {
                json!({
                    "LogicalResourceId": name, "PhysicalResourceId": r.physical_id, "ResourceType": r.kind, "LastUpdatedTimestamp": iso(r.updated),
                    "ResourceStatus": r.status, "ResourceStatusReason": r.reason,
                })
            };
            Ok(
                json!({ "StackResourceSummaries": stack.resources.iter().map(summary).collect::<Vec<_>>() }),
            )
        }
        "GetTemplate" => {
            let (_, stack) = existing(cloud, params)?;
            Ok(
                json!({ "TemplateBody": stack.template, "StagesAvailable": ["Original", "Processed"] }),
            )
        }
        "ValidateTemplate" => {
            let (_, template) = template_of(cloud, params)?;
            Ok(
                json!({ "Parameters": template.declared_parameters(), "Description": template.description(), "Capabilities": template.capabilities() }),
            )
        }
        "UpdateTerminationProtection" => {
            let (id, _) = existing(cloud, params)?;
            let protected = params["EnableTerminationProtection"] == "true";
            cloud.stacks.update(&id, |s| s.protected = protected)?;
            Ok(json!({ "StackId": id }))
        }
        other => Err(ApiError::unknown_operation("cloudformation", other)),
    }
}

fn existing(cloud: &Cloud, params: &Value) -> ApiResult<(String, Arc<Stack>)> {
    let name = required(params, "StackName")?;
    find_stack(cloud, name)
        .ok_or_else(|| ApiError::validation(format!("Stack with id {name} does not exist")))
}

/// Options that would change what happens, and are not implemented; ignoring them would be pretending.
fn refuse_options(params: &Value) -> ApiResult<()> {
    const REFUSED: [&str; 8] = [
        "DisableRollback",
        "OnFailure",
        "OnStackFailure",
        "RoleARN",
        "StackPolicyBody",
        "NotificationARNs",
        "RollbackConfiguration",
        "ResourcesToImport",
    ];
    match REFUSED.iter().find(|o| !params[**o].is_null() && params[**o] != "false") {
        Some(option) => Err(ApiError::validation(format!(
            "The embedded cloud does not implement the option {option}."
        ))),
        None => Ok(()),
    }
}

fn template_of(cloud: &Cloud, params: &Value) -> ApiResult<(String, Template)> {
    let text = match (params["TemplateBody"].as_str(), params["TemplateURL"].as_str()) {
        (Some(body), None) if body.len() <= BODY_BYTES_MAX => body.to_owned(),
        (Some(_), None) => {
            return Err(ApiError::validation(format!(
                "1 validation error detected: Value at 'templateBody' failed to satisfy constraint: Member must have length less than or equal to {BODY_BYTES_MAX}"
            )));
        }
        (None, Some(url)) => fetch(cloud, url)?,
        _ => {
            return Err(ApiError::validation(
                "Either Template URL or Template Body must be specified.",
            ));
        }
    };
    let template = parse(&text).map_err(ApiError::validation)?;
    Ok((text, template))
}

/// The template at an S3 address: `https://s3.region.amazonaws.com/bucket/key`, or this cloud's own form of it.
fn fetch(cloud: &Cloud, url: &str) -> ApiResult<String> {
    let bad = |why: String| {
        ApiError::validation(format!(
            "S3 error: {why}\nFor more information check http://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"
        ))
    };
    let parsed = url::Url::parse(url).map_err(|_| bad(format!("`{url}` is not a URL")))?;
    let path = parsed.path().trim_start_matches('/');
    let host = parsed.host_str().unwrap_or_default();
    let (bucket, key) = match host.split_once(".s3.").or_else(|| host.split_once(".s3-")) {
        Some((bucket, _)) => (bucket, path),
        None => path.split_once('/').ok_or_else(|| bad(format!("`{url}` names no object")))?,
    };
    let bytes = cloud.buckets.read(bucket, key).map_err(|e| bad(e.to_string()))?;
    if bytes.len() > OBJECT_BYTES_MAX {
        return Err(ApiError::validation(format!(
            "Template may not exceed {OBJECT_BYTES_MAX} bytes in size."
        )));
    }
    String::from_utf8(bytes)
        .map_err(|_| ApiError::validation("Template format error: it is not text"))
}

fn parameters_of(
    params: &Value,
    template: &Template,
    previous: Option<&Stack>,
) -> ApiResult<BTreeMap<String, String>> {
    let mut given = BTreeMap::new();
    for parameter in params["Parameters"].as_array().into_iter().flatten() {
        let key = parameter["ParameterKey"].as_str().unwrap_or_default().to_owned();
        let value = match parameter["UsePreviousValue"] == "true" {
            // The resolved value would be taken for the name of an SSM parameter; the default gives it again.
            true => previous.and_then(|s| s.parameters.get(&key)).cloned(),
            false => parameter["ParameterValue"].as_str().map(str::to_owned),
        };
        given.extend(value.map(|v| (key, v)));
    }
    let architecture = |name: &str| {
        name.strip_prefix("/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-")
            .map(str::to_owned)
    };
    let image = |name: &str| {
        architecture(name)
            .filter(|a| a == "x86_64" || a == "arm64")
            .map(|a| format!("ami-embedded{}", a.replace('_', "")))
    };
    template
        .parameters(&given, |name| {
            image(name).or_else(|| name.starts_with("ami-embedded").then(|| name.to_owned()))
        })
        .map_err(ApiError::validation)
}

fn check_capabilities(params: &Value, template: &Template) -> ApiResult<()> {
    let given: Vec<&str> =
        params["Capabilities"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let missing = template
        .capabilities()
        .into_iter()
        .find(|c| !given.contains(c) && !given.contains(&"CAPABILITY_NAMED_IAM"));
    match missing {
        Some(capability) => Err(ApiError::new(
            "InsufficientCapabilitiesException",
            format!("Requires capabilities : [{capability}]"),
        )),
        None => Ok(()),
    }
}

fn new_stack(
    cloud: &Cloud,
    name: &str,
    template: String,
    parameters: BTreeMap<String, String>,
    tags: Value,
    status: &str,
) -> ApiResult<String> {
    let id = cloud.config.arn("cloudformation", &format!("stack/{name}/{}", uuid::Uuid::new_v4()));
    let stack = Stack {
        name: name.to_owned(),
        status: status.to_owned(),
        reason: None,
        template,
        parameters,
        tags,
        created: Timestamp::now(),
        updated: None,
        deleted: None,
        outputs: BTreeMap::new(),
        resources: BTreeMap::new(),
        before: None,
        protected: false,
    };
    cloud.stacks.put(&id, stack)?;
    add_event(
        cloud,
        &id,
        name,
        &Event {
            logical_id: name,
            kind: STACK,
            physical_id: &id,
            status,
            reason: Some("User Initiated"),
        },
    );
    Ok(id)
}

/// Statuses from which an update can begin.
fn updatable(status: &str) -> bool {
    matches!(status, "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE")
}

fn check_updatable(stack: &Stack, id: &str) -> ApiResult<()> {
    if updatable(&stack.status) {
        return Ok(());
    }
    Err(ApiError::validation(format!(
        "Stack:{id} is in {} state and can not be updated.",
        stack.status
    )))
}

fn create_change_set(cloud: &Arc<Cloud>, params: &Value) -> ApiResult {
    let (name, set_name) = (required(params, "StackName")?, required(params, "ChangeSetName")?);
    let (text, template) = template_of(cloud, params)?;
    check_capabilities(params, &template)?;
    let found = find_stack(cloud, name);
    let parameters = parameters_of(params, &template, found.as_ref().map(|(_, s)| &**s))?;
    let tags = params["Tags"].clone();
    let id = match (found, params["ChangeSetType"].as_str().unwrap_or("UPDATE")) {
        (Some((id, stack)), "CREATE") if stack.status == "REVIEW_IN_PROGRESS" => id,
        (Some((id, stack)), "CREATE") => {
            return Err(ApiError::new(
                "AlreadyExistsException",
                format!(
                    "Stack [{}] already exists and cannot be created again with the changeSet [{set_name}]: {id}",
                    stack.name
                ),
            ));
        }
        (Some((id, stack)), _) => {
            check_updatable(&stack, &id)?;
            id
        }
        (None, "CREATE") => new_stack(
            cloud,
            name,
            text.clone(),
            parameters.clone(),
            tags.clone(),
            "REVIEW_IN_PROGRESS",
        )?,
        (None, _) => return Err(ApiError::validation(format!("Stack [{name}] does not exist"))),
    };
    let stack = cloud.stacks.get(&id).ok_or_else(|| ApiError::internal("the stack vanished"))?;
    let changes =
        changes(cloud, &id, &stack, &template, &parameters).map_err(ApiError::validation)?;
    let same = changes.is_empty() && stack.template == text && stack.tags == tags
        || changes.is_empty() && outputs_agree(&stack, &text);
    let set_id = cloud
        .config
        .arn("cloudformation", &format!("changeSet/{set_name}/{}", uuid::Uuid::new_v4()));
    let set = ChangeSet {
        name: set_name.to_owned(),
        stack: id.clone(),
        status: if same { "FAILED" } else { "CREATE_COMPLETE" }.to_owned(),
        reason: same.then(|| NO_CHANGES.to_owned()),
        execution_status: if same { "UNAVAILABLE" } else { "AVAILABLE" }.to_owned(),
        template: text,
        parameters,
        tags,
        changes,
        created: Timestamp::now(),
    };
    cloud.change_sets.put(&set_id, set)?;
    Ok(json!({ "Id": set_id, "StackId": id }))
}

/// Whether two templates differ at most in what makes no resource and no output: comments and the like.
fn outputs_agree(stack: &Stack, text: &str) -> bool {
    let parsed = |t: &str| parse(t).ok();
    parsed(&stack.template) == parsed(text)
}

fn find_change_set(cloud: &Cloud, params: &Value) -> ApiResult<(String, Arc<ChangeSet>)> {
    let name = required(params, "ChangeSetName")?;
    let stack = params["StackName"].as_str().and_then(|s| find_stack(cloud, s)).map(|(id, _)| id);
    let matches = |id: &str, set: &ChangeSet| {
        id == name || (set.name == name && Some(&set.stack) == stack.as_ref())
    };
    let mut found: Vec<_> =
        cloud.change_sets.all().into_iter().filter(|(id, set)| matches(id, set)).collect();
    found.sort_by_key(|(_, set)| set.created);
    found.pop().ok_or_else(|| {
        ApiError::new("ChangeSetNotFound", format!("ChangeSet [{name}] does not exist"))
            .with_status(404)
    })
}

fn describe_change_set(cloud: &Cloud, id: &str, set: &ChangeSet) -> Value {
    let stack_name = cloud.stacks.get(&set.stack).map(|s| s.name.clone());
    json!({
        "ChangeSetId": id, "ChangeSetName": set.name, "StackId": set.stack, "StackName": stack_name, "Status": set.status,
        "StatusReason": set.reason, "ExecutionStatus": set.execution_status, "CreationTime": iso(set.created), "Changes": set.changes,
        "Parameters": parameters_list(&set.parameters), "Tags": set.tags,
    })
}

fn parameters_list(parameters: &BTreeMap<String, String>) -> Vec<Value> {
    parameters.iter().map(|(k, v)| json!({ "ParameterKey": k, "ParameterValue": v })).collect()
}

fn execute_change_set(cloud: &Arc<Cloud>, params: &Value) -> ApiResult {
    let (set_id, set) = find_change_set(cloud, params)?;
    if set.execution_status != "AVAILABLE" {
        let message = format!(
            "ChangeSet [{set_id}] cannot be executed in its current execution status of [{}]",
            set.execution_status
        );
        return Err(ApiError::new("InvalidChangeSetStatus", message));
    }
    let stack = cloud
        .stacks
        .get(&set.stack)
        .ok_or_else(|| ApiError::validation("the stack no longer exists"))?;
    let create = stack.status == "REVIEW_IN_PROGRESS";
    if !create {
        check_updatable(&stack, &set.stack)?;
        begin_update(cloud, &set.stack, &set.template, &set.parameters, &set.tags)?;
    } else {
        cloud.stacks.update(&set.stack, |s| {
            s.template = set.template.clone();
            s.parameters = set.parameters.clone();
            s.tags = set.tags.clone();
        })?;
    }
    cloud.change_sets.update(&set_id, |s| s.execution_status = "EXECUTE_COMPLETE".to_owned())?;
    start(cloud, &set.stack, create);
    Ok(json!({}))
}

fn delete_change_set(cloud: &Cloud, params: &Value) -> ApiResult {
    if let Ok((id, _)) = find_change_set(cloud, params) {
        cloud.change_sets.remove(&id)?;
    }
    Ok(json!({}))
}

fn create_stack(cloud: &Arc<Cloud>, params: &Value) -> ApiResult {
    let name = required(params, "StackName")?;
    let (text, template) = template_of(cloud, params)?;
    check_capabilities(params, &template)?;
    if find_stack(cloud, name).is_some() {
        return Err(ApiError::new(
            "AlreadyExistsException",
            format!("Stack [{name}] already exists"),
        ));
    }
    let parameters = parameters_of(params, &template, None)?;
    let tags = params["Tags"].clone();
    let id = new_stack(cloud, name, text, parameters, tags, "CREATE_IN_PROGRESS")?;
    start(cloud, &id, true);
    Ok(json!({ "StackId": id }))
}

fn update_stack(cloud: &Arc<Cloud>, params: &Value) -> ApiResult {
    let (id, stack) = existing(cloud, params)?;
    check_updatable(&stack, &id)?;
    let (text, template) = template_of(cloud, params)?;
    check_capabilities(params, &template)?;
    let parameters = parameters_of(params, &template, Some(&stack))?;
    let changed =
        changes(cloud, &id, &stack, &template, &parameters).map_err(ApiError::validation)?;
    if changed.is_empty() && outputs_agree(&stack, &text) {
        return Err(ApiError::validation("No updates are to be performed."));
    }
    begin_update(cloud, &id, &text, &parameters, &params["Tags"])?;
    start(cloud, &id, false);
    Ok(json!({ "StackId": id }))
}

fn delete_stack(cloud: &Arc<Cloud>, params: &Value) -> ApiResult {
    let Some((id, stack)) = find_stack(cloud, required(params, "StackName")?) else {
        return Ok(json!({}));
    };
    if stack.protected {
        return Err(ApiError::validation(format!(
            "Stack [{}] cannot be deleted while TerminationProtection is enabled",
            stack.name
        )));
    }
    if stack.status.ends_with("_IN_PROGRESS") && stack.status != "REVIEW_IN_PROGRESS" {
        return Err(ApiError::validation(format!(
            "Stack [{}] cannot be deleted while in status {}",
            stack.name, stack.status
        )));
    }
    if stack.status == "REVIEW_IN_PROGRESS" {
        set_status(cloud, &id, "DELETE_COMPLETE", None);
        return Ok(json!({}));
    }
    let retain = params["RetainResources"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    start_delete(cloud, &id, retain);
    Ok(json!({}))
}

fn describe_stacks(cloud: &Cloud, params: &Value) -> ApiResult {
    if params["StackName"].is_string() {
        let (id, stack) = existing(cloud, params)?;
        return Ok(json!({ "Stacks": [describe_stack(&id, &stack)] }));
    }
    let stacks = cloud.stacks.all();
    let live = stacks.iter().filter(|(_, s)| s.status != "DELETE_COMPLETE");
    Ok(json!({ "Stacks": live.map(|(id, s)| describe_stack(id, s)).collect::<Vec<_>>() }))
}

fn describe_stack(id: &str, stack: &Stack) -> Value {
    json!({
        "StackId": id, "StackName": stack.name, "StackStatus": stack.status, "StackStatusReason": stack.reason,
        "CreationTime": iso(stack.created), "LastUpdatedTime": stack.updated.map(iso), "DeletionTime": stack.deleted.map(iso),
        "Parameters": parameters_list(&stack.parameters), "Outputs": stack.outputs.values().collect::<Vec<_>>(), "Tags": stack.tags,
        "EnableTerminationProtection": stack.protected, "DisableRollback": false,
    })
}

fn describe_resource(id: &str, stack_name: &str, logical_id: &str, resource: &Resource) -> Value {
    json!({
        "StackName": stack_name, "StackId": id, "LogicalResourceId": logical_id, "PhysicalResourceId": resource.physical_id,
        "ResourceType": resource.kind, "Timestamp": iso(resource.updated), "ResourceStatus": resource.status, "ResourceStatusReason": resource.reason,
    })
}
