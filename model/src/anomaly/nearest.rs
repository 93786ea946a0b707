//! How unlike everything before them the newest values are, as a shape.
//!
//! The conformal nearest-neighbour idea of Laxhammar and Falkman (2011), as Burnaev and Ishimtsev
//! (2016) take it to series, with plain Euclidean distances: the newest window of values beside
//! every earlier one.

use serde::{Deserialize, Serialize};

use super::error::{AnomalyError, at_least_one};
use super::tail::{Moments, tail_score};
use super::{Detector, known};

/// What [`NearestWindows`] are made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearestOptions {
    /// Values of a window.
    pub window: usize,
    /// Nearest earlier windows whose mean distance counts.
    pub neighbours: usize,
    /// Values that are remembered: a window that ended before them is forgotten, and what it
    /// showed becomes unusual again.
    pub memory: usize,
}

impl Default for NearestOptions {
    fn default() -> Self {
        Self { window: 3, neighbours: 5, memory: 5_000 }
    }
}

/// The mean distance of the newest window to its nearest earlier ones that do not overlap it, as a
/// tail probability among all such distances before. Its state is `memory` values and two moments;
/// the time per value grows with `memory × window`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearestWindows {
    options: NearestOptions,
    values: Vec<f64>,
    distances: Moments,
}

impl NearestWindows {
    /// A detector that has seen nothing.
    pub fn new(options: NearestOptions) -> Result<Self, AnomalyError> {
        at_least_one(&[
            ("window", options.window),
            ("neighbours", options.neighbours),
            ("memory", options.memory),
        ])?;
        let distances = Moments::new(options.memory);
        Ok(Self { options, values: Vec::new(), distances })
    }

    /// `None` where there are fewer earlier windows than neighbours.
    fn distance(&self) -> Option<f64> {
        let window = self.options.window;
        let (earlier, newest) = self.values.split_at_checked(self.values.len() - window)?;
        let mut nearest = vec![f64::INFINITY; self.options.neighbours];
        for older in earlier.windows(window) {
            insert(&mut nearest, squared_distance(newest, older));
        }
        let sum: f64 = nearest.iter().map(|squared| squared.sqrt()).sum();
        sum.is_finite().then_some(sum / nearest.len() as f64)
    }
}

impl Detector for NearestWindows {
    fn score(&mut self, value: f64) -> f64 {
        if !known(value) {
            return 0.0;
        }
        if self.values.len() == self.options.memory {
            self.values.remove(0);
        }
        self.values.push(value);
        if self.values.len() < self.options.window {
            return 0.0;
        }
        let Some(distance) = self.distance() else { return 0.0 };
        let score = tail_score(self.distances.distance(distance));
        self.distances.add(distance);
        score
    }
}

/// Keeps the smallest numbers, in order, in place of the largest.
fn insert(smallest: &mut [f64], number: f64) {
    let Some(last) = smallest.last_mut().filter(|last| number < **last) else { return };
    *last = number;
    let mut at = smallest.len() - 1;
    while at > 0 && smallest[at - 1] > smallest[at] {
        smallest.swap(at - 1, at);
        at -= 1;
    }
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
