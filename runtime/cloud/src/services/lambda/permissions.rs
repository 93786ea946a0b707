//! Policies of functions: who else may invoke them.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html>. Permissions of
//! versions and aliases, of function URLs and of organisations are refused by name.

use serde_json::{Value, json};

use super::{Function, Reference, arn, find};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam::check_resource_policy;
use crate::kernel::service::Call;

/// Bytes of a policy.
const BYTES_MAX: usize = 20 * 1024;

/// The policy of a function, by its ARN.
pub fn of(cloud: &Cloud, arn: &str) -> Option<Value> {
    let name = arn.split(":function:").nth(1)?;
    document(&*cloud.services.lambda.functions.get(name)?)
}

fn document(function: &Function) -> Option<Value> {
    (!function.permissions.is_empty()).then(
        || json!({ "Version": "2012-10-17", "Id": "default", "Statement": function.permissions }),
    )
}

fn named<'a>(call: &Call<'a>) -> ApiResult<(&'a str, std::sync::Arc<Function>)> {
    let reference = Reference::parse(call.required("FunctionName")?, call.text("Qualifier"));
    call.authorize(&arn(call.cloud, reference.name))?;
    let function = find(call.cloud, &reference)?;
    Ok((reference.name, function))
}

/// The statement of a permission.
fn statement(call: &Call<'_>, name: &str) -> ApiResult {
    let principal = match call.required("Principal")? {
        "*" => json!("*"),
        service if service.ends_with(".amazonaws.com") => json!({ "Service": service }),
        account if account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()) => {
            json!({ "AWS": format!("arn:aws:iam::{account}:root") })
        }
        arn => json!({ "AWS": arn }),
    };
    let mut statement = json!({
        "Sid": call.required("StatementId")?, "Effect": "Allow", "Principal": principal,
        "Action": call.required("Action")?, "Resource": arn(call.cloud, name),
    });
    if let Some(source) = call.text("SourceArn") {
        statement["Condition"]["ArnLike"] = json!({ "AWS:SourceArn": source });
    }
    if let Some(account) = call.text("SourceAccount") {
        statement["Condition"]["StringEquals"] = json!({ "AWS:SourceAccount": account });
    }
    Ok(statement)
}

/// `AddPermission`.
pub fn add(call: &Call<'_>) -> ApiResult {
    let (name, function) = named(call)?;
    let statement = statement(call, name)?;
    let sid = &statement["Sid"];
    if function.permissions.iter().any(|other| other["Sid"] == *sid) {
        let message = format!(
            "The statement id ({}) provided already exists. Please provide a new statement id, or \
             remove the existing statement.",
            sid.as_str().unwrap_or_default()
        );
        return Err(ApiError::new("ResourceConflictException", message).with_status(409));
    }
    let mut wanted = (*function).clone();
    wanted.permissions.push(statement.clone());
    let policy = document(&wanted).unwrap_or_default();
    check_resource_policy(call.cloud, &policy)
        .map_err(|words| ApiError::new("InvalidParameterValueException", words))?;
    if policy.to_string().len() > BYTES_MAX {
        let message = format!("The final policy size is bigger than the limit ({BYTES_MAX}).");
        return Err(ApiError::new("PolicyLengthExceededException", message));
    }
    let functions = &call.cloud.services.lambda.functions;
    functions.update(name, |function| function.permissions.push(statement.clone()))?;
    Ok(json!({ "Statement": statement.to_string() }))
}

fn no_policy() -> ApiError {
    let message = "The resource you requested does not exist.";
    ApiError::new("ResourceNotFoundException", message).with_status(404)
}

/// `RemovePermission`.
pub fn remove(call: &Call<'_>) -> ApiResult {
    let (name, _) = named(call)?;
    let sid = call.required("StatementId")?;
    let removed = call.cloud.services.lambda.functions.update(name, |function| {
        let before = function.permissions.len();
        function.permissions.retain(|statement| statement["Sid"] != sid);
        function.permissions.len() < before
    })?;
    if removed == Some(true) { Ok(json!({})) } else { Err(no_policy()) }
}

/// `GetPolicy`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let (_, function) = named(call)?;
    let policy = document(&function).ok_or_else(no_policy)?;
    Ok(json!({ "Policy": policy.to_string() }))
}
