//! Level times shape: a cycle, such as a day of hours, is its level and what each of its phases
//! departs from it. After FLAIR (Honda, "Don't learn the shape: forecasting periodic time series by
//! rank-1 decomposition", <https://arxiv.org/abs/2605.07222>), in code of our own.
//!
//! What it has of FLAIR: the history as a matrix of cycles and phases; a shape that is the mean of
//! newest cycles and is not fitted; one value per cycle that ridge regression forecasts, drawn to
//! the level staying as it is; a second season, such as the week over the day, in the levels. So
//! two days of hours are two steps ahead, not 48.
//!
//! What is other, as it was better on M4 Hourly before what its test and its last two days hold:
//!
//! - Level and shape add up on the model's scale. On logarithms that is their product, zeros
//!   included; without a transform, values may be negative.
//! - How many cycles the shape is the mean of, and how far it is drawn from there to the same
//!   cycles of earlier rounds (Sundays to Sundays), is what has been the nearest to the newest
//!   cycles, each forecast from those before it. So is whether there is a shape at all. FLAIR has
//!   one shape of two cycles, unless an information criterion finds no season.
//! - The second season is a predictor, the mean change at the same place of earlier rounds, so that
//!   a series without one has none; FLAIR takes it out before, which adds noise to such series.
//! - There is no intercept and no trend, but the newest change, and how far the end of the last
//!   cycle was from its level and shape. What the newest value was off then fades away with the
//!   steps, as fast as it has done.

use crate::parallel;

use crate::forecast::dataset::View;
use crate::forecast::{Forecaster, Local};
use crate::least_squares::{Column, ridge};
use steppe_spec::{TrainSpec, Transform};

use super::naive::seasonal_naive;

/// Shape and level are found per series when it is forecast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LevelShape {
    /// Length of a cycle; 1 where there is no season.
    pub cycle: usize,
    /// Cycles of the second season, where there is one.
    pub round: Option<usize>,
    /// The scale on which level and shape add up.
    pub transform: Transform,
}

/// Older cycles hardly matter.
const CYCLES_MAX: usize = 200;
/// Newest cycles that the choice of a shape is judged by.
const JUDGED: usize = 14;
/// Cycles that a shape may be the mean of; of none it is flat, as without a season.
const MEMORIES: [usize; 7] = [1, 2, 4, 7, 14, 28, 0];
/// Cycles of the same place that weigh as much as that mean does; none are asked at infinity.
const PULLS: [f64; 4] = [f64::INFINITY, 3.0, 1.0, 0.3];
/// Rounds that the same place is looked up in.
const ROUNDS: usize = 4;
/// Part of a cycle that is its end.
const END: usize = 8;
/// Rows that each predictor of the level needs.
const ROWS_PER_TERM: usize = 2;
/// What may be left, a step later, of what the newest value was off.
const FADES: [f64; 8] = [0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0];

impl Local for LevelShape {
    fn new(spec: &TrainSpec) -> Self {
        let seasons = spec.frequency().seasons();
        let cycle = spec.frequency().season();
        let round = seasons.get(1).map(|season| season / cycle);
        Self { cycle, round, transform: spec.model.transform }
    }
}

impl Forecaster for LevelShape {
    fn min_history(&self) -> usize {
        // One cycle comes again: its level and its shape are all that is known.
        self.cycle
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        parallel::of(views, |view| self.one(view.history(), horizon))
    }
}

impl LevelShape {
    fn one(self, history: &[f64], horizon: usize) -> Vec<f64> {
        let cycles = (history.len() / self.cycle).min(CYCLES_MAX);
        let values = self.transform.all(&history[history.len() - cycles * self.cycle..]);
        let (low, high) =
            values.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        // No forecast leaves the range seen by more than its width.
        let margin = high - low;
        let naive = seasonal_naive(&values, self.cycle, horizon);
        let forecast = Cycles::of(&values, self.cycle, self.round).forecast(horizon);
        let within = |(value, naive): (f64, f64)| match value.is_finite() {
            true => value.clamp(low - margin, high + margin),
            false => naive,
        };
        forecast.into_iter().zip(naive).map(within).map(|v| self.transform.invert(v)).collect()
    }
}

/// A history, oldest cycle first, on the model's scale.
struct Cycles {
    length: usize,
    round: Option<usize>,
    /// Mean of each cycle.
    levels: Vec<f64>,
    /// Of each cycle, what its phases depart from its level.
    shapes: Vec<Vec<f64>>,
}

/// What the shape of a cycle is expected to be.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Expected {
    /// Newest cycles that it is the mean of.
    memory: usize,
    /// Cycles of the same place of earlier rounds that weigh as much as that.
    pull: f64,
}

impl Cycles {
    /// Cuts `values` up; they are whole cycles.
    fn of(values: &[f64], length: usize, round: Option<usize>) -> Self {
        let cycles = || values.chunks_exact(length);
        let levels: Vec<f64> =
            cycles().map(|cycle| cycle.iter().sum::<f64>() / length as f64).collect();
        let shape = |(cycle, level): (&[f64], &f64)| cycle.iter().map(|v| v - level).collect();
        let shapes = cycles().zip(&levels).map(shape).collect();
        Self { length, round, levels, shapes }
    }

    fn forecast(&self, horizon: usize) -> Vec<f64> {
        let (known, expected) = (self.levels.len(), self.nearest());
        let off: Vec<Vec<f64>> = (0..known).map(|at| self.off(expected, at)).collect();
        let end = |off: &Vec<f64>| mean(&off[self.length - (self.length / END).max(1)..]);
        let levels = Levels::fit(&self.levels, off.iter().map(end).collect(), self.round);
        let ahead = levels.ahead(horizon.div_ceil(self.length));
        let (fade, newest) = self.fade(&levels, &off, ahead[0], horizon);
        let values = (known..).zip(ahead).flat_map(|(at, level)| {
            let shape = self.shape(expected, at, known);
            shape.into_iter().map(move |departs| level + departs)
        });
        let left = std::iter::successors(Some(newest * fade), |left| Some(left * fade));
        values.zip(left).map(|(value, left)| value + left).take(horizon).collect()
    }

    /// The mean of the shapes of some cycles; zeros of none.
    fn mean(&self, cycles: impl Iterator<Item = usize>) -> Vec<f64> {
        let (mut sum, mut count) = (vec![0.0; self.length], 0.0f64);
        for cycle in cycles {
            sum.iter_mut().zip(&self.shapes[cycle]).for_each(|(sum, departs)| *sum += departs);
            count += 1.0;
        }
        sum.iter_mut().for_each(|sum| *sum /= count.max(1.0));
        sum
    }

    /// What is expected of cycle `at` by the first `known` ones, one at least.
    fn shape(&self, Expected { memory, pull }: Expected, at: usize, known: usize) -> Vec<f64> {
        let newest = self.mean(known.saturating_sub(memory)..known);
        let Some(round) = self.round.filter(|_| pull.is_finite()) else { return newest };
        let last = known - 1;
        let since = (last % round + round - at % round) % round;
        let same = (0..ROUNDS).filter_map(|back| last.checked_sub(since + back * round));
        let count = same.clone().count() as f64;
        let own = self.mean(same);
        let weight = count / (count + pull);
        newest.iter().zip(own).map(|(newest, own)| newest + weight * (own - newest)).collect()
    }

    /// What the phases of a cycle were off what those before it let expect; of the first, nothing.
    fn off(&self, expected: Expected, at: usize) -> Vec<f64> {
        if at == 0 {
            return vec![0.0; self.length];
        }
        let shape = self.shape(expected, at, at);
        self.shapes[at].iter().zip(shape).map(|(was, expected)| was - expected).collect()
    }

    /// The newest cycles, those of the first round and the one after only if there are no others.
    fn judged(&self) -> std::ops::Range<usize> {
        let known = self.levels.len();
        let first = known.saturating_sub(JUDGED).max(self.round.unwrap_or(1) + 1);
        first.min(known - 1).max(1)..known
    }

    /// The expectation that was nearest to the newest cycles.
    fn nearest(&self) -> Expected {
        let pulls = if self.round.is_some() { &PULLS[..] } else { &PULLS[..1] };
        let all = MEMORIES
            .iter()
            .flat_map(|&memory| pulls.iter().map(move |&pull| Expected { memory, pull }));
        let error = |expected: Expected| {
            let off = self.judged().flat_map(|at| self.off(expected, at));
            off.map(f64::abs).sum::<f64>()
        };
        let judged = all.map(|expected| (error(expected), expected));
        let best = judged.min_by(|a, b| a.0.total_cmp(&b.0));
        best.expect("there are expectations").1
    }

    /// How much of what the newest value was off is left a step later, by the newest cycles, and
    /// what it is off a level of `next`.
    fn fade(&self, levels: &Levels<'_>, off: &[Vec<f64>], next: f64, horizon: usize) -> (f64, f64) {
        let newest =
            |at: usize, level: f64| self.levels[at - 1] + off[at - 1][self.length - 1] - level;
        let error = |fade: f64| {
            let mut sum = 0.0;
            for at in self.judged() {
                let level = levels.fitted(at);
                let mut left = newest(at, level);
                for off in off[at].iter().take(horizon) {
                    left *= fade;
                    sum += (self.levels[at] + off - level - left).abs();
                }
            }
            sum
        };
        let best =
            FADES.map(|fade| (error(fade), fade)).into_iter().min_by(|a, b| a.0.total_cmp(&b.0));
        (best.expect("there are some").1, newest(self.levels.len(), next))
    }
}

/// The levels of cycles, and a regression of their changes.
struct Levels<'a> {
    values: &'a [f64],
    /// What the end of each cycle was off.
    ends: Vec<f64>,
    round: Option<usize>,
    /// One per predictor; none where the level is expected to stay.
    coefficients: Vec<f64>,
}

impl<'a> Levels<'a> {
    /// With the second season where there are cycles enough for it.
    fn fit(values: &'a [f64], ends: Vec<f64>, round: Option<usize>) -> Self {
        let mut levels = Self { values, ends, round, coefficients: vec![] };
        if !levels.regress() && levels.round.take().is_some() {
            levels.regress();
        }
        levels
    }

    /// The first cycle that has everything before it that predictors ask for.
    fn first(&self) -> usize {
        self.round.unwrap_or(1) + 1
    }

    /// Whether there was enough to find coefficients.
    fn regress(&mut self) -> bool {
        let rows = self.first()..self.values.len();
        let terms: Vec<Vec<f64>> =
            rows.clone().map(|at| self.terms(self.values, at, self.ends[at - 1])).collect();
        let Some(count) = terms.first().map(Vec::len) else { return false };
        if terms.len() < ROWS_PER_TERM * count {
            return false;
        }
        let changes = rows.map(|at| self.values[at] - self.values[at - 1]).collect();
        let column = |term: usize| Column::about(0.0, terms.iter().map(|row| row[term]).collect());
        let all = (0..count).map(|term| (term, column(term)));
        let (places, columns): (Vec<usize>, Vec<Column>) =
            all.filter(|(_, column)| column.varies()).unzip();
        let Some(found) = ridge(&columns, &Column::about(0.0, changes)) else { return false };
        self.coefficients = vec![0.0; count];
        for ((place, column), coefficient) in places.into_iter().zip(&columns).zip(found) {
            self.coefficients[place] = coefficient / column.deviation;
        }
        true
    }

    /// Predictors of the change to the level `at`, of `values` up to there: the newest change, how
    /// far the end of the cycle before was off, the mean change to the same place of earlier
    /// rounds, and how far the level was from here a round before.
    fn terms(&self, values: &[f64], at: usize, end: f64) -> Vec<f64> {
        let change = |at: usize| values[at] - values[at - 1];
        let mut terms = vec![change(at - 1), end];
        if let Some(round) = self.round {
            let same = (1..=ROUNDS).map_while(|back| at.checked_sub(back * round));
            let changes: Vec<f64> = same.filter(|at| *at > 0).map(change).collect();
            terms.extend([mean(&changes), values[at - round] - values[at - 1]]);
        }
        terms
    }

    fn next(&self, values: &[f64], at: usize, end: f64) -> f64 {
        if self.coefficients.is_empty() || at < self.first() {
            return values[at - 1];
        }
        let terms = self.terms(values, at, end);
        let change: f64 = terms.iter().zip(&self.coefficients).map(|(term, c)| term * c).sum();
        values[at - 1] + change
    }

    /// What the level `at` should have been.
    fn fitted(&self, at: usize) -> f64 {
        self.next(self.values, at, self.ends[at - 1])
    }

    /// The next levels, none further from those seen than they are from each other.
    fn ahead(&self, cycles: usize) -> Vec<f64> {
        let known = self.values.len();
        let (low, high) =
            self.values.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        let margin = high - low;
        let mut values = self.values.to_vec();
        for at in known..known + cycles.max(1) {
            let end = if at == known { self.ends[known - 1] } else { 0.0 };
            values.push(self.next(&values, at, end).max(low - margin).min(high + margin));
        }
        values.split_off(known)
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::dataset::Series;

    const DAY: LevelShape = LevelShape { cycle: 4, round: Some(7), transform: Transform::Log };

    fn forecast(model: LevelShape, values: Vec<f64>, horizon: usize) -> Vec<f64> {
        let series = Series::new("A", 0, values);
        model.forecast(&[series.view()], horizon).remove(0)
    }

    fn worst(forecast: &[f64], actual: impl Fn(usize) -> f64) -> f64 {
        let off = |(step, value): (usize, &f64)| (value - actual(step)).abs() / actual(step).abs();
        forecast.iter().enumerate().map(off).fold(0.0, f64::max)
    }

    #[test]
    fn level_times_shape_goes_on() {
        // Levels grow by a fiftieth a day; a value one more than a product is one on logarithms.
        let value =
            |t: usize| [30.0, 100.0, 170.0, 60.0][t % 4] * 1.02f64.powi((t / 4) as i32) - 1.0;
        // Cycles are cut from the end, wherever in a day that is.
        for len in [160, 161, 163] {
            let found = forecast(DAY, (0..len).map(value).collect(), 12);
            let worst = worst(&found, |step| value(len + step));
            assert!(worst < 0.02, "{len} {worst} {found:?}");
        }
    }

    #[test]
    fn weekends_have_levels_and_shapes_of_their_own() {
        let value = |t: usize| {
            let weekend = t / 4 % 7 >= 5;
            if weekend { [20.0, 25.0, 30.0, 40.0][t % 4] } else { [30.0, 100.0, 90.0, 50.0][t % 4] }
        };
        let found = forecast(DAY, (0..42 * 4).map(value).collect(), 28);
        assert!(worst(&found, |step| value(42 * 4 + step)) < 0.1, "{found:?}");
        let without = LevelShape { round: None, ..DAY };
        let other = forecast(without, (0..42 * 4).map(value).collect(), 28);
        assert!(worst(&other, |step| value(42 * 4 + step)) > 0.3, "{other:?}");
    }

    #[test]
    fn a_single_cycle_comes_again_and_noise_has_no_shape() {
        let model = LevelShape { transform: Transform::None, ..DAY };
        let found = forecast(model, vec![-1.0, 4.0, 7.0, 2.0], 6);
        let again = [-1.0, 4.0, 7.0, 2.0, -1.0, 4.0];
        assert!(found.iter().zip(again).all(|(f, v)| (f - v).abs() < 1e-12), "{found:?}");
        let mut rng = fastrand::Rng::with_seed(6);
        let found = forecast(model, (0..200).map(|_| rng.f64()).collect(), 8);
        let (low, high) =
            found.iter().fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(*v), h.max(*v)));
        assert!(high - low < 0.3, "{found:?}");
    }

    #[test]
    fn what_the_newest_value_was_off_fades() {
        let mut rng = fastrand::Rng::with_seed(4);
        let (mut off, mut values) = (0.0, vec![]);
        for t in 0..400 {
            off = 0.9 * off + rng.f64() - 0.5;
            values.push([5.0, -5.0, 0.0, 2.0][t % 4] + off);
        }
        let model = LevelShape { transform: Transform::None, round: None, ..DAY };
        let found = forecast(model, values, 4);
        assert!((found[0] - 5.0 - 0.9 * off).abs() < 0.7, "{off} {found:?}");
    }

    #[test]
    fn constant_short_and_wild_histories_have_a_forecast_within_reason() {
        let mut rng = fastrand::Rng::with_seed(3);
        for transform in [Transform::Log, Transform::None] {
            for (cycle, round) in [(1, None), (4, None), (4, Some(7)), (24, Some(7))] {
                let model = LevelShape { cycle, round, transform };
                for len in [model.min_history(), model.min_history() + 1, 9 * cycle, 40 * cycle] {
                    let flat = forecast(model, vec![5.0; len], 3);
                    assert!(flat.iter().all(|v| (v - 5.0).abs() < 1e-9), "{flat:?}");
                    assert_eq!(forecast(model, vec![0.0; len], 3), [0.0; 3]);
                    let wild: Vec<f64> = (0..len).map(|_| 1e6 * rng.f64().powi(9)).collect();
                    let high = wild.iter().copied().fold(f64::MIN, f64::max);
                    let found = forecast(model, wild.clone(), 60);
                    let low = if transform == Transform::Log { 0.0 } else { -high };
                    let most = if transform == Transform::Log {
                        high * high + 2.0 * high
                    } else {
                        2.0 * high
                    };
                    assert!(found.iter().all(|v| (low..=most * 1.01).contains(v)), "{found:?}");
                    assert_eq!(found, forecast(model, wild, 60));
                }
                let huge = forecast(model, vec![f64::MAX; 9 * cycle], 5);
                assert!(huge.iter().all(|v| v.is_finite()), "{huge:?}");
            }
        }
    }
}
