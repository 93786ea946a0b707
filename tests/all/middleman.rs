//! A server between the command line and the embedded cloud: it notes every call, and answers some
//! of them as AWS would and the embedded cloud does not.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// A call as it went over the wire.
#[derive(Debug, Clone)]
pub struct Call {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub uri: Uri,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Call {
    /// The service in the signature's scope.
    pub fn service(&self) -> String {
        let signed = self.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let scope = signed.and_then(|s| s.split("Credential=").nth(1)).unwrap_or_default();
        scope.split('/').nth(3).unwrap_or_default().to_owned()
    }

    /// The operation's name, for the protocols that send one.
    pub fn operation(&self) -> String {
        let target = self.headers.get("x-amz-target").and_then(|v| v.to_str().ok());
        if let Some(name) = target.and_then(|t| t.rsplit('.').next()) {
            return name.to_owned();
        }
        let body = String::from_utf8_lossy(&self.body).into_owned();
        let action = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
        action.unwrap_or_default().to_owned()
    }

    /// Whether a form's field, or a header, has this text in it.
    pub fn mentions(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.body).contains(text) || self.uri.to_string().contains(text)
    }
}

/// What the middleman does with a call and what the cloud answers to it; `None` passes on what it
/// answered.
pub type Rule = dyn Fn(&Call, &Answer) -> Option<(StatusCode, String)> + Send + Sync;

/// What the cloud answered.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

/// A running middleman.
pub struct Middleman {
    /// Its address.
    pub endpoint: String,
    calls: Arc<Mutex<Vec<Call>>>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone)]
struct Shared {
    cloud: Arc<str>,
    calls: Arc<Mutex<Vec<Call>>>,
    rule: Arc<Rule>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Middleman {
    /// Stands before the cloud at `cloud`.
    pub fn new(cloud: &str, rule: Arc<Rule>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        let shared = Shared { cloud: cloud.into(), calls: calls.clone(), rule, client };
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let app = Router::new().fallback(pass).with_state(shared);
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { endpoint, calls, _runtime: runtime }
    }

    /// Every call since the beginning.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("nobody panicked").clone()
    }
}

async fn pass(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    let call =
        Call { method: parts.method, uri: parts.uri, headers: parts.headers, body: body.clone() };
    shared.calls.lock().expect("nobody panicked").push(call.clone());
    let path = call.uri.path_and_query().map_or("/", |p| p.as_str());
    let mut onward = axum::http::Request::builder()
        .method(call.method.clone())
        .uri(format!("{}{path}", shared.cloud))
        .body(Full::new(body))
        .expect("a request");
    // The host that was signed.
    *onward.headers_mut() = call.headers.clone();
    let Ok(answer) = shared.client.request(onward).await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (mut parts, body) = answer.into_parts();
    let body = body.collect().await.expect("an answer").to_bytes();
    let answer = Answer { status: parts.status, body };
    if let Some((status, text)) = (shared.rule)(&call, &answer) {
        return (status, text).into_response();
    }
    parts.headers.remove(header::TRANSFER_ENCODING);
    Response::from_parts(parts, Body::from(answer.body))
}
