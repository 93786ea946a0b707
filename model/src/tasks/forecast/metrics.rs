//! How wrong forecasts and intervals are, and whether a difference means anything.
//!
//! Point errors follow Hyndman and Koehler, "Another look at measures of forecast accuracy" (2006);
//! sMAPE, MASE and MSIS are those of the M4 competition (Makridakis, Spiliotis and Assimakopoulos
//! 2020).

use serde::{Deserialize, Serialize};
use steppe_wire::predict::Errors;

/// One forecast beside what happened.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// What was forecast.
    pub forecast: f64,
    /// What happened.
    pub actual: f64,
    /// In-sample mean absolute error of the seasonal naive forecast: the scale of MASE.
    pub naive_scale: f64,
}

/// Errors over many outcomes; `None` when there are none.
///
/// MAPE leaves out actual values of zero, and MASE series that never changed: both are undefined
/// there.
pub fn errors(outcomes: impl IntoIterator<Item = Outcome>) -> Option<Errors> {
    let mut means = [Mean::default(); 5];
    for o in outcomes {
        let error = (o.forecast - o.actual).abs();
        let size = o.forecast.abs() + o.actual.abs();
        means[0].add(error);
        means[1].add(error * error);
        means[2].add_if(o.actual != 0.0, error / o.actual.abs());
        means[3].add_if(o.naive_scale > 0.0, error / o.naive_scale);
        means[4].add(if size > 0.0 { 2.0 * error / size } else { 0.0 });
    }
    let [mae, square, mape, mase, smape] = means.map(|m| m.sum / m.count.max(1.0));
    (means[0].count > 0.0).then(|| Errors {
        mae,
        rmse: square.sqrt(),
        mape: 100.0 * mape,
        mase,
        smape: 100.0 * smape,
    })
}

#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.sum += value;
        self.count += 1.0;
    }

    fn add_if(&mut self, defined: bool, value: f64) {
        if defined {
            self.add(value);
        }
    }
}

/// Mean absolute change from the value one season before; from the last value in a shorter history.
pub fn naive_scale(values: &[f64], season: usize) -> f64 {
    let lag = if values.len() > season { season } else { 1 };
    let changes = values.len().saturating_sub(lag);
    values.iter().zip(values.iter().skip(lag)).map(|(a, b)| (b - a).abs()).sum::<f64>()
        / changes.max(1) as f64
}

/// How good intervals and quantiles are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IntervalScores {
    /// Nominal coverage.
    pub level: f64,
    /// Share of actual values inside of the interval.
    pub coverage: f64,
    /// Mean scaled interval score (Gneiting and Raftery 2007): width, plus a penalty for misses, in
    /// units of the naive forecast's error. Smaller is better.
    pub msis: f64,
    /// Twice the mean pinball loss over all quantiles, in units of the naive forecast's error: an
    /// approximation of the continuous ranked probability score. Smaller is better.
    pub crps: f64,
}

/// One interval and its quantiles beside what happened.
#[derive(Debug, Clone)]
pub struct IntervalOutcome {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Probabilities and quantiles.
    pub quantiles: Vec<(f64, f64)>,
    /// What happened.
    pub actual: f64,
    /// See [`Outcome::naive_scale`].
    pub naive_scale: f64,
}

/// Difference, as a share, that rounding makes of two numbers that are one.
const ROUNDING: f64 = 1e-9;

/// Whether an interval holds a value, up to rounding: the forecast of a constant comes back from
/// its scale a few digits beside it.
pub fn holds(lower: f64, upper: f64, value: f64) -> bool {
    let slack = ROUNDING * value.abs().max(lower.abs()).max(upper.abs());
    lower - slack <= value && value <= upper + slack
}

/// Scores over many intervals; `None` when there are none.
pub fn interval_scores(
    level: f64,
    outcomes: impl IntoIterator<Item = IntervalOutcome>,
) -> Option<IntervalScores> {
    let (mut inside, mut width, mut loss) = (Mean::default(), Mean::default(), Mean::default());
    for o in outcomes {
        inside.add(f64::from(u8::from(holds(o.lower, o.upper, o.actual))));
        if o.naive_scale > 0.0 {
            let miss = (o.lower - o.actual).max(0.0) + (o.actual - o.upper).max(0.0);
            width.add((o.upper - o.lower + 2.0 / (1.0 - level) * miss) / o.naive_scale);
            let pinball =
                |&(p, q): &(f64, f64)| (p * (o.actual - q)).max((p - 1.0) * (o.actual - q));
            loss.add(
                2.0 * o.quantiles.iter().map(pinball).sum::<f64>()
                    / o.quantiles.len().max(1) as f64
                    / o.naive_scale,
            );
        }
    }
    let mean = |m: Mean| m.sum / m.count.max(1.0);
    (inside.count > 0.0).then(|| IntervalScores {
        level,
        coverage: mean(inside),
        msis: mean(width),
        crps: mean(loss),
    })
}

/// Decimals with which an error is shown when nothing is known of the values: three digits that
/// count, and at least one decimal.
pub fn decimals_of_error(error: f64) -> usize {
    // Less than nine decimals can show is rounding, and no error.
    let digits = if error.abs() < 1e-9 { f64::NAN } else { error.abs().log10().floor() };
    if digits.is_finite() { (2.0 - digits).clamp(1.0, 9.0) as usize } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_with_three_digits_that_count() {
        let shown = |error: f64| format!("{error:.*}", decimals_of_error(error));
        let errors = [1_234.56, 87.654, 0.7451, 0.001_234, 0.0, 4e-16].map(shown);
        assert_eq!(errors, ["1234.6", "87.7", "0.745", "0.00123", "0.0", "0.0"]);
    }

    #[test]
    fn errors_match_hand_computed_values() {
        let outcomes = [
            Outcome { forecast: 110.0, actual: 100.0, naive_scale: 5.0 },
            Outcome { forecast: 180.0, actual: 200.0, naive_scale: 10.0 },
        ];
        let e = errors(outcomes).expect("two outcomes");
        assert_eq!((e.mae, e.mape, e.mase), (15.0, 10.0, 2.0));
        assert!((e.rmse - 250f64.sqrt()).abs() < 1e-12);
        assert!((e.smape - 100.0 * (10.0 / 105.0 + 20.0 / 190.0) / 2.0).abs() < 1e-12);
        assert!(errors([]).is_none());
        assert_eq!(
            (naive_scale(&[1.0, 3.0, 2.0], 1), naive_scale(&[1.0, 3.0, 2.0, 5.0], 2)),
            (1.5, 1.5)
        );
    }

    #[test]
    fn interval_scores_match_hand_computed_values() {
        let outcome = |actual| IntervalOutcome {
            lower: 8.0,
            upper: 12.0,
            quantiles: vec![(0.5, 10.0)],
            actual,
            naive_scale: 2.0,
        };
        let scores = interval_scores(0.9, [outcome(11.0), outcome(13.0)]).expect("two");
        assert_eq!((scores.coverage, scores.crps), (0.5, (0.5 + 1.5) / 2.0));
        assert!((scores.msis - (2.0 + (4.0 + 20.0) / 2.0) / 2.0).abs() < 1e-9);
    }
}
