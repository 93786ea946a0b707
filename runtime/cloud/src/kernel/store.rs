//! Named records that survive the process: a map in memory, one JSON file per record on disk.
//!
//! A record is written to a new file that then takes the old one's name, so a crash leaves the old
//! record or the new one, never half of either. The map changes only when the disk has, and a
//! record that the disk refuses is an error of the call that wrote it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::kernel::error::ApiError;

/// A record that the disk refused; the table still has what it had before.
#[derive(Debug, Error)]
#[error("the record `{name}` cannot be stored: {source}")]
pub struct NotStored {
    name: String,
    source: std::io::Error,
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

/// A table of `T` by name.
#[derive(Debug)]
pub struct Table<T> {
    dir: PathBuf,
    rows: RwLock<BTreeMap<String, Arc<T>>>,
}

#[derive(Serialize)]
struct RowRef<'a, T> {
    name: &'a str,
    value: &'a T,
}

#[derive(Deserialize)]
struct Row<T> {
    name: String,
    value: T,
}

impl<T: Serialize + DeserializeOwned> Table<T> {
    /// Opens the table in `dir`, which is made when it is missing.
    pub fn open(dir: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot create {}", dir.display()))?;
        let mut rows = BTreeMap::new();
        for entry in
            std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))?
        {
            let path = entry?.path();
            match path.extension().and_then(|e| e.to_str()) {
                Some("json") => {
                    if let Some(row) = read_or_set_aside::<T>(&path)? {
                        rows.insert(row.name, Arc::new(row.value));
                    }
                }
                // What a crash left half written.
                Some("new") => std::fs::remove_file(&path)?,
                _ => {}
            }
        }
        Ok(Self { dir, rows: RwLock::new(rows) })
    }

    /// The record called `name`.
    pub fn get(&self, name: &str) -> Option<Arc<T>> {
        self.read().get(name).cloned()
    }

    /// Whether there is a record called `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.read().contains_key(name)
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.read().is_empty()
    }

    /// Writes a record. When it returns, the record survives a crash of the machine.
    pub fn put(&self, name: &str, value: T) -> Result<(), NotStored> {
        let value = Arc::new(value);
        let mut rows = self.write();
        self.store(name, &value)?;
        rows.insert(name.to_owned(), value);
        Ok(())
    }

    /// Writes a record unless there is one of that name; `false` when there is.
    pub fn create(&self, name: &str, value: T) -> Result<bool, NotStored> {
        let mut rows = self.write();
        if rows.contains_key(name) {
            return Ok(false);
        }
        let value = Arc::new(value);
        self.store(name, &value)?;
        rows.insert(name.to_owned(), value);
        Ok(true)
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Writes what `decide` makes of the record that is there, and returns the one that was:
    /// between the decision and the writing nobody else writes.
    pub fn replace<E: From<NotStored>>(
        &self,
        name: &str,
        decide: impl FnOnce(Option<&T>) -> Result<T, E>,
    ) -> Result<Option<Arc<T>>, E> {
        let mut rows = self.write();
        let value = Arc::new(decide(rows.get(name).map(Arc::as_ref))?);
        self.store(name, &value)?;
        Ok(rows.insert(name.to_owned(), value))
    }

    /// Deletes a record when `judge` agrees, and returns it.
    pub fn remove_if<E: From<NotStored>>(
        &self,
        name: &str,
        judge: impl FnOnce(Option<&T>) -> Result<(), E>,
    ) -> Result<Option<Arc<T>>, E> {
        let mut rows = self.write();
        judge(rows.get(name).map(Arc::as_ref))?;
        Ok(self.remove_row(&mut rows, name)?)
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
        let mut rows = self.write();
        let Some(row) = rows.get_mut(name) else { return Ok(None) };
        let mut changed = T::clone(row);
        let result = change(&mut changed);
        self.store(name, &changed)?;
        *row = Arc::new(changed);
        Ok(Some(result))
    }

    /// Like [`Table::update`] for the end of background work, where nobody waits for an error:
    /// memory changes also when the disk does not, because a restart ends whatever the disk still
    /// calls unfinished.
    pub fn settle<R>(&self, name: &str, change: impl FnOnce(&mut T) -> R) -> Option<R>
    where
        T: Clone,
    {
        let mut rows = self.write();
        let row = rows.get_mut(name)?;
        let result = change(Arc::make_mut(row));
        self.store(name, row).unwrap_or_else(|e| tracing::error!("{e}"));
        Some(result)
    }

    /// Deletes a record and returns it.
    pub fn remove(&self, name: &str) -> Result<Option<Arc<T>>, NotStored> {
        self.remove_row(&mut self.write(), name)
    }

    fn remove_row(
        &self,
        rows: &mut BTreeMap<String, Arc<T>>,
        name: &str,
    ) -> Result<Option<Arc<T>>, NotStored> {
        if !rows.contains_key(name) {
            return Ok(None);
        }
        let deleted = std::fs::remove_file(self.file(name)).and_then(|()| sync_dir(&self.dir));
        deleted.map_err(|source| NotStored { name: name.to_owned(), source })?;
        Ok(rows.remove(name))
    }

    /// All records in the order of their names.
    pub fn all(&self) -> Vec<(String, Arc<T>)> {
        self.read().iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    /// All records whose names begin with `prefix` and come after `after`.
    pub fn range(&self, prefix: &str, after: Option<&str>) -> Vec<(String, Arc<T>)> {
        use std::ops::Bound::{Excluded, Included, Unbounded};
        let rows = self.read();
        let start = match after {
            Some(after) if after >= prefix => Excluded(after.to_owned()),
            _ => Included(prefix.to_owned()),
        };
        rows.range((start, Unbounded))
            .take_while(|(k, _)| k.starts_with(prefix))
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}.json", hex::encode(&Sha256::digest(name)[..16])))
    }

    fn store(&self, name: &str, value: &T) -> Result<(), NotStored> {
        let stored = serde_json::to_vec(&RowRef { name, value })
            .map_err(std::io::Error::other)
            .and_then(|bytes| replace_file(&self.file(name), &bytes));
        stored.map_err(|source| NotStored { name: name.to_owned(), source })
    }

    // A writer that panics leaves a complete map: every change is one insert or remove.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<T>>> {
        self.rows.read()
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<T>>> {
        self.rows.write()
    }
}

/// Replaces a file whole, durably: its readers see the old bytes or the new ones, also after a
/// crash of the machine.
pub fn replace_file(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = file.with_extension("new");
    let written = write_durably(&new, bytes).and_then(|()| std::fs::rename(&new, file));
    if let Err(error) = written {
        // A full disk must not stay full of what nobody will read; the error that counts is above.
        let _ = std::fs::remove_file(&new);
        return Err(error);
    }
    file.parent().map_or(Ok(()), sync_dir)
}

fn write_durably(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create(file)?;
    file.write_all(bytes)?;
    file.sync_data()
}

/// Makes renames and deletions in a folder durable.
pub fn sync_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

/// A record that cannot be read is set aside, so that the others can be served.
fn read_or_set_aside<T: DeserializeOwned>(path: &Path) -> Result<Option<Row<T>>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    match serde_json::from_slice(&bytes) {
        Ok(row) => Ok(Some(row)),
        Err(error) => {
            let aside = path.with_extension("damaged");
            tracing::error!("a record is damaged ({error}) and now lies in {}", aside.display());
            std::fs::rename(path, &aside)
                .with_context(|| format!("cannot set {} aside", path.display()))?;
            Ok(None)
        }
    }
}
