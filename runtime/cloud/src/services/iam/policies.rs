//! Managed policies of the account, what they are attached to, and permission boundaries. AWS's own
//! policies are not here: what names one is refused.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html>

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Role, document, missing, no_role, percent_encoded, refused, role_name};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam::{check_policy, document_size};
use crate::kernel::service::Call;

/// Bytes of a policy without white space.
const POLICY_BYTES_MAX: usize = 6_144;
/// Versions of a policy.
const VERSIONS_MAX: usize = 5;
/// What ARNs of policies that AWS keeps begin with.
const AWS_POLICIES: &str = "arn:aws:iam::aws:policy/";
/// Policies of a role.
const ATTACHED_MAX: usize = 10;

/// A managed policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ManagedPolicy {
    /// Its name.
    pub name: String,
    /// Its ID: `ANPA…`.
    pub id: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its versions, the oldest first.
    pub versions: Vec<Version>,
    /// Which one is in force.
    pub default: u32,
    /// How many versions it has ever had.
    pub made: u32,
    /// When it was made.
    pub created: Timestamp,
}

/// A version of a policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    /// Its number.
    pub number: u32,
    /// The document.
    pub document: Value,
    /// When it was made.
    pub created: Timestamp,
}

impl ManagedPolicy {
    /// The document in force.
    pub fn document(&self) -> &Value {
        let version = self.versions.iter().find(|version| version.number == self.default);
        version.map_or(&Value::Null, |version| &version.document)
    }
}

/// The ARN of a policy of the account.
pub fn arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.global_arn("iam", &format!("policy/{name}"))
}

/// A policy that can be attached.
pub fn attachable(cloud: &Cloud, arn: &str) -> ApiResult<Arc<ManagedPolicy>> {
    if arn.starts_with(AWS_POLICIES) {
        let message = format!(
            "The embedded cloud does not implement AWS's own policies, among them {arn}: make a \
             policy of the account with the actions that are needed."
        );
        return Err(ApiError::new("NotImplemented", message).with_status(501));
    }
    let gone = || {
        let message = format!("Policy {arn} does not exist or is not attachable.");
        ApiError::new("NoSuchEntity", message).with_status(404)
    };
    cloud.services.iam.managed.get(arn).ok_or_else(gone)
}

fn find<'a>(call: &Call<'a>) -> ApiResult<(&'a str, Arc<ManagedPolicy>)> {
    let arn = call.required("PolicyArn")?;
    call.authorize(arn)?;
    let found = call.cloud.services.iam.managed.get(arn);
    let gone = || {
        let message = format!("Policy {arn} was not found.");
        ApiError::new("NoSuchEntity", message).with_status(404)
    };
    Ok((arn, found.ok_or_else(gone)?))
}

fn described(cloud: &Cloud, arn: &str, policy: &ManagedPolicy) -> Value {
    let roles = cloud.services.iam.roles.all();
    let attached = roles.iter().filter(|(_, role)| role.attached.iter().any(|a| a == arn)).count();
    let bounded = roles.iter().filter(|(_, role)| role.boundary.as_deref() == Some(arn)).count();
    let newest = policy.versions.last().map_or(policy.created, |version| version.created);
    json!({
        "PolicyName": policy.name, "PolicyId": policy.id, "Arn": arn, "Path": "/",
        "DefaultVersionId": format!("v{}", policy.default), "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": bounded, "IsAttachable": true,
        "Description": policy.description, "CreateDate": iso(policy.created),
        "UpdateDate": iso(newest),
    })
}

fn checked(text: &str) -> ApiResult {
    let document = document(text)?;
    check_policy(&document).map_err(refused)?;
    if document_size(&document) > POLICY_BYTES_MAX {
        let message = format!("Cannot exceed quota for PolicySize: {POLICY_BYTES_MAX}");
        return Err(ApiError::new("LimitExceeded", message).with_status(409));
    }
    Ok(document)
}

/// `CreatePolicy`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let name = call.required("PolicyName")?;
    let arn = arn(cloud, name);
    call.authorize(&arn)?;
    if call.text("Path").is_some_and(|path| path != "/") {
        return Err(ApiError::unknown_parameter("Path", "iam:CreatePolicy"));
    }
    let document = checked(call.required("PolicyDocument")?)?;
    let created = cloud.clock.now();
    let random = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
    let policy = ManagedPolicy {
        name: name.to_owned(),
        id: format!("ANPA{}", &random[..17]),
        description: call.text("Description").map(str::to_owned),
        versions: vec![Version { number: 1, document, created }],
        default: 1,
        made: 1,
        created,
    };
    if !cloud.services.iam.managed.create(&arn, policy.clone())? {
        let message =
            format!("A policy called {name} already exists. Duplicate names are not allowed.");
        return Err(ApiError::new("EntityAlreadyExists", message).with_status(409));
    }
    Ok(json!({ "Policy": described(cloud, &arn, &policy) }))
}

/// `GetPolicy`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let (arn, policy) = find(call)?;
    Ok(json!({ "Policy": described(call.cloud, arn, &policy) }))
}

/// `ListPolicies`: those of the account.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    if call.text("Scope") == Some("AWS") {
        return Err(ApiError::unknown_parameter("Scope: AWS", "iam:ListPolicies"));
    }
    let attached_only = call.params["OnlyAttached"] == true;
    let all = call.cloud.services.iam.managed.all();
    let all = all.iter().map(|(arn, policy)| described(call.cloud, arn, policy));
    let all: Vec<Value> = all.filter(|p| !attached_only || p["AttachmentCount"] != 0).collect();
    Ok(json!({ "Policies": all, "IsTruncated": false }))
}

/// `DeletePolicy`: with its versions, when nothing has it.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (arn, policy) = find(call)?;
    let conflict = |message: &str| ApiError::new("DeleteConflict", message).with_status(409);
    let shown = described(call.cloud, arn, &policy);
    if shown["AttachmentCount"] != 0 || shown["PermissionsBoundaryUsageCount"] != 0 {
        return Err(conflict("Cannot delete a policy attached to entities."));
    }
    if policy.versions.len() > 1 {
        return Err(conflict(
            "This policy has more than one version. Before you delete a policy, \
                             you must delete the policy's versions. The default version is \
                             deleted with the policy.",
        ));
    }
    call.cloud.services.iam.managed.remove(arn)?;
    Ok(json!({}))
}

fn version_shown(policy: &ManagedPolicy, version: &Version, with_document: bool) -> Value {
    let mut shown = json!({
        "VersionId": format!("v{}", version.number),
        "IsDefaultVersion": version.number == policy.default,
        "CreateDate": iso(version.created),
    });
    if with_document {
        shown["Document"] = percent_encoded(&version.document).into();
    }
    shown
}

fn version_of<'p>(policy: &'p ManagedPolicy, id: &str) -> ApiResult<&'p Version> {
    let is_it = |version: &&Version| format!("v{}", version.number) == id;
    policy.versions.iter().find(is_it).ok_or_else(|| {
        let message = format!("Policy version {id} does not exist or is not attachable.");
        ApiError::new("NoSuchEntity", message).with_status(404)
    })
}

/// `GetPolicyVersion`.
pub fn get_version(call: &Call<'_>) -> ApiResult {
    let (_, policy) = find(call)?;
    let version = version_of(&policy, call.required("VersionId")?)?;
    Ok(json!({ "PolicyVersion": version_shown(&policy, version, true) }))
}

/// `ListPolicyVersions`, the newest first.
pub fn list_versions(call: &Call<'_>) -> ApiResult {
    let (_, policy) = find(call)?;
    let versions = policy.versions.iter().rev().map(|v| version_shown(&policy, v, false));
    Ok(json!({ "Versions": versions.collect::<Vec<_>>(), "IsTruncated": false }))
}

/// `CreatePolicyVersion`.
pub fn create_version(call: &Call<'_>) -> ApiResult {
    let (arn, policy) = find(call)?;
    let document = checked(call.required("PolicyDocument")?)?;
    if policy.versions.len() >= VERSIONS_MAX {
        let message = format!(
            "A managed policy can have up to {VERSIONS_MAX} versions. Before you create a new \
             version, you must delete an existing version."
        );
        return Err(ApiError::new("LimitExceeded", message).with_status(409));
    }
    let is_default = call.params["SetAsDefault"] == true;
    let created = call.cloud.clock.now();
    let changed = call.cloud.services.iam.managed.update(arn, |policy| {
        policy.made += 1;
        let version = Version { number: policy.made, document, created };
        if is_default {
            policy.default = version.number;
        }
        policy.versions.push(version.clone());
        version_shown(policy, &version, false)
    })?;
    Ok(json!({ "PolicyVersion": changed }))
}

/// `DeletePolicyVersion`.
pub fn delete_version(call: &Call<'_>) -> ApiResult {
    let (arn, policy) = find(call)?;
    let number = version_of(&policy, call.required("VersionId")?)?.number;
    if number == policy.default {
        let message = "Cannot delete the default version of a policy.";
        return Err(ApiError::new("DeleteConflict", message).with_status(409));
    }
    call.cloud.services.iam.managed.update(arn, |policy| {
        policy.versions.retain(|version| version.number != number);
    })?;
    Ok(json!({}))
}

/// `SetDefaultPolicyVersion`.
pub fn set_default(call: &Call<'_>) -> ApiResult {
    let (arn, policy) = find(call)?;
    let number = version_of(&policy, call.required("VersionId")?)?.number;
    call.cloud.services.iam.managed.update(arn, |policy| policy.default = number)?;
    Ok(json!({}))
}

fn change_role(call: &Call<'_>, change: impl FnOnce(&mut Role) -> ApiResult<()>) -> ApiResult {
    let name = role_name(call)?;
    let changed = call.cloud.services.iam.roles.update(name, |role| {
        let mut wanted = role.clone();
        change(&mut wanted).map(|()| *role = wanted)
    })?;
    changed.unwrap_or_else(|| Err(no_role(name)))?;
    Ok(json!({}))
}

/// A policy that a request names and that can be attached.
fn named<'a>(call: &Call<'a>, member: &str) -> ApiResult<&'a str> {
    let arn = call.required(member)?;
    attachable(call.cloud, arn)?;
    Ok(arn)
}

/// `AttachRolePolicy`.
pub fn attach(call: &Call<'_>) -> ApiResult {
    let arn = named(call, "PolicyArn")?;
    change_role(call, |role| {
        if role.attached.iter().any(|attached| attached == arn) {
            return Ok(());
        }
        if role.attached.len() >= ATTACHED_MAX {
            let message = format!("Cannot exceed quota for PoliciesPerRole: {ATTACHED_MAX}");
            return Err(ApiError::new("LimitExceeded", message).with_status(409));
        }
        role.attached.push(arn.to_owned());
        Ok(())
    })
}

/// `DetachRolePolicy`.
pub fn detach(call: &Call<'_>) -> ApiResult {
    let arn = call.required("PolicyArn")?;
    change_role(call, |role| {
        let before = role.attached.len();
        role.attached.retain(|attached| attached != arn);
        match role.attached.len() < before {
            true => Ok(()),
            false => Err(missing(&format!("Policy {arn}"))),
        }
    })
}

/// `ListAttachedRolePolicies`.
pub fn attached(call: &Call<'_>) -> ApiResult {
    let role = super::find(call.cloud, role_name(call)?)?;
    let shown = role.attached.iter().map(|arn| {
        let name = arn.rsplit('/').next().unwrap_or(arn);
        json!({ "PolicyName": name, "PolicyArn": arn })
    });
    Ok(json!({ "AttachedPolicies": shown.collect::<Vec<_>>(), "IsTruncated": false }))
}

/// `PutRolePermissionsBoundary`.
pub fn put_boundary(call: &Call<'_>) -> ApiResult {
    let arn = named(call, "PermissionsBoundary")?;
    change_role(call, |role| {
        role.boundary = Some(arn.to_owned());
        Ok(())
    })
}

/// `DeleteRolePermissionsBoundary`.
pub fn delete_boundary(call: &Call<'_>) -> ApiResult {
    change_role(call, |role| {
        role.boundary = None;
        Ok(())
    })
}
