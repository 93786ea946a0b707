//! Lambda: functions run as real processes under the Runtime API.
//!
//! Differences from AWS: memory is looked at 20 times a second, and what processes have of files in
//! it does not count; the file system is the machine's, the architecture must be the machine's, and
//! there is one version, `$LATEST`. Of the 1,000 invocations that an account may have at a time, 64
//! run and the others wait. Aliases and versions are refused by name. What functions are to do
//! asynchronously is in the store before that is answered; it is tried three times, and then
//! forgotten, because there are no destinations and dead-letter queues of functions.

mod asynchronous;
mod configure;
mod environment;
mod log;
mod memory;
mod operations;
mod package;
mod permissions;
mod pool;
mod resources;
mod runtime_api;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use asynchronous::run_events;
pub use configure::{delete, set};
pub use package::remove_leftovers;
pub use pool::Environments;

use crate::kernel::bus::Takes;
use crate::kernel::cloud::Cloud;
use crate::kernel::cloud::Opening;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::outbox::Outbox;
use crate::kernel::service::Service;
use crate::kernel::store::Table;
use crate::services::cloudwatch;
use crate::{model, op};
use anyhow::Result;

/// API of Lambda.
pub static SERVICE: Service = Service {
    types: resources::TYPES,
    policy: permissions::of,
    takes: Some(Takes(|cloud, message| Box::pin(asynchronous::take(cloud, message)))),
    data: &["Invoke"],
    ..Service::new(
        "lambda",
        model!("lambda"),
        &[
            op!(GetFunction(FunctionName, Qualifier) => operations::get),
            op!(ListFunctions(MaxItems, Marker) => operations::list),
            op!(AddPermission(
                FunctionName, Qualifier, StatementId, Action, Principal, SourceArn, SourceAccount
            ) => permissions::add),
            op!(RemovePermission(FunctionName, Qualifier, StatementId) => permissions::remove),
            op!(GetPolicy(FunctionName, Qualifier) => permissions::get),
            op!(Invoke(FunctionName, Qualifier, InvocationType, LogType, Payload)
                => async operations::invoke),
        ],
    )
};

/// What Lambda has.
#[derive(Debug)]
pub struct State {
    /// Functions by name.
    pub functions: Table<Function>,
    /// Running copies of functions.
    pub environments: Environments,
    /// What functions are to do when nobody waits for it.
    pub events: Outbox<asynchronous::Event>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        Ok(Self {
            functions: opening.table("functions"),
            environments: Environments::new(opening.limits),
            events: Outbox::open(opening, "lambda_events"),
        })
    }
}

/// Bytes of a payload.
const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;

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
    /// Network that it is attached to.
    #[serde(default)]
    pub network: Option<Network>,
    /// Statements about who else may invoke it.
    #[serde(default)]
    pub permissions: Vec<Value>,
}

/// Where a function is attached to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Subnets.
    pub subnets: Vec<String>,
    /// Security groups.
    pub groups: Vec<String>,
}

/// What an invocation answered.
#[derive(Debug, Clone)]
pub struct Invoked {
    /// The payload, or the error object.
    pub payload: Bytes,
    /// `Unhandled` when the function failed.
    pub function_error: Option<&'static str>,
    /// The newest bytes of its log.
    pub log_tail: Vec<u8>,
}

impl Invoked {
    fn failed(payload: Bytes) -> Self {
        Self { payload, function_error: Some("Unhandled"), log_tail: Vec::new() }
    }
}

fn error_object(kind: &str, message: &str) -> Bytes {
    json!({ "errorType": kind, "errorMessage": message }).to_string().into()
}

/// The function's ARN.
pub fn arn(cloud: &Cloud, name: &str) -> String {
    cloud.config.arn("lambda", &format!("function:{name}"))
}

/// A function as requests name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Its name.
    pub name: &'a str,
    /// Version or alias, if one was asked for.
    pub qualifier: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Parses a name, a partial or a full ARN, each with or without a qualifier behind it;
    /// `qualifier` is one that came apart from it.
    pub fn parse(reference: &'a str, qualifier: Option<&'a str>) -> Self {
        let parts: Vec<&str> = reference.split(':').collect();
        let rest = match parts.iter().position(|p| *p == "function") {
            Some(at) if at > 0 => &parts[at + 1..],
            _ => &parts[..],
        };
        let name = rest.first().copied().unwrap_or_default();
        Self { name, qualifier: rest.get(1).copied().or(qualifier) }
    }
}

/// Checks the permission for an invocation, and that what is invoked is there.
fn authorized(
    cloud: &Cloud,
    caller: &Caller,
    reference: &Reference<'_>,
) -> ApiResult<Arc<Function>> {
    let arn = qualified_arn(cloud, reference);
    cloud.authorize(caller, "lambda:InvokeFunction", &arn, &[])?;
    find(cloud, reference)
}

fn qualified_arn(cloud: &Cloud, reference: &Reference<'_>) -> String {
    let arn = arn(cloud, reference.name);
    reference.qualifier.map_or_else(|| arn.clone(), |qualifier| format!("{arn}:{qualifier}"))
}

fn find(cloud: &Cloud, reference: &Reference<'_>) -> ApiResult<Arc<Function>> {
    let known = reference.qualifier.is_none_or(|q| q == "$LATEST");
    let function = cloud.services.lambda.functions.get(reference.name).filter(|_| known);
    function.ok_or_else(|| {
        let message = format!("Function not found: {}", qualified_arn(cloud, reference));
        ApiError::new("ResourceNotFoundException", message).with_status(404)
    })
}

/// As the API describes a function.
pub fn describe(cloud: &Cloud, name: &str, function: &Function) -> Value {
    let network = function
        .network
        .as_ref()
        .map(|n| json!({ "SubnetIds": n.subnets, "SecurityGroupIds": n.groups }));
    json!({
        "FunctionName": name, "FunctionArn": arn(cloud, name), "Runtime": "provided.al2023",
        "Handler": function.handler, "Role": function.role, "CodeSize": function.code_bytes,
        "Description": function.description, "Timeout": function.timeout_secs,
        "MemorySize": function.memory_mb,
        "LastModified": crate::kernel::cloud::iso(function.modified).replace('Z', "+0000"),
        "CodeSha256": function.code_sha256, "Version": "$LATEST", "VpcConfig": network,
        "Environment": { "Variables": function.variables }, "State": "Active",
        "LastUpdateStatus": "Successful", "PackageType": "Zip",
        "Architectures": [function.architecture],
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": function.log_group },
    })
}

/// `Invoke`, waiting for the answer; the function is named in any of the ways that Lambda has.
pub async fn invoke(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    function: &str,
    payload: Bytes,
) -> ApiResult<Invoked> {
    invoke_at(cloud, caller, &Reference::parse(function, None), payload).await
}

async fn invoke_at(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    reference: &Reference<'_>,
    payload: Bytes,
) -> ApiResult<Invoked> {
    let function = authorized(cloud, caller, reference)?;
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(ApiError::new(
            "RequestTooLargeException",
            "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
        )
        .with_status(413));
    }
    if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
        let message = format!("Could not parse request body into json: {error}");
        return Err(ApiError::new("InvalidRequestContentException", message));
    }
    let invoked = pool::invoke(cloud, reference.name, function, payload).await?;
    if invoked.function_error.is_some() {
        cloudwatch::count(cloud, "AWS/Lambda", "Errors", ("FunctionName", reference.name));
    }
    Ok(invoked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_in_many_ways() {
        let parsed = |text| {
            let reference = Reference::parse(text, None);
            (reference.name, reference.qualifier)
        };
        assert_eq!(parsed("f"), ("f", None));
        assert_eq!(parsed("f:$LATEST"), ("f", Some("$LATEST")));
        assert_eq!(parsed("f:PROD"), ("f", Some("PROD")));
        assert_eq!(parsed("000000000000:function:f"), ("f", None));
        assert_eq!(parsed("arn:aws:lambda:us-east-1:000000000000:function:f:1"), ("f", Some("1")));
        assert_eq!(parsed("function"), ("function", None));
        assert_eq!(Reference::parse("f", Some("2")).qualifier, Some("2"));
    }
}
