//! A training's progress, and its checkpoints on disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use steppe_plan::events::{Event, Fact, Step, Unit};

use crate::host::Host;
use crate::project::write;

/// The program around a training.
#[derive(Clone)]
pub struct Progress(Arc<Inner>);

struct Inner {
    host: Host,
    step: Step,
    began: Instant,
    checkpoints: PathBuf,
    planned: AtomicU64,
    done: AtomicU64,
    /// Hundredths of the work that were told last.
    told: AtomicU64,
    warned: AtomicBool,
}

impl Progress {
    /// Tells the host of a step's progress, and keeps checkpoints in a folder of their own.
    pub fn new(host: Host, step: Step, checkpoints: PathBuf) -> Self {
        Self(Arc::new(Inner {
            host,
            step,
            began: Instant::now(),
            checkpoints,
            planned: AtomicU64::new(0),
            done: AtomicU64::new(0),
            told: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        }))
    }

    /// Deletes the checkpoints: the model is saved.
    pub fn forget(&self) {
        // Left over files cost disk space and nothing else: their folder's name is the hash of what
        // they belong to.
        let _ = std::fs::remove_dir_all(&self.0.checkpoints);
    }
}

impl steppe_model::host::Host for Progress {
    fn plan(&self, units: u64) {
        self.0.planned.fetch_add(units, Ordering::Relaxed);
    }

    fn advance(&self, units: u64) {
        let inner = &self.0;
        let done = inner.done.fetch_add(units, Ordering::Relaxed) + units;
        let total = inner.planned.load(Ordering::Relaxed).max(1);
        let hundredths = done * 100 / total;
        // Every unit would be millions of events.
        if inner.told.swap(hundredths, Ordering::Relaxed) != hundredths {
            let (step, unit) = (inner.step, Unit::Work);
            inner.host.tell(Event::Progress { step, done, total, unit });
        }
    }

    fn elapsed(&self) -> Duration {
        self.0.began.elapsed()
    }

    fn load(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.0.checkpoints.join(key)).ok()
    }

    fn save(&self, key: &str, bytes: &[u8]) {
        let Err(error) = write(&self.0.checkpoints.join(key), bytes) else { return };
        if !self.0.warned.swap(true, Ordering::Relaxed) {
            self.0.host.fact(Fact::NoCheckpoints { why: format!("{error:#}") });
        }
    }
}
