//! The API of Map Runs.
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeMapRun.html>,
//! <https://docs.aws.amazon.com/step-functions/latest/apireference/API_UpdateMapRun.html>

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::{Execution, find, page, redrive};
use super::runs::{self, MapRun};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

fn no_run(arn: &str) -> ApiError {
    ApiError::new("ResourceNotFound", format!("Resource not found: '{arn}'"))
}

/// The Map Run that a call names, when the caller may do this with it.
pub fn allowed<'a>(call: &Call<'a>) -> ApiResult<(&'a str, Arc<MapRun>)> {
    let arn = call.required("mapRunArn")?;
    call.authorize(arn)?;
    let run = call.cloud.services.states.map_runs.get(arn);
    Ok((arn, run.ok_or_else(|| no_run(arn))?))
}

/// `DescribeMapRun`.
pub fn describe(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let (arn, run) = allowed(call)?;
    let mut out = head(arn, &run);
    out["status"] = run.status.clone().into();
    out["maxConcurrency"] = run.limits.concurrency.into();
    out["toleratedFailureCount"] = run.limits.failures.unwrap_or(0).into();
    out["toleratedFailurePercentage"] = run.limits.failures_percent.unwrap_or(0).into();
    out["redriveCount"] = run.redrives.into();
    if let Some(redriven) = run.redriven {
        out["redriveDate"] = epoch_secs(redriven).into();
    }
    let children = runs::children(cloud, arn);
    out["executionCounts"] = counts(cloud, &run, &children, (run.children, run.written), |_| 1);
    let items = |child: &Execution| child.items;
    out["itemCounts"] = counts(cloud, &run, &children, (run.items, run.items_written), items);
    Ok(out)
}

fn head(arn: &str, run: &MapRun) -> Value {
    let mut out = json!({
        "mapRunArn": arn, "executionArn": run.execution, "startDate": epoch_secs(run.started),
    });
    if let Some(stopped) = run.stopped {
        out["stopDate"] = epoch_secs(stopped).into();
    }
    out
}

fn counts(
    cloud: &Cloud,
    run: &MapRun,
    children: &[(String, Arc<Execution>)],
    (total, written): (u64, u64),
    weight: impl Fn(&Execution) -> u64,
) -> Value {
    let sum = |counts: &dyn Fn(&Execution) -> bool| -> u64 {
        children.iter().filter(|(_, child)| counts(child)).map(|(_, child)| weight(child)).sum()
    };
    let of = |status: &str| {
        sum(&|child| child.status == status && !runs::awaits_redrive(cloud, run, child))
    };
    let lost = |child: &Execution| {
        child.stopped.is_some()
            && child.status != "SUCCEEDED"
            && redrive::refusal(cloud, child).is_some()
    };
    json!({
        "pending": total.saturating_sub(sum(&|_| true)),
        "running": of("RUNNING"), "succeeded": of("SUCCEEDED"), "failed": of("FAILED"),
        "timedOut": of("TIMED_OUT"), "aborted": of("ABORTED"), "total": total,
        "resultsWritten": written, "failuresNotRedrivable": sum(&lost),
        "pendingRedrive": sum(&|child| runs::awaits_redrive(cloud, run, child)),
    })
}

/// `ListMapRuns`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let (arn, _) = find(call)?;
    let mut runs = runs::of_execution(cloud, arn);
    runs.sort_by_key(|(_, run)| std::cmp::Reverse(run.started));
    let shown = runs.iter().map(|(arn, run)| {
        let mut out = head(arn, run);
        out["stateMachineArn"] = runs::child_machine(arn).into();
        out
    });
    page(params, "mapRuns", shown.collect())
}

/// `UpdateMapRun`: other limits while it runs.
pub fn update(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let (arn, _) = allowed(call)?;
    let number = |name: &str, most: u64| match &params[name] {
        Value::Null => Ok(None),
        value => match value.as_u64().filter(|n| *n <= most) {
            Some(number) => Ok(Some(number)),
            None => Err(ApiError::new(
                "ValidationException",
                format!("{name} must be a whole number from 0 to {most}, but is {value}"),
            )),
        },
    };
    let concurrency = number("maxConcurrency", u64::MAX)?;
    let failures = number("toleratedFailureCount", u64::MAX)?;
    let percent = number("toleratedFailurePercentage", 100)?;
    if concurrency.or(failures).or(percent).is_none() {
        let message = "Must specify at least one field to update";
        return Err(ApiError::new("ValidationException", message));
    }
    let changed = cloud.services.states.map_runs.update(arn, |run| {
        if run.status != "RUNNING" {
            return false;
        }
        run.limits.concurrency = concurrency.unwrap_or(run.limits.concurrency);
        run.limits.failures = failures.or(run.limits.failures);
        run.limits.failures_percent = percent.or(run.limits.failures_percent);
        true
    })?;
    match changed {
        Some(true) => {
            cloud.services.states.map_runs_changed.notify_waiters();
            Ok(json!({}))
        }
        _ => Err(ApiError::new("ValidationException", "Map Run is already completed")),
    }
}
