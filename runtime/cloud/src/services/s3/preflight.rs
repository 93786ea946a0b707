//! `OPTIONS`: what browsers ask before a request to another site. It is not signed, and no bucket
//! here has rules for it, so S3 refuses it in one of three ways.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/RESTOPTIONSobject.html>

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use s3s::host::S3Host;
use s3s::{Body, HttpRequest, HttpResponse, S3Result};

use super::access::header;
use super::errors::{custom, internal};
use super::names::Hosts;
use crate::kernel::cloud::Cloud;

/// Refuses the question.
pub fn answer(cloud: &Arc<Cloud>, request: &HttpRequest) -> S3Result<HttpResponse> {
    let headers = request.headers();
    if !headers.contains_key(header::ORIGIN) {
        return Err(custom(
            "BadRequest",
            400,
            "Insufficient information. Origin request header needed.",
        ));
    }
    let host = header(headers, "host").unwrap_or_default();
    let path = crate::protocol::percent_decode(request.uri().path().trim_start_matches('/'));
    let host = Hosts.parse_host_header(&host)?;
    let in_path = path.split('/').next().unwrap_or_default();
    let there = cloud.services.s3.get(host.bucket().unwrap_or(in_path)).is_ok();
    let words = match there {
        true => "CORSResponse: CORS is not enabled for this bucket.",
        false => "CORSResponse: Bucket not found",
    };
    let error = custom("AccessForbidden", 403, words);
    let mut response = error.to_http_response().map_err(internal)?;
    if let Some(xml) = response.body().bytes() {
        let about = format!(
            "<Method>{}</Method><ResourceType>BUCKET</ResourceType></Error>",
            method_of(headers)
        );
        let xml = String::from_utf8_lossy(&xml).replace("</Error>", &about);
        *response.body_mut() = Body::from(xml);
    }
    Ok(response)
}

/// The method that the browser asks about.
fn method_of(headers: &HeaderMap) -> String {
    let asked = header(headers, "access-control-request-method");
    let named = asked.filter(|method| method.bytes().all(|b| b.is_ascii_alphabetic()));
    named.unwrap_or_else(|| "OPTIONS".to_owned())
}
