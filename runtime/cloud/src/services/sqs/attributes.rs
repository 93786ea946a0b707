//! Attributes of queues: what they may be, and what they mean.
//!
//! <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html>

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::Value;

use super::{invalid, name_in};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam;

/// Bytes of a message with its attributes.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Receives before a message goes to the dead-letter queue.
const RECEIVES_MAX: u64 = 1_000;
/// Queues that a dead-letter queue may name.
const SOURCES_MAX: usize = 10;

/// Attributes that are whole numbers, with their bounds and defaults.
const NUMBERS: &[(&str, u64, u64, u64)] = &[
    ("DelaySeconds", 0, 900, 0),
    ("MaximumMessageSize", 1_024, 1_048_576, 1_048_576),
    ("MessageRetentionPeriod", 60, 1_209_600, 345_600),
    ("ReceiveMessageWaitTimeSeconds", 0, 20, 0),
    ("VisibilityTimeout", 0, 43_200, 30),
];

/// Attributes that only SQS sets.
pub const READ_ONLY: &[&str] = &[
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
    "QueueArn",
];

/// Attributes that callers set.
const SETTABLE: &[&str] = &[
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "Policy",
    "ReceiveMessageWaitTimeSeconds",
    "RedriveAllowPolicy",
    "RedrivePolicy",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];

/// Attributes whose empty value takes them away.
const REMOVABLE: &[&str] = &["Policy", "RedrivePolicy", "RedriveAllowPolicy"];

/// What a queue's attributes say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub fifo: bool,
    pub by_content: bool,
    /// Whether messages are told apart within their groups only.
    pub by_group: bool,
    pub delay: SignedDuration,
    pub retention: SignedDuration,
    pub visibility: SignedDuration,
    pub wait_secs: u64,
    pub bytes_max: usize,
    pub redrive: Option<Redrive>,
}

/// Where messages go that were received too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redrive {
    pub target: String,
    pub receives_max: u64,
}

impl Settings {
    /// What checked attributes say.
    pub fn of(attributes: &BTreeMap<String, String>) -> Self {
        let number = |name: &str| {
            let default = NUMBERS.iter().find(|(n, ..)| *n == name).map_or(0, |(.., d)| *d);
            attributes.get(name).and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        let seconds = |name: &str| SignedDuration::from_secs(number(name) as i64);
        let is = |name: &str, value: &str| attributes.get(name).is_some_and(|v| v == value);
        Self {
            fifo: is("FifoQueue", "true"),
            by_content: is("ContentBasedDeduplication", "true"),
            by_group: is("DeduplicationScope", "messageGroup"),
            delay: seconds("DelaySeconds"),
            retention: seconds("MessageRetentionPeriod"),
            visibility: seconds("VisibilityTimeout"),
            wait_secs: number("ReceiveMessageWaitTimeSeconds"),
            bytes_max: number("MaximumMessageSize") as usize,
            redrive: attributes.get("RedrivePolicy").and_then(|text| redrive(text).ok()),
        }
    }
}

/// The attributes with AWS's defaults, as they are shown.
pub fn with_defaults(given: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut shown: BTreeMap<String, String> = NUMBERS
        .iter()
        .map(|(name, .., default)| ((*name).to_owned(), default.to_string()))
        .collect();
    shown.insert("SqsManagedSseEnabled".to_owned(), "true".to_owned());
    if given.get("FifoQueue").is_some_and(|fifo| fifo == "true") {
        for (name, default) in [
            ("ContentBasedDeduplication", "false"),
            ("DeduplicationScope", "queue"),
            ("FifoThroughputLimit", "perQueue"),
        ] {
            shown.insert(name.to_owned(), default.to_owned());
        }
    }
    shown.extend(given.clone());
    shown
}

fn wrong(name: &str, why: &str) -> ApiError {
    let why = if why.is_empty() { String::new() } else { format!(" Reason: {why}") };
    ApiError::new("InvalidAttributeValue", format!("Invalid value for the parameter {name}.{why}"))
}

fn unknown(name: &str) -> ApiError {
    ApiError::new("InvalidAttributeName", format!("Unknown Attribute {name}."))
}

/// Whether there is an attribute of that name.
pub fn check_name(name: &str) -> ApiResult<()> {
    match name {
        "All" | "KmsMasterKeyId" | "KmsDataKeyReusePeriodSeconds" => Ok(()),
        _ if SETTABLE.contains(&name) || READ_ONLY.contains(&name) => Ok(()),
        _ => Err(unknown(name)),
    }
}

/// The attributes of a queue after `given` are set; its name says whether it is a FIFO queue.
pub fn changed(
    cloud: &Cloud,
    name: &str,
    former: Option<&BTreeMap<String, String>>,
    given: &BTreeMap<String, String>,
) -> ApiResult<BTreeMap<String, String>> {
    let mut all = former.cloned().unwrap_or_default();
    for (attribute, value) in given {
        if attribute.starts_with("Kms") {
            if value.is_empty() {
                continue;
            }
            let member = format!("Attributes.{attribute}");
            return Err(ApiError::unknown_parameter(&member, "sqs:SetQueueAttributes"));
        }
        if !SETTABLE.contains(&attribute.as_str()) {
            return Err(unknown(attribute));
        }
        if value.is_empty() && REMOVABLE.contains(&attribute.as_str()) {
            all.remove(attribute);
            continue;
        }
        check_value(cloud, attribute, value)?;
        all.insert(attribute.clone(), value.clone());
    }
    let was_fifo = former.is_some_and(|all| all.get("FifoQueue").is_some());
    if former.is_some() && given.contains_key("FifoQueue") && !was_fifo {
        return Err(unknown("FifoQueue"));
    }
    check_fifo(name, &mut all)?;
    check_redrive(cloud, name, &all)?;
    Ok(all)
}

fn check_value(cloud: &Cloud, name: &str, value: &str) -> ApiResult<()> {
    if let Some((_, least, most, _)) = NUMBERS.iter().find(|(number, ..)| *number == name) {
        let number = value.parse::<u64>().ok().filter(|number| (*least..=*most).contains(number));
        return number.map(drop).ok_or_else(|| wrong(name, ""));
    }
    let allowed: &[&str] = match name {
        "ContentBasedDeduplication" | "SqsManagedSseEnabled" | "FifoQueue" => &["true", "false"],
        "DeduplicationScope" => &["messageGroup", "queue"],
        "FifoThroughputLimit" => &["perQueue", "perMessageGroupId"],
        "Policy" => {
            let document: Value = serde_json::from_str(value)
                .map_err(|_| wrong(name, "Policy is not valid JSON."))?;
            return iam::check_resource_policy(cloud, &document).map_err(|e| wrong(name, &e));
        }
        "RedriveAllowPolicy" => return allow(value).map(drop),
        _ => return redrive(value).map(drop),
    };
    if allowed.contains(&value) { Ok(()) } else { Err(wrong(name, "")) }
}

fn check_fifo(name: &str, all: &mut BTreeMap<String, String>) -> ApiResult<()> {
    let fifo = all.get("FifoQueue").is_some_and(|fifo| fifo == "true");
    if all.get("FifoQueue").is_some_and(|fifo| fifo == "false") {
        // AWS refuses the word, although its documentation allows it.
        return Err(unknown("FifoQueue"));
    }
    if fifo != name.ends_with(".fifo") {
        let message = "The name of a FIFO queue can only include alphanumeric characters, hyphens, \
                       or underscores, must end with .fifo suffix and be 1 to 80 in length.";
        return Err(invalid(message));
    }
    let only_fifo = ["ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"];
    if let Some(other) = only_fifo.iter().find(|name| !fifo && all.contains_key(**name)) {
        return Err(unknown(other));
    }
    let is = |name: &str, value: &str| all.get(name).is_some_and(|v| v == value);
    if is("FifoThroughputLimit", "perMessageGroupId") && !is("DeduplicationScope", "messageGroup") {
        let why = "The perMessageGroupId value is allowed only when the value for \
                   DeduplicationScope is messageGroup.";
        return Err(wrong("FifoThroughputLimit", why));
    }
    Ok(())
}

/// The parts of a `RedrivePolicy`.
pub fn redrive(text: &str) -> ApiResult<Redrive> {
    let refused = |why: &str| {
        let message = format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {why}");
        invalid(message)
    };
    let policy: Value = serde_json::from_str(text)
        .map_err(|_| refused("Redrive policy is not a valid JSON map."))?;
    let members = policy.as_object();
    let members = members.ok_or_else(|| refused("Redrive policy is not a valid JSON map."))?;
    let known = ["deadLetterTargetArn", "maxReceiveCount"];
    if members.keys().any(|name| !known.contains(&name.as_str())) {
        return Err(refused(
            "Only following attributes are supported: [deadLetterTargetArn, maxReceiveCount].",
        ));
    }
    let target = policy["deadLetterTargetArn"].as_str();
    let target = target.ok_or_else(|| {
        refused("Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
    })?;
    let count = &policy["maxReceiveCount"];
    if count.is_null() {
        return Err(refused(
            "Redrive policy does not contain mandatory attribute: maxReceiveCount.",
        ));
    }
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok());
    let count = count.filter(|count| (1..=RECEIVES_MAX).contains(count));
    let receives_max =
        count.ok_or_else(|| refused("Invalid value for maxReceiveCount: must be 1 to 1000."))?;
    Ok(Redrive { target: target.to_owned(), receives_max })
}

/// Who may name a queue as its dead-letter queue.
#[derive(Debug, PartialEq, Eq)]
pub enum Allow {
    All,
    Nobody,
    Only(Vec<String>),
}

/// The parts of a `RedriveAllowPolicy`.
pub fn allow(text: &str) -> ApiResult<Allow> {
    let refused = |why: &str| {
        let words = "for parameter RedriveAllowPolicy is invalid. Reason:";
        invalid(format!("Value {text} {words} {why}"))
    };
    let policy: Value = serde_json::from_str(text).map_err(|_| {
        refused("Amazon SQS can't create the redrive allow policy, as it's not a valid JSON map.")
    })?;
    let known = ["redrivePermission", "sourceQueueArns"];
    let members = policy.as_object().ok_or_else(|| refused("it is not a JSON map."))?;
    if let Some(other) = members.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(refused(&format!("{other} is not supported.")));
    }
    let sources = policy["sourceQueueArns"].as_array();
    match (policy["redrivePermission"].as_str(), sources) {
        (Some("allowAll"), None) => Ok(Allow::All),
        (Some("denyAll"), None) => Ok(Allow::Nobody),
        (Some("byQueue"), Some(sources)) if (1..=SOURCES_MAX).contains(&sources.len()) => {
            let texts = sources.iter().map(|s| s.as_str().map(str::to_owned));
            let texts: Option<Vec<String>> = texts.collect();
            texts.map(Allow::Only).ok_or_else(|| refused("sourceQueueArns are texts."))
        }
        (Some("byQueue"), _) => Err(refused("sourceQueueArns must have 1 to 10 ARNs.")),
        (Some("allowAll" | "denyAll"), Some(_)) => {
            Err(refused("sourceQueueArns is only allowed with byQueue."))
        }
        _ => Err(refused("redrivePermission must be allowAll, denyAll or byQueue.")),
    }
}

/// The dead-letter queue must be there, of the same kind, and willing.
fn check_redrive(cloud: &Cloud, name: &str, all: &BTreeMap<String, String>) -> ApiResult<()> {
    let Some(text) = all.get("RedrivePolicy") else { return Ok(()) };
    let refused = |why: String| {
        invalid(format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {why}"))
    };
    let redrive = redrive(text)?;
    let target = name_in(cloud, &redrive.target);
    let target =
        target.ok_or_else(|| refused("Invalid value for deadLetterTargetArn.".to_owned()))?;
    // A queue may be the dead-letter queue of itself before it is there.
    let queue = cloud.services.sqs.queues.get(target);
    let queue = match queue {
        Some(queue) => queue,
        None if target == name => return Ok(()),
        None => return Err(refused(format!("Dead letter target does not exist. ({target})"))),
    };
    if target.ends_with(".fifo") != name.ends_with(".fifo") {
        let why = "Dead-letter queue must be same type of queue as the source.";
        return Err(refused(why.to_owned()));
    }
    let own = super::arn(cloud, name);
    let admitted = match queue.attributes.get("RedriveAllowPolicy").map(|text| allow(text)) {
        None | Some(Ok(Allow::All) | Err(_)) => true,
        Some(Ok(Allow::Nobody)) => false,
        Some(Ok(Allow::Only(sources))) => sources.contains(&own),
    };
    if admitted {
        return Ok(());
    }
    Err(refused(format!("Dead-letter queue {} does not allow this queue.", redrive.target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redrive_policies_have_two_members() {
        let good = r#"{"deadLetterTargetArn":"arn:aws:sqs:us-east-1:0:d","maxReceiveCount":"3"}"#;
        assert_eq!(redrive(good).map(|r| r.receives_max), Ok(3));
        for wrong in [
            "x",
            "[]",
            r#"{"deadLetterTargetArn":"a"}"#,
            r#"{"maxReceiveCount":1}"#,
            r#"{"deadLetterTargetArn":"a","maxReceiveCount":0}"#,
            r#"{"deadLetterTargetArn":"a","maxReceiveCount":1001}"#,
            r#"{"deadLetterTargetArn":"a","maxReceiveCount":1,"other":1}"#,
        ] {
            assert_eq!(redrive(wrong).map_err(|e| e.code), Err("InvalidParameterValue".into()));
        }
    }

    #[test]
    fn who_may_redrive_is_all_nobody_or_a_list() {
        assert_eq!(allow(r#"{"redrivePermission":"denyAll"}"#), Ok(Allow::Nobody));
        let some = r#"{"redrivePermission":"byQueue","sourceQueueArns":["a"]}"#;
        assert_eq!(allow(some), Ok(Allow::Only(vec!["a".to_owned()])));
        for wrong in [
            "{}",
            r#"{"redrivePermission":"byQueue"}"#,
            r#"{"redrivePermission":"byQueue","sourceQueueArns":[]}"#,
            r#"{"redrivePermission":"allowAll","sourceQueueArns":["a"]}"#,
            r#"{"redrivePermission":"other"}"#,
        ] {
            assert!(allow(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_have_defaults() {
        let settings = Settings::of(&BTreeMap::new());
        assert_eq!(settings.visibility, SignedDuration::from_secs(30));
        assert_eq!(settings.retention, SignedDuration::from_secs(345_600));
        assert_eq!((settings.fifo, settings.bytes_max), (false, MESSAGE_BYTES_MAX));
    }
}
