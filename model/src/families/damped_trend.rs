//! A damped trend whose parameters all series share: exponential smoothing of a level and of a
//! trend that fades (Gardner and McKenzie 1985), on the series without its season.
//!
//! Parameters of a single short series are hardly better than chance. Here they are those with the
//! smallest error over all series, origins and steps ahead, in each series' typical changes.

use crate::parallel;
use serde::{Deserialize, Serialize};

use crate::artifact::ArtifactError;
use crate::error::TrainError;
use crate::family::Family;
use crate::forecast::conformal::typical_change;
use crate::forecast::dataset::{Dataset, Series, View};
use crate::forecast::seasonality::Indices;
use crate::forecast::{Forecast, Forecaster};
use crate::host::Stage;
use crate::stored::{Saved, Stored};
use steppe_spec::{TrainSpec, Transform};

/// Shared parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DampedTrend {
    /// Weight of the newest value in the level.
    level: f64,
    /// Weight of the newest change of the level in the trend.
    trend: f64,
    /// What is left of a trend after a step.
    damping: f64,
    /// What a trend is before anything is seen, per step on the transformed scale.
    drift: f64,
    season: usize,
    transform: Transform,
}

/// Newest values of a series that parameters are fitted on.
const HISTORY_MAX: usize = 120;
/// Newest origins of each series whose forecasts count.
const ORIGINS_MAX: usize = 40;
/// Values of a series before its first forecast counts.
const WARM_UP: usize = 3;
/// Series that the fit rests on: evenly taken, where there are more.
const SERIES_MAX: usize = 1_000;
/// Parameters that are tried first: levels, trends, dampings, and shares of the mean change.
const LEVELS: [f64; 5] = [0.2, 0.4, 0.6, 0.8, 0.95];
const TRENDS: [f64; 5] = [0.02, 0.1, 0.2, 0.35, 0.6];
const DAMPINGS: [f64; 4] = [0.7, 0.8, 0.9, 0.96];
const DRIFTS: [f64; 3] = [0.0, 0.5, 1.0];
/// Largest damping: a trend that does not fade runs away.
const DAMPING_MAX: f64 = 0.99;
/// First step around the best parameters, and rounds in which it is halved.
const STEP: f64 = 0.1;
const ROUNDS: u32 = 5;

impl Family<Forecast> for DampedTrend {
    const QUICK: bool = true;

    fn fit(data: &Dataset, spec: &TrainSpec, _: &Stage<'_>) -> Result<Self, TrainError> {
        train(data, spec)
    }

    fn save(&self, saved: &mut Saved) {
        saved.record(self);
    }

    fn load(stored: &Stored<'_>, spec: &TrainSpec) -> Result<Self, ArtifactError> {
        let trend: Self = stored.record()?;
        trend.check(spec).map_err(ArtifactError::Defect)?;
        Ok(trend)
    }
}

impl Forecaster for DampedTrend {
    fn min_history(&self) -> usize {
        WARM_UP
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        parallel::of(views, |v| self.one(v.history(), horizon))
    }
}

/// Where a series is.
#[derive(Debug, Clone, Copy)]
struct State {
    level: f64,
    /// The trend less the drift.
    trend: f64,
}

impl DampedTrend {
    /// Checks parameters that were read against the configuration that they belong to.
    fn check(&self, spec: &TrainSpec) -> Result<(), String> {
        let (season, transform) = (spec.frequency().season(), spec.model.transform);
        if (self.season, self.transform) != (season, transform) {
            return Err("the parameters are of another configuration than the card".to_owned());
        }
        let shares = [self.level, self.trend, self.damping];
        if !shares.iter().all(|share| (0.0..=1.0).contains(share)) || !self.drift.is_finite() {
            return Err("a smoothing parameter is not within 0 and 1".to_owned());
        }
        Ok(())
    }

    fn one(&self, history: &[f64], horizon: usize) -> Vec<f64> {
        let Flat { values, season } = Flat::of(history, self.season, self.transform);
        let start = State { level: values[0], trend: 0.0 };
        let state = values[1..].iter().fold(start, |state, value| self.after(state, *value));
        let invert = |value| self.transform.invert(value);
        let restore = |(step, value): (usize, f64)| match &season {
            Season::None => invert(value),
            Season::Times(indices) => indices.restore(invert(value), step),
            Season::Plus(indices) => invert(indices.restore(value, step)),
        };
        let steps = (1..).zip(self.ahead(state, horizon));
        steps.map(restore).map(|v| self.transform.bound(v)).collect()
    }

    fn after(&self, State { level, trend }: State, value: f64) -> State {
        let (expected, trend) = (level + self.drift + self.damping * trend, self.damping * trend);
        let error = value - expected;
        State {
            level: expected + self.level * error,
            trend: trend + self.level * self.trend * error,
        }
    }

    fn ahead(&self, state: State, horizon: usize) -> impl Iterator<Item = f64> {
        let (mut level, mut trend) = (state.level, state.trend);
        let (drift, damping) = (self.drift, self.damping);
        (0..horizon).map(move |_| {
            trend *= damping;
            level += drift + trend;
            level
        })
    }

    /// Mean absolute error of the forecasts of a series' newest values, in units of `unit`.
    fn loss(&self, (values, unit): &(Vec<f64>, f64), horizon: usize) -> f64 {
        let mut state = State { level: values[0], trend: 0.0 };
        let (mut sum, mut count) = (0.0, 0.0);
        let counted = values.len().saturating_sub(ORIGINS_MAX + 1).max(WARM_UP - 1);
        for (at, value) in values.iter().enumerate().skip(1) {
            state = self.after(state, *value);
            if at >= counted {
                for (forecast, actual) in self.ahead(state, horizon).zip(&values[at + 1..]) {
                    (sum, count) = (sum + (actual - forecast).abs(), count + 1.0);
                }
            }
        }
        sum / f64::max(count, 1.0) / unit
    }
}

/// Finds the parameters with the smallest error over all series.
fn train(data: &Dataset, spec: &TrainSpec) -> Result<DampedTrend, TrainError> {
    let panel = Panel::of(data, spec);
    if panel.series.is_empty() {
        let longest = data.series().iter().max_by_key(|s| s.values.len());
        let (series, length) =
            longest.map_or((String::new(), 0), |s| (s.name.clone(), s.values.len()));
        return Err(TrainError::TooShort { series, length, needed: WARM_UP + 1 });
    }
    let (season, transform) = (spec.frequency().season(), spec.model.transform);
    let last_value =
        DampedTrend { level: 1.0, trend: 0.0, damping: 0.0, drift: 0.0, season, transform };
    let mut search = Search { best: last_value, error: panel.error(&last_value), panel: &panel };
    for (level, trend) in LEVELS.iter().flat_map(|level| TRENDS.map(|trend| (*level, trend))) {
        for damping in DAMPINGS {
            search.consider(DampedTrend { level, trend, damping, ..last_value });
        }
    }
    search.drift();
    for round in 0..ROUNDS {
        search.around(STEP / f64::from(1 << round));
    }
    search.drift();
    Ok(search.best)
}

/// What parameters are fitted on.
struct Panel {
    /// Newest values of each series, without season and transformed, and its typical change.
    series: Vec<(Vec<f64>, f64)>,
    /// Median over all series of their mean change per step.
    change: f64,
    horizon: usize,
}

impl Panel {
    fn of(data: &Dataset, spec: &TrainSpec) -> Self {
        let (season, transform) = (spec.frequency().season(), spec.model.transform);
        let usable: Vec<_> = data.series().iter().filter(|s| s.values.len() > WARM_UP).collect();
        let prepared = |series: &&Series| {
            let history = &series.values[series.values.len().saturating_sub(HISTORY_MAX)..];
            let unit = typical_change(transform, season, history);
            (Flat::of(history, season, transform).values, unit)
        };
        let every = usable.len().div_ceil(SERIES_MAX).max(1);
        let some: Vec<_> = usable.into_iter().step_by(every).collect();
        let series: Vec<(Vec<f64>, f64)> = parallel::of(&some, prepared);
        let change = |(values, _): &(Vec<f64>, f64)| {
            (values[values.len() - 1] - values[0]) / (values.len() - 1) as f64
        };
        let mut changes: Vec<f64> = series.iter().map(change).collect();
        changes.sort_by(f64::total_cmp);
        let change = changes.get(changes.len() / 2).copied().unwrap_or(0.0);
        Self { series, change, horizon: spec.task.horizon }
    }

    /// Sum over the series of their mean errors.
    fn error(&self, trend: &DampedTrend) -> f64 {
        // Summed afterwards: a sum in parallel depends on the number of cores.
        let losses = parallel::of(&self.series, |series| trend.loss(series, self.horizon));
        losses.into_iter().sum()
    }
}

/// A walk to better parameters.
struct Search<'a> {
    best: DampedTrend,
    error: f64,
    panel: &'a Panel,
}

impl Search<'_> {
    fn consider(&mut self, tried: DampedTrend) {
        let error = self.panel.error(&tried);
        if error < self.error {
            (self.best, self.error) = (tried, error);
        }
    }

    /// Tries other drifts.
    fn drift(&mut self) {
        let change = self.panel.change;
        DRIFTS.iter().for_each(|share| {
            self.consider(DampedTrend { drift: share * change, ..self.best });
        });
    }

    /// Tries every parameter a step further and a step back.
    fn around(&mut self, step: f64) {
        for by in [-step, step] {
            let moved = |own: f64| (own + by).clamp(0.0, 1.0);
            self.consider(DampedTrend { level: moved(self.best.level), ..self.best });
            self.consider(DampedTrend { trend: moved(self.best.trend), ..self.best });
            let damping = (self.best.damping + by / 2.0).clamp(0.0, DAMPING_MAX);
            self.consider(DampedTrend { damping, ..self.best });
        }
    }
}

/// A history on the transformed scale without its season.
struct Flat {
    values: Vec<f64>,
    season: Season,
}

/// What brings the season back.
enum Season {
    None,
    /// Factors, of values that are all above zero, before they are transformed.
    Times(Indices),
    /// Summands on the transformed scale: below zero a value has no logarithm.
    Plus(Indices),
}

impl Flat {
    fn of(history: &[f64], season: usize, transform: Transform) -> Self {
        if history.iter().all(|&value| value > 0.0) {
            let (flat, indices) = without_season(history, season);
            let season = indices.map_or(Season::None, Season::Times);
            return Self { values: transform.all(&flat), season };
        }
        let (values, indices) = without_season(&transform.all(history), season);
        Self { values, season: indices.map_or(Season::None, Season::Plus) }
    }
}

fn without_season(values: &[f64], season: usize) -> (Vec<f64>, Option<Indices>) {
    let indices = Indices::estimate(values, season);
    let flat = indices.as_ref().map_or_else(|| values.to_vec(), |i| i.remove(values));
    (flat, indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training_key::tests::spec;
    use steppe_spec::Frequency;

    fn panel(frequency: Frequency, value: impl Fn(usize, usize) -> f64) -> Dataset {
        let series = |s: usize| {
            Series::new(format!("s{s:02}"), 2000, (0..24).map(|t| value(s, t)).collect())
        };
        Dataset::new(frequency, (0..30).map(series).collect())
    }

    fn noise(s: usize, t: usize) -> f64 {
        ((s * 7_919 + t * 104_729) % 1_000) as f64 / 1_000.0 - 0.5
    }

    fn trained(data: &Dataset, transform: Transform) -> (DampedTrend, TrainSpec) {
        let spec = spec().with(|s| {
            s.task.set_frequency(data.frequency());
            s.model.transform = transform;
        });
        (train(data, &spec).expect("enough"), spec)
    }

    #[test]
    fn growth_that_all_share_goes_on_and_noise_is_smoothed() {
        let grown = |s: usize, t: usize| 100.0 * (s + 1) as f64 * 1.05f64.powi(t as i32);
        let data = panel(Frequency::Yearly, grown);
        let (model, spec) = trained(&data, Transform::Log);
        let steps = model.forecast(&[data.series()[3].view()], 3).remove(0);
        assert!((steps[2] / grown(3, 26) - 1.0).abs() < 0.03, "{model:?} {steps:?}");
        assert_eq!(model.check(&spec), Ok(()));
        let data = panel(Frequency::Yearly, |s, t| 10.0 * noise(s, t) - 3.0);
        let (model, _) = trained(&data, Transform::None);
        let steps = model.forecast(&[data.series()[5].view()], 2).remove(0);
        assert!(model.level < 0.35, "{model:?}");
        assert!(steps.iter().all(|v| (v + 3.0).abs() < 2.5), "{steps:?}");
    }

    #[test]
    fn the_season_comes_back() {
        let value = |s: usize, t: usize| (s + 10) as f64 * [7.0, 10.0, 12.0, 11.0][t % 4];
        let data = panel(Frequency::Quarterly, value);
        let (model, _) = trained(&data, Transform::Log);
        let steps = model.forecast(&[data.series()[0].view()], 4).remove(0);
        let near = |(at, step): (usize, &f64)| (step / value(0, at) - 1.0).abs() < 0.02;
        assert!(steps.iter().enumerate().all(near), "{steps:?}");
    }

    #[test]
    fn counts_that_are_zero_in_some_months_have_a_season_too() {
        let value = |s: usize, t: usize| [0.0, 4.0, 9.0 + (s % 3) as f64, 3.0][t % 4];
        let data = panel(Frequency::Quarterly, value);
        let (model, spec) = trained(&data, Transform::Log);
        assert_eq!(model.check(&spec), Ok(()));
        let steps = model.forecast(&[data.series()[1].view()], 4).remove(0);
        let near = |(at, step): (usize, &f64)| (step - value(1, at)).abs() < 0.5;
        assert!(steps.iter().enumerate().all(near), "{steps:?}");
    }

    #[test]
    fn constants_stay_and_what_is_too_short_is_refused() {
        let data = panel(Frequency::Yearly, |s, _| s as f64);
        let (model, spec) = trained(&data, Transform::Log);
        let steps = model.forecast(&[data.series()[0].view(), data.series()[7].view()], 2);
        assert_eq!(steps[0], [0.0, 0.0]);
        assert!(steps[1].iter().all(|v| (v - 7.0).abs() < 1e-9), "{steps:?}");
        let short = Dataset::new(data.frequency(), vec![Series::new("A", 2000, vec![1.0; 3])]);
        let error = train(&short, &spec).expect_err("too short");
        assert!(matches!(error, TrainError::TooShort { length: 3, needed: 4, .. }), "{error}");
    }

    #[test]
    fn parameters_that_cannot_be_are_refused() {
        let (model, spec) =
            trained(&panel(Frequency::Yearly, |s, t| (s + t) as f64), Transform::Log);
        for wrong in [
            DampedTrend { level: 1.5, ..model },
            DampedTrend { trend: -0.1, ..model },
            DampedTrend { damping: f64::NAN, ..model },
            DampedTrend { drift: f64::INFINITY, ..model },
            DampedTrend { season: 4, ..model },
            DampedTrend { transform: Transform::None, ..model },
        ] {
            assert!(wrong.check(&spec).is_err(), "{wrong:?}");
        }
    }
}
