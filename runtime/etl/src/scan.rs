//! Threads for readers that wait: for the next bytes of a file, and for whoever takes the rows.
//!
//! One statement may scan a file many times at once, and a scan may have to wait until another one
//! goes on. On the runtime's few threads for blocking work they would wait for each other for ever,
//! because reading a file takes such a thread, too.

use anyhow::{Context, Result};
use tokio::sync::oneshot;

/// Stack of a thread: rows are read without recursion.
const STACK_BYTES: usize = 512 * 1024;

/// Runs `work` on a thread of its own. How many there may be, the limit of the process's memory
/// decides.
pub async fn on_own_thread<T, W>(work: W) -> Result<T>
where
    W: FnOnce() -> Result<T> + Send + 'static,
    T: Send + 'static,
{
    let (sender, done) = oneshot::channel();
    let run = move || {
        // Nobody waits for it any more when the query has ended.
        let _unread = sender.send(work());
    };
    let thread = std::thread::Builder::new().name("scan".to_owned()).stack_size(STACK_BYTES);
    thread.spawn(run).context("no thread is left to read a file")?;
    done.await.context("reading a file failed; the standard error says where")?
}
