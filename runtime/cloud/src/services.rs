//! The services, one module each. A module has its records, its API, and what other services call.

pub mod athena;
pub mod cloudwatch;
pub mod ec2;
pub mod engine;
pub mod events;
mod eviction;
pub mod glue;
pub mod lambda;
pub mod logs;
pub mod pages;
pub mod sns;
pub mod ssm;
pub mod states;
pub mod tagging;

use serde_json::Value;

use crate::error::{ApiError, ApiResult};

/// A required text parameter.
pub fn required<'a>(params: &'a Value, name: &str) -> ApiResult<&'a str> {
    params[name]
        .as_str()
        .filter(|t| !t.is_empty())
        .ok_or_else(|| ApiError::validation(format!("The parameter {name} is required.")))
}

/// Refuses every parameter that `operation` does not use: one check at the beginning of a handler,
/// with the names of what the handler reads.
///
/// A parameter that is `null` was not given. AWS ignores names that it does not know; here they are
/// refused as well, because a name that is left out of `used` may be one that AWS acts on.
///
/// ```
/// # use serde_json::json;
/// # use steppe_cloud::services::known;
/// let params = json!({ "JobName": "clean", "WorkerType": "G.1X" });
/// let error = known(&params, "glue", "StartJobRun", &["JobName", "Arguments"]).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "NotImplemented: The embedded cloud does not implement the parameter WorkerType of \
///      glue:StartJobRun."
/// );
/// ```
pub fn known(params: &Value, service: &str, operation: &str, used: &[&str]) -> ApiResult<()> {
    let Some(members) = params.as_object() else {
        let message = format!("The input of {service}:{operation} is not a structure.");
        return Err(ApiError::new("SerializationException", message));
    };
    let given = members.iter().filter(|(_, value)| !value.is_null());
    let mut unused = given.map(|(name, _)| name.as_str()).filter(|name| !used.contains(name));
    unused.next().map_or(Ok(()), |name| {
        Err(ApiError::unknown_parameter(name, &format!("{service}:{operation}")))
    })
}
