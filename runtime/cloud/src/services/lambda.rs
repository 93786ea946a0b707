//! Lambda: functions run as real processes under the Runtime API.
//!
//! Functions, versions, aliases and policies; invocations that are waited for and those that are
//! not, with destinations and dead-letter queues; event source mappings of queues and streams.
//!
//! Differences from AWS: memory is looked at 20 times a second, and what processes have of files in
//! it does not count; the file system is the machine's, the architecture must be the machine's, and
//! functions are programs of their own (`provided.al2023`, `provided.al2`): other runtimes and
//! container images are refused by name. A function is being made or changed for a fifth of a
//! second, in which what AWS refuses is refused; a change counts at once. Of the 1,000 invocations
//! that an account may have at a time, 64 run and the others wait. Where a package can be fetched
//! is not told. What functions are to do asynchronously is in the store before that is answered.

mod aliases;
mod asynchronous;
mod concurrency;
mod configure;
mod destinations;
mod environment;
mod event_configs;
mod function;
mod functions;
mod log;
mod mappings;
mod memory;
mod operations;
mod package;
mod permissions;
mod pool;
mod resources;
mod runtime_api;
mod tags;
mod versions;

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use serde_json::json;

pub use asynchronous::run_events;
pub use destinations::run_deliveries;
pub use function::{Function, Network};
pub use mappings::resume as resume_mappings;
pub use package::remove_leftovers;
pub use pool::Environments;

use self::aliases::Alias;
use self::event_configs::EventConfig;
use self::mappings::{Checkpoint, Mapping, Signals};
use self::versions::{Target, resolve};
use crate::kernel::bus::Takes;
use crate::kernel::cloud::{Cloud, Opening};
use crate::kernel::delivery::Delivery;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::outbox::Outbox;
use crate::kernel::service::{Call, Service};
use crate::kernel::store::Table;
use crate::services::cloudwatch;
use crate::{model, op};

/// Bytes of a request, which may bring a package along.
const REQUEST_BYTES_MAX: usize = 70_167_211;

/// API of Lambda.
pub static SERVICE: Service = Service {
    types: resources::TYPES,
    policy: permissions::of,
    takes: Some(Takes(|cloud, message| Box::pin(asynchronous::take(cloud, message)))),
    request_bytes_max: REQUEST_BYTES_MAX,
    data: &["Invoke"],
    tagged: Some(tags::TAGGED),
    ..Service::new(
        "lambda",
        model!("lambda"),
        &[
            op!(CreateFunction(
                FunctionName, Runtime, Role, Handler,
                Code { ZipFile, S3Bucket, S3Key, S3ObjectVersion, ImageUri },
                Description, Timeout, MemorySize, Publish,
                VpcConfig { SubnetIds, SecurityGroupIds }, PackageType,
                DeadLetterConfig { TargetArn }, Environment { Variables }, Tags, Architectures,
                LoggingConfig { LogGroup, LogFormat }
            ) => async functions::create),
            op!(UpdateFunctionCode(
                FunctionName, ZipFile, S3Bucket, S3Key, S3ObjectVersion, Architectures, Publish,
                DryRun, RevisionId
            ) => async functions::update_code),
            op!(UpdateFunctionConfiguration(
                FunctionName, Role, Handler, Description, Timeout, MemorySize,
                VpcConfig { SubnetIds, SecurityGroupIds }, Environment { Variables }, Runtime,
                DeadLetterConfig { TargetArn }, RevisionId, LoggingConfig { LogGroup, LogFormat }
            ) => functions::update_configuration),
            op!(DeleteFunction(FunctionName, Qualifier) => functions::delete),
            op!(GetFunction(FunctionName, Qualifier) => functions::get),
            op!(GetFunctionConfiguration(FunctionName, Qualifier)
                => functions::get_configuration),
            op!(ListFunctions(FunctionVersion, MaxItems, Marker) => functions::list),
            op!(PublishVersion(FunctionName, CodeSha256, Description, RevisionId)
                => versions::publish),
            op!(ListVersionsByFunction(FunctionName, MaxItems, Marker) => versions::list),
            op!(CreateAlias(
                FunctionName, Name, FunctionVersion, Description,
                RoutingConfig { AdditionalVersionWeights }
            ) => aliases::create),
            op!(UpdateAlias(
                FunctionName, Name, FunctionVersion, Description,
                RoutingConfig { AdditionalVersionWeights }, RevisionId
            ) => aliases::update),
            op!(GetAlias(FunctionName, Name) => aliases::get),
            op!(DeleteAlias(FunctionName, Name) => aliases::delete),
            op!(ListAliases(FunctionName, FunctionVersion, MaxItems, Marker) => aliases::list),
            op!(PutFunctionConcurrency(FunctionName, ReservedConcurrentExecutions)
                => concurrency::put),
            op!(GetFunctionConcurrency(FunctionName) => concurrency::get),
            op!(DeleteFunctionConcurrency(FunctionName) => concurrency::delete),
            op!(TagResource(Resource, Tags) => tags::add),
            op!(UntagResource(Resource, TagKeys) => tags::remove),
            op!(ListTags(Resource) => tags::list),
            op!(AddPermission(
                FunctionName, Qualifier, StatementId, Action, Principal, SourceArn, SourceAccount
            ) => permissions::add),
            op!(RemovePermission(FunctionName, Qualifier, StatementId) => permissions::remove),
            op!(GetPolicy(FunctionName, Qualifier) => permissions::get),
            op!(Invoke(FunctionName, Qualifier, InvocationType, LogType, Payload)
                => async operations::invoke),
            op!(PutFunctionEventInvokeConfig(
                FunctionName, Qualifier, MaximumRetryAttempts, MaximumEventAgeInSeconds,
                DestinationConfig { OnSuccess, OnFailure }
            ) => event_configs::put),
            op!(UpdateFunctionEventInvokeConfig(
                FunctionName, Qualifier, MaximumRetryAttempts, MaximumEventAgeInSeconds,
                DestinationConfig { OnSuccess, OnFailure }
            ) => event_configs::update),
            op!(GetFunctionEventInvokeConfig(FunctionName, Qualifier) => event_configs::get),
            op!(DeleteFunctionEventInvokeConfig(FunctionName, Qualifier) => event_configs::delete),
            op!(ListFunctionEventInvokeConfigs(FunctionName, MaxItems, Marker)
                => event_configs::list),
            op!(CreateEventSourceMapping(
                EventSourceArn, FunctionName, Enabled, BatchSize, FilterCriteria,
                ScalingConfig { MaximumConcurrency }, MaximumBatchingWindowInSeconds,
                ParallelizationFactor, StartingPosition, StartingPositionTimestamp,
                DestinationConfig { OnSuccess, OnFailure }, MaximumRecordAgeInSeconds,
                BisectBatchOnFunctionError, MaximumRetryAttempts, Tags, FunctionResponseTypes
            ) => async mappings::create),
            op!(UpdateEventSourceMapping(
                UUID, FunctionName, Enabled, BatchSize, FilterCriteria,
                ScalingConfig { MaximumConcurrency }, MaximumBatchingWindowInSeconds,
                ParallelizationFactor, DestinationConfig { OnSuccess, OnFailure },
                MaximumRecordAgeInSeconds,
                BisectBatchOnFunctionError, MaximumRetryAttempts, FunctionResponseTypes
            ) => async mappings::update),
            op!(GetEventSourceMapping(UUID) => mappings::get),
            op!(DeleteEventSourceMapping(UUID) => mappings::delete),
            op!(ListEventSourceMappings(EventSourceArn, FunctionName, MaxItems, Marker)
                => mappings::list),
        ],
    )
};

/// What Lambda has.
#[derive(Debug)]
pub struct State {
    /// Functions by name, as they are in `$LATEST`.
    pub functions: Table<Function>,
    /// Versions that were published, by function and number.
    versions: Table<Function>,
    /// Aliases by function and name.
    aliases: Table<Alias>,
    /// What becomes of events, by function and version or alias.
    event_configs: Table<EventConfig>,
    /// Event source mappings by ID.
    mappings: Table<Mapping>,
    /// How far mappings have read streams.
    checkpoints: Table<Checkpoint>,
    /// Tells the workers of mappings that something has changed.
    signals: Signals,
    /// Running copies of functions.
    pub environments: Environments,
    /// What functions are to do when nobody waits for it.
    pub events: Outbox<asynchronous::Event>,
    /// What is on its way to destinations.
    deliveries: Outbox<Delivery>,
}

impl State {
    /// Opens the records.
    pub fn open(opening: &Opening<'_>) -> Result<Self> {
        let functions: Table<Function> = opening.table("functions");
        let reserved = functions.all().iter().filter_map(|(_, f)| f.reserved).sum();
        Ok(Self {
            functions,
            versions: opening.table("lambda_versions"),
            aliases: opening.table("lambda_aliases"),
            event_configs: opening.table("lambda_event_configs"),
            mappings: opening.table("lambda_mappings"),
            checkpoints: opening.table("lambda_checkpoints"),
            signals: Signals::default(),
            environments: Environments::new(opening.limits, reserved),
            events: Outbox::open(opening, "lambda_events"),
            deliveries: Outbox::open(opening, "lambda_deliveries"),
        })
    }
}

/// Bytes of a payload.
const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;

/// What an invocation answered.
#[derive(Debug, Clone)]
pub struct Invoked {
    /// The payload, or the error object.
    pub payload: Bytes,
    /// `Unhandled` when the function failed.
    pub function_error: Option<&'static str>,
    /// The newest bytes of its log.
    pub log_tail: Vec<u8>,
    /// The version that ran.
    pub version: String,
}

impl Invoked {
    fn failed(payload: Bytes) -> Self {
        let (function_error, log_tail) = (Some("Unhandled"), Vec::new());
        Self { payload, function_error, log_tail, version: String::new() }
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

/// The function that a call names.
fn named<'a>(call: &Call<'a>) -> ApiResult<Reference<'a>> {
    Ok(Reference::parse(call.required("FunctionName")?, call.text("Qualifier")))
}

/// Checks the permission for an invocation, and that what is invoked is there and made.
fn authorized(cloud: &Cloud, caller: &Caller, reference: &Reference<'_>) -> ApiResult<Target> {
    let arn = qualified_arn(cloud, reference);
    cloud.authorize(caller, "lambda:InvokeFunction", &arn, &[])?;
    let target = resolve(cloud, reference, Alias::choose)?;
    target.function.check_is_made(cloud.clock.now())?;
    Ok(target)
}

fn qualified_arn(cloud: &Cloud, reference: &Reference<'_>) -> String {
    let arn = arn(cloud, reference.name);
    reference.qualifier.map_or_else(|| arn.clone(), |qualifier| format!("{arn}:{qualifier}"))
}

fn missing(cloud: &Cloud, name: &str) -> ApiError {
    function::not_found(format!("Function not found: {}", arn(cloud, name)))
}

/// The function of that name.
fn find(cloud: &Cloud, name: &str) -> ApiResult<Arc<Function>> {
    cloud.services.lambda.functions.get(name).ok_or_else(|| missing(cloud, name))
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
    let target = authorized(cloud, caller, reference)?;
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
    run(cloud, &target, payload, &uuid::Uuid::new_v4().to_string()).await
}

/// Runs a function once, whoever it is for; `id` is the invocation's.
async fn run(cloud: &Arc<Cloud>, target: &Target, payload: Bytes, id: &str) -> ApiResult<Invoked> {
    let count = |metric| {
        cloudwatch::count(cloud, "AWS/Lambda", metric, ("FunctionName", &target.name));
    };
    let invoked = pool::invoke(cloud, target, payload, id).await;
    match &invoked {
        Ok(invoked) if invoked.function_error.is_some() => count("Errors"),
        Err(error) if error.status == 429 => count("Throttles"),
        _ => {}
    }
    invoked
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
