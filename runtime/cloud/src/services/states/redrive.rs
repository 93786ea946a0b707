//! `RedriveExecution`: an execution that did not succeed goes on where it was.
//!
//! What it did is in its history ([`super::progress`]), what it runs is the definition that it was
//! started with. Expressions of a Map that is redriven (`Items`, and `ItemSelector` for iterations
//! that had not begun) are evaluated again; children of a Map Run have the inputs that they had.
//! <https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html>,
//! <https://docs.aws.amazon.com/step-functions/latest/dg/redrive-map-run.html>,
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_RedriveExecution.html>

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::task::JoinHandle;

use super::executions::{self, Beginning};
use super::history::EVENTS_MAX;
use super::{Execution, StateMachine, find};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Redrives of one execution.
const REDRIVES_MAX: u32 = 1_000;
/// How long after its end an execution can be redriven.
const REDRIVABLE_FOR: SignedDuration = SignedDuration::from_hours(14 * 24);
/// How long an execution may be open, from its start.
const OPEN_FOR: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Tokens of clients that are remembered, and for how long.
const TOKENS_MAX: usize = 10;
const TOKEN_FOR: SignedDuration = SignedDuration::from_mins(15);

/// Why an execution cannot be redriven, in AWS's words.
pub fn refusal(cloud: &Cloud, execution: &Execution) -> Option<&'static str> {
    refusal_at(execution, cloud.clock.now())
}

fn refusal_at(execution: &Execution, now: Timestamp) -> Option<&'static str> {
    let Some(stopped) = execution.stopped else {
        return Some("Execution is RUNNING and cannot be redriven");
    };
    if execution.status == "SUCCEEDED" {
        return Some("Execution is SUCCEEDED and cannot be redriven");
    }
    if execution.definition.is_none() && execution.map_run.is_none() {
        return Some("Execution was started before the launch of RedriveExecution");
    }
    // Room is needed for the event of the redrive and one more.
    if execution.events >= EVENTS_MAX - 1 {
        return Some("Execution history event limit exceeded");
    }
    if now.duration_since(execution.started) > OPEN_FOR {
        return Some("Execution has exceeded the max execution time");
    }
    if now.duration_since(stopped) > REDRIVABLE_FOR {
        return Some("Execution redrivable period exceeded");
    }
    (execution.redrives >= REDRIVES_MAX).then_some("Execution redrive limit exceeded")
}

/// `redriveStatus` and `redriveStatusReason`.
pub fn status(cloud: &Cloud, execution: &Execution) -> (&'static str, Option<&'static str>) {
    match refusal(cloud, execution) {
        Some(reason) => ("NOT_REDRIVABLE", Some(reason)),
        None if execution.map_run.is_some() => ("REDRIVABLE_BY_MAP_RUN", None),
        None => ("REDRIVABLE", None),
    }
}

fn not_redrivable(reason: &str) -> ApiError {
    ApiError::new("ExecutionNotRedrivable", reason)
}

/// `RedriveExecution`.
pub fn redrive(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let (arn, execution) = find(call)?;
    if execution.map_run.is_some() {
        let message = "RedriveExecution does not support labeled ARNs: a child workflow execution \
                       is redriven by its Map Run, with the parent workflow.";
        return Err(ApiError::new("ValidationException", message));
    }
    let token = call.text("clientToken");
    if token.is_some_and(|token| token.is_empty() || token.chars().count() > 64) {
        let message = "clientToken must have 1 to 64 characters";
        return Err(ApiError::new("ValidationException", message));
    }
    if token.is_some_and(|token| is_known(&execution, token, cloud.clock.now())) {
        let date = execution.redriven.unwrap_or(execution.started);
        return Ok(json!({ "redriveDate": epoch_secs(date) }));
    }
    let program = executions::program(cloud, &execution).map_err(not_redrivable)?;
    let redriven = begin(cloud, arn, token)?;
    let date = redriven.redriven.unwrap_or(redriven.started);
    executions::launch(cloud, arn.to_owned(), redriven, program, Beginning::Redriven);
    Ok(json!({ "redriveDate": epoch_secs(date) }))
}

/// Redrives a child for its Map Run.
pub fn child(
    cloud: &Arc<Cloud>,
    arn: &str,
    program: Arc<StateMachine>,
) -> ApiResult<JoinHandle<()>> {
    let redriven = begin(cloud, arn, None)?;
    Ok(executions::launch(cloud, arn.to_owned(), redriven, program, Beginning::Redriven))
}

/// Makes the record one of an execution that runs again, if it may; of two callers one does.
fn begin(cloud: &Cloud, arn: &str, token: Option<&str>) -> ApiResult<Execution> {
    let now = cloud.clock.now();
    let mut redriven = None;
    cloud.services.states.executions.replace(arn, |execution| {
        let mut execution = execution.cloned().ok_or_else(|| super::no_execution(arn))?;
        if let Some(reason) = refusal_at(&execution, now) {
            return Err(not_redrivable(reason));
        }
        execution.status = "RUNNING".to_owned();
        (execution.stopped, execution.failure) = (None, None);
        (execution.redrives, execution.redriven) = (execution.redrives + 1, Some(now));
        if let Some(token) = token {
            execution.tokens.push((token.to_owned(), now));
            let surplus = execution.tokens.len().saturating_sub(TOKENS_MAX);
            execution.tokens.drain(..surplus);
        }
        redriven = Some(execution.clone());
        Ok::<_, ApiError>(execution)
    })?;
    redriven.ok_or_else(|| super::no_execution(arn))
}

/// Whether a token was used for a redrive of late.
fn is_known(execution: &Execution, token: &str, now: Timestamp) -> bool {
    let mut tokens = execution.tokens.iter();
    tokens.any(|(known, used)| known == token && now.duration_since(*used) <= TOKEN_FOR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_redriven_says_why() {
        let now: Timestamp = "2026-06-01T00:00:00Z".parse().expect("a time");
        let before = |days: i64| now - SignedDuration::from_hours(24 * days);
        let failed = Execution {
            status: "FAILED".to_owned(),
            started: before(20),
            stopped: Some(before(14)),
            definition: Some("d".to_owned()),
            ..Execution::default()
        };
        let why = |change: &dyn Fn(&mut Execution)| {
            let mut execution = failed.clone();
            change(&mut execution);
            refusal_at(&execution, now)
        };
        assert_eq!(why(&|_| {}), None);
        assert_eq!(why(&|e| e.redrives = 999), None);
        assert_eq!(why(&|e| e.events = 24_998), None);
        for (change, words) in [
            (&(|e: &mut Execution| e.stopped = None) as &dyn Fn(&mut Execution), "is RUNNING"),
            (&|e| e.status = "SUCCEEDED".to_owned(), "is SUCCEEDED"),
            (&|e| e.definition = None, "before the launch"),
            (&|e| e.events = 24_999, "event limit exceeded"),
            (&|e| e.started = before(366), "max execution time"),
            (&|e| e.stopped = Some(before(15)), "redrivable period exceeded"),
            (&|e| e.redrives = 1_000, "redrive limit exceeded"),
        ] {
            let reason = why(change).expect("refused");
            assert!(reason.contains(words), "{reason}");
        }
    }
}
