//! HTTP: paths, bodies, deadlines, and the counting of answers.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use steppe_wire::predict::PredictRequest;

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
        .route("/metrics", get(metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(service.clone(), count))
        .with_state(service)
}

async fn predict(State(service): Shared, request: Request) -> Result<Response, RequestError> {
    let started = Instant::now();
    let deadline = service.limits.deadline;
    let answer = tokio::time::timeout(deadline, async {
        let request = parse(request.into_body(), service.limits.body_bytes).await?;
        service.predict(request).await
    });
    let response = answer.await.map_err(|_| RequestError::Deadline(deadline.as_secs()))??;
    service.metrics.seconds.observe(started.elapsed().as_secs_f64());
    Ok(Json(response).into_response())
}

async fn parse(body: Body, bytes_max: usize) -> Result<PredictRequest, RequestError> {
    let bytes = axum::body::to_bytes(body, bytes_max).await.map_err(|_| RequestError::BodyTooLarge(bytes_max))?;
    serde_json::from_slice(&bytes).map_err(|e| RequestError::Invalid(format!("the body is not a request: {e}")))
}

async fn health() -> Json<serde_json::Value> {
    Json(json!({ "status": "ok" }))
}

async fn ready(State(service): Shared) -> Result<Json<serde_json::Value>, RequestError> {
    if !service.is_ready() {
        return Err(RequestError::Draining);
    }
    Ok(Json(json!({ "status": "ready", "model_version": service.models.current().model_ref.version })))
}

async fn model(State(service): Shared) -> Response {
    let card = service.models.current().artifact.card_bytes.clone();
    ([(header::CONTENT_TYPE, "application/json")], card).into_response()
}

async fn metrics(State(service): Shared) -> Response {
    match service.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn not_found(request: Request) -> RequestError {
    RequestError::NotFound(format!("there is nothing at `{}`; forecasts are at `POST /predict`", request.uri().path()))
}

async fn wrong_method(request: Request) -> Response {
    let detail = format!("`{}` does not take {}", request.uri().path(), request.method());
    (StatusCode::METHOD_NOT_ALLOWED, RequestError::NotFound(detail)).into_response()
}

/// Counts every answer. Paths are the known ones only: a label per invented path would grow without bound.
async fn count(State(service): Shared, request: Request, next: Next) -> Response {
    const KNOWN: [&str; 7] = ["/predict", "/invocations", "/health", "/ready", "/ping", "/model", "/metrics"];
    let path = KNOWN.iter().find(|k| **k == request.uri().path()).unwrap_or(&"other");
    let started = Instant::now();
    let response = next.run(request).await;
    service.metrics.requests.with_label_values(&[*path, response.status().as_str()]).inc();
    tracing::info!(path, status = response.status().as_u16(), micros = started.elapsed().as_micros() as u64, "answered");
    response
}
