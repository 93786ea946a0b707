//! Groups. Who is in them is kept with the users.

use serde_json::{Value, json};

use super::bearers::{self, conflict, named};
use super::page;
use super::records::{Group, User};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// `CreateGroup`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, named::<Group>(call)?);
    super::check_path(call)?;
    let group = Group::new(cloud.clock.now());
    let shown = described(cloud, name, &group);
    if bearers::is_taken::<Group>(cloud, name) || !cloud.services.iam.groups.create(name, group)? {
        let message = format!("Group with name {name} already exists.");
        return Err(ApiError::new("EntityAlreadyExists", message).with_status(409));
    }
    Ok(json!({ "Group": shown }))
}

/// `GetGroup`: with a page of its users.
pub fn get(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, named::<Group>(call)?);
    let group = bearers::find::<Group>(cloud, name)?;
    let users = members(cloud, name, &group);
    let shown = users.iter().map(|(name, user)| super::users::short(cloud, name, user));
    let mut answer = page(call, "Users", shown.collect())?;
    answer["Group"] = described(cloud, name, &group);
    Ok(answer)
}

/// `ListGroups`.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let groups = call.cloud.services.iam.groups.all();
    let shown = groups.iter().map(|(name, group)| described(call.cloud, name, group));
    page(call, "Groups", shown.collect())
}

/// `DeleteGroup`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, named::<Group>(call)?);
    let mut group = bearers::find::<Group>(cloud, name)?;
    if !members(cloud, name, &group).is_empty() {
        return Err(conflict("remove users from group"));
    }
    bearers::check_bare(&mut group)?;
    cloud.services.iam.groups.remove(name)?;
    Ok(json!({}))
}

/// The users in a group.
fn members(cloud: &Cloud, name: &str, group: &Group) -> Vec<(String, User)> {
    let all = cloud.services.iam.users.all().into_iter();
    let all = all.map(|(name, user)| (name, std::sync::Arc::unwrap_or_clone(user)));
    all.filter(|(_, user)| user.groups.get(name) == Some(&group.id)).collect()
}

/// A group as it is shown.
pub fn described(cloud: &Cloud, name: &str, group: &Group) -> Value {
    json!({
        "Path": "/", "GroupName": name, "GroupId": group.id,
        "Arn": bearers::arn::<Group>(cloud, name), "CreateDate": iso(group.created),
    })
}
