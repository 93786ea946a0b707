//! Requests that are meant to break the model server, or come from where none should.

use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use object_store::aws::AmazonS3Builder;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use serde_json::{Value, json};
use steppe_server::config::Limits;

use crate::forecasts::{BUCKET, Server, ask, post};
use crate::strange_store::{Strange, StrangeStore};
use crate::tools::artifact;

fn with(key: &str) -> String {
    json!({ "region": "Almaty", "dataset_key": key, "bucket_name": BUCKET }).to_string()
}

fn history(values: Value) -> Value {
    json!({ "series": "x", "observed_until": "2015", "values": values })
}

async fn strange(strange: Strange) -> Server {
    let data = Arc::new(InMemory::new());
    let bucket = StrangeStore { store: data.clone(), strange };
    Server::reading(Arc::new(bucket), data, Limits::default()).await
}

fn problem((status, answer): &(axum::http::StatusCode, Value)) -> (u16, &str) {
    (status.as_u16(), answer["type"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn a_key_that_no_url_can_hold_is_refused_before_s3_is_asked() {
    // The client of S3 breaks on a URL of more than 65,535 bytes; nobody listens at this address.
    let s3 = AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_region("eu-central-1")
        .with_access_key_id("a")
        .with_secret_access_key("s")
        .with_allow_http(true)
        .with_endpoint("http://127.0.0.1:9");
    let s3: Arc<dyn ObjectStore> = Arc::new(s3.build().expect("a client"));
    let server = Server::reading(s3, Arc::new(InMemory::new()), Limits::default()).await;
    let long = "p/".repeat(50_000);
    for key in [long.as_str(), &"k".repeat(1_025), "", "/", "raw//", "../x", "a\u{1}b", "a\nb"] {
        let answer = server.post(with(key)).await;
        assert_eq!(problem(&answer), (400, "/problems/invalid-request"), "{:.40}", key);
        let detail = answer.1["detail"].as_str().expect("a detail");
        assert!(detail.starts_with("`dataset_key` is not a key") && detail.len() < 200, "{detail}");
    }
    for version in ["../../x", "old", "0123456789ABCDEF", &long] {
        let mut named: Value = serde_json::from_str(&with("processed/")).expect("JSON");
        named["model_version"] = json!(version);
        let brought =
            json!({ "histories": [history(json!([1, 2, 3, 4, 5]))], "model_version": version });
        for body in [named, brought] {
            let answer = server.post(body.to_string()).await;
            assert_eq!(problem(&answer), (400, "/problems/invalid-request"), "{:.40}", version);
        }
    }
}

#[tokio::test]
async fn a_defect_answers_one_request_and_leaves_the_others() {
    let server = strange(Strange { broken: true, ..Strange::default() }).await;
    let answer = server.post(ask(json!("Almaty"))).await;
    assert_eq!(problem(&answer), (500, "/problems/internal"), "{}", answer.1);
    let body = json!({ "histories": [history(json!([1, 2, 3, 4, 5]))] });
    assert_eq!(server.post(body.to_string()).await.0.as_u16(), 200);
    let metrics = server.get("/metrics").await.1;
    assert!(metrics.contains(r#"{path="/predict",status="500"} 1"#), "{metrics}");
}

#[tokio::test]
async fn what_may_not_be_read_is_denied_and_what_is_not_there_is_missing() {
    let server = strange(Strange { readable: vec!["processed/"], ..Strange::default() }).await;
    for (key, status, kind) in [
        ("processed/marriages/", 200, ""),
        ("processed/marriages/part-00000.parquet", 200, ""),
        ("processed/marriages/none.parquet", 404, "/problems/no-data-set"),
        ("processed/nothing/", 404, "/problems/no-data-set"),
        ("raw/marriages/data.csv", 403, "/problems/data-set-denied"),
        ("raw/marriages/", 403, "/problems/data-set-denied"),
        ("secrets.parquet", 403, "/problems/data-set-denied"),
    ] {
        let answer = server.post(with(key)).await;
        assert_eq!(problem(&answer), (status, kind), "{key}: {}", answer.1);
    }
}

#[tokio::test]
async fn marks_of_folders_are_no_data() {
    let marks = vec!["processed/marriages", "processed/marriages/empty.parquet"];
    let server = strange(Strange { marks, ..Strange::default() }).await;
    assert_eq!(server.post(ask(json!("Almaty"))).await.0.as_u16(), 200);
}

#[tokio::test]
async fn a_forecast_beyond_the_range_of_numbers_is_a_problem() {
    let server = Server::start(Limits::default()).await;
    let wild = [json!([1, 1, 1, 1, 1e300]), json!([1e300, 1, 1e300, 1, 1e300])];
    for values in wild {
        for quantiles in [false, true] {
            let body = json!({ "histories": [history(values.clone())], "quantiles": quantiles });
            let answer = server.post(body.to_string()).await;
            if answer.0.as_u16() == 200 {
                // Bounded by what was seen: then every number is one.
                let step = &answer.1["forecasts"][0]["steps"][0];
                let value = |name: &str| step[name].as_f64().expect("a number");
                assert!(value("lower") <= value("value") && value("value") <= value("upper"));
            } else {
                assert_eq!(problem(&answer), (422, "/problems/not-finite"), "{}", answer.1);
            }
        }
    }
}

#[tokio::test]
async fn pages_of_other_sites_get_no_forecast_and_programs_do() {
    let server = Server::start(Limits::default()).await;
    let body = json!({ "histories": [history(json!([1, 2, 3, 4, 5]))] }).to_string();
    let status = async |headers: &[(&str, &str)]| {
        let request = Request::post("/predict");
        let request = headers.iter().fold(request, |r, (name, value)| r.header(*name, *value));
        let request = request.body(Body::from(body.clone())).expect("a request");
        server.answer(request).await.0.as_u16()
    };
    let (own, json) = (("host", "10.0.0.1:8080"), ("content-type", "application/json"));
    assert_eq!(status(&[own, json]).await, 200);
    assert_eq!(status(&[own, ("content-type", "application/json; charset=utf-8")]).await, 200);
    assert_eq!(status(&[("host", "evil.example"), json]).await, 421);
    assert_eq!(status(&[own, json, ("origin", "http://evil.example")]).await, 403);
    assert_eq!(status(&[own, json, ("sec-fetch-site", "cross-site")]).await, 403);
    assert_eq!(status(&[own, ("content-type", "text/plain")]).await, 415);
    assert_eq!(status(&[own]).await, 415);
    let card = Request::get("/model").header("host", "evil.example").body(Body::empty());
    assert_eq!(server.answer(card.expect("a request")).await.0.as_u16(), 421);
}

/// The Open Inference Protocol's clients name no content type.
#[tokio::test]
async fn tensors_need_no_type_of_their_own_but_may_not_pretend_to_be_text() {
    let server = Server::start(Limits::default()).await;
    let infer = async |content_type: Option<&str>, outputs: Value| {
        let request = Request::post("/v2/models/marriages/infer").header("host", "localhost");
        let request = content_type.into_iter().fold(request, |r, t| r.header("content-type", t));
        let body = json!({ "outputs": outputs, "inputs": [
            { "name": "history", "datatype": "FP64", "shape": [1, 5], "data": [1, 2, 3, 4, 5] },
            { "name": "observed_until", "datatype": "BYTES", "shape": [1], "data": ["2015"] },
        ]});
        let request = request.body(Body::from(body.to_string())).expect("a request");
        server.answer(request).await
    };
    let value = || json!([{ "name": "value" }]);
    for content_type in [None, Some("application/json"), Some("application/octet-stream")] {
        let (status, answer) = infer(content_type, value()).await;
        assert_eq!(status.as_u16(), 200, "{content_type:?}: {answer}");
    }
    assert_eq!(infer(Some("text/plain"), value()).await.0.as_u16(), 415);
    let twice = json!([{ "name": "value" }, { "name": "lower" }, { "name": "value" }]);
    let (status, answer) = infer(None, twice).await;
    assert_eq!(status.as_u16(), 400, "one request must not ask for a thousand answers: {answer}");
}

#[tokio::test]
async fn a_series_may_be_called_histories_and_a_name_may_be_written_otherwise() {
    let server = Server::start(Limits::default()).await;
    let answer = server.post(ask(json!(["histories"]))).await;
    assert_eq!(problem(&answer), (404, "/problems/unknown-series"), "{}", answer.1);
    let escaped =
        r#"{"hist\u006fries":[{"series":"x","observed_until":"2015","values":[1,2,3,4,5]}]}"#;
    assert_eq!(server.post(escaped).await.0.as_u16(), 200);
    let wrong = server.post(r#"{"histories":[{"series":"x"}]}"#).await;
    assert!(
        wrong.1["detail"].as_str().is_some_and(|d| d.contains("observed_until")),
        "{}",
        wrong.1
    );
}

#[tokio::test]
async fn an_answer_has_a_largest_size() {
    let limits = Limits { answer_values: 5, ..Limits::default() };
    let server = Server::start(limits).await;
    let body = |count: usize, quantiles: bool| {
        let histories = vec![history(json!([1, 2, 3, 4, 5])); count];
        json!({ "histories": histories, "quantiles": quantiles }).to_string()
    };
    assert_eq!(server.post(body(2, false)).await.0.as_u16(), 200, "two steps each");
    for (count, quantiles) in [(3, false), (1, true)] {
        let answer = server.post(body(count, quantiles)).await;
        assert_eq!(problem(&answer), (422, "/problems/answer-too-large"), "{}", answer.1);
    }
}

#[tokio::test]
async fn invented_histories_do_not_count_for_drift() {
    let server = Server::start(Limits::default()).await;
    for n in 0..30 {
        let values = json!([1e6, 2e6, 3e6, 4e6, 5e6 + f64::from(n)]);
        let body = json!({ "histories": [history(values)] });
        assert_eq!(server.post(body.to_string()).await.0.as_u16(), 200);
    }
    assert_eq!(server.post(ask(json!("Almaty"))).await.0.as_u16(), 200);
    let drift: Value = serde_json::from_str(&server.get("/drift").await.1).expect("JSON");
    assert_eq!(drift["forecasts"], 1, "{drift}");
}

#[tokio::test]
async fn a_pointer_to_another_place_or_pipeline_leaves_the_model_in_service() {
    let server = Server::start(Limits::default()).await;
    let before = artifact().version();
    let pointer = async |text: String| {
        let key = Path::from("models/marriages/current.json");
        server.artifacts.put(&key, text.into()).await.expect("stored");
        format!("{:#}", server.service.models.reload().await.expect_err("refused"))
    };
    let long = "0/".repeat(50_000);
    for version in [long.as_str(), "../other/0123456789abcdef", ""] {
        let text = json!({ "version": version, "card_sha256": "0".repeat(64) }).to_string();
        let said = pointer(text).await;
        assert!(said.contains("is not a version") && said.len() < 300, "{said}");
    }
    let said = pointer(format!("{{\"x\":\"{}\"}}", "x".repeat(1_100_000))).await;
    assert!(said.contains("at most 1048576 are read"), "{said}");
    assert_eq!(server.service.models.current().model_ref.version, before);
    assert_eq!(server.answer(post(ask(json!("Almaty")))).await.0.as_u16(), 200);
}
