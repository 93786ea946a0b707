//! Crawlers: their definitions, states and runs.
//!
//! A crawl looks at its targets in the engine's process, with the credentials of the crawler's role
//! (session `AWS-Crawler`), and writes what it found into the catalogue under the same role's
//! policies; nothing is taken from tables that are there. What the role may not do fails the crawl
//! with the denial as its `ErrorMessage`: `glue:GetDatabase`, `s3:ListBucket`, `s3:GetObject`,
//! `glue:GetTable`, `CreateTable`, `UpdateTable`, `DeleteTable`, `GetPartitions`,
//! `BatchCreatePartition`, `UpdatePartition` and `BatchDeletePartition`, as far as they are needed.
//! How tables are found is in the engine's `crawl`, how they are written in [`catalogue`].
//!
//! Differences from AWS: S3 targets only, and folders only, not whole buckets; schedules, custom
//! classifiers, samples, events, security configurations, Lake Formation, lineage, partition
//! indexes, incremental crawls, `TableLevelConfiguration` and `TableThreshold` are refused by name.
//! Crawls are no events of EventBridge. `Role` is shown as it was given. A crawl takes as long as
//! it takes, not a minute at least; a stopped one is `CANCELLED`. A log that the role may not write
//! is lost, the crawl goes on.
//!
//! <https://docs.aws.amazon.com/glue/latest/dg/aws-glue-api-crawler-crawling.html>,
//! <https://docs.aws.amazon.com/glue/latest/dg/add-crawler.html>

mod catalogue;
mod run;
mod settings;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::run::{Last, Run, Status, end_orphans};
use self::settings::Settings;
use super::invalid;
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;

/// Where crawls are logged.
pub const LOG_GROUP: &str = "/aws-glue/crawlers";
/// Crawlers in one answer.
const PAGES: Pages = Pages::of("MaxResults", "NextToken", 1_000).refusing("InvalidInputException");
/// What a definition has, in the API and in CloudFormation.
pub const MEMBERS: [&str; 8] = [
    "Role",
    "DatabaseName",
    "Description",
    "Targets",
    "TablePrefix",
    "SchemaChangePolicy",
    "RecrawlPolicy",
    "Configuration",
];

/// A crawler.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Crawler {
    /// Its members, by the names that API and CloudFormation have for them.
    pub described: Value,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last changed.
    pub updated: Timestamp,
    /// How often it was changed, and once.
    pub version: u64,
    /// The crawl that is under way.
    pub run: Option<Run>,
    /// How the one before ended.
    pub last: Option<Last>,
}

/// ARN of a crawler.
pub fn arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.arn("glue", &format!("crawler/{name}"))
}

fn not_found(name: &str) -> ApiError {
    let message = format!("Crawler entry with name {name} does not exist");
    ApiError::new("EntityNotFoundException", message)
}

fn running(name: &str) -> ApiError {
    // As Glue says it when a second crawl is asked for.
    let message = format!("Crawler with name {name} has already started");
    ApiError::new("CrawlerRunningException", message)
}

/// What is wrong with a definition, in words for people.
pub fn check(members: &Value) -> Result<(), String> {
    Settings::of(members).map(|_| ())
}

/// Makes or changes a crawler, which is not at work, to these members.
pub fn put(cloud: &Cloud, name: &str, members: &Value) -> ApiResult<()> {
    check(members).map_err(invalid)?;
    let now = cloud.clock.now();
    let mut described = json!({});
    for member in MEMBERS.iter().filter(|member| !members[**member].is_null()) {
        described[*member] = members[*member].clone();
    }
    let fresh = Crawler {
        described: described.clone(),
        created: now,
        updated: now,
        version: 1,
        run: None,
        last: None,
    };
    if cloud.services.glue.crawlers.create(name, fresh)? {
        return Ok(());
    }
    let changed = cloud.services.glue.crawlers.update(name, |crawler| {
        if crawler.run.is_none() {
            (crawler.described, crawler.updated) = (described, now);
            crawler.version += 1;
        }
        crawler.run.is_none()
    })?;
    if changed == Some(false) { Err(running(name)) } else { Ok(()) }
}

/// Deletes a crawler that is not at work.
pub fn delete(cloud: &Cloud, name: &str) -> ApiResult<()> {
    let judge = |crawler: Option<&Crawler>| match crawler {
        Some(crawler) if crawler.run.is_some() => Err(running(name)),
        Some(_) => Ok(()),
        None => Err(not_found(name)),
    };
    cloud.services.glue.crawlers.remove_if(name, judge).map(|_| ())
}

/// The same as CloudFormation does it, which stops a crawl first.
pub fn stop_and_delete(cloud: &Cloud, name: &str) -> ApiResult<()> {
    run::stop(cloud, name);
    match delete(cloud, name) {
        Err(error) if error.code == "EntityNotFoundException" => Ok(()),
        deleted => deleted,
    }
}

/// The crawler that a call names, when the caller may do this with it.
fn named<'a>(call: &Call<'a>) -> ApiResult<&'a str> {
    let name = call.required("Name")?;
    call.authorize(&arn(call.cloud, name))?;
    Ok(name)
}

fn existing(call: &Call<'_>, name: &str) -> ApiResult<Arc<Crawler>> {
    call.cloud.services.glue.crawlers.get(name).ok_or_else(|| not_found(name))
}

/// `GetCrawler`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let name = named(call)?;
    Ok(json!({ "Crawler": existing(call, name)?.shown(name) }))
}

/// `DeleteCrawler`.
pub fn remove(call: &Call<'_>) -> ApiResult {
    delete(call.cloud, named(call)?).map(|()| json!({}))
}

/// `StartCrawler`.
pub fn start(call: &Call<'_>) -> ApiResult {
    run::start(call.cloud, named(call)?).map(|()| json!({}))
}

/// `StopCrawler`.
pub fn stop(call: &Call<'_>) -> ApiResult {
    let name = named(call)?;
    if existing(call, name)?.run.is_none() {
        let message = format!("Crawler with name {name} is not running");
        return Err(ApiError::new("CrawlerNotRunningException", message));
    }
    run::stop(call.cloud, name);
    Ok(json!({}))
}

/// `CreateCrawler`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let name = named(call)?;
    if call.cloud.services.glue.crawlers.contains(name) {
        let message = format!("Crawler with name {name} already exists");
        return Err(ApiError::new("AlreadyExistsException", message));
    }
    define(call, name, call.params)
}

/// `UpdateCrawler`: what is not given stays as it is.
pub fn update(call: &Call<'_>) -> ApiResult {
    let name = named(call)?;
    let crawler = existing(call, name)?;
    let mut members = call.params.clone();
    for member in MEMBERS.iter().filter(|member| call.params[**member].is_null()) {
        members[*member] = crawler.described[*member].clone();
    }
    define(call, name, &members)
}

fn define(call: &Call<'_>, name: &str, members: &Value) -> ApiResult {
    let settings = Settings::of(members).map_err(invalid)?;
    let role = settings.role_arn(call.cloud);
    call.cloud.pass_role(call.caller, &role, "glue.amazonaws.com")?;
    put(call.cloud, name, members).map(|()| json!({}))
}

/// `GetCrawlers`.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let all = call.cloud.services.glue.crawlers.all();
    PAGES.answer(call.params, "Crawlers", all.iter().map(|(name, c)| c.shown(name)).collect())
}

impl Crawler {
    fn shown(&self, name: &str) -> Value {
        let mut shown = json!({
            "Name": name, "Classifiers": [], "Version": self.version,
            "SchemaChangePolicy": settings::schema_changes(&self.described),
            "RecrawlPolicy": { "RecrawlBehavior": settings::RECRAWL },
            "LineageConfiguration": { "CrawlerLineageSettings": "DISABLE" },
            "State": if self.run.is_some() { "RUNNING" } else { "READY" },
            "CrawlElapsedTime": self.run.as_ref().map_or(0, Run::elapsed_ms),
            "CreationTime": epoch_secs(self.created), "LastUpdated": epoch_secs(self.updated),
        });
        for member in MEMBERS.iter().filter(|member| !self.described[**member].is_null()) {
            if !matches!(*member, "SchemaChangePolicy" | "RecrawlPolicy") {
                shown[*member] = self.described[*member].clone();
            }
        }
        if let Some(last) = &self.last {
            shown["LastCrawl"] = last.shown(name);
        }
        shown
    }
}
