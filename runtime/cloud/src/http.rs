//! The front door: one port for all services, told apart by the scope of the signature.

mod encoding;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::error::{ApiError, ApiResult};
use crate::identity::{Authorization, Caller, SignedRequest};
use crate::services::{athena, ec2, events, glue, lambda, logs, sns, states};
use crate::{cloudformation, iam};

/// Bytes of a request to any service but S3.
const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What requests are answered with.
#[derive(Clone)]
struct Shared {
    cloud: Arc<Cloud>,
    s3: crate::s3::Service,
}

/// Serves until `stop` is notified.
pub async fn serve(
    cloud: Arc<Cloud>,
    listener: tokio::net::TcpListener,
    stop: Arc<tokio::sync::Notify>,
) -> std::io::Result<()> {
    let shared = Shared { s3: crate::s3::service(&cloud), cloud };
    let app = Router::new().fallback(answer).with_state(shared);
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    // Head and body of an answer are two writes; without this the second waits for the client's
    // delayed acknowledgement of the first.
    let listener = listener.tap_io(|connection| {
        connection.set_nodelay(true).unwrap_or_else(|e| tracing::debug!("TCP_NODELAY: {e}"));
    });
    axum::serve(listener, service)
        .with_graceful_shutdown(async move { stop.notified().await })
        .await
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response {
    if let Some(path) = request.uri().path().strip_prefix("/_steppe/").map(str::to_owned) {
        return own(&shared, &path, request).await;
    }
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    match authorization.and_then(Authorization::parse).map(|a| a.service.to_owned()) {
        Some(service) if service != "s3" => aws(&shared.cloud, &service, request).await,
        _ => shared.s3.answer(request).await,
    }
}

async fn aws(cloud: &Arc<Cloud>, service: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let request_id = uuid::Uuid::new_v4().to_string();
    let protocol = encoding::Protocol::of(service);
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return encoding::failure(
            protocol,
            &ApiError::new("RequestEntityTooLarge", "The request is too large.").with_status(413),
            &request_id,
        );
    };
    let signed = SignedRequest {
        method: &parts.method,
        uri: &parts.uri,
        headers: &parts.headers,
        body: &body,
    };
    let caller = match signed.verify(&cloud.identities) {
        Ok(caller) => caller,
        Err(error) => return encoding::failure(protocol, &error, &request_id),
    };
    if service == "lambda" {
        return lambda_rest(cloud, &caller, &parts, body, &request_id).await;
    }
    let parsed = encoding::parse(protocol, &parts.headers, &body);
    let result = match parsed {
        Ok((operation, params)) => dispatch(cloud, &caller, service, &operation, &params)
            .await
            .map(|value| (operation, value)),
        Err(error) => Err(error),
    };
    match result {
        Ok((operation, value)) => {
            encoding::success(protocol, service, &operation, &value, &request_id)
        }
        Err(error) => encoding::failure(protocol, &error, &request_id),
    }
}

async fn dispatch(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    service: &str,
    operation: &str,
    params: &Value,
) -> ApiResult {
    match service {
        "cloudformation" => cloudformation::handle(cloud, caller, operation, params).await,
        "sts" => sts(cloud, caller, operation),
        "iam" => iam::handle(cloud, caller, operation, params),
        "sns" => sns::handle(cloud, caller, operation, params),
        "ec2" => ec2::handle(cloud, caller, operation, params),
        "glue" => glue::handle(cloud, caller, operation, params).await,
        "athena" => athena::handle(cloud, caller, operation, params).await,
        "states" => states::handle(cloud, caller, operation, params).await,
        "logs" => logs::handle(cloud, caller, operation, params),
        "events" => events::handle(cloud, caller, operation, params),
        other => Err(ApiError::unknown_operation(other, operation)),
    }
}

/// STS: every caller may ask who it is.
fn sts(cloud: &Cloud, caller: &Caller, operation: &str) -> ApiResult {
    match operation {
        "GetCallerIdentity" => Ok(
            json!({ "UserId": "AIDAEMBEDDED", "Account": cloud.config.account, "Arn": caller.arn }),
        ),
        other => Err(ApiError::unknown_operation("sts", other)),
    }
}

async fn lambda_rest(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    parts: &Parts,
    body: Bytes,
    request_id: &str,
) -> Response {
    let path = percent_decode(parts.uri.path());
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let json = encoding::Protocol::RestJson;
    let result = match (&parts.method, segments.as_slice()) {
        (&Method::GET, ["2015-03-31", "functions"]) => lambda::list(cloud, caller),
        (&Method::GET, ["2015-03-31", "functions", name]) => lambda::get(cloud, caller, name),
        (&Method::POST, ["2015-03-31", "functions", name, "invocations"]) => {
            let kind = parts
                .headers
                .get("x-amz-invocation-type")
                .and_then(|v| v.to_str().ok())
                .unwrap_or("RequestResponse");
            if kind != "RequestResponse" {
                let message = format!(
                    "The embedded cloud does not implement invocations of the type {kind}."
                );
                return encoding::failure(
                    json,
                    &ApiError::new("NotImplemented", message).with_status(501),
                    request_id,
                );
            }
            let payload = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
            return match lambda::invoke(cloud, caller, name, payload).await {
                Ok(invoked) => {
                    let mut response = (StatusCode::OK, invoked.payload).into_response();
                    response.headers_mut().insert(
                        "x-amz-executed-version",
                        header::HeaderValue::from_static("$LATEST"),
                    );
                    if let Some(error) = invoked.function_error {
                        response.headers_mut().insert(
                            "x-amz-function-error",
                            header::HeaderValue::from_static(error),
                        );
                    }
                    response
                }
                Err(error) => encoding::failure(json, &error, request_id),
            };
        }
        _ => Err(ApiError::unknown_operation("lambda", &format!("{} {path}", parts.method))),
    };
    match result {
        Ok(value) => encoding::success(json, "lambda", "", &value, request_id),
        Err(error) => encoding::failure(json, &error, request_id),
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|h| u8::from_str_radix(h, 16).ok());
        out.push(code.unwrap_or(bytes[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The cloud's own addresses: health, metadata services, wait conditions, tools of instances.
async fn own(shared: &Shared, path: &str, request: Request) -> Response {
    let cloud = &shared.cloud;
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, 64 * 1024).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let segments: Vec<&str> = path.splitn(3, '/').collect();
    match (&parts.method, segments.as_slice()) {
        (&Method::GET, ["health"]) => {
            axum::Json(json!({ "status": "ok", "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION") })).into_response()
        }
        (method, ["imds", token, rest]) => ec2::metadata(cloud, method, token, rest, &parts.headers).into_response(),
        (&Method::PUT, ["wait", _]) => signal(cloud, &parts.uri, &body),
        (&Method::POST, ["instances", token, "systemctl"]) => {
            let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
            let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
            match ec2::systemctl(cloud, token, &text("verb"), &text("unit")).await {
                Ok(answer) => (StatusCode::OK, answer).into_response(),
                Err(error) => (StatusCode::BAD_REQUEST, error).into_response(),
            }
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// A signal of a wait condition; the random part of the address is the permission.
fn signal(cloud: &Cloud, uri: &Uri, body: &[u8]) -> Response {
    let Ok(signal) = serde_json::from_slice::<Value>(body) else {
        return (StatusCode::BAD_REQUEST, "the signal is not JSON").into_response();
    };
    let handle = format!("{}{}", cloud.config.endpoint(), uri.path());
    let known = cloud
        .stacks
        .all()
        .iter()
        .any(|(_, s)| s.resources.values().any(|r| r.physical_id == handle));
    if !known {
        return StatusCode::NOT_FOUND.into_response();
    }
    cloud
        .signals
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .entry(handle)
        .or_default()
        .push(signal);
    cloud.signalled.notify_waiters();
    StatusCode::OK.into_response()
}
