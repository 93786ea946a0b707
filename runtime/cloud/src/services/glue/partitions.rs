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

use super::filter::{Filter, Key};
use super::{
    Table, authorize, check_catalog, check_table_input, find_table, invalid, lower, not_found,
};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;
use crate::kernel::store::NotStored;

/// Partitions in one answer.
const PAGES: Pages = Pages::of("MaxResults", "NextToken", 1_000).refusing("InvalidInputException");

/// Parts that a list may be read in.
const SEGMENTS_MAX: u64 = 10;

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

/// The table whose partitions a call is about, when the caller may do this with it.
fn table_of(call: &Call<'_>) -> ApiResult<Arc<Table>> {
    check_catalog(call.cloud, call.params)?;
    let (database, name) = (lower(call.params, "DatabaseName")?, lower(call.params, "TableName")?);
    authorize(call.cloud, call.caller, &call.action(), Some(&database), Some(&name))?;
    find_table(call.cloud, &database, &name).ok_or_else(|| not_found("Table", &name))
}

/// `GetPartition`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let table = table_of(call)?;
    let key = key(&table.database, &table.name, &texts(call.params, "PartitionValues")?);
    let found = call.cloud.services.glue.partitions.get(&key).ok_or_else(missing)?;
    Ok(json!({ "Partition": shown(call.cloud, &table, &found) }))
}

/// `DeletePartition`.
pub fn remove(call: &Call<'_>) -> ApiResult {
    let table = table_of(call)?;
    let key = key(&table.database, &table.name, &texts(call.params, "PartitionValues")?);
    let removed = call.cloud.services.glue.partitions.remove(&key)?;
    removed.map(|_| json!({})).ok_or_else(missing)
}

fn missing() -> ApiError {
    ApiError::new("EntityNotFoundException", "Cannot find partition.")
}

/// `GetPartitions`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let table = table_of(call)?;
    let without_columns = params["ExcludeColumnSchema"] == true;
    let chosen = chosen(&table, of(cloud, &table.database, &table.name), params)?;
    let all = chosen.into_iter().map(|partition| {
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

/// The partitions that the expression and the segment of a request choose.
fn chosen(
    table: &Table,
    mut all: Vec<Arc<Partition>>,
    params: &Value,
) -> ApiResult<Vec<Arc<Partition>>> {
    if let Some(expression) = params["Expression"].as_str().filter(|text| !text.is_empty()) {
        let keys: Vec<Key> = keys(table);
        let filter = Filter::parse(expression, &keys)
            .map_err(|what| invalid(format!("Unsupported expression '{expression}': {what}")))?;
        all.retain(|partition| filter.admits(&partition.values()));
    }
    let segment = &params["Segment"];
    if !segment.is_null() {
        let wrong = || invalid("Segment must have a SegmentNumber below TotalSegments of 1 to 10.");
        let (number, total) =
            (segment["SegmentNumber"].as_u64(), segment["TotalSegments"].as_u64());
        let (number, total) = number.zip(total).ok_or_else(wrong)?;
        if number >= total || total > SEGMENTS_MAX {
            return Err(wrong());
        }
        let mut at = 0..;
        all.retain(|_| at.next().is_some_and(|at: u64| at % total == number));
    }
    Ok(all)
}

/// The partition keys of a table.
fn keys(table: &Table) -> Vec<Key> {
    let keys = table.input["PartitionKeys"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    keys.map(|key| Key { name: text(&key["Name"]), kind: text(&key["Type"]) }).collect()
}

/// `BatchGetPartition`; what is not there is left out.
pub fn get_all(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let table = table_of(call)?;
    let mut found = vec![];
    for wanted in batch(params, "PartitionsToGet", 1_000)? {
        let values = texts(wanted, "Values")?;
        let partition =
            cloud.services.glue.partitions.get(&key(&table.database, &table.name, &values));
        found.extend(partition.map(|partition| shown(cloud, &table, &partition)));
    }
    Ok(json!({ "Partitions": found, "UnprocessedKeys": [] }))
}

/// `BatchDeletePartition`; what is not there is told in `Errors`.
pub fn remove_all(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let table = table_of(call)?;
    let mut errors = vec![];
    for wanted in batch(params, "PartitionsToDelete", 25)? {
        let values = texts(wanted, "Values")?;
        let key = key(&table.database, &table.name, &values);
        if cloud.services.glue.partitions.remove(&key)?.is_none() {
            errors.push(told(&wanted["Values"], &missing()));
        }
    }
    Ok(json!({ "Errors": errors }))
}

/// `BatchUpdatePartition`; what cannot be changed is told in `Errors`.
pub fn update_all(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    let table = table_of(call)?;
    let mut errors = vec![];
    for entry in batch(params, "Entries", 100)? {
        match change(cloud, &table, entry) {
            Err(error) if error.status < 500 => errors.push(json!({
                "PartitionValueList": entry["PartitionValueList"],
                "ErrorDetail": { "ErrorCode": error.code, "ErrorMessage": error.message },
            })),
            changed => drop(changed?),
        }
    }
    Ok(json!({ "Errors": errors }))
}

fn batch<'a>(params: &'a Value, member: &str, count_max: usize) -> ApiResult<&'a [Value]> {
    let given = params[member].as_array().filter(|given| given.len() <= count_max);
    let wrong = || invalid(format!("{member} must be a list of at most {count_max} items."));
    given.map(Vec::as_slice).ok_or_else(wrong)
}

fn told(values: &Value, error: &ApiError) -> Value {
    json!({
        "PartitionValues": values,
        "ErrorDetail": { "ErrorCode": error.code, "ErrorMessage": error.message },
    })
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
    let values = texts(input, "Values")?;
    let keys = table.input["PartitionKeys"].as_array().map_or(0, Vec::len);
    if values.len() != keys || keys == 0 {
        let message = "The number of partition keys do not match the number of partition values";
        return Err(invalid(message));
    }
    check_table_input(input).map_err(invalid)?;
    Ok(values)
}

/// `CreatePartition`.
pub fn create(call: &Call<'_>) -> ApiResult {
    make(call.cloud, &*table_of(call)?, &call.params["PartitionInput"])
}

fn make(cloud: &Cloud, table: &Table, input: &Value) -> ApiResult {
    let values = check_input(table, input)?;
    let partition = Partition { input: input.clone(), created: cloud.clock.now() };
    let key = key(&table.database, &table.name, &values);
    if !cloud.services.glue.partitions.create(&key, partition)? {
        return Err(ApiError::new("AlreadyExistsException", "Partition already exists."));
    }
    Ok(json!({}))
}

/// `BatchCreatePartition`: inputs that no partition can have refuse the whole batch, partitions
/// that are there only themselves.
pub fn create_all(call: &Call<'_>) -> ApiResult {
    let (table, inputs) = (table_of(call)?, &call.params["PartitionInputList"]);
    let wrong = || invalid("PartitionInputList must be a list of at most 100 partitions.");
    let inputs = inputs.as_array().filter(|inputs| inputs.len() <= 100).ok_or_else(wrong)?;
    inputs.iter().try_for_each(|input| check_input(&table, input).map(|_| ()))?;
    let mut errors = vec![];
    for input in inputs {
        match make(call.cloud, &table, input) {
            Err(error) if error.code == "AlreadyExistsException" => {
                errors.push(told(&input["Values"], &error));
            }
            made => drop(made?),
        }
    }
    Ok(json!({ "Errors": errors }))
}

/// `UpdatePartition`: the values of a partition stay what they are.
pub fn update(call: &Call<'_>) -> ApiResult {
    change(call.cloud, &*table_of(call)?, call.params)
}

fn change(cloud: &Cloud, table: &Table, entry: &Value) -> ApiResult {
    let former = texts(entry, "PartitionValueList")?;
    let input = &entry["PartitionInput"];
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
