//! What all detectors say together.

use serde::{Deserialize, Serialize};

use super::cut_forest::{CutForest, CutForestOptions};
use super::deviation::{Deviation, DeviationOptions};
use super::nearest::{NearestOptions, NearestWindows};
use super::{AnomalyError, Detector};

/// What a [`Vote`] is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteOptions {
    /// Of the deviation from a slow mean.
    pub deviation: DeviationOptions,
    /// Of the nearest windows.
    pub nearest: NearestOptions,
    /// Of the random cut forest.
    pub forest: CutForestOptions,
}

/// The mean score of the three detectors, to be rested after what it finds
/// ([`super::rested::Rested`]): as the logarithm of the geometric mean of their tail
/// probabilities, each counts as much as it is sure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Vote {
    deviation: Deviation,
    nearest: NearestWindows,
    forest: CutForest,
}

impl Vote {
    /// Detectors that have seen nothing.
    pub fn new(options: VoteOptions) -> Result<Self, AnomalyError> {
        Ok(Self {
            deviation: Deviation::new(&options.deviation)?,
            nearest: NearestWindows::new(options.nearest)?,
            forest: CutForest::new(&options.forest)?,
        })
    }
}

impl Detector for Vote {
    fn score(&mut self, value: f64) -> f64 {
        let voters: [&mut dyn Detector; 3] =
            [&mut self.deviation, &mut self.nearest, &mut self.forest];
        let voices = voters.map(|voter| voter.score(value));
        voices.iter().sum::<f64>() / voices.len() as f64
    }
}
