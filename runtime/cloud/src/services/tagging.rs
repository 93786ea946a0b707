//! Resource Groups Tagging: what carries which tags, over all services.
//!
//! It has no records. Tags are those that services keep themselves (buckets, queues, topics,
//! tables, streams, functions, keys, parameters, rules, alarms, groups of schedules), and those
//! that templates and their stacks give to what CloudFormation makes; whether a thing is still
//! there its own service says. Tags are given and taken by the services' own operations with the
//! rights of the caller, as in AWS. AWS's index is late by seconds to minutes, in both directions;
//! this one is not. As in AWS, roles are not found; of what had tags once and has none any more,
//! which AWS may list, this index knows nothing. Differences: what has tags by its stack only
//! (state machines, instances, log groups, …) has no operations for them here, so it is refused by
//! name; so is taking a stack's tag from one of its resources, because only the stack itself has
//! it. Tag policies are refused by name.
//!
//! <https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html>
//! <https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_TagResources.html>

mod change;
mod index;

use serde_json::{Value, json};

use self::index::{is_of, tagged};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::pages::Pages;
use crate::kernel::service::{Call, Service, Tags, tag_list};
use crate::{model, op};

/// No records.
pub type State = super::Nothing;

const PAGES: Pages = Pages {
    items: 50,
    wrong_token: "PaginationTokenExpiredException",
    ..Pages::of("ResourcesPerPage", "PaginationToken", 100).refusing("InvalidParameterException")
};
/// Pages of keys and values, whose size nobody chooses.
const NAMES: Pages = Pages { size: "", items: 100, ..PAGES };
/// Filters in one request.
const FILTERS_MAX: usize = 50;
/// Values in one filter.
const VALUES_MAX: usize = 20;
/// Types in one request.
const TYPES_MAX: usize = 100;

/// API of Resource Groups Tagging.
pub static SERVICE: Service = Service {
    invalid: "InvalidParameterException",
    prefix: "tag",
    ..Service::new(
        "tagging",
        model!("tagging"),
        &[
            op!(GetResources(
                TagFilters { Key, Values }, ResourceTypeFilters, ResourcesPerPage, PaginationToken,
                ResourceARNList
            ) => resources),
            op!(GetTagKeys(PaginationToken) => keys),
            op!(GetTagValues(Key, PaginationToken) => values),
            op!(TagResources(ResourceARNList, Tags) => async change::tag),
            op!(UntagResources(ResourceARNList, TagKeys) => async change::untag),
        ],
    )
};

fn resources(call: &Call<'_>) -> ApiResult {
    let Call { cloud, params, .. } = *call;
    call.authorize("*")?;
    let named = arns(params)?;
    let (filters, types) =
        (filters(&params["TagFilters"])?, types(&params["ResourceTypeFilters"])?);
    let admitted = |(arn, tags): &(String, Tags)| {
        named.as_ref().is_none_or(|named| named.contains(&arn.as_str()))
            && filters.iter().all(|filter| filter.admits(tags))
            && (types.is_empty() || types.iter().any(|kind| is_of(arn, kind)))
    };
    let found = tagged(cloud)
        .into_iter()
        .filter(admitted)
        .map(|(arn, tags)| json!({ "ResourceARN": arn, "Tags": tag_list(&tags, "Key", "Value") }));
    // Those that are named are one page, and have no others.
    if named.is_some() {
        let found: Vec<Value> = found.collect();
        return Ok(json!({ "ResourceTagMappingList": found, "PaginationToken": "" }));
    }
    paged(PAGES, params, "ResourceTagMappingList", found.collect())
}

/// One page of an answer; the token of the last one is empty.
fn paged(pages: Pages, params: &Value, member: &str, items: Vec<Value>) -> ApiResult {
    // Clients send the empty token of the last page back.
    let mut asked = params.clone();
    if asked[pages.token] == "" {
        asked[pages.token] = Value::Null;
    }
    let (page, next) = pages.cut(&asked, items)?;
    Ok(json!({ (member): page, (pages.token): next.unwrap_or_default() }))
}

/// `GetTagKeys`.
fn keys(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let mut keys: Vec<String> =
        tagged(call.cloud).into_values().flat_map(Tags::into_keys).collect();
    keys.sort();
    keys.dedup();
    paged(NAMES, call.params, "TagKeys", keys.into_iter().map(Value::from).collect())
}

/// `GetTagValues`.
fn values(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let key = call.required("Key")?;
    let all = tagged(call.cloud).into_values();
    let mut values: Vec<String> = all.filter_map(|mut tags| tags.remove(key)).collect();
    values.sort();
    values.dedup();
    paged(NAMES, call.params, "TagValues", values.into_iter().map(Value::from).collect())
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidParameterException", message)
}

/// The resources that are asked for by name, which nothing else goes with.
fn arns(params: &Value) -> ApiResult<Option<Vec<&str>>> {
    let Some(named) = params["ResourceARNList"].as_array() else { return Ok(None) };
    let others = ["TagFilters", "ResourceTypeFilters", PAGES.size, PAGES.token];
    if let Some(other) = others.iter().find(|other| !params[**other].is_null()) {
        return Err(refused(format!(
            "ResourceARNList and {other} cannot be specified in the same request."
        )));
    }
    Ok(Some(named.iter().filter_map(Value::as_str).collect()))
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
