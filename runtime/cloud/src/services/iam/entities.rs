//! `ListEntitiesForPolicy`: who has a policy, in one page.

use serde_json::{Value, json};

use super::aws;
use super::policies::not_found;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::ApiResult;
use crate::kernel::service::Call;

/// What is looked for.
struct Wanted<'a> {
    arn: &'a str,
    attached: bool,
    boundaries: bool,
}

impl Wanted<'_> {
    fn is_used(&self, attached: &[String], boundary: Option<&str>) -> bool {
        (self.attached && attached.iter().any(|arn| arn == self.arn))
            || (self.boundaries && boundary == Some(self.arn))
    }

    fn roles(&self, cloud: &Cloud) -> Vec<Value> {
        let all = cloud.services.iam.roles.all().into_iter();
        all.filter(|(_, role)| self.is_used(&role.attached, role.boundary.as_deref()))
            .map(|(name, role)| json!({ "RoleName": name, "RoleId": role.id }))
            .collect()
    }

    fn users(&self, cloud: &Cloud) -> Vec<Value> {
        let all = cloud.services.iam.users.all().into_iter();
        all.filter(|(_, user)| self.is_used(&user.attached, user.boundary.as_deref()))
            .map(|(name, user)| json!({ "UserName": name, "UserId": user.id }))
            .collect()
    }

    fn groups(&self, cloud: &Cloud) -> Vec<Value> {
        let all = cloud.services.iam.groups.all().into_iter();
        all.filter(|(_, group)| self.is_used(&group.attached, None))
            .map(|(name, group)| json!({ "GroupName": name, "GroupId": group.id }))
            .collect()
    }
}

/// Names of the roles, users and groups that a policy is attached to.
pub fn attached_to(cloud: &Cloud, arn: &str) -> [Vec<Value>; 3] {
    let wanted = Wanted { arn, attached: true, boundaries: false };
    let names = |found: Vec<Value>, member: &str| {
        found.iter().map(|one| one[member].clone()).collect::<Vec<_>>()
    };
    [
        names(wanted.roles(cloud), "RoleName"),
        names(wanted.users(cloud), "UserName"),
        names(wanted.groups(cloud), "GroupName"),
    ]
}

/// `ListEntitiesForPolicy`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let (cloud, arn) = (call.cloud, call.required("PolicyArn")?);
    call.authorize(arn)?;
    if aws::is_arn(arn) {
        aws::find(arn, not_found)?;
    } else if !cloud.services.iam.managed.contains(arn) {
        return Err(not_found(arn));
    }
    let usage = call.text("PolicyUsageFilter");
    let wanted = Wanted {
        arn,
        attached: usage != Some("PermissionsBoundary"),
        boundaries: usage != Some("PermissionsPolicy"),
    };
    let kind = call.text("EntityFilter");
    let of = |name: &str| kind.is_none_or(|kind| kind == name);
    Ok(json!({
        "PolicyRoles": if of("Role") { wanted.roles(cloud) } else { vec![] },
        "PolicyUsers": if of("User") { wanted.users(cloud) } else { vec![] },
        "PolicyGroups": if of("Group") { wanted.groups(cloud) } else { vec![] },
        "IsTruncated": false,
    }))
}
