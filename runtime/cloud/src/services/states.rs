//! Step Functions: standard state machines in JSONata.
//!
//! Implemented: Pass, Task, Choice, Wait, Map (inline), Parallel, Succeed, Fail; Assign, Output,
//! Arguments, Retry, Catch, timeouts; the service integrations of [`tasks`]. A definition that needs
//! more is refused when it is created.

mod definition;
mod expression;
mod interpreter;
mod tasks;

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use definition::check;

use crate::cloud::{Cloud, epoch_secs};
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;
use crate::services::{cloudwatch, required};

/// Events of one execution, as in AWS.
const EVENTS_MAX: u64 = 25_000;

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
    let action = format!("states:{operation}");
    match operation {
        "StartExecution" => start(cloud, caller, params),
        "DescribeExecution" => {
            let (arn, execution) = find(cloud, caller, params, &action)?;
            Ok(describe(arn, &execution))
        }
        "GetExecutionHistory" => {
            let (arn, _) = find(cloud, caller, params, &action)?;
            history(cloud, arn, params)
        }
        "StopExecution" => {
            let (arn, _) = find(cloud, caller, params, &action)?;
            let stopping = cloud.stopping.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(stop) = stopping.get(arn) {
                stop.notify_one();
            }
            Ok(json!({ "stopDate": epoch_secs(Timestamp::now()) }))
        }
        "ListExecutions" => {
            let machine = required(params, "stateMachineArn")?;
            cloud.authorize(caller, &action, machine, &[])?;
            let wanted = params["statusFilter"].as_str();
            let fits = |e: &Execution| e.machine == machine && wanted.is_none_or(|w| w == e.status);
            let mut executions: Vec<_> =
                cloud.executions.all().into_iter().filter(|(_, e)| fits(e)).collect();
            executions.sort_by_key(|(_, e)| std::cmp::Reverse(e.started));
            let max = params["maxResults"].as_u64().filter(|m| *m > 0).unwrap_or(100) as usize;
            Ok(
                json!({ "executions": executions.iter().take(max).map(|(arn, e)| summary(arn, e)).collect::<Vec<_>>() }),
            )
        }
        "ListStateMachines" => {
            cloud.authorize(caller, &action, &cloud.config.arn("states", "stateMachine:*"), &[])?;
            let machines = cloud.state_machines.all();
            let machines: Vec<Value> = machines
                .iter()
                .map(
                    |(arn, m)| json!({ "stateMachineArn": arn, "name": m.name, "type": "STANDARD", "creationDate": epoch_secs(m.created) }),
                )
                .collect();
            Ok(json!({ "stateMachines": machines }))
        }
        "DescribeStateMachine" => {
            let arn = required(params, "stateMachineArn")?;
            cloud.authorize(caller, &action, arn, &[])?;
            let machine = cloud.state_machines.get(arn).ok_or_else(|| no_machine(arn))?;
            Ok(json!({
                "stateMachineArn": arn, "name": machine.name, "status": "ACTIVE", "definition": machine.definition.to_string(),
                "roleArn": machine.role, "type": "STANDARD", "creationDate": epoch_secs(machine.created),
            }))
        }
        other => Err(ApiError::unknown_operation("states", other)),
    }
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
        out["error"] = error.clone().into();
        out["cause"] = cause.clone().into();
    }
    out
}

fn start(cloud: &Arc<Cloud>, caller: &Caller, params: &Value) -> ApiResult {
    let machine_arn = required(params, "stateMachineArn")?;
    cloud.authorize(caller, "states:StartExecution", machine_arn, &[])?;
    let machine = cloud.state_machines.get(machine_arn).ok_or_else(|| no_machine(machine_arn))?;
    let input = params["input"].as_str().unwrap_or("{}");
    let input: Value = serde_json::from_str(input).map_err(|e| {
        ApiError::new(
            "InvalidExecutionInput",
            format!("Invalid State Machine Execution Input: '{e}'"),
        )
    })?;
    let name =
        params["name"].as_str().map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
    let arn = format!("{}:{name}", machine_arn.replacen(":stateMachine:", ":execution:", 1));
    if let Some(existing) = cloud.executions.get(&arn) {
        // The same name with the same input is the same request, repeated.
        if existing.input == input && existing.status == "RUNNING" {
            return Ok(json!({ "executionArn": arn, "startDate": epoch_secs(existing.started) }));
        }
        return Err(ApiError::new(
            "ExecutionAlreadyExists",
            format!("Execution Already Exists: '{arn}'"),
        ));
    }
    let started = Timestamp::now();
    let execution = Execution {
        name,
        machine: machine_arn.to_owned(),
        status: "RUNNING".to_owned(),
        input,
        output: None,
        failure: None,
        started,
        stopped: None,
    };
    cloud.executions.put(&arn, execution.clone())?;
    tokio::spawn(run(cloud.clone(), arn.clone(), execution, machine));
    Ok(json!({ "executionArn": arn, "startDate": epoch_secs(started) }))
}

async fn run(cloud: Arc<Cloud>, arn: String, execution: Execution, machine: Arc<StateMachine>) {
    let stop = Arc::new(tokio::sync::Notify::new());
    let lock = || cloud.stopping.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    lock().insert(arn.clone(), stop.clone());
    let history = History::new(&cloud, &arn);
    history.add(
        "ExecutionStarted",
        json!({ "executionStartedEventDetails": { "input": execution.input.to_string(), "roleArn": machine.role } }),
    );
    let result = tokio::select! {
        result = interpreter::run(&cloud, &arn, &execution, &machine, &history) => result,
        () = stop.notified() => Err(interpreter::Failure::new("States.Aborted", "the execution was stopped")),
    };
    lock().remove(&arn);
    let status = match &result {
        Ok(_) => "SUCCEEDED",
        Err(f) if f.error == "States.Aborted" => "ABORTED",
        Err(f) if f.error == "States.ExecutionTimeout" => "TIMED_OUT",
        Err(_) => "FAILED",
    };
    match &result {
        Ok(output) => history.add(
            "ExecutionSucceeded",
            json!({ "executionSucceededEventDetails": { "output": output.to_string() } }),
        ),
        Err(f) => history.add(
            "ExecutionFailed",
            json!({ "executionFailedEventDetails": { "error": f.error, "cause": f.cause } }),
        ),
    }
    cloud.executions.settle(&arn, |e| {
        e.status = status.to_owned();
        e.stopped = Some(Timestamp::now());
        match result {
            Ok(output) => e.output = Some(output),
            Err(f) => e.failure = Some((f.error, f.cause)),
        }
    });
    if status == "FAILED" {
        cloudwatch::count(
            &cloud,
            "AWS/States",
            "ExecutionsFailed",
            ("StateMachineArn", &execution.machine),
        );
    }
}

/// Marks executions that an earlier process left running: nothing works on them any more.
pub fn end_orphans(cloud: &Cloud) {
    for (arn, execution) in cloud.executions.all() {
        if execution.stopped.is_none() {
            cloud.executions.settle(&arn, |e| {
                e.status = "ABORTED".to_owned();
                e.stopped = Some(Timestamp::now());
                e.failure = Some((
                    "States.Aborted".to_owned(),
                    "the embedded cloud stopped while the execution ran".to_owned(),
                ));
            });
        }
    }
}

/// The history of one execution: a file with one event per line.
pub struct History {
    file: std::sync::Mutex<(Option<std::fs::File>, u64)>,
}

fn history_file(cloud: &Cloud, arn: &str) -> PathBuf {
    cloud.path("executions").join(format!("{}.ndjson", hex::encode(&Sha256::digest(arn)[..16])))
}

impl History {
    fn new(cloud: &Cloud, arn: &str) -> Self {
        let path = history_file(cloud, arn);
        let open = || {
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            std::fs::OpenOptions::new().create(true).append(true).open(&path)
        };
        let file = open().inspect_err(|e| tracing::error!("no history of {arn}: {e}")).ok();
        Self { file: std::sync::Mutex::new((file, 0)) }
    }

    /// Adds an event.
    pub fn add(&self, kind: &str, details: Value) {
        let mut guard = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (file, count) = &mut *guard;
        *count += 1;
        let mut event = json!({ "timestamp": epoch_secs(Timestamp::now()), "type": kind, "id": *count, "previousEventId": *count - 1 });
        if let (Value::Object(event), Value::Object(details)) = (&mut event, details) {
            event.extend(details);
        }
        if let Some(Err(error)) = file.as_mut().map(|f| writeln!(f, "{event}")) {
            tracing::error!("an event of a history is lost: {error}");
        }
    }

    /// Whether there is room for more events.
    pub fn is_full(&self) -> bool {
        self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1 >= EVENTS_MAX - 10
    }
}

fn history(cloud: &Cloud, arn: &str, params: &Value) -> ApiResult {
    let file = std::fs::File::open(history_file(cloud, arn)).map_err(ApiError::internal)?;
    let mut events: Vec<Value> = std::io::BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .filter_map(|l| serde_json::from_str(&l).ok())
        .collect();
    if params["reverseOrder"] == true {
        events.reverse();
    }
    let skip: usize = params["nextToken"].as_str().and_then(|t| t.parse().ok()).unwrap_or(0);
    let max = params["maxResults"].as_u64().filter(|m| *m > 0).unwrap_or(100) as usize;
    let total = events.len();
    let page: Vec<Value> = events.into_iter().skip(skip).take(max).collect();
    let next = skip + page.len();
    let mut answer = json!({ "events": page });
    if next < total {
        answer["nextToken"] = next.to_string().into();
    }
    Ok(answer)
}
