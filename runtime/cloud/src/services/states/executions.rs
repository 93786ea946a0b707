//! Executions: started, watched, stopped, gone on with after a restart, and ended whatever happens
//! to the task that runs them.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::history::{self, History};
use super::interpreter::{self, Failure};
use super::map::runs;
use super::progress::{Awaited, Progress};
use super::{ChildInput, Execution, Known, StateMachine, limits, no_machine};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::eviction::Kept;
use crate::kernel::service::Call;
use crate::services::{cloudwatch, events};

/// Executions that are kept after they have ended, with their children, for as long as AWS keeps
/// them; it knows no number.
const KEPT: Kept = Kept { count_max: 10_000, days: 90 };

/// What begins with the run of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// The execution.
    New,
    /// A redrive.
    Redriven,
    /// Nothing: an earlier process left it under way.
    Resumed,
}

/// A request to stop an execution, with the error and the cause that the caller gives.
#[derive(Debug, Default)]
pub struct Stop {
    asked: Notify,
    why: OnceLock<(String, String)>,
}

/// `StartExecution`, from the API and from rules.
pub fn start_execution(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let machine_arn = call.required("stateMachineArn")?;
    call.authorize(machine_arn)?;
    let machine =
        cloud.services.states.machines.get(machine_arn).ok_or_else(|| no_machine(machine_arn))?;
    let input = parse_input(params["input"].as_str().unwrap_or("{}"))?;
    let name = match params["name"].as_str() {
        Some(name) => check_name(name)?.to_owned(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    let arn = format!("{}:{name}", machine_arn.replacen(":stateMachine:", ":execution:", 1));
    let execution = Execution {
        name,
        machine: machine_arn.to_owned(),
        status: "RUNNING".to_owned(),
        input,
        output: None,
        failure: None,
        started: cloud.clock.now(),
        stopped: None,
        definition: Some(keep_definition(cloud, &machine.definition)?),
        ..Execution::default()
    };
    if !cloud.services.states.executions.create(&arn, execution.clone())? {
        return repeated(cloud, &arn, &execution);
    }
    forget_oldest(cloud)?;
    let started = execution.started;
    launch(cloud, arn.clone(), execution, machine, Beginning::New);
    Ok(json!({ "executionArn": arn, "startDate": epoch_secs(started) }))
}

/// Starts a child of a Map Run.
pub fn start_child(
    cloud: &Arc<Cloud>,
    run: &str,
    input: &ChildInput,
    program: Arc<StateMachine>,
) -> ApiResult<JoinHandle<()>> {
    let arn = runs::child_arn(run, &input.name);
    let execution = Execution {
        name: input.name.clone(),
        machine: runs::child_machine(run),
        status: "RUNNING".to_owned(),
        input: input.input.clone(),
        started: cloud.clock.now(),
        map_run: Some(run.to_owned()),
        items: input.items,
        ..Execution::default()
    };
    cloud.services.states.executions.put(&arn, execution.clone())?;
    Ok(launch(cloud, arn, execution, program, Beginning::New))
}

/// Goes on with a child that an earlier process left under way.
pub fn go_on(
    cloud: &Arc<Cloud>,
    arn: String,
    execution: &Execution,
    program: Arc<StateMachine>,
) -> JoinHandle<()> {
    launch(cloud, arn, execution.clone(), program, Beginning::Resumed)
}

/// Runs an execution whose record says that it runs.
pub fn launch(
    cloud: &Arc<Cloud>,
    arn: String,
    execution: Execution,
    program: Arc<StateMachine>,
    beginning: Beginning,
) -> JoinHandle<()> {
    let stop = Arc::new(Stop::default());
    lock(cloud).insert(arn.clone(), stop.clone());
    if execution.map_run.is_none() && beginning != Beginning::Resumed {
        events::execution_changed(cloud, &arn, &execution);
    }
    let run = Run { cloud: cloud.clone(), arn, execution, program, stop };
    tokio::spawn(run.watch(beginning))
}

/// What an execution runs that was started before: the definition of then, as the role of now.
pub fn program(cloud: &Cloud, execution: &Execution) -> Result<Arc<StateMachine>, &'static str> {
    let machine = cloud.services.states.machines.get(&execution.machine);
    let machine = machine.ok_or("State machine is in DELETING status")?;
    let name = execution.definition.as_ref();
    let definition = name.and_then(|name| cloud.services.states.definitions.get(name));
    let definition =
        definition.ok_or("Execution was started before the launch of RedriveExecution")?;
    Ok(Arc::new(StateMachine { definition: (*definition).clone(), ..(*machine).clone() }))
}

/// A redrive runs what the execution was started with, whatever became of the machine.
fn keep_definition(cloud: &Cloud, definition: &Value) -> ApiResult<String> {
    let name = hex::encode(&Sha256::digest(definition.to_string())[..16]);
    cloud.services.states.definitions.create(&name, definition.clone())?;
    Ok(name)
}

pub fn parse_input(text: &str) -> ApiResult {
    if text.len() > limits::DATA_BYTES_MAX {
        return Err(ApiError::new(
            "ValidationException",
            "1 validation error detected: Value at 'input' failed to satisfy constraint: Member \
             must have length less than or equal to 262144",
        ));
    }
    serde_json::from_str(text).map_err(|e| {
        let message = format!("Invalid State Machine Execution Input: '{e}'");
        ApiError::new("InvalidExecutionInput", message)
    })
}

/// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html>
pub fn check_name(name: &str) -> ApiResult<&str> {
    let forbidden = |c: char| {
        c.is_whitespace()
            || c.is_control()
            || "<>{}[]?*\"#%\\^|~`$&,;:/\u{fffe}\u{ffff}".contains(c)
    };
    if name.is_empty() || name.chars().count() > 80 || name.contains(forbidden) {
        return Err(ApiError::new("InvalidName", format!("Invalid Name: '{name}'")));
    }
    Ok(name)
}

/// The same name with the same input is the same request, repeated, for as long as it runs.
fn repeated(cloud: &Cloud, arn: &str, asked: &Execution) -> ApiResult {
    match cloud.services.states.executions.get(arn) {
        Some(existing) if existing.input == asked.input && existing.status == "RUNNING" => {
            Ok(json!({ "executionArn": arn, "startDate": epoch_secs(existing.started) }))
        }
        _ => {
            let message = format!("Execution Already Exists: '{arn}'");
            Err(ApiError::new("ExecutionAlreadyExists", message))
        }
    }
}

/// Children go with their parents.
fn forget_oldest(cloud: &Cloud) -> ApiResult<()> {
    let executions = &cloud.services.states.executions;
    let (now, own) = (cloud.clock.now(), |known: &Known| !known.is_child);
    let is_old = |known: &Known| known.stopped.is_some_and(|end| KEPT.is_over(end, now));
    let many = executions.count(|known| own(known) && known.stopped.is_some()) >= KEPT.count_max;
    if !many && executions.first(|known| own(known) && is_old(known)).is_none() {
        return Ok(());
    }
    let ended = executions.picked(|known| known.stopped.filter(|_| own(known))).into_iter();
    let ended = ended.map(|(arn, stopped)| (stopped, arn)).collect();
    for arn in KEPT.surplus(ended, cloud.clock.now()) {
        for (run, _) in runs::of_execution(cloud, &arn) {
            for (child, _) in runs::children(cloud, &run) {
                forget(cloud, &child)?;
            }
            runs::forget(cloud, &run)?;
        }
        forget(cloud, &arn)?;
    }
    Ok(())
}

fn forget(cloud: &Cloud, arn: &str) -> ApiResult<()> {
    cloud.services.states.executions.remove(arn)?;
    history::delete(cloud, arn);
    Ok(())
}

fn lock(
    cloud: &Cloud,
) -> parking_lot::MutexGuard<'_, std::collections::HashMap<String, Arc<Stop>>> {
    cloud.services.states.stopping.lock()
}

/// `StopExecution`: asks a running execution to end; one that has ended stays as it is.
pub fn stop(cloud: &Cloud, arn: &str, execution: &Execution, params: &Value) -> Value {
    if let Some(ended) = execution.stopped {
        return json!({ "stopDate": epoch_secs(ended) });
    }
    let text = |field: &str| params[field].as_str().unwrap_or_default().to_owned();
    if let Some(stop) = lock(cloud).get(arn) {
        // Whoever asks first gives the reason.
        let _ = stop.why.set((text("error"), text("cause")));
        stop.asked.notify_one();
    }
    json!({ "stopDate": epoch_secs(cloud.clock.now()) })
}

/// Stops a child whose Map Run ends, if it runs.
pub fn stop_child(cloud: &Cloud, arn: &str) {
    if let Some(stop) = lock(cloud).get(arn) {
        // Whoever asked first gave the reason.
        let _ = stop.why.set((String::new(), String::new()));
        stop.asked.notify_one();
    }
}

/// An execution that runs.
struct Run {
    cloud: Arc<Cloud>,
    arn: String,
    execution: Execution,
    program: Arc<StateMachine>,
    stop: Arc<Stop>,
}

impl Run {
    /// Runs the execution in a task of its own, so that also one that panics comes to an end.
    async fn watch(self, beginning: Beginning) {
        let (history, events, is_redriven) = self.open_history(beginning);
        if !is_redriven && let Some(ending) = events.last().and_then(Ending::told) {
            self.settle(&history, ending);
            return;
        }
        let progress = match beginning {
            Beginning::Resumed if !is_redriven => Progress::of(&events).resumed(),
            _ => Progress::of(&events),
        };
        let history = Arc::new(history);
        let mut task = tokio::spawn({
            let (cloud, arn, history) = (self.cloud.clone(), self.arn.clone(), history.clone());
            let (execution, program) = (self.execution.clone(), self.program.clone());
            async move {
                let (execution, program) = (&execution, &program);
                interpreter::run(&cloud, &arn, execution, program, &history, progress).await
            }
        });
        let ending = tokio::select! {
            done = &mut task => Ending::of(done.unwrap_or_else(|error| {
                let cause =
                    format!("the embedded cloud failed while it ran the execution: {error}");
                Err(Failure::new("States.Runtime", cause))
            })),
            () = self.stop.asked.notified() => {
                task.abort();
                // It must have let go of the history before a redrive goes on with it; that it was
                // stopped is no error.
                let _ = (&mut task).await;
                Ending::aborted(self.stop.why.get().cloned().unwrap_or_default())
            }
        };
        history.add(&format!("Execution{}", ending.event), ending.details());
        self.settle(&history, ending);
    }

    /// The history with its event of the start or the redrive, what was in it before, and whether a
    /// redrive begins: also one of which an earlier process had no time to write the event.
    fn open_history(&self, beginning: Beginning) -> (History, Vec<Value>, bool) {
        let (cloud, arn) = (&self.cloud, &self.arn);
        let (history, events) = match beginning {
            Beginning::New => (History::new(cloud, arn), vec![]),
            Beginning::Redriven | Beginning::Resumed => History::resume(cloud, arn),
        };
        let redrives = events.iter().filter(|e| e["type"] == "ExecutionRedriven").count();
        let is_redriven = redrives < self.execution.redrives as usize;
        if is_redriven {
            let redriven = json!({ "redriveCount": self.execution.redrives });
            history.add("ExecutionRedriven", json!({ "executionRedrivenEventDetails": redriven }));
        } else if events.is_empty() {
            let input = self.execution.input.to_string();
            let begun = json!({ "input": input, "roleArn": self.program.role });
            history.add("ExecutionStarted", json!({ "executionStartedEventDetails": begun }));
        }
        (history, events, is_redriven)
    }

    /// Makes the record one of an execution that has ended.
    fn settle(&self, history: &History, ending: Ending) {
        let (cloud, arn) = (&self.cloud, &self.arn);
        lock(cloud).remove(arn);
        settle(cloud, arn, history.events(), ending);
        cloud.services.states.evaluator.rest();
    }
}

fn settle(cloud: &Arc<Cloud>, arn: &str, events: u64, ending: Ending) {
    let metric = ending.metric;
    let ended = cloud.services.states.executions.settle(arn, |e| {
        (e.status, e.stopped) = (ending.status.to_owned(), Some(cloud.clock.now()));
        (e.output, e.failure) = (ending.output, ending.failure);
        e.events = events;
        e.clone()
    });
    let Some(ended) = ended else { return };
    if let Some(metric) = metric {
        cloudwatch::count(cloud, "AWS/States", metric, ("StateMachineArn", &ended.machine));
    }
    if ended.map_run.is_none() {
        events::execution_changed(cloud, arn, &ended);
    }
}

/// How an execution ended.
struct Ending {
    status: &'static str,
    metric: Option<&'static str>,
    event: &'static str,
    output: Option<Value>,
    failure: Option<(String, String)>,
}

impl Ending {
    fn new(status: &'static str, event: &'static str, metric: Option<&'static str>) -> Self {
        Self { status, metric, event, output: None, failure: None }
    }

    fn of(outcome: Result<Value, Failure>) -> Self {
        let (ending, failure) = match outcome {
            Ok(output) => {
                let succeeded = Self::new("SUCCEEDED", "Succeeded", None);
                return Self { output: Some(output), ..succeeded };
            }
            Err(f) if f.error == interpreter::EXECUTION_TIMEOUT => {
                let late = Self::new("TIMED_OUT", "TimedOut", Some("ExecutionsTimedOut"));
                (late, ("States.Timeout".to_owned(), f.cause))
            }
            Err(f) => {
                let failed = Self::new("FAILED", "Failed", Some("ExecutionsFailed"));
                (failed, (f.error, f.cause))
            }
        };
        Self { failure: Some(failure), ..ending }
    }

    fn aborted(why: (String, String)) -> Self {
        let aborted = Self::new("ABORTED", "Aborted", Some("ExecutionsAborted"));
        Self { failure: Some(why), ..aborted }
    }

    /// The end that an event tells: that of an execution whose record the process did not come to
    /// change.
    fn told(event: &Value) -> Option<Self> {
        let details = |kind: &str| &event[format!("execution{kind}EventDetails")];
        let why = |kind: &str| {
            let text = |field: &str| details(kind)[field].as_str().unwrap_or_default().to_owned();
            (text("error"), text("cause"))
        };
        match event["type"].as_str()? {
            "ExecutionSucceeded" => {
                let output = details("Succeeded")["output"].as_str()?;
                Some(Self::of(Ok(serde_json::from_str(output).ok()?)))
            }
            "ExecutionFailed" => {
                let (error, cause) = why("Failed");
                Some(Self::of(Err(Failure { error, cause })))
            }
            "ExecutionTimedOut" => {
                let cause = why("TimedOut").1;
                Some(Self::of(Err(Failure::new(interpreter::EXECUTION_TIMEOUT, cause))))
            }
            "ExecutionAborted" => Some(Self::aborted(why("Aborted"))),
            _ => None,
        }
    }

    /// What its event has.
    fn details(&self) -> Value {
        let details = match (&self.output, &self.failure) {
            (Some(output), _) => json!({ "output": output.to_string() }),
            (None, Some((error, cause))) => json!({ "error": error, "cause": cause }),
            (None, None) => json!({}),
        };
        json!({ (format!("execution{}EventDetails", self.event)): details })
    }
}

/// Goes on with what an earlier process left under way. Children go on with their Map Runs.
pub fn resume(cloud: &Arc<Cloud>) {
    let executions = &cloud.services.states.executions;
    let all = executions.texts(["stopped", "definition"]);
    let left = all.iter().filter(|(_, [stopped, _])| stopped.is_none());
    let left: Vec<String> = left.map(|(arn, _)| arn.clone()).collect();
    let (mut children, mut own) = (vec![], vec![]);
    for arn in left {
        let Some(execution) = executions.get(&arn) else { continue };
        hold_tokens(cloud, &arn);
        match &execution.map_run {
            Some(_) => children.push((arn, execution)),
            None => own.push((arn, execution)),
        }
    }
    cloud.services.states.callbacks.forget_others();
    for (arn, execution) in own {
        match program(cloud, &execution) {
            Ok(program) => {
                launch(cloud, arn, (*execution).clone(), program, Beginning::Resumed);
            }
            Err(why) => abort(cloud, &arn, why),
        }
    }
    runs::end_orphans(cloud);
    for (arn, child) in children {
        if !child.map_run.as_deref().is_some_and(|run| runs::is_running(cloud, run)) {
            abort(cloud, &arn, "the Map Run of the execution has ended");
        }
    }
    if all.len() == executions.len() && !executions.lacks_some() {
        let used = all.into_iter().filter_map(|(_, [_, definition])| definition).collect();
        forget_definitions(cloud, &used);
    }
}

/// Whoever has the token of a task may tell of its end before the task waits again.
fn hold_tokens(cloud: &Cloud, arn: &str) {
    let (_, events) = History::resume(cloud, arn);
    for awaited in Progress::of(&events).awaited() {
        if let Awaited::Token(token) = awaited {
            cloud.services.states.callbacks.hold(token);
        }
    }
}

/// Ends an execution with which nobody can go on.
fn abort(cloud: &Arc<Cloud>, arn: &str, why: &str) {
    let (history, _) = History::resume(cloud, arn);
    let ending = Ending::aborted(("States.Aborted".to_owned(), why.to_owned()));
    history.add("ExecutionAborted", ending.details());
    settle(cloud, arn, history.events(), ending);
}

/// Definitions that no execution was started with any more.
fn forget_definitions(cloud: &Cloud, used: &BTreeSet<String>) {
    for name in cloud.services.states.definitions.names("") {
        if !used.contains(&name)
            && let Err(error) = cloud.services.states.definitions.remove(&name)
        {
            tracing::error!("a definition that nobody needs stays: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_step_functions_takes() {
        assert!(check_name("run-2026_11.25@a+b=c").is_ok());
        for name in ["", "a b", "a/b", "a:b", "../x", "a\u{1b}", "x?", &"n".repeat(81)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn inputs_are_json_of_at_most_262144_bytes() {
        let code = |text: &str| parse_input(text).map_err(|e| e.code);
        assert_eq!(code("{}"), Ok(json!({})));
        assert_eq!(code("{"), Err("InvalidExecutionInput".to_owned()));
        let long = format!("\"{}\"", "x".repeat(262_143));
        assert_eq!(code(&long), Err("ValidationException".to_owned()));
    }
}
