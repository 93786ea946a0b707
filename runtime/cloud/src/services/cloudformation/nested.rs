//! What is inside of properties: which members of AWS's this cloud uses or keeps and shows. Any
//! other would be without effect, and is refused by name before anything is made.

use serde_json::Value;

use crate::kernel::resource::ResourceType;
use crate::kernel::schema;
use crate::services::cloudformation::template::UNKNOWN;

/// Refuses members that are not used, in resolved properties that are as AWS's schema has them:
/// what the schema refuses, it tells in its own words.
pub fn check(logical_id: &str, kind: &ResourceType, properties: &Value) -> Result<(), String> {
    if !schema::problems(kind.name, properties).is_empty() {
        return Ok(());
    }
    check_used(kind, properties).map_err(|words| format!("{logical_id}: {words}"))
}

/// The same for properties that were judged by the schema.
pub fn check_used(kind: &ResourceType, properties: &Value) -> Result<(), String> {
    look(properties, "", kind.uses)
        .map_err(|found| format!("the embedded cloud does not implement {found} of {}", kind.name))
}

/// The first member, or value of one, that is not among those that are used.
fn look(value: &Value, path: &str, members: &[&str]) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| look(item, path, members)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, field)| {
            let inner = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            match find(&inner, members) {
                Found::Inside => look(field, &inner, members),
                Found::Used(None) => Ok(()),
                Found::Used(Some(allowed)) => allows(field, &inner, allowed),
                Found::Unused => Err(inner),
            }
        }),
        // What is known only later, and what the schema has judged.
        _ => Ok(()),
    }
}

enum Found<'a> {
    Used(Option<&'a str>),
    Inside,
    Unused,
}

fn find<'a>(path: &str, members: &[&'a str]) -> Found<'a> {
    for member in members {
        let (name, values) = match member.split_once('=') {
            Some((name, values)) => (name, Some(values)),
            None => (*member, None),
        };
        if name == path {
            return Found::Used(values);
        }
        if name.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')) {
            return Found::Inside;
        }
    }
    Found::Unused
}

fn allows(value: &Value, path: &str, allowed: &str) -> Result<(), String> {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.contains(UNKNOWN) || allowed.split('|').any(|one| one == text) {
        Ok(())
    } else {
        Err(format!("{path}: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kernel::resource::{all, find};
    use crate::services::cloudformation::permissions::tests::is_in_table;

    #[test]
    fn every_property_with_members_says_which_are_used() {
        // What an operation is given whole, the operation judges.
        for kind in all().filter(|kind| is_in_table(kind.name)) {
            for path in kind.uses.iter().filter(|path| **path != "Tags") {
                let property = path.split('=').next().unwrap_or(path);
                // What is free text or somebody else's language has no members that matter here.
                let is_whole = !property.contains('/');
                let members = schema::members(kind.name, property);
                assert!(!is_whole || members.is_empty(), "{} {property}", kind.name);
            }
        }
    }

    #[test]
    fn every_member_is_one_of_awss() {
        for kind in all() {
            for path in kind.uses {
                let path = path.split('=').next().unwrap_or(path);
                let (property, member) = path.split_once('/').unwrap_or((path, ""));
                let known = schema::members(kind.name, property);
                let is_known = member.is_empty() || known.contains(member);
                assert!(schema::has_property(kind.name, property), "{} {path}", kind.name);
                assert!(is_known, "{} {path}", kind.name);
            }
        }
    }

    #[test]
    fn what_would_be_without_effect_is_refused_by_name() {
        let kind = find("AWS::S3::Bucket").expect("registered");
        let bucket = |encryption: Value| {
            let rule = json!({ "ServerSideEncryptionByDefault": encryption });
            let rules = json!({ "ServerSideEncryptionConfiguration": [rule] });
            check("Data", kind, &json!({ "BucketEncryption": rules }))
        };
        assert_eq!(bucket(json!({ "SSEAlgorithm": "AES256" })), Ok(()));
        assert_eq!(
            bucket(json!({ "SSEAlgorithm": "aws:kms" })),
            Err("Data: the embedded cloud does not implement BucketEncryption/\
                 ServerSideEncryptionConfiguration/ServerSideEncryptionByDefault/SSEAlgorithm: \
                 aws:kms of AWS::S3::Bucket"
                .to_owned())
        );
        assert_eq!(
            bucket(json!({ "SSEAlgorithm": "AES256", "KMSMasterKeyID": "k" })),
            Err("Data: the embedded cloud does not implement BucketEncryption/\
                 ServerSideEncryptionConfiguration/ServerSideEncryptionByDefault/KMSMasterKeyID of \
                 AWS::S3::Bucket"
                .to_owned())
        );
        // What AWS does not have either is told in the schema's words.
        assert_eq!(bucket(json!({ "Algorithm": "AES256" })), Ok(()));
        // A value that is known only when the stack is made.
        assert_eq!(bucket(json!({ "SSEAlgorithm": UNKNOWN })), Ok(()));
    }
}
