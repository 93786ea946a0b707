//! What templates make of KMS: keys and aliases.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{arn, find, keys};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{self, Handler, Live, Made, Place, ResourceType, attributes};
use crate::kernel::service::Call;

/// All of them.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new(
        "AWS::KMS::Key",
        &[
            "BypassPolicyLockoutSafetyCheck",
            "Description",
            "EnableKeyRotation=false",
            "Enabled",
            "KeyPolicy",
            "KeySpec=SYMMETRIC_DEFAULT",
            "KeyUsage=ENCRYPT_DECRYPT",
            "MultiRegion=false",
            "Origin=AWS_KMS",
            "PendingWindowInDays",
            "Tags",
        ],
        &Keys,
    ),
    ResourceType::new("AWS::KMS::Alias", &["AliasName", "TargetKeyId"], &Aliases)
        .named_by("AliasName"),
];

#[derive(Debug)]
struct Keys;

fn tags_of(properties: &Value) -> Vec<Value> {
    let tags = properties["Tags"].as_array().into_iter().flatten();
    tags.map(|tag| json!({ "TagKey": tag["Key"], "TagValue": tag["Value"] })).collect()
}

fn is_off(properties: &Value) -> bool {
    properties["Enabled"] == false || properties["Enabled"] == "false"
}

fn described(place: &Place<'_>, id: &str) -> Value {
    json!({ "Arn": arn(place.cloud, id), "KeyId": id })
}

#[async_trait]
impl Handler for Keys {
    fn id(&self, _: &Place<'_>, _: Option<&str>, _: &Value) -> String {
        uuid::Uuid::new_v4().to_string()
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let policy = &properties["KeyPolicy"];
        let params = json!({
            "Description": properties["Description"], "Tags": tags_of(properties),
            "Policy": (!policy.is_null()).then(|| policy.to_string()),
            "BypassPolicyLockoutSafetyCheck": properties["BypassPolicyLockoutSafetyCheck"],
        });
        // Not through the API, which chooses the ID itself.
        let administrator = place.cloud.identities.administrator();
        let caller = place.caller.as_ref().unwrap_or(&administrator);
        let (cloud, service, operation) = (place.cloud, &super::SERVICE, "CreateKey");
        let call = Call { cloud, caller, service, operation, params: &params };
        keys::create_as(&call, id)
            .map_err(|error| resource::handler(&error.message, "InvalidRequest"))?;
        if is_off(properties) {
            place.call("kms", "DisableKey", &json!({ "KeyId": id })).await?;
        }
        Ok(attributes(described(place, id)))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        let policy = &properties["KeyPolicy"];
        if *policy != old["KeyPolicy"] && !policy.is_null() {
            let params = json!({
                "KeyId": id, "Policy": policy.to_string(),
                "BypassPolicyLockoutSafetyCheck": properties["BypassPolicyLockoutSafetyCheck"],
            });
            place.call("kms", "PutKeyPolicy", &params).await?;
        }
        if properties["Description"] != old["Description"] {
            let text = properties["Description"].as_str().unwrap_or_default();
            let params = json!({ "KeyId": id, "Description": text });
            place.call("kms", "UpdateKeyDescription", &params).await?;
        }
        if is_off(properties) != is_off(old) {
            let operation = if is_off(properties) { "DisableKey" } else { "EnableKey" };
            place.call("kms", operation, &json!({ "KeyId": id })).await?;
        }
        let (new, former) = (tags_of(properties), tags_of(old));
        let key = |tag: &Value| tag["TagKey"].clone();
        let gone: Vec<Value> =
            former.iter().map(key).filter(|k| !new.iter().any(|tag| tag["TagKey"] == *k)).collect();
        if !gone.is_empty() {
            let params = json!({ "KeyId": id, "TagKeys": gone });
            place.call("kms", "UntagResource", &params).await?;
        }
        if new != former && !new.is_empty() {
            place.call("kms", "TagResource", &json!({ "KeyId": id, "Tags": new })).await?;
        }
        Ok(attributes(described(place, id)))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, properties: &Value) -> Result<(), String> {
        let pending = find(place.cloud, id).is_ok_and(|found| found.key.deletion.is_some());
        if pending {
            return Ok(());
        }
        let days = &properties["PendingWindowInDays"];
        let days = days.as_u64().or_else(|| days.as_str()?.parse().ok());
        let params = json!({ "KeyId": id, "PendingWindowInDays": days });
        place.call_unless_gone("kms", "ScheduleKeyDeletion", &params).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(find(cloud, id).ok().filter(|found| found.key.deletion.is_none()).map(|found| {
            let tag = |(key, value): (&String, &String)| json!({ "Key": key, "Value": value });
            json!({
                "Description": found.key.description, "Enabled": found.key.enabled,
                "KeyPolicy": found.key.policy, "KeySpec": "SYMMETRIC_DEFAULT",
                "KeyUsage": "ENCRYPT_DECRYPT", "MultiRegion": false, "Origin": "AWS_KMS",
                "EnableKeyRotation": false,
                "Tags": found.key.tags.iter().map(tag).collect::<Vec<Value>>(),
            })
        }))
    }

    fn arn(&self, cloud: &Arc<Cloud>, id: &str) -> Option<String> {
        Some(arn(cloud, id))
    }
}

#[derive(Debug)]
struct Aliases;

#[async_trait]
impl Handler for Aliases {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.kms.aliases.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let params = json!({ "AliasName": id, "TargetKeyId": properties["TargetKeyId"] });
        place.call("kms", "CreateAlias", &params).await?;
        Ok(attributes(json!({})))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        let params = json!({ "AliasName": id, "TargetKeyId": properties["TargetKeyId"] });
        place.call("kms", "UpdateAlias", &params).await?;
        Ok(attributes(json!({})))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.call_unless_gone("kms", "DeleteAlias", &json!({ "AliasName": id })).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        let alias = cloud.services.kms.aliases.get(id);
        Live::of(alias.map(|alias| json!({ "AliasName": id, "TargetKeyId": alias.key })))
    }
}
