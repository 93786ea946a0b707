//! Forecast errors. All formulas follow Hyndman and Koehler, "Another look at measures of forecast
//! accuracy" (2006).

use steppe_wire::predict::Errors;

/// One forecast beside what happened.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// What was forecast.
    pub forecast: f64,
    /// What happened.
    pub actual: f64,
    /// In-sample mean absolute one-step change of the series: the scale of MASE.
    pub naive_scale: f64,
}

/// Errors over many outcomes; `None` when there are none.
///
/// MAPE leaves out actual values of zero, and MASE series that never changed: both are undefined there.
pub fn errors(outcomes: &[Outcome]) -> Option<Errors> {
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len().max(1) as f64;
    if outcomes.is_empty() {
        return None;
    }
    let abs = |o: &Outcome| (o.forecast - o.actual).abs();
    Some(Errors {
        mae: mean(outcomes.iter().map(abs).collect()),
        rmse: mean(outcomes.iter().map(|o| abs(o).powi(2)).collect()).sqrt(),
        mape: 100.0 * mean(outcomes.iter().filter(|o| o.actual != 0.0).map(|o| abs(o) / o.actual.abs()).collect()),
        mase: mean(outcomes.iter().filter(|o| o.naive_scale > 0.0).map(|o| abs(o) / o.naive_scale).collect()),
    })
}

/// Mean absolute change from one value to the next.
pub fn naive_scale(values: &[f64]) -> f64 {
    let changes: Vec<f64> = values.windows(2).map(|w| (w[1] - w[0]).abs()).collect();
    changes.iter().sum::<f64>() / changes.len().max(1) as f64
}

/// The split-conformal quantile: the smallest value that covers `level` of exchangeable future
/// values, with the finite-sample correction `⌈(n + 1)·level⌉ / n` (Vovk et al. 2005).
pub fn conformal_quantile(mut scores: Vec<f64>, level: f64) -> Option<f64> {
    scores.sort_by(f64::total_cmp);
    let rank = ((scores.len() + 1) as f64 * level).ceil() as usize;
    scores.get(rank.min(scores.len()).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_match_hand_computed_values() {
        let outcomes =
            [Outcome { forecast: 110.0, actual: 100.0, naive_scale: 5.0 }, Outcome { forecast: 180.0, actual: 200.0, naive_scale: 10.0 }];
        let e = errors(&outcomes).expect("two outcomes");
        assert_eq!((e.mae, e.mape, e.mase), (15.0, 10.0, 2.0));
        assert!((e.rmse - 250f64.sqrt()).abs() < 1e-12);
        assert!(errors(&[]).is_none());
    }

    #[test]
    fn the_conformal_quantile_corrects_for_few_scores() {
        let scores: Vec<f64> = (1..=9).map(f64::from).collect();
        assert_eq!(conformal_quantile(scores.clone(), 0.9), Some(9.0));
        assert_eq!(conformal_quantile(scores, 0.5), Some(5.0));
        assert_eq!(conformal_quantile(vec![], 0.5), None);
    }
}
