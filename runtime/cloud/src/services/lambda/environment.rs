//! One process of a function and its Runtime API.
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{Function, Invoked, arn};
use crate::cloud::Cloud;
use crate::error::{ApiError, ApiResult};
use crate::services::logs;

/// Longest time from the start of a process to its first question for work.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// One process, waiting for work.
#[derive(Debug)]
pub struct Environment {
    child: Child,
    work: mpsc::Sender<Work>,
    ready: Option<oneshot::Receiver<()>>,
    modified: Timestamp,
    started: Instant,
    used: Instant,
    name: String,
    stream: String,
    count: Arc<AtomicUsize>,
    api: tokio::task::JoinHandle<()>,
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.api.abort();
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The payload, or the function's error object.
type Outcome = Result<Bytes, Bytes>;

/// One invocation on its way to the process.
#[derive(Debug)]
struct Work {
    id: String,
    payload: Bytes,
    deadline_ms: i64,
    arn: String,
    answer: oneshot::Sender<Outcome>,
}

/// The Runtime API's side of one process.
struct Api {
    work: Mutex<mpsc::Receiver<Work>>,
    ready: Mutex<Option<oneshot::Sender<()>>>,
    at_work: Mutex<Option<(String, oneshot::Sender<Outcome>)>>,
}

/// What an invocation left.
pub struct Answer {
    /// For the caller.
    pub invoked: Invoked,
    /// Whether the process can take another invocation.
    pub reusable: bool,
}

impl Environment {
    /// Starts a process of `function`.
    pub async fn start(
        cloud: &Arc<Cloud>,
        name: &str,
        function: &Function,
        count: Arc<AtomicUsize>,
        max: usize,
    ) -> ApiResult<Self> {
        if count.fetch_add(1, Ordering::Relaxed) >= max {
            count.fetch_sub(1, Ordering::Relaxed);
            return Err(
                ApiError::new("TooManyRequestsException", "Rate Exceeded.").with_status(429)
            );
        }
        let started = Self::spawn(cloud, name, function, count.clone()).await;
        if started.is_err() {
            count.fetch_sub(1, Ordering::Relaxed);
        }
        started
    }

    async fn spawn(
        cloud: &Arc<Cloud>,
        name: &str,
        function: &Function,
        count: Arc<AtomicUsize>,
    ) -> ApiResult<Self> {
        let denied =
            |message: String| ApiError::new("AccessDeniedException", message).with_status(403);
        let mut caller =
            cloud.assume(&function.role, "lambda.amazonaws.com", name).map_err(denied)?;
        let stream = format!(
            "{}/[$LATEST]{}",
            Timestamp::now().strftime("%Y/%m/%d"),
            uuid::Uuid::new_v4().simple()
        );
        // Lambda writes the log with the role's permissions; without them there is no log, but the function runs.
        if let Err(error) = logs::write(
            cloud,
            &caller,
            &function.log_group,
            &stream,
            &["INIT_START Runtime Version: provided:al2023".to_owned()],
        ) {
            tracing::warn!("the function `{name}` has no log: {error}");
        }
        caller.source_function = Some(arn(cloud, name));
        let listener =
            tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(ApiError::internal)?;
        let address = listener.local_addr().map_err(ApiError::internal)?;
        let (work, work_receiver) = mpsc::channel(1);
        let (ready_sender, ready) = oneshot::channel();
        let api = Arc::new(Api {
            work: Mutex::new(work_receiver),
            ready: Mutex::new(Some(ready_sender)),
            at_work: Mutex::default(),
        });
        let api = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router(api)).await {
                tracing::error!("the Runtime API broke off: {error}");
            }
        });
        let mut command = Command::new(function.directory.join("bootstrap"));
        command
            .env_clear()
            .envs(cloud.config.client_env())
            .envs(cloud.identities.session(caller).env())
            .envs(&function.variables)
            .env("AWS_LAMBDA_RUNTIME_API", address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_mb.to_string())
            .env("AWS_LAMBDA_LOG_GROUP_NAME", &function.log_group)
            .env("AWS_LAMBDA_LOG_STREAM_NAME", &stream)
            .env("LAMBDA_TASK_ROOT", &function.directory)
            .env("_HANDLER", &function.handler)
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .current_dir(&function.directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let started = Instant::now();
        let mut child = command.spawn().map_err(ApiError::internal)?;
        if let Some(out) = child.stdout.take() {
            tokio::spawn(keep_log(cloud.clone(), function.log_group.clone(), stream.clone(), out));
        }
        if let Some(err) = child.stderr.take() {
            tokio::spawn(keep_log(cloud.clone(), function.log_group.clone(), stream.clone(), err));
        }
        Ok(Self {
            child,
            work,
            ready: Some(ready),
            modified: function.modified,
            started,
            used: started,
            name: name.to_owned(),
            stream,
            count,
            api,
        })
    }

    /// Whether the process runs the function as it is now.
    pub fn fits(&self, function: &Function) -> bool {
        self.modified == function.modified
    }

    /// Time since the last invocation.
    pub fn idle_for(&self) -> Duration {
        self.used.elapsed()
    }

    /// Hands the process one invocation and waits for the answer.
    pub async fn invoke(&mut self, cloud: &Cloud, function: &Function, payload: Bytes) -> Answer {
        let id = uuid::Uuid::new_v4().to_string();
        let mut init = None;
        if let Some(ready) = self.ready.take() {
            tokio::select! {
                _ = ready => init = Some(self.started.elapsed()),
                status = self.child.wait() => return self.failed(&id, "Runtime.ExitError", &exit(&id, status.ok())),
                () = tokio::time::sleep(INIT_LIMIT) => return self.failed(&id, "Sandbox.Timedout", "the function did not ask for work within 10 seconds"),
            }
        }
        let limit = Duration::from_secs(function.timeout_secs);
        let began = Instant::now();
        let (answer, answered) = oneshot::channel();
        let deadline_ms = Timestamp::now().as_millisecond() + limit.as_millis() as i64;
        let work =
            Work { id: id.clone(), payload, deadline_ms, arn: arn(cloud, &self.name), answer };
        if self.work.send(work).await.is_err() {
            return self.failed(&id, "Runtime.ExitError", &exit(&id, None));
        }
        let result = tokio::select! {
            result = answered => result.ok(),
            status = self.child.wait() => return self.failed(&id, "Runtime.ExitError", &exit(&id, status.ok())),
            () = tokio::time::sleep(limit) => {
                return self.failed(&id, "Sandbox.Timedout", &format!("RequestId: {id} Error: Task timed out after {:.2} seconds", limit.as_secs_f64()));
            }
        };
        self.used = Instant::now();
        self.report(cloud, function, &id, began.elapsed(), init);
        match result {
            Some(Ok(payload)) => {
                Answer { invoked: Invoked { payload, function_error: None }, reusable: true }
            }
            Some(Err(payload)) => Answer {
                invoked: Invoked { payload, function_error: Some("Unhandled") },
                reusable: true,
            },
            None => self.failed(&id, "Runtime.ExitError", &exit(&id, None)),
        }
    }

    fn failed(&self, id: &str, kind: &str, message: &str) -> Answer {
        tracing::warn!(id, kind, message, "invocation failed");
        let payload = json!({ "errorType": kind, "errorMessage": message }).to_string();
        Answer {
            invoked: Invoked { payload: payload.into(), function_error: Some("Unhandled") },
            reusable: false,
        }
    }

    fn report(
        &self,
        cloud: &Cloud,
        function: &Function,
        id: &str,
        took: Duration,
        init: Option<Duration>,
    ) {
        let ms = |d: Duration| d.as_secs_f64() * 1000.0;
        let init = init.map_or_else(String::new, |d| format!("\tInit Duration: {:.2} ms", ms(d)));
        let line = format!(
            "REPORT RequestId: {id}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} MB{init}",
            ms(took),
            ms(took).ceil(),
            function.memory_mb
        );
        if let Err(error) = logs::append(cloud, &function.log_group, &self.stream, &[line]) {
            tracing::warn!("no report: {error}");
        }
    }
}

fn exit(id: &str, status: Option<std::process::ExitStatus>) -> String {
    let status = status.map_or_else(|| "without an answer".to_owned(), |s| s.to_string());
    format!("RequestId: {id} Error: Runtime exited with error: {status}")
}

async fn keep_log(cloud: Arc<Cloud>, group: String, stream: String, pipe: impl AsyncRead + Unpin) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Err(error) = logs::append(&cloud, &group, &stream, &[line]) {
            tracing::debug!("a line of a log is lost: {error}");
        }
    }
}

fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(init_error))
        .layer(axum::extract::DefaultBodyLimit::max(super::PAYLOAD_BYTES_MAX))
        .with_state(api)
}

async fn next(State(api): State<Arc<Api>>) -> Response {
    if let Some(ready) = api.ready.lock().await.take() {
        // An error means that the invocation that started this process was given up.
        ready.send(()).unwrap_or_default();
    }
    let Some(work) = api.work.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", work.id.clone()),
        ("Lambda-Runtime-Deadline-Ms", work.deadline_ms.to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", work.arn),
        (
            "Lambda-Runtime-Trace-Id",
            format!(
                "Root=1-{:08x}-{};Sampled=0",
                work.deadline_ms / 1000,
                &work.id.replace('-', "")[..24]
            ),
        ),
        ("Content-Type", "application/json".to_owned()),
    ];
    *api.at_work.lock().await = Some((work.id, work.answer));
    (headers.into_iter().fold(HeaderMap::new(), with_header), work.payload).into_response()
}

fn with_header(mut headers: HeaderMap, (name, value): (&'static str, String)) -> HeaderMap {
    if let (Ok(name), Ok(value)) =
        (axum::http::HeaderName::try_from(name), axum::http::HeaderValue::try_from(value))
    {
        headers.insert(name, value);
    }
    headers
}

async fn response(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    finish(&api, &id, Ok(body)).await
}

async fn error(State(api): State<Arc<Api>>, Path(id): Path<String>, body: Bytes) -> StatusCode {
    finish(&api, &id, Err(body)).await
}

async fn finish(api: &Api, id: &str, result: Outcome) -> StatusCode {
    match api.at_work.lock().await.take_if(|(current, _)| current == id) {
        Some((_, answer)) => {
            // The caller may have given up; the process goes on.
            answer
                .send(result)
                .unwrap_or_else(|_| tracing::debug!("nobody waits for the answer of {id}"));
            StatusCode::ACCEPTED
        }
        None => StatusCode::BAD_REQUEST,
    }
}

async fn init_error(body: Bytes) -> StatusCode {
    tracing::warn!("a function failed to start: {}", String::from_utf8_lossy(&body));
    StatusCode::ACCEPTED
}
