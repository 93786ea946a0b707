//! Executes a checked definition, state by state.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html>

mod trial;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use trial::{Tested, test};

use super::history::History;
use super::progress::{self, Place, Progress, Seen};
use super::{Execution, StateMachine, limits, retry};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::identity::Caller;

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
pub struct Scope<'a> {
    cloud: &'a Cloud,
    states: Value,
    variables: &'a Variables,
}

impl Scope<'_> {
    /// Evaluates all expressions in `template`.
    pub async fn fill(&self, template: &Value) -> Outcome {
        let program = &self.cloud.config.own_binary;
        self.cloud
            .services
            .states
            .evaluator
            .fill(program, template, &self.states, self.variables)
            .await
    }

    /// The same scope, in which the task knows its token.
    pub fn with_token(&self, token: &str) -> Self {
        let mut states = self.states.clone();
        states["context"]["Task"] = json!({ "Token": token });
        Self { cloud: self.cloud, states, variables: self.variables }
    }

    /// A moment that may be an expression.
    async fn moment(&self, template: &Value) -> Result<Timestamp, Failure> {
        let value = self.fill(template).await?;
        value.as_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
            let cause =
                format!("Timestamp must be a moment such as 2026-01-31T12:00:00Z, but is {value}");
            Failure::new("States.QueryEvaluationError", cause)
        })
    }

    /// A number of seconds that may be an expression.
    pub async fn seconds(
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
pub struct Machine<'a> {
    /// The cloud.
    pub cloud: &'a Arc<Cloud>,
    /// The machine's role.
    pub caller: Caller,
    /// ARN of the execution.
    pub arn: &'a str,
    /// What runs.
    pub program: &'a Arc<StateMachine>,
    /// The execution.
    pub execution: &'a Execution,
    history: &'a History,
    context: Value,
    /// What an execution that is redriven did before.
    pub progress: Mutex<Progress>,
}

type Variables = Map<String, Value>;
/// What states give.
pub type Outcome = Result<Value, Failure>;

/// Where a run of states is: its place, its variables, and the item of a Map that it works on.
#[derive(Clone, Default)]
pub struct Frame {
    /// Which run of states it is.
    pub place: Place,
    /// What was assigned.
    pub variables: Variables,
    /// The item.
    pub map: Option<Value>,
}

/// What a state that was entered before has begun.
#[derive(Default)]
pub struct Begun {
    /// Whether a Map or a Parallel began its iterations or branches.
    pub is_begun: bool,
    /// The Map Run of a Map.
    pub map_run: Option<String>,
    /// What was seen of its work, when a process goes on with what another left under way.
    pub seen: Option<Seen>,
}

/// What follows a state.
#[derive(Clone, Copy)]
enum Next<'a> {
    State(&'a str),
    End,
}

/// How a state was left.
struct Left<'a> {
    output: Value,
    assigned: Variables,
    next: Next<'a>,
}

/// Runs an execution to its end, from its start or from where `progress` ends.
pub async fn run(
    cloud: &Arc<Cloud>,
    arn: &str,
    execution: &Execution,
    program: &Arc<StateMachine>,
    history: &History,
    progress: Progress,
) -> Outcome {
    // The trust policy of a role knows the machine, not the labels of its Maps.
    let source = execution.machine.split('/').next();
    let caller = cloud
        .assume_for(&program.role, "states.amazonaws.com", &execution.name, source)
        .map_err(|e| Failure::new("States.Runtime", e))?;
    let mut context = json!({
        "Execution": {
            "Id": arn, "Input": execution.input, "Name": execution.name,
            "RoleArn": program.role, "StartTime": iso(execution.started),
        },
        "StateMachine": { "Id": execution.machine, "Name": program.name },
    });
    if let Some(redriven) = execution.redriven {
        context["Execution"]["RedriveCount"] = execution.redrives.into();
        context["Execution"]["RedriveTime"] = iso(redriven).into();
    }
    let progress = Mutex::new(progress);
    let run = Machine { cloud, caller, arn, program, execution, history, context, progress };
    let states = run.states(&program.definition, execution.input.clone(), Frame::default());
    match program.definition["TimeoutSeconds"].as_u64() {
        Some(secs) => {
            let since = execution.redriven.unwrap_or(execution.started);
            let left = cloud.clock.left(since, Duration::from_secs(secs));
            cloud.clock.within(left, states).await.unwrap_or_else(|| {
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
    /// Adds an event of a run of states to the history.
    pub fn tell(&self, frame: &Frame, kind: &str, mut details: Value) {
        if !frame.place.is_empty() {
            details["_at"] = progress::written(&frame.place);
        }
        self.history.add(kind, details);
    }

    /// Runs the states of `machine` (the whole, an item processor or a branch) from its start, or
    /// from where they were.
    pub fn states<'a>(
        &'a self,
        machine: &'a Value,
        mut input: Value,
        mut frame: Frame,
    ) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>> {
        Box::pin(async move {
            let mut name = machine["StartAt"].as_str().unwrap_or_default();
            let mut begun = None;
            let (reached, is_resumed) = {
                let mut progress = self.progress.lock();
                (progress.take(&frame.place), progress.is_resumed())
            };
            if let Some(reached) = reached {
                frame.variables.extend(reached.variables);
                if let Some(output) = reached.output {
                    return Ok(output);
                }
                if let Some((state, of_state)) = reached.state {
                    let states = machine["States"].as_object();
                    let known = states.and_then(|states| states.get_key_value(&state));
                    (name, input) = (known.map_or(name, |(known, _)| known), of_state);
                    begun = reached.entered.then_some(Begun {
                        is_begun: reached.begun,
                        map_run: reached.map_run,
                        seen: is_resumed.then_some(reached.seen),
                    });
                }
            }
            loop {
                self.history.check()?;
                // A loop of states that never wait must not keep others from running.
                tokio::task::yield_now().await;
                let state = &machine["States"][name];
                let kind = state["Type"].as_str().unwrap_or_default();
                // A state that is redriven was entered before; only Fail is entered again.
                let is_again = begun.as_ref().is_some_and(|b| kind != "Fail" || b.seen.is_some());
                if !is_again {
                    let entered = json!({ "name": name, "input": input.to_string() });
                    self.tell(
                        &frame,
                        &format!("{kind}StateEntered"),
                        json!({ "stateEnteredEventDetails": entered }),
                    );
                }
                let begun = begun.take().unwrap_or_default();
                let left = self.state(name, state, &input, &mut frame, begun).await?;
                let mut exited = json!({ "name": name, "output": left.output.to_string() });
                if !left.assigned.is_empty() {
                    let text = |(name, value): (&String, &Value)| (name.clone(), value.to_string());
                    let assigned: Map<_, _> =
                        left.assigned.iter().map(text).map(|(n, v)| (n, v.into())).collect();
                    exited["assignedVariables"] = assigned.into();
                }
                let mut event = json!({ "stateExitedEventDetails": exited });
                if let Next::State(next) = left.next {
                    event["_next"] = next.into();
                }
                self.tell(&frame, &format!("{kind}StateExited"), event);
                match left.next {
                    Next::State(next) => (name, input) = (next, left.output),
                    Next::End => return Ok(left.output),
                }
            }
        })
    }

    /// What expressions of a state see; `more` is a further field of `$states`.
    pub fn scope<'f>(
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
        begun: Begun,
    ) -> Result<Left<'a>, Failure> {
        let mut attempts: Vec<u64> = vec![0; state["Retry"].as_array().map_or(0, Vec::len)];
        let mut last = begun.seen.as_ref().and_then(|seen| earlier(state, seen, &mut attempts));
        let mut begun = Some(begun);
        let failure = loop {
            let (failure, since) = match last.take() {
                Some(earlier) => earlier,
                None => {
                    let begun = begun.take().unwrap_or_default();
                    match self.try_once(name, state, input, frame, begun).await {
                        Ok(left) => return Ok(left),
                        Err(failure) => (failure, self.cloud.clock.now()),
                    }
                }
            };
            let Some(pause) = retry::pause(state, &failure, &mut attempts) else { break failure };
            self.cloud.clock.sleep(self.cloud.clock.left(since, pause)).await;
        };
        self.catch(name, state, input, frame, &failure).await.unwrap_or(Err(failure))
    }

    /// Tries a state once.
    async fn try_once<'a>(
        &self,
        name: &str,
        state: &'a Value,
        input: &Value,
        frame: &mut Frame,
        begun: Begun,
    ) -> Result<Left<'a>, Failure> {
        let worked = match self.attempt(name, state, input, frame, begun).await {
            Ok((done, next)) => self.leave(name, state, input, frame, ("result", done), next).await,
            Err(failure) => Err(failure),
        };
        worked.inspect_err(|failure| self.tell_failed(frame, state, failure))
    }

    /// Leaves a state that failed by the catcher that takes the failure, if one does.
    async fn catch<'a>(
        &self,
        name: &str,
        state: &'a Value,
        input: &Value,
        frame: &mut Frame,
        failure: &Failure,
    ) -> Option<Result<Left<'a>, Failure>> {
        let mut catchers = state["Catch"].as_array().into_iter().flatten();
        let catcher = catchers.find(|c| failure.matches(&c["ErrorEquals"]))?;
        let error = json!({ "Error": failure.error, "Cause": failure.cause });
        let next = Next::State(catcher["Next"].as_str().unwrap_or_default());
        Some(self.leave(name, catcher, input, frame, ("errorOutput", error), next).await)
    }

    /// The event of a Map or a Parallel that failed, with whether a redrive begins it anew.
    fn tell_failed(&self, frame: &Frame, state: &Value, failure: &Failure) {
        let kind = state["Type"].as_str().unwrap_or_default();
        if !matches!(kind, "Map" | "Parallel") {
            return;
        }
        let is_run = state["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED";
        let again = failure.error == "States.DataLimitExceeded"
            || (is_run && failure.error == "States.Runtime");
        let details = if again { json!({ "_again": true }) } else { json!({}) };
        self.tell(frame, &format!("{kind}StateFailed"), details);
    }

    /// Evaluates Output and Assign of a state or a catcher after the work, whose result they see.
    async fn leave<'a>(
        &self,
        name: &str,
        of: &Value,
        input: &Value,
        frame: &mut Frame,
        (field, result): (&str, Value),
        next: Next<'a>,
    ) -> Result<Left<'a>, Failure> {
        limits::check_data(name, &result)?;
        let scope = self.scope(name, input, frame, Some((field, result.clone())));
        let output = match of.get("Output") {
            Some(template) => scope.fill(template).await?,
            None => result,
        };
        let assigned = assign(of, &scope).await?;
        limits::check_data(name, &output)?;
        limits::check_variables(name, &frame.variables, &assigned)?;
        frame.variables.extend(assigned.clone());
        Ok(Left { output, assigned, next })
    }

    async fn attempt<'a>(
        &self,
        name: &str,
        state: &'a Value,
        input: &Value,
        frame: &Frame,
        begun: Begun,
    ) -> Result<(Value, Next<'a>), Failure> {
        let scope = self.scope(name, input, frame, None);
        let follow = state["Next"].as_str().map_or(Next::End, Next::State);
        match state["Type"].as_str().unwrap_or_default() {
            "Task" => Ok((self.task(name, state, frame, &scope, begun.seen).await?, follow)),
            "Map" => Ok((self.map((name, state), input, frame, begun).await?, follow)),
            "Parallel" => Ok((self.parallel((name, state), input, frame, begun).await?, follow)),
            "Choice" => choice(state, input, &scope).await,
            "Wait" => {
                match state.get("Timestamp") {
                    Some(template) => {
                        self.cloud.clock.sleep_until(scope.moment(template).await?).await;
                    }
                    None => {
                        let pause = scope.seconds(&state["Seconds"], "Seconds", 0).await?;
                        let clock = &self.cloud.clock;
                        let since = begun.seen.map_or_else(|| clock.now(), |seen| seen.entered);
                        clock.sleep(clock.left(since, pause)).await;
                    }
                }
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

    async fn parallel(
        &self,
        (name, state): (&str, &Value),
        input: &Value,
        frame: &Frame,
        begun: Begun,
    ) -> Outcome {
        let input = match state.get("Arguments") {
            Some(template) => self.scope(name, input, frame, None).fill(template).await?,
            None => input.clone(),
        };
        limits::check_data(name, &input)?;
        if !begun.is_begun {
            self.begin(name, frame, "ParallelStateStarted", json!({}));
        }
        let branches = state["Branches"].as_array().into_iter().flatten().enumerate();
        let branches =
            branches.map(|(index, b)| self.states(b, input.clone(), frame.inside(name, index)));
        let outputs = futures::future::try_join_all(branches).await?;
        self.tell(frame, "ParallelStateSucceeded", json!({}));
        Ok(Value::from(outputs))
    }

    /// A Map or a Parallel begins its iterations or branches; those of an earlier attempt are
    /// forgotten.
    pub fn begin(&self, name: &str, frame: &Frame, kind: &str, details: Value) {
        self.progress.lock().forget(&frame.place, name);
        self.tell(frame, kind, details);
    }
}

impl Frame {
    /// An iteration or a branch of a state.
    pub fn inside(&self, state: &str, index: usize) -> Self {
        let mut inside = self.clone();
        inside.place.push((state.to_owned(), index));
        inside
    }
}

/// Counts the attempts that an earlier process made; the failure that it did not come to act on,
/// and when that was.
fn earlier(state: &Value, seen: &Seen, attempts: &mut [u64]) -> Option<(Failure, Timestamp)> {
    let (last, before) = seen.failures.split_last()?;
    for failure in before {
        retry::pause(state, failure, attempts);
    }
    if let Some(failed) = seen.failed {
        return Some((last.clone(), failed));
    }
    retry::pause(state, last, attempts);
    None
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
