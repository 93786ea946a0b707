//! Athena: named queries, and SQL on catalogued objects by the embedded engine.
//!
//! Statements are those of Athena for tables of Hive: queries, `CREATE TABLE … AS`, `INSERT`,
//! `UNLOAD`, views, prepared statements, and Hive's statements of databases, tables and partitions.
//! What changes the catalogue is done by [`glue`](super::glue) with the caller's rights. The SQL is
//! Trino's as far as the engine means the same by it; what is missing is refused by name, and what
//! only the engine has is refused as Athena refuses it. The engine reads and writes S3 with the
//! caller's permissions, as Athena does. What Athena's documentation calls mandatory is demanded:
//!
//! - `s3:GetBucketLocation`, `s3:ListBucket` and `s3:ListBucketMultipartUploads` on the bucket of
//!   results, `s3:PutObject`, `s3:AbortMultipartUpload` and `s3:ListMultipartUploadParts` there,
//!   and `s3:GetObject` for who reads results;
//! - `glue:GetDatabase` on the catalogue and the database `default`, and on every database that is
//!   named; `glue:GetTable` on the catalogue, the database and the table, and
//!   `glue:GetPartitions` there when the table has partitions;
//! - `athena:GetDataCatalog` of state machines, because every policy that Step Functions generates
//!   has it, and of requests that name a catalogue.
//!
//! Limits: four queries at work and 100 waiting, 30 minutes each, 512 MiB for sorting and joining,
//! the work group's `BytesScannedCutoffPerQuery`, 262,144 bytes of SQL. The newest 1,000 executions
//! of the last 45 days are kept. Differences from AWS: errors of syntax are told by
//! `StartQueryExecution`, unless the query has to wait; integers in statements are `bigint`;
//! nothing is reused; there are no tables of Iceberg, no `EXPLAIN ANALYZE`, and no catalogue but
//! `AwsDataCatalog`.

mod catalogue;
mod describe;
mod named_queries;
mod prepared;
mod queries;
mod resources;
mod results;
mod work_groups;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steppe_wire::query::{Column, Statement};

use crate::kernel::cloud::Cloud;
use crate::kernel::cloud::Opening;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::{Call, Service};
use crate::kernel::store::Table;
use crate::services::required;
use crate::{model, op};
use anyhow::Result;
pub use describe::describe;
pub use prepared::PreparedStatement;
pub use queries::{Origin, end_orphans, start, stop};
pub use results::results;
pub use work_groups::WorkGroup;

/// What Athena has.
#[derive(Debug)]
pub struct State {
    /// Work groups by name.
    pub work_groups: Table<WorkGroup>,
    /// Named queries by ID.
    pub named_queries: Table<NamedQuery>,
    /// Prepared statements by `group/name`.
    pub prepared: Table<PreparedStatement>,
    /// Query executions by ID.
    pub queries: Table<QueryExecution>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            work_groups: opening.table("work_groups"),
            named_queries: opening.table("named_queries"),
            prepared: opening.table("prepared_statements"),
            queries: opening.table("query_executions"),
        })
    }
}

/// The one catalogue.
const DATA_CATALOG: &str = "AwsDataCatalog";
/// What engine there is, in Athena's words.
const ENGINE_VERSION: &str = "Athena engine version 3";
/// Longest statement.
const SQL_BYTES_MAX: usize = 262_144;
/// Items in one answer of most lists.
const PAGE_MAX: usize = 50;

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
    /// What it is.
    pub statement: Statement,
    /// What stands for its `?`.
    pub parameters: Vec<String>,
    /// Its database.
    pub database: Option<String>,
    /// Its catalogue, as it was given.
    pub catalog: Option<String>,
    /// Its work group.
    pub work_group: String,
    /// The token that makes a repeated request the same one.
    pub token: String,
    /// `OutputLocation` of the request.
    pub requested_output: Option<String>,
    /// `s3://…csv`.
    pub output: String,
    /// `QUEUED`, `RUNNING`, `SUCCEEDED`, `FAILED` or `CANCELLED`.
    pub state: String,
    /// Why it failed.
    pub error: Option<String>,
    /// Columns of the result.
    pub columns: Vec<Column>,
    /// When it was submitted.
    pub submitted: Timestamp,
    /// When it got its engine.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// Milliseconds of planning.
    pub planning_ms: u64,
    /// Milliseconds of the engine in all.
    pub engine_ms: u64,
    /// Bytes of tables that were read.
    pub scanned_bytes: u64,
    /// What stands behind `USING`, of a prepared statement that was executed.
    #[serde(default)]
    pub using: Option<String>,
    /// The prepared statement.
    #[serde(default)]
    pub prepared: Option<String>,
    /// Rows of the result.
    #[serde(default)]
    pub rows: u64,
    /// Rows that were written into a table, or elsewhere.
    #[serde(default)]
    pub update_count: Option<u64>,
    /// `s3://…-manifest.csv`.
    #[serde(default)]
    pub manifest: Option<String>,
}

/// API of Athena.
pub static SERVICE: Service = Service {
    invalid: "InvalidRequestException",
    types: resources::TYPES,
    ..Service::new(
        "athena",
        model!("athena"),
        &[
            op!(StartQueryExecution(
            QueryString, ClientRequestToken, QueryExecutionContext { Database, Catalog },
            ResultConfiguration { OutputLocation, ExpectedBucketOwner, EncryptionConfiguration },
            WorkGroup, ExecutionParameters, ResultReuseConfiguration
        ) => async queries::begin),
            op!(StopQueryExecution(QueryExecutionId) => stop_query),
            op!(GetQueryExecution(QueryExecutionId) => get_query),
            op!(BatchGetQueryExecution(QueryExecutionIds) => describe::batch),
            op!(ListQueryExecutions(WorkGroup, MaxResults, NextToken) => describe::list),
            op!(GetQueryResults(QueryExecutionId, MaxResults, NextToken) => results::results),
            op!(GetQueryRuntimeStatistics(QueryExecutionId) => get_runtime),
            op!(ListEngineVersions(MaxResults, NextToken) => work_groups::list_engines),
            op!(GetWorkGroup(WorkGroup) => work_groups::get),
            op!(ListWorkGroups(MaxResults, NextToken) => work_groups::list),
            op!(CreateWorkGroup(Name, Configuration {
            ResultConfiguration, EnforceWorkGroupConfiguration, PublishCloudWatchMetricsEnabled,
            BytesScannedCutoffPerQuery, RequesterPaysEnabled, EngineVersion,
            EnableMinimumEncryptionConfiguration
        }, Description) => work_groups::create),
            op!(UpdateWorkGroup(WorkGroup, ConfigurationUpdates {
            ResultConfigurationUpdates, EnforceWorkGroupConfiguration, PublishCloudWatchMetricsEnabled,
            BytesScannedCutoffPerQuery, RequesterPaysEnabled, EngineVersion,
            EnableMinimumEncryptionConfiguration, RemoveBytesScannedCutoffPerQuery
        }, Description, State) => work_groups::update),
            op!(DeleteWorkGroup(WorkGroup, RecursiveDeleteOption) => work_groups::delete),
            op!(CreateNamedQuery(
            Name, Description, Database, QueryString, ClientRequestToken, WorkGroup
        ) => named_queries::create),
            op!(UpdateNamedQuery(NamedQueryId, Name, Description, QueryString)
            => named_queries::update),
            op!(DeleteNamedQuery(NamedQueryId) => named_queries::delete),
            op!(GetNamedQuery(NamedQueryId) => named_queries::get),
            op!(BatchGetNamedQuery(NamedQueryIds) => named_queries::batch),
            op!(ListNamedQueries(WorkGroup, MaxResults, NextToken) => named_queries::list),
            op!(CreatePreparedStatement(StatementName, WorkGroup, QueryStatement, Description)
            => prepared::create),
            op!(UpdatePreparedStatement(StatementName, WorkGroup, QueryStatement, Description)
            => prepared::update),
            op!(DeletePreparedStatement(StatementName, WorkGroup) => prepared::delete),
            op!(GetPreparedStatement(StatementName, WorkGroup) => prepared::get),
            op!(BatchGetPreparedStatement(PreparedStatementNames, WorkGroup) => prepared::batch),
            op!(ListPreparedStatements(WorkGroup, MaxResults, NextToken) => prepared::list),
            op!(ListDataCatalogs(MaxResults, NextToken, WorkGroup) => catalogue::list_catalogs),
            op!(GetDataCatalog(Name, WorkGroup) => catalogue::get_catalog),
            op!(ListDatabases(CatalogName, MaxResults, NextToken, WorkGroup)
            => catalogue::list_databases),
            op!(GetDatabase(CatalogName, DatabaseName, WorkGroup) => catalogue::get_database),
            op!(ListTableMetadata(
            CatalogName, DatabaseName, Expression, MaxResults, NextToken, WorkGroup
        ) => catalogue::list_tables),
            op!(GetTableMetadata(CatalogName, DatabaseName, TableName, WorkGroup)
            => catalogue::get_table),
        ],
    )
};

fn stop_query(call: &Call<'_>) -> ApiResult {
    let (id, _) = find(call, call.params)?;
    stop(call.cloud, id);
    Ok(json!({}))
}

fn get_query(call: &Call<'_>) -> ApiResult {
    let (id, execution) = find(call, call.params)?;
    Ok(json!({ "QueryExecution": describe(id, &execution) }))
}

fn get_runtime(call: &Call<'_>) -> ApiResult {
    let (_, execution) = find(call, call.params)?;
    Ok(json!({ "QueryRuntimeStatistics": describe::runtime(&execution) }))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidRequestException", message)
}

/// A page as Athena has them.
fn page(params: &Value, member: &str, items: Vec<Value>) -> ApiResult {
    const PAGES: Pages =
        Pages::of("MaxResults", "NextToken", PAGE_MAX).refusing("InvalidRequestException");
    PAGES.answer(params, member, items)
}

fn group_arn(cloud: &Cloud, group: &str) -> String {
    cloud.config.arn("athena", &format!("workgroup/{group}"))
}

/// One to `count_max` IDs.
fn ids<'a>(params: &'a Value, member: &str, count_max: usize) -> ApiResult<Vec<&'a str>> {
    let given = params[member].as_array().map_or(&[][..], Vec::as_slice);
    let ids: Vec<&str> = given.iter().filter_map(Value::as_str).collect();
    if ids.len() != given.len() || !(1..=count_max).contains(&ids.len()) {
        return Err(invalid(format!("{member} must have 1 to {count_max} texts")));
    }
    Ok(ids)
}

/// The execution that `params` names, when the caller may do this with it.
fn find<'a>(call: &Call<'_>, params: &'a Value) -> ApiResult<(&'a str, Arc<QueryExecution>)> {
    let id = required(params, "QueryExecutionId")?;
    let execution = call.cloud.services.athena.queries.get(id);
    let execution =
        execution.ok_or_else(|| invalid(format!("QueryExecution {id} was not found")))?;
    call.authorize(&group_arn(call.cloud, &execution.work_group))?;
    Ok((id, execution))
}
