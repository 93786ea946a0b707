//! The operations of Lambda's API.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Invoked, Reference, asynchronous, authorized, describe, find, invoke_at, qualified_arn,
};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Functions in one answer, as in AWS.
const PAGE_MAX: usize = 50;

/// The function that a call names.
fn named<'a>(call: &Call<'a>) -> ApiResult<Reference<'a>> {
    Ok(Reference::parse(call.required("FunctionName")?, call.text("Qualifier")))
}

/// `GetFunction`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let reference = named(call)?;
    call.authorize(&qualified_arn(call.cloud, &reference))?;
    let function = find(call.cloud, &reference)?;
    let configuration = describe(call.cloud, reference.name, &function);
    Ok(json!({ "Configuration": configuration, "Code": { "RepositoryType": "S3" } }))
}

/// `ListFunctions`, in pages.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let size = call.params["MaxItems"].as_u64().map_or(PAGE_MAX, |size| size as usize);
    let size = size.clamp(1, PAGE_MAX);
    let after = call.text("Marker").filter(|marker| !marker.is_empty());
    let rest = call.cloud.services.lambda.functions.range("", after);
    let page = rest.iter().take(size).map(|(name, f)| describe(call.cloud, name, f));
    let last = rest.get(size - 1).filter(|_| rest.len() > size);
    Ok(json!({
        "Functions": page.collect::<Vec<Value>>(), "NextMarker": last.map(|(name, _)| name),
    }))
}

/// `Invoke`.
pub async fn invoke(call: &Call<'_>) -> ApiResult {
    let reference = named(call)?;
    let kind = call.text("InvocationType").unwrap_or("RequestResponse");
    if kind == "DryRun" {
        authorized(call.cloud, call.caller, &reference)?;
        return Ok(json!({ "StatusCode": 204 }));
    }
    let payload = match call.text("Payload") {
        Some(encoded) => BASE64.decode(encoded).map_err(ApiError::internal)?.into(),
        None => Bytes::from_static(b"{}"),
    };
    if kind == "Event" {
        asynchronous::add(call.cloud, call.caller, &reference, &payload)?;
        return Ok(json!({ "StatusCode": 202 }));
    }
    let invoked = invoke_at(call.cloud, call.caller, &reference, payload).await?;
    Ok(answer(&invoked, call.text("LogType") == Some("Tail")))
}

fn answer(invoked: &Invoked, with_log: bool) -> Value {
    json!({
        "StatusCode": 200, "ExecutedVersion": "$LATEST",
        "FunctionError": invoked.function_error,
        "LogResult": with_log.then(|| BASE64.encode(&invoked.log_tail)),
        "Payload": BASE64.encode(&invoked.payload),
    })
}
