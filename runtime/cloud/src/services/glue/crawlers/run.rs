//! Crawls: begun, stopped, and ended once.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steppe_wire::crawl::Crawled;

use super::catalogue::Writer;
use super::settings::Settings;
use super::{LOG_GROUP, arn, invalid, not_found, running};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::engine::{Engine, Engines};
use crate::kernel::error::ApiResult;
use crate::kernel::identity::Caller;
use crate::services::glue::{self, jobs};

/// Bytes of an error's message.
const MESSAGE_BYTES_MAX: usize = 2_048;
const STOPPED_WITH_CLOUD: &str = "the embedded cloud was stopped while the crawler was at work";

/// A crawl that is under way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Its ID, which its lines in the log begin with.
    pub id: String,
    /// When it began.
    pub started: Timestamp,
}

impl Run {
    /// Milliseconds since it began.
    pub fn elapsed_ms(&self) -> i64 {
        let elapsed = Timestamp::now().duration_since(self.started);
        i64::try_from(elapsed.as_millis()).unwrap_or_default().max(0)
    }
}

/// How a crawl ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// What was found is in the catalogue.
    Succeeded,
    /// It was stopped.
    Cancelled,
    /// It has an error message.
    Failed,
}

/// A crawl that has ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Last {
    /// What it was.
    pub run: Run,
    /// How it ended.
    pub status: Status,
    /// Why it failed.
    pub error: Option<String>,
}

impl Last {
    /// `LastCrawl` of the crawler with this name, which is also that of its stream.
    pub fn shown(&self, name: &str) -> Value {
        let mut shown = json!({
            "Status": self.status, "LogGroup": LOG_GROUP, "LogStream": name,
            "MessagePrefix": self.run.id, "StartTime": epoch_secs(self.run.started),
        });
        if let Some(error) = &self.error {
            shown["ErrorMessage"] = error.clone().into();
        }
        shown
    }
}

/// Begins a crawl, unless one is under way.
pub fn start(cloud: &Arc<Cloud>, name: &str) -> ApiResult<()> {
    let run = Run { id: uuid::Uuid::new_v4().to_string(), started: Timestamp::now() };
    let began = cloud.services.glue.crawlers.update(name, |crawler| match crawler.run {
        Some(_) => Err(running(name)),
        None => {
            let settings = Settings::of(&crawler.described).map_err(invalid)?;
            crawler.run = Some(run.clone());
            Ok(settings)
        }
    })?;
    let settings = began.ok_or_else(|| not_found(name))??;
    let work = execute(cloud.clone(), name.to_owned(), run.id.clone(), settings);
    let name = name.to_owned();
    Engines::begin(cloud, &run.id, work, move |cloud, id, result| {
        let (status, error) = match result {
            Ok(Ok(())) => (Status::Succeeded, None),
            Ok(Err(reason)) | Err(reason) => (Status::Failed, Some(reason)),
        };
        end(cloud, &name, id, status, error);
    });
    Ok(())
}

/// Stops a crawl that is under way; its engine is killed with it.
pub fn stop(cloud: &Cloud, name: &str) {
    let run = cloud.services.glue.crawlers.get(name).and_then(|crawler| crawler.run.clone());
    if let Some(run) = run {
        cloud.engines.stop(&run.id);
        end(cloud, name, &run.id, Status::Cancelled, None);
    }
}

/// Ends what a cloud that is no more left at work.
pub fn end_orphans(cloud: &Cloud) {
    for (name, crawler) in cloud.services.glue.crawlers.all() {
        if let Some(run) = &crawler.run {
            let why = STOPPED_WITH_CLOUD.to_owned();
            end(cloud, &name, &run.id, Status::Failed, Some(why));
        }
    }
}

/// A crawl ends once: what comes later changes nothing.
fn end(cloud: &Cloud, name: &str, id: &str, status: Status, error: Option<String>) {
    let error = error.map(|mut text| {
        text.truncate(text.floor_char_boundary(MESSAGE_BYTES_MAX));
        text
    });
    cloud.services.glue.crawlers.settle(name, |crawler| {
        if let Some(run) = crawler.run.take_if(|run| run.id == id) {
            crawler.last = Some(Last { run, status, error });
        }
    });
}

async fn execute(
    cloud: Arc<Cloud>,
    name: String,
    id: String,
    settings: Settings,
) -> Result<(), String> {
    let places = cloud.engines.jobs.clone();
    let _place = places.acquire().await.map_err(|e| e.to_string())?;
    let (role, source) = (settings.role_arn(&cloud), arn(&cloud, &name));
    let role = cloud.assume_for(&role, "glue.amazonaws.com", "AWS-Crawler", Some(&source))?;
    let mut log = vec![format!("BENCHMARK : Running Start Crawl for Crawler {name}")];
    let done = crawl(&cloud, &role, &name, (&id, &settings), &mut log).await;
    log.push(match &done {
        Ok(()) => "BENCHMARK : Crawler has finished running and is in state READY".to_owned(),
        Err(reason) => format!("ERROR : {reason}"),
    });
    let lines: Vec<String> = log.iter().map(|line| format!("[{id}] {line}")).collect();
    jobs::keep_log(&cloud, &role, LOG_GROUP, &name, &lines);
    done
}

async fn crawl(
    cloud: &Cloud,
    role: &Caller,
    name: &str,
    (id, settings): (&str, &Settings),
    log: &mut Vec<String>,
) -> Result<(), String> {
    let database = &settings.database;
    glue::authorize(cloud, role, "glue:GetDatabase", Some(database), None)
        .map_err(|e| e.message)?;
    if !cloud.services.glue.databases.contains(database) {
        return Err(format!("Database {database} not found."));
    }
    let crawled = look(cloud, role, settings).await?;
    log.extend(crawled.notes.iter().map(|note| format!("ERROR : Error {note}")));
    log.push(format!(
        "BENCHMARK : Classification complete, writing results to database {database}"
    ));
    let mut writer = Writer::new(cloud, role, (name, id), settings);
    let written = writer.write(&crawled.tables);
    log.append(&mut writer.log);
    written.map_err(|e| e.message)?;
    log.push("BENCHMARK : Finished writing to Catalog".to_owned());
    Ok(())
}

/// What the engine finds with the role's permissions.
async fn look(cloud: &Cloud, role: &Caller, settings: &Settings) -> Result<Crawled, String> {
    let mut engine = Engine::start(cloud, role, &["crawl"])?;
    engine.say(&settings.crawl).await?;
    let found = engine.hear().await?;
    let ended = engine.end().await?;
    match found {
        Some(line) if ended.status.success() => {
            serde_json::from_str(&line).map_err(|e| format!("the engine's answer is odd: {e}"))
        }
        _ => Err(ended.reason()),
    }
}
