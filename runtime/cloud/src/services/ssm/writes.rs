//! Parameters written and deleted.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use regex::Regex;
use serde_json::{Value, json};

use super::names::{self, invalid, not_found};
use super::{Kind, Parameter, Tier, Version, arn, tags};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;
use crate::services::kms;

/// Versions of a parameter.
const VERSIONS_MAX: usize = 100;
/// Bytes of a value in the two tiers.
const STANDARD_BYTES_MAX: usize = 4 * 1024;
const ADVANCED_BYTES_MAX: usize = 8 * 1024;
/// Names in one `DeleteParameters`.
const NAMES_MAX: usize = 10;

fn kind_of(text: &str) -> Option<Kind> {
    match text {
        "String" => Some(Kind::String),
        "StringList" => Some(Kind::StringList),
        "SecureString" => Some(Kind::SecureString),
        _ => None,
    }
}

/// The tier of a value, as asked for and as long as it is.
fn tier(call: &Call<'_>, value: &str, former: Option<Tier>) -> ApiResult<Tier> {
    let asked = call.text("Tier").unwrap_or("Standard");
    let long = value.len() > STANDARD_BYTES_MAX;
    let tier = match asked {
        "Advanced" => Tier::Advanced,
        "Intelligent-Tiering" if long => Tier::Advanced,
        _ => Tier::Standard,
    };
    if former == Some(Tier::Advanced) && tier == Tier::Standard {
        let message = "This parameter uses the advanced-parameter tier. You can't downgrade a \
                       parameter from the advanced-parameter tier to the standard-parameter tier.";
        return Err(invalid(message));
    }
    let (most, name) = match tier {
        Tier::Standard => (STANDARD_BYTES_MAX, "Standard"),
        Tier::Advanced => (ADVANCED_BYTES_MAX, "Advanced"),
    };
    if value.len() > most {
        let message = format!(
            "{name} tier parameters support a maximum parameter value of {most} characters. To \
             create a larger parameter value, upgrade the parameter to use the \
             advanced-parameter tier."
        );
        return Err(invalid(message));
    }
    Ok(tier)
}

fn check_value(pattern: Option<&str>, kind: Kind, value: &str) -> ApiResult<()> {
    if kind == Kind::StringList && value.split(',').any(str::is_empty) {
        return Err(invalid("Parameter value, cannot be parsed as a list of strings."));
    }
    let Some(pattern) = pattern else { return Ok(()) };
    let regex = Regex::new(&format!("^(?:{pattern})$")).map_err(|_| {
        let message = "The request does not meet the regular expression requirement.";
        ApiError::new("InvalidAllowedPatternException", message)
    })?;
    let items: Vec<&str> = match kind {
        Kind::StringList => value.split(',').collect(),
        Kind::String | Kind::SecureString => vec![value],
    };
    match items.into_iter().find(|item| !regex.is_match(item)) {
        Some(_) => {
            let message = format!("Parameter value, failed to satisfy regex constraint: {pattern}");
            Err(ApiError::new("ParameterPatternMismatchException", message))
        }
        None => Ok(()),
    }
}

/// `PutParameter`.
pub fn put(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, names::short(call.required("Name")?));
    let arn = arn(cloud, name);
    call.authorize(&arn)?;
    names::check(name)?;
    let overwrite = call.params["Overwrite"].as_bool() == Some(true);
    let given_tags = tags::pairs(&call.params["Tags"])?;
    if overwrite && !given_tags.is_empty() {
        return Err(invalid(
            "Invalid request: tags and overwrite can't be used together. To create a parameter \
             with tags, please remove overwrite flag. To update tags for an existing parameter, \
             please use AddTagsToResource or RemoveTagsFromResource.",
        ));
    }
    if !given_tags.is_empty() {
        cloud.authorize(call.caller, "ssm:AddTagsToResource", &arn, &[])?;
    }
    if let Some(other) = call.text("DataType").filter(|kind| *kind != "text") {
        let message =
            format!("The embedded cloud does not implement DataType={other} of ssm:PutParameter.");
        return Err(ApiError::new("NotImplemented", message).with_status(501));
    }
    let parameters = &cloud.services.ssm.parameters;
    let former = parameters.get(name);
    if former.is_some() && !overwrite {
        return Err(exists());
    }
    let version = version(call, &arn, former.as_deref())?;
    let stored =
        parameters.replace(name, |now| add(now, former.as_deref(), version.clone(), given_tags))?;
    let number = stored.and_then(|p| Some(p.newest()?.number)).map_or(1, |number| number + 1);
    Ok(json!({ "Version": number, "Tier": version.tier }))
}

fn exists() -> ApiError {
    let message = "The parameter already exists. To overwrite this value, set the overwrite option \
                   in the request to true.";
    ApiError::new("ParameterAlreadyExists", message)
}

/// The new version of a parameter, of which the number is not known yet.
fn version(call: &Call<'_>, arn: &str, former: Option<&Parameter>) -> ApiResult<Version> {
    let newest = former.and_then(Parameter::newest);
    let kind = match (call.text("Type"), newest) {
        (Some(text), _) => kind_of(text).ok_or_else(|| {
            ApiError::new(
                "UnsupportedParameterType",
                format!("The parameter type {text} is not supported."),
            )
        })?,
        (None, Some(newest)) => newest.kind,
        (None, None) => {
            return Err(invalid("A parameter type is required when you create a parameter."));
        }
    };
    if newest.is_some_and(|newest| newest.kind != kind)
        && (kind == Kind::SecureString) != newest.is_some_and(|n| n.kind == Kind::SecureString)
    {
        let message = "The parameter type cannot be changed to or from SecureString.";
        return Err(ApiError::new("HierarchyTypeMismatchException", message));
    }
    let value = call.text("Value").filter(|value| !value.is_empty());
    let value = value.ok_or_else(|| {
        invalid(
            "1 validation error detected: Value '' at 'value' failed to satisfy constraint: \
             Member must have length greater than or equal to 1.",
        )
    })?;
    let pattern = call.text("AllowedPattern");
    check_value(pattern, kind, value)?;
    let tier = tier(call, value, newest.map(|newest| newest.tier))?;
    let key = call.text("KeyId");
    if key.is_some() && kind != Kind::SecureString {
        return Err(invalid("KeyId is required for SecureString type parameter only."));
    }
    let (value, key) = match kind {
        Kind::SecureString => {
            let key = key.unwrap_or("alias/aws/ssm");
            let context = json!({ "PARAMETER_ARN": arn });
            let text = value.as_bytes();
            let sealed = kms::encrypt(call.cloud, call.caller, "ssm", Some(key), &context, text);
            let (_, sealed) = sealed.map_err(|error| wrong_key(&error))?;
            (BASE64.encode(sealed), Some(key.to_owned()))
        }
        Kind::String | Kind::StringList => (value.to_owned(), None),
    };
    Ok(Version {
        number: 1,
        kind,
        value,
        modified: call.cloud.clock.now(),
        by: call.caller.arn.clone(),
        description: call.text("Description").map(str::to_owned),
        pattern: pattern.map(str::to_owned),
        key,
        tier,
        labels: vec![],
    })
}

/// What KMS says of a key, as Parameter Store says it.
fn wrong_key(error: &ApiError) -> ApiError {
    match error.code.as_str() {
        "AccessDeniedException" | "InternalFailure" | "NotImplemented" => error.clone(),
        code => ApiError::new(
            "InvalidKeyId",
            format!("{} (Service: AWSKMS; Error Code: {code})", error.message),
        ),
    }
}

/// The record with one version more, unless somebody else wrote it meanwhile.
fn add(
    now: Option<&Parameter>,
    seen: Option<&Parameter>,
    mut version: Version,
    tags: BTreeMap<String, String>,
) -> ApiResult<Parameter> {
    let number =
        |parameter: Option<&Parameter>| parameter.and_then(Parameter::newest).map(|v| v.number);
    if number(now) != number(seen) {
        let message = "There are concurrent updates for a resource. Please try again.";
        return Err(ApiError::new("TooManyUpdates", message));
    }
    let Some(former) = now else { return Ok(Parameter { versions: vec![version], tags }) };
    let mut parameter = former.clone();
    version.number = number(now).unwrap_or(0) + 1;
    // What was described stays so unless it is described anew.
    let newest = parameter.newest();
    version.description = version.description.or_else(|| newest?.description.clone());
    parameter.versions.push(version);
    if parameter.versions.len() > VERSIONS_MAX {
        if !parameter.versions[0].labels.is_empty() {
            let message = "The oldest version has a label and cannot be deleted to make room: move \
                           the label to another version.";
            return Err(ApiError::new("ParameterMaxVersionLimitExceeded", message));
        }
        parameter.versions.remove(0);
    }
    Ok(parameter)
}

/// `DeleteParameter`.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let name = names::short(call.required("Name")?);
    call.authorize(&arn(call.cloud, name))?;
    let removed = call.cloud.services.ssm.parameters.remove(name)?;
    removed.map(|_| json!({})).ok_or_else(|| not_found(name))
}

/// `DeleteParameters`.
pub fn delete_several(call: &Call<'_>) -> ApiResult {
    let names = call.params["Names"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names: Vec<&str> = names.collect();
    if names.is_empty() || names.len() > NAMES_MAX {
        return Err(invalid(format!("Names must have 1 to {NAMES_MAX} members.")));
    }
    for name in &names {
        call.authorize(&arn(call.cloud, names::short(name)))?;
    }
    let (mut deleted, mut unknown) = (Vec::new(), Vec::new());
    for name in names {
        match call.cloud.services.ssm.parameters.remove(names::short(name))? {
            Some(_) => deleted.push(name),
            None => unknown.push(name),
        }
    }
    Ok(json!({ "DeletedParameters": deleted, "InvalidParameters": unknown }))
}
