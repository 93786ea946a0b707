//! The checks of a run at their interface: inputs that are missing, empty, of another form, stale
//! or torn, forecasts that are not whole, and which of several uploads runs.

use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::routing::post;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use steppe_jobs::check::{Answer, Checker, Event};
use steppe_predictor::Predictor;
use steppe_spec::Manifest;
use steppe_wire::keys;

use crate::etl::plan_of;

const MANIFEST: &str = r#"schema_version = 2
name = "load"

[[inputs]]
name = "readings"
delimiter = ";"
skip_lines = 1
unique = ["household", "day"]
columns = { household = { from = "LCLid", type = "string" }, day = "date", kwh = "double" }

[[inputs]]
name = "weather"
format = "json"
unique = ["day"]
columns = { day = { from = "time", type = "date" }, tmax = "double" }

[[tasks]]
name = "demand"
table = "readings"
series = "household"
time = "day"
target = "kwh"
frequency = "daily"
"#;

const READINGS: &str = "Readings\nLCLid;day;kwh;more\nA;2013-06-01;1.5;x\n";
const WEATHER: &str = "{\"time\": \"2013-06-01\"}\n{\"time\": \"2013-06-02\", \"tmax\": 20}\n";
const FIRST: &str = "raw/load/readings/a.csv";

/// The buckets of a deployed stack.
struct Stack {
    artifacts: Arc<InMemory>,
    data: Arc<InMemory>,
}

impl Stack {
    /// With inputs as they should be.
    async fn new() -> Self {
        let stack = Self { artifacts: Arc::default(), data: Arc::default() };
        let manifest = Manifest::parse("load/pipeline.toml", MANIFEST).expect("valid");
        let plan = serde_json::to_vec(&plan_of(&manifest, &[])).expect("JSON");
        stack.artifacts.put(&Path::from("glue/plan.json"), plan.into()).await.expect("stored");
        stack.put(FIRST, READINGS).await;
        stack.put("raw/load/readings/_SUCCESS", "").await;
        stack.put("raw/load/weather/w.json", WEATHER).await;
        stack
    }

    async fn put(&self, key: &str, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref().to_vec();
        self.data.put(&Path::from(key), bytes.into()).await.expect("stored");
    }

    async fn delete(&self, key: &str) {
        self.data.delete(&Path::from(key)).await.expect("deleted");
    }

    async fn ask(&self, event: Value, now: Timestamp) -> Value {
        let (artifacts, data) = (self.artifacts.clone(), self.data.clone());
        let checker = Checker {
            artifacts,
            data,
            pipeline: "load".to_owned(),
            plan_key: "glue/plan.json".to_owned(),
        };
        let event: Event = serde_json::from_value(event).expect("a question");
        let answer: Answer = checker.run(&event, now).await.expect("an answer");
        serde_json::to_value(answer).expect("JSON")
    }

    /// What is wrong with the inputs, after so long.
    async fn inputs_after(&self, hours: i64, limits: Value) -> Vec<String> {
        let now = Timestamp::now() + SignedDuration::from_hours(hours);
        let asked = json!({ "check": "inputs", "limits": { "readings": limits } });
        defects(&self.ask(asked, now).await)
    }

    async fn inputs(&self) -> Vec<String> {
        self.inputs_after(0, json!({ "fresh_within": null, "least_of_last": 0.1 })).await
    }

    /// What is wrong with the forecasts of three series, of which one is left out.
    async fn outputs(&self, version: Option<&str>) -> Vec<String> {
        let asked = json!({
            "check": "outputs", "execution": "arn:e", "started": Timestamp::now(), "all": 3,
            "absent": 1, "model_version": version,
        });
        defects(&self.ask(asked, Timestamp::now()).await)
    }

    async fn turn(&self, check: &str, execution: &str) -> Value {
        let asked = json!({ "check": check, "execution": execution });
        self.ask(asked, Timestamp::now()).await["superseded_by"].take()
    }
}

fn defects(answer: &Value) -> Vec<String> {
    let defects = answer["defects"].as_array().expect("defects").iter();
    defects.map(|defect| defect.as_str().expect("text").to_owned()).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).expect("packed");
    encoder.finish().expect("packed")
}

#[tokio::test]
async fn inputs_as_they_should_be_pass_however_many_and_large() {
    let stack = Stack::new().await;
    assert_eq!(stack.inputs().await, [""; 0]);
    // Other order, a quoted header over two lines, compressed, and longer than what is read of it.
    stack.put("raw/load/readings/b.csv", "x\r\nkwh;more;LCLID;Day\r\n1;x;B;2013-06-01\r\n").await;
    let long = "B;2013-06-02;1.5;x\n".repeat(20_000);
    stack.put("raw/load/readings/c.csv", format!("{READINGS}{long}")).await;
    stack.put("raw/load/readings/d.csv.gz", gzip(&format!("{READINGS}{long}"))).await;
    // Nothing is known of a header that is longer, nor of an object that is.
    let columns = "x".repeat(70_000);
    stack.put("raw/load/readings/e.csv", format!("t\nLCLid;day;kwh;{columns}")).await;
    let other = format!("{{\"more\": \"{columns}\", \"time\": 1, \"tmax\": 2}}\n");
    stack.put("raw/load/weather/v.json", other).await;
    assert_eq!(stack.inputs().await, [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_with_a_file_is_told_with_its_name_and_what_to_do() {
    let csv = "raw/load/readings/b.csv";
    let cases: [(&str, &[u8], &str); 12] = [
        (csv, b"", "raw/load/readings/b.csv: the file is empty\nhint: upload it again"),
        (csv, b"t\n", "b.csv: line 2: the file is empty; expected a header with the columns LCLid"),
        (csv, b"t\nLCLid;day\nA;1\n", "b.csv: line 2: column `kwh` is missing; the header has LC"),
        (csv, b"t\nLCLid,day,kwh\nA,1,2\n", "hint: the header is one column with `,` in it"),
        (csv, b"\xc0\xea\nLCLid;day;kwh;more\n", "b.csv: the text is not UTF-8 (line 1)"),
        (csv, b"PAR1\x15\x04\x15\x10", "b.csv: the file is a Parquet file\nhint: `format ="),
        (csv, b"t\nLCLid;day;kwh;more;new\nA;1;2;3;4\n", "has a column `new`, and raw/load/readin"),
        (csv, b"t\nLCLid;day;kwh\nA;1;2\n", "b.csv: the file has no column `more`, and raw/load/"),
        ("raw/load/readings/b.csv.gz", b"t\nLCLid;day;kwh\n", "of compressed text, gzip is read"),
        ("raw/load/readings/b.csv.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\0", "b.csv.gz: the file is dama"),
        ("raw/load/weather/x.json", b"time,tmax\n1,2\n", "the manifest says `format = \"json\"`"),
        ("raw/load/weather/x.json", b"{\"at\": 1, \"tmax\": 2}\n", "x.json: column `time` is miss"),
    ];
    for (key, bytes, told) in cases {
        let stack = Stack::new().await;
        stack.put(key, bytes).await;
        let said = stack.inputs().await;
        assert!(said.iter().any(|said| said.contains(told)), "{told}\ngot: {said:?}");
        let input = key.split('/').nth(2).expect("an input");
        assert!(said.iter().all(|s| s.starts_with(&format!("input `{input}`: "))), "{said:?}");
    }
    let stack = Stack::new().await;
    stack.delete(FIRST).await;
    stack.put("raw/load/weather/w.json", "[1]\n").await;
    let said = stack.inputs().await;
    assert_eq!(said.len(), 2, "all at once: {said:?}");
    let none = "input `readings`: there are no files at raw/load/readings/\nhint: ";
    assert!(said[0].starts_with(none), "{said:?}");
}

#[tokio::test]
async fn stale_and_torn_inputs_are_refused_unless_somebody_deployed_them() {
    let stack = Stack::new().await;
    let limits = json!({ "fresh_within": "36 hours", "least_of_last": 0.1 });
    assert_eq!(stack.inputs_after(35, limits.clone()).await, [""; 0]);
    let said = stack.inputs_after(73, limits.clone()).await.concat();
    let old = "the newest file, raw/load/readings/a.csv, is 3 days old, of ";
    assert!(said.contains(old) && said.contains("it must be fresh within 36 hours"), "{said}");

    // The run before read ten times as much, and a little more.
    let report = |bytes: usize| {
        json!({ "pipeline": "load", "engine": "x", "inputs": [{
            "name": "readings", "raw_rows": 1, "clean_rows": 1, "rejected_rows": 0,
            "rejected_by_rule": {}, "read": { "objects": 1, "bytes": bytes, "modified": 1 },
        }] })
        .to_string()
    };
    let key = keys::etl_report("load");
    stack.put(&key, report(10 * READINGS.len())).await;
    assert_eq!(stack.inputs().await, [""; 0]);
    stack.put(&key, report(10 * READINGS.len() + 1)).await;
    let said = stack.inputs().await.concat();
    let torn = format!("have {} bytes, and the run before read", READINGS.len());
    assert!(said.contains(&torn) && said.contains("`least_of_last = 0.1`"), "{said}");
    let any = json!({ "fresh_within": null, "least_of_last": 0.0 });
    assert_eq!(stack.inputs_after(0, any).await, [""; 0]);
    // `deploy` notes what it uploaded, which was cleaned and trained on before.
    let uploaded = |tag: &str| json!({ "sha256": "x", "objects": { FIRST: tag } }).to_string();
    let head = stack.data.head(&Path::from(FIRST)).await.expect("there");
    let tag = format!("\"{}\"", head.e_tag.expect("a tag"));
    stack.put(&keys::uploaded("load"), uploaded(&tag)).await;
    assert_eq!(stack.inputs().await, [""; 0]);
    stack.put(&keys::uploaded("load"), uploaded("another")).await;
    assert_eq!(stack.inputs().await.len(), 1);
}

/// A stored forecast with some of its members replaced.
pub fn forecast(series: &str, changes: &[(&str, Value)]) -> String {
    let step = json!({
        "step": 1, "period": "2024", "value": 2.0, "lower": 1.0, "upper": 3.0, "level": 0.9,
    });
    let mut stored = step.clone();
    let own = json!({
        "schema_version": 1, "execution": "arn:e", "series": series, "observed_until": "2023",
        "model_id": "m", "model_version": "v1", "backtest_mae": 1.0, "backtest_rmse": 1.0,
        "backtest_mape": 1.0, "backtest_mase": 1.0, "steps": [step],
    });
    stored.as_object_mut().expect("an object").extend(own.as_object().expect("one").clone());
    for (name, value) in changes {
        stored[*name] = value.clone();
        if stored["steps"][0].get(name).is_some() {
            stored["steps"][0][*name] = value.clone();
        }
    }
    format!("{stored}\n")
}

#[tokio::test]
async fn forecasts_must_be_whole_finite_ordered_and_by_the_model_in_service() {
    let both = || forecast("A", &[]) + &forecast("B", &[]);
    let other = forecast("A", &[("execution", json!("arn:e2")), ("value", json!(9.0))]);
    let stack = Stack::new().await;
    stack.put("predictions/1.json", both()).await;
    stack.put("predictions/2.json", &other).await;
    stack.put("predictions/note.txt", "arn:e").await;
    assert_eq!(stack.outputs(None).await, [""; 0]);
    assert_eq!(stack.outputs(Some("v1")).await, [""; 0]);
    let said = stack.outputs(Some("v2")).await;
    assert_eq!(said.len(), 2);
    assert!(said[0].contains("the forecast of `A` is of model v1, not of v2"), "{said:?}");

    let lower = forecast("B", &[("lower", json!(2.5))]);
    let cases = [
        (forecast("A", &[]), "1 series have a forecast in S3 and 1 are left out, of 3"),
        (both() + &forecast("A", &[]), "there is another forecast of `A`"),
        (forecast("A", &[]) + &lower, "the forecast of `B`: step 1: 2 is not within [2.5, 3]"),
        (both() + &forecast("C", &[]), "3 series have a forecast in S3 and 1 are left out, of 3"),
        // JSON has no NaN; who writes one anyway writes `null`, or no JSON.
        (both() + &forecast("C", &[("value", json!(null))]), "a line is no forecast"),
        (both().replace("\"value\":2.0", "\"value\":NaN"), "a line is no forecast"),
        (both().replace("\"value\":2.0", "\"value\":1e999"), "a line is no forecast"),
    ];
    for (text, told) in cases {
        stack.put("predictions/1.json", text).await;
        let said = stack.outputs(None).await;
        assert!(said.iter().any(|said| said.contains(told)), "{told}\ngot: {said:?}");
    }
}

/// What the predictor says of a server's answer; then nothing is stored.
async fn predicted(answer: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let app = Router::new().route("/predict", post(move || async move { answer }));
    tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
    let store: Arc<InMemory> = Arc::default();
    let predictor = Predictor::new(&url, store.clone(), "b", "region").expect("a URL");
    let event = json!({ "series": ["A", "B"], "dataset_key": "k/", "bucket_name": "b" });
    let event = event.as_object().expect("an object");
    let said = predictor.handle(event, "r", None).await;
    let stored = store.list(None).count().await;
    assert_eq!(stored, usize::from(said.is_ok()));
    said.map_or_else(|failure| failure.to_string(), |_| String::new())
}

#[tokio::test]
async fn a_server_that_answers_no_numbers_or_lacks_a_series_is_not_believed() {
    let errors = json!({ "mae": 1, "rmse": 1, "mape": 1, "mase": 1, "smape": 1 });
    let forecast = |series: &str, upper: f64| {
        json!({ "series": series, "observed_until": "2023", "last_value": 1, "steps": [{
            "step": 1, "period": "2024", "value": 2.5, "lower": 1, "upper": upper, "level": 0.9,
        }] })
    };
    let answer = |forecasts: [Value; 2]| {
        let model = json!({ "id": "m", "version": "v", "backtest": errors });
        json!({ "forecasts": forecasts, "model": model, "seconds": 0.1 }).to_string()
    };
    let right = answer([forecast("A", 3.0), forecast("B", 3.0)]);
    assert_eq!(predicted(right.clone()).await, "");
    for (answer, told) in [
        (right.replace("2.5", "NaN"), "the model server's answer breaks the contract"),
        (right.replace("2.5", "null"), "the model server's answer breaks the contract"),
        (answer([forecast("A", 3.0), forecast("B", 2.0)]), "2.5 is not within [1, 2]"),
        (answer([forecast("A", 3.0), forecast("A", 3.0)]), "without a word about `B`"),
        (
            right.replace(&format!(",{}", forecast("B", 3.0)), ""),
            "answered 1 forecasts and left out 0 of 2 series",
        ),
    ] {
        let said = predicted(answer).await;
        assert!(said.contains(told), "{told}\ngot: {said}");
    }
}

#[tokio::test]
async fn of_several_executions_the_last_one_runs() {
    let stack = Stack::new().await;
    assert_eq!(stack.turn("turn", "arn:1").await, json!(null), "nobody else is known");
    for execution in ["arn:1", "arn:2", "arn:3"] {
        assert_eq!(stack.turn("arrived", execution).await, json!(null));
    }
    let mut turns = Vec::new();
    for execution in ["arn:2", "arn:3", "arn:1"] {
        turns.push(stack.turn("turn", execution).await);
    }
    assert_eq!(turns, [json!("arn:3"), json!(null), json!("arn:3")]);
}
