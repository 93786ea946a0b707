//! Service integrations of Task states.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::interpreter::{Failure, Frame, Machine, Outcome, Scope};
use super::progress::{Awaited, Seen};
use super::{callbacks, executions, limits};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::ApiError;
use crate::kernel::identity::Caller;
use crate::kernel::model::{Structure, sdk};
use crate::kernel::service::{self, Operation, Service};
use crate::services::{self, athena, glue, lambda};

/// What a task that takes too long is.
const TIMEOUT: &str = "States.Timeout";

/// Pause between looks at a job that runs in this very process.
const POLL: Duration = Duration::from_millis(10);

/// What a resource ends with whose task waits until its token comes back.
const TOKEN: &str = ".waitForTaskToken";

/// What a resource ends with whose task waits until the work is done; perhaps `:2` follows.
const SYNC: &str = ".sync";

/// Integrations of their own, with the ways in which they can be waited for; every operation that
/// is here can be called by `aws-sdk` besides, also with a token.
const OPTIMIZED: &[(&str, &str, &[&str])] = &[
    ("glue", "startJobRun", &["", ".sync"]),
    ("athena", "startQueryExecution", &["", ".sync"]),
    ("athena", "stopQueryExecution", &[""]),
    ("athena", "getQueryExecution", &[""]),
    ("athena", "getQueryResults", &[""]),
    ("lambda", "invoke", &["", TOKEN]),
    ("sns", "publish", &["", TOKEN]),
    ("sqs", "sendMessage", &["", TOKEN]),
    ("events", "putEvents", &["", TOKEN]),
    ("states", "startExecution", &["", ".sync", ".sync:2", TOKEN]),
    ("dynamodb", "getItem", &[""]),
    ("dynamodb", "putItem", &[""]),
    ("dynamodb", "updateItem", &[""]),
    ("dynamodb", "deleteItem", &[""]),
];

/// Whether a resource is implemented.
pub fn check(resource: &str) -> Result<(), String> {
    let by_sdk = resource.strip_prefix("arn:aws:states:::aws-sdk:");
    let by_sdk = by_sdk.map(|action| action.strip_suffix(TOKEN).unwrap_or(action));
    if by_sdk.and_then(operation_of).is_some() || is_optimized(resource) {
        return Ok(());
    }
    let own = OPTIMIZED.iter().flat_map(|(service, action, ways)| {
        ways.iter().map(move |way| format!("arn:aws:states:::{service}:{action}{way}"))
    });
    let own = own.filter(|known| is_optimized(known)).collect::<Vec<_>>().join(", ");
    Err(format!(
        "the embedded cloud does not implement the integration `{resource}`; it has {own} and \
         arn:aws:states:::aws-sdk:SERVICE:OPERATION for the operations that docs/coverage.md lists"
    ))
}

fn is_optimized(resource: &str) -> bool {
    let (service, action) = names(resource);
    let known = OPTIMIZED.iter().find(|(of, name, ways)| {
        *of == service
            && action.strip_prefix(name).is_some_and(|way| ways.contains(&way))
            && resource == format!("arn:aws:states:::{service}:{action}")
    });
    known.is_some_and(|(of, name, _)| {
        let service = services::find(of);
        service.is_some_and(|service| service.operation(&sdk::capital(name)).is_some())
    })
}

/// Whether a definition starts executions and waits for their end.
pub fn waits_for_executions(definition: &Value) -> bool {
    match definition {
        Value::Array(items) => items.iter().any(waits_for_executions),
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let resource = value.as_str().filter(|_| name == "Resource").unwrap_or_default();
            resource.starts_with("arn:aws:states:::states:startExecution.sync")
                || waits_for_executions(value)
        }),
        _ => false,
    }
}

/// The service and operation of `glue:startCrawler`.
fn operation_of(action: &str) -> Option<(&'static Service, &'static Operation)> {
    let (name, operation) = action.split_once(':')?;
    let is_it = |service: &&Service| sdk::service_name((service.model)()) == name;
    let service = services::all().find(is_it)?;
    let named = |o: &&Operation| sdk::capital(operation) == o.name && operation != o.name;
    Some((service, service.operations.iter().find(named)?))
}

/// `("glue", "startJobRun.sync")` of a resource.
fn names(resource: &str) -> (&str, &str) {
    resource.rsplit_once(":::").and_then(|(_, name)| name.split_once(':')).unwrap_or(("", resource))
}

impl Machine<'_> {
    /// Runs a Task, or waits on for what an earlier process began.
    pub async fn task(
        &self,
        name: &str,
        state: &Value,
        frame: &Frame,
        scope: &Scope<'_>,
        seen: Option<Seen>,
    ) -> Outcome {
        let resource = state["Resource"].as_str().unwrap_or_default();
        let (service, action) = names(resource);
        let (since, awaited) = match seen {
            Some(Seen { scheduled, awaited: Some(awaited), .. }) => (scheduled, Some(awaited)),
            _ => (self.cloud.clock.now(), None),
        };
        let callbacks = callbacks::of(self.cloud);
        let mut waiting = match &awaited {
            Some(Awaited::Token(token)) => Some(callbacks.expect_again(token.clone())),
            _ => action.ends_with(TOKEN).then(|| callbacks.expect()),
        };
        let scope = match &waiting {
            Some(waiting) => &scope.with_token(&waiting.token),
            None => scope,
        };
        let arguments = scope.fill(state.get("Arguments").unwrap_or(&Value::Null)).await?;
        limits::check_data(name, &arguments)?;
        let limit = seconds(state, scope, "TimeoutSeconds").await?;
        let heartbeat = seconds(state, scope, "HeartbeatSeconds").await?;
        let events = Events { machine: self, frame, service, action };
        let begun = match awaited {
            Some(awaited) => Some(awaited),
            None => {
                events.begun(&arguments, limit, heartbeat);
                None
            }
        };
        let work = async {
            let answer = match begun {
                Some(Awaited::Execution(arn)) => json!({ "ExecutionArn": arn }),
                Some(Awaited::Token(_)) => Value::Null,
                None => {
                    let answer = call(self.cloud, &self.caller, resource, &arguments).await?;
                    let token = waiting.as_ref().map(|waiting| waiting.token.as_str());
                    events.submitted(&answer, token);
                    answer
                }
            };
            match &mut waiting {
                Some(waiting) => waiting.end(&self.cloud.clock, heartbeat).await,
                None => end(self.cloud, &self.caller, resource, &arguments, answer).await,
            }
        };
        let result = match limit {
            Some(limit) => {
                let left = self.cloud.clock.left(since, limit);
                self.cloud.clock.within(left, work).await.unwrap_or_else(|| {
                    let cause = format!("the task took longer than {} seconds", limit.as_secs());
                    Err(Failure::new(TIMEOUT, cause))
                })
            }
            None => work.await,
        };
        let result = result.and_then(|value| limits::check_data(name, &value).map(|()| value));
        events.ended(&result);
        if let Some(waiting) = &waiting {
            callbacks.forget(&waiting.token);
        }
        result
    }
}

/// Writes the events of a task.
struct Events<'a> {
    machine: &'a Machine<'a>,
    frame: &'a Frame,
    service: &'a str,
    action: &'a str,
}

impl Events<'_> {
    /// Adds an event whose details say which task it is of; `journal` has what only this cloud
    /// reads.
    fn add(&self, kind: &str, more: Value, journal: Value) {
        let mut details = json!({ "resourceType": self.service, "resource": self.action });
        if let (Value::Object(all), Value::Object(more)) = (&mut details, more) {
            all.extend(more);
        }
        let mut event = json!({ (format!("task{kind}EventDetails")): details });
        if let (Value::Object(event), Value::Object(journal)) = (&mut event, journal) {
            event.extend(journal);
        }
        self.machine.tell(self.frame, &format!("Task{kind}"), event);
    }

    fn begun(&self, arguments: &Value, limit: Option<Duration>, heartbeat: Option<Duration>) {
        let region = &self.machine.cloud.config.region;
        let mut more = json!({ "region": region, "parameters": arguments.to_string() });
        for (field, value) in [("timeoutInSeconds", limit), ("heartbeatInSeconds", heartbeat)] {
            if let Some(value) = value {
                more[field] = value.as_secs().into();
            }
        }
        self.add("Scheduled", more, json!({}));
        self.add("Started", json!({}), json!({}));
    }

    /// A request was taken whose work goes on: the event of that, with what is waited for.
    fn submitted(&self, answer: &Value, token: Option<&str>) {
        let is_execution = self.service == "states" && self.action.contains(SYNC);
        let awaited = match (token, answer["ExecutionArn"].as_str()) {
            (Some(token), _) => Some(Awaited::Token(token.to_owned())),
            (None, Some(arn)) if is_execution => Some(Awaited::Execution(arn.to_owned())),
            _ if self.action.contains(SYNC) => None,
            _ => return,
        };
        let journal = awaited.map_or(json!({}), |awaited| json!({ "_awaited": awaited }));
        self.add("Submitted", json!({ "output": answer.to_string() }), journal);
    }

    fn ended(&self, result: &Outcome) {
        match result {
            Ok(value) => {
                self.add("Succeeded", json!({ "output": value.to_string() }), json!({}));
            }
            Err(f) => {
                // Also what a service calls a time-out has failed.
                let is_late = matches!(f.error.as_str(), TIMEOUT | "States.HeartbeatTimeout");
                let kind = if is_late { "TimedOut" } else { "Failed" };
                self.add(kind, json!({ "error": f.error, "cause": f.cause }), json!({}));
            }
        }
    }
}

/// A limit of a state, if it has it.
async fn seconds(
    state: &Value,
    scope: &Scope<'_>,
    field: &str,
) -> Result<Option<Duration>, Failure> {
    match state.get(field) {
        Some(template) => Ok(Some(scope.seconds(template, field, 1).await?)),
        None => Ok(None),
    }
}

/// Calls a service as `caller`.
async fn call(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    resource: &str,
    arguments: &Value,
) -> Result<Value, Failure> {
    let (service, action) = names(resource);
    let action = action.strip_suffix(TOKEN).unwrap_or(action);
    match (service, action.split(SYNC).next().unwrap_or(action)) {
        ("athena", "startQueryExecution") => {
            let started = athena::start(cloud, caller, arguments, athena::Origin::StateMachine);
            started.await.map_err(|e| failure("Athena", e))
        }
        ("lambda", "invoke") => invoke(cloud, caller, arguments).await,
        ("states", "startExecution") => start_execution(cloud, caller, arguments).await,
        ("events", "putEvents") => put_events(cloud, caller, arguments).await,
        ("sqs", "sendMessage") => {
            let arguments = with_text(arguments, "MessageBody");
            api(cloud, caller, "sqs", "SendMessage", &arguments).await
        }
        ("sns", "publish") => {
            api(cloud, caller, "sns", "Publish", &with_text(arguments, "Message")).await
        }
        ("aws-sdk", action) => by_sdk(cloud, caller, action, arguments).await,
        (service, action) => api(cloud, caller, service, &sdk::capital(action), arguments).await,
    }
}

/// What a task gives after `answer`: the end of the work that it began, if it waits for that.
async fn end(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    resource: &str,
    arguments: &Value,
    answer: Value,
) -> Outcome {
    match names(resource) {
        ("glue", "startJobRun.sync") => await_job(cloud, caller, arguments, &answer).await,
        ("athena", "startQueryExecution.sync") => await_query(cloud, caller, &answer).await,
        ("states", "startExecution.sync") => await_execution(cloud, caller, &answer, false).await,
        ("states", "startExecution.sync:2") => await_execution(cloud, caller, &answer, true).await,
        _ => Ok(answer),
    }
}

/// Calls an operation; errors are named as Step Functions names them.
async fn api(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    service: &str,
    operation: &str,
    params: &Value,
) -> Result<Value, Failure> {
    let answer = service::call(cloud, caller, service, operation, params).await;
    answer.map_err(|error| {
        let name = match service {
            "dynamodb" => "DynamoDB".to_owned(),
            "sqs" => "SQS".to_owned(),
            "states" => "StepFunctions".to_owned(),
            "events" => "EventBridge".to_owned(),
            other => sdk::capital(other),
        };
        failure(&name, error)
    })
}

/// Arguments in which a member is text, as JSON when it was given as a value.
fn with_text(arguments: &Value, member: &str) -> Value {
    let mut arguments = arguments.clone();
    if !arguments[member].is_string() && !arguments[member].is_null() {
        arguments[member] = arguments[member].to_string().into();
    }
    arguments
}

async fn put_events(cloud: &Arc<Cloud>, caller: &Caller, arguments: &Value) -> Outcome {
    let mut arguments = arguments.clone();
    for entry in arguments["Entries"].as_array_mut().into_iter().flatten() {
        *entry = with_text(entry, "Detail");
    }
    let answer = api(cloud, caller, "events", "PutEvents", &arguments).await?;
    match answer["FailedEntryCount"].as_u64() {
        Some(0) | None => Ok(answer),
        Some(_) => Err(Failure::new("EventBridge.FailedEntry", answer.to_string())),
    }
}

/// Starts an execution; its input may be a value.
async fn start_execution(cloud: &Arc<Cloud>, caller: &Caller, arguments: &Value) -> Outcome {
    let mut params = json!({});
    for (name, value) in arguments.as_object().into_iter().flatten() {
        let own = match name.as_str() {
            "StateMachineArn" => "stateMachineArn",
            "Name" => "name",
            "Input" => "input",
            other => {
                let cause = format!("The field \"{other}\" is not supported by Step Functions");
                return Err(Failure::new("States.Runtime", cause));
            }
        };
        params[own] = value.clone();
    }
    let params = with_text(&params, "input");
    let started = api(cloud, caller, "states", "StartExecution", &params).await?;
    Ok(json!({ "ExecutionArn": started["executionArn"], "StartDate": started["startDate"] }))
}

/// Waits for the end of an execution; its data are texts unless they are to be `parsed`.
async fn await_execution(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    started: &Value,
    parsed: bool,
) -> Outcome {
    let arn = started["ExecutionArn"].as_str().unwrap_or_default();
    // A stopped execution stops those that it waits for.
    let _stop = StopOnDrop { stop: executions::stop_child, cloud, id: arn };
    let params = json!({ "executionArn": arn });
    loop {
        let child = api(cloud, caller, "states", "DescribeExecution", &params).await?;
        if child["status"] != "RUNNING" {
            return ended(&child, parsed);
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What a task gives that waited for an execution.
fn ended(child: &Value, parsed: bool) -> Outcome {
    let mut out = json!({});
    for (name, value) in child.as_object().into_iter().flatten() {
        let value = match (name.as_str(), value.as_str()) {
            ("input" | "output", Some(text)) if parsed => {
                serde_json::from_str(text).unwrap_or_else(|_| value.clone())
            }
            ("startDate" | "stopDate", _) => {
                let millis = value.as_f64().unwrap_or_default() * 1_000.0;
                (millis.round() as i64).into()
            }
            _ => value.clone(),
        };
        out[sdk::capital(name)] = value;
    }
    if child["status"] == "SUCCEEDED" {
        return Ok(out);
    }
    Err(Failure::new("States.TaskFailed", out.to_string()))
}

/// `Glue.ConcurrentRunsExceededException`, as Step Functions names errors of services.
fn failure(service: &str, error: ApiError) -> Failure {
    let code = if error.code.ends_with("Exception") {
        error.code
    } else {
        format!("{}Exception", error.code)
    };
    Failure::new(&format!("{service}.{code}"), error.message)
}

/// An operation by the integration with AWS's SDK.
async fn by_sdk(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    action: &str,
    arguments: &Value,
) -> Result<Value, Failure> {
    let Some((service, operation)) = operation_of(action) else {
        let cause = format!("the integration `aws-sdk:{action}` is not implemented");
        return Err(Failure::new("States.Runtime", cause));
    };
    let (model, none) = ((service.model)(), Structure::default());
    let input = model.input(operation.name).unwrap_or(&none);
    let params = sdk::arguments(model, input, arguments).map_err(|member| {
        let cause = format!("The field \"{member}\" is not supported by Step Functions");
        Failure::new("States.Runtime", cause)
    })?;
    let answer = service::call(cloud, caller, service.id, operation.name, &params).await;
    let answer = answer.map_err(|error| failure(&sdk::class_name(model), error))?;
    Ok(sdk::result(model, model.output(operation.name).unwrap_or(&none), &answer))
}

async fn await_job(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    arguments: &Value,
    started: &Value,
) -> Outcome {
    let params = json!({ "JobName": arguments["JobName"], "RunId": started["JobRunId"] });
    // A stopped execution stops its job.
    let id = started["JobRunId"].as_str().unwrap_or_default();
    let _stop = StopOnDrop { stop: glue::stop, cloud, id };
    loop {
        let answer = api(cloud, caller, "glue", "GetJobRun", &params).await?;
        let run = &answer["JobRun"];
        match run["JobRunState"].as_str() {
            Some("STARTING" | "RUNNING") => tokio::time::sleep(POLL).await,
            Some("SUCCEEDED") => return Ok(run.clone()),
            _ => return Err(Failure::new("States.TaskFailed", run.to_string())),
        }
    }
}

struct StopOnDrop<'a> {
    stop: fn(&Cloud, &str),
    cloud: &'a Cloud,
    id: &'a str,
}

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        // Does nothing to what has ended.
        (self.stop)(self.cloud, self.id);
    }
}

async fn await_query(cloud: &Arc<Cloud>, caller: &Caller, started: &Value) -> Outcome {
    // A stopped execution stops its query.
    let _stop = StopOnDrop {
        stop: athena::stop,
        cloud,
        id: started["QueryExecutionId"].as_str().unwrap_or_default(),
    };
    loop {
        let answer = api(cloud, caller, "athena", "GetQueryExecution", started).await?;
        match answer["QueryExecution"]["Status"]["State"].as_str() {
            Some("QUEUED" | "RUNNING") => tokio::time::sleep(POLL).await,
            Some("SUCCEEDED") => return Ok(answer),
            _ => {
                return Err(Failure::new(
                    "States.TaskFailed",
                    answer["QueryExecution"].to_string(),
                ));
            }
        }
    }
}

async fn invoke(cloud: &Arc<Cloud>, caller: &Caller, arguments: &Value) -> Result<Value, Failure> {
    let name = arguments["FunctionName"].as_str().unwrap_or_default();
    let payload = arguments["Payload"].to_string();
    let invoked = lambda::invoke(cloud, caller, name, payload.into())
        .await
        .map_err(|e| failure("Lambda", e))?;
    let payload: Value = serde_json::from_slice(&invoked.payload).unwrap_or(Value::Null);
    if invoked.function_error.is_some() {
        let error = payload["errorType"].as_str().unwrap_or("Lambda.Unknown");
        return Err(Failure::new(error, payload.to_string()));
    }
    Ok(json!({ "ExecutedVersion": invoked.version, "Payload": payload, "StatusCode": 200 }))
}
