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

mod together;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::{Condvar, Mutex};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use steppe_wire::hint::Hinted;
use thiserror::Error;

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

    /// The text that each row of a kind has as its member `member`; `None` when one of them is not
    /// what was written.
    pub fn verified_texts(&self, kind: &str, member: &str) -> Result<Option<Vec<String>>> {
        let sql = "SELECT value, sum, CASE WHEN json_valid(value) THEN json_extract(value, ?2) END
            FROM records WHERE kind = ?1";
        let found = self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let mut rows = statement.query(params![kind, format!("$.{member}")])?;
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

/// A table of `T` by name.
#[derive(Debug)]
pub struct Table<T> {
    store: Arc<Store>,
    kind: String,
    /// What the names of its rows begin with, which nobody else sees.
    scope: String,
    /// What background work ended with when the disk refused it.
    unsettled: Mutex<BTreeMap<String, Arc<T>>>,
}

/// A row, and whether it is what was written.
fn row_of<T: DeserializeOwned>(value: &str, sum: i64) -> Result<T, String> {
    if checksum(value) != sum {
        return Err("its checksum is another one".to_owned());
    }
    serde_json::from_str(value).map_err(|error| error.to_string())
}

fn checksum(value: &str) -> i64 {
    i64::from(crc32fast::hash(value.as_bytes()))
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// The table of that kind.
    pub fn new(store: &Arc<Store>, kind: &str) -> Self {
        Self::scoped(store, kind, "")
    }

    /// Of the table of that kind what begins with `scope`, as a table of its own.
    pub fn scoped(store: &Arc<Store>, kind: &str, scope: &str) -> Self {
        let (store, kind, scope) = (store.clone(), kind.to_owned(), scope.to_owned());
        Self { store, kind, scope, unsettled: Mutex::default() }
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.scope)
    }

    /// The record called `name`.
    pub fn get(&self, name: &str) -> Option<Arc<T>> {
        if let Some(row) = self.unsettled.lock().get(name) {
            return Some(row.clone());
        }
        let full = self.full(name);
        let found = self.store.read(|connection| self.find(connection, &full));
        match found {
            Ok(Some(Ok(row))) => Some(Arc::new(row)),
            Ok(Some(Err(why))) => {
                self.set_aside(&full, &why);
                None
            }
            Ok(None) => None,
            Err(error) => {
                tracing::error!("the record {} {full} cannot be read: {error}", self.kind);
                None
            }
        }
    }

    fn find(
        &self,
        connection: &Connection,
        full: &str,
    ) -> rusqlite::Result<Option<Result<T, String>>> {
        let read = |row: &Row<'_>| {
            let value = row.get_ref(0)?.as_str()?;
            Ok(row_of(value, row.get(1)?))
        };
        connection.prepare_cached(GET)?.query_row(params![self.kind, full], read).optional()
    }

    /// A row that cannot be read, so that the others can be served.
    fn set_aside(&self, full: &str, why: &str) {
        tracing::error!("the record {} {full} is damaged ({why}) and set aside", self.kind);
        let moved = self.store.write(full, |connection| self.move_aside(connection, full, why));
        moved.unwrap_or_else(|error| tracing::error!("{error}"));
    }

    fn move_aside(&self, connection: &Connection, full: &str, why: &str) -> Result<(), NotStored> {
        let copy = "INSERT INTO damaged SELECT kind, name, value, ?3 FROM records
            WHERE kind = ?1 AND name = ?2";
        connection
            .execute(copy, params![self.kind, full, why])
            .and_then(|_| connection.execute(DELETE, params![self.kind, full]))
            .map(|_| ())
            .map_err(|error| NotStored::new(full, &error))
    }

    /// Whether there is a record called `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        let mut empty = true;
        let read = self.rows("", None, |_, _| {
            empty = false;
            Ok(ControlFlow::Break(()))
        });
        // Nothing is thrown away because nobody could look.
        read && empty
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.names("").len()
    }

    /// The names that begin with `prefix`, in order.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let mut names = Vec::new();
        self.rows(prefix, None, |name, _| {
            names.push(name.to_owned());
            Ok(ControlFlow::Continue(()))
        });
        names
    }

    /// Of every row its name and the texts that it has as these members. Rows are not read whole,
    /// which makes this the way to choose among many.
    pub fn texts<const N: usize>(&self, members: [&str; N]) -> Vec<(String, [Option<String>; N])> {
        let columns: String =
            members.iter().map(|name| format!(", json_extract(value, '$.{name}')")).collect();
        let sql = format!(
            "SELECT name{columns} FROM records WHERE kind = ?1 AND name >= ?2 AND json_valid(value)
             ORDER BY name"
        );
        let read = self.store.read(|connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(params![self.kind, self.scope])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let Some(name) = row.get_ref(0)?.as_str()?.strip_prefix(&*self.scope) else {
                    break;
                };
                let mut texts = [const { None }; N];
                for (index, text) in texts.iter_mut().enumerate() {
                    *text = row.get(index + 1)?;
                }
                found.push((name.to_owned(), texts));
            }
            Ok(found)
        });
        read.unwrap_or_else(|error| {
            tracing::error!("the records {} cannot be read: {error}", self.kind);
            vec![]
        })
    }

    /// All records in the order of their names.
    pub fn all(&self) -> Vec<(String, Arc<T>)> {
        self.range("", None)
    }

    /// All records whose names begin with `prefix` and come after `after`.
    pub fn range(&self, prefix: &str, after: Option<&str>) -> Vec<(String, Arc<T>)> {
        let mut found = Vec::new();
        self.scan(prefix, after, |name, row| {
            found.push((name.to_owned(), row));
            ControlFlow::Continue(())
        });
        found
    }

    /// Shows records whose names begin with `prefix` and come after `after`, in the order of their
    /// names, until `each` breaks off.
    pub fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        mut each: impl FnMut(&str, Arc<T>) -> ControlFlow<()>,
    ) {
        let unsettled = self.unsettled.lock().clone();
        let mut damaged = Vec::new();
        self.rows(prefix, after, |name, row| {
            if let Some(row) = unsettled.get(name) {
                return Ok(each(name, row.clone()));
            }
            match row_of(row.get_ref(1)?.as_str()?, row.get(2)?) {
                Ok(row) => Ok(each(name, Arc::new(row))),
                Err(why) => {
                    damaged.push((name.to_owned(), why));
                    Ok(ControlFlow::Continue(()))
                }
            }
        });
        for (name, why) in damaged {
            self.set_aside(&self.full(&name), &why);
        }
    }

    /// The rows of the table, by names without its scope; whether they could be read.
    fn rows(
        &self,
        prefix: &str,
        after: Option<&str>,
        each: impl FnMut(&str, &Row<'_>) -> rusqlite::Result<ControlFlow<()>>,
    ) -> bool {
        let read = self.store.read(|connection| self.rows_of(connection, prefix, after, each));
        if let Err(error) = &read {
            tracing::error!("the records {} cannot be read: {error}", self.kind);
        }
        read.is_ok()
    }

    fn rows_of(
        &self,
        connection: &Connection,
        prefix: &str,
        after: Option<&str>,
        mut each: impl FnMut(&str, &Row<'_>) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<()> {
        let (prefix, after) = (self.full(prefix), after.map(|after| self.full(after)));
        let begin = after.as_deref().filter(|after| **after > *prefix).unwrap_or(&prefix);
        let mut statement = connection.prepare_cached(FROM)?;
        let mut rows = statement.query(params![self.kind, begin])?;
        while let Some(row) = rows.next()? {
            let full = row.get_ref(0)?.as_str()?;
            let Some(name) = full.strip_prefix(&*self.scope).filter(|_| full.starts_with(&prefix))
            else {
                break;
            };
            let seen = after.as_deref().is_some_and(|after| full <= after);
            if !seen && each(name, row)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Writes a record. When it returns, the record survives a crash of the machine.
    pub fn put(&self, name: &str, value: T) -> Result<(), NotStored> {
        let full = self.full(name);
        self.store.write(name, |connection| self.store_row(connection, name, &full, &value))?;
        self.unsettled.lock().remove(name);
        Ok(())
    }

    /// Writes and deletes records: all of it, or nothing.
    pub fn put_all<'a>(
        &self,
        puts: impl IntoIterator<Item = (String, T)>,
        deletes: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), NotStored> {
        let mut changed = Vec::new();
        self.store.write(&self.scope, |connection| {
            for name in deletes {
                let mut delete =
                    connection.prepare_cached(DELETE).map_err(|e| NotStored::new(name, &e))?;
                let deleted = delete.execute(params![self.kind, self.full(name)]);
                deleted.map_err(|error| NotStored::new(name, &error))?;
                changed.push(name.to_owned());
            }
            for (name, value) in puts {
                self.store_row(connection, &name, &self.full(&name), &value)?;
                changed.push(name);
            }
            Ok::<_, NotStored>(())
        })?;
        let mut unsettled = self.unsettled.lock();
        changed.iter().for_each(|name| drop(unsettled.remove(name)));
        Ok(())
    }

    /// Writes a record unless there is one of that name; `false` when there is.
    pub fn create(&self, name: &str, value: T) -> Result<bool, NotStored> {
        let full = self.full(name);
        self.store.write(name, |connection| {
            let there = self.former(connection, name, &full)?.is_some();
            if !there {
                self.store_row(connection, name, &full, &value)?;
            }
            Ok(!there)
        })
    }

    /// Writes what `decide` makes of the record that is there, and returns the one that was:
    /// between the decision and the writing nobody else writes.
    pub fn replace<E: From<NotStored>>(
        &self,
        name: &str,
        decide: impl FnOnce(Option<&T>) -> Result<T, E>,
    ) -> Result<Option<Arc<T>>, E> {
        let full = self.full(name);
        let former = self.store.write(name, |connection| {
            let former = self.former(connection, name, &full)?;
            let value = decide(former.as_deref())?;
            self.store_row(connection, name, &full, &value)?;
            Ok::<_, E>(former)
        })?;
        self.unsettled.lock().remove(name);
        Ok(former)
    }

    /// Deletes a record when `judge` agrees, and returns it.
    pub fn remove_if<E: From<NotStored>>(
        &self,
        name: &str,
        judge: impl FnOnce(Option<&T>) -> Result<(), E>,
    ) -> Result<Option<Arc<T>>, E> {
        let full = self.full(name);
        let former = self.store.write(name, |connection| {
            let former = self.former(connection, name, &full)?;
            judge(former.as_deref())?;
            let deleted = connection.prepare_cached(DELETE);
            deleted
                .and_then(|mut delete| delete.execute(params![self.kind, full]))
                .map_err(|error| NotStored::new(name, &error))?;
            Ok::<_, E>(former)
        })?;
        self.unsettled.lock().remove(name);
        Ok(former)
    }

    /// Changes a record in place; `None` when there is none.
    pub fn update<R>(
        &self,
        name: &str,
        change: impl FnOnce(&mut T) -> R,
    ) -> Result<Option<R>, NotStored>
    where
        T: Clone,
    {
        let full = self.full(name);
        let changed = self.store.write(name, |connection| {
            let Some(former) = self.former(connection, name, &full)? else { return Ok(None) };
            let mut row = Arc::unwrap_or_clone(former);
            let result = change(&mut row);
            self.store_row(connection, name, &full, &row)?;
            Ok::<_, NotStored>(Some(result))
        })?;
        self.unsettled.lock().remove(name);
        Ok(changed)
    }

    /// Like [`Table::update`] for the end of background work, where nobody waits for an error:
    /// what it ended with is kept in memory when the disk does not take it, because a restart ends
    /// whatever the disk still calls unfinished.
    pub fn settle<R>(&self, name: &str, change: impl FnOnce(&mut T) -> R) -> Option<R>
    where
        T: Clone,
    {
        let (full, mut change, mut ended) = (self.full(name), Some(change), None);
        let mut end = |former: Arc<T>| {
            let mut row = Arc::unwrap_or_clone(former);
            let result = change.take()?(&mut row);
            Some((row, result))
        };
        let stored = self.store.write(name, |connection| {
            let Some(former) = self.former(connection, name, &full)? else { return Ok(()) };
            ended = end(former);
            match &ended {
                Some((row, _)) => self.store_row(connection, name, &full, row),
                None => Ok(()),
            }
        });
        match stored {
            Ok(()) => self.unsettled.lock().remove(name).map_or((), drop),
            Err(error) => {
                tracing::error!("{error}");
                ended = ended.or_else(|| end(self.get(name)?));
                if let Some((row, _)) = &ended {
                    self.unsettled.lock().insert(name.to_owned(), Arc::new(row.clone()));
                }
            }
        }
        ended.map(|(_, result)| result)
    }

    /// Deletes a record and returns it.
    pub fn remove(&self, name: &str) -> Result<Option<Arc<T>>, NotStored> {
        if !self.contains(name) {
            return Ok(None);
        }
        self.remove_if(name, |_| Ok(()))
    }

    /// What a write finds under a name.
    fn former(
        &self,
        connection: &Connection,
        name: &str,
        full: &str,
    ) -> Result<Option<Arc<T>>, NotStored> {
        if let Some(row) = self.unsettled.lock().get(name) {
            return Ok(Some(row.clone()));
        }
        let found = self.find(connection, full).map_err(|e| NotStored::new(name, &e))?;
        match found {
            Some(Ok(row)) => Ok(Some(Arc::new(row))),
            Some(Err(why)) => self.move_aside(connection, full, &why).map(|()| None),
            None => Ok(None),
        }
    }

    fn store_row(
        &self,
        connection: &Connection,
        name: &str,
        full: &str,
        value: &T,
    ) -> Result<(), NotStored> {
        let value = serde_json::to_string(value).map_err(|error| NotStored {
            name: name.to_owned(),
            source: std::io::Error::other(error),
        })?;
        let sum = checksum(&value);
        let put = connection.prepare_cached(PUT);
        put.and_then(|mut put| put.execute(params![self.kind, full, value, sum]))
            .map(|_| ())
            .map_err(|error| NotStored::new(name, &error))
    }
}

#[cfg(test)]
mod tests;
