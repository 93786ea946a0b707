//! State machines by API: made, changed, deleted, looked at, and definitions judged.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{StateMachine, definition, executions, find, head, no_machine, tasks};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Bytes of a definition.
const DEFINITION_BYTES_MAX: usize = 1_048_576;
/// The rule by which a state machine hears of the executions that it started and waits for.
const MANAGED_RULE: &str = "rule/StepFunctionsGetEventsForStepFunctionsExecutionRule";
/// By which Step Functions is known.
const SERVICE: &str = "states.amazonaws.com";

/// A definition as it is kept, or what is wrong with it.
pub fn parse(text: &str) -> Result<Value, String> {
    if text.len() > DEFINITION_BYTES_MAX {
        return Err(format!("it is longer than {DEFINITION_BYTES_MAX} bytes"));
    }
    let definition =
        serde_json::from_str(text).map_err(|e| format!("INVALID_JSON_DESCRIPTION: {e}"))?;
    definition::check(&definition).map_err(|e| format!("SCHEMA_VALIDATION_FAILED: {e}"))?;
    Ok(definition)
}

fn invalid(words: &str) -> ApiError {
    ApiError::new("InvalidDefinition", format!("Invalid State Machine Definition: '{words}'"))
}

/// Whether Step Functions may take on the role for the machine, and the role may do what AWS asks
/// for when the machine is made.
pub fn check_role(cloud: &Arc<Cloud>, arn: &str, role: &str, of: &Value) -> Result<(), String> {
    let caller = cloud.assume_for(role, SERVICE, "check", Some(arn))?;
    if tasks::waits_for_executions(of) {
        let rule = cloud.config.arn("events", MANAGED_RULE);
        for action in ["events:PutTargets", "events:PutRule", "events:DescribeRule"] {
            let allowed = cloud.authorize(&caller, action, &rule, &[]);
            allowed.map_err(|_| format!("'{role}' is not authorized to create managed-rule."))?;
        }
    }
    Ok(())
}

fn checked_role(call: &Call<'_>, arn: &str, role: &str, definition: &Value) -> ApiResult<()> {
    call.cloud.pass_role(call.caller, role, SERVICE)?;
    let denied = |words: String| ApiError::new("AccessDeniedException", words);
    check_role(call.cloud, arn, role, definition).map_err(denied)
}

/// `CreateStateMachine`. The same request twice makes one machine.
pub fn create(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let name = executions::check_name(call.required("name")?)?;
    let arn = cloud.config.arn("states", &format!("stateMachine:{name}"));
    call.authorize(&arn)?;
    if call.text("type").is_some_and(|kind| kind != "STANDARD") {
        return Err(ApiError::unknown_parameter("type: EXPRESS", "states:CreateStateMachine"));
    }
    let definition = parse(call.required("definition")?).map_err(|words| invalid(&words))?;
    let role = call.required("roleArn")?;
    checked_role(call, &arn, role, &definition)?;
    let created = cloud.clock.now();
    let machine =
        StateMachine { name: name.to_owned(), role: role.to_owned(), definition, created };
    let machines = &cloud.services.states.machines;
    if machines.create(&arn, machine.clone())? {
        return Ok(json!({ "stateMachineArn": arn, "creationDate": epoch_secs(created) }));
    }
    match machines.get(&arn) {
        Some(there) if there.definition == machine.definition && there.role == machine.role => {
            let created = epoch_secs(there.created);
            Ok(json!({ "stateMachineArn": arn, "creationDate": created }))
        }
        _ => {
            let words = format!("State Machine Already Exists: '{arn}'");
            Err(ApiError::new("StateMachineAlreadyExists", words))
        }
    }
}

/// `UpdateStateMachine`. Executions that run go on with what they were started with.
pub fn update(call: &Call<'_>) -> ApiResult {
    let (cloud, arn) = (call.cloud, call.required("stateMachineArn")?);
    call.authorize(arn)?;
    let machines = &cloud.services.states.machines;
    let machine = machines.get(arn).ok_or_else(|| no_machine(arn))?;
    let (definition, role) = (call.text("definition"), call.text("roleArn"));
    if definition.is_none() && role.is_none() {
        let words = "Either the definition, the role ARN, the LoggingConfiguration, or the \
                     TracingConfiguration must be specified";
        return Err(ApiError::new("MissingRequiredParameter", words));
    }
    let definition = definition.map(parse).transpose().map_err(|words| invalid(&words))?;
    let definition = definition.unwrap_or_else(|| machine.definition.clone());
    let role = role.unwrap_or(&machine.role);
    checked_role(call, arn, role, &definition)?;
    let updated = machines.update(arn, |machine| {
        machine.definition = definition;
        machine.role = role.to_owned();
    })?;
    updated.ok_or_else(|| no_machine(arn))?;
    Ok(json!({ "updateDate": epoch_secs(cloud.clock.now()) }))
}

/// `DeleteStateMachine`. Executions that run go on; a machine that is not there is deleted.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let arn = call.required("stateMachineArn")?;
    call.authorize(arn)?;
    call.cloud.services.states.machines.remove(arn)?;
    Ok(json!({}))
}

/// `DescribeStateMachineForExecution`: with what an execution was started.
pub fn of_execution(call: &Call<'_>) -> ApiResult {
    let (cloud, (_, execution)) = (call.cloud, find(call)?);
    let states = &cloud.services.states;
    let machine = states.machines.get(&execution.machine);
    let machine = machine.ok_or_else(|| no_machine(&execution.machine))?;
    let kept = execution.definition.as_ref().and_then(|name| states.definitions.get(name));
    let mut answer = head(&execution.machine, &machine);
    for name in ["type", "creationDate"] {
        answer.as_object_mut().map(|fields| fields.remove(name));
    }
    answer["definition"] = kept.as_deref().unwrap_or(&machine.definition).to_string().into();
    answer["roleArn"] = machine.role.clone().into();
    answer["updateDate"] = epoch_secs(machine.created).into();
    if let Some(run) = &execution.map_run {
        answer["mapRunArn"] = run.clone().into();
    }
    Ok(answer)
}

/// `ValidateStateMachineDefinition`. What this cloud does not implement is an error here, too.
pub fn validate(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let found = parse(call.required("definition")?).err();
    let diagnostics: Vec<Value> = found
        .iter()
        .map(|words| {
            let (code, message) =
                words.split_once(": ").unwrap_or(("SCHEMA_VALIDATION_FAILED", words));
            json!({ "severity": "ERROR", "code": code, "message": message })
        })
        .collect();
    let result = if diagnostics.is_empty() { "OK" } else { "FAIL" };
    Ok(json!({ "result": result, "diagnostics": diagnostics, "truncated": false }))
}
