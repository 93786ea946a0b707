//! Subscriptions: who gets the messages of a topic, which of them and in which form.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Subscription, Topic, check_email, filter, invalid, listed, not_found, not_implemented, texts,
    topics,
};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Attributes that AWS has and this cloud refuses.
const REFUSED: &[&str] = &["DeliveryPolicy", "ReplayPolicy", "ReplayStatus", "SubscriptionRoleArn"];

fn no_subscription() -> ApiError {
    ApiError::new("NotFound", "Subscription does not exist").with_status(404)
}

fn check_endpoint(protocol: &str, endpoint: &str) -> ApiResult<()> {
    let parts: Vec<&str> = endpoint.splitn(6, ':').collect();
    let is_arn_of = |service: &str| match parts.as_slice() {
        ["arn", _, of, _, _, rest] => *of == service && !rest.is_empty(),
        _ => false,
    };
    match protocol {
        "email" => check_email(endpoint).map_err(|words| ApiError::new("InvalidParameter", words)),
        "sqs" if is_arn_of("sqs") && endpoint.ends_with(".fifo") => Err(invalid(
            "Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics",
        )),
        "sqs" if is_arn_of("sqs") => Ok(()),
        "sqs" => Err(invalid("SQS endpoint ARN")),
        "lambda" if is_arn_of("lambda") => Ok(()),
        "lambda" => Err(invalid("Lambda endpoint ARN")),
        "http" | "https" | "email-json" | "sms" | "application" | "firehose" => {
            let message = format!(
                "The embedded cloud does not implement the protocol {protocol} of sns:Subscribe."
            );
            Err(ApiError::new("NotImplemented", message).with_status(501))
        }
        _ => Err(invalid(format!("Amazon SNS does not support this protocol string: {protocol}"))),
    }
}

/// Checks an attribute together with those that are there.
fn change(
    call: &Call<'_>,
    all: &mut BTreeMap<String, String>,
    name: &str,
    value: &str,
) -> ApiResult<()> {
    match name {
        "RawMessageDelivery" if ["true", "false"].contains(&value) => {}
        "RawMessageDelivery" => {
            return Err(invalid("RawMessageDelivery: Invalid value. Must be true or false."));
        }
        "FilterPolicyScope" if ["MessageAttributes", "MessageBody"].contains(&value) => {}
        "FilterPolicyScope" => {
            return Err(invalid(format!(
                "FilterPolicyScope: Invalid value [{value}]. Please use either MessageBody or \
                 MessageAttributes"
            )));
        }
        "FilterPolicy" if value.is_empty() || value == "{}" => {
            all.remove(name);
            return Ok(());
        }
        "FilterPolicy" => {}
        "RedrivePolicy" if value.is_empty() => {
            all.remove(name);
            return Ok(());
        }
        "RedrivePolicy" => {
            let target = dead_letter_queue(value);
            let known = target
                .is_some_and(|arn| arn.split(':').nth(2) == Some("sqs") && !arn.ends_with(".fifo"));
            if !known {
                return Err(invalid("RedrivePolicy: deadLetterTargetArn is an invalid arn"));
            }
        }
        name if REFUSED.contains(&name) => {
            return Err(not_implemented(&format!("Attributes.{name}"), call.operation));
        }
        _ => return Err(invalid("AttributeName")),
    }
    all.insert(name.to_owned(), value.to_owned());
    Ok(())
}

fn check_filter(all: &BTreeMap<String, String>) -> ApiResult<()> {
    let Some(policy) = all.get("FilterPolicy") else { return Ok(()) };
    let of_body = all.get("FilterPolicyScope").is_some_and(|scope| scope == "MessageBody");
    filter::parse(policy, of_body).map(drop).map_err(|why| invalid(format!("FilterPolicy: {why}")))
}

/// The queue in a subscription's `RedrivePolicy`.
pub fn dead_letter_queue(policy: &str) -> Option<String> {
    let policy: Value = serde_json::from_str(policy).ok()?;
    policy["deadLetterTargetArn"].as_str().map(str::to_owned)
}

/// `Subscribe`. Who is subscribed already, with the same attributes, stays it.
pub fn subscribe(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let (arn, protocol) = (call.required("TopicArn")?, call.required("Protocol")?);
    let endpoint = call.text("Endpoint").unwrap_or_default();
    let conditions = [("sns:Protocol", protocol.to_owned()), ("sns:Endpoint", endpoint.to_owned())];
    cloud.authorize(call.caller, "sns:Subscribe", arn, &conditions)?;
    cloud.services.sns.topics.get(arn).ok_or_else(not_found)?;
    check_endpoint(protocol, endpoint)?;
    let mut attributes = BTreeMap::new();
    for (name, value) in texts(&call.params["Attributes"]) {
        change(call, &mut attributes, &name, &value)?;
    }
    check_filter(&attributes)?;
    let new = Subscription {
        arn: format!("{arn}:{}", uuid::Uuid::new_v4()),
        protocol: protocol.to_owned(),
        endpoint: endpoint.to_owned(),
        attributes,
    };
    let added = cloud.services.sns.topics.update(arn, |topic| add(topic, new))?;
    Ok(json!({ "SubscriptionArn": added.ok_or_else(not_found)?? }))
}

fn add(topic: &mut Topic, new: Subscription) -> ApiResult<String> {
    let same = |s: &&Subscription| s.protocol == new.protocol && s.endpoint == new.endpoint;
    match topic.subscriptions.iter().find(same) {
        Some(there) if there.attributes == new.attributes || new.attributes.is_empty() => {
            Ok(there.arn.clone())
        }
        Some(_) => {
            Err(invalid("Attributes Reason: Subscription already exists with different attributes"))
        }
        None => {
            topic.subscriptions.push(new);
            Ok(topic.subscriptions[topic.subscriptions.len() - 1].arn.clone())
        }
    }
}

/// The ARN of a subscription's topic.
fn topic_of(arn: &str) -> ApiResult<&str> {
    let parts = arn.rsplit_once(':').filter(|(topic, _)| topic.split(':').count() == 6);
    parts
        .map(|(topic, _)| topic)
        .ok_or_else(|| invalid("SubscriptionArn Reason: An ARN must have at least 6 elements"))
}

/// `Unsubscribe`: a subscription that is not there is deleted.
pub fn unsubscribe(call: &Call<'_>) -> ApiResult {
    let arn = call.required("SubscriptionArn")?;
    call.authorize("*")?;
    let topic = topic_of(arn)?;
    let topics = &call.cloud.services.sns.topics;
    topics.update(topic, |topic| topic.subscriptions.retain(|s| s.arn != arn))?;
    Ok(json!({}))
}

fn shown(call: &Call<'_>, topic: &str, subscription: &Subscription) -> Value {
    json!({
        "SubscriptionArn": subscription.arn, "Owner": call.cloud.config.account,
        "Protocol": subscription.protocol, "Endpoint": subscription.endpoint, "TopicArn": topic,
    })
}

/// `ListSubscriptions`.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let topics = call.cloud.services.sns.topics.all();
    let all = topics.iter().flat_map(|(arn, topic)| {
        topic.subscriptions.iter().map(|subscription| shown(call, arn, subscription))
    });
    listed("Subscriptions", all.collect(), call.params)
}

/// `ListSubscriptionsByTopic`.
pub fn list_by_topic(call: &Call<'_>) -> ApiResult {
    let (arn, topic) = topics::named(call, "TopicArn")?;
    let all = topic.subscriptions.iter().map(|subscription| shown(call, arn, subscription));
    listed("Subscriptions", all.collect(), call.params)
}

fn named<'a>(call: &Call<'a>) -> ApiResult<(&'a str, &'a str, Arc<Topic>)> {
    let arn = call.required("SubscriptionArn")?;
    call.authorize("*")?;
    let topic_arn = topic_of(arn)?;
    let topic = call.cloud.services.sns.topics.get(topic_arn).ok_or_else(no_subscription)?;
    Ok((arn, topic_arn, topic))
}

/// `GetSubscriptionAttributes`.
pub fn attributes(call: &Call<'_>) -> ApiResult {
    let (arn, topic_arn, topic) = named(call)?;
    let subscription = topic.subscriptions.iter().find(|s| s.arn == arn);
    let subscription = subscription.ok_or_else(no_subscription)?;
    let mut all = shown(call, topic_arn, subscription);
    let defaults = [
        ("ConfirmationWasAuthenticated", "true"),
        ("PendingConfirmation", "false"),
        ("RawMessageDelivery", "false"),
    ];
    for (name, value) in defaults {
        all[name] = value.into();
    }
    for (name, value) in &subscription.attributes {
        all[name] = value.clone().into();
    }
    if subscription.attributes.contains_key("FilterPolicy")
        && all.get("FilterPolicyScope").is_none()
    {
        all["FilterPolicyScope"] = "MessageAttributes".into();
    }
    Ok(json!({ "Attributes": all }))
}

/// `SetSubscriptionAttributes`.
pub fn set(call: &Call<'_>) -> ApiResult {
    let (arn, topic_arn, topic) = named(call)?;
    let subscription = topic.subscriptions.iter().find(|s| s.arn == arn);
    let mut all = subscription.ok_or_else(no_subscription)?.attributes.clone();
    let name = call.required("AttributeName")?;
    change(call, &mut all, name, call.text("AttributeValue").unwrap_or_default())?;
    check_filter(&all)?;
    call.cloud.services.sns.topics.update(topic_arn, |topic| {
        if let Some(own) = topic.subscriptions.iter_mut().find(|s| s.arn == arn) {
            own.attributes = all;
        }
    })?;
    Ok(json!({}))
}
