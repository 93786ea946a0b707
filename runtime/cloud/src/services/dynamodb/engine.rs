//! The library that keeps items, and its errors in the words of this cloud.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use dynoxide::{Database, DynoxideError};
use rusqlite::Connection;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::kernel::error::{ApiError, ApiResult};

/// What `PRAGMA synchronous` says when each commit waits for the disk.
const FULL: i64 = 2;
/// How errors begin that the library raises while it reads a request.
const MARKS: [(&str, &str); 5] = [
    ("SERIALIZATION_AS_READ:", "SerializationException"),
    ("VALIDATION_AS_READ:", "ValidationException"),
    ("SERIALIZATION:", "SerializationException"),
    ("VALIDATION_REQUEST:", ENVELOPED),
    ("VALIDATION:", "ValidationException"),
];
/// A refusal that three operations word in another way than the others.
const ENVELOPED: &str = "enveloped";

/// The database of all items; clones are the same one.
#[derive(Clone)]
pub struct Engine(Database);

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    /// Opens the database, or makes it.
    pub fn open(file: &Path) -> Result<Self> {
        let path = file.to_str().context("the state folder's name is not UTF-8")?;
        let opened = Database::new(path).map_err(told)?;
        // The library sets nothing, so its connection has what any other one has.
        let synchronous: i64 =
            Connection::open(file)?.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
        if synchronous != FULL {
            bail!("SQLite was built to answer before its commits are on the disk");
        }
        Ok(Self(opened))
    }

    /// The names of all tables that it has, whole or not.
    pub fn tables(&self) -> Result<Vec<String>> {
        let (mut names, mut after) = (Vec::new(), None::<String>);
        loop {
            let request = json!({ "ExclusiveStartTableName": after, "Limit": 100 });
            let request = serde_json::from_value(without_nulls(request))?;
            let answer = serde_json::to_value(self.0.list_tables(request).map_err(told)?)?;
            let page = answer["TableNames"].as_array().into_iter().flatten();
            names.extend(page.filter_map(Value::as_str).map(str::to_owned));
            after = answer["LastEvaluatedTableName"].as_str().map(str::to_owned);
            if after.is_none() {
                return Ok(names);
            }
        }
    }

    /// Whether it has a table.
    pub fn has(&self, name: &str) -> Result<bool> {
        Ok(self.0.get_table_metadata(name).map_err(told)?.is_some())
    }

    /// Whether it writes down the changes of a table.
    pub fn has_stream(&self, name: &str) -> Result<bool> {
        let table = self.0.get_table_metadata(name).map_err(told)?;
        Ok(table.is_some_and(|table| table.stream_enabled))
    }

    /// Ends that.
    pub fn end_stream(&self, name: &str) -> Result<()> {
        let off = json!({ "StreamEnabled": false });
        let update = json!({ "TableName": name, "StreamSpecification": off });
        self.0.update_table(serde_json::from_value(update)?).map_err(told)?;
        Ok(())
    }

    /// Deletes what there is of a table.
    pub fn drop_table(&self, name: &str) -> Result<()> {
        if self.has(name)? {
            let unprotect = json!({ "TableName": name, "DeletionProtectionEnabled": false });
            self.0.update_table(serde_json::from_value(unprotect)?).map_err(told)?;
            let delete = serde_json::from_value(json!({ "TableName": name }))?;
            self.0.delete_table(delete).map_err(told)?;
        }
        Ok(())
    }

    /// Runs an operation, away from what answers other requests.
    pub async fn run(&self, operation: &'static str, request: Value) -> ApiResult {
        let engine = self.clone();
        let work = tokio::task::spawn_blocking(move || engine.run_here(operation, request));
        work.await.map_err(ApiError::internal)?
    }

    /// Runs an operation and waits for it.
    pub fn run_here(&self, operation: &'static str, request: Value) -> ApiResult {
        let db = &self.0;
        macro_rules! run {
            ($method:ident) => {{
                let request = read(operation, request)?;
                let answer = db.$method(request).map_err(|error| worded(operation, &error))?;
                serde_json::to_value(answer).map_err(ApiError::internal)
            }};
        }
        match operation {
            "CreateTable" => run!(create_table),
            "UpdateTable" => run!(update_table),
            "DeleteTable" => run!(delete_table),
            "DescribeTable" => run!(describe_table),
            "GetItem" => run!(get_item),
            "PutItem" => run!(put_item),
            "UpdateItem" => run!(update_item),
            "DeleteItem" => run!(delete_item),
            "Query" => run!(query),
            "Scan" => run!(scan),
            "BatchGetItem" => run!(batch_get_item),
            "BatchWriteItem" => run!(batch_write_item),
            "TransactGetItems" => run!(transact_get_items),
            "TransactWriteItems" => run!(transact_write_items),
            other => Err(ApiError::unknown_operation("dynamodb", other)),
        }
    }
}

fn without_nulls(mut value: Value) -> Value {
    if let Value::Object(members) = &mut value {
        members.retain(|_, value| !value.is_null());
    }
    value
}

fn told(error: DynoxideError) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// The library's request; what it refuses while it reads is told apart by how the text begins.
fn read<T: DeserializeOwned>(operation: &str, request: Value) -> ApiResult<T> {
    serde_json::from_value(request).map_err(|error| {
        let words = error.to_string();
        let marked = MARKS.iter().find_map(|(mark, code)| Some((words.strip_prefix(mark)?, *code)));
        match marked {
            Some((words, ENVELOPED)) => {
                ApiError::new("ValidationException", enveloped(operation, words))
            }
            Some((words, code)) => ApiError::new(code, words),
            None if words.contains("missing field")
                || words.contains("Supplied AttributeValue") =>
            {
                ApiError::new("ValidationException", words)
            }
            None => ApiError::new("SerializationException", words),
        }
    })
}

/// An error in the words of `operation`.
fn worded(operation: &str, error: &DynoxideError) -> ApiError {
    let kind = error.error_type();
    let code = kind.rsplit('#').next().unwrap_or(kind);
    let words = match error {
        DynoxideError::EnvelopedValidation(words) => enveloped(operation, words),
        other => other.to_string(),
    };
    let mut told = ApiError::new(code, words).with_status(error.status_code());
    if told.status >= 500 {
        tracing::error!("dynamodb:{operation}: {}", told.message);
        told.code = "InternalServerError".to_owned();
    }
    match error {
        DynoxideError::ConditionalCheckFailedException(_, Some(item)) => {
            told.with("Item", serde_json::to_value(item).unwrap_or_default())
        }
        DynoxideError::TransactionCanceledException(_, reasons) => {
            told.with("CancellationReasons", serde_json::to_value(reasons).unwrap_or_default())
        }
        _ => told,
    }
}

/// The three operations that change one item begin a refusal of their request like this.
fn enveloped(operation: &str, words: &str) -> String {
    match operation {
        "PutItem" | "UpdateItem" | "DeleteItem" => {
            format!("1 validation error detected: {words}")
        }
        _ => words.to_owned(),
    }
}
