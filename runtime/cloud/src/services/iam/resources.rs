//! What templates can make of IAM.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Profile, Role, policies, session_secs_default};
use crate::kernel::cloud::Cloud;
use crate::kernel::iam::{check_inline_size, check_policy, check_trust};
use crate::kernel::resource::{
    Failure, Handler, Live, Made, Place, ResourceType, attributes, number, text,
};

/// The types.
pub const TYPES: &[ResourceType] = &[
    ResourceType::new(
        "AWS::IAM::Role",
        &[
            "RoleName",
            "AssumeRolePolicyDocument",
            "Policies/PolicyName",
            "Policies/PolicyDocument",
            "Description",
            "ManagedPolicyArns",
            "MaxSessionDuration",
            "PermissionsBoundary",
            "Tags",
        ],
        &RoleType,
    )
    .named_by("RoleName"),
    ResourceType::new(
        "AWS::IAM::InstanceProfile",
        &["InstanceProfileName", "Roles"],
        &InstanceProfile,
    )
    .named_by("InstanceProfileName"),
    ResourceType::new(
        "AWS::IAM::ManagedPolicy",
        &["ManagedPolicyName", "PolicyDocument", "Description"],
        &PolicyType,
    )
    .named_by("ManagedPolicyName"),
];

#[derive(Debug)]
struct RoleType;

impl RoleType {
    fn set(place: &Place<'_>, id: &str, p: &Value) -> Made {
        let cloud = place.cloud;
        let policies = p["Policies"].as_array().into_iter().flatten();
        let named = |d: &Value| (text(d, "PolicyName").to_owned(), d["PolicyDocument"].clone());
        let policies: Vec<(String, Value)> = policies.map(named).collect();
        for (name, document) in &policies {
            check_policy(document).map_err(|e| format!("the policy {name} is malformed: {e}"))?;
        }
        check_inline_size(id, &policies)?;
        let trust = p["AssumeRolePolicyDocument"].clone();
        check_trust(cloud, &trust).map_err(|e| format!("the trust policy is malformed: {e}"))?;
        let attached = p["ManagedPolicyArns"].as_array().into_iter().flatten();
        let attached: Vec<String> = attached.filter_map(Value::as_str).map(str::to_owned).collect();
        let boundary = p["PermissionsBoundary"].as_str();
        for arn in attached.iter().map(String::as_str).chain(boundary) {
            policies::attachable(cloud, arn).map_err(|refusal| refusal.message)?;
        }
        let existing = cloud.services.iam.roles.get(id);
        let mut role = existing.map_or_else(|| Role::new(trust.clone()), |role| (*role).clone());
        role.trust = trust;
        role.policies = policies;
        role.tags = p["Tags"].clone();
        role.description = p["Description"].as_str().map(str::to_owned);
        (role.attached, role.boundary) = (attached, boundary.map(str::to_owned));
        let default = u64::from(session_secs_default());
        let secs = number(&p["MaxSessionDuration"], default);
        role.session_secs_max = u32::try_from(secs).unwrap_or(u32::MAX);
        let role_id = role.id.clone();
        cloud.services.iam.roles.put(id, role)?;
        let arn = cloud.config.global_arn("iam", &format!("role/{id}"));
        Ok(attributes(json!({ "Arn": arn, "RoleId": role_id })))
    }
}

#[async_trait]
impl Handler for RoleType {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.iam.roles.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.cloud.services.iam.roles.remove(id)?;
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.iam.roles.get(id).map(|role| {
            let policy = |(name, document): &(String, Value)| {
                json!({ "PolicyName": name, "PolicyDocument": document })
            };
            json!({
                "RoleName": id, "AssumeRolePolicyDocument": role.trust,
                "Policies": role.policies.iter().map(policy).collect::<Vec<_>>(),
                "Description": role.description, "Tags": role.tags,
                "ManagedPolicyArns": role.attached, "PermissionsBoundary": role.boundary,
                "MaxSessionDuration": role.session_secs_max,
            })
        }))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.iam.roles.names(""))
    }
}

#[derive(Debug)]
struct InstanceProfile;

impl InstanceProfile {
    fn set(place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let iam = &place.cloud.services.iam;
        let role = properties["Roles"][0].as_str().unwrap_or_default();
        if !iam.roles.contains(role) {
            return Err(format!("The role with name {role} cannot be found.").into());
        }
        place.may_pass(role, "ec2.amazonaws.com")?;
        let existing = iam.profiles.get(id);
        let mut profile = existing.map_or_else(|| Profile::new(role), |profile| (*profile).clone());
        profile.role = role.to_owned();
        iam.profiles.put(id, profile)?;
        let arn = place.cloud.config.global_arn("iam", &format!("instance-profile/{id}"));
        Ok(attributes(json!({ "Arn": arn })))
    }
}

#[async_trait]
impl Handler for InstanceProfile {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.iam.profiles.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        Self::set(place, id, properties)
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        place.cloud.services.iam.profiles.remove(id)?;
        Ok(())
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        let profile = cloud.services.iam.profiles.get(id);
        Live::of(profile.map(|p| json!({ "InstanceProfileName": id, "Roles": [p.role] })))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.iam.profiles.names(""))
    }
}

#[derive(Debug)]
struct PolicyType;

#[async_trait]
impl Handler for PolicyType {
    fn id(&self, place: &Place<'_>, name: Option<&str>, _: &Value) -> String {
        policies::arn(place.cloud, &name.map_or_else(|| place.name(), str::to_owned))
    }

    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.iam.managed.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        let mut params = json!({
            "PolicyName": id.rsplit('/').next().unwrap_or(id),
            "PolicyDocument": properties["PolicyDocument"].to_string(),
        });
        if let Some(description) = properties["Description"].as_str() {
            params["Description"] = description.into();
        }
        let made = place.call("iam", "CreatePolicy", &params).await?;
        Ok(attributes(json!({ "PolicyArn": id, "PolicyId": made["Policy"]["PolicyId"] })))
    }

    /// The oldest version makes room, as AWS's handler does it.
    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, _: &Value) -> Made {
        let arn = json!({ "PolicyArn": id });
        let listed = place.call("iam", "ListPolicyVersions", &arn).await?;
        let versions = listed["Versions"].as_array().cloned().unwrap_or_default();
        let oldest = versions.iter().rev().find(|version| version["IsDefaultVersion"] == false);
        if let Some(oldest) = oldest.filter(|_| versions.len() >= 5) {
            let params = json!({ "PolicyArn": id, "VersionId": oldest["VersionId"] });
            place.call("iam", "DeletePolicyVersion", &params).await?;
        }
        let params = json!({
            "PolicyArn": id, "PolicyDocument": properties["PolicyDocument"].to_string(),
            "SetAsDefault": true,
        });
        place.call("iam", "CreatePolicyVersion", &params).await?;
        Ok(Map::new())
    }

    async fn delete(&self, place: &Place<'_>, id: &str, _: &Value) -> Result<(), String> {
        let arn = json!({ "PolicyArn": id });
        let listed = match place.call("iam", "ListPolicyVersions", &arn).await {
            Err(Failure::Gone(_)) => return Ok(()),
            listed => listed.map_err(|failure| failure.to_string())?,
        };
        let versions = listed["Versions"].as_array().into_iter().flatten();
        for version in versions.filter(|version| version["IsDefaultVersion"] == false) {
            let params = json!({ "PolicyArn": id, "VersionId": version["VersionId"] });
            place.call_unless_gone("iam", "DeletePolicyVersion", &params).await?;
        }
        place.call_unless_gone("iam", "DeletePolicy", &arn).await
    }

    fn read(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Live {
        Live::of(cloud.services.iam.managed.get(id).map(|policy| {
            json!({
                "ManagedPolicyName": policy.name, "Description": policy.description,
                "PolicyDocument": policy.document(),
            })
        }))
    }

    fn list(&self, cloud: &Arc<Cloud>) -> Option<Vec<String>> {
        Some(cloud.services.iam.managed.names(""))
    }
}
