//! Publishing: a message goes to all subscribers whose filter lets it through.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::notice::{MESSAGE_BYTES_MAX, Notice};
use super::{Subscription, Topic, filter, invalid, mail, not_found, subscriptions};
use crate::kernel::bus;
use crate::kernel::cloud::Cloud;
use crate::kernel::delivery::{DeadLetter, Delivery, Retry};
use crate::kernel::durable::replace_file;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Entries of a batch.
const ENTRIES_MAX: usize = 10;
/// <https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html>: 23 days, 100,015
/// times.
const RETRY: Retry = Retry { age_secs_max: 23 * 24 * 60 * 60, attempts_max: 100_015 };

/// `Publish`.
pub fn publish(call: &Call<'_>) -> ApiResult {
    let arn = call.text("TopicArn").or_else(|| call.text("TargetArn"));
    let arn = arn
        .ok_or_else(|| invalid("TopicArn or TargetArn Reason: no value for required parameter"))?;
    call.authorize(arn)?;
    let notice = Notice::read(arn, call.params, call.cloud.clock.now())?;
    Ok(json!({ "MessageId": send(call.cloud, &notice)? }))
}

/// `PublishBatch`.
pub fn batch(call: &Call<'_>) -> ApiResult {
    let arn = call.required("TopicArn")?;
    call.cloud.authorize(call.caller, "sns:Publish", arn, &[])?;
    call.cloud.services.sns.topics.get(arn).ok_or_else(not_found)?;
    let entries = call.params["PublishBatchRequestEntries"].as_array();
    let entries = entries.map(Vec::as_slice).unwrap_or_default();
    check_entries(entries)?;
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        let notice = Notice::read(arn, entry, call.cloud.clock.now());
        match notice.and_then(|notice| send(call.cloud, &notice)) {
            Ok(id) => successful.push(json!({ "Id": entry["Id"], "MessageId": id })),
            Err(error) => failed.push(json!({
                "Id": entry["Id"], "Code": error.code, "Message": error.message,
                "SenderFault": error.status < 500,
            })),
        }
    }
    Ok(json!({ "Successful": successful, "Failed": failed }))
}

fn check_entries(entries: &[Value]) -> ApiResult<()> {
    if entries.is_empty() {
        let message = "The batch request doesn't contain any entries.";
        return Err(ApiError::new("EmptyBatchRequest", message));
    }
    if entries.len() > ENTRIES_MAX {
        let message = "The batch request contains more entries than permissible.";
        return Err(ApiError::new("TooManyEntriesInBatchRequest", message));
    }
    let mut seen = BTreeSet::new();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    for entry in entries {
        let id = entry["Id"].as_str().unwrap_or_default();
        if id.is_empty() || id.len() > 80 || !id.chars().all(plain) {
            let message =
                "The Id of a batch entry in a batch request doesn't abide by the specification.";
            return Err(ApiError::new("InvalidBatchEntryId", message));
        }
        if !seen.insert(id) {
            let message = "Two or more batch entries in the request have the same Id.";
            return Err(ApiError::new("BatchEntryIdsNotDistinct", message));
        }
    }
    let bytes: usize = entries.iter().filter_map(|e| e["Message"].as_str()).map(str::len).sum();
    if bytes > MESSAGE_BYTES_MAX {
        let message = "The length of all the batch messages put together is more than the limit.";
        return Err(ApiError::new("BatchRequestTooLong", message));
    }
    Ok(())
}

/// A message of another service.
pub async fn take(cloud: &Arc<Cloud>, message: &bus::Message) -> ApiResult {
    cloud.authorize(&message.caller, "sns:Publish", &message.target, &[])?;
    let mut params = message.parameters.clone();
    if params.is_null() {
        params = json!({});
    }
    params["Message"] = message.body.clone().into();
    let notice = Notice::read(&message.target, &params, cloud.clock.now())?;
    Ok(json!({ "MessageId": send(cloud, &notice)? }))
}

/// Delivers a message to all subscribers; returns its ID.
pub fn deliver(
    cloud: &Cloud,
    arn: &str,
    subject: Option<&str>,
    message: &str,
) -> ApiResult<String> {
    let params = json!({ "Message": message, "Subject": subject });
    send(cloud, &Notice::read(arn, &params, cloud.clock.now())?)
}

fn send(cloud: &Cloud, notice: &Notice<'_>) -> ApiResult<String> {
    let topic = cloud.services.sns.topics.get(notice.topic).ok_or_else(not_found)?;
    let wanted = topic.subscriptions.iter().filter(|s| admits(s, notice));
    let wanted: Vec<&Subscription> = wanted.collect();
    let (mailboxes, others): (Vec<_>, Vec<_>) = wanted.iter().partition(|s| s.protocol == "email");
    write_mails(cloud, &topic, &mailboxes, notice)?;
    let deliveries = others.into_iter().map(|subscription| delivery(subscription, notice));
    cloud.services.sns.deliveries.add(deliveries, cloud.clock.now())?;
    Ok(notice.id.clone())
}

fn admits(subscription: &Subscription, notice: &Notice<'_>) -> bool {
    let attribute = |name: &str| subscription.attributes.get(name).map(String::as_str);
    let of_body = attribute("FilterPolicyScope") == Some("MessageBody");
    let Some(policy) = attribute("FilterPolicy") else { return true };
    let text = notice.text(&subscription.protocol);
    filter::parse(policy, of_body)
        .is_ok_and(|policy| filter::lets_through(&policy, of_body, &notice.attributes, text))
}

fn write_mails(
    cloud: &Cloud,
    topic: &Topic,
    mailboxes: &[&&Subscription],
    notice: &Notice<'_>,
) -> ApiResult<()> {
    let outbox = cloud.path("outbox");
    std::fs::create_dir_all(&outbox).map_err(ApiError::internal)?;
    for (i, subscriber) in mailboxes.iter().enumerate() {
        let (now, id) = (notice.time, &notice.id);
        let subject = notice.subject.unwrap_or("AWS Notification Message");
        let (from, to) = (&topic.display_name, &subscriber.endpoint);
        let text = mail::mail(from, to, subject, now, id, notice.text("email"));
        let name = format!("{}-{id}-{i}.eml", now.strftime("%Y%m%dT%H%M%S%3f"));
        replace_file(&outbox.join(&name), text.as_bytes()).map_err(ApiError::internal)?;
    }
    Ok(())
}

fn delivery(subscription: &Subscription, notice: &Notice<'_>) -> Delivery {
    let attribute = |name: &str| subscription.attributes.get(name).map(String::as_str);
    let raw = attribute("RawMessageDelivery") == Some("true");
    let (body, parameters) = match subscription.protocol.as_str() {
        "lambda" => (notice.for_function(&subscription.arn), Value::Null),
        _ if raw => {
            let parameters = json!({ "MessageAttributes": notice.attributes });
            (notice.text("sqs").to_owned(), parameters)
        }
        _ => (notice.for_queue(), Value::Null),
    };
    let queue = attribute("RedrivePolicy").and_then(subscriptions::dead_letter_queue);
    let dead_letter = queue.map(|queue| DeadLetter {
        queue,
        by_role: false,
        attributes: Map::new(),
        names: ["ErrorCode", "ErrorMessage"].map(str::to_owned),
    });
    let topic = notice.topic.rsplit(':').next().unwrap_or_default();
    Delivery {
        service: "sns.amazonaws.com".to_owned(),
        source_arn: notice.topic.to_owned(),
        session: "sns".to_owned(),
        role: None,
        target: subscription.endpoint.clone(),
        body,
        parameters,
        retry: RETRY,
        dead_letter,
        failures: Some(
            ["AWS/SNS", "NumberOfNotificationsFailed", "TopicName", topic].map(str::to_owned),
        ),
    }
}
