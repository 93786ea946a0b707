//! Step Functions: standard state machines in JSONata.
//!
//! Implemented: Pass, Task, Choice, Wait, Map (inline), Parallel, Succeed, Fail; Assign, Output,
//! Arguments, Retry, Catch, timeouts; the service integrations of [`tasks`]. A definition that
//! needs more is refused when it is created. Limits of data, numbers, names and events are AWS's.
//!
//! Differences from AWS: JSONata is evaluated within 5 seconds and 1 GiB; of executions that have
//! ended the newest 10,000 are kept; a stop of the process aborts what runs.

mod definition;
mod evaluator;
mod executions;
mod expression;
mod history;
mod interpreter;
mod limits;
mod retry;
mod tasks;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use definition::check;
pub use evaluator::{Evaluator, serve as serve_evaluations};
pub use executions::{Stop, end_orphans};

use crate::cloud::{Cloud, epoch_secs};
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;
use crate::services::pages::Pages;
use crate::services::{known, required};

/// A state machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StateMachine {
    /// Its name.
    pub name: String,
    /// ARN of its role.
    pub role: String,
    /// Its definition.
    pub definition: Value,
    /// When it was made.
    pub created: Timestamp,
}

/// An execution.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Execution {
    /// Its name.
    pub name: String,
    /// The state machine.
    pub machine: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `TIMED_OUT` or `ABORTED`.
    pub status: String,
    /// Input.
    pub input: Value,
    /// Output.
    pub output: Option<Value>,
    /// Error and cause.
    pub failure: Option<(String, String)>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub stopped: Option<Timestamp>,
}

/// API of Step Functions.
pub async fn handle(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    operation: &str,
    params: &Value,
) -> ApiResult {
    known(params, "states", operation, used(operation))?;
    let action = format!("states:{operation}");
    match operation {
        "StartExecution" => executions::start(cloud, caller, params),
        "DescribeExecution" => {
            let (arn, execution) = find(cloud, caller, params, &action)?;
            Ok(describe(arn, &execution))
        }
        "GetExecutionHistory" => {
            let (arn, _) = find(cloud, caller, params, &action)?;
            history::read(cloud, arn, params)
        }
        "StopExecution" => {
            let (arn, execution) = find(cloud, caller, params, &action)?;
            Ok(executions::stop(cloud, arn, &execution, params))
        }
        "ListExecutions" => list_executions(cloud, caller, params),
        "ListStateMachines" => {
            cloud.authorize(caller, &action, "*", &[])?;
            let machines = cloud.state_machines.all();
            let machines = machines.iter().map(|(arn, m)| head(arn, m)).collect();
            page(params, "stateMachines", machines)
        }
        "DescribeStateMachine" => {
            let arn = required(params, "stateMachineArn")?;
            cloud.authorize(caller, &action, arn, &[])?;
            let machine = cloud.state_machines.get(arn).ok_or_else(|| no_machine(arn))?;
            let mut answer = head(arn, &machine);
            answer["status"] = "ACTIVE".into();
            answer["definition"] = machine.definition.to_string().into();
            answer["roleArn"] = machine.role.clone().into();
            Ok(answer)
        }
        other => Err(ApiError::unknown_operation("states", other)),
    }
}

/// The input members that an operation uses; any other one is refused.
fn used(operation: &str) -> &'static [&'static str] {
    match operation {
        "StartExecution" => &["stateMachineArn", "name", "input"],
        "DescribeExecution" => &["executionArn"],
        "GetExecutionHistory" => {
            &["executionArn", "maxResults", "nextToken", "reverseOrder", "includeExecutionData"]
        }
        "StopExecution" => &["executionArn", "error", "cause"],
        "ListExecutions" => &["stateMachineArn", "statusFilter", "maxResults", "nextToken"],
        "ListStateMachines" => &["maxResults", "nextToken"],
        _ => &["stateMachineArn"],
    }
}

fn list_executions(cloud: &Cloud, caller: &Caller, params: &Value) -> ApiResult {
    let machine = required(params, "stateMachineArn")?;
    cloud.authorize(caller, "states:ListExecutions", machine, &[])?;
    if !cloud.state_machines.contains(machine) {
        return Err(no_machine(machine));
    }
    let wanted = params["statusFilter"].as_str();
    let fits = |e: &Execution| e.machine == machine && wanted.is_none_or(|w| w == e.status);
    let mut executions = cloud.executions.all();
    executions.retain(|(_, e)| fits(e));
    executions.sort_by_key(|(_, e)| std::cmp::Reverse(e.started));
    let summaries = executions.iter().map(|(arn, e)| summary(arn, e)).collect();
    page(params, "executions", summaries)
}

/// A page of a list. A size of zero asks for the usual one.
fn page(params: &Value, member: &str, items: Vec<Value>) -> ApiResult {
    const PAGES: Pages = Pages {
        items: 100,
        wrong_token: "InvalidToken",
        ..Pages::of("maxResults", "nextToken", 1_000)
    };
    let mut asked = json!({ "nextToken": params["nextToken"] });
    if params["maxResults"] != 0 {
        asked["maxResults"] = params["maxResults"].clone();
    }
    PAGES.answer(&asked, member, items)
}

fn head(arn: &str, machine: &StateMachine) -> Value {
    json!({
        "stateMachineArn": arn, "name": machine.name, "type": "STANDARD",
        "creationDate": epoch_secs(machine.created),
    })
}

fn no_machine(arn: &str) -> ApiError {
    ApiError::new("StateMachineDoesNotExist", format!("State Machine Does Not Exist: '{arn}'"))
}

fn find<'a>(
    cloud: &Cloud,
    caller: &Caller,
    params: &'a Value,
    action: &str,
) -> ApiResult<(&'a str, Arc<Execution>)> {
    let arn = required(params, "executionArn")?;
    cloud.authorize(caller, action, arn, &[])?;
    let missing =
        || ApiError::new("ExecutionDoesNotExist", format!("Execution Does Not Exist: '{arn}'"));
    Ok((arn, cloud.executions.get(arn).ok_or_else(missing)?))
}

fn summary(arn: &str, execution: &Execution) -> Value {
    let mut out = json!({
        "executionArn": arn, "stateMachineArn": execution.machine, "name": execution.name, "status": execution.status,
        "startDate": epoch_secs(execution.started),
    });
    if let Some(stopped) = execution.stopped {
        out["stopDate"] = epoch_secs(stopped).into();
    }
    out
}

fn describe(arn: &str, execution: &Execution) -> Value {
    let mut out = summary(arn, execution);
    out["input"] = execution.input.to_string().into();
    if let Some(output) = &execution.output {
        out["output"] = output.to_string().into();
    }
    if let Some((error, cause)) = &execution.failure {
        for (field, text) in [("error", error), ("cause", cause)] {
            if !text.is_empty() {
                out[field] = text.clone().into();
            }
        }
    }
    out
}
