//! What templates can make of Glue.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Database, Job, crawlers, versions};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Failure, Handler, Live, Made, Place, ResourceType, number, text};

/// The types.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new(
        "AWS::Glue::Database",
        &["CatalogId", "DatabaseInput/Name", "DatabaseInput/Description"],
        &DatabaseType,
    )
    .named_by("DatabaseInput/Name")
    .also_replacing(&["DatabaseInput/Name"]),
    ResourceType::new(
        "AWS::Glue::Table",
        &[
            "CatalogId",
            "DatabaseName",
            "TableInput/Name",
            "TableInput/Description",
            "TableInput/Owner",
            "TableInput/TableType",
            "TableInput/Parameters",
            "TableInput/PartitionKeys",
            "TableInput/StorageDescriptor/Columns",
            "TableInput/StorageDescriptor/Location",
            "TableInput/StorageDescriptor/InputFormat",
            "TableInput/StorageDescriptor/OutputFormat",
            "TableInput/StorageDescriptor/SerdeInfo",
        ],
        &Table,
    )
    .named_by("TableInput/Name"),
    ResourceType::new(
        "AWS::Glue::Crawler",
        &[
            "Name",
            "Role",
            "DatabaseName",
            "Description",
            "Targets/S3Targets/Path",
            "Targets/S3Targets/Exclusions",
            "TablePrefix",
            "SchemaChangePolicy/UpdateBehavior",
            "SchemaChangePolicy/DeleteBehavior",
            "RecrawlPolicy/RecrawlBehavior=CRAWL_EVERYTHING",
            "Configuration",
            "Tags",
        ],
        &Crawler,
    )
    .named_by("Name"),
    ResourceType::new(
        "AWS::Glue::Job",
        &[
            "Name",
            "Description",
            "Role",
            "GlueVersion",
            "WorkerType",
            "NumberOfWorkers",
            "Timeout",
            "MaxRetries",
            "ExecutionProperty/MaxConcurrentRuns",
            "Command/Name=glueetl",
            "Command/PythonVersion=3",
            "Command/ScriptLocation",
            "DefaultArguments",
            "Tags",
        ],
        &JobType,
    )
    .named_by("Name"),
];

fn refuses(code: &str, words: &str) -> Failure {
    let words = format!("{words} (Service: Glue, Status Code: 400, Error Code: {code})");
    Failure::Other(words)
}

#[derive(Debug)]
struct DatabaseType;

impl DatabaseType {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let databases = &place.cloud.services.glue.databases;
        let created = databases.get(id).map_or_else(Timestamp::now, |d| d.created);
        let database = Database::new(properties["DatabaseInput"].clone());
        databases.put(id, Database { created, ..database })?;
        Ok(Map::new())
    }
}

#[async_trait]
impl Handler for DatabaseType {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.glue.databases.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        Ok(super::delete_database(place.cloud, id)?)
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.glue.databases.get(id).map(|database| {
            let mut input = database.input.clone();
            input["Name"] = id.into();
            json!({ "CatalogId": cloud.config.account, "DatabaseInput": input })
        }))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.glue.databases.names(""))
    }
}

#[derive(Debug)]
struct Table;

impl Table {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let database = text(properties, "DatabaseName");
        if !place.cloud.services.glue.databases.contains(database) {
            let words = format!("Database {database} not found.");
            return Err(refuses("EntityNotFoundException", &words));
        }
        super::check_table_input(&properties["TableInput"])?;
        let input = properties["TableInput"].clone();
        versions::put(place.cloud, database, id, input, versions::Archive::Keep)?;
        Ok(Map::new())
    }

    /// Tables are kept by `database.table`.
    fn key(id: &str, properties: &Value) -> String {
        format!("{}.{id}", text(properties, "DatabaseName"))
    }
}

#[async_trait]
impl Handler for Table {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Option<bool> {
        Some(cloud.services.glue.tables.contains(&Self::key(id, properties)))
    }

    fn taken(&self, kind: &ResourceType, id: &str, properties: &Value) -> String {
        let identifier = Self::key(id, properties).replacen('.', "|", 1);
        format!("Resource of type '{}' with identifier '{identifier}' already exists.", kind.name)
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, properties: &Value) -> Result<(), String> {
        Ok(super::delete_table(place.cloud, text(properties, "DatabaseName"), id)?)
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Live {
        let table = super::find_table(cloud, text(properties, "DatabaseName"), id);
        Live::of(table.map(|table| {
            let mut input = table.input.clone();
            input["Name"] = id.into();
            json!({
                "CatalogId": cloud.config.account, "DatabaseName": table.database,
                "TableInput": input,
            })
        }))
    }
}

#[derive(Debug)]
struct Crawler;

impl Crawler {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        crawlers::check(properties)?;
        place.may_pass(text(properties, "Role"), "glue.amazonaws.com")?;
        let put = crawlers::put(place.cloud, id, properties);
        put.map_err(|error| refuses(&error.code, &error.message))?;
        Ok(Map::new())
    }
}

#[async_trait]
impl Handler for Crawler {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.glue.crawlers.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        crawlers::stop_and_delete(place.cloud, id).map_err(|e| e.to_string())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.glue.crawlers.get(id).map(|crawler| {
            let mut properties = crawler.described.clone();
            properties["Name"] = id.into();
            properties
        }))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(crawlers::arn(cloud, id))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.glue.crawlers.names(""))
    }
}

#[derive(Debug)]
struct JobType;

impl JobType {
    fn set(place: &Place<'_>, id: &str, p: &Value) -> Made {
        place.may_pass(text(p, "Role"), "glue.amazonaws.com")?;
        let arguments = p["DefaultArguments"].as_object().into_iter().flatten();
        let (now, former) = (place.cloud.clock.now(), place.cloud.services.glue.jobs.get(id));
        let created = former.and_then(|job| job.times).map_or(now, |(created, _)| created);
        let job = Job {
            role: text(p, "Role").to_owned(),
            script: text(&p["Command"], "ScriptLocation").to_owned(),
            arguments: arguments
                .map(|(k, v)| (k.clone(), v.as_str().map_or_else(|| v.to_string(), str::to_owned)))
                .collect(),
            timeout_mins: number(&p["Timeout"], 2_880),
            concurrent_max: number(&p["ExecutionProperty"]["MaxConcurrentRuns"], 1),
            described: described_job(p),
            times: Some((created, now)),
        };
        place.cloud.services.glue.jobs.put(id, job)?;
        Ok(Map::new())
    }
}

/// The properties that the API has by the same names, beside those that [`Job`] has itself.
fn described_job(properties: &Value) -> Value {
    let texts = ["Description", "GlueVersion", "WorkerType", "Command"];
    let texts = texts.iter().filter(|name| !properties[**name].is_null());
    let mut described: Map<String, Value> =
        texts.map(|name| ((*name).to_owned(), properties[*name].clone())).collect();
    for name in ["NumberOfWorkers", "MaxRetries"] {
        if !properties[name].is_null() {
            described.insert(name.to_owned(), number(&properties[name], 0).into());
        }
    }
    Value::Object(described)
}

#[async_trait]
impl Handler for JobType {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.glue.jobs.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.cloud.services.glue.jobs.remove(id)?;
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.glue.jobs.get(id).map(|job| {
            let mut properties = job.described.clone();
            properties["Name"] = id.into();
            properties["Role"] = job.role.clone().into();
            properties["DefaultArguments"] = json!(job.arguments);
            properties["Timeout"] = job.timeout_mins.into();
            properties["ExecutionProperty"] = json!({ "MaxConcurrentRuns": job.concurrent_max });
            properties
        }))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(cloud.config.arn("glue", &format!("job/{id}")))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.glue.jobs.names(""))
    }
}
