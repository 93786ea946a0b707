//! A plain forecast for series that are too short for the model: the last value, moved as the other
//! series usually move from there, with the width that this rule has needed for them.
//!
//! A region that was made last year has two values. It gets what is known of the others, and an
//! interval that says how little that is; the run of the others goes on.

use serde::{Deserialize, Serialize};

use crate::forecast::calendar::phase;
use crate::forecast::conformal::{
    Asked, Calibration, Measure, Place, Residual, Spread, reach, typical_change,
};
use crate::forecast::dataset::{Dataset, Series, View};
use steppe_spec::{TrainSpec, Transform};

/// Newest starts of every series that the rule is made from.
const STARTS_MAX: usize = 20;

/// The rule for short series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fallback {
    /// Per phase of the season at the last value, per step: how far the typical series is from it,
    /// on the transformed scale. Zero where values differ in size and are not relative.
    moves: Vec<Vec<f64>>,
    /// How wrong that is.
    calibration: Calibration,
    transform: Transform,
}

impl Fallback {
    /// Learns from all series how they move; none when no series has two values.
    pub fn fit(data: &Dataset, spec: &TrainSpec) -> Option<Self> {
        let (season, horizon, transform) =
            (data.frequency().season(), spec.task.horizon, spec.model.transform);
        let mut moved: Vec<Vec<Vec<f64>>> = vec![vec![Vec::new(); horizon]; season];
        for start in starts(data, horizon) {
            let from = phase(start.period(), season);
            let steps = start.steps(horizon, transform);
            steps.for_each(|(step, change, _)| moved[from][step].push(change));
        }
        let relative = transform == Transform::Log;
        let middle = |changes: Vec<f64>| if relative { median(changes) } else { 0.0 };
        let moves =
            moved.into_iter().map(|steps| steps.into_iter().map(middle).collect()).collect();
        let unfitted = Self { moves, calibration: Calibration::default(), transform };
        let (residuals, measure) = (unfitted.residuals(data, spec), Measure::by(spec));
        residuals.clone().next()?;
        let calibration = Calibration::fit(residuals, (horizon, 1), Asked::of(spec, data), measure);
        Some(Self { calibration, ..unfitted })
    }

    /// Checks a rule that was read against the configuration that it belongs to.
    pub fn check(&self, spec: &TrainSpec) -> Result<(), String> {
        let season = spec.frequency().season();
        let whole = self.moves.len() == season
            && self.moves.iter().all(|steps| steps.len() == spec.task.horizon)
            && self.moves.iter().flatten().all(|step| step.is_finite());
        if !whole || self.transform != spec.model.transform {
            return Err("the rule for short series is of another configuration".to_owned());
        }
        self.calibration.check(spec)
    }

    /// Points and what their quantiles are made from, nearest first.
    pub fn forecast(&self, view: View<'_>, horizon: usize) -> Vec<(f64, Spread)> {
        let last = self.transform.apply(view.history()[view.len() - 1]);
        let moves = &self.moves[phase(view.last(), self.moves.len())];
        let step = |(step, change): (usize, &f64)| {
            let point = self.transform.invert(last + change);
            (point, self.calibration.spread(point, &self.place(view, step)))
        };
        moves.iter().take(horizon).enumerate().map(step).collect()
    }

    /// Nominal coverage and quantiles, as of any other forecast.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
    }

    fn place<'a>(&self, view: View<'a>, step: usize) -> Place<'a> {
        let season = self.moves.len();
        Place {
            series: &view.series().name,
            step,
            change: typical_change(self.transform, season, view.history()),
            // On a relative scale one width fits all; a short history says nothing about its own.
            spread: (self.transform == Transform::Log).then_some(1.0),
            reach: reach(self.transform, view.history()),
        }
    }

    fn residuals<'a>(
        &'a self,
        data: &'a Dataset,
        spec: &'a TrainSpec,
    ) -> impl Iterator<Item = Residual<'a>> + Clone {
        let (first, horizon) = (data.first(), spec.task.horizon);
        starts(data, horizon).flat_map(move |start| {
            let period = start.period();
            let moves = &self.moves[phase(period, self.moves.len())];
            let (nearest, origin) =
                (self.place(start.series.until(period), 0), (period - first) as usize);
            let last = self.transform.apply(start.series.values[start.place]);
            start.steps(horizon, self.transform).map(move |(step, change, actual)| Residual {
                place: Place { step, ..nearest },
                origin,
                error: change - moves[step],
                values: (self.transform.invert(last + moves[step]), actual),
            })
        })
    }
}

/// A value of a series that those after it are seen from.
#[derive(Debug, Clone, Copy)]
struct Start<'a> {
    series: &'a Series,
    place: usize,
}

impl<'a> Start<'a> {
    fn period(self) -> i64 {
        self.series.start + self.place as i64
    }

    /// Steps ahead, from 0, how far the values there are from it, transformed, and the values
    /// themselves: of those that were observed.
    fn steps(
        self,
        horizon: usize,
        transform: Transform,
    ) -> impl Iterator<Item = (usize, f64, f64)> + Clone + 'a {
        let ahead = horizon.min(self.series.values.len() - 1 - self.place);
        let from = self.series.observed(self.period()).map(|from| transform.apply(from));
        (0..ahead).filter_map(move |step| {
            let to = self.series.observed(self.period() + 1 + step as i64)?;
            Some((step, transform.apply(to) - from?, to))
        })
    }
}

/// The newest starts of every series.
fn starts(data: &Dataset, horizon: usize) -> impl Iterator<Item = Start<'_>> + Clone {
    data.series().iter().flat_map(move |series| {
        let n = series.values.len();
        (n.saturating_sub(STARTS_MAX + horizon)..n).map(move |place| Start { series, place })
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training_key::tests::spec;
    use steppe_spec::Frequency;

    /// Twenty series that grow by about 3 % a year.
    fn data(transform: Transform) -> (Dataset, TrainSpec) {
        let mut rng = fastrand::Rng::with_seed(6);
        let mut series = |s: usize| {
            let mut value = 100.0 * (s + 1) as f64;
            let values = (0..20).map(|_| {
                value *= 1.03 + 0.04 * (rng.f64() - 0.5);
                value
            });
            Series::new(format!("s{s:02}"), 2000, values.collect())
        };
        let data = Dataset::new(Frequency::Yearly, (0..20).map(&mut series).collect());
        (data, spec().with(|s| s.model.transform = transform))
    }

    #[test]
    fn a_short_series_moves_as_the_others_do_with_an_interval_that_holds_them() {
        let (data, spec) = data(Transform::Log);
        let rule = Fallback::fit(&data, &spec).expect("enough");
        assert_eq!(rule.check(&spec), Ok(()));
        let new = Series::new("new", 2018, vec![500.0, 510.0]);
        let steps = rule.forecast(new.view(), spec.task.horizon);
        let growth = steps[1].0 / 510.0;
        assert!((growth - 1.03 * 1.03).abs() < 0.01, "{growth}");
        let (low, high) = rule.calibration().interval(&steps[0].1);
        assert!(low < 518.0 && low > 490.0 && high > 533.0 && high < 560.0, "{low} to {high}");
        let one = Series::new("one", 2019, vec![0.0]);
        let (point, spread) = rule.forecast(one.view(), 1)[0];
        let (low, high) = rule.calibration().interval(&spread);
        assert!(low >= 0.0 && point < 0.1 && high.is_finite(), "{low} {point} {high}");
    }

    #[test]
    fn signed_values_keep_the_last_one_and_their_own_width() {
        let (data, spec) = data(Transform::None);
        let rule = Fallback::fit(&data, &spec).expect("enough");
        let new = Series::new("new", 2018, vec![-5.0, -6.0]);
        let (point, spread) = rule.forecast(new.view(), 1)[0];
        let (low, high) = rule.calibration().interval(&spread);
        assert!(point == -6.0 && low < -6.0 && high > -6.0, "{low} to {high}");
    }

    #[test]
    fn nothing_is_learned_from_single_values() {
        let data = Dataset::new(Frequency::Yearly, vec![Series::new("A", 2000, vec![1.0])]);
        assert_eq!(Fallback::fit(&data, &spec()), None);
    }
}
