//! Tags as most APIs and all templates write them: a list of keys and values.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The tags of a list. Templates may have numbers and truths as values, which become text.
pub fn parse(list: &Value) -> BTreeMap<String, String> {
    let pair = |tag: &Value| {
        let value = match &tag["Value"] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some((tag["Key"].as_str()?.to_owned(), value))
    };
    list.as_array().into_iter().flatten().filter_map(pair).collect()
}

/// The list of tags.
pub fn list<'a>(tags: impl IntoIterator<Item = (&'a String, &'a String)>) -> Vec<Value> {
    tags.into_iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_back_as_they_were() {
        let written = json!([{ "Key": "a", "Value": "1" }, { "Key": "b", "Value": "" }]);
        assert_eq!(Value::from(list(&parse(&written))), written);
        let loose = json!([{ "Key": "a", "Value": 1 }, { "Key": "b" }, { "Value": "x" }]);
        assert_eq!(Value::from(list(&parse(&loose))), written);
        assert!(parse(&Value::Null).is_empty());
    }
}
