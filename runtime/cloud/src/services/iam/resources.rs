//! What templates can make of IAM.

mod attached;
mod holders;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use self::holders::{Change, texts};
use super::bearers::{self, Bearer};
use super::{Profile, Role, policies, session_secs_default};
use crate::kernel::cloud::Cloud;
use crate::kernel::iam::{check_inline_size, check_policy, check_trust};
use crate::kernel::resource::{
    Failure, Handler, Live, Made, Place, ResourceType, attributes, handler, number, text,
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
        &["ManagedPolicyName", "PolicyDocument", "Description", "Groups", "Roles", "Users"],
        &attached::Managed,
    )
    .named_by("ManagedPolicyName"),
    ResourceType::new(
        "AWS::IAM::Policy",
        &["PolicyName", "PolicyDocument", "Groups", "Roles", "Users"],
        &attached::Inline,
    ),
    ResourceType::new(
        "AWS::IAM::User",
        &[
            "UserName",
            "Groups",
            "ManagedPolicyArns",
            "PermissionsBoundary",
            "Policies/PolicyName",
            "Policies/PolicyDocument",
            "Tags",
        ],
        &holders::Users,
    )
    .named_by("UserName"),
    ResourceType::new(
        "AWS::IAM::Group",
        &["GroupName", "ManagedPolicyArns", "Policies/PolicyName", "Policies/PolicyDocument"],
        &holders::Groups,
    )
    .named_by("GroupName"),
    ResourceType::new("AWS::IAM::AccessKey", &["UserName", "Serial", "Status"], &holders::Keys),
    ResourceType::new("AWS::IAM::UserToGroupAddition", &["GroupName", "Users"], &holders::Members),
];

#[derive(Debug)]
struct RoleType;

impl RoleType {
    /// Brings a role from the properties `old` to those of `p`. What it got by other ways stays.
    fn set(place: &Place<'_>, id: &str, p: &Value, old: &Value) -> Made {
        let cloud = place.cloud;
        let trust = p["AssumeRolePolicyDocument"].clone();
        check_trust(cloud, &trust).map_err(|e| format!("the trust policy is malformed: {e}"))?;
        let boundary = p["PermissionsBoundary"].as_str();
        for arn in texts(&p["ManagedPolicyArns"]).into_iter().chain(boundary) {
            policies::attachable(cloud, arn).map_err(|refusal| Failure::told("iam", &refusal))?;
        }
        let existing = cloud.services.iam.roles.get(id);
        let mut role = existing.map_or_else(|| Role::new(trust.clone()), |role| (*role).clone());
        role.trust = trust;
        Self::set_policies(&mut role, id, p, old)?;
        role.tags = p["Tags"].clone();
        role.description = p["Description"].as_str().map(str::to_owned);
        role.boundary = boundary.map(str::to_owned);
        let default = u64::from(session_secs_default());
        let secs = number(&p["MaxSessionDuration"], default);
        role.session_secs_max = u32::try_from(secs).unwrap_or(u32::MAX);
        let role_id = role.id.clone();
        cloud.services.iam.roles.put(id, role)?;
        let arn = cloud.config.global_arn("iam", &format!("role/{id}"));
        Ok(attributes(json!({ "Arn": arn, "RoleId": role_id })))
    }

    fn set_policies(role: &mut Role, id: &str, p: &Value, old: &Value) -> Result<(), String> {
        let (gone, added) = (Self::inline(old), Self::inline(p));
        for (name, document) in &added {
            check_policy(document).map_err(|e| format!("the policy {name} is malformed: {e}"))?;
        }
        role.policies.retain(|(name, _)| !gone.iter().chain(&added).any(|(n, _)| n == name));
        role.policies.extend(added);
        check_inline_size(&format!("role {id}"), &role.policies, Role::INLINE_BYTES_MAX)?;
        let Change { gone, added } = Change::of(&old["ManagedPolicyArns"], &p["ManagedPolicyArns"]);
        role.attached.retain(|arn| !gone.contains(arn) && !added.contains(arn));
        role.attached.extend(added);
        match role.attached.len() <= bearers::ATTACHED_MAX {
            true => Ok(()),
            false => {
                let most = bearers::ATTACHED_MAX;
                Err(handler(
                    &format!("Cannot exceed quota for PoliciesPerRole: {most}"),
                    "ServiceLimitExceeded",
                ))
            }
        }
    }

    fn inline(p: &Value) -> Vec<(String, Value)> {
        let policies = p["Policies"].as_array().into_iter().flatten();
        let named = |d: &Value| (text(d, "PolicyName").to_owned(), d["PolicyDocument"].clone());
        policies.map(named).collect()
    }
}

#[async_trait]
impl Handler for RoleType {
    fn exists(&self, cloud: &Arc<Cloud>, id: &str, _: &Value) -> Option<bool> {
        Some(cloud.services.iam.roles.contains(id))
    }

    async fn create(&self, place: &Place<'_>, id: &str, properties: &Value) -> Made {
        Self::set(place, id, properties, &Value::Null)
    }

    async fn update(&self, place: &Place<'_>, id: &str, properties: &Value, old: &Value) -> Made {
        Self::set(place, id, properties, old)
    }

    /// A role that got policies by other ways is not deleted, in the words of IAM.
    async fn delete(&self, place: &Place<'_>, id: &str, properties: &Value) -> Result<(), String> {
        let roles = &place.cloud.services.iam.roles;
        let Some(role) = roles.get(id) else { return Ok(()) };
        let mut left = (*role).clone();
        Self::set_policies(&mut left, id, &Value::Null, properties)?;
        bearers::check_bare(&mut left)
            .map_err(|refusal| Failure::told("iam", &refusal).to_string())?;
        roles.remove(id)?;
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
