//! What is unusual in one series: value by value, where only the past is known, or all at once.
//!
//! Plain values in, plain values out. Nothing here knows a task, a card or a file; nothing reads a
//! clock; equal values, options and seeds give equal scores. Times are not known either: values
//! follow each other, and one that is missing leaves no gap.
//!
//! Every score is between 0 and 1 and means the same: how small a tail probability is, on the
//! scale of [`tail::tail_score`]. Detectors keep a bounded state, which can be stored and goes on
//! where it was. The defaults of all options were chosen on the AWS CloudWatch part of the Numenta
//! anomaly benchmark and on nothing else; `examples/nab_accuracy.rs` prints what they are worth
//! there and on the benchmark's other parts.

pub mod alarms;
pub mod cut_forest;
pub mod deviation;
pub mod error;
pub mod nab;
pub mod nearest;
pub mod reconstruction;
pub mod rested;
pub mod tail;
pub mod vote;

pub use error::AnomalyError;

/// Something that reads a series value by value.
pub trait Detector {
    /// How unusual `value` is after the values before it: 0 for usual ones, at most 1.
    ///
    /// A value that is not [`known`] is missing: it scores 0 and leaves no trace, so the next one
    /// is judged as if it had followed the last known one. The first values, of which there are
    /// too few to judge by, and all values of a constant series score 0.
    fn score(&mut self, value: f64) -> f64;
}

/// Size up to which differences of values are numbers with 32 bits, and their squares with 64.
const SIZE_MAX: f64 = 1e30;

/// Whether a value is there: a number, of at most 1e30 in size.
pub fn known(value: f64) -> bool {
    value.abs() <= SIZE_MAX
}

/// The scores of a whole series, in its order.
pub fn scores(detector: &mut impl Detector, values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| detector.score(*value)).collect()
}

#[cfg(test)]
mod tests;
