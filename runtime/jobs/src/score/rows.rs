//! Scores of rows.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, ObjectStore};
use parquet::file::reader::{FileReader, SerializedFileReader};
use steppe_model::tabular::data::Rows;
use steppe_model::tabular::{Answered, Artifact, Asked, Row, Wanted};
use steppe_spec::tabular::TabularSpec;
use steppe_store::BucketError;
use steppe_store::table::{BYTES_MAX, Table};
use steppe_wire::failure::Failure;
use steppe_wire::keys;
use steppe_wire::score::ScoredRow;

use super::{Part, Run, Scored, Scorer, at_length, cut, model_of, replaced, version_of};
use crate::inputs::table_failure;
use file::Scores;

mod file;

/// Parts of a table: a table has at most 256 MiB.
const PARTS_MAX: usize = 10_000;

/// The rows of a file.
#[derive(Debug)]
pub struct Held {
    key: String,
    etag: String,
    rows: Rows,
}

impl Scorer {
    /// The parts of every file.
    pub(super) async fn list_rows(
        &self,
        spec: &TabularSpec,
        size: usize,
    ) -> Result<Vec<Part>, Failure> {
        let prefix = keys::table_prefix(&self.pipeline, &spec.table);
        let failed = |error| table_failure(&prefix, error);
        let found = Table::find(&*self.data, &prefix, BYTES_MAX).await.map_err(failed)?;
        let nothing = || Failure::permanent(format!("there is no clean table at `{prefix}`"));
        let table = found.ok_or_else(nothing)?;
        let (keys, etags) = (table.keys(), table.etags());
        let files = table.read(&self.data).await.map_err(failed)?;
        let count = |(key, file): (&String, Bytes)| {
            rows_of(file)
                .map_err(|e| Failure::permanent(format!("`{key}` is no readable Parquet: {e}")))
        };
        let counts = keys.iter().zip(files).map(count).collect::<Result<Vec<_>, _>>()?;
        // However many files there are, the parts are not too many.
        let size = size.max(counts.iter().sum::<usize>().div_ceil(PARTS_MAX));
        let mut parts = Vec::new();
        for ((key, etag), count) in keys.iter().zip(etags).zip(counts) {
            parts.extend(cut(key, &etag.unwrap_or_default(), count, size, parts.len()));
        }
        Ok(parts)
    }

    /// Scores a part.
    pub(super) async fn score_rows(
        &self,
        spec: &TabularSpec,
        run: &Run,
        part: &Part,
    ) -> Result<Scored, Failure> {
        let prefix = keys::table_prefix(&self.pipeline, &spec.table);
        if !part.of.starts_with(&prefix) {
            return Err(Failure::permanent(format!("`{}` is no part of the table", part.of)));
        }
        let registry = self.registry();
        let version = version_of(&registry, run.model_version.as_deref()).await?;
        let model = match self.held.model.get(|model| model.version() == version) {
            Some(model) => model,
            None => self.held.model.put(model_of(&registry, &version).await?),
        };
        let is_wanted = |held: &Held| held.key == part.of && held.etag == part.etag;
        let held = match self.held.rows.get(is_wanted) {
            Some(held) => held,
            None => self.held.rows.put(self.rows(spec, part).await?),
        };
        let (of, range) = (run.clone(), (part.from, part.count));
        let most = spec.task.explain;
        let (bytes, scored) =
            at_length(move || scored(&model, &held.rows, range, &of, most)).await?;
        self.put(&keys::batch(&run.task, keys::run(&run.execution), part.number), bytes).await?;
        Ok(scored)
    }

    /// The rows of the file that a part is of, if it is still the same.
    async fn rows(&self, spec: &TabularSpec, part: &Part) -> Result<Held, Failure> {
        let path = Path::from(part.of.as_str());
        let if_match = Some(part.etag.clone()).filter(|etag| !etag.is_empty());
        let options = GetOptions { if_match, ..GetOptions::default() };
        let read = async { self.data.get_opts(&path, options).await?.bytes().await };
        let file = read.await.map_err(|error| match error {
            object_store::Error::Precondition { .. } | object_store::Error::NotFound { .. } => {
                replaced(&part.of)
            }
            other => BucketError::of(&part.of, other).into(),
        })?;
        let (spec, key, etag) = (spec.clone(), part.of.clone(), part.etag.clone());
        at_length(move || {
            let rows = Rows::asked(&spec, vec![file]).map_err(|e| unusable(&e))?;
            Ok(Held { key, etag, rows })
        })
        .await
    }
}

fn unusable(e: &dyn std::fmt::Display) -> Failure {
    Failure::permanent(format!("the clean table cannot be scored: {e}"))
}

fn rows_of(file: Bytes) -> parquet::errors::Result<usize> {
    let reader = SerializedFileReader::new(file)?;
    Ok(reader.metadata().file_metadata().num_rows().max(0) as usize)
}

/// The scores of some rows of a file as Parquet, and how many there are.
fn scored(
    model: &Artifact,
    all: &Rows,
    (from, count): (usize, usize),
    run: &Run,
    most: usize,
) -> Result<(Bytes, Scored), Failure> {
    let until = (from + count).min(all.rows());
    let rows = all.select(&(from.min(until)..until).collect::<Vec<_>>());
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
    let answer = Scored { count: scored.len(), yes, label: event.cloned(), ..Scored::default() };
    let scores = Scores {
        execution: &run.execution,
        model_id: &model.card.id,
        model_version: &model.version(),
        scored_at: run.started,
        rows: &scored,
    };
    Ok((scores.to_parquet().map_err(|e| unusable(&e))?.into(), answer))
}
