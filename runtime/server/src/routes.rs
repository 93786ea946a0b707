//! HTTP: paths, deadlines, and the counting of answers.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::FutureExt;
use steppe_wire::drift::ServerDrift;

use crate::access_log::{self, Line};
use crate::body::{body_of, check_json};
use crate::guard::{self, Hosts};
use crate::inference;
use crate::problems::RequestError;
use crate::served::Served;
use crate::service::Service;

type Shared<T> = State<Arc<Service<T>>>;

/// All paths of the server, under its addresses and the names of `hosts`. `/ping` and
/// `/invocations` are SageMaker's names for `/ready` and `/predict`.
pub fn router<T: Served>(service: Arc<Service<T>>, hosts: Hosts) -> Router {
    // One count for both: every request takes it, and all workers share it.
    let entrance = Arc::new(Entrance { service: service.clone(), hosts });
    Router::new()
        .route("/predict", post(predict::<T>))
        .route("/models/{task}/predict", post(predict_of::<T>))
        .route("/invocations", post(invocations::<T>))
        .route("/health", get(health))
        .route("/ready", get(ready::<T>))
        .route("/ping", get(ready::<T>))
        .route("/model", get(model::<T>))
        .route("/drift", get(drift::<T>))
        .route("/metrics", get(metrics::<T>))
        .route("/openapi.json", get(openapi))
        .merge(inference::router())
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(entrance, enter::<T>))
        .with_state(service)
}

async fn predict<T: Served>(
    State(service): Shared<T>,
    request: Request,
) -> Result<Response, RequestError> {
    check_json(request.headers())?;
    answered(&service, request).await
}

/// As [`predict`], by the name of the task.
async fn predict_of<T: Served>(
    State(service): Shared<T>,
    Path(task): Path<String>,
    request: Request,
) -> Result<Response, RequestError> {
    let model = service.models.current();
    let own = T::called(&model.artifact.card.spec);
    if task != own {
        let what = format!("there is no model `{task}`; this server has `{own}`");
        return Err(RequestError::NotFound(what));
    }
    check_json(request.headers())?;
    answered(&service, request).await
}

/// As [`predict`], in whatever form the clients of SageMaker send that the task reads.
async fn invocations<T: Served>(
    State(service): Shared<T>,
    request: Request,
) -> Result<Response, RequestError> {
    T::check_invocation(request.headers())?;
    answered(&service, request).await
}

async fn answered<T: Served>(
    service: &Service<T>,
    request: Request,
) -> Result<Response, RequestError> {
    let deadline = service.limits.deadline;
    let answer = tokio::time::timeout(deadline, async {
        let headers = request.headers().clone();
        let body = body_of(request, service.limits.body_bytes).await?;
        T::respond(service, &headers, &body).await
    });
    answer.await.map_err(|_| RequestError::Deadline(deadline.as_secs()))?
}

/// As [`Json`], into a buffer that most forecasts fit into at once.
pub(crate) fn json<T: Served>(
    service: &Service<T>,
    value: &impl serde::Serialize,
) -> Result<Response, RequestError> {
    let mut body = Vec::with_capacity(4096);
    // A map with keys that are no texts would be a defect; there is none.
    serde_json::to_writer(&mut body, value).map_err(|_| RequestError::Internal)?;
    let body = service.untaken.body(body)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

async fn health() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

async fn ready<T: Served>(
    State(service): Shared<T>,
) -> Result<Json<serde_json::Value>, RequestError> {
    if !service.is_ready() {
        return Err(RequestError::Draining);
    }
    Ok(Json(
        serde_json::json!({ "status": "ready", "model_version": service.models.current().model_ref.version }),
    ))
}

async fn model<T: Served>(State(service): Shared<T>) -> Response {
    let card = service.models.current().card.clone();
    ([(header::CONTENT_TYPE, "application/json")], card).into_response()
}

async fn drift<T: Served>(State(service): Shared<T>) -> Json<ServerDrift> {
    let model = service.models.current();
    Json(model.watch.report(&model.artifact, &model.model_ref.version))
}

async fn metrics<T: Served>(State(service): Shared<T>) -> Response {
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
        "there is nothing at `{}`; answers are at `POST /predict`",
        request.uri().path()
    ))
}

async fn wrong_method(request: Request) -> Response {
    let detail = format!("`{}` does not take {}", request.uri().path(), request.method());
    (StatusCode::METHOD_NOT_ALLOWED, RequestError::NotFound(detail)).into_response()
}

/// What every request passes on its way in and out.
#[derive(Debug)]
struct Entrance<T: Served> {
    service: Arc<Service<T>>,
    hosts: Hosts,
}

/// Turns away what comes from pages of other sites, answers for what broke, counts and logs.
async fn enter<T: Served>(
    State(entrance): State<Arc<Entrance<T>>>,
    request: Request,
    next: Next,
) -> Response {
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
fn count<T: Served>(
    service: &Service<T>,
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
        false if path.starts_with("/models/") && path.ends_with("/predict") => "/models/predict",
        false => "other",
    })
}
