//! Lifecycle rules: S3's form, CloudFormation's, in which they are kept, and the one in which they
//! are executed ([`sweep`]).
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html>

pub mod forms;
pub mod setting;
pub mod sweep;

use std::collections::BTreeMap;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::store::Object;

/// Rules of one bucket.
const RULES_MAX: usize = 1_000;
/// Characters of a rule's ID.
const ID_MAX: usize = 255;

/// When the current version expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiration {
    /// So many days after it was written.
    Days(i32),
    /// At a midnight.
    Date(Timestamp),
    /// When it is a delete marker, and nothing else is left of the key.
    Marker,
}

/// When other versions expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noncurrent {
    /// So many days after they were replaced.
    pub days: i32,
    /// So many of the newest stay.
    pub kept: Option<i32>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name in the bucket.
    pub id: String,
    /// Whether it is executed.
    pub enabled: bool,
    /// What keys begin with.
    pub prefix: Option<String>,
    /// Whether the prefix was given as S3 took it before there were filters, and is told so.
    pub is_old: bool,
    /// Tags that objects have.
    pub tags: BTreeMap<String, String>,
    /// Bytes that objects have more than.
    pub larger_than: Option<i64>,
    /// Bytes that objects have less than.
    pub smaller_than: Option<i64>,
    /// When the current version expires.
    pub expiration: Option<Expiration>,
    /// When other versions expire.
    pub noncurrent: Option<Noncurrent>,
    /// Days after which an upload that nobody finished is given up.
    pub abort_after: Option<i32>,
}

impl Rule {
    /// Whether an object is among those that the rule is about.
    fn is_about(&self, key: &str, object: &Object) -> bool {
        let size = i64::try_from(object.size).unwrap_or(i64::MAX);
        let has = |(name, value): (&String, &String)| object.meta.tags.get(name) == Some(value);
        self.is_about_key(key)
            && self.tags.iter().all(has)
            && self.larger_than.is_none_or(|least| size > least)
            && self.smaller_than.is_none_or(|most| size < most)
    }

    fn is_about_key(&self, key: &str) -> bool {
        self.enabled && key.starts_with(self.prefix.as_deref().unwrap_or_default())
    }

    /// When the current version, an object, expires.
    fn expires(&self, key: &str, object: &Object) -> Option<Timestamp> {
        let expiration = self.expiration.filter(|_| self.is_about(key, object))?;
        match expiration {
            Expiration::Days(days) => Some(midnight_after(object.modified, days)),
            Expiration::Date(date) => Some(date),
            Expiration::Marker => None,
        }
    }

    /// Whether a delete marker that is alone is removed at `now`.
    fn removes_marker(&self, key: &str, marker: &Object, now: Timestamp) -> bool {
        match self.expiration {
            _ if !self.is_about_key(key) || !self.tags.is_empty() => false,
            Some(Expiration::Marker) => true,
            Some(Expiration::Days(days)) => midnight_after(marker.modified, days) <= now,
            Some(Expiration::Date(date)) => date <= now,
            None => false,
        }
    }

    /// Whether a version expires that was replaced at `since`, with `newer` newer ones before it
    /// that are not current either.
    fn removes_noncurrent(
        &self,
        key: &str,
        version: &Object,
        (since, newer, now): (Timestamp, usize, Timestamp),
    ) -> bool {
        let Some(noncurrent) = self.noncurrent else { return false };
        let kept = noncurrent.kept.and_then(|kept| usize::try_from(kept).ok()).unwrap_or_default();
        self.is_about(key, version)
            && newer >= kept
            && midnight_after(since, noncurrent.days) <= now
    }

    /// When an upload is given up.
    fn aborts(&self, key: &str, initiated: Timestamp) -> Option<Timestamp> {
        let days = self.abort_after.filter(|_| self.is_about_key(key))?;
        Some(midnight_after(initiated, days))
    }
}

/// The midnight, in UTC, that follows the time so many days later.
fn midnight_after(time: Timestamp, days: i32) -> Timestamp {
    let later = time.saturating_add(SignedDuration::from_hours(24 * i64::from(days)));
    let later = later.unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC);
    let begun = later.with().time(Time::midnight()).build();
    let next = begun.and_then(|begun| {
        let whole = begun.timestamp() == later.timestamp();
        if whole { Ok(begun) } else { begun.tomorrow() }
    });
    next.map_or(Timestamp::MAX, |next| next.timestamp())
}

/// When an object expires and by which rule: `x-amz-expiration`.
pub fn expiration(rules: &[Rule], key: &str, object: &Object) -> Option<String> {
    let dated = rules.iter().filter_map(|rule| Some((rule.expires(key, object)?, rule)));
    let (date, rule) = dated.min_by_key(|(date, _)| *date)?;
    Some(format!("expiry-date=\"{}\", rule-id=\"{}\"", http_date(date), rule.id))
}

/// When an upload is given up, and by which rule.
pub fn abort(rules: &[Rule], key: &str, initiated: Timestamp) -> Option<(Timestamp, String)> {
    let dated = rules.iter().filter_map(|rule| Some((rule.aborts(key, initiated)?, rule)));
    dated.min_by_key(|(date, _)| *date).map(|(date, rule)| (date, rule.id.clone()))
}

fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn days_are_counted_to_the_next_midnight() {
        // The example of the documentation.
        let after = |time: &str, days: i32| midnight_after(at(time), days);
        assert_eq!(after("2014-01-15T10:30:00Z", 3), at("2014-01-19T00:00:00Z"));
        assert_eq!(after("2014-01-15T00:00:00Z", 1), at("2014-01-16T00:00:00Z"));
        assert_eq!(after("2014-01-15T00:00:00.001Z", 0), at("2014-01-16T00:00:00Z"));
        midnight_after(at("2014-01-15T00:00:00Z"), i32::MAX);
    }

    #[test]
    fn the_first_rule_to_expire_an_object_is_told() {
        let rules = setting::read(&serde_json::json!({ "Rules": [
            { "Id": "late", "Status": "Enabled", "ExpirationInDays": 30 },
            { "Id": "early", "Status": "Enabled", "Prefix": "a/", "ExpirationInDays": "1" },
            { "Id": "off", "Status": "Disabled", "ExpirationInDays": 1 },
            { "Id": "tagged", "Status": "Enabled", "ExpirationDate": "2014-01-01T00:00:00Z",
              "TagFilters": [{ "Key": "k", "Value": "v" }] },
        ] }));
        let rules = rules.expect("valid");
        let mut object = Object::marker(at("2014-01-15T10:30:00Z"));
        let told = |key: &str, object: &Object| expiration(&rules, key, object);
        let expected = "expiry-date=\"Fri, 17 Jan 2014 00:00:00 GMT\", rule-id=\"early\"";
        assert_eq!(told("a/1", &object).as_deref(), Some(expected));
        assert!(told("b", &object).is_some_and(|e| e.contains("late")));
        object.meta.tags.insert("k".to_owned(), "v".to_owned());
        assert!(told("a/1", &object).is_some_and(|e| e.contains("tagged")));
    }
}
