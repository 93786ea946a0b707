//! Functions that take lambdas, and `try`, which is one around an expression.
//!
//! <https://trino.io/docs/current/functions/lambda.html>

use std::cell::RefCell;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, NullArray, UInt32Array};
use datafusion::arrow::compute::take_arrays;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs, HigherOrderSignature,
    HigherOrderUDF, HigherOrderUDFImpl, LambdaArgument, LambdaParametersProgress, ValueOrLambda,
    Volatility,
};

use super::call::{Bound, Call, Kind, Outcome, Shape, filled, unify};
use super::maps;
use super::regexp;
use super::types;
use super::value::{self, Value};

/// Parameters of each call of a lambda.
type Parameters = Vec<Vec<Value>>;

/// A function.
#[derive(Clone, Copy)]
struct Spec {
    name: &'static str,
    /// `(array(T), function(T, U)) -> array(U)`.
    signature: &'static str,
    body: Body,
}

#[derive(Clone, Copy)]
enum Body {
    /// One call of the lambda for each of something, and a value of all results.
    Each(
        fn(&[Value]) -> Outcome<Parameters>,
        fn(&Call, &[Value], Parameters, Vec<Value>) -> Outcome,
    ),
    Reduce,
    Sort,
    Try,
}

/// Items of an array, one a call.
fn items(v: &[Value]) -> Outcome<Parameters> {
    Ok(v[0].items().iter().map(|item| vec![item.clone()]).collect())
}

fn entries(v: &[Value]) -> Outcome<Parameters> {
    let entries = v[0].entries().iter();
    Ok(entries.map(|(key, value)| vec![key.clone(), value.clone()]).collect())
}

fn side_by_side(v: &[Value]) -> Outcome<Parameters> {
    let longest = v[0].items().len().max(v[1].items().len());
    let at = |list: &Value, at: usize| list.items().get(at).cloned().unwrap_or(Value::Null);
    Ok((0..longest).map(|index| vec![at(&v[0], index), at(&v[1], index)]).collect())
}

fn keys_of_both(v: &[Value]) -> Outcome<Parameters> {
    let find = |map: &Value, wanted: &Value| {
        let found = map.entries().iter().find(|(key, _)| key == wanted);
        found.map_or(Value::Null, |(_, value)| value.clone())
    };
    let (left, right) = (v[0].entries(), v[1].entries());
    let others = right.iter().filter(|(key, _)| !left.iter().any(|(known, _)| known == key));
    let keys = left.iter().chain(others).map(|(key, _)| key.clone());
    Ok(keys
        .map(|key| {
            let values = (find(&v[0], &key), find(&v[1], &key));
            vec![key, values.0, values.1]
        })
        .collect())
}

fn any(results: &[Value]) -> Value {
    match results.iter().any(Value::truth) {
        true => Value::Boolean(true),
        false if results.iter().any(Value::is_null) => Value::Null,
        false => Value::Boolean(false),
    }
}

fn not(value: Value) -> Value {
    match value {
        Value::Boolean(truth) => Value::Boolean(!truth),
        other => other,
    }
}

fn is_false(value: &Value) -> bool {
    matches!(value, Value::Boolean(false))
}

fn key_kind(kind: &DataType) -> DataType {
    types::of_map(kind).map_or(DataType::Null, |(key, _)| key.clone())
}

/// Keys and values, of which one is new.
fn first_of(parameters: Parameters) -> impl Iterator<Item = Value> {
    parameters.into_iter().map(|mut parameters| parameters.swap_remove(0))
}

/// Groups of each match.
fn matches(v: &[Value]) -> Outcome<Parameters> {
    let regex = regexp::compiled(v[1].str())?;
    let groups = |captures: regex::Captures| {
        let groups = captures.iter().skip(1);
        let texts = groups.map(|g| Value::or_null(g, |found| Value::text(found.as_str())));
        vec![Value::List(texts.collect())]
    };
    Ok(regex.captures_iter(v[0].str()).map(groups).collect())
}

fn replaced(_: &Call, v: &[Value], _: Parameters, results: Vec<Value>) -> Outcome {
    let (source, regex) = (v[0].str(), regexp::compiled(v[1].str())?);
    if results.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    let (mut text, mut end) = (String::new(), 0);
    for (found, result) in regex.find_iter(source).zip(&results) {
        text.push_str(&source[end..found.start()]);
        text.push_str(result.str());
        end = found.end();
    }
    text.push_str(&source[end..]);
    Ok(Value::Text(text))
}

const FUNCTIONS: &[Spec] = &[
    Spec {
        name: "transform",
        signature: "(array(T), function(T, U)) -> array(U)",
        body: Body::Each(items, |_, _, _, results| Ok(Value::List(results))),
    },
    Spec {
        name: "filter",
        signature: "(array(T), function(T, boolean)) -> array(T)",
        body: Body::Each(items, |_, _, parameters, results| {
            let kept = first_of(parameters).zip(results).filter(|(_, keep)| keep.truth());
            Ok(Value::List(kept.map(|(item, _)| item).collect()))
        }),
    },
    Spec {
        name: "any_match",
        signature: "(array(T), function(T, boolean)) -> boolean",
        body: Body::Each(items, |_, _, _, results| Ok(any(&results))),
    },
    Spec {
        name: "none_match",
        signature: "(array(T), function(T, boolean)) -> boolean",
        body: Body::Each(items, |_, _, _, results| Ok(not(any(&results)))),
    },
    Spec {
        name: "all_match",
        signature: "(array(T), function(T, boolean)) -> boolean",
        body: Body::Each(items, |_, _, _, results| {
            Ok(match results.iter().any(is_false) {
                true => Value::Boolean(false),
                false if results.iter().any(Value::is_null) => Value::Null,
                false => Value::Boolean(true),
            })
        }),
    },
    Spec {
        name: "map_filter",
        signature: "(map(K, V), function(K, V, boolean)) -> map(K, V)",
        body: Body::Each(entries, |_, v, _, results| {
            let kept = v[0].entries().iter().zip(results).filter(|(_, keep)| keep.truth());
            Ok(Value::Map(kept.map(|(entry, _)| entry.clone()).collect()))
        }),
    },
    Spec {
        name: "transform_values",
        signature: "(map(K, V), function(K, V, W)) -> map(K, W)",
        body: Body::Each(entries, |_, _, parameters, results| {
            Ok(Value::Map(first_of(parameters).zip(results).collect()))
        }),
    },
    Spec {
        name: "transform_keys",
        signature: "(map(K, V), function(K, V, L)) -> map(L, V)",
        body: Body::Each(entries, |call, v, _, results| {
            let values = v[0].entries().iter().map(|(_, value)| value.clone());
            maps::of_entries(results.into_iter().zip(values).collect(), &key_kind(call.result))
        }),
    },
    Spec {
        name: "zip_with",
        signature: "(array(T), array(U), function(T, U, R)) -> array(R)",
        body: Body::Each(side_by_side, |_, _, _, results| Ok(Value::List(results))),
    },
    Spec {
        name: "map_zip_with",
        signature: "(map(K, V), map(K, W), function(K, V, W, R)) -> map(K, R)",
        body: Body::Each(keys_of_both, |_, _, parameters, results| {
            Ok(Value::Map(first_of(parameters).zip(results).collect()))
        }),
    },
    Spec {
        name: "$regexp_replace",
        signature: "(varchar, varchar, function(array(varchar), varchar)) -> varchar",
        body: Body::Each(matches, replaced),
    },
    Spec {
        name: "$array_sort",
        signature: "(array(T), function(T, T, integer)) -> array(T)",
        body: Body::Sort,
    },
    Spec {
        name: "reduce",
        signature: "(array(T), S, function(S, T, S), function(S, R)) -> R",
        body: Body::Reduce,
    },
    Spec { name: "try", signature: "(function(R)) -> R", body: Body::Try },
];

/// Whether a function of this name takes a lambda.
pub fn is_one(name: &str) -> bool {
    names().any(|known| known == name)
}

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|spec| spec.name)
}

/// The functions.
pub fn udfs() -> impl Iterator<Item = HigherOrderUDF> {
    FUNCTIONS.iter().map(|spec| HigherOrderUDF::new_from_impl(Function::new(*spec)))
}

struct Function {
    spec: Spec,
    shape: Shape,
    signature: HigherOrderSignature,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

fn nullable(kind: DataType) -> FieldRef {
    Arc::new(Field::new("", kind, true))
}

impl Function {
    fn new(spec: Spec) -> Self {
        let signature = HigherOrderSignature::variadic_any(Volatility::Immutable);
        Self { spec, shape: Shape::parse(spec.signature), signature }
    }

    fn wrong(&self) -> DataFusionError {
        let expected = self.spec.signature.split("->").next().unwrap_or_default().trim();
        DataFusionError::Plan(format!(
            "FUNCTION_NOT_FOUND: line 1:1: Unexpected parameters for function {name}. Expected: \
             {name}{expected}",
            name = self.spec.name
        ))
    }

    /// What letters stand for, by the values and the lambdas whose results are known.
    fn bound<L>(
        &self,
        fields: &[ValueOrLambda<FieldRef, L>],
        result: impl Fn(&L) -> Option<DataType>,
    ) -> Result<Bound> {
        if fields.len() != self.shape.arguments.len() {
            return Err(self.wrong());
        }
        let mut bound = Bound::default();
        for (kind, field) in self.shape.arguments.iter().zip(fields) {
            match (kind, field) {
                (Kind::Lambda(_, to), ValueOrLambda::Lambda(lambda)) => {
                    if let Some(kind) = result(lambda) {
                        unify(to, &types::signed(&kind), &mut bound).ok_or_else(|| self.wrong())?;
                    }
                }
                (Kind::Lambda(..), _) | (_, ValueOrLambda::Lambda(_)) => return Err(self.wrong()),
                (kind, ValueOrLambda::Value(field)) => {
                    let actual = types::signed(field.data_type());
                    unify(kind, &actual, &mut bound).ok_or_else(|| self.wrong())?;
                }
            }
        }
        Ok(bound)
    }

    /// Types of the parameters of each lambda.
    fn parameters(&self, bound: &Bound) -> Vec<Vec<DataType>> {
        let lambdas = self.shape.arguments.iter().filter_map(|kind| match kind {
            Kind::Lambda(parameters, _) => Some(parameters),
            _ => None,
        });
        let kinds = |parameters: &Vec<Kind>| {
            let kinds = parameters.iter().map(|kind| filled(kind, &DataType::Null, bound));
            kinds.map(|kind| kind.unwrap_or(DataType::Null)).collect()
        };
        lambdas.map(kinds).collect()
    }

    /// Types of the values that it is called with.
    fn kinds(&self, bound: &Bound) -> Vec<DataType> {
        let values = self.shape.arguments.iter().filter(|kind| !matches!(kind, Kind::Lambda(..)));
        values.map(|kind| filled(kind, &DataType::Null, bound).unwrap_or(DataType::Null)).collect()
    }
}

impl HigherOrderUDFImpl for Function {
    fn name(&self) -> &str {
        self.spec.name
    }

    fn signature(&self) -> &HigherOrderSignature {
        &self.signature
    }

    fn lambda_parameters(
        &self,
        step: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        let known = |lambda: &Option<FieldRef>| lambda.as_ref().map(|f| f.data_type().clone());
        let bound = self.bound(fields, known)?;
        let of = |kinds: Vec<DataType>| kinds.into_iter().map(nullable).collect::<Vec<_>>();
        let mut parameters = self.parameters(&bound).into_iter().map(of);
        // The state is of the type of what the first lambda makes of it.
        if matches!(self.spec.body, Body::Reduce) {
            let Some(ValueOrLambda::Lambda(made)) = fields.get(2) else { return Err(self.wrong()) };
            let settled = made.as_ref().is_some_and(|m| bound.get('S') == Some(m.data_type()));
            if !settled && step < 4 {
                return Ok(LambdaParametersProgress::Partial(vec![parameters.next(), None]));
            }
        }
        Ok(LambdaParametersProgress::Complete(parameters.collect()))
    }

    fn return_field_from_args(&self, args: HigherOrderReturnFieldArgs) -> Result<FieldRef> {
        let bound = self.bound(args.arg_fields, |field| Some(field.data_type().clone()))?;
        filled(&self.shape.result, &DataType::Null, &bound)
            .map(nullable)
            .ok_or_else(|| self.wrong())
    }

    fn invoke_with_args(&self, args: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let bound = self.bound(&args.arg_fields, |field| Some(field.data_type().clone()))?;
        let (kinds, parameters) = (self.kinds(&bound), self.parameters(&bound));
        let rows = args.number_rows;
        let (mut columns, mut lambdas) = (Vec::new(), Vec::new());
        for argument in &args.args {
            match argument {
                ValueOrLambda::Value(value) => columns.push(value.to_array(rows)?),
                ValueOrLambda::Lambda(lambda) => lambdas.push(lambda),
            }
        }
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            let of = |(column, kind): (&ArrayRef, &DataType)| {
                types::coerce(value::read(column, row)?, kind)
            };
            values.push(columns.iter().zip(&kinds).map(of).collect::<Result<Vec<_>>>()?);
        }
        let call = Call { kinds: &kinds, result: args.return_field.data_type() };
        let lambdas: Vec<Lambda> = lambdas
            .into_iter()
            .zip(&parameters)
            .map(|(lambda, kinds)| Lambda { lambda, kinds })
            .collect();
        let results = match self.spec.body {
            Body::Each(expand, together) => each(&call, &values, &lambdas, expand, together),
            Body::Reduce => reduce(&values, &lambdas, &bound),
            Body::Sort => sort(&values, &lambdas),
            Body::Try => return lambdas[0].caught(rows, call.result),
        };
        Ok(ColumnarValue::Array(value::column(call.result, &results?)?))
    }
}

/// A lambda with the types of its parameters.
struct Lambda<'a> {
    lambda: &'a LambdaArgument,
    kinds: &'a [DataType],
}

impl Lambda<'_> {
    /// Results for parameters, each of which belongs to a row of the batch.
    fn evaluate(&self, parameters: &[Vec<Value>], rows: &[usize]) -> Result<Vec<Value>> {
        if parameters.is_empty() {
            return Ok(vec![]);
        }
        let mut arrays = Vec::with_capacity(self.kinds.len());
        for (index, kind) in self.kinds.iter().enumerate() {
            let values: Vec<Value> = parameters.iter().map(|p| p[index].clone()).collect();
            arrays.push(value::column(kind, &values)?);
        }
        let array = self.evaluate_arrays(&arrays, rows)?;
        value::all(&array)
    }

    fn evaluate_arrays(&self, arrays: &[ArrayRef], rows: &[usize]) -> Result<ArrayRef> {
        let closures: Vec<_> = arrays.iter().map(|array| move || Ok(array.clone())).collect();
        let closures: Vec<&dyn Fn() -> Result<ArrayRef>> =
            closures.iter().map(|closure| closure as &dyn Fn() -> Result<ArrayRef>).collect();
        let done = self.lambda.evaluate(&closures, |captured| {
            let rows = rows.iter().map(|row| u32::try_from(*row).unwrap_or(u32::MAX));
            Ok(take_arrays(captured, &UInt32Array::from_iter_values(rows), None)?)
        })?;
        done.into_array(rows.len())
    }

    /// Values of all rows, NULL where computing one failed as a statement can fail.
    fn caught(&self, rows: usize, kind: &DataType) -> Result<ColumnarValue> {
        // Only its length is asked for.
        let blank = |count: usize| -> ArrayRef { Arc::new(NullArray::new(count)) };
        let all: Vec<usize> = (0..rows).collect();
        if let Ok(array) = self.evaluate_arrays(&[blank(rows)], &all) {
            return Ok(ColumnarValue::Array(array));
        }
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            values.push(match self.evaluate_arrays(&[blank(1)], &[row]) {
                Ok(array) => value::read(&array, 0)?,
                Err(error) if is_caught(&error) => Value::Null,
                Err(error) => return Err(error),
            });
        }
        Ok(ColumnarValue::Array(value::column(kind, &values)?))
    }
}

/// What `try` makes NULL of: wrong values, and nothing that is wrong with the statement.
fn is_caught(error: &DataFusionError) -> bool {
    const CAUGHT: [&str; 6] = [
        "DIVISION_BY_ZERO",
        "INVALID_CAST_ARGUMENT",
        "INVALID_FUNCTION_ARGUMENT",
        "NUMERIC_VALUE_OUT_OF_RANGE",
        "Divide by zero",
        "overflow",
    ];
    let text = error.find_root().strip_backtrace();
    CAUGHT.iter().any(|known| text.contains(known))
}

fn failed(message: String) -> DataFusionError {
    DataFusionError::Execution(message)
}

fn each(
    call: &Call,
    values: &[Vec<Value>],
    lambdas: &[Lambda],
    expand: fn(&[Value]) -> Outcome<Parameters>,
    together: fn(&Call, &[Value], Parameters, Vec<Value>) -> Outcome,
) -> Result<Vec<Value>> {
    let (mut all, mut rows, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for (row, values) in values.iter().enumerate() {
        let parameters = match values.iter().any(Value::is_null) {
            true => vec![],
            false => expand(values).map_err(failed)?,
        };
        rows.extend(std::iter::repeat_n(row, parameters.len()));
        counts.push(parameters.len());
        all.extend(parameters);
    }
    let mut results = lambdas[0].evaluate(&all, &rows)?.into_iter();
    let mut all = all.into_iter();
    let mut done = Vec::with_capacity(values.len());
    for (values, count) in values.iter().zip(counts) {
        let parameters = all.by_ref().take(count).collect();
        let results = results.by_ref().take(count).collect();
        done.push(match values.iter().any(Value::is_null) {
            true => Value::Null,
            false => together(call, values, parameters, results).map_err(failed)?,
        });
    }
    Ok(done)
}

/// All rows at once, item after item.
fn reduce(values: &[Vec<Value>], lambdas: &[Lambda], bound: &Bound) -> Result<Vec<Value>> {
    let kind = bound.get('S').cloned().unwrap_or(DataType::Null);
    let mut states: Vec<Value> = values.iter().map(|values| values[1].clone()).collect();
    let longest = values.iter().map(|values| values[0].items().len()).max().unwrap_or(0);
    for at in 0..longest {
        let rows: Vec<usize> =
            (0..values.len()).filter(|row| values[*row][0].items().len() > at).collect();
        let parameters: Vec<Vec<Value>> = rows
            .iter()
            .map(|row| vec![states[*row].clone(), values[*row][0].items()[at].clone()])
            .collect();
        for (row, state) in rows.iter().zip(lambdas[0].evaluate(&parameters, &rows)?) {
            states[*row] = types::coerce(state, &kind)?;
        }
    }
    let rows: Vec<usize> = (0..values.len()).collect();
    let parameters: Vec<Vec<Value>> = states.into_iter().map(|state| vec![state]).collect();
    let results = lambdas[1].evaluate(&parameters, &rows)?;
    let there = values.iter().zip(results);
    Ok(there.map(|(values, r)| if values[0].is_null() { Value::Null } else { r }).collect())
}

/// By a comparison of two items: negative, zero or positive.
fn sort(values: &[Vec<Value>], lambdas: &[Lambda]) -> Result<Vec<Value>> {
    let error = RefCell::new(None);
    let mut done = Vec::with_capacity(values.len());
    for (row, values) in values.iter().enumerate() {
        if values[0].is_null() {
            done.push(Value::Null);
            continue;
        }
        let after = |left: &Value, right: &Value| {
            let compared = lambdas[0].evaluate(&[vec![left.clone(), right.clone()]], &[row]);
            match compared.as_deref() {
                Ok([Value::Whole(order)]) => *order > 0,
                Ok(_) => {
                    let what = "INVALID_FUNCTION_ARGUMENT: Lambda comparator must return either -1, \
                                0, or 1";
                    error.borrow_mut().get_or_insert(failed(what.to_owned()));
                    false
                }
                Err(_) => {
                    error.borrow_mut().get_or_insert_with(|| match compared {
                        Err(error) => error,
                        Ok(_) => failed(String::new()),
                    });
                    false
                }
            }
        };
        // Whatever the comparison says, this ends.
        let mut sorted: Vec<Value> = Vec::with_capacity(values[0].items().len());
        for item in values[0].items() {
            let at = sorted.partition_point(|before| !after(before, item));
            sorted.insert(at, item.clone());
        }
        if let Some(error) = error.take() {
            return Err(error);
        }
        done.push(Value::List(sorted));
    }
    Ok(done)
}
