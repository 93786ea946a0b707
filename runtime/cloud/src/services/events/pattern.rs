//! Patterns: which events a rule takes, and which messages a subscription.
//!
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-create-pattern-operators.html>
//!
//! Every field of a pattern must have one of the values, or fit one of the filters, listed for it.
//! Of a list in an event one element is enough.

use std::net::IpAddr;

use serde_json::{Map, Value};

/// Levels of a pattern.
const DEPTH_MAX: usize = 32;

/// What is wrong with a pattern, or nothing.
pub fn check(pattern: &Value) -> Result<(), String> {
    check_fields(pattern, 0)
}

fn check_fields(pattern: &Value, level: usize) -> Result<(), String> {
    let fields = pattern.as_object().filter(|fields| !fields.is_empty());
    let fields = fields.ok_or("Empty patterns are not allowed")?;
    if level > DEPTH_MAX {
        return Err("the pattern is nested too deeply".to_owned());
    }
    fields.iter().try_for_each(|(name, wanted)| match wanted {
        Value::Array(all) if name == "$or" => check_or(all, level),
        Value::Object(_) => check_fields(wanted, level + 1),
        Value::Array(choices) if choices.is_empty() => {
            Err(format!("Empty arrays are not allowed: \"{name}\""))
        }
        Value::Array(choices) => choices.iter().try_for_each(|choice| check_choice(name, choice)),
        _ => Err(format!("\"{name}\" must be an object or an array")),
    })
}

fn check_or(all: &[Value], level: usize) -> Result<(), String> {
    if all.len() < 2 {
        return Err("$or needs an array of at least two patterns".to_owned());
    }
    all.iter().try_for_each(|pattern| check_fields(pattern, level + 1))
}

fn check_choice(name: &str, choice: &Value) -> Result<(), String> {
    match choice {
        Value::Object(filter) => {
            let mut members = filter.iter();
            let (Some((kind, value)), None) = (members.next(), members.next()) else {
                return Err(format!("Only one key allowed in match expression: \"{name}\""));
            };
            check_filter(kind, value).map_err(|why| format!("{why} (\"{name}\")"))
        }
        Value::Array(_) => {
            Err(format!("Match value must be String, number, true, false, or null: \"{name}\""))
        }
        _ => Ok(()),
    }
}

/// Texts, or one text.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(items) if !items.is_empty() => items.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn check_filter(kind: &str, value: &Value) -> Result<(), String> {
    let fits = match kind {
        "prefix" | "suffix" => {
            value.is_string() || only(value, "equals-ignore-case").is_some_and(Value::is_string)
        }
        "equals-ignore-case" => value.is_string(),
        "exists" => value.is_boolean(),
        "wildcard" => {
            return value
                .as_str()
                .ok_or("wildcard match pattern must be a string".to_owned())
                .and_then(check_wildcard);
        }
        "cidr" => value.as_str().is_some_and(|text| cidr(text).is_some()),
        "numeric" => return comparisons(value).map(drop),
        "anything-but" => return check_anything_but(value),
        _ => return Err(format!("Unrecognized match type {kind}")),
    };
    if fits { Ok(()) } else { Err(format!("{kind} has a value that it cannot have")) }
}

fn check_wildcard(text: &str) -> Result<(), String> {
    if text.contains("**") {
        return Err("Consecutive wildcard characters".to_owned());
    }
    Ok(())
}

fn check_anything_but(value: &Value) -> Result<(), String> {
    let wrong = || "anything-but has a value that it cannot have".to_owned();
    let scalar = |value: &Value| value.is_string() || value.is_number();
    match value {
        Value::Array(items) if !items.is_empty() => {
            let all_texts = items.iter().all(Value::is_string);
            let all_numbers = items.iter().all(Value::is_number);
            if all_texts || all_numbers { Ok(()) } else { Err(wrong()) }
        }
        Value::Object(filter) if filter.len() == 1 => {
            let (kind, value) = filter.iter().next().ok_or_else(wrong)?;
            let known = ["prefix", "suffix", "equals-ignore-case", "wildcard"];
            let texts =
                texts(value).filter(|_| known.contains(&kind.as_str())).ok_or_else(wrong)?;
            if kind == "wildcard" {
                return texts.into_iter().try_for_each(check_wildcard);
            }
            Ok(())
        }
        value if scalar(value) => Ok(()),
        _ => Err(wrong()),
    }
}

/// The only member of an object, when it is that one.
fn only<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value.as_object().filter(|members| members.len() == 1)?.get(name)
}

/// `["=", 5]`, `[">", 0, "<=", 5]`.
fn comparisons(value: &Value) -> Result<Vec<(&str, f64)>, String> {
    let items = value.as_array().filter(|items| matches!(items.len(), 2 | 4));
    let items = items.ok_or("Value of numeric must be an array of one or two comparisons")?;
    let mut all = Vec::new();
    for pair in items.chunks(2) {
        let operator = pair[0].as_str().filter(|o| ["=", "<", "<=", ">", ">="].contains(o));
        let operator =
            operator.ok_or_else(|| format!("Unrecognized numeric range operator: {}", pair[0]))?;
        let number = pair[1].as_f64().filter(|number| number.abs() <= 5.0e9);
        all.push((
            operator,
            number.ok_or("Value of a comparison must be numeric and between -5.0e9 and 5.0e9")?,
        ));
    }
    if let [(first, low), (second, high)] = all.as_slice()
        && !(first.starts_with('>') && second.starts_with('<') && low < high)
    {
        return Err("Bad numeric range: the lower end comes first and is less".to_owned());
    }
    Ok(all)
}

fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?);
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((address, bits))
}

/// Whether a checked pattern takes an event.
pub fn matches(pattern: &Value, event: &Value) -> bool {
    pattern.as_object().is_some_and(|fields| fields_match(fields, event))
}

fn fields_match(fields: &Map<String, Value>, event: &Value) -> bool {
    fields.iter().all(|(name, wanted)| match wanted {
        Value::Array(all) if name == "$or" => all.iter().any(|pattern| matches(pattern, event)),
        Value::Object(inner) => within(inner, event.get(name).unwrap_or(&Value::Null)),
        Value::Array(choices) => leaf_matches(choices, event.get(name)),
        _ => false,
    })
}

/// Of a list of objects one must match as a whole.
fn within(fields: &Map<String, Value>, value: &Value) -> bool {
    match value {
        Value::Array(items) if !items.is_empty() => {
            items.iter().any(|item| fields_match(fields, item))
        }
        value => fields_match(fields, value),
    }
}

fn leaf_matches(choices: &[Value], value: Option<&Value>) -> bool {
    choices.iter().any(|choice| {
        if let Some(wanted) = only(choice, "exists") {
            // Only leaves exist.
            let exists = value.is_some_and(|value| !value.is_object());
            return *wanted == Value::Bool(exists);
        }
        match value {
            Some(Value::Array(values)) => values.iter().any(|value| fits(choice, value)),
            Some(value) => fits(choice, value),
            None => false,
        }
    })
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn fits(choice: &Value, value: &Value) -> bool {
    let Some((kind, wanted)) = choice.as_object().and_then(|filter| filter.iter().next()) else {
        return equal(choice, value);
    };
    let text = value.as_str();
    match kind.as_str() {
        "anything-but" => anything_but(wanted, value),
        "numeric" => value.as_f64().is_some_and(|number| compares(wanted, number)),
        "cidr" => text.and_then(|text| text.parse().ok()).is_some_and(|ip| in_cidr(wanted, ip)),
        kind => text.is_some_and(|text| text_fits(kind, wanted, text)),
    }
}

fn text_fits(kind: &str, wanted: &Value, text: &str) -> bool {
    let folded = text.to_lowercase();
    let ignoring =
        only(wanted, "equals-ignore-case").and_then(Value::as_str).map(str::to_lowercase);
    let plain = wanted.as_str();
    match (kind, plain, ignoring) {
        ("prefix", Some(prefix), _) => text.starts_with(prefix),
        ("suffix", Some(suffix), _) => text.ends_with(suffix),
        ("prefix", None, Some(prefix)) => folded.starts_with(&prefix),
        ("suffix", None, Some(suffix)) => folded.ends_with(&suffix),
        ("equals-ignore-case", Some(other), _) => folded == other.to_lowercase(),
        ("wildcard", Some(pattern), _) => wildcard(pattern, text),
        _ => false,
    }
}

fn anything_but(wanted: &Value, value: &Value) -> bool {
    if let Some((kind, wanted)) = wanted.as_object().and_then(|filter| filter.iter().next()) {
        let Some(text) = value.as_str() else { return true };
        let fits = |one: &&str| text_fits(kind, &Value::from(*one), text);
        return !texts(wanted).unwrap_or_default().iter().any(fits);
    }
    match wanted {
        Value::Array(items) => !items.iter().any(|item| equal(item, value)),
        one => !equal(one, value),
    }
}

fn compares(wanted: &Value, number: f64) -> bool {
    let holds = |(operator, bound): &(&str, f64)| match *operator {
        "=" => number == *bound,
        "<" => number < *bound,
        "<=" => number <= *bound,
        ">" => number > *bound,
        _ => number >= *bound,
    };
    comparisons(wanted).is_ok_and(|all| all.iter().all(holds))
}

fn in_cidr(wanted: &Value, ip: IpAddr) -> bool {
    let bits_of = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(ip),
    };
    wanted.as_str().and_then(cidr).is_some_and(|(network, bits)| {
        let differing = bits_of(network) ^ bits_of(ip);
        network.is_ipv4() == ip.is_ipv4() && differing.leading_zeros() >= u32::from(bits)
    })
}

/// `*` stands for any text; a backslash before `*` or a backslash takes its meaning away.
fn wildcard(pattern: &str, text: &str) -> bool {
    let mut parts = vec![String::new()];
    let mut characters = pattern.chars();
    while let Some(c) = characters.next() {
        let literal = if c == '\\' { characters.next().unwrap_or(c) } else { c };
        match (c, parts.last_mut()) {
            ('*', _) => parts.push(String::new()),
            (_, Some(part)) => part.push(literal),
            (_, None) => {}
        }
    }
    let (first, rest) = (&parts[0], &parts[1..]);
    let Some(mut left) = text.strip_prefix(first.as_str()) else { return false };
    let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
    for part in middle {
        let Some(at) = left.find(part.as_str()) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn takes(pattern: Value, event: &Value) -> bool {
        assert_eq!(check(&pattern), Ok(()), "{pattern}");
        matches(&pattern, event)
    }

    #[test]
    fn every_field_must_have_one_of_its_values() {
        let pattern = json!({
            "source": ["aws.s3"],
            "detail": {
                "bucket": { "name": ["a", "b"] }, "object": { "key": [{ "prefix": "raw/" }] },
            },
        });
        let event = |source: &str, bucket: &str, key: &str| {
            json!({
                "source": source,
                "detail": { "bucket": { "name": bucket }, "object": { "key": key } },
            })
        };
        assert!(takes(pattern.clone(), &event("aws.s3", "b", "raw/x.csv")));
        assert!(!takes(pattern.clone(), &event("aws.ec2", "b", "raw/x.csv")));
        assert!(!takes(pattern.clone(), &event("aws.s3", "c", "raw/x.csv")));
        assert!(!takes(pattern.clone(), &event("aws.s3", "a", "processed/raw/x")));
        assert!(!takes(pattern, &json!({ "source": "aws.s3" })));
        assert!(takes(json!({ "resources": ["x"] }), &json!({ "resources": ["y", "x"] })));
    }

    #[test]
    fn filters_are_those_of_the_documentation() {
        let with =
            |filter: Value, value: Value| takes(json!({ "a": [filter] }), &json!({ "a": value }));
        for (filter, good, bad) in [
            (json!({ "prefix": "x." }), json!("x.y"), json!("y.x.")),
            (
                json!({ "prefix": { "equals-ignore-case": "EVENT" } }),
                json!("eventual"),
                json!("even"),
            ),
            (json!({ "suffix": ".png" }), json!("a.png"), json!("a.PNG")),
            (json!({ "suffix": { "equals-ignore-case": ".png" } }), json!("a.PNG"), json!("a.gif")),
            (json!({ "equals-ignore-case": "alice" }), json!("ALICE"), json!("bob")),
            (json!({ "anything-but": "x" }), json!("y"), json!("x")),
            (json!({ "anything-but": ["x", "y"] }), json!("z"), json!("y")),
            (json!({ "anything-but": 123 }), json!(124), json!(123.0)),
            (json!({ "anything-but": [1, 2] }), json!("1"), json!(2)),
            (json!({ "anything-but": { "prefix": "init" } }), json!("run"), json!("initial")),
            (json!({ "anything-but": { "suffix": [".a", ".b"] } }), json!("x.c"), json!("x.b")),
            (json!({ "anything-but": { "equals-ignore-case": ["A"] } }), json!("b"), json!("a")),
            (
                json!({ "anything-but": { "wildcard": "*/lib/*" } }),
                json!("a/bin/b"),
                json!("a/lib/b"),
            ),
            (json!({ "numeric": ["=", 3.018e2] }), json!(301.8), json!(301)),
            (json!({ "numeric": [">", 0, "<=", 5] }), json!(5), json!(0)),
            (json!({ "cidr": "10.0.0.0/24" }), json!("10.0.0.7"), json!("10.0.1.7")),
            (json!({ "cidr": "2001:db8::/32" }), json!("2001:db8::1"), json!("2001:db9::1")),
            (json!({ "wildcard": "a*b*c" }), json!("a-b-b-c"), json!("a-c-b")),
            (json!({ "wildcard": "a\\*b" }), json!("a*b"), json!("axb")),
            (json!({ "exists": true }), json!(null), json!({ "b": 1 })),
            (json!(300), json!(300.0), json!("300")),
            (json!(null), json!(null), json!("null")),
        ] {
            assert!(with(filter.clone(), good.clone()), "{filter} {good}");
            assert!(!with(filter.clone(), bad.clone()), "{filter} {bad}");
        }
        assert!(takes(json!({ "a": { "b": [{ "exists": false }] } }), &json!({ "a": {} })));
        assert!(takes(json!({ "a": { "b": [{ "exists": false }] } }), &json!({})));
        assert!(!takes(json!({ "a": [{ "exists": false }] }), &json!({ "a": "" })));
    }

    #[test]
    fn one_of_several_patterns_is_enough() {
        let pattern = json!({
            "source": ["s"],
            "$or": [{ "a": [1] }, { "b": { "c": [{ "numeric": [">", 5] }] } }]
        });
        assert!(takes(pattern.clone(), &json!({ "source": "s", "a": 1 })));
        assert!(takes(pattern.clone(), &json!({ "source": "s", "b": { "c": 6 } })));
        assert!(!takes(pattern.clone(), &json!({ "source": "s", "b": { "c": 5 } })));
        assert!(!takes(pattern, &json!({ "source": "t", "a": 1 })));
    }

    #[test]
    fn an_object_of_a_list_matches_as_a_whole() {
        let pattern = json!({ "all": { "kind": ["a"], "size": [1] } });
        let both = json!({ "all": [{ "kind": "b" }, { "kind": "a", "size": 1 }] });
        let mixed = json!({ "all": [{ "kind": "a", "size": 2 }, { "kind": "b", "size": 1 }] });
        assert!(takes(pattern.clone(), &both));
        assert!(!takes(pattern, &mixed));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for pattern in [
            json!({}),
            json!([]),
            json!({ "a": "x" }),
            json!({ "a": [] }),
            json!({ "a": {} }),
            json!({ "a": [["x"]] }),
            json!({ "a": [{ "other": 1 }] }),
            json!({ "a": [{ "prefix": 1 }] }),
            json!({ "a": [{ "prefix": "a", "suffix": "b" }] }),
            json!({ "a": [{ "numeric": [">"] }] }),
            json!({ "a": [{ "numeric": ["<", 5, ">", 3] }] }),
            json!({ "a": [{ "numeric": [">", "x"] }] }),
            json!({ "a": [{ "cidr": "10.0.0.0" }] }),
            json!({ "a": [{ "cidr": "10.0.0.0/33" }] }),
            json!({ "a": [{ "wildcard": "a**b" }] }),
            json!({ "a": [{ "anything-but": [] }] }),
            json!({ "a": [{ "anything-but": ["a", 1] }] }),
            json!({ "$or": [{ "a": [1] }] }),
        ] {
            assert!(check(&pattern).is_err(), "{pattern}");
        }
    }
}
