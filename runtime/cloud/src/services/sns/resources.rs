//! What templates make of SNS beside topics and subscriptions: policies of topics.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Failure, Handler, Live, Made, Place, ResourceType, attributes};

/// All of them.
pub const TYPES: &[ResourceType] =
    &[ResourceType::new("AWS::SNS::TopicPolicy", &["PolicyDocument", "Topics"], &Policies)];

#[derive(Debug)]
struct Policies;

fn topics_of(properties: &Value) -> impl Iterator<Item = &str> {
    properties["Topics"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn params(topic: &str, policy: &str) -> Value {
    json!({ "TopicArn": topic, "AttributeName": "Policy", "AttributeValue": policy })
}

async fn set(place: &Place<'_>, properties: &Value) -> Result<(), Failure> {
    let policy = properties["PolicyDocument"].to_string();
    for topic in topics_of(properties) {
        place.call("sns", "SetTopicAttributes", &params(topic, &policy)).await?;
    }
    Ok(())
}

async fn unset(place: &Place<'_>, topic: &str) -> Result<(), String> {
    place.call_unless_gone("sns", "SetTopicAttributes", &params(topic, "")).await
}

#[async_trait]
impl Handler for Policies {
    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        set(place, properties).await?;
        Ok(attributes(json!({ "Id": id })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        set(place, properties).await?;
        for topic in topics_of(old) {
            if !topics_of(properties).any(|kept| kept == topic) {
                unset(place, topic).await?;
            }
        }
        Ok(attributes(json!({ "Id": id })))
    }

    async fn delete(&self, place: &Place<'_>, _: &str, properties: &Value) -> Result<(), String> {
        for topic in topics_of(properties) {
            unset(place, topic).await?;
        }
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, _: &str, properties: &Value) -> Live {
        let policy = |topic: &str| cloud.services.sns.topics.get(topic)?.policy.clone();
        let found = topics_of(properties).next().and_then(policy);
        Live::of(
            found.map(|policy| json!({ "PolicyDocument": policy, "Topics": properties["Topics"] })),
        )
    }
}
