//! Service integrations of Task states.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::interpreter::{Failure, Frame, Machine, Outcome, Scope};
use super::limits;
use crate::kernel::service::{self};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::ApiError;
use crate::kernel::identity::Caller;
use crate::services::{athena, glue, lambda};

/// Pause between looks at a job that runs in this very process.
const POLL: Duration = Duration::from_millis(10);

const RESOURCES: [&str; 10] = [
    "arn:aws:states:::glue:startJobRun.sync",
    "arn:aws:states:::aws-sdk:glue:startCrawler",
    "arn:aws:states:::aws-sdk:glue:getCrawler",
    "arn:aws:states:::aws-sdk:glue:createPartition",
    "arn:aws:states:::aws-sdk:glue:batchCreatePartition",
    "arn:aws:states:::aws-sdk:sfn:describeExecution",
    "arn:aws:states:::athena:startQueryExecution.sync",
    "arn:aws:states:::athena:getQueryResults",
    "arn:aws:states:::lambda:invoke",
    "arn:aws:states:::sns:publish",
];

/// Times in results of the integration with AWS's SDK.
const TIMES: [&str; 3] =
    ["/Crawler/CreationTime", "/Crawler/LastUpdated", "/Crawler/LastCrawl/StartTime"];

/// Whether a resource is implemented.
pub fn check(resource: &str) -> Result<(), String> {
    if RESOURCES.contains(&resource) {
        return Ok(());
    }
    Err(format!(
        "the embedded cloud does not implement the integration `{resource}`; it has {}",
        RESOURCES.join(", ")
    ))
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
            Some(limit) => tokio::time::timeout(limit, call).await.unwrap_or_else(|_| {
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
        ("aws-sdk", action) => sdk(cloud, caller, action, arguments).await,
        (service, action) => api(cloud, caller, service, &pascal(action), arguments).await,
    }
}

/// `startJobRun` as the API has it.
fn pascal(name: &str) -> String {
    let mut characters = name.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
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
    answer.map_err(|error| failure(&pascal(service), error))
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

/// Seconds since 1970 as a text.
fn as_text(time: &mut Value) {
    if let Some(seconds) = time.as_f64()
        && let Ok(moment) = Timestamp::from_millisecond((seconds * 1000.0).round() as i64)
    {
        *time = iso(moment).into();
    }
}

/// An operation by the integration with AWS's SDK: members of arguments and results begin with
/// capitals whatever the service has, and times are texts.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html>
async fn sdk(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    action: &str,
    arguments: &Value,
) -> Result<Value, Failure> {
    let (service, operation) = action.split_once(':').unwrap_or(("", action));
    if service == "sfn" {
        return describe_execution(cloud, caller, arguments).await;
    }
    let mut result = api(cloud, caller, service, &pascal(operation), arguments).await?;
    for at in TIMES {
        if let Some(time) = result.pointer_mut(at) {
            as_text(time);
        }
    }
    Ok(result)
}

async fn describe_execution(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    arguments: &Value,
) -> Result<Value, Failure> {
    let members = arguments.as_object().into_iter().flatten();
    if let Some((other, _)) = members.clone().find(|(name, _)| *name != "ExecutionArn") {
        let cause = format!("The field \"{other}\" is not supported by Step Functions");
        return Err(Failure::new("States.Runtime", cause));
    }
    let params = json!({ "executionArn": arguments["ExecutionArn"] });
    let described = service::call(cloud, caller, "states", "DescribeExecution", &params).await;
    let mut described = described.map_err(|error| failure("Sfn", error))?;
    for time in ["startDate", "stopDate", "redriveDate"] {
        as_text(&mut described[time]);
    }
    let Value::Object(members) = described else { return Ok(described) };
    let given = members.into_iter().filter(|(_, value)| !value.is_null());
    Ok(given.map(|(name, value)| (pascal(&name), value)).collect())
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
    let invoked =
        lambda::invoke(cloud, caller, name, payload.into()).await.map_err(|e| failure("Lambda", e))?;
    let payload: Value = serde_json::from_slice(&invoked.payload).unwrap_or(Value::Null);
    if invoked.function_error.is_some() {
        let error = payload["errorType"].as_str().unwrap_or("Lambda.Unknown");
        return Err(Failure::new(error, payload.to_string()));
    }
    Ok(json!({ "ExecutedVersion": "$LATEST", "Payload": payload, "StatusCode": 200 }))
}
