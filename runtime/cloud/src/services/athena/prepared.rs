//! Prepared statements: statements with `?` that a work group keeps, made by the API and by
//! `PREPARE`, and run by `EXECUTE`.
//!
//! <https://docs.aws.amazon.com/athena/latest/ug/querying-with-prepared-statements.html>

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::named_queries::statement;
use super::{group_arn, ids, invalid, page, work_groups};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::service::Call;
use crate::services::required;

/// Characters of a name.
const NAME_CHARS_MAX: usize = 256;
/// Statements of one batch.
const BATCH_MAX: usize = 25;

/// A prepared statement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PreparedStatement {
    /// Its name.
    pub name: String,
    /// Its work group.
    pub work_group: String,
    /// The statement.
    pub sql: String,
    /// What it answers.
    pub description: String,
    /// When it was made or changed.
    pub modified: Timestamp,
}

fn key(group: &str, name: &str) -> String {
    format!("{group}/{name}")
}

/// A prepared statement by its name, for who may read it.
pub fn find(
    cloud: &Cloud,
    caller: &Caller,
    group: &str,
    name: &str,
) -> ApiResult<Arc<PreparedStatement>> {
    cloud.authorize(caller, "athena:GetPreparedStatement", &group_arn(cloud, group), &[])?;
    cloud.services.athena.prepared.get(&key(group, name)).ok_or_else(|| missing(group, name))
}

fn missing(group: &str, name: &str) -> ApiError {
    let message = format!("PreparedStatement {name} was not found in workGroup {group}");
    ApiError::new("ResourceNotFoundException", message)
}

/// The work group of a request.
fn group<'a>(
    cloud: &Cloud,
    caller: &Caller,
    params: &'a Value,
    action: &str,
) -> ApiResult<&'a str> {
    let group = required(params, "WorkGroup")?;
    cloud.authorize(caller, &format!("athena:{action}"), &group_arn(cloud, group), &[])?;
    work_groups::find(cloud, group)?;
    Ok(group)
}

/// `CreatePreparedStatement`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let group = group(cloud, caller, params, "CreatePreparedStatement")?;
    let name = required(params, "StatementName")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | ':');
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins || !name.chars().all(fits) || name.len() > NAME_CHARS_MAX {
        return Err(invalid(format!("`{name}` is not a name of a prepared statement")));
    }
    let made = PreparedStatement {
        name: name.to_owned(),
        work_group: group.to_owned(),
        sql: statement(params, "QueryStatement")?,
        description: params["Description"].as_str().unwrap_or_default().to_owned(),
        modified: cloud.clock.now(),
    };
    if !cloud.services.athena.prepared.create(&key(group, name), made)? {
        let what = format!("Prepared statement {name} already exists in WorkGroup {group}");
        return Err(invalid(what));
    }
    Ok(json!({}))
}

/// `UpdatePreparedStatement`.
pub fn update(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let group = group(cloud, caller, params, "UpdatePreparedStatement")?;
    let (name, sql) = (required(params, "StatementName")?, statement(params, "QueryStatement")?);
    let changed = cloud.services.athena.prepared.update(&key(group, name), |made| {
        made.sql = sql;
        made.modified = cloud.clock.now();
        if let Some(description) = params["Description"].as_str() {
            made.description = description.to_owned();
        }
    })?;
    changed.map(|()| json!({})).ok_or_else(|| missing(group, name))
}

/// `DeletePreparedStatement`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let group = group(cloud, caller, params, "DeletePreparedStatement")?;
    let name = required(params, "StatementName")?;
    let removed = cloud.services.athena.prepared.remove(&key(group, name))?;
    removed.map(|_| json!({})).ok_or_else(|| missing(group, name))
}

/// `GetPreparedStatement`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let group = group(cloud, caller, params, "GetPreparedStatement")?;
    let found = find(cloud, caller, group, required(params, "StatementName")?)?;
    Ok(json!({ "PreparedStatement": shown(&found) }))
}

/// `ListPreparedStatements`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let group = group(cloud, caller, params, "ListPreparedStatements")?;
    let all = cloud.services.athena.prepared.range(&key(group, ""), None).into_iter();
    let all = all.map(|(_, made)| {
        json!({ "StatementName": made.name, "LastModifiedTime": epoch_secs(made.modified) })
    });
    page(params, "PreparedStatements", all.collect())
}

/// `BatchGetPreparedStatement`.
pub fn batch(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let group = group(cloud, caller, params, "BatchGetPreparedStatement")?;
    let (mut found, mut unprocessed) = (Vec::new(), Vec::new());
    for name in ids(params, "PreparedStatementNames", BATCH_MAX)? {
        match cloud.services.athena.prepared.get(&key(group, name)) {
            Some(made) => found.push(shown(&made)),
            None => unprocessed.push(json!({
                "StatementName": name, "ErrorCode": "PREPARED_STATEMENT_NOT_FOUND",
                "ErrorMessage": missing(group, name).message,
            })),
        }
    }
    Ok(json!({
        "PreparedStatements": found, "UnprocessedPreparedStatementNames": unprocessed,
    }))
}

fn shown(made: &PreparedStatement) -> Value {
    json!({
        "StatementName": made.name, "QueryStatement": made.sql, "WorkGroupName": made.work_group,
        "Description": made.description, "LastModifiedTime": epoch_secs(made.modified),
    })
}
