//! Lifecycle rules in S3's form, and what S3 refuses in them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use s3s::dto::*;
use s3s::{S3Error, S3Result};

use super::{Expiration, ID_MAX, Noncurrent, RULES_MAX, Rule};
use crate::services::s3::errors::{custom, invalid_argument, invalid_request, malformed_xml};
use crate::services::s3::options::take;

/// Checks rules of either form.
pub fn check(rules: &[Rule]) -> S3Result<()> {
    if rules.is_empty() || rules.len() > RULES_MAX {
        return Err(malformed_xml());
    }
    let mut ids: Vec<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid_argument(
            "Rule ID must be unique. Found same ID for more than one rule",
        ));
    }
    rules.iter().try_for_each(check_one)
}

fn check_one(rule: &Rule) -> S3Result<()> {
    if rule.id.chars().count() > ID_MAX {
        return Err(invalid_argument("ID length should not exceed allowed limit of 255"));
    }
    let positive = |days: Option<i32>, what: &str| match days {
        Some(days) if days <= 0 => {
            Err(invalid_argument(format!("'Days' for {what} action must be a positive integer")))
        }
        _ => Ok(()),
    };
    if let Some(Expiration::Days(days)) = rule.expiration {
        positive(Some(days), "Expiration")?;
    }
    positive(rule.abort_after, "AbortIncompleteMultipartUpload")?;
    positive(rule.noncurrent.map(|n| n.days), "NoncurrentVersionExpiration")?;
    if let Some(kept) = rule.noncurrent.and_then(|n| n.kept)
        && !(1..=100).contains(&kept)
    {
        return Err(invalid_argument("'NewerNoncurrentVersions' must be between 1 and 100"));
    }
    let sizes = rule.larger_than.is_some() || rule.smaller_than.is_some();
    let actions = [
        (rule.abort_after.is_some(), "AbortIncompleteMultipartUpload"),
        (rule.expiration == Some(Expiration::Marker), "ExpiredObjectDeleteMarker"),
    ];
    for (set, action) in actions {
        let with = match set {
            true if !rule.tags.is_empty() => "Tags",
            true if sizes => "Object Size",
            _ => continue,
        };
        return Err(invalid_request(format!("{action} cannot be specified with {with}.")));
    }
    if let (Some(least), Some(most)) = (rule.larger_than, rule.smaller_than)
        && least >= most
    {
        return Err(invalid_request(
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.",
        ));
    }
    if rule.expiration.is_none() && rule.noncurrent.is_none() && rule.abort_after.is_none() {
        return Err(invalid_request("At least one action needs to be specified in a rule"));
    }
    Ok(())
}

/// A rule that has no action yet.
pub fn empty(id: String, enabled: bool) -> Rule {
    Rule {
        id,
        enabled,
        prefix: None,
        is_old: false,
        tags: BTreeMap::new(),
        larger_than: None,
        smaller_than: None,
        expiration: None,
        noncurrent: None,
        abort_after: None,
    }
}

/// An ID for a rule that was given none.
pub fn new_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// Out of S3's form; what a rule here cannot have is refused by name.
pub fn of_request(rules: Vec<LifecycleRule>) -> S3Result<Vec<Rule>> {
    let rules: Vec<Rule> = rules.into_iter().map(rule_of_request).collect::<S3Result<_>>()?;
    check(&rules)?;
    Ok(rules)
}

fn rule_of_request(rule: LifecycleRule) -> S3Result<Rule> {
    take!(rule => LifecycleRule {
            id, status, prefix, filter, expiration, abort_incomplete_multipart_upload,
            noncurrent_version_expiration,
        }
        elsewhere {}
        refuse { noncurrent_version_transitions, transitions });
    let enabled = match status.as_str() {
        "Enabled" => true,
        "Disabled" => false,
        _ => return Err(malformed_xml()),
    };
    let mut kept = empty(id.filter(|id| !id.is_empty()).unwrap_or_else(new_id), enabled);
    match (filter, prefix) {
        (Some(_), Some(_)) | (None, None) => return Err(malformed_xml()),
        (Some(filter), None) => take_filter(&mut kept, filter)?,
        (None, prefix) => (kept.prefix, kept.is_old) = (prefix, true),
    }
    if let Some(expiration) = expiration {
        take!(expiration => LifecycleExpiration { days, date, expired_object_delete_marker }
            elsewhere {} refuse {});
        let marker = expired_object_delete_marker;
        kept.expiration = match (days, date, marker) {
            (Some(days), None, None | Some(false)) => Some(Expiration::Days(days)),
            (None, Some(date), None | Some(false)) => Some(Expiration::Date(midnight(&date)?)),
            (None, None, Some(true)) => Some(Expiration::Marker),
            (None, None, Some(false)) => None,
            _ => return Err(malformed_xml()),
        };
    }
    if let Some(noncurrent) = noncurrent_version_expiration {
        take!(noncurrent => NoncurrentVersionExpiration {
                newer_noncurrent_versions, noncurrent_days,
            }
            elsewhere {} refuse {});
        let days = noncurrent_days.ok_or_else(malformed_xml)?;
        kept.noncurrent = Some(Noncurrent { days, kept: newer_noncurrent_versions });
    }
    if let Some(abort) = abort_incomplete_multipart_upload {
        kept.abort_after = Some(abort.days_after_initiation.ok_or_else(malformed_xml)?);
    }
    Ok(kept)
}

fn take_filter(rule: &mut Rule, filter: LifecycleRuleFilter) -> S3Result<()> {
    take!(filter => LifecycleRuleFilter {
            and, object_size_greater_than, object_size_less_than, prefix, tag,
        }
        elsewhere {} refuse {});
    let given = [
        and.is_some(),
        object_size_greater_than.is_some(),
        object_size_less_than.is_some(),
        prefix.is_some(),
        tag.is_some(),
    ];
    if given.iter().filter(|is| **is).count() > 1 {
        return Err(malformed_xml());
    }
    rule.prefix = prefix;
    rule.larger_than = object_size_greater_than;
    rule.smaller_than = object_size_less_than;
    let mut tagged: Vec<Tag> = tag.into_iter().collect();
    if let Some(and) = and {
        take!(and => LifecycleRuleAndOperator {
                object_size_greater_than, object_size_less_than, prefix, tags,
            }
            elsewhere {} refuse {});
        rule.prefix = prefix;
        rule.larger_than = object_size_greater_than;
        rule.smaller_than = object_size_less_than;
        tagged.extend(tags.into_iter().flatten());
    }
    for tag in tagged {
        let (Some(key), value) = (tag.key, tag.value.unwrap_or_default()) else {
            return Err(malformed_xml());
        };
        if rule.tags.insert(key, value).is_some() {
            return Err(invalid_request("Duplicate Tag Keys are not allowed."));
        }
    }
    Ok(())
}

fn no_midnight() -> S3Error {
    invalid_argument("'Date' must be at midnight GMT")
}

fn midnight(date: &s3s::dto::Timestamp) -> S3Result<Timestamp> {
    let mut text = Vec::new();
    date.format(TimestampFormat::DateTime, &mut text).map_err(|_| no_midnight())?;
    let text = std::str::from_utf8(&text).map_err(|_| no_midnight())?;
    parse_midnight(text).ok_or_else(no_midnight)
}

/// A midnight; templates may leave out the time.
pub fn parse_midnight(text: &str) -> Option<Timestamp> {
    let date = text.parse::<jiff::civil::Date>().ok().filter(|_| text.len() == 10);
    let of_date = date.and_then(|date| date.to_zoned(TimeZone::UTC).ok());
    let time = of_date.map(|zoned| zoned.timestamp()).or_else(|| text.parse().ok())?;
    let zoned = time.to_zoned(TimeZone::UTC);
    (zoned.time() == Time::midnight()).then_some(time)
}

/// In S3's form.
pub fn answer(rules: &[Rule]) -> Vec<LifecycleRule> {
    rules.iter().map(answer_rule).collect()
}

fn answer_rule(rule: &Rule) -> LifecycleRule {
    let status = if rule.enabled { "Enabled" } else { "Disabled" };
    let expiration = rule.expiration.map(|expiration| match expiration {
        Expiration::Days(days) => LifecycleExpiration { days: Some(days), ..Default::default() },
        Expiration::Date(date) => {
            let date = Some(crate::services::s3::timestamp(date));
            LifecycleExpiration { date, ..Default::default() }
        }
        Expiration::Marker => {
            let expired_object_delete_marker = Some(true);
            LifecycleExpiration { expired_object_delete_marker, ..Default::default() }
        }
    });
    LifecycleRule {
        id: Some(rule.id.clone()),
        status: ExpirationStatus::from_static(status),
        filter: (!rule.is_old).then(|| answer_filter(rule)),
        prefix: rule.prefix.clone().filter(|_| rule.is_old),
        expiration,
        abort_incomplete_multipart_upload: rule
            .abort_after
            .map(|days| AbortIncompleteMultipartUpload { days_after_initiation: Some(days) }),
        noncurrent_version_expiration: rule.noncurrent.map(|noncurrent| {
            NoncurrentVersionExpiration {
                newer_noncurrent_versions: noncurrent.kept,
                noncurrent_days: Some(noncurrent.days),
            }
        }),
        noncurrent_version_transitions: None,
        transitions: None,
    }
}

fn answer_filter(rule: &Rule) -> LifecycleRuleFilter {
    let tag = |(key, value): (&String, &String)| Tag {
        key: Some(key.clone()),
        value: Some(value.clone()),
    };
    let tags: Vec<Tag> = rule.tags.iter().map(tag).collect();
    let parts = usize::from(rule.prefix.is_some())
        + usize::from(rule.larger_than.is_some())
        + usize::from(rule.smaller_than.is_some())
        + tags.len();
    if parts > 1 {
        let and = LifecycleRuleAndOperator {
            object_size_greater_than: rule.larger_than,
            object_size_less_than: rule.smaller_than,
            prefix: rule.prefix.clone(),
            tags: (!tags.is_empty()).then_some(tags),
        };
        return LifecycleRuleFilter { and: Some(and), ..Default::default() };
    }
    // A filter that is empty is told as one of an empty prefix.
    let all = (parts == 0).then(String::new);
    LifecycleRuleFilter {
        and: None,
        object_size_greater_than: rule.larger_than,
        object_size_less_than: rule.smaller_than,
        prefix: rule.prefix.clone().or(all),
        tag: tags.into_iter().next(),
    }
}

/// What S3 says where no rule is.
pub fn none_set() -> S3Error {
    custom("NoSuchLifecycleConfiguration", 404, "The lifecycle configuration does not exist")
}
