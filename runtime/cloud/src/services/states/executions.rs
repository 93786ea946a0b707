//! Executions: started, watched, stopped, and ended whatever happens to the task that runs them.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::history::{self, History};
use super::interpreter::{self, Failure};
use super::map::runs;
use super::progress::Progress;
use super::{ChildInput, Execution, Known, StateMachine, limits, no_machine};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::eviction::Kept;
use crate::kernel::service::Call;
use crate::services::{cloudwatch, events};

/// Executions that are kept after they have ended, with their children, for as long as AWS keeps
/// them; it knows no number.
const KEPT: Kept = Kept { count_max: 10_000, days: 90 };

/// Error and cause of executions that an earlier process left running.
const ORPHANED: (&str, &str) =
    ("States.Aborted", "the embedded cloud stopped while the execution ran");

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
    launch(cloud, arn.clone(), execution, machine);
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
    Ok(launch(cloud, arn, execution, program))
}

/// Runs an execution whose record says that it runs.
pub fn launch(
    cloud: &Arc<Cloud>,
    arn: String,
    execution: Execution,
    program: Arc<StateMachine>,
) -> JoinHandle<()> {
    let stop = Arc::new(Stop::default());
    lock(cloud).insert(arn.clone(), stop.clone());
    if execution.map_run.is_none() {
        events::execution_changed(cloud, &arn, &execution);
    }
    tokio::spawn(watch(cloud.clone(), arn, execution, program, stop))
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

/// How an execution ended.
enum End {
    Done(Result<Value, Failure>),
    Stopped,
}

/// Runs an execution in a task of its own, so that also one that panics comes to an end.
async fn watch(
    cloud: Arc<Cloud>,
    arn: String,
    execution: Execution,
    machine: Arc<StateMachine>,
    stop: Arc<Stop>,
) {
    let (history, progress) = open_history(&cloud, &arn, &execution, &machine);
    let history = Arc::new(history);
    let mut task = tokio::spawn({
        let (cloud, arn, history) = (cloud.clone(), arn.clone(), history.clone());
        async move {
            let work = interpreter::run(&cloud, &arn, &execution, &machine, &history, progress);
            work.await
        }
    });
    let end = tokio::select! {
        done = &mut task => End::Done(done.unwrap_or_else(|error| {
            let cause = format!("the embedded cloud failed while it ran the execution: {error}");
            Err(Failure::new("States.Runtime", cause))
        })),
        () = stop.asked.notified() => {
            task.abort();
            // It must have let go of the history before a redrive goes on with it; that it was
            // stopped is no error.
            let _ = (&mut task).await;
            End::Stopped
        }
    };
    lock(&cloud).remove(&arn);
    settle(&cloud, &arn, &history, end, &stop);
    cloud.services.states.evaluator.rest();
}

/// The history with its event of the start or the redrive, and what was done before.
fn open_history(
    cloud: &Cloud,
    arn: &str,
    execution: &Execution,
    machine: &StateMachine,
) -> (History, Progress) {
    if execution.redrives == 0 {
        let history = History::new(cloud, arn);
        let begun = json!({ "input": execution.input.to_string(), "roleArn": machine.role });
        history.add("ExecutionStarted", json!({ "executionStartedEventDetails": begun }));
        return (history, Progress::default());
    }
    let (history, events) = History::resume(cloud, arn);
    let redriven = json!({ "redriveCount": execution.redrives });
    history.add("ExecutionRedriven", json!({ "executionRedrivenEventDetails": redriven }));
    (history, Progress::of(&events))
}

fn settle(cloud: &Arc<Cloud>, arn: &str, history: &History, end: End, stop: &Stop) {
    let (status, metric, event, output, failure) = match end {
        End::Done(Ok(output)) => ("SUCCEEDED", None, "Succeeded", Some(output), None),
        End::Done(Err(f)) if f.error == interpreter::EXECUTION_TIMEOUT => {
            let failure = ("States.Timeout".to_owned(), f.cause);
            ("TIMED_OUT", Some("ExecutionsTimedOut"), "TimedOut", None, Some(failure))
        }
        End::Done(Err(f)) => {
            ("FAILED", Some("ExecutionsFailed"), "Failed", None, Some((f.error, f.cause)))
        }
        End::Stopped => {
            let why = stop.why.get().cloned().unwrap_or_default();
            ("ABORTED", Some("ExecutionsAborted"), "Aborted", None, Some(why))
        }
    };
    let details = match (&output, &failure) {
        (Some(output), _) => json!({ "output": output.to_string() }),
        (None, Some((error, cause))) => json!({ "error": error, "cause": cause }),
        (None, None) => json!({}),
    };
    let details = json!({ (format!("execution{event}EventDetails")): details });
    history.add(&format!("Execution{event}"), details);
    let ended = cloud.services.states.executions.settle(arn, |e| {
        (e.status, e.stopped) = (status.to_owned(), Some(cloud.clock.now()));
        (e.output, e.failure) = (output, failure);
        e.events = history.events();
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

/// Marks executions that an earlier process left running: nothing works on them any more.
pub fn end_orphans(cloud: &Cloud) {
    let executions = &cloud.services.states.executions;
    for (arn, execution) in executions.rows(executions.chosen(|known| known.stopped.is_none())) {
        if execution.stopped.is_none() {
            let (error, cause) = ORPHANED;
            let (history, _) = History::resume(cloud, &arn);
            let details = json!({ "error": error, "cause": cause });
            history.add("ExecutionAborted", json!({ "executionAbortedEventDetails": details }));
            cloud.services.states.executions.settle(&arn, |e| {
                e.status = "ABORTED".to_owned();
                e.stopped = Some(cloud.clock.now());
                e.failure = Some((error.to_owned(), cause.to_owned()));
                e.events = history.events();
            });
        }
    }
    runs::end_orphans(cloud);
    forget_definitions(cloud);
}

/// Definitions that no execution was started with any more.
fn forget_definitions(cloud: &Cloud) {
    let all = cloud.services.states.executions.texts(["definition"]).into_iter();
    let used: BTreeSet<String> = all.filter_map(|(_, [definition])| definition).collect();
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
