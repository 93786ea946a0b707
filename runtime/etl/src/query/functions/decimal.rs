//! Arithmetic of decimals: digits and a scale, rounded half up as Trino does.

use std::cmp::Ordering;

use datafusion::arrow::datatypes::i256;
use datafusion::error::{DataFusionError, Result};

use super::value::Value;

/// Digits that a decimal has at most.
pub const DIGITS_MAX: u8 = 38;

/// Ten to a power.
pub fn power(exponent: u32) -> Option<i128> {
    10i128.checked_pow(exponent)
}

/// With another scale, rounded half up; `None` when it does not fit.
pub fn rescale(digits: i128, from: i8, to: i8) -> Option<i128> {
    match to.cmp(&from) {
        Ordering::Equal => Some(digits),
        Ordering::Greater => digits.checked_mul(power(u32::from((to - from).unsigned_abs()))?),
        Ordering::Less => {
            let Some(divisor) = power(u32::from((from - to).unsigned_abs())) else {
                return Some(0);
            };
            Some(divide_half_up(digits, divisor))
        }
    }
}

/// Rounded half away from zero; the divisor is positive.
fn divide_half_up(digits: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (digits / divisor, digits % divisor);
    let up = rest.unsigned_abs() >= divisor.unsigned_abs().div_ceil(2);
    if up { quotient + digits.signum() } else { quotient }
}

pub fn to_double(digits: i128, scale: i8) -> f64 {
    let text = text(digits, scale);
    text.parse().unwrap_or(f64::NAN)
}

/// `12.50`.
pub fn text(digits: i128, scale: i8) -> String {
    if scale <= 0 {
        return digits.to_string();
    }
    let places = usize::from(scale.unsigned_abs());
    let sign = if digits < 0 { "-" } else { "" };
    let all = format!("{:0>width$}", digits.unsigned_abs(), width = places + 1);
    let (whole, fraction) = all.split_at(all.len() - places);
    format!("{sign}{whole}.{fraction}")
}

/// Digits and scale of `-12.50`, `1e3`; `None` when it is no such number.
pub fn parse(text: &str) -> Option<(i128, i8)> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, unsigned) = match mantissa.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: i128 = all.parse().ok()?;
    let scale = i32::try_from(fraction.len()).ok()? - exponent;
    let (digits, scale) = match scale < 0 {
        true => (digits.checked_mul(power(scale.unsigned_abs())?)?, 0),
        false => (digits, i8::try_from(scale).ok()?),
    };
    Some((sign * digits, scale))
}

pub fn compare(a: (i128, i8), b: (i128, i8)) -> Ordering {
    let scale = a.1.max(b.1);
    match (rescale(a.0, a.1, scale), rescale(b.0, b.1, scale)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => to_double(a.0, a.1).total_cmp(&to_double(b.0, b.1)),
    }
}

/// The digits of any number at a scale.
pub fn digits_of(value: &Value, scale: i8) -> Result<Option<i128>> {
    let digits = match value {
        Value::Null => return Ok(None),
        Value::Decimal(digits, from) => rescale(*digits, *from, scale),
        Value::Whole(number) => rescale(i128::from(*number), 0, scale),
        other => {
            let (digits, from) = parse(&format!("{:e}", other.double())).unwrap_or((0, 0));
            rescale(digits, from, scale)
        }
    };
    digits.map(Some).ok_or_else(|| DataFusionError::Execution(overflow("Decimal")))
}

pub fn overflow(what: &str) -> String {
    format!("NUMERIC_VALUE_OUT_OF_RANGE: {what} overflow")
}

/// The quotient at a scale; `None` when it does not fit.
pub fn divide(a: (i128, i8), b: (i128, i8), scale: i8) -> Option<i128> {
    // a / 10^s ÷ b / 10^t, with ten to the power of `scale` of them.
    let shift = i32::from(scale) - i32::from(a.1) + i32::from(b.1);
    let ten = i256::from_i128(10);
    let (mut over, mut under) = (i256::from_i128(a.0), i256::from_i128(b.0));
    let factor = ten.checked_pow(shift.unsigned_abs())?;
    match shift < 0 {
        true => under = under.checked_mul(factor)?,
        false => over = over.checked_mul(factor)?,
    }
    let quotient = over.checked_div(under)?;
    let rest = over.checked_rem(under)?;
    let doubled = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    let negative = over.is_negative() != under.is_negative();
    let step = if negative { i256::MINUS_ONE } else { i256::ONE };
    let up = doubled >= under.wrapping_abs();
    let quotient = if up { quotient.checked_add(step)? } else { quotient };
    quotient.to_i128()
}

/// The product, whose scale is the sum of both; `None` when it does not fit.
pub fn multiply(a: i128, b: i128) -> Option<i128> {
    i256::from_i128(a).checked_mul(i256::from_i128(b))?.to_i128()
}

/// Whether the digits fit a precision.
pub fn fits(digits: i128, precision: u8) -> bool {
    power(u32::from(precision)).is_none_or(|limit| digits.unsigned_abs() < limit.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_rounded_half_up() {
        assert_eq!(rescale(125, 2, 1), Some(13));
        assert_eq!(rescale(-125, 2, 1), Some(-13));
        assert_eq!(rescale(124, 2, 1), Some(12));
        assert_eq!(divide((10, 1), (30, 1), 1), Some(3));
        assert_eq!(divide((-5, 0), (2, 0), 0), Some(-3));
        assert_eq!(text(-5, 2), "-0.05");
        assert_eq!(parse("-12.50"), Some((-1250, 2)));
        assert_eq!(parse("1e3"), Some((1000, 0)));
        assert_eq!(parse("x"), None);
    }
}
