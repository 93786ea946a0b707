//! KMS: symmetric keys, aliases and policies; data is really encrypted, by AES-256-GCM with the
//! encryption context as additional data.
//!
//! Keys are made by the machine's random numbers and lie in the store encrypted by `kms.key` in the
//! state folder, which only its owner can read; no answer ever shows one. Policies of roles count
//! for a key only when its own policy lets them, as in AWS.
//!
//! Differences from AWS: the forms of ciphertexts are this cloud's own; there are no grants, no
//! rotation, no imported, asymmetric, HMAC and multi-Region keys and no custom key stores: all are
//! refused by name, as are the condition keys of encryption contexts in policies. Of AWS's own keys
//! there are those that a service here uses.

mod aliases;
mod crypt;
mod keys;
mod material;
mod policies;
mod resources;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::pages::Pages;
use crate::kernel::service::{Call, Service, Tagged, Tagging};
use crate::kernel::store::Table;
use crate::{model, op};

use self::material::{Root, Sealed};

pub use self::crypt::{decrypt, encrypt};

/// What KMS has.
#[derive(Debug)]
pub struct State {
    /// Keys by ID.
    keys: Table<Key>,
    /// Aliases by name, with `alias/`.
    aliases: Table<Alias>,
    /// What the keys are encrypted by.
    root: Root,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            keys: opening.table("kms_keys"),
            aliases: opening.table("kms_aliases"),
            root: Root::open(&opening.config.state_dir)?,
        })
    }
}

/// A key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Key {
    created: Timestamp,
    description: String,
    enabled: bool,
    /// When it goes, and after how many days.
    deletion: Option<(Timestamp, u64)>,
    policy: Value,
    tags: BTreeMap<String, String>,
    /// Whether AWS manages it for a service.
    #[serde(default)]
    managed: bool,
    material: Sealed,
}

/// A name of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    key: String,
    created: Timestamp,
    modified: Timestamp,
}

/// How keys carry tags.
const TAGGED: Tagged = Tagged {
    all: |cloud| {
        let all = cloud.services.kms.keys.all().into_iter();
        all.map(|(id, one)| (arn(cloud, &id), one.tags.clone())).collect()
    },
    change: Tagging::ByArn("KeyId", ["TagKey", "TagValue"]),
};

/// API of KMS.
pub static SERVICE: Service = Service {
    policy: keys::policy_of,
    types: resources::TYPES,
    tagged: Some(TAGGED),
    ..Service::new(
        "kms",
        model!("kms"),
        &[
            op!(CreateKey(Policy, Description, KeyUsage, CustomerMasterKeySpec, KeySpec, Origin,
                BypassPolicyLockoutSafetyCheck, Tags, MultiRegion) => keys::create),
            op!(DescribeKey(KeyId) => keys::describe),
            op!(ListKeys(Limit, Marker) => keys::list),
            op!(EnableKey(KeyId) => |call| keys::switch(call, true)),
            op!(DisableKey(KeyId) => |call| keys::switch(call, false)),
            op!(UpdateKeyDescription(KeyId, Description) => keys::set_description),
            op!(ScheduleKeyDeletion(KeyId, PendingWindowInDays) => keys::schedule_deletion),
            op!(CancelKeyDeletion(KeyId) => keys::cancel_deletion),
            op!(GetKeyRotationStatus(KeyId) => keys::rotation),
            op!(CreateAlias(AliasName, TargetKeyId) => aliases::create),
            op!(UpdateAlias(AliasName, TargetKeyId) => aliases::update),
            op!(DeleteAlias(AliasName) => aliases::delete),
            op!(ListAliases(KeyId, Limit, Marker) => aliases::list),
            op!(GetKeyPolicy(KeyId, PolicyName) => policies::get),
            op!(PutKeyPolicy(KeyId, PolicyName, Policy, BypassPolicyLockoutSafetyCheck)
                => policies::put),
            op!(ListKeyPolicies(KeyId, Limit, Marker) => policies::list),
            op!(TagResource(KeyId, Tags) => policies::tag),
            op!(UntagResource(KeyId, TagKeys) => policies::untag),
            op!(ListResourceTags(KeyId, Limit, Marker) => policies::tags),
            op!(Encrypt(KeyId, Plaintext, EncryptionContext, EncryptionAlgorithm)
                => crypt::encrypt_call),
            op!(Decrypt(CiphertextBlob, EncryptionContext, KeyId, EncryptionAlgorithm)
                => crypt::decrypt_call),
            op!(ReEncrypt(CiphertextBlob, SourceEncryptionContext, SourceKeyId, DestinationKeyId,
                DestinationEncryptionContext, SourceEncryptionAlgorithm,
                DestinationEncryptionAlgorithm) => crypt::re_encrypt),
            op!(GenerateDataKey(KeyId, EncryptionContext, NumberOfBytes, KeySpec)
                => |call| crypt::data_key(call, true)),
            op!(GenerateDataKeyWithoutPlaintext(KeyId, EncryptionContext, KeySpec, NumberOfBytes)
                => |call| crypt::data_key(call, false)),
            op!(GenerateRandom(NumberOfBytes) => crypt::random),
        ],
    )
};

/// The ARN of a key.
pub fn arn(cloud: &Cloud, id: &str) -> String {
    cloud.config.arn("kms", &format!("key/{id}"))
}

fn not_found(what: &str) -> ApiError {
    ApiError::new("NotFoundException", what)
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("ValidationException", message)
}

/// A key that somebody named.
#[derive(Debug, Clone)]
struct Found {
    id: String,
    key: Arc<Key>,
    /// The alias that it was named by.
    alias: Option<String>,
}

/// The ID of a key in one of its names: an ID, an alias, or the ARN of either.
fn id_of(cloud: &Cloud, reference: &str) -> ApiResult<(String, Option<String>)> {
    let own = cloud.config.arn("kms", "");
    let name = match reference.strip_prefix(&*own) {
        Some(rest) => rest.strip_prefix("key/").unwrap_or(rest),
        None if reference.starts_with("arn:") => {
            return Err(not_found(&format!("Invalid arn {reference}")));
        }
        None => reference,
    };
    if !name.starts_with("alias/") {
        return Ok((name.to_owned(), None));
    }
    let alias = cloud.services.kms.aliases.get(name);
    let alias = alias.ok_or_else(|| not_found(&format!("Alias {own}{name} is not found.")))?;
    Ok((alias.key.clone(), Some(name.to_owned())))
}

/// A key by one of its names. One whose time is over is gone for ever.
fn find(cloud: &Cloud, reference: &str) -> ApiResult<Found> {
    let (id, alias) = id_of(cloud, reference)?;
    let missing = || not_found(&format!("Key '{}' does not exist", arn(cloud, &id)));
    let key = cloud.services.kms.keys.get(&id).ok_or_else(missing)?;
    if key.deletion.is_some_and(|(end, _)| end <= cloud.clock.now()) {
        forget(cloud, &id)?;
        return Err(missing());
    }
    Ok(Found { id, key, alias })
}

fn forget(cloud: &Cloud, id: &str) -> ApiResult<()> {
    let state = &cloud.services.kms;
    for (name, alias) in state.aliases.all() {
        if alias.key == id {
            state.aliases.remove(&name)?;
        }
    }
    state.keys.remove(id)?;
    Ok(())
}

/// The key of a call, when its caller may do this with it.
fn named(call: &Call<'_>, member: &str) -> ApiResult<Found> {
    let found = find(call.cloud, call.required(member)?)?;
    allow(call.cloud, call.caller, &call.action(), &found, None)?;
    Ok(found)
}

/// Whether a caller may do something with a key, itself or through a service (`ssm`).
fn allow(
    cloud: &Cloud,
    caller: &Caller,
    action: &str,
    found: &Found,
    via: Option<&str>,
) -> ApiResult<()> {
    let mut conditions = vec![("kms:CallerAccount", cloud.config.account.clone())];
    if let Some(service) = via {
        let region = &cloud.config.region;
        conditions.push(("kms:ViaService", format!("{service}.{region}.amazonaws.com")));
    }
    cloud.authorize(caller, action, &arn(cloud, &found.id), &conditions)
}

/// Only keys in use may be used.
fn usable(cloud: &Cloud, found: &Found) -> ApiResult<()> {
    let arn = arn(cloud, &found.id);
    if found.key.deletion.is_some() {
        let message = format!("{arn} is pending deletion.");
        return Err(ApiError::new("KMSInvalidStateException", message));
    }
    if !found.key.enabled {
        return Err(ApiError::new("DisabledException", format!("{arn} is disabled.")));
    }
    Ok(())
}

/// A page in KMS's form.
fn listed(call: &Call<'_>, member: &str, pages: Pages, items: Vec<Value>) -> ApiResult {
    let (items, next) = pages.cut(call.params, items)?;
    Ok(serde_json::json!({ (member): items, "Truncated": next.is_some(), "NextMarker": next }))
}
