//! The clean table as series: one value per period, nothing that is not a number.
//!
//! A period without a value is filled by the value before it, never by one after it: a history that
//! ends inside of a gap must not contain the future. Filled values are marked, and no forecast is
//! judged by them. A wrong value, or two values for one period, is an error.

mod features;
mod gaps;
mod notes;
mod records;

use std::sync::Arc;

use jiff::civil::Date;
use sha2::{Digest, Sha256};
use steppe_spec::{Frequency, Gaps, Known};
use thiserror::Error;

use crate::forecast::calendar::Calendar;
use crate::rows::RowsError;
use crate::task::Data;

pub use gaps::{Fill, carried};
pub use notes::{Note, lines};
pub use records::{Record, days_of};

/// Why a table is not a set of series.
#[derive(Debug, Error)]
pub enum DataError {
    /// The bytes are not Parquet.
    #[error("the data set is not readable Parquet")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// A column is missing or has another type.
    #[error("column `{column}` {problem}; the data set has: {available}")]
    Column {
        /// The column.
        column: String,
        /// What is wrong with it.
        problem: &'static str,
        /// The columns there are.
        available: String,
    },
    /// No rows at all.
    #[error("the data set is empty")]
    Empty,
    /// Rows that cannot be learnt from or asked about.
    #[error(transparent)]
    Rows(#[from] RowsError),
    /// A time that no period has.
    #[error(
        "series `{series}` has the time `{time}`; expected {expected}, for example `{example}`"
    )]
    Time {
        /// The series.
        series: String,
        /// The text.
        time: String,
        /// What a time has to be.
        expected: String,
        /// A time as it should be.
        example: String,
    },
    /// Two values for one period.
    #[error("series `{series}` has two values for {period}")]
    Duplicate {
        /// The series.
        series: String,
        /// The period.
        period: String,
    },
    /// Periods without values, where they are to be an error.
    #[error(
        "series `{series}` has no value for {missing} periods from {period} on; at most {fill} are \
         filled, and `longer = \"fail\"` refuses more"
    )]
    Gap {
        /// The series.
        series: String,
        /// The first missing period.
        period: String,
        /// How many are missing.
        missing: usize,
        /// How many would be filled.
        fill: usize,
    },
    /// Negative, infinite or not a number.
    #[error("series `{series}` has the value {value} for {period}; expected a finite number{sign}")]
    Value {
        /// The series.
        series: String,
        /// The period.
        period: String,
        /// The value.
        value: f64,
        /// Whether it must not be negative either.
        sign: &'static str,
    },
    /// A feature without a value where one is needed.
    #[error("series `{series}` has no value of the feature `{feature}` for {period}{why}")]
    Feature {
        /// The series.
        series: String,
        /// The feature.
        feature: String,
        /// The period.
        period: String,
        /// Why it is needed; nothing inside of the history.
        why: &'static str,
        /// What to do about it.
        hint: Option<&'static str>,
    },
}

impl DataError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Feature { hint, .. } => *hint,
            Self::Rows(error) => error.hint(),
            _ => None,
        }
    }
}

/// A feature of one series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeatureValues {
    /// When its values are known.
    pub known: Known,
    /// One value per period from the series' start on: of a past feature as many as the target
    /// has, of others beyond, as far as the data go.
    pub values: Vec<f64>,
}

impl FeatureValues {
    /// Values from the series' start on that are known as `known` says.
    pub fn new(known: Known, values: Vec<f64>) -> Self {
        Self { known, values }
    }
}

/// One series of observations, one per period.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Period of the first value.
    pub start: i64,
    /// One value per period.
    pub values: Vec<f64>,
    /// The features, in the order of the task.
    pub features: Vec<FeatureValues>,
    /// Static features, the same for every period.
    pub statics: Vec<f64>,
    /// Places of values that were missing and filled, ascending.
    pub filled: Vec<usize>,
    /// What its periods are: years, unless its data set or whoever made it says otherwise.
    pub calendar: Arc<Calendar>,
}

impl Series {
    /// A series of values only.
    pub fn new(name: impl Into<String>, start: i64, values: Vec<f64>) -> Self {
        Self { name: name.into(), start, values, ..Self::default() }
    }

    /// Period of the last value.
    pub fn last(&self) -> i64 {
        self.start + self.values.len() as i64 - 1
    }

    /// The value that was observed in `period`; none for one that was filled.
    pub fn observed(&self, period: i64) -> Option<f64> {
        let place = usize::try_from(period - self.start).ok()?;
        let value = self.values.get(place)?;
        self.filled.binary_search(&place).is_err().then_some(*value)
    }

    /// Periods and values that were observed.
    pub fn observations(&self) -> impl Iterator<Item = (i64, f64)> {
        let filled = |place: &usize| self.filled.binary_search(place).is_ok();
        let places = (0..self.values.len()).filter(move |place| !filled(place));
        places.map(|place| (self.start + place as i64, self.values[place]))
    }

    /// The series as it was known at the end of `period`.
    pub fn until(&self, period: i64) -> View<'_> {
        let known = (period - self.start + 1).clamp(0, self.values.len() as i64);
        View { series: self, known: known as usize }
    }

    /// The whole series.
    pub fn view(&self) -> View<'_> {
        View { series: self, known: self.values.len() }
    }
}

/// A series as it was known at some time: forecasts see nothing of the target after it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    series: &'a Series,
    known: usize,
}

impl<'a> View<'a> {
    /// The series, for its name and static features.
    pub fn series(self) -> &'a Series {
        self.series
    }

    /// The values known, oldest first.
    pub fn history(self) -> &'a [f64] {
        &self.series.values[..self.known]
    }

    /// What its periods are.
    pub fn calendar(self) -> &'a Calendar {
        &self.series.calendar
    }

    /// Number of values known.
    pub fn len(self) -> usize {
        self.known
    }

    /// Whether nothing is known.
    pub fn is_empty(self) -> bool {
        self.known == 0
    }

    /// Period of the last known value.
    pub fn last(self) -> i64 {
        self.series.start + self.known as i64 - 1
    }

    /// The value that a feature has for the period `place` places after the first, or the newest
    /// one before it that is known: past features are known as far as the history.
    pub fn feature(self, number: usize, place: usize) -> f64 {
        let FeatureValues { known, values } = &self.series.features[number];
        let known = if known.ahead() { values.len() } else { values.len().min(self.known) };
        known.checked_sub(1).map_or(0.0, |newest| values[place.min(newest)])
    }

    /// What features say at `place` about the period that is `ahead` periods later: those that are
    /// known before have its value, past ones that of `place` itself.
    pub fn features(self, place: usize, ahead: usize) -> impl Iterator<Item = f64> {
        let features = self.series.features.iter().enumerate();
        features.map(move |(number, feature)| {
            self.feature(number, if feature.known.ahead() { place + ahead } else { place })
        })
    }
}

/// All series of a data set, ordered by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dataset {
    calendar: Arc<Calendar>,
    gaps: Gaps,
    series: Vec<Series>,
    /// What people should know about the data.
    notes: Vec<Note>,
}

impl Dataset {
    /// A data set of finished series.
    pub fn new(frequency: Frequency, series: Vec<Series>) -> Self {
        Self::of(Calendar::of(frequency), series)
    }

    /// A data set of finished series, with the calendar in which their periods count.
    pub fn of(calendar: Calendar, mut series: Vec<Series>) -> Self {
        let calendar = Arc::new(calendar);
        series.sort_by(|a, b| a.name.cmp(&b.name));
        series.iter_mut().for_each(|series| series.calendar = calendar.clone());
        Self { calendar, series, ..Self::default() }
    }

    /// The same with these holidays instead of those of the task: those of a table.
    #[must_use]
    pub fn with_holidays(mut self, holidays: &[Date]) -> Self {
        let calendar = Arc::new(self.calendar.as_ref().clone().with_holidays(holidays));
        self.series.iter_mut().for_each(|series| series.calendar = calendar.clone());
        self.calendar = calendar;
        self
    }

    /// What its periods are.
    pub fn calendar(&self) -> &Arc<Calendar> {
        &self.calendar
    }

    /// How often there is a value.
    pub fn frequency(&self) -> Frequency {
        self.calendar.frequency()
    }

    /// The series, ordered by name.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// The series called `name`.
    pub fn find(&self, name: &str) -> Option<&Series> {
        self.series.get(self.number(name)?)
    }

    /// The place of the series called `name`.
    pub fn number(&self, name: &str) -> Option<usize> {
        self.series.binary_search_by(|s| s.name.as_str().cmp(name)).ok()
    }

    /// The newest period of any series.
    pub fn last(&self) -> i64 {
        self.series.iter().map(Series::last).max().unwrap_or(0)
    }

    /// The oldest period of any series.
    pub fn first(&self) -> i64 {
        self.series.iter().map(|s| s.start).min().unwrap_or(0)
    }

    /// Number of observations, filled ones included.
    pub fn rows(&self) -> usize {
        self.series.iter().map(|s| s.values.len()).sum()
    }

    /// Observations that were missing and filled.
    pub fn filled(&self) -> usize {
        self.series.iter().map(|s| s.filled.len()).sum()
    }

    /// What people should know about the data before they believe a forecast.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Decimals that the values have, at most [`DECIMALS_MAX`]: forecasts are shown with as many.
    pub fn decimals(&self) -> usize {
        let whole = |value: f64, decimals: usize| {
            let scaled = value.abs() * 10f64.powi(decimals as i32);
            (scaled - scaled.round()).abs() <= 1e-9 * scaled.max(1.0)
        };
        let needed = |value: f64| (0..DECIMALS_MAX).find(|d| whole(value, *d));
        let values = self.series.iter().flat_map(|series| &series.values);
        values.map(|v| needed(*v).unwrap_or(DECIMALS_MAX)).max().unwrap_or(0)
    }

    /// Whether they are small counts: all values are whole and none negative, and of at least half
    /// of the series the mean is below [`SMALL_COUNT`].
    pub fn holds_small_counts(&self) -> bool {
        let whole = |value: &f64| *value >= 0.0 && value.fract() == 0.0;
        let small = |series: &&Series| {
            series.values.iter().sum::<f64>() < SMALL_COUNT * series.values.len() as f64
        };
        self.series.iter().all(|series| series.values.iter().all(whole))
            && 2 * self.series.iter().filter(small).count() >= self.series.len()
    }

    /// The data as they were known at the end of `period`; series that had not begun are left out.
    pub fn until(&self, period: i64) -> Self {
        let cut = |s: &Series| {
            let values = s.until(period).history().to_vec();
            let filled = s.filled.iter().copied().filter(|place| *place < values.len()).collect();
            let mut features = s.features.clone();
            for past in features.iter_mut().filter(|feature| !feature.known.ahead()) {
                past.values.truncate(values.len());
            }
            Series { values, filled, features, ..s.clone() }
        };
        let series = self.series.iter().map(cut).filter(|s| !s.values.is_empty()).collect();
        Self { calendar: self.calendar.clone(), gaps: self.gaps, series, notes: Vec::new() }
    }

    /// The data with other observations and past features after `period`, and gaps filled anew by
    /// `fill`: what they would be if the future had been another.
    pub fn changed_after(
        &self,
        period: i64,
        fill: Fill,
        mut change: impl FnMut(f64) -> f64,
    ) -> Self {
        let mut changed = self.clone();
        for series in &mut changed.series {
            let value =
                |(at, value): (i64, f64)| (at, if at > period { change(value) } else { value });
            let observed: Vec<(i64, f64)> = series.observations().map(value).collect();
            (series.values, series.filled) = gaps::filled(&observed, fill);
            let known = usize::try_from(period + 1 - series.start).unwrap_or(0);
            for past in series.features.iter_mut().filter(|feature| !feature.known.ahead()) {
                past.values.iter_mut().skip(known).for_each(|value| *value = change(*value));
            }
        }
        changed
    }
}

impl Data for Dataset {
    /// SHA-256 over names, periods, exact values, features, static features and holidays.
    fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.frequency().name());
        for series in &self.series {
            hash.update((series.name.len() as u64).to_le_bytes());
            hash.update(series.name.as_bytes());
            hash.update(self.calendar.label(series.start));
            for column in std::iter::once(&series.values)
                .chain(series.features.iter().map(|feature| &feature.values))
                .chain(std::iter::once(&series.statics))
            {
                hash.update((column.len() as u64).to_le_bytes());
                column.iter().for_each(|v| hash.update(v.to_le_bytes()));
            }
            series.filled.iter().for_each(|place| hash.update((*place as u64).to_le_bytes()));
        }
        self.calendar.holidays().for_each(|day| hash.update(day.to_string()));
        hex::encode(hash.finalize())
    }
}

/// Counts below it are so small that which whole number comes next matters.
const SMALL_COUNT: f64 = 10.0;
/// Most decimals with which a forecast is shown.
pub const DECIMALS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_tell_whether_they_are_small_counts() {
        let small = |all: &[&[f64]]| {
            let series = all.iter().enumerate();
            let series = series.map(|(i, v)| Series::new(format!("s{i}"), 0, v.to_vec()));
            Dataset::new(Frequency::Yearly, series.collect()).holds_small_counts()
        };
        assert!(small(&[&[0.0, 4.0, 1.0], &[900.0, 1_000.0]]));
        assert!(!small(&[&[0.0, 4.0, 1.0], &[900.0, 1_000.0], &[10.0, 10.0]]));
        assert!(!small(&[&[0.0, 4.5, 1.0]]) && !small(&[&[0.0, -1.0]]));
    }

    #[test]
    fn values_tell_how_many_decimals_they_have() {
        let decimals = |values: &[f64]| {
            Dataset::new(Frequency::Yearly, vec![Series::new("A", 0, values.to_vec())]).decimals()
        };
        assert_eq!(decimals(&[4_210.0, 12.0]), 0);
        assert_eq!(decimals(&[17.45, 18.0]), 2);
        assert_eq!(decimals(&[0.1 + 0.2]), 1);
        assert_eq!(decimals(&[1.0 / 3.0]), DECIMALS_MAX);
    }
}
