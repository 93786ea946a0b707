//! What a message says: body and attributes, their limits, and the digests that clients check.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest, Md5};
use serde_json::{Map, Value};

use super::invalid;
use crate::kernel::error::{ApiError, ApiResult};

/// Attributes of a message.
const ATTRIBUTES_MAX: usize = 10;

/// MD5 of a body.
pub fn digest_of_body(body: &str) -> String {
    hex::encode(Md5::digest(body.as_bytes()))
}

/// MD5 of attributes, or nothing when there are none.
pub fn digest_of_attributes(attributes: &Map<String, Value>) -> Option<String> {
    let mut names: Vec<&String> = attributes.keys().collect();
    if names.is_empty() {
        return None;
    }
    names.sort();
    let mut digest = Md5::new();
    for name in names {
        let attribute = &attributes[name];
        let (kind, value) = value_of(attribute);
        let data_type = attribute["DataType"].as_str().unwrap_or_default();
        add(&mut digest, name.as_bytes());
        add(&mut digest, data_type.as_bytes());
        digest.update([kind]);
        add(&mut digest, &value);
    }
    Some(hex::encode(digest.finalize()))
}

/// Length and bytes.
fn add(digest: &mut Md5, bytes: &[u8]) {
    digest.update((bytes.len() as u32).to_be_bytes());
    digest.update(bytes);
}

/// The kind of an attribute's value in digests, and its bytes.
fn value_of(attribute: &Value) -> (u8, Vec<u8>) {
    match (attribute["StringValue"].as_str(), attribute["BinaryValue"].as_str()) {
        (Some(text), _) => (1, text.as_bytes().to_vec()),
        (None, Some(encoded)) => (2, BASE64.decode(encoded).unwrap_or_default()),
        (None, None) => (1, vec![]),
    }
}

/// Bytes that attributes count for.
pub fn bytes_of(attributes: &Map<String, Value>) -> usize {
    let bytes = |(name, attribute): (&String, &Value)| {
        let kind = attribute["DataType"].as_str().unwrap_or_default();
        name.len() + kind.len() + value_of(attribute).1.len()
    };
    attributes.iter().map(bytes).sum()
}

/// Whether a body has only characters that SQS takes.
pub fn check_body(body: &str) -> ApiResult<()> {
    // What is left out by Unicode itself, surrogates, is no `char`.
    let forbidden = |c: char| (c < ' ' && !"\t\n\r".contains(c)) || "\u{fffe}\u{ffff}".contains(c);
    if !body.contains(forbidden) {
        return Ok(());
    }
    let message = "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 \
                   to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF";
    Err(ApiError::new("InvalidMessageContents", message))
}

/// Checks the attributes of a message.
pub fn check_attributes(attributes: &Map<String, Value>) -> ApiResult<()> {
    if attributes.len() > ATTRIBUTES_MAX {
        let message = format!(
            "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
            attributes.len()
        );
        return Err(invalid(message));
    }
    attributes.iter().try_for_each(|(name, attribute)| check_attribute(name, attribute))
}

fn check_attribute(name: &str, attribute: &Value) -> ApiResult<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let lower = name.to_ascii_lowercase();
    let reserved = lower.starts_with("aws.") || lower.starts_with("amazon.");
    let dots = name.starts_with('.') || name.ends_with('.') || name.contains("..");
    if name.is_empty() || name.len() > 256 || !name.chars().all(plain) || dots || reserved {
        return Err(invalid(format!("Invalid message attribute name: {name}")));
    }
    for list in ["StringListValues", "BinaryListValues"] {
        if attribute[list].as_array().is_some_and(|values| !values.is_empty()) {
            let message =
                "Message attribute list values in SendMessage operation are not supported.";
            return Err(ApiError::new("UnsupportedOperation", message));
        }
    }
    let kind = attribute["DataType"].as_str().unwrap_or_default();
    let base = kind.split('.').next().unwrap_or_default();
    let text = attribute["StringValue"].as_str();
    let bytes = attribute["BinaryValue"].as_str();
    if !matches!(base, "String" | "Number" | "Binary") || kind.len() > 256 {
        let words = "has an invalid message attribute type, the set of supported type prefixes is \
                     Binary, Number, and String.";
        return Err(invalid(format!("The message attribute '{name}' {words}")));
    }
    let (given, other) = if base == "Binary" { (bytes, text) } else { (text, bytes) };
    if other.is_some() {
        let words = format!("with type '{base}' must use field '{base}'.");
        return Err(invalid(format!("The message attribute '{name}' {words}")));
    }
    if given.is_none_or(str::is_empty) {
        let words = "must contain a non-empty message attribute value.";
        return Err(invalid(format!("The message attribute '{name}' {words}")));
    }
    if base == "Binary" && BASE64.decode(given.unwrap_or_default()).is_err() {
        return Err(invalid(format!("The message attribute '{name}' is not base64.")));
    }
    if base == "Number" && !given.is_some_and(is_number) {
        let value = given.unwrap_or_default();
        return Err(invalid(format!(
            "Can't cast the value of message attribute '{name}' to a number: {value}"
        )));
    }
    check_body(text.unwrap_or_default())
}

fn is_number(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    plain && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Of the attributes those that a receiver asks for: `All`, `.*`, `prefix.*`, or names.
pub fn asked(attributes: &Map<String, Value>, names: &Value) -> Map<String, Value> {
    let names: Vec<&str> =
        names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let wanted = |name: &str| {
        names.iter().any(|asked| match asked.strip_suffix(".*") {
            Some(prefix) => prefix.is_empty() || name.starts_with(&format!("{prefix}.")),
            None => *asked == "All" || *asked == name,
        })
    };
    let kept = attributes.iter().filter(|(name, _)| wanted(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }

    #[test]
    fn digests_are_those_that_clients_compute() {
        // Of moto's tests, which have them from AWS.
        assert_eq!(digest_of_body("derp"), "58fd9edd83341c29f1aebba81c31e257");
        let attributes =
            map(json!({ "timestamp": { "DataType": "Number", "StringValue": "1493147359900" } }));
        let digest = digest_of_attributes(&attributes);
        assert_eq!(digest.as_deref(), Some("235c5c510d26fb653d073faed50ae77c"));
        assert_eq!(digest_of_attributes(&Map::new()), None);
    }

    #[test]
    fn attributes_are_checked() {
        let check = |name: &str, value: Value| check_attributes(&map(json!({ name: value })));
        let text = json!({ "DataType": "String", "StringValue": "x" });
        assert_eq!(check("a.b", text.clone()), Ok(()));
        assert_eq!(check("a", json!({ "DataType": "Number.int", "StringValue": "1e3" })), Ok(()));
        assert_eq!(check("a", json!({ "DataType": "Binary", "BinaryValue": "AAE=" })), Ok(()));
        for name in ["", ".a", "a.", "a..b", "AWS.x", "amazon.x", "a b", &"x".repeat(257)] {
            assert!(check(name, text.clone()).is_err(), "{name}");
        }
        for value in [
            json!({ "DataType": "Other", "StringValue": "x" }),
            json!({ "DataType": "String", "StringValue": "" }),
            json!({ "DataType": "String", "BinaryValue": "AAE=" }),
            json!({ "DataType": "Number", "StringValue": "x" }),
            json!({ "DataType": "Number", "StringValue": "inf" }),
        ] {
            assert!(check("a", value.clone()).is_err(), "{value}");
        }
        let many: Map<String, Value> = (0..11).map(|i| (format!("a{i}"), text.clone())).collect();
        assert!(check_attributes(&many).is_err());
    }

    #[test]
    fn receivers_ask_for_attributes_by_names_and_prefixes() {
        let all = map(json!({ "a": 1, "b.c": 2, "b.d": 3 }));
        let names = |asked_for: Value| asked(&all, &asked_for).keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(json!(["All"])), ["a", "b.c", "b.d"]);
        assert_eq!(names(json!([".*"])), ["a", "b.c", "b.d"]);
        assert_eq!(names(json!(["b.*"])), ["b.c", "b.d"]);
        assert_eq!(names(json!(["a", "x"])), ["a"]);
        assert!(names(Value::Null).is_empty());
    }
}
