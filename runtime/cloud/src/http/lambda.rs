//! Lambda's REST interface.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::encoding;
use super::protocol::Speech;
use crate::cloud::Cloud;
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;
use crate::services::lambda;

/// Answers one request.
pub async fn answer(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    speech: &Speech,
    parts: &Parts,
    body: Bytes,
    request_id: &str,
) -> Response {
    let path = percent_decode(parts.uri.path());
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let result = match (&parts.method, segments.as_slice()) {
        (&Method::GET, ["2015-03-31", "functions"]) => lambda::list(cloud, caller),
        (&Method::GET, ["2015-03-31", "functions", name]) => lambda::get(cloud, caller, name),
        (&Method::POST, ["2015-03-31", "functions", name, "invocations"]) => {
            return match invoke(cloud, caller, name, parts, body).await {
                Ok(response) => response,
                Err(error) => encoding::failure(speech, &error, request_id),
            };
        }
        _ => Err(ApiError::unknown_operation("lambda", &format!("{} {path}", parts.method))),
    };
    match result {
        Ok(value) => encoding::success(speech, "", &value, request_id),
        Err(error) => encoding::failure(speech, &error, request_id),
    }
}

async fn invoke(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    name: &str,
    parts: &Parts,
    body: Bytes,
) -> ApiResult<Response> {
    let kind = parts.headers.get("x-amz-invocation-type").and_then(|v| v.to_str().ok());
    if let Some(kind) = kind
        && kind != "RequestResponse"
    {
        let message =
            format!("The embedded cloud does not implement invocations of the type {kind}.");
        return Err(ApiError::new("NotImplemented", message).with_status(501));
    }
    let payload = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    let invoked = lambda::invoke(cloud, caller, name, payload).await?;
    let mut response = (StatusCode::OK, invoked.payload).into_response();
    let headers = response.headers_mut();
    headers.insert("x-amz-executed-version", HeaderValue::from_static("$LATEST"));
    if let Some(error) = invoked.function_error {
        headers.insert("x-amz-function-error", HeaderValue::from_static(error));
    }
    Ok(response)
}

/// Undoes percent-encoding.
pub fn percent_decode(text: &str) -> String {
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
