//! API of IAM: roles with their policies, managed policies of the account, boundaries, and what
//! policies would decide. Groups, users, AWS's own policies and paths are refused by name.

pub mod policies;
mod resources;
mod simulate;

use serde_json::{Value, json};

use crate::kernel::cloud::Opening;
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam::{check_inline_size, check_policy, check_trust};
use crate::kernel::service::{Call, Service};
use crate::kernel::store::Table;
use crate::services::required;
use crate::{model, op};
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// What IAM has.
#[derive(Debug)]
pub struct State {
    /// Roles by name.
    pub roles: Table<Role>,
    /// Instance profiles by name.
    pub profiles: Table<Profile>,
    /// Managed policies by ARN.
    pub managed: Table<policies::ManagedPolicy>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            roles: opening.table("roles"),
            profiles: opening.table("profiles"),
            managed: opening.table("managed_policies"),
        })
    }
}

/// A role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Role {
    /// Its ID: `AROA…`.
    pub id: String,
    /// Who may take it on.
    pub trust: Value,
    /// Inline policies by name.
    pub policies: Vec<(String, Value)>,
    /// Tags.
    pub tags: Value,
    /// When it was made.
    pub created: jiff::Timestamp,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Seconds that a session of STS may last.
    #[serde(default = "session_secs_default")]
    pub session_secs_max: u32,
    /// ARNs of managed policies.
    #[serde(default)]
    pub attached: Vec<String>,
    /// ARN of the permissions boundary.
    #[serde(default)]
    pub boundary: Option<String>,
}

/// AWS's default for [`Role::session_secs_max`].
pub fn session_secs_default() -> u32 {
    3_600
}

/// An instance profile.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "StoredProfile")]
pub struct Profile {
    /// Its unique ID.
    pub id: String,
    /// Name of its role.
    pub role: String,
    /// When it was made.
    pub created: jiff::Timestamp,
}

/// A profile's record; older ones are the name of the role alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum StoredProfile {
    Role(String),
    Whole { id: String, role: String, created: jiff::Timestamp },
}

impl From<StoredProfile> for Profile {
    fn from(stored: StoredProfile) -> Self {
        match stored {
            StoredProfile::Role(role) => Self::new(&role),
            StoredProfile::Whole { id, role, created } => Self { id, role, created },
        }
    }
}

impl Profile {
    /// A new profile of a role.
    pub fn new(role: &str) -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self {
            id: format!("AIPA{}", random[..17].to_uppercase()),
            role: role.to_owned(),
            created: jiff::Timestamp::now(),
        }
    }
}

impl Role {
    /// A new role without permissions.
    pub fn new(trust: Value) -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self {
            id: format!("AROA{}", random[..17].to_uppercase()),
            trust,
            policies: vec![],
            tags: Value::Null,
            created: jiff::Timestamp::now(),
            description: None,
            session_secs_max: session_secs_default(),
            attached: vec![],
            boundary: None,
        }
    }
}

/// API of IAM.
pub static SERVICE: Service = Service {
    invalid: "ValidationError",
    types: resources::TYPES,
    ..Service::new(
        "iam",
        model!("iam"),
        &[
            op!(CreateRole(
            RoleName, AssumeRolePolicyDocument, Description, MaxSessionDuration, Tags, Path,
            PermissionsBoundary
        ) => |call| create(call.cloud, role_name(call)?, call.params)),
            op!(DeleteRole(RoleName) => |call| delete(call.cloud, role_name(call)?)),
            op!(GetRole(RoleName) => get_role),
            op!(ListRoles() => list_roles),
            op!(PutRolePolicy(RoleName, PolicyName, PolicyDocument)
            => |call| put_policy(call.cloud, role_name(call)?, call.params)),
            op!(DeleteRolePolicy(RoleName, PolicyName)
            => |call| delete_policy(call.cloud, role_name(call)?, call.required("PolicyName")?)),
            op!(GetRolePolicy(RoleName, PolicyName)
            => |call| get_policy(call.cloud, role_name(call)?, call.required("PolicyName")?)),
            op!(ListRolePolicies(RoleName) => list_policies),
            op!(GetInstanceProfile(InstanceProfileName) => get_profile),
            op!(CreatePolicy(PolicyName, PolicyDocument, Description, Path) => policies::create),
            op!(GetPolicy(PolicyArn) => policies::get),
            op!(ListPolicies(Scope, OnlyAttached) => policies::list),
            op!(DeletePolicy(PolicyArn) => policies::delete),
            op!(CreatePolicyVersion(PolicyArn, PolicyDocument, SetAsDefault)
            => policies::create_version),
            op!(GetPolicyVersion(PolicyArn, VersionId) => policies::get_version),
            op!(ListPolicyVersions(PolicyArn) => policies::list_versions),
            op!(DeletePolicyVersion(PolicyArn, VersionId) => policies::delete_version),
            op!(SetDefaultPolicyVersion(PolicyArn, VersionId) => policies::set_default),
            op!(AttachRolePolicy(RoleName, PolicyArn) => policies::attach),
            op!(DetachRolePolicy(RoleName, PolicyArn) => policies::detach),
            op!(ListAttachedRolePolicies(RoleName) => policies::attached),
            op!(PutRolePermissionsBoundary(RoleName, PermissionsBoundary)
            => policies::put_boundary),
            op!(DeleteRolePermissionsBoundary(RoleName) => policies::delete_boundary),
            op!(SimulatePrincipalPolicy(
            PolicySourceArn, ActionNames, ResourceArns, PolicyInputList,
            PermissionsBoundaryPolicyInputList, ResourcePolicy, CallerArn, ContextEntries
        ) => simulate::principal),
            op!(SimulateCustomPolicy(
            PolicyInputList, ActionNames, ResourceArns, PermissionsBoundaryPolicyInputList,
            ResourcePolicy, CallerArn, ContextEntries
        ) => simulate::custom),
        ],
    )
};

/// The role that the input names, when the caller may do this with it.
fn role_name<'a>(call: &Call<'a>) -> ApiResult<&'a str> {
    let name = call.required("RoleName")?;
    call.authorize(&call.cloud.config.global_arn("iam", &format!("role/{name}")))?;
    Ok(name)
}

fn get_role(call: &Call<'_>) -> ApiResult {
    let name = role_name(call)?;
    Ok(json!({ "Role": describe(call.cloud, name, &*find(call.cloud, name)?) }))
}

fn list_roles(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let roles = call.cloud.services.iam.roles.all();
    let roles: Vec<Value> =
        roles.iter().map(|(name, role)| describe(call.cloud, name, role)).collect();
    Ok(json!({ "Roles": roles, "IsTruncated": false }))
}

fn list_policies(call: &Call<'_>) -> ApiResult {
    let role = find(call.cloud, role_name(call)?)?;
    let names: Vec<&String> = role.policies.iter().map(|(name, _)| name).collect();
    Ok(json!({ "PolicyNames": names, "IsTruncated": false }))
}

fn get_profile(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, call.required("InstanceProfileName")?);
    let arn = cloud.config.global_arn("iam", &format!("instance-profile/{name}"));
    call.authorize(&arn)?;
    let profile = cloud.services.iam.profiles.get(name);
    let profile = profile.ok_or_else(|| missing(&format!("Instance Profile {name}")))?;
    // A role that somebody deleted is gone from its profile.
    let role = cloud.services.iam.roles.get(&profile.role);
    let roles: Vec<Value> = role.iter().map(|r| describe(cloud, &profile.role, r)).collect();
    Ok(json!({ "InstanceProfile": {
        "Path": "/", "InstanceProfileName": name, "InstanceProfileId": profile.id, "Arn": arn,
        "CreateDate": iso(profile.created), "Roles": roles,
    } }))
}

fn create(cloud: &Cloud, name: &str, params: &Value) -> ApiResult {
    if params["Path"].as_str().is_some_and(|path| path != "/") {
        return Err(ApiError::unknown_parameter("Path", "iam:CreateRole"));
    }
    let trust = document(required(params, "AssumeRolePolicyDocument")?)?;
    check_trust(cloud, &trust).map_err(refused)?;
    let mut role = Role::new(trust);
    role.description = params["Description"].as_str().map(str::to_owned);
    if let Some(secs) = params["MaxSessionDuration"].as_u64().and_then(|s| u32::try_from(s).ok()) {
        role.session_secs_max = secs;
    }
    role.tags = tags(&params["Tags"])?;
    if let Some(arn) = params["PermissionsBoundary"].as_str() {
        policies::attachable(cloud, arn)?;
        role.boundary = Some(arn.to_owned());
    }
    // Names are distinguished without regard to case.
    if cloud.services.iam.roles.all().iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
        let message = format!("Role with name {name} already exists.");
        return Err(ApiError::new("EntityAlreadyExists", message).with_status(409));
    }
    let described = describe(cloud, name, &role);
    cloud.services.iam.roles.put(name, role)?;
    Ok(json!({ "Role": described }))
}

/// Tags of a request, each key once.
fn tags(tags: &Value) -> ApiResult {
    let listed = tags.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut keys = std::collections::BTreeSet::new();
    for tag in listed {
        let key = tag["Key"].as_str().unwrap_or_default();
        if key.is_empty() || key.len() > 128 || listed.len() > 50 {
            return Err(ApiError::validation("A role has at most 50 tags with keys of 1 to 128."));
        }
        if !keys.insert(key.to_lowercase()) {
            let message =
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(ApiError::new("InvalidInput", message));
        }
    }
    Ok(if listed.is_empty() { Value::Null } else { tags.clone() })
}

fn delete(cloud: &Cloud, name: &str) -> ApiResult {
    let conflict = |message: &str| ApiError::new("DeleteConflict", message).with_status(409);
    let role = find(cloud, name)?;
    if !role.attached.is_empty() {
        return Err(conflict("Cannot delete entity, must detach all policies first."));
    }
    if !role.policies.is_empty() {
        return Err(conflict("Cannot delete entity, must delete policies first."));
    }
    if cloud.services.iam.profiles.all().iter().any(|(_, profile)| profile.role == name) {
        return Err(conflict(
            "Cannot delete entity, must remove roles from instance profile first.",
        ));
    }
    cloud.services.iam.roles.remove(name)?;
    Ok(json!({}))
}

fn put_policy(cloud: &Cloud, name: &str, params: &Value) -> ApiResult {
    let policy = required(params, "PolicyName")?;
    let document = document(required(params, "PolicyDocument")?)?;
    check_policy(&document).map_err(refused)?;
    let mut policies = find(cloud, name)?.policies.clone();
    policies.retain(|(other, _)| other != policy);
    policies.push((policy.to_owned(), document));
    check_inline_size(name, &policies)
        .map_err(|message| ApiError::new("LimitExceeded", message).with_status(409))?;
    let changed = cloud.services.iam.roles.update(name, |role| role.policies = policies)?;
    changed.map(|()| json!({})).ok_or_else(|| no_role(name))
}

fn delete_policy(cloud: &Cloud, name: &str, policy: &str) -> ApiResult {
    let remove = |role: &mut Role| {
        let before = role.policies.len();
        role.policies.retain(|(other, _)| other != policy);
        role.policies.len() < before
    };
    match cloud.services.iam.roles.update(name, remove)? {
        Some(true) => Ok(json!({})),
        Some(false) => Err(missing(&format!("The role policy with name {policy}"))),
        None => Err(no_role(name)),
    }
}

fn get_policy(cloud: &Cloud, name: &str, policy: &str) -> ApiResult {
    let role = find(cloud, name)?;
    let (_, document) = role
        .policies
        .iter()
        .find(|(n, _)| n == policy)
        .ok_or_else(|| missing(&format!("The role policy with name {policy}")))?;
    Ok(json!({
        "RoleName": name, "PolicyName": policy, "PolicyDocument": percent_encoded(document)
    }))
}

/// Documents come as text.
fn document(text: &str) -> ApiResult {
    serde_json::from_str(text)
        .map_err(|_| ApiError::new("MalformedPolicyDocument", "This policy contains invalid Json"))
}

fn refused(message: String) -> ApiError {
    let code = if message.starts_with("Cannot exceed quota") {
        return ApiError::new("LimitExceeded", message).with_status(409);
    } else {
        "MalformedPolicyDocument"
    };
    ApiError::new(code, message)
}

fn missing(what: &str) -> ApiError {
    ApiError::new("NoSuchEntity", format!("{what} cannot be found.")).with_status(404)
}

fn no_role(name: &str) -> ApiError {
    missing(&format!("The role with name {name}"))
}

fn find(cloud: &Cloud, name: &str) -> ApiResult<std::sync::Arc<Role>> {
    cloud.services.iam.roles.get(name).ok_or_else(|| no_role(name))
}

/// AWS percent-encodes documents (RFC 3986).
fn percent_encoded(document: &Value) -> String {
    let encoded: String =
        url::form_urlencoded::byte_serialize(document.to_string().as_bytes()).collect();
    encoded.replace('+', "%20")
}

fn describe(cloud: &Cloud, name: &str, role: &Role) -> Value {
    let mut described = json!({
        "Path": "/", "RoleName": name, "RoleId": role.id,
        "Arn": cloud.config.global_arn("iam", &format!("role/{name}")),
        "CreateDate": iso(role.created),
        "AssumeRolePolicyDocument": percent_encoded(&role.trust),
        "MaxSessionDuration": role.session_secs_max, "Tags": role.tags,
    });
    if let Some(description) = &role.description {
        described["Description"] = json!(description);
    }
    if let Some(arn) = &role.boundary {
        described["PermissionsBoundary"] =
            json!({ "PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn });
    }
    described
}
