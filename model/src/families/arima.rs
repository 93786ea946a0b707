//! Seasonal ARIMA models whose orders are chosen per series, after Hyndman and Khandakar,
//! "Automatic time series forecasting: the forecast package for R" (2008).
//!
//! Whether differences are taken is decided before: of a season when it is strong (Wang, Smith and
//! Hyndman 2006), from value to value as long as the test of Kwiatkowski, Phillips, Schmidt and
//! Shin (1992) finds no level that values return to. Orders are then looked for step by step, by
//! the corrected criterion of Akaike, which compares all models on the same values.
//!
//! The forecast is the mean of all models on the way, each with its weight of Akaike (Burnham and
//! Anderson 2002, section 2.9): which of several that fit alike is best is mostly chance. So is
//! whether logarithms are taken, where values are not negative: models of both scales are weighed
//! by the likelihood of the values as they are.

mod differences;
mod fit;
mod search;

use crate::parallel;
use steppe_spec::{TrainSpec, Transform};

use super::naive::seasonal_naive;
use crate::forecast::dataset::View;
use crate::forecast::{Forecaster, Local};
use differences::Differences;
use fit::Fitted;
use search::models;

/// Orders and coefficients are found per series when it is forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arima {
    /// Length of the season.
    pub season: usize,
    /// The scale it works on.
    pub transform: Transform,
}

/// Older values hardly matter, and every one costs time in the search.
const HISTORY_MAX: usize = 500;

impl Local for Arima {
    fn new(spec: &TrainSpec) -> Self {
        Self { season: spec.frequency().season(), transform: spec.model.transform }
    }
}

impl Forecaster for Arima {
    fn min_history(&self) -> usize {
        5
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        parallel::of(views, |v| self.one(v.history(), horizon))
    }
}

/// A forecast of one model in units of the target, and its criterion per value.
type Weighed = (f64, Vec<f64>);

impl Arima {
    fn one(self, history: &[f64], horizon: usize) -> Vec<f64> {
        let newest = &history[history.len().saturating_sub(HISTORY_MAX)..];
        let naive = || seasonal_naive(newest, self.season, horizon);
        if newest.iter().all(|v| *v == newest[0]) {
            return naive();
        }
        let scales = [Transform::None, Transform::Log];
        let scales = scales.into_iter().filter(|scale| scale.signed() || !self.transform.signed());
        let all: Vec<Weighed> = scales.flat_map(|scale| self.on(scale, newest, horizon)).collect();
        let Some(least) = all.iter().map(|(criterion, _)| *criterion).min_by(f64::total_cmp) else {
            return naive();
        };
        let (mut sums, mut total) = (vec![0.0; horizon], 0.0);
        for (criterion, steps) in &all {
            let weight = ((least - criterion) * newest.len() as f64 / 2.0).exp();
            sums.iter_mut().zip(steps).for_each(|(sum, step)| *sum += weight * step);
            total += weight;
        }
        sums.into_iter().map(|sum| self.transform.bound(sum / total)).collect()
    }

    /// Forecasts of all models on one scale.
    fn on(self, scale: Transform, history: &[f64], horizon: usize) -> Vec<Weighed> {
        let values = scale.all(history);
        let (low, high) =
            values.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        // No forecast leaves the range seen by more than its width.
        let inside = |v: f64| v.clamp(2.0 * low - high, 2.0 * high - low);
        let differences = Differences::of(&values, self.season);
        let modelled = &values[values.len() - differences.values.len()..];
        // Of ln(1 + v) the derivative is 1 / (1 + v): the likelihood of v has it as a factor.
        let derivative = |v: &f64| if scale.signed() { 0.0 } else { *v };
        let change = 2.0 * modelled.iter().map(derivative).sum::<f64>() / modelled.len() as f64;
        let weighed = |model: Fitted| {
            let steps = differences.undo(&values, &model.forecast(&differences.values, horizon));
            let steps = steps.into_iter().map(|v| scale.invert(inside(v)));
            (model.criterion + change, steps.collect::<Vec<f64>>())
        };
        let all = models(&differences).into_iter().map(weighed);
        all.filter(|(_, steps)| steps.iter().all(|v| v.is_finite())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::dataset::Series;

    fn forecast(values: Vec<f64>, season: usize, transform: Transform, horizon: usize) -> Vec<f64> {
        let series = Series::new("A", 0, values);
        Arima { season, transform }.forecast(&[series.view()], horizon).remove(0)
    }

    #[test]
    fn values_that_return_to_a_mean_are_forecast_to_return() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut values = vec![10.0];
        (0..300).for_each(|at| values.push(4.0 + 0.6 * values[at] + rng.f64() - 0.5));
        values.push(14.0);
        let steps = forecast(values, 1, Transform::None, 12);
        assert!((steps[0] - 12.4).abs() < 0.4, "{steps:?}");
        assert!((steps[11] - 10.0).abs() < 0.4, "{steps:?}");
    }

    #[test]
    fn growth_goes_on_as_it_was_whether_added_or_multiplied() {
        let mut rng = fastrand::Rng::with_seed(6);
        let mut noise = || 1.0 + 0.01 * (rng.f64() - 0.5);
        let line = (0..60).map(|t| (100.0 + 5.0 * f64::from(t)) * noise()).collect();
        let steps = forecast(line, 1, Transform::Log, 10);
        assert!((steps[9] / 445.0 - 1.0).abs() < 0.05, "{steps:?}");
        let curve = (0..60).map(|t| 100.0 * 1.05f64.powi(t) * noise()).collect();
        let steps = forecast(curve, 1, Transform::Log, 10);
        assert!((steps[9] / (100.0 * 1.05f64.powi(69)) - 1.0).abs() < 0.08, "{steps:?}");
    }

    #[test]
    fn a_season_comes_back() {
        let mut rng = fastrand::Rng::with_seed(7);
        let value = |t: usize| 100.0 * [0.7, 1.0, 1.2, 1.1][t % 4];
        let values = (0..48).map(|t| value(t) + rng.f64()).collect();
        let steps = forecast(values, 4, Transform::Log, 8);
        let near = |(at, step): (usize, &f64)| (step - value(at) - 0.5).abs() < 3.0;
        assert!(steps.iter().enumerate().all(near), "{steps:?}");
    }

    #[test]
    fn constant_short_empty_and_wild_histories_have_a_forecast() {
        assert_eq!(forecast(vec![5.0; 20], 12, Transform::Log, 2), [5.0, 5.0]);
        assert_eq!(forecast(vec![0.0; 9], 4, Transform::Log, 2), [0.0, 0.0]);
        for wild in [
            vec![1.0, 2.0, 1.0, 2.0, 1.0],
            vec![0.0, 0.0, 0.0, 0.0, 7.0],
            vec![0.0, 0.0, 0.0, 0.0, 0.0, 1e12, 0.0],
            (0..25).map(|t| if t < 12 { 0.0 } else { 1.0 }).collect(),
        ] {
            let high = wild.iter().fold(0.0f64, |high, v| high.max(*v));
            for steps in [Transform::Log, Transform::None].map(|t| forecast(wild.clone(), 12, t, 6))
            {
                let usable = |v: &f64| v.is_finite() && v.abs() <= (high + 1.0) * (high + 1.0);
                assert!(steps.iter().all(usable), "{wild:?}: {steps:?}");
            }
        }
        let below =
            forecast((0..30).map(|t| -100.0 - f64::from(t % 5)).collect(), 1, Transform::None, 3);
        assert!(below.iter().all(|v| (-106.0..=-98.0).contains(v)), "{below:?}");
    }
}
