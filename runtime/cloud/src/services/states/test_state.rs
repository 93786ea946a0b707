//! `TestState`: one state, run once with the rights of a role, without an execution.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/test-state-isolation.html>

use serde_json::{Map, Value, json};

use super::interpreter::{self, Tested};
use super::{definition, executions};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// How the state may name itself; expressions see it.
const NAME: &str = "TestState";

/// Runs a state.
pub async fn test(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let text = call.required("definition")?;
    let invalid = |words: String| {
        ApiError::new("InvalidDefinition", format!("Invalid State Machine Definition: '{words}'"))
    };
    let state: Value = serde_json::from_str(text)
        .map_err(|e| invalid(format!("INVALID_JSON_DESCRIPTION: {e}")))?;
    definition::check_alone(NAME, &state)
        .map_err(|e| invalid(format!("SCHEMA_VALIDATION_FAILED: {e}")))?;
    let caller = match call.text("roleArn") {
        Some(role) => {
            call.cloud.pass_role(call.caller, role, "states.amazonaws.com")?;
            let assumed = call.cloud.assume(role, "states.amazonaws.com", NAME);
            assumed.map_err(|words| ApiError::new("AccessDeniedException", words))?
        }
        None if state["Type"] == "Task" => {
            return Err(ApiError::new("ValidationException", "a Task needs a roleArn"));
        }
        None => call.caller.clone(),
    };
    let input = executions::parse_input(call.text("input").unwrap_or("{}"))?;
    let variables: Map<String, Value> = match call.text("variables") {
        None => Map::new(),
        Some(text) => serde_json::from_str(text).map_err(|e| {
            ApiError::new("ValidationException", format!("variables is not a JSON object: {e}"))
        })?,
    };
    let tested = interpreter::test(call.cloud, caller, NAME, &state, &input, variables).await;
    let mut answer = described(&tested);
    if call.text("inspectionLevel").is_some_and(|level| level != "INFO") {
        answer["inspectionData"] = inspected(&input, &tested);
    }
    Ok(answer)
}

fn described(tested: &Tested) -> Value {
    let mut answer = json!({ "status": tested.status });
    if let Some(output) = &tested.output {
        answer["output"] = output.to_string().into();
    }
    if let Some(failure) = &tested.failure {
        answer["error"] = failure.error.clone().into();
        answer["cause"] = failure.cause.clone().into();
    }
    if let Some(next) = &tested.next {
        answer["nextState"] = next.clone().into();
    }
    answer
}

fn inspected(input: &Value, tested: &Tested) -> Value {
    let mut data = json!({ "input": input.to_string() });
    if let Some(arguments) = &tested.arguments {
        data["afterArguments"] = arguments.to_string().into();
    }
    if let Some(result) = &tested.result {
        data["result"] = result.to_string().into();
    }
    if !tested.variables.is_empty() {
        data["variables"] = Value::Object(tested.variables.clone()).to_string().into();
    }
    data
}
