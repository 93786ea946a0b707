//! Resource Groups Tagging: what carries which tags, over all services.
//!
//! It has no records. Tags are those of buckets, and those that templates and their stacks give to
//! what CloudFormation makes; whether a thing is still there its own service says. AWS's index is
//! late by seconds to minutes, in both directions; this one is not. As in AWS, roles and whatever
//! has no tags are not found. Tag policies, and lists of ARNs, are refused by name.
//!
//! <https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::resource::{self, Live};
use crate::kernel::service::{Call, Service};
use crate::services::cloudformation::{Resource, Stack};
use crate::{model, op};

/// No records.
pub type State = super::Nothing;

const PAGES: Pages = Pages {
    items: 50,
    wrong_token: "PaginationTokenExpiredException",
    ..Pages::of("ResourcesPerPage", "PaginationToken", 100).refusing("InvalidParameterException")
};
/// Filters in one request.
const FILTERS_MAX: usize = 50;
/// Values in one filter.
const VALUES_MAX: usize = 20;
/// Types in one request.
const TYPES_MAX: usize = 100;

/// Tags by key.
type Tags = BTreeMap<String, String>;

/// API of Resource Groups Tagging.
pub static SERVICE: Service = Service {
    invalid: "InvalidParameterException",
    prefix: "tag",
    ..Service::new(
        "tagging",
        model!("tagging"),
        &[
            op!(GetResources(TagFilters { Key, Values }, ResourceTypeFilters, ResourcesPerPage, PaginationToken)
            => resources),
        ],
    )
};

fn resources(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize("*")?;
    let (filters, types) =
        (filters(&params["TagFilters"])?, types(&params["ResourceTypeFilters"])?);
    let admitted = |(arn, tags): &(String, Tags)| {
        filters.iter().all(|filter| filter.admits(tags))
            && (types.is_empty() || types.iter().any(|kind| is_of(arn, kind)))
    };
    let found = tagged(cloud).into_iter().filter(admitted).map(|(arn, tags)| {
        let tags: Vec<Value> =
            tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
        json!({ "ResourceARN": arn, "Tags": tags })
    });
    // Clients send the empty token of the last page back.
    let mut asked = params.clone();
    if asked[PAGES.token] == "" {
        asked[PAGES.token] = Value::Null;
    }
    let (page, next) = PAGES.cut(&asked, found.collect())?;
    Ok(json!({ "ResourceTagMappingList": page, (PAGES.token): next.unwrap_or_default() }))
}

fn refused(message: String) -> ApiError {
    ApiError::new("InvalidParameterException", message)
}

/// Tags that a thing must have.
struct Filter<'a> {
    key: &'a str,
    /// One of these; any when there are none.
    values: Vec<&'a str>,
}

impl Filter<'_> {
    fn admits(&self, tags: &Tags) -> bool {
        let value = tags.get(self.key);
        value.is_some_and(|value| self.values.is_empty() || self.values.contains(&value.as_str()))
    }
}

fn filters(given: &Value) -> ApiResult<Vec<Filter<'_>>> {
    let given = given.as_array().map(Vec::as_slice).unwrap_or_default();
    if given.len() > FILTERS_MAX {
        return Err(refused(format!("TagFilters must have at most {FILTERS_MAX} members.")));
    }
    given.iter().map(filter).collect()
}

fn filter(given: &Value) -> ApiResult<Filter<'_>> {
    let values = given["Values"].as_array().map(Vec::as_slice).unwrap_or_default();
    let key = given["Key"].as_str().filter(|key| (1..=128).contains(&key.chars().count()));
    match key {
        Some(key) if values.len() <= VALUES_MAX => {
            Ok(Filter { key, values: values.iter().filter_map(Value::as_str).collect() })
        }
        _ => Err(refused(format!(
            "A tag filter has a key of 1 to 128 characters and at most {VALUES_MAX} values."
        ))),
    }
}

fn types(given: &Value) -> ApiResult<Vec<&str>> {
    let given = given.as_array().map(Vec::as_slice).unwrap_or_default();
    if given.len() > TYPES_MAX {
        return Err(refused(format!("ResourceTypeFilters must have at most {TYPES_MAX} members.")));
    }
    Ok(given.iter().filter_map(Value::as_str).collect())
}

/// Whether an ARN is of a type as `ec2:instance`, or of a service as `ec2`.
fn is_of(arn: &str, kind: &str) -> bool {
    let (service, kind) = kind.split_once(':').unwrap_or((kind, ""));
    let mut parts = arn.splitn(6, ':').skip(2);
    let (of, rest) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
    let begins = |rest: &str| rest.strip_prefix(kind).is_some_and(|r| r.starts_with(['/', ':']));
    // ARNs of buckets and topics name no type.
    let bare = matches!((service, kind), ("s3", "bucket") | ("sns", "topic"));
    of == service && (kind.is_empty() || bare || begins(rest))
}

/// Everything that carries tags, by ARN.
fn tagged(cloud: &Arc<Cloud>) -> BTreeMap<String, Tags> {
    let mut found: BTreeMap<String, Tags> = BTreeMap::new();
    let mut add = |arn: String, tags: Tags| {
        if !tags.is_empty() {
            found.entry(arn).or_default().extend(tags);
        }
    };
    for (name, bucket) in cloud.services.s3.all() {
        add(format!("arn:aws:s3:::{name}"), pairs(&bucket.tags).collect());
    }
    for (stack_id, stack) in cloud.services.cloudformation.stacks.all() {
        if stack.status != "DELETE_COMPLETE" {
            add(stack_id.clone(), pairs(&stack.tags).collect());
        }
        for (logical_id, resource) in stack.resources.iter().filter(|(_, r)| r.made) {
            let Some(arn) = arn(cloud, resource) else { continue };
            let mut tags = system_tags(&stack_id, &stack, logical_id);
            tags.extend(pairs(&stack.tags));
            tags.extend(pairs(&resource.properties["Tags"]));
            add(arn, tags);
        }
    }
    found
}

/// Tags that CloudFormation adds itself.
fn system_tags(stack_id: &str, stack: &Stack, logical_id: &str) -> Tags {
    [("stack-id", stack_id), ("stack-name", &stack.name), ("logical-id", logical_id)]
        .map(|(name, value)| (format!("aws:cloudformation:{name}"), value.to_owned()))
        .into()
}

/// `[{"Key", "Value"}]`, or, in a few templates, an object.
fn pairs(tags: &Value) -> impl Iterator<Item = (String, String)> {
    let list = tags.as_array().into_iter().flatten();
    let listed = list.map(|tag| (tag["Key"].as_str(), &tag["Value"]));
    let object = tags.as_object().into_iter().flatten();
    let all = listed.chain(object.map(|(key, value)| (Some(key.as_str()), value)));
    all.filter_map(|(key, value)| Some((key?.to_owned(), value.as_str()?.to_owned())))
}

/// The ARN of a resource that has tags and is still there.
fn arn(cloud: &Arc<Cloud>, resource: &Resource) -> Option<String> {
    let handler = resource::find(&resource.kind).ok()?.handler;
    let arn = handler.arn(cloud, &resource.physical_id)?;
    let is = handler.read(cloud, &resource.physical_id, &resource.properties);
    (is != Live::Gone).then_some(arn)
}

#[cfg(test)]
mod tests {
    use super::is_of;

    #[test]
    fn types_are_told_by_arns() {
        let instance = "arn:aws:ec2:us-east-1:000000000000:instance/i-1";
        assert!(is_of(instance, "ec2") && is_of(instance, "ec2:instance"));
        assert!(!is_of(instance, "ec2:inst") && !is_of(instance, "lambda"));
        assert!(is_of("arn:aws:s3:::b", "s3:bucket") && is_of("arn:aws:s3:::b", "s3"));
        assert!(is_of("arn:aws:lambda:us-east-1:0:function:f", "lambda:function"));
    }
}
