//! What becomes of events of a function: how long and how often they are tried, and who is told.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-configuring.html>

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::function::{LATEST, invalid, not_found};
use super::versions::{page, qualifier_of, resolve, row};
use super::{Alias, Reference, arn, destinations, find, named};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// What becomes of events.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EventConfig {
    /// Attempts after the first.
    pub retries_max: Option<u64>,
    /// Seconds since an event came.
    pub age_secs_max: Option<u64>,
    /// Who is told of success.
    pub on_success: Option<String>,
    /// Who is told of failure.
    pub on_failure: Option<String>,
    /// Last change.
    pub modified: Timestamp,
}

/// The configuration of a function, a version or an alias.
pub fn of(cloud: &Cloud, name: &str, qualifier: Option<&str>) -> Option<EventConfig> {
    let configs = &cloud.services.lambda.event_configs;
    configs.get(&row(name, qualifier.unwrap_or(LATEST))).map(|config| (*config).clone())
}

fn describe(cloud: &Cloud, name: &str, qualifier: &str, config: &EventConfig) -> Value {
    let to = |destination: &Option<String>| {
        destination.as_ref().map_or_else(|| json!({}), |arn| json!({ "Destination": arn }))
    };
    json!({
        "LastModified": epoch_secs(config.modified),
        "FunctionArn": format!("{}:{qualifier}", arn(cloud, name)),
        "MaximumRetryAttempts": config.retries_max,
        "MaximumEventAgeInSeconds": config.age_secs_max,
        "DestinationConfig": {
            "OnSuccess": to(&config.on_success), "OnFailure": to(&config.on_failure),
        },
    })
}

/// What a call names, when the caller may make it.
fn of_call<'a>(call: &Call<'a>) -> ApiResult<(&'a str, &'a str)> {
    let reference = named(call)?;
    call.authorize(&arn(call.cloud, reference.name))?;
    Ok((reference.name, reference.qualifier.unwrap_or(LATEST)))
}

fn absent(cloud: &Cloud, name: &str, qualifier: &str) -> ApiError {
    let arn = format!("{}:{qualifier}", arn(cloud, name));
    not_found(format!("The function {arn} doesn't have an EventInvokeConfig"))
}

/// Takes over what a call says.
fn apply(
    call: &Call<'_>,
    (name, qualifier): (&str, &str),
    mut config: EventConfig,
) -> ApiResult<EventConfig> {
    let (cloud, params) = (call.cloud, call.params);
    let said = ["MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig"];
    if said.iter().all(|member| params[member].is_null()) {
        let words = "You must specify at least one of error handling or destination setting.";
        return Err(invalid(words));
    }
    let reference = Reference { name, qualifier: Some(qualifier) };
    let target = resolve(cloud, &reference, Alias::main)
        .map_err(|_| not_found("The function doesn't exist."))?;
    let number = |member: &str, former| params[member].as_u64().or(former);
    config.retries_max = number("MaximumRetryAttempts", config.retries_max);
    config.age_secs_max = number("MaximumEventAgeInSeconds", config.age_secs_max);
    let destinations = &params["DestinationConfig"];
    destinations::check_event(cloud, (name, &target.function.role), destinations)?;
    let to = |outcome: &str, former: Option<String>| match &destinations[outcome] {
        Value::Null => former,
        given => given["Destination"].as_str().filter(|arn| !arn.is_empty()).map(str::to_owned),
    };
    config.on_success = to("OnSuccess", config.on_success);
    config.on_failure = to("OnFailure", config.on_failure);
    config.modified = cloud.clock.now();
    Ok(config)
}

fn write(call: &Call<'_>, of: (&str, &str), former: EventConfig) -> ApiResult {
    let (cloud, (name, qualifier)) = (call.cloud, of);
    let config = apply(call, of, former)?;
    let described = describe(cloud, name, qualifier, &config);
    cloud.services.lambda.event_configs.put(&row(name, qualifier), config)?;
    Ok(described)
}

/// `PutFunctionEventInvokeConfig`: what it does not say is as if it had never been said.
pub fn put(call: &Call<'_>) -> ApiResult {
    let none = EventConfig {
        retries_max: None,
        age_secs_max: None,
        on_success: None,
        on_failure: None,
        modified: call.cloud.clock.now(),
    };
    write(call, of_call(call)?, none)
}

/// `UpdateFunctionEventInvokeConfig`: what it does not say stays.
pub fn update(call: &Call<'_>) -> ApiResult {
    let (name, qualifier) = of_call(call)?;
    let former = of(call.cloud, name, Some(qualifier));
    let former = former.ok_or_else(|| absent(call.cloud, name, qualifier))?;
    write(call, (name, qualifier), former)
}

/// `GetFunctionEventInvokeConfig`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let (name, qualifier) = of_call(call)?;
    let config = of(call.cloud, name, Some(qualifier));
    let config = config.ok_or_else(|| absent(call.cloud, name, qualifier))?;
    Ok(describe(call.cloud, name, qualifier, &config))
}

/// `DeleteFunctionEventInvokeConfig`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (name, qualifier) = of_call(call)?;
    let removed = call.cloud.services.lambda.event_configs.remove(&row(name, qualifier))?;
    removed.map(|_| json!({})).ok_or_else(|| absent(call.cloud, name, qualifier))
}

/// `ListFunctionEventInvokeConfigs`, in pages.
pub fn list(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let (name, _) = of_call(call)?;
    find(cloud, name).map_err(|_| not_found("The function doesn't exist."))?;
    let prefix = format!("{name}:");
    let configs = cloud.services.lambda.event_configs.range(&prefix, None).into_iter();
    let configs = configs
        .map(|(row, config)| describe(cloud, name, &qualifier_of(&row[prefix.len()..]), &config));
    page(call, "FunctionEventInvokeConfigs", configs.collect())
}
