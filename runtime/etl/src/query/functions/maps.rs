//! Functions of maps.
//!
//! <https://trino.io/docs/current/functions/map.html>

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;

use super::call::{self, Call, Outcome, Spec, invalid};
use super::cast;
use super::texts;
use super::types;
use super::value::Value;

type Entries = Vec<(Value, Value)>;

/// A map, unless a key is NULL or stands twice.
pub fn of_entries(entries: Entries, key_kind: &DataType) -> Outcome {
    let mut seen = std::collections::HashSet::new();
    for (key, _) in &entries {
        if key.is_null() {
            return invalid("map key cannot be null");
        }
        if !seen.insert(key) {
            let shown = cast::text(key, key_kind).unwrap_or_default();
            return invalid(format!("Duplicate map keys ({shown}) are not allowed"));
        }
    }
    Ok(Value::Map(entries))
}

fn key_kind(kind: &DataType) -> DataType {
    types::of_map(kind).map_or(DataType::Null, |(key, _)| key.clone())
}

fn map(call: &Call, v: &[Value]) -> Outcome {
    let [keys, values] = v else { return Ok(Value::Map(vec![])) };
    if keys.items().len() != values.items().len() {
        return invalid("Key and value arrays must be the same length");
    }
    let entries = keys.items().iter().cloned().zip(values.items().iter().cloned());
    of_entries(entries.collect(), &key_kind(call.result))
}

fn entry_type(fields: &[FieldRef]) -> Outcome<(DataType, DataType)> {
    let wrong = || {
        "FUNCTION_NOT_FOUND: line 1:1: Unexpected parameters, an array of rows of two fields is \
         expected"
            .to_owned()
    };
    let DataType::List(item) = fields[0].data_type() else { return Err(wrong()) };
    match item.data_type() {
        DataType::Struct(pair) if pair.len() == 2 => {
            Ok((pair[0].data_type().clone(), pair[1].data_type().clone()))
        }
        _ => Err(wrong()),
    }
}

fn from_type(fields: &[FieldRef], _: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    entry_type(fields).map(|(key, value)| types::map(key, value))
}

fn multimap_type(fields: &[FieldRef], _: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    entry_type(fields).map(|(key, value)| types::map(key, types::array(value)))
}

fn entries_type(fields: &[FieldRef], _: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    let kind = fields[0].data_type();
    let (key, value) = types::of_map(kind).unwrap_or((&DataType::Null, &DataType::Null));
    Ok(types::array(types::row([key.clone(), value.clone()])))
}

/// Key and value of each row.
fn pairs(list: &Value) -> Outcome<Entries> {
    let mut entries = Vec::new();
    for row in list.items() {
        match row.items() {
            [key, value] => entries.push((key.clone(), value.clone())),
            _ => return invalid("map entry cannot be null"),
        }
    }
    Ok(entries)
}

/// All values of a key, in the order in which keys come first.
pub fn grouped(entries: Entries) -> Value {
    let mut all: Vec<(Value, Vec<Value>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for (key, value) in entries {
        let at = *places.entry(key.clone()).or_insert_with(|| {
            all.push((key, vec![]));
            all.len() - 1
        });
        all[at].1.push(value);
    }
    Value::Map(all.into_iter().map(|(key, values)| (key, Value::List(values))).collect())
}

/// A later map wins.
fn concat(_: &Call, v: &[Value]) -> Outcome {
    let mut all: Entries = Vec::new();
    for (key, value) in v.iter().flat_map(Value::entries) {
        match all.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value.clone(),
            None => all.push((key.clone(), value.clone())),
        }
    }
    Ok(Value::Map(all))
}

fn split_to_map(_: &Call, v: &[Value]) -> Outcome {
    let pairs = texts::pairs(v)?;
    let entries = pairs.into_iter().map(|(key, value)| (Value::Text(key), Value::Text(value)));
    of_entries(entries.collect(), &DataType::Utf8)
}

/// The functions.
pub const FUNCTIONS: &[Spec] = &[
    call::of("$map", &["() -> map(K, V)", "(array(K), array(V)) -> map(K, V)"], map),
    call::of("map_keys", &["(map(K, V)) -> array(K)"], |_, v| {
        Ok(Value::List(v[0].entries().iter().map(|(key, _)| key.clone()).collect()))
    }),
    call::of("map_values", &["(map(K, V)) -> array(V)"], |_, v| {
        Ok(Value::List(v[0].entries().iter().map(|(_, value)| value.clone()).collect()))
    }),
    call::of("map_entries", &["(map(K, V)) -> boolean"], |_, v| {
        let row = |(key, value): &(Value, Value)| Value::Row(vec![key.clone(), value.clone()]);
        Ok(Value::List(v[0].entries().iter().map(row).collect()))
    })
    .typed(entries_type),
    call::of("map_from_entries", &["(array(E)) -> boolean"], |call, v| {
        of_entries(pairs(&v[0])?, &key_kind(call.result))
    })
    .typed(from_type),
    call::of("multimap_from_entries", &["(array(E)) -> boolean"], |_, v| {
        let entries = pairs(&v[0])?;
        if entries.iter().any(|(key, _)| key.is_null()) {
            return invalid("map key cannot be null");
        }
        Ok(grouped(entries))
    })
    .typed(multimap_type),
    call::of("map_concat", &["(map(K, V)...) -> map(K, V)"], concat),
    call::of(
        "split_to_map",
        &["(varchar, varchar, varchar) -> map(varchar, varchar)"],
        split_to_map,
    ),
    call::of(
        "split_to_multimap",
        &["(varchar, varchar, varchar) -> map(varchar, array(varchar))"],
        |_, v| {
            let pairs = texts::pairs(v)?.into_iter();
            Ok(grouped(pairs.map(|(key, value)| (Value::Text(key), Value::Text(value))).collect()))
        },
    ),
];
