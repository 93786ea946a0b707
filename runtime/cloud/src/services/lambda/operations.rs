//! `Invoke`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{Invoked, asynchronous, authorized, invoke_at, named};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

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
        "StatusCode": 200, "ExecutedVersion": invoked.version,
        "FunctionError": invoked.function_error,
        "LogResult": with_log.then(|| BASE64.encode(&invoked.log_tail)),
        "Payload": BASE64.encode(&invoked.payload),
    })
}
