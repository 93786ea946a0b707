//! How far the newest values are, in their mean, from a slow mean.
//!
//! The Gaussian tail of the Numenta benchmark's likelihood (Lavin and Ahmad 2015, section 4), of
//! the values themselves instead of a model's errors. It sees changes of level and drifts, on both
//! sides, and is blind to a change of shape around the same mean.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::error::{AnomalyError, at_least_one};
use super::tail::{Moments, tail_score};
use super::{Detector, known};

/// What a [`Deviation`] is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviationOptions {
    /// Newest values whose mean is judged.
    pub short: usize,
    /// Values before those that tell what is usual.
    pub memory: usize,
}

impl Default for DeviationOptions {
    fn default() -> Self {
        Self { short: 10, memory: 5_000 }
    }
}

/// The tail probability of a short moving average under the normal distribution of the values
/// before it. Its state is `short` values and two moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deviation {
    short: usize,
    newest: VecDeque<f64>,
    usual: Moments,
}

impl Deviation {
    /// A detector that has seen nothing.
    pub fn new(options: &DeviationOptions) -> Result<Self, AnomalyError> {
        at_least_one(&[("short", options.short), ("memory", options.memory)])?;
        let usual = Moments::new(options.memory);
        Ok(Self { short: options.short, newest: VecDeque::new(), usual })
    }
}

impl Detector for Deviation {
    fn score(&mut self, value: f64) -> f64 {
        if !known(value) {
            return 0.0;
        }
        self.newest.push_back(value);
        if self.newest.len() > self.short
            && let Some(older) = self.newest.pop_front()
        {
            self.usual.add(older);
        }
        let mean = self.newest.iter().sum::<f64>() / self.newest.len() as f64;
        tail_score(self.usual.distance(mean).abs())
    }
}
