//! Values as text in JSON and CSV, as Hive's, OpenX's and Spark's readers take them: dates as
//! `yyyy-MM-dd`, times as `yyyy-MM-dd HH:mm:ss[.f]`, numbers in the shortest form that gives them
//! again, and `NaN`, `Infinity` and `-Infinity` by Java's names.

use std::io::Write;

use anyhow::{Result, bail};
use datafusion::arrow::array::{
    Array, AsArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray,
};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DecimalType, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
};

use super::columns::MICROS;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A column of a batch whose values become text.
pub struct Texts<'a> {
    name: &'a str,
    array: &'a dyn Array,
    values: Values<'a>,
}

enum Values<'a> {
    Text(&'a StringArray),
    Boolean(&'a BooleanArray),
    Byte(&'a PrimitiveArray<Int8Type>),
    Short(&'a PrimitiveArray<Int16Type>),
    Int(&'a PrimitiveArray<Int32Type>),
    Long(&'a PrimitiveArray<Int64Type>),
    Float(&'a PrimitiveArray<Float32Type>),
    Double(&'a PrimitiveArray<Float64Type>),
    Date(&'a PrimitiveArray<Date32Type>),
    Time(&'a PrimitiveArray<TimestampMicrosecondType>),
    Decimal(&'a PrimitiveArray<Decimal128Type>, u8, i8),
}

/// What was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Null,
    /// A number or a truth value.
    Literal,
    /// Letters that need no escapes.
    Word,
}

/// The columns of a batch of written rows.
pub fn columns(batch: &RecordBatch) -> Result<Vec<Texts<'_>>> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let texts = columns.map(|(field, array)| {
        let values = match array.data_type() {
            DataType::Utf8 => Values::Text(array.as_string()),
            DataType::Boolean => Values::Boolean(array.as_boolean()),
            DataType::Int8 => Values::Byte(array.as_primitive()),
            DataType::Int16 => Values::Short(array.as_primitive()),
            DataType::Int32 => Values::Int(array.as_primitive()),
            DataType::Int64 => Values::Long(array.as_primitive()),
            DataType::Float32 => Values::Float(array.as_primitive()),
            DataType::Float64 => Values::Double(array.as_primitive()),
            DataType::Date32 => Values::Date(array.as_primitive()),
            time if *time == MICROS => Values::Time(array.as_primitive()),
            DataType::Decimal128(precision, scale) => {
                Values::Decimal(array.as_primitive(), *precision, *scale)
            }
            other => bail!("column `{}` is of the type {other}", field.name()),
        };
        Ok(Texts { name: field.name(), array: array.as_ref(), values })
    });
    texts.collect()
}

impl<'a> Texts<'a> {
    /// The value itself, of a column of text.
    pub fn text(&self, row: usize) -> Option<&'a str> {
        match self.values {
            Values::Text(values) if values.is_valid(row) => Some(values.value(row)),
            _ => None,
        }
    }

    /// Appends a value of a column of anything else.
    pub fn append(&self, row: usize, out: &mut Vec<u8>) -> Result<Kind> {
        if self.array.is_null(row) {
            return Ok(Kind::Null);
        }
        match &self.values {
            Values::Text(values) => out.extend_from_slice(values.value(row).as_bytes()),
            Values::Boolean(values) => write!(out, "{}", values.value(row))?,
            Values::Byte(values) => write!(out, "{}", values.value(row))?,
            Values::Short(values) => write!(out, "{}", values.value(row))?,
            Values::Int(values) => write!(out, "{}", values.value(row))?,
            Values::Long(values) => write!(out, "{}", values.value(row))?,
            Values::Float(values) => {
                let value = values.value(row);
                if value.is_finite() {
                    write!(out, "{value:?}")?;
                } else {
                    return Ok(append_not_finite(f64::from(value), out));
                }
            }
            Values::Double(values) => {
                let value = values.value(row);
                if value.is_finite() {
                    write!(out, "{value:?}")?;
                } else {
                    return Ok(append_not_finite(value, out));
                }
            }
            Values::Decimal(values, precision, scale) => {
                let text = Decimal128Type::format_decimal(values.value(row), *precision, *scale);
                out.extend_from_slice(text.as_bytes());
            }
            Values::Date(values) => {
                self.append_date(i64::from(values.value(row)), out)?;
                return Ok(Kind::Word);
            }
            Values::Time(values) => {
                self.append_time(values.value(row), out)?;
                return Ok(Kind::Word);
            }
        }
        Ok(Kind::Literal)
    }

    fn append_date(&self, days: i64, out: &mut Vec<u8>) -> Result<()> {
        let (year, month, day) = civil(days);
        if !(1..=9_999).contains(&year) {
            bail!("column `{}`: the year {year} has no four digits", self.name);
        }
        write!(out, "{year:04}-{month:02}-{day:02}")?;
        Ok(())
    }

    fn append_time(&self, micros: i64, out: &mut Vec<u8>) -> Result<()> {
        let seconds = micros.div_euclid(MICROS_PER_SECOND);
        let micros = micros.rem_euclid(MICROS_PER_SECOND);
        self.append_date(seconds.div_euclid(SECONDS_PER_DAY), out)?;
        let second = seconds.rem_euclid(SECONDS_PER_DAY);
        write!(out, " {:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)?;
        if micros > 0 {
            write!(out, ".{micros:06}")?;
            let digits = out.iter().rposition(|byte| *byte != b'0').unwrap_or_default();
            out.truncate(digits + 1);
        }
        Ok(())
    }
}

fn append_not_finite(value: f64, out: &mut Vec<u8>) -> Kind {
    let word = match value {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    };
    out.extend_from_slice(word.as_bytes());
    Kind::Word
}

/// Year, month and day of a day since 1970 in the Gregorian calendar without a beginning.
///
/// Years begin in March here, so that the leap day is the last of one, and 400 of them always have
/// as many days.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    let since_march_of_year_0 = days + 719_468;
    let era = since_march_of_year_0.div_euclid(DAYS_PER_ERA);
    let day_of_era = since_march_of_year_0.rem_euclid(DAYS_PER_ERA);
    let leap_days = day_of_era / 1_460 - day_of_era / 36_524 + day_of_era / (DAYS_PER_ERA - 1);
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_since_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months_since_march + 2) / 5 + 1;
    let month =
        if months_since_march < 10 { months_since_march + 3 } else { months_since_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (-25_509, (1900, 2, 28)),
            (-25_508, (1900, 3, 1)),
            (-719_162, (1, 1, 1)),
            (2_932_896, (9999, 12, 31)),
        ] {
            assert_eq!(civil(days), date);
        }
    }
}
