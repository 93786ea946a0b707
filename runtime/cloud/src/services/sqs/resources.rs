//! What templates make of SQS: queues, and policies of queues.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{arn, attributes, permissions, queues, url};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{
    Failure, Handler, Live, Made, Place, ResourceType, attributes as made,
};
use crate::kernel::tags;

/// All of them.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new(
        "AWS::SQS::Queue",
        &[
            "QueueName",
            "ContentBasedDeduplication",
            "DeduplicationScope",
            "DelaySeconds",
            "FifoQueue",
            "FifoThroughputLimit",
            "MaximumMessageSize",
            "MessageRetentionPeriod",
            "ReceiveMessageWaitTimeSeconds",
            "RedriveAllowPolicy",
            "RedrivePolicy",
            "SqsManagedSseEnabled",
            "Tags",
            "VisibilityTimeout",
        ],
        &Queues,
    )
    .named_by("QueueName"),
    ResourceType::new("AWS::SQS::QueuePolicy", &["PolicyDocument", "Queues"], &Policies),
];

#[derive(Debug)]
struct Queues;

/// The name in a queue's URL.
fn name(id: &str) -> &str {
    id.rsplit('/').next().unwrap_or(id)
}

/// Properties as attributes, which are texts.
fn attributes_of(properties: &Value) -> Map<String, Value> {
    let members = properties.as_object().into_iter().flatten();
    let members = members.filter(|(name, _)| !matches!(name.as_str(), "QueueName" | "Tags"));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let texts = members.map(|(name, value)| (name.clone(), text(value).into()));
    // A template may say that a queue is no FIFO queue; the API may not.
    texts.filter(|(name, value)| name != "FifoQueue" || *value != "false").collect()
}

fn described(place: &Place<'_>, id: &str) -> Map<String, Value> {
    let name = name(id);
    made(json!({ "Arn": arn(place.cloud, name), "QueueName": name, "QueueUrl": id }))
}

#[async_trait]
impl Handler for Queues {
    fn id(&self, place: &Place<'_>, given: Option<&str>, properties: &Value) -> String {
        let fifo = properties["FifoQueue"] == true || properties["FifoQueue"] == "true";
        let name = match given {
            Some(given) => given.to_owned(),
            None if fifo => format!("{}.fifo", place.name()),
            None => place.name(),
        };
        url(place.cloud, &name)
    }

    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.sqs.queues.contains(name(id)))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let params = json!({
            "QueueName": name(id), "Attributes": attributes_of(properties),
            "tags": tags::parse(&properties["Tags"]),
        });
        place.call("sqs", "CreateQueue", &params).await?;
        Ok(described(place, id))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        let mut wanted = attributes_of(properties);
        // What is not in the template any more is as it is without it.
        let defaults = attributes::with_defaults(&Default::default());
        for (attribute, _) in attributes_of(old) {
            let default = defaults.get(&attribute).cloned().unwrap_or_default();
            wanted.entry(attribute).or_insert_with(|| default.into());
        }
        wanted.retain(|attribute, value| {
            attribute != "FifoQueue" && attributes_of(old).get(attribute) != Some(value)
        });
        if !wanted.is_empty() {
            let params = json!({ "QueueUrl": id, "Attributes": wanted });
            place.call("sqs", "SetQueueAttributes", &params).await?;
        }
        let (new, former) = (tags::parse(&properties["Tags"]), tags::parse(&old["Tags"]));
        let gone: Vec<&String> = former.keys().filter(|key| !new.contains_key(*key)).collect();
        if !gone.is_empty() {
            let params = json!({ "QueueUrl": id, "TagKeys": gone });
            place.call("sqs", "UntagQueue", &params).await?;
        }
        if new != former && !new.is_empty() {
            place.call("sqs", "TagQueue", &json!({ "QueueUrl": id, "Tags": new })).await?;
        }
        Ok(described(place, id))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.call_unless_gone("sqs", "DeleteQueue", &json!({ "QueueUrl": id })).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        let name = name(id);
        let queue = cloud.services.sqs.queues.get(name);
        Live::of(queue.and_then(|queue| {
            let mut properties = Map::new();
            for (attribute, text) in queues::shown(cloud, name, &queue).ok()? {
                let used = TYPES[0].uses.contains(&attribute.as_str());
                if used {
                    properties.insert(attribute, typed(&text));
                }
            }
            properties.insert("QueueName".to_owned(), name.into());
            if !queue.tags.is_empty() {
                properties.insert("Tags".to_owned(), tags::list(&queue.tags).into());
            }
            Some(Value::Object(properties))
        }))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(arn(cloud, name(id)))
    }
}

/// A number, a boolean or an object out of an attribute's text.
fn typed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

#[derive(Debug)]
struct Policies;

fn queues_of(properties: &Value) -> impl Iterator<Item = &str> {
    properties["Queues"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

async fn set(place: &Place<'_>, properties: &Value) -> Result<(), Failure> {
    let policy = properties["PolicyDocument"].to_string();
    for queue in queues_of(properties) {
        let params = json!({ "QueueUrl": queue, "Attributes": { "Policy": policy } });
        place.call("sqs", "SetQueueAttributes", &params).await?;
    }
    Ok(())
}

async fn unset(place: &Place<'_>, queue: &str) -> Result<(), String> {
    let params = json!({ "QueueUrl": queue, "Attributes": { "Policy": "" } });
    place.call_unless_gone("sqs", "SetQueueAttributes", &params).await
}

#[async_trait]
impl Handler for Policies {
    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        set(place, properties).await?;
        Ok(made(json!({ "Id": id })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        set(place, properties).await?;
        for queue in queues_of(old) {
            if !queues_of(properties).any(|kept| kept == queue) {
                unset(place, queue).await?;
            }
        }
        Ok(made(json!({ "Id": id })))
    }

    async fn delete(&self, place: &Place<'_>, _: &str, properties: &Value) -> Result<(), String> {
        for queue in queues_of(properties) {
            unset(place, queue).await?;
        }
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, _: &str, properties: &Value) -> Live {
        let policy = |queue: &str| permissions::policy_of(cloud, &arn(cloud, name(queue)));
        let found = queues_of(properties).next().and_then(policy);
        Live::of(
            found.map(|policy| json!({ "PolicyDocument": policy, "Queues": properties["Queues"] })),
        )
    }
}
