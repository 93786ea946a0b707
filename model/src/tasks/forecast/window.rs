//! Windows and scaling: how a series becomes a model's input, and a model's output a value.
//!
//! Models that learn from all series see each window relative to its newest value and divided by
//! its own typical change, and forecast the departure from the (seasonal) naive forecast in the
//! same unit. So large and small, calm and wild series look alike, and a model that has learned
//! nothing forecasts what the naive rule does. Series without a season depart from their level: the
//! last value where values wander, a mean of the newest ones where they scatter, whichever has been
//! nearer to what came next. Nothing here reads a value after the end of the window.

use serde::{Deserialize, Serialize};

use crate::families::naive::seasonal_naive;
use crate::forecast::calendar::phase;
use crate::forecast::dataset::{Dataset, Series, View};
use crate::forecast::seasonality::is_seasonal;
use steppe_spec::{CONTEXT_MAX, Frequency, TrainSpec, Transform};

/// Mean and standard deviation of a feature.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Standard {
    mean: f64,
    deviation: f64,
}

impl Standard {
    fn fit(values: impl Iterator<Item = f64>) -> Self {
        let (mut n, mut sum, mut squares) = (0.0f64, 0.0, 0.0);
        values.for_each(|v| (n, sum, squares) = (n + 1.0, sum + v, squares + v * v));
        let mean = sum / n.max(1.0);
        let variance = (squares / n.max(1.0) - mean * mean).max(0.0);
        Self { mean, deviation: variance.sqrt().max(1e-9) }
    }

    fn is_usable(self) -> bool {
        self.mean.is_finite() && self.deviation.is_finite() && self.deviation > 0.0
    }

    fn apply(self, value: f64) -> f64 {
        ((value - self.mean) / self.deviation).clamp(-8.0, 8.0)
    }
}

/// Everything that turns windows into numbers and back, fitted on training data only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    transform: Transform,
    frequency: Frequency,
    horizon: usize,
    context: usize,
    /// Typical change against the naive forecast, over all series.
    change: f64,
    /// Typical change from one value to the next, over all series.
    step: f64,
    /// Weight of the newest value in the level that windows without a season depart from; the rest
    /// is the level before it. 1 is the last value itself.
    #[serde(default = "newest_only")]
    newest: f64,
    features: Vec<Standard>,
    statics: Vec<Standard>,
    /// Whether there are holidays that are days like others: whether the period that is forecast is
    /// one is a feature, too.
    #[serde(default, skip_serializing_if = "is_not")]
    holidays: bool,
}

fn is_not(holds: &bool) -> bool {
    !holds
}

/// Weight of the typical change over all series, in values of a window: keeps a short or quiet
/// window from being divided by almost nothing.
const POOLED_WEIGHT: f64 = 8.0;
/// Seasons at the end of a history that tell whether it has one.
const TESTED_SEASONS: usize = 4;
/// Longest season that every history of its frequency is taken to have.
const ASSUMED_SEASON_MAX: usize = 48;
/// Weights of the newest value that are tried, the plain rule first.
const NEWEST_WEIGHTS: [f64; 5] = [1.0, 0.8, 0.6, 0.45, 0.3];
/// Keeps constant series from dividing by zero.
const CHANGE_MIN: f64 = 1e-4;

/// One window, relative to its naive forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The transformed history that the window needs, newest last.
    tail: Vec<f64>,
    /// The naive forecast per step, transformed.
    base: Vec<f64>,
    /// The unit: the window's own typical change.
    pub unit: f64,
    /// The unit of changes from one value to the next.
    step_unit: f64,
}

impl Window {
    /// A transformed value `step` steps ahead (from 0) in the window's units.
    pub fn relative(&self, step: usize, value: f64) -> f64 {
        (value - self.base[step]) / self.unit
    }

    /// The transformed value that a model's answer for `step` (from 0) stands for.
    pub fn absolute(&self, step: usize, answer: f64) -> f64 {
        self.base[step] + answer * self.unit
    }
}

impl Frame {
    /// Fits scales on `data`, which must be training data only, for windows of `context`
    /// observations.
    pub fn fit(data: &Dataset, spec: &TrainSpec, context: usize) -> Self {
        let (transform, season) = (spec.model.transform, data.frequency().season());
        let mean_change = |lag: usize| {
            let (mut sum, mut n) = (0.0, 0.0);
            for series in data.series() {
                let values = transform.all(&series.values);
                let lag = if values.len() > lag { lag } else { 1 };
                values
                    .iter()
                    .zip(values.iter().skip(lag))
                    .for_each(|(a, b)| (sum, n) = (sum + (b - a).abs(), n + 1.0));
            }
            if n > 0.0 { f64::max(sum / n, CHANGE_MIN) } else { 1.0 }
        };
        let feature = |i: usize| {
            Standard::fit(
                data.series()
                    .iter()
                    .flat_map(|s| s.features[i].values.iter().take(s.values.len()).copied()),
            )
        };
        let fixed = |i: usize| Standard::fit(data.series().iter().map(|s| s.statics[i]));
        Self {
            transform,
            frequency: data.frequency(),
            horizon: spec.task.horizon,
            context,
            change: mean_change(season),
            step: mean_change(1),
            newest: if season > 1 { 1.0 } else { newest_weight(data, spec, context) },
            features: (0..spec.task.features.len()).map(feature).collect(),
            statics: (0..spec.task.static_features.len()).map(fixed).collect(),
            holidays: spec.task.has_holidays(),
        }
    }

    /// Checks a frame that was read against the configuration that it belongs to.
    pub fn check(&self, spec: &TrainSpec) -> Result<(), String> {
        let same = (self.transform, self.frequency, self.horizon, self.holidays)
            == (
                spec.model.transform,
                spec.frequency(),
                spec.task.horizon,
                spec.task.has_holidays(),
            );
        if !same {
            return Err("the frame is of another configuration than the card".to_owned());
        }
        if !(1..=CONTEXT_MAX).contains(&self.context) {
            return Err(format!(
                "the frame's windows have {} observations; expected 1 to {CONTEXT_MAX}",
                self.context
            ));
        }
        let (features, statics) = (spec.task.features.len(), spec.task.static_features.len());
        for (what, scales, wanted) in
            [("features", &self.features, features), ("static features", &self.statics, statics)]
        {
            if scales.len() != wanted || !scales.iter().all(|s| s.is_usable()) {
                return Err(format!("the frame's scales do not fit the {wanted} {what}"));
            }
        }
        if !(self.newest > 0.0 && self.newest <= 1.0) {
            return Err("the weight of the newest value is no share".to_owned());
        }
        let positive = |v: f64| v.is_finite() && v > 0.0;
        if !positive(self.change) || !positive(self.step) {
            return Err("the frame's typical changes are not positive".to_owned());
        }
        Ok(())
    }

    /// Observations that a window needs.
    pub fn min_history(&self) -> usize {
        (self.context + 1).max(self.frequency.season())
    }

    /// Steps ahead.
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Observations in a window.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The scale on which models work.
    pub fn transform(&self) -> Transform {
        self.transform
    }

    /// The window at the end of `view`, which has at least [`Frame::min_history`] values.
    pub fn window(&self, view: View<'_>) -> Window {
        let season = self.frequency.season();
        let needed = self.context + 1 + season;
        let history = view.history();
        let newest = |count: usize| &history[history.len().saturating_sub(count)..];
        let tail = self.transform.all(newest(needed));
        let base_season = if self.has_season(newest(TESTED_SEASONS * season)) { season } else { 1 };
        let lag = if tail.len() > base_season { base_season } else { 1 };
        let changes = tail.len() - lag;
        let sum: f64 = tail.iter().zip(&tail[lag..]).map(|(a, b)| (b - a).abs()).sum();
        let pooled = if base_season > 1 { self.change } else { self.step };
        let unit = (sum + POOLED_WEIGHT * pooled) / (changes as f64 + POOLED_WEIGHT);
        let unit = unit.max(CHANGE_MIN);
        // Changes within a season are larger than those against the season before.
        let step_unit = unit * (self.step / pooled).max(1.0);
        let base = match base_season {
            1 => vec![level(&tail, self.newest); self.horizon],
            season => seasonal_naive(&tail, season, self.horizon),
        };
        Window { tail, base, unit, step_unit }
    }

    /// Whether a window departs from the season before, or from its last value. A day or a year of
    /// months is taken for granted; a year of weeks must show.
    fn has_season(&self, newest: &[f64]) -> bool {
        let season = self.frequency.season();
        if season <= ASSUMED_SEASON_MAX {
            return season > 1;
        }
        is_seasonal(&self.transform.all(newest), season)
    }

    /// Features per observation of a network's input.
    pub fn features(&self) -> usize {
        2 + 2 * self.frequency.seasons().len()
            + self.features.len()
            + self.statics.len()
            + usize::from(self.holidays)
    }

    /// Appends the network's input, `context × features`: change, level relative to the newest
    /// value, the place in each season as sine and cosine, features, static features,
    /// holidays.
    ///
    /// Holidays and features that are known ahead come `horizon` periods early, so that the newest observations
    /// carry those of the periods that are forecast; past ones come with their own observation.
    pub fn sequence(&self, view: View<'_>, window: &Window, into: &mut Vec<f32>) {
        let tail = &window.tail[window.tail.len() - self.context - 1..];
        let newest = tail[self.context];
        let step_unit = window.step_unit;
        let first = view.len() - self.context;
        for (i, pair) in tail.windows(2).enumerate() {
            into.push(((pair[1] - pair[0]) / step_unit).clamp(-8.0, 8.0) as f32);
            into.push(((pair[1] - newest) / step_unit / 4.0).clamp(-8.0, 8.0) as f32);
            let period = view.series().start + (first + i) as i64;
            let a_season_ago = |season: usize, into: &Vec<f32>| {
                let place = into.len() - season * self.features();
                [into[place], into[place + 1]]
            };
            for &season in self.frequency.seasons() {
                if i >= season {
                    into.extend(a_season_ago(season, into));
                    continue;
                }
                let angle = std::f64::consts::TAU * phase(period, season) as f64 / season as f64;
                into.extend([angle.sin() as f32, angle.cos() as f32]);
            }
            let features = view.features(first + i, self.horizon);
            into.extend(features.zip(&self.features).map(|(v, s)| s.apply(v) as f32));
            into.extend(
                view.series().statics.iter().zip(&self.statics).map(|(v, s)| s.apply(*v) as f32),
            );
            let ahead = period + self.horizon as i64;
            into.extend(self.holidays_in(view, ahead).map(|holidays| holidays as f32));
        }
    }

    /// Columns of [`Frame::row`].
    pub fn columns(&self) -> usize {
        1 + NEWEST
            + self.frequency.seasons().len() * (SEASONS_BACK + 3)
            + self.features.len()
            + self.statics.len()
            + usize::from(self.holidays)
            + self.means().len()
    }

    /// Over how many of the newest values means are taken: of days with trade, whose places have no
    /// season that would do it.
    fn means(&self) -> &'static [usize] {
        if self.frequency == Frequency::ObservedDays { &[5, 10, 20] } else { &[] }
    }

    /// How many holidays the period has, where that is a feature.
    fn holidays_in(&self, view: View<'_>, period: i64) -> Option<f64> {
        self.holidays.then(|| view.calendar().days(period).holidays)
    }

    /// Appends the features of one step ahead (from 0) for models of single rows: the step, the
    /// newest values, the same phase of earlier seasons, level and slope over each season, the
    /// phase, the features of the period that is forecast, or the newest value of past ones, static
    /// features, its holidays, means of the newest values. What a short history lacks is `NaN`.
    pub fn row(
        &self,
        view: View<'_>,
        window: &Window,
        history: &[f64],
        step: usize,
        into: &mut Vec<f64>,
    ) {
        let relative = |value: f64| window.relative(step, value);
        let n = history.len();
        into.push(step as f64);
        into.extend(
            (1..=NEWEST).map(|back| n.checked_sub(back).map_or(f64::NAN, |i| relative(history[i]))),
        );
        let period = view.last() + 1 + step as i64;
        for &season in self.frequency.seasons() {
            let passed = step / season + 1; // Seasons from the target back to the first known value.
            into.extend((0..SEASONS_BACK).map(|k| {
                let index = (n + step).checked_sub((passed + k) * season);
                index.map_or(f64::NAN, |i| relative(history[i]))
            }));
            let mean = |back: usize| {
                let to = n.checked_sub(back * season)?;
                let from = to.checked_sub(season)?;
                Some(history[from..to].iter().sum::<f64>() / season as f64)
            };
            into.push(mean(0).map_or(f64::NAN, relative));
            into.push(
                mean(0).zip(mean(1)).map_or(f64::NAN, |(now, before)| (now - before) / window.unit),
            );
            into.push(phase(period, season) as f64);
        }
        let features = view.features(n - 1, step + 1);
        into.extend(features.zip(&self.features).map(|(v, s)| s.apply(v)));
        into.extend(view.series().statics.iter().zip(&self.statics).map(|(v, s)| s.apply(*v)));
        into.extend(self.holidays_in(view, period));
        into.extend(self.means().iter().map(|&count| {
            let newest = n.checked_sub(count).map(|from| &history[from..]);
            newest.map_or(f64::NAN, |newest| relative(newest.iter().sum::<f64>() / count as f64))
        }));
    }
}

fn newest_only() -> f64 {
    1.0
}

/// Where a window is: its values weighed less and less backwards.
fn level(window: &[f64], newest: f64) -> f64 {
    let first = window.first().copied().unwrap_or(0.0);
    window.iter().fold(first, |level, value| level + newest * (value - level))
}

/// The weight of the newest value whose levels have been nearest to what came next, over all
/// windows of the training data.
fn newest_weight(data: &Dataset, spec: &TrainSpec, context: usize) -> f64 {
    let error = |newest: f64| -> f64 {
        let of_series = |series: &Series| {
            let values = spec.model.transform.all(&series.values);
            let from = |end: usize| {
                let level = level(&values[end.saturating_sub(context + 1)..end], newest);
                let next = values[end..].iter().take(spec.task.horizon);
                next.map(|value| (value - level).abs()).sum::<f64>()
            };
            (context + 1..values.len()).map(from).sum::<f64>()
        };
        data.series().iter().map(of_series).sum()
    };
    let errors = NEWEST_WEIGHTS.map(|newest| (newest, error(newest)));
    let best = errors.into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
    best.map_or(1.0, |(newest, _)| newest)
}

/// Newest values in a row.
pub const NEWEST: usize = 5;
/// Earlier seasons in a row.
const SEASONS_BACK: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training_key::tests::spec;

    fn frame(values: &[f64], frequency: Frequency) -> (Frame, Series) {
        let series = Series::new("A", 2000, values.to_vec());
        let spec = spec().with(|s| {
            s.task.set_frequency(frequency);
            s.task.horizon = 2;
        });
        (
            Frame::fit(
                &Dataset::new(frequency, vec![series.clone()]),
                &spec,
                spec.model.lstm.context,
            ),
            series,
        )
    }

    #[test]
    fn no_feature_reads_a_value_after_the_window() {
        let values: Vec<f64> =
            (0..40).map(|i| 100.0 + f64::from(i % 12) * 5.0 + f64::from(i)).collect();
        let (frame, series) = frame(&values, Frequency::Monthly);
        let mut changed = series.clone();
        changed.values[30..].iter_mut().for_each(|v| *v *= 9.0);
        let features = |series: &Series| {
            let view = series.until(series.start + 29);
            let window = frame.window(view);
            let (mut sequence, mut row) = (Vec::new(), Vec::new());
            frame.sequence(view, &window, &mut sequence);
            let history = frame.transform.all(view.history());
            (0..2).for_each(|step| frame.row(view, &window, &history, step, &mut row));
            assert_eq!(
                (sequence.len(), row.len()),
                (frame.context * frame.features(), 2 * frame.columns())
            );
            (sequence, row.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), window)
        };
        assert_eq!(features(&series), features(&changed));
    }

    #[test]
    fn a_window_departs_from_the_season_only_where_there_is_one() {
        let mut rng = fastrand::Rng::with_seed(2);
        let mut noise = || rng.f64();
        let wandering: Vec<f64> = (0..208).map(|i| 100.0 + f64::from(i) + noise()).collect();
        let turning: Vec<f64> =
            (0..208).map(|i| 100.0 + 3.0 * f64::from(i % 52) + noise()).collect();
        let naive = |values: &[f64], frequency| {
            let (frame, series) = frame(values, frequency);
            frame.transform.invert(frame.window(series.view()).absolute(0, 0.0))
        };
        assert!((naive(&wandering, Frequency::Weekly) - wandering[207]).abs() < 1e-6);
        assert!((naive(&turning, Frequency::Weekly) - turning[156]).abs() < 1e-6);
        assert!((naive(&wandering[..100], Frequency::Weekly) - wandering[99]).abs() < 1e-6);
        assert!((naive(&wandering, Frequency::Monthly) - wandering[196]).abs() < 1e-6);
    }

    #[test]
    fn windows_depart_from_the_last_value_where_values_wander_and_from_a_mean_where_they_scatter() {
        let mut rng = fastrand::Rng::with_seed(7);
        let scattered: Vec<f64> = (0..60).map(|_| 100.0 + 20.0 * rng.f64()).collect();
        let mut wandering = vec![1_000.0];
        (0..60).for_each(|at| wandering.push(wandering[at] + 20.0 * rng.f64() - 10.0));
        let base = |values: &[f64]| {
            let (frame, series) = frame(values, Frequency::Yearly);
            frame.transform.invert(frame.window(series.view()).absolute(1, 0.0))
        };
        assert!((base(&wandering) - wandering[60]).abs() < 1e-9);
        let mean = scattered[55..].iter().sum::<f64>() / 5.0;
        assert!((base(&scattered) - mean).abs() < 4.0, "{} {mean}", base(&scattered));
    }

    #[test]
    fn scaling_and_back_is_the_identity_and_zero_is_the_naive_forecast() {
        let (frame, series) = frame(&[10.0, 12.0, 9.0, 11.0, 12.0, 15.0], Frequency::Yearly);
        let window = frame.window(series.view());
        let back = window.absolute(1, window.relative(1, 2.5));
        assert!((back - 2.5).abs() < 1e-12);
        assert!((frame.transform.invert(window.absolute(0, 0.0)) - 15.0).abs() < 1e-9);
    }
}
