//! From scores to alarms.

use serde::{Deserialize, Serialize};

use super::{Detector, known};

/// When a score is an alarm.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AlarmOptions {
    /// Scores from this on are alarms.
    pub threshold: f64,
    /// Known values that must have been seen before the first alarm.
    pub probation: usize,
}

/// For the vote with its rest: the threshold that is best for the benchmark's standard profile on
/// its AWS part, and the longest probation of the benchmark.
impl Default for AlarmOptions {
    fn default() -> Self {
        Self { threshold: 0.41, probation: 750 }
    }
}

/// A detector with a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alarms<D> {
    detector: D,
    options: AlarmOptions,
    seen: usize,
}

impl<D: Detector> Alarms<D> {
    /// Alarms of a detector.
    pub fn new(detector: D, options: AlarmOptions) -> Self {
        Self { detector, options, seen: 0 }
    }

    /// The score of the value where it is an alarm. A missing value never is.
    pub fn update(&mut self, value: f64) -> Option<f64> {
        let score = self.detector.score(value);
        if !known(value) {
            return None;
        }
        // As many as the probation has are enough to know: the state stays bounded.
        let ready = self.seen == self.options.probation;
        self.seen += usize::from(!ready);
        (ready && score >= self.options.threshold).then_some(score)
    }
}
