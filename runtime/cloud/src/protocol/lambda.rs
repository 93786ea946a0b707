//! Lambda's REST interface: paths are taken apart here, and answered by the service.

use std::sync::Arc;

use axum::body::Bytes;
use axum::http::HeaderValue;
use axum::http::request::Parts;
use axum::response::Response;

use super::encoding;
use super::speech::Speech;
use crate::kernel::cloud::Cloud;
use crate::kernel::faults::{self, Outcome};
use crate::kernel::identity::Caller;
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
    let path = parts.uri.path().trim_matches('/');
    let segments: Vec<String> = path.split('/').map(percent_decode).collect();
    let call = lambda::rest(cloud, caller, parts, &segments, body);
    match cloud.faults.around(&speech.service, operation(parts, &segments), call).await {
        Outcome::Answered(Ok(mut response)) => {
            if let Ok(id) = HeaderValue::try_from(request_id) {
                response.headers_mut().insert("x-amzn-requestid", id);
            }
            response
        }
        Outcome::Answered(Err(error)) => encoding::failure(speech, &error, request_id),
        Outcome::Lost => faults::lost(),
    }
}

/// AWS's name for the operation; nothing for those that there are not.
fn operation(parts: &Parts, segments: &[String]) -> &'static str {
    match (parts.method.as_str(), segments) {
        ("GET", [_, functions]) if functions == "functions" => "ListFunctions",
        ("GET", [_, functions, _]) if functions == "functions" => "GetFunction",
        ("POST", [_, _, _, invocations]) if invocations == "invocations" => "Invoke",
        _ => "",
    }
}

/// Undoes percent-encoding.
pub fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
