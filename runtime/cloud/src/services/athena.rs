//! Athena: named queries, and SQL on catalogued objects by the embedded engine.
//!
//! The SQL is DataFusion's, which agrees with Trino's on what the pipelines use; it only reads. The
//! engine reads S3 with the caller's permissions, as Athena does. A work group's limit of scanned bytes is kept, not enforced.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steppe_wire::query::{Query, QueryResult, Table, TableFormat};
use tokio::process::Command;

use crate::cloud::{Cloud, epoch_secs};
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;
use crate::services::{glue, required, run_process};

/// Longest time of a query.
const QUERY_LIMIT: Duration = Duration::from_secs(30 * 60);
/// Rows in one answer.
const ROWS_MAX: usize = 1_000;

/// A work group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkGroup {
    /// Where results go: `s3://bucket/prefix/`.
    pub output: String,
    /// What it is.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
}

/// A named query.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NamedQuery {
    /// Its name.
    pub name: String,
    /// What it answers.
    pub description: String,
    /// Its database.
    pub database: String,
    /// Its work group.
    pub work_group: String,
    /// The statement.
    pub sql: String,
}

/// One execution of a query.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct QueryExecution {
    /// The statement.
    pub sql: String,
    /// Its database.
    pub database: Option<String>,
    /// Its work group.
    pub work_group: String,
    /// `s3://…csv`.
    pub output: String,
    /// `RUNNING`, `SUCCEEDED` or `FAILED`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Columns of the result.
    pub columns: Vec<(String, String)>,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// When it ended.
    pub completed: Option<Timestamp>,
}

/// API of Athena.
pub async fn handle(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    operation: &str,
    params: &Value,
) -> ApiResult {
    match operation {
        "StartQueryExecution" => start(cloud, caller, params),
        "GetQueryExecution" => {
            let (id, execution) = find(cloud, caller, params, "athena:GetQueryExecution")?;
            Ok(json!({ "QueryExecution": describe(id, &execution) }))
        }
        "GetQueryResults" => results(cloud, caller, params),
        "ListWorkGroups" => {
            cloud.authorize(
                caller,
                "athena:ListWorkGroups",
                &cloud.config.arn("athena", "workgroup/*"),
                &[],
            )?;
            let all = cloud.work_groups.all();
            let groups: Vec<Value> =
                all.iter().map(|(name, g)| json!({ "Name": name, "State": "ENABLED", "Description": g.description })).collect();
            Ok(json!({ "WorkGroups": groups }))
        }
        "ListNamedQueries" => {
            let group = params["WorkGroup"].as_str().unwrap_or("primary");
            cloud.authorize(caller, "athena:ListNamedQueries", &group_arn(cloud, group), &[])?;
            let ids: Vec<String> = cloud
                .named_queries
                .all()
                .into_iter()
                .filter(|(_, q)| q.work_group == group)
                .map(|(id, _)| id)
                .collect();
            Ok(json!({ "NamedQueryIds": ids }))
        }
        "BatchGetNamedQuery" => {
            let ids: Vec<&str> = params["NamedQueryIds"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            let found =
                ids.iter().map(|id| named_query(cloud, caller, id, "athena:BatchGetNamedQuery"));
            Ok(json!({ "NamedQueries": found.collect::<ApiResult<Vec<_>>>()? }))
        }
        "GetNamedQuery" => Ok(
            json!({ "NamedQuery": named_query(cloud, caller, required(params, "NamedQueryId")?, "athena:GetNamedQuery")? }),
        ),
        other => Err(ApiError::unknown_operation("athena", other)),
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidRequestException", message)
}

fn group_arn(cloud: &Cloud, group: &str) -> String {
    cloud.config.arn("athena", &format!("workgroup/{group}"))
}

fn named_query(cloud: &Cloud, caller: &Caller, id: &str, action: &str) -> ApiResult {
    let query = cloud
        .named_queries
        .get(id)
        .ok_or_else(|| invalid(format!("Named query {id} was not found")))?;
    cloud.authorize(caller, action, &group_arn(cloud, &query.work_group), &[])?;
    Ok(json!({
        "NamedQueryId": id, "Name": query.name, "Description": query.description, "Database": query.database,
        "QueryString": query.sql, "WorkGroup": query.work_group,
    }))
}

fn find<'a>(
    cloud: &Cloud,
    caller: &Caller,
    params: &'a Value,
    action: &str,
) -> ApiResult<(&'a str, Arc<QueryExecution>)> {
    let id = required(params, "QueryExecutionId")?;
    let execution = cloud
        .query_executions
        .get(id)
        .ok_or_else(|| invalid(format!("QueryExecution {id} was not found")))?;
    cloud.authorize(caller, action, &group_arn(cloud, &execution.work_group), &[])?;
    Ok((id, execution))
}

/// As the API describes an execution.
pub fn describe(id: &str, execution: &QueryExecution) -> Value {
    let mut status =
        json!({ "State": execution.state, "SubmissionDateTime": epoch_secs(execution.submitted) });
    if let Some(completed) = execution.completed {
        status["CompletionDateTime"] = epoch_secs(completed).into();
    }
    if let Some(error) = &execution.error {
        status["StateChangeReason"] = error.clone().into();
    }
    json!({
        "QueryExecutionId": id, "Query": execution.sql, "StatementType": "DML", "Status": status,
        "ResultConfiguration": { "OutputLocation": execution.output }, "WorkGroup": execution.work_group,
        "QueryExecutionContext": { "Database": execution.database, "Catalog": "awsdatacatalog" },
    })
}

/// `StartQueryExecution`, from the API and from state machines.
pub fn start(cloud: &Arc<Cloud>, caller: &Caller, params: &Value) -> ApiResult {
    let sql = required(params, "QueryString")?.trim().trim_end_matches(';').to_owned();
    let group = params["WorkGroup"].as_str().unwrap_or("primary");
    cloud.authorize(caller, "athena:StartQueryExecution", &group_arn(cloud, group), &[])?;
    let work_group = cloud
        .work_groups
        .get(group)
        .ok_or_else(|| invalid(format!("WorkGroup {group} is not found.")))?;
    let database = params["QueryExecutionContext"]["Database"].as_str().map(str::to_owned);
    let id = uuid::Uuid::new_v4().to_string();
    let output = format!("{}/{id}.csv", work_group.output.trim_end_matches('/'));
    let bucket = output.trim_start_matches("s3://").split('/').next().unwrap_or_default();
    cloud.authorize(caller, "s3:GetBucketLocation", &format!("arn:aws:s3:::{bucket}"), &[])?;
    let tables = visible_tables(cloud, caller, &sql, database.as_deref())?;
    let execution = QueryExecution {
        sql: sql.clone(),
        database: database.clone(),
        work_group: group.to_owned(),
        output: output.clone(),
        state: "RUNNING".to_owned(),
        error: None,
        columns: vec![],
        submitted: Timestamp::now(),
        completed: None,
    };
    cloud.query_executions.put(&id, execution)?;
    tokio::spawn(execute(
        cloud.clone(),
        caller.clone(),
        id.clone(),
        Query { sql, database, tables, output },
    ));
    Ok(json!({ "QueryExecutionId": id }))
}

/// The tables that `sql` names; for each the caller needs the catalogue's permission.
fn visible_tables(
    cloud: &Cloud,
    caller: &Caller,
    sql: &str,
    database: Option<&str>,
) -> ApiResult<Vec<Table>> {
    let mut visible = Vec::new();
    for (_, table) in cloud.glue_tables.all() {
        let own = database.is_some_and(|d| d.eq_ignore_ascii_case(&table.database));
        let pattern = if own {
            format!(r"(?i)\b{}\b", regex::escape(&table.name))
        } else {
            format!(
                r#"(?i)\b{}"?\."?{}\b"#,
                regex::escape(&table.database),
                regex::escape(&table.name)
            )
        };
        if !Regex::new(&pattern).map_err(ApiError::internal)?.is_match(sql) {
            continue;
        }
        let [catalog, database_arn, table_arn] =
            glue::table_arns(cloud, &table.database, &table.name);
        cloud.authorize(caller, "glue:GetDatabase", &database_arn, &[])?;
        for resource in [catalog, database_arn, table_arn] {
            cloud.authorize(caller, "glue:GetTable", &resource, &[])?;
        }
        visible.push(query_table(&table)?);
    }
    Ok(visible)
}

fn query_table(table: &glue::Table) -> ApiResult<Table> {
    let descriptor = &table.input["StorageDescriptor"];
    let serde = descriptor["SerdeInfo"]["SerializationLibrary"].as_str().unwrap_or_default();
    let format = match serde.rsplit('.').next().unwrap_or_default() {
        "ParquetHiveSerDe" => TableFormat::Parquet,
        "OpenCSVSerde" => TableFormat::Csv,
        "JsonSerDe" => TableFormat::Json,
        other => {
            return Err(invalid(format!(
                "The embedded cloud does not read tables with the SerDe `{other}`."
            )));
        }
    };
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let columns = descriptor["Columns"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|c| (text(&c["Name"]), text(&c["Type"])));
    Ok(Table {
        database: table.database.clone(),
        name: table.name.clone(),
        location: text(&descriptor["Location"]),
        format,
        has_header: table.input["Parameters"]["skip.header.line.count"] == "1",
        columns: columns.collect(),
    })
}

async fn execute(cloud: Arc<Cloud>, caller: Caller, id: String, query: Query) {
    let result = run_engine(&cloud, caller, &query).await;
    cloud.query_executions.settle(&id, |execution| {
        execution.completed = Some(Timestamp::now());
        match result {
            Ok(result) => {
                execution.state = "SUCCEEDED".to_owned();
                execution.columns = result.columns;
            }
            Err(error) => {
                execution.state = "FAILED".to_owned();
                execution.error = Some(error);
            }
        }
    });
}

async fn run_engine(
    cloud: &Arc<Cloud>,
    caller: Caller,
    query: &Query,
) -> Result<QueryResult, String> {
    let mut command = Command::new(&cloud.config.engine);
    command
        .arg("query")
        .env_clear()
        .envs(cloud.config.client_env())
        .envs(cloud.identities.session(caller).env());
    let input = serde_json::to_vec(query).map_err(|e| e.to_string())?;
    let finished = run_process(command, &input, QUERY_LIMIT).await?;
    if !finished.success {
        return Err(finished.stderr.trim().trim_start_matches("error: ").to_owned());
    }
    serde_json::from_str(&finished.stdout)
        .map_err(|e| format!("the engine's answer is not readable: {e}"))
}

/// `GetQueryResults`: the CSV that the engine wrote, page by page, the header as the first row.
pub fn results(cloud: &Cloud, caller: &Caller, params: &Value) -> ApiResult {
    let (id, execution) = find(cloud, caller, params, "athena:GetQueryResults")?;
    if execution.state != "SUCCEEDED" {
        let error = execution.error.as_deref().unwrap_or("it has not finished");
        return Err(invalid(format!(
            "Query {id} has no results. Final query state: {}. {error}",
            execution.state
        )));
    }
    let (bucket, key) = execution
        .output
        .trim_start_matches("s3://")
        .split_once('/')
        .ok_or_else(|| invalid("The output location is not an S3 address."))?;
    cloud.authorize(caller, "s3:GetObject", &format!("arn:aws:s3:::{bucket}/{key}"), &[])?;
    let bytes = cloud
        .buckets
        .read(bucket, key)
        .map_err(|e| invalid(format!("Could not read the result: {e}")))?;
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes.as_slice());
    let skip: usize = params["NextToken"].as_str().and_then(|t| t.parse().ok()).unwrap_or(0);
    let max = params["MaxResults"].as_u64().map_or(ROWS_MAX, |m| (m as usize).clamp(1, ROWS_MAX));
    let mut rows = Vec::new();
    let mut more = false;
    for record in reader.records().skip(skip) {
        let record = record.map_err(ApiError::internal)?;
        if rows.len() == max {
            more = true;
            break;
        }
        let datum = |field: &str| {
            if field.is_empty() { json!({}) } else { json!({ "VarCharValue": field }) }
        };
        rows.push(json!({ "Data": record.iter().map(datum).collect::<Vec<_>>() }));
    }
    let columns: Vec<Value> = execution
        .columns
        .iter()
        .map(|(name, kind)| json!({ "Name": name, "Label": name, "Type": kind, "CatalogName": "hive", "Nullable": "UNKNOWN" }))
        .collect();
    let next = more.then(|| (skip + rows.len()).to_string());
    let mut answer = json!({ "UpdateCount": 0, "ResultSet": { "Rows": rows, "ResultSetMetadata": { "ColumnInfo": columns } } });
    if let Some(next) = next {
        answer["NextToken"] = next.into();
    }
    Ok(answer)
}
