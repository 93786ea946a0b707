//! The clean table as series: one value per period, no gaps, nothing that is not a number.

use std::collections::BTreeMap;

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use sha2::{Digest, Sha256};
use thiserror::Error;

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
    /// Two values for one period.
    #[error("series `{series}` has two values for {period}")]
    Duplicate {
        /// The series.
        series: String,
        /// The period.
        period: i32,
    },
    /// A period without a value.
    #[error("series `{series}` has no value for {period}, but values before and after it")]
    Gap {
        /// The series.
        series: String,
        /// The period.
        period: i32,
    },
    /// Negative, infinite or not a number.
    #[error("series `{series}` has the value {value} for {period}; expected a finite number that is not negative")]
    Value {
        /// The series.
        series: String,
        /// The period.
        period: i32,
        /// The value.
        value: f64,
    },
}

/// One series of yearly observations without gaps.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Year of the first value.
    pub first_year: i32,
    /// One value per year.
    pub values: Vec<f64>,
}

impl Series {
    /// Year of the last value.
    pub fn last_year(&self) -> i32 {
        self.first_year + self.values.len() as i32 - 1
    }

    /// The values up to and including `year`.
    pub fn until(&self, year: i32) -> &[f64] {
        let len = (year - self.first_year + 1).clamp(0, self.values.len() as i32);
        &self.values[..len as usize]
    }

    /// The value of `year`.
    pub fn at(&self, year: i32) -> Option<f64> {
        let index = usize::try_from(year - self.first_year).ok()?;
        self.values.get(index).copied()
    }
}

/// All series of a data set, ordered by name.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    series: Vec<Series>,
}

/// Names of the three columns that make a series.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Column that names the series.
    pub series: &'a str,
    /// Column of the period.
    pub time: &'a str,
    /// Column of the value.
    pub target: &'a str,
}

impl Dataset {
    /// Groups rows into series and checks them.
    pub fn from_rows(rows: impl IntoIterator<Item = (String, i32, f64)>) -> Result<Self, DataError> {
        let mut by_name: BTreeMap<String, BTreeMap<i32, f64>> = BTreeMap::new();
        for (series, period, value) in rows {
            if !value.is_finite() || value < 0.0 {
                return Err(DataError::Value { series, period, value });
            }
            let periods = by_name.entry(series.clone()).or_default();
            if periods.insert(period, value).is_some() {
                return Err(DataError::Duplicate { series, period });
            }
        }
        if by_name.is_empty() {
            return Err(DataError::Empty);
        }
        let series = by_name.into_iter().map(|(name, periods)| contiguous(name, &periods)).collect::<Result<_, _>>()?;
        Ok(Self { series })
    }

    /// Reads Parquet files that together are one table.
    pub fn from_parquet(files: impl IntoIterator<Item = Bytes>, columns: Columns<'_>) -> Result<Self, DataError> {
        let mut rows = Vec::new();
        for file in files {
            read_file(file, columns, &mut rows)?;
        }
        Self::from_rows(rows)
    }

    /// The series, ordered by name.
    pub fn series(&self) -> &[Series] {
        &self.series
    }

    /// The series called `name`.
    pub fn find(&self, name: &str) -> Option<&Series> {
        let index = self.series.binary_search_by(|s| s.name.as_str().cmp(name)).ok()?;
        self.series.get(index)
    }

    /// The newest year of any series.
    pub fn last_year(&self) -> i32 {
        self.series.iter().map(Series::last_year).max().unwrap_or(0)
    }

    /// Number of observations.
    pub fn rows(&self) -> usize {
        self.series.iter().map(|s| s.values.len()).sum()
    }

    /// The data as it was at the end of `year`; series that had not begun are left out.
    pub fn until(&self, year: i32) -> Self {
        let cut = |s: &Series| Series { values: s.until(year).to_vec(), ..s.clone() };
        Self { series: self.series.iter().map(cut).filter(|s| !s.values.is_empty()).collect() }
    }

    /// SHA-256 over names, years and exact values, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for series in &self.series {
            hash.update((series.name.len() as u64).to_le_bytes());
            hash.update(series.name.as_bytes());
            hash.update(series.first_year.to_le_bytes());
            hash.update((series.values.len() as u64).to_le_bytes());
            series.values.iter().for_each(|v| hash.update(v.to_le_bytes()));
        }
        hex::encode(hash.finalize())
    }
}

fn contiguous(name: String, periods: &BTreeMap<i32, f64>) -> Result<Series, DataError> {
    let first_year = periods.keys().next().copied().unwrap_or(0);
    for (expected, &period) in (first_year..).zip(periods.keys()) {
        if period != expected {
            return Err(DataError::Gap { series: name, period: expected });
        }
    }
    Ok(Series { name, first_year, values: periods.values().copied().collect() })
}

fn read_file(file: Bytes, columns: Columns<'_>, rows: &mut Vec<(String, i32, f64)>) -> Result<(), DataError> {
    let reader = SerializedFileReader::new(file)?;
    let names: Vec<String> = reader.metadata().file_metadata().schema().get_fields().iter().map(|f| f.name().to_owned()).collect();
    let error = |column: &str, problem| DataError::Column { column: column.to_owned(), problem, available: names.join(", ") };
    let position = |column: &str| names.iter().position(|n| n == column).ok_or_else(|| error(column, "is missing"));
    let (series_at, time_at, target_at) = (position(columns.series)?, position(columns.time)?, position(columns.target)?);
    for row in reader.get_row_iter(None)? {
        let row = row?;
        let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
        let series = text(fields[series_at]).ok_or_else(|| error(columns.series, "is not text"))?;
        let period = number(fields[time_at]).filter(|n| n.fract() == 0.0).ok_or_else(|| error(columns.time, "is not a whole number"))?;
        let value = number(fields[target_at]).ok_or_else(|| error(columns.target, "is not a number"))?;
        rows.push((series, period as i32, value));
    }
    Ok(())
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

    fn rows(values: &[(&str, i32, f64)]) -> Result<Dataset, String> {
        Dataset::from_rows(values.iter().map(|&(s, y, v)| (s.to_owned(), y, v))).map_err(|e| e.to_string())
    }

    #[test]
    fn rows_become_series_whatever_their_order() {
        let data = rows(&[("B", 2001, 4.0), ("A", 2001, 2.0), ("A", 2000, 1.0)]).expect("valid");
        assert_eq!(data.find("A").map(|s| s.values.clone()), Some(vec![1.0, 2.0]));
        assert_eq!(data.until(2000).series().len(), 1);
        assert_eq!(data.last_year(), 2001);
    }

    #[test]
    fn what_is_not_a_series_is_refused_with_its_place() {
        let message = |values: &[(&str, i32, f64)]| rows(values).expect_err("invalid");
        assert_eq!(message(&[]), "the data set is empty");
        assert_eq!(message(&[("A", 2000, 1.0), ("A", 2000, 1.0)]), "series `A` has two values for 2000");
        assert_eq!(message(&[("A", 2000, 1.0), ("A", 2002, 1.0)]), "series `A` has no value for 2001, but values before and after it");
        assert!(message(&[("A", 2000, f64::NAN)]).contains("NaN"));
        assert!(message(&[("A", 2000, -1.0)]).contains("-1"));
    }
}
