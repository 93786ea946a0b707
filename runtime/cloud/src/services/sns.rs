//! SNS: topics with email subscribers. A message becomes a file in `outbox/`, as a mail server
//! would have received it. Subscriptions count as confirmed, because the mailbox is this cloud's
//! own.
//!
//! What a message says is somebody else's text: headers cannot be added by it, and characters that
//! control a terminal or turn the direction of writing are shown as `\u{…}`.

mod resources;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kernel::cloud::Cloud;
use crate::kernel::cloud::Opening;
use crate::kernel::durable::replace_file;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::{Call, Service};
use crate::kernel::store::Table;
use crate::{model, op};
use anyhow::Result;

/// What SNS has.
#[derive(Debug)]
pub struct State {
    /// Topics by ARN.
    pub topics: Table<Topic>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self { topics: opening.table("topics") })
    }
}

/// Bytes of a message.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// A topic.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Topic {
    /// Name that emails come from.
    pub display_name: String,
    /// Subscribers.
    pub subscriptions: Vec<Subscription>,
}

/// A subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its ARN.
    pub arn: String,
    /// Its email address.
    pub email: String,
}

/// API of SNS.
pub static SERVICE: Service = Service {
    invalid: "InvalidParameter",
    types: resources::TYPES,
    ..Service::new(
        "sns",
        model!("sns"),
        &[
            op!(Publish(TopicArn, Message, Subject) => publish),
            op!(ListTopics(NextToken) => list_topics),
            op!(ListSubscriptionsByTopic(TopicArn, NextToken) => list_subscriptions),
        ],
    )
};

fn list_topics(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let topics = call.cloud.services.sns.topics.all();
    let topics = topics.iter().map(|(arn, _)| json!({ "TopicArn": arn })).collect();
    listed("Topics", topics, call.params)
}

fn list_subscriptions(call: &Call<'_>) -> ApiResult {
    let arn = call.required("TopicArn")?;
    call.authorize(arn)?;
    let topic = call.cloud.services.sns.topics.get(arn).ok_or_else(not_found)?;
    let describe = |s: &Subscription| {
        json!({
            "SubscriptionArn": s.arn, "Owner": call.cloud.config.account, "Protocol": "email",
            "Endpoint": s.email, "TopicArn": arn,
        })
    };
    listed("Subscriptions", topic.subscriptions.iter().map(describe).collect(), call.params)
}

/// A page of 100, as SNS has them.
fn listed(name: &str, items: Vec<Value>, params: &Value) -> ApiResult {
    const PAGES: Pages = Pages::of("", "NextToken", 100).refusing("InvalidParameter");
    PAGES.answer(params, name, items)
}

/// Whether something may be the endpoint of an email subscription.
pub fn check_email(address: &str) -> Result<(), String> {
    let plain = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_graphic() && !"\"(),:;<>@[\\]".contains(c))
    };
    match address.split_once('@') {
        Some((user, host)) if plain(user) && plain(host) && address.len() <= 254 => Ok(()),
        _ => Err("Invalid parameter: Email address".to_owned()),
    }
}

/// Whether something may be a topic's display name.
pub fn check_display_name(name: &str) -> Result<(), String> {
    if name.chars().count() <= 100 && !name.contains(char::is_control) {
        return Ok(());
    }
    Err("Invalid parameter: DisplayName".to_owned())
}

/// <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>: ASCII that begins with a letter,
/// a number or a punctuation mark, without line breaks and control characters, below 100
/// characters.
fn check_subject(subject: &str) -> ApiResult<()> {
    let begins = subject.starts_with(|c: char| c.is_ascii_graphic());
    let plain = subject.chars().all(|c| c.is_ascii() && !c.is_ascii_control());
    if begins && plain && subject.len() <= 100 {
        return Ok(());
    }
    Err(ApiError::new("InvalidParameter", "Invalid parameter: Subject"))
}

fn not_found() -> ApiError {
    ApiError::new("NotFound", "Topic does not exist").with_status(404)
}

fn publish(call: &Call<'_>) -> ApiResult {
    let (arn, message) = (call.required("TopicArn")?, call.required("Message")?);
    let subject = call.text("Subject");
    call.authorize(arn)?;
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ApiError::new("InvalidParameter", "Invalid parameter: Message too long"));
    }
    subject.map_or(Ok(()), check_subject)?;
    Ok(json!({ "MessageId": deliver(call.cloud, arn, subject, message)? }))
}

/// Delivers a message to all subscribers; returns its ID.
pub fn deliver(
    cloud: &Cloud,
    arn: &str,
    subject: Option<&str>,
    message: &str,
) -> ApiResult<String> {
    let topic = cloud.services.sns.topics.get(arn).ok_or_else(not_found)?;
    let id = uuid::Uuid::new_v4().to_string();
    let outbox = cloud.path("outbox");
    std::fs::create_dir_all(&outbox).map_err(ApiError::internal)?;
    for (i, subscriber) in topic.subscriptions.iter().enumerate() {
        let now = Timestamp::now();
        let subject = subject.unwrap_or("AWS Notification Message");
        let text = mail(&topic.display_name, &subscriber.email, subject, now, &id, message);
        let name = format!("{}-{id}-{i}.eml", now.strftime("%Y%m%dT%H%M%S%3f"));
        replace_file(&outbox.join(&name), text.as_bytes()).map_err(ApiError::internal)?;
    }
    Ok(id)
}

fn mail(from: &str, to: &str, subject: &str, now: Timestamp, id: &str, message: &str) -> String {
    let line = |text: &str| printable(text, "");
    let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let body = printable(message, "\n\t").replace('\n', "\r\n");
    format!(
        "From: {} <no-reply@sns.amazonaws.com>\r\nTo: {}\r\nSubject: {}\r\nDate: {date}\r\n\
         Message-ID: <{id}@sns.amazonaws.com>\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         {body}\r\n",
        line(from),
        line(to),
        line(subject),
    )
}

/// Shows what would control a terminal or a mail program, or turn the direction of writing.
fn printable(text: &str, kept: &str) -> String {
    let turns = |c: char| {
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
    };
    let show = |c: char| {
        if (c.is_control() || turns(c)) && !kept.contains(c) {
            c.escape_unicode().to_string()
        } else {
            c.to_string()
        }
    };
    text.replace("\r\n", "\n").chars().map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mail_has_no_headers_that_a_text_brought_along() {
        let name = "Steppe\r\nBcc: thief@example.org";
        let body = "A\nB\u{1b}]0;title\u{7}\u{202e}C";
        let mail = mail(name, "a@b.c", "Ready\r\nX: 1", Timestamp::UNIX_EPOCH, "id", body);
        let (head, body) = mail.split_once("\r\n\r\n").expect("a head and a body");
        let names: Vec<&str> = head.lines().filter_map(|l| Some(l.split_once(':')?.0)).collect();
        assert_eq!(names, ["From", "To", "Subject", "Date", "Message-ID", "Content-Type"]);
        assert_eq!(body, "A\r\nB\\u{1b}]0;title\\u{7}\\u{202e}C\r\n");
    }

    #[test]
    fn addresses_names_and_subjects_are_checked() {
        assert!(check_email("team+forecasts@example.org").is_ok());
        for address in ["", "a", "@b", "a@", "a@b\r\nBcc: c@d", "a b@c", "a@b,c@d", "<a@b>"] {
            assert!(check_email(address).is_err(), "{address}");
        }
        assert!(check_display_name("Прогнозы").is_ok());
        assert!(check_display_name("a\nb").is_err());
        assert!(check_subject("Forecasts are ready").is_ok());
        for subject in ["", " a", "a\nb", "прогноз", &"s".repeat(101)] {
            assert!(check_subject(subject).is_err(), "{subject}");
        }
    }
}
