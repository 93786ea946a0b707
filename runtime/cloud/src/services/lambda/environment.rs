//! One process of a function.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::oneshot;

use super::log::Log;
use super::memory::Memory;
use super::runtime_api::{self, Served, Work};
use super::versions::Target;
use super::{Function, Invoked, arn};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::processes::{self, Process, Program, Signal};
use crate::services::logs;

/// Longest time from the start of a process to its first question for work.
const INIT_LIMIT: Duration = Duration::from_secs(10);
/// Files that a process may have open.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const OPEN_FILES_MAX: u64 = 1_024;
/// A process is replaced when its credentials end sooner than this after its longest invocation.
const CREDENTIALS_RESERVE: SignedDuration = SignedDuration::from_mins(5);

/// One process, waiting for work.
#[derive(Debug)]
pub struct Environment {
    process: Process,
    memory: Memory,
    api: Served,
    log: Arc<Log>,
    started: Option<Instant>,
    used: Instant,
    /// Name of its function.
    pub name: String,
    /// Version of it that it runs.
    pub version: String,
    modified: Timestamp,
    /// End of its credentials.
    expires: Option<Timestamp>,
    /// All processes; this one counts as long as it lives.
    count: Arc<AtomicUsize>,
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.process.tell(Signal::Kill);
        // What has left the group is known by the address that it was given.
        let address = self.api.address.clone();
        let sweep = move || processes::end_marked(runtime_api::VARIABLE, &address);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(sweep)),
            // The runtime ends, and the whole process with it; its last act is a sweep.
            Err(_) => drop(sweep()),
        }
    }
}

/// What became of an invocation.
pub enum Answer {
    /// It was answered; `reusable` says whether the process can take another one.
    Done {
        /// For the caller.
        invoked: Invoked,
        /// Whether the process can be used again.
        reusable: bool,
    },
    /// The process ended before it took the invocation.
    NotTaken,
}

impl Environment {
    /// Starts a process of a function.
    pub async fn start(
        cloud: &Arc<Cloud>,
        target: &Target,
        count: Arc<AtomicUsize>,
    ) -> ApiResult<Self> {
        let Target { name, version, function, .. } = target;
        let denied =
            |message: String| ApiError::new("AccessDeniedException", message).with_status(403);
        let mut caller =
            cloud.assume(&function.role, "lambda.amazonaws.com", name).map_err(denied)?;
        let stream = format!(
            "{}/[{version}]{}",
            Timestamp::now().strftime("%Y/%m/%d"),
            uuid::Uuid::new_v4().simple()
        );
        // Lambda writes the log with the role's permissions; without them there is no log, but the
        // function runs.
        let system = function.runtime.replace('.', ":");
        let first = [format!("INIT_START Runtime Version: {system}")];
        let allowed = logs::write(cloud, &caller, &function.log_group, &stream, &first);
        if let Err(error) = &allowed {
            tracing::warn!("the function `{name}` has no log: {error}");
        }
        caller.source_function = Some(arn(cloud, name));
        let credentials = cloud.identities.session(caller);
        let api = runtime_api::serve().await.map_err(ApiError::internal)?;
        let task_root = function.directory.display().to_string();
        let own = [
            (runtime_api::VARIABLE, api.address.as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", name),
            ("AWS_LAMBDA_FUNCTION_VERSION", version),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &function.memory_mb.to_string()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", &function.log_group),
            ("AWS_LAMBDA_LOG_STREAM_NAME", &stream),
            ("LAMBDA_TASK_ROOT", &task_root),
            ("_HANDLER", &function.handler),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ];
        let program = Program::new(function.directory.join("bootstrap"))
            .env(cloud.config.client_env())
            .env(credentials.env())
            .env(&function.variables)
            .env(own)
            .folder(&function.directory)
            .open_files(OPEN_FILES_MAX);
        let (process, pipe) = start(program).map_err(ApiError::internal)?;
        let group = &function.log_group;
        let log = Log::new(cloud, group, stream, allowed.is_ok(), pipe);
        let leader = process.id();
        api.likely.store(leader, Ordering::Relaxed);
        count.fetch_add(1, Ordering::Relaxed);
        let started = Instant::now();
        Ok(Self {
            process,
            memory: Memory::of(leader),
            api,
            log: log.map_err(ApiError::internal)?,
            started: Some(started),
            used: started,
            name: name.clone(),
            version: version.clone(),
            modified: function.modified,
            expires: credentials.expires,
            count,
        })
    }

    /// Whether the process still runs, runs the function as it is now, and has credentials that
    /// are good for an invocation.
    pub fn fits(&mut self, function: &Function) -> bool {
        self.modified == function.modified
            && lasts(self.expires, function.timeout_secs, Timestamp::now())
            && self.process.is_running()
    }

    /// Time since the last invocation.
    pub fn idle_for(&self) -> Duration {
        self.used.elapsed()
    }

    /// Hands the process one invocation and waits for the answer.
    pub async fn invoke(
        &mut self,
        cloud: &Cloud,
        target: &Target,
        payload: Bytes,
        id: &str,
    ) -> Answer {
        let function = &target.function;
        let mut init = None;
        if let Some(started) = self.started.take() {
            match self.initialise(id).await {
                Ok(()) => init = Some(started.elapsed()),
                Err(answer) => return answer,
            }
        }
        self.log.begin(id, &self.version);
        let limit = Duration::from_secs(function.timeout_secs);
        let began = Instant::now();
        let (answer, answered) = oneshot::channel();
        let taken = Arc::new(AtomicBool::new(false));
        let work = Work {
            id: id.to_owned(),
            payload,
            deadline_ms: Timestamp::now().as_millisecond() + limit.as_millis() as i64,
            arn: target.arn(cloud),
            taken: taken.clone(),
            answer,
        };
        if self.api.work.send(work).await.is_err() {
            return Answer::NotTaken;
        }
        let answer = tokio::select! {
            // An answer counts also when the process ended right after it.
            biased;
            Ok(outcome) = answered => match outcome {
                Ok(payload) => done(payload, None),
                Err(payload) => done(payload, Some("Unhandled")),
            },
            status = self.process.wait() => {
                if !taken.load(Ordering::Acquire) {
                    return Answer::NotTaken;
                }
                self.failed(id, "Runtime.ExitError", &exit(id, status.ok()))
            }
            () = self.memory.outgrows(function.memory_mb) => self.kill(id),
            () = tokio::time::sleep(limit) => {
                let late = format!("Task timed out after {:.2} seconds", limit.as_secs_f64());
                self.log.add(&[format!("{} {id} {late}", iso(Timestamp::now()))]);
                self.failed(id, "Sandbox.Timedout", &format!("RequestId: {id} Error: {late}"))
            }
        };
        self.used = Instant::now();
        self.end(function, id, began.elapsed(), init, answer)
    }

    /// Waits until a new process asks for work.
    async fn initialise(&mut self, id: &str) -> Result<(), Answer> {
        tokio::select! {
            ready = &mut self.api.ready => match ready {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Answer::Done {
                    invoked: Invoked::failed(error),
                    reusable: false,
                }),
                Err(_) => Err(self.failed(id, "Runtime.ExitError", &exit(id, None))),
            },
            status = self.process.wait() => {
                Err(self.failed(id, "Runtime.ExitError", &exit(id, status.ok())))
            }
            () = tokio::time::sleep(INIT_LIMIT) => {
                let seconds = INIT_LIMIT.as_secs();
                let late = format!("the function did not ask for work within {seconds} seconds");
                Err(self.failed(id, "Sandbox.Timedout", &late))
            }
        }
    }

    /// Ends processes that use more memory than they may, as Lambda's kernel does.
    fn kill(&self, id: &str) -> Answer {
        self.process.tell(Signal::Kill);
        let killed = format!("RequestId: {id} Error: {}", exited("signal: killed"));
        self.log.add(&[killed.clone(), "Runtime.ExitError".to_owned()]);
        self.failed(id, "Runtime.ExitError", &killed)
    }

    fn failed(&self, id: &str, kind: &str, message: &str) -> Answer {
        tracing::warn!(id, kind, message, "invocation failed");
        let payload = json!({ "errorType": kind, "errorMessage": message }).to_string();
        Answer::Done { invoked: Invoked::failed(payload.into()), reusable: false }
    }

    /// Writes the end of an invocation into the log, and what the log has into the answer.
    fn end(
        &self,
        function: &Function,
        id: &str,
        took: Duration,
        init: Option<Duration>,
        answer: Answer,
    ) -> Answer {
        self.log.drain();
        let ms = |d: Duration| d.as_secs_f64() * 1000.0;
        let init = init.map_or_else(String::new, |d| format!("\tInit Duration: {:.2} ms", ms(d)));
        let report = format!(
            "REPORT RequestId: {id}\tDuration: {:.2} ms\tBilled Duration: {} ms\tMemory Size: {} \
             MB\tMax Memory Used: {} MB{init}",
            ms(took),
            ms(took).ceil(),
            function.memory_mb,
            self.memory.peak_mb().min(function.memory_mb)
        );
        self.log.add(&[format!("END RequestId: {id}"), report]);
        match answer {
            Answer::Done { invoked, reusable } => {
                Answer::Done { invoked: Invoked { log_tail: self.log.tail(), ..invoked }, reusable }
            }
            Answer::NotTaken => Answer::NotTaken,
        }
    }
}

fn done(payload: Bytes, function_error: Option<&'static str>) -> Answer {
    let (log_tail, version) = (Vec::new(), String::new());
    let invoked = Invoked { payload, function_error, log_tail, version };
    Answer::Done { invoked, reusable: true }
}

/// Whether credentials that end at `expires` are good for an invocation that begins now.
fn lasts(expires: Option<Timestamp>, timeout_secs: u64, now: Timestamp) -> bool {
    let longest = SignedDuration::from_secs(timeout_secs.min(900) as i64);
    expires.is_none_or(|expires| expires > now + longest + CREDENTIALS_RESERVE)
}

/// Starts the process with one pipe for standard output and standard error.
fn start(program: Program) -> std::io::Result<(Process, std::io::PipeReader)> {
    let (pipe, out) = std::io::pipe()?;
    Ok((program.output(out.try_clone()?, out).start()?, pipe))
}

fn exit(id: &str, status: Option<ExitStatus>) -> String {
    // Lambda has Go's words.
    let status = status.map_or_else(
        || "without an answer".to_owned(),
        |status| match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit status {code}"),
            (_, Some(libc::SIGKILL)) => "signal: killed".to_owned(),
            _ => status.to_string(),
        },
    );
    format!("RequestId: {id} Error: {}", exited(&status))
}

fn exited(how: &str) -> String {
    format!("Runtime exited with error: {how}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_replaced_before_its_credentials_end() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        let after = |secs| Some(now + SignedDuration::from_secs(secs));
        assert!(lasts(None, 30, now) && lasts(after(12 * 3_600), 900, now));
        assert!(lasts(after(331), 30, now));
        assert!(!lasts(after(330), 30, now), "it could end within the invocation");
        assert!(!lasts(after(-1), 30, now));
    }
}
