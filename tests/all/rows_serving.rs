//! The model server and the predictor about rows, at their interfaces: every form of question and
//! answer, and every refusal.

mod forms;
mod refusals;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::BodyExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde_json::{Map, Value, json};
use steppe_model::artifact::Artifact;
use steppe_model::host::{Quiet, Stage};
use steppe_model::rows::table::{Column, Table};
use steppe_model::tabular::data::Rows;
use steppe_model::tabular::{Asked, Tabular};
use steppe_predictor::Predictor;
use steppe_server::config::Limits;
use steppe_server::datasets::Datasets;
use steppe_server::guard::Hosts;
use steppe_server::model_store::ModelStore;
use steppe_server::routes::router;
use steppe_server::service::Service;
use steppe_spec::tabular::{TabularKind, TabularSpec};
use steppe_spec::{ColumnType, Family, Kind};
use steppe_wire::keys::{self, CARD_FILE, WEIGHTS_FILE};
use steppe_wire::predict::ModelPointer;
use steppe_wire::score::{ScoreRequest, ScoreResponse, ScoredRow};
use tower::ServiceExt;

use crate::tools::clean_table;

const BUCKET: &str = "data";
const PIPELINE: &str = "health";
const JSON: &str = "application/json";
/// Columns that models see.
const COLUMNS: [(&str, ColumnType); 5] = [
    ("sex", ColumnType::String),
    ("age", ColumnType::Double),
    ("smoker", ColumnType::Boolean),
    ("seen", ColumnType::Date),
    ("bmi", ColumnType::Double),
];

/// Three hundred people, of whom the old and the smoking are ill more often.
static TABLE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut rng = fastrand::Rng::with_seed(3);
    let mut csv = "id,sex,age,smoker,seen,bmi,ill,stage,days\n".to_owned();
    for id in 0..300 {
        let (age, smoker) = (20 + rng.u32(..60), rng.bool());
        let ill = rng.u32(..100) < age + if smoker { 15 } else { 0 } - 20;
        let stage = ["early", "late", "none"][if ill { rng.usize(..2) } else { 2 }];
        let (sex, day) = (["f", "m"][rng.usize(..2)], 1 + rng.u32(..28));
        let bmi = if id % 9 == 0 { String::new() } else { format!("{}.5", 18 + rng.u32(..20)) };
        let days = f64::from(age) * 0.5 + 20.0 * rng.f64();
        csv.push_str(&format!(
            "p{id},{sex},{age},{smoker},2025-03-{day:02},{bmi},{},{stage},{days:.2}\n",
            u8::from(ill)
        ));
    }
    let columns = [
        ("id", "string"),
        ("sex", "string"),
        ("age", "double"),
        ("smoker", "boolean"),
        ("seen", "date"),
        ("bmi", "double"),
        ("ill", "int"),
        ("stage", "string"),
        ("days", "double"),
    ];
    clean_table(&csv, &columns)
});

static LOGISTIC: LazyLock<Artifact<Tabular>> = LazyLock::new(|| trained(&spec(Family::Logistic)));

fn spec(family: Family) -> TabularSpec {
    TabularSpec::new(PIPELINE, TabularKind::Classification, "ill", &COLUMNS).with(|spec| {
        spec.name = "risk".to_owned();
        spec.task.entity = Some("id".to_owned());
        spec.task.ignore = vec!["stage".to_owned(), "days".to_owned()];
        spec.task.model.kind = Kind::Of(family);
        spec.task.model.candidates = Some(vec![]);
        spec.task.model.forest.trees = 20;
    })
}

fn trained(spec: &TabularSpec) -> Artifact<Tabular> {
    let rows = Rows::learnt(spec, vec![TABLE.clone()]).expect("rows");
    Artifact::train(&rows, spec, &Stage::new(&Quiet)).expect("trains")
}

/// Puts an artifact into service.
async fn put(store: &InMemory, version: &str, files: [&[u8]; 2], pointer: &ModelPointer) {
    let objects = [
        (keys::model_file(PIPELINE, version, CARD_FILE), files[0].to_vec()),
        (keys::model_file(PIPELINE, version, WEIGHTS_FILE), files[1].to_vec()),
        (keys::model_pointer(PIPELINE), serde_json::to_vec(pointer).expect("JSON")),
    ];
    for (key, bytes) in objects {
        store.put(&Path::from(key), bytes.into()).await.expect("stored");
    }
}

async fn put_rows(store: &InMemory, artifact: &Artifact<Tabular>) {
    let files = [&artifact.card_bytes[..], &artifact.weights_bytes[..]];
    put(store, &artifact.version(), files, &artifact.pointer()).await;
}

/// An answer: status, content type, body.
struct Answer {
    status: u16,
    kind: String,
    body: Bytes,
    headers: axum::http::HeaderMap,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    fn scored(&self) -> ScoreResponse {
        assert_eq!(self.status, 200, "{}", self.text());
        serde_json::from_slice(&self.body).expect("the contract")
    }
}

/// A model server with its buckets in memory.
struct Server {
    service: Arc<Service<Tabular>>,
    artifacts: Arc<InMemory>,
}

impl Server {
    async fn start() -> Self {
        Self::with(&LOGISTIC, Limits::default()).await
    }

    async fn with(artifact: &Artifact<Tabular>, limits: Limits) -> Self {
        let (artifacts, data) = (Arc::new(InMemory::new()), Arc::new(InMemory::new()));
        put_rows(&artifacts, artifact).await;
        let table = Path::from("processed/people/part-00000.parquet");
        data.put(&table, TABLE.clone().into()).await.expect("stored");
        let bucket = artifacts.clone() as Arc<dyn ObjectStore>;
        let models = ModelStore::open(bucket, PIPELINE).await.expect("a model");
        let datasets = Datasets::new(data, limits.dataset_bytes);
        let service = Service::new(models, datasets, BUCKET, limits).expect("metrics");
        Self { service, artifacts }
    }

    async fn ask(&self, request: Request<Body>) -> Answer {
        let app = router(self.service.clone(), Hosts::default());
        let response = app.oneshot(request).await.expect("an answer");
        let (head, body) = response.into_parts();
        let kind = head.headers.get(header::CONTENT_TYPE);
        Answer {
            status: head.status.as_u16(),
            kind: kind.map_or("", |kind| kind.to_str().expect("a type")).to_owned(),
            body: body.collect().await.expect("a body").to_bytes(),
            headers: head.headers,
        }
    }

    async fn post(&self, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        self.post_for(path, kind, "*/*", body).await
    }

    async fn post_for(
        &self,
        path: &str,
        kind: &str,
        accept: &str,
        body: impl Into<Body>,
    ) -> Answer {
        let request = Request::post(path).header("host", "localhost");
        let request = request.header("content-type", kind).header("accept", accept);
        self.ask(request.body(body.into()).expect("a request")).await
    }

    async fn get(&self, path: &str) -> Answer {
        let request = Request::get(path).header("host", "localhost").body(Body::empty());
        self.ask(request.expect("a request")).await
    }

    async fn predict(&self, body: &Value) -> Answer {
        self.post("/predict", JSON, body.to_string()).await
    }
}

fn row() -> Value {
    json!({ "sex": "f", "age": 61, "smoker": true, "seen": "2025-03-04", "bmi": 27.5 })
}

/// The same row as a table.
fn table() -> Table {
    let mut table = Table::new(1);
    let day = Column::Number(vec![20_151.0]);
    let columns = [
        ("sex", Column::category([Some("f")])),
        ("age", Column::Number(vec![61.0])),
        ("smoker", Column::Boolean(vec![Some(true)])),
        ("seen", day),
        ("bmi", Column::Number(vec![27.5])),
    ];
    for (name, column) in columns {
        table.push(name, column).expect("a column");
    }
    table
}

/// What the model says of that row.
fn expected() -> f64 {
    let answers = LOGISTIC.of_table(&table(), Asked { reasons: false }).expect("answers");
    answers[0].answers[0]
}

fn entities(names: &[&str]) -> Value {
    json!({ "entities": names, "dataset_key": "processed/people/", "bucket_name": BUCKET })
}

/// The row with some of its values replaced.
fn with(changed: Value) -> Value {
    let mut row = row();
    for (name, value) in changed.as_object().expect("an object") {
        row[name] = value.clone();
    }
    row
}

#[tokio::test]
async fn a_row_has_the_same_answer_at_every_path() {
    let server = Server::start().await;
    let body = json!({ "rows": [row()] }).to_string();
    for path in ["/predict", "/models/risk/predict", "/invocations"] {
        let answer = server.post(path, JSON, body.clone()).await.scored();
        let ScoredRow { probability, label, threshold, reasons, .. } = &answer.rows[0];
        assert_eq!((answer.rows.len(), *probability), (1, Some(expected())), "{path}");
        assert_eq!(*threshold, LOGISTIC.card.section.threshold);
        let yes = expected() >= threshold.expect("of two classes");
        assert_eq!(label.as_deref(), Some(if yes { "1" } else { "0" }));
        assert!(reasons.is_none(), "they were not asked for");
        assert_eq!(answer.model.version, LOGISTIC.version());
    }
    let other = server.post("/models/other/predict", JSON, body).await;
    assert_eq!((other.status, &other.json()["type"]), (404, &json!("/problems/not-found")));
    assert!(other.text().contains("this server has `risk`"), "{}", other.text());
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("steppe_forecasts_total 3"), "{metrics}");
    assert!(metrics.contains("path=\"/models/predict\",status=\"200\"} 1"), "{metrics}");
}

#[tokio::test]
async fn everything_that_a_table_has_may_be_in_a_row_and_every_value_may_be_missing() {
    let server = Server::start().await;
    let whole = with(json!({ "id": 17, "ill": 1, "stage": ["x"], "days": null }));
    let missing = json!({ "bmi": null, "seen": null, "smoker": null, "age": null, "sex": null });
    let whole_numbers = with(json!({ "age": 61.0, "smoker": 1, "id": null }));
    let body = json!({ "rows": [whole, missing, whole_numbers] });
    let answer = server.predict(&body).await.scored();
    let entity = |row: usize| answer.rows[row].entity.as_deref();
    assert_eq!([entity(0), entity(1), entity(2)], [Some("17"), None, None]);
    assert_eq!(answer.rows[0].probability, Some(expected()));
    assert_eq!(answer.rows[2].probability, Some(expected()));
    assert!(answer.rows[1].probability.is_some_and(|p| p > 0.0 && p < 1.0));
    let huge = with(json!({ "age": serde_json::Number::from(u64::MAX) }));
    assert_eq!(server.predict(&json!({ "rows": [huge] })).await.status, 200);
}

#[tokio::test]
async fn a_data_set_is_asked_by_entity() {
    let server = Server::start().await;
    let body = entities(&["p9", "p4", "p9"]);
    let answer = server.predict(&body).await.scored();
    let names: Vec<_> = answer.rows.iter().map(|row| row.entity.as_deref()).collect();
    assert_eq!(names, [Some("p9"), Some("p4"), Some("p9")]);
    assert_eq!(answer.rows[0], answer.rows[2]);
    let data = Rows::asked(&LOGISTIC.card.spec, vec![TABLE.clone()]).expect("rows");
    let one = data.table.select(&[data.find("p4").expect("a row")]);
    let direct = LOGISTIC.of_table(&one, Asked { reasons: false }).expect("answers");
    assert_eq!(answer.rows[1].probability, Some(direct[0].answers[0]));
    let metrics = server.get("/metrics").await.text();
    assert!(metrics.contains("steppe_dataset_loads_total 1"), "{metrics}");
}

#[tokio::test]
async fn reasons_are_all_columns_and_add_up_to_the_margin() {
    let server = Server::start().await;
    let rows = json!({ "rows": [row(), with(json!({ "sex": "x" }))], "explain": true });
    let answer = server.predict(&rows).await.scored();
    let ScoredRow { reasons, base, unknown_levels, .. } = &answer.rows[0];
    let (reasons, base) = (reasons.as_ref().expect("reasons"), base.expect("a base"));
    let margin = base + reasons.iter().map(|reason| reason.effect).sum::<f64>();
    let calibrated = LOGISTIC.card.section.calibration[0].apply(1.0 / (1.0 + (-margin).exp()));
    assert!((calibrated - expected()).abs() < 1e-9, "{calibrated} instead of {}", expected());
    let mut names: Vec<&str> = reasons.iter().map(|reason| reason.column.as_str()).collect();
    assert!(reasons.is_sorted_by(|a, b| a.effect.abs() >= b.effect.abs()), "{reasons:?}");
    names.sort_unstable();
    assert_eq!(names, ["age", "bmi", "seen", "sex", "smoker"]);
    let of = |name: &str| &reasons.iter().find(|r| r.column == name).expect("it").value;
    assert_eq!([of("age"), of("smoker"), of("sex")], [&json!(61), &json!(true), &json!("f")]);
    assert!(unknown_levels.is_empty());
    assert_eq!(answer.rows[1].unknown_levels, ["sex"]);
}

#[tokio::test]
async fn a_threshold_decides_and_has_to_be_a_probability() {
    let server = Server::start().await;
    for (threshold, label) in [(0.0, "1"), (1.0, "0")] {
        let body = json!({ "rows": [row()], "threshold": threshold });
        let row = server.predict(&body).await.scored().rows.remove(0);
        assert_eq!((row.threshold, row.label.as_deref()), (Some(threshold), Some(label)));
    }
    for threshold in [-0.1, 1.5] {
        let answer = server.predict(&json!({ "rows": [row()], "threshold": threshold })).await;
        assert_eq!(answer.status, 400);
        assert!(answer.text().contains("expected a probability, 0 to 1"), "{}", answer.text());
    }
}

/// Tensors of the row, twice, as JSON.
fn tensors() -> Value {
    let one = |name: &str, kind: &str, value: Value| json!({ "name": name, "shape": [2], "datatype": kind, "data": [value, value] });
    json!([
        one("sex", "BYTES", json!("f")),
        one("age", "FP64", json!(61)),
        one("smoker", "FP64", json!(1)),
        one("seen", "FP32", json!(20_151)),
        { "name": "bmi", "shape": [2, 1], "datatype": "FP64", "data": [[27.5], [null]] },
    ])
}

async fn infer(server: &Server, body: &Value) -> Answer {
    server.post("/v2/models/risk/infer", JSON, body.to_string()).await
}

/// Asserts that each body is refused, and that the refusal says how and where.
async fn refused(server: &Server, kind: &str, path: &str, cases: &[(String, u16, &str, &str)]) {
    for (body, status, problem, said) in cases {
        let answer = server.post(path, kind, body.clone()).await;
        let told = answer.json();
        let expected = (*status, format!("/problems/{problem}"));
        let got = (answer.status, told["type"].as_str().unwrap_or_default().to_owned());
        assert_eq!(got, expected, "{body}: {told}");
        assert_eq!(answer.kind, "application/problem+json");
        let detail = told["detail"].as_str().unwrap_or_default();
        assert!(detail.contains(said), "{body}: `{detail}` lacks `{said}`");
    }
}

fn rows(rows: &[Value]) -> String {
    json!({ "rows": rows }).to_string()
}

#[tokio::test]
async fn what_takes_long_goes_to_a_thread_of_its_own_and_meets_the_deadline() {
    let forest = trained(&spec(Family::RandomForest));
    // No thread is there for long work, so what needs one waits until the deadline.
    let limits = Limits { working: 0, deadline: Duration::from_millis(100), ..Limits::default() };
    let server = Server::with(&forest, limits).await;
    let plain = server.predict(&json!({ "rows": [row()] })).await;
    assert_eq!(plain.status, 200, "{}", plain.text());
    let explained = server.predict(&json!({ "rows": [row()], "explain": true })).await;
    assert_eq!((explained.status, &explained.json()["type"]), (503, &json!("/problems/deadline")));
    let many = server.predict(&json!({ "rows": vec![row(); 65] })).await;
    assert_eq!(many.status, 503);

    let server = Server::with(&forest, Limits::default()).await;
    let body = json!({ "rows": [row()], "explain": true });
    let scored = server.predict(&body).await.scored().rows.remove(0);
    let sum: f64 = scored.reasons.expect("reasons").iter().map(|reason| reason.effect).sum();
    let share = scored.base.expect("a base") + sum;
    let calibrated = forest.card.section.calibration[0].apply(share);
    assert!((calibrated - scored.probability.expect("it")).abs() < 1e-9, "{share} {calibrated}");
}

#[tokio::test]
async fn several_classes_and_numbers_are_answered_in_their_forms() {
    let stage = spec(Family::Logistic).with(|spec| {
        spec.task.target = "stage".to_owned();
        spec.task.ignore = vec!["ill".to_owned(), "days".to_owned()];
    });
    let stage = trained(&stage);
    let server = Server::with(&stage, Limits::default()).await;
    let row_told = server.predict(&json!({ "rows": [row()] })).await.scored().rows.remove(0);
    let labels: Vec<&str> = row_told.probabilities.keys().map(String::as_str).collect();
    assert_eq!(labels, ["early", "late", "none"]);
    assert!((row_told.probabilities.values().sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(row_told.probability.is_none() && row_told.threshold.is_none());
    let line = server.post("/invocations", "text/csv", "f,61,true,2025-03-04,27.5").await.text();
    let told: Vec<String> = row_told.probabilities.values().map(f64::to_string).collect();
    assert_eq!(line.trim_end(), told.join(","));
    let tensors = infer(&server, &json!({ "inputs": tensors() })).await.json();
    assert_eq!(tensors["outputs"][0]["name"], "probabilities");
    assert_eq!(tensors["outputs"][0]["shape"], json!([2, 3]));
    let body = json!({ "rows": [row()], "threshold": 0.5 }).to_string();
    let said = "`threshold` is of two classes";
    refused(&server, JSON, "/predict", &[(body, 400, "invalid-request", said)]).await;

    let days = spec(Family::Linear).with(|spec| {
        spec.task.kind = TabularKind::Regression;
        spec.task.target = "days".to_owned();
        spec.task.ignore = vec!["ill".to_owned(), "stage".to_owned()];
    });
    let server = Server::with(&trained(&days), Limits::default()).await;
    let told = server.predict(&json!({ "rows": [row()] })).await.scored().rows.remove(0);
    let value = told.value.expect("a number");
    assert!((value - 40.5).abs() < 5.0, "{value} instead of about 40");
    assert!(told.label.is_none() && told.probability.is_none());
    let metadata = server.get("/v2/models/risk").await.json();
    let outputs = metadata["outputs"].as_array().expect("a list");
    assert_eq!((outputs.len(), &outputs[0]["name"]), (2, &json!("value")));
    let beyond = with(json!({ "age": 1e308, "bmi": 1e308 }));
    let answer = server.predict(&json!({ "rows": [row(), beyond] })).await;
    assert_eq!((answer.status, &answer.json()["type"]), (422, &json!("/problems/not-finite")));
    assert!(answer.text().contains("about `rows[1]` is not a finite"), "{}", answer.text());
}

#[tokio::test]
async fn new_models_are_taken_up_and_those_of_another_task_are_not() {
    let server = Server::start().await;
    let before = server.predict(&entities(&["p3"])).await.scored();
    let other = trained(&spec(Family::Logistic).with(|spec| {
        spec.columns.pop();
        spec.task.ignore.push("bmi".to_owned());
    }));
    put_rows(&server.artifacts, &other).await;
    let taken = server.service.models.reload().await.expect("a model");
    assert_eq!(taken, Some(other.version()));
    let mut short = row();
    short.as_object_mut().expect("an object").remove("bmi");
    let body = json!({ "rows": [short, row()], "model_version": other.version() });
    let answer = server.predict(&body).await.scored();
    assert_eq!(answer.rows[0], answer.rows[1], "`bmi` is set aside now");
    let after = server.predict(&entities(&["p3"])).await.scored();
    assert_ne!(after.rows, before.rows, "the data set is read as the new model sees it");
    let old = json!({ "rows": [row()], "model_version": LOGISTIC.version() });
    assert_eq!(server.predict(&old).await.status, 409);

    let forecasts = crate::tools::artifact();
    let files = [&forecasts.card_bytes[..], &forecasts.weights_bytes[..]];
    put(&server.artifacts, &forecasts.version(), files, &forecasts.pointer()).await;
    let refused = server.service.models.reload().await.expect_err("another task");
    let said = format!("{refused:#}");
    assert!(said.contains("this server began with one for `tabular`; start it again"), "{said}");
    assert_eq!(server.service.models.current().model_ref.version, other.version());
    assert_eq!(server.predict(&body).await.status, 200);
}

async fn predictor(server: &Server) -> Predictor<Arc<InMemory>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = router(server.service.clone(), Hosts::default());
    tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
    let store = Arc::new(InMemory::new());
    Predictor::new(&format!("http://{address}"), store, BUCKET, "id").expect("a URL")
}

fn event(request: &ScoreRequest) -> Map<String, Value> {
    let value = serde_json::to_value(request).expect("JSON");
    value.as_object().expect("an object").clone()
}

#[tokio::test]
async fn the_predictor_hands_on_what_the_server_answers() {
    let server = Server::start().await;
    let predictor = predictor(&server).await;
    let ask = ScoreRequest {
        entities: vec!["p5".to_owned()],
        dataset_key: Some("processed/people/".to_owned()),
        bucket_name: Some(BUCKET.to_owned()),
        explain: true,
        threshold: Some(0.3),
        model_version: Some(LOGISTIC.version()),
        ..ScoreRequest::default()
    };
    let event_of = |ask: &ScoreRequest| event(ask);
    let answer = predictor.score(&event_of(&ask), "r", None).await.expect("an answer");
    let direct = server.predict(&serde_json::to_value(&ask).expect("JSON")).await.scored();
    assert_eq!((&answer.rows, &answer.model), (&direct.rows, &direct.model));
    let of_rows = ScoreRequest {
        rows: vec![row().as_object().expect("an object").clone()],
        ..ScoreRequest::default()
    };
    let answer = predictor.score(&event_of(&of_rows), "r", None).await.expect("an answer");
    assert_eq!(answer.rows[0].probability, Some(expected()));

    for (ask, kind, said) in [
        (
            ScoreRequest { bucket_name: Some("theirs".to_owned()), ..ask.clone() },
            "PermanentError",
            "bucket `theirs` is not this pipeline's",
        ),
        (
            ScoreRequest { entities: vec!["P 17".to_owned()], ..ask.clone() },
            "PermanentError",
            "did you mean `p17`?",
        ),
        (
            ScoreRequest { model_version: Some("0123456789abcdef".to_owned()), ..of_rows },
            "RetryableError",
            "is not in service",
        ),
    ] {
        let error = predictor.score(&event_of(&ask), "r", None).await.expect_err("refused");
        assert_eq!(error.error_type(), kind, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let unknown = json!({ "row": {} });
    let unknown = unknown.as_object().expect("an object");
    let error = predictor.score(unknown, "r", None).await.expect_err("refused");
    assert!(error.to_string().contains("unknown field `row`"), "{error}");
}
