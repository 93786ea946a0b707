//! Windows and scaling: how a series becomes the network's input, and its output a value.
//!
//! The network works on logarithms. It sees the changes and the level relative to the newest
//! value, and forecasts the change from the newest value, so that large and small series look alike
//! and "no change" is the forecast of a network that has learned nothing.

use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;

/// Features per observation: the change and the relative level.
pub const FEATURES: usize = 2;

/// Scale of the logarithmic changes, fitted on training data only.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scaler {
    /// Mean change.
    pub mean: f32,
    /// Standard deviation of the changes, at least [`Scaler::DEVIATION_MIN`].
    pub deviation: f32,
}

impl Scaler {
    /// Keeps a constant series from dividing by zero.
    pub const DEVIATION_MIN: f32 = 1e-4;

    /// Fits mean and deviation of all changes in `data`.
    pub fn fit(data: &Dataset) -> Self {
        let changes: Vec<f64> = data.series().iter().flat_map(|s| s.values.windows(2).map(|w| log(w[1]) - log(w[0]))).collect();
        let n = changes.len().max(1) as f64;
        let mean = changes.iter().sum::<f64>() / n;
        let variance = changes.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / n;
        Self { mean: mean as f32, deviation: (variance.sqrt() as f32).max(Self::DEVIATION_MIN) }
    }

    /// The network's input for the end of `history`, which has more than `context` values.
    pub fn input(&self, history: &[f64], context: usize, into: &mut Vec<f32>) {
        let tail = &history[history.len() - context - 1..];
        let newest = log(tail[context]);
        for pair in tail.windows(2) {
            into.push(((log(pair[1]) - log(pair[0])) as f32 - self.mean) / self.deviation);
            into.push((log(pair[1]) - newest) as f32 / self.deviation / 4.0);
        }
    }

    /// What the network should answer for a change from `last` to `actual`.
    pub fn target(&self, last: f64, actual: f64) -> f32 {
        (log(actual) - log(last)) as f32 / self.deviation
    }

    /// The value that the network's answer stands for.
    pub fn value(&self, last: f64, output: f32) -> f64 {
        ((log(last) + f64::from(output * self.deviation)).exp() - 1.0).max(0.0)
    }
}

/// `ln(1 + v)`, so that a count of zero has a logarithm.
pub fn log(value: f64) -> f64 {
    value.ln_1p()
}

/// Training pairs, flattened.
#[derive(Debug, Default)]
pub struct Windows {
    /// `len × context × FEATURES`.
    pub inputs: Vec<f32>,
    /// `len × horizon`.
    pub targets: Vec<f32>,
    /// Number of pairs.
    pub len: usize,
}

/// Every window of every series that is long enough.
pub fn windows(data: &Dataset, scaler: &Scaler, context: usize, horizon: usize) -> Windows {
    let mut out = Windows::default();
    for series in data.series() {
        for end in context + 1..(series.values.len() + 1).saturating_sub(horizon) {
            let history = &series.values[..end];
            scaler.input(history, context, &mut out.inputs);
            let last = history[end - 1];
            out.targets.extend(series.values[end..end + horizon].iter().map(|&v| scaler.target(last, v)));
            out.len += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(values: &[f64]) -> Dataset {
        Dataset::from_rows(values.iter().enumerate().map(|(i, &v)| ("A".to_owned(), 2000 + i as i32, v))).expect("valid")
    }

    #[test]
    fn there_is_one_window_per_position_and_none_reads_its_own_target() {
        let data = dataset(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let scaler = Scaler::fit(&data);
        let w = windows(&data, &scaler, 3, 1);
        assert_eq!((w.len, w.inputs.len(), w.targets.len()), (2, 2 * 3 * FEATURES, 2));
        let mut changed = dataset(&[1.0, 2.0, 3.0, 4.0, 50.0, 6.0]);
        let again = windows(&changed, &scaler, 3, 1);
        assert_eq!(w.inputs[..6], again.inputs[..6], "the first window must not see the fifth value");
        changed = dataset(&[1.0, 2.0, 3.0]);
        assert_eq!(windows(&changed, &scaler, 3, 1).len, 0);
    }

    #[test]
    fn scaling_and_back_is_the_identity() {
        let scaler = Scaler::fit(&dataset(&[10.0, 12.0, 9.0]));
        let value = scaler.value(12.0, scaler.target(12.0, 9.5));
        assert!((value - 9.5).abs() < 1e-4);
    }
}
