//! What is not shown: values of secrets.

use std::collections::BTreeSet;

use serde_json::Value;

/// What stands in the place of a secret.
pub const MASK: &str = "••••••";

/// Shorter values would put masks into the middle of words.
const LENGTH_MIN: usize = 4;

/// Whether something of that name is a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['_', '-'], "");
    ["secret", "password", "passwd", "token", "apikey", "accesskey", "privatekey", "credential"]
        .iter()
        .any(|part| name.contains(part))
}

/// Values that must not be shown, wherever they are.
#[derive(Debug, Default)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Adds a value.
    pub fn add(&mut self, value: &str) {
        if value.len() >= LENGTH_MIN {
            self.0.insert(value.to_owned());
        }
    }

    /// The text with masks in the place of secrets, longest first.
    pub fn masked(&self, text: &str) -> String {
        let mut secrets: Vec<&String> = self.0.iter().collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, MASK))
    }

    /// The same of all texts of a value.
    pub fn masked_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.masked(text).into(),
            Value::Array(items) => items.iter().map(|item| self.masked_value(item)).collect(),
            Value::Object(members) => {
                let masked =
                    |(name, member): (&String, &Value)| (name.clone(), self.masked_value(member));
                members.iter().map(masked).collect()
            }
            other => other.clone(),
        }
    }
}

/// The value without what is secret by its place: the values of environment variables, members that
/// are named like secrets, and defaults of parameters that are not echoed.
pub fn hidden(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let is_silent = matches!(&members.get("NoEcho"), Some(Value::Bool(true)))
                || members.get("NoEcho").is_some_and(|silent| silent == "true");
            let hide = |(name, member): (&String, &Value)| {
                let hidden = match name.as_str() {
                    "Variables" => hidden_texts(member),
                    "Default" if is_silent => MASK.into(),
                    _ if is_secret(name) && member.is_string() => MASK.into(),
                    _ => hidden(member),
                };
                (name.clone(), hidden)
            };
            members.iter().map(hide).collect()
        }
        Value::Array(items) => items.iter().map(hidden).collect(),
        other => other.clone(),
    }
}

/// Masks texts; what is written as a function of other things is no text.
fn hidden_texts(value: &Value) -> Value {
    match value {
        Value::Object(members) if members.keys().any(|name| is_function(name)) => value.clone(),
        Value::Object(members) => {
            members.iter().map(|(name, member)| (name.clone(), hidden_texts(member))).collect()
        }
        _ => MASK.into(),
    }
}

fn is_function(name: &str) -> bool {
    name == "Ref" || name.starts_with("Fn::")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_told_by_their_names() {
        for name in ["DB_PASSWORD", "apiKey", "AWS_SECRET_ACCESS_KEY", "github-token"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["BUCKET", "KeyColumn", "--plan"] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn values_are_masked_wherever_they_are() {
        let mut secrets = Secrets::default();
        secrets.add("swordfish");
        secrets.add("x");
        assert_eq!(secrets.masked("swordfish, x"), format!("{MASK}, x"));
        let masked = secrets.masked_value(&json!({ "a": ["swordfish", 1], "b": "plain" }));
        assert_eq!(masked, json!({ "a": [MASK, 1], "b": "plain" }));
    }

    #[test]
    fn what_is_secret_by_its_place_is_hidden() {
        let template = json!({
            "Parameters": { "P": { "Type": "String", "NoEcho": "true", "Default": "hunter22" } },
            "Resources": { "F": { "Properties": {
                "Environment": { "Variables": { "A": "hunter22", "B": { "Ref": "Bucket" } } },
                "Description": "plain", "MasterPassword": "swordfish",
            } } },
        });
        let shown = hidden(&template).to_string();
        assert!(!shown.contains("hunter22") && !shown.contains("swordfish"), "{shown}");
        assert!(shown.contains("plain") && shown.contains("Bucket"), "{shown}");
    }
}
