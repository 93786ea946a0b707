//! The dynamic optimised theta model, after Fiorucci, Pellegrini, Louzada, Petropoulos and Koehler,
//! "Models for optimising the theta method and their relationship to state space models" (2016).
//!
//! The series is the mean of two lines: its linear trend, whose coefficients follow the data, and
//! an exponentially smoothed "theta line" that bends θ times as much. θ = 2 is the method of
//! Assimakopoulos and Nikolopoulos (2000) that won the M3 competition. The season is taken out
//! before.

use crate::parallel;

use crate::forecast::dataset::View;
use crate::forecast::seasonality::Indices;
use steppe_spec::{TrainSpec, Transform};

use crate::forecast::{Forecaster, Local};

/// Smoothing and bend are fitted per series when it is forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Theta {
    /// Length of the season.
    pub season: usize,
    /// Keeps forecasts of counts from falling below zero.
    pub transform: Transform,
}

/// Errors of the first steps are left out of the fit: the trend of two points says nothing.
const WARM_UP: usize = 3;

impl Local for Theta {
    fn new(spec: &TrainSpec) -> Self {
        Self { season: spec.frequency().season(), transform: spec.model.transform }
    }
}

impl Forecaster for Theta {
    fn min_history(&self) -> usize {
        WARM_UP + 2
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        parallel::of(views, |v| self.one(v.history(), horizon))
    }
}

impl Theta {
    fn one(self, history: &[f64], horizon: usize) -> Vec<f64> {
        let indices = Indices::estimate(history, self.season);
        let flat = indices.as_ref().map_or_else(|| history.to_vec(), |i| i.remove(history));
        let (alpha, theta) = fit(&flat);
        let (_, forecasts) = run(&flat, alpha, theta, horizon);
        let restore = |(step, value): (usize, f64)| {
            indices.as_ref().map_or(value, |i| i.restore(value, step))
        };
        (1..).zip(forecasts).map(restore).map(|v| self.transform.bound(v)).collect()
    }
}

/// Smoothing in (0, 1) and bend ≥ 1 with the smallest squared error: a coarse grid, refined around
/// its best.
fn fit(values: &[f64]) -> (f64, f64) {
    let error = |alpha: f64, theta: f64| run(values, alpha, theta, 0).0;
    let grid = |centre: (f64, f64), step: (f64, f64)| {
        let around = |c: f64, s: f64| (-2..=2).map(move |i| c + f64::from(i) * s);
        around(centre.0, step.0).flat_map(move |a| {
            around(centre.1, step.1).map(move |t| (a.clamp(0.02, 0.99), t.max(1.0)))
        })
    };
    let coarse = [0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.97]
        .into_iter()
        .flat_map(|a| [1.0, 1.5, 2.0, 3.0, 5.0, 8.0].map(|t| (a, t)));
    let best_of = |candidates: &mut dyn Iterator<Item = (f64, f64)>| {
        candidates
            .map(|(a, t)| (error(a, t), a, t))
            .min_by(|x, y| x.0.total_cmp(&y.0))
            .map_or((0.5, 2.0), |(_, a, t)| (a, t))
    };
    let mut best = best_of(&mut coarse.into_iter());
    let mut step = (0.06, 0.5);
    for _ in 0..4 {
        best = best_of(&mut grid(best, step));
        step = (step.0 / 2.0, step.1 / 2.0);
    }
    best
}

/// One pass over `values`, then `horizon` steps on; returns the sum of squared errors and the
/// forecasts.
fn run(values: &[f64], alpha: f64, theta: f64, horizon: usize) -> (f64, Vec<f64>) {
    let (mut level, mut mean, mut slope, mut intercept) = (values[0], values[0], 0.0, values[0]);
    let (mut error, mut forecasts) = (0.0, Vec::with_capacity(horizon));
    let bend = 1.0 - 1.0 / theta;
    let mut decay = 1.0; // (1 − α)ᵗ for the t of the forecast below.
    for t in 1..values.len() + horizon {
        decay *= 1.0 - alpha;
        let forecast =
            level + bend * (decay * intercept + (1.0 - decay * (1.0 - alpha)) / alpha * slope);
        let value = match values.get(t) {
            Some(&value) => {
                error += if t >= WARM_UP { (value - forecast).powi(2) } else { 0.0 };
                value
            }
            None => {
                forecasts.push(forecast);
                forecast
            }
        };
        let n = (t + 1) as f64;
        level += alpha * (value - level);
        slope = ((n - 2.0) * slope + 6.0 * (value - mean) / n) / (n + 1.0);
        mean += (value - mean) / n;
        intercept = mean - slope * (n + 1.0) / 2.0;
    }
    (error, forecasts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::dataset::Series;

    fn forecast(values: Vec<f64>, season: usize, horizon: usize) -> Vec<f64> {
        let series = Series::new("A", 0, values);
        Theta { season, transform: Transform::Log }.forecast(&[series.view()], horizon).remove(0)
    }

    #[test]
    fn a_straight_line_goes_on_and_a_constant_stays() {
        let line = forecast((0..30).map(|i| 50.0 + 2.0 * f64::from(i)).collect(), 1, 3);
        assert!(
            line.iter().zip([110.0, 112.0, 114.0]).all(|(f, y)| (f - y).abs() < 0.8),
            "{line:?}"
        );
        assert!(forecast(vec![7.0; 12], 1, 2).iter().all(|f| (f - 7.0).abs() < 1e-9));
    }

    #[test]
    fn the_season_comes_back() {
        let values: Vec<f64> = (0..40).map(|i| 100.0 * [0.7, 1.0, 1.2, 1.1][i % 4]).collect();
        let f = forecast(values, 4, 4);
        assert!(
            f.iter().zip([70.0, 100.0, 120.0, 110.0]).all(|(f, y)| (f - y).abs() < 1.5),
            "{f:?}"
        );
    }
}
