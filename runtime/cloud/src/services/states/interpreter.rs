//! Executes a checked definition, state by state.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html>

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::history::History;
use super::{Execution, StateMachine, limits, retry, tasks};
use crate::cloud::{Cloud, iso};
use crate::identity::Caller;

/// Iterations at once when a Map sets no limit, as in AWS.
const CONCURRENCY_DEFAULT: usize = 40;

/// Name under which the end of the whole execution's time travels; nothing can catch it.
pub const EXECUTION_TIMEOUT: &str = "States.ExecutionTimeout";

/// An error with its name and cause, as retriers and catchers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its name.
    pub error: String,
    /// Its cause.
    pub cause: String,
}

impl Failure {
    /// A failure.
    pub fn new(error: &str, cause: impl Into<String>) -> Self {
        Self { error: error.to_owned(), cause: cause.into() }
    }

    /// Whether one of the names in `ErrorEquals` means this failure. Nothing means a terminal one.
    pub fn matches(&self, names: &Value) -> bool {
        if matches!(self.error.as_str(), "States.Runtime" | "States.DataLimitExceeded") {
            return false;
        }
        let matches_one = |name: &str| match name {
            "States.ALL" => true,
            "States.TaskFailed" => self.error != "States.Timeout",
            exact => exact == self.error,
        };
        names.as_array().into_iter().flatten().filter_map(Value::as_str).any(matches_one)
    }
}

/// What expressions see: `$states`, and the variables that were assigned.
struct Scope<'a> {
    cloud: &'a Cloud,
    states: Value,
    variables: &'a Variables,
}

impl Scope<'_> {
    /// Evaluates all expressions in `template`.
    async fn fill(&self, template: &Value) -> Outcome {
        let program = &self.cloud.config.own_binary;
        self.cloud.evaluator.fill(program, template, &self.states, self.variables).await
    }

    /// A number of seconds that may be an expression.
    async fn seconds(
        &self,
        template: &Value,
        field: &str,
        least: u64,
    ) -> Result<Duration, Failure> {
        let value = self.fill(template).await?;
        limits::seconds(&value, field, least)
            .map_err(|e| Failure::new("States.QueryEvaluationError", e))
    }
}

/// What does not change during an execution.
struct Machine<'a> {
    cloud: &'a Arc<Cloud>,
    caller: Caller,
    history: &'a History,
    context: Value,
}

type Variables = Map<String, Value>;
type Outcome = Result<Value, Failure>;

/// Where a run of states is: its variables, and the item of a Map that it works on.
#[derive(Clone)]
struct Frame {
    variables: Variables,
    map: Option<Value>,
}

/// How one state ended.
enum Next<'a> {
    State(&'a str),
    End,
}

/// Runs an execution to its end.
pub async fn run(
    cloud: &Arc<Cloud>,
    arn: &str,
    execution: &Execution,
    machine: &StateMachine,
    history: &History,
) -> Outcome {
    let caller = cloud
        .assume_for(
            &machine.role,
            "states.amazonaws.com",
            &execution.name,
            Some(&execution.machine),
        )
        .map_err(|e| Failure::new("States.Runtime", e))?;
    let context = json!({
        "Execution": { "Id": arn, "Input": execution.input, "Name": execution.name, "RoleArn": machine.role, "StartTime": iso(execution.started) },
        "StateMachine": { "Id": execution.machine, "Name": machine.name },
    });
    let run = Machine { cloud, caller, history, context };
    let frame = Frame { variables: Variables::new(), map: None };
    let states = run.states(&machine.definition, execution.input.clone(), frame);
    match machine.definition["TimeoutSeconds"].as_u64() {
        Some(secs) => {
            tokio::time::timeout(Duration::from_secs(secs), states).await.unwrap_or_else(|_| {
                Err(Failure::new(
                    EXECUTION_TIMEOUT,
                    format!("the execution took longer than {secs} seconds"),
                ))
            })
        }
        None => states.await,
    }
}

impl Machine<'_> {
    /// Runs the states of `machine` (the whole, an item processor or a branch) from its start.
    fn states<'a>(
        &'a self,
        machine: &'a Value,
        mut input: Value,
        mut frame: Frame,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let mut name = machine["StartAt"].as_str().unwrap_or_default();
            loop {
                self.history.check()?;
                // A loop of states that never wait must not keep others from running.
                tokio::task::yield_now().await;
                let state = &machine["States"][name];
                let kind = state["Type"].as_str().unwrap_or_default();
                self.history.add(
                    &format!("{kind}StateEntered"),
                    json!({ "stateEnteredEventDetails": { "name": name, "input": input.to_string() } }),
                );
                let (output, next) = self.state(name, state, &input, &mut frame).await?;
                self.history.add(
                    &format!("{kind}StateExited"),
                    json!({ "stateExitedEventDetails": { "name": name, "output": output.to_string() } }),
                );
                match next {
                    Next::State(next) => (name, input) = (next, output),
                    Next::End => return Ok(output),
                }
            }
        })
    }

    fn scope<'f>(
        &'f self,
        name: &str,
        input: &Value,
        frame: &'f Frame,
        more: Option<(&str, Value)>,
    ) -> Scope<'f> {
        let mut context = self.context.clone();
        context["State"] = json!({ "Name": name });
        if let Some(map) = &frame.map {
            context["Map"] = json!({ "Item": map });
        }
        let mut states = json!({ "input": input, "context": context });
        if let Some((key, value)) = more {
            states[key] = value;
        }
        Scope { cloud: self.cloud, states, variables: &frame.variables }
    }

    /// Runs one state; errors that no catcher takes end the execution.
    async fn state<'a>(
        &self,
        name: &str,
        state: &'a Value,
        input: &Value,
        frame: &mut Frame,
    ) -> Result<(Value, Next<'a>), Failure> {
        let mut attempts: Vec<u64> = vec![0; state["Retry"].as_array().map_or(0, Vec::len)];
        let failure = loop {
            let worked = match self.attempt(name, state, input, frame).await {
                Ok((result, next)) => self
                    .leave(name, state, input, frame, ("result", result))
                    .await
                    .map(|output| (output, next)),
                Err(failure) => Err(failure),
            };
            let failure = match worked {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let Some(pause) = retry::pause(state, &failure, &mut attempts) else { break failure };
            tokio::time::sleep(pause).await;
        };
        let mut catchers = state["Catch"].as_array().into_iter().flatten();
        let Some(catcher) = catchers.find(|c| failure.matches(&c["ErrorEquals"])) else {
            return Err(failure);
        };
        let error = json!({ "Error": failure.error, "Cause": failure.cause });
        let output = self.leave(name, catcher, input, frame, ("errorOutput", error)).await?;
        Ok((output, Next::State(catcher["Next"].as_str().unwrap_or_default())))
    }

    /// Evaluates Output and Assign of a state or a catcher after the work, whose result they see.
    async fn leave(
        &self,
        name: &str,
        of: &Value,
        input: &Value,
        frame: &mut Frame,
        (field, result): (&str, Value),
    ) -> Outcome {
        limits::check_data(name, &result)?;
        let scope = self.scope(name, input, frame, Some((field, result.clone())));
        let output = match of.get("Output") {
            Some(template) => scope.fill(template).await?,
            None => result,
        };
        let assigned = assign(of, &scope).await?;
        limits::check_data(name, &output)?;
        limits::check_variables(name, &frame.variables, &assigned)?;
        frame.variables.extend(assigned);
        Ok(output)
    }

    async fn attempt<'a>(
        &self,
        name: &str,
        state: &'a Value,
        input: &Value,
        frame: &Frame,
    ) -> Result<(Value, Next<'a>), Failure> {
        let scope = self.scope(name, input, frame, None);
        let follow = state["Next"].as_str().map_or(Next::End, Next::State);
        match state["Type"].as_str().unwrap_or_default() {
            "Task" => Ok((self.task(name, state, &scope).await?, follow)),
            "Map" => Ok((self.map(name, state, input, frame).await?, follow)),
            "Parallel" => Ok((self.parallel(name, state, input, frame).await?, follow)),
            "Choice" => choice(state, input, &scope).await,
            "Wait" => {
                let pause = scope.seconds(&state["Seconds"], "Seconds", 0).await?;
                tokio::time::sleep(pause).await;
                Ok((input.clone(), follow))
            }
            "Fail" => Err(self.fail(state, &scope).await?),
            // Pass and Succeed hand their input on; Output has its say in `leave`.
            _ => Ok((input.clone(), follow)),
        }
    }

    async fn fail(&self, state: &Value, scope: &Scope<'_>) -> Result<Failure, Failure> {
        let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
        let error = text(scope.fill(&state["Error"]).await?);
        let cause = text(scope.fill(&state["Cause"]).await?);
        Ok(Failure { error, cause })
    }

    async fn task(&self, name: &str, state: &Value, scope: &Scope<'_>) -> Outcome {
        let resource = state["Resource"].as_str().unwrap_or_default();
        let (service, action) = tasks::names(resource);
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
        self.history.add("TaskScheduled", json!({ "taskScheduledEventDetails": with(json!({ "region": self.cloud.config.region, "parameters": arguments.to_string() })) }));
        self.history.add("TaskStarted", json!({ "taskStartedEventDetails": details }));
        let call = tasks::call(self.cloud, &self.caller, resource, &arguments);
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
                self.history.add("TaskSucceeded", json!({ "taskSucceededEventDetails": with(json!({ "output": value.to_string() })) }))
            }
            Err(f) => {
                self.history.add("TaskFailed", json!({ "taskFailedEventDetails": with(json!({ "error": f.error, "cause": f.cause })) }))
            }
        }
        result
    }

    async fn map(&self, name: &str, state: &Value, input: &Value, frame: &Frame) -> Outcome {
        let items = match state.get("Items") {
            Some(template) => self.scope(name, input, frame, None).fill(template).await?,
            None => input.clone(),
        };
        let items = items.as_array().cloned().ok_or_else(|| {
            Failure::new("States.QueryEvaluationError", "The Items of the Map are not an array.")
        })?;
        self.history.add(
            "MapStateStarted",
            json!({ "mapStateStartedEventDetails": { "length": items.len() } }),
        );
        let limit = state["MaxConcurrency"]
            .as_u64()
            .filter(|n| *n > 0)
            .map_or(CONCURRENCY_DEFAULT, |n| n as usize);
        let iterations = items
            .into_iter()
            .enumerate()
            .map(|(index, item)| self.iteration((name, state), input, frame, index, item));
        let mut iterations = futures::stream::iter(iterations).buffered(limit);
        let (mut outputs, mut bytes) = (Vec::new(), 0);
        while let Some(output) = iterations.try_next().await? {
            // Told as soon as it is certain, so that what cannot be handed on is not gathered
            // either.
            bytes += limits::json_bytes(&output);
            limits::check_bytes(name, bytes)?;
            outputs.push(output);
        }
        self.history.add("MapStateSucceeded", json!({}));
        Ok(Value::from(outputs))
    }

    async fn iteration(
        &self,
        (name, state): (&str, &Value),
        input: &Value,
        frame: &Frame,
        index: usize,
        item: Value,
    ) -> Outcome {
        let frame = Frame { map: Some(json!({ "Index": index, "Value": item })), ..frame.clone() };
        let selected = match state.get("ItemSelector") {
            Some(template) => self.scope(name, input, &frame, None).fill(template).await?,
            None => item,
        };
        limits::check_data(name, &selected)?;
        self.history.add(
            "MapIterationStarted",
            json!({ "mapIterationStartedEventDetails": { "index": index } }),
        );
        let result = self.states(&state["ItemProcessor"], selected, frame).await;
        let kind = if result.is_ok() { "Succeeded" } else { "Failed" };
        self.history.add(
            &format!("MapIteration{kind}"),
            json!({ (format!("mapIteration{kind}EventDetails")): { "index": index } }),
        );
        result
    }

    async fn parallel(&self, name: &str, state: &Value, input: &Value, frame: &Frame) -> Outcome {
        let input = match state.get("Arguments") {
            Some(template) => self.scope(name, input, frame, None).fill(template).await?,
            None => input.clone(),
        };
        limits::check_data(name, &input)?;
        let branches = state["Branches"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|b| self.states(b, input.clone(), frame.clone()));
        Ok(Value::from(futures::future::try_join_all(branches).await?))
    }
}

async fn assign(of: &Value, scope: &Scope<'_>) -> Result<Variables, Failure> {
    let Some(assign) = of.get("Assign") else { return Ok(Variables::new()) };
    match scope.fill(assign).await? {
        Value::Object(assigned) => Ok(assigned),
        _ => Ok(Variables::new()),
    }
}

async fn choice<'a>(
    state: &'a Value,
    input: &Value,
    scope: &Scope<'_>,
) -> Result<(Value, Next<'a>), Failure> {
    for rule in state["Choices"].as_array().into_iter().flatten() {
        if scope.fill(&rule["Condition"]).await? == true {
            return Ok((input.clone(), Next::State(rule["Next"].as_str().unwrap_or_default())));
        }
    }
    match state["Default"].as_str() {
        Some(default) => Ok((input.clone(), Next::State(default))),
        None => Err(Failure::new(
            "States.NoChoiceMatched",
            "no condition was true, and there is no Default",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_not_a_failed_task() {
        assert!(!Failure::new("States.Timeout", "").matches(&json!(["States.TaskFailed"])));
        assert!(Failure::new("Lambda.Unknown", "").matches(&json!(["States.TaskFailed"])));
    }

    #[test]
    fn nothing_catches_terminal_errors() {
        for error in ["States.DataLimitExceeded", "States.Runtime"] {
            assert!(!Failure::new(error, "").matches(&json!(["States.ALL"])));
            assert!(!Failure::new(error, "").matches(&json!([error])));
        }
    }
}
