//! From rows of a table to series.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use jiff::civil::{Date, DateTime};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};

use steppe_spec::{Frequency, LongerGap, TrainSpec};

use super::{DataError, Dataset, Note, Series};
use super::{features, gaps};
use crate::forecast::calendar::{Calendar, moment_of_days, moment_of_text};

/// The column of a table of holidays.
const DAY_COLUMN: &str = "day";

/// One row of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its series.
    pub series: String,
    /// The moment that names its period.
    pub moment: DateTime,
    /// The value; none for a future period of which only features are known.
    pub value: Option<f64>,
    /// One value per feature; NaN where there is none.
    pub features: Vec<f64>,
    /// One value per static feature.
    pub statics: Vec<f64>,
}

impl Dataset {
    /// Groups rows of yearly values into series and checks them.
    pub fn from_rows(
        rows: impl IntoIterator<Item = (String, i64, f64)>,
    ) -> Result<Self, DataError> {
        let record = |(series, year, value)| Record {
            series,
            moment: new_year(year),
            value: Some(value),
            features: Vec::new(),
            statics: Vec::new(),
        };
        Self::from_records(
            rows.into_iter().map(record).collect(),
            &TrainSpec::forecast("", ["", "", ""]),
        )
    }

    /// Groups rows into series, checks them, and looks at the whole.
    pub fn from_records(records: Vec<Record>, spec: &TrainSpec) -> Result<Self, DataError> {
        let moments = records.iter().map(|record| record.moment);
        let calendar = Calendar::observed(spec.frequency(), moments, spec.task.holidays.dates());
        let calendar = Arc::new(calendar);
        let mut by_name: BTreeMap<String, BTreeMap<i64, Record>> = BTreeMap::new();
        for record in records {
            let period = calendar
                .period(record.moment)
                .ok_or_else(|| no_period(&record.series, record.moment.to_string(), &calendar))?;
            check_value(&record, period, spec.model.transform.signed(), &calendar)?;
            let periods = by_name.entry(record.series.clone()).or_default();
            if let Some(record) = periods.insert(period, record) {
                let period = calendar.label(period);
                return Err(DataError::Duplicate { series: record.series, period });
            }
        }
        let (mut series, mut notes) = (Vec::new(), Vec::new());
        for (name, periods) in by_name {
            series.extend(assemble(name, &periods, spec, &calendar, &mut notes)?);
        }
        if series.is_empty() {
            return Err(DataError::Empty);
        }
        let mut data = Self { calendar, gaps: spec.gaps, series, notes };
        data.look();
        features::check_ahead(&data, spec)?;
        Ok(data)
    }

    /// Reads Parquet files that together are one table.
    pub fn from_parquet(
        files: impl IntoIterator<Item = Bytes>,
        spec: &TrainSpec,
    ) -> Result<Self, DataError> {
        let mut records = Vec::new();
        for file in files {
            read_file(file, spec, &mut records)?;
        }
        Self::from_records(records, spec)
    }
}

fn check_value(
    record: &Record,
    period: i64,
    signed: bool,
    calendar: &Calendar,
) -> Result<(), DataError> {
    match record.value.filter(|v| !v.is_finite() || (*v < 0.0 && !signed)) {
        None => Ok(()),
        Some(value) => Err(DataError::Value {
            series: record.series.clone(),
            period: calendar.label(period),
            value,
            sign: if signed { "" } else { " that is not negative" },
        }),
    }
}

/// One series; none when nothing was observed, or when it is left out.
fn assemble(
    name: String,
    periods: &BTreeMap<i64, Record>,
    spec: &TrainSpec,
    calendar: &Arc<Calendar>,
    notes: &mut Vec<Note>,
) -> Result<Option<Series>, DataError> {
    let mut observed: Vec<(i64, f64)> =
        periods.iter().filter_map(|(period, r)| Some((*period, r.value?))).collect();
    if let Some(gap) = gaps::newest(&observed, spec.gaps.fill) {
        let missing = gap.missing;
        match spec.gaps.longer {
            LongerGap::Fill => {}
            LongerGap::Split => {
                let from = gap.from + missing as i64;
                observed.retain(|(period, _)| *period >= from);
                let from = calendar.label(from);
                notes.push(Note::Split { series: name.clone(), from, missing });
            }
            LongerGap::LeaveOut => {
                let from = calendar.label(gap.from);
                notes.push(Note::Gap { series: name, from, missing });
                return Ok(None);
            }
            LongerGap::Fail => {
                let (period, fill) = (calendar.label(gap.from), spec.gaps.fill);
                return Err(DataError::Gap { series: name, period, missing, fill });
            }
        }
    }
    let Some(&(start, _)) = observed.first() else { return Ok(None) };
    let (values, filled) = gaps::filled(&observed, gaps::carried);
    let calendar = calendar.clone();
    let mut series = Series { name, start, values, filled, calendar, ..Series::default() };
    series.features = features::of_series(&series, periods, spec, notes)?;
    series.statics = periods.values().next().map(|r| r.statics.clone()).unwrap_or_default();
    Ok(Some(series))
}

fn read_file(file: Bytes, spec: &TrainSpec, records: &mut Vec<Record>) -> Result<(), DataError> {
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
        (position(&spec.task.series)?, position(&spec.task.time)?, position(&spec.task.target)?);
    let features: Vec<String> = spec.task.features.iter().map(|f| f.column.clone()).collect();
    let (features_at, statics_at) = (positions(&features)?, positions(&spec.task.static_features)?);
    for row in reader.get_row_iter(None)? {
        let row: Row = row?;
        let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
        let series =
            text(fields[series_at]).ok_or_else(|| error(&spec.task.series, "is not text"))?;
        let moment = moment(fields[time_at], &series, spec.frequency())?
            .ok_or_else(|| error(&spec.task.time, "is not a time"))?;
        let value = match fields[target_at] {
            Field::Null => None,
            field => {
                Some(number(field).ok_or_else(|| error(&spec.task.target, "is not a number"))?)
            }
        };
        let numbers =
            |at: &[usize]| at.iter().map(|&i| number(fields[i]).unwrap_or(f64::NAN)).collect();
        records.push(Record {
            series,
            moment,
            value,
            features: numbers(&features_at),
            statics: numbers(&statics_at),
        });
    }
    Ok(())
}

/// The dates in the column `day` of a table.
pub fn days_of(files: Vec<Bytes>) -> Result<Vec<Date>, DataError> {
    let mut days = Vec::new();
    for file in files {
        let reader = SerializedFileReader::new(file)?;
        let fields = reader.metadata().file_metadata().schema().get_fields();
        let names: Vec<String> = fields.iter().map(|f| f.name().to_owned()).collect();
        let error = |problem| DataError::Column {
            column: DAY_COLUMN.to_owned(),
            problem,
            available: names.join(", "),
        };
        let at = names.iter().position(|n| n == DAY_COLUMN).ok_or_else(|| error("is missing"))?;
        for row in reader.get_row_iter(None)? {
            let row: Row = row?;
            let field = row.get_column_iter().nth(at).map(|(_, field)| field);
            let day = match field {
                Some(Field::Date(days)) => Some(moment_of_days(i64::from(*days)).date()),
                Some(Field::Str(text)) => text.parse::<Date>().ok(),
                _ => None,
            };
            days.push(day.ok_or_else(|| error("is not a date"))?);
        }
    }
    days.sort_unstable();
    days.dedup();
    Ok(days)
}

/// The moment of a time field; `None` when the column has another type.
fn moment(
    field: &Field,
    series: &str,
    frequency: Frequency,
) -> Result<Option<DateTime>, DataError> {
    let of_micros = |micros: i64| {
        let time = jiff::Timestamp::from_microsecond(micros).ok()?;
        Some(time.to_zoned(jiff::tz::TimeZone::UTC).datetime())
    };
    let found = match field {
        Field::Str(text) => moment_of_text(frequency, text),
        Field::Date(days) => Some(moment_of_days(i64::from(*days))),
        Field::TimestampMillis(millis) => of_micros(millis * 1_000),
        Field::TimestampMicros(micros) => of_micros(*micros),
        other => match number(other).filter(|n| n.fract() == 0.0) {
            Some(year) if frequency == Frequency::Yearly => Some(new_year(year as i64)),
            _ => return Ok(None),
        },
    };
    let error = || no_period(series, field.to_string(), &Calendar::of(frequency));
    found.map(Some).ok_or_else(error)
}

fn no_period(series: &str, time: String, calendar: &Calendar) -> DataError {
    DataError::Time {
        series: series.to_owned(),
        time,
        expected: calendar.expected(),
        example: calendar.example(),
    }
}

/// The first moment of a year; years beyond the calendar's are at its ends.
fn new_year(year: i64) -> DateTime {
    let year = year.clamp(-9_999, 9_999) as i16;
    Date::constant(year, 1, 1).at(0, 0, 0, 0)
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
    use steppe_spec::{Frequency, Gaps};

    use super::*;
    use crate::forecast::dataset::notes::lines;
    use crate::training_key::tests::spec;

    fn read(values: &[(&str, i64, f64)], gaps: Gaps) -> Result<Dataset, String> {
        let record = |&(series, year, value): &(&str, i64, f64)| Record {
            series: series.to_owned(),
            moment: new_year(year),
            value: Some(value),
            features: vec![],
            statics: vec![],
        };
        let spec = spec().with(|s| s.gaps = gaps);
        Dataset::from_records(values.iter().map(record).collect(), &spec).map_err(|e| e.to_string())
    }

    fn rows(values: &[(&str, i64, f64)]) -> Result<Dataset, String> {
        read(values, Gaps::default())
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
        assert!(message(&[("A", 2000, f64::NAN)]).contains("NaN"));
        assert!(message(&[("A", 2000, f64::INFINITY)]).contains("inf"));
        assert!(message(&[("A", 2000, -1.0)]).contains("-1"));
    }

    #[test]
    fn a_short_gap_is_filled_by_the_value_before_and_is_no_observation() {
        let data = rows(&[("A", 2000, 1.0), ("A", 2003, 4.0)]).expect("valid");
        let series = &data.series()[0];
        assert_eq!((series.values.as_slice(), data.filled()), ([1.0, 1.0, 1.0, 4.0].as_slice(), 2));
        let observed: Vec<_> = (2000..2005).map(|year| series.observed(year)).collect();
        assert_eq!(observed, [Some(1.0), None, None, Some(4.0), None]);
        assert!(lines(data.notes())[0].starts_with("2 missing values of 1 series"));
        let cut = data.until(2001);
        assert_eq!((cut.series()[0].values.as_slice(), cut.filled()), ([1.0, 1.0].as_slice(), 1));
    }

    #[test]
    fn a_long_gap_does_what_the_manifest_says() {
        let values = [("A", 2000, 1.0), ("A", 2005, 2.0), ("A", 2006, 3.0), ("B", 2006, 1.0)];
        let with = |longer| read(&values, Gaps { longer, ..Gaps::default() });
        let split = with(LongerGap::Split).expect("valid");
        assert_eq!((split.series()[0].start, split.series()[0].values.len()), (2005, 2));
        assert_eq!(
            lines(split.notes()),
            ["`A` has no value for 4 periods before 2005: its earlier values are not used"]
        );
        let left = with(LongerGap::LeaveOut).expect("valid");
        assert_eq!(left.series().len(), 1);
        assert_eq!(
            lines(left.notes()),
            ["`A` has no value for 4 periods from 2001 on: it is left out"]
        );
        assert_eq!(with(LongerGap::Fill).expect("valid").filled(), 4);
        let refused = with(LongerGap::Fail).expect_err("refused");
        assert!(
            refused.starts_with("series `A` has no value for 4 periods from 2001 on; at most 3")
        );
    }

    #[test]
    fn trading_days_have_no_weekends() {
        let spec = spec().with(|s| s.task.set_frequency(Frequency::ObservedDays));
        let record = |day: i8| Record {
            series: "A".into(),
            moment: Date::constant(2017, 12, day).at(0, 0, 0, 0),
            value: Some(f64::from(day)),
            features: vec![],
            statics: vec![],
        };
        let days = [18, 20, 21, 22, 26, 27, 28, 29];
        let data = Dataset::from_records(days.map(record).to_vec(), &spec).expect("valid");
        assert_eq!((data.rows(), data.filled()), (8, 0));
        assert_eq!(data.calendar().label(data.last() + 1), "2018-01-01");
    }
}
