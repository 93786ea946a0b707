//! The jobs of the stack at their interfaces: training against the model in service, and the drift
//! check.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::StreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use steppe_jobs::drift::Monitor;
use steppe_jobs::train::{Event, Trainer};
use steppe_model::card::ARTIFACT_SCHEMA_VERSION;
use steppe_model::host::{Quiet, Stage};
use steppe_model::{Artifact, Dataset};
use steppe_server::config::Limits;
use steppe_server::datasets::Datasets;
use steppe_server::guard::Hosts;
use steppe_server::model_store::ModelStore;
use steppe_server::routes::router;
use steppe_server::service::Service;
use steppe_spec::{Family, Kind, TrainSpec};
use steppe_wire::drift::DriftReport;
use steppe_wire::failure::Failure;
use steppe_wire::keys;
use steppe_wire::predict::{Forecast, ModelRef, Step, StoredPrediction};
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

/// The model server over HTTP, with the drift check beside it.
pub struct Watched {
    service: Arc<Service>,
    /// The check.
    pub monitor: Monitor,
    /// Its buckets.
    pub stack: Stack,
}

impl Watched {
    /// With a model of `data`.
    pub async fn start(spec: &TrainSpec, data: &Dataset) -> Self {
        let stack = Stack::new(spec, data).await;
        put_model(&stack.artifacts, &train(data, spec)).await;
        let models = ModelStore::open(stack.artifacts.clone() as Arc<dyn ObjectStore>, "marriages")
            .await
            .expect("a model");
        let limits = Limits::default();
        let service = Service::new(
            models,
            Datasets::new(stack.data.clone(), limits.dataset_bytes),
            "data",
            limits,
        )
        .expect("metrics");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let server_url = format!("http://{}", listener.local_addr().expect("an address"));
        let app = router(service.clone(), Hosts::default());
        tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        let (artifacts, data) = (stack.artifacts.clone(), stack.data.clone());
        let monitor = Monitor {
            artifacts,
            data,
            pipeline: "marriages".into(),
            spec_key: "specs/1.json".into(),
            server_url,
        };
        Self { service, monitor, stack }
    }

    /// Asks for forecasts of a table in which each series is a history times `factor`.
    async fn ask(&self, data: &Dataset, factor: f64, growth: f64) {
        let changed = |series: &steppe_model::Series| {
            let mut changed = series.clone();
            changed.values.iter_mut().for_each(|v| *v *= factor);
            *changed.values.last_mut().expect("values") *= growth;
            changed
        };
        let series: Vec<_> = data.series().iter().map(changed).collect();
        let names: Vec<&str> = series.iter().map(|s| s.name.as_str()).collect();
        let table = Dataset::new(data.frequency(), series.clone());
        let rows = format!("region,year,marriages\n{}", csv_rows(&table));
        let table = clean_table(&rows, &MARRIAGES).to_vec();
        self.stack.put(&self.stack.data, "processed/asked/part-00000.parquet", table).await;
        let request =
            json!({ "region": names, "dataset_key": "processed/asked/", "bucket_name": "data" });
        let request = serde_json::from_value(request).expect("a request");
        self.service.predict(request).await.expect("forecasts");
    }

    /// What the check wrote.
    pub async fn report(&self) -> DriftReport {
        self.stack.read(&self.stack.data, &keys::drift_report("marriages")).await
    }
}

/// Two dozen calm series.
pub fn two_dozen() -> Dataset {
    let noise = |s: i64, t: i64| 1.0 + 0.02 * (((s * 31 + t * 17) % 13) as f64 - 6.0) / 6.0;
    let rows = (0..24).flat_map(|s| {
        (0..=22).map(move |t| {
            (format!("Region {s:02}"), 2000 + t, 500.0 * (s + 4) as f64 * noise(s, t))
        })
    });
    Dataset::from_rows(rows).expect("valid")
}

#[tokio::test]
async fn ordinary_questions_are_no_drift_and_strange_ones_are_told_once() {
    let data = two_dozen();
    let spec = spec().with(|s| {
        s.model.kind = Kind::Of(Family::Theta);
        s.task.horizon = 1;
        s.backtest.origins = 6;
    });
    let watched = Watched::start(&spec, &data).await;
    for _ in 0..3 {
        watched.ask(&data, 1.0, 1.0).await;
    }
    let outcome = watched.monitor.run().await.expect("checked");
    assert_eq!(
        (outcome.findings, outcome.summary.as_str()),
        (0, "no drift; 24 forecasts counted, 0 past ones beside actual values")
    );
    watched.ask(&data, 1_000.0, 1.5).await;
    let outcome = watched.monitor.run().await.expect("checked");
    let told = outcome.new.join("\n");
    assert!(told.contains("`level` has PSI") && told.contains("`change` has PSI"), "{told}");
    let report = watched.report().await;
    assert_eq!(report.server.forecasts, 48, "each series and period counts once");
    assert!(report.server.statistics.iter().filter(|d| d.drifted).count() >= 2);
    let again = watched.monitor.run().await.expect("checked");
    assert_eq!((again.findings, again.new.len()), (outcome.findings, 0), "told once");
}

/// Version of a model that is right.
pub const GOOD: &str = "600d600d600d600d";
const BAD: &str = "bad0bad0bad0bad0";

/// A forecast for 2022 of each series, made a year before.
pub fn stored(data: &Dataset, version: &str, width: f64, error: f64) -> Vec<StoredPrediction> {
    let errors =
        steppe_wire::predict::Errors { mae: 1.0, rmse: 1.0, mape: 1.0, mase: 1.0, smape: 1.0 };
    let model =
        ModelRef { id: "marriages-theta".into(), version: version.into(), backtest: errors };
    let one = |series: &steppe_model::Series| {
        let value = series.observed(2022).expect("a value") * (1.0 + error);
        let (lower, upper) = (value * (1.0 - width), value * (1.0 + width));
        let step = Step {
            step: 1,
            period: "2022".into(),
            value,
            lower,
            upper,
            level: 0.9,
            procure: None,
            quantiles: vec![],
        };
        let later = Step { step: 2, period: "2023".into(), ..step.clone() };
        let forecast = Forecast {
            series: series.name.clone(),
            observed_until: "2021".into(),
            last_value: series.observed(2021).expect("a value"),
            repaired: 0,
            note: None,
            decimals: 0,
            steps: vec![step, later],
        };
        StoredPrediction::new("e", &forecast, &model).expect("steps")
    };
    data.series().iter().map(one).collect()
}

#[tokio::test]
async fn past_forecasts_are_held_against_what_happened() {
    let data = two_dozen();
    let spec = spec().with(|s| {
        s.model.kind = Kind::Of(Family::Theta);
        s.task.horizon = 1;
    });
    let watched = Watched::start(&spec, &data).await;
    // The same forecasts twice: a second execution says nothing new.
    for (name, predictions) in [
        ("good", stored(&data, GOOD, 0.05, 0.001)),
        ("again", stored(&data, GOOD, 0.05, 0.001)),
        ("bad", stored(&data, BAD, 0.02, 0.5)),
    ] {
        for (i, prediction) in predictions.iter().enumerate() {
            let line = serde_json::to_vec(prediction).expect("JSON");
            watched
                .stack
                .put(&watched.stack.data, &format!("predictions/output_{name}{i}.json"), line)
                .await;
        }
    }
    watched.stack.put(&watched.stack.data, "predictions/output_x.json", b"{}".to_vec()).await;
    let outcome = watched.monitor.run().await.expect("one unreadable forecast does not matter");
    assert_eq!((outcome.findings, outcome.new.len()), (2, 2), "{outcome:?}");
    assert!(
        outcome.new[0].contains(
            "model bad0bad0bad0bad0 promised too much: 0 % of 24 actual values up to 2022 are \
             inside of its 90 % intervals"
        ),
        "{outcome:?}"
    );
    assert!(outcome.new[1].contains("model bad0bad0bad0bad0 lost its way: MASE"), "{outcome:?}");
    let report = watched.report().await;
    let good = report.realised.iter().find(|r| r.model_version == GOOD).expect("both");
    assert_eq!(
        (good.cases, good.coverage, good.first.as_str(), good.last.as_str()),
        (24, 1.0, "2022", "2022")
    );
    assert!(good.mase < 1.0 && good.coverage_p > 0.9, "{good:?}");
}

#[tokio::test]
async fn an_absent_server_is_worth_another_try() {
    let data = two_dozen();
    let watched = Watched::start(
        &spec().with(|s| {
            s.model.kind = Kind::Of(Family::Theta);
            s.task.horizon = 1;
        }),
        &data,
    )
    .await;
    let monitor = Monitor { server_url: "http://127.0.0.1:9".into(), ..watched.monitor.clone() };
    let error = monitor.run().await.expect_err("nobody answers");
    assert!(matches!(&error, Failure::Retryable(_)) && error.to_string().contains("127.0.0.1:9"));
    let monitor = Monitor { server_url: "not an address".into(), ..watched.monitor };
    assert!(matches!(monitor.run().await.expect_err("no address"), Failure::Permanent(_)));
}
