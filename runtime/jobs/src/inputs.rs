//! What jobs read: the configuration and the clean table.

use serde_json::Value;
use steppe_model::DataError;
use steppe_model::task::Task;
use steppe_spec::{Training, TrainingSpec};
use steppe_store::table::{BYTES_MAX, Table, TableError};
use steppe_store::{Bucket, BucketError, read_json};
use steppe_wire::failure::Failure;
use steppe_wire::hint::Hinted;
use steppe_wire::keys;

/// What to train.
pub async fn spec<S: Training>(artifacts: &Bucket, key: &str) -> Result<S, Failure> {
    let spec = read_json(artifacts, key, "the configuration of a training").await?;
    spec.ok_or_else(|| Failure::permanent(format!("`{key}` does not exist; deploy again")))
}

/// What to train, of whatever task.
pub async fn any_spec(artifacts: &Bucket, key: &str) -> Result<TrainingSpec, Failure> {
    let value: Option<Value> = read_json(artifacts, key, "the configuration of a training").await?;
    let absent = || Failure::permanent(format!("`{key}` does not exist; deploy again"));
    TrainingSpec::of_json(value.ok_or_else(absent)?)
        .map_err(|e| Failure::permanent(format!("`{key}` is no configuration of a training: {e}")))
}

/// What it means that the table at `prefix` cannot be read.
pub fn table_failure(prefix: &str, error: TableError) -> Failure {
    match error {
        TableError::S3(error) => BucketError::of(prefix, error).into(),
        TableError::Replaced => Failure::retryable(format!("`{prefix}`: {error}")),
        TableError::TooLarge { .. } => Failure::permanent(format!("`{prefix}` has {error}")),
        TableError::Key(_) | TableError::Grew(_) => {
            Failure::permanent(format!("`{prefix}`: {error}"))
        }
    }
}

/// The clean table at `prefix` as a task reads it; `None` while there are no files, or no rows in
/// them.
pub async fn data_set<T: Task>(
    bucket: &Bucket,
    prefix: &str,
    spec: &T::Spec,
) -> Result<Option<T::Data>, Failure> {
    let failed = |error| table_failure(prefix, error);
    let found = Table::find(&**bucket, prefix, BYTES_MAX).await.map_err(failed)?;
    let Some(table) = found else { return Ok(None) };
    let files = table.read(bucket).await.map_err(failed)?;
    let mut others = Vec::new();
    for name in T::others(spec) {
        let prefix = keys::table_prefix(spec.pipeline(), &name);
        let found = Table::find(&**bucket, &prefix, BYTES_MAX).await.map_err(failed)?;
        let Some(table) = found else { return Ok(None) };
        others.push(table.read(bucket).await.map_err(failed)?);
    }
    match T::read(spec, files).and_then(|data| T::with_others(data, spec, others)) {
        Ok(data) => Ok(Some(data)),
        Err(DataError::Empty) => Ok(None),
        Err(error) => {
            let hints = error.hint().map(str::to_owned).into_iter().collect();
            let unusable = Hinted::with(error.to_string(), hints);
            Err(Failure::permanent(unusable.at(format_args!("`{prefix}` cannot be used"))))
        }
    }
}
