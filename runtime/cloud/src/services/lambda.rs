//! Lambda: functions run as real processes under the Runtime API.
//!
//! Differences from AWS: memory is not limited, the file system is the machine's, the architecture
//! must be the machine's, and there is one version, `$LATEST`.

mod environment;

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::environment::Environment;
use crate::cloud::Cloud;
use crate::error::{ApiError, ApiResult};
use crate::identity::Caller;
use crate::services::cloudwatch;

/// Processes of all functions together.
const ENVIRONMENTS_MAX: usize = 32;
/// How long a process may wait for its next invocation.
const IDLE_MAX: Duration = Duration::from_secs(5 * 60);
/// Bytes of a payload.
const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Bytes of an unpacked package.
const PACKAGE_BYTES_MAX: u64 = 250 * 1024 * 1024;

/// A function.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Function {
    /// ARN of its role.
    pub role: String,
    /// What it does.
    pub description: String,
    /// Environment variables.
    pub variables: HashMap<String, String>,
    /// Which of the package's handlers it is.
    #[serde(default)]
    pub handler: String,
    /// Seconds that an invocation may take.
    pub timeout_secs: u64,
    /// Memory; kept and reported.
    pub memory_mb: u64,
    /// Group of its logs.
    pub log_group: String,
    /// SHA-256 of its package, base64.
    pub code_sha256: String,
    /// Size of its package.
    pub code_bytes: usize,
    /// Directory of its unpacked package.
    pub directory: PathBuf,
    /// Last change; a process of an older function is not used again.
    pub modified: Timestamp,
    /// Architecture.
    pub architecture: String,
}

/// Idle processes by function, and the number of all.
#[derive(Debug, Default)]
pub struct Environments {
    idle: Mutex<HashMap<String, Vec<Environment>>>,
    count: Arc<std::sync::atomic::AtomicUsize>,
}

impl Environments {
    fn idle(&self) -> std::sync::MutexGuard<'_, HashMap<String, Vec<Environment>>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Stops all idle processes of a function.
    pub fn retire(&self, function: &str) {
        self.idle().remove(function);
    }

    /// Stops processes that have been idle for too long.
    fn retire_idle(&self) {
        self.idle()
            .values_mut()
            .for_each(|environments| environments.retain(|e| e.idle_for() < IDLE_MAX));
    }

    /// Stops all idle processes.
    pub fn retire_all(&self) {
        self.idle().clear();
    }
}

/// What an invocation answered.
#[derive(Debug, Clone)]
pub struct Invoked {
    /// The payload, or the error object.
    pub payload: Bytes,
    /// `Unhandled` when the function failed.
    pub function_error: Option<&'static str>,
}

/// The function's ARN.
pub fn arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.arn("lambda", &format!("function:{name}"))
}

/// A name out of a name, a partial or a full ARN.
pub fn name_of(reference: &str) -> &str {
    reference.trim_end_matches(":$LATEST").rsplit(':').next().unwrap_or(reference)
}

fn not_found(cloud: &Cloud, name: &str) -> ApiError {
    ApiError::new("ResourceNotFoundException", format!("Function not found: {}", arn(cloud, name)))
        .with_status(404)
}

/// Fetches and unpacks a package; returns its directory, hash and size.
pub fn unpack(
    cloud: &Cloud,
    name: &str,
    bucket: &str,
    key: &str,
) -> Result<(PathBuf, String, usize), String> {
    let package = cloud
        .buckets
        .read(bucket, key)
        .map_err(|e| format!("Error occurred while GetObject. S3 Error Message: {e}"))?;
    let hash = Sha256::digest(&package);
    let directory = cloud.path("lambda").join(name).join(hex::encode(&hash[..8]));
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&package))
        .map_err(|e| format!("Could not unzip uploaded file: {e}"))?;
    let mut left = PACKAGE_BYTES_MAX;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| e.to_string())?;
        let path = entry.enclosed_name().ok_or("the package has a file outside of it")?;
        left = left
            .checked_sub(entry.size())
            .ok_or("Unzipped size must be smaller than 262144000 bytes")?;
        let target = directory.join(path);
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        write_executable(&target, &bytes).map_err(|e| e.to_string())?;
    }
    if !directory.join("bootstrap").exists() {
        return Err("the package has no `bootstrap`".to_owned());
    }
    Ok((directory, base64::engine::general_purpose::STANDARD.encode(hash), package.len()))
}

fn write_executable(target: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(target.parent().unwrap_or(target))?;
    let new = target.with_extension("new");
    std::fs::write(&new, bytes)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755))?;
    std::fs::rename(new, target)
}

/// As the API describes a function.
pub fn describe(cloud: &Cloud, name: &str, function: &Function) -> Value {
    json!({
        "FunctionName": name, "FunctionArn": arn(cloud, name), "Runtime": "provided.al2023", "Handler": function.handler, "Role": function.role,
        "CodeSize": function.code_bytes, "Description": function.description, "Timeout": function.timeout_secs, "MemorySize": function.memory_mb,
        "LastModified": crate::cloud::iso(function.modified).replace('Z', "+0000"), "CodeSha256": function.code_sha256, "Version": "$LATEST",
        "Environment": { "Variables": function.variables }, "State": "Active", "LastUpdateStatus": "Successful", "PackageType": "Zip",
        "Architectures": [function.architecture], "LoggingConfig": { "LogFormat": "Text", "LogGroup": function.log_group },
    })
}

/// `GetFunction`.
pub fn get(cloud: &Cloud, caller: &Caller, reference: &str) -> ApiResult {
    let name = name_of(reference);
    cloud.authorize(caller, "lambda:GetFunction", &arn(cloud, name), &[])?;
    let function = cloud.functions.get(name).ok_or_else(|| not_found(cloud, name))?;
    Ok(
        json!({ "Configuration": describe(cloud, name, &function), "Code": { "RepositoryType": "S3" } }),
    )
}

/// `ListFunctions`.
pub fn list(cloud: &Cloud, caller: &Caller) -> ApiResult {
    cloud.authorize(
        caller,
        "lambda:ListFunctions",
        &cloud.config.arn("lambda", "function:*"),
        &[],
    )?;
    let functions: Vec<Value> =
        cloud.functions.all().iter().map(|(name, f)| describe(cloud, name, f)).collect();
    Ok(json!({ "Functions": functions }))
}

/// `Invoke`, waiting for the answer, from the API and from state machines.
pub async fn invoke(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    reference: &str,
    payload: Bytes,
) -> ApiResult<Invoked> {
    let name = name_of(reference);
    cloud.authorize(caller, "lambda:InvokeFunction", &arn(cloud, name), &[])?;
    let function = cloud.functions.get(name).ok_or_else(|| not_found(cloud, name))?;
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(ApiError::new(
            "RequestTooLargeException",
            "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
        )
        .with_status(413));
    }
    if serde_json::from_slice::<serde::de::IgnoredAny>(&payload).is_err() {
        return Err(ApiError::new(
            "InvalidRequestContentException",
            "Could not parse request body into json",
        ));
    }
    let idle =
        cloud.environments.idle().get_mut(name).and_then(Vec::pop).filter(|e| e.fits(&function));
    let mut environment = match idle {
        Some(environment) => environment,
        None => {
            Environment::start(
                cloud,
                name,
                &function,
                cloud.environments.count.clone(),
                ENVIRONMENTS_MAX,
            )
            .await?
        }
    };
    let answer = environment.invoke(cloud, &function, payload).await;
    if answer.reusable {
        cloud.environments.idle().entry(name.to_owned()).or_default().push(environment);
        let cloud = cloud.clone();
        tokio::spawn(async move {
            tokio::time::sleep(IDLE_MAX).await;
            cloud.environments.retire_idle();
        });
    }
    if answer.invoked.function_error.is_some() {
        cloudwatch::count(cloud, "AWS/Lambda", "Errors", ("FunctionName", name));
    }
    Ok(answer.invoked)
}
