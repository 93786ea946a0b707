//! What makes the engine a process that can be trusted with SQL of others: a large stack, a limit
//! of memory, and a leash.
//!
//! The leash is standard input: whoever started a leashed engine holds the other end, and when that
//! closes, because its holder stopped or was killed, the engine ends at once. So no engine outlives
//! the cloud that started it, whatever became of the cloud.

use std::future::Future;
use std::io::BufRead;

use anyhow::{Context, Result};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{Receiver, channel};

/// Stack of the thread that parses and plans. Nesting of SQL is bounded, but a level takes much.
const PLANNER_STACK_BYTES: usize = 256 * 1024 * 1024;
/// Stack of the threads that execute: expressions are evaluated as deep as they are nested.
const WORKER_STACK_BYTES: usize = 32 * 1024 * 1024;
/// Threads that execute.
const WORKERS: usize = 2;
/// Threads that block on files and decoding.
const BLOCKING_THREADS_MAX: usize = 8;
/// Data of the whole process, stacks included. What exceeds it fails, and this process with it.
const DATA_BYTES_MAX: u64 = 3 * 1024 * 1024 * 1024;
/// Exit code when the leash was let go.
const ABANDONED: i32 = 3;

/// Runs `work` to its end; it gets the lines of standard input when the process is on a leash.
pub fn start<W, F, T>(leashed: bool, work: W) -> Result<T>
where
    W: FnOnce(Receiver<String>) -> F + Send + 'static,
    F: Future<Output = Result<T>>,
    T: Send + 'static,
{
    limit_data()?;
    let (sender, lines) = channel(1);
    if leashed {
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                // A line that nobody waits for any more: go on watching for the end.
                let _unread = sender.blocking_send(line);
            }
            std::process::exit(ABANDONED);
        });
    }
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .thread_stack_size(WORKER_STACK_BYTES)
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .stack_size(PLANNER_STACK_BYTES)
        .spawn(move || runtime.block_on(work(lines)))?
        .join()
        .map_err(|_| anyhow::anyhow!("the engine failed; its standard error says where"))?
}

fn limit_data() -> Result<()> {
    let limit = libc::rlimit { rlim_cur: DATA_BYTES_MAX, rlim_max: DATA_BYTES_MAX };
    // SAFETY: the call reads one structure, which lives until it returns.
    let done = unsafe { libc::setrlimit(libc::RLIMIT_DATA, &limit) };
    if done == 0 {
        return Ok(());
    }
    Err(std::io::Error::last_os_error()).context("the limit of memory cannot be set")
}
