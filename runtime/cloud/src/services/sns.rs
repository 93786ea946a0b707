//! SNS: topics with email subscribers. A message becomes a file in `outbox/`, as a mail server would
//! have received it. Subscriptions count as confirmed, because the mailbox is this cloud's own.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;
use crate::services::required;

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
pub fn handle(cloud: &Cloud, caller: &Caller, operation: &str, params: &Value) -> ApiResult {
    match operation {
        "Publish" => publish(cloud, caller, params),
        "ListTopics" => {
            cloud.authorize(caller, "sns:ListTopics", &cloud.config.arn("sns", "*"), &[])?;
            let topics: Vec<Value> =
                cloud.topics.all().iter().map(|(arn, _)| json!({ "TopicArn": arn })).collect();
            Ok(json!({ "Topics": topics }))
        }
        "ListSubscriptionsByTopic" => {
            let arn = required(params, "TopicArn")?;
            cloud.authorize(caller, "sns:ListSubscriptionsByTopic", arn, &[])?;
            let topic = cloud.topics.get(arn).ok_or_else(not_found)?;
            let subscriptions: Vec<Value> = topic
                .subscriptions
                .iter()
                .map(|s| json!({ "SubscriptionArn": s.arn, "Owner": cloud.config.account, "Protocol": "email", "Endpoint": s.email, "TopicArn": arn }))
                .collect();
            Ok(json!({ "Subscriptions": subscriptions }))
        }
        other => Err(ApiError::unknown_operation("sns", other)),
    }
}

fn not_found() -> ApiError {
    ApiError::new("NotFound", "Topic does not exist").with_status(404)
}

/// `Publish`, from the API and from state machines.
pub fn publish(cloud: &Cloud, caller: &Caller, params: &Value) -> ApiResult {
    let arn = required(params, "TopicArn")?;
    let message = required(params, "Message")?;
    let subject = params["Subject"].as_str();
    cloud.authorize(caller, "sns:Publish", arn, &[])?;
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ApiError::new("InvalidParameter", "Invalid parameter: Message too long"));
    }
    if subject.is_some_and(|s| s.chars().count() > 100 || s.contains(char::is_control)) {
        return Err(ApiError::new("InvalidParameter", "Invalid parameter: Subject"));
    }
    Ok(json!({ "MessageId": deliver(cloud, arn, subject, message)? }))
}

/// Delivers a message to all subscribers; returns its ID.
pub fn deliver(
    cloud: &Cloud,
    arn: &str,
    subject: Option<&str>,
    message: &str,
) -> ApiResult<String> {
    let topic = cloud.topics.get(arn).ok_or_else(not_found)?;
    let id = uuid::Uuid::new_v4().to_string();
    let outbox = cloud.path("outbox");
    std::fs::create_dir_all(&outbox).map_err(ApiError::internal)?;
    for (i, subscriber) in topic.subscriptions.iter().enumerate() {
        let now = Timestamp::now();
        let mail = format!(
            "From: {} <no-reply@sns.amazonaws.com>\r\nTo: {}\r\nSubject: {}\r\nDate: {}\r\nMessage-ID: <{id}@sns.amazonaws.com>\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\r\n{}\r\n",
            topic.display_name,
            subscriber.email,
            subject.unwrap_or("AWS Notification Message"),
            now.strftime("%a, %d %b %Y %H:%M:%S +0000"),
            message.replace('\n', "\r\n"),
        );
        let name = format!("{}-{id}-{i}.eml", now.strftime("%Y%m%dT%H%M%S%3f"));
        let new = outbox.join(format!("{name}.new"));
        std::fs::write(&new, mail)
            .and_then(|()| std::fs::rename(&new, outbox.join(&name)))
            .map_err(ApiError::internal)?;
    }
    Ok(id)
}
