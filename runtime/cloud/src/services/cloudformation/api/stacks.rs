//! Operations on stacks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::request::{
    check_capabilities, check_room, check_updatable, flag, has_failed, is_repeated, notifications,
    on_failure, parameters_of, stack_name, tags, template_of, texts, token, worker,
};
use super::{existing, policies};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::cloudformation::creation_policy::{self, Signal};
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
        found: None,
        notifications: vec![],
        protected: false,
        operation,
        imports: BTreeSet::new(),
        policy: None,
        role: None,
        drift: Drift::default(),
    };
    (id, stack)
}

/// Takes over template and parameters, and remembers what they replace. After an operation that
/// failed and was kept, a rollback still goes to the last stable state, if there was one.
pub fn take_over(stack: &mut Stack, template: &str, parameters: &Parameters, tags: &Value) {
    let before = Before {
        template: std::mem::replace(&mut stack.template, template.to_owned()),
        parameters: std::mem::replace(&mut stack.parameters, parameters.given.clone()),
        resolved: std::mem::replace(&mut stack.resolved, parameters.resolved.clone()),
        resources: stack.resources.clone(),
        outputs: stack.outputs.clone(),
        tags: std::mem::replace(&mut stack.tags, tags.clone()),
        imports: stack.imports.clone(),
    };
    match has_failed(stack) {
        true => stack.found = Some(before.resources),
        false => stack.before = Some(before),
    }
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
        keep_failed: flag(params, "DisableRollback"),
        retain_except_on_create: flag(params, "RetainExceptOnCreate"),
        timeout_mins: params["TimeoutInMinutes"].as_u64(),
        ..order("CREATE_STACK", token)
    };
    let protected = flag(params, "EnableTerminationProtection");
    let policy = policies::given(call, "StackPolicyBody", "StackPolicyURL")?;
    let (worker, role) = worker(cloud, caller, params, None)?;
    let notifications = notifications(cloud, params, &worker)?.unwrap_or_default();
    let _admitted = cloud.services.cloudformation.work.admit();
    if let Some((id, stack)) = find_stack(cloud, name) {
        if is_repeated(&stack, "CREATE_STACK", token)? {
            return Ok(json!({ "StackId": id, "OperationId": stack.operation.id }));
        }
        let words = format!("Stack [{name}] already exists");
        return Err(ApiError::new("AlreadyExistsException", words));
    }
    check_room(cloud)?;
    let operation_id = operation.id.clone();
    let (id, mut stack) = new(cloud, name, text, tags, "CREATE_IN_PROGRESS", operation);
    stack.notifications = notifications;
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
    check_updatable(&stack, &id, flag(params, "DisableRollback"))?;
    let (text, template) = template_of(cloud, caller, params, Some(&stack))?;
    check_capabilities(params, &template)?;
    let parameters = parameters_of(cloud, caller, params, &template, Some(&stack))?;
    let tags = tags(params)?.unwrap_or_else(|| stack.tags.clone());
    let (worker, role) = worker(cloud, caller, params, Some(&stack))?;
    let topics = notifications(cloud, params, &worker)?.unwrap_or(stack.notifications.clone());
    let next = Stack { notifications: topics.clone(), ..(*stack).clone() };
    let planned =
        engine::plan(cloud, &id, &next, &template, &parameters).map_err(ApiError::validation)?;
    let same = planned.changes.is_empty()
        && is_same(&stack, &template)
        && tags == stack.tags
        && topics == stack.notifications;
    if same && !has_failed(&stack) {
        return Err(ApiError::validation("No updates are to be performed."));
    }
    let policy = policies::given(call, "StackPolicyBody", "StackPolicyURL")?;
    let (during, during_url) = ("StackPolicyDuringUpdateBody", "StackPolicyDuringUpdateURL");
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
        (stack.role, stack.notifications) = (role, topics);
    })?;
    Ok(json!({ "StackId": id, "OperationId": operation_id }))
}

/// Whether two templates differ at most in what means nothing: comments and the like.
pub fn is_same(stack: &Stack, template: &Template) -> bool {
    parse(&stack.template).is_ok_and(|old| *old == *template)
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
    // A creation is ended by the deletion.
    if stack.is_busy() && stack.status != "CREATE_IN_PROGRESS" {
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
    if stack.status != "DELETE_FAILED" {
        let words = match (force, retain.is_empty()) {
            (false, true) => None,
            (true, _) => Some(
                "You can activate DeletionMode FORCE_DELETE_STACK in a delete stack operation \
                 only when the stack is in the DELETE_FAILED state.",
            ),
            (false, false) => Some(
                "When you delete a stack, specify which resources to retain only when the stack \
                 is in the DELETE_FAILED state.",
            ),
        };
        if let Some(words) = words {
            let words = format!("Invalid operation on stack [{id}]. {words}");
            return Err(ApiError::validation(words));
        }
    }
    if let Some(other) = retain.iter().find(|r| !stack.resources.contains_key(*r)) {
        return Err(ApiError::validation(format!(
            "Invalid operation on stack [{id}]. The resource {other} does not exist in it."
        )));
    }
    if stack.status == "REVIEW_IN_PROGRESS" {
        store_status(cloud, &id, "DELETE_COMPLETE", None, |s| s.deleted = Some(cloud.clock.now()))?;
        engine::forget_change_sets(cloud, &id);
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
    let failed =
        |name: &String| stack.resources.get(name).is_some_and(|r| r.status == "UPDATE_FAILED");
    let skip = match (texts(params, "ResourcesToSkip"), flag(params, "ForceRollback")) {
        (skip, false) => skip,
        (skip, true) if skip.is_empty() => {
            stack.resources.keys().filter(|name| failed(name)).cloned().collect()
        }
        _ => {
            let words = "ForceRollback and ResourcesToSkip are mutually exclusive";
            return Err(ApiError::validation(words));
        }
    };
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
        // Without a last stable state there is nothing to go back to.
        "CREATE_FAILED" | "UPDATE_FAILED" => stack.before.is_none(),
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

pub fn signal(call: &Call<'_>) -> ApiResult {
    let (id, stack) = existing(call.cloud, call.params)?;
    let logical_id = call.required("LogicalResourceId")?;
    let (unique_id, status) = (call.required("UniqueId")?, call.required("Status")?);
    let signal = Signal { logical_id, unique_id, status };
    creation_policy::take(call.cloud, &id, &stack, signal)?;
    Ok(json!({}))
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
    let protected = flag(params, "EnableTerminationProtection");
    let (id, stack) = existing(cloud, params)?;
    if stack.status == "DELETE_IN_PROGRESS" {
        let (name, status) = (&stack.name, &stack.status);
        let words = format!("Stack [{name}] cannot be updated while in status {status}");
        return Err(ApiError::validation(words));
    }
    cloud.services.cloudformation.stacks.update(&id, |s| s.protected = protected)?;
    Ok(json!({ "StackId": id }))
}
