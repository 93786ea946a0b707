//! Functions of numbers.
//!
//! <https://trino.io/docs/current/functions/math.html>,
//! <https://trino.io/docs/current/functions/bitwise.html>

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;

use super::call::{self, Call, Outcome, Spec, invalid, out_of_range};
use super::decimal;
use super::types;
use super::value::Value;

const OF_DOUBLE: &[&str] = &["(double) -> double"];
const OF_NUMBER: &[&str] = &[
    "(tinyint) -> tinyint",
    "(smallint) -> smallint",
    "(integer) -> integer",
    "(bigint) -> bigint",
    "(decimal) -> boolean",
    "(real) -> real",
    "(double) -> double",
];
const BITS: &[&str] = &["(bigint, bigint) -> bigint"];
const SHIFTS: &[&str] = &[
    "(tinyint, bigint) -> tinyint",
    "(smallint, bigint) -> smallint",
    "(integer, bigint) -> integer",
    "(bigint, bigint) -> bigint",
];

macro_rules! of_double {
    ($name:literal, $run:expr) => {
        call::of($name, OF_DOUBLE, |_, v| {
            let run: fn(f64) -> f64 = $run;
            Ok(Value::Double(run(v[0].double())))
        })
    };
}

/// The type of the first argument.
fn same(fields: &[FieldRef], _: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    Ok(types::signed(fields[0].data_type()))
}

/// Without digits behind the point, and with one before it more.
fn whole_decimal(fields: &[FieldRef], _: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    Ok(match types::signed(fields[0].data_type()) {
        DataType::Decimal128(p, s) => {
            let scale = u8::try_from(s).unwrap_or(0);
            DataType::Decimal128((p - scale + scale.min(1)).max(1), 0)
        }
        other => other,
    })
}

/// `round` keeps the digits of a decimal when it is told where to round.
fn rounded(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    match (types::signed(fields[0].data_type()), fields.len()) {
        (DataType::Decimal128(p, s), 2..) => Ok(DataType::Decimal128((p + 1).min(38), s)),
        _ => whole_decimal(fields, literals),
    }
}

fn on_number(
    value: &Value,
    of_decimal: fn(i128, i8) -> Option<i128>,
    of_double: fn(f64) -> f64,
) -> Outcome {
    Ok(match value {
        Value::Decimal(digits, scale) => match of_decimal(*digits, *scale) {
            Some(digits) => Value::Decimal(digits, 0),
            None => return out_of_range("Decimal overflow"),
        },
        Value::Double(number) => Value::Double(of_double(*number)),
        Value::Real(number) => Value::Real(of_double(f64::from(*number)) as f32),
        other => other.clone(),
    })
}

fn floor(digits: i128, scale: i8) -> Option<i128> {
    Some(digits.div_euclid(decimal::power(u32::from(scale.unsigned_abs()))?))
}

fn truncate(digits: i128, scale: i8) -> Option<i128> {
    Some(digits / decimal::power(u32::from(scale.unsigned_abs()))?)
}

/// Half away from zero, at a place behind the point or, when it is negative, before it.
fn round_double(number: f64, places: i64) -> f64 {
    if !number.is_finite() {
        return number;
    }
    let factor = 10f64.powi(places.clamp(-400, 400) as i32);
    let scaled = number * factor;
    if !scaled.is_finite() || factor == 0.0 {
        return if places > 0 { number } else { 0.0 };
    }
    scaled.round() / factor
}

fn round(call: &Call, v: &[Value]) -> Outcome {
    let places = v.get(1).map_or(0, Value::whole);
    Ok(match &v[0] {
        Value::Double(number) if places == 0 => Value::Double(number.round()),
        Value::Double(number) => Value::Double(round_double(*number, places)),
        Value::Real(number) => Value::Real(round_double(f64::from(*number), places) as f32),
        Value::Decimal(digits, scale) => {
            let to = i8::try_from(places.clamp(-38, 38)).unwrap_or(0).min(*scale);
            let result = match call.result {
                DataType::Decimal128(_, scale) => *scale,
                _ => 0,
            };
            let short = decimal::rescale(*digits, *scale, to);
            match short.and_then(|digits| decimal::rescale(digits, to, result)) {
                Some(digits) => Value::Decimal(digits, result),
                None => return out_of_range("Decimal overflow"),
            }
        }
        Value::Whole(number) if places < 0 => {
            let digits = decimal::rescale(i128::from(*number), 0, places.max(-38) as i8)
                .and_then(|digits| decimal::rescale(digits, places.max(-38) as i8, 0));
            match digits.and_then(|digits| i64::try_from(digits).ok()) {
                Some(number) => Value::Whole(number),
                None => return out_of_range("bigint overflow"),
            }
        }
        other => other.clone(),
    })
}

fn truncated(_: &Call, v: &[Value]) -> Outcome {
    match (&v[0], v.get(1)) {
        (value, None) => on_number(value, truncate, f64::trunc),
        (Value::Decimal(digits, scale), Some(places)) => {
            let places = places.whole().min(i64::from(*scale));
            let cut = u32::try_from(i64::from(*scale) - places).unwrap_or(0);
            let factor = decimal::power(cut);
            Ok(Value::Decimal(factor.map_or(0, |factor| digits / factor * factor), *scale))
        }
        (value, Some(places)) => {
            let factor = 10f64.powi(places.whole().clamp(-300, 300) as i32);
            Ok(Value::Double((value.double() * factor).trunc() / factor))
        }
    }
}

fn absolute(_: &Call, v: &[Value]) -> Outcome {
    Ok(match &v[0] {
        Value::Whole(number) => match number.checked_abs() {
            Some(number) => Value::Whole(number),
            None => {
                return out_of_range("Value -9223372036854775808 is out of range for abs(bigint)");
            }
        },
        Value::Decimal(digits, scale) => Value::Decimal(digits.abs(), *scale),
        Value::Real(number) => Value::Real(number.abs()),
        other => Value::Double(other.double().abs()),
    })
}

fn sign(_: &Call, v: &[Value]) -> Outcome {
    let of = |number: f64| if number == 0.0 || number.is_nan() { number } else { number.signum() };
    Ok(match &v[0] {
        Value::Whole(number) => Value::Whole(number.signum()),
        Value::Decimal(digits, _) => Value::Decimal(digits.signum(), 0),
        Value::Real(number) => Value::Real(of(f64::from(*number)) as f32),
        other => Value::Double(of(other.double())),
    })
}

fn sign_type(fields: &[FieldRef], _: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    Ok(match types::signed(fields[0].data_type()) {
        DataType::Decimal128(..) => DataType::Decimal128(1, 0),
        other => other,
    })
}

fn width_bucket(call: &Call, v: &[Value]) -> Outcome {
    let operand = v[0].double();
    if call.kinds.len() == 2 {
        let bins = v[1].items();
        if bins.is_empty() {
            return invalid("Bins cannot be an empty array");
        }
        if operand.is_nan() {
            return invalid("Operand cannot be NaN");
        }
        let bins: Vec<f64> = bins.iter().map(Value::double).collect();
        if !bins.is_sorted() {
            return invalid("Bin values are not sorted in ascending order");
        }
        return Ok(Value::Whole(bins.iter().filter(|bin| **bin <= operand).count() as i64));
    }
    let (low, high, count) = (v[1].double(), v[2].double(), v[3].whole());
    if count <= 0 {
        return invalid("bucketCount must be greater than 0");
    }
    if operand.is_nan() || !low.is_finite() || !high.is_finite() {
        return invalid("operand and bounds must be finite");
    }
    if low == high {
        return invalid("bounds cannot equal each other");
    }
    let (least, most) = (low.min(high), low.max(high));
    let inside = if operand < least {
        0
    } else if operand >= most {
        count + 1
    } else {
        (count as f64 * (operand - least) / (most - least)) as i64 + 1
    };
    Ok(Value::Whole(if low > high { count - inside + 1 } else { inside }))
}

fn from_base(_: &Call, v: &[Value]) -> Outcome {
    let radix = radix(&v[1])?;
    i64::from_str_radix(v[0].str(), radix)
        .map(Value::Whole)
        .or_else(|_| invalid(format!("Not a valid base-{radix} number: {}", v[0].str())))
}

fn radix(value: &Value) -> Outcome<u32> {
    match u32::try_from(value.whole()) {
        Ok(radix @ 2..=36) => Ok(radix),
        _ => invalid("Radix must be between 2 and 36"),
    }
}

fn to_base(_: &Call, v: &[Value]) -> Outcome {
    let (number, radix) = (v[0].whole(), u64::from(radix(&v[1])?));
    let (mut rest, mut digits) = (number.unsigned_abs(), Vec::new());
    loop {
        digits.push(char::from_digit((rest % radix) as u32, radix as u32).unwrap_or('0'));
        rest /= radix;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        digits.push('-');
    }
    Ok(Value::Text(digits.iter().rev().collect()))
}

fn random(_: &Call, v: &[Value]) -> Outcome {
    let (low, high) = match v {
        [high] => (0, high.whole()),
        [low, high] => (low.whole(), high.whole()),
        _ => (0, 1),
    };
    if high <= low {
        return invalid("bound must be positive");
    }
    let bytes = *uuid::Uuid::new_v4().as_bytes();
    let number = u128::from_be_bytes(bytes) >> 80;
    let span = u128::from(high.abs_diff(low));
    Ok(Value::Whole((i128::from(low) + (number % span) as i128) as i64))
}

/// Bits of a shift, for the width of the type.
fn width(kind: &DataType) -> u32 {
    match kind {
        DataType::Int8 => 8,
        DataType::Int16 => 16,
        DataType::Int32 => 32,
        _ => 64,
    }
}

fn signed(number: i64, width: u32) -> i64 {
    let unused = 64 - width;
    number << unused >> unused
}

fn bit_count(_: &Call, v: &[Value]) -> Outcome {
    let (number, bits) = (v[0].whole(), v[1].whole());
    if !(2..=64).contains(&bits) {
        return invalid(format!(
            "Bits specified in bit_count must be between 2 and 64, got {bits}"
        ));
    }
    let limit = 1i128 << (bits - 1);
    if !(-limit..limit).contains(&i128::from(number)) {
        return invalid(format!(
            "Number must be representable with the bits specified. {number} can not be represented \
             with {bits} bits"
        ));
    }
    let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
    Ok(Value::Whole(i64::from((number as u64 & mask).count_ones())))
}

/// Of two vectors, or of two maps that are vectors with names.
fn cosine_similarity(_: &Call, v: &[Value]) -> Outcome {
    let (a, b) = (&v[0], &v[1]);
    if a.holds_null() || b.holds_null() {
        return Ok(Value::Null);
    }
    let norm = |numbers: &[f64]| numbers.iter().map(|n| n * n).sum::<f64>().sqrt();
    let of = |value: &Value| -> Vec<f64> {
        let entries = value.entries().iter().map(|(_, number)| number.double());
        value.items().iter().map(Value::double).chain(entries).collect()
    };
    let (left, right) = (of(a), of(b));
    let dot: f64 = match (a, b) {
        (Value::Map(a), Value::Map(b)) => {
            let pairs = a.iter().filter_map(|(key, left)| {
                let right = b.iter().find(|(other, _)| other == key)?;
                Some(left.double() * right.1.double())
            });
            pairs.sum()
        }
        _ if left.len() != right.len() => {
            return invalid("Both array arguments must have the same length");
        }
        _ => left.iter().zip(&right).map(|(l, r)| l * r).sum(),
    };
    let (left, right) = (norm(&left), norm(&right));
    if left == 0.0 || right == 0.0 {
        return Ok(Value::Double(f64::NAN));
    }
    Ok(Value::Double(dot / (left * right)))
}

/// The functions.
pub const FUNCTIONS: &[Spec] = &[
    call::of("abs", OF_NUMBER, absolute).typed(same),
    call::of("sign", OF_NUMBER, sign).typed(sign_type),
    call::of("ceil", OF_NUMBER, |_, v| {
        on_number(&v[0], |d, s| floor(d.checked_neg()?, s)?.checked_neg(), f64::ceil)
    })
    .typed(whole_decimal),
    call::of("floor", OF_NUMBER, |_, v| on_number(&v[0], floor, f64::floor)).typed(whole_decimal),
    call::of(
        "round",
        &[
            "(tinyint) -> tinyint",
            "(smallint) -> smallint",
            "(integer) -> integer",
            "(bigint) -> bigint",
            "(decimal) -> boolean",
            "(real) -> real",
            "(double) -> double",
            "(tinyint, bigint) -> tinyint",
            "(smallint, bigint) -> smallint",
            "(integer, bigint) -> integer",
            "(bigint, bigint) -> bigint",
            "(decimal, bigint) -> boolean",
            "(real, bigint) -> real",
            "(double, bigint) -> double",
        ],
        round,
    )
    .typed(rounded),
    call::of(
        "truncate",
        &["(decimal) -> boolean", "(real) -> real", "(double) -> double"],
        truncated,
    )
    .typed(whole_decimal),
    call::of("mod", &["(E, E) -> E"], modulus).typed(modulus_type),
    of_double!("sqrt", f64::sqrt),
    of_double!("cbrt", f64::cbrt),
    of_double!("exp", f64::exp),
    of_double!("ln", f64::ln),
    of_double!("log2", f64::log2),
    of_double!("log10", f64::log10),
    of_double!("sin", f64::sin),
    of_double!("sinh", f64::sinh),
    of_double!("cos", f64::cos),
    of_double!("cosh", f64::cosh),
    of_double!("tan", f64::tan),
    of_double!("tanh", f64::tanh),
    of_double!("asin", f64::asin),
    of_double!("acos", f64::acos),
    of_double!("atan", f64::atan),
    of_double!("degrees", |n| n * 180.0 / std::f64::consts::PI),
    of_double!("radians", |n| n / 180.0 * std::f64::consts::PI),
    call::of("atan2", &["(double, double) -> double"], |_, v| {
        Ok(Value::Double(v[0].double().atan2(v[1].double())))
    }),
    call::of("power", &["(double, double) -> double"], |_, v| {
        Ok(Value::Double(v[0].double().powf(v[1].double())))
    }),
    call::of("log", &["(double, double) -> double"], |_, v| {
        Ok(Value::Double(v[1].double().ln() / v[0].double().ln()))
    }),
    call::of("e", &["() -> double"], |_, _| Ok(Value::Double(std::f64::consts::E))),
    call::of("pi", &["() -> double"], |_, _| Ok(Value::Double(std::f64::consts::PI))),
    call::of("nan", &["() -> double"], |_, _| Ok(Value::Double(f64::NAN))),
    call::of("infinity", &["() -> double"], |_, _| Ok(Value::Double(f64::INFINITY))),
    call::of("is_nan", &["(double) -> boolean"], |_, v| Ok(Value::Boolean(v[0].double().is_nan()))),
    call::of("is_finite", &["(double) -> boolean"], |_, v| {
        Ok(Value::Boolean(v[0].double().is_finite()))
    }),
    call::of("is_infinite", &["(double) -> boolean"], |_, v| {
        Ok(Value::Boolean(v[0].double().is_infinite()))
    }),
    call::of(
        "width_bucket",
        &["(double, double, double, bigint) -> bigint", "(double, array(double)) -> bigint"],
        width_bucket,
    ),
    call::of("from_base", &["(varchar, bigint) -> bigint"], from_base),
    call::of("to_base", &["(bigint, bigint) -> varchar"], to_base),
    call::of("$random", &["(bigint) -> bigint", "(bigint, bigint) -> bigint"], random).volatile(),
    call::of("bitwise_and", BITS, |_, v| Ok(Value::Whole(v[0].whole() & v[1].whole()))),
    call::of("bitwise_or", BITS, |_, v| Ok(Value::Whole(v[0].whole() | v[1].whole()))),
    call::of("bitwise_xor", BITS, |_, v| Ok(Value::Whole(v[0].whole() ^ v[1].whole()))),
    call::of("bitwise_not", &["(bigint) -> bigint"], |_, v| Ok(Value::Whole(!v[0].whole()))),
    call::of("bitwise_left_shift", SHIFTS, |call, v| {
        let width = width(&call.kinds[0]);
        let by = u32::try_from(v[1].whole()).unwrap_or(u32::MAX);
        let shifted = v[0].whole().checked_shl(by).filter(|_| by < width).unwrap_or(0);
        Ok(Value::Whole(signed(shifted, width)))
    }),
    call::of("bitwise_right_shift", SHIFTS, |call, v| {
        let width = width(&call.kinds[0]);
        let by = u32::try_from(v[1].whole()).unwrap_or(u32::MAX);
        let mask = if width == 64 { u64::MAX } else { (1 << width) - 1 };
        let bits = v[0].whole() as u64 & mask;
        let shifted = bits.checked_shr(by).filter(|_| by < width).unwrap_or(0);
        Ok(Value::Whole(signed(shifted as i64, width)))
    }),
    call::of("bitwise_right_shift_arithmetic", SHIFTS, |call, v| {
        let width = width(&call.kinds[0]);
        let by = u32::try_from(v[1].whole()).unwrap_or(u32::MAX).min(width - 1);
        Ok(Value::Whole(v[0].whole() >> by))
    }),
    call::of("bit_count", &["(bigint, bigint) -> bigint"], bit_count),
    call::of(
        "cosine_similarity",
        &[
            "(array(double), array(double)) -> double",
            "(map(varchar, double), map(varchar, double)) -> double",
        ],
        cosine_similarity,
    ),
    call::of("cosine_distance", &["(array(double), array(double)) -> double"], |call, v| {
        Ok(match cosine_similarity(call, v)? {
            Value::Double(number) => Value::Double(1.0 - number),
            other => other,
        })
    }),
    call::of(
        "great_circle_distance",
        &["(double, double, double, double) -> double"],
        great_circle,
    ),
    call::of("wilson_interval_lower", &["(bigint, bigint, double) -> double"], |_, v| {
        wilson(v, -1.0)
    }),
    call::of("wilson_interval_upper", &["(bigint, bigint, double) -> double"], |_, v| {
        wilson(v, 1.0)
    }),
];

/// Kilometres on a sphere of the Earth's size, between latitudes and longitudes in degrees.
fn great_circle(_: &Call, v: &[Value]) -> Outcome {
    const EARTH_RADIUS_KM: f64 = 6371.01;
    let degrees: Vec<f64> = v.iter().map(Value::double).collect();
    let wrong = |latitude: f64| !(-90.0..=90.0).contains(&latitude);
    if wrong(degrees[0]) || wrong(degrees[2]) {
        return invalid("Latitude must be between -90 and 90");
    }
    let (from, to) = (degrees[0].to_radians(), degrees[2].to_radians());
    let between = (degrees[1] - degrees[3]).to_radians();
    let across = to.cos() * between.sin();
    let along = from.cos() * to.sin() - from.sin() * to.cos() * between.cos();
    let inner = from.sin() * to.sin() + from.cos() * to.cos() * between.cos();
    Ok(Value::Double((across * across + along * along).sqrt().atan2(inner) * EARTH_RADIUS_KM))
}

fn wilson(v: &[Value], side: f64) -> Outcome {
    let (successes, trials, z) = (v[0].double(), v[1].double(), v[2].double());
    if successes < 0.0 || trials <= 0.0 || successes > trials || z < 0.0 {
        return invalid("number of successes must be between zero and the number of trials");
    }
    let share = successes / trials;
    let square = z * z;
    let middle = share + square / (2.0 * trials);
    let around = z * (share * (1.0 - share) / trials + square / (4.0 * trials * trials)).sqrt();
    Ok(Value::Double((middle + side * around) / (1.0 + square / trials)))
}

fn modulus(_: &Call, v: &[Value]) -> Outcome {
    let zero = match &v[1] {
        Value::Whole(number) => *number == 0,
        Value::Decimal(digits, _) => *digits == 0,
        _ => false,
    };
    if zero {
        return Err("DIVISION_BY_ZERO: Division by zero".to_owned());
    }
    Ok(match (&v[0], &v[1]) {
        (Value::Whole(a), Value::Whole(b)) => Value::Whole(a.wrapping_rem(*b)),
        (Value::Decimal(a, s), Value::Decimal(b, _)) => Value::Decimal(a % b, *s),
        (Value::Real(a), Value::Real(b)) => Value::Real(a % b),
        (a, b) => Value::Double(a.double() % b.double()),
    })
}

fn modulus_type(fields: &[FieldRef], _: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    let kinds: Vec<DataType> = fields.iter().map(|f| types::signed(f.data_type())).collect();
    let common = types::common(&kinds[0], &kinds[1]).filter(types::is_number);
    common.ok_or_else(|| {
        let names: Vec<String> = kinds.iter().map(types::name).collect();
        let names = names.join(", ");
        format!("FUNCTION_NOT_FOUND: line 1:1: Unexpected parameters ({names}) for function mod")
    })
}
