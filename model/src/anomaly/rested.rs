//! One alarm for one episode.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{Detector, known};

/// Values that an episode lasts where nothing else is said.
pub const REST: usize = 50;

/// Lets only scores through that are above all of the last ones.
///
/// What is unusual stays so for a while, and an application wants to hear of it once, and again
/// only when it gets worse. This holds for every threshold at once: it needs no alarm to begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rest {
    values: usize,
    recent: VecDeque<f64>,
}

impl Rest {
    /// A rest of so many values; none where that is 0.
    pub fn new(values: usize) -> Self {
        Self { values, recent: VecDeque::new() }
    }

    /// The score, or 0 where it is not above all of the last ones.
    pub fn keep(&mut self, score: f64) -> f64 {
        let above = self.recent.iter().all(|recent| *recent < score);
        self.recent.push_back(score);
        if self.recent.len() > self.values {
            self.recent.pop_front();
        }
        if above { score } else { 0.0 }
    }
}

/// A detector with a rest after what it finds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rested<D> {
    detector: D,
    rest: Rest,
}

impl<D: Detector> Rested<D> {
    /// A rest of so many values after what the detector finds.
    pub fn new(detector: D, values: usize) -> Self {
        Self { detector, rest: Rest::new(values) }
    }
}

impl<D: Detector> Detector for Rested<D> {
    fn score(&mut self, value: f64) -> f64 {
        let score = self.detector.score(value);
        if known(value) { self.rest.keep(score) } else { 0.0 }
    }
}
