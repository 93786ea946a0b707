//! What happens around `s3s`: requests that it would take and S3 does not, digests of the bodies
//! that it parses, and characters that XML does not have.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use axum::body::Body as AxumBody;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::Response;
use parking_lot::Mutex;
use regex::{Captures, Regex};
use s3s::service::S3Service;
use s3s::{Body, HttpRequest, HttpResponse, S3Error, S3ErrorCode, S3Result, s3_error};

use super::checksums;
use super::errors::{access_denied, denied, internal, invalid_request, not_implemented};
use super::messages::{host_id, new_request_id};
use super::post;
use super::preflight;
use super::unread::Returning;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::ApiError;
use crate::kernel::faults::{self, Ahead, Faults};
use crate::kernel::identity::{Caller, Origin};
use crate::kernel::service::UNREAD;

/// Bytes of a body that is parsed: 10,000 parts with their checksums are a tenth of it.
pub const PARSED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Parameters by which requests with a body that is parsed are known.
const PARSED: [&str; 11] = [
    "acl",
    "cors",
    "delete",
    "encryption",
    "lifecycle",
    "notification",
    "ownershipControls",
    "policy",
    "publicAccessBlock",
    "tagging",
    "versioning",
];

/// The ID of a request.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Told by the check of a request when a fault wants its answer to be lost.
#[derive(Debug, Clone, Default)]
pub struct Losing(Arc<AtomicBool>);

/// What the check of a request found out, for the trail: who calls, and what.
#[derive(Debug, Clone, Default)]
pub struct Called(Arc<Mutex<Option<(Caller, &'static str)>>>);

impl Called {
    /// Notes an operation that is more than a data event.
    pub fn note(&self, caller: &Caller, operation: &'static str) {
        *self.0.lock() = Some((caller.clone(), operation));
    }
}

/// Counts a call for scripted faults; an error when it has to fail.
pub async fn strike(faults: &Faults, operation: &str, lost: Option<&Losing>) -> S3Result<()> {
    let lose = || lost.iter().for_each(|Losing(lost)| lost.store(true, Ordering::SeqCst));
    match faults.ahead("s3", operation).await {
        Ahead::Made => Ok(()),
        Ahead::Refused(error) if error.code == "ExpiredToken" => Err(denied(error)),
        Ahead::Refused(error) => {
            let code = S3ErrorCode::from_bytes(error.code.as_bytes());
            let code = code.unwrap_or_else(|| S3ErrorCode::Custom(error.code.into()));
            let mut refused = S3Error::with_message(code, error.message);
            if let Ok(status) = StatusCode::from_u16(error.status) {
                refused.set_status_code(status);
            }
            Err(refused)
        }
        Ahead::Lost => {
            lose();
            Ok(())
        }
        Ahead::Reset => {
            lose();
            Err(internal("a fault of the script"))
        }
    }
}

/// S3 over HTTP.
#[derive(Clone)]
pub struct Service {
    cloud: Arc<Cloud>,
    s3: S3Service,
}

impl Service {
    /// Puts itself around `s3`.
    pub fn new(cloud: Arc<Cloud>, s3: S3Service) -> Self {
        Self { cloud, s3 }
    }

    /// Answers one request.
    pub async fn answer(&self, request: axum::extract::Request) -> Response {
        let method = request.method().clone();
        let attributes = method == Method::GET
            && parameters(request.uri()).iter().any(|(name, _)| name == "attributes");
        let waits = request.headers().contains_key(header::EXPECT);
        let (lost, called) = (Losing::default(), Called::default());
        let (mut body, unread) = Returning::wrap(request);
        let id = RequestId(new_request_id());
        body.extensions_mut().insert(lost.clone());
        body.extensions_mut().insert(called.clone());
        if let Some(origin) = body.extensions_mut().get_mut::<Origin>() {
            origin.request_id = Some(id.0.clone());
        }
        body.extensions_mut().insert(id.clone());
        let before = self.cloud.store.unread();
        let answered = match self.prepare(body).await {
            Ok(request) if request.method() == Method::OPTIONS => {
                preflight::answer(&self.cloud, &request)
            }
            Ok(request) if post::is_form(&request) => post::answer(&self.cloud, request).await,
            Ok(request) => self.s3.call(request).await.map_err(|e| internal(format!("{e:?}"))),
            Err(error) => Err(error),
        };
        let mut response = match answered {
            _ if self.cloud.store.unread() != before => self.failure(internal(UNREAD)),
            Ok(response) => response,
            Err(error) => self.failure(error),
        };
        let error = response.body().bytes().filter(|_| !response.status().is_success());
        if let Some(worded) = error.and_then(|xml| with_words(&xml)) {
            replace_body(&mut response, worded);
        }
        self.note(&called, &response);
        if lost.0.load(Ordering::SeqCst) {
            return faults::lost();
        }
        if !response.status().is_success() {
            unread.end(waits, &mut response).await;
        }
        if attributes && response.status().is_success() {
            bare_tag(&mut response);
        }
        finish(&method, &id, &mut response);
        response.map(AxumBody::new)
    }

    /// Writes a call into the trail.
    fn note(&self, called: &Called, response: &HttpResponse) {
        let Some((caller, operation)) = called.0.lock().take() else { return };
        let status = response.status();
        let error = (!status.is_success()).then(|| {
            let xml = response.body().bytes().unwrap_or_default();
            let xml = String::from_utf8_lossy(&xml);
            let element = |name: &str| {
                let rest = xml.split_once(&format!("<{name}>")).map(|(_, rest)| rest);
                rest.and_then(|rest| Some(rest.split_once("</")?.0)).unwrap_or_default()
            };
            // Answers to HEAD have no body.
            let code = match (element("Code"), status.as_u16()) {
                ("", 404) => "NoSuchBucket",
                ("", _) => "AccessDenied",
                (code, _) => code,
            };
            ApiError::new(code, element("Message")).with_status(status.as_u16())
        });
        self.cloud.note(&caller, "s3", operation, error.as_ref());
    }

    /// An error's answer. One about the region names the right one, for clients to go on with.
    fn failure(&self, error: S3Error) -> HttpResponse {
        let wrong_region = *error.code() == S3ErrorCode::AuthorizationHeaderMalformed;
        let mut response = match error.to_http_response() {
            Ok(response) => response,
            Err(error) => return HttpResponse::new(Body::from(error.to_string())),
        };
        let region = &self.cloud.config.region;
        if wrong_region && let Some(xml) = response.body().bytes() {
            let element = format!("<Region>{region}</Region></Error>");
            let xml = String::from_utf8_lossy(&xml).replace("</Error>", &element);
            *response.body_mut() = Body::from(xml);
            if let Ok(region) = HeaderValue::from_str(region) {
                response.headers_mut().insert("x-amz-bucket-region", region);
            }
        }
        response
    }

    async fn prepare(&self, request: HttpRequest) -> S3Result<HttpRequest> {
        let (mut parts, mut body) = request.into_parts();
        if !parts.headers.contains_key(header::HOST) {
            return Err(invalid_request("Missing Host header."));
        }
        let query = parameters(&parts.uri);
        if query.iter().any(|(name, _)| name == "X-Amz-Signature") {
            copy_to_headers(&query, &mut parts.headers)?;
        }
        date_as_amz_date(&mut parts.headers);
        if parts.method == Method::PUT
            && parts.headers.contains_key(header::TRANSFER_ENCODING)
            && !parts.headers.contains_key("x-amz-decoded-content-length")
        {
            return Err(not_implemented("Transfer-Encoding of a body of unknown length"));
        }
        let changes = parts.method == Method::PUT || parts.method == Method::POST;
        if changes && query.iter().any(|(name, _)| PARSED.contains(&name.as_str())) {
            let bytes = body
                .store_all_limited(PARSED_BYTES_MAX)
                .await
                .map_err(|_| s3_error!(MaxMessageLengthExceeded, "Your request was too large."))?;
            checksums::verify_body(&parts.headers, &bytes)?;
        }
        Ok(HttpRequest::from_parts(parts, body))
    }
}

fn parameters(uri: &Uri) -> Vec<(String, String)> {
    url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect()
}

/// A signature may be dated by `Date` alone, which `s3s` does not read. What is added here is not
/// among the signed headers, so the signature is calculated as the client did it.
fn date_as_amz_date(headers: &mut HeaderMap) {
    let signed = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    if headers.contains_key("x-amz-date")
        || !signed.is_some_and(|signed| signed.starts_with("AWS4-HMAC-SHA256"))
    {
        return;
    }
    let date = headers.get(header::DATE).and_then(|v| v.to_str().ok());
    let date = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
    let basic = date.map(|date| date.timestamp().strftime("%Y%m%dT%H%M%SZ").to_string());
    if let Some(Ok(basic)) = basic.map(|basic| HeaderValue::from_str(&basic)) {
        headers.insert("x-amz-date", basic);
    }
}

/// Some clients put headers into presigned URLs, where S3 reads them.
fn copy_to_headers(query: &[(String, String)], headers: &mut HeaderMap) -> S3Result<()> {
    for (name, value) in query.iter().filter(|(name, _)| name.starts_with("x-amz-")) {
        let invalid = || invalid_request(format!("The parameter {name} is invalid."));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let value = HeaderValue::from_str(value).map_err(|_| invalid())?;
        if headers.get(&name).is_some_and(|v| v != value) {
            return Err(access_denied());
        }
        headers.insert(name, value);
    }
    Ok(())
}

/// Requests are told apart by an ID, and characters that XML does not have are written as S3 writes
/// them: `&#x1;`. Parsers of XML refuse these as well, which is what `encoding-type=url` is for.
fn finish(method: &Method, id: &RequestId, response: &mut HttpResponse) {
    for (name, value) in [("x-amz-request-id", id.0.clone()), ("x-amz-id-2", host_id(&id.0))] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    let xml = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().starts_with(b"application/xml"));
    // An object's own bytes are a stream and not held here.
    if !xml || method == Method::HEAD {
        return;
    }
    let Some(bytes) = response.body().bytes() else { return };
    let named = match response.status().is_success() {
        true => None,
        false => with_ids(&bytes, id),
    };
    let escaped = escape_controls(named.as_deref().map_or(&*bytes, str::as_bytes)).or(named);
    if let Some(escaped) = escaped {
        replace_body(response, escaped);
    }
}

fn replace_body(response: &mut HttpResponse, xml: String) {
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(xml);
}

/// GetObjectAttributes tells ETags without quotes, which `s3s` writes everywhere.
fn bare_tag(response: &mut HttpResponse) {
    const TAGS: [(&str, &str); 2] = [("<ETag>&quot;", "&quot;</ETag>"), ("<ETag>\"", "\"</ETag>")];
    let Some(bytes) = response.body().bytes() else { return };
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    let bare = TAGS.iter().fold(text.to_owned(), |text, (begin, end)| {
        text.replace(begin, "<ETag>").replace(end, "</ETag>")
    });
    replace_body(response, bare);
}

/// What S3 says with the errors that `s3s` answers without a word.
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
const WORDS: [(&str, &str); 8] = [
    (
        "IncompleteBody",
        "You did not provide the number of bytes specified by the Content-Length HTTP header.",
    ),
    ("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
    ("InvalidBucketName", "The specified bucket is not valid."),
    ("InvalidURI", "Couldn't parse the specified URI."),
    ("KeyTooLongError", "Your key is too long"),
    ("MethodNotAllowed", "The specified method is not allowed against this resource."),
    ("NotImplemented", "A header you provided implies functionality that is not implemented"),
    (
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided. Check your \
         key and signing method.",
    ),
];

/// The error with S3's words, when it has none.
fn with_words(xml: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(xml).ok().filter(|text| !text.contains("<Message>"))?;
    let is_of = |code: &str| text.contains(&format!("<Code>{code}</Code>"));
    let (_, words) = WORDS.iter().find(|(code, _)| is_of(code))?;
    Some(text.replacen("</Code>", &format!("</Code><Message>{words}</Message>"), 1))
}

/// An error names the request that it is about.
fn with_ids(xml: &[u8], id: &RequestId) -> Option<String> {
    let text = std::str::from_utf8(xml).ok()?.strip_suffix("</Error>")?;
    let (id, host) = (&id.0, host_id(&id.0));
    Some(format!("{text}<RequestId>{id}</RequestId><HostId>{host}</HostId></Error>"))
}

/// Characters that XML has as references only, if at all.
static CONTROLS: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"[\x00-\x1f\u{fffe}\u{ffff}]").expect("a valid pattern"));

/// The XML with references for control characters; `None` when it has none.
fn escape_controls(xml: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(xml).ok()?;
    let reference = |found: &Captures<'_>| match found[0].chars().next() {
        Some(c) => format!("&#x{:x};", u32::from(c)),
        None => String::new(),
    };
    match CONTROLS.replace_all(text, reference) {
        Cow::Borrowed(_) => None,
        Cow::Owned(escaped) => Some(escaped),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_without_a_word_get_that_of_s3() {
        let silent = with_words(b"<Error><Code>InvalidBucketName</Code></Error>");
        let words = "<Error><Code>InvalidBucketName</Code>\
                     <Message>The specified bucket is not valid.</Message></Error>";
        assert_eq!(silent.as_deref(), Some(words));
        assert_eq!(with_words(b"<Code>MethodNotAllowed</Code><Message>own</Message>"), None);
        assert_eq!(with_words(b"<Code>Ours</Code>"), None);
    }

    #[test]
    fn control_characters_become_references() {
        assert_eq!(escape_controls(b"<Key>plain</Key>"), None);
        let escaped = escape_controls(b"<Key>a\x01\r\n</Key>");
        assert_eq!(escaped.as_deref(), Some("<Key>a&#x1;&#xd;&#xa;</Key>"));
    }
}
