//! Versions of tables: what each was before its changes.
//!
//! The present table is the newest version; an older one can be read and deleted, the present one
//! only read. Numbers grow from 0 and are never given again.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-catalog-tables.html>

use std::sync::Arc;

use serde_json::{Value, json};

use super::tables::described;
use super::{PAGES, Table, authorize, check_catalog, find_table, invalid, lower, not_found};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::kernel::store::NotStored;
use crate::services::required;

/// Whether a change keeps what was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    /// As a version.
    Keep,
    /// Not at all.
    Skip,
}

fn prefix(database: &str, table: &str) -> String {
    format!("{database}.{table}/")
}

fn key(table: &Table, version: u64) -> String {
    format!("{}{version:020}", prefix(&table.database, &table.name))
}

/// Makes or changes a table: what it was becomes a version of it.
pub fn put(
    cloud: &Cloud,
    database: &str,
    name: &str,
    input: Value,
    archive: Archive,
) -> Result<(), NotStored> {
    change(cloud, database, name, archive, |_| Ok(input))
}

/// The same with an input that is made, or refused, when nobody else changes the table.
pub fn change<E: From<NotStored>>(
    cloud: &Cloud,
    database: &str,
    name: &str,
    archive: Archive,
    decide: impl FnOnce(Option<&Table>) -> Result<Value, E>,
) -> Result<(), E> {
    let next = |former: Option<&Table>| -> Result<Table, E> {
        let input = decide(former)?;
        let Some(former) = former else { return Ok(Table::new(database, name, input)) };
        let version = former.version + 1;
        Ok(Table { input, version, updated: Some(cloud.clock.now()), ..former.clone() })
    };
    let tables = &cloud.services.glue.tables;
    let former = tables.replace(&format!("{database}.{name}"), next)?;
    // Afterwards: a crash in between loses what the table was, never what it is.
    if let Some(former) = former.filter(|_| archive == Archive::Keep) {
        let key = key(&former, former.version);
        cloud.services.glue.versions.put(&key, Table::clone(&former))?;
    }
    Ok(())
}

/// Deletes all versions of a table.
pub fn delete_all(cloud: &Cloud, database: &str, table: &str) -> Result<(), NotStored> {
    for (key, _) in cloud.services.glue.versions.range(&prefix(database, table), None) {
        cloud.services.glue.versions.remove(&key)?;
    }
    Ok(())
}

/// The table that a request names.
fn named(call: &Call<'_>) -> ApiResult<Arc<Table>> {
    let Call { cloud, caller, params, .. } = *call;
    check_catalog(cloud, params)?;
    let (database, name) = (&lower(params, "DatabaseName")?, &lower(params, "TableName")?);
    authorize(cloud, caller, &call.action(), Some(database), Some(name))?;
    find_table(cloud, database, name).ok_or_else(|| not_found("Table", name))
}

fn shown(cloud: &Cloud, table: &Table) -> Value {
    json!({ "Table": described(cloud, table), "VersionId": table.version.to_string() })
}

fn missing(version: &str) -> ApiError {
    ApiError::new("EntityNotFoundException", format!("Table version {version} not found."))
}

fn number(version: &str) -> ApiResult<u64> {
    version.parse().map_err(|_| invalid(format!("The version {version} is not a number.")))
}

/// `GetTableVersions`, newest first.
pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let table = named(call)?;
    let older = cloud.services.glue.versions.range(&prefix(&table.database, &table.name), None);
    let older = older.into_iter().rev().map(|(_, version)| version);
    let all = std::iter::once(table).chain(older).map(|version| shown(cloud, &version));
    PAGES.answer(params, "TableVersions", all.collect())
}

/// `GetTableVersion`; the newest one when none is named.
pub fn get(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let table = named(call)?;
    let found = match params["VersionId"].as_str() {
        None => table,
        Some(version) if version == table.version.to_string() => table,
        Some(version) => {
            let found = cloud.services.glue.versions.get(&key(&table, number(version)?));
            found.ok_or_else(|| missing(version))?
        }
    };
    Ok(json!({ "TableVersion": shown(cloud, &found) }))
}

/// `DeleteTableVersion`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let table = named(call)?;
    delete_one(cloud, &table, required(params, "VersionId")?)?;
    Ok(json!({}))
}

/// `BatchDeleteTableVersion`.
pub fn batch_delete(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let table = named(call)?;
    let mut errors = vec![];
    for version in super::texts(params, "VersionIds")? {
        if let Err(error) = delete_one(cloud, &table, &version) {
            errors.push(json!({
                "TableName": table.name, "VersionId": version,
                "ErrorDetail": { "ErrorCode": error.code, "ErrorMessage": error.message },
            }));
        }
    }
    Ok(json!({ "Errors": errors }))
}

fn delete_one(cloud: &Cloud, table: &Table, version: &str) -> ApiResult<()> {
    if version == table.version.to_string() {
        return Err(invalid("The current version of a table cannot be deleted."));
    }
    let removed = cloud.services.glue.versions.remove(&key(table, number(version)?))?;
    removed.map(|_| ()).ok_or_else(|| missing(version))
}
