//! Functions of arrays, which are counted from one.
//!
//! <https://trino.io/docs/current/functions/array.html>

use std::collections::HashSet;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;

use super::arithmetic::moved;
use super::call::{self, Call, Outcome, Spec, invalid};
use super::cast;
use super::types;
use super::value::Value;

/// Items that a function makes at most, as in Trino.
const ITEMS_MAX: usize = 10_000;
/// Items of `repeat`, `shuffle` and others in one row.
const REPEATED_MAX: i64 = 10_000;

/// The place of an item, from the end when it is negative; `None` outside.
fn place(count: usize, index: i64) -> Option<usize> {
    let at = if index < 0 { count as i64 + index } else { index - 1 };
    usize::try_from(at).ok().filter(|at| *at < count)
}

fn element_at(_: &Call, v: &[Value]) -> Outcome {
    match &v[0] {
        Value::Map(entries) => {
            let found = entries.iter().find(|(key, _)| *key == v[1]);
            Ok(found.map_or(Value::Null, |(_, value)| value.clone()))
        }
        list => {
            if v[1].whole() == 0 {
                return invalid("SQL array indices start at 1");
            }
            let at = place(list.items().len(), v[1].whole());
            Ok(at.map_or(Value::Null, |at| list.items()[at].clone()))
        }
    }
}

/// Each once, in the order in which they come first.
fn distinct(items: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let mut seen = HashSet::new();
    items.into_iter().filter(|item| seen.insert(item.clone())).collect()
}

/// Whether an item is there; with a NULL among them nobody knows that it is not.
fn contains(_: &Call, v: &[Value]) -> Outcome {
    let items = v[0].items();
    Ok(match items.contains(&v[1]) {
        true => Value::Boolean(true),
        false if items.iter().any(Value::is_null) => Value::Null,
        false => Value::Boolean(false),
    })
}

fn contains_sequence(_: &Call, v: &[Value]) -> Outcome {
    let (all, wanted) = (v[0].items(), v[1].items());
    let found = wanted.is_empty() || all.windows(wanted.len()).any(|part| part == wanted);
    Ok(Value::Boolean(found))
}

fn extreme(items: &[Value], largest: bool) -> Value {
    if items.iter().any(Value::is_null) {
        return Value::Null;
    }
    let nan = items.iter().find(|item| matches!(item, Value::Double(n) if n.is_nan()));
    let found = if largest { items.iter().max() } else { items.iter().min() };
    nan.or(found).cloned().unwrap_or(Value::Null)
}

fn join(call: &Call, v: &[Value]) -> Outcome {
    let DataType::List(item) = &call.kinds[0] else { return Ok(Value::Null) };
    let mut parts = Vec::new();
    for value in v[0].items() {
        match (value.is_null(), v.get(2)) {
            (true, None) => {}
            (true, Some(instead)) => parts.push(instead.str().to_owned()),
            (false, _) => parts.push(cast::text(value, item.data_type())?),
        }
    }
    Ok(Value::Text(parts.join(v[1].str())))
}

fn position(_: &Call, v: &[Value]) -> Outcome {
    let same = |(_, item): &(usize, &Value)| !item.is_null() && **item == v[1];
    let nth = v.get(2).map_or(1, Value::whole);
    let items = v[0].items().iter().enumerate();
    let skip = usize::try_from(nth.unsigned_abs() - u64::from(nth != 0)).unwrap_or(usize::MAX);
    let found = match nth {
        0 => return invalid("array_position cannot take a 0-valued instance argument."),
        nth if nth > 0 => items.filter(same).nth(skip),
        _ => items.rev().filter(same).nth(skip),
    };
    Ok(Value::Whole(found.map_or(0, |(at, _)| at as i64 + 1)))
}

fn overlap(_: &Call, v: &[Value]) -> Outcome {
    let (left, right) = (v[0].items(), v[1].items());
    let there: HashSet<&Value> = left.iter().filter(|item| !item.is_null()).collect();
    if right.iter().any(|item| there.contains(item)) {
        return Ok(Value::Boolean(true));
    }
    let unknown =
        !left.is_empty() && !right.is_empty() && left.iter().chain(right).any(Value::is_null);
    Ok(if unknown { Value::Null } else { Value::Boolean(false) })
}

fn slice(_: &Call, v: &[Value]) -> Outcome {
    let (items, start, length) = (v[0].items(), v[1].whole(), v[2].whole());
    if start == 0 {
        return invalid("SQL array indices start at 1");
    }
    if length < 0 {
        return invalid("length must be greater than or equal to 0");
    }
    let first = if start > 0 { start - 1 } else { items.len() as i64 + start };
    let Ok(first) = usize::try_from(first) else { return Ok(Value::List(vec![])) };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(Value::List(items.iter().skip(first).take(length).cloned().collect()))
}

fn combinations(_: &Call, v: &[Value]) -> Outcome {
    let (items, size) = (v[0].items(), v[1].whole());
    if !(0..=5).contains(&size) {
        return invalid(format!("combination size must not exceed 5: {size}"));
    }
    let mut all: Vec<(usize, Vec<Value>)> = vec![(0, vec![])];
    for _ in 0..size {
        let mut longer = Vec::new();
        for (from, part) in &all {
            for (at, item) in items.iter().enumerate().skip(*from) {
                let mut part = part.clone();
                part.push(item.clone());
                longer.push((at + 1, part));
            }
        }
        if longer.len() > 100_000 {
            return invalid("combinations exceed max size");
        }
        all = longer;
    }
    // In the order of the last items.
    Ok(Value::List(all.into_iter().map(|(_, part)| Value::List(part)).collect()))
}

fn ngrams(_: &Call, v: &[Value]) -> Outcome {
    let (items, size) = (v[0].items(), v[1].whole());
    if size <= 0 {
        return invalid("N must be positive");
    }
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(items.len());
    if items.is_empty() {
        return Ok(Value::List(vec![Value::List(vec![])]));
    }
    Ok(Value::List(items.windows(size).map(|part| Value::List(part.to_vec())).collect()))
}

/// One row for each place; a shorter array has NULL behind its end.
fn zip(_: &Call, v: &[Value]) -> Outcome {
    let longest = v.iter().map(|list| list.items().len()).max().unwrap_or(0);
    let row = |at: usize| {
        Value::Row(v.iter().map(|l| l.items().get(at).cloned().unwrap_or(Value::Null)).collect())
    };
    Ok(Value::List((0..longest).map(row).collect()))
}

fn zip_type(fields: &[FieldRef], _: &[Option<&ScalarValue>]) -> Outcome<DataType> {
    let mut kinds = Vec::with_capacity(fields.len());
    for field in fields {
        match field.data_type() {
            DataType::List(item) => kinds.push(item.data_type().clone()),
            other => {
                let kind = types::name(other);
                return Err(format!(
                    "FUNCTION_NOT_FOUND: line 1:1: Unexpected parameters ({kind}) for function zip"
                ));
            }
        }
    }
    Ok(types::array(types::row(kinds)))
}

/// Both ends belong to it.
fn sequence(call: &Call, v: &[Value]) -> Outcome {
    let down = v[0] > v[1];
    let step = v.get(2).cloned().unwrap_or(match v[0] {
        Value::Whole(_) => Value::Whole(if down { -1 } else { 1 }),
        _ => Value::Span(if down { -86_400_000 } else { 86_400_000 }),
    });
    let amount = step.whole();
    if amount == 0 {
        return invalid("step must not be zero");
    }
    if v[0] != v[1] && (amount > 0) == down {
        return invalid(
            "sequence stop value should be greater than or equal to start value if step \
                        is greater than zero otherwise stop should be less than or equal to start",
        );
    }
    let (mut items, mut at) = (Vec::new(), v[0].clone());
    let mut count = 0i64;
    while if down { at >= v[1] } else { at <= v[1] } {
        items.push(at.clone());
        if items.len() > ITEMS_MAX {
            return invalid(format!(
                "result of sequence function must not have more than {ITEMS_MAX} entries"
            ));
        }
        count += 1;
        at = match (&v[0], &step) {
            (Value::Whole(start), Value::Whole(step)) => {
                match step.checked_mul(count).and_then(|distance| start.checked_add(distance)) {
                    Some(next) => Value::Whole(next),
                    None => break,
                }
            }
            // From the first on, because months have different lengths.
            (start, Value::Months(months)) => {
                let many = i32::try_from(count).unwrap_or(i32::MAX).saturating_mul(*months);
                moved(start, &call.kinds[0], &Value::Months(many), false)?
            }
            (start, Value::Span(millis)) => {
                let many = Value::Span(millis.saturating_mul(count));
                moved(start, &call.kinds[0], &many, false)?
            }
            _ => break,
        };
    }
    Ok(Value::List(items))
}

fn repeat(_: &Call, v: &[Value]) -> Outcome {
    let count = v[1].whole();
    if v[1].is_null() {
        return Ok(Value::Null);
    }
    if !(0..=REPEATED_MAX).contains(&count) {
        return invalid(format!(
            "count argument of repeat function must be greater than or equal to 0 and less than or \
             equal to {REPEATED_MAX}"
        ));
    }
    Ok(Value::List(vec![v[0].clone(); count as usize]))
}

fn sorted(_: &Call, v: &[Value]) -> Outcome {
    let mut items = v[0].items().to_vec();
    items.sort();
    Ok(Value::List(items))
}

fn shuffle(_: &Call, v: &[Value]) -> Outcome {
    let mut items: Vec<(u128, Value)> =
        v[0].items().iter().map(|item| (uuid::Uuid::new_v4().as_u128(), item.clone())).collect();
    items.sort_by_key(|(key, _)| *key);
    Ok(Value::List(items.into_iter().map(|(_, item)| item).collect()))
}

const PAIR: &[&str] = &["(array(E), array(E)) -> array(E)"];
const OF_ARRAY: &[&str] = &["(array(E)) -> array(E)"];
const ITEM: &[&str] = &["(array(E)) -> E"];

/// The functions.
pub const FUNCTIONS: &[Spec] = &[
    call::of("cardinality", &["(array(E)) -> bigint", "(map(K, V)) -> bigint"], |_, v| {
        Ok(Value::Whole(match &v[0] {
            Value::Map(entries) => entries.len() as i64,
            list => list.items().len() as i64,
        }))
    }),
    call::of("element_at", &["(array(E), bigint) -> E", "(map(K, V), K) -> V"], element_at),
    call::of("contains", &["(array(E), E) -> boolean"], contains),
    call::of("contains_sequence", &["(array(E), array(E)) -> boolean"], contains_sequence),
    call::of("array_distinct", OF_ARRAY, |_, v| Ok(Value::List(distinct(v[0].items().to_vec())))),
    call::of("array_sort", OF_ARRAY, sorted),
    call::of("array_max", ITEM, |_, v| Ok(extreme(v[0].items(), true))),
    call::of("array_min", ITEM, |_, v| Ok(extreme(v[0].items(), false))),
    call::of("array_first", ITEM, |_, v| Ok(v[0].items().first().cloned().unwrap_or(Value::Null))),
    call::of("array_last", ITEM, |_, v| Ok(v[0].items().last().cloned().unwrap_or(Value::Null))),
    call::of(
        "array_join",
        &["(array(E), varchar) -> varchar", "(array(E), varchar, varchar) -> varchar"],
        join,
    ),
    call::of(
        "array_position",
        &["(array(E), E) -> bigint", "(array(E), E, bigint) -> bigint"],
        position,
    ),
    call::of("array_remove", &["(array(E), E) -> array(E)"], |_, v| {
        let others = v[0].items().iter().filter(|item| item.is_null() || **item != v[1]);
        Ok(Value::List(others.cloned().collect()))
    }),
    call::of("array_union", PAIR, |_, v| {
        Ok(Value::List(distinct(v[0].items().iter().chain(v[1].items()).cloned())))
    }),
    call::of("array_intersect", PAIR, |_, v| {
        let there: HashSet<&Value> = v[1].items().iter().collect();
        let both = v[0].items().iter().filter(|item| there.contains(item));
        Ok(Value::List(distinct(both.cloned())))
    }),
    call::of("array_except", PAIR, |_, v| {
        let there: HashSet<&Value> = v[1].items().iter().collect();
        let others = v[0].items().iter().filter(|item| !there.contains(item));
        Ok(Value::List(distinct(others.cloned())))
    }),
    call::of("arrays_overlap", &["(array(E), array(E)) -> boolean"], overlap),
    call::of("array_histogram", &["(array(E)) -> map(E, bigint)"], |_, v| {
        let items = || v[0].items().iter().filter(|item| !item.is_null());
        let count = |wanted: &Value| items().filter(|item| *item == wanted).count() as i64;
        let entries = distinct(items().cloned());
        let entries = entries.into_iter().map(|item| (item.clone(), Value::Whole(count(&item))));
        Ok(Value::Map(entries.collect()))
    }),
    call::of("slice", &["(array(E), bigint, bigint) -> array(E)"], slice),
    call::of("trim_array", &["(array(E), bigint) -> array(E)"], |_, v| {
        let (items, count) = (v[0].items(), v[1].whole());
        if count < 0 {
            return invalid(format!("size must not be negative: {count}"));
        }
        match items.len().checked_sub(usize::try_from(count).unwrap_or(usize::MAX)) {
            Some(left) => Ok(Value::List(items[..left].to_vec())),
            None => {
                invalid(format!("size must not exceed array cardinality {}: {count}", items.len()))
            }
        }
    }),
    call::of("flatten", &["(array(array(E))) -> array(E)"], |_, v| {
        Ok(Value::List(v[0].items().iter().flat_map(|list| list.items().to_vec()).collect()))
    }),
    call::of("combinations", &["(array(E), bigint) -> array(array(E))"], combinations),
    call::of("ngrams", &["(array(E), bigint) -> array(array(E))"], ngrams),
    call::of("repeat", &["(E, bigint) -> array(E)"], repeat).with_nulls(),
    call::of(
        "sequence",
        &[
            "(bigint, bigint) -> array(bigint)",
            "(bigint, bigint, bigint) -> array(bigint)",
            "(date, date) -> array(date)",
            "(date, date, interval day to second) -> array(date)",
            "(date, date, interval year to month) -> array(date)",
            "(T, T, interval day to second) -> array(T)",
            "(T, T, interval year to month) -> array(T)",
        ],
        sequence,
    ),
    call::of("shuffle", OF_ARRAY, shuffle).volatile(),
    call::of("zip", &["(?...) -> boolean"], zip).typed(zip_type),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_from_both_ends() {
        assert_eq!(place(3, 1), Some(0));
        assert_eq!(place(3, -1), Some(2));
        assert_eq!(place(3, 4), None);
        assert_eq!(place(3, 0), None);
    }
}
