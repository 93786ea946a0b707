//! A scalar function of Trino as the engine's: its signatures as Trino's documentation writes them,
//! and what it makes of the values of one row.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

use super::types;
use super::value::{self, Value};

/// What a function knows about its call.
pub struct Call<'a> {
    /// Types of the arguments.
    pub kinds: &'a [DataType],
    /// Type of the result.
    pub result: &'a DataType,
}

impl Call<'_> {
    /// The zone of the argument at a place.
    pub fn zone(&self, index: usize) -> Option<&str> {
        match self.kinds.get(index) {
            Some(DataType::Timestamp(_, Some(zone))) => Some(zone),
            _ => None,
        }
    }
}

/// Why there is no value, in Trino's words: `DIVISION_BY_ZERO: Division by zero`.
pub type Outcome<T = Value> = Result<T, String>;

/// The type of a result that no signature can say.
pub type Typed = fn(&[FieldRef], &[Option<&ScalarValue>]) -> Outcome<DataType>;

/// A function.
#[derive(Clone, Copy)]
pub struct Spec {
    pub name: &'static str,
    /// `(array(E), bigint) -> E`, one behind another.
    pub signatures: &'static [&'static str],
    pub run: fn(&Call, &[Value]) -> Outcome,
    pub typed: Option<Typed>,
    /// Whether it is called with NULL; else NULL makes NULL.
    pub takes_null: bool,
    pub volatility: Volatility,
}

/// A function that is NULL when an argument is.
pub const fn of(
    name: &'static str,
    signatures: &'static [&'static str],
    run: fn(&Call, &[Value]) -> Outcome,
) -> Spec {
    let volatility = Volatility::Immutable;
    Spec { name, signatures, run, typed: None, takes_null: false, volatility }
}

impl Spec {
    /// Called also with NULL.
    pub const fn with_nulls(mut self) -> Self {
        self.takes_null = true;
        self
    }

    /// With a result whose type depends on more than types.
    pub const fn typed(mut self, typed: Typed) -> Self {
        self.typed = Some(typed);
        self
    }

    pub const fn volatile(mut self) -> Self {
        self.volatility = Volatility::Volatile;
        self
    }
}

/// The type of an argument or a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Any type, the same at every place with this letter.
    Any(char),
    /// Any type, each its own.
    Each,
    Exact(DataType),
    /// Whatever its digits.
    Decimal,
    /// Without or with a zone, whatever its digits.
    Timestamp(bool),
    Array(Box<Kind>),
    Map(Box<Kind>, Box<Kind>),
    /// A lambda of parameters and a result.
    Lambda(Vec<Kind>, Box<Kind>),
}

/// `(array(E), bigint) -> E`.
#[derive(Debug, Clone)]
pub struct Shape {
    pub arguments: Vec<Kind>,
    /// Whether the last argument may stand any number of times.
    pub repeats: bool,
    pub result: Kind,
}

/// Types of letters.
#[derive(Debug, Clone, Default)]
pub struct Bound(Vec<(char, DataType)>);

impl Bound {
    pub fn get(&self, letter: char) -> Option<&DataType> {
        self.0.iter().find(|(known, _)| *known == letter).map(|(_, kind)| kind)
    }

    /// Widens what a letter stands for.
    pub fn bind(&mut self, letter: char, kind: &DataType) -> Option<()> {
        match self.0.iter_mut().find(|(known, _)| *known == letter) {
            Some((_, bound)) => *bound = types::common(bound, kind)?,
            None => self.0.push((letter, types::signed(kind))),
        }
        Some(())
    }
}

impl Shape {
    /// Reads a signature; they are part of the program, so that a wrong one is a defect.
    pub fn parse(text: &str) -> Self {
        let (arguments, result) = text.rsplit_once("->").unwrap_or((text, "boolean"));
        let inside = arguments.trim().trim_start_matches('(');
        let inside = inside.strip_suffix(')').unwrap_or(inside);
        let (inside, repeats) = match inside.strip_suffix("...") {
            Some(inside) => (inside, true),
            None => (inside, false),
        };
        let arguments = split(inside).into_iter().map(kind).collect();
        Self { arguments, repeats, result: kind(result) }
    }

    /// The kind of the argument at a place.
    pub fn argument(&self, index: usize) -> Option<&Kind> {
        self.arguments.get(index).or_else(|| self.arguments.last().filter(|_| self.repeats))
    }

    fn takes(&self, count: usize) -> bool {
        let own = self.arguments.len();
        count == own || self.repeats && count + 1 >= own
    }

    /// Types of the arguments and the result, when these arguments fit.
    fn resolve(&self, actual: &[DataType]) -> Option<(Vec<DataType>, DataType)> {
        if !self.takes(actual.len()) {
            return None;
        }
        let mut bound = Bound::default();
        for (index, actual) in actual.iter().enumerate() {
            unify(self.argument(index)?, actual, &mut bound)?;
        }
        let kinds = actual.iter().enumerate();
        let kinds = kinds.map(|(index, actual)| filled(self.argument(index)?, actual, &bound));
        let kinds = kinds.collect::<Option<Vec<_>>>()?;
        let first_timestamp = kinds.iter().find(|k| matches!(k, DataType::Timestamp(..)));
        let fallback = first_timestamp.cloned().unwrap_or_else(types::timestamp);
        let result = filled(&self.result, &fallback, &bound)?;
        Some((kinds, result))
    }
}

/// Parts between commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0usize, 0, Vec::new());
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}

fn kind(text: &str) -> Kind {
    let text = text.trim();
    let mut letters = text.chars();
    if let (Some(letter @ 'A'..='Z'), None) = (letters.next(), letters.next()) {
        return Kind::Any(letter);
    }
    let inside = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(')'));
    if let Some(item) = inside("array(") {
        return Kind::Array(Box::new(kind(item)));
    }
    if let Some(parts) = inside("map(").map(split)
        && let [key, value] = parts.as_slice()
    {
        return Kind::Map(Box::new(kind(key)), Box::new(kind(value)));
    }
    if let Some(mut parts) = inside("function(").map(split) {
        let result = parts.pop().map_or(Kind::Exact(DataType::Null), kind);
        return Kind::Lambda(parts.into_iter().map(kind).collect(), Box::new(result));
    }
    match text {
        "?" => Kind::Each,
        "decimal" => Kind::Decimal,
        "timestamp" => Kind::Timestamp(false),
        "timestamp with time zone" => Kind::Timestamp(true),
        other => Kind::Exact(types::parse(other).map_or(DataType::Null, |written| written.kind)),
    }
}

/// Whether an argument may stand where a kind is wanted; binds the letters.
pub fn unify(kind: &Kind, actual: &DataType, bound: &mut Bound) -> Option<()> {
    match (kind, actual) {
        (Kind::Any(letter), actual) => bound.bind(*letter, actual),
        (Kind::Each, _) => Some(()),
        (Kind::Exact(wanted), actual) => (types::common(wanted, actual)? == *wanted).then_some(()),
        (_, DataType::Null) => Some(()),
        (Kind::Decimal, actual) => types::as_decimal(actual).map(|_| ()),
        (Kind::Timestamp(zoned), DataType::Timestamp(_, zone)) => {
            (zone.is_some() == *zoned).then_some(())
        }
        (Kind::Timestamp(false), DataType::Date32) => Some(()),
        (Kind::Array(item), DataType::List(field)) => unify(item, field.data_type(), bound),
        (Kind::Map(key, value), DataType::Map(..)) => {
            let (actual_key, actual_value) = types::of_map(actual)?;
            unify(key, actual_key, bound)?;
            unify(value, actual_value, bound)
        }
        _ => None,
    }
}

/// The type of a kind, once letters are bound; `None` while one is not.
pub fn filled(kind: &Kind, actual: &DataType, bound: &Bound) -> Option<DataType> {
    Some(match kind {
        Kind::Any(letter) => bound.get(*letter).cloned().unwrap_or(DataType::Null),
        Kind::Each => types::signed(actual),
        Kind::Exact(wanted) => wanted.clone(),
        Kind::Decimal => match types::as_decimal(actual) {
            Some((precision, scale)) => DataType::Decimal128(precision, scale),
            None => DataType::Decimal128(1, 0),
        },
        Kind::Timestamp(_) => match actual {
            DataType::Timestamp(..) => actual.clone(),
            _ => types::timestamp(),
        },
        Kind::Array(item) => {
            let actual = match actual {
                DataType::List(field) => field.data_type().clone(),
                _ => DataType::Null,
            };
            types::array(filled(item, &actual, bound)?)
        }
        Kind::Map(key, value) => {
            let (of_key, of_value) =
                types::of_map(actual).unwrap_or((&DataType::Null, &DataType::Null));
            types::map(filled(key, of_key, bound)?, filled(value, of_value, bound)?)
        }
        Kind::Lambda(..) => return None,
    })
}

/// A function with its signatures read.
#[derive(Clone)]
pub struct Function {
    spec: Spec,
    shapes: Arc<[Shape]>,
    signature: Signature,
}

impl Function {
    pub fn new(spec: Spec) -> Self {
        let shapes = spec.signatures.iter().map(|text| Shape::parse(text)).collect();
        Self { spec, shapes, signature: Signature::user_defined(spec.volatility) }
    }

    pub fn udf(spec: Spec) -> ScalarUDF {
        ScalarUDF::from(Self::new(spec))
    }

    /// Types of the arguments and the result.
    fn resolve(&self, actual: &[DataType]) -> Result<(Vec<DataType>, DataType)> {
        resolve(self.spec.name, self.spec.signatures, &self.shapes, actual)
    }
}

/// The first signature that takes the arguments as they are, else the first that takes them.
pub fn resolve(
    name: &str,
    signatures: &[&str],
    shapes: &[Shape],
    actual: &[DataType],
) -> Result<(Vec<DataType>, DataType)> {
    let signed: Vec<DataType> = actual.iter().map(types::signed).collect();
    let fits: Vec<_> = shapes.iter().filter_map(|shape| shape.resolve(&signed)).collect();
    let exact = fits.iter().position(|(kinds, _)| *kinds == signed);
    match fits.into_iter().nth(exact.unwrap_or(0)) {
        Some(found) => Ok(found),
        None => {
            let given: Vec<String> = actual.iter().map(types::name).collect();
            let expected: Vec<String> = signatures
                .iter()
                .map(|text| format!("{name}{}", text.split("->").next().unwrap_or(text).trim()))
                .collect();
            Err(DataFusionError::Plan(format!(
                "FUNCTION_NOT_FOUND: line 1:1: Unexpected parameters ({}) for function {name}. \
                 Expected: {}",
                given.join(", "),
                expected.join(", ")
            )))
        }
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spec.name)
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.spec.name == other.spec.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.spec.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, actual: &[DataType]) -> Result<Vec<DataType>> {
        // Values are converted one by one, because the engine converts otherwise than Trino.
        self.resolve(actual)?;
        Ok(actual.to_vec())
    }

    fn return_type(&self, actual: &[DataType]) -> Result<DataType> {
        Ok(self.resolve(actual)?.1)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let kinds: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let (_, result) = self.resolve(&kinds)?;
        let result = match self.spec.typed {
            Some(typed) => {
                typed(args.arg_fields, args.scalar_arguments).map_err(DataFusionError::Plan)?
            }
            None => result,
        };
        Ok(Arc::new(Field::new(self.name(), result, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let actual: Vec<DataType> =
            args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let (kinds, _) = self.resolve(&actual)?;
        let call = Call { kinds: &kinds, result: args.return_field.data_type() };
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)))
            && self.spec.volatility != Volatility::Volatile;
        let rows = if constant { 1 } else { args.number_rows };
        let mut columns = Vec::with_capacity(args.args.len());
        for (argument, kind) in args.args.iter().zip(&kinds) {
            columns.push(Argument::new(argument, kind)?);
        }
        let mut results = Vec::with_capacity(rows);
        let mut values = Vec::with_capacity(columns.len());
        for row in 0..rows {
            values.clear();
            for column in &columns {
                values.push(column.value(row)?);
            }
            results.push(match !self.spec.takes_null && values.iter().any(Value::is_null) {
                true => Value::Null,
                false => (self.spec.run)(&call, &values).map_err(DataFusionError::Execution)?,
            });
        }
        let array = value::column(call.result, &results)?;
        Ok(match constant {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}

/// An argument of a batch.
struct Argument {
    array: datafusion::arrow::array::ArrayRef,
    /// Whether its first row stands for all.
    constant: bool,
    /// What it is converted to, when it is something else.
    to: Option<DataType>,
}

impl Argument {
    fn new(argument: &ColumnarValue, kind: &DataType) -> Result<Self> {
        let (array, constant) = match argument {
            ColumnarValue::Array(array) => (array.clone(), false),
            ColumnarValue::Scalar(scalar) => (scalar.to_array()?, true),
        };
        let to = (array.data_type() != kind).then(|| kind.clone());
        Ok(Self { array, constant, to })
    }

    fn value(&self, row: usize) -> Result<Value> {
        let value = value::read(&self.array, if self.constant { 0 } else { row })?;
        match &self.to {
            Some(kind) => types::coerce(value, kind),
            None => Ok(value),
        }
    }
}

/// An error of `INVALID_FUNCTION_ARGUMENT`.
pub fn invalid<T>(what: impl fmt::Display) -> Outcome<T> {
    Err(format!("INVALID_FUNCTION_ARGUMENT: {what}"))
}

/// A number that is too large.
pub fn out_of_range<T>(what: impl fmt::Display) -> Outcome<T> {
    Err(format!("NUMERIC_VALUE_OUT_OF_RANGE: {what}"))
}
