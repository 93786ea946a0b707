//! S3 as the jobs use it: JSON objects, the clean table, and errors that say whether to try again.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::ready;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetResult, ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use steppe_model::{DataError, Dataset, TrainSpec};
use steppe_wire::failure::Failure;

/// A bucket.
pub type Bucket = Arc<dyn ObjectStore>;

/// Files of one data set.
const FILES_MAX: usize = 10_000;
/// Bytes of one data set or object, as for the model server.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Files read at once.
const READS: usize = 16;

/// What S3 said about `key`; a denial will be a denial again.
pub fn failure(key: &str, error: &object_store::Error) -> Failure {
    let message = format!("`{key}` in S3: {error}");
    if is_denial(error) { Failure::Permanent(message) } else { Failure::Retryable(message) }
}

fn is_denial(error: &object_store::Error) -> bool {
    matches!(
        error,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
    )
}

/// An object as S3 has it; `None` when it is not there.
pub async fn get(bucket: &Bucket, key: &str) -> Result<Option<GetResult>, Failure> {
    match bucket.get(&Path::from(key)).await {
        Ok(found) => Ok(Some(found)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        // S3 tells only those who may list the whole bucket that an object is not there; others are
        // denied.
        Err(error) if is_denial(&error) && !is_listed(bucket, key).await? => Ok(None),
        Err(error) => Err(failure(key, &error)),
    }
}

/// Whether a listing of its folder has `key`.
async fn is_listed(bucket: &Bucket, key: &str) -> Result<bool, Failure> {
    let folder = Path::from(key.rsplit_once('/').map_or("", |(folder, _)| folder));
    let wanted = key.to_owned();
    let mut found = steppe_store::objects(&**bucket, &folder, move |key| key == wanted);
    found.try_next().await.map(|found| found.is_some()).map_err(|e| failure(key, &e))
}

/// An object's bytes; `None` when it is not there.
pub async fn bytes(bucket: &Bucket, key: &str) -> Result<Option<Bytes>, Failure> {
    let Some(found) = get(bucket, key).await? else { return Ok(None) };
    let size = found.meta.size;
    if size > BYTES_MAX {
        return Err(Failure::Permanent(format!("`{key}` has {size} bytes; at most {BYTES_MAX}")));
    }
    found.bytes().await.map(Some).map_err(|e| failure(key, &e))
}

/// A JSON object; `None` when it is not there.
pub async fn read<T: DeserializeOwned>(bucket: &Bucket, key: &str) -> Result<Option<T>, Failure> {
    let Some(bytes) = bytes(bucket, key).await? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| Failure::Permanent(format!("`{key}` in S3 cannot be read: {e}")))
}

/// Writes bytes.
pub async fn write(bucket: &Bucket, key: &str, bytes: impl Into<Bytes>) -> Result<(), Failure> {
    bucket
        .put(&Path::from(key), bytes.into().into())
        .await
        .map(|_| ())
        .map_err(|e| failure(key, &e))
}

/// Writes a JSON object.
pub async fn write_json(bucket: &Bucket, key: &str, value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_vec_pretty(value).map_err(|e| Failure::Permanent(e.to_string()))?;
    write(bucket, key, text).await
}

/// The clean table at `prefix` as series; `None` while there are no files, or no rows in them.
pub async fn data_set(
    bucket: &Bucket,
    prefix: &str,
    spec: &TrainSpec,
) -> Result<Option<Dataset>, Failure> {
    let listed = |e: object_store::Error| failure(prefix, &e);
    // An empty object is a mark that somebody made a folder or ended a job.
    let folder = Path::from(prefix);
    let in_table = folder.clone();
    let is_part = move |key: &str| steppe_store::is_table_file(key, &in_table);
    let mut files: Vec<ObjectMeta> = steppe_store::objects(&**bucket, &folder, is_part)
        .try_filter(|f| ready(f.size > 0))
        .take(FILES_MAX + 1)
        .try_collect()
        .await
        .map_err(listed)?;
    files.sort_by(|a, b| a.location.cmp(&b.location));
    let size: u64 = files.iter().map(|f| f.size).sum();
    if files.len() > FILES_MAX || size > BYTES_MAX {
        let message = format!(
            "`{prefix}` has {} files with {size} bytes; at most {FILES_MAX} files and {BYTES_MAX} bytes",
            files.len()
        );
        return Err(Failure::Permanent(message));
    }
    let one = |file: ObjectMeta| async move { bucket.get(&file.location).await?.bytes().await };
    let files: Vec<Bytes> = futures::stream::iter(files)
        .map(one)
        .buffered(READS)
        .try_collect()
        .await
        .map_err(listed)?;
    match Dataset::from_parquet(files, &spec.columns()) {
        Ok(data) => Ok(Some(data)),
        Err(DataError::Empty) => Ok(None),
        Err(e) => Err(Failure::Permanent(format!("`{prefix}` cannot be used: {e}"))),
    }
}
