//! A small client that signs its requests (Signature Version 4), for tests that speak to the
//! embedded cloud as a process.

use std::path::Path;
use std::time::Duration;

use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use hmac::{Hmac, Mac};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A client of one cloud, as its administrator.
#[derive(Clone)]
pub struct Signed {
    port: u64,
    access_key_id: String,
    secret: String,
    http: Http<HttpConnector, Full<Bytes>>,
}

/// What a service answered.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Whether it was done.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

/// What stands between two marks.
pub fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(found, _)| found)
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("keys have any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

impl Signed {
    /// A client of the cloud that serves a folder.
    pub fn of(folder: &Path) -> Self {
        let read = |name: &str| -> Value {
            let bytes = std::fs::read(folder.join(name)).expect("a running cloud");
            serde_json::from_slice(&bytes).expect("JSON")
        };
        let (about, keys) = (read("cloud.json"), read("credentials.json"));
        let text = |name: &str| keys[name].as_str().expect("a key").to_owned();
        Self {
            port: about["port"].as_u64().expect("a port"),
            access_key_id: text("access_key_id"),
            secret: text("secret_access_key"),
            http: Http::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Sends a request; the error says that there was no answer.
    pub async fn send(
        &self,
        service: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, String> {
        let body = body.into();
        let request = self.sign(service, method, path, headers, &body).body(Full::new(body));
        let answer = async {
            let response = self.http.request(request.expect("a request")).await;
            let (parts, body) = response.map_err(|e| format!("{e:?}"))?.into_parts();
            let body = body.collect().await.map_err(|e| format!("{e:?}"))?.to_bytes();
            Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
        };
        let answer = tokio::time::timeout(ANSWER_LIMIT, answer).await;
        answer.unwrap_or_else(|_| panic!("no answer to {method} {path} within a minute"))
    }

    fn sign(
        &self,
        service: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> axum::http::request::Builder {
        let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let hash = hex::encode(Sha256::digest(body));
        let host = format!("127.0.0.1:{}", self.port);
        let mut signed =
            vec![("host", host.as_str()), ("x-amz-content-sha256", &hash), ("x-amz-date", &now)];
        signed.extend(headers);
        signed.sort_unstable();
        let (uri, query) = path.split_once('?').unwrap_or((path, ""));
        let mut query: Vec<String> = query
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|p| if p.contains('=') { p.to_owned() } else { format!("{p}=") })
            .collect();
        query.sort_unstable();
        let lines: String =
            signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names: Vec<&str> = signed.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let canonical = format!("{method}\n{uri}\n{}\n{lines}\n{names}\n{hash}", query.join("&"));
        let scope = format!("{}/us-east-1/{service}/aws4_request", &now[..8]);
        let digest = hex::encode(Sha256::digest(canonical));
        let key = format!("AWS4{}", self.secret).into_bytes();
        let key = scope.split('/').fold(key, |key, part| hmac(&key, part));
        let signature =
            hex::encode(hmac(&key, &format!("AWS4-HMAC-SHA256\n{now}\n{scope}\n{digest}")));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key_id
        );
        let uri = format!("http://{host}{path}");
        let request = Request::builder().method(method).uri(uri);
        let request = request.header("authorization", authorization);
        // Said also of a body that is empty.
        let request = request.header("content-length", body.len());
        signed.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    }

    /// Calls an operation of a service that speaks JSON; `target` is `AWSGlue.StartJobRun`.
    pub async fn json(
        &self,
        service: &str,
        target: &str,
        params: &Value,
    ) -> Result<Answer, String> {
        let version = if service == "states" { "1.0" } else { "1.1" };
        let kind = format!("application/x-amz-json-{version}");
        let headers = [("content-type", kind.as_str()), ("x-amz-target", target)];
        self.send(service, "POST", "/", &headers, params.to_string()).await
    }

    /// Calls an operation of a service that speaks forms and XML.
    pub async fn query(
        &self,
        service: &str,
        operation: &str,
        version: &str,
        params: &[(&str, &str)],
    ) -> Result<Answer, String> {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", operation).append_pair("Version", version);
        form.extend_pairs(params);
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        self.send(service, "POST", "/", &headers, form.finish()).await
    }

    /// Calls CloudFormation.
    pub async fn stacks(&self, operation: &str, params: &[(&str, &str)]) -> Result<Answer, String> {
        self.query("cloudformation", operation, "2010-05-15", params).await
    }
}
