//! Queues as sources: messages are received with the rights of the function's role, handed over,
//! and deleted when they are done.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html>. What failed is received again when
//! its time is over, and goes to the queue's dead-letter queue when it was received too often.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, watch};

use super::filter::Filters;
use super::outcome::{self, Outcome};
use super::settings::Kind;
use super::{Mapping, payload};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::outbox;
use crate::kernel::service;
use crate::services::lambda::destinations::SERVICE;
use crate::services::lambda::function::invalid;
use crate::services::lambda::versions::resolve;
use crate::services::lambda::{Alias, PAYLOAD_BYTES_MAX};
use crate::services::sqs;

/// Batches at a time: those with which AWS begins, and at most.
const BATCHES: (u64, u64) = (5, 32);
/// Messages of one receipt or deletion.
const TOGETHER: usize = 10;
/// Seconds of one wait for messages.
const WAIT_SECS: u64 = 20;
/// Bytes of a record beside its message.
const RECORD_BYTES: usize = 1_024;
/// What a role must be allowed.
const NEEDED: [&str; 3] = ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"];

/// Refuses a role that may not read a queue.
pub fn check_access(cloud: &Arc<Cloud>, role: &str, queue: &str) -> ApiResult<()> {
    let denied = |action: &str| {
        invalid(format!(
            "The function execution role does not have permissions to call {action} on SQS"
        ))
    };
    let session = cloud.assume(role, SERVICE, "lambda").map_err(|_| denied(NEEDED[0]))?;
    for action in NEEDED {
        let allowed = cloud.authorize(&session, &format!("sqs:{action}"), queue, &[]);
        allowed.map_err(|_| denied(action))?;
    }
    Ok(())
}

/// Hands messages over until the mapping changes.
pub async fn run(
    cloud: &Arc<Cloud>,
    id: &str,
    mapping: &Arc<Mapping>,
    mut changes: watch::Receiver<u64>,
) {
    let wanted = mapping.settings.concurrency.unwrap_or(BATCHES.0).min(BATCHES.1);
    let room = Arc::new(Semaphore::new(wanted as usize));
    let filters = Filters::of(mapping.settings.filters.as_deref());
    let name = sqs::name_in(cloud, &mapping.source).unwrap_or_default();
    let url = sqs::url(cloud, name);
    let reader = Reader { cloud: cloud.clone(), mapping: mapping.clone(), filters, url };
    let reader = Arc::new(reader);
    let mut failures = 0;
    loop {
        let permit = tokio::select! {
            _ = changes.changed() => return,
            permit = room.clone().acquire_owned() => permit,
        };
        let Ok(permit) = permit else { return };
        match reader.gather(changes.clone()).await {
            Ok(batch) => {
                failures = 0;
                let reader = reader.clone();
                tokio::spawn(async move {
                    reader.process(batch).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("the mapping {id} cannot read {}: {error}", mapping.source);
                let pause = outbox::pause(failures);
                failures += 1;
                tokio::select! {
                    _ = changes.changed() => return,
                    () = cloud.clock.sleep(pause) => {}
                }
            }
        }
        if changes.has_changed().unwrap_or(true) {
            return;
        }
    }
}

struct Reader {
    cloud: Arc<Cloud>,
    mapping: Arc<Mapping>,
    filters: Filters,
    url: String,
}

/// Messages that were received, and until when this reader has them.
#[derive(Default)]
struct Batch {
    messages: Vec<Value>,
    until: Option<Timestamp>,
}

impl Reader {
    /// The role of the function as it is now.
    fn session(&self) -> ApiResult<Caller> {
        let target = resolve(&self.cloud, &self.mapping.reference(), Alias::main)?;
        let session = self.cloud.assume(&target.function.role, SERVICE, &target.name);
        session.map_err(|words| ApiError::new("AccessDeniedException", words))
    }

    async fn call(&self, operation: &str, mut params: Value) -> ApiResult {
        params["QueueUrl"] = self.url.clone().into();
        service::call(&self.cloud, &self.session()?, "sqs", operation, &params).await
    }

    async fn receive(&self, count: usize) -> ApiResult<Vec<Value>> {
        let params = json!({
            "MaxNumberOfMessages": count, "WaitTimeSeconds": WAIT_SECS,
            "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"],
        });
        let mut answer = self.call("ReceiveMessage", params).await?;
        Ok(answer["Messages"].as_array_mut().map(std::mem::take).unwrap_or_default())
    }

    /// Waits for messages, and for more of them as long as the mapping says.
    async fn gather(&self, mut changes: watch::Receiver<u64>) -> ApiResult<Batch> {
        let settings = &self.mapping.settings;
        let wanted = settings.batch as usize;
        let params = json!({ "AttributeNames": ["VisibilityTimeout"] });
        let attributes = self.call("GetQueueAttributes", params).await?;
        let visibility = attributes["Attributes"]["VisibilityTimeout"].as_str();
        let visibility = visibility.and_then(|secs| secs.parse().ok()).unwrap_or(0);
        let (mut batch, mut bytes, mut due) = (Batch::default(), 0, Timestamp::MAX);
        loop {
            let count = TOGETHER.min(wanted - batch.messages.len());
            // What has been received is not lost: a wait that is given up has received nothing.
            let received = tokio::select! {
                biased;
                received = self.receive(count) => received?,
                _ = changes.changed() => return Ok(batch),
                () = self.cloud.clock.sleep_until(due) => return Ok(batch),
            };
            let now = self.cloud.clock.now();
            if batch.messages.is_empty() && !received.is_empty() {
                due = now + SignedDuration::from_secs(settings.window_secs as i64);
                batch.until = Some(now + SignedDuration::from_secs(visibility));
            }
            bytes += received.iter().map(bytes_of).sum::<usize>();
            batch.messages.extend(received);
            if due <= now || batch.messages.len() >= wanted || bytes >= PAYLOAD_BYTES_MAX {
                return Ok(batch);
            }
        }
    }

    async fn process(&self, batch: Batch) {
        let Batch { messages, until } = batch;
        let until = until.unwrap_or(Timestamp::MIN);
        let takes = |message: &Value| {
            self.filters.take_all() || self.filters.take(self.record(message), Some("body"))
        };
        let (taken, others): (Vec<Value>, Vec<Value>) = messages.into_iter().partition(takes);
        self.delete(&others.iter().collect::<Vec<_>>()).await;
        let (mut part, mut bytes) = (Vec::new(), 0);
        for message in &taken {
            let more = bytes_of(message);
            if bytes + more > PAYLOAD_BYTES_MAX && !part.is_empty() {
                let done = self.hand_over(&std::mem::take(&mut part), until).await;
                bytes = 0;
                if !done && self.mapping.kind == Kind::Fifo {
                    // What comes after it in its group comes after it again.
                    return;
                }
            }
            part.push(message);
            bytes += more;
        }
        if !part.is_empty() {
            self.hand_over(&part, until).await;
        }
    }

    /// Invokes the function once; whether all messages are done.
    async fn hand_over(&self, messages: &[&Value], until: Timestamp) -> bool {
        let records: Vec<Value> = messages.iter().map(|message| self.record(message)).collect();
        let payload = payload(&records);
        let mut throttled = 0;
        let invoked = loop {
            let target = resolve(&self.cloud, &self.mapping.reference(), Alias::choose);
            let Ok(target) = target else { return false };
            let id = uuid::Uuid::new_v4().to_string();
            let invoked = super::super::run(&self.cloud, &target, payload.clone(), &id).await;
            match invoked {
                Ok(invoked) => break invoked,
                Err(error) if error.status == 429 && self.may_wait(throttled, until) => {
                    self.cloud.clock.sleep(outbox::pause(throttled)).await;
                    throttled += 1;
                }
                Err(error) => {
                    tracing::warn!("{} was not invoked: {error}", self.mapping.function);
                    return false;
                }
            }
        };
        let text = |message: &'_ Value| message["MessageId"].as_str().map(str::to_owned);
        let ids: Vec<String> = messages.iter().filter_map(|message| text(message)).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        match outcome::of(&invoked, &ids, self.mapping.settings.reports) {
            Outcome::Done => {
                self.delete(messages).await;
                true
            }
            Outcome::Failed => false,
            Outcome::Partly(failed) => {
                let all = messages.iter().enumerate();
                let done = all.filter(|(index, _)| !failed.contains(index));
                self.delete(&done.map(|(_, message)| *message).collect::<Vec<_>>()).await;
                false
            }
        }
    }

    /// Whether this reader still has its messages after the next pause.
    fn may_wait(&self, throttled: u64, until: Timestamp) -> bool {
        let pause = Duration::from_secs(1 << throttled.min(9));
        let pause = SignedDuration::try_from(pause).unwrap_or_default();
        self.cloud.clock.now() + pause < until
    }

    /// Deletes messages. What cannot be deleted is received again.
    async fn delete(&self, messages: &[&Value]) {
        for part in messages.chunks(TOGETHER) {
            let entries = part.iter().enumerate().map(|(index, message)| {
                json!({ "Id": index.to_string(), "ReceiptHandle": message["ReceiptHandle"] })
            });
            let entries: Vec<Value> = entries.collect();
            let deleted = self.call("DeleteMessageBatch", json!({ "Entries": entries })).await;
            if let Err(error) = deleted {
                tracing::warn!("messages of {} are not deleted: {error}", self.mapping.source);
            }
        }
    }

    /// A message as functions get it.
    fn record(&self, message: &Value) -> Value {
        let attributes = message["MessageAttributes"].as_object().into_iter().flatten();
        let attributes: Map<String, Value> =
            attributes.map(|(name, value)| (name.clone(), attribute(value))).collect();
        let mut record = json!({
            "messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"], "attributes": message["Attributes"],
            "messageAttributes": attributes, "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs", "eventSourceARN": self.mapping.source,
            "awsRegion": self.cloud.config.region,
        });
        if message["MD5OfMessageAttributes"].is_string() {
            record["md5OfMessageAttributes"] = message["MD5OfMessageAttributes"].clone();
        }
        record
    }
}

fn attribute(value: &Value) -> Value {
    let mut shown = json!({
        "stringListValues": [], "binaryListValues": [], "dataType": value["DataType"],
    });
    for (name, own) in [("StringValue", "stringValue"), ("BinaryValue", "binaryValue")] {
        if value[name].is_string() {
            shown[own] = value[name].clone();
        }
    }
    shown
}

/// Bytes that a message has in an event, or fewer by what escapes need.
fn bytes_of(message: &Value) -> usize {
    message["Body"].to_string().len()
        + message["MessageAttributes"].to_string().len()
        + RECORD_BYTES
}
