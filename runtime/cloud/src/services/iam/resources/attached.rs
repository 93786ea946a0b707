//! Managed policies with whom they are attached to, and policies inside of roles, users and groups.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::holders::{Change, Holder, document};
use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{Failure, Handler, Live, Made, Place, attributes};
use crate::services::iam::{entities, policies};

/// Properties that list holders, and what these are.
const HOLDERS: [(&str, &str); 3] = [("Roles", "Role"), ("Users", "User"), ("Groups", "Group")];

/// Calls an operation for every holder of the properties `of` that those of `without` have not.
async fn for_each(
    place: &Place<'_>,
    (verb, params): (&str, Value),
    of: &Value,
    without: &Value,
) -> Result<(), Failure> {
    for (property, kind) in HOLDERS {
        for name in Change::of(&without[property], &of[property]).added {
            Holder { kind, name: &name }.call(place, verb, params.clone()).await?;
        }
    }
    Ok(())
}

#[derive(Debug)]
pub(super) struct Managed;

#[async_trait]
impl Handler for Managed {
    fn id(&self, place: &Place<'_>, name: Option<&str>, _: &Value) -> String {
        policies::arn(place.cloud, &name.map_or_else(|| place.name(), str::to_owned))
    }

    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.iam.managed.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let params = json!({
            "PolicyName": id.rsplit('/').next().unwrap_or(id),
            "PolicyDocument": document(&properties["PolicyDocument"]),
            "Description": properties["Description"],
        });
        let made = place.call("iam", "CreatePolicy", &params).await?;
        let attach = ("Attach", json!({ "PolicyArn": id }));
        for_each(place, attach, properties, &Value::Null).await?;
        Ok(attributes(json!({ "PolicyArn": id, "PolicyId": made["Policy"]["PolicyId"] })))
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        if properties["PolicyDocument"] != old["PolicyDocument"] {
            new_version(place, id, &properties["PolicyDocument"]).await?;
        }
        let arn = json!({ "PolicyArn": id });
        for_each(place, ("Detach", arn.clone()), old, properties).await?;
        for_each(place, ("Attach", arn), properties, old).await?;
        Ok(Map::new())
    }

    async fn delete(&self, place: &Place<'_>, id: &str, properties: &Value) -> Result<(), String> {
        let arn = json!({ "PolicyArn": id });
        let listed = match place.call("iam", "ListPolicyVersions", &arn).await {
            Err(Failure::Gone(_)) => return Ok(()),
            listed => listed.map_err(|failure| failure.to_string())?,
        };
        let detached = for_each(place, ("Detach", arn.clone()), properties, &Value::Null).await;
        detached.map_err(|failure| failure.to_string())?;
        let versions = listed["Versions"].as_array().into_iter().flatten();
        for version in versions.filter(|version| version["IsDefaultVersion"] == false) {
            let params = json!({ "PolicyArn": id, "VersionId": version["VersionId"] });
            place.call_unless_gone("iam", "DeletePolicyVersion", &params).await?;
        }
        place.call_unless_gone("iam", "DeletePolicy", &arn).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.iam.managed.get(id).map(|policy| {
            let [roles, users, groups] = entities::attached_to(cloud, id);
            json!({
                "ManagedPolicyName": policy.name, "Description": policy.description,
                "PolicyDocument": policy.document(), "Roles": roles, "Users": users,
                "Groups": groups,
            })
        }))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.iam.managed.names(""))
    }
}

/// A new version in force. The oldest one makes room, as AWS's handler does it.
async fn new_version(place: &Place<'_>, id: &str, policy: &Value) -> Result<(), Failure> {
    let listed = place.call("iam", "ListPolicyVersions", &json!({ "PolicyArn": id })).await?;
    let versions = listed["Versions"].as_array().cloned().unwrap_or_default();
    let oldest = versions.iter().rev().find(|version| version["IsDefaultVersion"] == false);
    if let Some(oldest) = oldest.filter(|_| versions.len() >= policies::VERSIONS_MAX) {
        let params = json!({ "PolicyArn": id, "VersionId": oldest["VersionId"] });
        place.call("iam", "DeletePolicyVersion", &params).await?;
    }
    let params =
        json!({ "PolicyArn": id, "PolicyDocument": document(policy), "SetAsDefault": true });
    place.call("iam", "CreatePolicyVersion", &params).await.map(|_| ())
}

#[derive(Debug)]
pub(super) struct Inline;

impl Inline {
    fn put(properties: &Value) -> (&'static str, Value) {
        let document = document(&properties["PolicyDocument"]);
        let name = &properties["PolicyName"];
        ("Put", json!({ "PolicyName": name, "PolicyDocument": document }))
    }

    fn delete(properties: &Value) -> (&'static str, Value) {
        ("Delete", json!({ "PolicyName": properties["PolicyName"] }))
    }
}

#[async_trait]
impl Handler for Inline {
    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let is_empty = |property: &str| properties[property].as_array().is_none_or(Vec::is_empty);
        if HOLDERS.iter().all(|(property, _)| is_empty(property)) {
            return Err("At least one of [Groups,Roles,Users] must be non-empty.".into());
        }
        for_each(place, Self::put(properties), properties, &Value::Null).await?;
        Ok(attributes(json!({ "Id": id })))
    }

    async fn update(&self, place: &Place<'_>, _: &str, properties: &Value, old: &Value) -> Made {
        for_each(place, Self::put(properties), properties, &Value::Null).await?;
        let stays = old["PolicyName"] == properties["PolicyName"];
        let kept = if stays { properties } else { &Value::Null };
        for_each(place, Self::delete(old), old, kept).await?;
        Ok(Map::new())
    }

    async fn delete(&self, place: &Place<'_>, _: &str, properties: &Value) -> Result<(), String> {
        let deleted = for_each(place, Self::delete(properties), properties, &Value::Null).await;
        deleted.map_err(|failure| failure.to_string())
    }
}
