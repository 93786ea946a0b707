//! Training in the stack: champion and challenger.
//!
//! The challenger goes into service only when it forecasts better than the champion what neither
//! had seen; both cards and the comparison stay on record. What was trained on the same data with
//! the same configuration before is not trained again. A function that runs out of time is called
//! again and goes on from its checkpoints.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::TryStreamExt;
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use serde::Deserialize;
use steppe_model::artifact::{CARD_FILE, WEIGHTS_FILE};
use steppe_model::contest::{Retrained, retrain};
use steppe_model::forecast::Forecast;
use steppe_model::host::{Host, Stage};
use steppe_model::{Artifact, Dataset, TrainSpec};
use steppe_wire::failure::Failure;
use steppe_wire::predict::ModelPointer;
use steppe_wire::registry::{
    InService, Promoter, Service, TRAINING_SCHEMA_VERSION, TrainingOutcome, TrainingRecord,
};
use steppe_wire::text::shown_at_most;
use steppe_wire::{edge, keys};
use tokio::runtime::Handle;

use crate::storage::{self, Bucket};

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

/// The pointer as it was read, with what a conditional write needs.
type Pointer = Option<(InService, UpdateVersion)>;

impl Trainer {
    /// Trains, compares, promotes or not, and records.
    pub async fn run(&self, event: &Event) -> Result<TrainingOutcome, Failure> {
        let spec = spec(&self.artifacts, &self.spec_key).await?;
        let prefix = keys::processed_prefix(&self.pipeline);
        let nothing = || Failure::Permanent(format!("there is no clean table at `{prefix}`"));
        let data = storage::data_set(&self.data, &prefix, &spec).await?.ok_or_else(nothing)?;
        let key = spec.key(&data);
        let before = self.pointer().await?;
        if let (Some((in_service, _)), Some(record)) = (&before, self.record(&key).await?) {
            return Ok(judged_before(in_service, &record));
        }
        let (champion, unusable) = self.champion(&before).await?;
        let champion_ref = champion.as_ref().map(Artifact::model_ref);
        let observed_until = data.calendar().label(data.last());
        let mut retrained = self.train(&key, data, spec, champion).await?;
        if let Some(why) = unusable {
            retrained.reason = why;
        }
        // A try that was cut off between promotion and record has put this very model into service
        // already.
        let done = before.as_ref().map(|(s, _)| &s.current);
        let done =
            done.filter(|s| s.by == Promoter::Training && s.model == retrained.artifact.pointer());
        let promoted = match done {
            Some(service) => {
                retrained.reason.clone_from(&service.reason);
                true
            }
            None => self.store(before.as_ref(), &retrained).await?,
        };
        let record = TrainingRecord {
            schema_version: TRAINING_SCHEMA_VERSION,
            key,
            time: Timestamp::now().to_string(),
            execution: event.execution.clone(),
            observed_until,
            challenger: retrained.artifact.model_ref(),
            champion: champion_ref,
            contest: retrained.contest,
            promoted,
            reason: retrained.reason,
        };
        storage::write_json(
            &self.artifacts,
            &keys::training_record(&self.pipeline, &record.key),
            &record,
        )
        .await?;
        self.forget_checkpoints(&record.key).await?;
        Ok(outcome(before.as_ref().map(|(s, _)| s), &record))
    }

    async fn pointer(&self) -> Result<Pointer, Failure> {
        let key = keys::model_pointer(&self.pipeline);
        let Some(found) = storage::get(&self.artifacts, &key).await? else { return Ok(None) };
        let version =
            UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
        let bytes = found.bytes().await.map_err(|e| storage::failure(&key, &e))?;
        let read = serde_json::from_slice(&bytes)
            .map_err(|e| Failure::Permanent(format!("`{key}` is not a model pointer: {e}")))?;
        Ok(Some((read, version)))
    }

    async fn record(&self, key: &str) -> Result<Option<TrainingRecord>, Failure> {
        storage::read(&self.artifacts, &keys::training_record(&self.pipeline, key)).await
    }

    /// The model in service; when it cannot be used, the reason, and any other is better.
    async fn champion(
        &self,
        pointer: &Pointer,
    ) -> Result<(Option<Artifact>, Option<String>), Failure> {
        let Some((in_service, _)) = pointer else { return Ok((None, None)) };
        let model = &in_service.current.model;
        let file = async |name: &str| {
            let found = storage::bytes(
                &self.artifacts,
                &keys::model_file(&self.pipeline, &model.version, name),
            )
            .await?;
            Ok::<_, Failure>(found.unwrap_or_default().to_vec())
        };
        let unusable = |why: String| {
            let version = shown_at_most(&model.version, 16);
            Ok((None, Some(format!("the model in service, {version}, cannot be used: {why}"))))
        };
        if let Err(error) = edge::check_version(&model.version) {
            return unusable(error.to_string());
        }
        let (card, weights, pointer) =
            (file(CARD_FILE).await?, file(WEIGHTS_FILE).await?, model.clone());
        let loaded = tokio::task::spawn_blocking(move || Artifact::load(card, weights, &pointer));
        match loaded.await {
            Ok(Ok(artifact)) if artifact.card.spec.pipeline == self.pipeline => {
                Ok((Some(artifact), None))
            }
            Ok(Ok(_)) => unusable("it is a model of another pipeline".to_owned()),
            Ok(Err(error)) => unusable(error.to_string()),
            Err(error) => unusable(error.to_string()),
        }
    }

    async fn train(
        &self,
        key: &str,
        data: Dataset,
        spec: TrainSpec,
        champion: Option<Artifact>,
    ) -> Result<Retrained<Forecast>, Failure> {
        let host = Checkpoints::open(
            self.artifacts.clone(),
            keys::checkpoints_prefix(&self.pipeline, key),
        )
        .await?;
        let work = move || retrain(&data, &spec, champion.as_ref(), &Stage::new(&host));
        let trained = tokio::task::spawn_blocking(work)
            .await
            .map_err(|e| Failure::Permanent(format!("the training broke off: {e}")))?;
        trained.map_err(|e| Failure::Permanent(format!("no model can be trained: {e}")))
    }

    /// Stores the challenger, and puts it into service when it is better.
    async fn store(
        &self,
        before: Option<&(InService, UpdateVersion)>,
        retrained: &Retrained<Forecast>,
    ) -> Result<bool, Failure> {
        let artifact = &retrained.artifact;
        let file = |name: &str| keys::model_file(&self.pipeline, &artifact.version(), name);
        storage::write(&self.artifacts, &file(WEIGHTS_FILE), artifact.weights_bytes.clone())
            .await?;
        storage::write(&self.artifacts, &file(CARD_FILE), artifact.card_bytes.clone()).await?;
        if !retrained.better {
            return Ok(false);
        }
        let since = Timestamp::now().to_string();
        let next = Service {
            model: artifact.pointer(),
            since,
            by: Promoter::Training,
            reason: retrained.reason.clone(),
        };
        let pointer = InService::promote(before.map(|(s, _)| s.clone()), next);
        let text =
            serde_json::to_vec_pretty(&pointer).map_err(|e| Failure::Permanent(e.to_string()))?;
        // Somebody may have promoted another model meanwhile: then the contest was with the wrong
        // champion.
        let mode = before.map_or(PutMode::Create, |(_, version)| PutMode::Update(version.clone()));
        let key = keys::model_pointer(&self.pipeline);
        match self
            .artifacts
            .put_opts(&Path::from(key.as_str()), text.into(), PutOptions::from(mode))
            .await
        {
            Ok(_) => Ok(true),
            Err(
                object_store::Error::Precondition { .. }
                | object_store::Error::AlreadyExists { .. },
            ) => Err(Failure::Retryable(
                "the model in service was changed during the training".to_owned(),
            )),
            Err(error) => Err(storage::failure(&key, &error)),
        }
    }

    async fn forget_checkpoints(&self, key: &str) -> Result<(), Failure> {
        let prefix = keys::checkpoints_prefix(&self.pipeline, key);
        let failure = |e: object_store::Error| storage::failure(&prefix, &e);
        let folder = Path::from(prefix.as_str());
        let saved: Vec<_> = steppe_store::objects(&*self.artifacts, &folder, is_checkpoint)
            .try_collect()
            .await
            .map_err(failure)?;
        for checkpoint in saved {
            self.artifacts.delete(&checkpoint.location).await.map_err(failure)?;
        }
        Ok(())
    }
}

/// What to train.
pub async fn spec(artifacts: &Bucket, key: &str) -> Result<TrainSpec, Failure> {
    storage::read(artifacts, key)
        .await?
        .ok_or_else(|| Failure::Permanent(format!("`{key}` does not exist; deploy again")))
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

/// Whether `key`, which lies among checkpoints, can be one: their names are paths.
fn is_checkpoint(key: &str) -> bool {
    Path::parse(key).is_ok()
}

/// Checkpoints in S3, and progress in the function's log.
struct Checkpoints {
    bucket: Bucket,
    prefix: String,
    saved: BTreeSet<Path>,
    runtime: Handle,
    planned: AtomicU64,
    done: AtomicU64,
}

impl Checkpoints {
    async fn open(bucket: Bucket, prefix: String) -> Result<Self, Failure> {
        let folder = Path::from(prefix.as_str());
        let saved = steppe_store::objects(&*bucket, &folder, is_checkpoint)
            .map_ok(|meta| meta.location)
            .try_collect()
            .await;
        let saved = saved.map_err(|e| storage::failure(&prefix, &e))?;
        Ok(Self {
            bucket,
            prefix,
            saved,
            runtime: Handle::current(),
            planned: AtomicU64::new(0),
            done: AtomicU64::new(0),
        })
    }

    fn path(&self, stage: &str) -> Path {
        Path::from(format!("{}{}", self.prefix, if stage.is_empty() { "whole" } else { stage }))
    }
}

impl Host for Checkpoints {
    fn plan(&self, units: u64) {
        self.planned.fetch_add(units, Ordering::Relaxed);
    }

    fn advance(&self, units: u64) {
        let done = self.done.fetch_add(units, Ordering::Relaxed) + units;
        let planned = self.planned.load(Ordering::Relaxed).max(1);
        let tenths = |n: u64| 10 * n / planned;
        if tenths(done) != tenths(done - units) {
            println!("{done} of {planned} windows planned so far");
        }
    }

    fn load(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.path(key);
        if !self.saved.contains(&path) {
            return None;
        }
        let read = async { self.bucket.get(&path).await?.bytes().await };
        let read = self.runtime.block_on(read);
        // Without its checkpoint a network is trained from the start.
        read.map(|bytes| bytes.to_vec())
            .inspect_err(|e| eprintln!("the checkpoint {path} cannot be read: {e}"))
            .ok()
    }

    fn save(&self, key: &str, bytes: &[u8]) {
        let path = self.path(key);
        let write = self.bucket.put(&path, bytes.to_vec().into());
        if let Err(error) = self.runtime.block_on(write) {
            eprintln!("the checkpoint {path} was not saved: {error}");
        }
    }
}
