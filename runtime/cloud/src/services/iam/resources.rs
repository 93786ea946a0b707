//! What templates can make of IAM.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Profile, Role};
use crate::kernel::cloud::Cloud;
use crate::kernel::iam::{check_inline_size, check_policy, check_trust};
use crate::kernel::resource::{Handler, Live, Made, Place, ResourceType, attributes, text};

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
        let existing = cloud.services.iam.roles.get(id);
        let mut role = existing.map_or_else(|| Role::new(trust.clone()), |role| (*role).clone());
        role.trust = trust;
        role.policies = policies;
        role.tags = p["Tags"].clone();
        role.description = p["Description"].as_str().map(str::to_owned);
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
