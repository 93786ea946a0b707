//! Users and what they are allowed by: their groups.
//!
//! The administrator, whose key the cloud has made, is shown as a user and cannot be changed.

use serde_json::{Value, json};

use super::bearers::{self, Bearer, conflict, described_boundary, named};
use super::records::User;
use super::{limit_exceeded, page, policies, tags};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::{ADMINISTRATOR_ID, Principal};
use crate::kernel::service::Call;

/// Groups of a user.
const GROUPS_MAX: usize = 10;

/// The user that the input names, or who calls. Whether the caller may do this is not asked.
pub fn meant<'a>(call: &Call<'a>) -> ApiResult<&'a str> {
    if let Some(name) = call.text(User::NAMED) {
        return Ok(name);
    }
    match &call.caller.principal {
        Principal::User { user, .. } => Ok(user),
        Principal::Administrator => {
            Ok(call.caller.arn.rsplit('/').next().unwrap_or(&call.caller.arn))
        }
        Principal::Role { .. } | Principal::Service { .. } => Err(ApiError::validation(
            "Must specify userName when calling with non-User credentials",
        )),
    }
}

/// Whether the name is the administrator's.
pub fn is_administrator(cloud: &Cloud, name: &str) -> bool {
    bearers::arn::<User>(cloud, name) == cloud.identities.administrator().arn
}

/// `CreateUser`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, call.required(User::NAMED)?);
    call.authorize(&bearers::arn::<User>(cloud, name))?;
    super::check_path(call)?;
    let mut user = User::new(cloud.clock.now());
    user.tags = tags(User::KIND, &call.params["Tags"])?;
    if let Some(arn) = call.text("PermissionsBoundary") {
        policies::attachable(cloud, arn)?;
        user.boundary = Some(arn.to_owned());
    }
    let shown = described(cloud, name, &user);
    if bearers::is_taken::<User>(cloud, name) || !cloud.services.iam.users.create(name, user)? {
        let message = format!("User with name {name} already exists.");
        return Err(ApiError::new("EntityAlreadyExists", message).with_status(409));
    }
    Ok(json!({ "User": shown }))
}

/// `GetUser`: of who calls, when none is named.
pub fn get(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, meant(call)?);
    call.authorize(&bearers::arn::<User>(cloud, name))?;
    if is_administrator(cloud, name) {
        return Ok(json!({ "User": administrator(cloud) }));
    }
    Ok(json!({ "User": described(cloud, name, &bearers::find(cloud, name)?) }))
}

/// `ListUsers`: without tags and boundaries, as AWS lists them.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let cloud = call.cloud;
    let users = cloud.services.iam.users.all();
    let users = users.iter().map(|(name, user)| short(cloud, name, user));
    page(call, "Users", std::iter::once(administrator(cloud)).chain(users).collect())
}

/// `DeleteUser`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, named::<User>(call)?);
    let mut user = bearers::find::<User>(cloud, name)?;
    bearers::check_bare(&mut user)?;
    if super::keys::of_user(cloud, &user).next().is_some() {
        return Err(conflict("delete access keys"));
    }
    if !cloud.groups_of(&user).is_empty() {
        return Err(conflict("remove users from group"));
    }
    cloud.services.iam.users.remove(name)?;
    Ok(json!({}))
}

/// `AddUserToGroup`: the permission is asked for the group.
pub fn add_to_group(call: &Call<'_>) -> ApiResult {
    let (user, group, id) = membership(call)?;
    bearers::change::<User>(call.cloud, user, |user| {
        // What is left of a group that was deleted does not count.
        let groups = &call.cloud.services.iam.groups;
        user.groups.retain(|name, id| groups.get(name).is_some_and(|group| group.id == *id));
        user.groups.insert(group.to_owned(), id);
        match user.groups.len() <= GROUPS_MAX {
            true => Ok(()),
            false => {
                let words = format!("Cannot exceed quota for GroupsPerUser: {GROUPS_MAX}");
                Err(limit_exceeded(words))
            }
        }
    })
}

/// `RemoveUserFromGroup`: nothing happens to one who is not in it.
pub fn remove_from_group(call: &Call<'_>) -> ApiResult {
    let (user, group, _) = membership(call)?;
    bearers::change::<User>(call.cloud, user, |user| {
        user.groups.remove(group);
        Ok(())
    })
}

/// The user and the group that the input names, and the group's ID.
fn membership<'a>(call: &Call<'a>) -> ApiResult<(&'a str, &'a str, String)> {
    let group = named::<super::Group>(call)?;
    let user = call.required(User::NAMED)?;
    if is_administrator(call.cloud, user) {
        return Err(bearers::unchangeable(call));
    }
    bearers::find::<User>(call.cloud, user)?;
    Ok((user, group, bearers::find::<super::Group>(call.cloud, group)?.id))
}

/// `ListGroupsForUser`.
pub fn list_groups(call: &Call<'_>) -> ApiResult {
    let user = bearers::find::<User>(call.cloud, named::<User>(call)?)?;
    let groups = call.cloud.groups_of(&user);
    let shown =
        groups.iter().map(|(name, group)| super::groups::described(call.cloud, name, group));
    page(call, "Groups", shown.collect())
}

/// A user in a list.
pub fn short(cloud: &Cloud, name: &str, user: &User) -> Value {
    json!({
        "Path": "/", "UserName": name, "UserId": user.id,
        "Arn": bearers::arn::<User>(cloud, name), "CreateDate": iso(user.created),
    })
}

fn described(cloud: &Cloud, name: &str, user: &User) -> Value {
    let mut shown = short(cloud, name, user);
    shown["Tags"] = user.tags.clone();
    shown["PermissionsBoundary"] = described_boundary(user.boundary.as_deref());
    shown
}

fn administrator(cloud: &Cloud) -> Value {
    let arn = cloud.identities.administrator().arn;
    json!({
        "Path": "/", "UserName": arn.rsplit('/').next(), "UserId": ADMINISTRATOR_ID, "Arn": arn,
        "CreateDate": iso(cloud.identities.administrator_since),
    })
}
