//! One state on trial, outside of an execution.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::super::history::History;
use super::super::{Execution, StateMachine, retry};
use super::{Begun, Failure, Frame, Machine, Next, Variables};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::identity::Caller;

/// What came of a state on trial.
#[derive(Debug)]
pub struct Tested {
    /// `SUCCEEDED`, `FAILED`, `RETRIABLE` or `CAUGHT_ERROR`.
    pub status: &'static str,
    /// What it was called with.
    pub arguments: Option<Value>,
    /// What its work gave.
    pub result: Option<Value>,
    /// What it hands on.
    pub output: Option<Value>,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// The state that would follow.
    pub next: Option<String>,
    /// The variables after it.
    pub variables: Variables,
}

/// Runs one state once, outside of an execution.
pub async fn test(
    cloud: &Arc<Cloud>,
    caller: Caller,
    name: &str,
    state: &Value,
    input: &Value,
    variables: Variables,
) -> Tested {
    let created = cloud.clock.now();
    let machine = StateMachine {
        name: name.to_owned(),
        role: String::new(),
        definition: Value::Null,
        created,
    };
    let (program, execution) = (Arc::new(machine), Execution::default());
    let history = History::unread(cloud);
    let arn =
        cloud.config.arn("states", &format!("express:{name}:{name}:{}", uuid::Uuid::new_v4()));
    let context = json!({
        "Execution": { "Id": arn, "Input": input, "Name": name, "StartTime": iso(created) },
        "StateMachine": { "Id": cloud.config.arn("states", name), "Name": name },
    });
    let progress = Mutex::default();
    let run = Machine {
        cloud,
        caller,
        arn: &arn,
        program: &program,
        execution: &execution,
        history: &history,
        context,
        progress,
    };
    let mut frame = Frame { variables, ..Frame::default() };
    run.test(name, state, input, &mut frame).await
}

impl Machine<'_> {
    async fn test(&self, name: &str, state: &Value, input: &Value, frame: &mut Frame) -> Tested {
        let arguments = match state.get("Arguments") {
            Some(template) => self.scope(name, input, frame, None).fill(template).await.ok(),
            None => None,
        };
        let mut result = None;
        let worked = match self.attempt(name, state, input, frame, Begun::default()).await {
            Ok((done, next)) => {
                result = Some(done.clone());
                self.leave(name, state, input, frame, ("result", done), next).await
            }
            Err(failure) => Err(failure),
        };
        let (status, left, failure) = match worked {
            Ok(left) => ("SUCCEEDED", Some(left), None),
            Err(failure) => {
                let mut attempts = vec![0; state["Retry"].as_array().map_or(0, Vec::len)];
                if retry::pause(state, &failure, &mut attempts).is_some() {
                    ("RETRIABLE", None, Some(failure))
                } else {
                    match self.catch(name, state, input, frame, &failure).await {
                        Some(Ok(left)) => ("CAUGHT_ERROR", Some(left), Some(failure)),
                        Some(Err(failure)) => ("FAILED", None, Some(failure)),
                        None => ("FAILED", None, Some(failure)),
                    }
                }
            }
        };
        let next = left.as_ref().and_then(|left| match left.next {
            Next::State(next) => Some(next.to_owned()),
            Next::End => None,
        });
        let output = left.map(|left| left.output);
        let variables = frame.variables.clone();
        Tested { status, arguments, result, output, failure, next, variables }
    }
}
