//! A small client with signed requests, for tests that speak to the embedded cloud as a process.

use std::path::Path;
use std::time::Duration;

use axum::http::{HeaderMap, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::signature::{self, Keys};

/// Longest wait for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A client of one cloud, as its administrator.
#[derive(Clone)]
pub struct Signed {
    port: u16,
    keys: Keys,
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

impl Signed {
    /// A client of the cloud that serves a folder.
    pub fn of(folder: &Path) -> Self {
        let about = std::fs::read(folder.join("cloud.json")).expect("a running cloud");
        let about: Value = serde_json::from_slice(&about).expect("JSON");
        Self {
            port: about["port"].as_u64().and_then(|p| u16::try_from(p).ok()).expect("a port"),
            keys: Keys::of_administrator(folder),
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
        let (uri, query) = path.split_once('?').unwrap_or((path, ""));
        let mut query: Vec<String> = query
            .split('&')
            .filter(|p| !p.is_empty())
            .map(|p| if p.contains('=') { p.to_owned() } else { format!("{p}=") })
            .collect();
        query.sort_unstable();
        let canonical = format!("{uri}?{}", query.join("&"));
        let signed = signature::Request {
            method,
            ..signature::Request::with(&self.keys, service, &canonical, headers.to_vec())
        };
        let request = Request::builder().method(method);
        let request = request.uri(format!("http://127.0.0.1:{}{path}", self.port));
        // Said also of a body that is empty.
        let request = request.header("content-length", body.len());
        let signed = signed.signed(self.port, Some(body));
        signed.iter().fold(request, |request, (name, value)| request.header(name, value))
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
