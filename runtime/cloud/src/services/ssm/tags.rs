//! Tags of parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::names::{self, invalid};
use super::{Parameter, arn};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Tags of a parameter.
const TAGS_MAX: usize = 50;

/// Tags out of a list.
pub fn pairs(value: &Value) -> ApiResult<BTreeMap<String, String>> {
    let tags = value.as_array().into_iter().flatten();
    let pair =
        |tag: &Value| Some((tag["Key"].as_str()?.to_owned(), tag["Value"].as_str()?.to_owned()));
    let tags: BTreeMap<String, String> = tags.filter_map(pair).collect();
    if tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        return Err(invalid("Keys of tags do not begin with aws:."));
    }
    Ok(tags)
}

/// The parameter of a call.
fn named<'a>(call: &Call<'a>) -> ApiResult<(&'a str, Arc<Parameter>)> {
    if call.text("ResourceType") != Some("Parameter") {
        let kind = call.text("ResourceType").unwrap_or_default();
        let message = format!(
            "The embedded cloud does not implement ResourceType={kind} of ssm:{}.",
            call.operation
        );
        return Err(ApiError::new("NotImplemented", message).with_status(501));
    }
    let name = names::short(call.required("ResourceId")?);
    call.authorize(&arn(call.cloud, name))?;
    let parameter = call.cloud.services.ssm.parameters.get(name);
    let parameter = parameter.ok_or_else(|| {
        ApiError::new(
            "InvalidResourceId",
            "The resource ID is not valid. Verify that you entered the correct ID and try again.",
        )
    })?;
    Ok((name, parameter))
}

/// `AddTagsToResource`.
pub fn add(call: &Call<'_>) -> ApiResult {
    let (name, parameter) = named(call)?;
    let mut tags = parameter.tags.clone();
    tags.extend(pairs(&call.params["Tags"])?);
    if tags.len() > TAGS_MAX {
        return Err(ApiError::new("TooManyTagsError", "A parameter has at most 50 tags."));
    }
    call.cloud.services.ssm.parameters.update(name, |parameter| parameter.tags = tags)?;
    Ok(json!({}))
}

/// `RemoveTagsFromResource`.
pub fn remove(call: &Call<'_>) -> ApiResult {
    let (name, _) = named(call)?;
    let keys = call.params["TagKeys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let keys: Vec<&str> = keys.collect();
    let parameters = &call.cloud.services.ssm.parameters;
    parameters.update(name, |p| p.tags.retain(|key, _| !keys.contains(&key.as_str())))?;
    Ok(json!({}))
}

/// `ListTagsForResource`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let (_, parameter) = named(call)?;
    let tag = |(key, value): (&String, &String)| json!({ "Key": key, "Value": value });
    Ok(json!({ "TagList": parameter.tags.iter().map(tag).collect::<Vec<Value>>() }))
}
