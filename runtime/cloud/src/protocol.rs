//! The front door: one port for all services, told apart by the scope of the signature.
//!
//! [`guard`] keeps web pages out, [`connections`] bounds what clients can hold, `protocol` finds
//! out how a client is answered, and the signature says who calls before anything is looked at.

mod answer;
mod cbor;
mod connections;
mod encoding;
mod form;
mod guard;
mod moment;
mod own;
mod rest;
mod speech;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, header};
use axum::response::Response;

use self::connections::Limits;
use self::speech::Speech;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::ApiError;
use crate::kernel::faults::{self, Outcome};
use crate::kernel::identity::Origin;
use crate::kernel::identity::signature::{Authorization, SignedRequest, check_s3};
use crate::kernel::service;

/// Bytes of a request to a service that is not there.
const UNKNOWN_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What requests are answered with.
#[derive(Clone)]
struct Shared {
    cloud: Arc<Cloud>,
    s3: crate::services::s3::Front,
}

/// Whether a request to a service can be read, for the fuzzer.
pub fn reads(service: &str, parts: &axum::http::request::Parts, body: &[u8]) -> bool {
    encoding::parse(&Speech::of(service, parts), parts, body).is_ok()
}

/// Serves until `stop` is notified.
pub async fn serve(
    cloud: Arc<Cloud>,
    listener: tokio::net::TcpListener,
    stop: Arc<tokio::sync::Notify>,
) -> std::io::Result<()> {
    let shared = Shared { s3: crate::services::s3::service(&cloud), cloud };
    connections::serve(listener, stop, Limits::default(), move |peer, request| {
        let shared = shared.clone();
        async move { answer(&shared, peer, request).await }
    })
    .await;
    Ok(())
}

async fn answer(shared: &Shared, peer: SocketAddr, request: Request<Body>) -> Response {
    let request_id = uuid::Uuid::new_v4().to_string();
    let (parts, body) = request.into_parts();
    let service = service(&parts.headers);
    if let Err(error) = guard::check(&parts) {
        return match service {
            Some(service) if service != "s3" => {
                encoding::failure(&Speech::of(&service, &parts), &error, &request_id)
            }
            _ => encoding::s3_failure(&error, &shared.cloud.config.region, &request_id),
        };
    }
    if let Some(path) = parts.uri.path().strip_prefix("/_steppe/").map(str::to_owned) {
        return own::answer(&shared.cloud, &path, Request::from_parts(parts, body)).await;
    }
    let origin = origin(peer, &parts.headers, &request_id);
    match service {
        Some(service) if service != "s3" => {
            let speech = Speech::of(&service, &parts);
            aws(&shared.cloud, &speech, origin, Request::from_parts(parts, body), &request_id).await
        }
        _ => s3(shared, origin, Request::from_parts(parts, body), &request_id).await,
    }
}

/// The service that a request is signed for.
fn service(headers: &HeaderMap) -> Option<String> {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    Some(Authorization::parse(authorization?)?.scope.service.to_owned())
}

fn origin(peer: SocketAddr, headers: &HeaderMap, request_id: &str) -> Origin {
    let text = |name: header::HeaderName| headers.get(name).and_then(|v| v.to_str().ok());
    let authorization = text(header::AUTHORIZATION).and_then(Authorization::parse);
    Origin {
        source_ip: Some(peer.ip()),
        user_agent: text(header::USER_AGENT).map(str::to_owned),
        access_key_id: authorization.map(|a| a.access_key_id.to_owned()),
        request_id: Some(request_id.to_owned()),
        ..Origin::default()
    }
}

async fn s3(
    shared: &Shared,
    origin: Origin,
    mut request: Request<Body>,
    request_id: &str,
) -> Response {
    let region = &shared.cloud.config.region;
    // Browsers ask by OPTIONS whether they may, and sign nothing of that.
    if request.method() != Method::OPTIONS
        && let Err(error) = check_s3(request.uri(), request.headers(), region)
    {
        return encoding::s3_failure(&error, region, request_id);
    }
    request.extensions_mut().insert(origin);
    shared.s3.answer(request).await
}

async fn aws(
    cloud: &Arc<Cloud>,
    speech: &Speech,
    origin: Origin,
    request: Request<Body>,
    request_id: &str,
) -> Response {
    let (parts, body) = request.into_parts();
    let known = crate::services::find(&speech.service);
    let most = known.map_or(UNKNOWN_BYTES_MAX, |service| service.request_bytes_max);
    let Ok(body) = axum::body::to_bytes(body, most).await else {
        let error = ApiError::new(
            "RequestEntityTooLarge",
            "The request is too large, or its body \
            did not arrive.",
        )
        .with_status(413);
        return encoding::failure(speech, &error, request_id);
    };
    let signed = SignedRequest {
        method: &parts.method,
        uri: &parts.uri,
        headers: &parts.headers,
        body: &body,
    };
    let caller = match signed.verify(&cloud.identities) {
        Ok(caller) => caller.from(origin),
        Err(error) => return encoding::failure(speech, &error, request_id),
    };
    let (operation, params) = match encoding::parse(speech, &parts, &body) {
        Ok(parsed) => parsed,
        Err(error) => return encoding::failure(speech, &error, request_id),
    };
    let call = service::call(cloud, &caller, &speech.service, &operation, &params);
    match cloud.faults.around(&speech.service, &operation, call).await {
        Outcome::Answered(Ok(value)) => encoding::success(speech, &operation, &value, request_id)
            .unwrap_or_else(|error| encoding::failure(speech, &error, request_id)),
        Outcome::Answered(Err(error)) => encoding::failure(speech, &error, request_id),
        Outcome::Lost => faults::lost(),
    }
}

/// Undoes percent-encoding.
pub fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
