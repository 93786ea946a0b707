//! Tables as they are looked at.

use bytes::Bytes;
use steppe_spec::UnsupervisedSpec;
use steppe_spec::unsupervised::anomaly::AnomalyTask;

use crate::forecast::dataset::DataError;
use crate::rows::RowsError;
use crate::rows::matrix::Matrix;
use crate::tabular::columns::{Raw, RawTable};

/// Rows, each about somebody or something.
#[derive(Debug, Clone, PartialEq)]
pub struct Entities {
    /// What each row is about; no name comes twice.
    pub names: Vec<String>,
    /// The group that each row is compared within, where the task has one and the row says it.
    pub groups: Vec<Option<String>>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Their values; NaN is missing.
    pub values: Matrix,
}

/// One series: times as texts, and values in their order; NaN is missing.
#[derive(Debug, Clone, PartialEq)]
pub struct Readings {
    /// The name of the series.
    pub series: String,
    /// When each value was taken.
    pub times: Vec<String>,
    /// The values.
    pub values: Vec<f64>,
}

impl Entities {
    /// The values as they are looked at: those of the columns `log` as ln(1 + value).
    ///
    /// # Errors
    /// If a value is infinite, or one of which there is no logarithm.
    pub(super) fn looked_at(&self, log: &[String]) -> Result<Matrix, RowsError> {
        self.values.not_infinite("a search without a target")?;
        let mut seen = Matrix::empty(self.names.len());
        for (number, name) in self.columns.iter().enumerate() {
            let column = self.values.column(number);
            if !log.contains(name) {
                seen.push(column);
                continue;
            }
            if let Some(row) = column.iter().position(|value| *value < 0.0) {
                return Err(RowsError::Setting {
                    what: format!("`{name}` of `{}` is {}", self.names[row], column[row]),
                    hint: "columns in `log` have values of at least 0",
                });
            }
            seen.push(&column.iter().map(|value| value.ln_1p()).collect::<Vec<_>>());
        }
        Ok(seen)
    }
}

/// Reads the rows of a table: its `entity`, the group `within`, and the columns of the task.
///
/// # Errors
/// If a column is missing or of another type, a row names nobody, or two rows the same.
pub fn read_entities(
    spec: &UnsupervisedSpec,
    (entity, within): (&str, Option<&str>),
    files: Vec<Bytes>,
) -> Result<Entities, DataError> {
    let own = [Some(entity), within].into_iter().flatten();
    let wanted: Vec<&str> = spec.columns.iter().map(String::as_str).chain(own).collect();
    let raw = RawTable::read(files, &wanted)?;
    if raw.rows() == 0 {
        return Err(DataError::Empty);
    }
    let names = raw.get(entity)?.texts().into_iter().collect::<Option<Vec<String>>>();
    let names = names.ok_or_else(|| {
        RowsError::Unsuitable(format!("the entity `{entity}` is missing in a row"))
    })?;
    once_each(entity, &names)?;
    let groups = match within {
        Some(within) => raw.get(within)?.texts(),
        None => vec![None; names.len()],
    };
    let mut values = Matrix::empty(names.len());
    for name in &spec.columns {
        values.push(&numbers(name, &raw)?);
    }
    Ok(Entities { names, groups, columns: spec.columns.clone(), values })
}

/// Reads the series of a table, in the order of their names, their values in that of time.
///
/// # Errors
/// If a column is missing or of another type, a row names no series or no time, or a series has two
/// values for one.
pub fn read_series(task: &AnomalyTask, files: Vec<Bytes>) -> Result<Vec<Readings>, DataError> {
    let [series, time, target] = [&task.series, &task.time, &task.target].map(|name| {
        name.as_deref().ok_or_else(|| RowsError::Unsuitable("the task is not of series".to_owned()))
    });
    let (series, time, target) = (series?, time?, target?);
    let raw = RawTable::read(files, &[series, time, target])?;
    if raw.rows() == 0 {
        return Err(DataError::Empty);
    }
    let missing = |name: &str| RowsError::Unsuitable(format!("`{name}` is missing in a row"));
    let names = raw.get(series)?.texts().into_iter().collect::<Option<Vec<String>>>();
    let names = names.ok_or_else(|| missing(series))?;
    let times = moments(raw.get(time)?).ok_or_else(|| missing(time))?;
    let values = numbers(target, &raw)?;
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by(|&a, &b| (&names[a], &times[a]).cmp(&(&names[b], &times[b])));
    let mut found: Vec<Readings> = Vec::new();
    for row in order {
        let time = times[row].told();
        match found.last_mut().filter(|last| last.series == names[row]) {
            Some(last) if last.times.last() == Some(&time) => {
                return Err(DataError::Duplicate { series: names[row].clone(), period: time });
            }
            Some(last) => {
                last.times.push(time);
                last.values.push(values[row]);
            }
            None => found.push(Readings {
                series: names[row].clone(),
                times: vec![time],
                values: vec![values[row]],
            }),
        }
    }
    Ok(found)
}

/// When something was, so that it can be put in order and told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moment {
    /// Days since 1970.
    Day(i64),
    /// Microseconds since 1970.
    Micros(i64),
    /// A number that only orders.
    Whole(i64),
    /// A text that only orders.
    Text(String),
}

impl Moment {
    /// Microseconds since 1970, of a date or a time.
    pub(super) fn micros(&self) -> Option<i64> {
        match self {
            Self::Day(day) => day.checked_mul(86_400_000_000),
            Self::Micros(time) => Some(*time),
            Self::Whole(_) | Self::Text(_) => None,
        }
    }

    /// For people, and for files.
    pub(super) fn told(&self) -> String {
        let micros = |micros: i64, form: &str| match jiff::Timestamp::from_microsecond(micros) {
            Ok(time) => time.strftime(form).to_string(),
            Err(_) => micros.to_string(),
        };
        match self {
            Self::Day(day) => micros(day.saturating_mul(86_400_000_000), "%Y-%m-%d"),
            // As clean tables have times: of a zone that the manifest names, to the microsecond.
            Self::Micros(time) => micros(*time, "%Y-%m-%d %H:%M:%S%.f"),
            Self::Whole(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

pub(super) fn moments(raw: &Raw) -> Option<Vec<Moment>> {
    let of = |values: &[Option<i64>], make: fn(i64) -> Moment| {
        values.iter().map(|value| value.map(make)).collect()
    };
    match raw {
        Raw::Day(days) => of(days, Moment::Day),
        Raw::Moment(times) => of(times, Moment::Micros),
        Raw::Whole(numbers) => of(numbers, Moment::Whole),
        _ => raw.texts().into_iter().map(|text| text.map(Moment::Text)).collect(),
    }
}

fn once_each(entity: &str, names: &[String]) -> Result<(), DataError> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => {
            let what = format!("two rows have the `{entity}` `{}`; each has one", pair[0]);
            Err(RowsError::Unsuitable(what).into())
        }
    }
}

fn numbers(name: &str, raw: &RawTable) -> Result<Vec<f64>, DataError> {
    match raw.get(name)? {
        Raw::Number(values) => Ok(values.clone()),
        Raw::Whole(values) => {
            Ok(values.iter().map(|value| value.map_or(f64::NAN, |value| value as f64)).collect())
        }
        _ => Err(DataError::Column {
            column: name.to_owned(),
            problem: "is no number",
            available: raw.names(),
        }),
    }
}
