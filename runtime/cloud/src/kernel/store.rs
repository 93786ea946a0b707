//! Records that survive the process: one SQLite database, `cloud.db` in the state folder.
//!
//! A table has rows by name, in the order of the names' bytes; a row is JSON with a checksum. When
//! a write returns, the row survives a crash of the machine: writes that come together share one
//! commit, and each is answered when that commit is on the disk. A write that the disk refuses is
//! an error of the call that wrote it, and nobody ever saw it. A row that cannot be read is set
//! aside, into `damaged`, so that the others can be served.
//!
//! `sqlite3 cloud.db 'SELECT name, value FROM records WHERE kind = "roles"'` looks into it, also
//! while the cloud runs.

mod complete;
mod table;
mod together;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use steppe_wire::hint::Hinted;
use thiserror::Error;

pub use table::Table;
use table::checksum;
pub use together::{Moment, Together};

use crate::kernel::error::ApiError;

/// Connections for reading that are kept open.
const READERS_KEPT: usize = 8;
/// Writes that may share one commit.
const SHARED_MAX: usize = 256;
/// How long a write waits for another program that writes to the database.
const OTHERS_WAIT: Duration = Duration::from_millis(200);
/// Pages of the log before it is written back: 1 MiB.
const LOG_PAGES: u32 = 256;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS records (
        kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, sum INTEGER NOT NULL,
        PRIMARY KEY (kind, name)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS damaged (
        kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, why TEXT NOT NULL
    );";
const GET: &str = "SELECT value, sum FROM records WHERE kind = ?1 AND name = ?2";
const PUT: &str = "INSERT INTO records (kind, name, value, sum) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value, sum = excluded.sum";
const DELETE: &str = "DELETE FROM records WHERE kind = ?1 AND name = ?2";
const FROM: &str = "SELECT name, value, sum FROM records WHERE kind = ?1 AND name >= ?2
    ORDER BY name";

/// A record that the disk refused; the table still has what it had before.
#[derive(Debug, Error)]
#[error("the record `{name}` cannot be stored: {source}")]
pub struct NotStored {
    name: String,
    source: std::io::Error,
}

impl NotStored {
    fn new(name: &str, error: &rusqlite::Error) -> Self {
        Self { name: name.to_owned(), source: io_error(error) }
    }
}

/// What the disk says, where SQLite passes it on.
fn io_error(error: &rusqlite::Error) -> std::io::Error {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => std::io::Error::from_raw_os_error(libc::ENOSPC),
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => {
            std::io::Error::new(std::io::ErrorKind::PermissionDenied, error.to_string())
        }
        _ => std::io::Error::other(error.to_string()),
    }
}

impl From<NotStored> for ApiError {
    fn from(error: NotStored) -> Self {
        Self::internal(error)
    }
}

impl From<NotStored> for std::io::Error {
    fn from(error: NotStored) -> Self {
        Self::new(error.source.kind(), error.to_string())
    }
}

// Resources of CloudFormation fail with a text, which becomes the event's reason.
impl From<NotStored> for String {
    fn from(error: NotStored) -> Self {
        error.to_string()
    }
}

/// The database.
#[derive(Debug)]
pub struct Store {
    file: PathBuf,
    writer: Mutex<Writer>,
    /// Who waits for the writer.
    waiting: AtomicUsize,
    readers: Mutex<Vec<Connection>>,
    /// How often records could not be read.
    unread: AtomicU64,
}

#[derive(Debug)]
struct Writer {
    connection: Connection,
    /// What has been written and not committed, if anything has.
    open: Option<(Arc<Commit>, usize)>,
}

/// A commit that several writes wait for.
#[derive(Debug, Default)]
struct Commit {
    /// The error's text and kind, when the disk refused.
    done: Mutex<Option<Result<(), (std::io::ErrorKind, String)>>>,
    changed: Condvar,
}

impl Commit {
    fn end(&self, result: Result<(), (std::io::ErrorKind, String)>) {
        *self.done.lock() = Some(result);
        self.changed.notify_all();
    }

    fn wait(&self, name: &str) -> Result<(), NotStored> {
        let mut done = self.done.lock();
        loop {
            match &*done {
                Some(Ok(())) => return Ok(()),
                Some(Err((kind, words))) => {
                    let source = std::io::Error::new(*kind, words.clone());
                    return Err(NotStored { name: name.to_owned(), source });
                }
                None => self.changed.wait(&mut done),
            }
        }
    }
}

impl Store {
    /// Opens `cloud.db` in a folder, or makes it.
    pub fn open(folder: &Path) -> Result<Arc<Self>> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let file = folder.join("cloud.db");
        let opened = || -> rusqlite::Result<Connection> {
            let connection = Connection::open(&file)?;
            connection.busy_timeout(OTHERS_WAIT)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        let connection = opened().map_err(|error| unusable(&file, &error))?;
        Ok(Arc::new(Self {
            file,
            writer: Mutex::new(Writer { connection, open: None }),
            waiting: AtomicUsize::new(0),
            readers: Mutex::default(),
            unread: AtomicU64::new(0),
        }))
    }

    /// How often records could not be read. A table then looks as if it lacked them, so what was
    /// answered meanwhile may be wrong and must not be told.
    pub fn unread(&self) -> u64 {
        self.unread.load(Ordering::SeqCst)
    }

    /// Whether rows of that kind have been set aside.
    pub fn has_damaged(&self, kind: &str) -> Result<bool> {
        let sql = "SELECT 1 FROM damaged WHERE kind = ?1 LIMIT 1";
        let found = self.read(|c| c.query_row(sql, [kind], |_| Ok(())).optional());
        Ok(found.with_context(|| format!("cannot read {}", self.file.display()))?.is_some())
    }

    /// The text that each row of these kinds has as its member `member`, all as they are at one
    /// moment; `None` when one of them is not
    /// what was written.
    pub fn verified_texts(&self, kinds: &[&str], member: &str) -> Result<Option<Vec<String>>> {
        let sql = "SELECT value, sum, CASE WHEN json_valid(value) THEN json_extract(value, ?2) END
            FROM records WHERE kind IN (SELECT value FROM json_each(?1))";
        let found = self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let kinds = serde_json::json!(kinds).to_string();
            let mut rows = statement.query(params![kinds, format!("$.{member}")])?;
            let mut texts = Vec::new();
            while let Some(row) = rows.next()? {
                let text: Option<String> = row.get(2)?;
                match text {
                    Some(text)
                        if checksum(row.get_ref(0)?.as_str()?) == row.get::<_, i64>(1)? =>
                    {
                        texts.push(text);
                    }
                    _ => return Ok(None),
                }
            }
            Ok(Some(texts))
        });
        found.with_context(|| format!("cannot read {}", self.file.display()))
    }

    fn read<R>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<R>,
    ) -> rusqlite::Result<R> {
        let kept = self.readers.lock().pop();
        let opened = kept.map_or_else(|| Connection::open(&self.file), Ok);
        let connection = opened.inspect_err(|_| self.miss())?;
        let result = work(&connection).inspect_err(|_| self.miss());
        let mut readers = self.readers.lock();
        if readers.len() < READERS_KEPT {
            readers.push(connection);
        }
        result
    }

    fn miss(&self) {
        self.unread.fetch_add(1, Ordering::SeqCst);
    }

    /// Does `work` between the writes before and after it, and returns when it is on the disk.
    fn write<R, E: From<NotStored>>(
        &self,
        name: &str,
        work: impl FnOnce(&Connection) -> Result<R, E>,
    ) -> Result<R, E> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let mut writer = self.writer.lock();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let stored = |error: rusqlite::Error| NotStored::new(name, &error);
        let (commit, count) = match writer.open.take() {
            Some((commit, count)) => (commit, count + 1),
            None => {
                writer.connection.execute_batch("BEGIN IMMEDIATE").map_err(stored)?;
                (Arc::<Commit>::default(), 1)
            }
        };
        let done = catch_unwind(AssertUnwindSafe(|| isolated(&writer.connection, name, work)));
        // SQLite undoes everything by itself when it cannot go on, as with a full disk.
        if writer.connection.is_autocommit() {
            let words = "the disk refused a write that shared the commit".to_owned();
            commit.end(Err((std::io::ErrorKind::StorageFull, words)));
        // Who comes next commits for all; the last one does it.
        } else if self.waiting.load(Ordering::SeqCst) > 0 && count < SHARED_MAX {
            writer.open = Some((commit.clone(), count));
        } else {
            let committed = writer.connection.execute_batch("COMMIT").map_err(|error| {
                // SQLite undoes by itself what it cannot commit, but not always.
                let _ = writer.connection.execute_batch("ROLLBACK");
                let error = io_error(&error);
                (error.kind(), error.to_string())
            });
            commit.end(committed);
        }
        drop(writer);
        let done = done.unwrap_or_else(|panic| resume_unwind(panic))?;
        commit.wait(name)?;
        Ok(done)
    }
}

/// Does `work`, of which nothing stays when it fails.
fn isolated<R, E: From<NotStored>>(
    connection: &Connection,
    name: &str,
    work: impl FnOnce(&Connection) -> Result<R, E>,
) -> Result<R, E> {
    let stored = |error: rusqlite::Error| NotStored::new(name, &error);
    connection.execute_batch("SAVEPOINT one").map_err(stored)?;
    let undo = Undo(connection);
    let done = work(connection)?;
    std::mem::forget(undo);
    connection.execute_batch("RELEASE one").map_err(stored)?;
    Ok(done)
}

/// Undoes one write, also when it panics.
struct Undo<'c>(&'c Connection);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        let undone = self.0.execute_batch("ROLLBACK TO one; RELEASE one");
        undone.unwrap_or_else(|e| tracing::error!("a write cannot be undone: {e}"));
    }
}

fn unusable(file: &Path, error: &rusqlite::Error) -> anyhow::Error {
    let damaged = matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    );
    if damaged {
        let file = file.display();
        return Hinted::new(
            format!("the records in {file} are damaged: {error}"),
            format!(
                "copy the folder, then try `sqlite3 {file} .recover | sqlite3 recovered.db` and put \
                 recovered.db in its place; objects lie beside it as files. `cargo xtask local \
                 reset` begins anew and deletes everything"
            ),
        )
        .into();
    }
    anyhow::Error::new(io_error(error)).context(format!("cannot open {}", file.display()))
}

#[cfg(test)]
mod tests;
