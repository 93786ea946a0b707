//! Signature Version 4: the form of a signature, and whether it is right.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>
//!
//! The scope must be of the day, of this region and of the service; `host` and every `x-amz-*`
//! header of the request must be signed, so that nothing that decides what is done can be
//! exchanged. Signatures of S3's requests are calculated by `s3s`; [`check_s3`] checks their form
//! before.

use std::collections::HashMap;

use axum::http::{HeaderMap, Method, Uri};
use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use super::{Caller, Identities};
use crate::kernel::error::{ApiError, ApiResult};

/// How far a request's clock may be off.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(15);
/// Seconds that a presigned address may be good for.
const PRESIGNED_SECS_MAX: u64 = 604_800;

/// The `Authorization` header of Signature Version 4, parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// The access key.
    pub access_key_id: &'a str,
    /// `20260131/us-east-1/glue/aws4_request`.
    pub scope: Scope<'a>,
    /// Names of the signed headers, in order.
    pub signed_headers: Vec<&'a str>,
    /// The signature, in hexadecimal.
    pub signature: &'a str,
}

/// What a signature is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// As it was written.
    pub text: &'a str,
    /// `20260131`.
    pub date: &'a str,
    /// Region.
    pub region: &'a str,
    /// The service's name in signatures.
    pub service: &'a str,
}

impl<'a> Scope<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let &[date, region, service, "aws4_request"] = parts.as_slice() else { return None };
        Some(Self { text, date, region, service })
    }
}

impl<'a> Authorization<'a> {
    /// Parses the header; `None` when it is something else.
    pub fn parse(header: &'a str) -> Option<Self> {
        let rest = header.strip_prefix("AWS4-HMAC-SHA256")?;
        let field = |name: &str| {
            rest.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let (access_key_id, scope) = field("Credential")?.split_once('/')?;
        Some(Self {
            access_key_id,
            scope: Scope::parse(scope)?,
            signed_headers: field("SignedHeaders")?.split(';').collect(),
            signature: field("Signature")?,
        })
    }
}

/// A request as far as its signature is concerned.
#[derive(Debug)]
pub struct SignedRequest<'a> {
    /// Method.
    pub method: &'a Method,
    /// Path and query.
    pub uri: &'a Uri,
    /// Headers.
    pub headers: &'a HeaderMap,
    /// Body.
    pub body: &'a [u8],
}

impl SignedRequest<'_> {
    /// Finds the caller and checks the signature.
    pub fn verify(&self, identities: &Identities) -> ApiResult<Caller> {
        let header = |name: &str| self.headers.get(name).and_then(|v| v.to_str().ok());
        let authorization = header("authorization").ok_or_else(missing)?;
        let authorization = Authorization::parse(authorization).ok_or_else(|| {
            ApiError::new("IncompleteSignature", "Authorization header is not of the form of AWS4.")
                .with_status(403)
        })?;
        let date = header("x-amz-date").ok_or_else(missing)?;
        let scope = authorization.scope;
        check_clock(date)?;
        check_signed(self.headers, &authorization.signed_headers)?;
        check_scope(&scope, date, identities.region())?;
        let (secret, caller) =
            identities.lookup(authorization.access_key_id, header("x-amz-security-token"))?;
        let expected = signature(&secret, scope.text, date, &self.canonical(&authorization));
        // Compared as hashes, so that the time taken tells nothing about where they differ.
        if Sha256::digest(expected) != Sha256::digest(authorization.signature) {
            return Err(wrong(
                "The request signature we calculated does not match the signature you provided. \
                 Check your AWS Secret Access Key and signing method. Consult the service \
                 documentation for details.",
            ));
        }
        Ok(caller)
    }

    fn canonical(&self, authorization: &Authorization<'_>) -> String {
        let path = self.uri.path().split('/').map(uri_encode).collect::<Vec<_>>().join("/");
        let mut query: Vec<&str> =
            self.uri.query().unwrap_or("").split('&').filter(|p| !p.is_empty()).collect();
        query.sort_unstable();
        let query: Vec<String> = query
            .into_iter()
            .map(|p| if p.contains('=') { p.to_owned() } else { format!("{p}=") })
            .collect();
        let headers: String =
            authorization.signed_headers.iter().map(|name| self.canonical_header(name)).collect();
        let payload = hex::encode(Sha256::digest(self.body));
        format!(
            "{}\n{path}\n{}\n{headers}\n{}\n{payload}",
            self.method,
            query.join("&"),
            authorization.signed_headers.join(";")
        )
    }

    fn canonical_header(&self, name: &str) -> String {
        let trimmed = |value: &axum::http::HeaderValue| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let values: Vec<String> = self.headers.get_all(name).iter().map(trimmed).collect();
        format!("{name}:{}\n", values.join(","))
    }
}

fn missing() -> ApiError {
    ApiError::new("MissingAuthenticationToken", "Request is missing Authentication Token")
        .with_status(403)
}

fn wrong(message: impl Into<String>) -> ApiError {
    ApiError::new("SignatureDoesNotMatch", message).with_status(403)
}

fn check_scope(scope: &Scope<'_>, date: &str, region: &str) -> ApiResult<()> {
    let day = date.get(..8).unwrap_or(date);
    if scope.date != day {
        return Err(wrong(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
             HTTP: '{}' != '{day}', from '{date}'.",
            scope.date
        )));
    }
    // IAM has no region; STS answers in its old global place, too.
    let global = matches!(scope.service, "iam" | "sts") && scope.region == "us-east-1";
    let regional = scope.region == region && (scope.service != "iam" || global);
    if !regional && !global {
        return Err(wrong(format!(
            "Credential should be scoped to a valid region, not '{}'. ",
            scope.region
        )));
    }
    Ok(())
}

/// `host` and every `x-amz-*` header of the request must be among the signed ones.
fn check_signed(headers: &HeaderMap, signed: &[&str]) -> ApiResult<()> {
    if !signed.contains(&"host") {
        return Err(wrong(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ));
    }
    match unsigned(headers, signed) {
        Some(name) => {
            Err(wrong(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")))
        }
        None => Ok(()),
    }
}

fn unsigned<'a>(headers: &'a HeaderMap, signed: &[&str]) -> Option<&'a str> {
    let deciding = |name: &&str| name.starts_with("x-amz-");
    headers.keys().map(|name| name.as_str()).filter(deciding).find(|name| !signed.contains(name))
}

fn check_clock(date: &str) -> ApiResult<()> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date)
        .ok()
        .and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let Some(time) = time.map(|zoned| zoned.timestamp()) else {
        let message = format!("Date must be in ISO-8601 'basic format'. Got '{date}'.");
        return Err(ApiError::new("IncompleteSignature", message).with_status(400));
    };
    let now = Timestamp::now();
    let basic = |time: Timestamp| time.strftime("%Y%m%dT%H%M%SZ").to_string();
    if time < now - CLOCK_SKEW {
        let bound = basic(now - CLOCK_SKEW);
        return Err(wrong(format!(
            "Signature expired: {date} is now earlier than {bound} ({} - 15 min.)",
            basic(now)
        )));
    }
    if time > now + CLOCK_SKEW {
        let bound = basic(now + CLOCK_SKEW);
        return Err(wrong(format!(
            "Signature not yet current: {date} is still later than {bound} ({} + 15 min.)",
            basic(now)
        )));
    }
    Ok(())
}

/// Checks the form of the signature of a request to S3: version, scope, signed headers, and how
/// long a presigned address is good. A request without any signature passes: S3 answers it.
pub fn check_s3(uri: &Uri, headers: &HeaderMap, region: &str) -> ApiResult<()> {
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(uri.query().unwrap_or("").as_bytes()).into_owned().collect();
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    if header.is_some_and(|h| h.starts_with("AWS ")) || query.contains_key("AWSAccessKeyId") {
        return Err(ApiError::new(
            "InvalidRequest",
            "The authorization mechanism you have provided is not supported. Please use \
             AWS4-HMAC-SHA256. (This request is signed with Signature Version 2; boto3 and the aws \
             command presign with version 4 when their `s3.signature_version` is `s3v4`.)",
        ));
    }
    if header.is_some() && query.contains_key("X-Amz-Algorithm") {
        return Err(ApiError::new(
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature \
             query string parameter or the Authorization header should be specified",
        ));
    }
    if let Some(header) = header {
        let authorization = Authorization::parse(header).ok_or_else(|| {
            ApiError::new(
                "AuthorizationHeaderMalformed",
                "The authorization header that you provided is not valid.",
            )
        })?;
        let malformed = |message| ApiError::new("AuthorizationHeaderMalformed", message);
        let scope = authorization.scope;
        check_s3_scope(&scope, region, "The authorization header is malformed;", malformed)?;
        check_s3_signed(headers, &authorization.signed_headers)?;
    }
    if query.contains_key("X-Amz-Algorithm") {
        check_presigned(&query, headers, region)?;
    }
    Ok(())
}

fn check_s3_scope(
    scope: &Scope<'_>,
    region: &str,
    what: &str,
    error: impl Fn(String) -> ApiError,
) -> ApiResult<()> {
    if scope.region != region {
        let wrong = scope.region;
        return Err(error(format!("{what} the region '{wrong}' is wrong; expecting '{region}'")));
    }
    if scope.service != "s3" {
        let wrong = scope.service;
        return Err(error(format!(
            "{what} incorrect service \"{wrong}\". This endpoint belongs to \"s3\"."
        )));
    }
    Ok(())
}

fn check_s3_signed(headers: &HeaderMap, signed: &[&str]) -> ApiResult<()> {
    let host = (!signed.contains(&"host")).then_some("host");
    match host.or_else(|| unsigned(headers, signed)) {
        Some(name) => Err(ApiError::new(
            "AccessDenied",
            format!("There were headers present in the request which were not signed: {name}"),
        )
        .with_status(403)),
        None => Ok(()),
    }
}

fn check_presigned(
    query: &HashMap<String, String>,
    headers: &HeaderMap,
    region: &str,
) -> ApiResult<()> {
    let error = |message: String| ApiError::new("AuthorizationQueryParametersError", message);
    let value = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let (_, scope) = value("X-Amz-Credential").split_once('/').unwrap_or_default();
    let scope = Scope::parse(scope).ok_or_else(|| {
        error(
            "Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting \
             \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"."
                .to_owned(),
        )
    })?;
    check_s3_scope(&scope, region, "Error parsing the X-Amz-Credential parameter;", error)?;
    match value("X-Amz-Expires").parse::<u64>() {
        Ok(seconds) if seconds > PRESIGNED_SECS_MAX => {
            return Err(error(
                "X-Amz-Expires must be less than a week (in seconds); that is, the given \
                 X-Amz-Expires must be less than 604800 seconds"
                    .to_owned(),
            ));
        }
        Ok(_) => {}
        Err(_) if value("X-Amz-Expires").parse::<i64>().is_ok() => {
            return Err(error("X-Amz-Expires must be non-negative".to_owned()));
        }
        Err(_) => return Err(error("X-Amz-Expires should be a number".to_owned())),
    }
    let signed: Vec<&str> = value("X-Amz-SignedHeaders").split(';').collect();
    check_s3_signed(headers, &signed)
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn signature(secret: &str, scope: &str, date: &str, canonical: &str) -> String {
    let key =
        scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part));
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    hex::encode(hmac(&key, &to_sign))
}

/// Percent-encodes everything but unreserved characters. Every service but S3 encodes the path once
/// more than it is in the request.
fn uri_encode(text: &str) -> String {
    let encode = |b: u8| match b {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(b).to_string()
        }
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_of_the_documentation() {
        // "GET request" example with these values:
        // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
        let canonical = "GET\n/\nAction=ListUsers&Version=2010-05-08\n\
            content-type:application/x-www-form-urlencoded; charset=utf-8\n\
            host:iam.amazonaws.com\nx-amz-date:20150830T123600Z\n\n\
            content-type;host;x-amz-date\n\
            e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let signed = signature(
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "20150830/us-east-1/iam/aws4_request",
            "20150830T123600Z",
            canonical,
        );
        assert_eq!(signed, "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
    }

    #[test]
    fn the_header_is_parsed_with_and_without_spaces() {
        let header = "AWS4-HMAC-SHA256 Credential=AKIA/20260131/us-east-1/glue/aws4_request, \
                      SignedHeaders=host;x-amz-date, Signature=abc";
        let parsed = Authorization::parse(header).expect("valid");
        assert_eq!(
            (parsed.scope.service, parsed.signature, parsed.signed_headers.len()),
            ("glue", "abc", 2)
        );
        assert_eq!(Authorization::parse(&header.replace(", ", ",")), Some(parsed));
        assert_eq!(Authorization::parse("Basic abc"), None);
        assert_eq!(Authorization::parse(&header.replace("/aws4_request", "")), None);
    }

    #[test]
    fn scopes_are_of_the_day_and_the_region() {
        let refused = |scope: &str| {
            let scope = Scope::parse(scope).expect("a scope");
            check_scope(&scope, "20260131T120000Z", "eu-west-1").err().map(|e| e.message)
        };
        assert_eq!(refused("20260131/eu-west-1/glue/aws4_request"), None);
        assert_eq!(refused("20260131/us-east-1/iam/aws4_request"), None);
        assert_eq!(refused("20260131/us-east-1/sts/aws4_request"), None);
        assert!(refused("20260131/us-east-1/glue/aws4_request").is_some());
        assert!(refused("20260131/eu-west-1/iam/aws4_request").is_some());
        assert!(refused("20260130/eu-west-1/glue/aws4_request").is_some());
    }
}
