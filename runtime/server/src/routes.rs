//! HTTP: paths, deadlines, and the counting of answers.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::FutureExt;
use serde::de::IgnoredAny;
use steppe_wire::drift::ServerDrift;
use steppe_wire::predict::{HistoriesRequest, PredictResponse};

use crate::access_log::{self, Line};
use crate::body::{body_of, check_json};
use crate::guard::{self, Hosts};
use crate::inference;
use crate::problems::RequestError;
use crate::service::Service;

type Shared = State<Arc<Service>>;

/// All paths of the server, under its addresses and the names of `hosts`. `/ping` and
/// `/invocations` are SageMaker's names for `/ready` and `/predict`.
pub fn router(service: Arc<Service>, hosts: Hosts) -> Router {
    // One count for both: every request takes it, and all workers share it.
    let entrance = Arc::new(Entrance { service: service.clone(), hosts });
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
        .layer(from_fn_with_state(entrance, enter))
        .with_state(service)
}

async fn predict(State(service): Shared, request: Request) -> Result<Response, RequestError> {
    let deadline = service.limits.deadline;
    let answer = tokio::time::timeout(deadline, async {
        check_json(request.headers())?;
        let body = body_of(request, service.limits.body_bytes).await?;
        answer(&service, &body).await
    });
    let response = answer.await.map_err(|_| RequestError::Deadline(deadline.as_secs()))??;
    json(&service, &response)
}

/// A request either brings observations along or names a data set.
async fn answer(service: &Service, body: &[u8]) -> Result<PredictResponse, RequestError> {
    let invalid =
        |e: serde_json::Error| RequestError::Invalid(format!("the body is not a request: {e}"));
    match serde_json::from_slice::<HistoriesRequest>(body) {
        Ok(request) => service.predict_histories(request).await,
        Err(error) if names_histories(body) => Err(invalid(error)),
        Err(_) => service.predict(serde_json::from_slice(body).map_err(invalid)?).await,
    }
}

/// Whether a request means to bring observations along, whatever else is wrong with it.
fn names_histories(body: &[u8]) -> bool {
    let fields = serde_json::from_slice::<HashMap<String, IgnoredAny>>(body);
    fields.is_ok_and(|fields| fields.contains_key("histories"))
}

/// As [`Json`], into a buffer that most forecasts fit into at once.
fn json(service: &Service, value: &impl serde::Serialize) -> Result<Response, RequestError> {
    let mut body = Vec::with_capacity(4096);
    // A map with keys that are no texts would be a defect; there is none.
    serde_json::to_writer(&mut body, value).map_err(|_| RequestError::Internal)?;
    let body = service.untaken.body(body)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
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
    let card = service.models.current().card.clone();
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

/// What every request passes on its way in and out.
#[derive(Debug)]
struct Entrance {
    service: Arc<Service>,
    hosts: Hosts,
}

/// Turns away what comes from pages of other sites, answers for what broke, counts and logs.
async fn enter(State(entrance): State<Arc<Entrance>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let path = known_path(request.uri().path());
    let method = known_method(request.method());
    let trace = access_log::trace_id(request.headers()).map(str::to_owned);
    let (hosts, version) = (&entrance.hosts, request.version());
    let response = match guard::check(hosts, version, request.uri(), request.headers()) {
        // A defect that one request meets must not end the others.
        Ok(()) => AssertUnwindSafe(next.run(request))
            .catch_unwind()
            .await
            .unwrap_or_else(|_| RequestError::Internal.into_response()),
        Err(error) => error.into_response(),
    };
    count(&entrance.service, (method, path, trace.as_deref()), &response, started);
    response
}

/// Counts and logs an answer, under known paths only: a label per invented path would grow without
/// bound.
fn count(
    service: &Service,
    (method, path, trace_id): (&str, &'static str, Option<&str>),
    response: &Response,
    started: Instant,
) {
    let status = response.status();
    service.metrics.requests.with_label_values(&[path, status.as_str()]).inc();
    access_log::record(&Line {
        timestamp: jiff::Timestamp::now(),
        target: "access",
        method,
        path,
        status: status.as_u16(),
        micros: started.elapsed().as_micros() as u64,
        model_version: &service.models.current().model_ref.version,
        trace_id,
    });
}

/// Methods are the client's to invent as well.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
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
