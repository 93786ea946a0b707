//! The SQL engine's processes: started for one job or query, spoken with in lines, and ended.
//!
//! Each process is on a leash: it ends when the cloud closes its standard input, whether the cloud
//! stops, is killed or only forgets it, so no engine outlives the work it was started for. How many
//! work at once is bounded; the rest wait in the order they came.

use std::collections::HashMap;
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Take};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinHandle};

use crate::kernel::cloud::Cloud;
use crate::kernel::identity::Caller;
use crate::kernel::processes::{Pipes, Process, Program};

/// Queries at work at once; Athena has quotas of the same kind.
const QUERIES_MAX: usize = 4;
/// Cleaning jobs at work at once.
const JOBS_MAX: usize = 4;
/// What an engine may say in all.
const STDOUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The engines of a cloud.
#[derive(Debug)]
pub struct Engines {
    /// Places for queries.
    pub queries: Arc<Semaphore>,
    /// Places for jobs.
    pub jobs: Arc<Semaphore>,
    work: Mutex<HashMap<String, AbortHandle>>,
    admission: Mutex<()>,
}

impl Default for Engines {
    fn default() -> Self {
        Self {
            queries: Arc::new(Semaphore::new(QUERIES_MAX)),
            jobs: Arc::new(Semaphore::new(JOBS_MAX)),
            work: Mutex::default(),
            admission: Mutex::default(),
        }
    }
}

impl Engines {
    /// Held while a run or query is counted and recorded, so that two cannot take the last place.
    pub fn admission(&self) -> MutexGuard<'_, ()> {
        self.admission.lock()
    }

    fn work(&self) -> MutexGuard<'_, HashMap<String, AbortHandle>> {
        self.work.lock()
    }

    /// Does `work` in the background. `end` is told its result, or what became of it: the record
    /// of the work is settled also when the work panics or is stopped.
    pub fn begin<T: Send + 'static>(
        cloud: &Arc<Cloud>,
        id: &str,
        work: impl Future<Output = T> + Send + 'static,
        end: impl FnOnce(&Cloud, &str, Result<T, String>) + Send + 'static,
    ) {
        let task = tokio::spawn(work);
        cloud.engines.work().insert(id.to_owned(), task.abort_handle());
        let (cloud, id) = (cloud.clone(), id.to_owned());
        tokio::spawn(async move {
            let result = task.await.map_err(|e| {
                if e.is_cancelled() { "it was stopped".to_owned() } else { e.to_string() }
            });
            cloud.engines.work().remove(&id);
            end(&cloud, &id, result);
        });
    }

    /// Stops work that has not ended; its engine is killed with it.
    pub fn stop(&self, id: &str) {
        if let Some(task) = self.work().get(id) {
            task.abort();
        }
    }
}

/// One engine at work.
#[derive(Debug)]
pub struct Engine {
    process: Process,
    leash: ChildStdin,
    lines: Lines<BufReader<Take<ChildStdout>>>,
    errors: JoinHandle<String>,
}

/// How an engine ended.
#[derive(Debug)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// What it said of errors.
    pub stderr: String,
}

impl Engine {
    /// Starts an engine that calls as `caller`. It is killed when the value is dropped.
    pub fn start(cloud: &Cloud, caller: &Caller, arguments: &[&str]) -> Result<Self, String> {
        let program = &cloud.config.engine;
        let started = Program::new(program)
            .args(arguments)
            .env(cloud.config.client_env())
            .env(cloud.identities.session(caller.clone()).env())
            .start_with_pipes();
        let (process, Pipes { input, output, errors }) =
            started.map_err(|e| format!("cannot start `{}`: {e}", program.display()))?;
        let lines = BufReader::new(output.take(STDOUT_BYTES_MAX)).lines();
        Ok(Self { process, leash: input, lines, errors })
    }

    /// Sends a line.
    pub async fn say(&mut self, value: &impl Serialize) -> Result<(), String> {
        let mut line = serde_json::to_vec(value).map_err(|e| e.to_string())?;
        line.push(b'\n');
        let sent = self.leash.write_all(&line).await;
        sent.map_err(|e| format!("the engine did not read its input: {e}"))
    }

    /// The next line, or `None` at the end.
    pub async fn hear(&mut self) -> Result<Option<String>, String> {
        let heard = self.lines.next_line().await;
        heard.map_err(|e| format!("the engine's answer cannot be read: {e}"))
    }

    /// Waits for its end.
    pub async fn end(mut self) -> Result<Ended, String> {
        let status = self.process.wait().await.map_err(|e| e.to_string())?;
        let stderr = self.errors.await.map_err(|e| e.to_string())?;
        Ok(Ended { status, stderr })
    }
}

impl Ended {
    /// Whether somebody ended it, as the cloud does when it stops. An engine with too little memory
    /// or stack ends itself, by other signals.
    pub fn was_stopped(&self) -> bool {
        matches!(self.status.signal(), Some(libc::SIGKILL | libc::SIGTERM))
    }

    /// Why it failed, for people.
    pub fn reason(&self) -> String {
        if self.was_stopped() {
            return "the engine was stopped while it was at work".to_owned();
        }
        let said = self.stderr.trim().trim_start_matches("error: ");
        if self.status.code().is_some() && !said.is_empty() {
            return said.to_owned();
        }
        format!("the engine ended early ({}): {said}", self.status)
    }
}
