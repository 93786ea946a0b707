//! The predictor: asks the model server for forecasts and stores them in S3, one series or a group
//! of them at a time, a line each.
//!
//! About rows it asks, and hands on what the server answers without storing it. It computes nothing
//! itself. A retry of the same execution writes the same object, and its errors are of two types,
//! so that the state machine can retry only what may succeed later.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use steppe_wire::failure::Failure;
use steppe_wire::hint::Hinted;
use steppe_wire::predict::{
    LeftOut, PredictRequest, PredictResponse, PredictorOutput, StoredPrediction, Summary,
};
use steppe_wire::problem::Problem;
use steppe_wire::score::{ScoreRequest, ScoreResponse};
use steppe_wire::{edge, keys};

/// Longest wait for the model server.
const SERVER_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest name of an execution; those of Step Functions have at most 256 bytes.
const EXECUTION_BYTES_MAX: usize = 512;
/// Largest answer that is read: Lambda hands on at most 6 MB.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the state machine sends: the contract's three fields, the execution, and the version of the
/// model that has to answer. A group of series is named under `series`.
#[derive(Debug, Clone)]
pub struct Input {
    series: Vec<String>,
    /// Whether the event named one series, by the pipeline's own column.
    single: bool,
    /// Whether the answer says what people are told of the forecasts.
    shown: bool,
    dataset_key: String,
    bucket_name: String,
    execution: String,
    model_version: Option<String>,
}

impl Input {
    /// Parses an event. `request_id` stands in for the execution when somebody invokes the function
    /// directly.
    pub fn parse(
        event: &Map<String, Value>,
        series_field: &str,
        request_id: &str,
    ) -> Result<Self, Failure> {
        let known = [
            series_field,
            "series",
            "shown",
            "dataset_key",
            "bucket_name",
            "execution",
            "model_version",
        ];
        if let Some(unknown) = event.keys().find(|k| !known.contains(&k.as_str())) {
            return Err(Failure::permanent(format!(
                "unknown field `{unknown}`; expected {}",
                known.join(", ")
            )));
        }
        let text = |name: &str| match event.get(name).and_then(Value::as_str) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(Failure::permanent(format!(
                "`{name}` is missing; expected a string that is not empty"
            ))),
        };
        let model_version = match event.get("model_version") {
            None | Some(Value::Null) => None,
            Some(_) => Some(text("model_version")?),
        };
        let single = !event.contains_key("series") || series_field == "series";
        let shown = event.get("shown").and_then(Value::as_bool).unwrap_or(true);
        let names = |value: &Value| -> Option<Vec<String>> {
            value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let group = event.get("series").and_then(names).filter(|names| !names.is_empty());
        let series = match group {
            Some(group) if !event.contains_key(series_field) || series_field == "series" => group,
            _ => vec![text(series_field)?],
        };
        let input = Self {
            single: single && series.len() == 1,
            shown,
            series,
            dataset_key: text("dataset_key")?,
            bucket_name: text("bucket_name")?,
            execution: text("execution").unwrap_or_else(|_| request_id.to_owned()),
            model_version,
        };
        input.check().map_err(Failure::permanent)?;
        Ok(input)
    }

    /// What the model server would refuse is not sent to it.
    fn check(&self) -> Result<(), String> {
        edge::check_key(&self.dataset_key).map_err(|e| e.to_string())?;
        if let Some(version) = &self.model_version {
            edge::check_version(version).map_err(|e| e.to_string())?;
        }
        let bytes = self.execution.len();
        if bytes > EXECUTION_BYTES_MAX {
            return Err(format!("`execution` has {bytes} bytes; at most {EXECUTION_BYTES_MAX}"));
        }
        Ok(())
    }
}

/// The function between invocations: one connection to the server, one client for S3.
pub struct Predictor<S> {
    http: Client<HttpConnector, Full<Bytes>>,
    predict_url: http::Uri,
    store: S,
    bucket: String,
    series_field: String,
}

impl<S: ObjectStore> Predictor<S> {
    /// A predictor that asks `server_url` and writes to `store`, which is the bucket named
    /// `bucket`.
    pub fn new(
        server_url: &str,
        store: S,
        bucket: &str,
        series_field: &str,
    ) -> Result<Self, http::uri::InvalidUri> {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(Duration::from_secs(3)));
        Ok(Self {
            http: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1).build(connector),
            predict_url: format!("{}/predict", server_url.trim_end_matches('/')).parse()?,
            store,
            bucket: bucket.to_owned(),
            series_field: series_field.to_owned(),
        })
    }

    /// Handles one event.
    pub async fn handle(
        &self,
        event: &Map<String, Value>,
        request_id: &str,
        trace_id: Option<&str>,
    ) -> Result<PredictorOutput, Failure> {
        let input = Input::parse(event, &self.series_field, request_id)?;
        if input.bucket_name != self.bucket {
            let message = format!(
                "bucket `{}` is not this pipeline's; it writes only to `{}`",
                input.bucket_name, self.bucket
            );
            return Err(Failure::permanent(message));
        }
        let answer = self.ask(&input, trace_id).await?;
        let (asked, forecast, left_out) =
            (input.series.len(), answer.forecasts.len(), answer.left_out.len());
        let broken = |why: String| Failure::permanent(format!("the model server answered {why}"));
        if asked != forecast + left_out {
            return Err(broken(format!(
                "{forecast} forecasts and left out {left_out} of {asked} series"
            )));
        }
        let answered = answer.forecasts.iter().map(|forecast| &forecast.series);
        let answered: BTreeSet<&String> =
            answered.chain(answer.left_out.iter().map(|left_out| &left_out.series)).collect();
        if let Some(missing) = input.series.iter().find(|name| !answered.contains(name)) {
            return Err(broken(format!("without a word about `{missing}`, which was asked for")));
        }
        let record = |forecast| {
            let stored = StoredPrediction::new(&input.execution, forecast, &answer.model)
                .ok_or_else(|| broken("a forecast without steps".to_owned()))?;
            match stored.defect() {
                Some(defect) => Err(broken(format!("a forecast that is none: {defect}"))),
                None => Ok(stored),
            }
        };
        let records: Vec<StoredPrediction> =
            answer.forecasts.iter().map(record).collect::<Result<_, _>>()?;
        let key = keys::prediction(&keys::prediction_id(&input.execution, &input.series[0]));
        if !records.is_empty() {
            self.store(&key, &records).await?;
        }
        let shown = records.iter().filter(|_| input.shown);
        Ok(PredictorOutput {
            s3_path: (!records.is_empty()).then(|| format!("s3://{}/{key}", self.bucket)),
            count: records.len(),
            forecasts: shown.map(|record| Summary::of(record, &key)).collect(),
            left_out: answer.left_out.iter().map(LeftOut::shortened).collect(),
            forecast: records.into_iter().next().filter(|_| input.single),
        })
    }

    /// Handles one event about rows: the server's answer is this function's.
    pub async fn score(
        &self,
        event: &Map<String, Value>,
        request_id: &str,
        trace_id: Option<&str>,
    ) -> Result<ScoreResponse, Failure> {
        let request: ScoreRequest = serde_json::from_value(Value::Object(event.clone()))
            .map_err(|e| Failure::permanent(format!("the event is not a request: {e}")))?;
        check_rows(&request, &self.bucket).map_err(Failure::permanent)?;
        let answer: ScoreResponse = self.post(&request, request_id, trace_id).await?;
        let (asked, answered) = (request.rows.len() + request.entities.len(), answer.rows.len());
        match asked == answered {
            true => Ok(answer),
            false => Err(Failure::permanent(format!(
                "the model server answered about {answered} of {asked} rows"
            ))),
        }
    }

    async fn ask(&self, input: &Input, trace_id: Option<&str>) -> Result<PredictResponse, Failure> {
        let (bucket, data_set) = (&input.bucket_name, &input.dataset_key);
        let request = match input.series.as_slice() {
            [one] if input.single => PredictRequest::one(&self.series_field, one, bucket, data_set),
            several => PredictRequest::several(several, bucket, data_set),
        };
        let request = PredictRequest { model_version: input.model_version.clone(), ..request };
        self.post(&request, &input.execution, trace_id).await
    }

    /// What the model server answers.
    async fn post<A: DeserializeOwned>(
        &self,
        request: &impl Serialize,
        execution: &str,
        trace_id: Option<&str>,
    ) -> Result<A, Failure> {
        let retryable = |e: &dyn std::fmt::Display| {
            Failure::retryable(format!(
                "the model server at {} did not answer: {e}",
                self.predict_url
            ))
        };
        let body = serde_json::to_vec(request).map_err(|e| Failure::permanent(e.to_string()))?;
        if body.len() > edge::BODY_BYTES_MAX {
            let (bytes, most) = (body.len(), edge::BODY_BYTES_MAX);
            let message = format!("the request has {bytes} bytes; the server takes at most {most}");
            return Err(Failure::permanent(Hinted::new(message, "ask about fewer at a time")));
        }
        // The same id in the function's trace and in the server's access log.
        let trace = trace_id
            .and_then(|id| http::HeaderValue::from_str(id).ok())
            .map(|id| ("x-amzn-trace-id", id));
        let mut request = http::Request::post(&self.predict_url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .header(
                "x-steppe-execution",
                http::HeaderValue::from_str(execution)
                    .unwrap_or(http::HeaderValue::from_static("invalid")),
            );
        if let Some((name, id)) = trace {
            request = request.header(name, id);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| Failure::permanent(e.to_string()))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|e| retryable(&e))?;
            let status = response.status();
            let body = http_body_util::Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let bytes = body.collect().await.map_err(|e| match e.is::<LengthLimitError>() {
                true => too_large(),
                false => retryable(&e),
            });
            let bytes = bytes?.to_bytes();
            Ok((status, bytes))
        };
        let (status, bytes) =
            tokio::time::timeout(SERVER_TIMEOUT, exchange).await.map_err(|e| retryable(&e))??;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|e| {
                Failure::permanent(format!("the model server's answer breaks the contract: {e}"))
            });
        }
        Err(refusal(status.as_u16(), &bytes))
    }

    async fn store(&self, key: &str, records: &[StoredPrediction]) -> Result<(), Failure> {
        let mut lines = Vec::new();
        for record in records {
            serde_json::to_writer(&mut lines, record)
                .map_err(|e| Failure::permanent(e.to_string()))?;
            lines.push(b'\n');
        }
        match self.store.put(&Path::from(key), lines.into()).await {
            Ok(_) => Ok(()),
            Err(
                error @ (object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }),
            ) => Err(Failure::permanent(format!("writing `{key}` was denied: {error}"))),
            Err(error) => Err(Failure::retryable(format!("writing `{key}` failed: {error}"))),
        }
    }
}

/// What the model server would refuse is not sent to it.
fn check_rows(request: &ScoreRequest, own: &str) -> Result<(), String> {
    if let Some(bucket) = request.bucket_name.as_ref().filter(|name| *name != own) {
        return Err(format!("bucket `{bucket}` is not this pipeline's; it reads only `{own}`"));
    }
    if request.rows.is_empty() == request.entities.is_empty() {
        let both = !request.rows.is_empty();
        return Err(match both {
            true => "`rows` and `entities` are both there; send one of them".to_owned(),
            false => "there is nothing to answer about; send `rows`, or `entities` with \
                      `dataset_key` and `bucket_name`"
                .to_owned(),
        });
    }
    let key = request.dataset_key.as_deref().map_or(Ok(()), edge::check_key);
    let version = request.model_version.as_deref().map_or(Ok(()), edge::check_version);
    key.and(version).map_err(|e| e.to_string())
}

/// The same question has the same answer: asking again does not help.
fn too_large() -> Failure {
    let message = format!("the answer has more than {ANSWER_BYTES_MAX} bytes");
    Failure::permanent(Hinted::new(message, "ask about fewer at a time, or without reasons"))
}

fn refusal(status: u16, body: &[u8]) -> Failure {
    let problem = serde_json::from_slice(body).unwrap_or_else(|_| {
        Problem::new(status, "unknown", "The server refused", "no problem document")
    });
    let message = format!("the model server refused with {status}: {}", problem.detail);
    // Another version than the one that was just promoted: the server takes it up within seconds.
    if problem.is_retryable() || problem.status == 409 {
        Failure::retryable(message)
    } else {
        Failure::permanent(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    fn parse(json: &str) -> Result<Input, String> {
        let event: Map<String, Value> = serde_json::from_str(json).expect("JSON");
        Input::parse(&event, "region", "request-1").map_err(|e| format!("{}: {e}", e.error_type()))
    }

    #[test]
    fn an_event_without_execution_is_named_by_its_request() {
        let input =
            parse(r#"{"region":"Almaty","dataset_key":"k","bucket_name":"b"}"#).expect("valid");
        assert!(input.single && input.shown);
        assert_eq!(
            (input.series.as_slice(), input.execution.as_str()),
            (&["Almaty".to_owned()][..], "request-1")
        );
        let group =
            parse(r#"{"series":["A","B"],"shown":false,"dataset_key":"k","bucket_name":"b"}"#);
        let group = group.expect("valid");
        assert!(!group.single && !group.shown && group.series == ["A", "B"]);
    }

    #[test]
    fn a_malformed_event_is_a_permanent_error() {
        let message = |json| parse(json).expect_err("invalid");
        assert_eq!(
            message(r#"{"dataset_key":"k","bucket_name":"b"}"#),
            "PermanentError: `region` is missing; expected a string that is not empty"
        );
        assert!(
            message(r#"{"region":"A","dataset_key":"k","bucket_name":"b","x":1}"#)
                .starts_with("PermanentError: unknown field `x`")
        );
    }

    #[test]
    fn what_the_server_would_refuse_is_not_sent_to_it() {
        let event = |field: &str, value: &str| {
            let mut event = serde_json::json!({
                "region": "Almaty", "dataset_key": "k", "bucket_name": "b", "execution": "e",
            });
            event[field] = value.into();
            parse(&event.to_string()).expect_err(field)
        };
        for (field, value, said) in [
            ("dataset_key", "p/".repeat(50_000), "has 100000 bytes, S3 takes at most 1024"),
            ("dataset_key", "/".to_owned(), "a part that is empty"),
            ("dataset_key", "a\r\nb".to_owned(), "a control character"),
            ("model_version", "../../x".to_owned(), "is not a version"),
            ("execution", "e".repeat(513), "`execution` has 513 bytes"),
        ] {
            let message = event(field, &value);
            assert!(message.starts_with("PermanentError: ") && message.contains(said), "{message}");
        }
    }

    #[test]
    fn only_what_may_succeed_later_is_retryable() {
        let kind = |status| {
            refusal(
                status,
                &serde_json::to_vec(&Problem::new(status, "s", "t", "d")).expect("JSON"),
            )
            .error_type()
        };
        assert_eq!([409, 429, 502, 503].map(kind), ["RetryableError"; 4]);
        assert_eq!([400, 403, 404, 422].map(kind), ["PermanentError"; 4]);
    }

    fn store() -> object_store::memory::InMemory {
        object_store::memory::InMemory::new()
    }

    /// What comes of an event about rows when the server answers with `status` and `body`, or must
    /// not be asked.
    async fn scored(event: Value, answer: Option<(u16, String)>) -> Result<ScoreResponse, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = answer.is_some();
        let server = tokio::spawn(async move {
            let Some((status, body)) = answer else { return };
            let (mut client, _) = listener.accept().await.expect("a client");
            let (mut read, mut part) = (Vec::new(), [0; 4096]);
            while !read.ends_with(b"}") {
                let bytes = client.read(&mut part).await.expect("a request");
                assert_ne!(bytes, 0, "the request ends early");
                read.extend_from_slice(&part[..bytes]);
            }
            assert!(read.starts_with(b"POST /predict HTTP/1.1\r\n"));
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
            client.write_all(head.as_bytes()).await.expect("taken");
            // Of an answer that is too large the function does not take everything.
            drop(client.write_all(body.as_bytes()).await);
        });
        let predictor = Predictor::new(&url, store(), "b", "").expect("a URL");
        let event = event.as_object().expect("an object").clone();
        let outcome = predictor.score(&event, "request-1", None).await;
        match asked {
            true => server.await.expect("the server is asked"),
            false => server.abort(),
        }
        outcome.map_err(|e| format!("{}: {}", e.error_type(), e.error_message()))
    }

    fn answer_of(rows: usize) -> String {
        let scores: steppe_wire::registry::Scores = Default::default();
        let row = steppe_wire::score::ScoredRow { probability: Some(0.25), ..Default::default() };
        let model = steppe_wire::predict::ModelRef {
            id: "m".to_owned(),
            version: "0123456789abcdef".to_owned(),
            backtest: scores,
        };
        let response = ScoreResponse { rows: vec![row; rows], model, seconds: 0.001 };
        serde_json::to_string(&response).expect("JSON")
    }

    #[tokio::test]
    async fn answers_about_rows_are_handed_on() {
        let event = json!({ "rows": [{ "age": 67 }, { "age": null }], "explain": true });
        let answer = scored(event, Some((200, answer_of(2)))).await.expect("an answer");
        assert_eq!(serde_json::to_string(&answer).expect("JSON"), answer_of(2));
    }

    #[tokio::test]
    async fn events_about_rows_that_the_server_would_refuse_are_not_sent_to_it() {
        let about = |extra: Value| {
            let mut event = json!({ "entities": ["1"], "dataset_key": "k", "bucket_name": "b" });
            event
                .as_object_mut()
                .expect("an object")
                .extend(extra.as_object().expect("an object").clone());
            event
        };
        for (event, said) in [
            (json!({ "row": [] }), "unknown field `row`"),
            (json!({ "rows": [] }), "there is nothing to answer about"),
            (about(json!({ "rows": [{}] })), "both there"),
            (about(json!({ "bucket_name": "c" })), "it reads only `b`"),
            (about(json!({ "dataset_key": "a//b" })), "a part that is empty"),
            (about(json!({ "model_version": "new" })), "is not a version"),
            (json!({ "rows": [{ "x": "x".repeat(edge::BODY_BYTES_MAX) }] }), "hint: ask about"),
        ] {
            let refused = scored(event, None).await.expect_err(said);
            assert!(refused.starts_with("PermanentError: ") && refused.contains(said), "{refused}");
        }
    }

    #[tokio::test]
    async fn what_the_server_says_about_rows_is_told() {
        let problem = |status, detail: &str| {
            let problem = Problem::new(status, "s", "t", detail);
            (status, serde_json::to_string(&problem).expect("JSON"))
        };
        let large = (200, " ".repeat(ANSWER_BYTES_MAX + 1));
        for (answer, said) in [
            (problem(400, "rows[0]: lacks `bmi`"), "PermanentError: the model server refused"),
            (problem(400, "rows[0]: lacks `bmi`"), "rows[0]: lacks `bmi`"),
            (problem(429, "busy"), "RetryableError: "),
            (problem(503, "late"), "RetryableError: "),
            ((200, answer_of(2)), "PermanentError: the model server answered about 2 of 1 rows"),
            ((200, "{}".to_owned()), "PermanentError: the model server's answer breaks"),
            (large, "PermanentError: the answer has more than"),
        ] {
            let event = json!({ "rows": [{ "age": 67 }] });
            let refused = scored(event, Some(answer)).await.expect_err(said);
            assert!(refused.contains(said), "{refused}");
        }
    }
}
