//! The scores of an execution as they lie in S3: one per row, whole, and by the right model.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Deserialize;
use steppe_model::DataError;
use steppe_model::tabular::columns::{Raw, RawTable};
use steppe_store::{Bucket, BucketError, objects};
use steppe_wire::failure::Failure;
use steppe_wire::hint::Hinted;
use steppe_wire::keys;

/// What an execution says of its scores.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// The task.
    pub task: String,
    /// The execution.
    pub execution: String,
    /// Rows of the clean table.
    pub all: usize,
    /// The version of the model that had to answer; any when absent.
    pub model_version: Option<String>,
}

/// What was seen.
#[derive(Debug, Default)]
struct Seen {
    rows: usize,
    versions: BTreeSet<String>,
    /// Rows without an answer, or with one that cannot be.
    strange: usize,
}

/// What is wrong with the scores of an execution.
pub async fn check(data: &Bucket, asked: &Asked) -> Result<Vec<Hinted>, Failure> {
    let mut seen = Seen::default();
    let add = |file: Bytes| seen.add(file, &asked.execution);
    let mut defects = of_each(data, &asked.task, &asked.execution, add).await?;
    defects.extend(seen.defects(asked));
    Ok(defects)
}

/// Shows the file of each part of a run; what cannot be read is a defect.
pub(super) async fn of_each(
    data: &Bucket,
    task: &str,
    execution: &str,
    mut show: impl FnMut(Bytes) -> Result<(), DataError>,
) -> Result<Vec<Hinted>, Failure> {
    let folder = keys::batches_of_run(task, keys::run(execution));
    let failed = |error| Failure::from(BucketError::of(&folder, error));
    let path = Path::from(folder.as_str());
    let of_part = keys::batch_of_run(task, keys::run(execution));
    let parts = objects(&**data, &path, move |key| key.starts_with(&of_part));
    let files: Vec<_> = parts.try_collect().await.map_err(failed)?;
    let mut defects = Vec::new();
    for file in files {
        let read = async { data.get(&file.location).await?.bytes().await };
        if let Err(error) = show(read.await.map_err(failed)?) {
            let key = file.location;
            defects.push(Hinted::from(format!("{key} cannot be read: {error}")));
        }
    }
    Ok(defects)
}

impl Seen {
    fn add(&mut self, file: Bytes, execution: &str) -> Result<(), DataError> {
        let wanted = ["execution", "probability", "value", "model_version"];
        let mut table = RawTable::read([file], &wanted)?;
        let mut texts = |name| table.take(name).map(|column| column.texts()).unwrap_or_default();
        let (executions, versions) = (texts("execution"), texts("model_version"));
        let mut numbers = |name| match table.take(name) {
            Some(Raw::Number(numbers)) => numbers,
            _ => vec![],
        };
        let (probabilities, values) = (numbers("probability"), numbers("value"));
        let at = |numbers: &[f64], row: usize| numbers.get(row).copied().unwrap_or(f64::NAN);
        for row in 0..table.rows() {
            if executions.get(row).and_then(Option::as_deref) != Some(execution) {
                continue;
            }
            let (probability, value) = (at(&probabilities, row), at(&values, row));
            let usable =
                (0.0..=1.0).contains(&probability) || (probability.is_nan() && value.is_finite());
            self.rows += 1;
            self.strange += usize::from(!usable);
            self.versions.extend(versions.get(row).cloned().flatten());
        }
        Ok(())
    }

    fn defects(&self, asked: &Asked) -> Vec<Hinted> {
        let mut defects = Vec::new();
        if self.rows != asked.all {
            let (rows, all) = (self.rows, asked.all);
            defects.push(Hinted::new(
                format!("{rows} rows have a score in S3, of {all} in the clean table"),
                "`cargo xtask logs score` tells what was scored",
            ));
        }
        if self.strange > 0 {
            let strange = self.strange;
            defects.push(format!("{strange} scores are no probabilities or numbers").into());
        }
        if let Some(wanted) = &asked.model_version
            && let Some(other) = self.versions.iter().find(|version| *version != wanted)
        {
            defects.push(format!("scores are of model {other}, not of {wanted}").into());
        }
        defects
    }
}
