//! Tags of streams, by the older operations and by the newer ones.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{invalid, name_of, named};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Tags of a stream.
const TAGS_MAX: usize = 50;
/// Tags in one page.
const PAGE: usize = 50;

type Tags = BTreeMap<String, String>;

/// Tags of a request: an object.
pub fn of(given: &Value) -> ApiResult<Tags> {
    let tags: Tags = given
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect();
    check(&tags)?;
    Ok(tags)
}

fn check(tags: &Tags) -> ApiResult<()> {
    if let Some(key) = tags.keys().find(|key| key.starts_with("aws:")) {
        return Err(invalid(format!("The key of a tag may not begin with aws: {key}")));
    }
    if tags.len() > TAGS_MAX {
        return Err(invalid(format!("A stream has at most {TAGS_MAX} tags.")));
    }
    Ok(())
}

fn put(call: &Call<'_>, name: &str) -> ApiResult {
    let added = of(&call.params["Tags"])?;
    let changed = call.cloud.services.kinesis.streams.update(name, |stream| {
        let mut all = stream.tags.clone();
        all.extend(added);
        check(&all)?;
        stream.tags = all;
        Ok::<(), ApiError>(())
    })?;
    changed.unwrap_or(Ok(()))?;
    Ok(json!({}))
}

fn take(call: &Call<'_>, name: &str) -> ApiResult {
    let keys = call.params["TagKeys"].as_array().into_iter().flatten();
    let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
    let streams = &call.cloud.services.kinesis.streams;
    streams.update(name, |stream| stream.tags.retain(|key, _| !keys.contains(&key.as_str())))?;
    Ok(json!({}))
}

fn listed<'t>(tags: impl Iterator<Item = (&'t String, &'t String)>) -> Vec<Value> {
    tags.map(|(key, value)| json!({ "Key": key, "Value": value })).collect()
}

/// `AddTagsToStream`.
pub fn add(call: &Call<'_>) -> ApiResult {
    let (name, _) = named(call)?;
    put(call, name)
}

/// `RemoveTagsFromStream`.
pub fn remove(call: &Call<'_>) -> ApiResult {
    let (name, _) = named(call)?;
    take(call, name)
}

/// `ListTagsForStream`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let (_, stream) = named(call)?;
    let after = call.text("ExclusiveStartTagKey").unwrap_or_default();
    let limit = call.params["Limit"].as_u64().map_or(PAGE, |limit| limit as usize);
    let mut rest = stream.tags.iter().filter(|(key, _)| key.as_str() > after);
    let tags = listed(rest.by_ref().take(limit));
    Ok(json!({ "Tags": tags, "HasMoreTags": rest.next().is_some() }))
}

/// The stream of an operation on a resource.
fn resource<'a>(call: &Call<'a>) -> ApiResult<&'a str> {
    let arn = call.required("ResourceARN")?;
    call.authorize(arn)?;
    let missing =
        || ApiError::new("ResourceNotFoundException", format!("Resource {arn} not found."));
    let name = name_of(call.cloud, arn).ok_or_else(missing)?;
    super::find(call.cloud, name)?;
    Ok(name)
}

/// `TagResource`.
pub fn tag(call: &Call<'_>) -> ApiResult {
    put(call, resource(call)?)
}

/// `UntagResource`.
pub fn untag(call: &Call<'_>) -> ApiResult {
    take(call, resource(call)?)
}

/// `ListTagsForResource`.
pub fn tags_of(call: &Call<'_>) -> ApiResult {
    let stream = super::find(call.cloud, resource(call)?)?;
    Ok(json!({ "Tags": listed(stream.tags.iter()) }))
}
