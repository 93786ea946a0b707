//! Policies of forms: what a form that somebody else signed may contain.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html>

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde_json::Value;

/// Fields that a policy need not name.
const FREE: &[&str] =
    &["x-amz-signature", "signature", "awsaccesskeyid", "file", "policy", "submit"];

/// A policy that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Policy {
    expiration: Timestamp,
    conditions: Vec<Condition>,
    /// Bytes that the file may have.
    pub length: Option<RangeInclusive<u64>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Condition {
    exact: bool,
    field: String,
    value: String,
}

fn invalid(words: impl std::fmt::Display) -> S3Error {
    let code = S3ErrorCode::InvalidPolicyDocument;
    S3Error::with_message(code, format!("Invalid Policy: {words}"))
}

/// The form is not as the policy wants it.
fn against(words: impl std::fmt::Display) -> S3Error {
    let words = format!("Invalid according to Policy: {words}");
    S3Error::with_message(S3ErrorCode::AccessDenied, words)
}

impl Policy {
    /// Reads a policy in base64.
    pub fn read(encoded: &str) -> S3Result<Self> {
        let bytes = BASE64.decode(encoded).map_err(|_| invalid("Invalid Base64 encoding."))?;
        let document: Value =
            serde_json::from_slice(&bytes).map_err(|_| invalid("Invalid JSON."))?;
        let expiration = document["expiration"].as_str();
        let expiration = expiration.ok_or_else(|| invalid("Policy missing expiration."))?;
        let expiration = expiration.parse();
        let expiration = expiration.map_err(|_| invalid("Invalid 'expiration' value"))?;
        let listed = document["conditions"].as_array();
        let listed = listed.ok_or_else(|| invalid("Policy missing conditions."))?;
        let mut policy = Self { expiration, conditions: Vec::new(), length: None };
        listed.iter().try_for_each(|condition| policy.add(condition))?;
        Ok(policy)
    }

    fn add(&mut self, condition: &Value) -> S3Result<()> {
        let wrong = || {
            invalid(
                "Invalid Simple-Condition: Simple-Conditions must have exactly one \
                               property specified.",
            )
        };
        match condition {
            Value::Object(fields) => {
                let mut fields = fields.iter();
                let (Some((field, Value::String(value))), None) = (fields.next(), fields.next())
                else {
                    return Err(wrong());
                };
                self.push(true, field, value);
                Ok(())
            }
            Value::Array(parts) => self.add_listed(parts),
            _ => Err(invalid("Invalid Condition.")),
        }
    }

    fn add_listed(&mut self, parts: &[Value]) -> S3Result<()> {
        let [kind, first, second] = parts else {
            return Err(invalid("Invalid Condition: wrong number of arguments."));
        };
        let kind = kind.as_str().unwrap_or_default().to_ascii_lowercase();
        let number =
            |v: &Value| v.as_u64().or_else(|| v.as_str().and_then(|text| text.parse().ok()));
        match (kind.as_str(), first.as_str(), second.as_str()) {
            ("eq" | "starts-with", Some(field), Some(value)) => {
                let Some(field) = field.strip_prefix('$') else {
                    return Err(invalid("Invalid Condition: field names begin with $."));
                };
                self.push(kind == "eq", field, value);
                Ok(())
            }
            ("content-length-range", _, _) => {
                let (Some(least), Some(most)) = (number(first), number(second)) else {
                    return Err(invalid("Invalid content-length-range."));
                };
                self.length = Some(least..=most);
                Ok(())
            }
            _ => Err(invalid(format!("Invalid Condition: unknown operation '{kind}'."))),
        }
    }

    fn push(&mut self, exact: bool, field: &str, value: &str) {
        let field = field.to_ascii_lowercase();
        self.conditions.push(Condition { exact, field, value: value.to_owned() });
    }

    /// Whether a form may be sent at `now` with these fields, whose names are in small letters.
    pub fn check(
        &self,
        bucket: &str,
        fields: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> S3Result<()> {
        if self.expiration <= now {
            return Err(against("Policy expired."));
        }
        for condition in &self.conditions {
            let value = match condition.field.as_str() {
                "bucket" => bucket,
                field => fields.get(field).map(String::as_str).unwrap_or_default(),
            };
            let holds = if condition.exact {
                value == condition.value
            } else {
                value.starts_with(&condition.value)
            };
            if !holds {
                let kind = if condition.exact { "eq" } else { "starts-with" };
                let Condition { field, value, .. } = condition;
                let words = format!("[\"{kind}\", \"${field}\", \"{value}\"]");
                return Err(against(format!("Policy Condition failed: {words}")));
            }
        }
        let named = |name: &String| self.conditions.iter().any(|c| c.field == *name);
        let free = |name: &String| FREE.contains(&name.as_str()) || name.starts_with("x-ignore-");
        match fields.keys().find(|name| !named(name) && !free(name)) {
            Some(other) => Err(against(format!("Extra input fields: {other}"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(conditions: Value) -> S3Result<Policy> {
        let document = json!({ "expiration": "2030-01-01T00:00:00Z", "conditions": conditions });
        Policy::read(&BASE64.encode(document.to_string()))
    }

    #[test]
    fn forms_are_held_to_their_policy() {
        let policy = policy(json!([
            { "bucket": "b" }, ["starts-with", "$key", "user/"], ["eq", "$Content-Type", "a/b"],
            ["content-length-range", 1, "10"],
        ]));
        let policy = policy.expect("valid");
        assert_eq!(policy.length, Some(1..=10));
        let now = "2029-12-31T00:00:00Z".parse().expect("a time");
        let check = |bucket: &str, fields: &[(&str, &str)], now: Timestamp| {
            let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let error = policy.check(bucket, &fields, now).err();
            error.map_or_else(String::new, |e| e.message().unwrap_or_default().to_owned())
        };
        let good = [("key", "user/1"), ("content-type", "a/b"), ("policy", "…")];
        assert_eq!(check("b", &good, now), "");
        assert!(check("c", &good, now).contains("[\"eq\", \"$bucket\", \"b\"]"));
        assert!(check("b", &good[..1], now).contains("$content-type"));
        let more = [good[0], good[1], ("acl", "private")];
        assert!(check("b", &more, now).contains("Extra input fields: acl"));
        assert!(check("b", &good, Timestamp::MAX).contains("expired"));
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let code =
            |refused: S3Result<Policy>| refused.expect_err("refused").code().as_str().to_owned();
        for wrong in [
            json!([["eq", "$key"]]),
            json!([{}]),
            json!(["x"]),
            json!({}),
            json!([["like", "$key", "x"]]),
            json!([["content-length-range", "a", 1]]),
        ] {
            assert_eq!(code(policy(wrong)), "InvalidPolicyDocument");
        }
        assert_eq!(code(Policy::read("é")), "InvalidPolicyDocument");
        assert_eq!(code(Policy::read(&BASE64.encode("{"))), "InvalidPolicyDocument");
    }
}
