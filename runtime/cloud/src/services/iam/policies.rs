//! Managed policies of the account and AWS's own ([`super::aws`]), which are read as those of the
//! account are and cannot be changed.
//!
//! Differences from AWS: `ListPolicies` shows of AWS's policies those that are here.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_managed-versioning.html>

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::records::unique_id;
use super::{aws, check_path, document, limit_exceeded, page, percent_encoded, refused};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam::{check_policy, document_size};
use crate::kernel::service::Call;

/// Bytes of a policy without white space.
const POLICY_BYTES_MAX: usize = 6_144;
/// Versions of a policy.
pub const VERSIONS_MAX: usize = 5;

/// A managed policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ManagedPolicy {
    /// Its name.
    pub name: String,
    /// Its ID: `ANPA…`; AWS's own have none here.
    pub id: Option<String>,
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
    if aws::is_arn(arn) {
        return aws::attachable(arn);
    }
    if !arn.starts_with("arn:") {
        return Err(ApiError::validation("Invalid ARN:  Could not be parsed!"));
    }
    cloud.services.iam.managed.get(arn).ok_or_else(|| not_attachable(arn))
}

/// The document in force of a policy.
pub fn document_of(cloud: &Cloud, arn: &str) -> Option<Value> {
    let policy = aws::get(arn).or_else(|| cloud.services.iam.managed.get(arn))?;
    Some(policy.document().clone())
}

/// That there is no policy to attach.
pub fn not_attachable(arn: &str) -> ApiError {
    let message = format!("Policy {arn} does not exist or is not attachable.");
    ApiError::new("NoSuchEntity", message).with_status(404)
}

/// That there is no policy, or that it is not attached.
pub fn not_found(arn: &str) -> ApiError {
    let message = format!("Policy {arn} was not found.");
    ApiError::new("NoSuchEntity", message).with_status(404)
}

fn find<'a>(call: &Call<'a>) -> ApiResult<(&'a str, Arc<ManagedPolicy>)> {
    let arn = call.required("PolicyArn")?;
    call.authorize(arn)?;
    if aws::is_arn(arn) {
        return Ok((arn, aws::find(arn, not_found)?));
    }
    let found = call.cloud.services.iam.managed.get(arn);
    Ok((arn, found.ok_or_else(|| not_found(arn))?))
}

/// A policy to be changed: AWS's own belong to AWS's account, where nobody has rights.
fn find_own<'a>(call: &Call<'a>) -> ApiResult<(&'a str, Arc<ManagedPolicy>)> {
    let (arn, policy) = find(call)?;
    if !aws::is_arn(arn) {
        return Ok((arn, policy));
    }
    let message = format!(
        "User: {} is not authorized to perform: {} on resource: policy {arn}",
        call.caller.arn,
        call.action()
    );
    Err(ApiError::new("AccessDenied", message).with_status(403))
}

/// How often policies are used.
#[derive(Default)]
struct Usage {
    attached: BTreeMap<String, u32>,
    boundaries: BTreeMap<String, u32>,
}

impl Usage {
    fn of(cloud: &Cloud) -> Self {
        let (iam, mut usage) = (&cloud.services.iam, Self::default());
        let mut add = |attached: &[String], boundary: Option<&String>| {
            for arn in attached {
                *usage.attached.entry(arn.clone()).or_default() += 1;
            }
            if let Some(arn) = boundary {
                *usage.boundaries.entry(arn.clone()).or_default() += 1;
            }
        };
        iam.roles.all().iter().for_each(|(_, role)| add(&role.attached, role.boundary.as_ref()));
        iam.users.all().iter().for_each(|(_, user)| add(&user.attached, user.boundary.as_ref()));
        iam.groups.all().iter().for_each(|(_, group)| add(&group.attached, None));
        usage
    }

    fn described(&self, arn: &str, policy: &ManagedPolicy) -> Value {
        let newest = policy.versions.last().map_or(policy.created, |version| version.created);
        let name = arn.split_once(":policy").map_or(arn, |(_, name)| name);
        json!({
            "PolicyName": policy.name, "PolicyId": policy.id, "Arn": arn,
            "Path": name.strip_suffix(&policy.name),
            "DefaultVersionId": format!("v{}", policy.default),
            "AttachmentCount": self.attached.get(arn).unwrap_or(&0),
            "PermissionsBoundaryUsageCount": self.boundaries.get(arn).unwrap_or(&0),
            "IsAttachable": true, "CreateDate": iso(policy.created), "UpdateDate": iso(newest),
        })
    }
}

fn checked(text: &str) -> ApiResult {
    let document = document(text)?;
    check_policy(&document).map_err(refused)?;
    if document_size(&document) > POLICY_BYTES_MAX {
        let message = format!("Cannot exceed quota for PolicySize: {POLICY_BYTES_MAX}");
        return Err(limit_exceeded(message));
    }
    Ok(document)
}

/// `CreatePolicy`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let name = call.required("PolicyName")?;
    let arn = arn(cloud, name);
    call.authorize(&arn)?;
    check_path(call)?;
    let document = checked(call.required("PolicyDocument")?)?;
    let created = cloud.clock.now();
    let policy = ManagedPolicy {
        name: name.to_owned(),
        id: Some(unique_id("ANPA")),
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
    Ok(json!({ "Policy": Usage::of(cloud).described(&arn, &policy) }))
}

/// `GetPolicy`. Only here AWS tells what a policy is for.
pub fn get(call: &Call<'_>) -> ApiResult {
    let (arn, policy) = find(call)?;
    let mut shown = Usage::of(call.cloud).described(arn, &policy);
    shown["Description"] = policy.description.as_deref().into();
    shown["Tags"] = json!([]);
    Ok(json!({ "Policy": shown }))
}

/// `ListPolicies`: those of the account, then AWS's own.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let scope = call.text("Scope").unwrap_or("All");
    let own = if scope == "AWS" { vec![] } else { call.cloud.services.iam.managed.all() };
    let aws = aws::all().filter(|_| scope != "Local");
    let own = own.iter().map(|(arn, policy)| (arn.as_str(), policy));
    let usage = Usage::of(call.cloud);
    let prefix = call.text("PathPrefix").unwrap_or("/");
    let wanted = |policy: &Value| {
        let is_attached = policy["AttachmentCount"] != 0;
        let is_there = policy["Path"].as_str().is_some_and(|path| path.starts_with(prefix));
        is_there && (is_attached || call.params["OnlyAttached"] != true)
    };
    let shown = own.chain(aws).map(|(arn, policy)| usage.described(arn, policy)).filter(wanted);
    page(call, "Policies", shown.collect())
}

/// `DeletePolicy`: with its versions, when nothing has it.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (arn, policy) = find_own(call)?;
    let conflict = |message: &str| ApiError::new("DeleteConflict", message).with_status(409);
    let shown = Usage::of(call.cloud).described(arn, &policy);
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

fn version_of<'p>(arn: &str, policy: &'p ManagedPolicy, id: &str) -> ApiResult<&'p Version> {
    let is_it = |version: &&Version| format!("v{}", version.number) == id;
    if let Some(version) = policy.versions.iter().find(is_it) {
        return Ok(version);
    }
    let number = id.strip_prefix('v').and_then(|number| number.parse::<u32>().ok());
    if aws::is_arn(arn) && number.is_some_and(|number| number < policy.default) {
        return Err(aws::no_former_version(arn, id));
    }
    let message = format!("Policy {arn} version {id} does not exist or is not attachable.");
    Err(ApiError::new("NoSuchEntity", message).with_status(404))
}

/// `GetPolicyVersion`.
pub fn get_version(call: &Call<'_>) -> ApiResult {
    let (arn, policy) = find(call)?;
    let version = version_of(arn, &policy, call.required("VersionId")?)?;
    Ok(json!({ "PolicyVersion": version_shown(&policy, version, true) }))
}

/// `ListPolicyVersions`, the newest first; of AWS's own policies the one in force.
pub fn list_versions(call: &Call<'_>) -> ApiResult {
    let (_, policy) = find(call)?;
    let versions = policy.versions.iter().rev().map(|v| version_shown(&policy, v, false));
    page(call, "Versions", versions.collect())
}

/// `CreatePolicyVersion`.
pub fn create_version(call: &Call<'_>) -> ApiResult {
    let (arn, policy) = find_own(call)?;
    let document = checked(call.required("PolicyDocument")?)?;
    if policy.versions.len() >= VERSIONS_MAX {
        let message = format!(
            "A managed policy can have up to {VERSIONS_MAX} versions. Before you create a new \
             version, you must delete an existing version."
        );
        return Err(limit_exceeded(message));
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
    let (arn, policy) = find_own(call)?;
    let number = version_of(arn, &policy, call.required("VersionId")?)?.number;
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
    let (arn, policy) = find_own(call)?;
    let number = version_of(arn, &policy, call.required("VersionId")?)?.number;
    call.cloud.services.iam.managed.update(arn, |policy| policy.default = number)?;
    Ok(json!({}))
}
