//! Exponential smoothing with automatic choice of error and trend (Hyndman and Khandakar 2008), on
//! the series without its season.

mod models;

use crate::parallel;

use crate::forecast::dataset::View;
use crate::forecast::seasonality::Indices;
use steppe_spec::{TrainSpec, Transform};

use crate::forecast::{Forecaster, Local};

/// Every parameter is fitted per series when it is forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Smoothing {
    /// Length of the season.
    pub season: usize,
    /// Keeps forecasts of counts from falling below zero.
    pub transform: Transform,
}

/// Older values hardly weigh, and every one costs time in the search.
const HISTORY_MAX: usize = 500;

impl Local for Smoothing {
    fn new(spec: &TrainSpec) -> Self {
        Self { season: spec.frequency().season(), transform: spec.model.transform }
    }
}

impl Forecaster for Smoothing {
    fn min_history(&self) -> usize {
        5
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        parallel::of(views, |v| self.one(v.history(), horizon))
    }
}

impl Smoothing {
    fn one(self, history: &[f64], horizon: usize) -> Vec<f64> {
        let history = &history[history.len().saturating_sub(HISTORY_MAX)..];
        let indices = Indices::estimate(history, self.season);
        let flat = indices.as_ref().map_or_else(|| history.to_vec(), |i| i.remove(history));
        let last = flat[flat.len() - 1];
        // What is too short for a model, or too wild, has its last value as the forecast.
        let forecasts =
            models::forecast(&flat, horizon).filter(|p| p.iter().all(|v| v.is_finite()));
        let restore = |(step, value): (usize, f64)| {
            indices.as_ref().map_or(value, |i| i.restore(value, step))
        };
        (1..)
            .zip(forecasts.unwrap_or_else(|| vec![last; horizon]))
            .map(restore)
            .map(|v| self.transform.bound(v))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::dataset::Series;

    #[test]
    fn a_trend_goes_on_and_a_constant_stays() {
        let model = Smoothing { season: 1, transform: Transform::Log };
        let line = Series::new("A", 0, (0..30).map(|i| 50.0 + 2.0 * f64::from(i)).collect());
        let flat = Series::new("B", 0, vec![7.0; 12]);
        let f = model.forecast(&[line.view(), flat.view()], 2);
        assert!((f[0][0] - 110.0).abs() < 1.0 && (f[0][1] - 112.0).abs() < 1.5, "{f:?}");
        assert_eq!(f[1], [7.0, 7.0]);
    }
}
