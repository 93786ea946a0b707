//! The configuration of a function: what a request says of it, and what Lambda looks at before it
//! takes it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::function::{Network, invalid};
use super::{Function, destinations};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::services::ec2::{self, Attached};

/// Longest name.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of names and values of all variables together.
const VARIABLES_BYTES_MAX: usize = 4_096;
/// Runtimes whose functions are programs of their own.
const RUNTIMES: [&str; 2] = ["provided.al2023", "provided.al2"];
/// Variables that Lambda sets itself.
const RESERVED: [&str; 19] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
    // This cloud's own.
    crate::kernel::processes::MARK,
];

/// What AWS has and this cloud has not.
fn not_implemented(what: &str) -> ApiError {
    let message = format!("The embedded cloud does not implement {what}.");
    ApiError::new("NotImplemented", message).with_status(501)
}

/// Refuses a name that no function can have; it becomes a folder.
pub fn check_name(name: &str) -> ApiResult<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err(out_of_bounds(format!(
            "Value '{name}' at 'functionName' failed to satisfy constraint: Member must satisfy \
             regular expression pattern: [a-zA-Z0-9-_]{{1,64}}"
        )));
    }
    Ok(())
}

fn out_of_bounds(words: String) -> ApiError {
    ApiError::new("ValidationException", format!("1 validation error detected: {words}"))
}

/// A function as `CreateFunction` describes it.
pub fn begin(name: &str, p: &Value) -> ApiResult<Function> {
    if p["PackageType"] == "Image" || !p["Code"]["ImageUri"].is_null() {
        return Err(not_implemented("functions that are container images"));
    }
    if p["Runtime"].is_null() || p["Handler"].is_null() {
        return Err(invalid(
            "Runtime and Handler are mandatory parameters for functions created with deployment \
             packages.",
        ));
    }
    let log_group = format!("/aws/lambda/{name}");
    let mut function = Function { log_group, ..Function::default() };
    set_architecture(&mut function, p, "x86_64")?;
    apply(&mut function, name, p)?;
    Ok(function)
}

/// Takes over what a request says; what it does not speak of stays as it is.
pub fn apply(function: &mut Function, name: &str, p: &Value) -> ApiResult<()> {
    let text = |member: &str| p[member].as_str().map(str::to_owned);
    if let Some(runtime) = text("Runtime") {
        if !RUNTIMES.contains(&runtime.as_str()) {
            return Err(not_implemented(&format!("the runtime {runtime} of functions")));
        }
        function.runtime = runtime;
    }
    function.role = text("Role").unwrap_or_else(|| std::mem::take(&mut function.role));
    function.handler = text("Handler").unwrap_or_else(|| std::mem::take(&mut function.handler));
    if let Some(description) = text("Description") {
        function.description = description;
    }
    if let Some(secs) = within(p, "Timeout", "timeout", 900)? {
        function.timeout_secs = secs;
    }
    if let Some(mb) = within(p, "MemorySize", "memorySize", 10_240)? {
        function.memory_mb = mb;
    }
    if !p["Environment"].is_null() {
        function.variables = variables(&p["Environment"]["Variables"])?;
    }
    if !p["VpcConfig"].is_null() {
        function.network = network(&p["VpcConfig"])?;
    }
    if !p["DeadLetterConfig"].is_null() {
        let target = p["DeadLetterConfig"]["TargetArn"].as_str();
        function.dead_letter = target.filter(|arn| !arn.is_empty()).map(str::to_owned);
    }
    let logging = &p["LoggingConfig"];
    if logging["LogFormat"] == "JSON" {
        return Err(not_implemented("LogFormat JSON of functions"));
    }
    if !logging.is_null() {
        let group = logging["LogGroup"].as_str().map(str::to_owned);
        function.log_group = group.unwrap_or_else(|| format!("/aws/lambda/{name}"));
    }
    Ok(())
}

/// Takes over the architecture, which must be the machine's.
pub fn set_architecture(function: &mut Function, p: &Value, default: &str) -> ApiResult<()> {
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let architecture = p["Architectures"][0].as_str().unwrap_or(default);
    if architecture != own {
        return Err(not_implemented(&format!(
            "functions for {architecture}: this machine runs {own}"
        )));
    }
    function.architecture = architecture.to_owned();
    Ok(())
}

fn within(p: &Value, name: &str, member: &str, max: u64) -> ApiResult<Option<u64>> {
    match p[name].as_u64() {
        Some(given) if given > max => Err(out_of_bounds(format!(
            "Value '{given}' at '{member}' failed to satisfy constraint: Member must have value \
             less than or equal to {max}"
        ))),
        given => Ok(given),
    }
}

fn variables(given: &Value) -> ApiResult<HashMap<String, String>> {
    let pairs = given.as_object().into_iter().flatten();
    let variables: HashMap<String, String> = pairs
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect();
    let unable = "Lambda was unable to configure your environment variables because the \
                  environment variables you have provided";
    let mut reserved = variables.keys().filter(|name| RESERVED.contains(&name.as_str()));
    if let Some(name) = reserved.next() {
        return Err(invalid(format!(
            "{unable} contains reserved keys that are currently not supported for modification. \
             Reserved keys used in this request: {name}"
        )));
    }
    let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > VARIABLES_BYTES_MAX {
        return Err(invalid(format!("{unable} exceeded the 4KB limit.")));
    }
    Ok(variables)
}

fn network(config: &Value) -> ApiResult<Option<Network>> {
    let list = |name: &str| -> Vec<String> {
        let items = config[name].as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let network = Network { subnets: list("SubnetIds"), groups: list("SecurityGroupIds") };
    match (network.subnets.is_empty(), network.groups.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(network)),
        _ => Err(invalid("SubnetIds and SecurityIds must coexist or be both empty list.")),
    }
}

/// Looks at everything that a function needs: its role, its network, where failed events go.
pub fn check_surroundings(cloud: &Arc<Cloud>, name: &str, function: &Function) -> ApiResult<()> {
    cloud.assume(&function.role, "lambda.amazonaws.com", name).map_err(|why| {
        tracing::debug!("{why}");
        invalid("The role defined for the function cannot be assumed by Lambda.")
    })?;
    let of = Attached { function: name, role: &function.role };
    if let Some(network) = &function.network {
        ec2::check_attachment(cloud, of, &network.subnets, &network.groups).map_err(invalid)?;
    }
    function
        .dead_letter
        .as_ref()
        .map_or(Ok(()), |target| destinations::check_dead_letter(cloud, &function.role, target))
}

/// Attaches a function to its network, when that is another one than it had.
pub fn attach(
    cloud: &Arc<Cloud>,
    name: &str,
    function: &Function,
    former: Option<&Network>,
) -> ApiResult<()> {
    let of = Attached { function: name, role: &function.role };
    if former.is_some() && former != function.network.as_ref() {
        ec2::detach(cloud, of).map_err(ApiError::internal)?;
    }
    match &function.network {
        Some(n) => ec2::attach(cloud, of, &n.subnets, &n.groups).map_err(ApiError::internal),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refusal(more: Value) -> String {
        let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let mut p = json!({
            "Runtime": "provided.al2023", "Handler": "bootstrap", "Architectures": [own],
        });
        p.as_object_mut().expect("members").extend(more.as_object().cloned().unwrap_or_default());
        begin("f", &p).map_or_else(|error| error.to_string(), |_| "taken".to_owned())
    }

    #[test]
    fn what_lambda_refuses_is_refused() {
        assert_eq!(refusal(json!({ "Timeout": 900, "MemorySize": 10_240 })), "taken");
        assert_eq!(refusal(json!({ "Runtime": "provided.al2" })), "taken");
        assert!(check_name("../f").expect_err("a path").message.contains("functionName"));
        for (more, expected) in [
            (json!({ "Runtime": "python3.13" }), "implement the runtime python3.13 of functions"),
            (json!({ "PackageType": "Image" }), "implement functions that are container images"),
            (json!({ "Handler": null }), "mandatory"),
            (json!({ "LoggingConfig": { "LogFormat": "JSON" } }), "LogFormat JSON"),
            (json!({ "Timeout": 901 }), "less than or equal to 900"),
            (json!({ "VpcConfig": { "SubnetIds": ["s"] } }), "must coexist"),
            (json!({ "Environment": { "Variables": { "AWS_REGION": "b" } } }), "AWS_REGION"),
            (json!({ "Environment": { "Variables": { "A": "x".repeat(4_096) } } }), "4KB"),
        ] {
            let refusal = refusal(more);
            assert!(refusal.contains(expected), "{refusal}");
        }
    }

    #[test]
    fn what_a_change_does_not_speak_of_stays() {
        let mut function = Function::default();
        (function.timeout_secs, function.handler) = (9, "h".to_owned());
        apply(&mut function, "f", &json!({ "MemorySize": 256 })).expect("taken");
        let kept = (function.timeout_secs, function.handler.as_str(), function.memory_mb);
        assert_eq!(kept, (9, "h", 256));
        apply(&mut function, "f", &json!({ "LoggingConfig": { "LogGroup": "g" } })).expect("taken");
        assert_eq!(function.log_group, "g");
    }
}
