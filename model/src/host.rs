//! What a training asks of the program around it: to be told of progress, and to keep checkpoints.
//!
//! Training itself reads no clock and writes no file.

use std::time::Duration;

/// The program around a training. Every method has a default that does nothing.
pub trait Host: Sync {
    /// `units` more of work are planned. A unit is one window through one network, or one forecast.
    fn plan(&self, units: u64) {
        let _ = units;
    }

    /// `units` of work are done, or turned out not to be needed.
    fn advance(&self, units: u64) {
        let _ = units;
    }

    /// How long the training has been going on; nothing where there is no clock.
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    /// The checkpoint saved under `key`, if any.
    fn load(&self, key: &str) -> Option<Vec<u8>> {
        let _ = key;
        None
    }

    /// Keeps a checkpoint. A failure is the host's to report; training goes on.
    fn save(&self, key: &str, bytes: &[u8]) {
        let _ = (key, bytes);
    }
}

/// A host that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Host for Quiet {}

/// Where in a training something happens: names its checkpoints.
#[derive(Clone)]
pub struct Stage<'a> {
    /// The program around it.
    pub host: &'a dyn Host,
    name: String,
}

impl<'a> Stage<'a> {
    /// The start.
    pub fn new(host: &'a dyn Host) -> Self {
        Self { host, name: String::new() }
    }

    /// A part of this stage.
    pub fn part(&self, name: &str) -> Self {
        let name =
            if self.name.is_empty() { name.to_owned() } else { format!("{}.{name}", self.name) };
        Self { host: self.host, name }
    }

    /// Its name: `origin-3.member-0`.
    pub fn name(&self) -> &str {
        &self.name
    }
}
