//! Training in the stack: champion and challenger.
//!
//! The challenger goes into service only when it forecasts better than the champion what neither
//! had seen; both cards and the comparison stay on record. What was trained on the same data with
//! the same configuration before is not trained again. A function that runs out of time is called
//! again and goes on from its checkpoints.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use steppe_model::artifact::Artifact;
use steppe_model::contest::{Retrained, retrain};
use steppe_model::host::{Host, Stage};
use steppe_model::task::Task;
use steppe_model::{training_key, with_task};
use steppe_spec::Training;
use steppe_store::{Bucket, BucketError, Checkpoints, Pointer, Registry, StoreError};
use steppe_wire::failure::Failure;
use steppe_wire::hint::Hinted;
use steppe_wire::keys;
use steppe_wire::predict::ModelPointer;
use steppe_wire::registry::{
    InService, Promoter, Service, TRAINING_SCHEMA_VERSION, TrainingOutcome, TrainingRecord,
};
use steppe_wire::text::shown_at_most;
use tokio::runtime::Handle;

use crate::inputs::{any_spec, data_set};

/// Characters of a summary: it goes into mails.
const SUMMARY_MAX: usize = 2_000;

/// What the state machine sends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The execution that asks.
    pub execution: String,
}

/// The training job of one pipeline.
#[derive(Debug, Clone)]
pub struct Trainer {
    /// Bucket of models and configuration.
    pub artifacts: Bucket,
    /// Bucket of the clean table.
    pub data: Bucket,
    /// Name of the pipeline.
    pub pipeline: String,
    /// Key of the configuration in the artifacts bucket.
    pub spec_key: String,
}

impl Trainer {
    /// Trains, compares, promotes or not, and records.
    pub async fn run(&self, event: &Event) -> Result<TrainingOutcome, Failure> {
        let spec = any_spec(&self.artifacts, &self.spec_key).await?;
        with_task!(spec, |T, spec| self.train::<T>(event, *spec).await)
    }

    async fn train<T: Task>(
        &self,
        event: &Event,
        spec: T::Spec,
    ) -> Result<TrainingOutcome, Failure> {
        let prefix = keys::table_prefix(&self.pipeline, spec.table());
        let nothing = || Failure::permanent(format!("there is no clean table at `{prefix}`"));
        let data = data_set::<T>(&self.data, &prefix, &spec).await?.ok_or_else(nothing)?;
        let key = training_key(&spec, &data);
        let registry = Registry::new(self.artifacts.clone(), &self.pipeline);
        let before = registry.pointer().await?;
        let in_service = before.as_ref().map(|p| p.in_service.clone());
        if let (Some(in_service), Some(record)) = (&in_service, registry.record(&key).await?) {
            return Ok(judged_before(in_service, &record));
        }
        let (champion, unusable) = match &in_service {
            Some(in_service) => self.champion::<T>(&registry, &in_service.current.model).await?,
            None => (None, None),
        };
        let champion_ref = champion.as_ref().map(Artifact::model_ref);
        let host = Logged::new(Checkpoints::open(&registry, &key).await?);
        let mut retrained = train::<T>(host, data, spec, champion).await?;
        if let Some(why) = unusable {
            retrained.reason = why;
        }
        // A try that was cut off between promotion and record has put this very model into service
        // already.
        let done = in_service.as_ref().map(|s| &s.current);
        let done =
            done.filter(|s| s.by == Promoter::Training && s.model == retrained.artifact.pointer());
        let promoted = match done {
            Some(service) => {
                retrained.reason.clone_from(&service.reason);
                true
            }
            None => store(&registry, before, &retrained).await?,
        };
        let record = TrainingRecord {
            schema_version: TRAINING_SCHEMA_VERSION,
            key,
            time: Timestamp::now().to_string(),
            execution: event.execution.clone(),
            observed_until: T::known(&retrained.artifact.card).to_owned(),
            challenger: retrained.artifact.model_ref(),
            champion: champion_ref,
            contest: retrained.contest,
            promoted,
            reason: retrained.reason,
        };
        registry.keep(&record).await?;
        Checkpoints::forget(&registry, &record.key).await?;
        Ok(outcome(in_service.as_ref(), &record))
    }

    /// The model in service; when it cannot be used, the reason, and any other is better.
    async fn champion<T: Task>(
        &self,
        registry: &Registry<Bucket>,
        model: &ModelPointer,
    ) -> Result<(Option<Artifact<T>>, Option<String>), Failure> {
        let unusable = |why: String| {
            let version = shown_at_most(&model.version, 16);
            Ok((None, Some(format!("the model in service, {version}, cannot be used: {why}"))))
        };
        let files = match registry.files(model).await {
            Ok(files) => files,
            Err(StoreError::Version { source, .. }) => return unusable(source.to_string()),
            Err(error @ StoreError::Missing { .. }) => return unusable(error.to_string()),
            Err(error) => return Err(error.into()),
        };
        let pointer = model.clone();
        let load =
            move || Artifact::<T>::load(files.card.to_vec(), files.weights.to_vec(), &pointer);
        match tokio::task::spawn_blocking(load).await {
            Ok(Ok(artifact)) if artifact.card.spec.pipeline() == self.pipeline => {
                Ok((Some(artifact), None))
            }
            Ok(Ok(_)) => unusable("it is a model of another pipeline".to_owned()),
            Ok(Err(error)) => unusable(error.to_string()),
            Err(error) => unusable(error.to_string()),
        }
    }
}

async fn train<T: Task>(
    host: Logged,
    data: T::Data,
    spec: T::Spec,
    champion: Option<Artifact<T>>,
) -> Result<Retrained<T>, Failure> {
    let work = move || retrain(&data, &spec, champion.as_ref(), &Stage::new(&host));
    let trained = tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Failure::permanent(format!("the training broke off: {e}")))?;
    trained.map_err(|error| {
        let hints = error.hint().map(str::to_owned).into_iter().collect();
        Failure::permanent(Hinted::with(error.to_string(), hints).at("no model can be trained"))
    })
}

/// Stores the challenger, and puts it into service when it is better.
async fn store<T: Task>(
    registry: &Registry<Bucket>,
    before: Option<Pointer>,
    retrained: &Retrained<T>,
) -> Result<bool, Failure> {
    let artifact = &retrained.artifact;
    let (card, weights) = (artifact.card_bytes.clone(), artifact.weights_bytes.clone());
    registry.store(&artifact.version(), card, weights).await?;
    if !retrained.better {
        return Ok(false);
    }
    let next = Service {
        model: artifact.pointer(),
        since: Timestamp::now().to_string(),
        by: Promoter::Training,
        reason: retrained.reason.clone(),
    };
    match registry.promote(before, next).await {
        Ok(()) => Ok(true),
        // Then the contest was with the wrong champion.
        Err(StoreError::Changed) => Err(Failure::retryable(
            "the model in service was changed during the training".to_owned(),
        )),
        Err(error) => Err(error.into()),
    }
}

fn judged_before(in_service: &InService, record: &TrainingRecord) -> TrainingOutcome {
    let summary = format!(
        "nothing new since {}, when model {} was trained: {}",
        record.time, record.challenger.version, record.reason
    );
    let summary = shown_at_most(&summary, SUMMARY_MAX).into_owned();
    TrainingOutcome {
        in_service: in_service.current.model.version.clone(),
        promoted: false,
        summary,
    }
}

fn outcome(before: Option<&InService>, record: &TrainingRecord) -> TrainingOutcome {
    let challenger = &record.challenger.version;
    let model: Option<&ModelPointer> = before.map(|b| &b.current.model);
    let (in_service, what) = match model.filter(|_| !record.promoted) {
        Some(champion) => (&champion.version, format!("model {} stays", champion.version)),
        None => (challenger, format!("model {challenger} was promoted")),
    };
    let summary = shown_at_most(&format!("{what}: {}", record.reason), SUMMARY_MAX).into_owned();
    TrainingOutcome { in_service: in_service.clone(), promoted: record.promoted, summary }
}

/// Checkpoints in S3, and progress in the function's log.
struct Logged {
    checkpoints: Checkpoints,
    runtime: Handle,
    began: Instant,
    planned: AtomicU64,
    done: AtomicU64,
}

impl Logged {
    fn new(checkpoints: Checkpoints) -> Self {
        let (planned, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let (runtime, began) = (Handle::current(), Instant::now());
        Self { checkpoints, runtime, began, planned, done }
    }
}

impl Host for Logged {
    fn plan(&self, units: u64) {
        self.planned.fetch_add(units, Ordering::Relaxed);
    }

    fn advance(&self, units: u64) {
        let done = self.done.fetch_add(units, Ordering::Relaxed) + units;
        let planned = self.planned.load(Ordering::Relaxed).max(1);
        let tenths = |n: u64| 10 * n / planned;
        if tenths(done) != tenths(done - units) {
            eprintln!("{done} of {planned} windows planned so far");
        }
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn load(&self, key: &str) -> Option<Vec<u8>> {
        // Without its checkpoint a network is trained from the start.
        let told = |e: &BucketError| eprintln!("a checkpoint cannot be read: {e}");
        let read = self.runtime.block_on(self.checkpoints.load(key)).inspect_err(told);
        read.ok().flatten().map(|bytes| bytes.to_vec())
    }

    fn save(&self, key: &str, bytes: &[u8]) {
        if let Err(error) = self.runtime.block_on(self.checkpoints.save(key, bytes)) {
            eprintln!("a checkpoint was not saved: {error}");
        }
    }
}
