//! Access keys of users. Who names no user means itself.

use serde_json::{Value, json};

use super::bearers;
use super::records::User;
use super::users::{is_administrator, meant};
use super::{limit_exceeded, missing, page};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::keys::AccessKey;
use crate::kernel::service::Call;

/// Keys of a user.
const KEYS_MAX: usize = 2;

/// The keys of a user, by their IDs.
pub fn of_user(cloud: &Cloud, user: &User) -> impl Iterator<Item = (String, AccessKey)> {
    let id = user.id.clone();
    let all = cloud.identities.keys.all().into_iter();
    let all = all.map(|(key, about)| (key, std::sync::Arc::unwrap_or_clone(about)));
    all.filter(move |(_, about)| about.user_id == id)
}

/// The user whose keys are meant, when the caller may do this with it.
fn owner<'a>(call: &Call<'a>) -> ApiResult<(&'a str, User)> {
    let name = meant(call)?;
    call.authorize(&bearers::arn::<User>(call.cloud, name))?;
    if is_administrator(call.cloud, name) {
        return Err(bearers::unchangeable(call));
    }
    Ok((name, bearers::find(call.cloud, name)?))
}

/// `CreateAccessKey`.
pub fn create(call: &Call<'_>) -> ApiResult {
    create_as(call, &AccessKey::new_id())
}

/// The same with an ID that is fixed before.
pub fn create_as(call: &Call<'_>, id: &str) -> ApiResult {
    let (name, user) = owner(call)?;
    if of_user(call.cloud, &user).count() >= KEYS_MAX {
        let words = format!("Cannot exceed quota for AccessKeysPerUser: {KEYS_MAX}");
        return Err(limit_exceeded(words));
    }
    let key = AccessKey::new(name, &user.id, call.cloud.clock.now());
    let mut shown = described(id, &key);
    shown["SecretAccessKey"] = key.credentials(id).secret_access_key.into();
    call.cloud.identities.keys.put(id, key)?;
    Ok(json!({ "AccessKey": shown }))
}

/// `ListAccessKeys`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let name = meant(call)?;
    let shown = if is_administrator(call.cloud, name) {
        call.authorize(&bearers::arn::<User>(call.cloud, name))?;
        let identities = &call.cloud.identities;
        vec![json!({
            "UserName": name, "AccessKeyId": identities.administrator_key(), "Status": "Active",
            "CreateDate": iso(identities.administrator_since),
        })]
    } else {
        let (_, user) = owner(call)?;
        of_user(call.cloud, &user).map(|(id, key)| described(&id, &key)).collect()
    };
    page(call, "AccessKeyMetadata", shown)
}

/// The key that the input names, when it is the user's.
fn owned<'a>(call: &Call<'a>) -> ApiResult<&'a str> {
    let (_, user) = owner(call)?;
    let id = call.required("AccessKeyId")?;
    match call.cloud.identities.keys.get(id) {
        Some(key) if key.user_id == user.id => Ok(id),
        _ => Err(missing(&format!("The Access Key with id {id}"))),
    }
}

/// `UpdateAccessKey`.
pub fn update(call: &Call<'_>) -> ApiResult {
    let (id, status) = (owned(call)?, call.required("Status")?);
    let is_active = match status {
        "Active" => true,
        "Inactive" => false,
        other => {
            let what = format!("Status: {other}");
            return Err(ApiError::unknown_parameter(&what, "iam:UpdateAccessKey"));
        }
    };
    call.cloud.identities.keys.update(id, |key| key.is_active = is_active)?;
    Ok(json!({}))
}

/// `DeleteAccessKey`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    call.cloud.identities.keys.remove(owned(call)?)?;
    Ok(json!({}))
}

fn described(id: &str, key: &AccessKey) -> Value {
    json!({
        "UserName": key.user, "AccessKeyId": id, "Status": key.status(),
        "CreateDate": iso(key.created),
    })
}
