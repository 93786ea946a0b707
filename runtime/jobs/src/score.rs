//! Scores of rows: the clean table is cut into parts, and each part becomes an object of scores.
//!
//! A part that is scored again, for example after a time-out, writes the same object again.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde::{Deserialize, Serialize};
use steppe_model::any::About;
use steppe_model::artifact;
use steppe_model::tabular::data::Rows;
use steppe_model::tabular::{Answered, Artifact, Asked, Row, Wanted};
use steppe_model::task::Task;
use steppe_spec::tabular::TabularSpec;
use steppe_store::table::{BYTES_MAX, Table};
use steppe_store::{Bucket, BucketError, Registry};
use steppe_wire::failure::Failure;
use steppe_wire::keys::{self, CARD_FILE, WEIGHTS_FILE};
use steppe_wire::predict::ModelPointer;
use steppe_wire::score::ScoredRow;

use crate::inputs::{spec, table_failure};
use crate::score::file::Scores;

mod file;

/// Rows of a part, unless that makes too many parts.
const ROWS_A_PART: usize = 10_000;
/// Parts of a table: what lists them has to fit into a state.
const PARTS_MAX: usize = 1_000;

/// What the state machine asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "score", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// Of which parts the clean table consists.
    List,
    /// The scores of a part.
    Part {
        /// The part.
        part: Part,
        /// Its number.
        number: usize,
        /// The execution.
        execution: String,
        /// The version of the model that has to answer; the one in service when absent.
        model_version: Option<String>,
    },
}

/// Some rows of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Key of the file.
    pub key: String,
    /// Its first row.
    pub from: usize,
    /// Rows.
    pub rows: usize,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// The parts of the table.
    Parts {
        /// The parts.
        parts: Vec<Part>,
        /// Rows of all.
        rows: usize,
    },
    /// A part was scored.
    Scored {
        /// Its rows.
        rows: usize,
        /// Of two classes, rows whose answer is yes.
        yes: Option<usize>,
        /// What that answer is.
        label: Option<String>,
    },
}

/// The scoring job of one pipeline.
#[derive(Debug)]
pub struct Scorer {
    /// Bucket of models and configuration.
    pub artifacts: Bucket,
    /// Bucket of the clean table and of scores.
    pub data: Bucket,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Key of the configuration in the artifacts bucket.
    pub spec_key: String,
    /// The model that answered last: parts of one run come one after the other.
    pub model: Mutex<Option<Arc<Artifact>>>,
}

impl Scorer {
    /// Lists or scores.
    pub async fn run(&self, event: &Event) -> Result<Answer, Failure> {
        let spec: TabularSpec = spec(&self.artifacts, &self.spec_key).await?;
        match event {
            Event::List => self.list(&spec).await,
            Event::Part { part, number, execution, model_version } => {
                let model = self.model(model_version.as_deref()).await?;
                self.score(&spec, model, part, (*number, execution)).await
            }
        }
    }

    async fn list(&self, spec: &TabularSpec) -> Result<Answer, Failure> {
        let prefix = keys::table_prefix(&self.pipeline, &spec.table);
        let failed = |error| table_failure(&prefix, error);
        let found = Table::find(&*self.data, &prefix, BYTES_MAX).await.map_err(failed)?;
        let nothing = || Failure::permanent(format!("there is no clean table at `{prefix}`"));
        let table = found.ok_or_else(nothing)?;
        let keys = table.keys();
        let files = table.read(&self.data).await.map_err(failed)?;
        let mut counted = Vec::with_capacity(files.len());
        for (key, file) in keys.into_iter().zip(files) {
            let rows = rows_of(file)
                .map_err(|e| Failure::permanent(format!("`{key}` is no readable Parquet: {e}")))?;
            counted.push((key, rows));
        }
        let rows = counted.iter().map(|(_, rows)| rows).sum();
        Ok(Answer::Parts { parts: parts(counted, rows), rows })
    }

    /// The model that has to answer, loaded unless it was the last one.
    async fn model(&self, version: Option<&str>) -> Result<Arc<Artifact>, Failure> {
        let registry = Registry::new(self.artifacts.clone(), &self.pipeline);
        let version = version_of(&registry, version).await?;
        let held = self.model.lock().unwrap_or_else(|e| e.into_inner()).clone();
        if let Some(model) = held.filter(|model| model.version() == version) {
            return Ok(model);
        }
        let model = Arc::new(model_of(&registry, &version).await?);
        *self.model.lock().unwrap_or_else(|e| e.into_inner()) = Some(model.clone());
        Ok(model)
    }

    async fn score(
        &self,
        spec: &TabularSpec,
        model: Arc<Artifact>,
        part: &Part,
        (number, execution): (usize, &str),
    ) -> Result<Answer, Failure> {
        let prefix = keys::table_prefix(&self.pipeline, &spec.table);
        if !part.key.starts_with(&prefix) {
            return Err(Failure::permanent(format!("`{}` is no part of the table", part.key)));
        }
        let failed = |e| Failure::from(BucketError::of(&part.key, e));
        let path = Path::from(part.key.as_str());
        let file = self.data.get(&path).await.map_err(failed)?.bytes().await.map_err(failed)?;
        let (of, range) = (spec.clone(), (part.from, part.rows));
        let execution = execution.to_owned();
        let key = keys::scores(&spec.name, &execution, number);
        let work = move || scored(&model, &of, file, range, &execution);
        let (bytes, answer) = tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Failure::permanent(format!("the scoring broke off: {e}")))??;
        let put = self.data.put(&Path::from(key.as_str()), PutPayload::from(bytes)).await;
        put.map_err(|e| Failure::from(BucketError::of(&key, e)))?;
        Ok(answer)
    }
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

/// Cuts files into parts of so many rows that there are not too many.
fn parts(files: Vec<(String, usize)>, rows: usize) -> Vec<Part> {
    let most = ROWS_A_PART.max(rows.div_ceil(PARTS_MAX));
    let cut = |(key, rows): (String, usize)| {
        (0..rows.div_ceil(most)).map(move |number| {
            let from = number * most;
            Part { key: key.clone(), from, rows: most.min(rows - from) }
        })
    };
    files.into_iter().flat_map(cut).collect()
}

fn rows_of(file: Bytes) -> parquet::errors::Result<usize> {
    let reader = SerializedFileReader::new(file)?;
    Ok(reader.metadata().file_metadata().num_rows().max(0) as usize)
}

/// The scores of some rows of a file as Parquet, and how many there are.
fn scored(
    model: &Artifact,
    spec: &TabularSpec,
    file: Bytes,
    (from, count): (usize, usize),
    execution: &str,
) -> Result<(Bytes, Answer), Failure> {
    let unusable = |e: &dyn std::fmt::Display| {
        Failure::permanent(format!("the clean table cannot be scored: {e}"))
    };
    let all = Rows::asked(spec, vec![file]).map_err(|e| unusable(&e))?;
    let until = (from + count).min(all.rows());
    let rows = all.select(&(from.min(until)..until).collect::<Vec<_>>());
    let most = spec.task.explain;
    let asked = Asked { reasons: most > 0 };
    let answered = model.of_table(&rows.table, asked).map_err(|e| unusable(&e))?;
    let one = |(row, answered): (usize, &Answered)| -> Result<ScoredRow, Failure> {
        let entity = rows.entities.as_ref().map(|entities| entities[row].as_str());
        let wanted = Wanted { entity, threshold: None, most };
        let scored = model.scored(Row { table: &rows.table, row }, answered, &wanted);
        scored.ok_or_else(|| unusable(&format!("{} has no finite answer", rows.called(row))))
    };
    let scored = answered.iter().enumerate().map(one).collect::<Result<Vec<_>, Failure>>()?;
    let labels = &model.card.section.target.labels;
    let event = labels.get(1).filter(|_| labels.len() == 2);
    let yes = event.map(|event| scored.iter().filter(|s| s.label.as_ref() == Some(event)).count());
    let answer = Answer::Scored { rows: scored.len(), yes, label: event.cloned() };
    let scores = Scores {
        execution,
        model_id: &model.card.id,
        model_version: &model.version(),
        scored_at: Timestamp::now(),
        rows: &scored,
    };
    let bytes = scores.to_parquet().map_err(|e| unusable(&e))?;
    Ok((bytes.into(), answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_cut_into_parts_that_are_not_too_many() {
        let files = vec![("a".to_owned(), 25_000), ("b".to_owned(), 0), ("c".to_owned(), 1)];
        let cut = parts(files, 25_001);
        let sizes: Vec<_> = cut.iter().map(|p| (p.key.as_str(), p.from, p.rows)).collect();
        let expected = [("a", 0, 10_000), ("a", 10_000, 10_000), ("a", 20_000, 5_000), ("c", 0, 1)];
        assert_eq!(sizes, expected);
        let rows = 30_000_001;
        let many = parts(vec![("a".to_owned(), rows)], rows);
        assert!(many.len() <= PARTS_MAX, "{}", many.len());
        assert_eq!(many.iter().map(|part| part.rows).sum::<usize>(), rows);
    }
}
