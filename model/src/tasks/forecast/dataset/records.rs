//! From rows of a table to series.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use jiff::civil::{Date, DateTime};
use parquet::file::reader::{FileReader, SerializedFileReader};

use steppe_spec::{Frequency, LongerGap, TrainSpec};

use super::{DataError, Dataset, Note, Series};
use super::{features, gaps};
use crate::forecast::calendar::{Calendar, moment_of_days, moment_of_text};
use crate::tabular::columns::{Raw, RawTable};

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
        Self::from_columns(Columns::of(records), spec)
    }

    /// Reads Parquet files that together are one table.
    pub fn from_parquet(
        files: impl IntoIterator<Item = Bytes>,
        spec: &TrainSpec,
    ) -> Result<Self, DataError> {
        Self::from_columns(Columns::read(files.into_iter().collect(), spec)?, spec)
    }

    /// Series by series, so that only the columns are there as a whole.
    fn from_columns(columns: Columns, spec: &TrainSpec) -> Result<Self, DataError> {
        let moments = columns.moments()?;
        let calendar = Calendar::observed(spec.frequency(), moments, spec.task.holidays.dates());
        let calendar = Arc::new(calendar);
        let (mut series, mut notes) = (Vec::new(), Vec::new());
        for (name, rows) in columns.by_series() {
            let mut periods: BTreeMap<i64, Told> = BTreeMap::new();
            for &row in &rows {
                let row = row as usize;
                let moment = columns.moment(row)?;
                let period = calendar
                    .period(moment)
                    .ok_or_else(|| no_period(&name, moment.to_string(), &calendar))?;
                let told = columns.told(row);
                check_value((&name, &told), period, spec.model.transform.signed(), &calendar)?;
                if periods.insert(period, told).is_some() {
                    let period = calendar.label(period);
                    return Err(DataError::Duplicate { series: name, period });
                }
            }
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
}

/// What is told of one period of a series.
#[derive(Debug)]
pub(super) struct Told {
    /// The value; none for a future period of which only features are known.
    pub(super) value: Option<f64>,
    /// One value per feature; NaN where there is none.
    pub(super) features: Vec<f64>,
    /// One value per static feature.
    pub(super) statics: Vec<f64>,
}

/// A table, column by column.
struct Columns {
    /// Names of series.
    names: Vec<String>,
    /// The series of each row, by its place among the names.
    series: Vec<u32>,
    times: Times,
    /// NaN where there is none.
    values: Vec<f64>,
    /// The first row whose value is a NaN, which is not the same as none.
    nan: Option<usize>,
    features: Vec<Vec<f64>>,
    statics: Vec<Vec<f64>>,
}

impl Columns {
    fn of(records: Vec<Record>) -> Self {
        let numbers = |of: &dyn Fn(&Record) -> &Vec<f64>| {
            let count = records.first().map_or(0, |record| of(record).len());
            let column = |at: usize| records.iter().map(|record| of(record)[at]).collect();
            (0..count).map(column).collect()
        };
        let (features, statics) = (numbers(&|r| &r.features), numbers(&|r| &r.statics));
        let names: BTreeSet<&String> = records.iter().map(|record| &record.series).collect();
        let names: Vec<String> = names.into_iter().cloned().collect();
        let place = |name: &String| names.partition_point(|known| known < name) as u32;
        Self {
            series: records.iter().map(|record| place(&record.series)).collect(),
            times: Times::Known(records.iter().map(|record| record.moment).collect()),
            values: records.iter().map(|record| record.value.unwrap_or(f64::NAN)).collect(),
            nan: records.iter().position(|record| record.value.is_some_and(f64::is_nan)),
            features,
            statics,
            names,
        }
    }

    fn read(files: Vec<Bytes>, spec: &TrainSpec) -> Result<Self, DataError> {
        let task = &spec.task;
        let error = |column: &str, problem| DataError::Column {
            column: column.to_owned(),
            problem,
            available: available(&files).unwrap_or_default(),
        };
        let features: Vec<&str> = task.features.iter().map(|f| f.column.as_str()).collect();
        let statics: Vec<&str> = task.static_features.iter().map(String::as_str).collect();
        let own = [task.series.as_str(), task.time.as_str(), task.target.as_str()];
        let wanted = [&own[..], &features, &statics].concat();
        let mut table = RawTable::read(files.iter().cloned(), &wanted)?;
        let numbers = |table: &RawTable, names: &[&str]| {
            let column = |name: &&str| match table.get(name) {
                Ok(raw) => Ok(numbers(raw).unwrap_or_else(|| vec![f64::NAN; table.rows()])),
                Err(_) => Err(error(name, "is missing")),
            };
            names.iter().map(column).collect::<Result<Vec<_>, _>>()
        };
        let (features, statics) = (numbers(&table, &features)?, numbers(&table, &statics)?);
        let mut take = |name: &String| table.take(name).ok_or_else(|| error(name, "is missing"));
        let (series, time, target) = (take(&task.series)?, take(&task.time)?, take(&task.target)?);
        let not_text = || error(&task.series, "is not text");
        let Raw::Text { codes, texts: names } = series else { return Err(not_text()) };
        let series = codes.into_iter().collect::<Option<Vec<u32>>>().ok_or_else(not_text)?;
        let values = into_numbers(target);
        let values = values.ok_or_else(|| error(&task.target, "is not a number"))?;
        let nan = table.first_nan(&task.target);
        let (name, available) = (task.time.clone(), available(&files).unwrap_or_default());
        let times = Times::Stored { column: time, frequency: spec.frequency(), name, available };
        Ok(Self { names, series, times, values, nan, features, statics })
    }

    /// All moments, of which there is one in each row.
    fn moments(&self) -> Result<impl Iterator<Item = DateTime>, DataError> {
        let rows = 0..self.series.len();
        rows.clone().try_for_each(|row| self.moment(row).map(drop))?;
        Ok(rows.filter_map(|row| self.moment(row).ok()))
    }

    fn moment(&self, row: usize) -> Result<DateTime, DataError> {
        match &self.times {
            Times::Known(moments) => Ok(moments[row]),
            Times::Stored { column, frequency, name, available } => {
                let series = &self.names[self.series[row] as usize];
                moment(column, row, series, *frequency)?.ok_or_else(|| DataError::Column {
                    column: name.clone(),
                    problem: "is not a time",
                    available: available.clone(),
                })
            }
        }
    }

    /// Names in their order, with the rows of each.
    fn by_series(&self) -> Vec<(String, Vec<u32>)> {
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.names.len()];
        for (row, series) in self.series.iter().enumerate() {
            rows[*series as usize].push(row as u32);
        }
        let mut all: Vec<(String, Vec<u32>)> = self.names.iter().cloned().zip(rows).collect();
        all.sort_unstable();
        all
    }

    fn told(&self, row: usize) -> Told {
        let of = |columns: &[Vec<f64>]| columns.iter().map(|column| column[row]).collect();
        let value = self.values[row];
        let value = (!value.is_nan() || Some(row) == self.nan).then_some(value);
        Told { value, features: of(&self.features), statics: of(&self.statics) }
    }
}

/// The moments of a table's rows.
enum Times {
    /// They.
    Known(Vec<DateTime>),
    /// As a file has them: what is made of them would take as much room again.
    Stored {
        /// The column.
        column: Raw,
        /// How far they are apart.
        frequency: Frequency,
        /// What the column is called.
        name: String,
        /// Names of all columns.
        available: String,
    },
}

/// Names of the columns of a table's first file.
fn available(files: &[Bytes]) -> Option<String> {
    let reader = SerializedFileReader::new(files.first()?.clone()).ok()?;
    let fields = reader.metadata().file_metadata().schema().get_fields();
    Some(fields.iter().map(|field| field.name()).collect::<Vec<_>>().join(", "))
}

/// A column as numbers, NaN where there is none.
fn numbers(raw: &Raw) -> Option<Vec<f64>> {
    match raw {
        Raw::Number(numbers) => Some(numbers.clone()),
        Raw::Whole(numbers) => {
            Some(numbers.iter().map(|n| n.map_or(f64::NAN, |n| n as f64)).collect())
        }
        _ => None,
    }
}

/// The same of a column that nobody needs again.
fn into_numbers(raw: Raw) -> Option<Vec<f64>> {
    match raw {
        Raw::Number(numbers) => Some(numbers),
        other => numbers(&other),
    }
}

fn check_value(
    (series, told): (&str, &Told),
    period: i64,
    signed: bool,
    calendar: &Calendar,
) -> Result<(), DataError> {
    match told.value.filter(|v| !v.is_finite() || (*v < 0.0 && !signed)) {
        None => Ok(()),
        Some(value) => Err(DataError::Value {
            series: series.to_owned(),
            period: calendar.label(period),
            value,
            sign: if signed { "" } else { " that is not negative" },
        }),
    }
}

/// One series; none when nothing was observed, or when it is left out.
fn assemble(
    name: String,
    periods: &BTreeMap<i64, Told>,
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

/// The dates in the column `day` of a table.
pub fn days_of(files: Vec<Bytes>) -> Result<Vec<Date>, DataError> {
    let error = |problem| DataError::Column {
        column: DAY_COLUMN.to_owned(),
        problem,
        available: available(&files).unwrap_or_default(),
    };
    let mut table = RawTable::read(files.iter().cloned(), &[DAY_COLUMN])?;
    let column = table.take(DAY_COLUMN).ok_or_else(|| error("is missing"))?;
    let day = |row: usize| match &column {
        Raw::Day(days) => days[row].map(|days| moment_of_days(days).date()),
        Raw::Text { codes, texts } => texts[codes[row]? as usize].parse().ok(),
        _ => None,
    };
    let days = (0..table.rows()).map(|row| day(row).ok_or_else(|| error("is not a date")));
    let days: BTreeSet<Date> = days.collect::<Result<_, _>>()?;
    Ok(days.into_iter().collect())
}

/// The moment in a row of a column of times; `None` when the column has another type.
fn moment(
    column: &Raw,
    row: usize,
    series: &str,
    frequency: Frequency,
) -> Result<Option<DateTime>, DataError> {
    let of_micros = |micros: i64| {
        let time = jiff::Timestamp::from_microsecond(micros).ok()?;
        Some(time.to_zoned(jiff::tz::TimeZone::UTC).datetime())
    };
    let of_year = |year: f64| {
        (frequency == Frequency::Yearly && year.fract() == 0.0).then(|| new_year(year as i64))
    };
    let error = |shown: String| no_period(series, shown, &Calendar::of(frequency));
    match column {
        Raw::Text { codes, texts } => {
            let Some(code) = codes[row] else { return Ok(None) };
            let text = &texts[code as usize];
            moment_of_text(frequency, text).map(Some).ok_or_else(|| error(format!("{text:?}")))
        }
        Raw::Day(days) => Ok(days[row].map(moment_of_days)),
        Raw::Moment(micros) => match micros[row] {
            Some(micros) => {
                of_micros(micros).map(Some).ok_or_else(|| error(format!("{micros} microseconds")))
            }
            None => Ok(None),
        },
        Raw::Whole(years) => Ok(years[row].and_then(|year| of_year(year as f64))),
        Raw::Number(years) => Ok(of_year(years[row])),
        Raw::Boolean(_) => Ok(None),
    }
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

#[cfg(test)]
mod tests {
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type};
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
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

    /// A file with a series of years, whose values have two decimals or are missing.
    fn file(values: &[Option<i32>], numbers: Option<&[f64]>) -> Bytes {
        let kind = match numbers {
            Some(_) => "required double v",
            None => "optional int32 v (DECIMAL(9,2))",
        };
        let schema =
            format!("message t {{ required binary s (STRING); required int32 t; {kind}; }}");
        let schema = Arc::new(parse_message_type(&schema).expect("a schema"));
        let mut writer =
            SerializedFileWriter::new(Vec::new(), schema, Default::default()).expect("a writer");
        let mut group = writer.next_row_group().expect("a group");
        let rows = numbers.map_or(values.len(), <[f64]>::len);
        let mut column = group.next_column().expect("a column").expect("series");
        let names = vec![ByteArray::from("A"); rows];
        column.typed::<ByteArrayType>().write_batch(&names, None, None).expect("written");
        column.close().expect("closed");
        let mut column = group.next_column().expect("a column").expect("years");
        let years: Vec<i32> = (2000..).take(rows).collect();
        column.typed::<Int32Type>().write_batch(&years, None, None).expect("written");
        column.close().expect("closed");
        let mut column = group.next_column().expect("a column").expect("values");
        match numbers {
            Some(numbers) => {
                column.typed::<DoubleType>().write_batch(numbers, None, None).expect("written")
            }
            None => {
                let levels: Vec<i16> = values.iter().map(|v| i16::from(v.is_some())).collect();
                let values: Vec<i32> = values.iter().copied().flatten().collect();
                let column = column.typed::<Int32Type>();
                column.write_batch(&values, Some(&levels), None).expect("written")
            }
        };
        column.close().expect("closed");
        group.close().expect("closed");
        writer.into_inner().expect("a file").into()
    }

    #[test]
    fn files_of_parquet_say_what_is_missing_and_what_is_no_number() {
        let spec = TrainSpec::forecast("p", ["s", "t", "v"]);
        let read = |file: Bytes| Dataset::from_parquet([file], &spec).map_err(|e| e.to_string());
        let data = read(file(&[Some(150), Some(-5), Some(7)], None)).expect_err("negative");
        assert!(data.contains("-0.05"), "{data}");
        let data = read(file(&[Some(150), None, Some(725), None], None)).expect("valid");
        assert_eq!(
            (data.series()[0].values.as_slice(), data.filled()),
            ([1.5, 1.5, 7.25].as_slice(), 1)
        );
        let nan = read(file(&[], Some(&[1.0, f64::NAN, 2.0]))).expect_err("no number");
        assert!(nan.contains("NaN") && nan.contains("2001"), "{nan}");
        let other = TrainSpec::forecast("p", ["s", "t", "w"]);
        let file = file(&[Some(1)], None);
        let missing = Dataset::from_parquet([file], &other).expect_err("no such column");
        let missing = missing.to_string();
        assert!(missing.contains("`w` is missing") && missing.contains("s, t, v"), "{missing}");
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
