//! Operations on stacks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::request::{
    check_capabilities, check_updatable, flag, is_repeated, on_failure, parameters_of, stack_name,
    tags, template_of, texts, token, worker,
};
use super::{existing, policies};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::cloudformation::drift::Drift;
use crate::services::cloudformation::engine::{self, Ordered, order};
use crate::services::cloudformation::template::{Template, parse};
use crate::services::cloudformation::{
    Before, Operation, Parameters, Stack, find_stack, store_status,
};
use crate::services::required;

/// A stack that has nothing yet, and its ID.
pub fn new(
    cloud: &Cloud,
    name: &str,
    template: String,
    tags: Value,
    status: &str,
    operation: Operation,
) -> (String, Stack) {
    let unique = uuid::Uuid::new_v4();
    let id = cloud.config.arn("cloudformation", &format!("stack/{name}/{unique}"));
    let stack = Stack {
        name: name.to_owned(),
        status: status.to_owned(),
        reason: Some("User Initiated".to_owned()),
        template,
        parameters: BTreeMap::new(),
        resolved: BTreeMap::new(),
        tags,
        created: cloud.clock.now(),
        updated: None,
        deleted: None,
        outputs: BTreeMap::new(),
        resources: BTreeMap::new(),
        before: None,
        protected: false,
        operation,
        imports: BTreeSet::new(),
        policy: None,
        role: None,
        drift: Drift::default(),
    };
    (id, stack)
}

/// Takes over template and parameters, and remembers what they replace.
pub fn take_over(stack: &mut Stack, template: &str, parameters: &Parameters, tags: &Value) {
    stack.before = Some(Before {
        template: std::mem::replace(&mut stack.template, template.to_owned()),
        parameters: std::mem::replace(&mut stack.parameters, parameters.given.clone()),
        resolved: std::mem::replace(&mut stack.resolved, parameters.resolved.clone()),
        resources: stack.resources.clone(),
        outputs: stack.outputs.clone(),
        tags: std::mem::replace(&mut stack.tags, tags.clone()),
        imports: stack.imports.clone(),
    });
}

pub fn create(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let name = stack_name(params)?;
    let token = token(params, "ClientRequestToken")?;
    let (text, template) = template_of(cloud, caller, params, None)?;
    check_capabilities(params, &template)?;
    let parameters = parameters_of(cloud, caller, params, &template, None)?;
    let tags = tags(params)?.unwrap_or_else(|| json!([]));
    let operation = Operation {
        on_failure: on_failure(params, "OnFailure")?,
        retain_except_on_create: flag(params, "RetainExceptOnCreate"),
        timeout_mins: params["TimeoutInMinutes"].as_u64(),
        ..order("CREATE_STACK", token)
    };
    let protected = flag(params, "EnableTerminationProtection");
    let policy = policies::given(call, "StackPolicyBody", "StackPolicyURL")?;
    let (worker, role) = worker(cloud, caller, params, None)?;
    let _admitted = cloud.services.cloudformation.work.admit();
    if let Some((id, stack)) = find_stack(cloud, name) {
        if is_repeated(&stack, "CREATE_STACK", token)? {
            return Ok(json!({ "StackId": id, "OperationId": stack.operation.id }));
        }
        let words = format!("Stack [{name}] already exists");
        return Err(ApiError::new("AlreadyExistsException", words));
    }
    let operation_id = operation.id.clone();
    let (id, mut stack) = new(cloud, name, text, tags, "CREATE_IN_PROGRESS", operation);
    // Everything that can be refused before anything is made. What early validation finds makes
    // the resource itself fail here.
    engine::plan(cloud, &id, &stack, &template, &parameters).map_err(ApiError::validation)?;
    (stack.parameters, stack.resolved) = (parameters.given, parameters.resolved);
    (stack.protected, stack.policy, stack.role) = (protected, policy, role);
    engine::create_new(cloud, &id, stack, &worker)?;
    Ok(json!({ "StackId": id, "OperationId": operation_id }))
}

pub fn update(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let token = token(params, "ClientRequestToken")?;
    let _admitted = cloud.services.cloudformation.work.admit();
    let name = required(params, "StackName")?;
    let (id, stack) = find_stack(cloud, name)
        .ok_or_else(|| ApiError::validation(format!("Stack [{name}] does not exist")))?;
    if is_repeated(&stack, "UPDATE_STACK", token)? {
        return Ok(json!({ "StackId": id, "OperationId": stack.operation.id }));
    }
    check_updatable(&stack, &id)?;
    let (text, template) = template_of(cloud, caller, params, Some(&stack))?;
    check_capabilities(params, &template)?;
    let parameters = parameters_of(cloud, caller, params, &template, Some(&stack))?;
    let tags = tags(params)?.unwrap_or_else(|| stack.tags.clone());
    let planned =
        engine::plan(cloud, &id, &stack, &template, &parameters).map_err(ApiError::validation)?;
    if planned.changes.is_empty() && is_same(&stack, &template) && tags == stack.tags {
        return Err(ApiError::validation("No updates are to be performed."));
    }
    let policy = policies::given(call, "StackPolicyBody", "StackPolicyURL")?;
    let (during, during_url) = ("StackPolicyDuringUpdateBody", "StackPolicyDuringUpdateURL");
    let (worker, role) = worker(cloud, caller, params, Some(&stack))?;
    let operation = Operation {
        retain_except_on_create: flag(params, "RetainExceptOnCreate"),
        keep_failed: flag(params, "DisableRollback"),
        policy: policies::given(call, during, during_url)?,
        ..order("UPDATE_STACK", token)
    };
    let operation_id = operation.id.clone();
    engine::start_update(cloud, &id, Ordered { operation, caller: &worker }, |stack| {
        take_over(stack, &text, &parameters, &tags);
        stack.policy = policy.or(stack.policy.take());
        stack.role = role;
    })?;
    Ok(json!({ "StackId": id, "OperationId": operation_id }))
}

/// Whether two templates differ at most in what means nothing: comments and the like.
pub fn is_same(stack: &Stack, template: &Template) -> bool {
    parse(&stack.template).is_ok_and(|old| old == *template)
}

pub fn delete(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let token = token(params, "ClientRequestToken")?;
    let _admitted = cloud.services.cloudformation.work.admit();
    let Some((id, stack)) = find_stack(cloud, required(params, "StackName")?) else {
        return Ok(json!({}));
    };
    let name = &stack.name;
    if stack.status == "DELETE_COMPLETE" || is_repeated(&stack, "DELETE_STACK", token)? {
        return Ok(json!({}));
    }
    if stack.protected {
        return Err(ApiError::validation(format!(
            "Stack [{name}] cannot be deleted while TerminationProtection is enabled"
        )));
    }
    if stack.is_busy() {
        // Asked for again while it goes on, as AWS takes it.
        if stack.status == "DELETE_IN_PROGRESS" {
            return Ok(json!({}));
        }
        return Err(ApiError::validation(format!(
            "Stack [{name}] cannot be deleted while in status {}",
            stack.status
        )));
    }
    let retain = texts(params, "RetainResources");
    let force = match params["DeletionMode"].as_str() {
        None | Some("STANDARD") => false,
        Some("FORCE_DELETE_STACK") => true,
        Some(other) => {
            return Err(ApiError::validation(format!("{other} is no value of DeletionMode")));
        }
    };
    if (force || !retain.is_empty()) && stack.status != "DELETE_FAILED" {
        return Err(ApiError::validation(format!(
            "Invalid operation on stack [{id}]. RetainResources and FORCE_DELETE_STACK are for \
             stacks in the DELETE_FAILED state."
        )));
    }
    if let Some(other) = retain.iter().find(|r| !stack.resources.contains_key(*r)) {
        return Err(ApiError::validation(format!(
            "Invalid operation on stack [{id}]. The resource {other} does not exist in it."
        )));
    }
    if stack.status == "REVIEW_IN_PROGRESS" {
        store_status(cloud, &id, "DELETE_COMPLETE", None, |s| s.deleted = Some(cloud.clock.now()))?;
        return Ok(json!({}));
    }
    let (worker, _) = worker(cloud, caller, params, Some(&stack))?;
    let former = Some(stack.status.clone());
    let operation = Operation { retain, force, former, ..order("DELETE_STACK", token) };
    engine::start_delete(cloud, &id, Ordered { operation, caller: &worker })?;
    Ok(json!({}))
}

pub fn continue_update_rollback(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let token = token(params, "ClientRequestToken")?;
    let _admitted = cloud.services.cloudformation.work.admit();
    let (id, stack) = existing(cloud, params)?;
    if is_repeated(&stack, "CONTINUE_ROLLBACK", token)? {
        return Ok(json!({}));
    }
    if stack.status != "UPDATE_ROLLBACK_FAILED" {
        return Err(ApiError::validation(format!(
            "Stack:{id} is in {} state and can not continue update rollback.",
            stack.status
        )));
    }
    let skip = texts(params, "ResourcesToSkip");
    let failed =
        |name: &String| stack.resources.get(name).is_some_and(|r| r.status == "UPDATE_FAILED");
    if let Some(other) = skip.iter().find(|name| !failed(name)) {
        return Err(ApiError::validation(format!(
            "Resource {other} cannot be skipped: only resources in the UPDATE_FAILED state can."
        )));
    }
    let (worker, _) = worker(cloud, caller, params, Some(&stack))?;
    let operation = Operation { skip, ..order("CONTINUE_ROLLBACK", token) };
    engine::continue_rollback(cloud, &id, Ordered { operation, caller: &worker })?;
    Ok(json!({}))
}

pub fn rollback(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let token = token(params, "ClientRequestToken")?;
    let _admitted = cloud.services.cloudformation.work.admit();
    let (id, stack) = existing(cloud, params)?;
    if is_repeated(&stack, "ROLLBACK", token)? {
        return Ok(json!({ "StackId": id, "OperationId": stack.operation.id }));
    }
    let of_creation = match stack.status.as_str() {
        "CREATE_FAILED" => true,
        "UPDATE_FAILED" => false,
        status => {
            let words = format!("Stack:{id} is in {status} state and can not be rolled back.");
            return Err(ApiError::validation(words));
        }
    };
    let (worker, _) = worker(cloud, caller, params, Some(&stack))?;
    let operation = Operation {
        retain_except_on_create: flag(params, "RetainExceptOnCreate"),
        ..order("ROLLBACK", token)
    };
    let operation_id = operation.id.clone();
    engine::start_rollback(cloud, &id, Ordered { operation, caller: &worker }, of_creation)?;
    Ok(json!({ "StackId": id, "OperationId": operation_id }))
}

pub fn cancel_update(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    token(params, "ClientRequestToken")?;
    let _admitted = cloud.services.cloudformation.work.admit();
    let (id, stack) = existing(cloud, params)?;
    if stack.status != "UPDATE_IN_PROGRESS" {
        let words = "CancelUpdateStack cannot be called from current stack status";
        return Err(ApiError::validation(words));
    }
    engine::cancel_update(cloud, &id);
    Ok(json!({}))
}

pub fn protect(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    required(params, "EnableTerminationProtection")?;
    let protected = flag(params, "EnableTerminationProtection");
    let (id, _) = existing(cloud, params)?;
    cloud.services.cloudformation.stacks.update(&id, |s| s.protected = protected)?;
    Ok(json!({ "StackId": id }))
}
