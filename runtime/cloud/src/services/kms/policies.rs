//! Policies and tags of keys.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Found, arn, invalid, listed, named};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam;
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;

/// Bytes of a policy.
const BYTES_MAX: usize = 32 * 1024;
/// Tags of a key.
const TAGS_MAX: usize = 50;
const PAGES: Pages = Pages {
    items: 100,
    wrong_token: "InvalidMarkerException",
    ..Pages::of("Limit", "Marker", 1_000)
};

fn malformed(message: impl Into<String>) -> ApiError {
    ApiError::new("MalformedPolicyDocumentException", message)
}

/// A policy that may be stored: the caller must be able to change it again, unless it says that
/// this is not wanted.
pub fn check_policy(call: &Call<'_>, arn: &str, text: &str) -> ApiResult {
    if text.len() > BYTES_MAX {
        return Err(ApiError::new("LimitExceededException", "The policy is longer than 32 KiB."));
    }
    let policy: Value = serde_json::from_str(text).map_err(|e| malformed(e.to_string()))?;
    iam::check_resource_policy(call.cloud, &policy).map_err(malformed)?;
    let bypass = call.params["BypassPolicyLockoutSafetyCheck"].as_bool() == Some(true);
    if !bypass && !call.cloud.would_allow_key(call.caller, "kms:PutKeyPolicy", arn, &policy)? {
        return Err(malformed(
            "The new key policy will not allow you to update the key policy in the future.",
        ));
    }
    Ok(policy)
}

fn check_name(call: &Call<'_>) -> ApiResult<()> {
    match call.text("PolicyName") {
        None | Some("default") => Ok(()),
        Some(_) => Err(ApiError::new("NotFoundException", "No such policy exists")),
    }
}

/// `GetKeyPolicy`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let found = named(call, "KeyId")?;
    check_name(call)?;
    Ok(json!({ "Policy": found.key.policy.to_string(), "PolicyName": "default" }))
}

fn own(call: &Call<'_>) -> ApiResult<Found> {
    let found = named(call, "KeyId")?;
    match found.key.managed {
        true => {
            let message = format!("{} is managed by AWS.", arn(call.cloud, &found.id));
            Err(ApiError::new("AccessDeniedException", message))
        }
        false => Ok(found),
    }
}

/// `PutKeyPolicy`.
pub fn put(call: &Call<'_>) -> ApiResult {
    let found = own(call)?;
    check_name(call)?;
    let policy = check_policy(call, &arn(call.cloud, &found.id), call.required("Policy")?)?;
    call.cloud.services.kms.keys.update(&found.id, |key| key.policy = policy)?;
    Ok(json!({}))
}

/// `ListKeyPolicies`.
pub fn list(call: &Call<'_>) -> ApiResult {
    named(call, "KeyId")?;
    listed(call, "PolicyNames", PAGES, vec!["default".into()])
}

/// Tags in KMS's form.
pub fn tags_of(value: &Value) -> ApiResult<BTreeMap<String, String>> {
    let tags = value.as_array().into_iter().flatten();
    let pair = |tag: &Value| {
        Some((tag["TagKey"].as_str()?.to_owned(), tag["TagValue"].as_str()?.to_owned()))
    };
    let tags: BTreeMap<String, String> = tags.filter_map(pair).collect();
    if tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(ApiError::new("TagException", "Keys of tags do not begin with aws:."));
    }
    Ok(tags)
}

/// `TagResource`.
pub fn tag(call: &Call<'_>) -> ApiResult {
    let found = own(call)?;
    let mut tags = found.key.tags.clone();
    tags.extend(tags_of(&call.params["Tags"])?);
    if tags.len() > TAGS_MAX {
        return Err(ApiError::new("LimitExceededException", "A key has at most 50 tags."));
    }
    call.cloud.services.kms.keys.update(&found.id, |key| key.tags = tags)?;
    Ok(json!({}))
}

/// `UntagResource`.
pub fn untag(call: &Call<'_>) -> ApiResult {
    let found = own(call)?;
    let keys = call.params["TagKeys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let keys: Vec<&str> = keys.collect();
    if keys.is_empty() {
        return Err(invalid("TagKeys must not be empty."));
    }
    let all = &call.cloud.services.kms.keys;
    all.update(&found.id, |key| key.tags.retain(|name, _| !keys.contains(&name.as_str())))?;
    Ok(json!({}))
}

/// `ListResourceTags`.
pub fn tags(call: &Call<'_>) -> ApiResult {
    let found = named(call, "KeyId")?;
    let tag = |(key, value): (&String, &String)| json!({ "TagKey": key, "TagValue": value });
    listed(call, "Tags", PAGES, found.key.tags.iter().map(tag).collect())
}
