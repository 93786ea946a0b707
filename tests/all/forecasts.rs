//! The model server and the predictor at their interfaces, over a real socket.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde_json::{Map, Value, json};
use steppe_model::host::{Quiet, Stage};
use steppe_model::{Artifact, Dataset};
use steppe_predictor::Predictor;
use steppe_server::config::Limits;
use steppe_server::datasets::Datasets;
use steppe_server::guard::Hosts;
use steppe_server::model_store::ModelStore;
use steppe_server::routes::router;
use steppe_server::service::Service;
use steppe_spec::{Family, Feature, Frequency, Kind, Known};
use steppe_wire::predict::{PredictResponse, StoredPrediction};
use tower::ServiceExt;

use crate::tools::{MARRIAGES, artifact, clean_table, csv_rows, dataset, put_model};

/// The server's bucket.
pub const BUCKET: &str = "data";

/// The table of the tests' data set, and one series more that is too short.
fn table() -> Bytes {
    clean_table(
        &format!("region,year,marriages\n{}Short,2015,5\n", csv_rows(&dataset())),
        &MARRIAGES,
    )
}

/// A model server with its buckets in memory.
pub struct Server {
    /// What answers.
    pub service: Arc<Service>,
    /// Bucket of the model.
    pub artifacts: Arc<InMemory>,
    /// Bucket of the data set.
    pub data: Arc<InMemory>,
}

impl Server {
    /// With the tests' model and data set.
    pub async fn start(limits: Limits) -> Self {
        let data = Arc::new(InMemory::new());
        Self::reading(data.clone(), data, limits).await
    }

    /// The same, which sees `data` as `bucket` shows it.
    pub async fn reading(
        bucket: Arc<dyn ObjectStore>,
        data: Arc<InMemory>,
        limits: Limits,
    ) -> Self {
        let artifacts = Arc::new(InMemory::new());
        put_model(&artifacts, &artifact()).await;
        data.put(&Path::from("processed/marriages/part-00000.parquet"), table().into())
            .await
            .expect("stored");
        let models = ModelStore::open(artifacts.clone() as Arc<dyn ObjectStore>, "marriages")
            .await
            .expect("a model");
        let service =
            Service::new(models, Datasets::new(bucket, limits.dataset_bytes), BUCKET, limits)
                .expect("metrics");
        Self { service, artifacts, data }
    }

    /// The answer to a forecast request.
    pub async fn post(&self, body: impl Into<Body>) -> (StatusCode, Value) {
        self.answer(post(body)).await
    }

    /// The answer to any request.
    pub async fn answer(&self, request: Request<Body>) -> (StatusCode, Value) {
        let response = router(self.service.clone(), Hosts::default())
            .oneshot(request)
            .await
            .expect("an answer");
        let status = response.status();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&bytes).expect("JSON"))
    }

    /// The answer to a request for `path`.
    pub async fn get(&self, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).header("host", "localhost").body(Body::empty());
        let request = request.expect("a request");
        let response = router(self.service.clone(), Hosts::default())
            .oneshot(request)
            .await
            .expect("an answer");
        let status = response.status();
        (
            status,
            String::from_utf8_lossy(
                &response.into_body().collect().await.expect("a body").to_bytes(),
            )
            .into_owned(),
        )
    }
}

/// A forecast request.
pub fn post(body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/predict").header("host", "localhost");
    request.header("content-type", "application/json").body(body.into()).expect("a request")
}

/// The body of one for series of the data set.
pub fn ask(series: Value) -> String {
    json!({ "region": series, "dataset_key": "processed/marriages/", "bucket_name": BUCKET })
        .to_string()
}

#[tokio::test]
async fn a_forecast_has_everything_that_the_contract_promises() {
    let server = Server::start(Limits::default()).await;
    let (status, answer) = server.post(ask(json!(["Astana", "Almaty"]))).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let answer: PredictResponse = serde_json::from_value(answer).expect("the contract");
    assert_eq!(
        answer.forecasts.iter().map(|f| f.series.as_str()).collect::<Vec<_>>(),
        ["Astana", "Almaty"]
    );
    assert_eq!(answer.model.version, artifact().version());
    for forecast in &answer.forecasts {
        assert_eq!((forecast.observed_until.as_str(), forecast.steps.len()), ("2015", 2));
        assert_eq!(
            forecast.steps.iter().map(|s| s.period.as_str()).collect::<Vec<_>>(),
            ["2016", "2017"]
        );
        let record = StoredPrediction::new("e", forecast, &answer.model).expect("steps");
        assert_eq!(record.defect(), None);
    }
    let metrics = server.get("/metrics").await.1;
    assert!(
        metrics.contains("steppe_forecasts_total 2")
            && metrics.contains("steppe_dataset_loads_total 1"),
        "{metrics}"
    );
}

#[tokio::test]
async fn every_bad_request_gets_its_problem() {
    let server = Server::start(Limits { body_bytes: 200, ..Limits::default() }).await;
    let with = |key: &str, bucket: &str| {
        json!({ "region": "Almaty", "dataset_key": key, "bucket_name": bucket }).to_string()
    };
    let cases = [
        ("{".to_owned(), 400, "/problems/invalid-request", "the body is not a request"),
        (
            ask(json!(7)),
            400,
            "/problems/invalid-request",
            "`region` must be a string or a list of strings",
        ),
        (ask(json!("Almatty")), 404, "/problems/unknown-series", "did you mean `Almaty`?"),
        (with("processed/marriages/", "other"), 403, "/problems/wrong-bucket", "reads only `data`"),
        (with("nowhere/", BUCKET), 404, "/problems/no-data-set", "run the cleaning job first"),
        (with("nowhere.parquet", BUCKET), 404, "/problems/no-data-set", "nowhere.parquet"),
        (with("../secrets", BUCKET), 400, "/problems/invalid-request", "is not a key"),
        ("x".repeat(201), 413, "/problems/body-too-large", "larger than 200 bytes"),
    ];
    for (body, status, kind, detail) in cases {
        let (got, problem) = server.post(body.clone()).await;
        assert_eq!(
            (got.as_u16(), problem["type"].as_str()),
            (status, Some(kind)),
            "{body}: {problem}"
        );
        assert!(
            problem["detail"].as_str().is_some_and(|d| d.contains(detail)),
            "{body}: {problem}"
        );
    }
    server
        .data
        .put(&Path::from("bad/x.parquet"), Bytes::from_static(b"not parquet").into())
        .await
        .expect("stored");
    assert_eq!(server.post(with("bad/", BUCKET)).await.0.as_u16(), 422);
    assert_eq!(server.get("/nothing").await.0.as_u16(), 404);
}

#[tokio::test]
async fn a_full_queue_says_so_and_a_draining_server_is_not_ready() {
    let server = Server::start(Limits { working: 0, waiting: 0, ..Limits::default() }).await;
    let request = post(ask(json!("Almaty")));
    let app = router(server.service.clone(), Hosts::default());
    let response = app.oneshot(request).await.expect("an answer");
    assert_eq!(
        (response.status().as_u16(), response.headers()["retry-after"].as_bytes()),
        (429, &b"1"[..])
    );
    assert_eq!(server.get("/ready").await.0.as_u16(), 200);
    server.service.drain();
    assert_eq!(server.get("/ready").await.0.as_u16(), 503);
    assert_eq!(server.get("/health").await.0.as_u16(), 200);
}

#[tokio::test]
async fn too_large_a_data_set_is_refused_as_a_file_and_as_a_folder() {
    let server = Server::start(Limits { dataset_bytes: 10, ..Limits::default() }).await;
    for key in ["processed/marriages/", "processed/marriages/part-00000.parquet"] {
        let body =
            json!({ "region": "Almaty", "dataset_key": key, "bucket_name": BUCKET }).to_string();
        let (status, problem) = server.post(body).await;
        assert_eq!(
            (status.as_u16(), problem["type"].as_str()),
            (422, Some("/problems/bad-data-set")),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn a_slow_client_meets_the_deadline() {
    let server = Server::start(Limits {
        deadline: std::time::Duration::from_millis(20),
        ..Limits::default()
    })
    .await;
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    assert_eq!(server.post(never).await.0.as_u16(), 503);
}

#[tokio::test]
async fn new_data_and_new_models_are_taken_up_and_broken_models_are_not() {
    let server = Server::start(Limits::default()).await;
    let first = server.post(ask(json!("Almaty"))).await.1;
    assert_eq!(server.service.models.reload().await.expect("nothing new"), None);
    let mut spec = artifact().card.spec;
    spec.model.seed = 2;
    let other = Artifact::train(&dataset(), &spec, &Stage::new(&Quiet)).expect("trains");
    put_model(&server.artifacts, &other).await;
    assert_eq!(server.service.models.reload().await.expect("new"), Some(other.version()));
    assert_ne!(server.post(ask(json!("Almaty"))).await.1["forecasts"], first["forecasts"]);
    let mut damaged = artifact();
    damaged.weights_bytes[100] ^= 1;
    put_model(&server.artifacts, &damaged).await;
    let error = format!("{:#}", server.service.models.reload().await.expect_err("refused"));
    assert!(error.contains("weights.safetensors has SHA-256"), "{error}");
    assert_eq!(server.service.models.current().model_ref.version, other.version());
}

async fn predictor(server: &Server, store: Arc<InMemory>) -> Predictor<Arc<InMemory>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = router(server.service.clone(), Hosts::default());
    tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
    Predictor::new(&format!("http://{address}"), store, BUCKET, "region").expect("a URL")
}

#[tokio::test]
async fn a_series_that_is_too_short_for_the_model_gets_the_rule_for_such() {
    let server = Server::start(Limits::default()).await;
    let (status, answer) = server.post(ask(json!("Short"))).await;
    let forecast = &answer["forecasts"][0];
    assert_eq!((status.as_u16(), &forecast["observed_until"]), (200, &json!("2015")), "{answer}");
    let note = forecast["note"].as_str().unwrap_or_default();
    assert!(note.starts_with("1 value is too few for the model"), "{answer}");
    let value = |name: &str| forecast["steps"][0][name].as_f64().expect("a number");
    assert!(value("lower") < value("value") && value("value") < value("upper"), "{answer}");
}

#[tokio::test]
async fn quantiles_of_a_short_history_are_those_of_the_rule_that_answers() {
    let server = Server::start(Limits::default()).await;
    let history = json!({ "series": "New", "observed_until": "2015", "values": [5, 6] });
    let body = json!({ "histories": [history], "quantiles": true });
    let (_, answer) = server.post(body.to_string()).await;
    let step = &answer["forecasts"][0]["steps"][0];
    let quantiles = step["quantiles"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let at = |p: f64| quantiles.iter().find(|q| q["probability"] == json!(p)).expect("it");
    assert_eq!([&at(0.05)["value"], &at(0.95)["value"]], [&step["lower"], &step["upper"]]);
}

fn event(region: &str) -> Map<String, Value> {
    let event = json!({ "region": region, "dataset_key": "processed/marriages/", "bucket_name": BUCKET, "execution": "arn:x" });
    event.as_object().expect("an object").clone()
}

#[tokio::test]
async fn a_retry_writes_the_same_object_again() {
    let (server, store) = (Server::start(Limits::default()).await, Arc::new(InMemory::new()));
    let predictor = predictor(&server, store.clone()).await;
    let first = predictor.handle(&event("Almaty"), "r1", None).await.expect("a forecast");
    let again = predictor.handle(&event("Almaty"), "r2", None).await.expect("a forecast");
    assert_eq!(first, again);
    let key = first.s3_path.as_deref().and_then(|path| path.strip_prefix("s3://data/"));
    let key = key.expect("a path");
    let stored = store.get(&Path::from(key)).await.expect("stored").bytes().await.expect("bytes");
    assert_eq!(
        Some(serde_json::from_slice::<StoredPrediction>(&stored).expect("the contract")),
        first.forecast
    );
    assert_eq!(
        stored.iter().filter(|b| **b == b'\n').count(),
        1,
        "Athena reads one object per line"
    );
}

#[tokio::test]
async fn what_will_fail_again_is_permanent_and_an_absent_server_is_not() {
    let (server, store) = (Server::start(Limits::default()).await, Arc::new(InMemory::new()));
    let present = predictor(&server, store.clone()).await;
    let error = present.handle(&event("Nowhere"), "r", None).await.expect_err("unknown");
    assert_eq!(error.error_type(), "PermanentError", "{error}");
    let absent = Predictor::new("http://127.0.0.1:9", store, BUCKET, "region").expect("a URL");
    let error = absent.handle(&event("Almaty"), "r", None).await.expect_err("nobody answers");
    assert_eq!(error.error_type(), "RetryableError", "{error}");
}

/// A monthly table with a feature that is known three months ahead, made by the real engine.
fn monthly_table() -> Bytes {
    let row = |site: usize, t: usize| {
        let warmth = 10.0
            + 8.0 * (std::f64::consts::TAU * (t % 12) as f64 / 12.0).sin()
            + f64::from((t * 7 % 5) as u8);
        let value = if t < 72 && (site, t) != (1, 40) {
            format!(
                "{:.1}",
                200.0 * (site + 1) as f64 + 5.0 * warmth + f64::from((t * 13 % 11) as u8)
            )
        } else {
            String::new()
        };
        format!("site{site},{}-{:02},{value},{warmth:.2},{site}\n", 2018 + t / 12, t % 12 + 1)
    };
    let rows: String = (0..4).flat_map(|site| (0..75).map(move |t| row(site, t))).collect();
    clean_table(
        &format!("site,month,load,warmth,kind\n{rows}"),
        &[
            ("site", "string"),
            ("month", "string"),
            ("load", "double"),
            ("warmth", "double"),
            ("kind", "double"),
        ],
    )
}

#[test]
fn months_features_and_static_features_go_all_the_way_from_the_table_to_a_forecast() {
    let spec = crate::tools::spec().with(|s| {
        s.pipeline = "sites".into();
        s.task.series = "site".into();
        s.task.time = "month".into();
        s.task.target = "load".into();
        s.task.features = vec![Feature::new("warmth", Known::Forecast)];
        s.task.static_features = vec!["kind".into()];
        s.task.set_frequency(Frequency::Monthly);
        s.model.kind = Kind::Auto;
        s.model.candidates = Some(vec![
            Family::Theta,
            Family::Autoregression,
            Family::GradientBoosting,
            Family::RandomForest,
            Family::Lstm,
        ]);
        s.task.horizon = 3;
    });
    let data = Dataset::from_parquet([monthly_table()], &spec).expect("series");
    assert_eq!((data.series().len(), data.rows(), data.filled()), (4, 4 * 72, 1));
    let warmth = &data.series()[0].features[0].values;
    assert_eq!(warmth.len(), 75, "three months of the future are known");
    let artifact = Artifact::train(&data, &spec, &Stage::new(&Quiet)).expect("trains");
    let families: Vec<&str> =
        artifact.card.section.backtest.candidates.iter().map(|c| c.family.name()).collect();
    assert!(
        families.contains(&"seasonal-naive") && families.contains(&"combination"),
        "{families:?}"
    );
    let loaded = Artifact::load(
        artifact.card_bytes.clone(),
        artifact.weights_bytes.clone(),
        &artifact.pointer(),
    )
    .expect("loads");
    let views: Vec<_> = data.series().iter().map(|s| s.view()).collect();
    for (prediction, series) in loaded.forecast(&views, 3).iter().zip(data.series()) {
        let mean = series.values.iter().sum::<f64>() / series.values.len() as f64;
        assert!(
            prediction.steps.iter().all(|s| s.value > 0.5 * mean && s.value < 1.5 * mean),
            "{prediction:?}"
        );
    }
}

#[tokio::test]
async fn observations_in_the_request_are_forecast_like_those_of_a_data_set() {
    let server = Server::start(Limits::default()).await;
    let expected = server.post(ask(json!("Almaty"))).await.1["forecasts"][0].clone();
    let data = dataset();
    let series = data.find("Almaty").expect("a series");
    let body = json!({ "histories": [{ "series": "Almaty", "observed_until": "2015", "values": series.values }] });
    let (status, answer) = server.post(body.to_string()).await;
    assert_eq!((status.as_u16(), &answer["forecasts"][0]), (200, &expected), "{answer}");
    let mut wrong = body.clone();
    wrong["model_version"] = json!("0123456789abcdef");
    assert_eq!(server.post(wrong.to_string()).await.0.as_u16(), 409);
    let metrics = server.get("/metrics").await.1;
    assert!(
        metrics.contains(&format!(
            "steppe_predict_seconds_count{{model_version=\"{}\"}} 2",
            artifact().version()
        )),
        "{metrics}"
    );
}

#[tokio::test]
async fn what_was_asked_and_answered_is_counted_once() {
    let server = Server::start(Limits::default()).await;
    for _ in 0..3 {
        server.post(ask(json!(["Almaty", "Astana"]))).await;
    }
    let (status, text) = server.get("/drift").await;
    let drift: steppe_wire::drift::ServerDrift = serde_json::from_str(&text).expect("the contract");
    assert_eq!(
        (status.as_u16(), drift.forecasts, &drift.model_version),
        (200, 2, &artifact().version())
    );
    let names: Vec<(&str, u64)> =
        drift.statistics.iter().map(|d| (d.statistic.as_str(), d.count)).collect();
    assert_eq!(names, [("level", 2), ("change", 2), ("forecast", 2), ("width", 2)]);
    assert!(
        drift.statistics.iter().all(|d| !d.drifted && d.reference == 6),
        "two series at three origins: {drift:?}"
    );
    let metrics = server.get("/metrics").await.1;
    let labels = format!("{{model_version=\"{}\",statistic=\"level\"}}", artifact().version());
    assert!(
        metrics.contains(&format!("steppe_drift_psi{labels}"))
            && metrics.contains(&format!("steppe_drift_ks{labels}")),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_version_that_was_just_promoted_answers_at_once_and_any_other_is_refused() {
    let server = Server::start(Limits::default()).await;
    let service = server.service.clone();
    // As the server's own loop, but it would look only after a minute by itself.
    let looking = tokio::spawn(async move {
        loop {
            service.models.time_to_look(std::time::Duration::from_secs(60)).await;
            service.models.reload().await.expect("looks");
        }
    });
    let other = Artifact::train(
        &dataset(),
        &crate::tools::spec().with(|s| s.model.seed = 2),
        &Stage::new(&Quiet),
    )
    .expect("trains");
    put_model(&server.artifacts, &other).await;
    let of = |version: &str| {
        json!({ "region": "Almaty", "dataset_key": "processed/marriages/", "bucket_name": BUCKET, "model_version": version }).to_string()
    };
    let (status, answer) = server.post(of(&other.version())).await;
    assert_eq!(
        (status.as_u16(), answer["model"]["version"].as_str()),
        (200, Some(other.version().as_str())),
        "{answer}"
    );
    let (status, problem) = server.post(of("0123456789abcdef")).await;
    assert_eq!(
        (status.as_u16(), problem["type"].as_str()),
        (409, Some("/problems/wrong-model-version")),
        "{problem}"
    );
    looking.abort();
}

#[tokio::test]
async fn requests_that_are_computed_together_have_the_answers_of_each_alone() {
    let server = Server::start(Limits { working: 64, ..Limits::default() }).await;
    let body = |i: u32| {
        let values: Vec<f64> = (0..8).map(|t| f64::from(100 + i * 7 + t * (i % 5))).collect();
        json!({ "histories": [{ "series": format!("s{i}"), "observed_until": "2015", "values": values }], "horizon": 1 + i % 2 })
            .to_string()
    };
    let mut alone = Vec::new();
    for i in 0..40 {
        alone.push(server.post(body(i)).await.1["forecasts"].clone());
    }
    let together = futures::future::join_all((0..40).map(|i| server.post(body(i)))).await;
    for (alone, (status, together)) in alone.iter().zip(together) {
        assert_eq!((status.as_u16(), &together["forecasts"]), (200, alone));
    }
}
