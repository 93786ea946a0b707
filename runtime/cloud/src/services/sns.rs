//! SNS: topics whose messages go to mailboxes, queues and functions.
//!
//! A mail becomes a file in `outbox/`, as a mail server would have received it; subscriptions of
//! mailboxes count as confirmed, because the mailbox is this cloud's own. What goes to queues and
//! functions is in the store before its sending is answered, and is tried again until it arrives or
//! is refused; then it goes to the dead-letter queue of the subscription, if that has one.
//!
//! Differences from AWS: notifications carry no signature and no address to unsubscribe at; a topic
//! without a policy shows none, and only policies of roles decide about it; filter policies count
//! at once. Refused by name are FIFO topics, encryption with keys of KMS, data protection, delivery
//! policies, and the protocols `http`, `https`, `email-json`, `sms`, `application` and `firehose`.

mod filter;
mod mail;
mod notice;
mod publish;
mod resources;
mod subscriptions;
mod topics;

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kernel::bus::Takes;
use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::delivery::Delivery;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::outbox::Outbox;
use crate::kernel::pages::Pages;
use crate::kernel::service::{Service, Tagged, Tagging};
use crate::kernel::store::Table;
use crate::{model, op};

pub use self::mail::check_email;
pub use self::publish::deliver;
pub use self::topics::check_display_name;

/// What SNS has.
#[derive(Debug)]
pub struct State {
    /// Topics by ARN.
    pub topics: Table<Topic>,
    /// What is on its way to queues and functions.
    pub deliveries: Outbox<Delivery>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        let deliveries = Outbox::open(opening, "sns_deliveries");
        Ok(Self { topics: opening.table("topics"), deliveries })
    }
}

/// A topic.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Topic {
    /// Name that emails come from.
    pub display_name: String,
    /// Subscribers.
    pub subscriptions: Vec<Subscription>,
    /// Who may do what with it.
    #[serde(default)]
    pub policy: Option<Value>,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// A subscriber.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its ARN.
    pub arn: String,
    /// `email`, `sqs` or `lambda`.
    #[serde(default = "email")]
    pub protocol: String,
    /// Its address: of a mailbox, or an ARN.
    #[serde(alias = "email")]
    pub endpoint: String,
    /// `FilterPolicy`, `FilterPolicyScope`, `RawMessageDelivery`, `RedrivePolicy`.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

fn email() -> String {
    "email".to_owned()
}

impl Subscription {
    /// Of a mailbox.
    pub fn of_email(arn: String, address: &str) -> Self {
        let endpoint = address.to_owned();
        Self { arn, protocol: email(), endpoint, attributes: BTreeMap::new() }
    }
}

/// How topics carry tags.
const TAGGED: Tagged = Tagged {
    all: |cloud| {
        let all = cloud.services.sns.topics.all().into_iter();
        all.map(|(arn, one)| (arn, one.tags.clone())).collect()
    },
    change: Tagging::ByArn("ResourceArn", ["Key", "Value"]),
};

/// API of SNS.
pub static SERVICE: Service = Service {
    invalid: "InvalidParameter",
    takes: Some(Takes(|cloud, message| Box::pin(publish::take(cloud, message)))),
    policy: |cloud, arn| cloud.services.sns.topics.get(arn)?.policy.clone(),
    types: resources::TYPES,
    data: &["Publish", "PublishBatch"],
    tagged: Some(TAGGED),
    ..Service::new(
        "sns",
        model!("sns"),
        &[
            op!(CreateTopic(Name, Attributes, Tags) => topics::create),
            op!(DeleteTopic(TopicArn) => topics::delete),
            op!(ListTopics(NextToken) => topics::list),
            op!(GetTopicAttributes(TopicArn) => topics::attributes),
            op!(SetTopicAttributes(TopicArn, AttributeName, AttributeValue) => topics::set),
            op!(AddPermission(TopicArn, Label, AWSAccountId, ActionName) => topics::permit),
            op!(RemovePermission(TopicArn, Label) => topics::forbid),
            op!(TagResource(ResourceArn, Tags) => topics::tag),
            op!(UntagResource(ResourceArn, TagKeys) => topics::untag),
            op!(ListTagsForResource(ResourceArn) => topics::tags),
            op!(Subscribe(TopicArn, Protocol, Endpoint, Attributes, ReturnSubscriptionArn)
                => subscriptions::subscribe),
            op!(Unsubscribe(SubscriptionArn) => subscriptions::unsubscribe),
            op!(ListSubscriptions(NextToken) => subscriptions::list),
            op!(ListSubscriptionsByTopic(TopicArn, NextToken) => subscriptions::list_by_topic),
            op!(GetSubscriptionAttributes(SubscriptionArn) => subscriptions::attributes),
            op!(SetSubscriptionAttributes(SubscriptionArn, AttributeName, AttributeValue)
                => subscriptions::set),
            op!(Publish(TopicArn, TargetArn, Message, Subject, MessageStructure, MessageAttributes)
                => publish::publish),
            op!(PublishBatch(TopicArn, PublishBatchRequestEntries) => publish::batch),
        ],
    )
};

/// A page of 100, as SNS has them.
fn listed(name: &str, items: Vec<Value>, params: &Value) -> ApiResult {
    const PAGES: Pages = Pages::of("", "NextToken", 100).refusing("InvalidParameter");
    PAGES.answer(params, name, items)
}

fn not_found() -> ApiError {
    ApiError::new("NotFound", "Topic does not exist").with_status(404)
}

fn invalid(words: impl std::fmt::Display) -> ApiError {
    ApiError::new("InvalidParameter", format!("Invalid parameter: {words}"))
}

/// An attribute that AWS has and this cloud does not act on.
fn not_implemented(member: &str, operation: &str) -> ApiError {
    ApiError::unknown_parameter(member, &format!("sns:{operation}"))
}

/// Goes on with deliveries of an earlier process, and does those to come.
pub async fn run_deliveries(cloud: std::sync::Arc<Cloud>) {
    crate::kernel::outbox::run(
        cloud,
        |cloud| &cloud.services.sns.deliveries,
        crate::kernel::delivery::attempt,
    )
    .await;
}

/// Texts by name of a map in an input.
fn texts(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// A topic as lists show it.
fn topic_of(arn: &str) -> Value {
    json!({ "TopicArn": arn })
}
