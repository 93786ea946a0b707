//! What became of trainings, and what unfinished ones saved.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use steppe_wire::keys;
use steppe_wire::registry::TrainingRecord;

use crate::bucket::{Bucket, objects};
use crate::objects::{BucketError, Objects, StoreError, read_json, write_json};
use crate::registry::Registry;

/// What a record is called in errors.
const RECORD: &str = "a training record";

impl<O: Objects> Registry<O> {
    /// What a training found, if it ended.
    pub async fn record(
        &self,
        training: &str,
    ) -> Result<Option<TrainingRecord>, StoreError<O::Error>> {
        read_json(&self.objects, &keys::training_record(&self.pipeline, training), RECORD).await
    }

    /// What trainings found, oldest first.
    pub async fn records(&self) -> Result<Vec<TrainingRecord>, StoreError<O::Error>> {
        let mut records: Vec<TrainingRecord> = Vec::new();
        for key in self.objects.keys(&keys::trainings_prefix(&self.pipeline)).await? {
            records.extend(read_json(&self.objects, &key, RECORD).await?);
        }
        records.sort_by(|a: &TrainingRecord, b| a.time.cmp(&b.time));
        Ok(records)
    }

    /// Keeps what a training found.
    pub async fn keep(&self, record: &TrainingRecord) -> Result<(), O::Error> {
        let key = keys::training_record(&self.pipeline, &record.key);
        write_json(&self.objects, &key, record).await
    }
}

/// What one unfinished training saved, so that the next try goes on.
#[derive(Debug)]
pub struct Checkpoints {
    bucket: Bucket,
    prefix: String,
    saved: BTreeSet<Path>,
}

impl Checkpoints {
    /// Lists what was saved.
    pub async fn open(registry: &Registry<Bucket>, training: &str) -> Result<Self, BucketError> {
        let prefix = keys::checkpoints_prefix(&registry.pipeline, training);
        let bucket = registry.objects.clone();
        let saved = listed(&bucket, &prefix).await?;
        Ok(Self { bucket, prefix, saved })
    }

    /// What a stage saved before this try, if it did.
    pub async fn load(&self, stage: &str) -> Result<Option<Bytes>, BucketError> {
        let path = self.path(stage);
        if !self.saved.contains(&path) {
            return Ok(None);
        }
        let read = async { self.bucket.get(&path).await?.bytes().await };
        read.await.map(Some).map_err(|error| BucketError::of(path.as_ref(), error))
    }

    /// Saves a stage.
    pub async fn save(&self, stage: &str, bytes: &[u8]) -> Result<(), BucketError> {
        self.bucket.write(self.path(stage).as_ref(), bytes.to_vec()).await
    }

    fn path(&self, stage: &str) -> Path {
        Path::from(format!("{}{}", self.prefix, if stage.is_empty() { "whole" } else { stage }))
    }

    /// Deletes what any try of a training saved.
    pub async fn forget(registry: &Registry<Bucket>, training: &str) -> Result<(), BucketError> {
        let prefix = keys::checkpoints_prefix(&registry.pipeline, training);
        for path in listed(&registry.objects, &prefix).await? {
            let deleted = registry.objects.delete(&path).await;
            deleted.map_err(|error| BucketError::of(&prefix, error))?;
        }
        Ok(())
    }
}

/// Whatever lies among checkpoints and can be one: their names are paths.
async fn listed(bucket: &Bucket, prefix: &str) -> Result<BTreeSet<Path>, BucketError> {
    let is_path = |key: &str| Path::parse(key).is_ok();
    let found = objects(&**bucket, &Path::from(prefix), is_path).map_ok(|meta| meta.location);
    found.try_collect().await.map_err(|error| BucketError::of(prefix, error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_try_goes_on_from_what_the_one_before_saved() {
        let registry = Registry::new(Arc::new(InMemory::new()) as Bucket, "p");
        let first = Checkpoints::open(&registry, "t").await.expect("listed");
        first.save("", b"all").await.expect("saved");
        assert_eq!(first.load("").await.expect("not asked for"), None);
        let second = Checkpoints::open(&registry, "t").await.expect("listed");
        assert_eq!(second.load("").await.expect("there").as_deref(), Some(&b"all"[..]));
        assert_eq!(second.load("member-1").await.expect("not saved"), None);
        Checkpoints::forget(&registry, "t").await.expect("deleted");
        let third = Checkpoints::open(&registry, "t").await.expect("listed");
        assert_eq!(third.load("").await.expect("gone"), None);
    }
}
