//! Statements that change databases, tables and partitions, as calls of Glue's API.
//!
//! Errors are in Hive's words, as others have seen them on Athena.

use serde_json::{Map, Value, json};
use steppe_wire::query::{CallError, QueryFailure};

use super::partitions::{self, Keys};
use super::statement::{Change, Hive, NewColumn, NewDatabase, NewTable};
use super::storage::{Storage, described, object};
use super::words::TableName;
use crate::query::conversation::Conversation;
use crate::query::failure::failed;
use crate::query::lines::Lines;
use crate::storage::Realm;

type Done = Result<Lines, QueryFailure>;

/// What a failed task of Hive says.
pub const TASK: &str =
    "FAILED: Execution Error, return code 1 from org.apache.hadoop.hive.ql.exec.DDLTask.";

/// Does what a statement says.
pub async fn apply(talk: &mut Conversation, statement: Hive) -> Done {
    match statement {
        Hive::CreateDatabase(database) => create_database(talk, &database).await,
        Hive::DropDatabase { name, if_exists, cascade } => {
            drop_database(talk, &name, if_exists, cascade).await
        }
        Hive::AlterDatabase { name, properties } => alter_database(talk, &name, &properties).await,
        Hive::CreateTable(table) => create_table(talk, *table).await,
        Hive::DropTable { table, if_exists } => drop_table(talk, &table, if_exists).await,
        Hive::DropView { view, if_exists } => drop_view(talk, &view, if_exists).await,
        Hive::AlterTable { table, change } => alter_table(talk, &table, change).await,
        Hive::Repair(table) => partitions::repair(talk, &table).await,
        Hive::Deallocate(name) => {
            let input = json!({ "StatementName": name });
            let called = talk.athena("DeletePreparedStatement", input).await?;
            called.map(|_| Lines::default()).map_err(|error| failed(error.message))
        }
        other => super::show::show(talk, other).await,
    }
}

/// A refused call in Hive's words.
pub fn refused(error: &CallError) -> QueryFailure {
    failed(format!("{TASK} {}(message:{})", error.code, error.message))
}

/// Hive's words for a table that is not there.
pub fn no_table(table: &TableName) -> QueryFailure {
    failed(format!("FAILED: SemanticException [Error 10001]: Table not found {table}"))
}

fn no_database(name: &str) -> QueryFailure {
    failed(format!("FAILED: SemanticException [Error 10072]: Database does not exist: {name}"))
}

/// The table, as Glue describes it.
pub async fn table_of(talk: &mut Conversation, table: &TableName) -> Result<Value, QueryFailure> {
    find_table(talk, table).await?.ok_or_else(|| no_table(table))
}

/// The table, as Glue describes it, if it is there.
pub async fn find_table(
    talk: &mut Conversation,
    table: &TableName,
) -> Result<Option<Value>, QueryFailure> {
    let input = json!({ "DatabaseName": table.database, "Name": table.name });
    match talk.glue("GetTable", input).await? {
        Ok(mut found) => Ok(Some(found["Table"].take())),
        Err(error) if error.code == "EntityNotFoundException" => Ok(None),
        Err(error) => Err(refused(&error)),
    }
}

/// What of a described table may be given back.
pub fn input_of(table: &Value) -> Value {
    const GIVEN: [&str; 10] = [
        "DatabaseName",
        "CreateTime",
        "UpdateTime",
        "CatalogId",
        "IsRegisteredWithLakeFormation",
        "VersionId",
        "CreatedBy",
        "IsMultiDialectView",
        "FederatedTable",
        "Status",
    ];
    let members = table.as_object().into_iter().flatten();
    let own = members.filter(|(name, _)| !GIVEN.contains(&name.as_str()));
    Value::Object(own.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>())
}

async fn create_database(talk: &mut Conversation, made: &NewDatabase) -> Done {
    let mut input = json!({ "Name": made.name });
    if let Some(comment) = &made.comment {
        input["Description"] = comment.clone().into();
    }
    if let Some(location) = &made.location {
        Realm::S3
            .prefix(location)
            .map_err(|error| failed(format!("{TASK} MetaException(message:{error:#})")))?;
        input["LocationUri"] = location.clone().into();
    }
    if !made.properties.is_empty() {
        input["Parameters"] = object(&made.properties);
    }
    match talk.glue("CreateDatabase", json!({ "DatabaseInput": input })).await? {
        Ok(_) => Ok(Lines::default()),
        Err(error) if error.code == "AlreadyExistsException" && made.if_not_exists => {
            Ok(Lines::default())
        }
        Err(error) if error.code == "AlreadyExistsException" => {
            Err(failed(format!("{TASK} Database {} already exists", made.name)))
        }
        Err(error) => Err(refused(&error)),
    }
}

async fn drop_database(
    talk: &mut Conversation,
    name: &str,
    if_exists: bool,
    cascade: bool,
) -> Done {
    let tables = json!({ "DatabaseName": name });
    match talk.all("GetTables", tables, "TableList").await? {
        Err(error) if error.code == "EntityNotFoundException" && if_exists => {
            return Ok(Lines::default());
        }
        Err(error) if error.code == "EntityNotFoundException" => return Err(no_database(name)),
        Err(error) => return Err(refused(&error)),
        Ok(tables) if !cascade && !tables.is_empty() => {
            return Err(failed(format!(
                "{TASK} InvalidOperationException(message:Database {name} is not empty. One or \
                 more tables exist.)"
            )));
        }
        Ok(_) => {}
    }
    let called = talk.glue("DeleteDatabase", json!({ "Name": name })).await?;
    called.map(|_| Lines::default()).map_err(|error| refused(&error))
}

async fn alter_database(
    talk: &mut Conversation,
    name: &str,
    properties: &[(String, String)],
) -> Done {
    let found = match talk.glue("GetDatabase", json!({ "Name": name })).await? {
        Ok(found) => found,
        Err(error) if error.code == "EntityNotFoundException" => return Err(no_database(name)),
        Err(error) => return Err(refused(&error)),
    };
    let mut input = json!({ "Name": name });
    for member in ["Description", "LocationUri", "Parameters"] {
        if !found["Database"][member].is_null() {
            input[member] = found["Database"][member].clone();
        }
    }
    for (name, value) in properties {
        input["Parameters"][name] = value.clone().into();
    }
    let changed = json!({ "Name": name, "DatabaseInput": input });
    let called = talk.glue("UpdateDatabase", changed).await?;
    called.map(|_| Lines::default()).map_err(|error| refused(&error))
}

async fn create_table(talk: &mut Conversation, made: NewTable) -> Done {
    let iceberg = made.properties.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("table_type") && value.eq_ignore_ascii_case("iceberg")
    });
    if iceberg {
        return Err(failed("NOT_SUPPORTED: the embedded cloud has no tables of Iceberg"));
    }
    if !made.external {
        return Err(failed(
            "FAILED: SemanticException Only external tables can be created; use CREATE EXTERNAL \
             TABLE",
        ));
    }
    let Some(location) = made.location.clone() else {
        return Err(failed(
            "No location was specified for table. An S3 location must be specified",
        ));
    };
    Realm::S3.prefix(&location).map_err(|_| {
        failed(format!("{TASK} MetaException(message:Path is not legal S3 path: {location})"))
    })?;
    refuse_twice(made.columns.iter().chain(&made.keys))?;
    let mut parameters = made.properties.clone();
    parameters.insert(0, ("EXTERNAL".to_owned(), "TRUE".to_owned()));
    if let Some(comment) = &made.comment {
        parameters.push(("comment".to_owned(), comment.clone()));
    }
    parameters.push(("transient_lastDdlTime".to_owned(), now_secs().to_string()));
    let input = json!({
        "Name": made.table.name, "Owner": "hadoop", "Retention": 0,
        "StorageDescriptor": Storage::of(&made)?.descriptor(&made.columns, &location),
        "PartitionKeys": made.keys.iter().map(described).collect::<Vec<_>>(),
        "TableType": "EXTERNAL_TABLE", "Parameters": object(&parameters),
    });
    let input = json!({ "DatabaseName": made.table.database, "TableInput": input });
    match talk.glue("CreateTable", input).await? {
        Ok(_) => Ok(Lines::default()),
        Err(error) if error.code == "AlreadyExistsException" && made.if_not_exists => {
            Ok(Lines::default())
        }
        Err(error) if error.code == "AlreadyExistsException" => Err(failed(format!(
            "{TASK} AlreadyExistsException(message:Table {} already exists)",
            made.table.name
        ))),
        Err(error) if error.code == "EntityNotFoundException" => {
            Err(no_database(&made.table.database))
        }
        Err(error) => Err(refused(&error)),
    }
}

/// Seconds since 1970.
pub fn now_secs() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0)
}

fn refuse_twice<'a>(columns: impl Iterator<Item = &'a NewColumn>) -> Result<(), QueryFailure> {
    let mut seen = std::collections::BTreeSet::new();
    for column in columns {
        if !seen.insert(&column.name) {
            return Err(failed(format!(
                "FAILED: SemanticException [Error 10036]: Duplicate column name: {}",
                column.name
            )));
        }
    }
    Ok(())
}

async fn drop_table(talk: &mut Conversation, table: &TableName, if_exists: bool) -> Done {
    match find_table(talk, table).await? {
        None if if_exists => return Ok(Lines::default()),
        None => return Err(no_table(table)),
        Some(found) if found["TableType"] == "VIRTUAL_VIEW" => {
            return Err(failed(
                "FAILED: SemanticException [Error 10265]: Cannot drop a view with DROP TABLE",
            ));
        }
        Some(_) => {}
    }
    delete_table(talk, table).await
}

async fn delete_table(talk: &mut Conversation, table: &TableName) -> Done {
    let input = json!({ "DatabaseName": table.database, "Name": table.name });
    let called = talk.glue("DeleteTable", input).await?;
    called.map(|_| Lines::default()).map_err(|error| refused(&error))
}

async fn drop_view(talk: &mut Conversation, view: &TableName, if_exists: bool) -> Done {
    match find_table(talk, view).await? {
        None if if_exists => Ok(Lines::default()),
        Some(found) if found["TableType"] == "VIRTUAL_VIEW" => delete_table(talk, view).await,
        _ => Err(failed(format!(
            "TABLE_NOT_FOUND: line 1:1: View 'awsdatacatalog.{view}' does not exist"
        ))),
    }
}

async fn alter_table(talk: &mut Conversation, name: &TableName, change: Change) -> Done {
    let table = table_of(talk, name).await?;
    if table["TableType"] == "VIRTUAL_VIEW" {
        return Err(failed(
            "FAILED: SemanticException [Error 10131]: To alter a view you need to use the ALTER \
             VIEW command.",
        ));
    }
    let keys = Keys::of(name, &table);
    match change {
        Change::AddPartitions { if_not_exists, partitions } => {
            partitions::add(talk, &keys, &table, if_not_exists, partitions).await
        }
        Change::DropPartitions { if_exists, partitions } => {
            partitions::drop(talk, &keys, if_exists, partitions).await
        }
        Change::RenamePartition(from, to) => partitions::rename(talk, &keys, &from, &to).await,
        Change::SetLocation(Some(spec), location) => {
            check_location(&location)?;
            partitions::move_to(talk, &keys, &spec, &location).await
        }
        other => {
            let mut input = input_of(&table);
            change_table(&mut input, other)?;
            let input = json!({ "DatabaseName": name.database, "TableInput": input });
            let called = talk.glue("UpdateTable", input).await?;
            called.map(|_| Lines::default()).map_err(|error| refused(&error))
        }
    }
}

fn check_location(location: &str) -> Result<(), QueryFailure> {
    let place = Realm::S3.prefix(location);
    place.map(|_| ()).map_err(|_| {
        failed(format!("{TASK} MetaException(message:Path is not legal S3 path: {location})"))
    })
}

fn change_table(input: &mut Value, change: Change) -> Result<(), QueryFailure> {
    let columns = &mut input["StorageDescriptor"]["Columns"];
    match change {
        Change::AddColumns(new) => {
            let known = columns.as_array().cloned().unwrap_or_default();
            for column in &new {
                if known.iter().any(|known| known["Name"] == column.name.as_str()) {
                    return Err(failed(format!(
                        "FAILED: SemanticException [Error 10036]: Duplicate column name: {}",
                        column.name
                    )));
                }
            }
            *columns = known.into_iter().chain(new.iter().map(described)).collect();
        }
        Change::ReplaceColumns(new) => *columns = new.iter().map(described).collect(),
        Change::Column { from, to } => {
            let mut all = columns.as_array_mut().into_iter().flatten();
            let found = all.find(|column| column["Name"] == from.as_str());
            let found =
                found.ok_or_else(|| failed(format!("{TASK} Invalid column reference {from}")))?;
            *found = described(&to);
        }
        Change::SetProperties(properties) => {
            for (name, value) in properties {
                input["Parameters"][name] = value.into();
            }
        }
        Change::SetLocation(_, location) => {
            check_location(&location)?;
            input["StorageDescriptor"]["Location"] = location.into();
        }
        Change::AddPartitions { .. }
        | Change::DropPartitions { .. }
        | Change::RenamePartition(..) => {}
    }
    Ok(())
}
