//! Trino's types: their names, which stands for which, and what a function takes.
//!
//! A text of 64-bit offsets is JSON, because tables have texts of 32-bit offsets only. The unit of
//! a timestamp is its precision: 0, 3, 6 or 9 digits. Lengths of `varchar` and `char` are metadata.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, IntervalUnit, TimeUnit};
use datafusion::error::{DataFusionError, Result};

use super::decimal::{self, DIGITS_MAX};
use super::value::Value;

/// Where a field says that it is `varchar(5)` or `char(5)`.
pub const NAME: &str = "trino";
/// What JSON is.
pub const JSON: DataType = DataType::LargeUtf8;
/// What `interval day to second` is.
pub const SPAN: DataType = DataType::Duration(TimeUnit::Millisecond);
/// What `interval year to month` is.
pub const MONTHS: DataType = DataType::Interval(IntervalUnit::YearMonth);
/// What `time` is.
pub const TIME: DataType = DataType::Time64(TimeUnit::Microsecond);
/// Types in each other.
const NESTING_MAX: usize = 32;

/// A timestamp of milliseconds.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

/// One with a time zone.
pub fn zoned(zone: &str) -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some(zone.into()))
}

/// An array.
pub fn array(item: DataType) -> DataType {
    DataType::new_list(item, true)
}

/// A map.
pub fn map(key: DataType, value: DataType) -> DataType {
    let fields = vec![Field::new("key", key, false), Field::new("value", value, true)];
    let entries = DataType::Struct(Fields::from(fields));
    DataType::Map(Arc::new(Field::new("entries", entries, false)), false)
}

/// A row whose fields have no names, which are printed as `field0`.
pub fn row(kinds: impl IntoIterator<Item = DataType>) -> DataType {
    let fields = kinds.into_iter().enumerate();
    let fields = fields.map(|(index, kind)| Field::new(format!("field{index}"), kind, true));
    DataType::Struct(fields.collect())
}

/// The key's and the value's type of a map.
pub fn of_map(kind: &DataType) -> Option<(&DataType, &DataType)> {
    let DataType::Map(entries, _) = kind else { return None };
    let DataType::Struct(fields) = entries.data_type() else { return None };
    Some((fields.first()?.data_type(), fields.get(1)?.data_type()))
}

pub fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::Utf8View)
}

pub fn is_decimal(kind: &DataType) -> bool {
    matches!(kind, DataType::Decimal128(..))
}

pub fn is_number(kind: &DataType) -> bool {
    kind.is_integer() || kind.is_floating() || is_decimal(kind)
}

/// As `typeof` calls a field.
pub fn name_of(field: &Field) -> String {
    field.metadata().get(NAME).cloned().unwrap_or_else(|| name(field.data_type()))
}

/// `char` or `varchar` and its length, of a field that says it.
pub fn length_of(field: &Field) -> Option<(&'static str, usize)> {
    match parse(field.metadata().get(NAME)?).ok()?.length? {
        Length::Varchar(length) => Some(("varchar", length)),
        Length::Char(length) => Some(("char", length)),
    }
}

/// As `typeof` calls a type.
pub fn name(kind: &DataType) -> String {
    match kind {
        DataType::Null => "unknown".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Int16 | DataType::UInt8 => "smallint".to_owned(),
        DataType::Int32 | DataType::UInt16 => "integer".to_owned(),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => "bigint".to_owned(),
        DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Utf8 | DataType::Utf8View => "varchar".to_owned(),
        DataType::LargeUtf8 => "json".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "varbinary".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Time64(_) => "time(3)".to_owned(),
        DataType::Timestamp(unit, None) => format!("timestamp({})", digits(*unit)),
        DataType::Timestamp(unit, Some(_)) => {
            format!("timestamp({}) with time zone", digits(*unit))
        }
        DataType::Duration(_) => "interval day to second".to_owned(),
        DataType::Interval(_) => "interval year to month".to_owned(),
        DataType::List(item) => format!("array({})", name_of(item)),
        DataType::Map(..) => match of_map(kind) {
            Some((key, value)) => format!("map({}, {})", name(key), name(value)),
            None => "map".to_owned(),
        },
        DataType::Struct(fields) => {
            let fields = fields.iter().enumerate().map(|(index, field)| {
                match *field.name() == format!("field{index}") {
                    true => name_of(field),
                    false => format!("{} {}", field.name(), name_of(field)),
                }
            });
            format!("row({})", fields.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}

/// Digits of a second.
pub fn digits(unit: TimeUnit) -> u8 {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// The unit with at least so many digits.
pub fn unit(digits: usize) -> TimeUnit {
    match digits {
        0 => TimeUnit::Second,
        1..=3 => TimeUnit::Millisecond,
        4..=6 => TimeUnit::Microsecond,
        _ => TimeUnit::Nanosecond,
    }
}

/// A length that only metadata keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    Varchar(usize),
    Char(usize),
}

/// A type as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub kind: DataType,
    pub length: Option<Length>,
}

impl Written {
    /// A nullable field of the type.
    pub fn field(&self, name: &str) -> Field {
        let field = Field::new(name, self.kind.clone(), true);
        let called = match self.length {
            Some(Length::Varchar(length)) => format!("varchar({length})"),
            Some(Length::Char(length)) => format!("char({length})"),
            None => return field,
        };
        field.with_metadata(HashMap::from([(NAME.to_owned(), called)]))
    }
}

/// Reads `array(row(a integer, b varchar(5)))`; the error is in Trino's words.
pub fn parse(text: &str) -> Result<Written, String> {
    let unknown = || format!("TYPE_NOT_FOUND: line 1:1: Unknown type: {text}");
    let mut rest = text;
    let written = read(&mut rest, 0).ok_or_else(unknown)?;
    if rest.trim().is_empty() { Ok(written) } else { Err(unknown()) }
}

fn read(text: &mut &str, depth: usize) -> Option<Written> {
    if depth > NESTING_MAX {
        return None;
    }
    let word = word(text)?;
    let plain = |kind| Some(Written { kind, length: None });
    match word.as_str() {
        "boolean" => plain(DataType::Boolean),
        "tinyint" => plain(DataType::Int8),
        "smallint" => plain(DataType::Int16),
        "integer" | "int" => plain(DataType::Int32),
        "bigint" => plain(DataType::Int64),
        "real" | "float" => plain(DataType::Float32),
        "double" => {
            // `double precision`
            let mut after = *text;
            if self::word(&mut after).as_deref() == Some("precision") {
                *text = after;
            }
            plain(DataType::Float64)
        }
        "decimal" | "dec" | "numeric" => {
            let (precision, scale) = match numbers(text)?.as_slice() {
                [] => (38, 0),
                [precision] => (*precision, 0),
                [precision, scale] => (*precision, *scale),
                _ => return None,
            };
            let precision =
                u8::try_from(precision).ok().filter(|p| (1..=DIGITS_MAX).contains(p))?;
            let scale = u8::try_from(scale).ok().filter(|s| *s <= precision)?;
            plain(DataType::Decimal128(precision, i8::try_from(scale).ok()?))
        }
        "varchar" | "string" => {
            let length = numbers(text)?.first().map(|length| Length::Varchar(*length));
            Some(Written { kind: DataType::Utf8, length })
        }
        "char" => {
            let length = numbers(text)?.first().copied().unwrap_or(1);
            Some(Written { kind: DataType::Utf8, length: Some(Length::Char(length)) })
        }
        "varbinary" => plain(DataType::Binary),
        "json" => plain(JSON),
        "date" => plain(DataType::Date32),
        "unknown" => plain(DataType::Null),
        "interval" => {
            let words: Vec<String> = (0..3).filter_map(|_| self::word(text)).collect();
            match words.join(" ").as_str() {
                "day to second" => plain(SPAN),
                "year to month" => plain(MONTHS),
                _ => None,
            }
        }
        "time" | "timestamp" => {
            let precision = numbers(text)?.first().copied().unwrap_or(3);
            let zone = zone_words(text)?;
            match (word.as_str(), zone) {
                ("time", false) => plain(TIME),
                ("timestamp", false) => plain(DataType::Timestamp(unit(precision), None)),
                ("timestamp", true) => {
                    plain(DataType::Timestamp(unit(precision), Some("UTC".into())))
                }
                _ => None,
            }
        }
        "array" => plain(array(inside(text, depth)?)),
        "map" => {
            expect(text, '(')?;
            let key = read(text, depth + 1)?.kind;
            expect(text, ',')?;
            let value = read(text, depth + 1)?.kind;
            expect(text, ')')?;
            plain(map(key, value))
        }
        "row" => {
            expect(text, '(')?;
            let mut fields = Vec::new();
            loop {
                fields.push(row_field(text, depth, fields.len())?);
                if expect(text, ',').is_none() {
                    break;
                }
            }
            expect(text, ')')?;
            plain(DataType::Struct(Fields::from(fields)))
        }
        _ => None,
    }
}

/// A type, or a name and a type.
fn row_field(text: &mut &str, depth: usize, index: usize) -> Option<Field> {
    let before = *text;
    if let Some(written) = read(text, depth + 1)
        && matches!(text.trim_start().chars().next(), Some(',' | ')'))
    {
        return Some(written.field(&format!("field{index}")));
    }
    *text = before;
    let name = word(text)?;
    Some(read(text, depth + 1)?.field(&name))
}

/// `with time zone`, `without time zone`, or nothing.
fn zone_words(text: &mut &str) -> Option<bool> {
    let mut after = *text;
    let with = match word(&mut after).as_deref() {
        Some("with") => true,
        Some("without") => false,
        _ => return Some(false),
    };
    let rest = (word(&mut after)?, word(&mut after)?);
    *text = after;
    (rest == ("time".to_owned(), "zone".to_owned())).then_some(with)
}

fn inside(text: &mut &str, depth: usize) -> Option<DataType> {
    let close = if expect(text, '(').is_some() { ')' } else { expect(text, '<').map(|()| '>')? };
    let kind = read(text, depth + 1)?.kind;
    expect(text, close)?;
    Some(kind)
}

/// In lower case; one in double quotes without these.
fn word(text: &mut &str) -> Option<String> {
    let rest = text.trim_start();
    if let Some(quoted) = rest.strip_prefix('"') {
        let (name, after) = quoted.split_once('"')?;
        *text = after;
        return Some(name.to_lowercase());
    }
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    *text = after;
    (!word.is_empty()).then(|| word.to_lowercase())
}

fn expect(text: &mut &str, wanted: char) -> Option<()> {
    *text = text.trim_start().strip_prefix(wanted)?;
    Some(())
}

/// `(10, 2)`, or nothing.
fn numbers(text: &mut &str) -> Option<Vec<usize>> {
    if expect(text, '(').is_none() {
        return Some(vec![]);
    }
    let (inside, after) = text.split_once(')')?;
    *text = after;
    inside.split(',').map(|number| number.trim().parse().ok()).collect()
}

/// Digits of a whole number's type.
fn whole_digits(kind: &DataType) -> u8 {
    match kind {
        DataType::Int8 => 3,
        DataType::Int16 | DataType::UInt8 => 5,
        DataType::Int32 | DataType::UInt16 => 10,
        _ => 19,
    }
}

/// Precision and scale of a decimal or a whole number.
pub fn as_decimal(kind: &DataType) -> Option<(u8, i8)> {
    match kind {
        DataType::Decimal128(precision, scale) => Some((*precision, *scale)),
        kind if kind.is_integer() => Some((whole_digits(kind), 0)),
        _ => None,
    }
}

/// The engine counts some things without a sign; Trino has no such types.
pub fn signed(kind: &DataType) -> DataType {
    match kind {
        DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// The type that Trino takes both for.
pub fn common(left: &DataType, right: &DataType) -> Option<DataType> {
    let (left, right) = (signed(left), signed(right));
    if left == right {
        return Some(left);
    }
    match (&left, &right) {
        (DataType::Null, _) => Some(right),
        (_, DataType::Null) => Some(left),
        (a, b) if a.is_integer() && b.is_integer() => {
            Some(if whole_digits(a) >= whole_digits(b) { left } else { right })
        }
        (DataType::Float64, b) if is_number(b) => Some(DataType::Float64),
        (a, DataType::Float64) if is_number(a) => Some(DataType::Float64),
        (DataType::Float32, b) if is_number(b) => Some(DataType::Float32),
        (a, DataType::Float32) if is_number(a) => Some(DataType::Float32),
        (a, b) if is_number(a) && is_number(b) => {
            let ((p, s), (q, t)) = (as_decimal(a)?, as_decimal(b)?);
            let scale = s.max(t);
            let whole = (i16::from(p) - i16::from(s)).max(i16::from(q) - i16::from(t));
            let precision = (whole + i16::from(scale)).min(i16::from(DIGITS_MAX));
            Some(DataType::Decimal128(u8::try_from(precision).ok()?, scale))
        }
        (DataType::Date32, DataType::Timestamp(..)) => Some(right),
        (DataType::Timestamp(..), DataType::Date32) => Some(left),
        (DataType::Timestamp(a, z), DataType::Timestamp(b, w)) => {
            let unit = if digits(*a) >= digits(*b) { *a } else { *b };
            match (z, w) {
                (Some(z), Some(w)) if z != w => None,
                _ => Some(DataType::Timestamp(unit, z.clone().or_else(|| w.clone()))),
            }
        }
        (DataType::List(a), DataType::List(b)) => {
            Some(array(common(a.data_type(), b.data_type())?))
        }
        (DataType::Map(..), DataType::Map(..)) => {
            let ((k, v), (l, w)) = (of_map(&left)?, of_map(&right)?);
            Some(map(common(k, l)?, common(v, w)?))
        }
        (DataType::Struct(a), DataType::Struct(b)) if a.len() == b.len() => {
            let fields = a.iter().zip(b.iter()).map(|(a, b)| {
                let kind = common(a.data_type(), b.data_type())?;
                Some(Arc::new(Field::new(a.name(), kind, true)))
            });
            Some(DataType::Struct(fields.collect::<Option<Vec<FieldRef>>>()?.into()))
        }
        _ => None,
    }
}

/// A value of one type as one of a type that Trino takes for it.
pub fn coerce(value: Value, to: &DataType) -> Result<Value> {
    Ok(match (to, value) {
        (_, Value::Null) => Value::Null,
        (DataType::Float64, value) => Value::Double(value.double()),
        (DataType::Float32, Value::Real(number)) => Value::Real(number),
        (DataType::Float32, value) => Value::Real(value.double() as f32),
        (DataType::Decimal128(_, scale), value) => {
            let digits = decimal::digits_of(&value, *scale)?;
            Value::or_null(digits, |digits| Value::Decimal(digits, *scale))
        }
        (DataType::Timestamp(..), Value::Date(days)) => {
            Value::Instant(i64::from(days) * 86_400_000_000)
        }
        (DataType::List(item), Value::List(items)) => {
            let items = items.into_iter().map(|value| coerce(value, item.data_type()));
            Value::List(items.collect::<Result<_>>()?)
        }
        (DataType::Map(..), Value::Map(entries)) => {
            let (key_kind, value_kind) = of_map(to).ok_or_else(not_a_map)?;
            let entries = entries
                .into_iter()
                .map(|(key, value)| Ok((coerce(key, key_kind)?, coerce(value, value_kind)?)));
            Value::Map(entries.collect::<Result<_>>()?)
        }
        (DataType::Struct(fields), Value::Row(values)) => {
            let values = values.into_iter().zip(fields.iter());
            let values = values.map(|(value, field)| coerce(value, field.data_type()));
            Value::Row(values.collect::<Result<_>>()?)
        }
        (_, value) => value,
    })
}

fn not_a_map() -> DataFusionError {
    DataFusionError::Internal("a map has keys and values".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for text in [
            "integer",
            "decimal(3,1)",
            "array(integer)",
            "map(varchar, array(double))",
            "row(x bigint, y varchar(5))",
            "row(integer, date)",
            "timestamp(3) with time zone",
            "interval day to second",
            "json",
        ] {
            let written = parse(text).expect(text);
            assert_eq!(name_of(&written.field("")), text);
        }
        assert_eq!(name(&parse("ROW(\"A\" INT)").expect("a type").kind), "row(a integer)");
        for wrong in ["", "integers", "array", "array(integer", "decimal(50,2)", "row()"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&"array(".repeat(10_000)).is_err());
    }

    #[test]
    fn what_stands_for_what() {
        let of = |left: &str, right: &str| {
            let kind = |text| parse(text).expect("a type").kind;
            common(&kind(left), &kind(right)).map(|kind| name(&kind))
        };
        assert_eq!(of("integer", "bigint").as_deref(), Some("bigint"));
        assert_eq!(of("integer", "decimal(2,1)").as_deref(), Some("decimal(11,1)"));
        assert_eq!(of("decimal(5,1)", "decimal(4,3)").as_deref(), Some("decimal(7,3)"));
        assert_eq!(of("array(integer)", "array(double)").as_deref(), Some("array(double)"));
        assert_eq!(of("date", "timestamp(0)").as_deref(), Some("timestamp(0)"));
        assert_eq!(of("varchar", "integer"), None);
    }
}
