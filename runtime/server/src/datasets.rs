//! Data sets from S3, kept by ETag.
//!
//! Every request asks S3 for the ETags, which is cheap, so a forecast never rests on data that the
//! cleaning job has replaced; the files themselves are read and parsed only when an ETag changed.
//!
//! S3 tells only those who may list a whole bucket that an object is not there, and denies it to
//! others. This server may list some folders, so a denial is looked up there before it is believed.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::ready;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};
use steppe_model::{Dataset, TrainSpec};
use steppe_store::is_table_file;
use tokio::sync::Mutex;

use crate::problems::RequestError;

/// Data sets held at once; the least recently used goes first.
const HELD_MAX: usize = 8;
/// Files of one data set.
const FILES_MAX: usize = 1_000;

/// One data set in memory.
#[derive(Debug)]
struct Held {
    etags: Vec<Option<String>>,
    data: Arc<Dataset>,
    used: u64,
}

/// Reads data sets and holds the recent ones.
#[derive(Debug)]
pub struct Datasets {
    bucket: Arc<dyn ObjectStore>,
    bytes_max: u64,
    held: Mutex<(u64, HashMap<String, Held>)>,
    /// One load at a time: a burst on a cold key reads the files once.
    loading: Mutex<()>,
}

impl Datasets {
    /// Reads from `bucket` data sets of at most `bytes_max`.
    pub fn new(bucket: Arc<dyn ObjectStore>, bytes_max: u64) -> Self {
        Self { bucket, bytes_max, held: Mutex::default(), loading: Mutex::default() }
    }

    /// The data set at `key`, and whether it had to be read.
    pub async fn get(
        &self,
        key: &str,
        spec: &TrainSpec,
    ) -> Result<(Arc<Dataset>, bool), RequestError> {
        let files = self.files(key).await?;
        let etags: Vec<_> = files.iter().map(|f| f.e_tag.clone()).collect();
        if let Some(data) = self.lookup(key, &etags).await {
            return Ok((data, false));
        }
        let _one_at_a_time = self.loading.lock().await;
        if let Some(data) = self.lookup(key, &etags).await {
            return Ok((data, false));
        }
        let data = Arc::new(self.load(key, files, spec).await?);
        self.hold(key, etags, data.clone()).await;
        Ok((data, true))
    }

    async fn files(&self, key: &str) -> Result<Vec<ObjectMeta>, RequestError> {
        let path = Path::parse(key)
            .map_err(|e| RequestError::Invalid(format!("`dataset_key` is not a key: {e}")))?;
        let mut files = if key.ends_with('/') {
            let folder = path.clone();
            self.listed(&path, move |key| is_table_file(key, &folder)).await
        } else {
            self.file(&path).await
        }
        .map_err(|e| failure(key, e))?;
        files.sort_by(|a, b| a.location.cmp(&b.location));
        let bytes: u64 = files.iter().map(|f| f.size).sum();
        if files.is_empty() {
            return Err(RequestError::NoDataset(key.to_owned()));
        }
        if files.len() > FILES_MAX || bytes > self.bytes_max {
            let reason = format!(
                "{} files with {bytes} bytes are more than this server holds \
                 ({FILES_MAX} files, {} bytes)",
                files.len(),
                self.bytes_max
            );
            return Err(RequestError::BadDataset { key: key.to_owned(), reason });
        }
        Ok(files)
    }

    /// The objects of a folder that are wanted and not empty; one more than is allowed tells that
    /// there are too many. An empty one is a mark that somebody made a folder or ended a job.
    async fn listed(
        &self,
        folder: &Path,
        wanted: impl Fn(&str) -> bool + Send + 'static,
    ) -> object_store::Result<Vec<ObjectMeta>> {
        let listed = steppe_store::objects(&*self.bucket, folder, wanted);
        let filled = listed.try_filter(|file| ready(file.size > 0));
        filled.take(FILES_MAX + 1).try_collect().await
    }

    /// The object at `path`, or nothing when its folder does not have it.
    async fn file(&self, path: &Path) -> object_store::Result<Vec<ObjectMeta>> {
        match self.bucket.head(path).await {
            Ok(file) => Ok(vec![file]),
            Err(denied @ object_store::Error::PermissionDenied { .. }) => {
                let folder = path.parent().unwrap_or_default();
                let wanted = path.to_string();
                match self.listed(&folder, move |key| key == wanted).await {
                    Ok(found) if found.is_empty() => Ok(found),
                    // It is there, or nobody may know.
                    _ => Err(denied),
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn lookup(&self, key: &str, etags: &[Option<String>]) -> Option<Arc<Dataset>> {
        let mut guard = self.held.lock().await;
        let (clock, held) = &mut *guard;
        *clock += 1;
        let entry = held.get_mut(key).filter(|h| h.etags == etags)?;
        entry.used = *clock;
        Some(entry.data.clone())
    }

    async fn hold(&self, key: &str, etags: Vec<Option<String>>, data: Arc<Dataset>) {
        let mut guard = self.held.lock().await;
        let (clock, held) = &mut *guard;
        held.insert(key.to_owned(), Held { etags, data, used: *clock });
        if held.len() > HELD_MAX {
            let oldest = held.iter().min_by_key(|(_, h)| h.used).map(|(k, _)| k.clone());
            oldest.map(|k| held.remove(&k));
        }
    }

    async fn load(
        &self,
        key: &str,
        files: Vec<ObjectMeta>,
        spec: &TrainSpec,
    ) -> Result<Dataset, RequestError> {
        let bad = |reason: String| RequestError::BadDataset { key: key.to_owned(), reason };
        let (mut contents, mut bytes) = (Vec::with_capacity(files.len()), 0);
        for file in files {
            let found = self.bucket.get(&file.location).await.map_err(|e| vanished(key, e))?;
            // Somebody may have replaced it since it was listed.
            bytes += found.meta.size;
            if bytes > self.bytes_max {
                return Err(bad(format!("it grew beyond {} bytes", self.bytes_max)));
            }
            contents.push(found.bytes().await.map_err(|e| vanished(key, e))?);
        }
        let columns = spec.columns();
        let parsed = tokio::task::spawn_blocking(move || Dataset::from_parquet(contents, &columns));
        parsed.await.map_err(|e| bad(e.to_string()))?.map_err(|e| bad(e.to_string()))
    }
}

/// What S3's answer means for whoever asked.
fn failure(key: &str, error: object_store::Error) -> RequestError {
    match error {
        object_store::Error::NotFound { .. } => RequestError::NoDataset(key.to_owned()),
        object_store::Error::PermissionDenied { .. } => RequestError::Denied(key.to_owned()),
        other => RequestError::Storage { key: key.to_owned(), reason: other.to_string() },
    }
}

/// The same for a file that was listed: it may be there again in a moment, under another name.
fn vanished(key: &str, error: object_store::Error) -> RequestError {
    match failure(key, error) {
        RequestError::NoDataset(key) => {
            RequestError::Storage { key, reason: "its files are being replaced".to_owned() }
        }
        other => other,
    }
}
