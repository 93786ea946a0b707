//! Keys: made, described, switched, and deleted after a time of waiting.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::policies::{check_policy, tags_of};
use super::{Found, Key, allow, arn, find, forget, invalid, listed, named};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;

/// Keys in an answer.
const PAGES: Pages = Pages {
    items: 100,
    wrong_token: "InvalidMarkerException",
    ..Pages::of("Limit", "Marker", 1_000)
};

/// The policy of a key, by its ARN.
pub fn policy_of(cloud: &Cloud, arn: &str) -> Option<Value> {
    let id = arn.strip_prefix(&*cloud.config.arn("kms", "key/"))?;
    Some(cloud.services.kms.keys.get(id)?.policy.clone())
}

/// What a key may when nobody says: its account's policies decide.
pub fn default_policy(cloud: &Cloud) -> Value {
    json!({
        "Version": "2012-10-17", "Id": "key-default-1",
        "Statement": [{
            "Sid": "Enable IAM User Permissions", "Effect": "Allow",
            "Principal": { "AWS": cloud.config.global_arn("iam", "root") },
            "Action": "kms:*", "Resource": "*",
        }]
    })
}

fn check_kind(call: &Call<'_>) -> ApiResult<()> {
    let allowed = [
        ("KeyUsage", "ENCRYPT_DECRYPT"),
        ("KeySpec", "SYMMETRIC_DEFAULT"),
        ("CustomerMasterKeySpec", "SYMMETRIC_DEFAULT"),
        ("Origin", "AWS_KMS"),
    ];
    let other = allowed.iter().find(|(name, only)| call.text(name).is_some_and(|v| v != *only));
    let multi = call.params["MultiRegion"].as_bool() == Some(true);
    match other.map(|(name, _)| *name).or(multi.then_some("MultiRegion")) {
        Some(name) => {
            let message = format!(
                "The embedded cloud does not implement {name}={} of kms:CreateKey.",
                call.params[name]
            );
            Err(ApiError::new("NotImplemented", message).with_status(501))
        }
        None => Ok(()),
    }
}

/// `CreateKey`.
pub fn create(call: &Call<'_>) -> ApiResult {
    create_as(call, &uuid::Uuid::new_v4().to_string())
}

/// The same with an ID that is known before.
pub fn create_as(call: &Call<'_>, id: &str) -> ApiResult {
    let cloud = call.cloud;
    call.authorize("*")?;
    check_kind(call)?;
    let policy = match call.text("Policy") {
        Some(text) => check_policy(call, &arn(cloud, id), text)?,
        None => default_policy(cloud),
    };
    let tags = tags_of(&call.params["Tags"])?;
    if !tags.is_empty() {
        cloud.authorize(call.caller, "kms:TagResource", "*", &[])?;
    }
    let description = call.text("Description").unwrap_or_default().to_owned();
    let key = Key {
        created: cloud.clock.now(),
        description,
        enabled: true,
        deletion: None,
        policy,
        tags,
        managed: false,
        material: cloud.services.kms.root.make(id)?,
    };
    let metadata = metadata(cloud, id, &key);
    cloud.services.kms.keys.put(id, key)?;
    Ok(json!({ "KeyMetadata": metadata }))
}

/// The key that AWS manages for a service, which is made when it is used first.
pub fn managed(cloud: &Cloud, service: &str) -> ApiResult<Found> {
    let (state, name) = (&cloud.services.kms, format!("alias/aws/{service}"));
    if !state.aliases.contains(&name) {
        let (id, now) = (uuid::Uuid::new_v4().to_string(), cloud.clock.now());
        let via = format!("{service}.{}.amazonaws.com", cloud.config.region);
        let policy = json!({
            "Version": "2012-10-17", "Id": format!("auto-{service}-1"),
            "Statement": [
                {
                    "Sid": "Allow access through the service for all principals in the account",
                    "Effect": "Allow", "Principal": { "AWS": "*" },
                    "Action": [
                        "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*",
                        "kms:DescribeKey",
                    ],
                    "Resource": "*",
                    "Condition": { "StringEquals": {
                        "kms:ViaService": via, "kms:CallerAccount": cloud.config.account,
                    } },
                },
                {
                    "Sid": "Allow direct access to key metadata to the account", "Effect": "Allow",
                    "Principal": { "AWS": cloud.config.global_arn("iam", "root") },
                    "Action": ["kms:Describe*", "kms:Get*", "kms:List*"], "Resource": "*",
                },
            ]
        });
        let key = Key {
            created: now,
            description: format!("Default key that protects what {service} keeps"),
            enabled: true,
            deletion: None,
            policy,
            tags: BTreeMap::new(),
            managed: true,
            material: state.root.make(&id)?,
        };
        state.keys.put(&id, key)?;
        let alias = super::Alias { key: id.clone(), created: now, modified: now };
        // Who was faster has made the same.
        if !state.aliases.create(&name, alias)? {
            state.keys.remove(&id)?;
        }
    }
    find(cloud, &name)
}

/// A key as KMS describes it.
pub fn metadata(cloud: &Cloud, id: &str, key: &Key) -> Value {
    let state = match (key.deletion.is_some(), key.enabled) {
        (true, _) => "PendingDeletion",
        (false, true) => "Enabled",
        (false, false) => "Disabled",
    };
    json!({
        "AWSAccountId": cloud.config.account, "KeyId": id, "Arn": arn(cloud, id),
        "CreationDate": epoch_secs(key.created), "Enabled": state == "Enabled",
        "Description": key.description, "KeyUsage": "ENCRYPT_DECRYPT", "KeyState": state,
        "DeletionDate": key.deletion.map(|(end, _)| epoch_secs(end)), "Origin": "AWS_KMS",
        "KeyManager": if key.managed { "AWS" } else { "CUSTOMER" },
        "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT", "KeySpec": "SYMMETRIC_DEFAULT",
        "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"], "MultiRegion": false,
    })
}

/// `DescribeKey`.
pub fn describe(call: &Call<'_>) -> ApiResult {
    let found = named(call, "KeyId")?;
    Ok(json!({ "KeyMetadata": metadata(call.cloud, &found.id, &found.key) }))
}

/// `ListKeys`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    call.authorize("*")?;
    let now = cloud.clock.now();
    let mut items = Vec::new();
    for (id, key) in cloud.services.kms.keys.all() {
        match key.deletion {
            Some((end, _)) if end <= now => forget(cloud, &id)?,
            _ => items.push(json!({ "KeyId": id, "KeyArn": arn(cloud, &id) })),
        }
    }
    listed(call, "Keys", PAGES, items)
}

/// A key of the customer's, whatever its state.
fn own(call: &Call<'_>) -> ApiResult<Found> {
    let found = find(call.cloud, call.required("KeyId")?)?;
    if found.alias.is_some() {
        return Err(invalid("KeyId must be the ID or the ARN of a key here, not an alias."));
    }
    allow(call.cloud, call.caller, &call.action(), &found, None)?;
    if found.key.managed {
        let message = format!("{} is managed by AWS.", arn(call.cloud, &found.id));
        return Err(ApiError::new("AccessDeniedException", message));
    }
    Ok(found)
}

/// The same when it is not about to be deleted.
fn staying(call: &Call<'_>) -> ApiResult<Found> {
    let found = own(call)?;
    match found.key.deletion {
        Some(_) => {
            let message = format!("{} is pending deletion.", arn(call.cloud, &found.id));
            Err(ApiError::new("KMSInvalidStateException", message))
        }
        None => Ok(found),
    }
}

/// `EnableKey`, `DisableKey`.
pub fn switch(call: &Call<'_>, enabled: bool) -> ApiResult {
    let found = staying(call)?;
    call.cloud.services.kms.keys.update(&found.id, |key| key.enabled = enabled)?;
    Ok(json!({}))
}

/// `UpdateKeyDescription`.
pub fn set_description(call: &Call<'_>) -> ApiResult {
    let found = staying(call)?;
    let description = call.text("Description").unwrap_or_default().to_owned();
    call.cloud.services.kms.keys.update(&found.id, |key| key.description = description)?;
    Ok(json!({}))
}

/// `ScheduleKeyDeletion`.
pub fn schedule_deletion(call: &Call<'_>) -> ApiResult {
    let found = staying(call)?;
    let days = call.params["PendingWindowInDays"].as_u64().unwrap_or(30);
    if !(7..=30).contains(&days) {
        return Err(invalid("PendingWindowInDays must be between 7 and 30 days."));
    }
    let wait = SignedDuration::from_hours(24 * days as i64);
    let end = call.cloud.clock.now().saturating_add(wait).unwrap_or(Timestamp::MAX);
    call.cloud.services.kms.keys.update(&found.id, |key| {
        key.deletion = Some((end, days));
        key.enabled = false;
    })?;
    Ok(json!({
        "KeyId": arn(call.cloud, &found.id), "DeletionDate": epoch_secs(end),
        "KeyState": "PendingDeletion", "PendingWindowInDays": days,
    }))
}

/// `CancelKeyDeletion`: the key is disabled then.
pub fn cancel_deletion(call: &Call<'_>) -> ApiResult {
    let found = own(call)?;
    let arn = arn(call.cloud, &found.id);
    if found.key.deletion.is_none() {
        let message = format!("{arn} is not pending deletion.");
        return Err(ApiError::new("KMSInvalidStateException", message));
    }
    call.cloud.services.kms.keys.update(&found.id, |key| key.deletion = None)?;
    Ok(json!({ "KeyId": arn }))
}

/// `GetKeyRotationStatus`: nothing is rotated here.
pub fn rotation(call: &Call<'_>) -> ApiResult {
    let found = staying(call)?;
    Ok(json!({ "KeyRotationEnabled": false, "KeyId": arn(call.cloud, &found.id) }))
}
