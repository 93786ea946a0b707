//! Work groups. `primary` is in every account, without a place for results until a request names
//! one.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steppe_wire::place::S3Object;

use super::{ENGINE_VERSION, group_arn, invalid, page};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::{known, required};

/// The work group of requests that name none.
pub const PRIMARY: &str = "primary";
/// The newest engine.
const AUTO: &str = "AUTO";
/// The smallest limit of scanned bytes that AWS takes.
const SCANNED_BYTES_MIN: u64 = 10_000_000;

/// A work group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkGroup {
    /// Where results go: `s3://bucket/prefix/`.
    pub output: Option<String>,
    /// Whether requests may not choose another place.
    pub enforced: bool,
    /// Bytes that one query may read.
    pub scanned_bytes_max: Option<u64>,
    /// How results are encrypted, as it was given.
    pub encryption: Option<Value>,
    /// What it is.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
    /// The engine that was asked for: `AUTO` when none was.
    #[serde(default)]
    pub engine: Option<String>,
    /// Whether it takes no queries.
    #[serde(default)]
    pub disabled: bool,
}

impl WorkGroup {
    /// As CloudFormation's properties describe it.
    pub fn from_properties(p: &Value) -> Result<Self, String> {
        let configuration = &p["WorkGroupConfiguration"];
        let results = &configuration["ResultConfiguration"];
        let output = results["OutputLocation"].as_str();
        if let Some(text) = output {
            // Objects in it must have names that can be relied on.
            let object = format!("{}/x", text.trim_end_matches('/'));
            S3Object::parse(&object).map_err(|error| {
                let words = error.to_string().replace(&object, text);
                format!("InvalidRequestException: OutputLocation: {words}")
            })?;
        }
        let limit = &configuration["BytesScannedCutoffPerQuery"];
        let scanned_bytes_max = match limit {
            Value::Null => None,
            given => Some(bytes(given).filter(|b| *b >= SCANNED_BYTES_MIN).ok_or_else(|| {
                format!(
                    "InvalidRequestException: BytesScannedCutoffPerQuery must be at least \
                     {SCANNED_BYTES_MIN}, not {given}"
                )
            })?),
        };
        // Athena enforces unless it is told not to.
        let enforced = match &configuration["EnforceWorkGroupConfiguration"] {
            Value::Null => true,
            given => given == true || given == "true",
        };
        Ok(Self {
            output: output.map(str::to_owned),
            enforced,
            scanned_bytes_max,
            encryption: results.get("EncryptionConfiguration").cloned(),
            description: p["Description"].as_str().unwrap_or_default().to_owned(),
            created: Timestamp::now(),
            engine: selected(&configuration["EngineVersion"])?,
            disabled: false,
        })
    }

    /// As CloudFormation's properties describe it.
    pub fn properties(&self, name: &str) -> Value {
        let mut results = json!({});
        if let Some(output) = &self.output {
            results["OutputLocation"] = output.clone().into();
        }
        if let Some(encryption) = &self.encryption {
            results["EncryptionConfiguration"] = encryption.clone();
        }
        json!({
            "Name": name, "Description": self.description,
            "State": if self.disabled { "DISABLED" } else { "ENABLED" },
            "WorkGroupConfiguration": {
                "BytesScannedCutoffPerQuery": self.scanned_bytes_max,
                "EnforceWorkGroupConfiguration": self.enforced,
                "EngineVersion": {
                    "SelectedEngineVersion": self.engine.as_deref().unwrap_or(AUTO),
                },
                "PublishCloudWatchMetricsEnabled": false, "RequesterPaysEnabled": false,
                "ResultConfiguration": results,
            },
        })
    }

    fn primary() -> Self {
        Self {
            output: None,
            enforced: false,
            scanned_bytes_max: None,
            encryption: None,
            description: String::new(),
            created: Timestamp::UNIX_EPOCH,
            engine: None,
            disabled: false,
        }
    }
}

/// The engine that a configuration selects; there is one.
fn selected(version: &Value) -> Result<Option<String>, String> {
    match version["SelectedEngineVersion"].as_str() {
        None => Ok(None),
        Some(name) if name == AUTO || name == ENGINE_VERSION => Ok(Some(name.to_owned())),
        Some(other) => Err(format!("InvalidRequestException: there is no engine `{other}`")),
    }
}

fn bytes(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// A work group by name.
pub fn find(cloud: &Cloud, name: &str) -> ApiResult<Arc<WorkGroup>> {
    match cloud.services.athena.work_groups.get(name) {
        Some(group) => Ok(group),
        None if name == PRIMARY => Ok(Arc::new(WorkGroup::primary())),
        None => Err(invalid(format!("WorkGroup {name} is not found."))),
    }
}

fn engine_version(group: &WorkGroup) -> Value {
    let selected = group.engine.as_deref().unwrap_or(AUTO);
    json!({ "SelectedEngineVersion": selected, "EffectiveEngineVersion": ENGINE_VERSION })
}

/// `ListEngineVersions`.
pub fn list_engines(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let version = |selected: &str| {
        let effective = ENGINE_VERSION;
        json!({ "SelectedEngineVersion": selected, "EffectiveEngineVersion": effective })
    };
    page(call.params, "EngineVersions", vec![version(AUTO), version(ENGINE_VERSION)])
}

fn state(group: &WorkGroup) -> &'static str {
    if group.disabled { "DISABLED" } else { "ENABLED" }
}

/// `GetWorkGroup`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let name = required(params, "WorkGroup")?;
    cloud.authorize(caller, "athena:GetWorkGroup", &group_arn(cloud, name), &[])?;
    let group = find(cloud, name)?;
    let mut results = json!({});
    if let Some(output) = &group.output {
        results["OutputLocation"] = output.clone().into();
    }
    if let Some(encryption) = &group.encryption {
        results["EncryptionConfiguration"] = encryption.clone();
    }
    let mut configuration = json!({
        "ResultConfiguration": results, "EnforceWorkGroupConfiguration": group.enforced,
        "PublishCloudWatchMetricsEnabled": false, "RequesterPaysEnabled": false,
        "EngineVersion": engine_version(&group), "EnableMinimumEncryptionConfiguration": false,
    });
    if let Some(limit) = group.scanned_bytes_max {
        configuration["BytesScannedCutoffPerQuery"] = limit.into();
    }
    Ok(json!({ "WorkGroup": {
        "Name": name, "State": state(&group), "Description": group.description,
        "CreationTime": epoch_secs(group.created), "Configuration": configuration,
    } }))
}

/// `ListWorkGroups`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    cloud.authorize(caller, "athena:ListWorkGroups", "*", &[])?;
    let mut all = cloud.services.athena.work_groups.all();
    if !cloud.services.athena.work_groups.contains(PRIMARY) {
        all.push((PRIMARY.to_owned(), Arc::new(WorkGroup::primary())));
        all.sort_by(|one, other| one.0.cmp(&other.0));
    }
    let summary = |(name, group): &(String, Arc<WorkGroup>)| {
        json!({
            "Name": name, "State": state(group), "Description": group.description,
            "CreationTime": epoch_secs(group.created), "EngineVersion": engine_version(group),
        })
    };
    page(params, "WorkGroups", all.iter().map(summary).collect())
}

/// What is done of a configuration; anything else that is set is refused by name.
fn check(configuration: &Value, operation: &str) -> ApiResult<()> {
    let check = |value: &Value, names: &[&str]| match value {
        Value::Null => Ok(()),
        given => known(given, "athena", operation, names),
    };
    let off = [
        "PublishCloudWatchMetricsEnabled",
        "RequesterPaysEnabled",
        "EnableMinimumEncryptionConfiguration",
    ];
    if let Some(on) = off.into_iter().find(|name| configuration[*name] == true) {
        return Err(ApiError::unknown_parameter(on, &format!("athena:{operation}")));
    }
    check(
        &configuration["ResultConfiguration"],
        &["OutputLocation", "EncryptionConfiguration", "ExpectedBucketOwner"],
    )?;
    check(
        &configuration["ResultConfigurationUpdates"],
        &[
            "OutputLocation",
            "RemoveOutputLocation",
            "EncryptionConfiguration",
            "RemoveEncryptionConfiguration",
        ],
    )
}

/// A work group of a configuration, by the rules of CloudFormation's properties.
fn made(configuration: &Value, description: &Value) -> ApiResult<WorkGroup> {
    let properties = json!({ "WorkGroupConfiguration": configuration, "Description": description });
    WorkGroup::from_properties(&properties).map_err(|what| {
        invalid(what.strip_prefix("InvalidRequestException: ").unwrap_or(&what).to_owned())
    })
}

/// `CreateWorkGroup`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let name = required(params, "Name")?;
    cloud.authorize(caller, "athena:CreateWorkGroup", &group_arn(cloud, name), &[])?;
    check(&params["Configuration"], "CreateWorkGroup")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() > 128 || !name.chars().all(fits) {
        return Err(invalid(format!("`{name}` is not a name of a work group")));
    }
    let group = made(&params["Configuration"], &params["Description"])?;
    if name == PRIMARY || !cloud.services.athena.work_groups.create(name, group)? {
        return Err(invalid("WorkGroup is already created"));
    }
    Ok(json!({}))
}

/// `UpdateWorkGroup`.
pub fn update(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let name = required(params, "WorkGroup")?;
    cloud.authorize(caller, "athena:UpdateWorkGroup", &group_arn(cloud, name), &[])?;
    let updates = &params["ConfigurationUpdates"];
    check(updates, "UpdateWorkGroup")?;
    let former = find(cloud, name)?;
    let results = &updates["ResultConfigurationUpdates"];
    let mut configuration = json!({
        "ResultConfiguration": {}, "EnforceWorkGroupConfiguration": former.enforced,
        "EngineVersion": { "SelectedEngineVersion": former.engine },
    });
    let mut keep = |at: &str, removed: &Value, new: &Value, old: Value| {
        let value = if *removed == true {
            Value::Null
        } else if new.is_null() {
            old
        } else {
            new.clone()
        };
        if let Some((whole, member)) = at.rsplit_once('/')
            && let Some(place) = configuration.pointer_mut(whole).filter(|_| !value.is_null())
        {
            place[member] = value;
        }
    };
    let (output, encryption) = (json!(former.output), former.encryption.clone());
    keep(
        "/ResultConfiguration/OutputLocation",
        &results["RemoveOutputLocation"],
        &results["OutputLocation"],
        output,
    );
    keep(
        "/ResultConfiguration/EncryptionConfiguration",
        &results["RemoveEncryptionConfiguration"],
        &results["EncryptionConfiguration"],
        encryption.unwrap_or_default(),
    );
    keep(
        "/BytesScannedCutoffPerQuery",
        &updates["RemoveBytesScannedCutoffPerQuery"],
        &updates["BytesScannedCutoffPerQuery"],
        json!(former.scanned_bytes_max),
    );
    for member in ["EnforceWorkGroupConfiguration", "EngineVersion"] {
        keep(&format!("/{member}"), &Value::Null, &updates[member], Value::Null);
    }
    let description = match &params["Description"] {
        Value::Null => former.description.clone().into(),
        given => given.clone(),
    };
    let disabled = match params["State"].as_str() {
        None => former.disabled,
        Some("ENABLED") => false,
        Some("DISABLED") => true,
        Some(other) => {
            return Err(invalid(format!("State must be ENABLED or DISABLED, not {other}")));
        }
    };
    let group = made(&configuration, &description)?;
    cloud
        .services
        .athena
        .work_groups
        .put(name, WorkGroup { disabled, created: former.created, ..group })?;
    Ok(json!({}))
}

/// `DeleteWorkGroup`. With what it keeps, only when the request says so.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let name = required(params, "WorkGroup")?;
    cloud.authorize(caller, "athena:DeleteWorkGroup", &group_arn(cloud, name), &[])?;
    find(cloud, name)?;
    if name == PRIMARY {
        return Err(invalid("The primary WorkGroup cannot be deleted"));
    }
    let queries = cloud.services.athena.named_queries.all().into_iter();
    let queries: Vec<_> = queries.filter(|(_, query)| query.work_group == name).collect();
    let prepared = cloud.services.athena.prepared.range(&format!("{name}/"), None);
    let executed = cloud.services.athena.queries.all();
    let executed: Vec<_> = executed.into_iter().filter(|(_, e)| e.work_group == name).collect();
    let is_empty = queries.is_empty() && prepared.is_empty() && executed.is_empty();
    if !is_empty && params["RecursiveDeleteOption"] != true {
        return Err(invalid(format!("WorkGroup {name} is not empty")));
    }
    for (id, _) in queries {
        cloud.services.athena.named_queries.remove(&id)?;
    }
    for (key, _) in prepared {
        cloud.services.athena.prepared.remove(&key)?;
    }
    for (id, execution) in executed {
        if execution.completed.is_none() {
            super::stop(cloud, &id);
        }
        cloud.services.athena.queries.remove(&id)?;
    }
    cloud.services.athena.work_groups.remove(name)?;
    Ok(json!({}))
}
