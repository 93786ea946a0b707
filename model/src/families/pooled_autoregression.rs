//! One autoregression for all series: a linear model of the newest values and of earlier seasons
//! whose coefficients are shared. For many short series, each of which is too short for a model of
//! its own.
//!
//! Values are taken relative to the mean of the window and in its typical change, so a penalty
//! draws the forecast towards that mean. Order and penalty are chosen by one-step forecasts of the
//! newest periods of the training data, each from a fit on the periods before it.

use crate::parallel;
use serde::{Deserialize, Serialize};

use crate::error::TrainError;
use crate::forecast::conformal::typical_change;
use crate::forecast::dataset::{Dataset, Series, View};
use crate::least_squares::cholesky_solve;
use steppe_spec::{TrainSpec, Transform};

use super::autoregression::lags;
use crate::artifact::ArtifactError;
use crate::family::Family;
use crate::forecast::{Forecast, Forecaster};
use crate::host::Stage;
use crate::stored::{Saved, Stored};

/// Shared coefficients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pooled {
    /// How many periods back, ascending.
    lags: Vec<usize>,
    /// One per lag.
    coefficients: Vec<f64>,
    season: usize,
    transform: Transform,
}

/// Orders that are tried for series without a season.
const ORDERS: [usize; 5] = [2, 3, 4, 5, 6];
/// Penalties that are tried, per window.
const PENALTIES: [f64; 6] = [0.001, 0.03, 0.3, 1.0, 3.0, 10.0];
/// Longest lag of coefficients that are read: two weeks of half hours and more.
const LAG_MAX: usize = 1_000;
/// Newest periods that the choice rests on.
const FOLDS: i64 = 5;

impl Family<Forecast> for Pooled {
    const QUICK: bool = false;

    fn fit(data: &Dataset, spec: &TrainSpec, _: &Stage<'_>) -> Result<Self, TrainError> {
        train(data, spec)
    }

    fn save(&self, saved: &mut Saved) {
        saved.record(self);
    }

    fn load(stored: &Stored<'_>, spec: &TrainSpec) -> Result<Self, ArtifactError> {
        let pooled: Self = stored.record()?;
        pooled.check(spec).map_err(ArtifactError::Defect)?;
        Ok(pooled)
    }
}

impl Forecaster for Pooled {
    fn min_history(&self) -> usize {
        self.lags.last().copied().unwrap_or(1)
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        parallel::of(views, |v| self.one(v.history(), horizon))
    }
}

impl Pooled {
    /// Checks coefficients that were read against the configuration that they belong to.
    fn check(&self, spec: &TrainSpec) -> Result<(), String> {
        let (season, transform) = (spec.frequency().season(), spec.model.transform);
        if (self.season, self.transform) != (season, transform) {
            return Err("the coefficients are of another configuration than the card".to_owned());
        }
        let ascending = self.lags.is_sorted_by(|a, b| a < b);
        let within = |lag: &usize| (1..=LAG_MAX).contains(lag);
        if self.lags.is_empty() || !ascending || !self.lags.iter().all(within) {
            return Err(format!("the lags are not ascending from 1 to {LAG_MAX} at most"));
        }
        let finite = self.coefficients.iter().all(|c| c.is_finite());
        if self.coefficients.len() != self.lags.len() || !finite {
            return Err("there is not one finite coefficient per lag".to_owned());
        }
        Ok(())
    }

    fn one(&self, history: &[f64], horizon: usize) -> Vec<f64> {
        let mut values = self.transform.all(&history[history.len() - self.min_history()..]);
        for _ in 0..horizon {
            let centre = centre(&values, &self.lags);
            let at = values.len();
            let terms = self
                .lags
                .iter()
                .zip(&self.coefficients)
                .map(|(lag, c)| c * (values[at - lag] - centre));
            values.push(centre + terms.sum::<f64>());
        }
        values[self.min_history()..].iter().map(|v| self.transform.invert(*v)).collect()
    }

    /// Mean error of one step after `period`, in typical changes.
    fn error(&self, data: &Dataset, period: i64) -> Option<f64> {
        let error = |series: &Series| {
            let (view, actual) = (series.until(period), series.observed(period + 1)?);
            if view.len() < self.min_history().max(2) || view.last() != period {
                return None;
            }
            let forecast = self.one(view.history(), 1)[0];
            let change = typical_change(self.transform, self.season, view.history());
            Some((self.transform.apply(actual) - self.transform.apply(forecast)).abs() / change)
        };
        let errors: Vec<f64> = data.series().iter().filter_map(error).collect();
        (!errors.is_empty()).then(|| errors.iter().sum::<f64>() / errors.len() as f64)
    }
}

/// The level that a window is seen relative to.
fn centre(values: &[f64], lags: &[usize]) -> f64 {
    let longest = lags.last().copied().unwrap_or(1);
    let window = &values[values.len() - longest..];
    window.iter().sum::<f64>() / window.len() as f64
}

/// Chooses order and penalty, then fits on all of `data`.
fn train(data: &Dataset, spec: &TrainSpec) -> Result<Pooled, TrainError> {
    let seasons = spec.frequency().seasons();
    let longest = data.series().iter().map(|s| s.values.len()).max().unwrap_or(0);
    let choices: Vec<Vec<usize>> = if seasons.is_empty() {
        ORDERS.iter().map(|&p| (1..=p).collect()).collect()
    } else {
        vec![lags(seasons, longest)]
    };
    let folds: Vec<(i64, Dataset)> = (1..=FOLDS)
        .map(|back| data.last() - back)
        .map(|period| (period, data.until(period)))
        .collect();
    let judge = |lags: &Vec<usize>| {
        let sums: Vec<_> =
            folds.iter().map(|(period, known)| (*period, Sums::of(known, lags, spec))).collect();
        let judge = |&penalty: &f64| {
            let errors = sums
                .iter()
                .filter_map(|(period, sums)| sums.solve(penalty, lags, spec)?.error(data, *period));
            Choice::of(&errors.collect::<Vec<f64>>(), lags.clone(), penalty)
        };
        PENALTIES.iter().map(judge).collect::<Vec<_>>()
    };
    let judged: Vec<Choice> = parallel::of(&choices, judge).into_iter().flatten().collect();
    let best = judged.iter().min_by(|a, b| a.error.total_cmp(&b.error));
    let fitted = best.and_then(|c| Sums::of(data, &c.lags, spec).solve(c.penalty, &c.lags, spec));
    fitted.ok_or_else(|| TrainError::TooShort {
        series: data
            .series()
            .iter()
            .max_by_key(|s| s.values.len())
            .map_or_else(String::new, |s| s.name.clone()),
        length: longest,
        needed: choices[0].last().copied().unwrap_or(1) + 2,
    })
}

/// An order and a penalty, and how well they did.
struct Choice {
    error: f64,
    lags: Vec<usize>,
    penalty: f64,
}

impl Choice {
    fn of(errors: &[f64], lags: Vec<usize>, penalty: f64) -> Self {
        let n = errors.len() as f64;
        let error = if errors.is_empty() { f64::INFINITY } else { errors.iter().sum::<f64>() / n };
        Self { error, lags, penalty }
    }
}

/// Products of all windows: all that a fit needs, whatever the penalty.
struct Sums {
    gram: Vec<f64>,
    right: Vec<f64>,
    windows: usize,
}

impl Sums {
    fn of(data: &Dataset, lags: &[usize], spec: &TrainSpec) -> Self {
        let n = lags.len();
        let (mut gram, mut right, mut windows) = (vec![0.0; n * n], vec![0.0; n], 0);
        let longest = lags.last().copied().unwrap_or(1);
        let mut row = vec![0.0; n];
        for series in data.series().iter().filter(|s| s.values.len() > longest) {
            let values = spec.model.transform.all(&series.values);
            let unit =
                typical_change(spec.model.transform, spec.frequency().season(), &series.values);
            for at in longest..values.len() {
                let centre = centre(&values[..at], lags);
                row.iter_mut()
                    .zip(lags)
                    .for_each(|(x, lag)| *x = (values[at - lag] - centre) / unit);
                let target = (values[at] - centre) / unit;
                for i in 0..n {
                    (0..=i).for_each(|j| gram[i * n + j] += row[i] * row[j]);
                    right[i] += row[i] * target;
                }
                windows += 1;
            }
        }
        Self { gram, right, windows }
    }

    fn solve(&self, penalty: f64, lags: &[usize], spec: &TrainSpec) -> Option<Pooled> {
        if self.windows < lags.len() {
            return None;
        }
        let (n, mut gram, mut coefficients) = (lags.len(), self.gram.clone(), self.right.clone());
        (0..n).for_each(|i| gram[i * n + i] += penalty * self.windows as f64);
        let solved = cholesky_solve(&mut gram, &mut coefficients, n)
            && coefficients.iter().all(|c| c.is_finite());
        solved.then(|| Pooled {
            lags: lags.to_vec(),
            coefficients,
            season: spec.frequency().season(),
            transform: spec.model.transform,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training_key::tests::spec;

    #[test]
    fn shared_dynamics_are_found_in_short_series() {
        // Every series returns half way to its mean each year.
        let mut rng = fastrand::Rng::with_seed(8);
        let series = (0..60).map(|s| {
            let mean = 100.0 + 50.0 * f64::from(s);
            let mut value = mean;
            let values = (0..12).map(|_| {
                value = mean + 0.5 * (value - mean) + mean * 0.1 * (rng.f64() - 0.5);
                value
            });
            Series::new(format!("s{s:02}"), 2000, values.collect())
        });
        let data = Dataset::new(spec().frequency(), series.collect());
        let model = train(&data, &spec()).expect("enough");
        let high = Series::new("x", 2000, vec![100.0, 100.0, 100.0, 100.0, 100.0, 110.0]);
        let forecast = model.forecast(&[high.view()], 1)[0][0];
        assert!(
            forecast > 100.5 && forecast < 108.0,
            "between the mean and the last value: {forecast}"
        );
    }

    #[test]
    fn a_trend_goes_on() {
        let data = Dataset::new(
            spec().frequency(),
            (0..20)
                .map(|s| {
                    Series::new(
                        format!("s{s:02}"),
                        2000,
                        (0..15).map(|t| 100.0 * 1.05f64.powi(t) + f64::from(s)).collect(),
                    )
                })
                .collect(),
        );
        let forecast =
            train(&data, &spec()).expect("enough").forecast(&[data.series()[0].view()], 2);
        assert!((forecast[0][1] / (100.0 * 1.05f64.powi(16)) - 1.0).abs() < 0.02, "{forecast:?}");
    }
}
