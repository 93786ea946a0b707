//! The models of a pipeline in its artifacts bucket: which one is in service, and which there are.
//!
//! The pointer is only ever replaced as it was read, so that none of trainings, people and
//! deployments overwrites another's choice. Whether a model's files belong together is for whoever
//! loads them: their hashes are in the pointer and in the card.

use bytes::Bytes;
use steppe_wire::edge;
use steppe_wire::keys::{self, CARD_FILE, WEIGHTS_FILE};
use steppe_wire::predict::ModelPointer;
use steppe_wire::registry::{InService, Service};

use crate::objects::{OBJECT_BYTES_MAX, Objects, StoreError, json, parsed};

/// Largest pointer, with all the models that it remembers.
const POINTER_BYTES_MAX: u64 = 1024 * 1024;

/// The models of one pipeline.
#[derive(Debug, Clone)]
pub struct Registry<O> {
    /// The artifacts bucket.
    pub objects: O,
    /// The pipeline.
    pub pipeline: String,
}

/// The pointer as it was read.
#[derive(Debug, Clone)]
pub struct Pointer {
    /// What it says.
    pub in_service: InService,
    tag: String,
}

/// The files of one model, which may not belong together.
#[derive(Debug)]
pub struct ModelFiles {
    /// Its card.
    pub card: Bytes,
    /// Its weights.
    pub weights: Bytes,
}

/// Result of reading what is kept in `O`.
type Result<T, O> = std::result::Result<T, StoreError<<O as Objects>::Error>>;

impl<O: Objects> Registry<O> {
    /// The registry of a pipeline in its artifacts bucket.
    pub fn new(objects: O, pipeline: impl Into<String>) -> Self {
        Self { objects, pipeline: pipeline.into() }
    }

    /// The pointer, if a model is in service.
    pub async fn pointer(&self) -> Result<Option<Pointer>, O> {
        let key = keys::model_pointer(&self.pipeline);
        let Some(object) = self.objects.read(&key, POINTER_BYTES_MAX).await? else {
            return Ok(None);
        };
        let in_service = parsed(&object.bytes, &key, "a model pointer")?;
        Ok(Some(Pointer { in_service, tag: object.tag }))
    }

    /// Puts a model into service after whatever `before` says; fails when that was replaced.
    pub async fn promote(&self, before: Option<Pointer>, next: Service) -> Result<(), O> {
        let (in_service, tag) = before.map_or((None, None), |p| (Some(p.in_service), Some(p.tag)));
        self.replace(tag.as_deref(), &InService::promote(in_service, next)).await
    }

    /// Puts the model back into service that was there before; returns what is in service now,
    /// `None` when there was none.
    pub async fn roll_back(&self, before: Pointer, since: String) -> Result<Option<InService>, O> {
        let Some(back) = before.in_service.roll_back(since) else { return Ok(None) };
        self.replace(Some(&before.tag), &back).await?;
        Ok(Some(back))
    }

    async fn replace(&self, tag: Option<&str>, pointer: &InService) -> Result<(), O> {
        let key = keys::model_pointer(&self.pipeline);
        match self.objects.write_if(&key, json(pointer), tag).await? {
            true => Ok(()),
            false => Err(StoreError::Changed),
        }
    }

    /// Versions of all models, in no order.
    pub async fn versions(&self) -> Result<Vec<String>, O> {
        let prefix = keys::models_prefix(&self.pipeline);
        let keys = self.objects.keys(&prefix).await?;
        let version = |key: &String| {
            Some(key.strip_prefix(&prefix)?.strip_suffix(CARD_FILE)?.strip_suffix('/')?.to_owned())
        };
        Ok(keys.iter().filter_map(version).collect())
    }

    /// The files of the model that a pointer names.
    pub async fn files(&self, model: &ModelPointer) -> Result<ModelFiles, O> {
        // The version becomes part of keys.
        edge::check_version(&model.version).map_err(|source| StoreError::Version {
            key: keys::model_pointer(&self.pipeline),
            source,
        })?;
        let card = self.file(&model.version, CARD_FILE).await?;
        let weights = self.file(&model.version, WEIGHTS_FILE).await?;
        Ok(ModelFiles { card, weights })
    }

    /// One file of a model.
    pub async fn file(&self, version: &str, file: &'static str) -> Result<Bytes, O> {
        let key = keys::model_file(&self.pipeline, version, file);
        let found = self.objects.read(&key, OBJECT_BYTES_MAX).await?;
        let missing = || StoreError::Missing { version: version.to_owned(), file };
        found.map(|object| object.bytes).ok_or_else(missing)
    }

    /// Stores a model. Its card is written last: without it there is no such model.
    pub async fn store(
        &self,
        version: &str,
        card: Vec<u8>,
        weights: Vec<u8>,
    ) -> std::result::Result<(), O::Error> {
        for (file, bytes) in [(WEIGHTS_FILE, weights), (CARD_FILE, card)] {
            self.objects.write(&keys::model_file(&self.pipeline, version, file), bytes).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use steppe_wire::registry::Promoter;

    use super::*;
    use crate::Bucket;

    fn registry() -> Registry<Bucket> {
        Registry::new(Arc::new(InMemory::new()) as Bucket, "p")
    }

    fn service(version: &str) -> Service {
        let model = ModelPointer { version: version.into(), card_sha256: "0".into() };
        Service { model, since: "now".into(), by: Promoter::Person, reason: "better".into() }
    }

    #[tokio::test]
    async fn a_pointer_is_replaced_only_as_it_was_read() {
        let registry = registry();
        assert!(registry.pointer().await.expect("reads").is_none());
        registry.promote(None, service("a")).await.expect("first");
        let again = registry.promote(None, service("b")).await.expect_err("there is one");
        assert!(matches!(again, StoreError::Changed), "{again}");
        let read = registry.pointer().await.expect("reads");
        registry.promote(read.clone(), service("b")).await.expect("as read");
        let late = registry.promote(read, service("c")).await.expect_err("replaced since");
        assert!(matches!(late, StoreError::Changed), "{late}");
        let read = registry.pointer().await.expect("reads").expect("there");
        let back = registry.roll_back(read, "later".into()).await.expect("written");
        assert_eq!(back.expect("there was one").current.model.version, "a");
        let read = registry.pointer().await.expect("reads").expect("there");
        assert_eq!(registry.roll_back(read, "later".into()).await.expect("nothing"), None);
    }

    #[tokio::test]
    async fn a_model_is_there_when_its_card_is() {
        let (registry, version) = (registry(), "0123456789abcdef");
        let pointer = ModelPointer { version: version.into(), card_sha256: String::new() };
        let weights = keys::model_file("p", version, WEIGHTS_FILE);
        registry.objects.write(&weights, b"w".to_vec()).await.expect("written");
        assert_eq!(registry.versions().await.expect("listed"), Vec::<String>::new());
        let missing = registry.files(&pointer).await.expect_err("half a model").to_string();
        assert_eq!(missing, format!("model {version} has no card.json"));
        registry.store(version, b"c".to_vec(), b"w".to_vec()).await.expect("written");
        assert_eq!(registry.versions().await.expect("listed"), [version]);
        assert_eq!(registry.files(&pointer).await.expect("a model").card, "c");
        let odd = ModelPointer { version: "../x".into(), card_sha256: String::new() };
        let error = registry.files(&odd).await.expect_err("no version").to_string();
        assert_eq!(error, "`models/p/current.json` is not usable");
    }

    #[tokio::test]
    async fn what_is_no_pointer_is_named() {
        let registry = registry();
        let key = keys::model_pointer("p");
        registry.objects.write(&key, b"{}".to_vec()).await.expect("written");
        let error = registry.pointer().await.expect_err("no pointer").to_string();
        assert_eq!(error, "`models/p/current.json` is not a model pointer");
        let large = vec![b' '; 1024 * 1024 + 1];
        registry.objects.write(&key, large).await.expect("written");
        let error = registry.pointer().await.expect_err("too large").to_string();
        assert!(error.ends_with("has 1048577 bytes; at most 1048576 are read"), "{error}");
    }
}
