//! Service integrations of Task states.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::interpreter::{Failure, Frame, Machine, Outcome, Scope};
use super::limits;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::ApiError;
use crate::kernel::identity::Caller;
use crate::kernel::model::{Structure, sdk};
use crate::kernel::service::{self, Operation, Service};
use crate::services::{self, athena, glue, lambda};

/// Pause between looks at a job that runs in this very process.
const POLL: Duration = Duration::from_millis(10);

/// Integrations of their own; every operation that is here can be called by `aws-sdk` besides.
const OPTIMIZED: [&str; 5] = [
    "arn:aws:states:::glue:startJobRun.sync",
    "arn:aws:states:::athena:startQueryExecution.sync",
    "arn:aws:states:::athena:getQueryResults",
    "arn:aws:states:::lambda:invoke",
    "arn:aws:states:::sns:publish",
];

/// Whether a resource is implemented.
pub fn check(resource: &str) -> Result<(), String> {
    let by_sdk = resource.strip_prefix("arn:aws:states:::aws-sdk:").and_then(operation_of);
    if OPTIMIZED.contains(&resource) || by_sdk.is_some() {
        return Ok(());
    }
    Err(format!(
        "the embedded cloud does not implement the integration `{resource}`; it has {} and \
         arn:aws:states:::aws-sdk:SERVICE:OPERATION for the operations that docs/coverage.md lists",
        OPTIMIZED.join(", ")
    ))
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
    /// Runs a Task.
    pub async fn task(
        &self,
        name: &str,
        state: &Value,
        frame: &Frame,
        scope: &Scope<'_>,
    ) -> Outcome {
        let resource = state["Resource"].as_str().unwrap_or_default();
        let (service, action) = names(resource);
        let arguments = scope.fill(state.get("Arguments").unwrap_or(&Value::Null)).await?;
        limits::check_data(name, &arguments)?;
        let limit = match state.get("TimeoutSeconds") {
            Some(template) => Some(scope.seconds(template, "TimeoutSeconds", 1).await?),
            None => None,
        };
        let details = json!({ "resourceType": service, "resource": action });
        let with = |more: Value| {
            let mut all = details.clone();
            if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
                all.extend(more);
            }
            all
        };
        let scheduled = with(json!({
            "region": self.cloud.config.region, "parameters": arguments.to_string(),
        }));
        self.tell(frame, "TaskScheduled", json!({ "taskScheduledEventDetails": scheduled }));
        self.tell(frame, "TaskStarted", json!({ "taskStartedEventDetails": details }));
        let call = call(self.cloud, &self.caller, resource, &arguments);
        let result = match limit {
            Some(limit) => self.cloud.clock.within(limit, call).await.unwrap_or_else(|| {
                let cause = format!("the task took longer than {} seconds", limit.as_secs());
                Err(Failure::new("States.Timeout", cause))
            }),
            None => call.await,
        };
        let result = result.and_then(|value| limits::check_data(name, &value).map(|()| value));
        match &result {
            Ok(value) => {
                let details = with(json!({ "output": value.to_string() }));
                self.tell(frame, "TaskSucceeded", json!({ "taskSucceededEventDetails": details }));
            }
            Err(f) => {
                let details = with(json!({ "error": f.error, "cause": f.cause }));
                self.tell(frame, "TaskFailed", json!({ "taskFailedEventDetails": details }));
            }
        }
        result
    }
}

/// Calls a service as `caller` and waits for the result.
async fn call(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    resource: &str,
    arguments: &Value,
) -> Result<Value, Failure> {
    match names(resource) {
        ("glue", "startJobRun.sync") => run_job(cloud, caller, arguments).await,
        ("athena", "startQueryExecution.sync") => run_query(cloud, caller, arguments).await,
        ("lambda", "invoke") => invoke(cloud, caller, arguments).await,
        ("aws-sdk", action) => by_sdk(cloud, caller, action, arguments).await,
        (service, action) => api(cloud, caller, service, &sdk::capital(action), arguments).await,
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
    answer.map_err(|error| failure(&sdk::capital(service), error))
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

async fn run_job(cloud: &Arc<Cloud>, caller: &Caller, arguments: &Value) -> Result<Value, Failure> {
    let started = api(cloud, caller, "glue", "StartJobRun", arguments).await?;
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

async fn run_query(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    arguments: &Value,
) -> Result<Value, Failure> {
    let started = athena::start(cloud, caller, arguments, athena::Origin::StateMachine)
        .await
        .map_err(|e| failure("Athena", e))?;
    // A stopped execution stops its query.
    let _stop = StopOnDrop {
        stop: athena::stop,
        cloud,
        id: started["QueryExecutionId"].as_str().unwrap_or_default(),
    };
    loop {
        let answer = api(cloud, caller, "athena", "GetQueryExecution", &started).await?;
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
    Ok(json!({ "ExecutedVersion": "$LATEST", "Payload": payload, "StatusCode": 200 }))
}
