//! Statements that write rows: `CREATE TABLE … AS`, `INSERT INTO` and `UNLOAD`.
//!
//! Rows go into files of one format, at most one for each partition; what was written is listed in
//! a manifest beside the place of the result. A table or partition is made in the catalogue when
//! its files are there. What fails in between leaves files, as on Athena, and a place that has
//! files is never written into by a new table.
//!
//! <https://docs.aws.amazon.com/athena/latest/ug/create-table-as.html>,
//! <https://docs.aws.amazon.com/athena/latest/ug/insert-into.html>,
//! <https://docs.aws.amazon.com/athena/latest/ug/unload.html>

mod layout;
mod parquet;
mod sink;
mod statement;
mod text;
pub mod types;

use std::time::Instant;

use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::dataframe::DataFrame;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};
use steppe_wire::query::{Column, Query, QueryFailure, QueryResult};

use super::conversation::Conversation;
use super::failure::{Failed, failed};
use super::hive::partitions::{self, Keys};
use super::hive::words::TableName;
use super::hive::{find_table, now_secs, refused, statement::NewColumn, storage};
use super::lines::{self, Updated, put};
use super::scanned::Scan;
use super::views::Sources;
use super::{CATALOG, millis};
use crate::storage::Realm;
use layout::Layout;
use sink::{Sink, Written};
pub use statement::Write;
use statement::{Insert, NewTable, Unload, What};
use types::{Assignment, hive_type};

/// What Athena adds to errors of statements that write.
fn manually(output: &str) -> String {
    format!(
        " You may need to manually clean the data at location '{output}' before retrying. Athena \
         will not delete data in your account."
    )
}

/// The rows of a statement, planned.
struct Rows {
    frame: DataFrame,
    /// Their columns as they are named.
    columns: Vec<(String, DataType)>,
}

/// Does what a statement says.
pub async fn run(
    query: &Query,
    write: &Write,
    talk: &mut Conversation,
    sources: &Sources,
    begun: Instant,
) -> Result<QueryResult, QueryFailure> {
    let scan = Scan::new(query.scanned_bytes_max);
    let context = super::session(query, &write.select, sources, &scan).await?;
    let database = super::statement::database_of(query);
    let frame = super::plan(&context, &write.select, &database).await?;
    let fields = frame.schema().fields();
    let names = write.select.column_names(fields.iter().map(|field| field.name().clone()));
    let kinds = fields.iter().map(|field| field.data_type().clone());
    let columns = names.into_iter().map(|name| name.to_lowercase()).zip(kinds).collect();
    let planning_ms = millis(begun);
    let rows = Rows { frame, columns };
    let done = match &write.what {
        What::NewTable(table) => create(query, table, rows, talk).await,
        What::Insert(insert) => self::insert(query, insert, rows, talk).await,
        What::Unload(unload) => self::unload(query, unload, rows).await,
    };
    if scan.exceeded() {
        return Err(scan.failure());
    }
    let done = done?;
    let manifest = manifest(query, &done).await?;
    let Done { kind, written } = done;
    let columns = vec![Column {
        name: "rows".to_owned(),
        type_name: "bigint".to_owned(),
        precision: 19,
        scale: 0,
        case_sensitive: false,
    }];
    let updated = Updated { kind, rows: written.rows };
    lines::describe(&query.output, &query.id, Some(updated), &columns).await?;
    Ok(QueryResult {
        columns,
        rows: written.rows,
        update_count: Some(written.rows),
        manifest,
        scanned_bytes: scan.bytes(),
        planning_ms,
        engine_ms: millis(begun),
    })
}

/// What a statement did.
struct Done {
    kind: &'static str,
    written: Written,
}

/// The list of the files that were written; `INSERT` has none when there are no files.
async fn manifest(query: &Query, done: &Done) -> Result<Option<String>, QueryFailure> {
    let written = &done.written;
    if written.files.is_empty() && done.kind == "INSERT" {
        return Ok(None);
    }
    let place = format!("{}-manifest.csv", query.output);
    let text: String = written.files.iter().map(|file| format!("{file}\n")).collect();
    put(&place, text.into_bytes()).await?;
    Ok(Some(place))
}

/// Refuses a place that has objects.
async fn refuse_files(location: &str, name: &str, output: &str) -> Result<(), QueryFailure> {
    let place = Realm::S3
        .prefix(location)
        .map_err(|error| failed(format!("INVALID_TABLE_PROPERTY: {error:#}")))?;
    let first = place.store.list(Some(&place.path)).take(1).try_next().await;
    match first.map_err(|error| QueryFailure::from(Failed::stored(&error)))? {
        None => Ok(()),
        Some(_) => Err(failed(format!(
            "HIVE_PATH_ALREADY_EXISTS: Target directory for table '{name}' already exists: \
             {location}.{}",
            manually(output)
        ))),
    }
}

async fn create(
    query: &Query,
    new: &NewTable,
    rows: Rows,
    talk: &mut Conversation,
) -> Result<Done, QueryFailure> {
    let kind = "CREATE TABLE";
    if find_table(talk, &new.table).await?.is_some() {
        if new.if_not_exists {
            return Ok(Done { kind, written: Written::default() });
        }
        return Err(failed(format!(
            "TABLE_ALREADY_EXISTS: line 1:1: Destination table '{CATALOG}.{}' already exists",
            new.table
        )));
    }
    if let Err(error) = talk.glue("GetDatabase", json!({ "Name": new.table.database })).await? {
        return Err(match error.code.as_str() {
            "EntityNotFoundException" => failed(format!(
                "SCHEMA_NOT_FOUND: line 1:1: Schema '{}' does not exist",
                new.table.database
            )),
            _ => refused(&error),
        });
    }
    let rows = match &new.columns {
        None => rows,
        Some(names) if names.len() == rows.columns.len() => {
            let kinds = rows.columns.into_iter().map(|(_, kind)| kind);
            Rows { columns: names.iter().cloned().zip(kinds).collect(), ..rows }
        }
        Some(names) => {
            return Err(failed(format!(
                "MISMATCHED_COLUMN_ALIASES: line 1:1: Column alias list has {} entries but \
                 relation has {} columns",
                names.len(),
                rows.columns.len()
            )));
        }
    };
    let columns = types::named(&rows.columns)?;
    let options = &new.options;
    let data = options.data_columns(&columns)?;
    let location = match &options.location {
        Some(location) => format!("{}/", location.trim_end_matches('/')),
        None => format!("{}/", query.output),
    };
    refuse_files(&location, &new.table.to_string(), &query.output).await?;
    let layout = Layout::of_options(options)?;
    let schema = types::schema(&columns)?;
    let written = if new.with_data {
        let assignment = Assignment::same(&rows.columns, &schema)?;
        let sink = Sink::new(query, &location, schema, data, layout.clone())?;
        fill(sink, rows.frame, &assignment).await?
    } else {
        Written::default()
    };
    let input = table_input(new, &columns, data, &location, &layout);
    let called = talk.glue(
        "CreateTable",
        json!({
            "DatabaseName": new.table.database, "TableInput": input,
        }),
    );
    called.await?.map_err(|error| refused(&error))?;
    let keys = Keys::of(&new.table, &input);
    partitions::create_written(talk, &keys, &input, written.partitions.clone()).await?;
    Ok(Done { kind, written })
}

/// A new table as Athena describes it.
fn table_input(
    new: &NewTable,
    columns: &[(String, String)],
    data: usize,
    location: &str,
    layout: &Layout,
) -> Value {
    let all: Vec<NewColumn> = columns
        .iter()
        .map(|(name, kind)| NewColumn { name: name.clone(), kind: kind.clone(), comment: None })
        .collect();
    let mut parameters = vec![("EXTERNAL".to_owned(), "TRUE".to_owned())];
    parameters.push(("has_encrypted_data".to_owned(), "false".to_owned()));
    parameters.extend(layout.table_parameters());
    if let Some(comment) = &new.comment {
        parameters.push(("comment".to_owned(), comment.clone()));
    }
    parameters.push(("transient_lastDdlTime".to_owned(), now_secs().to_string()));
    let mut descriptor = layout.storage(&all[..data]).descriptor(&all[..data], location);
    descriptor["Parameters"] = json!({});
    json!({
        "Name": new.table.name, "Owner": "hadoop", "Retention": 0, "TableType": "EXTERNAL_TABLE",
        "StorageDescriptor": descriptor,
        "PartitionKeys": all[data..].iter().map(storage::described).collect::<Vec<_>>(),
        "Parameters": storage::object(&parameters),
    })
}

/// Writes all rows.
async fn fill(
    mut sink: Sink,
    frame: DataFrame,
    assignment: &Assignment,
) -> Result<Written, QueryFailure> {
    let mut stream = super::stream(frame).await.map_err(Failed::execution)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(Failed::execution)?;
        sink.write(&assignment.apply(&batch)?)?;
    }
    sink.finish().await
}

async fn insert(
    query: &Query,
    insert: &Insert,
    rows: Rows,
    talk: &mut Conversation,
) -> Result<Done, QueryFailure> {
    let table = find_table(talk, &insert.table).await?.ok_or_else(|| {
        failed(format!(
            "TABLE_NOT_FOUND: line 1:1: Table '{CATALOG}.{}' does not exist",
            insert.table
        ))
    })?;
    refuse_target(&table)?;
    let keys = Keys::of(&insert.table, &table);
    let declared = declared(&table);
    let schema = declared_schema(&declared, &insert.table)?;
    let assignment = Assignment::into(&rows.columns, &schema, insert.columns.as_deref())?;
    let location = table["StorageDescriptor"]["Location"].as_str().unwrap_or_default();
    let location = format!("{}/", location.trim_end_matches('/'));
    let layout = Layout::of_table(&table)?;
    let data = declared.len() - keys.names.len();
    let mut sink = Sink::new(query, &location, schema, data, layout)?;
    let projected = table["Parameters"]["projection.enabled"] == "true";
    let catalogued = !projected && !keys.names.is_empty();
    if catalogued {
        let known = partitions::all(talk, &keys).await?;
        let place = |partition: &Value| {
            let location = partition["StorageDescriptor"]["Location"].as_str()?.to_owned();
            Some((partitions::values(partition), location))
        };
        sink = sink.beside(known.iter().filter_map(place).collect());
    }
    let written = fill(sink, rows.frame, &assignment).await?;
    if catalogued {
        partitions::create_written(talk, &keys, &table, written.partitions.clone()).await?;
    }
    Ok(Done { kind: "INSERT", written })
}

fn refuse_target(table: &Value) -> Result<(), QueryFailure> {
    if table["TableType"] == "VIRTUAL_VIEW" {
        return Err(failed("NOT_SUPPORTED: line 1:1: Inserting into views is not supported"));
    }
    if table["StorageDescriptor"]["NumberOfBuckets"].as_i64().is_some_and(|buckets| buckets > 0) {
        return Err(failed(
            "NOT_SUPPORTED: the embedded cloud does not write into tables with buckets",
        ));
    }
    Ok(())
}

/// Columns and keys of a table.
fn declared(table: &Value) -> Vec<(String, String)> {
    let columns = table["StorageDescriptor"]["Columns"].as_array().into_iter().flatten();
    let keys = table["PartitionKeys"].as_array().into_iter().flatten();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
    columns.chain(keys).map(|c| (text(&c["Name"]), text(&c["Type"]))).collect()
}

fn declared_schema(
    declared: &[(String, String)],
    name: &TableName,
) -> Result<std::sync::Arc<Schema>, QueryFailure> {
    let fields = declared.iter().map(|(column, kind)| {
        let kind = super::tables::arrow_type(kind)
            .map_err(|what| failed(format!("NOT_SUPPORTED: table {name}: {what}")))?;
        Ok(Field::new(column, kind, true))
    });
    Ok(std::sync::Arc::new(Schema::new(fields.collect::<Result<Vec<_>, QueryFailure>>()?)))
}

async fn unload(query: &Query, unload: &Unload, rows: Rows) -> Result<Done, QueryFailure> {
    let columns = types::named(&rows.columns)?;
    let data = unload.options.data_columns(&columns)?;
    let location = format!("{}/", unload.to.trim_end_matches('/'));
    refuse_files(&location, &unload.to, &query.output).await?;
    let schema = types::schema(&columns)?;
    let assignment = Assignment::same(&rows.columns, &schema)?;
    let sink = Sink::new(query, &location, schema, data, Layout::of_options(&unload.options)?)?;
    Ok(Done { kind: "UNLOAD", written: fill(sink, rows.frame, &assignment).await? })
}
