//! Values, types and lines as Athena writes them.
//!
//! Measured on Athena by others and in its clients' tests: dates and timestamps with a space and
//! three digits, numbers as Java prints them, lists as `[1, 2]`, rows as `{a=1, b=x}`, bytes as
//! `68 69`; NULL is an empty field, an empty string is `""`.

use std::fmt::{LowerExp, Write};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, DurationMillisecondType, Field, Float32Type, Float64Type, IntervalUnit,
    IntervalYearMonthType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use datafusion::arrow::util::display::array_value_to_string;
use datafusion::error::DataFusionError;
use steppe_wire::query::Column;

use super::failure::Failed;
use super::functions;

/// Characters of a `varchar` without a length.
const VARCHAR_MAX: u32 = 2_147_483_647;
/// Lists and rows in each other.
const NESTING_MAX: usize = 32;

/// A column as `ColumnInfo` describes it, with the length of a text that has one.
pub fn field_column(name: String, field: &Field) -> Result<Column, Failed> {
    let column = column(name, field.data_type())?;
    let Some((kind, length)) = functions::types::length_of(field) else { return Ok(column) };
    let precision = u32::try_from(length).unwrap_or(VARCHAR_MAX);
    Ok(Column { type_name: kind.to_owned(), precision, ..column })
}

/// A column as `ColumnInfo` describes it.
pub fn column(name: String, kind: &DataType) -> Result<Column, Failed> {
    let of = |type_name: &str, precision, scale, case_sensitive| Column {
        name: name.clone(),
        type_name: type_name.to_owned(),
        precision,
        scale,
        case_sensitive,
    };
    Ok(match kind {
        DataType::Boolean => of("boolean", 0, 0, false),
        DataType::Int8 => of("tinyint", 3, 0, false),
        DataType::Int16 | DataType::UInt8 => of("smallint", 5, 0, false),
        DataType::Int32 | DataType::UInt16 => of("integer", 10, 0, false),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => of("bigint", 19, 0, false),
        DataType::Float32 => of("float", 17, 0, false),
        DataType::Float64 => of("double", 17, 0, false),
        DataType::Utf8 | DataType::Utf8View => of("varchar", VARCHAR_MAX, 0, true),
        DataType::LargeUtf8 => of("json", 0, 0, false),
        DataType::Time64(_) => of("time", 3, 0, false),
        DataType::Duration(_) => of("interval day to second", 0, 0, false),
        DataType::Interval(IntervalUnit::YearMonth) => of("interval year to month", 0, 0, false),
        DataType::Null => of("unknown", 0, 0, false),
        DataType::Date32 => of("date", 0, 0, false),
        DataType::Timestamp(_, None) => of("timestamp", 3, 0, false),
        DataType::Timestamp(_, Some(_)) => of("timestamp with time zone", 3, 0, false),
        DataType::Decimal128(precision, scale) => {
            of("decimal", u32::from(*precision), scale.unsigned_abs().into(), false)
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            of("varbinary", 1_073_741_824, 0, false)
        }
        DataType::List(_) | DataType::LargeList(_) => of("array", 0, 0, false),
        DataType::Map(..) => of("map", 0, 0, false),
        DataType::Struct(_) => of("row", 0, 0, false),
        other => {
            let what = format!("the embedded cloud cannot return a column of type {other}");
            return Err(Failed::named("NOT_SUPPORTED", what));
        }
    })
}

/// All rows of a batch as lines of CSV.
pub fn csv_rows(batch: &RecordBatch) -> Result<String, Failed> {
    let mut text = String::new();
    for row in 0..batch.num_rows() {
        let values: Vec<Option<String>> = batch
            .columns()
            .iter()
            .map(|column| value(column, row))
            .collect::<Result<_, _>>()
            .map_err(Failed::execution)?;
        text += &csv_line(values.into_iter());
    }
    Ok(text)
}

/// One line: every value in double quotes, nothing at all for NULL.
pub fn csv_line(values: impl Iterator<Item = Option<String>>) -> String {
    let quoted = values
        .map(|value| value.map_or_else(String::new, |v| format!("\"{}\"", v.replace('"', "\"\""))));
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

/// A value as text; `None` is NULL.
pub fn value(array: &ArrayRef, row: usize) -> Result<Option<String>, DataFusionError> {
    if array.is_null(row) || *array.data_type() == DataType::Null {
        return Ok(None);
    }
    let mut text = String::new();
    write_value(&mut text, array, row, 0)?;
    Ok(Some(text))
}

fn write_value(
    text: &mut String,
    array: &ArrayRef,
    row: usize,
    depth: usize,
) -> Result<(), DataFusionError> {
    if depth > NESTING_MAX {
        return Err(DataFusionError::Execution("a value is nested too deeply".to_owned()));
    }
    if array.is_null(row) {
        text.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Float64 => text.push_str(&java(array.as_primitive::<Float64Type>().value(row))),
        DataType::Float32 => {
            let number = array.as_primitive::<Float32Type>().value(row);
            text.push_str(&java(number));
        }
        DataType::Timestamp(_, zone) => {
            let millis = millis(array, row)?;
            let written = functions::timestamp_text(millis * 1_000, 3, zone.as_deref());
            text.push_str(&written.map_err(DataFusionError::Execution)?);
        }
        DataType::Time64(TimeUnit::Microsecond) => {
            let micros = array.as_primitive::<Time64MicrosecondType>().value(row);
            text.push_str(&functions::clock_text(micros, 3));
        }
        DataType::Duration(_) => {
            let millis = cast(&array.slice(row, 1), &DataType::Duration(TimeUnit::Millisecond))?;
            let millis = millis.as_primitive::<DurationMillisecondType>().value(0);
            text.push_str(&functions::span_text(millis));
        }
        DataType::Interval(IntervalUnit::YearMonth) => {
            let months = array.as_primitive::<IntervalYearMonthType>().value(row);
            text.push_str(&functions::months_text(months));
        }
        DataType::Binary => text.push_str(&bytes(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => text.push_str(&bytes(array.as_binary::<i64>().value(row))),
        DataType::BinaryView => text.push_str(&bytes(array.as_binary_view().value(row))),
        DataType::List(_) => write_list(text, &array.as_list::<i32>().value(row), depth)?,
        DataType::LargeList(_) => write_list(text, &array.as_list::<i64>().value(row), depth)?,
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let named = fields.iter().map(|field| field.name().as_str()).zip(columns);
            write_pairs(text, named, |text, column| write_value(text, column, row, depth + 1))?;
        }
        DataType::Map(..) => write_map(text, array, row, depth)?,
        // Numbers without a point, dates, booleans and texts look everywhere the same.
        _ => text.push_str(&array_value_to_string(array, row)?),
    }
    Ok(())
}

fn write_list(text: &mut String, items: &ArrayRef, depth: usize) -> Result<(), DataFusionError> {
    text.push('[');
    for item in 0..items.len() {
        if item > 0 {
            text.push_str(", ");
        }
        write_value(text, items, item, depth + 1)?;
    }
    text.push(']');
    Ok(())
}

fn write_pairs<'a>(
    text: &mut String,
    pairs: impl Iterator<Item = (&'a str, &'a ArrayRef)>,
    mut write: impl FnMut(&mut String, &ArrayRef) -> Result<(), DataFusionError>,
) -> Result<(), DataFusionError> {
    text.push('{');
    for (index, (name, column)) in pairs.enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        text.push_str(comma);
        text.push_str(name);
        text.push('=');
        write(text, column)?;
    }
    text.push('}');
    Ok(())
}

fn write_map(
    text: &mut String,
    array: &ArrayRef,
    row: usize,
    depth: usize,
) -> Result<(), DataFusionError> {
    let entries = array.as_map().value(row);
    text.push('{');
    for entry in 0..entries.len() {
        if entry > 0 {
            text.push_str(", ");
        }
        write_value(text, entries.column(0), entry, depth + 1)?;
        text.push('=');
        write_value(text, entries.column(1), entry, depth + 1)?;
    }
    text.push('}');
    Ok(())
}

fn millis(array: &ArrayRef, row: usize) -> Result<i64, DataFusionError> {
    let kind = DataType::Timestamp(TimeUnit::Millisecond, None);
    let millis = match array.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            // Before 1970 too, what is less than a millisecond is left out.
            let nanos = array.as_primitive::<TimestampNanosecondType>().value(row);
            return Ok(nanos.div_euclid(1_000_000));
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            return Ok(micros.div_euclid(1_000));
        }
        DataType::Timestamp(_, zone) => {
            let kind = DataType::Timestamp(TimeUnit::Millisecond, zone.clone());
            cast(&array.slice(row, 1), &kind)?
        }
        _ => cast(&array.slice(row, 1), &kind)?,
    };
    Ok(millis.as_primitive::<TimestampMillisecondType>().value(0))
}

fn bytes(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ")
}

/// A number as Java prints it: `1.0`, `1.0E7`, `1.0E-4`, `NaN`, `-Infinity`.
pub fn java<T: Into<f64> + Copy + LowerExp + std::fmt::Display>(number: T) -> String {
    let wide: f64 = number.into();
    if wide.is_nan() {
        return "NaN".to_owned();
    }
    if wide.is_infinite() {
        return if wide > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() };
    }
    let size = wide.abs();
    let mut text = String::new();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        text = number.to_string();
    } else {
        // Writing to a text cannot fail.
        let _written = write!(text, "{number:e}");
    }
    let (digits, exponent) = match text.split_once('e') {
        Some((digits, exponent)) => (digits, format!("E{exponent}")),
        None => (text.as_str(), String::new()),
    };
    let point = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{point}{exponent}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{
        BinaryArray, BooleanArray, Date32Array, Int64Array, ListArray, StringArray, StructArray,
        TimestampNanosecondArray,
    };
    use datafusion::arrow::datatypes::Int32Type;
    use datafusion::arrow::datatypes::{Field, Fields};

    use super::*;

    fn first(array: impl Array + 'static) -> String {
        let array: ArrayRef = Arc::new(array);
        value(&array, 0).expect("a value").expect("not NULL")
    }

    #[test]
    fn values_look_as_athena_prints_them() {
        assert_eq!(first(Int64Array::from(vec![-7])), "-7");
        assert_eq!(first(BooleanArray::from(vec![true])), "true");
        assert_eq!(first(Date32Array::from(vec![11_556])), "2001-08-22");
        let midnight = TimestampNanosecondArray::from(vec![996_624_000_000_000_000]);
        assert_eq!(first(midnight), "2001-08-01 00:00:00.000");
        let zoned = TimestampNanosecondArray::from(vec![996_624_001_234_567_890]);
        assert_eq!(first(zoned.with_timezone("UTC")), "2001-08-01 00:00:01.234 UTC");
        assert_eq!(first(BinaryArray::from(vec![&b"hi"[..]])), "68 69");
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
        assert_eq!(first(list), "[1, null]");
        let fields = Fields::from(vec![
            Field::new("step", DataType::Int64, true),
            Field::new("name", DataType::Utf8, true),
        ]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from(vec![1])), Arc::new(StringArray::from(vec!["a, b"]))];
        assert_eq!(first(StructArray::new(fields, columns, None)), "{step=1, name=a, b}");
    }

    #[test]
    fn numbers_look_as_java_prints_them() {
        for (number, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1 + 0.2, "0.30000000000000004"),
            (0.001, "0.001"),
            (0.000_1, "1.0E-4"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (-1.25e20, "-1.25E20"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(java(number), text);
        }
        assert_eq!(java(0.1f32), "0.1");
    }

    #[test]
    fn null_is_nothing_and_an_empty_string_is_quoted() {
        let values = [Some(String::new()), None, Some("a\"b".to_owned())];
        assert_eq!(csv_line(values.into_iter()), "\"\",,\"a\"\"b\"\n");
    }
}
