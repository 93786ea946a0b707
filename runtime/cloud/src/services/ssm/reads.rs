//! Parameters read: by name, by path, and what they are without their values.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::names::{self, invalid, not_found};
use super::{Kind, Parameter, Version, arn};
use crate::kernel::cloud::epoch_secs;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::Call;
use crate::services::{ec2, kms};

/// Names in one `GetParameters`.
const NAMES_MAX: usize = 10;
const PAGES_OF_PATHS: Pages =
    Pages { wrong_token: "InvalidNextToken", ..Pages::of("MaxResults", "NextToken", 10) };
const PAGES_OF_ALL: Pages = Pages {
    items: 50,
    wrong_token: "InvalidNextToken",
    ..Pages::of("MaxResults", "NextToken", 50)
};

/// The value of a version; decrypted when that is asked for.
pub fn value_of(call: &Call<'_>, arn: &str, version: &Version) -> ApiResult<String> {
    let decrypted = call.params["WithDecryption"].as_bool() == Some(true);
    if version.kind != Kind::SecureString || !decrypted {
        return Ok(version.value.clone());
    }
    let blob = BASE64.decode(&version.value).map_err(ApiError::internal)?;
    let context = json!({ "PARAMETER_ARN": arn });
    let opened = kms::decrypt(call.cloud, call.caller, "ssm", &context, &blob);
    let bytes = opened.map_err(|error| match error.code.as_str() {
        "AccessDeniedException" | "InternalFailure" | "NotImplemented" => error,
        code => {
            let message = format!("{} (Service: AWSKMS; Error Code: {code})", error.message);
            ApiError::new("InvalidKeyId", message)
        }
    })?;
    String::from_utf8(bytes).map_err(ApiError::internal)
}

fn shown(call: &Call<'_>, name: &str, selector: Option<&str>, version: &Version) -> ApiResult {
    let arn = arn(call.cloud, name);
    Ok(json!({
        "Name": name, "Type": version.kind, "Value": value_of(call, &arn, version)?,
        "Version": version.number, "Selector": selector.map(|selector| format!(":{selector}")),
        "LastModifiedDate": epoch_secs(version.modified), "ARN": arn, "DataType": "text",
    }))
}

/// A parameter, when its caller may read it.
fn find(call: &Call<'_>, given: &str) -> ApiResult<Option<Value>> {
    let (name, selector) = names::split(given);
    call.authorize(&arn(call.cloud, name))?;
    if name.starts_with("/aws/") && selector.is_none() {
        return public(call, name);
    }
    let Some(parameter) = call.cloud.services.ssm.parameters.get(name) else { return Ok(None) };
    let version = names::select(&parameter, selector);
    version.map(|version| shown(call, name, selector, version)).transpose()
}

/// A parameter of AWS's.
fn public(call: &Call<'_>, name: &str) -> ApiResult<Option<Value>> {
    let newest = ec2::newest_image(call.cloud, name).map_err(ApiError::internal)?;
    Ok(newest.map(|(image, version)| {
        json!({
            "Name": name, "Type": "String", "Value": image.image, "Version": version,
            "LastModifiedDate": epoch_secs(image.created), "ARN": arn(call.cloud, name),
            "DataType": "aws:ec2:image",
        })
    }))
}

/// `GetParameter`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let name = call.required("Name")?;
    if let Some(parameter) = find(call, name)? {
        return Ok(json!({ "Parameter": parameter }));
    }
    let (bare, selector) = names::split(name);
    match selector.filter(|_| call.cloud.services.ssm.parameters.contains(bare)) {
        Some(selector) => {
            let message = format!(
                "Systems Manager could not find version {selector} of {bare}. Verify the version \
                 and try again."
            );
            Err(ApiError::new("ParameterVersionNotFound", message))
        }
        None => Err(not_found(names::short(name))),
    }
}

/// `GetParameters`.
pub fn get_several(call: &Call<'_>) -> ApiResult {
    let names = call.params["Names"].as_array().into_iter().flatten();
    let names: Vec<&str> = names.filter_map(Value::as_str).collect();
    if names.is_empty() || names.len() > NAMES_MAX {
        let message = format!(
            "1 validation error detected: Value at 'names' failed to satisfy constraint: \
             Member must have length less than or equal to {NAMES_MAX} and greater than 0"
        );
        return Err(invalid(message));
    }
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for name in names {
        match find(call, name)? {
            Some(parameter) => found.push(parameter),
            None => unknown.push(name),
        }
    }
    Ok(json!({ "Parameters": found, "InvalidParameters": unknown }))
}

/// `GetParametersByPath`.
pub fn by_path(call: &Call<'_>) -> ApiResult {
    let path = call.required("Path")?;
    if !path.starts_with('/') {
        return Err(invalid("The parameter path must begin with a slash \"/\"."));
    }
    let folder = path.trim_end_matches('/');
    call.authorize(&arn(call.cloud, if folder.is_empty() { "/" } else { folder }))?;
    let deep = call.params["Recursive"].as_bool() == Some(true);
    let filters = filters(&call.params["ParameterFilters"], &["Type", "KeyId", "Label"])?;
    let prefix = format!("{folder}/");
    let mut items = Vec::new();
    for (name, parameter) in call.cloud.services.ssm.parameters.range("", None) {
        let full = if name.starts_with('/') { name.clone() } else { format!("/{name}") };
        let inside = full.strip_prefix(&prefix).is_some_and(|rest| deep || !rest.contains('/'));
        if !inside || !filters.iter().all(|filter| filter.admits(&name, &parameter)) {
            continue;
        }
        let label = filters.iter().find(|filter| filter.key == "Label");
        let version = match label {
            Some(filter) => parameter.versions.iter().find(|v| filter.labels(v)),
            None => parameter.newest(),
        };
        if let Some(version) = version {
            items.push((name, version.clone()));
        }
    }
    // Only what is shown is decrypted.
    let places: Vec<Value> = (0..items.len()).map(Value::from).collect();
    let (page, next) = PAGES_OF_PATHS.cut(call.params, places)?;
    let page = page.iter().filter_map(|place| items.get(place.as_u64()? as usize));
    let shown: ApiResult<Vec<Value>> =
        page.map(|(name, version)| shown(call, name, None, version)).collect();
    Ok(json!({ "Parameters": shown?, "NextToken": next }))
}

/// What a parameter must be to be listed.
struct Filter<'a> {
    key: &'a str,
    option: &'a str,
    values: Vec<&'a str>,
}

fn filters<'a>(given: &'a Value, known: &[&str]) -> ApiResult<Vec<Filter<'a>>> {
    let filter = |given: &'a Value| {
        let key = given["Key"].as_str().unwrap_or_default();
        let by_tag = key.starts_with("tag:") && known.contains(&"tag:");
        if !by_tag && !known.contains(&key) {
            let message = format!(
                "The following filter key is not valid: {key}. Valid filter keys include: [{}].",
                known.join(", ")
            );
            return Err(ApiError::new("InvalidFilterKey", message));
        }
        let values = given["Values"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let values: Vec<&str> = values.collect();
        let usual = if key == "Path" { "OneLevel" } else { "Equals" };
        let option = given["Option"].as_str().unwrap_or(usual);
        let options: &[&str] = match key {
            "Path" => &["Recursive", "OneLevel"],
            "Name" => &["Equals", "BeginsWith", "Contains"],
            _ => &["Equals", "BeginsWith"],
        };
        if !options.contains(&option) {
            let message = format!(
                "The following filter option is not valid: {option}. Valid options include: [{}].",
                options.join(", ")
            );
            return Err(ApiError::new("InvalidFilterOption", message));
        }
        if values.is_empty() && !key.starts_with("tag:") {
            let message =
                format!("The following filter values are missing : null for filter key {key}.");
            return Err(ApiError::new("InvalidFilterValue", message));
        }
        Ok(Filter { key, option, values })
    };
    given.as_array().into_iter().flatten().map(filter).collect()
}

impl Filter<'_> {
    fn fits(&self, text: &str) -> bool {
        self.values.iter().any(|value| match self.option {
            "BeginsWith" => text.starts_with(value),
            "Contains" => text.contains(value),
            _ => text == *value,
        })
    }

    fn labels(&self, version: &Version) -> bool {
        version.labels.iter().any(|label| self.fits(label))
    }

    fn admits(&self, name: &str, parameter: &Parameter) -> bool {
        let Some(newest) = parameter.newest() else { return false };
        let text = |value: Value| value.as_str().map(str::to_owned).unwrap_or_default();
        match self.key {
            "Name" => self.fits(name) || self.fits(name.trim_start_matches('/')),
            "Type" => self.fits(&text(json!(newest.kind))),
            "Tier" => self.fits(&text(json!(newest.tier))),
            "KeyId" => newest.key.as_deref().is_some_and(|key| self.fits(key)),
            "DataType" => self.fits("text"),
            "Label" => parameter.versions.iter().any(|version| self.labels(version)),
            "Path" => self.values.iter().any(|path| {
                let prefix = format!("{}/", path.trim_end_matches('/'));
                let rest = name.strip_prefix(&prefix);
                rest.is_some_and(|rest| self.option == "Recursive" || !rest.contains('/'))
            }),
            key => match parameter.tags.get(key.trim_start_matches("tag:")) {
                Some(value) => self.values.is_empty() || self.fits(value),
                None => false,
            },
        }
    }
}

/// `DescribeParameters`.
pub fn describe(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let known = ["Name", "Type", "KeyId", "Path", "Tier", "DataType", "Label", "tag:"];
    let filters = filters(&call.params["ParameterFilters"], &known)?;
    let all = call.cloud.services.ssm.parameters.all();
    let wanted =
        all.iter().filter(|(name, parameter)| filters.iter().all(|f| f.admits(name, parameter)));
    let items = wanted.filter_map(|(name, parameter)| described(call, name, parameter));
    PAGES_OF_ALL.answer(call.params, "Parameters", items.collect())
}

fn described(call: &Call<'_>, name: &str, parameter: &Arc<Parameter>) -> Option<Value> {
    let newest = parameter.newest()?;
    Some(json!({
        "Name": name, "ARN": arn(call.cloud, name), "Type": newest.kind, "KeyId": newest.key,
        "LastModifiedDate": epoch_secs(newest.modified), "LastModifiedUser": newest.by,
        "Description": newest.description, "AllowedPattern": newest.pattern,
        "Version": newest.number, "Tier": newest.tier, "Policies": [], "DataType": "text",
    }))
}
