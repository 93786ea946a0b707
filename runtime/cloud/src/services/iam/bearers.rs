//! Who bears policies: roles, users and groups. Inline policies, managed policies that are attached,
//! permissions boundaries and tags are alike for all of them.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::records::{Group, Role, User};
use super::{State, document, limit_exceeded, missing, page, policies, refused, tags};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam::{check_inline_size, check_policy};
use crate::kernel::service::Call;
use crate::kernel::store::Table;

/// Managed policies of each.
pub const ATTACHED_MAX: usize = 10;

/// A role, a user or a group.
pub trait Bearer: Clone + Serialize + DeserializeOwned {
    /// What it is: `role`.
    const KIND: &'static str;
    /// The member of inputs that names it: `RoleName`.
    const NAMED: &'static str;
    /// What its quotas are called by: `Role`.
    const QUOTA: &'static str;
    /// Bytes of all inline policies without white space.
    const INLINE_BYTES_MAX: usize;

    /// All of the kind.
    fn table(state: &State) -> &Table<Self>;
    /// Inline policies by name.
    fn inline(&mut self) -> &mut Vec<(String, Value)>;
    /// ARNs of managed policies.
    fn attached(&mut self) -> &mut Vec<String>;
}

/// A role or a user.
pub trait Principal: Bearer {
    /// ARN of the permissions boundary.
    fn boundary(&mut self) -> &mut Option<String>;
    /// Tags, as a list.
    fn tags(&mut self) -> &mut Value;
}

macro_rules! bearer {
    ($type:ty, $kind:literal, $named:literal, $quota:literal, $bytes:literal, $table:ident) => {
        impl Bearer for $type {
            const KIND: &'static str = $kind;
            const NAMED: &'static str = $named;
            const QUOTA: &'static str = $quota;
            const INLINE_BYTES_MAX: usize = $bytes;

            fn table(state: &State) -> &Table<Self> {
                &state.$table
            }

            fn inline(&mut self) -> &mut Vec<(String, Value)> {
                &mut self.policies
            }

            fn attached(&mut self) -> &mut Vec<String> {
                &mut self.attached
            }
        }
    };
}

macro_rules! principal {
    ($type:ty) => {
        impl Principal for $type {
            fn boundary(&mut self) -> &mut Option<String> {
                &mut self.boundary
            }

            fn tags(&mut self) -> &mut Value {
                &mut self.tags
            }
        }
    };
}

// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
bearer!(Role, "role", "RoleName", "Role", 10_240, roles);
bearer!(User, "user", "UserName", "User", 2_048, users);
bearer!(Group, "group", "GroupName", "Group", 5_120, groups);
principal!(Role);
principal!(User);

/// The ARN of one.
pub fn arn<B: Bearer>(cloud: &Cloud, name: &str) -> String {
    cloud.config.global_arn("iam", &format!("{}/{name}", B::KIND))
}

/// That there is none of that name.
pub fn gone<B: Bearer>(name: &str) -> ApiError {
    missing(&format!("The {} with name {name}", B::KIND))
}

/// The one of that name.
pub fn find<B: Bearer>(cloud: &Cloud, name: &str) -> ApiResult<B> {
    let found = B::table(&cloud.services.iam).get(name).ok_or_else(|| gone::<B>(name))?;
    Ok(std::sync::Arc::unwrap_or_clone(found))
}

/// The name in the input, when the caller may do this with it.
pub fn named<'a, B: Bearer>(call: &Call<'a>) -> ApiResult<&'a str> {
    let name = call.required(B::NAMED)?;
    let arn = arn::<B>(call.cloud, name);
    call.authorize(&arn)?;
    if arn == call.cloud.identities.administrator().arn {
        return Err(unchangeable(call));
    }
    Ok(name)
}

/// The administrator is no record: it has its key from the cloud, and may everything.
pub fn unchangeable(call: &Call<'_>) -> ApiError {
    let message = format!(
        "The embedded cloud does not implement {} of its administrator: make a user of your own.",
        call.action()
    );
    ApiError::new("NotImplemented", message).with_status(501)
}

/// Whether one has the name; names are distinguished without regard to case.
pub fn is_taken<B: Bearer>(cloud: &Cloud, name: &str) -> bool {
    let administrator = cloud.identities.administrator().arn;
    let names = B::table(&cloud.services.iam).names("");
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
        || arn::<B>(cloud, name).eq_ignore_ascii_case(&administrator)
}

/// Changes one, or leaves it as it is when that is refused.
pub fn change<B: Bearer>(
    cloud: &Cloud,
    name: &str,
    change: impl FnOnce(&mut B) -> ApiResult<()>,
) -> ApiResult {
    let changed = B::table(&cloud.services.iam).update(name, |one| {
        let mut wanted = one.clone();
        change(&mut wanted).map(|()| *one = wanted)
    })?;
    changed.unwrap_or_else(|| Err(gone::<B>(name)))?;
    Ok(json!({}))
}

/// `PutRolePolicy` and the like.
pub fn put_policy<B: Bearer>(call: &Call<'_>) -> ApiResult {
    let (name, policy) = (named::<B>(call)?, call.required("PolicyName")?);
    let document = document(call.required("PolicyDocument")?)?;
    check_policy(&document).map_err(refused)?;
    change::<B>(call.cloud, name, |one| {
        let inline = one.inline();
        inline.retain(|(other, _)| other != policy);
        inline.push((policy.to_owned(), document));
        let holder = format!("{} {name}", B::KIND);
        check_inline_size(&holder, inline, B::INLINE_BYTES_MAX).map_err(limit_exceeded)
    })
}

fn no_policy<B: Bearer>(policy: &str) -> ApiError {
    missing(&format!("The {} policy with name {policy}", B::KIND))
}

/// `DeleteRolePolicy` and the like.
pub fn delete_policy<B: Bearer>(call: &Call<'_>) -> ApiResult {
    let (name, policy) = (named::<B>(call)?, call.required("PolicyName")?);
    change::<B>(call.cloud, name, |one| {
        let before = one.inline().len();
        one.inline().retain(|(other, _)| other != policy);
        if one.inline().len() < before { Ok(()) } else { Err(no_policy::<B>(policy)) }
    })
}

/// `GetRolePolicy` and the like.
pub fn get_policy<B: Bearer>(call: &Call<'_>) -> ApiResult {
    let (name, policy) = (named::<B>(call)?, call.required("PolicyName")?);
    let mut one = find::<B>(call.cloud, name)?;
    let found = one.inline().iter().find(|(other, _)| other == policy);
    let (_, document) = found.ok_or_else(|| no_policy::<B>(policy))?;
    Ok(json!({
        (B::NAMED): name, "PolicyName": policy,
        "PolicyDocument": super::percent_encoded(document),
    }))
}

/// `ListRolePolicies` and the like.
pub fn list_policies<B: Bearer>(call: &Call<'_>) -> ApiResult {
    let mut one = find::<B>(call.cloud, named::<B>(call)?)?;
    let names = one.inline().iter().map(|(name, _)| name.as_str().into()).collect();
    page(call, "PolicyNames", names)
}

/// `AttachRolePolicy` and the like.
pub fn attach<B: Bearer>(call: &Call<'_>) -> ApiResult {
    let (name, arn) = (named::<B>(call)?, call.required("PolicyArn")?);
    policies::attachable(call.cloud, arn)?;
    change::<B>(call.cloud, name, |one| {
        let attached = one.attached();
        if attached.iter().any(|other| other == arn) {
            return Ok(());
        }
        if attached.len() >= ATTACHED_MAX {
            let quota = format!("PoliciesPer{}", B::QUOTA);
            return Err(limit_exceeded(format!("Cannot exceed quota for {quota}: {ATTACHED_MAX}")));
        }
        attached.push(arn.to_owned());
        Ok(())
    })
}

/// `DetachRolePolicy` and the like.
pub fn detach<B: Bearer>(call: &Call<'_>) -> ApiResult {
    let (name, arn) = (named::<B>(call)?, call.required("PolicyArn")?);
    change::<B>(call.cloud, name, |one| {
        let before = one.attached().len();
        one.attached().retain(|attached| attached != arn);
        if one.attached().len() < before { Ok(()) } else { Err(policies::not_found(arn)) }
    })
}

/// `ListAttachedRolePolicies` and the like.
pub fn list_attached<B: Bearer>(call: &Call<'_>) -> ApiResult {
    let mut one = find::<B>(call.cloud, named::<B>(call)?)?;
    let shown = one.attached().iter().map(|arn| {
        let name = arn.rsplit('/').next().unwrap_or(arn);
        json!({ "PolicyName": name, "PolicyArn": arn })
    });
    page(call, "AttachedPolicies", shown.collect())
}

/// `PutRolePermissionsBoundary` and the like.
pub fn put_boundary<P: Principal>(call: &Call<'_>) -> ApiResult {
    let (name, arn) = (named::<P>(call)?, call.required("PermissionsBoundary")?);
    policies::attachable(call.cloud, arn)?;
    change::<P>(call.cloud, name, |one| {
        *one.boundary() = Some(arn.to_owned());
        Ok(())
    })
}

/// `DeleteRolePermissionsBoundary` and the like.
pub fn delete_boundary<P: Principal>(call: &Call<'_>) -> ApiResult {
    change::<P>(call.cloud, named::<P>(call)?, |one| {
        *one.boundary() = None;
        Ok(())
    })
}

/// `TagRole` and the like: a key that is there, in whatever case, has a new value.
pub fn tag<P: Principal>(call: &Call<'_>) -> ApiResult {
    let name = named::<P>(call)?;
    let given = tags(P::KIND, &call.params["Tags"])?;
    change::<P>(call.cloud, name, |one| {
        let added = given.as_array().cloned().unwrap_or_default();
        let is_added = |tag: &Value| added.iter().any(|other| same_key(tag, &other["Key"]));
        let mut all = one.tags().as_array().cloned().unwrap_or_default();
        all.retain(|tag| !is_added(tag));
        all.extend(added);
        *one.tags() = tags(P::KIND, &all.into())?;
        Ok(())
    })
}

/// `UntagRole` and the like.
pub fn untag<P: Principal>(call: &Call<'_>) -> ApiResult {
    let keys = call.params["TagKeys"].as_array().cloned().unwrap_or_default();
    change::<P>(call.cloud, named::<P>(call)?, |one| {
        let mut all = one.tags().as_array().cloned().unwrap_or_default();
        all.retain(|tag| !keys.iter().any(|key| same_key(tag, key)));
        *one.tags() = if all.is_empty() { Value::Null } else { all.into() };
        Ok(())
    })
}

fn same_key(tag: &Value, key: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_lowercase();
    text(&tag["Key"]) == text(key)
}

/// `ListRoleTags` and the like.
pub fn list_tags<P: Principal>(call: &Call<'_>) -> ApiResult {
    let mut one = find::<P>(call.cloud, named::<P>(call)?)?;
    let all = one.tags().as_array().cloned().unwrap_or_default();
    page(call, "Tags", all)
}

/// What a deletion is refused with while something is left.
pub fn conflict(first: &str) -> ApiError {
    let message = format!("Cannot delete entity, must {first} first.");
    ApiError::new("DeleteConflict", message).with_status(409)
}

/// Refuses the deletion of what still has policies.
pub fn check_bare<B: Bearer>(one: &mut B) -> ApiResult<()> {
    if !one.attached().is_empty() {
        return Err(conflict("detach all policies"));
    }
    if !one.inline().is_empty() {
        return Err(conflict("delete policies"));
    }
    Ok(())
}

/// A boundary as it is shown.
pub fn described_boundary(arn: Option<&str>) -> Value {
    arn.map_or(
        Value::Null,
        |arn| json!({ "PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": arn }),
    )
}
