//! A linear model per series and step ahead: what a value departs from that of a season before, by
//! ridge regression on earlier values, the days of its period, holidays and features.
//!
//! Every step has a regression of its own, so nothing that was forecast is a predictor. Of the
//! target there are the newest values known at the origin and those of up to four seasons; of the
//! days, the weekday (of a month, how many there are of each), the place in the year where a whole
//! one was seen, and holidays of the period and of the one that it departs from. A feature that is
//! known ahead enters with its values of the predicted period and the two before, so that heat or
//! price may work late, and with those beside the values that the forecast rests on, so that their
//! change counts; a past one with the newest three known at the origin and that of the season
//! before. The ridge penalty is the one with the least generalised cross-validation (Golub, Heath
//! and Wahba 1979) on the history alone.
//!
//! One pass over the rows makes the Gram matrix of a step, and each penalty is a decomposition of
//! it: with 33 predictors and two years of days a step takes a third of a millisecond, so 5,000
//! series at 112 origins take some three minutes of one core per step ahead.

use std::f64::consts::TAU;

use crate::parallel;

use crate::forecast::calendar::Days;
use crate::forecast::dataset::View;
use crate::forecast::{Forecaster, Local};
use crate::least_squares::{Column, ridge};
use steppe_spec::{Frequency, TrainSpec, Transform};

/// Newest values of the target, and of a past feature.
const NEWEST: usize = 3;
/// Earlier seasons, at most.
const SEASONS_BACK: usize = 4;
/// Rows that each predictor needs; with fewer, earlier seasons are left out.
const ROWS_PER_TERM: usize = 2;
/// Older values hardly matter; a history of years of hours is cut.
const HISTORY_MAX: usize = 2_000;

/// Coefficients are fitted per series when it is forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    frequency: Frequency,
    transform: Transform,
    /// Per feature whether it is known ahead.
    ahead: Vec<bool>,
    holidays: bool,
    needed: usize,
}

/// A predictor. Lags count back from the predicted period.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Term {
    /// The value that the forecast departs from.
    Base,
    /// Another value, less that one.
    Lag(usize),
    /// How many days there are of a weekday.
    Weekday(usize),
    /// How many holidays there are in the period so far before.
    Holidays(usize),
    /// The place in the year, as sine or cosine.
    Year { quarter: f64 },
    /// A feature of the period so far before.
    Feature { number: usize, lag: usize },
}

/// The regression of one step.
struct Regression {
    /// How far before the predicted period the value lies that the forecast departs from.
    base: usize,
    terms: Vec<Term>,
}

impl Regression {
    /// The furthest that a predictor reaches back.
    fn reach(&self) -> usize {
        let lag = |term: &Term| match *term {
            Term::Lag(lag) | Term::Holidays(lag) | Term::Feature { lag, .. } => lag,
            Term::Base | Term::Weekday(_) | Term::Year { .. } => 0,
        };
        self.terms.iter().map(lag).fold(self.base, usize::max)
    }

    /// Values that a history needs to have enough rows.
    fn needed(&self) -> usize {
        self.reach() + ROWS_PER_TERM * self.terms.len()
    }
}

impl Local for Linear {
    fn new(spec: &TrainSpec) -> Self {
        let mut new = Self {
            frequency: spec.frequency(),
            transform: spec.model.transform,
            ahead: spec.task.features.iter().map(|feature| feature.known.ahead()).collect(),
            holidays: spec.task.has_holidays(),
            needed: 0,
        };
        let shortest = &new.frequency.seasons()[..new.frequency.seasons().len().min(1)];
        let needed = |step| new.regression(step, shortest, 1, false).needed();
        new.needed = (1..=spec.task.horizon).map(needed).max().unwrap_or(1);
        new
    }
}

impl Forecaster for Linear {
    fn min_history(&self) -> usize {
        self.needed
    }

    fn forecast(&self, views: &[View<'_>], horizon: usize) -> Vec<Vec<f64>> {
        parallel::of(views, |view| self.one(*view, horizon))
    }
}

impl Linear {
    fn one(&self, view: View<'_>, horizon: usize) -> Vec<f64> {
        let past = Past::of(view, self, horizon);
        let (low, high) =
            past.values.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        // No forecast leaves the range seen by more than its width.
        let margin = high - low;
        let forecast = |step: usize| {
            let regression = self.richest(step, &past);
            let forecast = past.forecast(&regression, step);
            self.transform.invert(forecast.clamp(low - margin, high + margin))
        };
        (1..=horizon).map(forecast).collect()
    }

    /// The regression with the longest seasons, and the most of them, that the history is long
    /// enough for.
    fn richest(&self, step: usize, past: &Past<'_>) -> Regression {
        let seasons = self.frequency.seasons();
        for lengths in (1..=seasons.len().max(1)).rev() {
            for back in (1..=SEASONS_BACK).rev() {
                let seasons = &seasons[..lengths.min(seasons.len())];
                let regression = self.regression(step, seasons, back, past.has_year());
                if regression.needed() <= past.values.len() || (lengths, back) == (1, 1) {
                    return regression;
                }
            }
        }
        self.regression(step, &[], 1, false)
    }

    /// The regression of the step `ahead`, with `back` earlier values of each of the `seasons`.
    fn regression(&self, ahead: usize, seasons: &[usize], back: usize, year: bool) -> Regression {
        let base = seasons.last().map_or(ahead, |season| ahead.next_multiple_of(*season));
        let of_season = |season: &usize| {
            let (nearest, season) = (ahead.next_multiple_of(*season), *season);
            (0..back).map(move |number| nearest + number * season)
        };
        let newest = (0..NEWEST).map(|number| ahead + number);
        let lags = distinct(newest.chain(seasons.iter().flat_map(of_season)));
        let mut terms = vec![Term::Base];
        terms.extend(lags.into_iter().filter(|lag| *lag != base).map(Term::Lag));
        if self.has_weekdays() {
            terms.extend((0..7).map(Term::Weekday));
        }
        if self.holidays {
            terms.extend([Term::Holidays(0), Term::Holidays(base)]);
        }
        if year {
            terms.extend([0.0, 0.25].map(|quarter| Term::Year { quarter }));
        }
        for (number, known) in self.ahead.iter().enumerate() {
            let lags = match known {
                true => distinct([0, 1, 2, ahead, ahead + 1, base].into_iter()),
                false => distinct((0..NEWEST).map(|newest| ahead + newest).chain([base])),
            };
            terms.extend(lags.into_iter().map(|lag| Term::Feature { number, lag }));
        }
        Regression { base, terms }
    }

    /// Whether periods differ in the weekdays that they consist of, by enough to tell.
    fn has_weekdays(&self) -> bool {
        !matches!(self.frequency, Frequency::Yearly | Frequency::Quarterly | Frequency::Weekly)
    }
}

fn distinct(lags: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut lags: Vec<usize> = lags.collect();
    lags.sort_unstable();
    lags.dedup();
    lags
}

/// A history on the model's scale, and the days of its periods and of those that are forecast.
struct Past<'a> {
    view: View<'a>,
    /// Place of the first value in the series.
    first: usize,
    values: Vec<f64>,
    days: Vec<Days>,
}

impl<'a> Past<'a> {
    fn of(view: View<'a>, model: &Linear, horizon: usize) -> Self {
        let first = view.len().saturating_sub(HISTORY_MAX.max(model.needed));
        let start = view.series().start + first as i64;
        let days = start..=view.last() + horizon as i64;
        Self {
            view,
            first,
            values: model.transform.all(&view.history()[first..]),
            days: days.map(|period| view.calendar().days(period)).collect(),
        }
    }

    /// Whether a year was seen from end to end, by periods that are shorter than its quarters.
    fn has_year(&self) -> bool {
        let frequency = self.view.calendar().frequency();
        let slow = [Frequency::Yearly, Frequency::Quarterly, Frequency::Monthly, Frequency::Weekly];
        let newest = self.days[self.values.len() - 1].of_year;
        !slow.contains(&frequency) && newest - self.days[0].of_year >= 1.0
    }

    /// The predictor for the period at place `at`.
    fn value(&self, term: Term, base: usize, at: usize) -> f64 {
        match term {
            Term::Base => self.values[at - base],
            Term::Lag(lag) => self.values[at - lag] - self.values[at - base],
            Term::Weekday(day) => self.days[at].weekdays[day],
            Term::Holidays(lag) => self.days[at - lag].holidays,
            Term::Year { quarter } => (TAU * (self.days[at].of_year + quarter)).sin(),
            Term::Feature { number, lag } => self.view.feature(number, self.first + at - lag),
        }
    }

    /// The value `step` periods after the last one.
    fn forecast(&self, regression: &Regression, step: usize) -> f64 {
        let Regression { base, terms } = regression;
        let (start, at) = (regression.reach(), self.values.len() - 1 + step);
        let departed = self.values[at - base];
        let target = Column::of(
            (start..self.values.len()).map(|at| self.values[at] - self.values[at - base]),
        );
        let columns = terms.iter().map(|term| {
            let rows = (start..self.values.len()).map(|at| self.value(*term, *base, at));
            (self.value(*term, *base, at), Column::of(rows))
        });
        let (asked, columns): (Vec<f64>, Vec<Column>) =
            columns.filter(|(_, column)| column.varies()).unzip();
        let Some(coefficients) = ridge(&columns, &target) else { return departed + target.mean };
        let parts = columns.iter().zip(asked).zip(coefficients);
        let change: f64 =
            parts.map(|((column, asked), c)| c * (asked - column.mean) / column.deviation).sum();
        let forecast = departed + target.mean + change;
        if forecast.is_finite() { forecast } else { departed }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use steppe_spec::{Family, Feature, Holidays, Known};

    use super::*;
    use crate::forecast::Forecast;
    use crate::forecast::calendar::Calendar;
    use crate::forecast::dataset::{Dataset, FeatureValues, Series};
    use crate::leaks;
    use crate::training_key::tests::spec;

    fn spec_of(frequency: Frequency, horizon: usize, known: Option<Known>) -> TrainSpec {
        spec().with(|s| {
            s.task.set_frequency(frequency);
            s.task.horizon = horizon;
            s.task.features = known.map(|known| Feature::new("heat", known)).into_iter().collect();
            s.model.transform = Transform::None;
        })
    }

    /// Days with a week, a feature that works at once and a day later, and quiet holidays.
    fn days(len: usize, known: Known) -> (Dataset, Vec<f64>) {
        let mut rng = fastrand::Rng::with_seed(8);
        let heat: Vec<f64> = (0..len + 7).map(|_| 10.0 * rng.f64()).collect();
        let first = Calendar::of(Frequency::Daily).parse("2021-03-01").expect("a day");
        let holidays: Vec<_> = (1..=40).map(|week| first + week * 9).collect();
        let value = |at: usize| {
            let week = [0.0, 1.0, 2.0, 1.0, 3.0, -8.0, -9.0][at % 7];
            let before = heat[at.saturating_sub(1)];
            let quiet = if holidays.contains(&(first + at as i64)) { -6.0 } else { 0.0 };
            100.0 + week + 2.0 * heat[at] + before + quiet
        };
        let values: Vec<f64> = (0..len + 7).map(value).collect();
        let seen = if known.ahead() { heat } else { heat[..len].to_vec() };
        let series = Series {
            features: vec![FeatureValues::new(known, seen)],
            ..Series::new("A", first, values[..len].to_vec())
        };
        let plain = Calendar::of(Frequency::Daily);
        let dates: Vec<_> = holidays.iter().map(|day| plain.day(*day)).collect();
        let data = Dataset::new(Frequency::Daily, vec![series]).with_holidays(&dates);
        (data, values[len..].to_vec())
    }

    #[test]
    fn weekdays_holidays_and_features_of_the_predicted_days_are_learned() {
        let forecast = |known| {
            let (data, actual) = days(300, known);
            let spec = spec_of(Frequency::Daily, 7, Some(known))
                .with(|s| s.task.holidays = Holidays::Dates(vec![date(2021, 3, 10)]));
            let forecast = Linear::new(&spec).forecast(&[data.series()[0].view()], 7).remove(0);
            let errors = forecast.iter().zip(&actual).map(|(f, a)| (f - a).abs());
            errors.fold(0.0, f64::max)
        };
        assert!(forecast(Known::Forecast) < 0.5, "{}", forecast(Known::Forecast));
        let past = forecast(Known::Past);
        assert!(past > 2.0 && past < 30.0, "tomorrow's heat is chance: {past}");
    }

    #[test]
    fn months_know_how_many_of_each_weekday_they_have() {
        let calendar = Calendar::of(Frequency::Monthly);
        let value = |period: i64| {
            let days = calendar.days(period).weekdays;
            1_000.0 + 40.0 * days[5] + 10.0 * days[0] + f64::from((period % 12) as i32)
        };
        let first = calendar.parse("2015-01").expect("a month");
        let series = Series::new("A", first, (first..first + 96).map(value).collect());
        let data = Dataset::new(Frequency::Monthly, vec![series]);
        let model = Linear::new(&spec_of(Frequency::Monthly, 6, None));
        let forecast = model.forecast(&[data.series()[0].view()], 6).remove(0);
        for (step, forecast) in (0..).zip(forecast) {
            let actual = value(first + 96 + step);
            assert!((forecast - actual).abs() < 4.0, "step {step}: {forecast}, {actual}");
        }
    }

    #[test]
    fn nothing_after_the_origin_is_read() {
        for known in [Known::Past, Known::Forecast, Known::Always] {
            let (data, _) = days(120, known);
            let spec = spec_of(Frequency::Daily, 3, Some(known));
            leaks::check::<Forecast>(&data, &spec, &[Family::Linear]).expect("no leak");
        }
    }

    #[test]
    fn the_shortest_constant_and_wild_histories_have_a_forecast_within_reason() {
        for frequency in Frequency::ALL {
            let model = Linear::new(&spec_of(frequency, 3, None));
            let mut rng = fastrand::Rng::with_seed(3);
            let mut wild = || -> Vec<f64> {
                (0..model.min_history()).map(|_| 1e6 * rng.f64().powi(9)).collect()
            };
            let all = [vec![5.0; model.min_history()], wild()];
            for values in all {
                let high = values.iter().copied().fold(f64::MIN, f64::max);
                let series = Series::new("A", 300, values);
                let moments = (1..=400)
                    .map(|day| (date(2020, 1, 1) + jiff::Span::new().days(day)).at(0, 0, 0, 0));
                let calendar = Calendar::observed(frequency, moments, &[]);
                let data = Dataset::of(calendar, vec![series]);
                let forecast = model.forecast(&[data.series()[0].view()], 3).remove(0);
                assert!(forecast.iter().all(|v| v.abs() <= 2.0 * high), "{forecast:?} {high}");
            }
        }
    }
}
