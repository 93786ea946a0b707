//! How easily a value is cut off from a sample of those before it.
//!
//! The robust random cut forest (Guha et al. 2016) over single values. Windows of values were
//! tried and are worse on the benchmark's AWS part; shapes are what the nearest windows see.

use rcf3::{Forest, RcfConfig};
use serde::{Deserialize, Serialize};

use super::error::{AnomalyError, at_least_one};
use super::tail::{Moments, tail_score};
use super::{Detector, known};

/// What a [`CutForest`] is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutForestOptions {
    /// Trees of the forest.
    pub trees: usize,
    /// Values that each tree holds: a sample that favours newer ones.
    pub capacity: usize,
    /// Scores that tell what is usual.
    pub memory: usize,
    /// Seed of samples and cuts.
    pub seed: u64,
}

impl Default for CutForestOptions {
    fn default() -> Self {
        Self { trees: 50, capacity: 256, memory: 5_000, seed: 1 }
    }
}

/// The anomaly score of a random cut forest as a tail probability among all its scores before. Its
/// state is the forest: 1.5 MB as JSON with the default options.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CutForest {
    forest: Forest,
    scores: Moments,
    /// The first value: subtracted, so that large levels leave bits for small differences.
    origin: Option<f64>,
    /// Whether any value differed from the first one.
    varied: bool,
}

impl CutForest {
    /// A detector that has seen nothing.
    pub fn new(options: &CutForestOptions) -> Result<Self, AnomalyError> {
        let &CutForestOptions { trees, capacity, memory, seed } = options;
        at_least_one(&[("trees", trees), ("capacity", capacity), ("memory", memory)])?;
        let config = RcfConfig::new(1).with_num_trees(trees).with_capacity(capacity);
        let forest = Forest::from_config_seeded(&config, seed)
            .map_err(|source| AnomalyError::Forest { trees, capacity, source })?;
        Ok(Self { forest, scores: Moments::new(memory), origin: None, varied: false })
    }
}

impl Detector for CutForest {
    fn score(&mut self, value: f64) -> f64 {
        if !known(value) {
            return 0.0;
        }
        let offset = value - *self.origin.get_or_insert(value);
        self.varied |= offset != 0.0;
        let ready = self.forest.is_ready() && self.varied;
        // It refuses only what is not one finite number, and this is one.
        let raw = self.forest.update_and_score(&[offset as f32]).unwrap_or_default();
        if !ready {
            return 0.0;
        }
        let score = tail_score(self.scores.distance(raw));
        self.scores.add(raw);
        score
    }
}
