//! Whether a value has the form that its schema asks for: keys, types, words and ranges.
//!
//! The ranges of a manifest and those of a configuration that is read from a card are this one
//! function's.

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use crate::column::ColumnType;
use crate::defects::Defects;
use crate::problems::nearest;
use crate::schedule::{self, Schedule};
use crate::time_span::{self, TimeSpan};

/// Notes what is wrong with `value`, which stands at `key`, and takes from it what cannot be read,
/// so that the rest can be. Says whether it can.
pub(crate) fn check(schema: &Value, value: &mut Value, key: &str, out: &mut Defects) -> bool {
    // Of several forms, the value's own type tells which is meant.
    if let Some(forms) = schema["anyOf"].as_array() {
        if has_kinds(schema) && value.is_object() {
            return of_one_kind(schema, value, key, out);
        }
        let meant = forms.iter().find(|form| is_of_type(form, value)).or(forms.first());
        return meant.is_none_or(|form| check(form, value, key, out));
    }
    if schema.get("oneOf").is_some() {
        return word(schema, value, key, out);
    }
    if schema["format"] == schedule::FORMAT
        && let Some((text, Err(defect))) =
            value.as_str().map(|text| (text, text.parse::<Schedule>()))
    {
        out.form(key, format!("`{key}` is `{text}`, which {defect}"), None);
        return false;
    }
    if !is_of_type(schema, value) {
        out.form(key, format!("`{key}` is {}; expected {}", told(value), expected(schema)), None);
        return false;
    }
    match value {
        Value::Object(members) => table(schema, members, key, out),
        Value::Array(items) => {
            let (count, most) = (items.len() as u64, schema["maxItems"].as_u64());
            if let Some(most) = most.filter(|most| count > *most) {
                out.form(key, format!("`{key}` has {count}; at most {most}"), None);
            }
            if let Some(least) = schema["minItems"].as_u64().filter(|least| count < *least) {
                let told = match count {
                    0 => format!("`{key}` is empty"),
                    _ => format!("`{key}` has {count}; at least {least}"),
                };
                out.form(key, told, None);
                return false;
            }
            // What is wrong with one is told; none is taken away, because numbers would change.
            let mut readable = true;
            for (at, item) in items.iter_mut().enumerate() {
                readable &= check(&schema["items"], item, &format!("{key}[{at}]"), out);
            }
            readable
        }
        Value::Number(number) => {
            if !number.as_f64().is_some_and(|number| in_range(schema, number)) {
                let range = range(schema).unwrap_or_default();
                out.form(key, format!("`{key}` is {value}; expected {range}"), None);
            }
            true
        }
        _ => true,
    }
}

/// Whether a schema is of tables of several kinds, each of which names its own.
pub(crate) fn has_kinds(schema: &Value) -> bool {
    let forms = schema["anyOf"].as_array();
    forms.is_some_and(|forms| forms.iter().all(|form| form["properties"]["kind"].is_object()))
}

/// The form that a table has by its kind, with its place; the one whose kind has a default is meant
/// where none is named.
pub(crate) fn of_kind<'a>(schema: &'a Value, value: &Value) -> Option<(usize, &'a Value)> {
    let mut forms = schema["anyOf"].as_array().into_iter().flatten().enumerate();
    forms.find(|(_, form)| {
        let kind = &form["properties"]["kind"];
        match value.get("kind") {
            Some(named) => words(kind).any(|(word, _)| *named == word),
            None => kind.get("default").is_some(),
        }
    })
}

/// A table of one of several kinds.
fn of_one_kind(schema: &Value, value: &mut Value, key: &str, out: &mut Defects) -> bool {
    if let Some((_, form)) = of_kind(schema, value) {
        return check(form, value, key, out);
    }
    let forms = schema["anyOf"].as_array().into_iter().flatten();
    let kinds = forms.flat_map(|form| form["properties"]["kind"]["oneOf"].as_array());
    let kinds: Vec<Value> = kinds.flatten().cloned().collect();
    let kind = value.get("kind").cloned().unwrap_or_default();
    word(&json!({ "oneOf": kinds }), &kind, &format!("{key}.kind"), out);
    false
}

fn table(schema: &Value, members: &mut Map<String, Value>, key: &str, out: &mut Defects) -> bool {
    let path = |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
    let nothing = Map::new();
    let known = schema["properties"].as_object().unwrap_or(&nothing);
    let given: Vec<String> = members.keys().cloned().collect();
    members.retain(|name, value| {
        let path = path(name);
        let schema = known.get(name).unwrap_or(&schema["additionalProperties"]);
        if schema.is_object() {
            let readable = check(schema, value, &path, out);
            if !readable {
                out.doubt(key);
            }
            return readable;
        }
        out.doubt(key);
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let hint = match nearest(name, names.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("there are `{}`", names.join("`, `")),
        };
        out.form(path, format!("unknown key `{name}`"), Some(hint));
        false
    });
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let mut complete = true;
    for name in required.filter(|name| !members.contains_key(*name)) {
        complete = false;
        // What was taken away is told already.
        if !given.iter().any(|given| given == name) {
            let path = path(name);
            let meant = known[name]["description"].as_str().map(fragment);
            out.form(&path, format!("`{path}` is missing"), meant);
        }
    }
    complete
}

/// A sentence as messages have it.
fn fragment(sentence: &str) -> String {
    let mut letters = sentence.trim_end_matches('.').chars();
    let first = letters.next().into_iter().flat_map(char::to_lowercase);
    first.chain(letters.clone()).collect()
}

/// One of a list of words.
fn word(schema: &Value, value: &Value, key: &str, out: &mut Defects) -> bool {
    let words: Vec<&str> = words(schema).map(|(word, _)| word).collect();
    if value.as_str().is_some_and(|given| words.contains(&given)) {
        return true;
    }
    let is_type = schema["format"] == "column-type";
    if is_type && value.as_str().is_some_and(|given| ColumnType::parse(given).is_some()) {
        return true;
    }
    let near = value.as_str().and_then(|given| nearest(given, words.iter().copied()));
    let expected = words.join("`, `");
    let message = format!("`{key}` is {}; expected one of `{expected}`", told(value));
    out.form(key, message, near.map(|word| format!("did you mean `{word}`?")));
    false
}

/// The words of a list, each with what it means.
pub(crate) fn words(schema: &Value) -> impl Iterator<Item = (&str, &str)> {
    let words = schema["oneOf"].as_array().into_iter().flatten();
    words.filter_map(|word| Some((word["const"].as_str()?, word["description"].as_str()?)))
}

fn is_of_type(schema: &Value, value: &Value) -> bool {
    match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.as_str().is_some_and(|text| {
            let one = schema["maxLength"] == 1;
            let date = schema["format"] == "date";
            let span = schema["format"] == time_span::FORMAT;
            (!one || text.chars().count() == 1)
                && (!date || text.parse::<Date>().is_ok())
                && (!span || text.parse::<TimeSpan>().is_ok())
        }),
        _ => false,
    }
}

fn told(value: &Value) -> String {
    match value {
        // So the parser hands on dates and times.
        Value::Object(members) if members.contains_key("$__toml_private_datetime") => {
            "a date without quotes".to_owned()
        }
        Value::Object(_) => "a table".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::String(text) => format!("`{text}`"),
        // JSON has no such numbers, TOML has.
        Value::Null => "no finite number".to_owned(),
        other => other.to_string(),
    }
}

fn expected(schema: &Value) -> String {
    let what = match schema["type"].as_str() {
        Some("object") => "a table",
        Some("array") => "a list",
        Some("boolean") => "`true` or `false`",
        Some("integer") => "a whole number",
        Some("number") => "a number",
        _ if schema["maxLength"] == 1 => "one character in quotes",
        _ if schema["format"] == time_span::FORMAT => {
            "a length of time in quotes, such as \"36 hours\""
        }
        _ if schema["format"] == "date" => "a date in quotes, such as \"2026-01-01\"",
        _ => "text in quotes",
    };
    range(schema).map_or_else(|| what.to_owned(), |range| format!("{what}, {range}"))
}

fn in_range(schema: &Value, number: f64) -> bool {
    let bound = |name: &str| schema[name].as_f64();
    let listed = schema["enum"].as_array();
    listed.is_none_or(|all| all.iter().any(|one| one.as_f64() == Some(number)))
        && bound("minimum").is_none_or(|low| number >= low)
        && bound("maximum").is_none_or(|high| number <= high)
        && bound("exclusiveMinimum").is_none_or(|low| number > low)
        && bound("exclusiveMaximum").is_none_or(|high| number < high)
}

/// The range of a number, for people: `1 to 366`.
pub(crate) fn range(schema: &Value) -> Option<String> {
    if let Some(listed) = schema["enum"].as_array() {
        let listed: Vec<String> = listed.iter().map(Value::to_string).collect();
        return Some(format!("one of {}", listed.join(", ")));
    }
    if let (Some(low), Some(high)) = (schema.get("minimum"), schema.get("maximum")) {
        return Some(format!("{low} to {high}"));
    }
    let names = [
        ("minimum", "at least"),
        ("exclusiveMinimum", "more than"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "less than"),
    ];
    let bounds = names.iter().filter_map(|(key, word)| {
        let bound = schema.get(key)?.as_f64()?;
        Some(format!("{word} {bound}"))
    });
    let bounds: Vec<String> = bounds.collect();
    (!bounds.is_empty()).then(|| bounds.join(" and "))
}
