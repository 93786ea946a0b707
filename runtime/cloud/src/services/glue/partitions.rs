//! Partitions of tables: folders of files, each with a value for every partition key.
//!
//! `BatchCreatePartition` makes what it can and lists the rest in `Errors`, which is empty when all
//! were made. Whether the folder is there is not asked, as in AWS.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-catalog-partitions.html>

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Table, authorize, check_catalog, check_table_input, find_table, invalid, not_found};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::pages::Pages;
use crate::services::{known, required};
use crate::kernel::store::NotStored;

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
    let all = cloud.services.glue.partitions.range(&prefix(database, table), None);
    all.into_iter().map(|(_, partition)| partition).collect()
}

/// Makes or changes a partition.
pub fn put(cloud: &Cloud, table: (&str, &str), partition: Partition) -> Result<(), NotStored> {
    let key = key(table.0, table.1, &partition.values());
    cloud.services.glue.partitions.put(&key, partition)
}

/// Deletes a partition.
pub fn delete(cloud: &Cloud, table: (&str, &str), values: &[String]) -> Result<(), NotStored> {
    cloud.services.glue.partitions.remove(&key(table.0, table.1, values)).map(|_| ())
}

/// Deletes all partitions of a table.
pub fn delete_all(cloud: &Cloud, database: &str, table: &str) -> Result<(), NotStored> {
    for (key, _) in cloud.services.glue.partitions.range(&prefix(database, table), None) {
        cloud.services.glue.partitions.remove(&key)?;
    }
    Ok(())
}

/// The operations on partitions, and what they take beside the names of the table.
fn used(operation: &str) -> Option<&'static [&'static str]> {
    Some(match operation {
        "GetPartition" | "DeletePartition" => &["PartitionValues"],
        "GetPartitions" => &["NextToken", "MaxResults", "ExcludeColumnSchema"],
        "CreatePartition" => &["PartitionInput"],
        "BatchCreatePartition" => &["PartitionInputList"],
        "UpdatePartition" => &["PartitionValueList", "PartitionInput"],
        _ => return None,
    })
}

/// The operations on partitions; `None` for another one.
pub fn handle(
    cloud: &Cloud,
    caller: &Caller,
    operation: &str,
    params: &Value,
) -> Option<ApiResult> {
    let used = used(operation)?;
    let names = ["CatalogId", "DatabaseName", "TableName"];
    let checked = known(params, "glue", operation, &[&names, used].concat());
    Some(checked.and_then(|()| answer(cloud, caller, operation, params)))
}

fn answer(cloud: &Cloud, caller: &Caller, operation: &str, params: &Value) -> ApiResult {
    check_catalog(cloud, params)?;
    let (database, name) = (required(params, "DatabaseName")?, required(params, "TableName")?);
    authorize(cloud, caller, &format!("glue:{operation}"), Some(database), Some(name))?;
    let table = find_table(cloud, database, name).ok_or_else(|| not_found("Table", name))?;
    match operation {
        "GetPartition" => {
            let values = texts(params, "PartitionValues")?;
            let found = cloud.services.glue.partitions.get(&key(database, name, &values));
            let found = found.ok_or_else(missing)?;
            Ok(json!({ "Partition": shown(cloud, &table, &found) }))
        }
        "GetPartitions" => list(cloud, &table, params),
        "CreatePartition" => create(cloud, &table, &params["PartitionInput"]),
        "BatchCreatePartition" => create_all(cloud, &table, &params["PartitionInputList"]),
        "UpdatePartition" => update(cloud, &table, params),
        _ => {
            let values = texts(params, "PartitionValues")?;
            let removed = cloud.services.glue.partitions.remove(&key(database, name, &values))?;
            removed.map(|_| json!({})).ok_or_else(missing)
        }
    }
}

fn missing() -> ApiError {
    ApiError::new("EntityNotFoundException", "Cannot find partition.")
}

fn list(cloud: &Cloud, table: &Table, params: &Value) -> ApiResult {
    let without_columns = params["ExcludeColumnSchema"] == true;
    let all = of(cloud, &table.database, &table.name).into_iter().map(|partition| {
        let mut shown = shown(cloud, table, &partition);
        if let Some(descriptor) =
            shown["StorageDescriptor"].as_object_mut().filter(|_| without_columns)
        {
            descriptor.remove("Columns");
        }
        shown
    });
    PAGES.answer(params, "Partitions", all.collect())
}

/// The texts of a list, each of 1 to 1,024 characters.
fn texts(of: &Value, member: &str) -> ApiResult<Vec<String>> {
    let refused = || invalid(format!("{member} must be a list of texts of 1 to 1024 characters."));
    let values = of[member].as_array().ok_or_else(refused)?.iter();
    let values: Option<Vec<String>> = values.map(|v| v.as_str().map(str::to_owned)).collect();
    let fits = |value: &String| (1..=1_024).contains(&value.chars().count());
    values.filter(|values| values.iter().all(fits)).ok_or_else(refused)
}

/// What a partition may be made of; its values.
fn check_input(table: &Table, input: &Value) -> ApiResult<Vec<String>> {
    const MEMBERS: [&str; 5] =
        ["Values", "LastAccessTime", "StorageDescriptor", "Parameters", "LastAnalyzedTime"];
    known(input, "glue", "PartitionInput", &MEMBERS)?;
    let values = texts(input, "Values")?;
    let keys = table.input["PartitionKeys"].as_array().map_or(0, Vec::len);
    if values.len() != keys || keys == 0 {
        let message = "The number of partition keys do not match the number of partition values";
        return Err(invalid(message));
    }
    check_table_input(input).map_err(invalid)?;
    Ok(values)
}

fn create(cloud: &Cloud, table: &Table, input: &Value) -> ApiResult {
    let values = check_input(table, input)?;
    let partition = Partition { input: input.clone(), created: Timestamp::now() };
    let key = key(&table.database, &table.name, &values);
    if !cloud.services.glue.partitions.create(&key, partition)? {
        return Err(ApiError::new("AlreadyExistsException", "Partition already exists."));
    }
    Ok(json!({}))
}

/// Inputs that no partition can have refuse the whole batch, partitions that are there only
/// themselves.
fn create_all(cloud: &Cloud, table: &Table, inputs: &Value) -> ApiResult {
    let wrong = || invalid("PartitionInputList must be a list of at most 100 partitions.");
    let inputs = inputs.as_array().filter(|inputs| inputs.len() <= 100).ok_or_else(wrong)?;
    inputs.iter().try_for_each(|input| check_input(table, input).map(|_| ()))?;
    let mut errors = vec![];
    for input in inputs {
        match create(cloud, table, input) {
            Err(error) if error.code == "AlreadyExistsException" => errors.push(json!({
                "PartitionValues": input["Values"],
                "ErrorDetail": { "ErrorCode": error.code, "ErrorMessage": error.message },
            })),
            made => drop(made?),
        }
    }
    Ok(json!({ "Errors": errors }))
}

/// The values of a partition stay what they are.
fn update(cloud: &Cloud, table: &Table, params: &Value) -> ApiResult {
    let former = texts(params, "PartitionValueList")?;
    let input = &params["PartitionInput"];
    if check_input(table, input)? != former {
        return Err(invalid("The Values of a partition cannot be changed."));
    }
    let key = key(&table.database, &table.name, &former);
    let changed =
        cloud.services.glue.partitions.update(&key, |partition| partition.input = input.clone())?;
    changed.map(|()| json!({})).ok_or_else(missing)
}

fn shown(cloud: &Cloud, table: &Table, partition: &Partition) -> Value {
    let mut shown = partition.input.clone();
    shown["DatabaseName"] = table.database.clone().into();
    shown["TableName"] = table.name.clone().into();
    shown["CreationTime"] = epoch_secs(partition.created).into();
    shown["CatalogId"] = cloud.config.account.clone().into();
    shown
}
