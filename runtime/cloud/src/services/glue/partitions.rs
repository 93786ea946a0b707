//! Partitions of tables: folders of files, each with a value for every partition key.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Table, authorize, check_catalog, find_table, not_found};
use crate::cloud::{Cloud, epoch_secs};
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;
use crate::services::pages::Pages;
use crate::services::{known, required};
use crate::table::NotStored;

/// Partitions in one answer.
const PAGES: Pages = Pages::of("MaxResults", "NextToken", 1_000).refusing("InvalidInputException");

/// A partition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Partition {
    /// `PartitionInput`.
    pub input: Value,
    /// When it was made.
    pub created: Timestamp,
}

impl Partition {
    /// Its values, in the order of the table's keys.
    pub fn values(&self) -> Vec<String> {
        let values = self.input["Values"].as_array().into_iter().flatten();
        values.filter_map(Value::as_str).map(str::to_owned).collect()
    }
}

/// What the records of a table's partitions begin with.
fn prefix(database: &str, table: &str) -> String {
    format!("{database}.{table}/")
}

/// Partitions are kept by `database.table/["2019","1"]`.
fn key(database: &str, table: &str, values: &[String]) -> String {
    format!("{}{}", prefix(database, table), json!(values))
}

/// The partitions of a table.
pub fn of(cloud: &Cloud, database: &str, table: &str) -> Vec<Arc<Partition>> {
    let all = cloud.glue_partitions.range(&prefix(database, table), None);
    all.into_iter().map(|(_, partition)| partition).collect()
}

/// Makes or changes a partition.
pub fn put(cloud: &Cloud, table: (&str, &str), partition: Partition) -> Result<(), NotStored> {
    let key = key(table.0, table.1, &partition.values());
    cloud.glue_partitions.put(&key, partition)
}

/// Deletes a partition.
pub fn delete(cloud: &Cloud, table: (&str, &str), values: &[String]) -> Result<(), NotStored> {
    cloud.glue_partitions.remove(&key(table.0, table.1, values)).map(|_| ())
}

/// Deletes all partitions of a table.
pub fn delete_all(cloud: &Cloud, database: &str, table: &str) -> Result<(), NotStored> {
    for (key, _) in cloud.glue_partitions.range(&prefix(database, table), None) {
        cloud.glue_partitions.remove(&key)?;
    }
    Ok(())
}

/// `GetPartition` and `GetPartitions`.
pub fn handle(cloud: &Cloud, caller: &Caller, operation: &str, params: &Value) -> ApiResult {
    let one = operation == "GetPartition";
    let own: &[&str] = if one {
        &["PartitionValues"]
    } else {
        &["NextToken", "MaxResults", "ExcludeColumnSchema"]
    };
    let names = ["CatalogId", "DatabaseName", "TableName"];
    known(params, "glue", operation, &[&names, own].concat())?;
    check_catalog(cloud, params)?;
    let (database, name) = (required(params, "DatabaseName")?, required(params, "TableName")?);
    authorize(cloud, caller, &format!("glue:{operation}"), Some(database), Some(name))?;
    let table = find_table(cloud, database, name).ok_or_else(|| not_found("Table", name))?;
    if one {
        let values = params["PartitionValues"].as_array().into_iter().flatten();
        let values: Vec<String> = values.filter_map(Value::as_str).map(str::to_owned).collect();
        let found = cloud.glue_partitions.get(&key(database, name, &values));
        let missing = || ApiError::new("EntityNotFoundException", "Cannot find partition.");
        let found = found.ok_or_else(missing)?;
        return Ok(json!({ "Partition": shown(cloud, &table, &found) }));
    }
    let without_columns = params["ExcludeColumnSchema"] == true;
    let all = of(cloud, database, name).into_iter().map(|partition| {
        let mut shown = shown(cloud, &table, &partition);
        if let Some(descriptor) =
            shown["StorageDescriptor"].as_object_mut().filter(|_| without_columns)
        {
            descriptor.remove("Columns");
        }
        shown
    });
    PAGES.answer(params, "Partitions", all.collect())
}

fn shown(cloud: &Cloud, table: &Table, partition: &Partition) -> Value {
    let mut shown = partition.input.clone();
    shown["DatabaseName"] = table.database.clone().into();
    shown["TableName"] = table.name.clone().into();
    shown["CreationTime"] = epoch_secs(partition.created).into();
    shown["CatalogId"] = cloud.config.account.clone().into();
    shown
}
