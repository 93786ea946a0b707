//! API of IAM: roles, users and groups with their policies, access keys of users, managed policies
//! of the account and AWS's own, boundaries, and what policies would decide.
//!
//! Differences from AWS: paths are refused by name, and so are passwords and all credentials of
//! users but access keys. Changes are in force at once, which on AWS takes seconds.

mod aws;
pub mod bearers;
mod entities;
mod groups;
mod keys;
pub mod policies;
mod records;
mod resources;
mod roles;
mod simulate;
mod users;

use serde_json::Value;

pub use self::records::{Group, Profile, Role, User, session_secs_default};

use crate::kernel::cloud::Opening;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::{Call, Service};
use crate::kernel::store::Table;
use crate::{model, op};
use anyhow::Result;

/// Lists of IAM.
const PAGES: Pages =
    Pages { items: 100, ..Pages::of("MaxItems", "Marker", 1_000).refusing("ValidationError") };

/// What IAM has. Access keys are with the kernel's identities.
#[derive(Debug)]
pub struct State {
    /// Roles by name.
    pub roles: Table<Role>,
    /// Users by name.
    pub users: Table<User>,
    /// Groups by name.
    pub groups: Table<Group>,
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
            users: opening.table("users"),
            groups: opening.table("groups"),
            profiles: opening.table("profiles"),
            managed: opening.table("managed_policies"),
        })
    }
}

/// API of IAM.
pub static SERVICE: Service = Service {
    invalid: "ValidationError",
    types: resources::TYPES,
    ..Service::new("iam", model!("iam"), OPERATIONS)
};

const OPERATIONS: &[crate::kernel::service::Operation] = &[
    op!(CreateRole(
        RoleName, AssumeRolePolicyDocument, Description, MaxSessionDuration, Tags, Path,
        PermissionsBoundary
    ) => roles::create),
    op!(DeleteRole(RoleName) => roles::delete),
    op!(GetRole(RoleName) => roles::get),
    op!(ListRoles(Marker, MaxItems) => roles::list),
    op!(PutRolePolicy(RoleName, PolicyName, PolicyDocument) => bearers::put_policy::<Role>),
    op!(DeleteRolePolicy(RoleName, PolicyName) => bearers::delete_policy::<Role>),
    op!(GetRolePolicy(RoleName, PolicyName) => bearers::get_policy::<Role>),
    op!(ListRolePolicies(RoleName, Marker, MaxItems) => bearers::list_policies::<Role>),
    op!(AttachRolePolicy(RoleName, PolicyArn) => bearers::attach::<Role>),
    op!(DetachRolePolicy(RoleName, PolicyArn) => bearers::detach::<Role>),
    op!(ListAttachedRolePolicies(RoleName, Marker, MaxItems) => bearers::list_attached::<Role>),
    op!(PutRolePermissionsBoundary(RoleName, PermissionsBoundary)
        => bearers::put_boundary::<Role>),
    op!(DeleteRolePermissionsBoundary(RoleName) => bearers::delete_boundary::<Role>),
    op!(TagRole(RoleName, Tags) => bearers::tag::<Role>),
    op!(UntagRole(RoleName, TagKeys) => bearers::untag::<Role>),
    op!(ListRoleTags(RoleName, Marker, MaxItems) => bearers::list_tags::<Role>),
    op!(GetInstanceProfile(InstanceProfileName) => roles::get_profile),
    op!(CreateUser(UserName, Path, PermissionsBoundary, Tags) => users::create),
    op!(GetUser(UserName) => users::get),
    op!(ListUsers(Marker, MaxItems) => users::list),
    op!(DeleteUser(UserName) => users::delete),
    op!(PutUserPolicy(UserName, PolicyName, PolicyDocument) => bearers::put_policy::<User>),
    op!(DeleteUserPolicy(UserName, PolicyName) => bearers::delete_policy::<User>),
    op!(GetUserPolicy(UserName, PolicyName) => bearers::get_policy::<User>),
    op!(ListUserPolicies(UserName, Marker, MaxItems) => bearers::list_policies::<User>),
    op!(AttachUserPolicy(UserName, PolicyArn) => bearers::attach::<User>),
    op!(DetachUserPolicy(UserName, PolicyArn) => bearers::detach::<User>),
    op!(ListAttachedUserPolicies(UserName, Marker, MaxItems) => bearers::list_attached::<User>),
    op!(PutUserPermissionsBoundary(UserName, PermissionsBoundary)
        => bearers::put_boundary::<User>),
    op!(DeleteUserPermissionsBoundary(UserName) => bearers::delete_boundary::<User>),
    op!(TagUser(UserName, Tags) => bearers::tag::<User>),
    op!(UntagUser(UserName, TagKeys) => bearers::untag::<User>),
    op!(ListUserTags(UserName, Marker, MaxItems) => bearers::list_tags::<User>),
    op!(CreateAccessKey(UserName) => keys::create),
    op!(ListAccessKeys(UserName, Marker, MaxItems) => keys::list),
    op!(UpdateAccessKey(UserName, AccessKeyId, Status) => keys::update),
    op!(DeleteAccessKey(UserName, AccessKeyId) => keys::delete),
    op!(CreateGroup(GroupName, Path) => groups::create),
    op!(GetGroup(GroupName, Marker, MaxItems) => groups::get),
    op!(ListGroups(Marker, MaxItems) => groups::list),
    op!(DeleteGroup(GroupName) => groups::delete),
    op!(AddUserToGroup(GroupName, UserName) => users::add_to_group),
    op!(RemoveUserFromGroup(GroupName, UserName) => users::remove_from_group),
    op!(ListGroupsForUser(UserName, Marker, MaxItems) => users::list_groups),
    op!(PutGroupPolicy(GroupName, PolicyName, PolicyDocument) => bearers::put_policy::<Group>),
    op!(DeleteGroupPolicy(GroupName, PolicyName) => bearers::delete_policy::<Group>),
    op!(GetGroupPolicy(GroupName, PolicyName) => bearers::get_policy::<Group>),
    op!(ListGroupPolicies(GroupName, Marker, MaxItems) => bearers::list_policies::<Group>),
    op!(AttachGroupPolicy(GroupName, PolicyArn) => bearers::attach::<Group>),
    op!(DetachGroupPolicy(GroupName, PolicyArn) => bearers::detach::<Group>),
    op!(ListAttachedGroupPolicies(GroupName, Marker, MaxItems)
        => bearers::list_attached::<Group>),
    op!(CreatePolicy(PolicyName, PolicyDocument, Description, Path) => policies::create),
    op!(GetPolicy(PolicyArn) => policies::get),
    op!(ListPolicies(Scope, OnlyAttached, PathPrefix, Marker, MaxItems) => policies::list),
    op!(ListEntitiesForPolicy(PolicyArn, EntityFilter, PolicyUsageFilter) => entities::list),
    op!(DeletePolicy(PolicyArn) => policies::delete),
    op!(CreatePolicyVersion(PolicyArn, PolicyDocument, SetAsDefault) => policies::create_version),
    op!(GetPolicyVersion(PolicyArn, VersionId) => policies::get_version),
    op!(ListPolicyVersions(PolicyArn, Marker, MaxItems) => policies::list_versions),
    op!(DeletePolicyVersion(PolicyArn, VersionId) => policies::delete_version),
    op!(SetDefaultPolicyVersion(PolicyArn, VersionId) => policies::set_default),
    op!(SimulatePrincipalPolicy(
        PolicySourceArn, ActionNames, ResourceArns, PolicyInputList,
        PermissionsBoundaryPolicyInputList, ResourcePolicy, CallerArn, ContextEntries
    ) => simulate::principal),
    op!(SimulateCustomPolicy(
        PolicyInputList, ActionNames, ResourceArns, PermissionsBoundaryPolicyInputList,
        ResourcePolicy, CallerArn, ContextEntries
    ) => simulate::custom),
];

/// One page of a list.
fn page(call: &Call<'_>, member: &str, items: Vec<Value>) -> ApiResult {
    let mut answer = PAGES.answer(call.params, member, items)?;
    answer["IsTruncated"] = (!answer["Marker"].is_null()).into();
    Ok(answer)
}

/// Refuses paths.
fn check_path(call: &Call<'_>) -> ApiResult<()> {
    match call.text("Path") {
        Some(path) if path != "/" => Err(ApiError::unknown_parameter("Path", &call.action())),
        _ => Ok(()),
    }
}

/// Tags of a request, each key once; `kind` is what they are for.
fn tags(kind: &str, tags: &Value) -> ApiResult {
    let listed = tags.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut keys = std::collections::BTreeSet::new();
    for tag in listed {
        let key = tag["Key"].as_str().unwrap_or_default();
        if key.is_empty() || key.len() > 128 || listed.len() > 50 {
            let words = format!("A {kind} has at most 50 tags with keys of 1 to 128.");
            return Err(ApiError::validation(words));
        }
        if !keys.insert(key.to_lowercase()) {
            let message =
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(ApiError::new("InvalidInput", message));
        }
    }
    Ok(if listed.is_empty() { Value::Null } else { tags.clone() })
}

/// Documents come as text.
fn document(text: &str) -> ApiResult {
    serde_json::from_str(text)
        .map_err(|_| ApiError::new("MalformedPolicyDocument", "This policy contains invalid Json"))
}

fn refused(message: String) -> ApiError {
    match message.starts_with("Cannot exceed quota") {
        true => limit_exceeded(message),
        false => ApiError::new("MalformedPolicyDocument", message),
    }
}

fn limit_exceeded(message: String) -> ApiError {
    ApiError::new("LimitExceeded", message).with_status(409)
}

fn missing(what: &str) -> ApiError {
    ApiError::new("NoSuchEntity", format!("{what} cannot be found.")).with_status(404)
}

/// AWS percent-encodes documents (RFC 3986).
fn percent_encoded(document: &Value) -> String {
    let encoded: String =
        url::form_urlencoded::byte_serialize(document.to_string().as_bytes()).collect();
    encoded.replace('+', "%20")
}
