//! What the quantile to decide by would have cost, beside what the point forecast would have.

use serde::{Deserialize, Serialize};

use super::metrics::IntervalOutcome;

/// A quantile as a decision, over all forecasts of a backtest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Probability that the actual value is at most the quantile.
    pub probability: f64,
    /// Share of actual values that were.
    pub covered: f64,
    /// Mean pinball loss, in units of the target: what was short times the probability, or what was
    /// over times the rest.
    pub pinball: f64,
    /// The same of deciding by the point forecast.
    pub pinball_of_point: f64,
}

impl Decision {
    /// Of outcomes beside their point forecasts; none of nothing.
    pub(super) fn of(
        probability: f64,
        outcomes: impl Iterator<Item = (IntervalOutcome, f64)>,
    ) -> Option<Self> {
        let loss = |actual: f64, decided: f64| {
            let short = actual - decided;
            (probability * short).max((probability - 1.0) * short)
        };
        let (mut count, mut covered, mut pinball, mut pinball_of_point) = (0.0, 0.0, 0.0, 0.0);
        for (outcome, point) in outcomes {
            let actual = outcome.actual;
            let decided = decided(probability, &outcome)?;
            count += 1.0;
            covered += f64::from(u8::from(actual <= decided));
            pinball += loss(actual, decided);
            pinball_of_point += loss(actual, point);
        }
        (count > 0.0).then(|| Self {
            probability,
            covered: covered / count,
            pinball: pinball / count,
            pinball_of_point: pinball_of_point / count,
        })
    }

    /// How much less is lost than by the point forecast, in percent.
    pub fn saved(self) -> f64 {
        100.0 * (1.0 - self.pinball / self.pinball_of_point.max(f64::MIN_POSITIVE))
    }

    /// For people.
    pub(super) fn to_text(self, decimals: usize) -> String {
        let saved = self.saved();
        format!(
            "procure    the quantile {}, {:.1} % of backtest values at most it; pinball loss \
             {:.decimals$}, of the point forecast {:.decimals$}: {saved:.1} % less\n",
            self.probability,
            self.covered * 100.0,
            self.pinball,
            self.pinball_of_point
        )
    }
}

/// The quantile of this probability.
pub(super) fn decided(probability: f64, outcome: &IntervalOutcome) -> Option<f64> {
    let same = |(p, _): &&(f64, f64)| (p - probability).abs() < 1e-9;
    outcome.quantiles.iter().find(same).map(|(_, quantile)| *quantile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_match_hand_computed_values() {
        let outcome = |actual| IntervalOutcome {
            lower: 8.0,
            upper: 14.0,
            quantiles: vec![(0.1, 8.0), (0.75, 12.0), (0.9, 14.0)],
            actual,
            naive_scale: 1.0,
        };
        let outcomes = [outcome(11.0), outcome(14.0)];
        let decision = Decision::of(0.75, outcomes.iter().map(|o| (o.clone(), 10.0))).expect("two");
        // 1 over, 2 short; from the point 1 and 4 short.
        assert_eq!((decision.covered, decision.pinball), (0.5, (0.25 + 1.5) / 2.0));
        assert_eq!(decision.pinball_of_point, (0.75 + 3.0) / 2.0);
        assert_eq!(Decision::of(0.6, outcomes.iter().map(|o| (o.clone(), 10.0))), None);
        let text = decision.to_text(2);
        assert!(text.contains("0.88, of the point forecast 1.88: 53.3 % less"), "{text}");
    }
}
