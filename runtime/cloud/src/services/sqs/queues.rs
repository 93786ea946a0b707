//! Queues: made, changed, found, emptied and deleted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::attributes;
use super::{Named, Queue, arn, invalid, messages, missing, named, no_queue, texts, url};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;

/// Seconds after which the name of a deleted queue is free, and a queue may be emptied again.
const PAUSE_SECS: i64 = 60;
/// Tags of a queue.
const TAGS_MAX: usize = 50;
/// Queues in an answer.
const PAGES: Pages = Pages::of("MaxResults", "NextToken", 1_000).refusing("InvalidParameterValue");

fn check_name(name: &str) -> ApiResult<()> {
    let stem = name.strip_suffix(".fifo").unwrap_or(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !stem.is_empty() && name.len() <= 80 && stem.chars().all(plain) {
        return Ok(());
    }
    Err(invalid(
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
    ))
}

fn recent(since: Timestamp, now: Timestamp) -> bool {
    now.duration_since(since).as_secs() < PAUSE_SECS
}

/// `CreateQueue`. A queue that is there with the same attributes is the answer.
pub fn create(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let name = call.text("QueueName").ok_or_else(|| missing("QueueName"))?;
    call.authorize(&arn(cloud, name))?;
    check_name(name)?;
    let (given, tags) = (texts(&call.params["Attributes"]), texts(&call.params["tags"]));
    if !tags.is_empty() {
        cloud.authorize(call.caller, "sqs:TagQueue", &arn(cloud, name), &[])?;
    }
    check_tags(&tags)?;
    let attributes = attributes::changed(cloud, name, None, &given)?;
    let (state, now) = (&cloud.services.sqs, cloud.clock.now());
    let existing =
        |queue: &Queue| same(queue, &given).map(|()| json!({ "QueueUrl": url(cloud, name) }));
    if let Some(queue) = state.queues.get(name) {
        return existing(&queue);
    }
    if state.deleted.get(name).is_some_and(|deleted| recent(*deleted, now)) {
        let message = "You must wait 60 seconds after deleting a queue before you can create \
                       another with the same name.";
        return Err(ApiError::new("QueueDeletedRecently", message));
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let queue = Queue { id, created: now, modified: now, purged: None, attributes, tags };
    if !state.queues.create(name, queue)? {
        let queue = state.queues.get(name).ok_or_else(no_queue)?;
        return existing(&queue);
    }
    state.deleted.remove(name)?;
    Ok(json!({ "QueueUrl": url(cloud, name) }))
}

fn same(queue: &Queue, given: &BTreeMap<String, String>) -> ApiResult<()> {
    let own = attributes::with_defaults(&queue.attributes);
    let as_json = |text: &String| serde_json::from_str::<Value>(text).ok();
    let differs = |(name, value): &(&String, &String)| match own.get(*name) {
        Some(own) => own != *value && (as_json(own).is_none() || as_json(own) != as_json(value)),
        None => !value.is_empty(),
    };
    given.iter().find(differs).map_or(Ok(()), |(attribute, _)| {
        let message = format!(
            "A queue already exists with the same name and a different value for attribute \
             {attribute}"
        );
        Err(ApiError::new("QueueNameExists", message))
    })
}

/// `DeleteQueue`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (state, now) = (&call.cloud.services.sqs, call.cloud.clock.now());
    let Named { name, queue } = named(call, "DeleteQueue")?;
    for (old, deleted) in state.deleted.all() {
        if !recent(*deleted, now) {
            state.deleted.remove(&old)?;
        }
    }
    state.deleted.put(name, now)?;
    state.queues.remove(name)?;
    // A crash in between leaves rows that nobody finds, and that the next start deletes.
    let shelf = state.shelves.lock().remove(&queue.id);
    let rows = state.rows.names(&format!("{}/", queue.id));
    state.rows.put_all([], rows.iter().map(String::as_str))?;
    if let Some(shelf) = shelf {
        shelf.changed.notify_waiters();
    }
    Ok(json!({}))
}

/// `PurgeQueue`.
pub fn purge(call: &Call<'_>) -> ApiResult {
    let (state, now) = (&call.cloud.services.sqs, call.cloud.clock.now());
    let Named { name, queue } = named(call, "PurgeQueue")?;
    if queue.purged.is_some_and(|purged| recent(purged, now)) {
        let message =
            format!("Only one PurgeQueue operation on {name} is allowed every 60 seconds.");
        return Err(ApiError::new("PurgeQueueInProgress", message).with_status(403));
    }
    state.shelf(&queue).purge(&state.rows)?;
    state.queues.update(name, |queue| queue.purged = Some(now))?;
    Ok(json!({}))
}

/// `GetQueueUrl`.
pub fn url_of(call: &Call<'_>) -> ApiResult {
    let name = call.text("QueueName").ok_or_else(|| missing("QueueName"))?;
    call.authorize(&arn(call.cloud, name))?;
    let own = &call.cloud.config.account;
    let is_own = call.text("QueueOwnerAWSAccountId").is_none_or(|owner| owner == own);
    if !is_own || !call.cloud.services.sqs.queues.contains(name) {
        return Err(no_queue());
    }
    Ok(json!({ "QueueUrl": url(call.cloud, name) }))
}

/// `ListQueues`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    call.authorize(&arn(cloud, "*"))?;
    let names = cloud.services.sqs.queues.names(call.text("QueueNamePrefix").unwrap_or_default());
    let urls: Vec<Value> = names.iter().map(|name| url(cloud, name).into()).collect();
    if urls.is_empty() {
        return Ok(json!({}));
    }
    listed(call, "QueueUrls", urls)
}

/// Without a wanted number there is no token either, as in AWS.
fn listed(call: &Call<'_>, member: &str, urls: Vec<Value>) -> ApiResult {
    if call.params[PAGES.size].is_null() && !call.params[PAGES.token].is_null() {
        return Err(invalid(
            "MaxResults is a mandatory parameter when you provide a value for NextToken.",
        ));
    }
    let mut answer = PAGES.answer(call.params, member, urls)?;
    if call.params[PAGES.size].is_null() {
        answer[PAGES.token] = Value::Null;
    }
    Ok(answer)
}

/// `ListDeadLetterSourceQueues`.
pub fn sources(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let Named { name, .. } = named(call, "ListDeadLetterSourceQueues")?;
    let own = arn(cloud, name);
    let targets = |queue: &Queue| queue.settings().redrive.is_some_and(|r| r.target == own);
    let all = cloud.services.sqs.queues.all();
    let found = all.iter().filter(|(_, queue)| targets(queue));
    listed(call, "queueUrls", found.map(|(name, _)| url(cloud, name).into()).collect())
}

/// `GetQueueAttributes`.
pub fn attributes(call: &Call<'_>) -> ApiResult {
    let Named { name, queue } = named(call, "GetQueueAttributes")?;
    let names = messages::check_attribute_names(&call.params["AttributeNames"])?;
    let mut all = shown(call.cloud, name, &queue)?;
    if !names.contains(&"All") {
        all.retain(|attribute, _| names.contains(&attribute.as_str()));
    }
    Ok(if all.is_empty() { json!({}) } else { json!({ "Attributes": all }) })
}

/// All attributes of a queue.
pub fn shown(cloud: &Cloud, name: &str, queue: &Queue) -> ApiResult<BTreeMap<String, String>> {
    let (state, now) = (&cloud.services.sqs, cloud.clock.now());
    let shelf = state.shelf(queue);
    shelf.expire(&state.rows, queue.settings().retention, now)?;
    let counts = shelf.counts(now);
    let mut all = attributes::with_defaults(&queue.attributes);
    let own = [
        ("QueueArn", arn(cloud, name)),
        ("CreatedTimestamp", queue.created.as_second().to_string()),
        ("LastModifiedTimestamp", queue.modified.as_second().to_string()),
        ("ApproximateNumberOfMessages", counts.ready.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
    ];
    all.extend(own.map(|(name, value)| (name.to_owned(), value)));
    Ok(all)
}

/// `SetQueueAttributes`.
pub fn set_attributes(call: &Call<'_>) -> ApiResult {
    let Named { name, .. } = named(call, "SetQueueAttributes")?;
    let given = texts(&call.params["Attributes"]);
    change(call.cloud, name, &given)?;
    Ok(json!({}))
}

/// Sets attributes of a queue.
pub fn change(cloud: &Cloud, name: &str, given: &BTreeMap<String, String>) -> ApiResult<()> {
    let (state, now) = (&cloud.services.sqs, cloud.clock.now());
    let queue = state.queues.get(name).ok_or_else(no_queue)?;
    // What is checked reads other queues, so it is not done while the record is written.
    attributes::changed(cloud, name, Some(&queue.attributes), given)?;
    let set = state.queues.update(name, |queue| {
        for (attribute, value) in given.iter().filter(|(name, _)| !name.starts_with("Kms")) {
            match value.is_empty() {
                true => drop(queue.attributes.remove(attribute)),
                false => drop(queue.attributes.insert(attribute.clone(), value.clone())),
            }
        }
        queue.modified = now;
    })?;
    set.ok_or_else(no_queue)?;
    if let Some(queue) = state.queues.get(name) {
        // Who waits for messages goes by the new attributes.
        state.shelf(&queue).changed.notify_waiters();
    }
    Ok(())
}

fn check_tags(tags: &BTreeMap<String, String>) -> ApiResult<()> {
    let wrong = |(key, value): (&String, &String)| {
        !(1..=128).contains(&key.chars().count())
            || value.chars().count() > 256
            || key.to_ascii_lowercase().starts_with("aws:")
    };
    if tags.len() > TAGS_MAX {
        return Err(invalid(format!("Too many tags added for queue: at most {TAGS_MAX}.")));
    }
    match tags.iter().any(wrong) {
        true => Err(invalid(
            "Tag keys have 1 to 128 characters, values at most 256; keys do not begin with aws:.",
        )),
        false => Ok(()),
    }
}

/// `TagQueue`.
pub fn tag(call: &Call<'_>) -> ApiResult {
    let Named { name, queue } = named(call, "TagQueue")?;
    let mut tags = queue.tags.clone();
    tags.extend(texts(&call.params["Tags"]));
    check_tags(&tags)?;
    call.cloud.services.sqs.queues.update(name, |queue| queue.tags = tags)?;
    Ok(json!({}))
}

/// `UntagQueue`.
pub fn untag(call: &Call<'_>) -> ApiResult {
    let Named { name, .. } = named(call, "UntagQueue")?;
    let keys = call.params["TagKeys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let keys: Vec<&str> = keys.collect();
    let queues = &call.cloud.services.sqs.queues;
    queues.update(name, |queue| queue.tags.retain(|key, _| !keys.contains(&key.as_str())))?;
    Ok(json!({}))
}

/// `ListQueueTags`.
pub fn tags(call: &Call<'_>) -> ApiResult {
    let Named { queue, .. } = named(call, "ListQueueTags")?;
    Ok(if queue.tags.is_empty() { json!({}) } else { json!({ "Tags": queue.tags }) })
}
