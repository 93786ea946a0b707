//! Lifecycle rules between S3's form and CloudFormation's, in which they are kept. They are not
//! executed: nothing expires here.

use s3s::S3Result;
use s3s::dto::*;
use serde_json::{Map, Value, json};

use super::errors::{custom, invalid_argument, malformed_xml, not_implemented};
use super::options::take;

/// Rules of one bucket.
const RULES_MAX: usize = 1_000;

/// The rules as they are kept; what a rule here cannot have is refused by name.
pub fn write(rules: Vec<LifecycleRule>) -> S3Result<Value> {
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(malformed_xml());
    }
    let rules: Vec<Value> = rules.into_iter().map(write_rule).collect::<S3Result<_>>()?;
    let ids: std::collections::BTreeSet<&str> =
        rules.iter().filter_map(|r| r["Id"].as_str()).collect();
    if ids.len() < rules.len() {
        return Err(invalid_argument(
            "Rule ID must be unique. Found same ID for more than one rule",
        ));
    }
    Ok(json!({ "Rules": rules }))
}

fn write_rule(rule: LifecycleRule) -> S3Result<Value> {
    take!(rule => LifecycleRule {
            id, status, prefix, filter, expiration, abort_incomplete_multipart_upload,
        }
        elsewhere {}
        refuse { noncurrent_version_expiration, noncurrent_version_transitions, transitions });
    if !matches!(status.as_str(), "Enabled" | "Disabled") {
        return Err(malformed_xml());
    }
    let prefix = match filter {
        Some(filter) => write_filter(filter)?.or(prefix),
        None => Some(prefix.ok_or_else(malformed_xml)?),
    };
    let mut kept = Map::new();
    let id = id.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    kept.insert("Id".to_owned(), id.into());
    kept.insert("Status".to_owned(), status.as_str().into());
    if let Some(prefix) = prefix {
        kept.insert("Prefix".to_owned(), prefix.into());
    }
    if let Some(expiration) = expiration {
        take!(expiration => LifecycleExpiration { days }
            elsewhere {} refuse { date, expired_object_delete_marker });
        kept.insert("ExpirationInDays".to_owned(), positive(days, "Expiration")?.into());
    }
    if let Some(abort) = abort_incomplete_multipart_upload {
        let days = positive(abort.days_after_initiation, "AbortIncompleteMultipartUpload")?;
        let abort = json!({ "DaysAfterInitiation": days });
        kept.insert("AbortIncompleteMultipartUpload".to_owned(), abort);
    }
    if kept.contains_key("ExpirationInDays") || kept.contains_key("AbortIncompleteMultipartUpload")
    {
        return Ok(Value::Object(kept));
    }
    Err(custom("InvalidRequest", 400, "At least one action needs to be specified in a rule."))
}

fn write_filter(filter: LifecycleRuleFilter) -> S3Result<Option<String>> {
    take!(filter => LifecycleRuleFilter { prefix }
        elsewhere {}
        refuse { and, object_size_greater_than, object_size_less_than, tag });
    Ok(prefix)
}

fn positive(days: Option<i32>, action: &str) -> S3Result<i32> {
    let message = || format!("'Days' for {action} action must be a positive integer");
    days.filter(|d| *d > 0).ok_or_else(|| invalid_argument(message()))
}

/// The rules as S3 tells them.
pub fn read(set: &Value) -> S3Result<Vec<LifecycleRule>> {
    set["Rules"].as_array().into_iter().flatten().map(read_rule).collect()
}

fn read_rule(rule: &Value) -> S3Result<LifecycleRule> {
    let known = ["Id", "Status", "Prefix", "ExpirationInDays", "AbortIncompleteMultipartUpload"];
    let names = rule.as_object().into_iter().flat_map(Map::keys);
    if let Some(other) = names.into_iter().find(|n| !known.contains(&n.as_str())) {
        return Err(not_implemented(&format!("{other} of lifecycle rules")));
    }
    let text = |name: &str| rule[name].as_str().map(str::to_owned);
    let days = number(&rule["ExpirationInDays"]);
    let abort = number(&rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"]);
    Ok(LifecycleRule {
        id: text("Id"),
        status: ExpirationStatus::from(text("Status").unwrap_or_default()),
        filter: Some(LifecycleRuleFilter {
            prefix: Some(text("Prefix").unwrap_or_default()),
            ..Default::default()
        }),
        expiration: days.map(|days| LifecycleExpiration { days: Some(days), ..Default::default() }),
        abort_incomplete_multipart_upload: abort
            .map(|days| AbortIncompleteMultipartUpload { days_after_initiation: Some(days) }),
        noncurrent_version_expiration: None,
        noncurrent_version_transitions: None,
        prefix: None,
        transitions: None,
    })
}

/// Templates write numbers as numbers or as texts.
fn number(value: &Value) -> Option<i32> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64().and_then(|n| i32::try_from(n).ok()),
    }
}
