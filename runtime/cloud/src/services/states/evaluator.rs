//! Evaluates templates in processes of their own, so that no expression can take the cloud down.
//!
//! JSONata loops, recurses and builds texts of any length. A process has bounds that a library
//! cannot give: its memory is limited by the system, it is killed when its time is over or when the
//! execution is stopped, and when it crashes only the one evaluation fails. Processes are reused; a
//! template without expressions needs none.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::Semaphore;

use super::expression;
use super::interpreter::Failure;
use crate::kernel::processes::{Pipes, Process, Program};

/// Processes at once; more evaluations wait for a free one.
const WORKERS_MAX: usize = 4;
/// Address space of a process.
const MEMORY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How long an expression may take before it is an error.
pub const EVALUATION_LIMIT: Duration = Duration::from_secs(5);
/// When a process that does not even notice its limit is ended.
const WORKER_LIMIT: Duration = Duration::from_secs(8);
/// Bytes of an answer: above what a state may hand on, so that the state's own limit is the one
/// met.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long a process without work is kept.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// What is to be filled in, and what its expressions see.
#[derive(Serialize)]
struct Question<'a> {
    template: &'a Value,
    states: BTreeMap<&'a str, &'a Value>,
    variables: BTreeMap<&'a str, &'a Value>,
}

#[derive(Deserialize)]
struct OwnedQuestion {
    template: Value,
    states: Value,
    variables: Map<String, Value>,
}

type Answer = Result<Value, Failure>;

/// The processes.
#[derive(Debug)]
pub struct Evaluator {
    idle: Mutex<Vec<(Instant, Worker)>>,
    permits: Semaphore,
}

impl Default for Evaluator {
    fn default() -> Self {
        Self { idle: Mutex::default(), permits: Semaphore::new(WORKERS_MAX) }
    }
}

impl Evaluator {
    /// Evaluates all expressions in `template`; `program` is this cloud's own binary.
    pub async fn fill(
        &self,
        program: &Path,
        template: &Value,
        states: &Value,
        variables: &Map<String, Value>,
    ) -> Answer {
        let Some(sight) = expression::Sight::of(template) else { return Ok(template.clone()) };
        // A Map over many items would send all of them with every one of them.
        let fields = states.as_object().into_iter().flatten();
        let question = Question {
            template,
            states: seen(fields, |name| sight.has_field(name)),
            variables: seen(variables, |name| sight.has_variable(name)),
        };
        let mut line = serde_json::to_vec(&question).map_err(|e| broken(&e.to_string()))?;
        line.push(b'\n');
        let _permit = self.permits.acquire().await.map_err(|e| broken(&e.to_string()))?;
        let mut worker = match self.take() {
            Some(worker) => worker,
            None => Worker::start(program).map_err(|e| broken(&e.to_string()))?,
        };
        // A worker that is not given back is killed: after a failure, or when the caller goes away.
        let answer = tokio::time::timeout(WORKER_LIMIT, worker.ask(&line)).await;
        let answer = answer.map_err(|_| broken("it took too long"))?.map_err(|e| broken(&e))?;
        self.give_back(worker);
        answer
    }

    fn take(&self) -> Option<Worker> {
        let mut idle = self.idle.lock();
        idle.pop().map(|(_, worker)| worker)
    }

    fn give_back(&self, worker: Worker) {
        let mut idle = self.idle.lock();
        idle.push((Instant::now(), worker));
    }

    /// Ends processes that have been without work for a while.
    pub fn rest(&self) {
        let mut idle = self.idle.lock();
        idle.retain(|(since, _)| since.elapsed() < IDLE_MAX);
    }
}

fn seen<'a>(
    all: impl IntoIterator<Item = (&'a String, &'a Value)>,
    is_seen: impl Fn(&str) -> bool,
) -> BTreeMap<&'a str, &'a Value> {
    all.into_iter().filter(|(name, _)| is_seen(name)).map(|(n, v)| (n.as_str(), v)).collect()
}

fn broken(why: &str) -> Failure {
    let cause = format!("The evaluation of a JSONata expression was ended: {why}.");
    Failure::new("States.QueryEvaluationError", cause)
}

/// A process that answers one line per question.
#[derive(Debug)]
struct Worker {
    // Killed when the worker is dropped.
    _process: Process,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(program: &Path) -> std::io::Result<Self> {
        let program = Program::new(program).args(["evaluate"]).address_space(MEMORY_BYTES_MAX);
        let (process, Pipes { input, output, .. }) = program.start_with_pipes()?;
        Ok(Self { _process: process, questions: input, answers: BufReader::new(output) })
    }

    async fn ask(&mut self, line: &[u8]) -> Result<Answer, String> {
        let ended = "it needed too much memory, or crashed";
        self.questions.write_all(line).await.map_err(|_| ended)?;
        self.questions.flush().await.map_err(|_| ended)?;
        let mut answer = Vec::new();
        let mut bounded = (&mut self.answers).take(ANSWER_BYTES_MAX as u64 + 1);
        bounded.read_until(b'\n', &mut answer).await.map_err(|e| e.to_string())?;
        if answer.last() != Some(&b'\n') {
            return Err(ended.to_owned());
        }
        serde_json::from_slice(&answer).map_err(|e| format!("its answer cannot be read: {e}"))
    }
}

/// What a process does: answers until its input ends.
pub fn serve() -> std::io::Result<()> {
    let deadline = std::sync::Arc::new(AtomicU64::new(0));
    end_what_is_late(deadline.clone());
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let question: OwnedQuestion = serde_json::from_str(&line?)?;
        deadline.store(now_ms() + WORKER_LIMIT.as_millis() as u64, Ordering::Relaxed);
        let answer: Answer =
            expression::fill(&question.template, &question.states, &question.variables);
        deadline.store(0, Ordering::Relaxed);
        let mut text = serde_json::to_vec(&answer)?;
        if text.len() >= ANSWER_BYTES_MAX {
            let cause = "The result of a JSONata expression is too large.";
            text =
                serde_json::to_vec(&Answer::Err(Failure::new("States.DataLimitExceeded", cause)))?;
        }
        text.push(b'\n');
        output.write_all(&text)?;
        output.flush()?;
    }
    Ok(())
}

/// Ends the process when an evaluation outlives its limit, also when nobody else is there any more.
#[expect(clippy::disallowed_methods, reason = "a thread that only watches the clock")]
fn end_what_is_late(deadline: std::sync::Arc<AtomicU64>) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(500));
            let until = deadline.load(Ordering::Relaxed);
            if until != 0 && now_ms() > until {
                std::process::exit(1);
            }
        }
    });
}

fn now_ms() -> u64 {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_millis() as u64 + 1
}
