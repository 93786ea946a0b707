//! The logs of streams while the process runs, and what waits for them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::log::Log;
use super::rates::Rate;
use super::{Stream, shards};
use crate::kernel::cloud::Cloud;
use crate::kernel::durable::keep_only;
use crate::kernel::error::{ApiError, ApiResult};

/// Bytes that a shard takes in a second.
pub const WRITE_BYTES: f64 = 1024.0 * 1024.0;
/// Records that a shard takes in a second.
pub const WRITE_RECORDS: f64 = 1_000.0;
/// Times that a shard is read in a second.
pub const READ_CALLS: f64 = 5.0;
/// Bytes that are read of a shard in a second.
pub const READ_BYTES: f64 = 2.0 * 1024.0 * 1024.0;
/// How often records beyond the retention are deleted.
const SWEEP_EVERY: Duration = Duration::from_secs(60 * 60);

/// The logs of all streams, by the streams' IDs.
#[derive(Debug)]
pub struct Lives {
    folder: PathBuf,
    streams: Mutex<HashMap<String, Arc<Live>>>,
}

/// What a shard has left of its rates.
#[derive(Debug)]
pub struct Rates {
    /// Of bytes written.
    pub write_bytes: Rate,
    /// Of records written.
    pub write_records: Rate,
    /// Of reads.
    pub read_calls: Rate,
    /// Of bytes read.
    pub read_bytes: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            write_bytes: Rate::new(WRITE_BYTES),
            write_records: Rate::new(WRITE_RECORDS),
            read_calls: Rate::new(READ_CALLS),
            read_bytes: Rate::new(READ_BYTES),
        }
    }
}

/// The logs of one stream.
#[derive(Debug)]
pub struct Live {
    folder: PathBuf,
    /// Held for reading by who puts records, and alone by who changes the shards, so that a shard
    /// takes nothing after its end.
    pub gate: RwLock<()>,
    logs: Mutex<HashMap<u32, Arc<Log>>>,
    rates: Mutex<HashMap<u32, Rates>>,
    /// Counts puts, for who waits for more.
    changed: watch::Sender<u64>,
}

impl Lives {
    /// Opens the folder; what belongs to no stream any more is deleted, if all are known.
    pub fn open(folder: &Path, known: Option<Vec<String>>) -> Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        if let Some(known) = known {
            keep_only(folder, &known)
                .with_context(|| format!("cannot clean {}", folder.display()))?;
        }
        Ok(Self { folder: folder.to_owned(), streams: Mutex::default() })
    }

    /// The logs of a stream.
    pub fn of(&self, id: &str) -> Arc<Live> {
        let mut streams = self.streams.lock();
        let open = || {
            Arc::new(Live {
                folder: self.folder.join(id),
                gate: RwLock::default(),
                logs: Mutex::default(),
                rates: Mutex::default(),
                changed: watch::Sender::new(0),
            })
        };
        streams.entry(id.to_owned()).or_insert_with(open).clone()
    }

    /// Deletes the logs of a stream that is not on record any more.
    pub fn remove(&self, id: &str) {
        let live = self.streams.lock().remove(id);
        if let Some(live) = live {
            live.tell();
        }
        if let Err(error) = std::fs::remove_dir_all(self.folder.join(id))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            // The next start deletes it.
            tracing::error!("the records of a deleted stream cannot be deleted: {error}");
        }
    }
}

impl Live {
    /// The log of a shard.
    pub fn log(&self, shard: u32) -> ApiResult<Arc<Log>> {
        let mut logs = self.logs.lock();
        if let Some(log) = logs.get(&shard) {
            return Ok(log.clone());
        }
        let log = Log::open(&self.folder.join(shards::id(shard))).map_err(ApiError::internal)?;
        let log = Arc::new(log);
        logs.insert(shard, log.clone());
        Ok(log)
    }

    /// What a shard has left of its rates, and what is taken of them.
    pub fn rates<R>(&self, shard: u32, use_them: impl FnOnce(&mut Rates) -> R) -> R {
        use_them(self.rates.lock().entry(shard).or_default())
    }

    /// Tells those who wait that there is more.
    pub fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Changes of the stream's records from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn forget(&self, shard: u32) -> std::io::Result<()> {
        self.logs.lock().remove(&shard);
        self.rates.lock().remove(&shard);
        match std::fs::remove_dir_all(self.folder.join(shards::id(shard))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Executes the retention of streams, now and every hour.
pub async fn keep_retention(cloud: Arc<Cloud>) {
    loop {
        let all = cloud.clone();
        let swept = tokio::task::spawn_blocking(move || sweep(&all)).await;
        swept.unwrap_or_else(|e| tracing::error!("retention of streams is not executed: {e}"));
        cloud.clock.sleep(SWEEP_EVERY).await;
    }
}

fn sweep(cloud: &Cloud) {
    for (name, stream) in cloud.services.kinesis.streams.all() {
        if let Err(error) = sweep_stream(cloud, &name, &stream) {
            tracing::error!("old records of the stream `{name}` cannot be deleted: {error}");
        }
    }
}

/// Deletes a stream's records beyond its retention, and the closed shards that have no others.
fn sweep_stream(cloud: &Cloud, name: &str, stream: &Stream) -> ApiResult<()> {
    let live = cloud.services.kinesis.lives.of(&stream.id);
    let horizon = stream.horizon(cloud.clock.now());
    let expired = |shard: &shards::Shard| {
        shard.closed.is_some_and(|(closed, _)| closed.as_millisecond() < horizon)
    };
    let gone: Vec<u32> = {
        let all = stream.shards.all.iter();
        all.filter(|shard| expired(shard)).map(|shard| shard.number).collect()
    };
    for shard in stream.shards.all.iter().filter(|shard| !gone.contains(&shard.number)) {
        live.log(shard.number)?.forget_before(horizon).map_err(ApiError::internal)?;
    }
    if !gone.is_empty() {
        cloud.services.kinesis.streams.update(name, |now| {
            if now.id == stream.id {
                now.shards.all.retain(|shard| !gone.contains(&shard.number));
            }
        })?;
        for shard in gone {
            live.forget(shard).map_err(ApiError::internal)?;
        }
    }
    Ok(())
}
