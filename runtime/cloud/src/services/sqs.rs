//! SQS: standard and FIFO queues.
//!
//! A message is on the disk before its sending is answered, and so is who received it how often.
//! Delays, visibility, retention, long polling and the five minutes of deduplication go by the
//! cloud's clock. Policies of queues are evaluated.
//!
//! Differences from AWS: a short poll sees all messages, and a standard queue gives them in their
//! order; numbers of messages are exact; changes of attributes and policies count at once; nothing
//! is throttled, so `FifoThroughputLimit` only says what may be combined with it; message groups of
//! standard queues are kept and shown, but no group is preferred; encryption with keys of SQS is
//! what protects the state folder, and keys of KMS are refused by name, as are receive request
//! attempt IDs and the query protocol that SQS spoke before.

mod attributes;
mod batches;
mod content;
mod messages;
mod moves;
mod permissions;
mod queues;
mod resources;
mod rows;
mod shelf;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kernel::bus::Takes;
use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::{Call, Service, Tagged, Tagging};
use crate::kernel::store::{NotStored, Table};
use crate::{model, op};

use self::attributes::Settings;
use self::rows::Row;
use self::shelf::Shelf;

pub use self::moves::resume;

/// What SQS has.
#[derive(Debug)]
pub struct State {
    /// Queues by name.
    pub queues: Table<Queue>,
    /// When queues were deleted, by name.
    deleted: Table<Timestamp>,
    /// Messages, who received them, and what was sent before, by queue.
    rows: Table<Row>,
    /// Tasks that move messages, by handle.
    moves: Table<moves::Move>,
    /// What is known in memory of the messages of a queue, by its ID.
    shelves: Mutex<HashMap<String, Arc<Shelf>>>,
}

/// A queue.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Queue {
    /// Tells it from earlier queues of its name.
    id: String,
    created: Timestamp,
    modified: Timestamp,
    /// When it was emptied last.
    #[serde(default)]
    purged: Option<Timestamp>,
    /// Attributes that were given, as they were given.
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

impl Queue {
    fn settings(&self) -> Settings {
        Settings::of(&self.attributes)
    }
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        let state = Self {
            queues: opening.table("sqs_queues"),
            deleted: opening.table("sqs_deleted"),
            rows: opening.table("sqs_messages"),
            moves: opening.table("sqs_moves"),
            shelves: Mutex::default(),
        };
        state.forget_deleted()?;
        Ok(state)
    }

    /// Deletes what a crash left of queues that are not there any more.
    fn forget_deleted(&self) -> Result<(), NotStored> {
        let kept: Vec<String> = self.queues.all().into_iter().map(|(_, q)| q.id.clone()).collect();
        let names = self.rows.names("");
        let of_none =
            |name: &&String| !kept.iter().any(|id| name.split('/').next() == Some(id.as_str()));
        let lost: Vec<&str> = names.iter().filter(of_none).map(String::as_str).collect();
        if lost.is_empty() { Ok(()) } else { self.rows.put_all([], lost) }
    }

    /// The messages of a queue.
    fn shelf(&self, queue: &Queue) -> Arc<Shelf> {
        let mut shelves = self.shelves.lock();
        let shelf = shelves.entry(queue.id.clone());
        shelf.or_insert_with(|| Arc::new(Shelf::open(&queue.id, &self.rows))).clone()
    }
}

/// How queues carry tags.
const TAGGED: Tagged = Tagged {
    all: |cloud| {
        let all = cloud.services.sqs.queues.all().into_iter();
        all.map(|(name, one)| (arn(cloud, &name), one.tags.clone())).collect()
    },
    change: Tagging::By {
        tag: |cloud, arn, tags| {
            let url = url(cloud, name_in(cloud, arn).unwrap_or_default());
            ("TagQueue", json!({ "QueueUrl": url, "Tags": tags }))
        },
        untag: |cloud, arn, keys| {
            let url = url(cloud, name_in(cloud, arn).unwrap_or_default());
            ("UntagQueue", json!({ "QueueUrl": url, "TagKeys": keys }))
        },
    },
};

/// API of SQS.
pub static SERVICE: Service = Service {
    invalid: "InvalidParameterValue",
    takes: Some(Takes(|cloud, message| Box::pin(messages::take(cloud, message)))),
    policy: permissions::policy_of,
    types: resources::TYPES,
    query_codes: QUERY_CODES,
    data: &[
        "ChangeMessageVisibility",
        "ChangeMessageVisibilityBatch",
        "DeleteMessage",
        "DeleteMessageBatch",
        "ReceiveMessage",
        "SendMessage",
        "SendMessageBatch",
    ],
    tagged: Some(TAGGED),
    ..Service::new(
        "sqs",
        model!("sqs"),
        &[
            op!(CreateQueue(QueueName, Attributes, tags) => queues::create),
            op!(DeleteQueue(QueueUrl) => queues::delete),
            op!(PurgeQueue(QueueUrl) => queues::purge),
            op!(GetQueueUrl(QueueName, QueueOwnerAWSAccountId) => queues::url_of),
            op!(ListQueues(QueueNamePrefix, NextToken, MaxResults) => queues::list),
            op!(GetQueueAttributes(QueueUrl, AttributeNames) => queues::attributes),
            op!(SetQueueAttributes(QueueUrl, Attributes) => queues::set_attributes),
            op!(ListDeadLetterSourceQueues(QueueUrl, NextToken, MaxResults) => queues::sources),
            op!(TagQueue(QueueUrl, Tags) => queues::tag),
            op!(UntagQueue(QueueUrl, TagKeys) => queues::untag),
            op!(ListQueueTags(QueueUrl) => queues::tags),
            op!(AddPermission(QueueUrl, Label, AWSAccountIds, Actions) => permissions::add),
            op!(RemovePermission(QueueUrl, Label) => permissions::remove),
            op!(SendMessage(QueueUrl, MessageBody, DelaySeconds, MessageAttributes,
                MessageSystemAttributes, MessageDeduplicationId, MessageGroupId)
                => messages::send),
            op!(SendMessageBatch(QueueUrl, Entries) => batches::send),
            op!(ReceiveMessage(QueueUrl, AttributeNames, MessageSystemAttributeNames,
                MessageAttributeNames, MaxNumberOfMessages, VisibilityTimeout, WaitTimeSeconds)
                => async messages::receive),
            op!(DeleteMessage(QueueUrl, ReceiptHandle) => messages::delete),
            op!(DeleteMessageBatch(QueueUrl, Entries) => batches::delete),
            op!(ChangeMessageVisibility(QueueUrl, ReceiptHandle, VisibilityTimeout)
                => messages::change_visibility),
            op!(ChangeMessageVisibilityBatch(QueueUrl, Entries) => batches::change_visibility),
            op!(StartMessageMoveTask(SourceArn, DestinationArn, MaxNumberOfMessagesPerSecond)
                => moves::start),
            op!(ListMessageMoveTasks(SourceArn, MaxResults) => moves::list),
            op!(CancelMessageMoveTask(TaskHandle) => moves::cancel),
        ],
    )
};

/// What the query protocol called errors.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_Operations.html>
const QUERY_CODES: &[(&str, &str)] = &[
    ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"),
    ("QueueNameExists", "QueueAlreadyExists"),
    ("QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently"),
    ("PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress"),
    ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight"),
    ("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation"),
    ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest"),
    ("TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
    ("BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
    ("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong"),
    ("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId"),
    ("AccessDeniedException", "AccessDenied"),
];

/// The ARN of the queue of that name.
pub fn arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.arn("sqs", name)
}

/// The URL of the queue of that name.
pub fn url(cloud: &Cloud, name: &str) -> String {
    format!("{}/{}/{name}", cloud.config.endpoint(), cloud.config.account)
}

/// The name in the ARN of a queue of this account and region.
pub fn name_in<'a>(cloud: &Cloud, arn: &'a str) -> Option<&'a str> {
    arn.strip_prefix(&*cloud.config.arn("sqs", "")).filter(|name| !name.is_empty())
}

/// Seconds that a receiver has a message of a queue for.
pub fn visibility_secs(cloud: &Cloud, name: &str) -> Option<u64> {
    let queue = cloud.services.sqs.queues.get(name)?;
    u64::try_from(queue.settings().visibility.as_secs()).ok()
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterValue", message)
}

fn missing(parameter: &str) -> ApiError {
    let message = format!("The request must contain the parameter {parameter}.");
    ApiError::new("MissingParameter", message)
}

fn no_queue() -> ApiError {
    ApiError::new("QueueDoesNotExist", "The specified queue does not exist.")
}

/// A queue that a call names.
struct Named<'a> {
    name: &'a str,
    queue: Arc<Queue>,
}

/// The name in the URL of a queue.
fn name_of<'a>(cloud: &Cloud, url: &'a str) -> ApiResult<&'a str> {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    let mut parts = path.rsplit('/');
    let (name, account) = (parts.next().unwrap_or_default(), parts.next());
    match account {
        Some(account) if account == cloud.config.account && !name.is_empty() => Ok(name),
        Some(account) if account.len() == 12 && !name.is_empty() => Err(no_queue()),
        _ => {
            let message = format!("The address {url} is not valid for this endpoint.");
            Err(ApiError::new("InvalidAddress", message))
        }
    }
}

/// The queue of a call, when its caller may do `action` with it. Batches need the permission of
/// what they are made of.
fn named<'a>(call: &Call<'a>, action: &str) -> ApiResult<Named<'a>> {
    let url = call.text("QueueUrl").filter(|url| !url.is_empty());
    let name = name_of(call.cloud, url.ok_or_else(|| missing("QueueUrl"))?)?;
    let action = format!("sqs:{action}");
    call.cloud.authorize(call.caller, &action, &arn(call.cloud, name), &[])?;
    let queue = call.cloud.services.sqs.queues.get(name).ok_or_else(no_queue)?;
    Ok(Named { name, queue })
}

/// Texts by name of a map in an input.
fn texts(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}
