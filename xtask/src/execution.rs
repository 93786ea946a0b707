//! Runs state machines to their ends.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::{Value, json};
use steppe_aws::{ExecutionView, HistoryEvent, Passed};
use steppe_plan::names::Names;
use steppe_plan::status::ExecutionStatus;
use steppe_wire::hint::{Hinted, parts};

use crate::deployment::Deployment;
use crate::freshness::run_of_all;
use crate::interrupt::UnderWay;

/// Longest time of an execution.
const EXECUTION_LIMIT: Duration = Duration::from_secs(4 * 60 * 60);
/// What to do about a run that failed in the middle.
const REDRIVE: &str = "when that is mended, `cargo xtask redrive` goes on where it failed";
/// Longest time until an execution that was started is known: reads may be old.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(30);
/// Failed looks at an execution that are borne.
const FAILURES_MAX: u32 = 5;

/// An execution that succeeded.
#[derive(Debug, Clone)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// Its output.
    pub output: Value,
}

/// The input of a run for `series`, all of them when none is named, with that version of the model:
/// the server looks whether it has just been promoted, and no other version answers.
pub fn pinned_run(version: &str, series: &[String]) -> Value {
    let mut input = run_of_all(version);
    if !series.is_empty() {
        input["series"] = json!(series);
    }
    input
}

/// Starts an execution and waits until it has succeeded.
pub async fn run_to_end(ours: &Deployment, machine: &str, input: &Value) -> Result<Execution> {
    let arn = ours.aws().start_execution(machine, input).await?;
    to_end(ours, arn).await
}

/// Waits until an execution has succeeded.
pub async fn to_end(ours: &Deployment, arn: String) -> Result<Execution> {
    let aws = ours.aws();
    let _under_way = UnderWay::begin(&format!("the execution goes on in the cloud: {arn}"));
    let (started, mut pause, mut failures) = (Instant::now(), Duration::from_millis(50), 0);
    loop {
        let view = match aws.execution(&arn).await {
            Ok(view) => view,
            Err(error) if error.is_passing() && failures < FAILURES_MAX => {
                failures += 1;
                None
            }
            Err(error) => return Err(error.into()),
        };
        match view {
            Some(ExecutionView { status: ExecutionStatus::Succeeded, output, .. }) => {
                return Ok(Execution { arn, output: output.unwrap_or_default() });
            }
            Some(view) if view.status.is_failure() => {
                let mut why = failure(&view, &arn, ours.names());
                // Why it failed matters more than that its history cannot be read.
                if !is_decided(ours, &arn).await.unwrap_or(true) {
                    why = why.and(REDRIVE);
                }
                bail!(why)
            }
            Some(_) if started.elapsed() > EXECUTION_LIMIT => bail!(Hinted::new(
                format!(
                    "the execution still runs after {} hours",
                    EXECUTION_LIMIT.as_secs() / 3600
                ),
                format!("its history tells where it is: {arn}"),
            )),
            // What was just started may not be known everywhere yet.
            None if started.elapsed() > UNKNOWN_LIMIT => {
                bail!("the execution {arn} was started, but is not known")
            }
            _ => tokio::time::sleep(pause).await,
        }
        pause = (pause * 5 / 4).min(Duration::from_secs(3));
    }
}

/// Whether an execution of a run that failed ended in a state that does nothing but fail; so does
/// one of another machine, for which nobody goes on.
pub async fn is_decided(ours: &Deployment, arn: &str) -> Result<bool> {
    let machine = ours.output("StateMachineArn")?;
    if !arn.starts_with(&format!("{}:", machine.replacen(":stateMachine:", ":execution:", 1))) {
        return Ok(true);
    }
    let events = ours.aws().history(arn).await?;
    let entered = |event: &HistoryEvent| match &event.passed {
        Some(Passed::Entered(state)) => Some(state.clone()),
        _ => None,
    };
    let Some(last) = events.iter().rev().find_map(entered) else { return Ok(false) };
    Ok(ours.aws().definition(machine).await?["States"][&last]["Type"] == "Fail")
}

/// Why an execution failed, with the hints of whatever it ran.
fn failure(view: &ExecutionView, arn: &str, names: &Names) -> Hinted {
    let (error, cause) = view.failure.clone().unwrap_or_default();
    let (message, mut hints) = parts(&cause_in_words(&cause));
    hints.push(format!("the whole story is in the history of {arn}"));
    hints.extend(grants(&cause, names));
    Hinted::with(format!("the execution ended with {}: {error}: {message}", view.status), hints)
}

/// What lets the stack's queries read its catalogue, where Lake Formation has refused them.
/// <https://docs.aws.amazon.com/lake-formation/latest/dg/granting-table-permissions.html>
fn grants(cause: &str, names: &Names) -> Option<String> {
    if !cause.contains("Lake Formation") {
        return None;
    }
    let role =
        format!("arn:{}:iam::{}:role/{}-workflow", names.partition(), names.account, names.stack());
    let database = names.database();
    let grant = |permission: &str, resource: String| {
        format!(
            "`aws lakeformation grant-permissions --principal DataLakePrincipalIdentifier={role} \
             --permissions {permission} --resource '{resource}'`"
        )
    };
    Some(format!(
        "this account lets Lake Formation decide about the Glue catalogue; its administrator \
         grants what the queries need: {} and {}",
        grant("DESCRIBE", format!("{{\"Database\":{{\"Name\":\"{database}\"}}}}")),
        grant(
            "SELECT",
            format!("{{\"Table\":{{\"DatabaseName\":\"{database}\",\"TableWildcard\":{{}}}}}}")
        )
    ))
}

/// The message in a cause, which services give as JSON.
fn cause_in_words(cause: &str) -> String {
    let parsed: Value = serde_json::from_str(cause).unwrap_or_default();
    let candidates =
        [&parsed["ErrorMessage"], &parsed["errorMessage"], &parsed["Status"]["StateChangeReason"]];
    candidates.iter().find_map(|c| c.as_str()).unwrap_or(cause).to_owned()
}
