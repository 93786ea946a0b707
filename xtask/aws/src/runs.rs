//! Things that run: executions of state machines, invocations of functions.

use aws_sdk_lambda::primitives::Blob;
use serde_json::{Value, json};
use steppe_plan::status::{ExecutionStatus, UnknownStatus};

use crate::single::{Service, members, text};
use crate::{Aws, AwsError, Result};

pub(crate) const STATES: Service = Service::json("states", "AWSStepFunctions", "1.0");

/// An execution as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutionView {
    /// How far it is.
    pub status: ExecutionStatus,
    /// Output of a success.
    pub output: Option<Value>,
    /// Error and cause of a failure.
    pub failure: Option<(String, String)>,
}

/// An event of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEvent {
    /// What it tells of a state, if it does.
    pub passed: Option<Passed>,
}

/// What an execution did with a state, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// It was entered.
    Entered(String),
    /// It was left.
    Left(String),
}

/// What a function answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// The payload.
    pub payload: Value,
    /// Whether the function failed.
    pub failed: bool,
}

impl Aws {
    /// Starts an execution; returns its ARN.
    pub async fn start_execution(&self, machine: &str, input: &Value) -> Result<String> {
        let call = "states:StartExecution";
        // With a name, a call that is made again after a lost answer starts no second run.
        let name = uuid::Uuid::new_v4().to_string();
        let input = input.to_string();
        let asked = json!({ "stateMachineArn": machine, "name": name, "input": input });
        let started = self.json(call, &STATES, asked).await?;
        text(&started["executionArn"]).ok_or_else(|| AwsError::local(call, "the answer has no ARN"))
    }

    /// Input of the newest execution that succeeded; `None` when there is none.
    pub async fn newest_success(&self, machine: &str) -> Result<Option<Value>> {
        let asked = json!({
            "stateMachineArn": machine,
            "statusFilter": "SUCCEEDED",
            "maxResults": 1,
        });
        let answer = self.json("states:ListExecutions", &STATES, asked).await?;
        let Some(newest) = members(&answer["executions"]).next() else { return Ok(None) };
        // It is forgotten after ninety days.
        let told = self.described(&newest["executionArn"]).await?;
        Ok(told.and_then(|told| serde_json::from_str(told["input"].as_str()?).ok()))
    }

    /// ARN and state of the newest execution; `None` when there is none.
    pub async fn newest_execution(
        &self,
        machine: &str,
    ) -> Result<Option<(String, ExecutionStatus)>> {
        let call = "states:ListExecutions";
        let asked = json!({ "stateMachineArn": machine, "maxResults": 1 });
        let answer = self.json(call, &STATES, asked).await?;
        let Some(newest) = members(&answer["executions"]).next() else { return Ok(None) };
        let unknown = |e: UnknownStatus| AwsError::local(call, e.to_string());
        let status = newest["status"].as_str().unwrap_or_default().parse().map_err(unknown)?;
        let no_arn = || AwsError::local(call, "the answer has no ARN");
        Ok(Some((text(&newest["executionArn"]).ok_or_else(no_arn)?, status)))
    }

    /// Goes on with an execution that has ended without success.
    pub async fn redrive_execution(&self, arn: &str) -> Result<()> {
        // With a token, a call that is made again after a lost answer redrives once.
        let token = uuid::Uuid::new_v4().to_string();
        let asked = json!({ "executionArn": arn, "clientToken": token });
        self.json("states:RedriveExecution", &STATES, asked).await.map(drop)
    }

    /// What the service tells of an execution; `None` when it does not know it.
    async fn described(&self, arn: &Value) -> Result<Option<Value>> {
        let asked = json!({ "executionArn": arn });
        match self.json("states:DescribeExecution", &STATES, asked).await {
            Ok(told) => Ok(Some(told)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stops every running execution of a state machine; returns how many there were. A machine
    /// that is gone runs nothing.
    pub async fn stop_executions(&self, machine: &str) -> Result<usize> {
        let asked = json!({ "stateMachineArn": machine, "statusFilter": "RUNNING" });
        let mut running = Vec::new();
        let take = |page: Value| {
            running.extend(members(&page["executions"]).map(|e| e["executionArn"].clone()));
            true
        };
        match self.json_pages("states:ListExecutions", &STATES, asked, "nextToken", take).await {
            Err(error) if error.is_not_found() => return Ok(0),
            listed => listed?,
        }
        for execution in &running {
            let cause = "the deployment is destroyed";
            let asked = json!({ "executionArn": execution, "cause": cause });
            match self.json("states:StopExecution", &STATES, asked).await {
                Err(error) if !error.is_not_found() => return Err(error),
                // It ended by itself, or is gone with its machine.
                _ => {}
            }
        }
        Ok(running.len())
    }

    /// How far an execution is; `None` when it is not known.
    pub async fn execution(&self, arn: &str) -> Result<Option<ExecutionView>> {
        let Some(told) = self.described(&json!(arn)).await? else { return Ok(None) };
        let output = told["output"].as_str().and_then(|o| serde_json::from_str(o).ok());
        let cause = || text(&told["cause"]).unwrap_or_default();
        let failure = text(&told["error"]).map(|error| (error, cause()));
        let unknown = |e: UnknownStatus| AwsError::local("states:DescribeExecution", e.to_string());
        let status = told["status"].as_str().unwrap_or_default().parse().map_err(unknown)?;
        Ok(Some(ExecutionView { status, output, failure }))
    }

    /// The whole history of an execution.
    pub async fn history(&self, arn: &str) -> Result<Vec<HistoryEvent>> {
        let mut events = Vec::new();
        let take = |page: Value| {
            events.extend(members(&page["events"]).map(|event| {
                let state = |details: &str| text(&event[details]["name"]);
                let entered = state("stateEnteredEventDetails").map(Passed::Entered);
                let left = || state("stateExitedEventDetails").map(Passed::Left);
                HistoryEvent { passed: entered.or_else(left) }
            }));
            true
        };
        let asked = json!({ "executionArn": arn, "maxResults": 1_000 });
        let call = "states:GetExecutionHistory";
        self.json_pages(call, &STATES, asked, "nextToken", take).await?;
        Ok(events)
    }

    /// The definition of a state machine.
    pub async fn definition(&self, machine: &str) -> Result<Value> {
        let call = "states:DescribeStateMachine";
        let told = self.json(call, &STATES, json!({ "stateMachineArn": machine })).await?;
        serde_json::from_str(told["definition"].as_str().unwrap_or_default())
            .map_err(|e| AwsError::local(call, e.to_string()))
    }

    /// Invokes a function and waits for the answer.
    pub async fn invoke(&self, function: &str, payload: &Value) -> Result<Invocation> {
        let request =
            self.lambda.invoke().function_name(function).payload(Blob::new(payload.to_string()));
        let answer = request.send().await.map_err(|e| AwsError::new("lambda:InvokeFunction", e))?;
        let bytes = answer.payload.map(Blob::into_inner).unwrap_or_default();
        let payload = serde_json::from_slice(&bytes).map_err(|e| {
            AwsError::local("lambda:InvokeFunction", format!("the answer is not JSON: {e}"))
        })?;
        Ok(Invocation { payload, failed: answer.function_error.is_some() })
    }
}
