//! Parts of the stack that the manifest decides: jobs, rules, alarms.

use serde::Serialize;

use crate::manifest::Manifest;

/// Memory of the drift check: it holds the clean table and the newest forecasts.
const DRIFT_MEMORY_MB: u32 = 512;

/// A Lambda function of the jobs' package.
#[derive(Serialize)]
pub(super) struct Job {
    pub(super) logical_id: &'static str,
    /// The package's handler, and the function's name.
    handler: &'static str,
    description: &'static str,
    memory_mb: u32,
    trains: bool,
    asks_server: bool,
}

/// Something that starts a state machine by itself.
#[derive(Serialize)]
pub(super) struct Rule {
    logical_id: &'static str,
    name: &'static str,
    description: &'static str,
    /// On new raw data when absent.
    schedule: Option<String>,
    /// Logical ID of the state machine.
    machine: &'static str,
    /// Input of the execution.
    input: &'static str,
}

/// Something that tells people of a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Alarm {
    logical_id: String,
    name: String,
    description: &'static str,
    namespace: &'static str,
    metric: &'static str,
    dimension: &'static str,
    /// Logical ID of what the dimension names.
    resource: String,
    statistic: &'static str,
    period_secs: u32,
    threshold: u32,
}

/// The functions of the jobs' package that the manifest asks for.
pub(super) fn jobs(manifest: &Manifest) -> Vec<Job> {
    let train = manifest.retrain.as_ref().map(|retrain| Job {
        logical_id: "TrainJob",
        handler: "train",
        description: "Trains, and promotes only a better model",
        memory_mb: retrain.memory_mb,
        trains: true,
        asks_server: false,
    });
    let drift = manifest.drift.as_ref().map(|_| Job {
        logical_id: "DriftJob",
        handler: "drift",
        description: "Compares what the model sees, says and said with its backtest",
        memory_mb: DRIFT_MEMORY_MB,
        trains: false,
        asks_server: true,
    });
    train.into_iter().chain(drift).collect()
}

/// What starts by itself.
pub(super) fn rules(manifest: &Manifest) -> Vec<Rule> {
    const TRAIN: &str = r#"{"train":true}"#;
    let (retrain, drift) = (manifest.retrain.as_ref(), manifest.drift.as_ref());
    let on_schedule = retrain.and_then(|r| r.schedule.clone()).map(|schedule| Rule {
        logical_id: "TrainOnSchedule",
        name: "train-on-schedule",
        description: "Runs the pipeline with training",
        schedule: Some(schedule),
        machine: "StateMachine",
        input: TRAIN,
    });
    let on_new_data = retrain.filter(|r| r.on_new_data).map(|_| Rule {
        logical_id: "TrainOnNewData",
        name: "train-on-new-data",
        description: "Runs the pipeline with training when new raw data arrive",
        schedule: None,
        machine: "StateMachine",
        input: TRAIN,
    });
    let check = drift.map(|drift| Rule {
        logical_id: "CheckDrift",
        name: "check-drift",
        description: "Looks for drift",
        schedule: Some(drift.schedule.clone()),
        machine: "DriftMachine",
        input: "{}",
    });
    [on_schedule, on_new_data, check].into_iter().flatten().collect()
}

/// What ends badly without anybody seeing it. Errors of functions are no alarm of their own: an
/// attempt that is repeated with success is no failure, and one that is not ends the state
/// machine's run.
pub(super) fn alarms(manifest: &Manifest, server_id: &str) -> Vec<Alarm> {
    let mut alarms = machine_alarms("StateMachine", "", "run");
    if manifest.drift.is_some() {
        alarms.extend(machine_alarms("DriftMachine", "drift-", "drift"));
    }
    alarms.extend(rules(manifest).into_iter().map(|rule| Alarm {
        logical_id: format!("{}NotStarted", rule.logical_id),
        name: format!("{}-not-started", rule.name),
        description: "A rule could not start what it starts",
        namespace: "AWS/Events",
        metric: "FailedInvocations",
        dimension: "RuleName",
        resource: rule.logical_id.to_owned(),
        statistic: "Sum",
        period_secs: 300,
        threshold: 1,
    }));
    alarms.push(Alarm {
        logical_id: "ServerUnreachable".to_owned(),
        name: "server-unreachable".to_owned(),
        description: "The model server's instance fails its status checks",
        namespace: "AWS/EC2",
        metric: "StatusCheckFailed",
        dimension: "InstanceId",
        resource: server_id.to_owned(),
        statistic: "Sum",
        period_secs: 300,
        // One check a minute: a single one may fail while the instance starts.
        threshold: 2,
    });
    alarms
}

/// The two ways in which a run ends badly. An aborted one was aborted by somebody.
fn machine_alarms(machine: &str, prefix: &str, what: &str) -> Vec<Alarm> {
    let alarm = |id: &str, name: &str, description, metric| Alarm {
        logical_id: format!("{machine}{id}"),
        name: format!("{prefix}{name}"),
        description,
        namespace: "AWS/States",
        metric,
        dimension: "StateMachineArn",
        resource: machine.to_owned(),
        statistic: "Sum",
        period_secs: 300,
        threshold: 1,
    };
    let (failed, timed_out) = match what {
        "drift" => ("A check for drift failed", "A check for drift took too long"),
        _ => ("A run of the state machine failed", "A run of the state machine took too long"),
    };
    vec![
        alarm("Failed", "executions-failed", failed, "ExecutionsFailed"),
        alarm("TimedOut", "executions-timed-out", timed_out, "ExecutionsTimedOut"),
    ]
}
