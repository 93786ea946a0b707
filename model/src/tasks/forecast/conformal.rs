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

mod counts;
mod measure;
mod shocks;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::forecast::dataset::{Dataset, View};
use measure::UNIT_MIN;
use shocks::{Parts, middle};
use steppe_spec::{Decide, TrainSpec, Transform};

pub use counts::Counts;
pub use measure::{Measure, typical_change};

/// Quantiles that are always given beside the interval.
const PROBABILITIES: [f64; 6] = [0.05, 0.1, 0.25, 0.75, 0.9, 0.95];
/// Errors that a quantile of one step rests on; with fewer, neighbouring steps join in.
const ERRORS_MIN: usize = 200;
/// A typical change is at least this share of that of the typical series: a series that was quiet
/// so far is not for ever, and its first jump is no measure for others.
const QUIET_SHARE: f64 = 0.1;
/// How many times the largest value of a history, or its forecast, an interval may reach.
const REACH: f64 = 4.0;
/// How many times the largest value of a history a forecast may reach, and an interval with it.
const REACH_MAX: f64 = 10.0;

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

/// How far a history goes: its largest value on the scale of relative changes, its range
/// otherwise.
pub fn reach(transform: Transform, history: &[f64]) -> f64 {
    let largest = history.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let smallest = history.iter().copied().fold(f64::INFINITY, f64::min);
    match transform {
        _ if history.is_empty() => 0.0,
        Transform::Log => transform.apply(largest),
        Transform::None => largest - smallest,
    }
}

/// A point forecast, at most [`REACH_MAX`] times the largest value of its history, where values are
/// relative: models run away, and what they say then is no forecast.
pub fn bounded(transform: Transform, reach: f64, point: f64) -> f64 {
    match transform {
        Transform::Log => point.min(transform.invert(reach + REACH_MAX.ln())),
        Transform::None => point,
    }
}

/// Beyond what an interval never goes, transformed: [`REACH`] times what was ever seen or is
/// forecast, and [`REACH_MAX`] times what was ever seen.
fn limits(transform: Transform, point: f64, reach: f64, unit: f64) -> (f64, f64) {
    match transform {
        Transform::Log => {
            let most = (reach + REACH_MAX.ln()).max(point);
            (f64::NEG_INFINITY, (reach.max(point) + REACH.ln()).min(most))
        }
        Transform::None => {
            let reach = REACH * reach.max(unit);
            (point - reach, point + reach)
        }
    }
}

#[cfg(test)]
mod tests {
    use steppe_spec::Width;

    use super::*;

    fn place(series: &str, change: f64) -> Place<'_> {
        Place { series, step: 0, change, spread: None, reach: 1e6 }
    }

    fn asked(level: f64) -> Asked {
        Asked { level, decision: None, counts: false }
    }

    fn measure(scale: Transform) -> Measure {
        Measure::new(scale, 1, Width::Changes)
    }

    fn normal(rng: &mut fastrand::Rng) -> f64 {
        (0..12).map(|_| rng.f64()).sum::<f64>() - 6.0
    }

    #[test]
    fn intervals_cover_what_they_promise_for_calm_and_wild_series() {
        let mut rng = fastrand::Rng::with_seed(9);
        let mut draw = |n: usize| -> Vec<(String, usize, f64)> {
            let wild = |i: usize| (1 + i % 10) as f64;
            let one = |i: usize| (format!("s{}", i % 10), i / 10, normal(&mut rng) * wild(i));
            (0..n).map(one).collect()
        };
        let (seen, unseen) = (draw(2_000), draw(2_000));
        let mut residuals = Vec::new();
        for (name, origin, error) in &seen {
            residuals.push(Residual {
                place: place(name, 1.0),
                origin: *origin,
                error: *error,
                values: (0.0, 0.0),
            });
        }
        let calibration = Calibration::fit(
            residuals.iter().copied(),
            (1, 1),
            asked(0.8),
            measure(Transform::None),
        );
        let covered = |wild: bool| {
            let chosen: Vec<_> = unseen.iter().filter(|(n, ..)| !wild || n == "s9").collect();
            let inside = chosen.iter().filter(|(name, _, error)| {
                let (low, high) = calibration.interval(&calibration.spread(0.0, &place(name, 1.0)));
                low <= *error && *error <= high
            });
            inside.count() as f64 / chosen.len() as f64
        };
        assert!((covered(false) - 0.8).abs() < 0.03, "{}", covered(false));
        assert!((covered(true) - 0.8).abs() < 0.08, "{}", covered(true));
    }

    #[test]
    fn a_quantile_to_decide_by_covers_what_it_promises_and_lies_where_it_belongs() {
        for (decision, seed) in [(0.75, 1), (0.6, 2), (0.3, 3), (0.97, 4)] {
            let mut rng = fastrand::Rng::with_seed(seed);
            let names: Vec<String> = (0..20).map(|i| format!("s{i}")).collect();
            // Skewed, so that both sides differ.
            let error = |rng: &mut fastrand::Rng| {
                let z = normal(rng);
                if z > 0.0 { 2.0 * z } else { z }
            };
            let mut residuals = Vec::new();
            for origin in 0..100 {
                for name in &names {
                    let error = error(&mut rng);
                    residuals.push(Residual {
                        place: place(name, 1.0),
                        origin,
                        error,
                        values: (0.0, 0.0),
                    });
                }
            }
            let both = Asked { level: 0.9, decision: Some(decision), counts: false };
            let fitted =
                Calibration::fit(residuals.iter().copied(), (1, 1), both, measure(Transform::None));
            let spread = fitted.spread(0.0, &place("s3", 1.0));
            let (decided, (lower, upper)) =
                (fitted.at(decision, &spread), fitted.interval(&spread));
            assert!(lower <= decided && (decided <= upper) == (decision <= 0.95), "{decided}");
            let quantiles = fitted.quantiles(&spread);
            assert!(quantiles.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{quantiles:?}");
            let unseen = (0..4_000).filter(|_| error(&mut rng) <= decided).count();
            let covered = unseen as f64 / 4_000.0;
            assert!((covered - decision).abs() < 0.03, "{decision}: {covered}");
        }
    }

    /// Share of 30 series that fall inside, over many sets whose origins have shocks in common.
    fn covered_with_shocks(origins: usize) -> f64 {
        let mut rng = fastrand::Rng::with_seed(3);
        let names: Vec<String> = (0..30).map(|i| format!("s{i}")).collect();
        let (mut inside, mut all) = (0.0, 0.0);
        for _ in 0..400 {
            let mut errors = || {
                let shock = normal(&mut rng);
                names.iter().map(|_| shock + normal(&mut rng)).collect::<Vec<f64>>()
            };
            let seen: Vec<Vec<f64>> = (0..origins).map(|_| errors()).collect();
            let next = errors();
            let mut residuals = Vec::new();
            for (origin, errors) in seen.iter().enumerate() {
                for (name, error) in names.iter().zip(errors) {
                    residuals.push(Residual {
                        place: place(name, 1.0),
                        origin,
                        error: *error,
                        values: (0.0, 0.0),
                    });
                }
            }
            let fitted = Calibration::fit(
                residuals.iter().copied(),
                (1, 1),
                asked(0.9),
                measure(Transform::None),
            );
            for (name, error) in names.iter().zip(next) {
                let (low, high) = fitted.interval(&fitted.spread(0.0, &place(name, 1.0)));
                inside += f64::from(u8::from(low <= error && error <= high));
                all += 1.0;
            }
        }
        inside / all
    }

    #[test]
    fn shocks_that_hit_every_series_are_covered_too() {
        for origins in [3, 5, 8, 20, 80] {
            let covered = covered_with_shocks(origins);
            assert!((0.87..=0.97).contains(&covered), "{origins} origins: {covered}");
        }
    }

    /// Three forecasts of nearly the same eight periods are one observation of each of them.
    #[test]
    fn origins_that_forecast_the_same_periods_do_not_narrow_an_interval() {
        let mut rng = fastrand::Rng::with_seed(4);
        let names: Vec<String> = (0..200).map(|i| format!("s{i}")).collect();
        let mut residuals = Vec::new();
        for name in &names {
            let steps: Vec<f64> = (0..11).map(|_| normal(&mut rng)).collect();
            for (origin, step) in (0..3).flat_map(|origin| (0..8).map(move |step| (origin, step))) {
                let error = steps[origin..=origin + step].iter().sum();
                residuals.push(Residual {
                    place: Place { step, ..place(name, 1.0) },
                    origin,
                    error,
                    values: (0.0, 0.0),
                });
            }
        }
        let fitted = Calibration::fit(
            residuals.iter().copied(),
            (8, 1),
            asked(0.9),
            measure(Transform::None),
        );
        let mut inside = 0;
        for name in &names {
            let mut error = 0.0;
            for step in 0..8 {
                error += normal(&mut rng);
                let place = Place { step, ..place(name, 1.0) };
                let (low, high) = fitted.interval(&fitted.spread(0.0, &place));
                inside += usize::from(low <= error && error <= high);
            }
        }
        let covered = inside as f64 / (8 * names.len()) as f64;
        assert!((0.84..=0.95).contains(&covered), "{covered}");
    }

    #[test]
    fn one_jump_of_a_quiet_series_does_not_open_all_intervals() {
        let names: Vec<String> = (0..8).map(|i| format!("s{i}")).collect();
        let mut residuals = Vec::new();
        for origin in 0..8 {
            for (i, name) in names.iter().enumerate() {
                // The first series was zero for ever, and is 5,000 at the end.
                let jump = i == 0 && origin == 7;
                let calm = 0.02 * ((origin * 7 + i * 3) % 5) as f64 - 0.04;
                let error = if jump { 8.5 } else { calm };
                let change = if i == 0 { UNIT_MIN } else { 0.05 };
                residuals.push(Residual {
                    place: place(name, change),
                    origin,
                    error,
                    values: (0.0, 0.0),
                });
            }
        }
        let fitted = Calibration::fit(
            residuals.iter().copied(),
            (1, 1),
            asked(0.9),
            measure(Transform::Log),
        );
        let ends = |name, change: f64, point: f64, largest: f64| {
            let place = Place { reach: largest.ln_1p(), ..place(name, change) };
            fitted.interval(&fitted.spread(point, &place))
        };
        let (low, high) = ends("s3", 0.05, 5_000.0, 5_500.0);
        assert!(low > 2_000.0 && high < 12_000.0, "{low} to {high}");
        let (low, high) = ends("s0", 0.4, 5_000.0, 5_000.0);
        assert!(low >= 0.0 && high <= 4.0 * 5_001.0, "{low} to {high}");
        let (_, high) = ends("unknown", 0.9, 4.0, 4.0);
        assert!(high <= 20.0, "a count of at most 4: {high}");
    }

    #[test]
    fn intervals_are_finite_and_ordered_and_never_beyond_ten_times_what_was_seen() {
        let mut rng = fastrand::Rng::with_seed(11);
        for round in 0..300 {
            let (transform, counts) = match round % 3 {
                0 => (Transform::None, false),
                kind => (Transform::Log, kind == 2),
            };
            let mut size = || 10f64.powf(rng.f64() * 16.0 - 4.0);
            let names: Vec<String> = (0..5).map(|i| format!("s{i}")).collect();
            let mut residuals = Vec::new();
            for name in &names {
                for origin in 0..1 + round % 7 {
                    let (forecast, came) = (size(), if origin % 3 == 0 { 0.0 } else { size() });
                    let values = (forecast.floor(), came.floor());
                    let error = transform.apply(values.1) - transform.apply(values.0);
                    let change = if origin % 2 == 0 { UNIT_MIN } else { size() };
                    residuals.push(Residual { place: place(name, change), origin, error, values });
                }
            }
            let asked = Asked { level: 0.999, decision: Some(0.7), counts };
            let all = residuals.iter().copied();
            let fitted = Calibration::fit(all, (1, 1), asked, measure(transform));
            for name in ["s1", "new"] {
                let (largest, change) = (size().floor(), size());
                let reach = reach(transform, &[0.0, largest]);
                let point = bounded(transform, reach, size());
                let place = Place { reach, ..place(name, change) };
                let spread = fitted.spread(point, &place);
                let quantiles = fitted.quantiles(&spread);
                assert!(quantiles.is_sorted_by(|a, b| a.1 <= b.1), "{quantiles:?}");
                let (low, high) = fitted.interval(&spread);
                assert!(low.is_finite() && high.is_finite(), "{low} to {high}");
                assert!(low <= point && point <= high, "{low} {point} {high}");
                if transform == Transform::Log {
                    assert!(low >= 0.0 && high <= (10.0 * (largest + 1.0)).ceil(), "{high}");
                }
                if counts {
                    assert_eq!((low.fract(), high.fract()), (0.0, 0.0));
                }
            }
        }
    }

    /// A count with the given mean and dispersion 0.5: of independent events whose rate is drawn.
    fn count(rng: &mut fastrand::Rng, mean: f64) -> f64 {
        // Of shape 2: a sum of two exponential draws.
        let rate = -mean / 2.0 * (rng.f64().max(1e-12).ln() + rng.f64().max(1e-12).ln());
        let (mut events, mut passed) = (0.0, -rng.f64().max(1e-12).ln());
        while passed < rate {
            (events, passed) = (events + 1.0, passed - rng.f64().max(1e-12).ln());
        }
        events
    }

    #[test]
    fn small_counts_have_whole_intervals_that_cover() {
        let mut rng = fastrand::Rng::with_seed(5);
        let names: Vec<String> = (0..60).map(|i| format!("s{i}")).collect();
        let mean = |i: usize| 0.3 * (1 + i % 30) as f64;
        let mut residuals = Vec::new();
        for origin in 0..8 {
            for (i, name) in names.iter().enumerate() {
                // Forecasts on a scale of logarithms are too low.
                let values = (0.8 * mean(i), count(&mut rng, mean(i)));
                let error = values.1.ln_1p() - values.0.ln_1p();
                residuals.push(Residual { place: place(name, 0.5), origin, error, values });
            }
        }
        let asked = Asked { counts: true, ..asked(0.9) };
        let all = residuals.iter().copied();
        let fitted = Calibration::fit(all, (1, 1), asked, measure(Transform::Log));
        let (mut inside, mut above, mut width) = (0.0, 0.0, 0.0);
        for round in 0..6_000 {
            let i = round % 60;
            let place = Place { reach: 40f64.ln_1p(), ..place(&names[i], 0.5) };
            let (low, high) = fitted.interval(&fitted.spread(0.8 * mean(i), &place));
            assert_eq!((low.fract(), high.fract()), (0.0, 0.0), "{low} to {high}");
            let came = count(&mut rng, mean(i));
            inside += f64::from(u8::from(low <= came && came <= high)) / 6_000.0;
            above += f64::from(u8::from(came > high)) / 6_000.0;
            width += (high - low) / 6_000.0;
        }
        // Whole ends hold somewhat more than they promise.
        assert!((0.89..=0.97).contains(&inside), "{inside}");
        assert!((0.02..=0.06).contains(&above), "{above}");
        assert!((9.0..=15.0).contains(&width), "{width}");
    }

    #[test]
    fn constants_are_held_by_their_intervals() {
        let names: Vec<String> = (0..12).map(|i| format!("s{i}")).collect();
        let residual = |(origin, i): (usize, usize)| Residual {
            place: place(&names[i], UNIT_MIN),
            origin,
            error: 1e-16 * (i as f64 - 6.0),
            values: (0.0, 0.0),
        };
        let residuals: Vec<Residual<'_>> =
            (0..8).flat_map(|o| (0..12).map(move |i| (o, i))).map(residual).collect();
        let fitted = Calibration::fit(
            residuals.iter().copied(),
            (1, 1),
            asked(0.9),
            measure(Transform::Log),
        );
        let spread = fitted.spread(1_234.000_000_000_1, &place("s1", UNIT_MIN));
        let (low, high) = fitted.interval(&spread);
        assert!(crate::forecast::metrics::holds(low, high, 1_234.0), "{low} to {high}");
    }

    #[test]
    fn few_errors_are_joined_by_those_of_neighbouring_steps() {
        let by_step: Vec<Vec<(usize, f64)>> = (0..5).map(|s| vec![(0, f64::from(s)); 90]).collect();
        assert_eq!(neighbours(&by_step, 0).len(), 270);
        assert_eq!(neighbours(&by_step[..1], 0).len(), 90);
    }
}
