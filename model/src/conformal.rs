//! Quantiles by conformal prediction: how far, in units of its own uncertainty, each series has
//! been from its forecasts in the backtest.
//!
//! A series' uncertainty is the spread that the model itself gives, or else its typical change
//! times how large this model's errors on it are in that unit, drawn towards all series where it
//! has few forecasts. Dividing by it makes errors comparable (locally weighted conformal
//! prediction, Lei et al. 2018); the quantiles of what remains, per step, are what intervals are
//! made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::dataset::View;
use crate::metrics::conformal_quantile;
use crate::spec::TrainSpec;
use crate::transform::Transform;

/// Quantiles that are always given beside the interval.
const PROBABILITIES: [f64; 6] = [0.05, 0.1, 0.25, 0.75, 0.9, 0.95];
/// Errors that a quantile of one step rests on; with fewer, neighbouring steps join in.
const ERRORS_MIN: usize = 200;
/// Keeps constant series from an uncertainty of zero.
const UNIT_MIN: f64 = 1e-4;

/// What turns point forecasts into quantiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Nominal coverage of the interval.
    pub level: f64,
    /// Probabilities of the quantiles, ascending.
    pub probabilities: Vec<f64>,
    /// Per step, per probability: the quantile of errors in units of uncertainty.
    pub offsets: Vec<Vec<f64>>,
    /// The model's mean error over all series, in typical changes.
    pub relative_error: f64,
    /// The same of each series, drawn towards all.
    pub series: BTreeMap<String, f64>,
    scale: Transform,
    season: usize,
}

/// One forecast of the backtest, as calibration sees it.
#[derive(Debug, Clone, Copy)]
pub struct Residual<'a> {
    /// Name of the series.
    pub series: &'a str,
    /// Step ahead, from 0.
    pub step: usize,
    /// Actual value less forecast, on the transformed scale.
    pub error: f64,
    /// The series' typical change when it was forecast.
    pub change: f64,
    /// The model's own spread; none for a family without one.
    pub spread: Option<f64>,
}

impl Calibration {
    /// Calibrates on the residuals of a backtest.
    pub fn fit(
        residuals: &[Residual<'_>],
        horizon: usize,
        level: f64,
        (scale, season): (Transform, usize),
    ) -> Self {
        let relative = |r: &Residual<'_>| r.error.abs() / r.change;
        let relative_error =
            residuals.iter().map(relative).sum::<f64>() / residuals.len().max(1) as f64;
        let mut sums: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for residual in residuals {
            let (sum, count) = sums.entry(residual.series).or_default();
            (*sum, *count) = (*sum + relative(residual), *count + 1.0);
        }
        let pull = (8 + horizon) as f64;
        let drawn = |(name, (sum, count)): (&str, (f64, f64))| {
            (name.to_owned(), (sum + pull * relative_error) / (count + pull))
        };
        let series: BTreeMap<String, f64> = sums.into_iter().map(drawn).collect();
        let tail = ((1.0 - level) / 2.0 * 1e9).round() / 1e9;
        let mut probabilities: Vec<f64> =
            PROBABILITIES.into_iter().chain([tail, 1.0 - tail]).collect();
        probabilities.sort_by(f64::total_cmp);
        probabilities.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
        let mut fitted = Self {
            level,
            probabilities,
            offsets: Vec::new(),
            relative_error,
            series,
            scale,
            season,
        };
        let mut by_step: Vec<Vec<f64>> = vec![Vec::new(); horizon];
        for r in residuals {
            let uncertainty = fitted.uncertainty(r.series, r.change, r.spread);
            by_step[r.step].push(r.error / uncertainty);
        }
        fitted.offsets =
            (0..horizon).map(|step| fitted.offsets_of(&neighbours(&by_step, step))).collect();
        fitted
    }

    /// Checks a calibration that was read against the configuration that it belongs to.
    pub fn check(&self, spec: &TrainSpec) -> Result<(), String> {
        let own = (self.scale, self.season, self.level);
        if own != (spec.transform, spec.frequency.season(), spec.backtest.interval_level) {
            return Err("the calibration is of another configuration than the card".to_owned());
        }
        let inside = |p: &f64| *p > 0.0 && *p < 1.0;
        let ascending = self.probabilities.is_sorted_by(|a, b| a < b);
        if self.probabilities.is_empty() || !ascending || !self.probabilities.iter().all(inside) {
            return Err(
                "the calibration's probabilities are not ascending within 0 and 1".to_owned()
            );
        }
        if self.offsets.len() != spec.horizon {
            let (rows, steps) = (self.offsets.len(), spec.horizon);
            return Err(format!("the calibration has offsets for {rows} steps of {steps}"));
        }
        let fits = |row: &Vec<f64>| {
            let finite = row.iter().all(|offset| offset.is_finite());
            row.len() == self.probabilities.len() && finite && row.is_sorted()
        };
        if !self.offsets.iter().all(fits) {
            return Err("the calibration has not one ascending offset per probability".to_owned());
        }
        let usable = |error: &f64| error.is_finite() && *error >= 0.0;
        if !usable(&self.relative_error) || !self.series.values().all(usable) {
            return Err("the calibration's relative errors are not finite or negative".to_owned());
        }
        Ok(())
    }

    fn offsets_of(&self, sorted: &[f64]) -> Vec<f64> {
        let mirrored: Vec<f64> = sorted.iter().rev().map(|e| -e).collect();
        let offset = |&p: &f64| {
            // The interval holds the forecast: a model that is wrong on one side only is not
            // corrected here.
            if p < 0.5 {
                -conformal_quantile(&mirrored, 1.0 - p).unwrap_or(0.0).max(0.0)
            } else {
                conformal_quantile(sorted, p).unwrap_or(0.0).max(0.0)
            }
        };
        self.probabilities.iter().map(offset).collect()
    }

    fn uncertainty(&self, series: &str, change: f64, spread: Option<f64>) -> f64 {
        spread
            .unwrap_or_else(|| change * self.series.get(series).unwrap_or(&self.relative_error))
            .max(UNIT_MIN)
    }

    /// The typical change of a series, as calibration measures it.
    pub fn change(&self, view: View<'_>) -> f64 {
        typical_change(self.scale, self.season, view.history())
    }

    /// The unit of a forecast's quantiles, and the ends of its interval. The residual's error is
    /// not looked at.
    pub fn interval_around(&self, point: f64, residual: &Residual<'_>) -> (f64, (f64, f64)) {
        let uncertainty = self.uncertainty(residual.series, residual.change, residual.spread);
        let tail = (1.0 - self.level) / 2.0;
        let end = |p: f64| self.quantile(self.nearest(p), residual.step, point, uncertainty);
        (uncertainty, (end(tail), end(1.0 - tail)))
    }

    /// Probabilities and quantiles of step `step` (from 0) around `point`, ascending.
    pub fn quantiles(&self, step: usize, point: f64, uncertainty: f64) -> Vec<(f64, f64)> {
        let quantile = |place: usize| {
            (self.probabilities[place], self.quantile(place, step, point, uncertainty))
        };
        (0..self.probabilities.len()).map(quantile).collect()
    }

    fn quantile(&self, place: usize, step: usize, point: f64, uncertainty: f64) -> f64 {
        let value =
            self.scale.invert(self.scale.apply(point) + self.offsets[step][place] * uncertainty);
        // Rounding on the way to the scale and back must not carry a quantile past the forecast.
        // What is not a number stays so: it must not come out as a narrow interval.
        let past = if self.probabilities[place] < 0.5 { value > point } else { value < point };
        if past { point } else { value }
    }

    /// Place of the probability nearest to `p`.
    fn nearest(&self, p: f64) -> usize {
        let distance = |place: &usize| (self.probabilities[*place] - p).abs();
        (0..self.probabilities.len())
            .min_by(|a, b| distance(a).total_cmp(&distance(b)))
            .unwrap_or(0)
    }
}

/// Errors of `step` and, while they are few, of the steps around it; sorted.
fn neighbours(by_step: &[Vec<f64>], step: usize) -> Vec<f64> {
    let mut reach = 0;
    loop {
        let around = &by_step[step.saturating_sub(reach)..(step + reach + 1).min(by_step.len())];
        let enough = around.iter().map(Vec::len).sum::<usize>() >= ERRORS_MIN;
        if enough || reach >= by_step.len() {
            let mut errors: Vec<f64> = around.iter().flatten().copied().collect();
            errors.sort_by(f64::total_cmp);
            return errors;
        }
        reach += 1;
    }
}

/// Mean absolute change against one season before, on the transformed scale, over the newest part
/// of a history.
pub fn typical_change(transform: Transform, season: usize, history: &[f64]) -> f64 {
    let newest = history.len().saturating_sub((14 * season).max(60));
    let tail = transform.all(&history[newest..]);
    let lag = if tail.len() > season { season } else { 1 };
    let changes = tail.len().saturating_sub(lag);
    let sum: f64 = tail.iter().zip(tail.iter().skip(lag)).map(|(a, b)| (b - a).abs()).sum();
    (sum / changes.max(1) as f64).max(UNIT_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_cover_what_they_promise_for_calm_and_wild_series() {
        let mut rng = fastrand::Rng::with_seed(9);
        let mut normal = move || (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0;
        let mut draw = |n: usize| -> Vec<(String, f64, f64)> {
            (0..n)
                .map(|i| (format!("s{}", i % 10), normal() * (1.0 + (i % 10) as f64), 1.0))
                .collect()
        };
        let (seen, unseen) = (draw(2_000), draw(2_000));
        let residuals: Vec<Residual<'_>> = seen
            .iter()
            .map(|(n, e, c)| Residual { series: n, step: 0, error: *e, change: *c, spread: None })
            .collect();
        let calibration = Calibration::fit(&residuals, 1, 0.8, (Transform::None, 1));
        let covered = |wild: bool| {
            let chosen: Vec<_> = unseen.iter().filter(|(n, ..)| !wild || n == "s9").collect();
            let inside = chosen.iter().filter(|(name, error, change)| {
                let residual =
                    Residual { series: name, step: 0, error: 0.0, change: *change, spread: None };
                let (_, (low, high)) = calibration.interval_around(0.0, &residual);
                low <= *error && *error <= high
            });
            inside.count() as f64 / chosen.len() as f64
        };
        assert!((covered(false) - 0.8).abs() < 0.03, "{}", covered(false));
        assert!((covered(true) - 0.8).abs() < 0.08, "{}", covered(true));
    }

    #[test]
    fn few_errors_are_joined_by_those_of_neighbouring_steps() {
        let by_step: Vec<Vec<f64>> = (0..5).map(|s| vec![f64::from(s); 90]).collect();
        assert_eq!(neighbours(&by_step, 0).len(), 270);
        assert_eq!(neighbours(&by_step[..1], 0).len(), 90);
    }
}
