//! What templates make of Parameter Store: texts and lists. AWS makes no `SecureString` so either.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::arn;
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes};

/// All of them.
pub const TYPES: &[ResourceType] = &[ResourceType::new(
    "AWS::SSM::Parameter",
    &[
        "AllowedPattern",
        "DataType=text",
        "Description",
        "Name",
        "Tags",
        "Tier",
        "Type=String|StringList",
        "Value",
    ],
    &Parameters,
)
.named_by("Name")];

#[derive(Debug)]
struct Parameters;

fn params(id: &str, properties: &Value) -> Value {
    let mut params = json!({ "Name": id });
    for name in ["AllowedPattern", "Description", "Tier", "Type", "Value", "DataType"] {
        if !properties[name].is_null() {
            params[name] = properties[name].clone();
        }
    }
    params
}

/// Tags are a map here.
fn tags_of(properties: &Value) -> Vec<Value> {
    let tags = properties["Tags"].as_object().into_iter().flatten();
    tags.map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

fn described(properties: &Value) -> Map<String, Value> {
    attributes(json!({ "Type": properties["Type"], "Value": properties["Value"] }))
}

#[async_trait]
impl Handler for Parameters {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.ssm.parameters.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let mut params = params(id, properties);
        let tags = tags_of(properties);
        if !tags.is_empty() {
            params["Tags"] = tags.into();
        }
        place.call("ssm", "PutParameter", &params).await?;
        Ok(described(properties))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        let mut params = params(id, properties);
        params["Overwrite"] = true.into();
        if properties["Description"].is_null() && !old["Description"].is_null() {
            params["Description"] = "".into();
        }
        place.call("ssm", "PutParameter", &params).await?;
        let resource = json!({ "ResourceType": "Parameter", "ResourceId": id });
        let (new, former) = (&properties["Tags"], old["Tags"].as_object());
        let gone = former.into_iter().flatten().filter(|(key, _)| new.get(key.as_str()).is_none());
        let gone: Vec<&String> = gone.map(|(key, _)| key).collect();
        if !gone.is_empty() {
            let mut params = resource.clone();
            params["TagKeys"] = json!(gone);
            place.call("ssm", "RemoveTagsFromResource", &params).await?;
        }
        let tags = tags_of(properties);
        if *new != old["Tags"] && !tags.is_empty() {
            let mut params = resource;
            params["Tags"] = tags.into();
            place.call("ssm", "AddTagsToResource", &params).await?;
        }
        Ok(described(properties))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.call_unless_gone("ssm", "DeleteParameter", &json!({ "Name": id })).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        let parameter = cloud.services.ssm.parameters.get(id);
        Live::of(parameter.and_then(|parameter| {
            let newest = parameter.newest()?;
            Some(json!({
                "Name": id, "Type": newest.kind, "Value": newest.value, "Tier": newest.tier,
                "Description": newest.description, "AllowedPattern": newest.pattern,
                "DataType": "text", "Tags": parameter.tags,
            }))
        }))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(arn(cloud, id))
    }
}
