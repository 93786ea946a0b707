//! State machines of an embedded cloud within the test's own process, with a bucket and a role.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use steppe_cloud::kernel::cloud::{Cloud, Config};
use steppe_cloud::kernel::service;
use steppe_cloud::services::states::{self, Execution, StateMachine};

use tempfile::TempDir;

use crate::catalogued::{BUCKET, Catalogued};
use crate::tools::binary;

/// A cloud with the state machine `m`.
pub struct Machines(Catalogued);

impl Deref for Machines {
    type Target = Catalogued;
    fn deref(&self) -> &Catalogued {
        &self.0
    }
}

/// What AWS documents as the least that a distributed Map needs, with a reader and a writer in the
/// bucket, and the redrive of it.
/// <https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html>
pub fn least() -> Vec<Value> {
    let states = |kind: &str| format!("arn:aws:states:us-east-1:000000000000:{kind}");
    vec![
        allow(&["states:StartExecution"], states("stateMachine:m")),
        allow(&["states:DescribeExecution"], states("execution:m:*")),
        allow(&["states:RedriveExecution"], states("execution:m/*")),
        allow(&["s3:GetObject"], format!("arn:aws:s3:::{BUCKET}/in/*")),
        allow(&["s3:ListBucket"], format!("arn:aws:s3:::{BUCKET}")),
        allow(
            &[
                "s3:PutObject",
                "s3:GetObject",
                "s3:ListMultipartUploadParts",
                "s3:AbortMultipartUpload",
            ],
            format!("arn:aws:s3:::{BUCKET}/out/*"),
        ),
        allow(&["glue:*"], "*".to_owned()),
    ]
}

fn allow(actions: &[&str], resource: String) -> Value {
    json!({ "Effect": "Allow", "Action": actions, "Resource": resource })
}

/// States in JSONata, from the first one's name.
pub fn definition(start: &str, states: Value) -> Value {
    json!({ "QueryLanguage": "JSONata", "StartAt": start, "States": states })
}

/// A distributed Map with these further fields over a processor of these states, from `A`.
pub fn distributed(states: Value, more: Value) -> Value {
    let mut map = json!({
        "Type": "Map", "Label": "items",
        "ItemProcessor": {
            "ProcessorConfig": { "Mode": "DISTRIBUTED", "ExecutionType": "STANDARD" },
            "StartAt": "A", "States": states,
        },
    });
    for (name, value) in more.as_object().expect("fields") {
        map[name] = value.clone();
    }
    if map.get("Next").is_none() {
        map["End"] = true.into();
    }
    map
}

/// Calls Step Functions as the administrator.
pub async fn call(cloud: &Arc<Cloud>, operation: &str, params: Value) -> Result<Value, String> {
    let administrator = cloud.identities.administrator();
    service::call(cloud, &administrator, "states", operation, &params)
        .await
        .map_err(|e| e.to_string())
}

/// Waits until an execution is not running.
pub async fn ended(cloud: &Arc<Cloud>, arn: &str) -> Execution {
    for _ in 0..6_000 {
        let execution = cloud.services.states.executions.get(arn).expect("the execution");
        if execution.stopped.is_some() {
            return (*execution).clone();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the execution does not end");
}

/// All events of an execution.
pub async fn history(cloud: &Arc<Cloud>, arn: &str) -> Vec<Value> {
    let params = json!({ "executionArn": arn, "maxResults": 1_000 });
    let history = call(cloud, "GetExecutionHistory", params).await.expect("a history");
    history["events"].as_array().cloned().unwrap_or_default()
}

/// The types of all events of an execution.
pub async fn events(cloud: &Arc<Cloud>, arn: &str) -> Vec<String> {
    let kind = |event: &Value| event["type"].as_str().unwrap_or_default().to_owned();
    history(cloud, arn).await.iter().map(kind).collect()
}

/// The one Map Run of an execution, described.
pub async fn map_run(cloud: &Arc<Cloud>, execution: &str) -> Value {
    let params = json!({ "executionArn": execution });
    let runs = call(cloud, "ListMapRuns", params).await.expect("a list");
    let runs = runs["mapRuns"].as_array().expect("runs");
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(runs[0]["executionArn"], execution);
    let params = json!({ "mapRunArn": runs[0]["mapRunArn"] });
    call(cloud, "DescribeMapRun", params).await.expect("described")
}

/// The children of a Map Run, as they are listed.
pub async fn children(cloud: &Arc<Cloud>, run: &Value, more: Value) -> Vec<Value> {
    let mut params = json!({ "mapRunArn": run["mapRunArn"] });
    for (name, value) in more.as_object().expect("members") {
        params[name] = value.clone();
    }
    let list = call(cloud, "ListExecutions", params).await.expect("a list");
    list["executions"].as_array().cloned().expect("executions")
}

impl Machines {
    /// With the permissions of [`least`].
    pub async fn new(definition: Value) -> Self {
        Self::allowed(definition, &least()).await
    }

    /// With these permissions.
    pub async fn allowed(definition: Value, statements: &[Value]) -> Self {
        let own = Self(Catalogued::start().await);
        own.may(statements);
        own.define(definition);
        own
    }

    /// Gives the machine's role other permissions.
    pub fn may(&self, statements: &[Value]) {
        self.role("machine", "states.amazonaws.com", &json!(statements));
    }

    /// Gives the machine another definition.
    pub fn define(&self, definition: Value) {
        assert_eq!(states::check(&definition), Ok(()));
        let machine = StateMachine {
            name: "m".to_owned(),
            role: "arn:aws:iam::000000000000:role/machine".to_owned(),
            definition,
            created: jiff::Timestamp::now(),
        };
        self.cloud.services.states.machines.put(&self.arn(), machine).expect("stored");
    }

    /// Another cloud on what the disk has at this moment: what a killed process leaves, down to a
    /// last event of which only half was written.
    pub fn left(&self) -> (TempDir, Arc<Cloud>) {
        let left = TempDir::new().expect("a folder");
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .arg(self.state.path().join("."))
            .arg(left.path())
            .status();
        assert!(copied.expect("cp runs").success());
        for file in std::fs::read_dir(left.path().join("executions")).expect("histories") {
            let path = file.expect("a file").path();
            if !path.to_string_lossy().ends_with(".run.ndjson") {
                let mut bytes = std::fs::read(&path).expect("a history");
                bytes.extend(b"{\"type\":\"Pass");
                std::fs::write(&path, bytes).expect("written");
            }
        }
        let config = Config {
            state_dir: left.path().canonicalize().expect("a path"),
            engine: binary("steppe-etl"),
            ..self.cloud.config.clone()
        };
        let cloud = Cloud::open(config).expect("opens");
        states::resume(&cloud);
        (left, cloud)
    }

    /// ARN of the machine.
    pub fn arn(&self) -> String {
        self.cloud.config.arn("states", "stateMachine:m")
    }

    /// Starts an execution; its ARN.
    pub async fn begin(&self, input: Value) -> String {
        let params = json!({ "stateMachineArn": self.arn(), "input": input.to_string() });
        let started = call(&self.cloud, "StartExecution", params).await.expect("started");
        started["executionArn"].as_str().expect("an ARN").to_owned()
    }

    /// Runs an execution to its end.
    pub async fn run(&self, input: Value) -> (String, Execution) {
        let arn = self.begin(input).await;
        let ended = ended(&self.cloud, &arn).await;
        (arn, ended)
    }

    /// Redrives an execution to its end.
    pub async fn redrive(&self, arn: &str) -> Execution {
        let params = json!({ "executionArn": arn });
        call(&self.cloud, "RedriveExecution", params).await.expect("redriven");
        ended(&self.cloud, arn).await
    }

    /// An object as JSON.
    pub fn json(&self, key: &str) -> Value {
        let bytes =
            self.cloud.services.s3.read(BUCKET, key).unwrap_or_else(|e| panic!("{key}: {e}"));
        serde_json::from_slice(&bytes).expect("JSON")
    }
}

/// Error and cause of an execution.
pub fn failure(execution: &Execution) -> (&str, &str, &str) {
    let (error, cause) = execution.failure.as_ref().expect("a failure");
    (&execution.status, error, cause)
}
