//! Filters: which records of a source a function gets.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html>. A pattern is one
//! of EventBridge's. What it says of the data (`body` of a queue, `data` of a stream) is about
//! fields when it is an object, and about the text when it is a list; data of the other sort do not
//! fit.

use serde_json::Value;

use crate::services::events::pattern;

/// Whether a text is a pattern.
pub fn check(text: &str) -> Result<(), String> {
    let parsed: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    pattern::check(&parsed)
}

/// The patterns of a mapping.
#[derive(Debug)]
pub struct Filters(Option<Vec<Value>>);

impl Filters {
    /// Out of texts that were checked.
    pub fn of(patterns: Option<&[String]>) -> Self {
        let parse = |text: &String| serde_json::from_str(text).unwrap_or(Value::Null);
        Self(patterns.map(|patterns| patterns.iter().map(parse).collect()))
    }

    /// Whether everything fits.
    pub fn take_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a record fits one of the patterns; `data` names the member that has its data as a
    /// text, if they are one. What streams of tables have is no text.
    pub fn take(&self, mut record: Value, data: Option<&str>) -> bool {
        let Some(patterns) = &self.0 else { return true };
        let Some(data) = data else {
            return patterns.iter().any(|wanted| pattern::matches(wanted, &record));
        };
        let parsed =
            record[data].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        let is_object = parsed.as_ref().is_some_and(Value::is_object);
        if let Some(parsed) = parsed.filter(Value::is_object) {
            record[data] = parsed;
        }
        patterns.iter().any(|wanted| {
            let sort_fits = match &wanted[data] {
                Value::Object(_) => is_object,
                Value::Array(_) => !is_object && record[data].is_string(),
                _ => true,
            };
            sort_fits && pattern::matches(wanted, &record)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn data_are_looked_at_as_the_pattern_says() {
        let takes = |pattern: Value, body: &str| {
            let filters = Filters::of(Some(&[pattern.to_string()]));
            filters.take(json!({ "body": body, "messageId": "1" }), Some("body"))
        };
        let fields = json!({ "body": { "a": [1, { "prefix": "x" }] } });
        assert!(takes(fields.clone(), "{\"a\": 1}") && takes(fields.clone(), "{\"a\":\"xy\"}"));
        assert!(!takes(fields.clone(), "{\"a\": 2}") && !takes(fields.clone(), "a"));
        let absent = json!({ "body": { "a": [{ "exists": false }] } });
        assert!(takes(absent.clone(), "{}") && !takes(absent, "text"), "a text has no fields");
        let text = json!({ "body": ["a", { "anything-but": ["b", "a"] }] });
        assert!(takes(text.clone(), "a") && takes(text.clone(), "c") && !takes(text.clone(), "b"));
        assert!(!takes(text, "{}"), "an object is no text");
        let other = json!({ "messageId": ["1"] });
        assert!(takes(other.clone(), "{}") && takes(other, "text"));
        let images = json!({ "dynamodb": { "NewImage": { "n": { "N": ["1"] } } } });
        let filters = Filters::of(Some(&[images.to_string()]));
        assert!(filters.take(json!({ "dynamodb": { "NewImage": { "n": { "N": "1" } } } }), None));
        assert!(!filters.take(json!({ "dynamodb": { "Keys": {} } }), None));
        assert!(Filters::of(None).take(json!({}), Some("body")));
    }
}
