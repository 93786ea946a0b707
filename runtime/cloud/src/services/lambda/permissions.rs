//! Policies of functions: who else may invoke them.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html>. A version or
//! alias has a policy of its own. Permissions of function URLs and of organisations are refused by
//! name.

use serde_json::{Value, json};

use super::aliases::Alias;
use super::function::{LATEST, conflict, invalid, not_found};
use super::versions::{is_number, resolve, row};
use super::{Reference, named, qualified_arn};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam::check_resource_policy;
use crate::kernel::service::Call;

/// Bytes of a policy.
const BYTES_MAX: usize = 20 * 1024;

/// The policy of a function, version or alias, by its ARN.
pub fn of(cloud: &Cloud, arn: &str) -> Option<Value> {
    let is_function = arn.contains(":function:");
    let statements = is_function.then(|| statements(cloud, &Reference::parse(arn, None)))??;
    document(&statements)
}

/// The statements about what a reference names, unless that is not there.
fn statements(cloud: &Cloud, reference: &Reference<'_>) -> Option<Vec<Value>> {
    let (state, name) = (&cloud.services.lambda, reference.name);
    match reference.qualifier {
        None | Some(LATEST) => state.functions.get(name).map(|f| f.permissions.clone()),
        Some(number) if is_number(number) => {
            state.versions.get(&row(name, number)).map(|f| f.permissions.clone())
        }
        Some(alias) => state.aliases.get(&row(name, alias)).map(|a| a.permissions.clone()),
    }
}

/// Changes the statements about what a reference names.
fn change<R>(
    cloud: &Cloud,
    reference: &Reference<'_>,
    change: impl FnOnce(&mut Vec<Value>) -> R,
) -> ApiResult<R> {
    let (state, name) = (&cloud.services.lambda, reference.name);
    let changed = match reference.qualifier {
        None | Some(LATEST) => state.functions.update(name, |f| change(&mut f.permissions))?,
        Some(number) if is_number(number) => {
            state.versions.update(&row(name, number), |f| change(&mut f.permissions))?
        }
        Some(alias) => state.aliases.update(&row(name, alias), |a| change(&mut a.permissions))?,
    };
    changed.ok_or_else(no_policy)
}

fn document(statements: &[Value]) -> Option<Value> {
    (!statements.is_empty())
        .then(|| json!({ "Version": "2012-10-17", "Id": "default", "Statement": statements }))
}

/// What a call names, and the statements about it.
fn of_call<'a>(call: &Call<'a>) -> ApiResult<(Reference<'a>, Vec<Value>)> {
    let reference = named(call)?;
    call.authorize(&qualified_arn(call.cloud, &reference))?;
    resolve(call.cloud, &reference, Alias::main)?;
    let statements = statements(call.cloud, &reference).unwrap_or_default();
    Ok((reference, statements))
}

/// The statement of a permission.
fn statement(call: &Call<'_>, reference: &Reference<'_>) -> ApiResult {
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
        "Action": call.required("Action")?, "Resource": qualified_arn(call.cloud, reference),
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
    let (reference, _) = of_call(call)?;
    if reference.qualifier == Some(LATEST) {
        return Err(invalid("We currently do not support adding policies for $LATEST."));
    }
    let statement = statement(call, &reference)?;
    change(call.cloud, &reference, |statements| {
        let mut all = statements.clone();
        all.push(statement.clone());
        check_all(call.cloud, &all)?;
        *statements = all;
        Ok::<_, ApiError>(())
    })??;
    Ok(json!({ "Statement": statement.to_string() }))
}

/// Refuses a policy whose last statement makes it one that cannot be.
fn check_all(cloud: &Cloud, statements: &[Value]) -> ApiResult<()> {
    if let [others @ .., last] = statements
        && others.iter().any(|other| other["Sid"] == last["Sid"])
    {
        return Err(conflict(format!(
            "The statement id ({}) provided already exists. Please provide a new statement id, or \
             remove the existing statement.",
            last["Sid"].as_str().unwrap_or_default()
        )));
    }
    let policy = document(statements).unwrap_or_default();
    check_resource_policy(cloud, &policy).map_err(invalid)?;
    if policy.to_string().len() > BYTES_MAX {
        let message = format!("The final policy size is bigger than the limit ({BYTES_MAX}).");
        return Err(ApiError::new("PolicyLengthExceededException", message));
    }
    Ok(())
}

fn no_policy() -> ApiError {
    not_found("The resource you requested does not exist.")
}

/// `RemovePermission`.
pub fn remove(call: &Call<'_>) -> ApiResult {
    let (reference, _) = of_call(call)?;
    let sid = call.required("StatementId")?;
    let removed = change(call.cloud, &reference, |statements| {
        let before = statements.len();
        statements.retain(|statement| statement["Sid"] != sid);
        statements.len() < before
    })?;
    if removed { Ok(json!({})) } else { Err(no_policy()) }
}

/// `GetPolicy`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let (_, statements) = of_call(call)?;
    let policy = document(&statements).ok_or_else(no_policy)?;
    Ok(json!({ "Policy": policy.to_string() }))
}
