//! Aliases: names of keys that can be given to other keys.

use serde_json::{Value, json};

use super::{Alias, Found, allow, arn, find, invalid, listed, not_found};
use crate::kernel::cloud::epoch_secs;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;

/// Aliases in an answer.
const PAGES: Pages =
    Pages { items: 50, wrong_token: "InvalidMarkerException", ..Pages::of("Limit", "Marker", 100) };

/// The name of a call's alias, when its caller may do this with it.
fn name<'a>(call: &Call<'a>) -> ApiResult<&'a str> {
    let name = call.required("AliasName")?;
    if name.starts_with("alias/aws/") {
        let message = "Alias names that begin with alias/aws/ are reserved.";
        return Err(ApiError::new("NotAuthorizedException", message));
    }
    if name.strip_prefix("alias/").is_none_or(str::is_empty) {
        return Err(ApiError::new(
            "InvalidAliasNameException",
            "Alias must start with the prefix \"alias/\".",
        ));
    }
    call.authorize(&call.cloud.config.arn("kms", name))?;
    Ok(name)
}

/// The key of a call, when its caller may do this with it.
fn target(call: &Call<'_>) -> ApiResult<Found> {
    let reference = call.required("TargetKeyId")?;
    if reference.contains("alias/") {
        return Err(invalid("Aliases must refer to keys. Not aliases"));
    }
    let found = find(call.cloud, reference)?;
    allow(call.cloud, call.caller, &call.action(), &found, None)?;
    if found.key.deletion.is_some() {
        let message = format!("{} is pending deletion.", arn(call.cloud, &found.id));
        return Err(ApiError::new("KMSInvalidStateException", message));
    }
    Ok(found)
}

/// `CreateAlias`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let (name, found, now) = (name(call)?, target(call)?, call.cloud.clock.now());
    let alias = Alias { key: found.id, created: now, modified: now };
    if !call.cloud.services.kms.aliases.create(name, alias)? {
        let message =
            format!("An alias with the name {} already exists", call.cloud.config.arn("kms", name));
        return Err(ApiError::new("AlreadyExistsException", message));
    }
    Ok(json!({}))
}

fn missing(call: &Call<'_>, name: &str) -> ApiError {
    not_found(&format!("Alias {} is not found.", call.cloud.config.arn("kms", name)))
}

/// `UpdateAlias`.
pub fn update(call: &Call<'_>) -> ApiResult {
    let (name, found, now) = (name(call)?, target(call)?, call.cloud.clock.now());
    let updated = call.cloud.services.kms.aliases.update(name, |alias| {
        alias.key = found.id;
        alias.modified = now;
    })?;
    updated.ok_or_else(|| missing(call, name))?;
    Ok(json!({}))
}

/// `DeleteAlias`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let name = name(call)?;
    let aliases = &call.cloud.services.kms.aliases;
    let alias = aliases.get(name).ok_or_else(|| missing(call, name))?;
    if let Ok(found) = find(call.cloud, &alias.key) {
        allow(call.cloud, call.caller, &call.action(), &found, None)?;
    }
    aliases.remove(name)?;
    Ok(json!({}))
}

/// `ListAliases`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    call.authorize("*")?;
    let only = call.text("KeyId").map(|reference| find(cloud, reference)).transpose()?;
    let all = cloud.services.kms.aliases.all();
    let wanted = all.iter().filter(|(_, alias)| only.as_ref().is_none_or(|f| f.id == alias.key));
    let items: Vec<Value> = wanted
        .map(|(name, alias)| {
            json!({
                "AliasName": name, "AliasArn": cloud.config.arn("kms", name),
                "TargetKeyId": alias.key, "CreationDate": epoch_secs(alias.created),
                "LastUpdatedDate": epoch_secs(alias.modified),
            })
        })
        .collect();
    listed(call, "Aliases", PAGES, items)
}
