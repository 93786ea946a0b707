//! The Open Inference Protocol, version 2, with its binary tensor extension, and what Triton's
//! clients ask for beyond it: the repository index and the model's configuration.
//!
//! One model, named as its task says. What its tensors are, [`Served::signature`] says.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::{body_of, media_type};
use crate::problems::RequestError;
use crate::served::{Inferred, Served};
use crate::service::Service;
use crate::tensors::{Asked, InferRequest, JSON_LENGTH, Signature, Slot};

type Shared<T> = State<Arc<Service<T>>>;

/// Paths under `/v2`.
pub fn router<T: Served>() -> Router<Arc<Service<T>>> {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(|| async { StatusCode::OK }))
        .route("/v2/health/ready", get(server_ready::<T>))
        .route("/v2/repository/index", post(index::<T>))
        .route("/v2/models/{name}", get(metadata::<T>))
        .route("/v2/models/{name}/config", get(config::<T>))
        .route("/v2/models/{name}/ready", get(ready::<T>))
        .route("/v2/models/{name}/infer", post(infer::<T>))
        .route("/v2/models/{name}/versions/{version}", get(metadata::<T>))
        .route("/v2/models/{name}/versions/{version}/ready", get(ready::<T>))
        .route("/v2/models/{name}/versions/{version}/infer", post(infer::<T>))
}

/// An error as the protocol wants it.
#[derive(Debug)]
pub struct InferError(RequestError);

impl From<RequestError> for InferError {
    fn from(error: RequestError) -> Self {
        Self(error)
    }
}

impl IntoResponse for InferError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.problem().status)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(json!({ "error": self.0.to_string() }))).into_response()
    }
}

/// A model's name and, where the path has it, its version.
#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    version: Option<String>,
}

impl Named {
    fn check<T: Served>(&self, service: &Service<T>) -> Result<(), InferError> {
        let model = service.models.current();
        let own = T::called(&model.artifact.card.spec);
        if self.name != own {
            return Err(RequestError::NotFound(format!(
                "there is no model `{}`; this server has `{own}`",
                self.name
            ))
            .into());
        }
        match &self.version {
            Some(asked) if *asked != model.model_ref.version => Err(RequestError::WrongVersion {
                asked: asked.clone(),
                serving: model.model_ref.version.clone(),
            }
            .into()),
            _ => Ok(()),
        }
    }
}

async fn server() -> Json<Value> {
    Json(
        json!({ "name": "steppe-server", "version": env!("CARGO_PKG_VERSION"), "extensions": ["binary_tensor_data", "model_repository", "model_configuration"] }),
    )
}

async fn server_ready<T: Served>(State(service): Shared<T>) -> StatusCode {
    if service.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn index<T: Served>(State(service): Shared<T>) -> Json<Value> {
    let model = service.models.current();
    Json(json!([{
        "name": T::called(&model.artifact.card.spec),
        "version": model.model_ref.version,
        "state": "READY",
    }]))
}

async fn ready<T: Served>(
    State(service): Shared<T>,
    Path(named): Path<Named>,
) -> Result<StatusCode, InferError> {
    named.check(&service)?;
    Ok(server_ready(State(service)).await)
}

async fn metadata<T: Served>(
    State(service): Shared<T>,
    Path(named): Path<Named>,
) -> Result<Json<Value>, InferError> {
    named.check(&service)?;
    let model = service.models.current();
    let Signature { inputs, outputs } = T::signature(&model.artifact.card);
    Ok(Json(json!({
        "name": T::called(&model.artifact.card.spec),
        "versions": [model.model_ref.version],
        "platform": "steppe",
        "inputs": inputs.iter().map(Slot::metadata).collect::<Vec<_>>(),
        "outputs": outputs.iter().map(Slot::metadata).collect::<Vec<_>>(),
    })))
}

async fn config<T: Served>(
    State(service): Shared<T>,
    Path(named): Path<Named>,
) -> Result<Json<Value>, InferError> {
    named.check(&service)?;
    let model = service.models.current();
    let Signature { inputs, outputs } = T::signature(&model.artifact.card);
    Ok(Json(json!({
        "name": T::called(&model.artifact.card.spec),
        "platform": "steppe",
        "backend": "steppe",
        "max_batch_size": 0,
        "input": inputs.iter().map(Slot::config).collect::<Vec<_>>(),
        "output": outputs.iter().map(Slot::config).collect::<Vec<_>>(),
    })))
}

async fn infer<T: Served>(
    State(service): Shared<T>,
    Path(named): Path<Named>,
    request: Request,
) -> Result<Response, InferError> {
    named.check(&service)?;
    let deadline = service.limits.deadline;
    let answer = tokio::time::timeout(deadline, async {
        let headers = request.headers().clone();
        check_type(&headers)?;
        let body = body_of(request, service.limits.body_bytes).await?;
        let request = InferRequest::parse(&headers, &body)?;
        let model = service.models.current();
        let signature = T::signature(&model.artifact.card);
        let asked = request.outputs(&signature)?;
        let names: Vec<&str> = asked.iter().map(|asked| asked.name).collect();
        let inferred = T::infer(&service, &request, named.version.clone(), &names).await?;
        respond(&service, &request, &named.name, &asked, inferred)
    });
    answer.await.map_err(|_| RequestError::Deadline(deadline.as_secs()))?
}

/// The protocol's clients name no type, or that of JSON or of bytes; pages of other sites cannot.
fn check_type(headers: &HeaderMap) -> Result<(), RequestError> {
    match media_type(headers) {
        known if matches!(&*known, "" | "application/json" | "application/octet-stream") => Ok(()),
        other => Err(RequestError::WrongType(other)),
    }
}

fn respond(
    service: &Service<impl Served>,
    request: &InferRequest,
    name: &str,
    asked: &[Asked<'_>],
    inferred: Inferred,
) -> Result<Response, InferError> {
    let (mut outputs, mut binary) = (Vec::new(), Vec::new());
    for (Asked { name, binary: as_bytes }, (slot, values)) in asked.iter().zip(inferred.outputs) {
        let mut output =
            json!({ "name": name, "datatype": slot.datatype.name(), "shape": slot.shape });
        if *as_bytes {
            let bytes = values.bytes();
            output["parameters"] = json!({ "binary_data_size": bytes.len() });
            binary.extend(bytes);
        } else {
            output["data"] = values.json();
        }
        outputs.push(output);
    }
    let mut json = json!({
        "model_name": name,
        "model_version": inferred.version,
        "outputs": outputs,
    });
    if let Some(id) = &request.id {
        json["id"] = id.clone().into();
    }
    let mut body = json.to_string().into_bytes();
    let length = body.len();
    let is_json = binary.is_empty();
    body.extend(binary);
    let media_type = if is_json { "application/json" } else { "application/octet-stream" };
    let body = service.untaken.body(body)?;
    let mut response = ([(header::CONTENT_TYPE, media_type)], body).into_response();
    if !is_json {
        response.headers_mut().insert(JSON_LENGTH, HeaderValue::from(length));
    }
    Ok(response)
}
