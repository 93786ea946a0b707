//! The jobs of the stack at their interfaces: training against the model in service.

mod batches;
pub mod drift;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;
use steppe_jobs::train::{Event, Trainer};
use steppe_model::card::ARTIFACT_SCHEMA_VERSION;
use steppe_model::host::{Quiet, Stage};
use steppe_model::{Artifact, Dataset};
use steppe_spec::{Family, Kind, TrainSpec};
use steppe_wire::failure::Failure;
use steppe_wire::keys;
use steppe_wire::registry::{Basis, InService, Promoter, Scores, TrainingOutcome, TrainingRecord};

use self::meddler::Meddler;
use crate::tools::{MARRIAGES, clean_table, csv_rows, put_model, spec};

/// Twelve series that grow by 3 percent until 2015 and then lose 8 percent a year.
fn data(last: i64) -> Dataset {
    let value = |s: i64, t: i64| {
        let (before, after) = (t.min(15), (t - 15).max(0));
        1_000.0 * (s + 1) as f64 * 1.03f64.powi(before as i32) * 0.92f64.powi(after as i32)
            + f64::from((t * 7 % 5) as i32)
    };
    let rows = (0..12).flat_map(|s| {
        (0..=last - 2000).map(move |t| (format!("Region {s:02}"), 2000 + t, value(s, t)))
    });
    Dataset::from_rows(rows).expect("valid")
}

/// A family that learns: it is wrong after the turn until it is trained again.
fn pooled() -> TrainSpec {
    spec().with(|s| {
        s.model.kind = Kind::Of(Family::PooledAutoregression);
        s.task.horizon = 1;
        s.backtest.origins = 4;
    })
}

fn train(data: &Dataset, spec: &TrainSpec) -> Artifact {
    Artifact::train(data, spec, &Stage::new(&Quiet)).expect("trains")
}

/// The buckets of a deployed stack.
pub struct Stack {
    /// Models and configuration.
    pub artifacts: Arc<InMemory>,
    /// The clean table, forecasts, reports.
    pub data: Arc<InMemory>,
}

impl Stack {
    async fn new(spec: &TrainSpec, data: &Dataset) -> Self {
        let stack = Self { artifacts: Arc::new(InMemory::new()), data: Arc::new(InMemory::new()) };
        stack.put(&stack.artifacts, "specs/1.json", serde_json::to_vec(spec).expect("JSON")).await;
        stack.clean(data).await;
        stack
    }

    async fn clean(&self, data: &Dataset) {
        let table = clean_table(&format!("region,year,marriages\n{}", csv_rows(data)), &MARRIAGES);
        self.put(&self.data, "processed/marriages/marriages/part-00000.parquet", table.to_vec())
            .await;
    }

    /// Stores an object.
    pub async fn put(&self, store: &InMemory, key: &str, bytes: Vec<u8>) {
        store.put(&Path::from(key), bytes.into()).await.expect("stored");
    }

    fn trainer(&self) -> Trainer {
        let (artifacts, data) = (self.artifacts.clone(), self.data.clone());
        Trainer { artifacts, data, pipeline: "marriages".into(), spec_key: "specs/1.json".into() }
    }

    async fn train(&self) -> Result<TrainingOutcome, Failure> {
        self.trainer().run(&Event { execution: "arn:e".into() }).await
    }

    async fn pointer(&self) -> InService {
        self.read(&self.artifacts, &keys::model_pointer("marriages")).await
    }

    async fn read<T: serde::de::DeserializeOwned>(&self, store: &InMemory, key: &str) -> T {
        let bytes = store.get(&Path::from(key)).await.expect("there").bytes().await.expect("bytes");
        serde_json::from_slice(&bytes).expect("the contract")
    }

    async fn records(&self) -> Vec<TrainingRecord> {
        let listed: Vec<_> =
            self.artifacts.list(Some(&Path::from("models/marriages/trainings"))).collect().await;
        let mut records = Vec::new();
        for found in listed {
            records
                .push(self.read(&self.artifacts, found.expect("listed").location.as_ref()).await);
        }
        records
    }
}

#[tokio::test]
async fn a_better_challenger_is_promoted_once_and_both_cards_stay_on_record() {
    let (spec, champion) = (pooled(), train(&data(2016), &pooled()));
    let stack = Stack::new(&spec, &data(2022)).await;
    put_model(&stack.artifacts, &champion).await;
    let outcome = stack.train().await.expect("trained");
    let challenger = train(&data(2022), &spec);
    assert_eq!(
        (outcome.promoted, &outcome.in_service),
        (true, &challenger.version()),
        "as trained anywhere else: {}",
        outcome.summary
    );
    let pointer = stack.pointer().await;
    assert_eq!(
        (pointer.current.model, pointer.current.by),
        (challenger.pointer(), Promoter::Training)
    );
    assert_eq!(pointer.previous.len(), 1);
    let [record] = &stack.records().await[..] else { panic!("one record") };
    let contest = record.contest.as_ref().expect("compared");
    assert_eq!((contest.basis, contest.origins.len(), contest.cases), (Basis::NewPeriods, 4, 48));
    let mase = |scores: &Scores| scores.get("MASE").expect("it decides");
    assert!(mase(&contest.challenger) < mase(&contest.champion));
    assert_eq!(
        (&record.champion, &record.challenger),
        (&Some(champion.model_ref()), &challenger.model_ref())
    );
    for version in [champion.version(), challenger.version()] {
        let card: Value = stack
            .read(&stack.artifacts, &keys::model_file("marriages", &version, "card.json"))
            .await;
        assert_eq!(card["schema_version"], ARTIFACT_SCHEMA_VERSION);
    }
    let again = stack.train().await.expect("nothing to do");
    assert!(
        !again.promoted
            && again.in_service == challenger.version()
            && again.summary.starts_with("nothing new since"),
        "{again:?}"
    );
    assert_eq!(stack.records().await.len(), 1);
    // A function that was cut off after the promotion and before the record says the same when it
    // is called again.
    stack
        .artifacts
        .delete(&Path::from(keys::training_record("marriages", &record.key)))
        .await
        .expect("deleted");
    assert!(stack.train().await.expect("recorded").promoted);
    let again = stack.records().await.remove(0);
    assert_eq!((again.promoted, &again.reason), (true, &record.reason));
    assert_eq!(stack.pointer().await.previous.len(), 1, "it is not promoted twice");
}

#[tokio::test]
async fn a_challenger_that_is_not_better_is_kept_out() {
    let stack = Stack::new(&pooled(), &data(2022)).await;
    let champion = train(&data(2022), &pooled());
    put_model(&stack.artifacts, &champion).await;
    // Corrected data without a period that the champion has not seen.
    stack.clean(&data(2022).until(2021)).await;
    let outcome = stack.train().await.expect("trained");
    assert!(!outcome.promoted && outcome.in_service == champion.version(), "{}", outcome.summary);
    assert!(
        outcome.summary.contains("no whole horizon has been observed since 2022"),
        "{}",
        outcome.summary
    );
    let records = stack.records().await;
    assert!(!records[0].promoted);
    let stored =
        keys::model_file("marriages", &records[0].challenger.version, "weights.safetensors");
    assert!(
        stack.artifacts.head(&Path::from(stored)).await.is_ok(),
        "somebody may still promote it"
    );
}

#[tokio::test]
async fn what_a_person_rolled_back_is_not_promoted_again() {
    let stack = Stack::new(&pooled(), &data(2022)).await;
    put_model(&stack.artifacts, &train(&data(2016), &pooled())).await;
    assert!(stack.train().await.expect("trained").promoted);
    let back = stack.pointer().await.roll_back("later".into()).expect("one before");
    let bytes = serde_json::to_vec(&back).expect("JSON");
    stack.put(&stack.artifacts, &keys::model_pointer("marriages"), bytes).await;
    let outcome = stack.train().await.expect("nothing to do");
    assert!(!outcome.promoted && outcome.in_service == back.current.model.version, "{outcome:?}");
    assert_eq!(stack.pointer().await, back);
}

#[tokio::test]
async fn without_a_model_or_with_an_unusable_one_the_challenger_goes_into_service() {
    let stack = Stack::new(&pooled(), &data(2022)).await;
    let outcome = stack.train().await.expect("trained");
    assert!(
        outcome.promoted && outcome.summary.contains("there was no model in service"),
        "{}",
        outcome.summary
    );
    let other = Stack::new(&pooled(), &data(2022)).await;
    let champion = train(&data(2016), &pooled());
    put_model(&other.artifacts, &champion).await;
    let card = keys::model_file("marriages", &champion.version(), "card.json");
    other.put(&other.artifacts, &card, b"{}".to_vec()).await;
    let outcome = other.train().await.expect("trained");
    assert!(
        outcome.promoted && outcome.summary.contains("cannot be used: card.json has SHA-256"),
        "{}",
        outcome.summary
    );
}

#[tokio::test]
async fn what_cannot_be_trained_is_a_permanent_error_and_changes_nothing() {
    let stack = Stack::new(&pooled(), &data(2001)).await;
    let error = stack.train().await.expect_err("too short");
    assert!(
        matches!(&error, Failure::Permanent(_))
            && error.to_string().contains("no model can be trained"),
        "{error:?}"
    );
    assert!(stack.artifacts.head(&Path::from(keys::model_pointer("marriages"))).await.is_err());
    let trainer = Trainer { spec_key: "specs/none.json".into(), ..stack.trainer() };
    let error = trainer.run(&Event { execution: "e".into() }).await.expect_err("missing");
    assert!(
        error.to_string().contains("`specs/none.json` does not exist; deploy again"),
        "{error}"
    );
    stack
        .put(&stack.data, "processed/marriages/marriages/part-00000.parquet", b"no table".to_vec())
        .await;
    assert!(matches!(stack.train().await.expect_err("damaged"), Failure::Permanent(_)));
}

/// S3 as a function with few permissions meets it: what is not there is denied. And somebody who
/// promotes another model while the first training is about to store its own.
mod meddler {
    use std::ops::Range;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::*;

    #[derive(Debug)]
    pub struct Meddler {
        pub store: Arc<InMemory>,
        /// The pointer that appears when weights are stored for the first time.
        pub meddle: std::sync::Mutex<Option<Vec<u8>>>,
        /// Checkpoints read.
        pub resumed: AtomicUsize,
    }

    impl std::fmt::Display for Meddler {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("meddler")
        }
    }

    #[async_trait::async_trait]
    impl ObjectStore for Meddler {
        async fn put_opts(
            &self,
            location: &Path,
            payload: PutPayload,
            opts: PutOptions,
        ) -> Result<PutResult> {
            let pointer = self
                .meddle
                .lock()
                .expect("one thread")
                .take_if(|_| location.as_ref().ends_with("weights.safetensors"));
            if let Some(pointer) = pointer {
                self.store
                    .put(&Path::from(steppe_wire::keys::model_pointer("marriages")), pointer.into())
                    .await?;
            }
            self.store.put_opts(location, payload, opts).await
        }

        async fn put_multipart_opts(
            &self,
            location: &Path,
            opts: PutMultipartOptions,
        ) -> Result<Box<dyn MultipartUpload>> {
            self.store.put_multipart_opts(location, opts).await
        }

        async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
            self.resumed.fetch_add(
                usize::from(location.as_ref().contains("checkpoints")),
                Ordering::Relaxed,
            );
            self.store.get_opts(location, options).await.map_err(|e| match e {
                Error::NotFound { path, source } => Error::PermissionDenied { path, source },
                other => other,
            })
        }

        async fn get_ranges(
            &self,
            location: &Path,
            ranges: &[Range<u64>],
        ) -> Result<Vec<bytes::Bytes>> {
            self.store.get_ranges(location, ranges).await
        }

        fn delete_stream(
            &self,
            locations: BoxStream<'static, Result<Path>>,
        ) -> BoxStream<'static, Result<Path>> {
            self.store.delete_stream(locations)
        }

        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
            self.store.list(prefix)
        }

        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
            self.store.list_with_delimiter(prefix).await
        }

        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
            self.store.copy_opts(from, to, options).await
        }
    }
}

#[tokio::test]
async fn a_model_promoted_during_a_training_is_not_overwritten_and_the_next_try_goes_on_from_checkpoints()
 {
    // Epochs enough for checkpoints, which come every 50,000 windows.
    let lstm = spec().with(|s| s.model.lstm.epochs = 600);
    let stack = Stack::new(&lstm, &data(2022)).await;
    let (champion, other) = (train(&data(2016), &pooled()), train(&data(2017), &pooled()));
    put_model(&stack.artifacts, &other).await;
    put_model(&stack.artifacts, &champion).await;
    let meddle = std::sync::Mutex::new(Some(serde_json::to_vec(&other.pointer()).expect("JSON")));
    let meddler =
        Arc::new(Meddler { store: stack.artifacts.clone(), meddle, resumed: Default::default() });
    let trainer = Trainer { artifacts: meddler.clone(), ..stack.trainer() };
    let event = Event { execution: "e".into() };
    let error = trainer.run(&event).await.expect_err("the contest was with another champion");
    assert!(
        matches!(&error, Failure::Retryable(_))
            && error.to_string().contains("changed during the training"),
        "{error:?}"
    );
    assert_eq!(
        (stack.pointer().await.current.model, stack.records().await.len()),
        (other.pointer(), 0)
    );
    assert_eq!(meddler.resumed.load(Ordering::Relaxed), 0);
    let outcome = trainer.run(&event).await.expect("trained");
    assert!(meddler.resumed.load(Ordering::Relaxed) > 0, "the first training left checkpoints");
    assert_eq!(stack.records().await[0].champion, Some(other.model_ref()));
    assert_eq!(
        stack.records().await[0].challenger.version,
        train(&data(2022), &lstm).version(),
        "{}",
        outcome.summary
    );
    let left: Vec<_> =
        stack.artifacts.list(Some(&Path::from("models/marriages/checkpoints"))).collect().await;
    assert!(left.is_empty(), "checkpoints are forgotten when the training has ended: {left:?}");
}

#[tokio::test]
async fn what_is_denied_because_it_is_not_there_counts_as_not_there() {
    let stack = Stack::new(&pooled(), &data(2022)).await;
    let artifacts = Arc::new(Meddler {
        store: stack.artifacts.clone(),
        meddle: Default::default(),
        resumed: Default::default(),
    });
    let trainer = Trainer { artifacts, ..stack.trainer() };
    let outcome = trainer.run(&Event { execution: "e".into() }).await.expect("trained");
    assert!(outcome.promoted, "{}", outcome.summary);
}
