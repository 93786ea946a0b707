//! Glue: catalogue, crawlers and jobs.
//!
//! A job run starts the embedded engine with the job's own arguments (`--plan`, `--input`,
//! `--output`, `--rejects`, `--report`) and the role's credentials. The PySpark script itself is
//! not run; a job without these arguments is refused, never reported as succeeded. The arguments
//! are places in S3 and nothing else, and what a job writes lies in none of its other places.
//!
//! Before a run works, its role needs what AWS documents for jobs: `s3:GetObject` on the script,
//! `s3:ListBucket` without a condition on every bucket it reads or writes (what is not there is a
//! denial without it), `s3:PutObject` and `s3:DeleteObject` on its targets. The calls that Spark
//! makes besides, as of folder markers and parts of uploads, are not imitated. Logs go where Glue
//! 5.0 sends them: standard output to `PREFIX/output`, errors to `PREFIX/error`, with
//! `--custom-logGroup-prefix` or `/aws-glue/jobs` as the prefix; `--continuous-log-logGroup` is
//! without effect there. A role that may not write them loses the logs, not the run.
//!
//! Of the catalogue there are databases and tables, which CloudFormation and [`crawlers`] make and
//! the API reads, and [`partitions`], which crawlers and the API make. The newest 1,000 runs of the last 365 days are kept.

pub mod crawlers;
pub mod jobs;
pub mod partitions;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steppe_wire::place::S3Place;

use anyhow::Result;
use crate::kernel::service::{Call, Service};
use crate::{model, op};
use crate::kernel::cloud::Opening;
use crate::kernel::store::{self, NotStored};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::pages::Pages;

pub use crawlers::Crawler;
pub use jobs::{Job, JobRun, stop};
pub use partitions::Partition;

/// What Glue has.
#[derive(Debug)]
pub struct State {
    /// Databases by name.
    pub databases: store::Table<Database>,
    /// Tables by `database.table`.
    pub tables: store::Table<Table>,
    /// Partitions by `database.table/` and their values.
    pub partitions: store::Table<Partition>,
    /// Crawlers by name.
    pub crawlers: store::Table<Crawler>,
    /// Jobs by name.
    pub jobs: store::Table<Job>,
    /// Job runs by ID.
    pub job_runs: store::Table<JobRun>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            databases: opening.table("databases"),
            tables: opening.table("glue_tables"),
            partitions: opening.table("glue_partitions"),
            crawlers: opening.table("crawlers"),
            jobs: opening.table("jobs"),
            job_runs: opening.table("job_runs"),
        })
    }
}

/// Databases or tables in one answer.
const PAGES: Pages = Pages::of("MaxResults", "NextToken", 100).refusing("InvalidInputException");

/// A database.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Database {
    /// What it is.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
}

/// A table, with its input as CloudFormation gave it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    /// Its database.
    pub database: String,
    /// Its name.
    pub name: String,
    /// `TableInput`.
    pub input: Value,
    /// When it was made.
    pub created: Timestamp,
}

/// Whether a table may have this `TableInput`: its files lie below a prefix in S3.
pub fn check_table_input(input: &Value) -> Result<(), String> {
    match &input["StorageDescriptor"]["Location"] {
        Value::Null => Ok(()),
        location => {
            let text = location.as_str().ok_or("the location of a table must be a text")?;
            let place = S3Place::parse(text);
            place.map(|_| ()).map_err(|e| format!("InvalidInputException: table location: {e}"))
        }
    }
}

/// ARN of the catalogue.
pub fn catalog_arn(cloud: &Cloud) -> String {
    cloud.config.arn("glue", "catalog")
}

/// ARN of a database.
pub fn database_arn(cloud: &Cloud, database: &str) -> String {
    cloud.config.arn("glue", &format!("database/{database}"))
}

/// ARN of a table, or of all with `*`.
pub fn table_arn(cloud: &Cloud, database: &str, table: &str) -> String {
    cloud.config.arn("glue", &format!("table/{database}/{table}"))
}

/// Glue asks for a permission on a resource and on all that it is in.
pub fn authorize(
    cloud: &Cloud,
    caller: &Caller,
    action: &str,
    database: Option<&str>,
    table: Option<&str>,
) -> ApiResult<()> {
    cloud.authorize(caller, action, &catalog_arn(cloud), &[])?;
    if let Some(database) = database {
        cloud.authorize(caller, action, &database_arn(cloud, database), &[])?;
        if let Some(table) = table {
            cloud.authorize(caller, action, &table_arn(cloud, database, table), &[])?;
        }
    }
    Ok(())
}

/// API of Glue.
pub static SERVICE: Service = Service { invalid: "InvalidInputException", ..Service::new(
    "glue",
    model!("glue"),
    &[
        op!(GetDatabase(CatalogId, Name) => get_database),
        op!(GetDatabases(CatalogId, NextToken, MaxResults) => get_databases),
        op!(GetTable(CatalogId, DatabaseName, Name) => get_table),
        op!(GetTables(CatalogId, DatabaseName, NextToken, MaxResults) => get_tables),
        op!(CreatePartition(CatalogId, DatabaseName, TableName, PartitionInput)
            => partitions::create),
        op!(BatchCreatePartition(CatalogId, DatabaseName, TableName, PartitionInputList)
            => partitions::create_all),
        op!(GetPartition(CatalogId, DatabaseName, TableName, PartitionValues) => partitions::get),
        op!(GetPartitions(
            CatalogId, DatabaseName, TableName, NextToken, MaxResults, ExcludeColumnSchema
        ) => partitions::list),
        op!(UpdatePartition(
            CatalogId, DatabaseName, TableName, PartitionValueList, PartitionInput
        ) => partitions::update),
        op!(DeletePartition(CatalogId, DatabaseName, TableName, PartitionValues)
            => partitions::remove),
        op!(CreateCrawler(
            Name, Role, DatabaseName, Description, Targets, TablePrefix, SchemaChangePolicy,
            RecrawlPolicy, Configuration
        ) => crawlers::create),
        op!(UpdateCrawler(
            Name, Role, DatabaseName, Description, Targets, TablePrefix, SchemaChangePolicy,
            RecrawlPolicy, Configuration
        ) => crawlers::update),
        op!(DeleteCrawler(Name) => crawlers::remove),
        op!(GetCrawler(Name) => crawlers::get),
        op!(GetCrawlers(MaxResults, NextToken) => crawlers::list),
        op!(StartCrawler(Name) => crawlers::start),
        op!(StopCrawler(Name) => crawlers::stop),
        op!(GetJob(JobName) => jobs::get_job),
        op!(StartJobRun(JobName, Arguments) => jobs::start),
        op!(GetJobRun(JobName, RunId) => jobs::get),
        op!(GetJobRuns(JobName, NextToken, MaxResults) => jobs::list),
        op!(BatchStopJobRun(JobName, JobRunIds) => jobs::batch_stop),
    ],
) };

fn get_databases(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    check_catalog(cloud, params)?;
    authorize(cloud, call.caller, &call.action(), Some("*"), None)?;
    let all = cloud.services.glue.databases.all();
    let all = all.iter().map(|(name, d)| describe_database(cloud, name, d)).collect();
    PAGES.answer(params, "DatabaseList", all)
}

fn get_database(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    check_catalog(cloud, call.params)?;
    let name = call.required("Name")?;
    authorize(cloud, call.caller, &call.action(), Some(name), None)?;
    let found = cloud.services.glue.databases.get(name);
    let found = found.ok_or_else(|| not_found("Database", name))?;
    Ok(json!({ "Database": describe_database(cloud, name, &found) }))
}

fn get_tables(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    check_catalog(cloud, params)?;
    let database = call.required("DatabaseName")?;
    authorize(cloud, call.caller, &call.action(), Some(database), Some("*"))?;
    if !cloud.services.glue.databases.contains(database) {
        return Err(not_found("Database", database));
    }
    let tables = tables_of(cloud, database);
    let tables = tables.iter().map(|t| describe_table(cloud, t)).collect();
    PAGES.answer(params, "TableList", tables)
}

fn get_table(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    check_catalog(cloud, call.params)?;
    let (database, name) = (call.required("DatabaseName")?, call.required("Name")?);
    authorize(cloud, call.caller, &call.action(), Some(database), Some(name))?;
    let table = find_table(cloud, database, name).ok_or_else(|| not_found("Table", name))?;
    Ok(json!({ "Table": describe_table(cloud, &table) }))
}

/// Ends what a cloud that is no more left at work.
pub fn end_orphans(cloud: &Cloud) {
    jobs::end_orphans(cloud);
    crawlers::end_orphans(cloud);
}

/// Deletes a table with its partitions, if it is there.
pub fn delete_table(cloud: &Cloud, database: &str, name: &str) -> Result<(), NotStored> {
    partitions::delete_all(cloud, database, name)?;
    cloud.services.glue.tables.remove(&format!("{database}.{name}")).map(|_| ())
}

/// Deletes a database with all that is in it, as Glue does, if it is there.
pub fn delete_database(cloud: &Cloud, database: &str) -> Result<(), NotStored> {
    for table in tables_of(cloud, database) {
        delete_table(cloud, database, &table.name)?;
    }
    cloud.services.glue.databases.remove(database).map(|_| ())
}

/// The tables of a database.
pub fn tables_of(cloud: &Cloud, database: &str) -> Vec<Arc<Table>> {
    let tables = cloud.services.glue.tables.range(&format!("{database}."), None);
    tables.into_iter().map(|(_, table)| table).filter(|t| t.database == database).collect()
}

/// A table.
pub fn find_table(cloud: &Cloud, database: &str, name: &str) -> Option<Arc<Table>> {
    cloud.services.glue.tables.get(&format!("{database}.{name}"))
}

/// There is one catalogue, and its ID is the account's.
fn check_catalog(cloud: &Cloud, params: &Value) -> ApiResult<()> {
    match params["CatalogId"].as_str() {
        Some(id) if id != cloud.config.account => Err(not_found("Catalog", id)),
        _ => Ok(()),
    }
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidInputException", message)
}

fn not_found(what: &str, name: &str) -> ApiError {
    ApiError::new("EntityNotFoundException", format!("{what} {name} not found."))
}

fn describe_database(cloud: &Cloud, name: &str, database: &Database) -> Value {
    json!({
        "Name": name, "Description": database.description,
        "CreateTime": epoch_secs(database.created), "CatalogId": cloud.config.account,
    })
}

fn describe_table(cloud: &Cloud, table: &Table) -> Value {
    let mut out = table.input.clone();
    out["DatabaseName"] = table.database.clone().into();
    out["CreateTime"] = epoch_secs(table.created).into();
    out["CatalogId"] = cloud.config.account.clone().into();
    out
}
