//! The clean table as series: one value per period, nothing that is not a number.
//!
//! A gap of at most [`GAP_MAX`] periods is filled by a straight line between its neighbours and
//! counted; a longer one is an error. A wrong value, or two values for one period, always is.

use std::collections::BTreeMap;

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::calendar::Frequency;

/// Periods without a value that are filled; longer gaps are refused.
pub const GAP_MAX: i64 = 3;

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
    /// A time that no period has.
    #[error(
        "series `{series}` has the time `{time}`, which names no {frequency} period; expected for example `{example}`"
    )]
    Time {
        /// The series.
        series: String,
        /// The text.
        time: String,
        /// The frequency's name.
        frequency: &'static str,
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
    /// Periods without values.
    #[error(
        "series `{series}` has no value for {missing} periods from {period} on; at most {GAP_MAX} are filled"
    )]
    Gap {
        /// The series.
        series: String,
        /// The first missing period.
        period: String,
        /// How many are missing.
        missing: i64,
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
    /// A covariate without a value where one is needed.
    #[error("series `{series}` has no value of the covariate `{covariate}` for {period}")]
    Covariate {
        /// The series.
        series: String,
        /// The covariate.
        covariate: String,
        /// The period.
        period: String,
    },
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
    /// Per covariate one value per period from `start` on; known beyond the last value, at the most
    /// as far as the data go.
    pub covariates: Vec<Vec<f64>>,
    /// Static features, the same for every period.
    pub statics: Vec<f64>,
    /// Values that were missing and filled.
    pub repaired: usize,
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

    /// The value of `period`.
    pub fn at(&self, period: i64) -> Option<f64> {
        self.values.get(usize::try_from(period - self.start).ok()?).copied()
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

    /// The covariates of the period `index` places after the first; beyond what is known, the last
    /// known ones. Covariates may be known for the future: that is what they are for.
    pub fn covariates(self, index: usize) -> impl Iterator<Item = f64> {
        self.series
            .covariates
            .iter()
            .map(move |c| c.get(index).or(c.last()).copied().unwrap_or(0.0))
    }
}

/// All series of a data set, ordered by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dataset {
    frequency: Frequency,
    series: Vec<Series>,
}

/// The columns that make a series, and how to read them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// Column that names the series.
    pub series: String,
    /// Column of the period: a whole number of a year, or text that [`Frequency::parse`] reads.
    pub time: String,
    /// Column of the value.
    pub target: String,
    /// Numeric columns known for the future too.
    pub covariates: Vec<String>,
    /// Numeric columns that do not change in time.
    pub statics: Vec<String>,
    /// How often there is a value.
    pub frequency: Frequency,
    /// Whether values may be negative.
    pub signed: bool,
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its series.
    pub series: String,
    /// Its period.
    pub period: i64,
    /// The value; none for a future period of which only covariates are known.
    pub value: Option<f64>,
    /// One value per covariate.
    pub covariates: Vec<f64>,
    /// One value per static feature.
    pub statics: Vec<f64>,
}

impl Dataset {
    /// A data set of finished series.
    pub fn new(frequency: Frequency, mut series: Vec<Series>) -> Self {
        series.sort_by(|a, b| a.name.cmp(&b.name));
        Self { frequency, series }
    }

    /// Groups rows of yearly values into series and checks them.
    pub fn from_rows(
        rows: impl IntoIterator<Item = (String, i64, f64)>,
    ) -> Result<Self, DataError> {
        let record = |(series, period, value)| Record {
            series,
            period,
            value: Some(value),
            covariates: Vec::new(),
            statics: Vec::new(),
        };
        Self::from_records(rows.into_iter().map(record), &Columns::default())
    }

    /// Groups rows into series and checks them.
    pub fn from_records(
        records: impl IntoIterator<Item = Record>,
        columns: &Columns,
    ) -> Result<Self, DataError> {
        let mut by_name: BTreeMap<String, BTreeMap<i64, Record>> = BTreeMap::new();
        let label = |period| columns.frequency.label(period);
        for record in records {
            if let Some(value) =
                record.value.filter(|v| !v.is_finite() || (*v < 0.0 && !columns.signed))
            {
                let sign = if columns.signed { "" } else { " that is not negative" };
                return Err(DataError::Value {
                    series: record.series,
                    period: label(record.period),
                    value,
                    sign,
                });
            }
            let periods = by_name.entry(record.series.clone()).or_default();
            if let Some(record) = periods.insert(record.period, record) {
                return Err(DataError::Duplicate {
                    series: record.series,
                    period: label(record.period),
                });
            }
        }
        let series = by_name
            .into_iter()
            .map(|(name, periods)| assemble(name, &periods, columns))
            .collect::<Result<Vec<_>, _>>()?;
        let series: Vec<Series> = series.into_iter().filter(|s| !s.values.is_empty()).collect();
        if series.is_empty() {
            Err(DataError::Empty)
        } else {
            Ok(Self { frequency: columns.frequency, series })
        }
    }

    /// Reads Parquet files that together are one table.
    pub fn from_parquet(
        files: impl IntoIterator<Item = Bytes>,
        columns: &Columns,
    ) -> Result<Self, DataError> {
        let mut records = Vec::new();
        for file in files {
            read_file(file, columns, &mut records)?;
        }
        Self::from_records(records, columns)
    }

    /// How often there is a value.
    pub fn frequency(&self) -> Frequency {
        self.frequency
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

    /// Number of observations.
    pub fn rows(&self) -> usize {
        self.series.iter().map(|s| s.values.len()).sum()
    }

    /// Observations that were missing and filled.
    pub fn repaired(&self) -> usize {
        self.series.iter().map(|s| s.repaired).sum()
    }

    /// The data as they were known at the end of `period`; series that had not begun are left out.
    pub fn until(&self, period: i64) -> Self {
        let cut = |s: &Series| Series { values: s.until(period).history().to_vec(), ..s.clone() };
        Self {
            frequency: self.frequency,
            series: self.series.iter().map(cut).filter(|s| !s.values.is_empty()).collect(),
        }
    }

    /// Replaces every value after `period`.
    pub fn change_after(&mut self, period: i64, mut change: impl FnMut(f64) -> f64) {
        for series in &mut self.series {
            let known = series.until(period).len();
            series.values[known..].iter_mut().for_each(|v| *v = change(*v));
        }
    }

    /// SHA-256 over names, periods, exact values, covariates and static features, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.frequency.name());
        for series in &self.series {
            hash.update((series.name.len() as u64).to_le_bytes());
            hash.update(series.name.as_bytes());
            hash.update(series.start.to_le_bytes());
            for column in std::iter::once(&series.values)
                .chain(&series.covariates)
                .chain(std::iter::once(&series.statics))
            {
                hash.update((column.len() as u64).to_le_bytes());
                column.iter().for_each(|v| hash.update(v.to_le_bytes()));
            }
        }
        hex::encode(hash.finalize())
    }
}

/// More values in a row are missing than are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Place of the first one.
    pub from: i64,
    /// How many there are.
    pub missing: i64,
}

/// Known values with their places, ascending, as one value per place: what is missing between two
/// of them lies on a straight line. Also how many values were filled.
pub fn filled(
    first: (i64, f64),
    others: impl IntoIterator<Item = (i64, f64)>,
) -> Result<(Vec<f64>, usize), Gap> {
    let (mut before, mut values, mut repaired) = (first.0, vec![first.1], 0);
    for (place, value) in others {
        let missing = place - before - 1;
        if missing > GAP_MAX {
            return Err(Gap { from: before + 1, missing });
        }
        let from = values[values.len() - 1];
        values
            .extend((1..=missing).map(|i| from + (value - from) * i as f64 / (missing + 1) as f64));
        values.push(value);
        (repaired, before) = (repaired + missing as usize, place);
    }
    Ok((values, repaired))
}

fn assemble(
    name: String,
    periods: &BTreeMap<i64, Record>,
    columns: &Columns,
) -> Result<Series, DataError> {
    let label = |period| columns.frequency.label(period);
    let mut observed = periods.iter().filter_map(|(&period, r)| Some((period, r.value?)));
    let Some((start, first)) = observed.next() else { return Ok(Series::new(name, 0, Vec::new())) };
    let (values, repaired) = match filled((start, first), observed) {
        Ok(filled) => filled,
        Err(Gap { from, missing }) => {
            return Err(DataError::Gap { series: name, period: label(from), missing });
        }
    };
    let before = start + values.len() as i64 - 1;
    let last = periods.keys().next_back().copied().unwrap_or(before);
    let mut covariates = vec![Vec::new(); columns.covariates.len()];
    if !covariates.is_empty() {
        let mut latest = periods.get(&start).map(|r| r.covariates.clone()).unwrap_or_default();
        for period in start..=last {
            match periods.get(&period) {
                Some(record) => latest.clone_from(&record.covariates),
                // A filled observation keeps the covariates of the period before; the future has no
                // gaps.
                None if period < before => {}
                None => break,
            }
            for ((column, &value), name_of) in
                covariates.iter_mut().zip(&latest).zip(&columns.covariates)
            {
                if !value.is_finite() {
                    return Err(DataError::Covariate {
                        series: name,
                        covariate: name_of.clone(),
                        period: label(period),
                    });
                }
                column.push(value);
            }
        }
    }
    let statics = periods.values().next().map(|r| r.statics.clone()).unwrap_or_default();
    Ok(Series { name, start, values, covariates, statics, repaired })
}

fn read_file(file: Bytes, columns: &Columns, records: &mut Vec<Record>) -> Result<(), DataError> {
    let reader = SerializedFileReader::new(file)?;
    let names: Vec<String> = reader
        .metadata()
        .file_metadata()
        .schema()
        .get_fields()
        .iter()
        .map(|f| f.name().to_owned())
        .collect();
    let error = |column: &str, problem| DataError::Column {
        column: column.to_owned(),
        problem,
        available: names.join(", "),
    };
    let position = |column: &str| {
        names.iter().position(|n| n == column).ok_or_else(|| error(column, "is missing"))
    };
    let positions =
        |columns: &[String]| columns.iter().map(|c| position(c)).collect::<Result<Vec<_>, _>>();
    let (series_at, time_at, target_at) =
        (position(&columns.series)?, position(&columns.time)?, position(&columns.target)?);
    let (covariates_at, statics_at) =
        (positions(&columns.covariates)?, positions(&columns.statics)?);
    for row in reader.get_row_iter(None)? {
        let row: Row = row?;
        let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
        let series =
            text(fields[series_at]).ok_or_else(|| error(&columns.series, "is not text"))?;
        let period = period(fields[time_at], &series, columns)?
            .ok_or_else(|| error(&columns.time, "is not a time"))?;
        let value = match fields[target_at] {
            Field::Null => None,
            field => Some(number(field).ok_or_else(|| error(&columns.target, "is not a number"))?),
        };
        let numbers =
            |at: &[usize]| at.iter().map(|&i| number(fields[i]).unwrap_or(f64::NAN)).collect();
        records.push(Record {
            series,
            period,
            value,
            covariates: numbers(&covariates_at),
            statics: numbers(&statics_at),
        });
    }
    Ok(())
}

/// The period of a time field; `None` when the column has another type.
fn period(field: &Field, series: &str, columns: &Columns) -> Result<Option<i64>, DataError> {
    let frequency = columns.frequency;
    let of_days = |days: i64| {
        frequency.of(jiff::civil::date(1970, 1, 1)
            .saturating_add(jiff::Span::new().days(days))
            .at(0, 0, 0, 0))
    };
    let of_micros = |micros: i64| {
        let time = jiff::Timestamp::from_microsecond(micros).ok()?;
        frequency.of(time.to_zoned(jiff::tz::TimeZone::UTC).datetime())
    };
    let found = match field {
        Field::Str(text) => frequency.parse(text),
        Field::Date(days) => of_days(i64::from(*days)),
        Field::TimestampMillis(millis) => of_micros(millis * 1_000),
        Field::TimestampMicros(micros) => of_micros(*micros),
        other => match number(other).filter(|n| n.fract() == 0.0) {
            Some(year) if frequency == Frequency::Yearly => Some(year as i64),
            _ => return Ok(None),
        },
    };
    let example =
        || frequency.label(frequency.of(jiff::civil::date(2024, 1, 1).at(0, 0, 0, 0)).unwrap_or(0));
    let error = || DataError::Time {
        series: series.to_owned(),
        time: field.to_string(),
        frequency: frequency.name(),
        example: example(),
    };
    found.map(Some).ok_or_else(error)
}

fn text(field: &Field) -> Option<String> {
    match field {
        Field::Str(text) => Some(text.clone()),
        _ => None,
    }
}

fn number(field: &Field) -> Option<f64> {
    match *field {
        Field::Int(n) => Some(f64::from(n)),
        Field::Long(n) => Some(n as f64),
        Field::Double(n) => Some(n),
        Field::Float(n) => Some(f64::from(n)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[(&str, i64, f64)]) -> Result<Dataset, String> {
        Dataset::from_rows(values.iter().map(|&(s, y, v)| (s.to_owned(), y, v)))
            .map_err(|e| e.to_string())
    }

    #[test]
    fn rows_become_series_whatever_their_order() {
        let data = rows(&[("B", 2001, 4.0), ("A", 2001, 2.0), ("A", 2000, 1.0)]).expect("valid");
        assert_eq!(data.find("A").map(|s| s.values.clone()), Some(vec![1.0, 2.0]));
        assert_eq!(data.until(2000).series().len(), 1);
        assert_eq!((data.first(), data.last(), data.rows()), (2000, 2001, 3));
    }

    #[test]
    fn what_is_not_a_series_is_refused_with_its_place() {
        let message = |values: &[(&str, i64, f64)]| rows(values).expect_err("invalid");
        assert_eq!(message(&[]), "the data set is empty");
        assert_eq!(
            message(&[("A", 2000, 1.0), ("A", 2000, 1.0)]),
            "series `A` has two values for 2000"
        );
        let gap = message(&[("A", 2000, 1.0), ("A", 2005, 1.0)]);
        assert_eq!(gap, "series `A` has no value for 4 periods from 2001 on; at most 3 are filled");
        assert!(message(&[("A", 2000, f64::NAN)]).contains("NaN"));
        assert!(message(&[("A", 2000, f64::INFINITY)]).contains("inf"));
        assert!(message(&[("A", 2000, -1.0)]).contains("-1"));
    }

    #[test]
    fn a_short_gap_is_filled_and_counted() {
        let data = rows(&[("A", 2000, 1.0), ("A", 2003, 4.0)]).expect("valid");
        assert_eq!(
            (data.series()[0].values.as_slice(), data.repaired()),
            ([1.0, 2.0, 3.0, 4.0].as_slice(), 2)
        );
    }

    #[test]
    fn covariates_reach_into_the_future_and_must_be_known() {
        let columns = Columns { covariates: vec!["warmth".into()], ..Columns::default() };
        let record = |period, value, warmth| Record {
            series: "A".into(),
            period,
            value,
            covariates: vec![warmth],
            statics: vec![],
        };
        let rows =
            [record(2000, Some(1.0), 5.0), record(2001, Some(2.0), 6.0), record(2002, None, 7.0)];
        let data = Dataset::from_records(rows.clone(), &columns).expect("valid");
        assert_eq!(
            (data.series()[0].values.len(), &data.series()[0].covariates[0]),
            (2, &vec![5.0, 6.0, 7.0])
        );
        assert_eq!(data.series()[0].view().covariates(2).collect::<Vec<_>>(), [7.0]);
        let unknown = [rows[0].clone(), record(2001, Some(2.0), f64::NAN)];
        let message = Dataset::from_records(unknown, &columns).expect_err("unknown").to_string();
        assert_eq!(message, "series `A` has no value of the covariate `warmth` for 2001");
    }
}
