//! What templates can make of Lambda.

mod functions;
mod mappings;
mod versions;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::permissions;
use super::{Reference, qualified_arn};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes, text};
use crate::kernel::tags;

/// The types.
pub const TYPES: &[ResourceType] = &[
    functions::FUNCTION,
    ResourceType::new(
        "AWS::Lambda::Permission",
        &["FunctionName", "Action", "Principal", "SourceArn", "SourceAccount"],
        &Permission,
    ),
    versions::VERSION,
    versions::ALIAS,
    versions::EVENT_CONFIG,
    mappings::MAPPING,
];

/// Changes the tags of a resource.
async fn set_tags(place: &Place<'_>, arn: &str, new: &Value, old: &Value) -> Made {
    let (wanted, former) = (tags::parse(&new["Tags"]), tags::parse(&old["Tags"]));
    let gone: Vec<&String> = former.keys().filter(|key| !wanted.contains_key(*key)).collect();
    if !gone.is_empty() {
        let params = json!({ "Resource": arn, "TagKeys": gone });
        place.call("lambda", "UntagResource", &params).await?;
    }
    if wanted != former && !wanted.is_empty() {
        let params = json!({ "Resource": arn, "Tags": wanted });
        place.call("lambda", "TagResource", &params).await?;
    }
    Ok(Map::new())
}

/// A number or a truth, which templates may also write as text.
fn plain(value: &Value) -> Value {
    let parsed = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    parsed.filter(|value| value.is_number() || value.is_boolean()).unwrap_or_else(|| value.clone())
}

#[derive(Debug)]
struct Permission;

/// The function that a permission is about, and its statement's ID.
fn of_permission(id: &str, properties: &Value) -> Value {
    json!({ "FunctionName": properties["FunctionName"], "StatementId": id })
}

#[async_trait]
impl Handler for Permission {
    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let mut params = of_permission(id, properties);
        for name in ["Action", "Principal", "SourceArn", "SourceAccount"] {
            if !properties[name].is_null() {
                params[name] = properties[name].clone();
            }
        }
        place.call("lambda", "AddPermission", &params).await?;
        Ok(attributes(json!({ "Id": id })))
    }

    async fn delete(&self, place: &Place<'_>, id: &str, properties: &Value) -> Result<(), String> {
        place.call_unless_gone("lambda", "RemovePermission", &of_permission(id, properties)).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, properties: &Value) -> Live {
        let reference = Reference::parse(text(properties, "FunctionName"), None);
        let policy = permissions::of(cloud, &qualified_arn(cloud, &reference));
        let statements = policy.as_ref().and_then(|policy| policy["Statement"].as_array());
        let is_there = statements.is_some_and(|all| all.iter().any(|one| one["Sid"] == id));
        // None of it can be changed.
        Live::of(is_there.then(|| properties.clone()))
    }
}
