//! Operations about stack policies.

use serde_json::{Value, json};

use super::existing;
use super::request::fetch;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::cloudformation::stack_policy;

/// The policy of a request, given by the text or by the address of an object.
pub fn given(call: &Call<'_>, body: &str, url: &str) -> ApiResult<Option<String>> {
    let text = match (call.text(body), call.text(url)) {
        (None, None) => return Ok(None),
        (Some(text), None) => text.to_owned(),
        (None, Some(url)) => fetch(call.cloud, call.caller, url)?,
        (Some(_), Some(_)) => {
            let words = format!("You cannot specify both {body} and {url}");
            return Err(ApiError::validation(words));
        }
    };
    stack_policy::parse(&text).map_err(ApiError::validation)?;
    Ok(Some(text))
}

pub fn set(call: &Call<'_>) -> ApiResult {
    let (id, _) = existing(call.cloud, call.params)?;
    let policy = given(call, "StackPolicyBody", "StackPolicyURL")?;
    let policy = policy.ok_or_else(|| {
        ApiError::validation("Either StackPolicyBody or StackPolicyURL must be specified")
    })?;
    let stacks = &call.cloud.services.cloudformation.stacks;
    stacks.update(&id, |stack| stack.policy = Some(policy))?;
    Ok(json!({}))
}

pub fn get(call: &Call<'_>) -> ApiResult {
    let (_, stack) = existing(call.cloud, call.params)?;
    Ok(stack.policy.as_ref().map_or_else(
        || Value::Object(serde_json::Map::new()),
        |policy| json!({ "StackPolicyBody": policy }),
    ))
}
