//! Executes a checked definition, state by state.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html>

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value, json};

use super::expression::Scope;
use super::{Execution, History, StateMachine, tasks};
use crate::cloud::{Cloud, iso};
use crate::identity::Caller;

/// Iterations at once when a Map sets no limit, as in AWS.
const CONCURRENCY_DEFAULT: usize = 40;

/// An error with its name and cause, as retriers and catchers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// Whether one of the names in `ErrorEquals` means this failure.
    fn matches(&self, names: &Value) -> bool {
        let matches_one = |name: &str| match name {
            "States.ALL" => self.error != "States.Runtime",
            "States.TaskFailed" => self.error != "States.Timeout" && self.error != "States.Runtime",
            exact => exact == self.error,
        };
        names.as_array().into_iter().flatten().filter_map(Value::as_str).any(matches_one)
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
        .assume(&machine.role, "states.amazonaws.com", &execution.name)
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
                    "States.ExecutionTimeout",
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
                if self.history.is_full() {
                    return Err(Failure::new(
                        "States.Runtime",
                        "the execution reached the maximum number of history events",
                    ));
                }
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

    fn states_value(
        &self,
        name: &str,
        input: &Value,
        frame: &Frame,
        more: Option<(&str, Value)>,
    ) -> Value {
        let mut context = self.context.clone();
        context["State"] = json!({ "Name": name });
        if let Some(map) = &frame.map {
            context["Map"] = json!({ "Item": map });
        }
        let mut states = json!({ "input": input, "context": context });
        if let Some((key, value)) = more {
            states[key] = value;
        }
        states
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
            let failure = match self.attempt(name, state, input, frame).await {
                Ok((result, next)) => return self.leave(name, state, input, frame, result, next),
                Err(failure) => failure,
            };
            let Some(pause) = retry(state, &failure, &mut attempts) else { break failure };
            tokio::time::sleep(pause).await;
        };
        let catcher = state["Catch"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|c| failure.matches(&c["ErrorEquals"]));
        let Some(catcher) = catcher else { return Err(failure) };
        let error = json!({ "Error": failure.error, "Cause": failure.cause });
        let states = self.states_value(name, input, frame, Some(("errorOutput", error.clone())));
        let scope = Scope { states: &states, variables: &frame.variables };
        let output = catcher.get("Output").map_or(Ok(error), |o| scope.fill(o))?;
        assign(catcher, &scope).map(|assigned| frame.variables.extend(assigned))?;
        Ok((output, Next::State(catcher["Next"].as_str().unwrap_or_default())))
    }

    /// Evaluates Output and Assign after a state's work.
    fn leave<'a>(
        &self,
        name: &str,
        state: &'a Value,
        input: &Value,
        frame: &mut Frame,
        result: Value,
        next: Next<'a>,
    ) -> Result<(Value, Next<'a>), Failure> {
        let states = self.states_value(name, input, frame, Some(("result", result.clone())));
        let scope = Scope { states: &states, variables: &frame.variables };
        let output = state.get("Output").map_or(Ok(result), |o| scope.fill(o))?;
        let assigned = assign(state, &scope)?;
        frame.variables.extend(assigned);
        Ok((output, next))
    }

    async fn attempt<'a>(
        &self,
        name: &str,
        state: &'a Value,
        input: &Value,
        frame: &Frame,
    ) -> Result<(Value, Next<'a>), Failure> {
        let states = self.states_value(name, input, frame, None);
        let scope = Scope { states: &states, variables: &frame.variables };
        let follow = state["Next"].as_str().map_or(Next::End, Next::State);
        match state["Type"].as_str().unwrap_or_default() {
            "Task" => Ok((self.task(state, &scope).await?, follow)),
            "Map" => Ok((self.map(state, input, frame, &scope).await?, follow)),
            "Parallel" => Ok((self.parallel(state, input, frame, &scope).await?, follow)),
            "Choice" => choice(state, input, &scope),
            "Wait" => {
                let secs = scope.fill(&state["Seconds"])?.as_f64().unwrap_or(0.0);
                tokio::time::sleep(Duration::from_secs_f64(secs.max(0.0))).await;
                Ok((input.clone(), follow))
            }
            "Fail" => {
                let text = |field: &str| {
                    Ok(scope.fill(&state[field])?.as_str().unwrap_or_default().to_owned())
                };
                Err(Failure { error: text("Error")?, cause: text("Cause")? })
            }
            // Pass and Succeed hand their input on; Output has its say in `leave`.
            _ => Ok((input.clone(), follow)),
        }
    }

    async fn task(&self, state: &Value, scope: &Scope<'_>) -> Outcome {
        let resource = state["Resource"].as_str().unwrap_or_default();
        let (service, action) = tasks::names(resource);
        let arguments = scope.fill(state.get("Arguments").unwrap_or(&Value::Null))?;
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
        let result = match state["TimeoutSeconds"].as_f64() {
            Some(secs) => tokio::time::timeout(Duration::from_secs_f64(secs), call)
                .await
                .unwrap_or_else(|_| {
                    Err(Failure::new(
                        "States.Timeout",
                        format!("the task took longer than {secs} seconds"),
                    ))
                }),
            None => call.await,
        };
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

    async fn map(&self, state: &Value, input: &Value, frame: &Frame, scope: &Scope<'_>) -> Outcome {
        let items = state.get("Items").map_or_else(|| Ok(input.clone()), |i| scope.fill(i))?;
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
            .map(|(index, item)| self.iteration(state, input, frame, index, item));
        let outputs: Vec<Value> =
            futures::stream::iter(iterations).buffered(limit).try_collect().await?;
        self.history.add("MapStateSucceeded", json!({}));
        Ok(Value::from(outputs))
    }

    async fn iteration(
        &self,
        state: &Value,
        input: &Value,
        frame: &Frame,
        index: usize,
        item: Value,
    ) -> Outcome {
        let name = state["Comment"].as_str().unwrap_or("Map");
        let frame = Frame { map: Some(json!({ "Index": index, "Value": item })), ..frame.clone() };
        let states = self.states_value(name, input, &frame, None);
        let scope = Scope { states: &states, variables: &frame.variables };
        let selected = state.get("ItemSelector").map_or(Ok(item), |s| scope.fill(s))?;
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

    async fn parallel(
        &self,
        state: &Value,
        input: &Value,
        frame: &Frame,
        scope: &Scope<'_>,
    ) -> Outcome {
        let input = state.get("Arguments").map_or_else(|| Ok(input.clone()), |a| scope.fill(a))?;
        let branches = state["Branches"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|b| self.states(b, input.clone(), frame.clone()));
        Ok(Value::from(futures::future::try_join_all(branches).await?))
    }
}

fn assign(of: &Value, scope: &Scope<'_>) -> Result<Variables, Failure> {
    match of.get("Assign").map(|a| scope.fill(a)).transpose()? {
        Some(Value::Object(assigned)) => Ok(assigned),
        _ => Ok(Variables::new()),
    }
}

fn choice<'a>(
    state: &'a Value,
    input: &Value,
    scope: &Scope<'_>,
) -> Result<(Value, Next<'a>), Failure> {
    for rule in state["Choices"].as_array().into_iter().flatten() {
        if scope.fill(&rule["Condition"])? == true {
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

/// The pause before another attempt; `None` when the failure is not to be retried.
fn retry(state: &Value, failure: &Failure, attempts: &mut [u64]) -> Option<Duration> {
    let retriers = state["Retry"].as_array()?;
    let (at, retrier) =
        retriers.iter().enumerate().find(|(_, r)| failure.matches(&r["ErrorEquals"]))?;
    let made = attempts[at];
    if made >= retrier["MaxAttempts"].as_u64().unwrap_or(3) {
        return None;
    }
    attempts[at] += 1;
    let interval = retrier["IntervalSeconds"].as_f64().unwrap_or(1.0);
    let rate = retrier["BackoffRate"].as_f64().unwrap_or(2.0);
    let longest = retrier["MaxDelaySeconds"].as_f64().unwrap_or(f64::INFINITY);
    let pause = (interval * rate.powi(made as i32)).min(longest);
    // Full jitter: anything from nothing to the whole pause.
    let share = if retrier["JitterStrategy"] == "FULL" { fastrand::f64() } else { 1.0 };
    Some(Duration::from_secs_f64(pause * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retriers_count_their_own_attempts_and_wait_longer_each_time() {
        let state = json!({ "Retry": [
            { "ErrorEquals": ["A"], "IntervalSeconds": 2, "BackoffRate": 3, "MaxAttempts": 2 },
            { "ErrorEquals": ["States.ALL"], "MaxAttempts": 1 },
        ] });
        let mut attempts = vec![0, 0];
        let a = Failure::new("A", "");
        assert_eq!(retry(&state, &a, &mut attempts), Some(Duration::from_secs(2)));
        assert_eq!(
            retry(&state, &Failure::new("B", ""), &mut attempts),
            Some(Duration::from_secs(1))
        );
        assert_eq!(retry(&state, &a, &mut attempts), Some(Duration::from_secs(6)));
        assert_eq!(retry(&state, &a, &mut attempts), None);
        assert_eq!(retry(&state, &Failure::new("States.Runtime", ""), &mut attempts), None);
    }

    #[test]
    fn a_timeout_is_not_a_failed_task() {
        assert!(!Failure::new("States.Timeout", "").matches(&json!(["States.TaskFailed"])));
        assert!(Failure::new("Lambda.Unknown", "").matches(&json!(["States.TaskFailed"])));
    }
}
