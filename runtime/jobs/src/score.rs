//! Scoring in batches: the clean table is cut into parts, and each part becomes files of answers.
//!
//! A part that is scored again, for example after a time-out or when a run is redriven, writes the
//! same bytes to the same objects again: nothing in them depends on when or where that happens.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use steppe_model::any::About;
use steppe_model::artifact;
use steppe_model::task::Task;
use steppe_spec::TrainingSpec;
use steppe_store::{Bucket, BucketError, Registry};
use steppe_wire::failure::Failure;
use steppe_wire::hint::Hinted;
use steppe_wire::keys::{self, CARD_FILE, WEIGHTS_FILE};
use steppe_wire::predict::{LeftOut, ModelPointer, Summary};

use crate::inputs::any_spec;

pub mod forecasts;
mod rows;
mod sum;

/// What the state machine asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "score", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// Of which parts the clean table consists.
    List {
        /// The run.
        run: Run,
        /// Rows or series of a part.
        part_size: usize,
        /// Parts up to which the answer has them; more are in S3 only.
        inline_max: usize,
    },
    /// The answers about a part.
    Part {
        /// The run.
        run: Run,
        /// The part.
        part: Part,
    },
    /// What all parts came to, which a distributed Map has written to S3.
    Sum {
        /// The run.
        run: Run,
        /// Key of the manifest of the Map's results.
        results: String,
        /// Series that are not forecast and are told with the reason.
        left_out_max: usize,
    },
}

/// The run that asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its execution.
    pub execution: String,
    /// When that began.
    pub started: Timestamp,
    /// The task.
    pub task: String,
    /// The version of the model that has to answer; the one in service when absent.
    pub model_version: Option<String>,
    /// The series to forecast; all when absent.
    #[serde(default)]
    pub series: Option<Vec<String>>,
    /// Forecasts of which people are told.
    pub shown: usize,
    /// Of a part, series that are not forecast and are told with the reason.
    pub left_out_shown: usize,
}

/// Rows of a file, or series of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its number.
    pub number: usize,
    /// Key of the file, or of the table's folder.
    pub of: String,
    /// What tells whether that is still the same.
    pub etag: String,
    /// Its first row, or series by name.
    pub from: usize,
    /// Rows or series.
    pub count: usize,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// The parts of the table.
    Listed(Listed),
    /// A part, or all of them, was scored.
    Scored(Scored),
}

/// The parts of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// How many there are.
    pub count: usize,
    /// They, if they are few.
    pub parts: Vec<Part>,
    /// The object that has them all, one a line.
    pub key: String,
    /// Rows or series of all.
    pub all: usize,
}

/// What a part, or all of them, came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scored {
    /// Rows or series with an answer.
    pub count: usize,
    /// Series without one.
    #[serde(default)]
    pub absent: usize,
    /// Some of these.
    #[serde(default)]
    pub left_out: Vec<LeftOut>,
    /// What people are told of forecasts.
    #[serde(default)]
    pub forecasts: Vec<Summary>,
    /// Of two classes, rows whose answer is yes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yes: Option<usize>,
    /// What that answer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// The scoring job of one pipeline.
#[derive(Debug)]
pub struct Scorer {
    /// Bucket of models and configuration.
    pub artifacts: Bucket,
    /// Bucket of the clean table and of answers.
    pub data: Bucket,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Key of the configuration in the artifacts bucket.
    pub spec_key: String,
    /// What the last part needed: parts of one run come one after the other.
    pub held: Held,
}

/// What a scorer keeps from part to part.
#[derive(Debug, Default)]
pub struct Held {
    forecasts: Kept<forecasts::Held>,
    model: Kept<steppe_model::tabular::Artifact>,
    rows: Kept<rows::Held>,
}

impl Scorer {
    /// Lists, scores or sums.
    pub async fn run(&self, event: &Event) -> Result<Answer, Failure> {
        let spec = any_spec(&self.artifacts, &self.spec_key).await?;
        match (event, &spec) {
            (Event::List { run, part_size, inline_max }, _) => {
                let listed = match &spec {
                    TrainingSpec::Forecast(_) => self.list_series(run, *part_size).await?,
                    TrainingSpec::Tabular(spec) => self.list_rows(spec, *part_size).await?,
                };
                self.listed(run, listed, *inline_max).await.map(Answer::Listed)
            }
            (Event::Part { run, part }, TrainingSpec::Forecast(_)) => {
                self.forecast(run, part).await.map(Answer::Scored)
            }
            (Event::Part { run, part }, TrainingSpec::Tabular(spec)) => {
                self.score_rows(spec, run, part).await.map(Answer::Scored)
            }
            (Event::Sum { run, results, left_out_max }, _) => {
                self.sum(run, (results, *left_out_max)).await.map(Answer::Scored)
            }
        }
    }

    /// Writes the parts down, one a line, and hands them on if they are few.
    async fn listed(
        &self,
        run: &Run,
        parts: Vec<Part>,
        inline_max: usize,
    ) -> Result<Listed, Failure> {
        let key = keys::parts(&self.pipeline, keys::run(&run.execution));
        let line = |part: &Part| serde_json::to_string(part).map(|part| part + "\n");
        let lines: String = parts
            .iter()
            .map(line)
            .collect::<Result<_, _>>()
            .map_err(|e| Failure::permanent(format!("parts cannot be written: {e}")))?;
        self.put(&key, lines.into()).await?;
        let (count, all) = (parts.len(), parts.iter().map(|part| part.count).sum());
        let parts = if count <= inline_max { parts } else { vec![] };
        Ok(Listed { count, parts, key, all })
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Failure> {
        let put = self.data.put(&Path::from(key), PutPayload::from(bytes)).await;
        put.map(drop).map_err(|e| Failure::from(BucketError::of(key, e)))
    }

    fn registry(&self) -> Registry<Bucket> {
        Registry::new(self.artifacts.clone(), &self.pipeline)
    }
}

/// Something that may be wanted again.
#[derive(Debug)]
struct Kept<T>(Mutex<Option<Arc<T>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Kept<T> {
    /// What is kept, if it is what is wanted.
    fn get(&self, is_wanted: impl FnOnce(&T) -> bool) -> Option<Arc<T>> {
        let held = self.0.lock().unwrap_or_else(|e| e.into_inner()).clone();
        held.filter(|held| is_wanted(held))
    }

    /// Keeps this instead.
    fn put(&self, value: T) -> Arc<T> {
        let value = Arc::new(value);
        *self.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(value.clone());
        value
    }
}

/// Long work on a thread of its own.
async fn at_length<A: Send + 'static>(
    work: impl FnOnce() -> Result<A, Failure> + Send + 'static,
) -> Result<A, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Failure::permanent(format!("the scoring broke off: {e}")))?
}

/// What to say when a part is no longer of what it was cut from.
fn replaced(of: &str) -> Failure {
    Failure::permanent(Hinted::new(
        format!("`{of}` was replaced after this run had listed its parts"),
        "another run has cleaned since: start a new run instead of going on with this one",
    ))
}

/// Cuts `count` rows or series of something into parts of `size`, whose numbers begin at `first`.
fn cut(of: &str, etag: &str, count: usize, size: usize, first: usize) -> Vec<Part> {
    let size = size.max(1);
    let part = |at: usize| {
        let (of, etag, from) = (of.to_owned(), etag.to_owned(), at * size);
        Part { number: first + at, of, etag, from, count: size.min(count - from) }
    };
    (0..count.div_ceil(size)).map(part).collect()
}

/// The version that was asked for, or that of the model in service.
pub async fn version_of(
    registry: &Registry<Bucket>,
    asked: Option<&str>,
) -> Result<String, Failure> {
    if let Some(version) = asked {
        return Ok(version.to_owned());
    }
    let nothing = || Failure::permanent("no model is in service".to_owned());
    let pointer = registry.pointer().await?.ok_or_else(nothing)?;
    Ok(pointer.in_service.current.model.version)
}

/// A model by its version, with every check.
pub async fn model_of<T: Task>(
    registry: &Registry<Bucket>,
    version: &str,
) -> Result<artifact::Artifact<T>, Failure> {
    let card = registry.file(version, CARD_FILE).await?.to_vec();
    let weights = registry.file(version, WEIGHTS_FILE).await?.to_vec();
    let unusable =
        |why: String| Failure::permanent(format!("the model {version} cannot be used: {why}"));
    let pointer = ModelPointer { version: version.to_owned(), card_sha256: About::sha256(&card) };
    let load = move || artifact::Artifact::load(card, weights, &pointer);
    let loaded = tokio::task::spawn_blocking(load).await;
    loaded.map_err(|e| unusable(e.to_string()))?.map_err(|e| unusable(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_cut_once_and_whole() {
        let parts = cut("t/", "e", 25_001, 10_000, 3);
        let places: Vec<_> = parts.iter().map(|p| (p.number, p.from, p.count)).collect();
        assert_eq!(places, [(3, 0, 10_000), (4, 10_000, 10_000), (5, 20_000, 5_001)]);
        assert!(cut("t/", "e", 0, 10, 0).is_empty());
        assert_eq!(cut("t/", "e", 3, 0, 0).len(), 3, "parts are not empty");
    }
}
