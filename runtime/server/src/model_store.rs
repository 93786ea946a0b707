//! The model in service: loaded from S3, verified, warmed up, replaced when the pointer changes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use steppe_model::artifact::{CARD_FILE, WEIGHTS_FILE};
use steppe_model::models::Forecaster;
use steppe_model::{Artifact, Series};
use steppe_wire::keys;
use steppe_wire::predict::{ModelPointer, ModelRef};
use tokio::sync::{Notify, watch};

use crate::watch::Watch;

/// Shortest pause between two looks at the pointer.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Longest wait of a request for a look at the pointer.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// A verified model and what forecasts say about it.
#[derive(Debug)]
pub struct ServedModel {
    /// The artifact.
    pub artifact: Artifact,
    /// What forecasts say about it.
    pub model_ref: ModelRef,
    /// What it was asked and answered.
    pub watch: Watch,
}

/// Loads models and holds the one in service.
#[derive(Debug)]
pub struct ModelStore {
    bucket: Arc<dyn ObjectStore>,
    pipeline: String,
    current: RwLock<Arc<ServedModel>>,
    /// Asks for a look at the pointer before its time.
    look: Notify,
    /// Looks at the pointer that have begun.
    begun: AtomicU64,
    /// The number of the newest look that has ended.
    ended: watch::Sender<u64>,
}

impl ModelStore {
    /// Loads the model that the pointer names.
    pub async fn open(bucket: Arc<dyn ObjectStore>, pipeline: &str) -> Result<Self> {
        let pointer = read_pointer(&*bucket, pipeline).await?;
        let model = load(&*bucket, pipeline, &pointer).await?;
        Ok(Self {
            bucket,
            pipeline: pipeline.to_owned(),
            current: RwLock::new(Arc::new(model)),
            look: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
        })
    }

    /// The model in service.
    pub fn current(&self) -> Arc<ServedModel> {
        // A poisoned lock still holds a complete model: it is replaced in one assignment.
        self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The model in service; when its version is not `asked`, after one more look at the pointer: that
    /// version may just have been promoted.
    pub async fn current_after_look(&self, asked: Option<&str>) -> Arc<ServedModel> {
        let current = self.current();
        if asked.is_none_or(|asked| asked == current.model_ref.version) {
            return current;
        }
        // A look that has begun already may have read the pointer before it changed.
        let next = self.begun.load(Ordering::SeqCst) + 1;
        self.look.notify_one();
        let mut ended = self.ended.subscribe();
        drop(tokio::time::timeout(LOOK_LIMIT, ended.wait_for(|number| *number >= next)).await);
        self.current()
    }

    /// Returns when it is time to look at the pointer: after `every`, or when somebody asks for it, but
    /// never sooner than [`LOOK_PAUSE`].
    pub async fn time_to_look(&self, every: Duration) {
        tokio::time::sleep(LOOK_PAUSE.min(every)).await;
        // The time-out is the usual case.
        drop(tokio::time::timeout(every.saturating_sub(LOOK_PAUSE), self.look.notified()).await);
    }

    /// Takes the model into service that the pointer names now; `None` when it already is.
    ///
    /// On an error the model in service stays.
    pub async fn reload(&self) -> Result<Option<String>> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let outcome = self.take_up().await;
        self.ended.send_replace(number);
        outcome
    }

    async fn take_up(&self) -> Result<Option<String>> {
        let pointer = read_pointer(&*self.bucket, &self.pipeline).await?;
        if pointer.version == self.current().model_ref.version {
            return Ok(None);
        }
        let model = load(&*self.bucket, &self.pipeline, &pointer).await?;
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(model);
        Ok(Some(pointer.version))
    }
}

async fn read_pointer(bucket: &dyn ObjectStore, pipeline: &str) -> Result<ModelPointer> {
    let key = keys::model_pointer(pipeline);
    serde_json::from_slice(&read(bucket, &key).await?)
        .with_context(|| format!("`{key}` is not a model pointer"))
}

async fn load(
    bucket: &dyn ObjectStore,
    pipeline: &str,
    pointer: &ModelPointer,
) -> Result<ServedModel> {
    let card = read(bucket, &keys::model_file(pipeline, &pointer.version, CARD_FILE)).await?;
    let weights = read(bucket, &keys::model_file(pipeline, &pointer.version, WEIGHTS_FILE)).await?;
    let artifact = Artifact::load(card.to_vec(), weights.to_vec(), pointer)
        .with_context(|| format!("model version {} was refused", pointer.version))?;
    // Warm up: the first request must not be the one that pages the weights in.
    let spec = &artifact.card.spec;
    let mut history = Series::new("warm-up", 0, vec![1.0; artifact.model.min_history()]);
    history.covariates =
        vec![vec![0.0; history.values.len() + spec.horizon]; spec.covariates.len()];
    history.statics = vec![0.0; spec.statics.len()];
    artifact.forecast(&[history.view()], spec.horizon);
    let (model_ref, watch) = (artifact.model_ref(), Watch::new(&artifact));
    Ok(ServedModel { artifact, model_ref, watch })
}

async fn read(bucket: &dyn ObjectStore, key: &str) -> Result<bytes::Bytes> {
    let object = bucket
        .get(&Path::from(key))
        .await
        .with_context(|| format!("reading `{key}` from the artifacts bucket failed"))?;
    object
        .bytes()
        .await
        .with_context(|| format!("reading `{key}` from the artifacts bucket broke off"))
}
