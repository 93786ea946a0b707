//! The models of a deployed pipeline: which one is in service, which ones there are, what trainings
//! found.

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use steppe_aws::Aws;
use steppe_model::artifact::{CARD_FILE, WEIGHTS_FILE};
use steppe_model::{Artifact, ModelCard};
use steppe_plan::names::Names;
use steppe_wire::keys;
use steppe_wire::predict::ModelPointer;
use steppe_wire::registry::{InService, Promoter, Service, TrainingRecord};

use crate::deployment::Deployment;
use crate::hint::{Hinted, OrHint};

/// The registry of one deployment.
pub struct Registry<'a> {
    aws: &'a Aws,
    bucket: String,
    pipeline: &'a str,
}

/// The pointer as it was read; it is only ever replaced as it was read.
pub struct Pointer {
    /// What it says.
    pub in_service: InService,
    tag: String,
}

impl<'a> Registry<'a> {
    /// The registry of a deployment that is there.
    pub fn of(ours: &'a Deployment) -> Result<Self> {
        ours.stack()?;
        Ok(Self::new(ours.aws(), ours.names()))
    }

    /// The registry in the artifacts bucket, for whoever has compared that bucket's tags.
    pub fn new(aws: &'a Aws, names: &'a Names) -> Self {
        Self { aws, bucket: names.artifacts_bucket(), pipeline: &names.pipeline }
    }

    /// The pointer, if a model is in service.
    pub async fn pointer(&self) -> Result<Option<Pointer>> {
        let key = keys::model_pointer(self.pipeline);
        let Some((bytes, tag)) = self.aws.get_tagged(&self.bucket, &key).await? else {
            return Ok(None);
        };
        let in_service = serde_json::from_slice(&bytes)
            .with_context(|| format!("`{key}` is not a model pointer"))?;
        Ok(Some(Pointer { in_service, tag }))
    }

    /// The pointer, or an error that says that there is none.
    pub async fn some_pointer(&self) -> Result<Pointer> {
        self.pointer().await?.or_hint(|| {
            Hinted::new(
                "no model is in service",
                "`cargo xtask deploy` trains one and puts it there",
            )
        })
    }

    /// Puts a model into service after whatever `before` says.
    pub async fn promote(
        &self,
        before: Option<Pointer>,
        model: ModelPointer,
        by: Promoter,
        reason: &str,
    ) -> Result<()> {
        let (in_service, tag) = before.map_or((None, None), |p| (Some(p.in_service), Some(p.tag)));
        let next = Service { model, since: now(), by, reason: reason.to_owned() };
        self.replace(tag.as_deref(), &InService::promote(in_service, next)).await
    }

    /// Puts the model back into service that was there before; returns what is in service now.
    pub async fn roll_back(&self, before: Pointer) -> Result<InService> {
        let back = before.in_service.roll_back(now()).context("there was no model before")?;
        self.replace(Some(&before.tag), &back).await?;
        Ok(back)
    }

    async fn replace(&self, tag: Option<&str>, pointer: &InService) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(pointer)?;
        if !self.aws.put_if(&self.bucket, &keys::model_pointer(self.pipeline), bytes, tag).await? {
            bail!(Hinted::new(
                "somebody else, or a training, changed the model in service at the same time",
                "look with `cargo xtask model list`, then repeat the command",
            ));
        }
        Ok(())
    }

    /// Versions of all models, in no order.
    pub async fn versions(&self) -> Result<Vec<String>> {
        let prefix = keys::models_prefix(self.pipeline);
        let keys = self.aws.keys(&self.bucket, &prefix).await?;
        let version = |key: &String| {
            Some(key.strip_prefix(&prefix)?.strip_suffix(CARD_FILE)?.strip_suffix('/')?.to_owned())
        };
        Ok(keys.iter().filter_map(version).collect())
    }

    /// A model's card as it is stored.
    pub async fn card_bytes(&self, version: &str) -> Result<Vec<u8>> {
        self.file(version, CARD_FILE).await
    }

    /// A model's card.
    pub async fn card(&self, version: &str) -> Result<ModelCard> {
        serde_json::from_slice(&self.card_bytes(version).await?).with_context(|| {
            format!("the card of model {version} cannot be read by this version of Steppe")
        })
    }

    /// A whole model, checked as the server will check it.
    pub async fn artifact(&self, version: &str) -> Result<Artifact> {
        let (card, weights) =
            (self.card_bytes(version).await?, self.file(version, WEIGHTS_FILE).await?);
        let pointer = ModelPointer {
            version: version.to_owned(),
            card_sha256: steppe_plan::stack::sha256_hex(&card),
        };
        Artifact::load(card, weights, &pointer)
            .with_context(|| format!("model {version} cannot be served"))
    }

    async fn file(&self, version: &str, file: &str) -> Result<Vec<u8>> {
        let key = keys::model_file(self.pipeline, version, file);
        self.aws
            .get(&self.bucket, &key)
            .await?
            .with_context(|| format!("model {version} has no {file}"))
    }

    /// What trainings found, oldest first.
    pub async fn records(&self) -> Result<Vec<TrainingRecord>> {
        let mut records: Vec<TrainingRecord> = Vec::new();
        for key in self.aws.keys(&self.bucket, &keys::trainings_prefix(self.pipeline)).await? {
            records.extend(self.read(&key).await?);
        }
        records.sort_by(|a, b| a.time.cmp(&b.time));
        Ok(records)
    }

    /// Keeps what a training found.
    pub async fn keep(&self, record: &TrainingRecord) -> Result<()> {
        let bytes = serde_json::to_vec_pretty(record)?;
        let sha256 = steppe_plan::stack::sha256_hex(&bytes);
        self.aws
            .put(&self.bucket, &keys::training_record(self.pipeline, &record.key), bytes, &sha256)
            .await?;
        Ok(())
    }

    async fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let Some(bytes) = self.aws.get(&self.bucket, key).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).with_context(|| format!("`{key}` cannot be read"))
    }
}

/// The time, as records have it.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// A time of a record for people: without its fractions of seconds.
pub fn short(time: &str) -> String {
    time.parse::<jiff::Timestamp>()
        .map_or_else(|_| time.to_owned(), |t| t.strftime("%Y-%m-%d %H:%M:%S").to_string())
}
