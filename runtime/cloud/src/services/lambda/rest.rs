//! The REST API of Lambda.

use std::sync::Arc;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Invoked, Reference, authorized, describe, get, invoke_at};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;

/// Functions in one answer, as in AWS.
const PAGE_MAX: usize = 50;
/// Headers of an invocation that have no effect here and must not be dropped.
const REFUSED: [(&str, &str); 3] = [
    ("x-amz-client-context", "ClientContext"),
    ("x-amz-tenant-id", "TenantId"),
    ("x-amz-durable-execution-name", "DurableExecutionName"),
];

/// Answers a request to Lambda; `path` is decoded.
pub async fn rest(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    parts: &Parts,
    segments: &[String],
    body: Bytes,
) -> ApiResult<Response> {
    let query = Query::of(parts);
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (&parts.method, segments.as_slice()) {
        (&Method::GET, ["2015-03-31", "functions"]) => {
            query.only("ListFunctions", &["MaxItems", "Marker"])?;
            list(cloud, caller, &query).map(|v| axum::Json(v).into_response())
        }
        (&Method::GET, ["2015-03-31", "functions", name]) => {
            query.only("GetFunction", &["Qualifier"])?;
            let reference = Reference::parse(name, query.get("Qualifier"));
            get(cloud, caller, &reference).map(|v| axum::Json(v).into_response())
        }
        (&Method::POST, ["2015-03-31", "functions", name, "invocations"]) => {
            query.only("Invoke", &["Qualifier"])?;
            let reference = Reference::parse(name, query.get("Qualifier"));
            invocation(cloud, caller, &reference, &parts.headers, body).await
        }
        (method, _) => {
            let operation = format!("{method} {}", parts.uri.path());
            Err(ApiError::unknown_operation("lambda", &operation))
        }
    }
}

/// The query of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(parts: &Parts) -> Self {
        let text = parts.uri.query().unwrap_or_default();
        Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn only(&self, operation: &str, used: &[&str]) -> ApiResult<()> {
        match self.0.iter().find(|(name, _)| !used.contains(&name.as_str())) {
            Some((name, _)) => {
                Err(ApiError::unknown_parameter(name, &format!("lambda:{operation}")))
            }
            None => Ok(()),
        }
    }
}

async fn invocation(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    reference: &Reference<'_>,
    headers: &HeaderMap,
    body: Bytes,
) -> ApiResult<Response> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    if let Some((_, name)) = REFUSED.iter().find(|(header, _)| headers.contains_key(*header)) {
        return Err(ApiError::unknown_parameter(name, "lambda:Invoke"));
    }
    let with_log = match text("x-amz-log-type") {
        None | Some("None") => false,
        Some("Tail") => true,
        Some(other) => return Err(not_in("logType", other, "[Tail, None]")),
    };
    match text("x-amz-invocation-type").unwrap_or("RequestResponse") {
        "RequestResponse" => {}
        "DryRun" => {
            authorized(cloud, caller, reference)?;
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        "Event" => {
            let message = "The embedded cloud does not implement invocations of the type Event.";
            return Err(ApiError::new("NotImplemented", message).with_status(501));
        }
        other => {
            return Err(not_in("invocationType", other, "[Event, RequestResponse, DryRun]"));
        }
    }
    let payload = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
    let invoked = invoke_at(cloud, caller, reference, payload).await?;
    Ok(answer(invoked, with_log))
}

fn answer(invoked: Invoked, with_log: bool) -> Response {
    let mut response = (StatusCode::OK, invoked.payload).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert("x-amz-executed-version", HeaderValue::from_static("$LATEST"));
    if let Some(error) = invoked.function_error {
        headers.insert("x-amz-function-error", HeaderValue::from_static(error));
    }
    if with_log {
        let log = base64::engine::general_purpose::STANDARD.encode(invoked.log_tail);
        if let Ok(log) = HeaderValue::try_from(log) {
            headers.insert("x-amz-log-result", log);
        }
    }
    response
}

fn not_in(member: &str, value: &str, set: &str) -> ApiError {
    let message = format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
         Member must satisfy enum value set: {set}"
    );
    ApiError::new("ValidationException", message)
}

/// `ListFunctions`, in pages.
fn list(cloud: &Cloud, caller: &Caller, query: &Query) -> ApiResult {
    cloud.authorize(caller, "lambda:ListFunctions", "*", &[])?;
    let size = match query.get("MaxItems") {
        None => PAGE_MAX,
        Some(text) => {
            let invalid = || {
                let message = format!(
                    "1 validation error detected: Value '{text}' at 'maxItems' failed to satisfy \
                     constraint: Member must have value greater than or equal to 1"
                );
                ApiError::new("ValidationException", message)
            };
            let size: usize = text.parse().map_err(|_| invalid())?;
            Some(size).filter(|s| *s > 0).ok_or_else(invalid)?.min(PAGE_MAX)
        }
    };
    let after = query.get("Marker").filter(|m| !m.is_empty());
    let rest = cloud.services.lambda.functions.range("", after);
    let page: Vec<Value> =
        rest.iter().take(size).map(|(name, f)| describe(cloud, name, f)).collect();
    let last = rest.get(size.saturating_sub(1)).filter(|_| rest.len() > size);
    Ok(json!({ "Functions": page, "NextMarker": last.map(|(name, _)| name) }))
}
