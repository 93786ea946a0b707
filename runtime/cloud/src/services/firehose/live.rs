//! What is put into delivery streams, while the process runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::kernel::durable::keep_only;
use crate::kernel::error::{ApiError, ApiResult};
use crate::services::kinesis::log::Log;

/// The delivery streams' folders, by their IDs.
#[derive(Debug)]
pub struct Lives {
    folder: PathBuf,
    streams: Mutex<HashMap<String, Arc<Live>>>,
}

/// One delivery stream.
#[derive(Debug)]
pub struct Live {
    /// What was put.
    pub log: Log,
    /// Counts puts and changes of the configuration.
    changed: watch::Sender<u64>,
}

impl Lives {
    /// Opens the folder; what belongs to no delivery stream any more is deleted, if all are known.
    pub fn open(folder: &Path, known: Option<Vec<String>>) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        if let Some(known) = known {
            keep_only(folder, &known)
                .with_context(|| format!("cannot clean {}", folder.display()))?;
        }
        Ok(Self { folder: folder.to_owned(), streams: Mutex::default() })
    }

    /// What is put into a delivery stream.
    pub fn of(&self, id: &str) -> ApiResult<Arc<Live>> {
        let mut streams = self.streams.lock();
        if let Some(live) = streams.get(id) {
            return Ok(live.clone());
        }
        let log = Log::open(&self.folder.join(id).join("log")).map_err(ApiError::internal)?;
        let live = Arc::new(Live { log, changed: watch::Sender::new(0) });
        streams.insert(id.to_owned(), live.clone());
        Ok(live)
    }

    /// Deletes what was put into a delivery stream that is not on record any more.
    pub fn remove(&self, id: &str) {
        if let Some(live) = self.streams.lock().remove(id) {
            live.tell();
        }
        if let Err(error) = std::fs::remove_dir_all(self.folder.join(id))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            // The next start deletes it.
            tracing::error!("the records of a deleted delivery stream stay: {error}");
        }
    }
}

impl Live {
    /// Tells the worker that there is something new.
    pub fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Wakes whenever there is something new.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}
