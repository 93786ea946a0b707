//! Event patterns: which events a rule takes.
//! <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html>

use serde_json::Value;

/// What is wrong with a pattern, or not implemented, or nothing.
pub fn check(pattern: &Value) -> Result<(), String> {
    let fields = pattern
        .as_object()
        .filter(|f| !f.is_empty())
        .ok_or("an event pattern is an object that is not empty")?;
    fields.iter().try_for_each(|(name, wanted)| match wanted {
        Value::Object(_) => check(wanted),
        Value::Array(choices) if choices.is_empty() => {
            Err(format!("the event pattern allows nothing for `{name}`"))
        }
        Value::Array(choices) => choices.iter().try_for_each(|choice| check_choice(name, choice)),
        _ => Err(format!("the event pattern needs a list for `{name}`")),
    })
}

fn check_choice(name: &str, choice: &Value) -> Result<(), String> {
    match choice {
        Value::Object(filter)
            if filter.len() == 1 && filter.get("prefix").is_some_and(Value::is_string) =>
        {
            Ok(())
        }
        Value::Object(filter) => {
            let kinds: Vec<&str> = filter.keys().map(String::as_str).collect();
            Err(format!(
                "the embedded cloud does not implement the filter {} for `{name}`",
                kinds.join(", ")
            ))
        }
        Value::Array(_) => Err(format!("the event pattern has a list in a list for `{name}`")),
        _ => Ok(()),
    }
}

/// Whether a checked pattern takes an event: every field must have one of the values listed for it.
pub fn matches(pattern: &Value, event: &Value) -> bool {
    let fields = pattern.as_object();
    fields.into_iter().flatten().all(|(name, wanted)| match (wanted, &event[name]) {
        (Value::Object(_), inner) => matches(wanted, inner),
        (Value::Array(choices), Value::Array(values)) => {
            values.iter().any(|v| choices.iter().any(|c| fits(c, v)))
        }
        (Value::Array(choices), value) => choices.iter().any(|c| fits(c, value)),
        _ => false,
    })
}

fn fits(choice: &Value, value: &Value) -> bool {
    match choice["prefix"].as_str() {
        Some(prefix) => value.as_str().is_some_and(|v| v.starts_with(prefix)),
        None => choice == value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_field_must_have_one_of_its_values() {
        let pattern = json!({ "source": ["aws.s3"], "detail": { "bucket": { "name": ["a", "b"] }, "object": { "key": [{ "prefix": "raw/" }] } } });
        assert_eq!(check(&pattern), Ok(()));
        let event = |source: &str, bucket: &str, key: &str| json!({ "source": source, "detail": { "bucket": { "name": bucket }, "object": { "key": key } } });
        assert!(matches(&pattern, &event("aws.s3", "b", "raw/x.csv")));
        assert!(!matches(&pattern, &event("aws.ec2", "b", "raw/x.csv")));
        assert!(!matches(&pattern, &event("aws.s3", "c", "raw/x.csv")));
        assert!(!matches(&pattern, &event("aws.s3", "a", "processed/raw/x")));
        assert!(!matches(&pattern, &json!({ "source": "aws.s3" })));
        assert!(matches(&json!({ "resources": ["x"] }), &json!({ "resources": ["y", "x"] })));
    }

    #[test]
    fn what_is_not_implemented_is_named() {
        let error = |pattern: Value| check(&pattern).expect_err("refused");
        assert!(
            error(json!({ "source": [{ "anything-but": ["x"] }] }))
                .contains("anything-but for `source`")
        );
        assert!(error(json!({ "source": "aws.s3" })).contains("needs a list for `source`"));
        assert!(error(json!({})).contains("not empty"));
    }
}
