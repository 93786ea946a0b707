//! A training's progress on the terminal, and its checkpoints on disk.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use steppe_model::host::Host;

use crate::project::write;
use crate::terminal::err;

/// The program around a training.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
    checkpoints: PathBuf,
    warned: Arc<AtomicBool>,
}

impl Progress {
    /// A bar on standard error when that is a terminal, and checkpoints in a folder of their own.
    pub fn new(checkpoints: PathBuf) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style =
            ProgressStyle::with_template("{prefix:>12}  {bar:40} {percent:>3} %, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(0), target)
            .with_style(style)
            .with_prefix("training");
        Self { bar, checkpoints, warned: Arc::default() }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// Deletes the checkpoints: the model is saved.
    pub fn forget(&self) {
        // Left over files cost disk space and nothing else: their folder's name is the hash of what
        // they belong to.
        let _ = std::fs::remove_dir_all(&self.checkpoints);
    }
}

impl Host for Progress {
    fn plan(&self, units: u64) {
        self.bar.inc_length(units);
    }

    fn advance(&self, units: u64) {
        self.bar.inc(units);
    }

    fn load(&self, key: &str) -> Option<Vec<u8>> {
        std::fs::read(self.checkpoints.join(key)).ok()
    }

    fn save(&self, key: &str, bytes: &[u8]) {
        let Err(error) = write(&self.checkpoints.join(key), bytes) else { return };
        if !self.warned.swap(true, Ordering::Relaxed) {
            self.bar.suspend(|| {
                err(&format!("warning: training goes on without checkpoints: {error:#}"))
            });
        }
    }
}
