//! The Runtime API of one process: it asks for work and brings answers.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>
//!
//! Its address is `127.0.0.1:PORT` and nothing more, because clients put `http://` before it and a
//! path behind it. So the port itself is guarded: a connection is served only when the process at
//! its other end belongs to the function, and a request only when it is made to this very address
//! and comes from no web page.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use bytes::Bytes;
use futures::StreamExt;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::kernel::processes;

/// Variable with the address, by which a function's processes are known.
pub const VARIABLE: &str = "AWS_LAMBDA_RUNTIME_API";
/// Bytes of an answer, as AWS has it: 6 MB and 100 bytes.
pub const ANSWER_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;
/// What of a too large answer is read before it is refused, so that its sender reads the refusal.
const DRAINED_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Longest error that is taken from a start that failed.
const INIT_ERROR_BYTES_MAX: usize = 256 * 1024;

/// The payload, or the function's error object.
pub type Outcome = Result<Bytes, Bytes>;

/// One invocation on its way to the process.
#[derive(Debug)]
pub struct Work {
    /// Its ID.
    pub id: String,
    /// What the function is given.
    pub payload: Bytes,
    /// When it has to be done.
    pub deadline_ms: i64,
    /// The function's ARN.
    pub arn: String,
    /// Set when the process has taken it.
    pub taken: Arc<AtomicBool>,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Outcome>,
}

/// One process's side.
struct Api {
    address: String,
    work: Mutex<mpsc::Receiver<Work>>,
    /// Tells that the process is ready, or why it is not.
    ready: Mutex<Option<oneshot::Sender<Result<(), Bytes>>>>,
    at_work: Mutex<Option<(String, oneshot::Sender<Outcome>)>>,
}

/// What the cloud keeps of a Runtime API.
#[derive(Debug)]
pub struct Served {
    /// Address for the process.
    pub address: String,
    /// Takes work.
    pub work: mpsc::Sender<Work>,
    /// Ready, or the error of the start.
    pub ready: oneshot::Receiver<Result<(), Bytes>>,
    /// Process that is likely to connect; set when it has started.
    pub likely: Arc<AtomicU32>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves a Runtime API on a port of its own.
pub async fn serve() -> std::io::Result<Served> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let local = listener.local_addr()?;
    let (work, work_receiver) = mpsc::channel(1);
    let (ready_sender, ready) = oneshot::channel();
    let likely = Arc::new(AtomicU32::new(0));
    let api = Arc::new(Api {
        address: local.to_string(),
        work: Mutex::new(work_receiver),
        ready: Mutex::new(Some(ready_sender)),
        at_work: Mutex::default(),
    });
    let guarded = Guarded { listener, local, likely: likely.clone() };
    let task = tokio::spawn(async move {
        if let Err(error) = axum::serve(guarded, router(api)).await {
            tracing::error!("the Runtime API broke off: {error}");
        }
    });
    Ok(Served { address: local.to_string(), work, ready, likely, task })
}

/// Lets the function's own processes in.
struct Guarded {
    listener: TcpListener,
    local: SocketAddr,
    likely: Arc<AtomicU32>,
}

impl Listener for Guarded {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            let likely = self.likely.load(Ordering::Relaxed);
            let value = self.local.to_string();
            if processes::made_by(self.local, peer, likely, VARIABLE, &value) {
                // Without this, each answer waits for the other side's acknowledgement.
                stream.set_nodelay(true).unwrap_or_else(|e| tracing::debug!("no delay: {e}"));
                return (stream, peer);
            }
            tracing::warn!("a stranger at the Runtime API of a function was sent away");
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.local)
    }
}

fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(api.clone(), guard))
        .with_state(api)
}

/// Refuses what a web page could send.
async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    let from_page = headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site");
    if host != Some(api.address.as_str()) || from_page {
        return refusal(StatusCode::FORBIDDEN, "Forbidden", "not a request of the function");
    }
    next.run(request).await
}

fn refusal(status: StatusCode, kind: &str, message: &str) -> Response {
    let body = json!({ "errorMessage": message, "errorType": kind });
    (status, axum::Json(body)).into_response()
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, axum::Json(json!({ "status": "OK" }))).into_response()
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    if let Some(ready) = api.ready.lock().await.take() {
        // An error means that the invocation that started this process was given up.
        ready.send(Ok(())).unwrap_or_default();
    }
    let Some(work) = api.work.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    work.taken.store(true, Ordering::Release);
    let trace = format!(
        "Root=1-{:08x}-{};Sampled=0",
        work.deadline_ms / 1000,
        &work.id.replace('-', "")[..24]
    );
    let headers = [
        ("lambda-runtime-aws-request-id", work.id.clone()),
        ("lambda-runtime-deadline-ms", work.deadline_ms.to_string()),
        ("lambda-runtime-invoked-function-arn", work.arn),
        ("lambda-runtime-trace-id", trace),
        ("content-type", "application/json".to_owned()),
    ];
    *api.at_work.lock().await = Some((work.id, work.answer));
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            map.insert(HeaderName::from_static(name), value);
        }
    }
    (map, work.payload).into_response()
}

async fn response(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Body) -> Response {
    finish(&api, &id, body, Ok).await
}

async fn error(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Body) -> Response {
    finish(&api, &id, body, Err).await
}

async fn finish(api: &Api, id: &str, body: Body, outcome: fn(Bytes) -> Outcome) -> Response {
    let body = read(body).await;
    let at_work = api.at_work.lock().await.take_if(|(current, _)| current == id);
    let Some((_, answer)) = at_work else {
        return refusal(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID");
    };
    let (outcome, response) = match body {
        Some(body) => (outcome(body), accepted()),
        None => {
            let limit = format!("maximum allowed payload size ({ANSWER_BYTES_MAX} bytes).");
            let error = json!({
                "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": format!("Response payload size exceeded {limit}"),
            });
            let refused = refusal(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLarge",
                &format!("Exceeded {limit}"),
            );
            (Err(error.to_string().into()), refused)
        }
    };
    // The caller may have given up; the process goes on.
    let told = answer.send(outcome);
    told.unwrap_or_else(|_| tracing::debug!("nobody waits for the answer of {id}"));
    response
}

/// The body, or `None` when it is too large; what is broken off is empty.
async fn read(body: Body) -> Option<Bytes> {
    let mut stream = body.into_data_stream();
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(Ok(chunk)) = stream.next().await {
        length += chunk.len();
        if length <= ANSWER_BYTES_MAX {
            kept.extend_from_slice(&chunk);
        } else {
            kept = Vec::new();
        }
        if length > DRAINED_BYTES_MAX {
            break;
        }
    }
    (length <= ANSWER_BYTES_MAX).then(|| kept.into())
}

async fn init_error(State(api): State<Arc<Api>>, body: Body) -> Response {
    let body = axum::body::to_bytes(body, INIT_ERROR_BYTES_MAX).await.unwrap_or_default();
    if let Some(ready) = api.ready.lock().await.take() {
        // An error means that the invocation that started this process was given up.
        ready.send(Err(body)).unwrap_or_default();
    }
    accepted()
}
