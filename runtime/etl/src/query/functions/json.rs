//! JSON as Trino keeps it: text, with numbers as they are written.
//!
//! <https://trino.io/docs/current/functions/json.html>

use datafusion::arrow::datatypes::DataType;

use super::call::{self, Outcome, Spec, invalid};
use super::cast;
use super::types::{self, JSON, Written};
use super::value::Value;
use crate::query::form;

/// Values in each other.
const NESTING_MAX: usize = 500;

/// A value of JSON; members stand as they are written.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// As `json_extract_scalar` gives it; `None` for NULL and what is no scalar.
    fn scalar(&self) -> Option<String> {
        match self {
            Self::Boolean(truth) => Some(truth.to_string()),
            Self::Number(number) => Some(number.clone()),
            Self::Text(text) => Some(text.clone()),
            Self::Null | Self::Array(_) | Self::Object(_) => None,
        }
    }

    /// With members in the order of their names, and fractions as Java prints them.
    fn canonical(self) -> Self {
        match self {
            Self::Number(text) if text.contains(['.', 'e', 'E']) => {
                Self::Number(text.parse().map_or(text, form::java::<f64>))
            }
            Self::Array(items) => Self::Array(items.into_iter().map(Self::canonical).collect()),
            Self::Object(members) => {
                let members = members.into_iter().map(|(name, value)| (name, value.canonical()));
                let mut members: Vec<_> = members.collect();
                members.sort_by(|a, b| a.0.cmp(&b.0));
                Self::Object(members)
            }
            other => other,
        }
    }
}

/// Reads a whole text; the error is Trino's.
pub fn decode(text: &str) -> Outcome<Json> {
    let mut reader = Reader { rest: text };
    let read = reader.value(0).filter(|_| reader.rest.trim_start().is_empty());
    read.map_or_else(|| invalid(format!("Cannot convert value to JSON: '{text}'")), Ok)
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > NESTING_MAX {
            return None;
        }
        self.rest = self.rest.trim_start();
        match self.rest.chars().next()? {
            '{' => self.object(depth),
            '[' => self.array(depth),
            '"' => self.text().map(Json::Text),
            't' => self.word("true", Json::Boolean(true)),
            'f' => self.word("false", Json::Boolean(false)),
            'n' => self.word("null", Json::Null),
            _ => self.number(),
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(value)
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        self.rest = self.rest.trim_start().strip_prefix(wanted)?;
        Some(())
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.take('[')?;
        let mut items = Vec::new();
        if self.take(']').is_some() {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.take(',').is_none() {
                self.take(']')?;
                return Some(Json::Array(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.take('{')?;
        let mut members = Vec::new();
        if self.take('}').is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.rest = self.rest.trim_start();
            let name = self.text()?;
            self.take(':')?;
            members.push((name, self.value(depth + 1)?));
            if self.take(',').is_none() {
                self.take('}')?;
                return Some(Json::Object(members));
            }
        }
    }

    fn text(&mut self) -> Option<String> {
        let inside = self.rest.strip_prefix('"')?;
        let mut escaped = false;
        let end = inside.char_indices().find(|(_, character)| {
            let closes = *character == '"' && !escaped;
            escaped = *character == '\\' && !escaped;
            closes
        });
        let (quoted, after) = self.rest.split_at(end?.0 + 2);
        self.rest = after;
        serde_json::from_str(quoted).ok()
    }

    fn number(&mut self) -> Option<Json> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c));
        let (number, after) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        serde_json::from_str::<serde_json::Number>(number).ok()?;
        self.rest = after;
        Some(Json::Number(number.to_owned()))
    }
}

/// Without white space.
pub fn encode(json: &Json) -> String {
    let mut text = String::new();
    write(&mut text, json);
    text
}

fn write(text: &mut String, json: &Json) {
    match json {
        Json::Null => text.push_str("null"),
        Json::Boolean(truth) => text.push_str(&truth.to_string()),
        Json::Number(number) => text.push_str(number),
        Json::Text(inside) => write_text(text, inside),
        Json::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(text, item);
            }
            text.push(']');
        }
        Json::Object(members) => {
            text.push('{');
            for (index, (name, value)) in members.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_text(text, name);
                text.push(':');
                write(text, value);
            }
            text.push('}');
        }
    }
}

fn write_text(text: &mut String, inside: &str) {
    // A text has no value that JSON cannot write.
    text.push_str(&serde_json::Value::from(inside).to_string());
}

/// A value as `CAST(… AS JSON)` makes it.
pub fn from_value(value: &Value, kind: &DataType) -> Outcome<Json> {
    Ok(match (value, kind) {
        (Value::Null, _) => Json::Null,
        (Value::Boolean(truth), _) => Json::Boolean(*truth),
        (Value::Text(text), kind) if *kind == JSON => decode(text)?,
        (Value::Double(number), _) if !number.is_finite() => Json::Text(form::java(*number)),
        (Value::Whole(_) | Value::Real(_) | Value::Double(_) | Value::Decimal(..), _) => {
            Json::Number(cast::text(value, kind)?)
        }
        (Value::List(items), DataType::List(field)) => {
            let items = items.iter().map(|item| from_value(item, field.data_type()));
            Json::Array(items.collect::<Outcome<_>>()?)
        }
        (Value::Map(entries), kind) => {
            let Some((key_kind, value_kind)) = types::of_map(kind) else { return Ok(Json::Null) };
            let mut members = Vec::with_capacity(entries.len());
            for (key, value) in entries {
                members.push((cast::text(key, key_kind)?, from_value(value, value_kind)?));
            }
            members.sort_by(|a: &(String, Json), b| a.0.cmp(&b.0));
            Json::Object(members)
        }
        (Value::Row(values), DataType::Struct(fields)) => {
            let mut members = Vec::with_capacity(fields.len());
            for (index, (field, value)) in fields.iter().zip(values).enumerate() {
                let named = *field.name() != format!("field{index}");
                let name = if named { field.name().clone() } else { String::new() };
                members.push((name, from_value(value, field.data_type())?));
            }
            Json::Object(members)
        }
        _ => Json::Text(cast::text(value, kind)?),
    })
}

/// JSON as a value of a type, as `CAST` makes it.
pub fn to_value(json: &Json, to: &Written) -> Outcome {
    let failed = |expected: &str| {
        let name = types::name(&to.kind);
        let got = encode(json);
        Err(format!(
            "INVALID_CAST_ARGUMENT: Cannot cast to {name}. Expected {expected}, but got {got}"
        ))
    };
    match (&to.kind, json) {
        (kind, json) if *kind == JSON => Ok(Value::Text(encode(json))),
        (_, Json::Null) => Ok(Value::Null),
        (DataType::List(item), Json::Array(items)) => {
            let target = Written { kind: item.data_type().clone(), length: None };
            let items = items.iter().map(|item| to_value(item, &target));
            Ok(Value::List(items.collect::<Outcome<_>>()?))
        }
        (DataType::List(_), _) => failed("a json array"),
        (DataType::Map(..), Json::Object(members)) => to_map(members, &to.kind),
        (DataType::Map(..), _) => failed("a json object"),
        (DataType::Struct(fields), Json::Array(items)) if items.len() == fields.len() => {
            let values = fields.iter().zip(items);
            let values = values.map(|(field, item)| to_value(item, &of(field.data_type())));
            Ok(Value::Row(values.collect::<Outcome<_>>()?))
        }
        (DataType::Struct(fields), Json::Object(members)) => {
            let values = fields.iter().map(|field| {
                let member = members.iter().find(|(name, _)| name.to_lowercase() == *field.name());
                member.map_or(Ok(Value::Null), |(_, item)| to_value(item, &of(field.data_type())))
            });
            Ok(Value::Row(values.collect::<Outcome<_>>()?))
        }
        (DataType::Struct(_), _) => failed("a json array or object"),
        (_, Json::Array(_) | Json::Object(_)) => failed("a scalar"),
        (_, Json::Boolean(truth)) => cast::cast(Value::Boolean(*truth), &DataType::Boolean, to),
        (_, Json::Text(text)) => cast::cast(Value::text(text), &DataType::Utf8, to),
        (DataType::Utf8, Json::Number(number)) => {
            cast::cast(Value::text(number), &DataType::Utf8, to)
        }
        (_, Json::Number(number)) => {
            let whole = number.parse::<i64>().ok().filter(|_| to.kind != DataType::Float64);
            match (whole, &to.kind) {
                (Some(whole), _) => cast::cast(Value::Whole(whole), &DataType::Int64, to),
                (None, DataType::Decimal128(..)) => {
                    cast::cast(Value::text(number), &DataType::Utf8, to)
                }
                (None, _) => {
                    let number = number.parse().unwrap_or(f64::NAN);
                    cast::cast(Value::Double(number), &DataType::Float64, to)
                }
            }
        }
    }
}

fn of(kind: &DataType) -> Written {
    Written { kind: kind.clone(), length: None }
}

fn to_map(members: &[(String, Json)], kind: &DataType) -> Outcome {
    let Some((key_kind, value_kind)) = types::of_map(kind) else { return Ok(Value::Null) };
    let mut entries = Vec::with_capacity(members.len());
    for (name, value) in members {
        let key = cast::cast(Value::text(name), &DataType::Utf8, &of(key_kind))?;
        entries.push((key, to_value(value, &of(value_kind))?));
    }
    Ok(Value::Map(entries))
}

/// A step of a path.
#[derive(Debug, PartialEq)]
enum Step {
    Member(String),
    Item(usize),
    /// `[*]` and `.*`, which only the functions of the SQL standard take.
    Every,
}

/// `$.store["book"][0]`; the error is Trino's.
fn path(text: &str, every: bool) -> Outcome<Vec<Step>> {
    let wrong = || format!("INVALID_FUNCTION_ARGUMENT: Invalid JSON path: '{text}'");
    let mut rest = text.trim().strip_prefix('$').ok_or_else(wrong)?;
    let mut steps = Vec::new();
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        let (step, after) = match first {
            '.' => {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                let (name, after) = after.split_at(end);
                match name.trim().trim_matches('"') {
                    "" => return Err(wrong()),
                    "*" => (Step::Every, after),
                    name => (Step::Member(name.to_owned()), after),
                }
            }
            '[' => {
                let quote = after.chars().next().filter(|c| ['"', '\''].contains(c));
                match quote {
                    Some(quote) => {
                        let close = format!("{quote}]");
                        let (name, after) = after[1..].split_once(&close).ok_or_else(wrong)?;
                        (Step::Member(name.to_owned()), after)
                    }
                    None => {
                        let (index, after) = after.split_once(']').ok_or_else(wrong)?;
                        match index.trim() {
                            "*" => (Step::Every, after),
                            index => match index.parse() {
                                Ok(index) => (Step::Item(index), after),
                                Err(_) if !every && is_name(index) => {
                                    (Step::Member(index.to_owned()), after)
                                }
                                Err(_) => return Err(wrong()),
                            },
                        }
                    }
                }
            }
            _ => return Err(wrong()),
        };
        if step == Step::Every && !every {
            return Err(wrong());
        }
        steps.push(step);
        rest = after;
    }
    Ok(steps)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Where the path leads.
fn follow<'a>(json: &'a Json, steps: &[Step]) -> Option<&'a Json> {
    steps.iter().try_fold(json, |json, step| match (json, step) {
        (Json::Object(members), Step::Member(wanted)) => {
            members.iter().find(|(name, _)| name == wanted).map(|(_, value)| value)
        }
        (Json::Object(members), Step::Item(wanted)) => {
            let wanted = wanted.to_string();
            members.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
        }
        (Json::Array(items), Step::Item(index)) => items.get(*index),
        _ => None,
    })
}

/// Where a path of the SQL standard leads in its lax mode.
fn follow_lax<'a>(json: &'a Json, steps: &[Step]) -> Vec<&'a Json> {
    let mut found = vec![json];
    for step in steps {
        let mut next = Vec::new();
        for json in found {
            match (json, step) {
                (Json::Object(members), Step::Member(wanted)) => {
                    next.extend(members.iter().filter(|(n, _)| n == wanted).map(|(_, v)| v));
                }
                (Json::Array(items), Step::Member(_)) => {
                    next.extend(
                        items.iter().flat_map(|i| follow_lax(i, std::slice::from_ref(step))),
                    );
                }
                (Json::Array(items), Step::Item(index)) => next.extend(items.get(*index)),
                (json, Step::Item(0)) => next.push(json),
                (Json::Array(items), Step::Every) => next.extend(items),
                (Json::Object(members), Step::Every) => {
                    next.extend(members.iter().map(|(_, value)| value));
                }
                _ => {}
            }
        }
        found = next;
    }
    found
}

fn lax<'a>(json: &'a Json, text: &str) -> Outcome<Vec<&'a Json>> {
    let inner = text.trim().strip_prefix("lax").ok_or_else(|| {
        format!(
            "NOT_SUPPORTED: the embedded cloud implements JSON paths of the lax mode only, not \
             '{text}'"
        )
    })?;
    Ok(follow_lax(json, &path(inner.trim(), true)?))
}

fn extract(values: &[Value]) -> Outcome<Option<Json>> {
    let steps = path(values[1].str(), false)?;
    let json = decode(values[0].str()).ok();
    Ok(json.and_then(|json| follow(&json, &steps).cloned()))
}

fn array_of(value: &Value) -> Option<Vec<Json>> {
    match decode(value.str()) {
        Ok(Json::Array(items)) => Some(items),
        _ => None,
    }
}

/// Whether an item equals a value of SQL.
fn equals(item: &Json, wanted: &Value) -> bool {
    match (item, wanted) {
        (Json::Boolean(a), Value::Boolean(b)) => a == b,
        (Json::Text(a), Value::Text(b)) => a == b,
        (Json::Number(a), Value::Whole(b)) => a.parse() == Ok(*b),
        (Json::Number(a), Value::Double(b)) => a.parse() == Ok(*b),
        _ => false,
    }
}

/// The functions.
pub const FUNCTIONS: &[Spec] = &[
    call::of("json_parse", &["(varchar) -> json"], |_, v| {
        Ok(Value::Text(encode(&decode(v[0].str())?.canonical())))
    }),
    call::of("json_format", &["(json) -> varchar"], |_, v| Ok(Value::text(v[0].str()))),
    call::of("json_extract", &["(json, varchar) -> json", "(varchar, varchar) -> json"], |_, v| {
        Ok(Value::or_null(extract(v)?, |json| Value::Text(encode(&json))))
    }),
    call::of(
        "json_extract_scalar",
        &["(json, varchar) -> varchar", "(varchar, varchar) -> varchar"],
        |_, v| Ok(Value::or_null(extract(v)?.and_then(|json| json.scalar()), Value::Text)),
    ),
    call::of("json_array_length", &["(json) -> bigint", "(varchar) -> bigint"], |_, v| {
        Ok(Value::or_null(array_of(&v[0]), |items| Value::Whole(items.len() as i64)))
    }),
    call::of("json_array_get", &["(json, bigint) -> json", "(varchar, bigint) -> json"], |_, v| {
        let Some(items) = array_of(&v[0]) else { return Ok(Value::Null) };
        let index = v[1].whole();
        let index = if index < 0 { index + items.len() as i64 } else { index };
        let item = usize::try_from(index).ok().and_then(|index| items.get(index));
        Ok(Value::or_null(item.filter(|item| **item != Json::Null), |item| {
            Value::Text(encode(item))
        }))
    }),
    call::of(
        "json_array_contains",
        &[
            "(json, boolean) -> boolean",
            "(json, bigint) -> boolean",
            "(json, double) -> boolean",
            "(json, varchar) -> boolean",
            "(varchar, boolean) -> boolean",
            "(varchar, bigint) -> boolean",
            "(varchar, double) -> boolean",
            "(varchar, varchar) -> boolean",
        ],
        |_, v| {
            let items = array_of(&v[0]);
            Ok(Value::or_null(items, |items| {
                Value::Boolean(items.iter().any(|item| equals(item, &v[1])))
            }))
        },
    ),
    call::of(
        "json_size",
        &["(json, varchar) -> bigint", "(varchar, varchar) -> bigint"],
        |_, v| {
            Ok(Value::or_null(extract(v)?, |json| {
                Value::Whole(match json {
                    Json::Array(items) => items.len() as i64,
                    Json::Object(members) => members.len() as i64,
                    _ => 0,
                })
            }))
        },
    ),
    call::of("is_json_scalar", &["(json) -> boolean", "(varchar) -> boolean"], |_, v| {
        Ok(Value::Boolean(decode(v[0].str())?.is_scalar()))
    }),
    call::of("json_value", &["(varchar, varchar) -> varchar"], |_, v| {
        let Ok(json) = decode(v[0].str()) else { return Ok(Value::Null) };
        Ok(match lax(&json, v[1].str())?.as_slice() {
            [one] => Value::or_null(one.scalar(), Value::Text),
            _ => Value::Null,
        })
    }),
    call::of("json_query", &["(varchar, varchar) -> varchar"], |_, v| {
        let Ok(json) = decode(v[0].str()) else { return Ok(Value::Null) };
        Ok(match lax(&json, v[1].str())?.as_slice() {
            [one] => Value::Text(encode(one)),
            _ => Value::Null,
        })
    }),
    call::of("json_exists", &["(varchar, varchar) -> boolean"], |_, v| {
        let Ok(json) = decode(v[0].str()) else { return Ok(Value::Boolean(false)) };
        Ok(Value::Boolean(!lax(&json, v[1].str())?.is_empty()))
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_and_written_as_it_is() {
        for text in [r#"{"b":[1,2.50,"x\ny"],"a":null}"#, "[]", "{}", "-1e5", "\"\\\"\"", "true"] {
            assert_eq!(encode(&decode(text).expect(text)), text);
        }
        for wrong in ["", "{", "[1,]", "01", "tru", "1 2", "{a:1}", "\"\u{1}\""] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
        assert!(decode(&"[".repeat(100_000)).is_err());
        let canonical = decode(r#"{"b":1.50,"a":2}"#).expect("an object").canonical();
        assert_eq!(encode(&canonical), r#"{"a":2,"b":1.5}"#);
    }

    #[test]
    fn paths_lead_to_values() {
        let json = decode(r#"{"a":{"b c":[10,{"d":1}]}}"#).expect("an object");
        let at = |text: &str| {
            let steps = path(text, false).expect("a path");
            follow(&json, &steps).map(encode)
        };
        assert_eq!(at("$.a[\"b c\"][1].d").as_deref(), Some("1"));
        assert_eq!(at("$.a.b"), None);
        for wrong in ["a", "$.", "$[", "$..a", "$.*"] {
            assert!(path(wrong, false).is_err(), "{wrong}");
        }
    }
}
