//! The cloud's own addresses, below `/_steppe/`: health, coverage, stop, faults, clock, metadata of
//! instances, wait conditions, tools of instances, and the pages of the [`console`].
//!
//! `health` says only `{"status": "ok"}`, unless the header `x-steppe-identity` has the content of
//! the file `identity` in the state folder, which only its owner can read: then it also says which
//! process, version and folder it is. `stop`, `faults` and `clock` need the same header. `clock` takes
//! `{"seconds": 86400}` and puts the cloud's clock forward, until the process ends.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::console;
use crate::coverage;
use crate::kernel::cloud::Cloud;
use crate::services::cloudformation::{self, Refused};
use crate::services::ec2;

/// Bytes of a body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Seconds that the clock is put forward at once: ten years.
const ADVANCE_SECS_MAX: u64 = 10 * 366 * 24 * 60 * 60;

/// Answers a request to `/_steppe/PATH`.
pub async fn answer(cloud: &Arc<Cloud>, path: &str, request: Request<Body>) -> Response {
    if matches!(*request.method(), Method::GET | Method::POST) && console::has(path) {
        return console::answer(cloud, path, request).await;
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let segments: Vec<&str> = path.splitn(3, '/').collect();
    match (&parts.method, segments.as_slice()) {
        (&Method::GET, ["health"]) => axum::Json(health(cloud, &parts.headers)).into_response(),
        (&Method::GET, ["coverage"]) => axum::Json(coverage::value()).into_response(),
        (&Method::POST, ["stop"]) => stop(cloud, &parts.headers),
        (&Method::POST, ["clock"]) => advance_clock(cloud, &parts.headers, &body),
        (method, ["imds", token, rest]) => {
            ec2::metadata(cloud, method, token, rest, &parts.headers).into_response()
        }
        (&Method::PUT, ["wait", _]) => signal(cloud, &parts.uri, &body),
        (&Method::PUT, ["faults"]) => script_faults(cloud, &parts.headers, &body),
        (&Method::POST, ["instances", token, "systemctl"]) => systemctl(cloud, token, &body).await,
        (&Method::POST, ["instances", token, "signal"]) => signal_resource(cloud, token, &body),
        _ => not_found(&parts),
    }
}

fn not_found(parts: &Parts) -> Response {
    let message = format!("there is no {} {} here", parts.method, parts.uri.path());
    (StatusCode::NOT_FOUND, message).into_response()
}

fn health(cloud: &Cloud, headers: &HeaderMap) -> Value {
    if !knows_identity(cloud, headers) {
        return json!({ "status": "ok" });
    }
    json!({
        "status": "ok", "pid": std::process::id(), "version": env!("CARGO_PKG_VERSION"),
        "state": cloud.config.state_dir, "identity": cloud.identity,
    })
}

fn stop(cloud: &Cloud, headers: &HeaderMap) -> Response {
    if !knows_identity(cloud, headers) {
        return (StatusCode::FORBIDDEN, "x-steppe-identity is not this cloud's").into_response();
    }
    cloud.stop.notify_one();
    axum::Json(json!({ "status": "stopping" })).into_response()
}

/// Puts the clock forward by `{"seconds": n}`, and says what it shows then.
fn advance_clock(cloud: &Cloud, headers: &HeaderMap, body: &[u8]) -> Response {
    if !knows_identity(cloud, headers) {
        return (StatusCode::FORBIDDEN, "x-steppe-identity is not this cloud's").into_response();
    }
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let Some(seconds) = asked["seconds"].as_u64().filter(|seconds| *seconds <= ADVANCE_SECS_MAX)
    else {
        let message = format!("`seconds` is a whole number of at most {ADVANCE_SECS_MAX}");
        return (StatusCode::BAD_REQUEST, message).into_response();
    };
    let by = Duration::from_secs(seconds);
    if let Err(error) = cloud.clock.advance_for_good(by, &cloud.config.state_dir) {
        let message = format!("the clock cannot be put forward: {error}");
        return (StatusCode::INTERNAL_SERVER_ERROR, message).into_response();
    }
    axum::Json(json!({ "now": cloud.clock.now() })).into_response()
}

/// Compared as hashes, so that the time taken tells nothing about where they differ.
fn knows_identity(cloud: &Cloud, headers: &HeaderMap) -> bool {
    headers.get("x-steppe-identity").is_some_and(|given| {
        Sha256::digest(given.as_bytes()) == Sha256::digest(cloud.identity.as_bytes())
    })
}

async fn systemctl(cloud: &Arc<Cloud>, token: &str, body: &[u8]) -> Response {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
    match ec2::systemctl(cloud, token, &text("verb"), &text("unit")).await {
        Ok(answer) => (StatusCode::OK, answer).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error).into_response(),
    }
}

/// A signal of an instance for a resource of its stack.
fn signal_resource(cloud: &Arc<Cloud>, token: &str, body: &[u8]) -> Response {
    let Some((instance, _)) = ec2::with_token(cloud, token) else {
        return (StatusCode::NOT_FOUND, "the instance no longer exists").into_response();
    };
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    match cloudformation::signal_by_instance(cloud, &instance, &asked) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

/// A signal of a wait condition; the random part of the address is the permission.
fn signal(cloud: &Cloud, uri: &Uri, body: &[u8]) -> Response {
    match cloudformation::signal(cloud, uri.path(), body) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(Refused::Unknown) => StatusCode::NOT_FOUND.into_response(),
        Err(Refused::Malformed(words)) => (StatusCode::BAD_REQUEST, words).into_response(),
    }
}

/// Replaces the script of faults.
fn script_faults(cloud: &Cloud, headers: &HeaderMap, body: &[u8]) -> Response {
    if !knows_identity(cloud, headers) {
        return (StatusCode::FORBIDDEN, "x-steppe-identity is not this cloud's").into_response();
    }
    match cloud.faults.set(body) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error:#}")).into_response(),
    }
}
