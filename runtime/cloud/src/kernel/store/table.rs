//! Records of one kind, by their names.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{DELETE, FROM, GET, NotStored, PUT, Store};

/// A table of `T` by name.
#[derive(Debug)]
pub struct Table<T> {
    pub(super) store: Arc<Store>,
    pub(super) kind: String,
    /// What the names of its rows begin with, which nobody else sees.
    scope: String,
    /// What background work ended with when the disk refused it.
    unsettled: Mutex<BTreeMap<String, Arc<T>>>,
}

/// A row, and whether it is what was written.
pub(super) fn row_of<T: DeserializeOwned>(value: &str, sum: i64) -> Result<T, String> {
    if checksum(value) != sum {
        return Err("its checksum is another one".to_owned());
    }
    serde_json::from_str(value).map_err(|error| error.to_string())
}

pub(super) fn checksum(value: &str) -> i64 {
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

    pub(super) fn full(&self, name: &str) -> String {
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
        let moved = self.store.write(full, |connection| self.move_aside(connection, full, why));
        moved.unwrap_or_else(|error| tracing::error!("{error}"));
    }

    fn move_aside(&self, connection: &Connection, full: &str, why: &str) -> Result<(), NotStored> {
        tracing::error!(
            "the record {} {full} is damaged ({why}); it is set aside, into `damaged` of cloud.db, \
             and what belongs to it is kept",
            self.kind
        );
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
    /// names, until `each` breaks off; whether they could be read.
    pub fn scan(
        &self,
        prefix: &str,
        after: Option<&str>,
        mut each: impl FnMut(&str, Arc<T>) -> ControlFlow<()>,
    ) -> bool {
        let unsettled = self.unsettled.lock().clone();
        let mut damaged = Vec::new();
        let read = self.rows(prefix, after, |name, row| {
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
        read
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

    pub(super) fn rows_of(
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
    pub(super) fn former(
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

    pub(super) fn store_row(
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
