//! Makes, changes and deletes functions, from the properties of `AWS::Lambda::Function`.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{Function, Network, package};
use crate::kernel::cloud::Cloud;
use crate::services::ec2::{self, Attached};

/// Longest name.
const NAME_BYTES_MAX: usize = 64;
/// Bytes of names and values of all variables together.
const VARIABLES_BYTES_MAX: usize = 4_096;
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

/// Makes a function, or changes it to these properties.
pub fn set(cloud: &Cloud, name: &str, p: &Value) -> Result<(), String> {
    check(name, p)?;
    let old = cloud.services.lambda.functions.get(name);
    let role = text(p, "Role");
    let code = &p["Code"];
    let network = network(&p["VpcConfig"])?;
    cloud.assume(role, "lambda.amazonaws.com", name)?;
    let of = Attached { function: name, role };
    if let Some(network) = &network {
        ec2::check_attachment(cloud, of, &network.subnets, &network.groups)?;
    }
    let package = package::unpack(cloud, name, text(code, "S3Bucket"), text(code, "S3Key"))?;
    let log_group = match text(&p["LoggingConfig"], "LogGroup") {
        "" => format!("/aws/lambda/{name}"),
        group => group.to_owned(),
    };
    if let Some(network) = &network {
        ec2::attach(cloud, of, &network.subnets, &network.groups)?;
    }
    let function = Function {
        role: role.to_owned(),
        description: text(p, "Description").to_owned(),
        variables: variables(p)?,
        handler: text(p, "Handler").to_owned(),
        timeout_secs: number(p, "Timeout", "timeout", 3, 1, 900)?,
        memory_mb: number(p, "MemorySize", "memorySize", 128, 128, 10_240)?,
        log_group,
        code_sha256: package.sha256,
        code_bytes: package.bytes,
        directory: package.directory,
        // Later than before, also when the clock stands still: processes are told apart by it.
        permissions: old.as_ref().map(|old| old.permissions.clone()).unwrap_or_default(),
        modified: old.map_or_else(Timestamp::now, |o| Timestamp::now().max(after(o.modified))),
        architecture: architecture(p)?.to_owned(),
        network,
    };
    cloud.services.lambda.functions.put(name, function)?;
    cloud.services.lambda.environments.retire(name);
    Ok(())
}

fn after(time: Timestamp) -> Timestamp {
    time + jiff::SignedDuration::from_millis(1)
}

/// Deletes a function; one that is not there is deleted.
pub fn delete(cloud: &Arc<Cloud>, name: &str) -> Result<(), String> {
    if let Some(function) = cloud.services.lambda.functions.get(name) {
        ec2::detach(cloud, Attached { function: name, role: &function.role })?;
    }
    cloud.services.lambda.functions.remove(name)?;
    cloud.services.lambda.environments.retire(name);
    match std::fs::remove_dir_all(package::folder(cloud, name)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e.to_string()),
        _ => Ok(()),
    }
}

fn text<'a>(p: &'a Value, name: &str) -> &'a str {
    p[name].as_str().unwrap_or_default()
}

/// Everything that needs no look at other things.
fn check(name: &str, p: &Value) -> Result<(), String> {
    // The name becomes a folder.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
        return Err(format!(
            "1 validation error detected: Value '{name}' at 'functionName' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9-_]{{1,64}}"
        ));
    }
    let runtime = text(p, "Runtime");
    if runtime.is_empty() || text(p, "Handler").is_empty() {
        return Err("Runtime and Handler are mandatory parameters for functions created with \
                    deployment packages."
            .to_owned());
    }
    if runtime != "provided.al2023" {
        return Err(format!(
            "the embedded cloud runs functions with the runtime provided.al2023, not {runtime}"
        ));
    }
    only(&p["Code"], "Code", &["S3Bucket", "S3Key"])?;
    only(&p["Environment"], "Environment", &["Variables"])?;
    only(&p["LoggingConfig"], "LoggingConfig", &["LogGroup", "LogFormat"])?;
    match text(&p["LoggingConfig"], "LogFormat") {
        "" | "Text" => Ok(()),
        other => Err(format!("the embedded cloud does not implement LogFormat {other}")),
    }
}

/// Refuses members that are not used.
fn only(value: &Value, of: &str, used: &[&str]) -> Result<(), String> {
    let unused = value.as_object().into_iter().flat_map(|o| o.keys());
    match unused.into_iter().find(|name| !used.contains(&name.as_str())) {
        Some(name) => Err(format!("the embedded cloud does not implement {name} of {of}")),
        None => Ok(()),
    }
}

fn architecture(p: &Value) -> Result<&str, String> {
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let architecture = p["Architectures"][0].as_str().unwrap_or("x86_64");
    if architecture == own {
        Ok(architecture)
    } else {
        Err(format!("this machine runs {own}, the function is for {architecture}"))
    }
}

fn number(
    p: &Value,
    name: &str,
    member: &str,
    default: u64,
    min: u64,
    max: u64,
) -> Result<u64, String> {
    let given = match &p[name] {
        Value::Null => return Ok(default),
        // Templates may also write numbers as text.
        value => value.as_u64().or_else(|| value.as_str()?.parse().ok()),
    };
    let given = given.ok_or_else(|| format!("{name} is not a number: {}", p[name]))?;
    let bound = match given {
        given if given < min => format!("greater than or equal to {min}"),
        given if given > max => format!("less than or equal to {max}"),
        given => return Ok(given),
    };
    Err(format!(
        "1 validation error detected: Value '{given}' at '{member}' failed to satisfy \
         constraint: Member must have value {bound}"
    ))
}

fn variables(p: &Value) -> Result<HashMap<String, String>, String> {
    let pairs = p["Environment"]["Variables"].as_object().into_iter().flatten();
    let written = |v: &Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
    let variables: HashMap<String, String> =
        pairs.map(|(name, value)| (name.clone(), written(value))).collect();
    let unable = "Lambda was unable to configure your environment variables because the \
                  environment variables you have provided";
    if let Some(name) = variables.keys().find(|n| RESERVED.contains(&n.as_str())) {
        return Err(format!(
            "{unable} contains reserved keys that are currently not supported for modification. \
             Reserved keys used in this request: {name}"
        ));
    }
    let bytes: usize = variables.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > VARIABLES_BYTES_MAX {
        return Err(format!("{unable} exceeded the 4KB limit."));
    }
    Ok(variables)
}

fn network(config: &Value) -> Result<Option<Network>, String> {
    only(config, "VpcConfig", &["SubnetIds", "SecurityGroupIds"])?;
    let list = |name: &str| -> Vec<String> {
        let items = config[name].as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let network = Network { subnets: list("SubnetIds"), groups: list("SecurityGroupIds") };
    match (network.subnets.is_empty(), network.groups.is_empty()) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(network)),
        _ => Err("SubnetIds and SecurityIds must coexist or be both empty list.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_lambda_refuses_is_refused() {
        let good = json!({
            "Runtime": "provided.al2023", "Handler": "bootstrap",
            "Code": { "S3Bucket": "b", "S3Key": "k" },
        });
        assert_eq!(check("f", &good), Ok(()));
        assert!(check("../f", &good).expect_err("a path").contains("functionName"));
        for (member, value, expected) in [
            ("Runtime", json!("python3.13"), "not python3.13"),
            ("Handler", Value::Null, "mandatory"),
            ("Code", json!({ "ZipFile": "x" }), "does not implement ZipFile of Code"),
            ("LoggingConfig", json!({ "LogFormat": "JSON" }), "LogFormat JSON"),
        ] {
            let mut bad = good.clone();
            bad[member] = value;
            let error = check("f", &bad).expect_err(member);
            assert!(error.contains(expected), "{error}");
        }
        let timeout =
            |value: Value| number(&json!({ "Timeout": value }), "Timeout", "timeout", 3, 1, 900);
        assert_eq!((timeout(Value::Null), timeout(json!("30"))), (Ok(3), Ok(30)));
        assert!(timeout(json!(901)).expect_err("too long").contains("less than or equal to 900"));
        assert!(timeout(json!(-1)).is_err() && timeout(json!("x")).is_err());
        let with =
            |n: &str, v: &str| variables(&json!({ "Environment": { "Variables": { n: v } } }));
        assert!(with("A", "b").is_ok());
        assert!(with("AWS_REGION", "b").expect_err("reserved").contains("AWS_REGION"));
        assert!(with("A", &"x".repeat(4_096)).expect_err("too long").contains("4KB"));
        assert!(network(&json!({ "SubnetIds": ["s"] })).is_err());
    }
}
