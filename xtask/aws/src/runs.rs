//! Things that run: executions of state machines, invocations of functions.

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_sfn::types::ExecutionStatus as SdkStatus;
use serde_json::Value;
use steppe_plan::status::{ExecutionStatus, UnknownStatus};

use crate::{Aws, AwsError, Result};

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
        let request =
            self.states.start_execution().state_machine_arn(machine).input(input.to_string());
        Ok(request
            .send()
            .await
            .map_err(|e| AwsError::new("states:StartExecution", e))?
            .execution_arn)
    }

    /// Input of the newest execution that succeeded; `None` when there is none.
    pub async fn newest_success(&self, machine: &str) -> Result<Option<Value>> {
        let request = self
            .states
            .list_executions()
            .state_machine_arn(machine)
            .status_filter(SdkStatus::Succeeded)
            .max_results(1);
        let answer = request.send().await.map_err(|e| AwsError::new("states:ListExecutions", e))?;
        let Some(newest) = answer.executions.first() else { return Ok(None) };
        let request = self.states.describe_execution().execution_arn(&newest.execution_arn);
        match request.send().await.map_err(|e| AwsError::new("states:DescribeExecution", e)) {
            Ok(told) => Ok(told.input.and_then(|input| serde_json::from_str(&input).ok())),
            // It is forgotten after ninety days.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stops every running execution of a state machine; returns how many there were. A machine
    /// that is gone runs nothing.
    pub async fn stop_executions(&self, machine: &str) -> Result<usize> {
        let mut pages = self
            .states
            .list_executions()
            .state_machine_arn(machine)
            .status_filter(SdkStatus::Running)
            .into_paginator()
            .send();
        let mut running = Vec::new();
        while let Some(page) = pages.next().await {
            match page.map_err(|e| AwsError::new("states:ListExecutions", e)) {
                Ok(page) => running.extend(page.executions.into_iter().map(|e| e.execution_arn)),
                Err(error) if error.is_not_found() => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        for execution in &running {
            let stop = self
                .states
                .stop_execution()
                .execution_arn(execution)
                .cause("the deployment is destroyed");
            match stop.send().await.map_err(|e| AwsError::new("states:StopExecution", e)) {
                Err(error) if !error.is_not_found() => return Err(error),
                // It ended by itself, or is gone with its machine.
                _ => {}
            }
        }
        Ok(running.len())
    }

    /// How far an execution is; `None` when it is not known.
    pub async fn execution(&self, arn: &str) -> Result<Option<ExecutionView>> {
        let request = self.states.describe_execution().execution_arn(arn);
        let answer =
            match request.send().await.map_err(|e| AwsError::new("states:DescribeExecution", e)) {
                Ok(answer) => answer,
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error),
            };
        let output = answer.output.as_deref().and_then(|o| serde_json::from_str(o).ok());
        let failure = answer.error.map(|error| (error, answer.cause.unwrap_or_default()));
        let unknown = |e: UnknownStatus| AwsError::local("states:DescribeExecution", e.to_string());
        let status = answer.status.as_str().parse().map_err(unknown)?;
        Ok(Some(ExecutionView { status, output, failure }))
    }

    /// The whole history of an execution.
    pub async fn history(&self, arn: &str) -> Result<Vec<HistoryEvent>> {
        let mut pages = self
            .states
            .get_execution_history()
            .execution_arn(arn)
            .max_results(1_000)
            .into_paginator()
            .send();
        let mut events = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| AwsError::new("states:GetExecutionHistory", e))?;
            events.extend(page.events.into_iter().map(|e| {
                let entered = e.state_entered_event_details.map(|d| Passed::Entered(d.name));
                let left = || e.state_exited_event_details.map(|d| Passed::Left(d.name));
                HistoryEvent { passed: entered.or_else(left) }
            }));
        }
        Ok(events)
    }

    /// The definition of a state machine.
    pub async fn definition(&self, machine: &str) -> Result<Value> {
        let answer = self
            .states
            .describe_state_machine()
            .state_machine_arn(machine)
            .send()
            .await
            .map_err(|e| AwsError::new("states:DescribeStateMachine", e))?;
        serde_json::from_str(&answer.definition)
            .map_err(|e| AwsError::local("states:DescribeStateMachine", e.to_string()))
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
