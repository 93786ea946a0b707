//! Step Functions: standard state machines in JSONata.
//!
//! Implemented: Pass, Task, Choice, Wait, Map, Parallel, Succeed, Fail; Assign, Output, Arguments,
//! Retry, Catch, timeouts, heartbeats; Step Functions' own functions in JSONata ([`functions`]); the
//! service integrations of [`tasks`], task tokens ([`callbacks`]), executions of others that are
//! waited for; redrives ([`redrive`]); single states on trial ([`test_state`]). A Map is
//! inline or distributed, with items of its input or of S3 (JSON, JSON Lines, CSV, a list of
//! objects), batches, tolerated failures and results in S3 ([`map`]); its children are executions
//! with histories of their own. A definition that needs more is refused when it is created. Limits
//! of data, numbers, names and events are AWS's.
//!
//! The role of a machine with a distributed Map is asked for what AWS documents as the least:
//! `states:StartExecution` on the machine, `states:DescribeExecution` on its executions,
//! `states:RedriveExecution` on the children when they are redriven, `s3:GetObject` or
//! `s3:ListBucket` for the reader, and `s3:PutObject`, `s3:GetObject`,
//! `s3:ListMultipartUploadParts` and `s3:AbortMultipartUpload` for the writer.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html>
//!
//! Differences from AWS: JSONata is evaluated within 5 seconds and 1 GiB; of executions that have
//! ended the newest 10,000 are kept, each with its children. What runs when the process ends goes
//! on after its restart: a task that was under way is begun again (one that waits for a token or
//! an execution goes on waiting). Of a distributed Map: children of the type STANDARD only, at
//! most 200 at once, and no distributed Map inside another; children that somebody stops count as
//! failed; results are one file of each kind, as JSON.

mod callbacks;
mod definition;
mod evaluator;
mod executions;
mod expression;
mod functions;
mod history;
mod interpreter;
mod limits;
mod machines;
mod map;
mod progress;
mod redrive;
mod resources;
mod retry;
mod target;
mod tasks;
mod test_state;

use std::cmp::Reverse;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use definition::check;
pub use evaluator::{Evaluator, serve as serve_evaluations};
pub use executions::{Stop, resume};
pub use map::ChildInput;
pub use map::runs::MapRun;

use crate::kernel::bus::Takes;
use crate::kernel::cloud::Opening;
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::indexed::{Entry, Indexed};
use crate::kernel::pages::Pages;
use crate::kernel::service::{Call, Service};
use crate::kernel::store::Table;
use crate::{model, op};
use anyhow::Result;
use parking_lot::Mutex;
use std::collections::HashMap;

/// What Step Functions has.
#[derive(Debug)]
pub struct State {
    /// State machines by ARN.
    pub machines: Table<StateMachine>,
    /// Executions by ARN.
    pub executions: Indexed<Execution, Known>,
    /// Definitions that executions were started with, by their hashes.
    pub definitions: Table<Value>,
    /// Map Runs by ARN.
    pub map_runs: Table<MapRun>,
    /// Woken when a Map Run ends or gets other limits.
    pub map_runs_changed: tokio::sync::Notify,
    /// Executions to be stopped.
    pub stopping: Mutex<HashMap<String, Arc<Stop>>>,
    /// Evaluates JSONata.
    pub evaluator: Evaluator,
    /// Tasks that wait until somebody tells how they ended.
    pub callbacks: callbacks::Callbacks,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            machines: opening.table("state_machines"),
            executions: Indexed::new(opening.table("executions")),
            definitions: opening.table("definitions"),
            map_runs: opening.table("map_runs"),
            map_runs_changed: tokio::sync::Notify::new(),
            stopping: Mutex::default(),
            evaluator: Evaluator::default(),
            callbacks: callbacks::Callbacks::new(opening.table("task_ends")),
        })
    }
}

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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
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
    /// Name of the definition that it was started with; children and older records have none.
    pub definition: Option<String>,
    /// The Map Run whose child it is.
    pub map_run: Option<String>,
    /// Items that it is for, as a child.
    pub items: u64,
    /// Events of its history when it ended.
    pub events: u64,
    /// How often it was redriven.
    pub redrives: u32,
    /// When it was last redriven.
    pub redriven: Option<Timestamp>,
    /// Tokens of clients that redrove it, and when.
    pub tokens: Vec<(String, Timestamp)>,
}

/// What is known of an execution without its record.
#[derive(Debug, Clone, PartialEq)]
pub struct Known {
    /// The state machine.
    pub machine: String,
    /// Its status.
    pub status: String,
    /// Where it is in lists: when it ended, was redriven or began.
    pub time: Timestamp,
    /// When it ended.
    pub stopped: Option<Timestamp>,
    /// Whether it is a child of a Map Run.
    pub is_child: bool,
}

impl Entry<Execution> for Known {
    /// Those of a machine together, the newest first.
    type Order = (String, Reverse<Timestamp>);

    fn of(execution: &Execution) -> Self {
        let Execution { machine, status, stopped, redriven, started, map_run, .. } = execution;
        Self {
            machine: machine.clone(),
            status: status.clone(),
            time: stopped.or(*redriven).unwrap_or(*started),
            stopped: *stopped,
            is_child: map_run.is_some(),
        }
    }

    fn order(&self) -> Self::Order {
        (self.machine.clone(), Reverse(self.time))
    }
}

/// API of Step Functions.
pub static SERVICE: Service = Service {
    types: resources::TYPES,
    takes: Some(Takes(|cloud, message| Box::pin(target::take(cloud, message)))),
    data: &["GetActivityTask", "SendTaskFailure", "SendTaskHeartbeat", "SendTaskSuccess"],
    ..Service::new(
        "states",
        model!("states"),
        &[
            op!(StartExecution(stateMachineArn, name, input)
            => executions::start_execution),
            op!(DescribeExecution(executionArn) => describe_execution),
            op!(GetExecutionHistory(
            executionArn, maxResults, nextToken, reverseOrder, includeExecutionData
        ) => history::read),
            op!(StopExecution(executionArn, error, cause) => stop_execution),
            op!(RedriveExecution(executionArn, clientToken)
            => redrive::redrive),
            op!(ListExecutions(
            stateMachineArn, mapRunArn, statusFilter, redriveFilter, maxResults, nextToken
        ) => list_executions),
            op!(ListMapRuns(executionArn, maxResults, nextToken) => map::api::list),
            op!(DescribeMapRun(mapRunArn) => map::api::describe),
            op!(UpdateMapRun(
            mapRunArn, maxConcurrency, toleratedFailurePercentage, toleratedFailureCount
        ) => map::api::update),
            op!(CreateStateMachine(name, definition, roleArn, type) => machines::create),
            op!(UpdateStateMachine(stateMachineArn, definition, roleArn) => machines::update),
            op!(DeleteStateMachine(stateMachineArn) => machines::delete),
            op!(DescribeStateMachineForExecution(executionArn) => machines::of_execution),
            op!(ValidateStateMachineDefinition(definition, type, severity, maxResults)
                => machines::validate),
            op!(TestState(definition, roleArn, input, inspectionLevel, variables)
                => async test_state::test),
            op!(SendTaskSuccess(taskToken, output) => callbacks::success),
            op!(SendTaskFailure(taskToken, error, cause) => callbacks::failure),
            op!(SendTaskHeartbeat(taskToken) => callbacks::heartbeat),
            op!(ListStateMachines(maxResults, nextToken) => list_machines),
            op!(DescribeStateMachine(stateMachineArn) => describe_machine),
        ],
    )
};

fn list_machines(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let machines = call.cloud.services.states.machines.all();
    let machines = machines.iter().map(|(arn, m)| head(arn, m)).collect();
    page(call.params, "stateMachines", machines)
}

fn describe_machine(call: &Call<'_>) -> ApiResult {
    let arn = call.required("stateMachineArn")?;
    call.authorize(arn)?;
    let machine = call.cloud.services.states.machines.get(arn).ok_or_else(|| no_machine(arn))?;
    let mut answer = head(arn, &machine);
    answer["status"] = "ACTIVE".into();
    answer["definition"] = machine.definition.to_string().into();
    answer["roleArn"] = machine.role.clone().into();
    Ok(answer)
}

fn stop_execution(call: &Call<'_>) -> ApiResult {
    let (arn, execution) = find(call)?;
    Ok(executions::stop(call.cloud, arn, &execution, call.params))
}

fn describe_execution(call: &Call<'_>) -> ApiResult {
    let (arn, execution) = find(call)?;
    Ok(describe(call.cloud, arn, &execution))
}

fn list_executions(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let refused = |message: &str| Err(ApiError::new("ValidationException", message));
    let wanted = params["statusFilter"].as_str();
    let mut executions = match (params["mapRunArn"].is_null(), params["stateMachineArn"].is_null())
    {
        (true, _) if wanted == Some("PENDING_REDRIVE") => {
            return refused("The statusFilter PENDING_REDRIVE needs a mapRunArn");
        }
        (true, _) if !params["redriveFilter"].is_null() => {
            return refused("A redriveFilter needs a mapRunArn");
        }
        (true, _) => return list_of_machine(call, wanted),
        (false, true) => map::runs::children(cloud, map::api::allowed(call)?.0),
        (false, false) => {
            return refused("Either a stateMachineArn or a mapRunArn must be given, not both");
        }
    };
    let redriven = match params["redriveFilter"].as_str() {
        Some("REDRIVEN") => Some(true),
        Some("NOT_REDRIVEN") => Some(false),
        None if params["redriveFilter"].is_null() => None,
        _ => return refused("redriveFilter must be REDRIVEN or NOT_REDRIVEN"),
    };
    executions.retain(|(_, e)| {
        wanted.is_none_or(|w| w == shown_status(cloud, e))
            && redriven.is_none_or(|redriven| redriven == (e.redrives > 0))
    });
    let time = |e: &Execution| e.stopped.or(e.redriven).unwrap_or(e.started);
    executions.sort_by_key(|(_, e)| std::cmp::Reverse(time(e)));
    let of_run = !params["mapRunArn"].is_null();
    let summaries = executions.iter().map(|(arn, e)| {
        let mut out = summary(cloud, arn, e);
        if of_run {
            (out["mapRunArn"], out["itemCount"]) = (params["mapRunArn"].clone(), e.items.into());
        }
        out
    });
    page(params, "executions", summaries.collect())
}

/// The executions of a machine, of which only those of the page are read.
fn list_of_machine(call: &Call<'_>, wanted: Option<&str>) -> ApiResult {
    let (cloud, machine) = (call.cloud, call.required("stateMachineArn")?);
    call.authorize(machine)?;
    if !cloud.services.states.machines.contains(machine) {
        return Err(no_machine(machine));
    }
    let executions = &cloud.services.states.executions;
    let fits = |known: &Known| wanted.is_none_or(|w| w == known.status);
    let begin = (machine.to_owned(), Reverse(Timestamp::MAX));
    let page = executions.listed(begin, |all| {
        let own = all.take_while(|(_, known)| known.machine == machine);
        let names = own.filter(|(_, known)| fits(known)).map(|(arn, _)| arn.to_owned());
        Some(PAGES.cut(&with_usual_size(call.params), names))
    });
    let (names, next) = page.unwrap_or_else(|| Ok((vec![], None)))?;
    let told = names.iter().filter_map(|arn| Some(summary(cloud, arn, &*executions.get(arn)?)));
    let mut answer = json!({ "executions": told.collect::<Vec<_>>() });
    if let Some(next) = next {
        answer["nextToken"] = next.into();
    }
    Ok(answer)
}

/// The status of an execution; children wait for their turn in a redrive.
fn shown_status<'e>(cloud: &Cloud, execution: &'e Execution) -> &'e str {
    let run = map::runs::parent(cloud, execution);
    let awaits = run.is_some_and(|run| map::runs::awaits_redrive(cloud, &run, execution));
    if awaits { "PENDING_REDRIVE" } else { &execution.status }
}

const PAGES: Pages = Pages {
    items: 100,
    wrong_token: "InvalidToken",
    ..Pages::of("maxResults", "nextToken", 1_000)
};

/// A page of a list.
fn page(params: &Value, member: &str, items: Vec<Value>) -> ApiResult {
    PAGES.answer(&with_usual_size(params), member, items)
}

/// A size of zero asks for the usual one.
fn with_usual_size(params: &Value) -> Value {
    let mut asked = json!({ "nextToken": params["nextToken"] });
    if params["maxResults"] != 0 {
        asked["maxResults"] = params["maxResults"].clone();
    }
    asked
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

/// The execution that a call names, when the caller may do this with it.
fn find<'a>(call: &Call<'a>) -> ApiResult<(&'a str, Arc<Execution>)> {
    let arn = call.required("executionArn")?;
    call.authorize(arn)?;
    let execution = call.cloud.services.states.executions.get(arn);
    Ok((arn, execution.ok_or_else(|| no_execution(arn))?))
}

fn no_execution(arn: &str) -> ApiError {
    ApiError::new("ExecutionDoesNotExist", format!("Execution Does Not Exist: '{arn}'"))
}

fn summary(cloud: &Cloud, arn: &str, execution: &Execution) -> Value {
    let mut out = json!({
        "executionArn": arn, "stateMachineArn": execution.machine, "name": execution.name,
        "status": shown_status(cloud, execution), "startDate": epoch_secs(execution.started),
        "redriveCount": execution.redrives,
    });
    if let Some(stopped) = execution.stopped {
        out["stopDate"] = epoch_secs(stopped).into();
    }
    if let Some(redriven) = execution.redriven {
        out["redriveDate"] = epoch_secs(redriven).into();
    }
    out
}

fn describe(cloud: &Cloud, arn: &str, execution: &Execution) -> Value {
    let mut out = summary(cloud, arn, execution);
    let (status, reason) = redrive::status(cloud, execution);
    out["redriveStatus"] = status.into();
    if let Some(reason) = reason {
        out["redriveStatusReason"] = reason.into();
    }
    if let Some(run) = &execution.map_run {
        out["mapRunArn"] = run.clone().into();
    }
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
