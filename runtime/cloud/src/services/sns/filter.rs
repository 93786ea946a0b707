//! Filter policies: which messages of a topic a subscription gets.
//!
//! They are patterns of events, over the attributes of a message or over its body.
//! <https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html>

use serde_json::{Map, Value};

use crate::services::events::pattern;

/// Bytes of a policy.
const BYTES_MAX: usize = 150 * 1024;

/// Reads and checks a policy.
pub fn parse(text: &str, of_body: bool) -> Result<Value, String> {
    if text.len() > BYTES_MAX {
        return Err("Filter policy is too large".to_owned());
    }
    let policy: Value =
        serde_json::from_str(text).map_err(|_| "failed to parse JSON.".to_owned())?;
    pattern::check(&policy)?;
    let nested = |policy: &Value| {
        let fields = policy.as_object().into_iter().flatten();
        fields.into_iter().any(|(_, wanted)| wanted.is_object())
    };
    if !of_body && nested(&policy) {
        return Err("Filter policy scope MessageAttributes does not support nested filter policy"
            .to_owned());
    }
    Ok(policy)
}

/// Whether a message is let through by a checked policy.
pub fn lets_through(
    policy: &Value,
    of_body: bool,
    attributes: &Map<String, Value>,
    body: &str,
) -> bool {
    if of_body {
        // What is no JSON has no fields.
        return serde_json::from_str(body).is_ok_and(|body| pattern::matches(policy, &body));
    }
    let values = attributes.iter().filter_map(|(name, a)| Some((name.clone(), value_of(a)?)));
    pattern::matches(policy, &Value::Object(values.collect()))
}

/// An attribute's value as patterns see it.
fn value_of(attribute: &Value) -> Option<Value> {
    let text = attribute["StringValue"].as_str()?;
    match attribute["DataType"].as_str()? {
        "Number" => serde_json::from_str(text).ok().filter(Value::is_number),
        "String.Array" => serde_json::from_str(text).ok().filter(Value::is_array),
        _ => Some(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn through(policy: Value, attributes: &Value) -> bool {
        let policy = parse(&policy.to_string(), false).expect("a policy");
        let attributes = attributes.as_object().expect("attributes");
        lets_through(&policy, false, attributes, "")
    }

    #[test]
    fn attributes_are_compared_by_their_types() {
        let message = json!({
            "store": { "DataType": "String", "StringValue": "example_corp" },
            "price": { "DataType": "Number", "StringValue": "210.75" },
            "sports": { "DataType": "String.Array", "StringValue": "[\"rugby\", true, null]" },
            "raw": { "DataType": "Binary", "BinaryValue": "AA==" },
        });
        for (policy, expected) in [
            (json!({ "store": ["example_corp"], "price": [{ "numeric": [">=", 100] }] }), true),
            (json!({ "price": [210.75] }), true),
            (json!({ "price": ["210.75"] }), false),
            (json!({ "sports": ["rugby", "tennis"] }), true),
            (json!({ "sports": [true] }), true),
            (json!({ "sports": [{ "anything-but": "baseball" }] }), true),
            (json!({ "encrypted": [{ "exists": false }] }), true),
            (json!({ "raw": [{ "exists": true }] }), false),
            (json!({ "store": [{ "anything-but": ["example_corp"] }] }), false),
            (
                json!({ "$or": [{ "store": ["x"] }, { "price": [{ "numeric": ["<", 300] }] }] }),
                true,
            ),
        ] {
            assert_eq!(through(policy.clone(), &message), expected, "{policy}");
        }
    }

    #[test]
    fn bodies_may_be_nested_and_attributes_may_not() {
        let policy = r#"{"a":{"b":["c"]}}"#;
        assert!(parse(policy, false).is_err());
        let policy = parse(policy, true).expect("a policy");
        assert!(lets_through(&policy, true, &Map::new(), r#"{"a":{"b":"c"}}"#));
        assert!(!lets_through(&policy, true, &Map::new(), "no JSON"));
    }
}
