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
//! Of the catalogue there are databases, tables with their versions, and [`partitions`], which
//! CloudFormation, [`crawlers`], Athena's statements and the API make. The newest 1,000 runs of the
//! last 365 days are kept.

pub mod crawlers;
mod databases;
mod filter;
pub mod jobs;
pub mod partitions;
mod resources;
mod tables;
pub mod versions;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use steppe_wire::place::S3Place;

use crate::kernel::cloud::Cloud;
use crate::kernel::cloud::Opening;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::pages::Pages;
use crate::kernel::service::Service;
use crate::kernel::store::{self, NotStored};
use crate::services::required;
use crate::{model, op};
use anyhow::Result;

pub use crawlers::Crawler;
pub use filter::parses as parses_filter;
pub use jobs::{Job, JobRun, stop};
pub use partitions::Partition;
pub use tables::pattern;

/// What Glue has.
#[derive(Debug)]
pub struct State {
    /// Databases by name.
    pub databases: store::Table<Database>,
    /// Tables by `database.table`.
    pub tables: store::Table<Table>,
    /// What tables were before, by `database.table/` and their versions.
    pub versions: store::Table<Table>,
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
            versions: opening.table("glue_table_versions"),
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
    /// `DatabaseInput`, when the API made it.
    #[serde(default)]
    pub input: Value,
}

/// A table, with its input as CloudFormation or the API gave it.
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
    /// When it was changed.
    #[serde(default)]
    pub updated: Option<Timestamp>,
    /// How often it was changed.
    #[serde(default)]
    pub version: u64,
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
pub static SERVICE: Service = Service {
    invalid: "InvalidInputException",
    types: resources::TYPES,
    ..Service::new(
        "glue",
        model!("glue"),
        &[
            op!(CreateDatabase(CatalogId, DatabaseInput {
            Name, Description, LocationUri, Parameters, CreateTableDefaultPermissions
        }) => databases::create),
            op!(UpdateDatabase(CatalogId, Name, DatabaseInput {
            Name, Description, LocationUri, Parameters, CreateTableDefaultPermissions
        }) => databases::update),
            op!(DeleteDatabase(CatalogId, Name) => databases::delete),
            op!(GetDatabase(CatalogId, Name) => databases::get),
            op!(GetDatabases(CatalogId, NextToken, MaxResults, ResourceShareType)
            => databases::list),
            op!(CreateTable(CatalogId, DatabaseName, TableInput {
            Name, Description, Owner, LastAccessTime, LastAnalyzedTime, Retention, StorageDescriptor,
            PartitionKeys, ViewOriginalText, ViewExpandedText, TableType, Parameters
        }) => tables::create),
            op!(UpdateTable(CatalogId, DatabaseName, TableInput {
            Name, Description, Owner, LastAccessTime, LastAnalyzedTime, Retention, StorageDescriptor,
            PartitionKeys, ViewOriginalText, ViewExpandedText, TableType, Parameters
        }, SkipArchive, VersionId) => tables::update),
            op!(DeleteTable(CatalogId, DatabaseName, Name) => tables::delete),
            op!(BatchDeleteTable(CatalogId, DatabaseName, TablesToDelete) => tables::batch_delete),
            op!(GetTable(CatalogId, DatabaseName, Name) => tables::get),
            op!(GetTables(CatalogId, DatabaseName, Expression, NextToken, MaxResults)
            => tables::list),
            op!(SearchTables(
            CatalogId, Filters { Key, Value, Comparator }, SearchText, SortCriteria, NextToken,
            MaxResults
        ) => tables::search),
            op!(GetTableVersions(CatalogId, DatabaseName, TableName, NextToken, MaxResults)
            => versions::list),
            op!(GetTableVersion(CatalogId, DatabaseName, TableName, VersionId) => versions::get),
            op!(DeleteTableVersion(CatalogId, DatabaseName, TableName, VersionId)
            => versions::delete),
            op!(BatchDeleteTableVersion(CatalogId, DatabaseName, TableName, VersionIds)
            => versions::batch_delete),
            op!(GetPartitionIndexes(CatalogId, DatabaseName, TableName, NextToken)
            => tables::indexes),
            op!(CreatePartition(CatalogId, DatabaseName, TableName, PartitionInput)
            => partitions::create),
            op!(BatchCreatePartition(CatalogId, DatabaseName, TableName, PartitionInputList)
            => partitions::create_all),
            op!(GetPartition(CatalogId, DatabaseName, TableName, PartitionValues) => partitions::get),
            op!(GetPartitions(
            CatalogId, DatabaseName, TableName, Expression,
            Segment { SegmentNumber, TotalSegments }, NextToken, MaxResults,
            ExcludeColumnSchema
        ) => partitions::list),
            op!(BatchGetPartition(CatalogId, DatabaseName, TableName, PartitionsToGet)
            => partitions::get_all),
            op!(BatchDeletePartition(CatalogId, DatabaseName, TableName, PartitionsToDelete)
            => partitions::remove_all),
            op!(BatchUpdatePartition(
            CatalogId, DatabaseName, TableName, Entries { PartitionValueList, PartitionInput }
        ) => partitions::update_all),
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
    )
};

/// Ends what a cloud that is no more left at work.
pub fn end_orphans(cloud: &Cloud) {
    jobs::end_orphans(cloud);
    crawlers::end_orphans(cloud);
}

/// Deletes a table with its partitions, if it is there.
pub fn delete_table(cloud: &Cloud, database: &str, name: &str) -> Result<(), NotStored> {
    partitions::delete_all(cloud, database, name)?;
    versions::delete_all(cloud, database, name)?;
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

/// The texts of a list.
fn texts(params: &Value, member: &str) -> ApiResult<Vec<String>> {
    let given = params[member].as_array().map_or(&[][..], Vec::as_slice);
    let texts: Vec<String> = given.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    if texts.is_empty() || texts.len() != given.len() {
        return Err(invalid(format!("{member} must be a list of texts.")));
    }
    Ok(texts)
}

/// A name as the catalogue has it: in lower case, whatever a request calls it.
fn lower(params: &Value, member: &str) -> ApiResult<String> {
    required(params, member).map(str::to_lowercase)
}

fn not_found(what: &str, name: &str) -> ApiError {
    ApiError::new("EntityNotFoundException", format!("{what} {name} not found."))
}
