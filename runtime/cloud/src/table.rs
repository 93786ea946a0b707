//! Named records that survive the process: a map in memory, one JSON file per record on disk.
//!
//! A record is written to a new file that then takes the old one's name, so a crash leaves the old
//! record or the new one, never half of either.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let mut rows = BTreeMap::new();
        for entry in std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
            let path = entry?.path();
            match path.extension().and_then(|e| e.to_str()) {
                Some("json") => {
                    let row: Row<T> = read_row(&path)?;
                    rows.insert(row.name, Arc::new(row.value));
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

    /// Writes a record.
    pub fn put(&self, name: &str, value: T) {
        let value = Arc::new(value);
        let mut rows = self.write();
        self.store(name, &value);
        rows.insert(name.to_owned(), value);
    }

    /// Changes a record in place; `None` when there is none.
    pub fn update<R>(&self, name: &str, change: impl FnOnce(&mut T) -> R) -> Option<R>
    where
        T: Clone,
    {
        let mut rows = self.write();
        let row = rows.get_mut(name)?;
        let result = change(Arc::make_mut(row));
        self.store(name, row);
        Some(result)
    }

    /// Deletes a record and returns it.
    pub fn remove(&self, name: &str) -> Option<Arc<T>> {
        let mut rows = self.write();
        let row = rows.remove(name)?;
        std::fs::remove_file(self.file(name)).unwrap_or_else(|e| tracing::error!("cannot delete the record `{name}`: {e}"));
        Some(row)
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
        rows.range((start, Unbounded)).take_while(|(k, _)| k.starts_with(prefix)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}.json", hex::encode(&Sha256::digest(name)[..16])))
    }

    /// A record that cannot be stored is still served; the log says so.
    fn store(&self, name: &str, value: &T) {
        let file = self.file(name);
        let new = file.with_extension("new");
        let written = serde_json::to_vec(&RowRef { name, value }).map_err(std::io::Error::other).and_then(|bytes| {
            std::fs::write(&new, bytes)?;
            std::fs::rename(&new, &file)
        });
        written.unwrap_or_else(|e| tracing::error!("cannot store the record `{name}` in {}: {e}", self.dir.display()));
    }

    // A writer that panics leaves a complete map: every change is one insert or remove.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<T>>> {
        self.rows.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<T>>> {
        self.rows.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn read_row<T: DeserializeOwned>(path: &Path) -> Result<Row<T>> {
    let damaged = || {
        format!("the state file {} is damaged\nhint: `cargo xtask local reset` starts over with an empty embedded cloud", path.display())
    };
    serde_json::from_slice(&std::fs::read(path).with_context(damaged)?).with_context(damaged)
}
