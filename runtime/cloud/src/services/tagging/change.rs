//! Tags given and taken, each by the operation of the service that keeps it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::index::{of_stack, pairs, service_of};
use super::refused;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::kernel::service::{self, Call, Service, Tagged, Tags};

/// What becomes of the tags of a resource.
enum Change<'a> {
    Tag(Tags),
    Untag(Vec<&'a str>),
}

/// `TagResources`.
pub async fn tag(call: &Call<'_>) -> ApiResult {
    let tags: Tags = pairs(&call.params["Tags"]).collect();
    if tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(refused("Tag keys cannot begin with aws:."));
    }
    change(call, Change::Tag(tags)).await
}

/// `UntagResources`.
pub async fn untag(call: &Call<'_>) -> ApiResult {
    let keys = call.params["TagKeys"].as_array().into_iter().flatten();
    change(call, Change::Untag(keys.filter_map(Value::as_str).collect())).await
}

/// Changes what can be changed; the answer says what could not, and why.
async fn change(call: &Call<'_>, change: Change<'_>) -> ApiResult {
    call.authorize("*")?;
    let arns = call.params["ResourceARNList"].as_array().into_iter().flatten();
    let arns: Vec<&str> = arns.filter_map(Value::as_str).collect();
    // Nothing is changed by a request that cannot be carried out here.
    let mut kept = Vec::new();
    for arn in &arns {
        kept.push(keeper(call, arn, &change)?);
    }
    let mut failed = Map::new();
    for (arn, (service, tagged)) in arns.iter().zip(kept) {
        let (operation, input) = match &change {
            Change::Tag(tags) => tagged.change.tag(call.cloud, arn, tags),
            Change::Untag(keys) => tagged.change.untag(call.cloud, arn, keys),
        };
        let changed = ask(call.cloud, call.caller, service, operation, &input).await;
        if let Err(error) = changed {
            failed.insert((*arn).to_owned(), failure(&error));
        }
    }
    Ok(json!({ "FailedResourcesMap": failed }))
}

async fn ask(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    service: &Service,
    operation: &str,
    input: &Value,
) -> Result<Value, ApiError> {
    // Another library speaks for S3.
    match service.id {
        "s3" => crate::services::s3::change_tags(cloud, caller, input).await,
        id => service::call(cloud, caller, id, operation, input).await,
    }
}

/// The service that keeps the tags of a resource.
fn keeper(
    call: &Call<'_>,
    arn: &str,
    change: &Change<'_>,
) -> ApiResult<(&'static Service, Tagged)> {
    if !arn.starts_with("arn:") || arn.split(':').count() < 6 {
        return Err(refused(format!("{arn} is not a valid ARN.")));
    }
    let not_implemented = |what: &str| {
        let message =
            format!("The embedded cloud does not implement tag:{}: {what}", call.operation);
        ApiError::new("NotImplemented", message).with_status(501)
    };
    let service = service_of(arn);
    let kept = service.and_then(|service| Some((service, service.tagged?)));
    let kept =
        kept.ok_or_else(|| not_implemented(&format!("{arn} has tags by its stack only.")))?;
    if let Change::Untag(keys) = change {
        let own = of_stack(call.cloud, arn);
        if let Some(key) = keys.iter().find(|key| own.contains_key(**key)) {
            return Err(not_implemented(&format!("{arn} has the tag {key} by its stack.")));
        }
    }
    Ok(kept)
}

fn failure(error: &ApiError) -> Value {
    json!({ "StatusCode": error.status, "ErrorCode": error.code, "ErrorMessage": error.message })
}
