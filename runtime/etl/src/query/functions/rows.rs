//! Constructors, subscripts and fields, and functions of values of any type.
//!
//! <https://trino.io/docs/current/functions/comparison.html>,
//! <https://trino.io/docs/current/functions/conversion.html>

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;

use super::call::{self, Outcome, Spec, invalid};
use super::types;
use super::value::Value;

/// The text of a literal argument.
pub fn literal(scalar: Option<&ScalarValue>) -> Option<&str> {
    match scalar {
        Some(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text))) => Some(text),
        _ => None,
    }
}

fn row_type(fields: &[FieldRef], _: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    Ok(types::row(fields.iter().map(|field| types::signed(field.data_type()))))
}

/// The place of a field in a row.
fn field_at(kind: &DataType, name: &str) -> Outcome<usize> {
    let DataType::Struct(fields) = kind else {
        let kind = types::name(kind);
        return Err(format!("TYPE_MISMATCH: line 1:1: Expression of type {kind} has no fields"));
    };
    fields.iter().position(|field| field.name().to_lowercase() == name).ok_or_else(|| {
        format!(
            "COLUMN_NOT_FOUND: line 1:1: Column '{name}' cannot be resolved or requester is not \
             authorized to access requested resources"
        )
    })
}

fn field_type(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    let name = literal(literals.get(1).copied().flatten()).unwrap_or_default();
    let at = field_at(fields[0].data_type(), name)?;
    match fields[0].data_type() {
        DataType::Struct(fields) => Ok(fields[at].data_type().clone()),
        other => Ok(other.clone()),
    }
}

/// A field of each row of an array: the array, and the field's place.
fn items_type(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    let at = match literals.get(1).copied().flatten() {
        Some(ScalarValue::Int64(Some(at))) => usize::try_from(*at).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let DataType::List(item) = fields[0].data_type() else { return Ok(DataType::Null) };
    let DataType::Struct(fields) = item.data_type() else { return Ok(DataType::Null) };
    Ok(types::array(fields.get(at).map_or(DataType::Null, |field| field.data_type().clone())))
}

/// A row may be subscripted by the number of its field.
fn subscript_type(fields: &[FieldRef], literals: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    let kind = fields[0].data_type();
    match kind {
        DataType::List(item) if fields[1].data_type().is_integer() => Ok(item.data_type().clone()),
        DataType::Map(..) => {
            let (key, value) = types::of_map(kind).unwrap_or((kind, kind));
            let own = types::signed(fields[1].data_type());
            // A literal is as wide as the key.
            let fits = key.is_integer() && own.is_integer();
            if !fits && types::common(key, &own).as_ref() != Some(key) {
                return Err(format!(
                    "TYPE_MISMATCH: line 1:1: Cannot use {} for subscript of {}",
                    types::name(&own),
                    types::name(kind)
                ));
            }
            Ok(value.clone())
        }
        DataType::Struct(members) => {
            let at = match literals.get(1).copied().flatten() {
                Some(ScalarValue::Int32(Some(at))) => usize::try_from(*at - 1).ok(),
                Some(ScalarValue::Int64(Some(at))) => usize::try_from(*at - 1).ok(),
                _ => None,
            };
            let member = at.and_then(|at| members.get(at));
            let outside = || {
                "INVALID_FUNCTION_ARGUMENT: line 1:1: ROW index out of bounds or not a constant"
                    .to_owned()
            };
            member.map(|member| member.data_type().clone()).ok_or_else(outside)
        }
        other => Err(format!(
            "TYPE_MISMATCH: line 1:1: Cannot use {} for subscript of {}",
            types::name(fields[1].data_type()),
            types::name(other)
        )),
    }
}

fn subscript(call: &call::Call, values: &[Value]) -> Outcome {
    match &values[0] {
        Value::List(items) => item(items, values[1].whole()),
        Value::Row(members) => {
            let at = usize::try_from(values[1].whole() - 1).ok();
            Ok(at.and_then(|at| members.get(at)).cloned().unwrap_or(Value::Null))
        }
        Value::Map(entries) => {
            let kind = types::of_map(&call.kinds[0]).map_or(DataType::Null, |(key, _)| key.clone());
            let wanted = types::coerce(values[1].clone(), &kind).map_err(|e| e.to_string())?;
            let found = entries.iter().find(|(key, _)| *key == wanted);
            found.map(|(_, value)| value.clone()).map_or_else(
                || {
                    let shown = super::cast::text(&wanted, &kind).unwrap_or_default();
                    invalid(format!("Key not present in map: {shown}"))
                },
                Ok,
            )
        }
        _ => Ok(Value::Null),
    }
}

/// The item at a place that is counted from one.
fn item(items: &[Value], place: i64) -> Outcome {
    if place == 0 {
        return invalid("SQL array indices start at 1");
    }
    if place < 0 {
        return invalid(format!("Array subscript is negative: {place}"));
    }
    let found = usize::try_from(place - 1).ok().and_then(|at| items.get(at)).cloned();
    found.map_or_else(
        || {
            invalid(format!(
                "Array subscript must be less than or equal to array length: {place} > {}",
                items.len()
            ))
        },
        Ok,
    )
}

fn type_of(fields: &[FieldRef], _: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    // Only to refuse what has no name.
    fields.first().map(|_| DataType::Utf8).ok_or_else(|| "typeof has one argument".to_owned())
}

/// The largest or the smallest; NULL among them makes NULL.
fn extreme(values: &[Value], largest: bool) -> Value {
    let nan = values.iter().find(|v| v.double().is_nan() && matches!(v, Value::Double(_)));
    if let Some(nan) = nan {
        return nan.clone();
    }
    let found = if largest { values.iter().max() } else { values.iter().min() };
    found.cloned().unwrap_or(Value::Null)
}

/// The functions.
pub const FUNCTIONS: &[Spec] = &[
    call::of("$array", &["() -> array(E)", "(E...) -> array(E)"], |_, v| {
        Ok(Value::List(v.to_vec()))
    })
    .with_nulls(),
    call::of("$row", &["(?...) -> boolean"], |_, v| Ok(Value::Row(v.to_vec())))
        .with_nulls()
        .typed(row_type),
    call::of("$field", &["(?, varchar) -> boolean"], |call, v| {
        let at = field_at(&call.kinds[0], v[1].str())?;
        Ok(v[0].items().get(at).cloned().unwrap_or(Value::Null))
    })
    .typed(field_type),
    call::of("$subscript", &["(?, ?) -> boolean"], subscript).typed(subscript_type),
    call::of("$field_items", &["(?, bigint) -> boolean"], |_, v| {
        let at = usize::try_from(v[1].whole()).unwrap_or(usize::MAX);
        let field = |row: &Value| row.items().get(at).cloned().unwrap_or(Value::Null);
        Ok(Value::List(v[0].items().iter().map(field).collect()))
    })
    .typed(items_type),
    call::of("$ordinals", &["(?...) -> array(bigint)"], |_, v| {
        let longest = v.iter().map(|list| list.items().len()).max().unwrap_or(0);
        Ok(Value::List((1..=longest as i64).map(Value::Whole).collect()))
    })
    .with_nulls(),
    call::of("typeof", &["(?) -> varchar"], |call, _| Ok(Value::Text(types::name(&call.kinds[0]))))
        .with_nulls()
        .typed(type_of),
    call::of("greatest", &["(E...) -> E"], |_, v| Ok(extreme(v, true))),
    call::of("least", &["(E...) -> E"], |_, v| Ok(extreme(v, false))),
    call::of("$months", &["(bigint) -> interval year to month"], |_, v| {
        Ok(i32::try_from(v[0].whole()).map_or(Value::Null, Value::Months))
    }),
    call::of("$millis", &["(bigint) -> interval day to second"], |_, v| {
        Ok(Value::Span(v[0].whole()))
    }),
    call::of("uuid", &["() -> varchar"], |_, _| Ok(Value::Text(uuid::Uuid::new_v4().to_string())))
        .volatile(),
    call::of("version", &["() -> varchar"], |_, _| Ok(Value::text("3"))),
];
