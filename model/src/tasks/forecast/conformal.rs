//! Quantiles from the errors of a backtest: how far, in units of its own uncertainty, each series
//! has been from its forecasts.
//!
//! A series' uncertainty is the spread that the model itself gives, or else its typical change
//! times how large this model's errors on it are in that unit, drawn towards all series where it
//! has few forecasts. Dividing by it makes errors comparable (locally weighted conformal
//! prediction, Lei et al. 2018).
//!
//! Errors of one origin move together: a crisis is one surprise, however many series it hits. So
//! what remains is taken apart into the shock that an origin has for all, and the rest. Of shocks
//! there are as many as origins, and their spread is as uncertain as Student's t with as many
//! degrees of freedom says; of the rest there are as many as forecasts, and their quantile is the
//! conformal one. Where origins are many, quantiles are taken of the whole.

mod bounds;
mod counts;
mod measure;
mod shocks;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::forecast::dataset::{Dataset, View};
use bounds::limits;
use measure::UNIT_MIN;
use shocks::{Parts, middle};
use steppe_spec::{Decide, TrainSpec, Transform};

pub use bounds::{bounded, reach};
pub use counts::Counts;
pub use measure::{Measure, typical_change};

/// Quantiles that are always given beside the interval.
const PROBABILITIES: [f64; 6] = [0.05, 0.1, 0.25, 0.75, 0.9, 0.95];
/// Errors that a quantile of one step rests on; with fewer, neighbouring steps join in.
const ERRORS_MIN: usize = 200;
/// A typical change is at least this share of that of the typical series: a series that was quiet
/// so far is not for ever, and its first jump is no measure for others.
const QUIET_SHARE: f64 = 0.1;

/// What turns point forecasts into quantiles.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
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
    /// Least typical change of a series.
    pub change_min: f64,
    /// What is known of small counts, whose offsets are normal quantiles; none for other values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<Counts>,
    #[serde(flatten)]
    measure: Measure,
}

/// Which quantiles are asked for beside those that are always given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asked {
    /// Nominal coverage of the interval.
    pub level: f64,
    /// Probability of the quantile to decide by, if something is.
    pub decision: Option<f64>,
    /// Whether the values are small counts.
    pub counts: bool,
}

impl Asked {
    /// What a configuration asks for, of values that are no small counts.
    pub fn by(spec: &TrainSpec) -> Self {
        let decision = spec.task.decide.map(Decide::probability);
        Self { level: spec.backtest.interval_level, decision, counts: false }
    }

    /// What it asks for of these data.
    pub fn of(spec: &TrainSpec, data: &Dataset) -> Self {
        let counts = spec.model.transform == Transform::Log
            && spec.backtest.interval_width.is_of_changes()
            && data.holds_small_counts();
        Self { counts, ..Self::by(spec) }
    }
}

/// A forecast as its quantiles need it.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Name of the series.
    pub series: &'a str,
    /// Step ahead, from 0.
    pub step: usize,
    /// The series' typical change in the period that is forecast, as it was known.
    pub change: f64,
    /// The model's own spread; none for a family without one.
    pub spread: Option<f64>,
    /// How far values have gone so far: [`reach`] of the history.
    pub reach: f64,
}

/// What the quantiles of one forecast are made from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    step: usize,
    point: f64,
    /// The point, transformed.
    at: f64,
    /// The unit of offsets.
    unit: f64,
    /// Beyond what quantiles never go, transformed.
    low: f64,
    high: f64,
}

/// One forecast of the backtest, as calibration sees it.
#[derive(Debug, Clone, Copy)]
pub struct Residual<'a> {
    /// The forecast.
    pub place: Place<'a>,
    /// Number of its origin.
    pub origin: usize,
    /// Actual value less forecast, on the transformed scale.
    pub error: f64,
    /// Both: the forecast, and what came.
    pub values: (f64, f64),
}

/// Sums of relative errors, and how many they are.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    sum: f64,
    count: f64,
}

impl Sum {
    fn add(&mut self, value: f64) {
        (self.sum, self.count) = (self.sum + value, self.count + 1.0);
    }

    fn with(self, other: Self) -> Self {
        Self { sum: self.sum + other.sum, count: self.count + other.count }
    }

    fn without(self, other: Self) -> Self {
        Self { sum: self.sum - other.sum, count: self.count - other.count }
    }

    fn mean(self) -> f64 {
        self.sum / self.count.max(1.0)
    }

    /// The mean, drawn towards `all` by as many values as `pull`.
    fn drawn(self, all: f64, pull: f64) -> f64 {
        (self.sum + pull * all) / (self.count + pull)
    }
}

impl Calibration {
    /// Calibrates on the residuals of a backtest, whose origins are `stride` periods apart.
    ///
    /// They are gone through several times and never held: there can be millions. Those of one
    /// series and origin stand together.
    pub fn fit<'a>(
        residuals: impl Iterator<Item = Residual<'a>> + Clone,
        (horizon, stride): (usize, usize),
        Asked { level, decision, counts }: Asked,
        measure: Measure,
    ) -> Self {
        let tail = ((1.0 - level) / 2.0 * 1e9).round() / 1e9;
        let mut probabilities: Vec<f64> =
            PROBABILITIES.into_iter().chain([tail, 1.0 - tail]).chain(decision).collect();
        probabilities.sort_by(f64::total_cmp);
        probabilities.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
        let mut fitted = Self {
            level,
            probabilities,
            offsets: Vec::new(),
            relative_error: 0.0,
            series: BTreeMap::new(),
            change_min: QUIET_SHARE * middle(residuals.clone().map(|r| r.place.change).collect()),
            counts: counts.then(|| Counts::of(residuals.clone().map(|r| r.values))),
            measure,
        };
        let by_step = fitted.standardised(residuals, (horizon, stride));
        let offsets = |step: usize| {
            let errors = neighbours(&by_step, step);
            // Forecasts of the same period from two origins are nearly the same one.
            let apart = (stride as f64 / (step + 1) as f64).min(1.0);
            fitted.offsets_of(&errors, apart)
        };
        fitted.offsets = (0..horizon).map(offsets).collect();
        fitted
    }

    /// Errors in units of uncertainty by step, with their origins. A unit is made of the errors of
    /// origins that forecast other periods: with its own in it, a large error would look small.
    fn standardised<'a>(
        &mut self,
        residuals: impl Iterator<Item = Residual<'a>> + Clone,
        (horizon, stride): (usize, usize),
    ) -> Vec<Vec<(usize, f64)>> {
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        let mut of_origin: BTreeMap<(&str, usize), Sum> = BTreeMap::new();
        let (mut all, mut all_of) = (Sum::default(), BTreeMap::<usize, Sum>::new());
        each_forecast(residuals.clone(), |forecast| {
            let (name, origin) = (forecast[0].place.series, forecast[0].origin);
            let of_all = all_of.entry(origin).or_default();
            let of_own = sums.entry(name).or_default();
            let of_both = of_origin.entry((name, origin)).or_default();
            for residual in forecast {
                let relative = residual.error.abs() / self.change_of(&residual.place);
                all.add(relative);
                of_all.add(relative);
                of_own.add(relative);
                of_both.add(relative);
            }
        });
        // Origins less than a horizon apart forecast the same periods, and count for fewer.
        let apart = (stride as f64 / horizon as f64).min(1.0);
        let share = (1.0 + (all_of.len() as f64 - 1.0) * apart) / all_of.len().max(1) as f64;
        let pull = 2.0 * (8 + horizon) as f64 / share;
        self.relative_error = all.mean();
        let drawn =
            |(name, sum): (&&str, &Sum)| ((*name).to_owned(), sum.drawn(self.relative_error, pull));
        self.series = sums.iter().map(drawn).collect();
        let lone = all_of.len() < 2;
        let near = horizon.div_ceil(stride.max(1)) - 1;
        let sum_near = |&(name, origin): &(&str, usize)| {
            let around = (name, origin.saturating_sub(near))..=(name, origin + near);
            of_origin.range(around).fold(Sum::default(), |all, (_, sum)| all.with(*sum))
        };
        let near_of: BTreeMap<(&str, usize), Sum> =
            of_origin.keys().map(|place| (*place, sum_near(place))).collect();
        let mut by_step: Vec<Vec<(usize, f64)>> = vec![Vec::new(); horizon];
        let others = |sum: Sum, of: Sum| if lone { sum } else { sum.without(of) };
        let mut number = 0;
        each_forecast(residuals, |forecast| {
            let (own, origin) = (forecast[0].place.series, forecast[0].origin);
            let mean = others(all, all_of[&origin]).mean();
            let relative = others(sums[own], near_of[&(own, origin)]).drawn(mean, pull);
            for residual in forecast {
                let place = &residual.place;
                number += 1;
                let unit = place.spread.unwrap_or_else(|| self.change_of(place) * relative);
                let distance = match self.counts {
                    Some(counts) => counts.distance(residual.values, number),
                    None => residual.error / self.unit(unit),
                };
                by_step[place.step].push((origin, distance));
            }
        });
        by_step
    }

    /// Checks a calibration that was read against the configuration that it belongs to.
    pub fn check(&self, spec: &TrainSpec) -> Result<(), String> {
        if (self.measure, self.level) != (Measure::by(spec), spec.backtest.interval_level) {
            return Err("the calibration is of another configuration than the card".to_owned());
        }
        let inside = |p: &f64| *p > 0.0 && *p < 1.0;
        let ascending = self.probabilities.is_sorted_by(|a, b| a < b);
        if self.probabilities.is_empty() || !ascending || !self.probabilities.iter().all(inside) {
            return Err(
                "the calibration's probabilities are not ascending within 0 and 1".to_owned()
            );
        }
        let unknown = |p: &f64| (self.probabilities[self.nearest(*p)] - p).abs() > 1e-9;
        if Asked::by(spec).decision.as_ref().is_some_and(unknown) {
            return Err("the calibration lacks the quantile to decide by".to_owned());
        }
        if self.offsets.len() != spec.task.horizon {
            let (rows, steps) = (self.offsets.len(), spec.task.horizon);
            return Err(format!("the calibration has offsets for {rows} steps of {steps}"));
        }
        let fits = |row: &Vec<f64>| {
            let finite = row.iter().all(|offset| offset.is_finite());
            row.len() == self.probabilities.len() && finite && row.is_sorted()
        };
        if !self.offsets.iter().all(fits) {
            return Err("the calibration has not one ascending offset per probability".to_owned());
        }
        if self.counts.is_some_and(|counts| !counts.is_usable()) {
            return Err("the calibration's counts are not as they can be".to_owned());
        }
        let usable = |error: &f64| error.is_finite() && *error >= 0.0;
        let relative = std::iter::once(&self.relative_error).chain(self.series.values());
        if !relative.chain([&self.change_min]).all(usable) {
            return Err("the calibration's relative errors are not finite or negative".to_owned());
        }
        Ok(())
    }

    /// One offset per probability. `apart` is the share of an origin that is new beside the one
    /// before.
    fn offsets_of(&self, errors: &[(usize, f64)], apart: f64) -> Vec<f64> {
        let parts = Parts::of(errors, apart);
        let offset = |&p: &f64| {
            // The interval holds the forecast: a model that is wrong on one side only is not
            // corrected here.
            let (above, tail) = (p >= 0.5, p.max(1.0 - p));
            let distance = parts.quantile(above, tail).max(0.0);
            if above { distance } else { -distance }
        };
        let mut offsets: Vec<f64> = self.probabilities.iter().map(offset).collect();
        // The two parts are each monotone; what is taken of one side is not of the other.
        offsets.sort_by(f64::total_cmp);
        offsets
    }

    fn change_of(&self, place: &Place<'_>) -> f64 {
        place.change.max(self.change_min).max(UNIT_MIN)
    }

    fn unit(&self, unit: f64) -> f64 {
        unit.max(self.relative_error * self.change_min).max(UNIT_MIN)
    }

    fn uncertainty(&self, place: &Place<'_>) -> f64 {
        let relative = || self.series.get(place.series).unwrap_or(&self.relative_error);
        self.unit(place.spread.unwrap_or_else(|| self.change_of(place) * relative()))
    }

    /// The typical change of a series, as calibration measures it.
    pub fn change(&self, view: View<'_>) -> f64 {
        // Of one value no change is known: it is taken to be like those of others.
        match view.len() {
            0 | 1 => (self.change_min / QUIET_SHARE).max(UNIT_MIN),
            _ => self.measure.of(view.history()),
        }
    }

    /// The places of a forecast of `view`, with the model's own `spreads` where it has them.
    pub fn places<'a>(&self, view: View<'a>, horizon: usize, spreads: &[f64]) -> Vec<Place<'a>> {
        let (series, reach) =
            (view.series().name.as_str(), reach(self.measure.scale(), view.history()));
        let changes = match view.len() {
            0 | 1 => vec![self.change(view); horizon],
            _ => self.measure.ahead(view.history(), horizon),
        };
        let place = |(step, change)| {
            let spread = spreads.get(step).copied();
            Place { series, step, change, spread, reach }
        };
        changes.into_iter().enumerate().map(place).collect()
    }

    /// How far around `point` its quantiles spread.
    pub fn spread(&self, point: f64, place: &Place<'_>) -> Spread {
        let (at, unit) = (self.measure.scale().apply(point), self.uncertainty(place));
        let (low, high) = limits(self.measure.scale(), at, place.reach, unit);
        Spread { step: place.step, point, at, unit, low, high }
    }

    /// Probabilities and quantiles, ascending.
    pub fn quantiles(&self, spread: &Spread) -> Vec<(f64, f64)> {
        let quantile = |i: usize| (self.probabilities[i], self.quantile(i, spread));
        (0..self.probabilities.len()).map(quantile).collect()
    }

    /// The quantile of the probability nearest to `p`.
    pub fn at(&self, p: f64, spread: &Spread) -> f64 {
        self.quantile(self.nearest(p), spread)
    }

    /// The ends of the interval.
    pub fn interval(&self, spread: &Spread) -> (f64, f64) {
        let tail = (1.0 - self.level) / 2.0;
        (self.at(tail, spread), self.at(1.0 - tail, spread))
    }

    fn quantile(&self, i: usize, spread: &Spread) -> f64 {
        let Spread { step, point, at, unit, low, high } = *spread;
        let (scale, offset) = (self.measure.scale(), self.offsets[step][i]);
        if let Some(counts) = self.counts {
            let count = counts.at(point, offset, scale.invert(high).floor());
            // Counts on both sides of the forecast, which need not be one.
            let below = self.probabilities[i] < 0.5;
            return if below { count.min(point.floor()) } else { count.max(point.ceil()) };
        }
        let value = scale.invert((at + offset * unit).clamp(low, high));
        // Rounding on the way to the scale and back must not carry a quantile past the forecast.
        // What is not a number stays so: it must not come out as a narrow interval.
        let past = if self.probabilities[i] < 0.5 { value > point } else { value < point };
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

/// Calls `f` with the residuals of each forecast, those of one series and origin, so that what they
/// share is looked up once.
fn each_forecast<'a>(
    residuals: impl Iterator<Item = Residual<'a>>,
    mut f: impl FnMut(&[Residual<'a>]),
) {
    let mut forecast: Vec<Residual<'a>> = Vec::new();
    for residual in residuals {
        let of = |first: &Residual<'_>| {
            (first.origin, first.place.series) == (residual.origin, residual.place.series)
        };
        if !forecast.first().is_none_or(of) {
            f(&forecast);
            forecast.clear();
        }
        forecast.push(residual);
    }
    if !forecast.is_empty() {
        f(&forecast);
    }
}

/// Errors of `step` and, while they are few, of the steps around it.
fn neighbours(by_step: &[Vec<(usize, f64)>], step: usize) -> Vec<(usize, f64)> {
    let mut reach = 0;
    loop {
        let around = &by_step[step.saturating_sub(reach)..(step + reach + 1).min(by_step.len())];
        let enough = around.iter().map(Vec::len).sum::<usize>() >= ERRORS_MIN;
        if enough || reach >= by_step.len() {
            return around.iter().flatten().copied().collect();
        }
        reach += 1;
    }
}

#[cfg(test)]
mod tests;
