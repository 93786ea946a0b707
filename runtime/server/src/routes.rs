//! HTTP: paths, bodies, deadlines, and the counting of answers.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use steppe_wire::drift::ServerDrift;
use steppe_wire::predict::PredictResponse;

use crate::access_log::{self, Line};
use crate::inference;
use crate::problems::RequestError;
use crate::service::Service;

type Shared = State<Arc<Service>>;

/// All paths of the server. `/ping` and `/invocations` are SageMaker's names for `/ready` and `/predict`.
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/predict", post(predict))
        .route("/invocations", post(predict))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/ping", get(ready))
        .route("/model", get(model))
        .route("/drift", get(drift))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi))
        .merge(inference::router())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(service.clone(), count))
        .with_state(service)
}

async fn predict(State(service): Shared, request: Request) -> Result<Response, RequestError> {
    let deadline = service.limits.deadline;
    let answer = tokio::time::timeout(deadline, async {
        let body = body_of(request, service.limits.body_bytes).await?;
        answer(&service, &body).await
    });
    let response = answer.await.map_err(|_| RequestError::Deadline(deadline.as_secs()))??;
    Ok(json(&response))
}

/// A request either brings observations along or names a data set.
async fn answer(service: &Service, body: &[u8]) -> Result<PredictResponse, RequestError> {
    let invalid =
        |e: serde_json::Error| RequestError::Invalid(format!("the body is not a request: {e}"));
    let brings = body.windows(HISTORIES.len()).any(|w| w == HISTORIES);
    if brings {
        service.predict_histories(serde_json::from_slice(body).map_err(invalid)?).await
    } else {
        service.predict(serde_json::from_slice(body).map_err(invalid)?).await
    }
}

const HISTORIES: &[u8] = b"\"histories\"";

/// The whole body, at most `bytes_max` of it.
pub async fn body_of(request: Request, bytes_max: usize) -> Result<Bytes, RequestError> {
    let too_large = || RequestError::BodyTooLarge(bytes_max);
    // What announces that it is too large is not read at all.
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(too_large());
    }
    axum::body::to_bytes(request.into_body(), bytes_max).await.map_err(|_| too_large())
}

/// As [`Json`], into a buffer that most forecasts fit into at once.
fn json(value: &impl serde::Serialize) -> Response {
    let mut body = Vec::with_capacity(4096);
    match serde_json::to_writer(&mut body, value) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

async fn ready(State(service): Shared) -> Result<Json<serde_json::Value>, RequestError> {
    if !service.is_ready() {
        return Err(RequestError::Draining);
    }
    Ok(Json(
        serde_json::json!({ "status": "ready", "model_version": service.models.current().model_ref.version }),
    ))
}

async fn model(State(service): Shared) -> Response {
    let card = service.models.current().artifact.card_bytes.clone();
    ([(header::CONTENT_TYPE, "application/json")], card).into_response()
}

async fn drift(State(service): Shared) -> Json<ServerDrift> {
    let model = service.models.current();
    Json(model.watch.report(&model.artifact, &model.model_ref.version))
}

async fn metrics(State(service): Shared) -> Response {
    let model = service.models.current();
    service.metrics.show_drift(&model.model_ref.version, &model.watch.compare(&model.artifact));
    match service.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json")).into_response()
}

async fn not_found(request: Request) -> RequestError {
    RequestError::NotFound(format!(
        "there is nothing at `{}`; forecasts are at `POST /predict`",
        request.uri().path()
    ))
}

async fn wrong_method(request: Request) -> Response {
    let detail = format!("`{}` does not take {}", request.uri().path(), request.method());
    (StatusCode::METHOD_NOT_ALLOWED, RequestError::NotFound(detail)).into_response()
}

/// Counts and logs every answer, under known paths only: a label per invented path would grow without bound.
async fn count(State(service): Shared, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let path = known_path(request.uri().path());
    let method = request.method().clone();
    let trace = access_log::trace_id(request.headers()).map(str::to_owned);
    let response = next.run(request).await;
    let status = response.status();
    service.metrics.requests.with_label_values(&[path, status.as_str()]).inc();
    access_log::record(&Line {
        timestamp: jiff::Timestamp::now(),
        target: "access",
        method: method.as_str(),
        path,
        status: status.as_u16(),
        micros: started.elapsed().as_micros() as u64,
        model_version: &service.models.current().model_ref.version,
        trace_id: trace.as_deref(),
    });
    response
}

fn known_path(path: &str) -> &'static str {
    const KNOWN: [&str; 10] = [
        "/predict",
        "/invocations",
        "/health",
        "/ready",
        "/ping",
        "/model",
        "/drift",
        "/metrics",
        "/openapi.json",
        "/v2",
    ];
    let known = KNOWN.into_iter().find(|known| *known == path);
    // Names and versions in a path are the client's to invent.
    known.unwrap_or(match path.starts_with("/v2/") {
        true if path.ends_with("/infer") => "/v2/infer",
        true => "/v2/other",
        false => "other",
    })
}
