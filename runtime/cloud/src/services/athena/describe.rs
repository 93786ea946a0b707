//! Executions as the API describes them.

use serde_json::{Value, json};

use super::{ENGINE_VERSION, PAGE_MAX, QueryExecution, find, group_arn, ids, page, work_groups};
use crate::kernel::cloud::epoch_secs;
use crate::kernel::error::ApiResult;
use crate::kernel::service::Call;

/// Athena's numbers of errors that statements cause, as far as others have seen them.
const ERROR_TYPES: [(&str, u64); 9] = [
    ("COLUMN_NOT_FOUND", 1006),
    ("DIVISION_BY_ZERO", 1001),
    ("FUNCTION_NOT_FOUND", 1303),
    ("INVALID_CAST_ARGUMENT", 1100),
    ("NOT_SUPPORTED", 1200),
    ("SCHEMA_NOT_FOUND", 1301),
    ("SYNTAX_ERROR", 1000),
    ("TABLE_NOT_FOUND", 1301),
    ("TYPE_MISMATCH", 1002),
];

/// As the API describes an execution.
pub fn describe(id: &str, execution: &QueryExecution) -> Value {
    let (kind, sub_kind) = execution.statement.types();
    let mut context = json!({});
    if let Some(database) = &execution.database {
        context["Database"] = database.clone().into();
    }
    if let Some(catalog) = &execution.catalog {
        context["Catalog"] = catalog.clone().into();
    }
    let mut out = json!({
        "QueryExecutionId": id, "Query": execution.sql, "StatementType": kind,
        "Status": status(execution), "QueryExecutionContext": context,
        "ResultConfiguration": { "OutputLocation": execution.output },
        "ResultReuseConfiguration": { "ResultReuseByAgeConfiguration": { "Enabled": false } },
        "WorkGroup": execution.work_group, "Statistics": statistics(execution),
        "EngineVersion": {
            "SelectedEngineVersion": ENGINE_VERSION, "EffectiveEngineVersion": ENGINE_VERSION,
        },
    });
    if let Some(sub_kind) = sub_kind {
        out["SubstatementType"] = sub_kind.into();
    }
    if !execution.parameters.is_empty() {
        out["ExecutionParameters"] = json!(execution.parameters);
    }
    out
}

fn status(execution: &QueryExecution) -> Value {
    let mut status =
        json!({ "State": execution.state, "SubmissionDateTime": epoch_secs(execution.submitted) });
    if let Some(completed) = execution.completed {
        status["CompletionDateTime"] = epoch_secs(completed).into();
    }
    if let Some(error) = &execution.error {
        status["StateChangeReason"] = error.clone().into();
    }
    if execution.state == "FAILED" {
        let message = execution.error.as_deref().unwrap_or_default();
        let name = message.split(':').next().unwrap_or_default();
        let (category, number) = error_type(message, name);
        status["AthenaError"] = json!({
            "ErrorCategory": category, "ErrorType": number, "Retryable": false,
            "ErrorMessage": message,
        });
    }
    status
}

/// Category 2 is what statements cause, 1 what the system does.
fn error_type(message: &str, name: &str) -> (u64, u64) {
    if let Some((_, number)) = ERROR_TYPES.iter().find(|(known, _)| *known == name) {
        return (2, *number);
    }
    // What Hive refuses.
    match message.strip_prefix("FAILED: ") {
        Some(what) if what.starts_with("ParseException") => (1, 1003),
        Some(what) if what.contains("not found") || what.contains("does not exist") => (2, 1301),
        Some(_) => (2, 1006),
        None => (1, 200),
    }
}

/// Times are measured: waiting here, planning and working by the engine, the rest is the service's.
fn statistics(execution: &QueryExecution) -> Value {
    let until = execution.completed.unwrap_or_else(jiff::Timestamp::now);
    let millis = |from: jiff::Timestamp, to: jiff::Timestamp| {
        u64::try_from(to.duration_since(from).as_millis()).unwrap_or(0)
    };
    let total = millis(execution.submitted, until);
    let queued = millis(execution.submitted, execution.started.unwrap_or(until));
    let engine = match (execution.engine_ms, execution.started) {
        // It has not told its own time: it is still at work, or failed.
        (0, Some(started)) => millis(started, until),
        (told, _) => told,
    };
    let mut told = json!({
        "DataScannedInBytes": execution.scanned_bytes, "EngineExecutionTimeInMillis": engine,
        "QueryPlanningTimeInMillis": execution.planning_ms, "QueryQueueTimeInMillis": queued,
        "TotalExecutionTimeInMillis": total, "ServicePreProcessingTimeInMillis": 0,
        "ServiceProcessingTimeInMillis": total.saturating_sub(queued + engine),
        "ResultReuseInformation": { "ReusedPreviousResult": false },
    });
    if let Some(manifest) = &execution.manifest {
        told["DataManifestLocation"] = manifest.clone().into();
    }
    told
}

/// `QueryRuntimeStatistics`: times, bytes in and rows out. There are no stages.
pub fn runtime(execution: &QueryExecution) -> Value {
    let statistics = statistics(execution);
    let times = [
        "QueryQueueTimeInMillis",
        "ServicePreProcessingTimeInMillis",
        "QueryPlanningTimeInMillis",
        "EngineExecutionTimeInMillis",
        "ServiceProcessingTimeInMillis",
        "TotalExecutionTimeInMillis",
    ];
    let mut timeline = json!({});
    for time in times {
        timeline[time] = statistics[time].clone();
    }
    let rows = json!({ "InputBytes": execution.scanned_bytes, "OutputRows": execution.rows });
    json!({ "Timeline": timeline, "Rows": rows })
}

/// `BatchGetQueryExecution`.
pub fn batch(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for id in ids(params, "QueryExecutionIds", PAGE_MAX)? {
        if cloud.services.athena.queries.contains(id) {
            let one = json!({ "QueryExecutionId": id });
            let (id, execution) = find(call, &one)?;
            found.push(describe(id, &execution));
        } else {
            missing.push(json!({
                "QueryExecutionId": id, "ErrorCode": "QUERY_EXECUTION_NOT_FOUND",
                "ErrorMessage": format!("QueryExecution {id} was not found"),
            }));
        }
    }
    Ok(json!({ "QueryExecutions": found, "UnprocessedQueryExecutionIds": missing }))
}

/// `ListQueryExecutions`, newest first.
pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let group = params["WorkGroup"].as_str().unwrap_or(work_groups::PRIMARY);
    call.authorize(&group_arn(cloud, group))?;
    work_groups::find(cloud, group)?;
    let mut executions = cloud.services.athena.queries.all();
    executions.retain(|(_, e)| e.work_group == group);
    executions.sort_by_key(|(_, e)| std::cmp::Reverse(e.submitted));
    let ids = executions.into_iter().map(|(id, _)| id.into()).collect();
    page(params, "QueryExecutionIds", ids)
}
