//! Work groups. `primary` is in every account, without a place for results until a request names
//! one.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steppe_wire::place::S3Place;

use super::{ENGINE_VERSION, group_arn, invalid, page};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::ApiResult;
use crate::kernel::service::Call;

/// The work group of requests that name none.
pub const PRIMARY: &str = "primary";
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
}

impl WorkGroup {
    /// As CloudFormation's properties describe it.
    pub fn from_properties(p: &Value) -> Result<Self, String> {
        let configuration = &p["WorkGroupConfiguration"];
        let results = &configuration["ResultConfiguration"];
        let output = results["OutputLocation"].as_str();
        if let Some(text) = output {
            S3Place::parse(text)
                .map_err(|e| format!("InvalidRequestException: OutputLocation: {e}"))?;
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
        }
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

fn engine_version() -> Value {
    json!({ "SelectedEngineVersion": ENGINE_VERSION, "EffectiveEngineVersion": ENGINE_VERSION })
}

/// `GetWorkGroup`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let name = call.required("WorkGroup")?;
    call.authorize(&group_arn(cloud, name))?;
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
        "EngineVersion": engine_version(),
    });
    if let Some(limit) = group.scanned_bytes_max {
        configuration["BytesScannedCutoffPerQuery"] = limit.into();
    }
    Ok(json!({ "WorkGroup": {
        "Name": name, "State": "ENABLED", "Description": group.description,
        "CreationTime": epoch_secs(group.created), "Configuration": configuration,
    } }))
}

/// `ListWorkGroups`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize("*")?;
    let mut all = cloud.services.athena.work_groups.all();
    if !cloud.services.athena.work_groups.contains(PRIMARY) {
        all.push((PRIMARY.to_owned(), Arc::new(WorkGroup::primary())));
        all.sort_by(|one, other| one.0.cmp(&other.0));
    }
    let summary = |(name, group): &(String, Arc<WorkGroup>)| {
        json!({
            "Name": name, "State": "ENABLED", "Description": group.description,
            "CreationTime": epoch_secs(group.created), "EngineVersion": engine_version(),
        })
    };
    page(params, "WorkGroups", all.iter().map(summary).collect())
}
