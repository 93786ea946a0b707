//! What templates can make of SNS.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Topic, check_display_name};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{
    Failure, Handler, Live, Made, Place, ResourceType, attributes, text,
};

/// The types.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new("AWS::SNS::Topic", &["TopicName", "DisplayName", "Tags"], &TopicType)
        .named_by("TopicName"),
    ResourceType::new(
        "AWS::SNS::Subscription",
        &[
            "TopicArn",
            "Protocol",
            "Endpoint",
            "FilterPolicy",
            "FilterPolicyScope",
            "RawMessageDelivery",
            "RedrivePolicy",
        ],
        &SubscriptionType,
    )
    .also_replacing(&[
        "FilterPolicy",
        "FilterPolicyScope",
        "RawMessageDelivery",
        "RedrivePolicy",
    ]),
    ResourceType::new("AWS::SNS::TopicPolicy", &["PolicyDocument", "Topics"], &Policies),
];

#[derive(Debug)]
struct TopicType;

impl TopicType {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let display_name = text(properties, "DisplayName").to_owned();
        check_display_name(&display_name)?;
        let topics = &place.cloud.services.sns.topics;
        let mut topic = topics.get(id).map_or_else(Topic::default, |topic| (*topic).clone());
        topic.display_name = display_name;
        topics.put(id, topic)?;
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
        let topic = text(properties, "TopicArn");
        let topics = &place.cloud.services.sns.topics;
        let before = topics.get(topic).map(|t| t.subscriptions.clone()).unwrap_or_default();
        let mut params = json!({
            "TopicArn": topic, "Protocol": properties["Protocol"],
            "Endpoint": properties["Endpoint"], "ReturnSubscriptionArn": true,
        });
        for name in ["FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy"] {
            let value = &properties[name];
            if !value.is_null() {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                params["Attributes"][name] = text.into();
            }
        }
        let made = place.call("sns", "Subscribe", &params).await?;
        let arn = text(&made, "SubscriptionArn");
        if before.iter().any(|subscription| subscription.arn == arn) {
            return Err(Failure::Exists(format!("{arn} already exists")));
        }
        // It has the name that was fixed before the work began.
        topics.update(topic, |topic| {
            let own = topic.subscriptions.iter_mut().filter(|s| s.arn == arn);
            own.for_each(|subscription| id.clone_into(&mut subscription.arn));
        })?;
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
            let mut is = json!({
                "TopicArn": topic_arn, "Protocol": subscription.protocol,
                "Endpoint": subscription.endpoint,
            });
            for (name, value) in &subscription.attributes {
                // Policies are values, as templates have them.
                is[name] = serde_json::from_str(value).unwrap_or_else(|_| value.clone().into());
            }
            is
        }))
    }
}

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
