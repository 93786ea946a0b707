//! Messages: sent, received, deleted, and hidden for longer or shorter.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::attributes::{MESSAGE_BYTES_MAX, Settings};
use super::content::{self, digest_of_attributes, digest_of_body};
use super::rows::{Handle, Message, Row, duplicate_key, handle};
use super::shelf::{Entry, Taken};
use super::{Named, Queue, State, attributes, invalid, missing, name_in, named, no_queue};
use crate::kernel::bus;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::service::Call;

/// Longest time that a receiver has a message for.
const VISIBILITY_SECS_MAX: i64 = 43_200;
/// Characters of a group's name or a deduplication ID.
const ID_LENGTH_MAX: usize = 128;

/// A whole number of an input within bounds.
fn number(params: &Value, name: &str, bounds: (i64, i64), why: &str) -> ApiResult<Option<i64>> {
    let Some(given) = params[name].as_i64() else { return Ok(None) };
    if (bounds.0..=bounds.1).contains(&given) {
        return Ok(Some(given));
    }
    Err(invalid(format!("Value {given} for parameter {name} is invalid. Reason: {why}")))
}

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// A message that may be sent, with the key that a FIFO queue tells it apart by.
pub struct Draft {
    pub message: Message,
    pub key: Option<String>,
}

/// Bytes that a message counts for.
pub fn bytes(params: &Value) -> usize {
    let body = params["MessageBody"].as_str().map_or(0, str::len);
    body + content::bytes_of(&map(&params["MessageAttributes"]))
}

/// Checks a message that is to be sent.
pub fn draft(
    settings: &Settings,
    caller: &Caller,
    params: &Value,
    now: Timestamp,
) -> ApiResult<Draft> {
    let body = params["MessageBody"].as_str().filter(|body| !body.is_empty());
    let body = body.ok_or_else(|| missing("MessageBody"))?;
    content::check_body(body)?;
    let attributes = map(&params["MessageAttributes"]);
    content::check_attributes(&attributes)?;
    let most = settings.bytes_max.min(MESSAGE_BYTES_MAX);
    if bytes(params) > most {
        let why = format!("Reason: Message must be shorter than {most} bytes.");
        return Err(invalid(format!("One or more parameters are invalid. {why}")));
    }
    let system = map(&params["MessageSystemAttributes"]);
    let is_text = |attribute: &Value| attribute["DataType"] == "String";
    if system.values().any(|attribute| !is_text(attribute)) {
        return Err(invalid(
            "The message system attribute 'AWSTraceHeader' must be of the type String.",
        ));
    }
    let why = "DelaySeconds must be >= 0 and <= 900.";
    let delay = number(params, "DelaySeconds", (0, 900), why)?;
    let group = id_of(params, "MessageGroupId")?;
    let given = id_of(params, "MessageDeduplicationId")?;
    let (delay, deduplication) = match settings.fifo {
        true => (fifo_delay(settings, delay)?, Some(deduplication(settings, &group, given, body)?)),
        false if given.is_some() => {
            let words = "for parameter MessageDeduplicationId is invalid. Reason: The request \
                         includes a parameter that is not valid for this queue type.";
            return Err(invalid(format!("Value {} {words}", given.unwrap_or_default())));
        }
        false => (delay.map_or(settings.delay, SignedDuration::from_secs), None),
    };
    let key = deduplication
        .as_deref()
        .map(|id| duplicate_key(settings, group.as_deref().unwrap_or_default(), id));
    let message = Message {
        id: uuid::Uuid::new_v4().to_string(),
        body: body.to_owned(),
        attributes,
        system,
        sender: caller.user_id(),
        sent: now,
        available: now + delay,
        group,
        deduplication,
        origin: None,
        receives_before: 0,
    };
    Ok(Draft { message, key })
}

fn id_of(params: &Value, name: &str) -> ApiResult<Option<String>> {
    let Some(given) = params[name].as_str() else { return Ok(None) };
    let plain = given.bytes().all(|byte| byte.is_ascii_graphic());
    if plain && (1..=ID_LENGTH_MAX).contains(&given.len()) {
        return Ok(Some(given.to_owned()));
    }
    let why = format!(
        "{name} can only include alphanumeric and punctuation characters. 1 to 128 in length."
    );
    Err(invalid(format!("Value {given} for parameter {name} is invalid. Reason: {why}")))
}

/// Messages of a FIFO queue have the delay of the queue.
fn fifo_delay(settings: &Settings, given: Option<i64>) -> ApiResult<SignedDuration> {
    match given {
        Some(delay) if delay != 0 => {
            let why = "The request include parameter that is not valid for this queue type.";
            Err(invalid(format!(
                "Value {delay} for parameter DelaySeconds is invalid. Reason: {why}"
            )))
        }
        _ => Ok(settings.delay),
    }
}

fn deduplication(
    settings: &Settings,
    group: &Option<String>,
    given: Option<String>,
    body: &str,
) -> ApiResult<String> {
    if group.is_none() {
        return Err(missing("MessageGroupId"));
    }
    match given {
        Some(given) => Ok(given),
        None if settings.by_content => Ok(hex::encode(Sha256::digest(body.as_bytes()))),
        None => Err(invalid(
            "The queue should either have ContentBasedDeduplication enabled or \
             MessageDeduplicationId provided explicitly",
        )),
    }
}

/// What a sender is told.
pub fn sent(message: &Message, id: &str, sequence: Option<u64>) -> Value {
    json!({
        "MessageId": id, "MD5OfMessageBody": digest_of_body(&message.body),
        "MD5OfMessageAttributes": digest_of_attributes(&message.attributes),
        "MD5OfMessageSystemAttributes": digest_of_attributes(&message.system),
        "SequenceNumber": sequence.map(|sequence| format!("{sequence:020}")),
    })
}

/// Puts a message into a queue; the answer to its sender, when it is safe.
pub fn put(state: &State, queue: &Queue, draft: Draft, now: Timestamp) -> ApiResult {
    let (shelf, Draft { message, key }) = (state.shelf(queue), draft);
    let shown = message.clone();
    match key {
        Some(key) => {
            let seen = shelf.add_once(&state.rows, message, &key, now)?;
            Ok(sent(&shown, &seen.id, Some(seen.sequence)))
        }
        None => {
            shelf.add(&state.rows, vec![message], now)?;
            Ok(sent(&shown, &shown.id, None))
        }
    }
}

/// `SendMessage`.
pub fn send(call: &Call<'_>) -> ApiResult {
    let Named { queue, .. } = named(call, "SendMessage")?;
    let now = call.cloud.clock.now();
    let draft = draft(&queue.settings(), call.caller, call.params, now)?;
    put(&call.cloud.services.sqs, &queue, draft, now)
}

/// A message of another service.
pub async fn take(cloud: &Arc<Cloud>, message: &bus::Message) -> ApiResult {
    cloud.authorize(&message.caller, "sqs:SendMessage", &message.target, &[])?;
    let name = name_in(cloud, &message.target).ok_or_else(no_queue)?;
    let queue = cloud.services.sqs.queues.get(name).ok_or_else(no_queue)?;
    let mut params = message.parameters.clone();
    if params.is_null() {
        params = json!({});
    }
    params["MessageBody"] = message.body.clone().into();
    let now = cloud.clock.now();
    let draft = draft(&queue.settings(), &message.caller, &params, now)?;
    put(&cloud.services.sqs, &queue, draft, now)
}

/// What a receiver asks for.
struct Asked {
    count: usize,
    visibility: Option<SignedDuration>,
    wait: Option<i64>,
    system: Vec<String>,
}

fn asked(params: &Value) -> ApiResult<Asked> {
    let why = "Must be between 1 and 10, if provided.";
    let count = number(params, "MaxNumberOfMessages", (1, 10), why)?;
    let why = "Must be >= 0 and <= 43200, if provided.";
    let visibility = number(params, "VisibilityTimeout", (0, VISIBILITY_SECS_MAX), why)?;
    let why = "Must be >= 0 and <= 20, if provided.";
    let wait = number(params, "WaitTimeSeconds", (0, 20), why)?;
    let lists =
        ["AttributeNames", "MessageSystemAttributeNames"].map(|name| params[name].as_array());
    let system = lists.into_iter().flatten().flatten().filter_map(Value::as_str);
    let system: Vec<String> = system.map(str::to_owned).collect();
    if let Some(other) = system.iter().find(|name| !SYSTEM.contains(&name.as_str())) {
        let message = format!("Unknown Attribute {other}.");
        return Err(ApiError::new("InvalidAttributeName", message));
    }
    let visibility = visibility.map(SignedDuration::from_secs);
    Ok(Asked { count: count.unwrap_or(1) as usize, visibility, wait, system })
}

/// Attributes of messages that SQS sets.
const SYSTEM: &[&str] = &[
    "All",
    "SenderId",
    "SentTimestamp",
    "ApproximateReceiveCount",
    "ApproximateFirstReceiveTimestamp",
    "SequenceNumber",
    "MessageDeduplicationId",
    "MessageGroupId",
    "AWSTraceHeader",
    "DeadLetterQueueSourceArn",
];

/// `ReceiveMessage`, which waits for messages as long as the caller or the queue says.
pub async fn receive(call: &Call<'_>) -> ApiResult {
    let (cloud, state) = (call.cloud, &call.cloud.services.sqs);
    let Named { name, queue } = named(call, "ReceiveMessage")?;
    let asked = asked(call.params)?;
    let wait = asked.wait.unwrap_or(queue.settings().wait_secs as i64);
    let end = cloud.clock.now() + SignedDuration::from_secs(wait);
    loop {
        let queue = state.queues.get(name).ok_or_else(no_queue)?;
        let shelf = state.shelf(&queue);
        let changed = shelf.changed.notified();
        tokio::pin!(changed);
        // Before looking, so that nothing is missed that comes in between.
        changed.as_mut().enable();
        let now = cloud.clock.now();
        let received = receive_now(cloud, name, &queue, &asked, wait == 0)?;
        if !received.is_empty() || now >= end {
            return Ok(shown(call, &queue, &asked, received));
        }
        let next = shelf.next_visible(now).map_or(end, |next| next.min(end));
        tokio::select! {
            () = changed => {}
            () = cloud.clock.sleep_until(next) => {}
        }
    }
}

fn receive_now(
    cloud: &Cloud,
    name: &str,
    queue: &Queue,
    asked: &Asked,
    at_once: bool,
) -> ApiResult<Vec<(Taken, Arc<Row>)>> {
    let state = &cloud.services.sqs;
    let (shelf, now, mut settings) = (state.shelf(queue), cloud.clock.now(), queue.settings());
    let target = settings.redrive.as_ref().and_then(|redrive| name_in(cloud, &redrive.target));
    let target = target.map(str::to_owned).filter(|target| state.queues.contains(target));
    if target.is_none() {
        settings.redrive = None;
    }
    shelf.expire(&state.rows, settings.retention, now)?;
    let until = now + asked.visibility.unwrap_or(settings.visibility);
    let chosen = shelf.choose(&settings, asked.count, until, now);
    if let Some(target) = target.filter(|_| !chosen.dead.is_empty()) {
        bury(cloud, name, queue, &target, chosen.dead)?;
    }
    if chosen.full && chosen.received.is_empty() && at_once && !settings.fifo {
        return Err(ApiError::new(
            "OverLimit",
            "The maximum number of in flight messages is reached.",
        ));
    }
    if !chosen.received.is_empty() {
        shelf.keep(&state.rows, &chosen.received)?;
    }
    let rows = chosen.received.into_iter();
    Ok(rows.filter_map(|t| Some((t.clone(), state.rows.get(&shelf.row(t.sequence))?))).collect())
}

/// Moves messages to the dead-letter queue.
fn bury(
    cloud: &Cloud,
    name: &str,
    queue: &Queue,
    target: &str,
    dead: Vec<(u64, Entry)>,
) -> ApiResult<()> {
    let target = cloud.services.sqs.queues.get(target).ok_or_else(no_queue)?;
    let origin = super::arn(cloud, name);
    transfer(cloud, queue, &target, dead, |message| message.origin = Some(origin.clone()))
}

/// Moves messages that are off the shelf of one queue to another one, at once or not at all.
pub fn transfer(
    cloud: &Cloud,
    from: &Queue,
    to: &Queue,
    entries: Vec<(u64, Entry)>,
    change: impl Fn(&mut Message),
) -> ApiResult<()> {
    let (state, now) = (&cloud.services.sqs, cloud.clock.now());
    let (shelf, other) = (state.shelf(from), state.shelf(to));
    let fifo = to.settings().fifo;
    let mut messages = Vec::new();
    for (number, entry) in &entries {
        let row = state.rows.get(&shelf.row(*number));
        let Some(Row::Message(message)) = row.as_deref() else { continue };
        let mut message = (**message).clone();
        message.receives_before += entry.receives();
        message.available = now;
        // A standard queue counts retention from the first sending.
        if fifo {
            message.sent = now;
        }
        change(&mut message);
        messages.push(message);
    }
    let numbers: Vec<u64> = entries.iter().map(|(number, _)| *number).collect();
    let deletes = shelf.rows_of(&numbers);
    if let Err(error) = other.add_and_delete(&state.rows, messages, now, &deletes) {
        shelf.put_back(entries);
        return Err(error.into());
    }
    shelf.changed.notify_waiters();
    Ok(())
}

fn shown(call: &Call<'_>, queue: &Queue, asked: &Asked, received: Vec<(Taken, Arc<Row>)>) -> Value {
    let fifo = queue.settings().fifo;
    let show = |(taken, row): (Taken, Arc<Row>)| {
        let Row::Message(message) = &*row else { return Value::Null };
        let attributes = content::asked(&message.attributes, &call.params["MessageAttributeNames"]);
        let handle = Handle {
            queue: queue.id.clone(),
            sequence: taken.sequence,
            nonce: taken.receipt.nonce,
        };
        let system = system(message, &taken, fifo, &asked.system);
        json!({
            "MessageId": message.id, "ReceiptHandle": handle.written(), "Body": message.body,
            "MD5OfBody": digest_of_body(&message.body),
            "MD5OfMessageAttributes": digest_of_attributes(&attributes),
            "MessageAttributes": (!attributes.is_empty()).then_some(attributes),
            "Attributes": (!system.is_empty()).then_some(system),
        })
    };
    let messages: Vec<Value> = received.into_iter().map(show).collect();
    if messages.is_empty() { json!({}) } else { json!({ "Messages": messages }) }
}

fn system(message: &Message, taken: &Taken, fifo: bool, names: &[String]) -> Map<String, Value> {
    let millis = |time: Timestamp| Some(time.as_millisecond().to_string());
    let receives = message.receives_before + taken.receipt.receives;
    let trace = message.system.get("AWSTraceHeader");
    let all = [
        ("SenderId", Some(message.sender.clone())),
        ("SentTimestamp", millis(message.sent)),
        ("ApproximateReceiveCount", Some(receives.to_string())),
        ("ApproximateFirstReceiveTimestamp", millis(taken.receipt.first)),
        ("SequenceNumber", fifo.then(|| format!("{:020}", taken.sequence))),
        ("MessageDeduplicationId", message.deduplication.clone()),
        ("MessageGroupId", message.group.clone()),
        ("AWSTraceHeader", trace.and_then(|t| t["StringValue"].as_str()).map(str::to_owned)),
        ("DeadLetterQueueSourceArn", message.origin.clone()),
    ];
    let wanted = |name: &str| names.iter().any(|asked| asked == "All" || asked == name);
    let kept = all.into_iter().filter(|(name, _)| wanted(name));
    kept.filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
}

/// `DeleteMessage`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let Named { queue, .. } = named(call, "DeleteMessage")?;
    let text = call.text("ReceiptHandle").ok_or_else(|| missing("ReceiptHandle"))?;
    if let Some(number) = deletable(call.cloud, &queue, text)? {
        let state = &call.cloud.services.sqs;
        state.shelf(&queue).delete(&state.rows, &[number])?;
    }
    Ok(json!({}))
}

/// The message that a handle lets its holder delete. A handle of an earlier receipt deletes
/// nothing, and that is no error.
pub fn deletable(cloud: &Cloud, queue: &Queue, text: &str) -> ApiResult<Option<u64>> {
    let handle = handle(text, &queue.id)?;
    let receipt = cloud.services.sqs.shelf(queue).receipt(&handle);
    let expired = |visible: Timestamp| visible <= cloud.clock.now();
    match receipt {
        Some(receipt) if queue.settings().fifo && expired(receipt.visible) => {
            let why = "Reason: The receipt handle has expired.";
            Err(invalid(format!("Value {text} for parameter ReceiptHandle is invalid. {why}")))
        }
        Some(_) => Ok(Some(handle.sequence)),
        None => Ok(None),
    }
}

/// `ChangeMessageVisibility`.
pub fn change_visibility(call: &Call<'_>) -> ApiResult {
    let Named { queue, .. } = named(call, "ChangeMessageVisibility")?;
    let change = visibility_change(call.cloud, &queue, call.params)?;
    let state = &call.cloud.services.sqs;
    state.shelf(&queue).set_visible(&state.rows, &[change])?;
    Ok(json!({}))
}

/// The message and the time at which it is to be visible again.
pub fn visibility_change(
    cloud: &Cloud,
    queue: &Queue,
    params: &Value,
) -> ApiResult<(u64, Timestamp)> {
    let text = params["ReceiptHandle"].as_str().ok_or_else(|| missing("ReceiptHandle"))?;
    let handle = handle(text, &queue.id)?;
    let why = "Must be between 0 and 43200.";
    let seconds = number(params, "VisibilityTimeout", (0, VISIBILITY_SECS_MAX), why)?;
    let seconds = seconds.ok_or_else(|| missing("VisibilityTimeout"))?;
    let now = cloud.clock.now();
    let receipt = cloud.services.sqs.shelf(queue).receipt(&handle).ok_or_else(|| {
        let why = "Reason: Message does not exist or is not available for visibility timeout \
                   change.";
        invalid(format!("Value {text} for parameter ReceiptHandle is invalid. {why}"))
    })?;
    if receipt.visible <= now {
        let message = "The specified message isn't in flight.";
        return Err(ApiError::new("MessageNotInflight", message));
    }
    let visible = now + SignedDuration::from_secs(seconds);
    if visible.duration_since(receipt.last).as_secs() > VISIBILITY_SECS_MAX {
        let why = "Reason: Total VisibilityTimeout for the message is beyond the limit [43200 \
                   seconds]";
        return Err(invalid(format!(
            "Value {seconds} for parameter VisibilityTimeout is invalid. {why}"
        )));
    }
    Ok((handle.sequence, visible))
}

/// Whether a name is one of a queue's attributes; `GetQueueAttributes` asks.
pub fn check_attribute_names(names: &Value) -> ApiResult<Vec<&str>> {
    let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<&str> = names.collect();
    names.iter().try_for_each(|name| attributes::check_name(name))?;
    Ok(names)
}
