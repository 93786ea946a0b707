//! `CAST` and `TRY_CAST` as Trino has them, which converts otherwise than the engine: it rounds
//! half up, refuses what does not fit, and writes times and fractions in its own form.
//!
//! <https://trino.io/docs/current/functions/conversion.html>

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::call::Outcome;
use super::types::{self, JSON, Length, Written};
use super::value::{self, Value};
use super::{calendar, decimal, json};
use crate::query::form;

/// What `CAST(x AS T)` is to the engine: `"$cast"(x, 'T')`.
pub const CAST: &str = "$cast";
/// What `TRY_CAST(x AS T)` is.
pub const TRY_CAST: &str = "$try_cast";

/// Both functions.
pub fn udfs() -> [ScalarUDF; 2] {
    [CAST, TRY_CAST].map(|name| {
        let signature = Signature::any(2, Volatility::Immutable);
        ScalarUDF::from(Conversion { name, signature })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Conversion {
    name: &'static str,
    signature: Signature,
}

impl Conversion {
    fn target(text: Option<&ScalarValue>) -> Result<Written> {
        let text = match text {
            Some(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text))) => text,
            _ => return Err(DataFusionError::Plan("a type is a literal".to_owned())),
        };
        types::parse(text).map_err(DataFusionError::Plan)
    }
}

impl ScalarUDFImpl for Conversion {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(DataFusionError::Internal("the type is in the second argument".to_owned()))
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let target = Self::target(args.scalar_arguments.get(1).copied().flatten())?;
        let from = types::signed(args.arg_fields[0].data_type());
        if !is_castable(&from, &target.kind) {
            return Err(DataFusionError::Plan(format!(
                "TYPE_MISMATCH: line 1:1: Cannot cast {} to {}",
                types::name_of(&args.arg_fields[0]),
                types::name_of(&target.field(""))
            )));
        }
        // A time with a zone keeps it.
        let kind = match (&from, &target.kind) {
            (DataType::Timestamp(_, Some(zone)), DataType::Timestamp(unit, Some(_))) => {
                DataType::Timestamp(*unit, Some(zone.clone()))
            }
            (from, DataType::Timestamp(unit, Some(_))) if types::is_text(from) => {
                let literal = args.scalar_arguments.first().copied().flatten();
                let zone = literal.and_then(written_zone);
                DataType::Timestamp(*unit, Some(zone.as_deref().unwrap_or(calendar::UTC).into()))
            }
            (_, kind) => kind.clone(),
        };
        let written = Written { kind, ..target };
        Ok(Arc::new(written.field(self.name)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let text = match &args.args[1] {
            ColumnarValue::Scalar(scalar) => scalar.clone(),
            ColumnarValue::Array(array) => ScalarValue::try_from_array(array, 0)?,
        };
        let target = Self::target(Some(&text))?;
        let from = types::signed(args.arg_fields[0].data_type());
        let target = Written { kind: args.return_field.data_type().clone(), ..target };
        let (array, constant) = match &args.args[0] {
            ColumnarValue::Array(array) => (array.clone(), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        if !constant && from == *array.data_type() && is_widening(&from, &target) {
            let cast = datafusion::arrow::compute::cast(&array, &target.kind)?;
            return Ok(ColumnarValue::Array(cast));
        }
        let mut values = Vec::with_capacity(array.len());
        for row in 0..array.len() {
            let value = value::read(&array, row)?;
            values.push(match cast(value, &from, &target) {
                Err(_) if self.name == TRY_CAST => Value::Null,
                done => done.map_err(DataFusionError::Execution)?,
            });
        }
        let array = value::column(&target.kind, &values)?;
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}

/// The zone that the literal of a time names.
pub fn written_zone(literal: &ScalarValue) -> Option<String> {
    let text = match literal {
        ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => text,
        _ => return None,
    };
    calendar::read_timestamp(text)?.zone
}

/// What both do in the same way, a batch at a time.
fn is_widening(from: &DataType, to: &Written) -> bool {
    let wider = from.is_integer() && to.kind == DataType::Int64
        || from.is_integer() && to.kind == DataType::Float64
        || *from == DataType::Float32 && to.kind == DataType::Float64;
    to.length.is_none() && (*from == to.kind || wider)
}

/// Whether Trino casts one type to another at all.
fn is_castable(from: &DataType, to: &DataType) -> bool {
    use DataType as D;
    if *from == D::Null || from == to || *to == JSON {
        return *from != D::Binary || from == to;
    }
    let number = |kind: &DataType| types::is_number(kind);
    match (from, to) {
        (from, D::Utf8) => {
            !matches!(from, D::List(_) | D::Map(..) | D::Struct(_) | D::Null | D::Binary)
        }
        (from, to) if types::is_text(from) => {
            number(to)
                || matches!(to, D::Boolean | D::Date32 | D::Timestamp(..) | D::Time64(_))
                || matches!(to, D::Binary)
        }
        (from, to) if *from == JSON => {
            number(to) || matches!(to, D::Boolean | D::List(_) | D::Map(..) | D::Struct(_))
        }
        (D::Boolean, to) => number(to),
        (from, to) if number(from) => number(to) || *to == D::Boolean,
        (D::Date32, D::Timestamp(..)) => true,
        (D::Timestamp(..), D::Date32 | D::Timestamp(..) | D::Time64(_)) => true,
        (D::List(a), D::List(b)) => is_castable(a.data_type(), b.data_type()),
        (D::Map(..), D::Map(..)) => match (types::of_map(from), types::of_map(to)) {
            (Some((k, v)), Some((l, w))) => is_castable(k, l) && is_castable(v, w),
            _ => false,
        },
        (D::Struct(a), D::Struct(b)) => {
            let both = || a.iter().zip(b.iter());
            a.len() == b.len() && both().all(|(a, b)| is_castable(a.data_type(), b.data_type()))
        }
        _ => false,
    }
}

/// A value of one type as one of another.
pub fn cast(value: Value, from: &DataType, to: &Written) -> Outcome {
    let from = if *from == DataType::Null { &to.kind } else { from };
    if value.is_null() && to.kind != JSON || value.is_null() && *from != JSON {
        return Ok(Value::Null);
    }
    if to.kind == JSON && *from != JSON {
        return Ok(Value::Text(json::encode(&json::from_value(&value, from)?)));
    }
    if *from == JSON && to.kind != JSON {
        return cast_json(value.str(), to);
    }
    match &to.kind {
        DataType::Utf8 => {
            let text = match from {
                from if types::is_text(from) => value.str().to_owned(),
                from => text(&value, from)?,
            };
            fitted(text, from, to.length)
        }
        DataType::Binary => Ok(match value {
            Value::Text(text) => Value::Bytes(text.into_bytes()),
            other => other,
        }),
        DataType::Boolean => to_boolean(&value),
        kind if kind.is_integer() => to_whole(&value, kind),
        DataType::Float64 | DataType::Float32 => to_fraction(&value, &to.kind),
        DataType::Decimal128(precision, scale) => to_decimal(&value, *precision, *scale),
        DataType::Date32 => to_date(&value, from),
        DataType::Time64(_) => to_time(&value, from),
        DataType::Timestamp(..) => to_timestamp(&value, from, &to.kind),
        DataType::List(item) => {
            let DataType::List(own) = from else { return Ok(value) };
            let target = of_field(item);
            let items = value.items().iter().cloned();
            let items = items.map(|value| cast(value, own.data_type(), &target));
            Ok(Value::List(items.collect::<Outcome<_>>()?))
        }
        DataType::Map(..) => cast_map(&value, from, &to.kind),
        DataType::Struct(fields) => {
            let DataType::Struct(own) = from else { return Ok(value) };
            let values = value.items().iter().cloned().zip(own.iter().zip(fields.iter()));
            let values =
                values.map(|(value, (own, field))| cast(value, own.data_type(), &of_field(field)));
            Ok(Value::Row(values.collect::<Outcome<_>>()?))
        }
        _ => Ok(value),
    }
}

/// With the length that its metadata say.
fn of_field(field: &Field) -> Written {
    let called = field.metadata().get(types::NAME);
    let written = called.and_then(|called| types::parse(called).ok());
    written.unwrap_or_else(|| Written { kind: field.data_type().clone(), length: None })
}

fn cast_map(value: &Value, from: &DataType, to: &DataType) -> Outcome {
    let (Some((key, item)), Some((to_key, to_item))) = (types::of_map(from), types::of_map(to))
    else {
        return Ok(value.clone());
    };
    let plain = |kind: &DataType| Written { kind: kind.clone(), length: None };
    let (to_key, to_item) = (plain(to_key), plain(to_item));
    let entries = value
        .entries()
        .iter()
        .map(|(k, v)| Ok((cast(k.clone(), key, &to_key)?, cast(v.clone(), item, &to_item)?)));
    Ok(Value::Map(entries.collect::<Outcome<_>>()?))
}

/// JSON as a value of a type: arrays, maps and rows by their members.
fn cast_json(text: &str, to: &Written) -> Outcome {
    json::to_value(&json::decode(text)?, to)
}

/// What does not fit into a length: spaces are cut off, and other letters too.
fn fitted(text: String, from: &DataType, length: Option<Length>) -> Outcome {
    let count = text.chars().count();
    Ok(Value::Text(match length {
        None => text,
        Some(Length::Varchar(most)) if count > most => {
            if !types::is_text(from) {
                return failed(&text, &format!("varchar({most})"));
            }
            text.chars().take(most).collect()
        }
        Some(Length::Varchar(_)) => text,
        Some(Length::Char(most)) if count > most => text.chars().take(most).collect(),
        Some(Length::Char(most)) => format!("{text}{}", " ".repeat(most - count)),
    }))
}

fn failed<T>(text: &str, to: &str) -> Outcome<T> {
    Err(format!("INVALID_CAST_ARGUMENT: Cannot cast '{text}' to {}", to.to_uppercase()))
}

/// As Trino's cast to `varchar` writes a value.
pub fn text(value: &Value, kind: &DataType) -> Outcome<String> {
    Ok(match (value, kind) {
        (Value::Boolean(truth), _) => truth.to_string(),
        (Value::Whole(number), _) => number.to_string(),
        (Value::Real(number), _) => form::java(*number),
        (Value::Double(number), _) => form::java(*number),
        (Value::Decimal(digits, scale), _) => decimal::text(*digits, *scale),
        (Value::Text(text), _) => text.clone(),
        (Value::Date(days), _) => calendar::date_text(i64::from(*days)),
        (Value::Time(micros), _) => calendar::clock_text(*micros, 3),
        (Value::Instant(micros), DataType::Timestamp(unit, zone)) => {
            calendar::timestamp_text(*micros, types::digits(*unit), zone.as_deref())?
        }
        (Value::Span(millis), _) => calendar::span_text(*millis),
        (Value::Months(months), DataType::Interval(IntervalUnit::YearMonth)) => {
            calendar::months_text(*months)
        }
        _ => return Err(format!("TYPE_MISMATCH: Cannot cast {} to varchar", types::name(kind))),
    })
}

fn to_boolean(value: &Value) -> Outcome {
    Ok(Value::Boolean(match value {
        Value::Text(text) => match text.to_lowercase().as_str() {
            "true" | "t" | "1" => true,
            "false" | "f" | "0" => false,
            _ => return failed(text, "boolean"),
        },
        Value::Boolean(truth) => *truth,
        number => number.double() != 0.0,
    }))
}

fn to_whole(value: &Value, kind: &DataType) -> Outcome {
    let name = types::name(kind);
    let number: i128 = match value {
        Value::Boolean(truth) => i128::from(*truth),
        Value::Whole(number) => i128::from(*number),
        Value::Decimal(digits, scale) => decimal::rescale(*digits, *scale, 0).unwrap_or(i128::MAX),
        Value::Text(text) => match text.trim().parse::<i64>() {
            Ok(number) if text.trim() == text => i128::from(number),
            _ => return failed(text, &name),
        },
        number => {
            // Half up, away from zero.
            let rounded = number.double().round();
            if !rounded.is_finite() || rounded.abs() > 1e19 {
                let what = form::java(number.double());
                return Err(format!("INVALID_CAST_ARGUMENT: Cannot cast {what} to {name}"));
            }
            rounded as i128
        }
    };
    let (least, most) = match kind {
        DataType::Int8 => (i64::from(i8::MIN), i64::from(i8::MAX)),
        DataType::Int16 => (i64::from(i16::MIN), i64::from(i16::MAX)),
        DataType::Int32 => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    match i64::try_from(number) {
        Ok(whole) if (least..=most).contains(&whole) => Ok(Value::Whole(whole)),
        _ if matches!(value, Value::Text(_)) => failed(value.str(), &name),
        _ => Err(format!("NUMERIC_VALUE_OUT_OF_RANGE: Out of range for {name}: {number}")),
    }
}

fn to_fraction(value: &Value, kind: &DataType) -> Outcome {
    let real = *kind == DataType::Float32;
    Ok(match value {
        Value::Text(text) => {
            let known = text.trim().parse::<f64>().ok().filter(|_| java_number(text.trim()));
            match known {
                Some(_) if real => match text.trim().parse() {
                    Ok(number) => Value::Real(number),
                    Err(_) => return failed(text, "real"),
                },
                Some(number) => Value::Double(number),
                None => return failed(text, &types::name(kind)),
            }
        }
        Value::Boolean(truth) if real => Value::Real(f32::from(u8::from(*truth))),
        Value::Boolean(truth) => Value::Double(f64::from(u8::from(*truth))),
        Value::Real(number) if real => Value::Real(*number),
        number if real => Value::Real(number.double() as f32),
        number => Value::Double(number.double()),
    })
}

/// `1.5e3`, `NaN`, `Infinity`: not every text that this language takes for a number.
fn java_number(text: &str) -> bool {
    let unsigned = text.trim_start_matches(['+', '-']);
    matches!(unsigned, "NaN" | "Infinity")
        || unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
}

fn to_decimal(value: &Value, precision: u8, scale: i8) -> Outcome {
    let name = format!("decimal({precision},{scale})");
    let digits = match value {
        Value::Boolean(truth) => decimal::rescale(i128::from(*truth), 0, scale),
        Value::Text(text) => match decimal::parse(text) {
            Some((digits, from)) => decimal::rescale(digits, from, scale),
            None => return failed(text, &name),
        },
        number => {
            let finite =
                !matches!(number, Value::Double(_) | Value::Real(_)) || number.double().is_finite();
            if !finite {
                let what = form::java(number.double());
                return failed(&what, &name);
            }
            decimal::digits_of(number, scale).ok().flatten()
        }
    };
    match digits.filter(|digits| decimal::fits(*digits, precision)) {
        Some(digits) => Ok(Value::Decimal(digits, scale)),
        None => {
            let shown = match value {
                Value::Text(text) => text.clone(),
                Value::Double(number) => form::java(*number),
                Value::Decimal(digits, scale) => decimal::text(*digits, *scale),
                other => other.whole().to_string(),
            };
            failed(&shown, &name)
        }
    }
}

fn to_date(value: &Value, from: &DataType) -> Outcome {
    let days = match (value, from) {
        (Value::Text(text), _) => match calendar::read_date(text.trim()) {
            Some(days) => days,
            None => {
                return Err(format!("INVALID_CAST_ARGUMENT: Value cannot be cast to date: {text}"));
            }
        },
        (Value::Instant(micros), DataType::Timestamp(_, zone)) => {
            let local = calendar::to_local(zone.as_deref(), *micros)?;
            local.div_euclid(calendar::MICROS_OF_DAY)
        }
        (other, _) => return Ok(other.clone()),
    };
    Ok(i32::try_from(days).map_or(Value::Null, Value::Date))
}

fn to_time(value: &Value, from: &DataType) -> Outcome {
    Ok(match (value, from) {
        (Value::Text(text), _) => match calendar::read_clock(text.trim()) {
            Some((micros, _)) => Value::Time(micros),
            None => {
                return Err(format!("INVALID_CAST_ARGUMENT: Value cannot be cast to time: {text}"));
            }
        },
        (Value::Instant(micros), DataType::Timestamp(_, zone)) => {
            let local = calendar::to_local(zone.as_deref(), *micros)?;
            Value::Time(local.rem_euclid(calendar::MICROS_OF_DAY))
        }
        (other, _) => other.clone(),
    })
}

fn to_timestamp(value: &Value, from: &DataType, to: &DataType) -> Outcome {
    let DataType::Timestamp(unit, zone) = to else { return Ok(value.clone()) };
    let micros = match (value, from) {
        (Value::Text(text), _) => {
            let Some(read) = calendar::read_timestamp(text) else {
                return Err(format!(
                    "INVALID_CAST_ARGUMENT: Value cannot be cast to timestamp: {text}"
                ));
            };
            match zone {
                None if read.zone.is_some() => {
                    return Err(format!(
                        "INVALID_CAST_ARGUMENT: Value cannot be cast to timestamp: {text}"
                    ));
                }
                None => read.micros,
                Some(zone) => {
                    let own = read.zone.as_deref().unwrap_or(calendar::UTC);
                    if own != &**zone {
                        return Err(other_zone(own, zone));
                    }
                    calendar::from_local(Some(zone), read.micros)?
                }
            }
        }
        (Value::Date(days), _) => {
            calendar::from_local(zone.as_deref(), i64::from(*days) * calendar::MICROS_OF_DAY)?
        }
        (Value::Instant(micros), DataType::Timestamp(_, own)) => match (own, zone) {
            (Some(own), None) => calendar::to_local(Some(own), *micros)?,
            (None, Some(zone)) => calendar::from_local(Some(zone), *micros)?,
            _ => *micros,
        },
        (other, _) => return Ok(other.clone()),
    };
    // Rounded to the digits of the type.
    let step = 10i64.pow(6u32.saturating_sub(u32::from(types::digits(*unit))));
    Ok(Value::Instant((micros + step / 2).div_euclid(step) * step))
}

/// Values of a column have one zone here.
pub fn other_zone(own: &str, zone: &str) -> String {
    format!(
        "NOT_SUPPORTED: the embedded cloud does not implement several time zones in one column: \
         {own} beside {zone}"
    )
}
