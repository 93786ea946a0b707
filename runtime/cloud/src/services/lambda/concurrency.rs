//! Reserved concurrency: invocations that are kept for a function, and that it may have at a time.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html>

use serde_json::json;

use super::function::invalid;
use super::{Reference, arn, find, missing, named};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Invocations that must be left to functions without reserved ones.
const UNRESERVED_MIN: u64 = 100;

fn of<'a>(call: &Call<'a>) -> ApiResult<&'a str> {
    let Reference { name, .. } = named(call)?;
    call.authorize(&arn(call.cloud, name))?;
    find(call.cloud, name)?;
    Ok(name)
}

/// Sets what a function reserves.
fn set(call: &Call<'_>, name: &str, wanted: Option<u64>) -> ApiResult<()> {
    let state = &call.cloud.services.lambda;
    let changed = state.functions.update(name, |function| {
        let former = std::mem::replace(&mut function.reserved, wanted);
        function.touch();
        former
    })?;
    let former = changed.ok_or_else(|| missing(call.cloud, name))?;
    state.environments.reserve(former, wanted);
    Ok(())
}

/// `PutFunctionConcurrency`.
pub fn put(call: &Call<'_>) -> ApiResult {
    let name = of(call)?;
    let wanted = call.params["ReservedConcurrentExecutions"].as_u64();
    let wanted = wanted.ok_or_else(|| {
        let words = "1 validation error detected: Value null at 'reservedConcurrentExecutions' \
                     failed to satisfy constraint: Member must not be null";
        ApiError::new("ValidationException", words)
    })?;
    let functions = call.cloud.services.lambda.functions.all().into_iter();
    let others = functions.filter(|(other, _)| other != name);
    let others: u64 = others.filter_map(|(_, function)| function.reserved).sum();
    let all = call.cloud.limits.invocations as u64;
    if wanted > 0 && others + wanted + UNRESERVED_MIN > all {
        return Err(invalid(format!(
            "Specified ReservedConcurrentExecutions for function decreases account's \
             UnreservedConcurrentExecution below its minimum value of [{UNRESERVED_MIN}]."
        )));
    }
    set(call, name, Some(wanted))?;
    Ok(json!({ "ReservedConcurrentExecutions": wanted }))
}

/// `GetFunctionConcurrency`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let name = of(call)?;
    let function = find(call.cloud, name)?;
    Ok(json!({ "ReservedConcurrentExecutions": function.reserved }))
}

/// `DeleteFunctionConcurrency`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let name = of(call)?;
    set(call, name, None)?;
    Ok(json!({}))
}
