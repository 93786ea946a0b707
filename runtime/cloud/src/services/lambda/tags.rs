//! Tags of functions and of event source mappings.

use serde_json::{Value, json};

use super::function::{invalid, not_found};
use super::{Reference, arn, find, mappings, missing};
use crate::kernel::error::ApiResult;
use crate::kernel::service::{self, Call, Tagging, Tags};

/// Tags of one resource.
const TAGS_MAX: usize = 50;

/// How functions and mappings carry tags.
pub const TAGGED: service::Tagged = service::Tagged {
    all: |cloud| {
        let state = &cloud.services.lambda;
        let functions = state.functions.all().into_iter();
        let functions = functions.map(|(name, one)| (arn(cloud, &name), one.tags.clone()));
        let mappings = state.mappings.all().into_iter();
        let mappings = mappings.map(|(id, one)| (mappings::arn(cloud, &id), one.tags.clone()));
        functions.chain(mappings).collect()
    },
    change: Tagging::By {
        tag: |_, arn, tags| ("TagResource", json!({ "Resource": arn, "Tags": tags })),
        untag: |_, arn, keys| ("UntagResource", json!({ "Resource": arn, "TagKeys": keys })),
    },
};

/// Tags out of a request.
pub fn given(tags: &Value) -> Tags {
    let pairs = tags.as_object().into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// What has tags.
enum Tagged<'a> {
    Function(&'a str),
    Mapping(&'a str),
}

/// What a call names by its ARN, when the caller may make the call.
fn tagged<'a>(call: &Call<'a>) -> ApiResult<Tagged<'a>> {
    let arn = call.required("Resource")?;
    call.authorize(arn)?;
    let cloud = call.cloud;
    if let Some(id) = arn.strip_prefix(&*mappings::arn(cloud, "")) {
        let is_there = cloud.services.lambda.mappings.contains(id);
        return match is_there {
            true => Ok(Tagged::Mapping(id)),
            false => Err(not_found("The resource you requested does not exist.")),
        };
    }
    let reference = Reference::parse(arn, None);
    if reference.qualifier.is_some() {
        return Err(invalid(
            "Tags on function aliases and versions are not supported. Please specify a function \
             ARN.",
        ));
    }
    find(cloud, reference.name)?;
    Ok(Tagged::Function(reference.name))
}

fn change(call: &Call<'_>, of: &Tagged<'_>, change: impl FnOnce(&mut Tags)) -> ApiResult<()> {
    let state = &call.cloud.services.lambda;
    let changed = match of {
        Tagged::Function(name) => state.functions.update(name, |f| change(&mut f.tags))?,
        Tagged::Mapping(id) => state.mappings.update(id, |m| change(&mut m.tags))?,
    };
    changed.ok_or_else(|| match of {
        Tagged::Function(name) => missing(call.cloud, name),
        Tagged::Mapping(_) => not_found("The resource you requested does not exist."),
    })
}

fn present(call: &Call<'_>, of: &Tagged<'_>) -> Tags {
    let state = &call.cloud.services.lambda;
    let tags = match of {
        Tagged::Function(name) => state.functions.get(name).map(|f| f.tags.clone()),
        Tagged::Mapping(id) => state.mappings.get(id).map(|m| m.tags.clone()),
    };
    tags.unwrap_or_default()
}

/// `TagResource`.
pub fn add(call: &Call<'_>) -> ApiResult {
    let of = tagged(call)?;
    let added = given(&call.params["Tags"]);
    let mut all = present(call, &of);
    all.extend(added.clone());
    if all.len() > TAGS_MAX {
        return Err(invalid("Number of tags exceeds resource tag limit."));
    }
    change(call, &of, |tags| tags.extend(added))?;
    Ok(json!({}))
}

/// `UntagResource`.
pub fn remove(call: &Call<'_>) -> ApiResult {
    let of = tagged(call)?;
    let keys = call.params["TagKeys"].as_array().into_iter().flatten();
    let keys: Vec<&str> = keys.filter_map(Value::as_str).collect();
    change(call, &of, |tags| tags.retain(|key, _| !keys.contains(&key.as_str())))?;
    Ok(json!({}))
}

/// `ListTags`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let of = tagged(call)?;
    Ok(json!({ "Tags": present(call, &of) }))
}
