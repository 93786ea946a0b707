//! Who calls: access keys, temporary credentials of roles, and Signature Version 4.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use std::collections::HashMap;
use std::sync::RwLock;

use anyhow::{Context, Result};
use axum::http::{HeaderMap, Method, Uri};
use hmac::{Hmac, Mac};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cloud::Config;
use crate::error::{ApiError, ApiResult};

/// How long temporary credentials are good.
const SESSION: SignedDuration = SignedDuration::from_hours(12);
/// How far a request's clock may be off.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(15);

/// Whom a key belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The account's administrator.
    Administrator,
    /// A role, taken on by a service for something in it.
    Role {
        /// Name of the role.
        role: String,
        /// Name of the session: the function, the instance, the job.
        session: String,
    },
}

/// A caller whose signature was right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// ARN as AWS reports it.
    pub arn: String,
    /// Function on whose behalf the call is made, for `lambda:SourceFunctionArn`.
    pub source_function: Option<String>,
}

/// A key with its secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// Public part.
    pub access_key_id: String,
    /// Secret part.
    pub secret_access_key: String,
    /// Token of temporary credentials.
    pub session_token: Option<String>,
    /// End of temporary credentials.
    pub expires: Option<Timestamp>,
}

impl Credentials {
    fn random(prefix: &str) -> Self {
        let random = || uuid::Uuid::new_v4().simple().to_string();
        Self {
            access_key_id: format!("{prefix}{}", random()[..16].to_uppercase()),
            secret_access_key: random() + &random()[..8],
            session_token: None,
            expires: None,
        }
    }

    /// As environment variables of a child process.
    pub fn env(&self) -> Vec<(String, String)> {
        let mut pairs = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), self.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), self.secret_access_key.clone()),
        ];
        pairs
            .extend(self.session_token.iter().map(|t| ("AWS_SESSION_TOKEN".to_owned(), t.clone())));
        pairs
    }
}

/// All keys.
#[derive(Debug)]
pub struct Identities {
    administrator: Credentials,
    account: String,
    sessions: RwLock<HashMap<String, (Credentials, Caller)>>,
}

impl Identities {
    /// Reads the administrator's key, or makes one; only its owner can read the file.
    pub fn open(config: &Config) -> Result<Self> {
        let file = config.state_dir.join("credentials.json");
        let administrator = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{} is damaged", file.display()))?,
            Err(_) => {
                let made = Credentials::random("AKIA");
                write_private(&file, &serde_json::to_vec_pretty(&made)?)
                    .with_context(|| format!("cannot write {}", file.display()))?;
                made
            }
        };
        Ok(Self { administrator, account: config.account.clone(), sessions: RwLock::default() })
    }

    /// The administrator as a caller.
    pub fn administrator(&self) -> Caller {
        Caller {
            principal: Principal::Administrator,
            arn: format!("arn:aws:iam::{}:user/administrator", self.account),
            source_function: None,
        }
    }

    /// The role as a caller, without credentials: for calls that a service makes itself.
    pub fn role(&self, role: &str, session: &str) -> Caller {
        let arn = format!("arn:aws:sts::{}:assumed-role/{role}/{session}", self.account);
        Caller {
            principal: Principal::Role { role: role.to_owned(), session: session.to_owned() },
            arn,
            source_function: None,
        }
    }

    /// Temporary credentials for `caller`.
    pub fn session(&self, caller: Caller) -> Credentials {
        let mut credentials = Credentials::random("ASIA");
        credentials.session_token = Some(uuid::Uuid::new_v4().simple().to_string());
        credentials.expires = Some(Timestamp::now() + SESSION);
        let mut sessions = self.sessions.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        sessions.retain(|_, (c, _)| c.expires.is_some_and(|e| e > Timestamp::now()));
        sessions.insert(credentials.access_key_id.clone(), (credentials.clone(), caller));
        credentials
    }

    /// The secret and the caller of an access key; the token must be the one it was given with.
    pub fn lookup(&self, access_key_id: &str, token: Option<&str>) -> ApiResult<(String, Caller)> {
        let unknown = || {
            ApiError::new(
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            )
            .with_status(403)
        };
        if access_key_id == self.administrator.access_key_id {
            return Ok((self.administrator.secret_access_key.clone(), self.administrator()));
        }
        let sessions = self.sessions.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (credentials, caller) = sessions.get(access_key_id).ok_or_else(unknown)?;
        if credentials.session_token.as_deref() != token {
            return Err(unknown());
        }
        if credentials.expires.is_some_and(|e| e <= Timestamp::now()) {
            return Err(ApiError::new(
                "ExpiredToken",
                "The security token included in the request is expired",
            )
            .with_status(403));
        }
        Ok((credentials.secret_access_key.clone(), caller.clone()))
    }

    /// The secret of an access key, whatever token comes with it.
    pub fn secret(&self, access_key_id: &str) -> Option<String> {
        if access_key_id == self.administrator.access_key_id {
            return Some(self.administrator.secret_access_key.clone());
        }
        let sessions = self.sessions.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        sessions.get(access_key_id).map(|(c, _)| c.secret_access_key.clone())
    }
}

fn write_private(file: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut handle = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    handle.write_all(bytes)
}

/// The `Authorization` header of Signature Version 4, parsed.
#[derive(Debug, PartialEq, Eq)]
pub struct Authorization<'a> {
    /// The access key.
    pub access_key_id: &'a str,
    /// `20260131/us-east-1/glue/aws4_request`.
    pub scope: &'a str,
    /// The service in the scope.
    pub service: &'a str,
    /// Names of the signed headers, in order.
    pub signed_headers: Vec<&'a str>,
    /// The signature, in hexadecimal.
    pub signature: &'a str,
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
            scope,
            service: scope.split('/').nth(2)?,
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
        let missing = || {
            ApiError::new("MissingAuthenticationToken", "Request is missing Authentication Token")
                .with_status(403)
        };
        let header = |name: &str| self.headers.get(name).and_then(|v| v.to_str().ok());
        let authorization = Authorization::parse(header("authorization").ok_or_else(missing)?)
            .ok_or_else(missing)?;
        let (secret, caller) =
            identities.lookup(authorization.access_key_id, header("x-amz-security-token"))?;
        let date = header("x-amz-date").ok_or_else(missing)?;
        check_clock(date)?;
        let expected =
            signature(&secret, authorization.scope, date, &self.canonical(&authorization));
        // Compared as hashes, so that the time taken tells nothing about where they differ.
        if Sha256::digest(expected) != Sha256::digest(authorization.signature) {
            let message = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.";
            return Err(ApiError::new("SignatureDoesNotMatch", message).with_status(403));
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
        let headers: String = authorization
            .signed_headers
            .iter()
            .map(|name| {
                let values: Vec<String> = self
                    .headers
                    .get_all(*name)
                    .iter()
                    .map(|v| {
                        String::from_utf8_lossy(v.as_bytes())
                            .split_whitespace()
                            .collect::<Vec<_>>()
                            .join(" ")
                    })
                    .collect();
                format!("{name}:{}\n", values.join(","))
            })
            .collect();
        let payload = hex::encode(Sha256::digest(self.body));
        format!(
            "{}\n{path}\n{}\n{headers}\n{}\n{payload}",
            self.method,
            query.join("&"),
            authorization.signed_headers.join(";")
        )
    }
}

fn check_clock(date: &str) -> ApiResult<()> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date)
        .ok()
        .and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let near =
        time.is_some_and(|t| t.timestamp().duration_since(Timestamp::now()).abs() <= CLOCK_SKEW);
    if near {
        Ok(())
    } else {
        Err(ApiError::new(
            "RequestExpired",
            format!("Request time `{date}` is not within 15 minutes of the server's"),
        )
        .with_status(400))
    }
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
        let canonical = "GET\n/\nAction=ListUsers&Version=2010-05-08\ncontent-type:application/x-www-form-urlencoded; charset=utf-8\nhost:iam.amazonaws.com\nx-amz-date:20150830T123600Z\n\ncontent-type;host;x-amz-date\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
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
        let header = "AWS4-HMAC-SHA256 Credential=AKIA/20260131/us-east-1/glue/aws4_request, SignedHeaders=host;x-amz-date, Signature=abc";
        let parsed = Authorization::parse(header).expect("valid");
        assert_eq!(
            (parsed.service, parsed.signature, parsed.signed_headers.len()),
            ("glue", "abc", 2)
        );
        assert_eq!(Authorization::parse(&header.replace(", ", ",")), Some(parsed));
        assert_eq!(Authorization::parse("Basic abc"), None);
    }
}
