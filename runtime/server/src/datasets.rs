//! Data sets from S3, kept by ETag.
//!
//! Every request asks S3 for the ETags, which is cheap, so a forecast never rests on data that the
//! cleaning job has replaced; the files themselves are read and parsed only when an ETag changed.

use std::collections::HashMap;
use std::sync::Arc;

use steppe_model::card::ModelCard;
use steppe_store::Bucket;
use steppe_store::table::{Table, TableError};
use tokio::sync::Mutex;

use crate::problems::RequestError;
use crate::served::Served;

/// Data sets held at once; the least recently used goes first.
const HELD_MAX: usize = 8;

/// One data set in memory.
#[derive(Debug)]
struct Held<D> {
    etags: Vec<Option<String>>,
    data: Arc<D>,
    used: u64,
}

/// Data sets by key, and how often one was asked for.
type Recent<D> = (u64, HashMap<String, Held<D>>);

/// Reads data sets and holds the recent ones.
#[derive(Debug)]
pub struct Datasets<T: Served> {
    bucket: Bucket,
    bytes_max: u64,
    held: Mutex<Recent<T::Held>>,
    /// One load at a time: a burst on a cold key reads the files once.
    loading: Mutex<()>,
}

impl<T: Served> Datasets<T> {
    /// Reads from `bucket` data sets of at most `bytes_max`.
    pub fn new(bucket: Bucket, bytes_max: u64) -> Self {
        Self { bucket, bytes_max, held: Mutex::default(), loading: Mutex::default() }
    }

    /// The data set at `key` as the model of `card` reads it, and whether it had to be read.
    pub async fn get(
        &self,
        key: &str,
        card: &ModelCard<T>,
    ) -> Result<(Arc<T::Held>, bool), RequestError> {
        let found = Table::find(&*self.bucket, key, self.bytes_max).await;
        let absent = || RequestError::NoDataset(key.to_owned());
        let table = found.map_err(|e| failure(key, e))?.ok_or_else(absent)?;
        let etags = table.etags();
        if let Some(data) = self.lookup(key, &etags, card).await {
            return Ok((data, false));
        }
        let _one_at_a_time = self.loading.lock().await;
        if let Some(data) = self.lookup(key, &etags, card).await {
            return Ok((data, false));
        }
        let data = Arc::new(self.load(key, table, card).await?);
        self.hold(key, etags, data.clone()).await;
        Ok((data, true))
    }

    async fn lookup(
        &self,
        key: &str,
        etags: &[Option<String>],
        card: &ModelCard<T>,
    ) -> Option<Arc<T::Held>> {
        let mut guard = self.held.lock().await;
        let (clock, held) = &mut *guard;
        *clock += 1;
        let entry = held.get_mut(key).filter(|h| h.etags == etags && T::fits(card, &h.data))?;
        entry.used = *clock;
        Some(entry.data.clone())
    }

    async fn hold(&self, key: &str, etags: Vec<Option<String>>, data: Arc<T::Held>) {
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
        table: Table,
        card: &ModelCard<T>,
    ) -> Result<T::Held, RequestError> {
        let bad = |reason: String| RequestError::BadDataset { key: key.to_owned(), reason };
        let files = table.read(&self.bucket).await.map_err(|e| failure(key, e))?;
        let card = card.clone();
        let parsed = tokio::task::spawn_blocking(move || T::held(&card, files));
        parsed.await.map_err(|e| bad(e.to_string()))?.map_err(|e| bad(e.to_string()))
    }
}

/// What the bucket's answer means for whoever asked.
fn failure(key: &str, error: TableError) -> RequestError {
    let key = key.to_owned();
    match error {
        TableError::Key(e) => RequestError::Invalid(format!("`dataset_key` is not a key: {e}")),
        TableError::S3(object_store::Error::NotFound { .. }) => RequestError::NoDataset(key),
        TableError::S3(object_store::Error::PermissionDenied { .. }) => RequestError::Denied(key),
        TableError::S3(_) | TableError::Replaced => {
            RequestError::Storage { key, reason: error.to_string() }
        }
        TableError::TooLarge { .. } | TableError::Grew(_) => {
            RequestError::BadDataset { key, reason: error.to_string() }
        }
    }
}
