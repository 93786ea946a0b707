//! The model in service: loaded from S3, verified, warmed up, replaced when the pointer changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use parking_lot::RwLock;
use steppe_model::any::task_of;
use steppe_model::artifact::Artifact;
use steppe_model::forecast::Forecast;
use steppe_spec::Training;
use steppe_store::{Bucket, Registry};
use steppe_wire::keys::CARD_FILE;
use steppe_wire::predict::{ModelPointer, ModelRef};
use tokio::sync::{Notify, watch};

use crate::served::Served;
use crate::watch::Watch;

/// Shortest pause between two looks at the pointer.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// Longest wait of a request for a look at the pointer.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

/// A verified model and what answers say about it.
#[derive(Debug)]
pub struct ServedModel<T: Served = Forecast> {
    /// The artifact.
    pub artifact: Artifact<T>,
    /// Its card, as clients get it.
    pub card: Bytes,
    /// What answers say about it.
    pub model_ref: ModelRef<T::Scores>,
    /// What requests are read by.
    pub form: T::Form,
    /// What it was asked and answered.
    pub watch: Watch<T>,
}

/// Loads models and holds the one in service.
#[derive(Debug)]
pub struct ModelStore<T: Served = Forecast> {
    registry: Registry<Bucket>,
    current: RwLock<Arc<ServedModel<T>>>,
    /// Asks for a look at the pointer before its time.
    look: Notify,
    /// Looks at the pointer that have begun.
    begun: AtomicU64,
    /// The number of the newest look that has ended.
    ended: watch::Sender<u64>,
}

impl<T: Served> ModelStore<T> {
    /// Loads the model that the pointer names.
    pub async fn open(bucket: Bucket, pipeline: &str) -> Result<Self> {
        let registry = Registry::new(bucket, pipeline);
        let model = load(&registry, &pointer(&registry).await?).await?;
        Ok(Self {
            registry,
            current: RwLock::new(Arc::new(model)),
            look: Notify::new(),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
        })
    }

    /// The model in service.
    pub fn current(&self) -> Arc<ServedModel<T>> {
        self.current.read().clone()
    }

    /// The model in service; when its version is not `asked`, after one more look at the pointer:
    /// that version may just have been promoted.
    pub async fn current_after_look(&self, asked: Option<&str>) -> Arc<ServedModel<T>> {
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

    /// Returns when it is time to look at the pointer: after `every`, or when somebody asks for it,
    /// but never sooner than [`LOOK_PAUSE`].
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
        let pointer = pointer(&self.registry).await?;
        if pointer.version == self.current().model_ref.version {
            return Ok(None);
        }
        let model = load(&self.registry, &pointer).await?;
        *self.current.write() = Arc::new(model);
        Ok(Some(pointer.version))
    }
}

/// The task of the model in service.
pub async fn task_in_service(bucket: Bucket, pipeline: &str) -> Result<String> {
    let registry = Registry::new(bucket, pipeline);
    let version = pointer(&registry).await?.version;
    Ok(task_of(&registry.file(&version, CARD_FILE).await?)?)
}

async fn pointer(registry: &Registry<Bucket>) -> Result<ModelPointer> {
    let pointer = registry.pointer().await?;
    Ok(pointer.context("no model is in service")?.in_service.current.model)
}

async fn load<T: Served>(
    registry: &Registry<Bucket>,
    pointer: &ModelPointer,
) -> Result<ServedModel<T>> {
    let files = registry.files(pointer).await?;
    let (asked, pipeline) = (pointer.clone(), registry.pipeline.clone());
    // Hashing and the first forecast take a while, and a defect in them must not end the reloading.
    let verify = move || {
        let task = task_of(&files.card)?;
        ensure!(
            task == T::NAME,
            "it is a model for `{task}`, and this server began with one for `{}`; start it again",
            T::NAME
        );
        let artifact = Artifact::<T>::load(files.card.to_vec(), files.weights.to_vec(), &asked)?;
        let of = artifact.card.spec.pipeline();
        ensure!(of == pipeline, "it is a model of the pipeline `{of}`, not of `{pipeline}`");
        Ok(artifact)
    };
    let verified = tokio::task::spawn_blocking(verify).await.context("reading it broke off");
    let artifact = verified
        .and_then(|verified| verified)
        .with_context(|| format!("model version {} was refused", pointer.version))?;
    let (model_ref, watch) = (T::model_ref(&artifact), Watch::new(&artifact));
    let (form, card) = (T::form(&artifact.card), Bytes::from(artifact.card_bytes.clone()));
    Ok(ServedModel { artifact, card, model_ref, form, watch })
}
