//! Records of Map Runs, and the inputs of their children.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/concepts-examine-map-run.html>

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::super::interpreter::{Failure, Outcome};
use super::super::{Execution, redrive};
use super::supervisor::Input;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::ApiResult;

/// Redrives of one Map Run.
const REDRIVES_MAX: u32 = 1_000;

/// What bounds a Map Run; it can be changed while it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Limits {
    /// Children at once; 0 is AWS's default.
    pub concurrency: u64,
    /// Failed items that are tolerated, if there is such a limit.
    pub failures: Option<u64>,
    /// Percentage of failed items that is tolerated, if there is such a limit.
    pub failures_percent: Option<u64>,
}

impl Limits {
    /// Those of a Map.
    pub fn of(map: &Value) -> Self {
        Self {
            concurrency: map["MaxConcurrency"].as_u64().unwrap_or(0),
            failures: map["ToleratedFailureCount"].as_u64(),
            failures_percent: map["ToleratedFailurePercentage"].as_u64(),
        }
    }

    /// Whether that many failed items of `total` are too many. Without limits none may fail.
    pub fn are_exceeded(&self, failed: u64, total: u64) -> bool {
        let percent = match (self.failures, self.failures_percent) {
            (None, None) => Some(0),
            (_, percent) => percent,
        };
        self.failures.is_some_and(|most| failed > most)
            || percent.is_some_and(|most| failed * 100 > most * total)
    }
}

/// A Map Run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MapRun {
    /// The execution that it belongs to.
    pub execution: String,
    /// The state machine.
    pub machine: String,
    /// `RUNNING`, `SUCCEEDED`, `FAILED` or `ABORTED`.
    pub status: String,
    /// What bounds it.
    pub limits: Limits,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub stopped: Option<Timestamp>,
    /// How often it was redriven.
    pub redrives: u32,
    /// When it was last redriven.
    pub redriven: Option<Timestamp>,
    /// Children, started or not.
    pub children: u64,
    /// Items of all children.
    pub items: u64,
    /// Children whose results were written.
    pub written: u64,
    /// Items of these.
    pub items_written: u64,
}

/// `3c39a231-69bb-3d89-8607-9e124eddbb0b` of a Map Run's ARN.
pub fn id(run: &str) -> &str {
    run.rsplit(':').next().unwrap_or(run)
}

/// `arn:aws:states:us-east-1:000000000000:execution:machine/label:` before the names of children.
fn children_prefix(run: &str) -> String {
    let labelled = run.rsplit_once(':').map_or(run, |(labelled, _)| labelled);
    format!("{}:", labelled.replacen(":mapRun:", ":execution:", 1))
}

/// ARN of a child.
pub fn child_arn(run: &str, name: &str) -> String {
    format!("{}{name}", children_prefix(run))
}

/// ARN of the machine that a child runs: `…:stateMachine:machine/label`.
pub fn child_machine(run: &str) -> String {
    let labelled = run.rsplit_once(':').map_or(run, |(labelled, _)| labelled);
    labelled.replacen(":mapRun:", ":stateMachine:", 1)
}

/// The children of a Map Run that were started.
pub fn children(cloud: &Cloud, run: &str) -> Vec<(String, Arc<Execution>)> {
    let mut children = cloud.services.states.executions.range(&children_prefix(run), None);
    children.retain(|(_, child)| child.map_run.as_deref() == Some(run));
    children
}

/// The Map Runs of an execution.
pub fn of_execution(cloud: &Cloud, execution: &str) -> Vec<(String, Arc<MapRun>)> {
    let machine = execution.rsplit_once(':').map_or(execution, |(machine, _)| machine);
    let prefix = format!("{}/", machine.replacen(":execution:", ":mapRun:", 1));
    let mut runs = cloud.services.states.map_runs.range(&prefix, None);
    runs.retain(|(_, run)| run.execution == execution);
    runs
}

fn runtime(error: impl std::fmt::Display) -> Failure {
    Failure::new("States.Runtime", format!("the embedded cloud failed: {error}"))
}

/// Makes the record of a Map Run; its ARN.
pub fn create(
    cloud: &Cloud,
    execution: &str,
    machine: &str,
    label: &str,
    limits: Limits,
) -> Result<String, Failure> {
    let of_machine = machine.replacen(":stateMachine:", ":mapRun:", 1);
    let arn = format!("{of_machine}/{label}:{}", uuid::Uuid::new_v4());
    let run = MapRun {
        execution: execution.to_owned(),
        machine: machine.to_owned(),
        status: "RUNNING".to_owned(),
        limits,
        started: cloud.clock.now(),
        stopped: None,
        redrives: 0,
        redriven: None,
        children: 0,
        items: 0,
        written: 0,
        items_written: 0,
    };
    cloud.services.states.map_runs.put(&arn, run).map_err(runtime)?;
    Ok(arn)
}

/// Goes on with a Map Run after what is left of it has ended: how often that was done, or nothing
/// when it had succeeded.
pub async fn redrive(cloud: &Cloud, arn: &str) -> Result<Option<u32>, Failure> {
    loop {
        // Before the look, so that no change is missed.
        let changed = cloud.services.states.map_runs_changed.notified();
        match cloud.services.states.map_runs.get(arn) {
            Some(run) if run.status == "RUNNING" => changed.await,
            Some(run) if run.status == "SUCCEEDED" => return Ok(None),
            Some(run) if run.redrives >= REDRIVES_MAX => {
                let cause = format!("the Map Run {arn} was redriven {REDRIVES_MAX} times");
                return Err(Failure::new("States.Runtime", cause));
            }
            _ => break,
        }
    }
    let change = |run: &mut MapRun| {
        run.redrives += 1;
        (run.redriven, run.stopped) = (Some(cloud.clock.now()), None);
        run.status = "RUNNING".to_owned();
        run.redrives
    };
    cloud.services.states.map_runs.update(arn, change).map_err(runtime)
}

/// Whether a Map Run is under way.
pub fn is_running(cloud: &Cloud, arn: &str) -> bool {
    cloud.services.states.map_runs.get(arn).is_some_and(|run| run.stopped.is_none())
}

/// The end of a Map Run.
pub fn settle(cloud: &Cloud, arn: &str, result: &Outcome) {
    end(cloud, arn, if result.is_ok() { "SUCCEEDED" } else { "FAILED" });
}

/// Ends a Map Run that has not ended.
pub fn end(cloud: &Cloud, arn: &str, status: &str) {
    if is_running(cloud, arn) {
        cloud.services.states.map_runs.settle(arn, |run| {
            (run.status, run.stopped) = (status.to_owned(), Some(cloud.clock.now()));
        });
    }
    cloud.services.states.map_runs_changed.notify_waiters();
}

fn path(cloud: &Cloud, arn: &str) -> PathBuf {
    let file = format!("{}.run.ndjson", hex::encode(&Sha256::digest(arn)[..16]));
    cloud.path("executions").join(file)
}

/// Keeps the inputs of all children before the first starts: a redrive has the same.
pub fn keep_inputs(cloud: &Cloud, arn: &str, inputs: &[Input]) -> Result<(), Failure> {
    let mut bytes = vec![];
    for input in inputs {
        serde_json::to_writer(&mut bytes, input).map_err(runtime)?;
        bytes.push(b'\n');
    }
    crate::kernel::durable::replace_file(&path(cloud, arn), &bytes).map_err(runtime)?;
    let change = |run: &mut MapRun| {
        run.children = inputs.len() as u64;
        run.items = inputs.iter().map(|input| input.items).sum();
    };
    cloud.services.states.map_runs.update(arn, change).map_err(runtime).map(|_| ())
}

/// The inputs of all children, if they are known.
pub fn inputs(cloud: &Cloud, arn: &str) -> Result<Option<Vec<Input>>, Failure> {
    let text = match std::fs::read_to_string(path(cloud, arn)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(runtime(error)),
    };
    let inputs: Result<Vec<Input>, _> = text.lines().map(serde_json::from_str).collect();
    inputs.map(Some).map_err(runtime)
}

/// Forgets a Map Run.
pub fn forget(cloud: &Cloud, arn: &str) -> ApiResult<()> {
    cloud.services.states.map_runs.remove(arn)?;
    match std::fs::remove_file(path(cloud, arn)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            tracing::error!("the inputs of {arn} stay: {e}");
        }
        _ => {}
    }
    Ok(())
}

/// Ends Map Runs that an earlier process left running and whose executions have ended.
pub fn end_orphans(cloud: &Cloud) {
    for (arn, run) in cloud.services.states.map_runs.all() {
        let parent = cloud.services.states.executions.get(&run.execution);
        if parent.is_none_or(|parent| parent.stopped.is_some()) {
            end(cloud, &arn, "ABORTED");
        }
    }
}

/// Whether a child waits for its turn in a Map Run that is redriven.
pub fn awaits_redrive(cloud: &Cloud, run: &MapRun, child: &Execution) -> bool {
    let since = run.redriven.filter(|_| run.status == "RUNNING");
    let is_earlier = |since: Timestamp| child.stopped.is_some_and(|stopped| stopped < since);
    since.is_some_and(is_earlier)
        && child.status != "SUCCEEDED"
        && redrive::refusal(cloud, child).is_none()
}

/// The Map Run of a child.
pub fn parent(cloud: &Cloud, child: &Execution) -> Option<Arc<MapRun>> {
    cloud.services.states.map_runs.get(child.map_run.as_deref()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_run_and_its_children_belong_together() {
        let run = "arn:aws:states:r:1:mapRun:m/label:4f-1";
        assert_eq!(id(run), "4f-1");
        assert_eq!(child_arn(run, "x"), "arn:aws:states:r:1:execution:m/label:x");
        assert_eq!(child_machine(run), "arn:aws:states:r:1:stateMachine:m/label");
    }

    #[test]
    fn tolerance_ends_above_its_limits() {
        let limits = |failures: Option<u64>, failures_percent: Option<u64>| Limits {
            concurrency: 0,
            failures,
            failures_percent,
        };
        let none = limits(None, None);
        assert!(!none.are_exceeded(0, 10) && none.are_exceeded(1, 10));
        assert!(!none.are_exceeded(0, 0));
        let count = limits(Some(2), None);
        assert!(!count.are_exceeded(2, 2) && count.are_exceeded(3, 100));
        let percent = limits(None, Some(20));
        assert!(!percent.are_exceeded(2, 10) && percent.are_exceeded(3, 10));
        assert!(percent.are_exceeded(3, 14) && !percent.are_exceeded(3, 15));
        assert!(!limits(None, Some(100)).are_exceeded(7, 7));
        let both = limits(Some(5), Some(10));
        assert!(both.are_exceeded(2, 10) && both.are_exceeded(6, 1_000));
        assert!(!both.are_exceeded(5, 1_000));
    }
}
