//! The Open Inference Protocol, version 2, with its binary tensor extension, and what Triton's
//! clients ask for beyond it: the repository index and the model's configuration.
//!
//! One model, named like the pipeline. Inputs: `history` (FP64 or FP32, series × observations) and
//! `observed_until` (BYTES, one period per series). Outputs: `value`, `lower`, `upper` (FP64,
//! series × steps). Models with covariates or static features are served by `POST /predict` only.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use steppe_wire::predict::{HistoriesRequest, History, PredictResponse};

use crate::body::{body_of, media_type};
use crate::problems::RequestError;
use crate::service::Service;

type Shared = State<Arc<Service>>;

/// Length of the JSON part of a body that goes on with binary tensors.
const JSON_LENGTH: &str = "inference-header-content-length";
const OUTPUTS: [&str; 3] = ["value", "lower", "upper"];

/// Paths under `/v2`.
pub fn router() -> Router<Arc<Service>> {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(|| async { StatusCode::OK }))
        .route("/v2/health/ready", get(server_ready))
        .route("/v2/repository/index", post(index))
        .route("/v2/models/{name}", get(metadata))
        .route("/v2/models/{name}/config", get(config))
        .route("/v2/models/{name}/ready", get(ready))
        .route("/v2/models/{name}/infer", post(infer))
        .route("/v2/models/{name}/versions/{version}", get(metadata))
        .route("/v2/models/{name}/versions/{version}/ready", get(ready))
        .route("/v2/models/{name}/versions/{version}/infer", post(infer))
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

fn invalid(message: impl Into<String>) -> InferError {
    InferError(RequestError::Invalid(message.into()))
}

/// A model's name and, where the path has it, its version.
#[derive(Debug, Deserialize)]
struct Named {
    name: String,
    version: Option<String>,
}

impl Named {
    fn check(&self, service: &Service) -> Result<(), InferError> {
        let model = service.models.current();
        let pipeline = &model.artifact.card.spec.pipeline;
        if self.name != *pipeline {
            return Err(RequestError::NotFound(format!(
                "there is no model `{}`; this server has `{pipeline}`",
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

async fn server_ready(State(service): Shared) -> StatusCode {
    if service.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn index(State(service): Shared) -> Json<Value> {
    let model = service.models.current();
    Json(
        json!([{ "name": model.artifact.card.spec.pipeline, "version": model.model_ref.version, "state": "READY" }]),
    )
}

async fn ready(State(service): Shared, Path(named): Path<Named>) -> Result<StatusCode, InferError> {
    named.check(&service)?;
    Ok(server_ready(State(service)).await)
}

async fn metadata(
    State(service): Shared,
    Path(named): Path<Named>,
) -> Result<Json<Value>, InferError> {
    named.check(&service)?;
    let model = service.models.current();
    let horizon = model.artifact.card.spec.horizon;
    let output = |name: &str| json!({ "name": name, "datatype": "FP64", "shape": [-1, horizon] });
    Ok(Json(json!({
        "name": model.artifact.card.spec.pipeline,
        "versions": [model.model_ref.version],
        "platform": "steppe",
        "inputs": [
            { "name": "history", "datatype": "FP64", "shape": [-1, -1] },
            { "name": "observed_until", "datatype": "BYTES", "shape": [-1] },
        ],
        "outputs": OUTPUTS.map(output),
    })))
}

async fn config(
    State(service): Shared,
    Path(named): Path<Named>,
) -> Result<Json<Value>, InferError> {
    named.check(&service)?;
    let model = service.models.current();
    let horizon = model.artifact.card.spec.horizon;
    let output =
        |name: &str| json!({ "name": name, "data_type": "TYPE_FP64", "dims": [-1, horizon] });
    Ok(Json(json!({
        "name": model.artifact.card.spec.pipeline,
        "platform": "steppe",
        "backend": "steppe",
        "max_batch_size": 0,
        "input": [
            { "name": "history", "data_type": "TYPE_FP64", "dims": [-1, -1] },
            { "name": "observed_until", "data_type": "TYPE_STRING", "dims": [-1] },
        ],
        "output": OUTPUTS.map(output),
    })))
}

#[derive(Debug, Deserialize)]
struct InferRequest {
    #[serde(default)]
    id: Option<String>,
    inputs: Vec<Tensor>,
    #[serde(default)]
    outputs: Option<Vec<Wanted>>,
    #[serde(default)]
    parameters: serde_json::Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    datatype: String,
    #[serde(default)]
    parameters: serde_json::Map<String, Value>,
    #[serde(default)]
    data: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Wanted {
    name: String,
    #[serde(default)]
    parameters: serde_json::Map<String, Value>,
}

async fn infer(
    State(service): Shared,
    Path(named): Path<Named>,
    request: Request,
) -> Result<Response, InferError> {
    named.check(&service)?;
    let deadline = service.limits.deadline;
    let answer = tokio::time::timeout(deadline, async {
        let headers = request.headers().clone();
        check_type(&headers)?;
        let body = body_of(request, service.limits.body_bytes).await?;
        let (request, binary) = parse(&headers, &body)?;
        let histories = histories(&request.inputs, binary)?;
        let answer = service
            .predict_histories(HistoriesRequest {
                histories,
                horizon: None,
                model_version: named.version.clone(),
                quantiles: false,
            })
            .await?;
        respond(&service, &request, &answer)
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

/// The JSON part of a body, and the binary tensors after it.
fn parse<'a>(headers: &HeaderMap, body: &'a Bytes) -> Result<(InferRequest, &'a [u8]), InferError> {
    let length = match headers.get(JSON_LENGTH) {
        None => body.len(),
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|v| v.parse().ok())
            .filter(|n| *n <= body.len())
            .ok_or_else(|| {
                invalid(format!("the header `{JSON_LENGTH}` is not a length within the body"))
            })?,
    };
    let (json, binary) = body.split_at(length);
    let request = serde_json::from_slice(json)
        .map_err(|e| invalid(format!("the body is not an inference request: {e}")))?;
    Ok((request, binary))
}

fn histories(inputs: &[Tensor], mut binary: &[u8]) -> Result<Vec<History>, InferError> {
    let (mut values, mut periods) = (None, None);
    for tensor in inputs {
        // Binary tensors follow each other in the order of the inputs.
        let bytes = match tensor.parameters.get("binary_data_size").and_then(Value::as_u64) {
            Some(size) => {
                let size =
                    usize::try_from(size).ok().filter(|n| *n <= binary.len()).ok_or_else(|| {
                        invalid(format!(
                            "input `{}` announces more bytes than the body has",
                            tensor.name
                        ))
                    })?;
                let (own, rest) = binary.split_at(size);
                binary = rest;
                Some(own)
            }
            None => None,
        };
        match tensor.name.as_str() {
            "history" => values = Some(numbers(tensor, bytes)?),
            "observed_until" => periods = Some(texts(tensor, bytes)?),
            other => {
                return Err(invalid(format!(
                    "there is no input `{other}`; inputs are `history` and `observed_until`"
                )));
            }
        }
    }
    let (values, length) = values.ok_or_else(|| invalid("the input `history` is missing"))?;
    let periods = periods.ok_or_else(|| invalid("the input `observed_until` is missing"))?;
    if length == 0 || values.len() / length != periods.len() {
        return Err(invalid(format!(
            "`history` has {} series, `observed_until` has {} periods",
            values.len().checked_div(length).unwrap_or(0),
            periods.len()
        )));
    }
    let history = |(number, (values, observed_until)): (usize, (&[f64], String))| History {
        series: number.to_string(),
        observed_until,
        // The protocol has no missing values; NaN stands for one.
        values: values.iter().map(|v| (!v.is_nan()).then_some(*v)).collect(),
        covariates: Default::default(),
        static_features: Default::default(),
    };
    Ok(values.chunks_exact(length).zip(periods).enumerate().map(history).collect())
}

/// Values of a two-dimensional tensor, and the length of a row.
fn numbers(tensor: &Tensor, bytes: Option<&[u8]>) -> Result<(Vec<f64>, usize), InferError> {
    let [series, length] = tensor.shape[..] else {
        return Err(invalid(format!(
            "input `history` has the shape {:?}; expected series × observations",
            tensor.shape
        )));
    };
    let wide = match tensor.datatype.as_str() {
        "FP64" => true,
        "FP32" => false,
        other => {
            return Err(invalid(format!(
                "input `history` has the type {other}; expected FP64 or FP32"
            )));
        }
    };
    let values: Vec<f64> = match bytes {
        Some(bytes) if wide => bytes
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes")))
            .collect(),
        Some(bytes) => bytes
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().expect("four bytes"))))
            .collect(),
        None => {
            let mut out = Vec::new();
            flatten(tensor.data.as_ref(), &mut |v| v.as_f64().map(|v| out.push(v)).is_some())
                .ok_or_else(|| invalid("input `history` has data that are not numbers"))?;
            out
        }
    };
    if Some(values.len()) != series.checked_mul(length) {
        return Err(invalid(format!(
            "input `history` has {} values, its shape {:?} another number",
            values.len(),
            tensor.shape
        )));
    }
    Ok((values, length))
}

fn texts(tensor: &Tensor, bytes: Option<&[u8]>) -> Result<Vec<String>, InferError> {
    if tensor.datatype != "BYTES" {
        return Err(invalid(format!(
            "input `observed_until` has the type {}; expected BYTES",
            tensor.datatype
        )));
    }
    let broken = || invalid("input `observed_until` has data that are not texts");
    let Some(mut bytes) = bytes else {
        let mut out = Vec::new();
        flatten(tensor.data.as_ref(), &mut |v| {
            v.as_str().map(|v| out.push(v.to_owned())).is_some()
        })
        .ok_or_else(broken)?;
        return Ok(out);
    };
    let mut out = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let (text, rest) =
            rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(broken)?;
        out.push(String::from_utf8(text.to_vec()).map_err(|_| broken())?);
        bytes = rest;
    }
    if bytes.is_empty() { Ok(out) } else { Err(broken()) }
}

/// Hands every element of nested lists to `take`; `None` when there are none or one is refused.
fn flatten(data: Option<&Value>, take: &mut impl FnMut(&Value) -> bool) -> Option<()> {
    match data? {
        Value::Array(items) => items.iter().try_for_each(|item| flatten(Some(item), take)),
        value => take(value).then_some(()),
    }
}

fn respond(
    service: &Service,
    request: &InferRequest,
    answer: &PredictResponse,
) -> Result<Response, InferError> {
    let is_binary = |parameters: &serde_json::Map<String, Value>, name: &str| {
        parameters.get(name).and_then(Value::as_bool)
    };
    let by_default = is_binary(&request.parameters, "binary_data_output").unwrap_or(false);
    let wanted: Vec<(&str, bool)> = match &request.outputs {
        None => OUTPUTS.iter().map(|name| (*name, by_default)).collect(),
        Some(outputs) => outputs
            .iter()
            .map(|o| {
                (o.name.as_str(), is_binary(&o.parameters, "binary_data").unwrap_or(by_default))
            })
            .collect(),
    };
    let steps = answer.forecasts.first().map_or(0, |f| f.steps.len());
    let (mut outputs, mut binary) = (Vec::new(), Vec::new());
    for (place, (name, as_bytes)) in wanted.iter().copied().enumerate() {
        if wanted[..place].iter().any(|(before, _)| *before == name) {
            return Err(invalid(format!("the output `{name}` is asked for twice")));
        }
        let values = answer.forecasts.iter().flat_map(|f| &f.steps).map(|s| match name {
            "lower" => s.lower,
            "upper" => s.upper,
            _ => s.value,
        });
        if !OUTPUTS.contains(&name) {
            return Err(invalid(format!(
                "there is no output `{name}`; outputs are {}",
                OUTPUTS.join(", ")
            )));
        }
        let mut output =
            json!({ "name": name, "datatype": "FP64", "shape": [answer.forecasts.len(), steps] });
        if as_bytes {
            output["parameters"] =
                json!({ "binary_data_size": answer.forecasts.len() * steps * 8 });
            binary.extend(values.flat_map(f64::to_le_bytes));
        } else {
            output["data"] = values.collect();
        }
        outputs.push(output);
    }
    let spec = &service.models.current().artifact.card.spec;
    let mut json = json!({ "model_name": spec.pipeline, "model_version": answer.model.version, "outputs": outputs });
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
