//! Systems Manager's Parameter Store: the public parameters that name the newest images of Amazon
//! Linux 2023. Parameters of one's own cannot be made.

use serde_json::{Value, json};

use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::{Call, Service};
use crate::services::ec2;
use crate::{model, op};

/// No records.
pub type State = super::Nothing;

/// Names in one `GetParameters`.
const NAMES_MAX: usize = 10;

/// API of Parameter Store.
pub static SERVICE: Service = Service::new(
    "ssm",
    model!("ssm"),
    &[
        op!(GetParameter(Name, WithDecryption) => parameter),
        op!(GetParameters(Names, WithDecryption) => parameters),
    ],
);

fn parameter(call: &Call<'_>) -> ApiResult {
    let name = call.required("Name")?;
    match find(call, name)? {
        Some(parameter) => Ok(json!({ "Parameter": parameter })),
        None => Err(ApiError::new(
            "ParameterNotFound",
            format!("Parameter {} not found.", short_name(name)),
        )),
    }
}

fn parameters(call: &Call<'_>) -> ApiResult {
    let names = call.params["Names"].as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    if names.is_empty() || names.len() > NAMES_MAX {
        let message = format!(
            "1 validation error detected: Value at 'names' failed to satisfy constraint: \
             Member must have length less than or equal to {NAMES_MAX} and greater than 0"
        );
        return Err(ApiError::new("ValidationException", message));
    }
    let (mut found, mut invalid) = (Vec::new(), Vec::new());
    for name in names {
        match find(call, name)? {
            Some(parameter) => found.push(parameter),
            None => invalid.push(name),
        }
    }
    Ok(json!({ "Parameters": found, "InvalidParameters": invalid }))
}

/// The name in a parameter's ARN, or the name itself.
fn short_name(name: &str) -> &str {
    match name.strip_prefix("arn:") {
        Some(arn) => arn.split_once(":parameter").map_or(name, |(_, name)| name),
        None => name,
    }
}

fn find(call: &Call<'_>, name: &str) -> ApiResult<Option<Value>> {
    let name = short_name(name);
    if name.contains(':') {
        let message = "The embedded cloud does not implement versions and labels of parameters.";
        return Err(ApiError::new("NotImplemented", message).with_status(501));
    }
    let arn = arn(call.cloud, name);
    call.authorize(&arn)?;
    let newest = ec2::newest_image(call.cloud, name).map_err(ApiError::internal)?;
    Ok(newest.map(|(image, version)| {
        json!({
            "Name": name, "Type": "String", "Value": image.image, "Version": version,
            "LastModifiedDate": epoch_secs(image.created), "ARN": arn,
            "DataType": "aws:ec2:image",
        })
    }))
}

/// The ARN of a parameter; public ones belong to no account.
pub fn arn(cloud: &Cloud, name: &str) -> String {
    if name.starts_with("/aws/") {
        return format!("arn:aws:ssm:{}::parameter{name}", cloud.config.region);
    }
    let slash = if name.starts_with('/') { "" } else { "/" };
    cloud.config.arn("ssm", &format!("parameter{slash}{name}"))
}
