//! The forecasts that every model must be compared with.

/// A forecast rule without parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// The last value, for every step.
    LastValue,
    /// The last value plus the mean change of the history, per step.
    Drift,
    /// The mean of the last three values, for every step.
    MeanOfThree,
}

impl Baseline {
    /// Every baseline.
    pub const ALL: [Self; 3] = [Self::LastValue, Self::Drift, Self::MeanOfThree];

    /// Its name on cards.
    pub fn name(self) -> &'static str {
        match self {
            Self::LastValue => "last value",
            Self::Drift => "drift",
            Self::MeanOfThree => "mean of the last three",
        }
    }

    /// The forecast `step` steps after the end of `history`, which must not be empty.
    pub fn forecast(self, history: &[f64], step: usize) -> f64 {
        let last = history[history.len() - 1];
        match self {
            Self::LastValue => last,
            Self::Drift if history.len() < 2 => last,
            Self::Drift => (last + step as f64 * (last - history[0]) / (history.len() - 1) as f64).max(0.0),
            Self::MeanOfThree => {
                let tail = &history[history.len().saturating_sub(3)..];
                tail.iter().sum::<f64>() / tail.len() as f64
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Baseline::*;

    #[test]
    fn baselines_match_hand_computed_values() {
        let history = [10.0, 12.0, 14.0, 22.0];
        assert_eq!(LastValue.forecast(&history, 3), 22.0);
        assert_eq!(Drift.forecast(&history, 2), 30.0);
        assert_eq!(MeanOfThree.forecast(&history, 1), 16.0);
        assert_eq!(Drift.forecast(&[5.0], 1), 5.0);
    }
}
