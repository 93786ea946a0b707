//! Service integrations of Task states.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::interpreter::{Failure, Frame, Machine, Outcome, Scope};
use super::limits;
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::ApiError;
use crate::kernel::identity::Caller;
use crate::services::{athena, glue, lambda, sns};

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
        ("aws-sdk", "glue:startCrawler") => sdk(cloud, caller, "StartCrawler", arguments).await,
        ("aws-sdk", "glue:getCrawler") => sdk(cloud, caller, "GetCrawler", arguments).await,
        ("aws-sdk", "glue:createPartition") => {
            sdk(cloud, caller, "CreatePartition", arguments).await
        }
        ("aws-sdk", "glue:batchCreatePartition") => {
            sdk(cloud, caller, "BatchCreatePartition", arguments).await
        }
        ("aws-sdk", "sfn:describeExecution") => describe_execution(cloud, caller, arguments),
        ("athena", "startQueryExecution.sync") => run_query(cloud, caller, arguments).await,
        ("athena", "getQueryResults") => {
            athena::results(cloud, caller, arguments).map_err(|e| api("Athena", e))
        }
        ("lambda", "invoke") => invoke(cloud, caller, arguments).await,
        ("sns", "publish") => sns::publish(cloud, caller, arguments).map_err(|e| api("Sns", e)),
        _ => Err(Failure::new(
            "States.Runtime",
            format!("the integration `{resource}` is not implemented"),
        )),
    }
}

/// `Glue.ConcurrentRunsExceededException`, as Step Functions names errors of services.
fn api(service: &str, error: ApiError) -> Failure {
    let code = if error.code.ends_with("Exception") {
        error.code
    } else {
        format!("{}Exception", error.code)
    };
    Failure::new(&format!("{service}.{code}"), error.message)
}

/// Of the integration with AWS's SDK, members of arguments and results begin with capitals whatever
/// the service has, and times are texts.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html>
fn describe_execution(cloud: &Cloud, caller: &Caller, arguments: &Value) -> Result<Value, Failure> {
    let members = arguments.as_object().into_iter().flatten();
    if let Some((other, _)) = members.clone().find(|(name, _)| *name != "ExecutionArn") {
        let cause = format!("The field \"{other}\" is not supported by Step Functions");
        return Err(Failure::new("States.Runtime", cause));
    }
    let params = json!({ "executionArn": arguments["ExecutionArn"] });
    let mut described =
        super::describe_execution(cloud, caller, &params).map_err(|e| api("Sfn", e))?;
    for time in ["startDate", "stopDate", "redriveDate"] {
        as_text(&mut described[time]);
    }
    let capital = |(name, value): (String, Value)| {
        let (first, rest) = name.split_at(1);
        (first.to_uppercase() + rest, value)
    };
    let Value::Object(members) = described else { return Ok(described) };
    Ok(members.into_iter().filter(|(_, value)| !value.is_null()).map(capital).collect())
}

/// Seconds since 1970 as a text.
fn as_text(time: &mut Value) {
    if let Some(seconds) = time.as_f64()
        && let Ok(moment) = Timestamp::from_millisecond((seconds * 1000.0).round() as i64)
    {
        *time = iso(moment).into();
    }
}

/// An operation of Glue by the integration with AWS's SDK, whose errors have the service's names
/// and whose results have times as texts.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html>
async fn sdk(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    operation: &str,
    arguments: &Value,
) -> Result<Value, Failure> {
    let result = glue::handle(cloud, caller, operation, arguments).await;
    let mut result = result.map_err(|e| api("Glue", e))?;
    for at in TIMES {
        if let Some(time) = result.pointer_mut(at) {
            as_text(time);
        }
    }
    Ok(result)
}

async fn run_job(cloud: &Arc<Cloud>, caller: &Caller, arguments: &Value) -> Result<Value, Failure> {
    let started = glue::start(cloud, caller, arguments).map_err(|e| api("Glue", e))?;
    let params = json!({ "JobName": arguments["JobName"], "RunId": started["JobRunId"] });
    // A stopped execution stops its job.
    let id = started["JobRunId"].as_str().unwrap_or_default();
    let _stop = StopOnDrop { stop: glue::stop, cloud, id };
    loop {
        let answer =
            glue::handle(cloud, caller, "GetJobRun", &params).await.map_err(|e| api("Glue", e))?;
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
        .map_err(|e| api("Athena", e))?;
    // A stopped execution stops its query.
    let _stop = StopOnDrop {
        stop: athena::stop,
        cloud,
        id: started["QueryExecutionId"].as_str().unwrap_or_default(),
    };
    loop {
        let answer = athena::handle(cloud, caller, "GetQueryExecution", &started)
            .await
            .map_err(|e| api("Athena", e))?;
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
        lambda::invoke(cloud, caller, name, payload.into()).await.map_err(|e| api("Lambda", e))?;
    let payload: Value = serde_json::from_slice(&invoked.payload).unwrap_or(Value::Null);
    if invoked.function_error.is_some() {
        let error = payload["errorType"].as_str().unwrap_or("Lambda.Unknown");
        return Err(Failure::new(error, payload.to_string()));
    }
    Ok(json!({ "ExecutedVersion": "$LATEST", "Payload": payload, "StatusCode": 200 }))
}
