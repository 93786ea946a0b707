//! Statements on partitions, and the repair of a table by the folders that are there.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use serde_json::{Value, json};
use steppe_wire::query::QueryFailure;

use super::apply::{TASK, find_table, refused};
use super::statement::Spec;
use super::words::TableName;
use crate::query::conversation::Conversation;
use crate::query::failure::{Failed, failed};
use crate::query::lines::Lines;
use crate::storage::Realm;

/// Partitions in one call.
const BATCH_MAX: usize = 100;

type Done = Result<Lines, QueryFailure>;

/// The partition keys of a table.
#[derive(Debug, Clone)]
pub struct Keys {
    /// The table.
    pub table: TableName,
    /// Their names.
    pub names: Vec<String>,
    /// `s3://bucket/prefix/`, where its partitions are unless they say otherwise.
    location: String,
}

impl Keys {
    /// Of a table as Glue describes it.
    pub fn of(table: &TableName, described: &Value) -> Self {
        let keys = described["PartitionKeys"].as_array().into_iter().flatten();
        let names = keys.filter_map(|key| key["Name"].as_str()).map(str::to_lowercase).collect();
        let location = described["StorageDescriptor"]["Location"].as_str().unwrap_or_default();
        let location = format!("{}/", location.trim_end_matches('/'));
        Self { table: table.clone(), names, location }
    }

    /// The values of a whole partition, in the order of the keys.
    fn values(&self, spec: &Spec) -> Result<Vec<String>, QueryFailure> {
        self.check(spec)?;
        let value = |name: &String| {
            let found = spec.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            found.ok_or_else(|| {
                failed(format!(
                    "FAILED: SemanticException [Error 10125]: partition spec {} doesn't contain \
                     all partition columns",
                    written(spec)
                ))
            })
        };
        self.names.iter().map(value).collect()
    }

    /// Refuses keys that the table has not.
    pub fn check(&self, spec: &Spec) -> Result<(), QueryFailure> {
        match spec.iter().find(|(key, _)| !self.names.contains(key)) {
            None if !self.names.is_empty() => Ok(()),
            _ => Err(failed(format!(
                "FAILED: SemanticException [Error 10098]: Non-Partition column appears in the \
                 partition specification: {}",
                written(spec)
            ))),
        }
    }

    /// `year=2019/month=1`.
    pub fn folder(&self, values: &[String]) -> String {
        let pairs = self.names.iter().zip(values);
        pairs.map(|(key, value)| format!("{key}={}", escaped(value))).collect::<Vec<_>>().join("/")
    }

    fn input(&self) -> Value {
        json!({ "DatabaseName": self.table.database, "TableName": self.table.name })
    }
}

/// `{year=2019, month=1}`.
fn written(spec: &Spec) -> String {
    let pairs = spec.iter().map(|(key, value)| format!("{key}={value}"));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

/// A value in the name of a folder, where Hive writes some characters as their codes.
pub fn escaped(value: &str) -> String {
    const CODED: &str = "\"#%'*/:=?\\{[]^";
    let mut text = String::new();
    for character in value.chars() {
        if character.is_ascii_control() || CODED.contains(character) {
            text.push_str(&format!("%{:02X}", character as u32));
        } else {
            text.push(character);
        }
    }
    text
}

/// What the name of a folder stands for.
pub fn unescaped(folder: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), folder.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A partition of a table at a place, with the table's columns.
fn made(table: &Value, values: &[String], location: &str) -> Value {
    let mut descriptor = table["StorageDescriptor"].clone();
    descriptor["Location"] = location.into();
    json!({ "Values": values, "StorageDescriptor": descriptor, "Parameters": {} })
}

/// Makes partitions; those that were there already are given back.
pub async fn create(
    talk: &mut Conversation,
    keys: &Keys,
    inputs: Vec<Value>,
) -> Result<Vec<Value>, QueryFailure> {
    let mut there = vec![];
    for batch in inputs.chunks(BATCH_MAX) {
        let mut input = keys.input();
        input["PartitionInputList"] = batch.iter().cloned().collect();
        let answer = talk.glue("BatchCreatePartition", input).await?;
        let mut answer = answer.map_err(|error| refused(&error))?;
        if let Some(errors) = answer["Errors"].as_array_mut() {
            there.extend(errors.iter_mut().map(|error| error["PartitionValues"].take()));
        }
    }
    Ok(there)
}

/// Partitions at folders, for rows that were written there.
pub async fn create_written(
    talk: &mut Conversation,
    keys: &Keys,
    table: &Value,
    written: Vec<(Vec<String>, String)>,
) -> Result<(), QueryFailure> {
    let inputs = written.iter().map(|(values, location)| made(table, values, location));
    create(talk, keys, inputs.collect()).await.map(|_| ())
}

/// `ADD PARTITION`.
pub async fn add(
    talk: &mut Conversation,
    keys: &Keys,
    table: &Value,
    if_not_exists: bool,
    partitions: Vec<(Spec, Option<String>)>,
) -> Done {
    let mut inputs = vec![];
    for (spec, location) in partitions {
        let values = keys.values(&spec)?;
        let location = match location {
            Some(location) => {
                Realm::S3
                    .prefix(&location)
                    .map_err(|error| failed(format!("{TASK} MetaException(message:{error:#})")))?;
                location
            }
            None => format!("{}{}", keys.location, keys.folder(&values)),
        };
        inputs.push(made(table, &values, &location));
    }
    if !if_not_exists {
        for input in &inputs {
            let mut asked = keys.input();
            asked["PartitionValues"] = input["Values"].clone();
            if talk.glue("GetPartition", asked).await?.is_ok() {
                return Err(exists(keys, &input["Values"]));
            }
        }
    }
    match create(talk, keys, inputs).await?.first() {
        Some(values) if !if_not_exists => Err(exists(keys, values)),
        _ => Ok(Lines::default()),
    }
}

fn exists(keys: &Keys, values: &Value) -> QueryFailure {
    failed(format!(
        "{TASK} AlreadyExistsException(message:Partition already exists: {}({}) values: {values})",
        keys.table,
        keys.names.join(",")
    ))
}

/// The partitions of a table, each as Glue describes it.
pub async fn all(talk: &mut Conversation, keys: &Keys) -> Result<Vec<Value>, QueryFailure> {
    let all = talk.all("GetPartitions", keys.input(), "Partitions").await?;
    all.map_err(|error| refused(&error))
}

/// The values of a partition.
pub fn values(partition: &Value) -> Vec<String> {
    let values = partition["Values"].as_array().into_iter().flatten();
    values.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a partition has the values of a part of its keys.
pub fn is_of(keys: &Keys, values: &[String], spec: &Spec) -> bool {
    spec.iter().all(|(key, value)| {
        let mut pairs = keys.names.iter().zip(values);
        pairs.any(|(name, own)| name == key && own == value)
    })
}

/// `DROP PARTITION`, of all that have the given values.
pub async fn drop(talk: &mut Conversation, keys: &Keys, if_exists: bool, specs: Vec<Spec>) -> Done {
    let there: Vec<Vec<String>> = all(talk, keys).await?.iter().map(values).collect();
    let mut dropped = BTreeSet::new();
    for spec in &specs {
        keys.check(spec)?;
        let found: Vec<_> = there.iter().filter(|values| is_of(keys, values, spec)).collect();
        if found.is_empty() && !if_exists {
            let pairs = spec.iter().map(|(key, value)| format!("{key} = '{value}'"));
            let pairs = pairs.collect::<Vec<_>>().join(" AND ");
            return Err(failed(format!(
                "FAILED: SemanticException [Error 10006]: Partition not found ({pairs})"
            )));
        }
        dropped.extend(found);
    }
    for values in dropped {
        let mut input = keys.input();
        input["PartitionValues"] = json!(values);
        talk.glue("DeletePartition", input).await?.map_err(|error| refused(&error))?;
    }
    Ok(Lines::default())
}

async fn one(
    talk: &mut Conversation,
    keys: &Keys,
    values: &[String],
) -> Result<Value, QueryFailure> {
    let mut input = keys.input();
    input["PartitionValues"] = json!(values);
    match talk.glue("GetPartition", input).await? {
        Ok(mut found) => Ok(found["Partition"].take()),
        Err(error) if error.code == "EntityNotFoundException" => Err(failed(format!(
            "FAILED: SemanticException [Error 10006]: Partition not found {}",
            keys.folder(values)
        ))),
        Err(error) => Err(refused(&error)),
    }
}

/// What of a described partition may be given back.
fn input_of(partition: &Value) -> Value {
    json!({
        "Values": partition["Values"], "StorageDescriptor": partition["StorageDescriptor"],
        "Parameters": partition["Parameters"],
    })
}

/// `RENAME TO PARTITION`: other values for the same place.
pub async fn rename(talk: &mut Conversation, keys: &Keys, from: &Spec, to: &Spec) -> Done {
    let (old, new) = (keys.values(from)?, keys.values(to)?);
    let mut moved = input_of(&one(talk, keys, &old).await?);
    moved["Values"] = json!(new);
    if let Some(values) = create(talk, keys, vec![moved]).await?.first() {
        return Err(exists(keys, values));
    }
    let mut input = keys.input();
    input["PartitionValues"] = json!(old);
    let called = talk.glue("DeletePartition", input).await?;
    called.map(|_| Lines::default()).map_err(|error| refused(&error))
}

/// `SET LOCATION` of a partition.
pub async fn move_to(talk: &mut Conversation, keys: &Keys, spec: &Spec, location: &str) -> Done {
    let values = keys.values(spec)?;
    let mut moved = input_of(&one(talk, keys, &values).await?);
    moved["StorageDescriptor"]["Location"] = location.into();
    let mut input = keys.input();
    input["PartitionValueList"] = json!(values);
    input["PartitionInput"] = moved;
    let called = talk.glue("UpdatePartition", input).await?;
    called.map(|_| Lines::default()).map_err(|error| refused(&error))
}

/// `MSCK REPAIR TABLE`: a partition for every folder `key=value/…` that has none. Partitions whose
/// folders are gone are told and stay.
/// <https://docs.aws.amazon.com/athena/latest/ug/msck-repair-table.html>
pub async fn repair(talk: &mut Conversation, table: &TableName) -> Done {
    let Some(described) = find_table(talk, table).await? else {
        let line = format!("Tables not in metastore:\t{}", table.name);
        return Ok(Lines { columns: vec![], rows: vec![line] });
    };
    let keys = Keys::of(table, &described);
    if keys.names.is_empty() {
        let line = format!("Tables missing on filesystem:\t{}", table.name);
        return Ok(Lines { columns: vec![], rows: vec![line] });
    }
    let known: Vec<Value> = all(talk, &keys).await?;
    let known: BTreeSet<Vec<String>> = known.iter().map(values).collect();
    let folders = folders(&keys).await?;
    let new: Vec<_> = folders.iter().filter(|(values, _)| !known.contains(values)).collect();
    let inputs = new.iter().map(|(values, folder)| made(&described, values, folder));
    create(talk, &keys, inputs.collect()).await?;
    let mut rows = vec![];
    let named = |values: &Vec<String>| format!("{}:{}", table.name, keys.folder(values));
    if !new.is_empty() {
        let names: Vec<String> = new.iter().map(|(values, _)| named(values)).collect();
        rows.push(format!("Partitions not in metastore:\t{}", names.join("\t")));
    }
    let there: BTreeSet<&Vec<String>> = folders.iter().map(|(values, _)| values).collect();
    let gone: Vec<String> = known.iter().filter(|v| !there.contains(v)).map(named).collect();
    if !gone.is_empty() {
        rows.push(format!("Partitions missing from filesystem:\t{}", gone.join("\t")));
    }
    for (values, _) in new {
        let (name, folder) = (named(values), keys.folder(values));
        rows.push(format!("Repair: Added partition to metastore {name} {folder}"));
    }
    Ok(Lines { columns: vec![], rows })
}

/// The folders below a table's place that are partitions: their values and places.
async fn folders(keys: &Keys) -> Result<Vec<(Vec<String>, String)>, QueryFailure> {
    let place = Realm::S3.prefix(&keys.location).map_err(Failed::other)?;
    let objects = place.store.list(Some(&place.path)).try_collect::<Vec<_>>().await;
    let objects = objects.map_err(|error| QueryFailure::from(Failed::stored(&error)))?;
    let mut found = BTreeSet::new();
    for object in objects {
        let Some(parts) = object.location.prefix_match(&place.path) else { continue };
        let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
        if parts.len() <= keys.names.len() {
            continue;
        }
        let pairs = keys.names.iter().zip(&parts);
        let values = pairs.map(|(key, part)| {
            let (name, value) = part.split_once('=')?;
            name.eq_ignore_ascii_case(key).then(|| unescaped(value))
        });
        if let Some(values) = values.collect::<Option<Vec<String>>>() {
            let folder = parts[..keys.names.len()].join("/");
            found.insert((values, format!("{}{folder}/", keys.location)));
        }
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_coded_in_the_names_of_folders() {
        for (value, folder) in [("a b", "a b"), ("10:30", "10%3A30"), ("a/b=c", "a%2Fb%3Dc")] {
            assert_eq!(escaped(value), folder);
            assert_eq!(unescaped(folder), value);
        }
        assert_eq!(unescaped("100%"), "100%");
    }
}
