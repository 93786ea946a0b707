//! `+`, `-`, `*`, `/` and `%` with Trino's types: whole numbers that do not fit are errors,
//! decimals have Trino's digits and are rounded half up, and days and intervals are added as
//! calendars do.
//!
//! <https://trino.io/docs/current/functions/decimal.html>,
//! <https://trino.io/docs/current/functions/datetime.html>

use datafusion::arrow::array::Datum;
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::calendar::{self, Civil, MICROS_OF_DAY};
use super::call::Outcome;
use super::decimal::{self, DIGITS_MAX};
use super::types::{self, MONTHS, SPAN};
use super::value::{self, Value};

/// What is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulus,
}

impl Operation {
    pub const ALL: [Self; 5] =
        [Self::Add, Self::Subtract, Self::Multiply, Self::Divide, Self::Modulus];

    fn name(self) -> &'static str {
        match self {
            Self::Add => "$add",
            Self::Subtract => "$subtract",
            Self::Multiply => "$multiply",
            Self::Divide => "$divide",
            Self::Modulus => "$modulus",
        }
    }

    fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
            Self::Divide => '/',
            Self::Modulus => '%',
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Add => "addition",
            Self::Subtract => "subtraction",
            Self::Multiply => "multiplication",
            Self::Divide => "division",
            Self::Modulus => "modulus",
        }
    }

    /// As a function of the engine.
    pub fn udf(self) -> ScalarUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::from(Arithmetic { operation: self, signature })
    }

    /// The type of the result; `None` when Trino has no such operator.
    fn result(self, left: &DataType, right: &DataType) -> Option<DataType> {
        let (left, right) = (types::signed(left), types::signed(right));
        match (&left, &right) {
            (DataType::Null, DataType::Null) => Some(DataType::Null),
            (DataType::Null, kind) | (kind, DataType::Null) if types::is_number(kind) => {
                Some(kind.clone())
            }
            (DataType::Null, kind) | (kind, DataType::Null) => Some(kind.clone()),
            (a, b) if types::is_number(a) && types::is_number(b) => self.number(a, b),
            _ => self.time(&left, &right),
        }
    }

    fn number(self, left: &DataType, right: &DataType) -> Option<DataType> {
        if !types::is_decimal(left) && !types::is_decimal(right)
            || left.is_floating()
            || right.is_floating()
        {
            return types::common(left, right);
        }
        let ((p, s), (q, t)) = (types::as_decimal(left)?, types::as_decimal(right)?);
        let (p, s, q, t) = (i16::from(p), i16::from(s), i16::from(q), i16::from(t));
        let (precision, scale) = match self {
            Self::Add | Self::Subtract => ((p - s).max(q - t) + s.max(t) + 1, s.max(t)),
            Self::Multiply => (p + q, s + t),
            Self::Divide => (p + t + (t - s).max(0), s.max(t)),
            Self::Modulus => ((p - s).min(q - t) + s.max(t), s.max(t)),
        };
        if scale > i16::from(DIGITS_MAX) {
            return None;
        }
        let precision = precision.clamp(1, i16::from(DIGITS_MAX));
        Some(DataType::Decimal128(u8::try_from(precision).ok()?, i8::try_from(scale).ok()?))
    }

    fn time(self, left: &DataType, right: &DataType) -> Option<DataType> {
        use DataType::{Date32, Time64, Timestamp};
        let interval = |kind: &DataType| *kind == SPAN || *kind == MONTHS;
        let plus_or_minus = matches!(self, Self::Add | Self::Subtract);
        // An interval of days to seconds counts milliseconds.
        let fine = |time: &DataType, interval: &DataType| match time {
            Timestamp(TimeUnit::Second, zone) if *interval == SPAN => {
                Timestamp(TimeUnit::Millisecond, zone.clone())
            }
            other => other.clone(),
        };
        match (left, right) {
            (Date32 | Timestamp(..), b) if interval(b) && plus_or_minus => Some(fine(left, b)),
            (Time64(_), b) if *b == SPAN && plus_or_minus => Some(left.clone()),
            (a, Date32 | Timestamp(..)) if interval(a) && self == Self::Add => Some(fine(right, a)),
            (a, Time64(_)) if *a == SPAN && self == Self::Add => Some(right.clone()),
            (Date32, Date32) | (Timestamp(..), Timestamp(..)) if self == Self::Subtract => {
                Some(SPAN)
            }
            (Date32, Timestamp(..)) | (Timestamp(..), Date32) if self == Self::Subtract => {
                Some(SPAN)
            }
            (a, b) if interval(a) && a == b && plus_or_minus => Some(left.clone()),
            (a, b) if interval(a) && types::is_number(b) => {
                matches!(self, Self::Multiply | Self::Divide).then(|| left.clone())
            }
            (a, b) if types::is_number(a) && interval(b) => {
                (self == Self::Multiply).then(|| right.clone())
            }
            _ => None,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    operation: Operation,
    signature: Signature,
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.operation.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, kinds: &[DataType]) -> Result<Vec<DataType>> {
        Ok(kinds.to_vec())
    }

    fn return_type(&self, kinds: &[DataType]) -> Result<DataType> {
        let [left, right] = kinds else {
            return Err(DataFusionError::Plan("an operator has two operands".to_owned()));
        };
        self.operation.result(left, right).ok_or_else(|| {
            DataFusionError::Plan(format!(
                "TYPE_MISMATCH: line 1:1: Cannot apply operator: {} {} {}",
                types::name(left),
                self.operation.sign(),
                types::name(right)
            ))
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let kind = args.return_field.data_type();
        if kind.is_integer() || kind.is_floating() {
            return self.numbers(&args.args, kind);
        }
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let (from_left, from_right) = (arrays[0].data_type(), arrays[1].data_type());
        let mut results = Vec::with_capacity(arrays[0].len());
        for row in 0..arrays[0].len() {
            let (left, right) = (value::read(&arrays[0], row)?, value::read(&arrays[1], row)?);
            results.push(match left.is_null() || right.is_null() {
                true => Value::Null,
                false => self
                    .row(&left, &right, (from_left, from_right), kind)
                    .map_err(DataFusionError::Execution)?,
            });
        }
        let array = value::column(kind, &results)?;
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}

impl Arithmetic {
    /// A batch at a time.
    fn numbers(&self, args: &[ColumnarValue], kind: &DataType) -> Result<ColumnarValue> {
        let sides = args.iter().map(|arg| arg.cast_to(kind, None)).collect::<Result<Vec<_>>>()?;
        let of = |side: &ColumnarValue| -> Result<Box<dyn Datum>> {
            Ok(match side {
                ColumnarValue::Array(array) => Box::new(array.clone()),
                ColumnarValue::Scalar(scalar) => Box::new(scalar.to_scalar()?),
            })
        };
        let (left, right) = (of(&sides[0])?, of(&sides[1])?);
        let (left, right) = (left.as_ref(), right.as_ref());
        let done = match self.operation {
            Operation::Add => numeric::add(left, right),
            Operation::Subtract => numeric::sub(left, right),
            Operation::Multiply => numeric::mul(left, right),
            Operation::Divide => numeric::div(left, right),
            Operation::Modulus => numeric::rem(left, right),
        };
        let array = done.map_err(|error| self.failed(&error, kind))?;
        let array = cast(&array, kind)?;
        let constant = sides.iter().all(|side| matches!(side, ColumnarValue::Scalar(_)));
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }

    fn failed(&self, error: &ArrowError, kind: &DataType) -> DataFusionError {
        let message = match error {
            ArrowError::DivideByZero => "DIVISION_BY_ZERO: Division by zero".to_owned(),
            ArrowError::ArithmeticOverflow(what) => {
                let operands = what.split_once(": ").map_or("", |(_, operands)| operands);
                let (kind, noun) = (types::name(kind), self.operation.noun());
                decimal::overflow(&format!("{kind} {noun}")) + ": " + operands
            }
            other => other.to_string(),
        };
        DataFusionError::Execution(message)
    }

    fn row(
        &self,
        left: &Value,
        right: &Value,
        (from_left, from_right): (&DataType, &DataType),
        kind: &DataType,
    ) -> Outcome {
        if let DataType::Decimal128(precision, scale) = kind {
            return self.decimals(left, right, *precision, *scale);
        }
        let minus = self.operation == Operation::Subtract;
        match (left, right) {
            (Value::Span(a), Value::Span(b)) => sum(*a, *b, minus).map(Value::Span),
            (Value::Months(a), Value::Months(b)) => {
                let months = sum(i64::from(*a), i64::from(*b), minus)?;
                months_of(months)
            }
            (Value::Span(a), Value::Whole(_) | Value::Double(_) | Value::Decimal(..)) => {
                Ok(Value::Span(self.scaled(*a, right)?))
            }
            (Value::Months(a), Value::Whole(_) | Value::Double(_) | Value::Decimal(..)) => {
                months_of(self.scaled(i64::from(*a), right)?)
            }
            (_, Value::Span(a)) if types::is_number(from_left) => {
                Ok(Value::Span(self.scaled(*a, left)?))
            }
            (_, Value::Months(a)) if types::is_number(from_left) => {
                months_of(self.scaled(i64::from(*a), left)?)
            }
            (_, Value::Span(_) | Value::Months(_)) => moved(left, from_left, right, minus),
            (Value::Span(_) | Value::Months(_), _) => moved(right, from_right, left, false),
            _ => {
                let micros = |value: &Value| match value {
                    Value::Date(days) => i64::from(*days) * MICROS_OF_DAY,
                    other => other.whole(),
                };
                Ok(Value::Span((micros(left) - micros(right)).div_euclid(1_000)))
            }
        }
    }

    fn scaled(&self, amount: i64, by: &Value) -> Outcome<i64> {
        let by = by.double();
        let result = match self.operation {
            Operation::Divide if by == 0.0 => {
                return Err("DIVISION_BY_ZERO: Division by zero".to_owned());
            }
            Operation::Divide => amount as f64 / by,
            _ => amount as f64 * by,
        };
        Ok(result as i64)
    }

    fn decimals(&self, left: &Value, right: &Value, precision: u8, scale: i8) -> Outcome {
        let of = |value: &Value| match value {
            Value::Decimal(digits, scale) => (*digits, *scale),
            other => (i128::from(other.whole()), 0),
        };
        let (a, b) = (of(left), of(right));
        let both = || {
            let common = a.1.max(b.1);
            Some((decimal::rescale(a.0, a.1, common)?, decimal::rescale(b.0, b.1, common)?))
        };
        let zero = b.0 == 0;
        let digits = match self.operation {
            Operation::Add => both().and_then(|(a, b)| a.checked_add(b)),
            Operation::Subtract => both().and_then(|(a, b)| a.checked_sub(b)),
            Operation::Multiply => decimal::multiply(a.0, b.0),
            Operation::Divide | Operation::Modulus if zero => {
                return Err("DIVISION_BY_ZERO: Division by zero".to_owned());
            }
            Operation::Divide => decimal::divide(a, b, scale),
            Operation::Modulus => both().map(|(a, b)| a % b),
        };
        match digits.filter(|digits| decimal::fits(*digits, precision)) {
            Some(digits) => Ok(Value::Decimal(digits, scale)),
            None => Err(decimal::overflow("Decimal")),
        }
    }
}

fn sum(left: i64, right: i64, minus: bool) -> Outcome<i64> {
    let sum = if minus { left.checked_sub(right) } else { left.checked_add(right) };
    sum.ok_or_else(|| decimal::overflow("interval"))
}

fn months_of(months: i64) -> Outcome {
    i32::try_from(months).map(Value::Months).map_err(|_| decimal::overflow("interval"))
}

/// A time before or after an interval.
pub fn moved(time: &Value, kind: &DataType, interval: &Value, back: bool) -> Outcome {
    let out = || decimal::overflow("timestamp");
    let zone = match kind {
        DataType::Timestamp(_, zone) => zone.as_deref(),
        _ => None,
    };
    match (time, interval) {
        (Value::Date(days), Value::Span(millis)) => {
            if millis % 86_400_000 != 0 {
                return Err("INVALID_FUNCTION_ARGUMENT: Cannot add hour, minutes or seconds to a \
                            date"
                    .to_owned());
            }
            let moved = sum(i64::from(*days), millis / 86_400_000, back)?;
            i32::try_from(moved).map(Value::Date).map_err(|_| out())
        }
        (Value::Date(days), Value::Months(months)) => {
            let civil = Civil::of(i64::from(*days) * MICROS_OF_DAY);
            let months = if back { -i64::from(*months) } else { i64::from(*months) };
            let days = civil.plus_months(months).ok_or_else(out)?.days();
            i32::try_from(days).map(Value::Date).map_err(|_| out())
        }
        (Value::Instant(micros), Value::Span(millis)) => {
            let span = millis.checked_mul(1_000).ok_or_else(out)?;
            sum(*micros, span, back).map(Value::Instant)
        }
        (Value::Instant(micros), Value::Months(months)) => {
            let civil = Civil::of(calendar::to_local(zone, *micros)?);
            let months = if back { -i64::from(*months) } else { i64::from(*months) };
            let local = civil.plus_months(months).and_then(Civil::instant).ok_or_else(out)?;
            calendar::from_local(zone, local).map(Value::Instant)
        }
        (Value::Time(micros), Value::Span(millis)) => {
            let micros = sum(*micros, millis * 1_000, back)?;
            Ok(Value::Time(micros.rem_euclid(MICROS_OF_DAY)))
        }
        _ => Err("TYPE_MISMATCH: these cannot be added".to_owned()),
    }
}
