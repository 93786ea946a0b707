//! Roles and instance profiles.

use serde_json::{Value, json};

use super::bearers::{self, Bearer, conflict, described_boundary, named};
use super::records::Role;
use super::{document, missing, page, percent_encoded, policies, refused, tags};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam::check_trust;
use crate::kernel::service::Call;

/// `GetRole`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let name = named::<Role>(call)?;
    let role = bearers::find(call.cloud, name)?;
    Ok(json!({ "Role": described(call.cloud, name, &role) }))
}

/// `ListRoles`.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let roles = call.cloud.services.iam.roles.all();
    let roles = roles.iter().map(|(name, role)| described(call.cloud, name, role)).collect();
    page(call, "Roles", roles)
}

/// `GetInstanceProfile`.
pub fn get_profile(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, call.required("InstanceProfileName")?);
    let arn = cloud.config.global_arn("iam", &format!("instance-profile/{name}"));
    call.authorize(&arn)?;
    let profile = cloud.services.iam.profiles.get(name);
    let profile = profile.ok_or_else(|| missing(&format!("Instance Profile {name}")))?;
    // A role that somebody deleted is gone from its profile.
    let role = cloud.services.iam.roles.get(&profile.role);
    let roles: Vec<Value> = role.iter().map(|r| described(cloud, &profile.role, r)).collect();
    Ok(json!({ "InstanceProfile": {
        "Path": "/", "InstanceProfileName": name, "InstanceProfileId": profile.id, "Arn": arn,
        "CreateDate": iso(profile.created), "Roles": roles,
    } }))
}

/// `CreateRole`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, named::<Role>(call)?);
    super::check_path(call)?;
    let trust = document(call.required("AssumeRolePolicyDocument")?)?;
    check_trust(cloud, &trust).map_err(refused)?;
    let mut role = Role::new(trust);
    role.description = call.text("Description").map(str::to_owned);
    let secs = call.params["MaxSessionDuration"].as_u64().and_then(|s| u32::try_from(s).ok());
    role.session_secs_max = secs.unwrap_or(role.session_secs_max);
    role.tags = tags(Role::KIND, &call.params["Tags"])?;
    if let Some(arn) = call.text("PermissionsBoundary") {
        policies::attachable(cloud, arn)?;
        role.boundary = Some(arn.to_owned());
    }
    let shown = described(cloud, name, &role);
    if bearers::is_taken::<Role>(cloud, name) || !cloud.services.iam.roles.create(name, role)? {
        let message = format!("Role with name {name} already exists.");
        return Err(ApiError::new("EntityAlreadyExists", message).with_status(409));
    }
    Ok(json!({ "Role": shown }))
}

/// `DeleteRole`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, named::<Role>(call)?);
    bearers::check_bare(&mut bearers::find::<Role>(cloud, name)?)?;
    if cloud.services.iam.profiles.all().iter().any(|(_, profile)| profile.role == name) {
        return Err(conflict("remove roles from instance profile"));
    }
    cloud.services.iam.roles.remove(name)?;
    Ok(json!({}))
}

fn described(cloud: &Cloud, name: &str, role: &Role) -> Value {
    let mut described = json!({
        "Path": "/", "RoleName": name, "RoleId": role.id,
        "Arn": bearers::arn::<Role>(cloud, name),
        "CreateDate": iso(role.created),
        "AssumeRolePolicyDocument": percent_encoded(&role.trust),
        "MaxSessionDuration": role.session_secs_max, "Tags": role.tags,
        "PermissionsBoundary": described_boundary(role.boundary.as_deref()),
    });
    if let Some(description) = &role.description {
        described["Description"] = json!(description);
    }
    described
}
