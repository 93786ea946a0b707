//! A seasonal autoregression per series: a linear model of the newest values and of the same hour
//! of earlier days, fitted by ridge regression and run forward step by step.
//!
//! Two of them are averaged: one on the values, which holds on to the usual level, and one on the
//! changes against a season before, which follows a level that moves. Averaging models of levels
//! and of differences is what Doornik, Castle and Hendry ("Card forecasts for M4", 2020) found
//! robust.

use crate::parallel;

use crate::forecast::dataset::View;
use crate::least_squares::cholesky_solve;
use steppe_spec::{TrainSpec, Transform};

use super::naive::seasonal_naive;
use crate::forecast::{Forecaster, Local};

/// Coefficients are fitted per series when it is forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Autoregression {
    /// Lengths of the seasons, shortest first.
    pub seasons: &'static [usize],
    /// The scale it works on.
    pub transform: Transform,
}

/// Ridge penalty per observation, on values scaled to a standard deviation of 1.
const PENALTY: f64 = 1e-4;
/// Older values hardly matter; a history of years of hours is cut.
const HISTORY_MAX: usize = 2_000;

impl Local for Autoregression {
    fn new(spec: &TrainSpec) -> Self {
        Self { seasons: spec.frequency().seasons(), transform: spec.model.transform }
    }
}

impl Forecaster for Autoregression {
    fn min_history(&self) -> usize {
        8
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        parallel::of(views, |v| self.one(v.history(), horizon))
    }
}

impl Autoregression {
    fn one(self, history: &[f64], horizon: usize) -> Vec<f64> {
        let history = self.transform.all(&history[history.len().saturating_sub(HISTORY_MAX)..]);
        let season = self.seasons.first().copied().filter(|s| history.len() > 2 * s).unwrap_or(1);
        let changes: Vec<f64> =
            history.iter().zip(&history[season..]).map(|(before, v)| v - before).collect();
        let levels = self.regress(&history, horizon);
        let differences =
            self.regress(&changes, horizon).map(|steps| integrate(&history, season, &steps));
        let (low, high) =
            history.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        // An unstable fit must not run away: no forecast leaves the range seen by more than its
        // width.
        let margin = high - low;
        let forecasts: Vec<Vec<f64>> = [levels, differences].into_iter().flatten().collect();
        if forecasts.is_empty() {
            return seasonal_naive(&history, season, horizon)
                .into_iter()
                .map(|v| self.transform.invert(v))
                .collect();
        }
        let mean = |step: usize| {
            forecasts.iter().map(|f| f[step].clamp(low - margin, high + margin)).sum::<f64>()
                / forecasts.len() as f64
        };
        (0..horizon).map(|step| self.transform.invert(mean(step))).collect()
    }

    /// The next `horizon` values of `history`; `None` when it is too short or does not vary.
    fn regress(self, history: &[f64], horizon: usize) -> Option<Vec<f64>> {
        let lags = lags(self.seasons, history.len());
        let longest = *lags.last()?;
        let mean = history.iter().sum::<f64>() / history.len() as f64;
        let deviation =
            (history.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / history.len() as f64).sqrt();
        if deviation < 1e-9 {
            return None;
        }
        let mut scaled: Vec<f64> = history.iter().map(|v| (v - mean) / deviation).collect();
        let coefficients = ridge(&scaled, &lags, longest)?;
        for _ in 0..horizon {
            let at = scaled.len();
            let next =
                lags.iter().zip(&coefficients).map(|(lag, c)| c * scaled[at - lag]).sum::<f64>()
                    + coefficients[lags.len()];
            scaled.push(next);
        }
        let steps: Vec<f64> =
            scaled[history.len()..].iter().map(|v| v * deviation + mean).collect();
        steps.iter().all(|v| v.is_finite()).then_some(steps)
    }
}

/// Lags for seasons of the given lengths: the newest three values, each shorter season within the
/// longest one with its neighbours, and the longest with two. Only those that leave twice as many
/// equations as unknowns.
pub(super) fn lags(seasons: &[usize], len: usize) -> Vec<usize> {
    let usable: Vec<usize> = seasons.iter().copied().filter(|s| s * 3 <= len).collect();
    let mut lags = vec![1, 2, 3];
    if let (Some(&short), Some(&long)) = (usable.first(), usable.last()) {
        lags.extend((1..=long / short).flat_map(|k| [k * short - 1, k * short, k * short + 1]));
        lags.extend([long - 2, long + 2]);
    }
    lags.sort_unstable();
    lags.dedup();
    lags.retain(|&lag| lag > 0);
    while lags.last().is_some_and(|longest| len < longest + 2 * (lags.len() + 1)) {
        lags.pop();
    }
    lags
}

/// Solves the normal equations by Cholesky decomposition; the last coefficient is the constant.
fn ridge(values: &[f64], lags: &[usize], longest: usize) -> Option<Vec<f64>> {
    let n = lags.len() + 1;
    let rows = values.len() - longest;
    let column = |j: usize| lags.get(j).map(|lag| &values[longest - lag..values.len() - lag]);
    let target = &values[longest..];
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let sum = |a: &[f64]| a.iter().sum::<f64>();
    let mut gram = vec![0.0; n * n];
    let mut right = vec![0.0; n];
    for i in 0..n {
        for j in 0..=i {
            gram[i * n + j] = match (column(i), column(j)) {
                (Some(a), Some(b)) => dot(a, b),
                (None, Some(b)) => sum(b),
                _ => rows as f64,
            };
        }
        right[i] = column(i).map_or_else(|| sum(target), |a| dot(a, target));
        // The constant is hardly penalised: it carries the mean.
        gram[i * n + i] += if i < lags.len() { PENALTY * rows as f64 } else { 1e-9 };
    }
    cholesky_solve(&mut gram, &mut right, n).then_some(right)
}

/// Adds forecast changes onto the values one season before.
fn integrate(history: &[f64], season: usize, changes: &[f64]) -> Vec<f64> {
    let mut values = history[history.len() - season..].to_vec();
    for change in changes {
        values.push(values[values.len() - season] + change);
    }
    values.split_off(season)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::dataset::Series;

    #[test]
    fn a_day_and_a_week_are_learned() {
        let value =
            |t: usize| 100.0 * [1.0, 2.0, 3.0, 2.0][t % 4] * if t % 28 < 20 { 1.0 } else { 0.5 };
        let series = Series::new("A", 0, (0..280).map(value).collect());
        let model = Autoregression { seasons: &[4, 28], transform: Transform::Log };
        let forecast = model.forecast(&[series.view()], 28).remove(0);
        let worst = forecast
            .iter()
            .enumerate()
            .map(|(i, f)| (f / value(280 + i) - 1.0).abs())
            .fold(0.0, f64::max);
        assert!(worst < 0.05, "{worst}");
    }

    #[test]
    fn coefficients_solve_the_equations() {
        // x[t] = 0.5·x[t−1] + 1, exactly.
        let mut values = vec![0.0];
        (0..30).for_each(|t| values.push(0.5 * values[t] + 1.0 + if t == 5 { 2.0 } else { 0.0 }));
        let solution = ridge(&values, &[1], 1).expect("solvable");
        assert!((solution[0] - 0.5).abs() < 0.2, "{solution:?}");
        let (mut gram, mut right) = (vec![4.0, 0.0, 2.0, 3.0], vec![2.0, 5.0]);
        assert!(cholesky_solve(&mut gram, &mut right, 2));
        assert!((right[0] + 0.5).abs() < 1e-12 && (right[1] - 2.0).abs() < 1e-12, "{right:?}");
    }

    #[test]
    fn short_and_constant_histories_have_a_forecast() {
        let model = Autoregression { seasons: &[12], transform: Transform::Log };
        let flat = Series::new("A", 0, vec![5.0; 20]);
        let short = Series::new("B", 0, (1..=8).map(f64::from).collect());
        let forecasts = model.forecast(&[flat.view(), short.view()], 3);
        assert!(forecasts[0].iter().all(|v| (v - 5.0).abs() < 1e-9));
        assert!(
            forecasts[1].iter().all(|v| v.is_finite() && *v > 0.0 && *v < 100.0),
            "{forecasts:?}"
        );
    }
}
