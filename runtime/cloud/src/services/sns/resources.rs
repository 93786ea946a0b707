//! What templates can make of SNS.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Subscription, Topic, check_display_name, check_email};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes, text};

/// The types.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new("AWS::SNS::Topic", &["TopicName", "DisplayName", "Tags"], &TopicType)
        .named_by("TopicName"),
    ResourceType::new(
        "AWS::SNS::Subscription",
        &["TopicArn", "Protocol", "Endpoint"],
        &SubscriptionType,
    ),
];

#[derive(Debug)]
struct TopicType;

impl TopicType {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let display_name = text(properties, "DisplayName").to_owned();
        check_display_name(&display_name)?;
        let topics = &place.cloud.services.sns.topics;
        let subscriptions = topics.get(id).map(|t| t.subscriptions.clone()).unwrap_or_default();
        topics.put(id, Topic { display_name, subscriptions })?;
        let name = id.rsplit(':').next().unwrap_or(id);
        Ok(attributes(json!({ "TopicArn": id, "TopicName": name })))
    }
}

#[async_trait]
impl Handler for TopicType {
    fn id(&self, place: &Place<'_>, name: Option<&str>, _: &Value) -> String {
        let name = name.map_or_else(|| place.name(), str::to_owned);
        place.cloud.config.arn("sns", &name)
    }

    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.sns.topics.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.cloud.services.sns.topics.remove(id)?;
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.sns.topics.get(id).map(|topic| {
            let name = id.rsplit(':').next().unwrap_or(id);
            json!({ "TopicName": name, "DisplayName": topic.display_name })
        }))
    }

    fn arn(&self, _: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(id.to_owned())
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.sns.topics.names(""))
    }
}

#[derive(Debug)]
struct SubscriptionType;

#[async_trait]
impl Handler for SubscriptionType {
    fn id(&self, _: &Place<'_>, _: Option<&str>, properties: &Value) -> String {
        format!("{}:{}", text(properties, "TopicArn"), uuid::Uuid::new_v4())
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let (protocol, email) = (text(properties, "Protocol"), text(properties, "Endpoint"));
        if protocol != "email" {
            let what = "the embedded cloud delivers to the protocol email, not";
            return Err(format!("{what} {protocol}").into());
        }
        check_email(email)?;
        let subscription = Subscription { arn: id.to_owned(), email: email.to_owned() };
        let topic = text(properties, "TopicArn");
        let topics = &place.cloud.services.sns.topics;
        topics
            .update(topic, |t| t.subscriptions.push(subscription))?
            .ok_or_else(|| format!("the topic {topic} does not exist"))?;
        Ok(Map::new())
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        let topic = id.rsplit_once(':').map_or(id, |(topic, _)| topic);
        let topics = &place.cloud.services.sns.topics;
        topics.update(topic, |t| t.subscriptions.retain(|s| s.arn != id))?;
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        let topic_arn = id.rsplit_once(':').map_or(id, |(topic, _)| topic);
        let topic = cloud.services.sns.topics.get(topic_arn);
        let found = topic.and_then(|t| t.subscriptions.iter().find(|s| s.arn == id).cloned());
        Live::of(found.map(|subscription| {
            json!({ "TopicArn": topic_arn, "Protocol": "email", "Endpoint": subscription.email })
        }))
    }
}
