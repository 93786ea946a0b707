//! One value of a row, whatever its type, so that a function is written once for all of them.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    DurationMillisecondArray, Float32Array, Float64Array, Int8Array, Int16Array, Int32Array,
    Int64Array, IntervalYearMonthArray, LargeStringArray, ListArray, MapArray, StringArray,
    StructArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, new_null_array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, DurationMillisecondType,
    DurationNanosecondType, DurationSecondType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, IntervalUnit, IntervalYearMonthType, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::error::{DataFusionError, Result};

use super::decimal;

/// A value. Which type it has, the column says: JSON is a text here, and an instant has no zone.
#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Boolean(bool),
    /// Of every width.
    Whole(i64),
    Real(f32),
    Double(f64),
    /// Digits, and how many of them are behind the point.
    Decimal(i128, i8),
    Text(String),
    Bytes(Vec<u8>),
    /// Days since 1970.
    Date(i32),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970.
    Instant(i64),
    /// Milliseconds of an interval.
    Span(i64),
    /// Months of an interval.
    Months(i32),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Row(Vec<Value>),
}

impl Value {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// NULL for nothing.
    pub fn or_null<T>(value: Option<T>, make: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Null, make)
    }

    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// A whole number, when it is one.
    pub fn whole(&self) -> i64 {
        match self {
            Self::Whole(number) | Self::Instant(number) | Self::Span(number) => *number,
            Self::Date(days) => i64::from(*days),
            Self::Months(months) => i64::from(*months),
            _ => 0,
        }
    }

    /// Any number as a double.
    pub fn double(&self) -> f64 {
        match self {
            Self::Double(number) => *number,
            Self::Real(number) => f64::from(*number),
            Self::Whole(number) => *number as f64,
            Self::Decimal(digits, scale) => decimal::to_double(*digits, *scale),
            _ => f64::NAN,
        }
    }

    /// The text, or nothing of it.
    pub fn str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    pub fn truth(&self) -> bool {
        matches!(self, Self::Boolean(true))
    }

    pub fn items(&self) -> &[Value] {
        match self {
            Self::List(items) | Self::Row(items) => items,
            _ => &[],
        }
    }

    pub fn entries(&self) -> &[(Value, Value)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Whether there is a NULL anywhere in it.
    pub fn holds_null(&self) -> bool {
        match self {
            Self::Null => true,
            Self::List(items) | Self::Row(items) => items.iter().any(Self::holds_null),
            Self::Map(entries) => entries.iter().any(|(_, value)| value.holds_null()),
            _ => false,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Boolean(_) => 0,
            Self::Whole(_) => 1,
            Self::Real(_) => 2,
            Self::Double(_) => 3,
            Self::Decimal(..) => 4,
            Self::Text(_) => 5,
            Self::Bytes(_) => 6,
            Self::Date(_) => 7,
            Self::Time(_) => 8,
            Self::Instant(_) => 9,
            Self::Span(_) => 10,
            Self::Months(_) => 11,
            Self::List(_) => 12,
            Self::Map(_) => 13,
            Self::Row(_) => 14,
            // Behind everything, as `ORDER BY` has it.
            Self::Null => 15,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Whole(a), Self::Whole(b))
            | (Self::Time(a), Self::Time(b))
            | (Self::Instant(a), Self::Instant(b))
            | (Self::Span(a), Self::Span(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => number_order(f64::from(*a), f64::from(*b)),
            (Self::Double(a), Self::Double(b)) => number_order(*a, *b),
            (Self::Decimal(a, s), Self::Decimal(b, t)) => decimal::compare((*a, *s), (*b, *t)),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) | (Self::Months(a), Self::Months(b)) => a.cmp(b),
            (Self::List(a), Self::List(b)) | (Self::Row(a), Self::Row(b)) => a.cmp(b),
            (Self::Map(a), Self::Map(b)) => {
                let (mut a, mut b) = (a.clone(), b.clone());
                a.sort();
                b.sort();
                a.cmp(&b)
            }
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

/// NaN is larger than all numbers and equal to itself; the two zeros are equal.
fn number_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::Boolean(truth) => truth.hash(state),
            Self::Whole(n) | Self::Time(n) | Self::Instant(n) | Self::Span(n) => n.hash(state),
            Self::Double(_) | Self::Real(_) => {
                let number = self.double();
                (if number == 0.0 || number.is_nan() { 0 } else { number.to_bits() }).hash(state);
            }
            // Of one column, all have the same scale.
            Self::Decimal(digits, _) => digits.hash(state),
            Self::Text(text) => text.hash(state),
            Self::Bytes(bytes) => bytes.hash(state),
            Self::Date(number) | Self::Months(number) => number.hash(state),
            Self::List(items) | Self::Row(items) => items.hash(state),
            Self::Map(entries) => entries.len().hash(state),
            Self::Null => {}
        }
    }
}

/// The value of a row.
pub fn read(array: &dyn Array, row: usize) -> Result<Value> {
    if array.is_null(row) {
        return Ok(Value::Null);
    }
    macro_rules! whole {
        ($kind:ty) => {
            Value::Whole(array.as_primitive::<$kind>().value(row) as i64)
        };
    }
    Ok(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Boolean(array.as_boolean().value(row)),
        DataType::Int8 => whole!(Int8Type),
        DataType::Int16 => whole!(Int16Type),
        DataType::Int32 => whole!(Int32Type),
        DataType::Int64 => whole!(Int64Type),
        DataType::UInt8 => whole!(UInt8Type),
        DataType::UInt16 => whole!(UInt16Type),
        DataType::UInt32 => whole!(UInt32Type),
        DataType::UInt64 => whole!(UInt64Type),
        DataType::Float32 => Value::Real(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Value::Double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(_, scale) => {
            Value::Decimal(array.as_primitive::<Decimal128Type>().value(row), *scale)
        }
        DataType::Utf8 => Value::text(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Value::text(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Value::text(array.as_string_view().value(row)),
        DataType::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::LargeBinary => Value::Bytes(array.as_binary::<i64>().value(row).to_vec()),
        DataType::BinaryView => Value::Bytes(array.as_binary_view().value(row).to_vec()),
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Time64(TimeUnit::Microsecond) => {
            Value::Time(array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Timestamp(unit, _) => Value::Instant(instant(array, unit, row)?),
        DataType::Duration(unit) => Value::Span(span(array, unit, row)),
        DataType::Interval(IntervalUnit::YearMonth) => {
            Value::Months(array.as_primitive::<IntervalYearMonthType>().value(row))
        }
        DataType::List(_) => Value::List(all(&array.as_list::<i32>().value(row))?),
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (keys, values) = (all(entries.column(0))?, all(entries.column(1))?);
            Value::Map(keys.into_iter().zip(values).collect())
        }
        DataType::Struct(_) => {
            let columns = array.as_struct().columns();
            Value::Row(columns.iter().map(|column| read(column, row)).collect::<Result<_>>()?)
        }
        other => return Err(unknown(other)),
    })
}

fn instant(array: &dyn Array, unit: &TimeUnit, row: usize) -> Result<i64> {
    let (value, factor) = match unit {
        TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().value(row), 1_000_000),
        TimeUnit::Millisecond => {
            (array.as_primitive::<TimestampMillisecondType>().value(row), 1_000)
        }
        TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().value(row), 1),
        TimeUnit::Nanosecond => {
            let nanos = array.as_primitive::<TimestampNanosecondType>().value(row);
            return Ok(nanos.div_euclid(1_000));
        }
    };
    value.checked_mul(factor).ok_or_else(|| {
        DataFusionError::Execution("INVALID_FUNCTION_ARGUMENT: a time is out of range".to_owned())
    })
}

/// Milliseconds.
fn span(array: &dyn Array, unit: &TimeUnit, row: usize) -> i64 {
    match unit {
        TimeUnit::Second => array.as_primitive::<DurationSecondType>().value(row) * 1_000,
        TimeUnit::Millisecond => array.as_primitive::<DurationMillisecondType>().value(row),
        TimeUnit::Microsecond => {
            array.as_primitive::<DurationMicrosecondType>().value(row).div_euclid(1_000)
        }
        TimeUnit::Nanosecond => {
            array.as_primitive::<DurationNanosecondType>().value(row).div_euclid(1_000_000)
        }
    }
}

/// All values of a column.
pub fn all(array: &dyn Array) -> Result<Vec<Value>> {
    (0..array.len()).map(|row| read(array, row)).collect()
}

/// A column of values, which are of this type or of one that Trino takes for it.
pub fn column(kind: &DataType, values: &[Value]) -> Result<ArrayRef> {
    macro_rules! whole {
        ($array:ty, $native:ty) => {
            Arc::new(<$array>::from_iter(values.iter().map(|v| match v {
                Value::Whole(number) => Some(*number as $native),
                _ => None,
            }))) as ArrayRef
        };
    }
    macro_rules! native {
        ($array:ty, $variant:ident) => {
            Arc::new(<$array>::from_iter(values.iter().map(|v| match v {
                Value::$variant(inner) => Some(*inner),
                _ => None,
            }))) as ArrayRef
        };
    }
    macro_rules! texts {
        ($array:ty) => {
            Arc::new(<$array>::from_iter(values.iter().map(|v| match v {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            }))) as ArrayRef
        };
    }
    Ok(match kind {
        DataType::Null => new_null_array(&DataType::Null, values.len()),
        DataType::Boolean => native!(BooleanArray, Boolean),
        DataType::Int8 => whole!(Int8Array, i8),
        DataType::Int16 => whole!(Int16Array, i16),
        DataType::Int32 => whole!(Int32Array, i32),
        DataType::Int64 => whole!(Int64Array, i64),
        DataType::Float32 => Arc::new(Float32Array::from_iter(
            values.iter().map(|v| if v.is_null() { None } else { Some(real(v)) }),
        )),
        DataType::Float64 => Arc::new(Float64Array::from_iter(
            values.iter().map(|v| if v.is_null() { None } else { Some(v.double()) }),
        )),
        DataType::Decimal128(precision, scale) => {
            let digits = values.iter().map(|v| decimal::digits_of(v, *scale));
            let digits = digits.collect::<Result<Vec<_>>>()?;
            let array = Decimal128Array::from_iter(digits);
            Arc::new(array.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Utf8 => texts!(StringArray),
        DataType::LargeUtf8 => texts!(LargeStringArray),
        DataType::Binary => Arc::new(BinaryArray::from_iter(values.iter().map(|v| match v {
            Value::Bytes(bytes) => Some(bytes.as_slice()),
            _ => None,
        }))),
        DataType::Date32 => native!(Date32Array, Date),
        DataType::Time64(TimeUnit::Microsecond) => native!(Time64MicrosecondArray, Time),
        DataType::Timestamp(unit, zone) => instants(unit, zone.clone(), values),
        DataType::Duration(TimeUnit::Millisecond) => native!(DurationMillisecondArray, Span),
        DataType::Interval(IntervalUnit::YearMonth) => native!(IntervalYearMonthArray, Months),
        DataType::List(field) => {
            let lengths = values.iter().map(|v| v.items().len());
            let offsets = OffsetBuffer::from_lengths(lengths);
            let flat: Vec<Value> = values.iter().flat_map(|v| v.items().to_vec()).collect();
            let items = column(field.data_type(), &flat)?;
            Arc::new(ListArray::try_new(field.clone(), offsets, items, nulls(values))?)
        }
        DataType::Map(field, sorted) => {
            let DataType::Struct(fields) = field.data_type() else { return Err(unknown(kind)) };
            let offsets = OffsetBuffer::from_lengths(values.iter().map(|v| v.entries().len()));
            let flat = || values.iter().flat_map(Value::entries);
            let keys: Vec<Value> = flat().map(|(key, _)| key.clone()).collect();
            let items: Vec<Value> = flat().map(|(_, value)| value.clone()).collect();
            let columns =
                vec![column(fields[0].data_type(), &keys)?, column(fields[1].data_type(), &items)?];
            let entries = StructArray::try_new(fields.clone(), columns, None)?;
            Arc::new(MapArray::try_new(field.clone(), offsets, entries, nulls(values), *sorted)?)
        }
        DataType::Struct(fields) => {
            let mut columns = Vec::with_capacity(fields.len());
            for (index, field) in fields.iter().enumerate() {
                let of = |v: &Value| v.items().get(index).cloned().unwrap_or(Value::Null);
                let values: Vec<Value> = values.iter().map(of).collect();
                columns.push(column(field.data_type(), &values)?);
            }
            let rows = StructArray::try_new_with_length(
                fields.clone(),
                columns,
                nulls(values),
                values.len(),
            )?;
            Arc::new(rows)
        }
        other => return Err(unknown(other)),
    })
}

fn real(value: &Value) -> f32 {
    match value {
        Value::Real(number) => *number,
        other => other.double() as f32,
    }
}

fn nulls(values: &[Value]) -> Option<NullBuffer> {
    let valid = values.iter().map(|v| !v.is_null());
    Some(NullBuffer::from_iter(valid)).filter(|nulls| nulls.null_count() > 0)
}

fn instants(unit: &TimeUnit, zone: Option<Arc<str>>, values: &[Value]) -> ArrayRef {
    let of = |factor: i64| {
        values.iter().map(move |v| match v {
            Value::Instant(micros) => Some(micros.div_euclid(factor)),
            Value::Date(days) => Some(i64::from(*days) * 86_400_000_000 / factor),
            _ => None,
        })
    };
    match unit {
        TimeUnit::Second => {
            Arc::new(TimestampSecondArray::from_iter(of(1_000_000)).with_timezone_opt(zone))
        }
        TimeUnit::Millisecond => {
            Arc::new(TimestampMillisecondArray::from_iter(of(1_000)).with_timezone_opt(zone))
        }
        TimeUnit::Microsecond => {
            Arc::new(TimestampMicrosecondArray::from_iter(of(1)).with_timezone_opt(zone))
        }
        TimeUnit::Nanosecond => {
            let nanos = of(1).map(|micros| micros.and_then(|m| m.checked_mul(1_000)));
            Arc::new(TimestampNanosecondArray::from_iter(nanos).with_timezone_opt(zone))
        }
    }
}

fn unknown(kind: &DataType) -> DataFusionError {
    DataFusionError::Execution(format!(
        "NOT_SUPPORTED: the embedded cloud has no functions of values of type {kind}"
    ))
}
