//! The models of a deployed pipeline: which one is in service, which ones there are, what trainings
//! found.

use anyhow::{Context, Error};
use steppe_aws::{Aws, AwsError};
use steppe_model::any::{About, AnyModel};
use steppe_plan::names::Names;
use steppe_plan::stack::sha256_hex;
use steppe_store::{Object, Objects, Pointer, StoreError};
use steppe_wire::hint::Hinted;
use steppe_wire::keys::{CARD_FILE, WEIGHTS_FILE};
use steppe_wire::predict::ModelPointer;
use steppe_wire::registry::{InService, Promoter, Scores, Service, TrainingRecord};

use crate::deployment::Deployment;
use crate::hint::OrHint;

/// Result of whatever people wait for at the terminal.
type Result<T, E = Error> = std::result::Result<T, E>;

/// The registry of one deployment.
pub struct Registry<'a>(steppe_store::Registry<Artifacts<'a>>);

/// The artifacts bucket, reached as the deployer reaches everything.
struct Artifacts<'a> {
    aws: &'a Aws,
    bucket: String,
}

impl Objects for Artifacts<'_> {
    type Error = AwsError;

    async fn read(&self, key: &str, bytes_max: u64) -> Result<Option<Object>, AwsError> {
        let found = self.aws.get_tagged(&self.bucket, key, bytes_max).await?;
        Ok(found.map(|(bytes, tag)| Object { bytes: bytes.into(), tag }))
    }

    async fn write(&self, key: &str, bytes: Vec<u8>) -> Result<(), AwsError> {
        let sha256 = sha256_hex(&bytes);
        self.aws.put(&self.bucket, key, bytes, &sha256).await
    }

    async fn write_if(
        &self,
        key: &str,
        bytes: Vec<u8>,
        tag: Option<&str>,
    ) -> Result<bool, AwsError> {
        self.aws.put_if(&self.bucket, key, bytes, tag).await
    }

    async fn keys(&self, folder: &str) -> Result<Vec<String>, AwsError> {
        self.aws.keys(&self.bucket, folder).await
    }
}

impl<'a> Registry<'a> {
    /// The registry of a deployment that is there.
    pub fn of(ours: &'a Deployment) -> Result<Self> {
        ours.stack()?;
        Ok(Self::new(ours.aws(), ours.names()))
    }

    /// The registry in the artifacts bucket, for whoever has compared that bucket's tags.
    pub fn new(aws: &'a Aws, names: &Names) -> Self {
        let objects = Artifacts { aws, bucket: names.artifacts_bucket() };
        Self(steppe_store::Registry::new(objects, &names.pipeline))
    }

    /// The pointer, if a model is in service.
    pub async fn pointer(&self) -> Result<Option<Pointer>> {
        self.0.pointer().await.map_err(told)
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
        let next = Service { model, since: now(), by, reason: reason.to_owned() };
        self.0.promote(before, next).await.map_err(told)
    }

    /// Puts the model back into service that was there before; returns what is in service now.
    pub async fn roll_back(&self, before: Pointer) -> Result<InService> {
        let back = self.0.roll_back(before, now()).await.map_err(told)?;
        back.context("there was no model before the one in service")
    }

    /// Versions of all models, in no order.
    pub async fn versions(&self) -> Result<Vec<String>> {
        self.0.versions().await.map_err(told)
    }

    /// A model's card as it is stored.
    pub async fn card_bytes(&self, version: &str) -> Result<Vec<u8>> {
        Ok(self.0.file(version, CARD_FILE).await.map_err(told)?.into())
    }

    /// What a model's card says.
    pub async fn about(&self, version: &str) -> Result<About> {
        About::read(&self.card_bytes(version).await?, version).with_context(|| {
            format!("the card of model {version} cannot be read by this version of Steppe")
        })
    }

    /// A whole model, checked as the server will check it.
    pub async fn model(&self, version: &str) -> Result<AnyModel> {
        let card = self.card_bytes(version).await?;
        let weights = self.0.file(version, WEIGHTS_FILE).await.map_err(told)?;
        let pointer = ModelPointer { version: version.to_owned(), card_sha256: sha256_hex(&card) };
        AnyModel::load(card, weights.into(), &pointer)
            .with_context(|| format!("model {version} cannot be served"))
    }

    /// What trainings found, oldest first.
    pub async fn records(&self) -> Result<Vec<TrainingRecord>> {
        self.0.records().await.map_err(told)
    }

    /// Keeps what a training found.
    pub async fn keep(&self, record: &TrainingRecord) -> Result<()> {
        Ok(self.0.keep(record).await?)
    }
}

/// The score that decides, with its name.
pub fn deciding(scores: &Scores) -> String {
    let score = scores.deciding();
    score.map_or_else(String::new, |score| format!("{} {:.3}", score.name, score.value))
}

/// Errors as people at the terminal get them.
fn told(error: StoreError<AwsError>) -> Error {
    match error {
        StoreError::Call(error) => error.into(),
        StoreError::Changed => Hinted::new(
            "somebody else, or a training, changed the model in service at the same time",
            "look with `cargo xtask model list`, then repeat the command",
        )
        .into(),
        other => other.into(),
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
