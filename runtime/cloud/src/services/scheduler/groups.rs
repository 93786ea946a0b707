//! Groups of schedules, and their tags.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::schedules::DEFAULT;
use super::{Group, PAGES, conflict, group_arn, invalid, missing};
use crate::kernel::cloud::{Cloud, epoch_secs};
use crate::kernel::error::ApiResult;
use crate::kernel::service::Call;
use crate::kernel::tags;

/// Tags of a group.
const TAGS_MAX: usize = 50;

/// Whether there is a group of that name; the error says so.
pub fn check_exists(cloud: &Cloud, name: &str) -> ApiResult<()> {
    if name == DEFAULT || cloud.services.scheduler.groups.contains(name) {
        return Ok(());
    }
    Err(missing(format!("Schedule group {name} does not exist.")))
}

fn pairs(value: &Value) -> BTreeMap<String, String> {
    let tags = value.as_array().into_iter().flatten();
    let pair =
        |tag: &Value| Some((tag["Key"].as_str()?.to_owned(), tag["Value"].as_str()?.to_owned()));
    tags.filter_map(pair).collect()
}

fn check_tags(tags: &BTreeMap<String, String>) -> ApiResult<()> {
    if tags.len() > TAGS_MAX || tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:"))
    {
        return Err(invalid("A group has at most 50 tags, whose keys do not begin with aws:."));
    }
    Ok(())
}

/// `CreateScheduleGroup`.
pub fn create(call: &Call<'_>) -> ApiResult {
    let (cloud, name) = (call.cloud, call.required("Name")?);
    let (own, now) = (group_arn(cloud, name), cloud.clock.now());
    call.authorize(&own)?;
    let tags = pairs(&call.params["Tags"]);
    check_tags(&tags)?;
    let token = call.text("ClientToken").map(str::to_owned);
    let group = Group { created: now, modified: now, tags: tags.clone(), token: token.clone() };
    let groups = &cloud.services.scheduler.groups;
    let made = name != DEFAULT && groups.create(name, group)?;
    let is_same =
        |there: &Group| there.token.is_some() && there.token == token && there.tags == tags;
    let repeated = || groups.get(name).is_some_and(|there| is_same(&there));
    if !made && !repeated() {
        return Err(conflict(format!("Schedule group {name} already exists.")));
    }
    Ok(json!({ "ScheduleGroupArn": own }))
}

fn described(cloud: &Cloud, name: &str, group: Option<&Group>) -> Value {
    json!({
        "Arn": group_arn(cloud, name), "Name": name, "State": "ACTIVE",
        "CreationDate": group.map(|group| epoch_secs(group.created)),
        "LastModificationDate": group.map(|group| epoch_secs(group.modified)),
    })
}

/// `GetScheduleGroup`.
pub fn get(call: &Call<'_>) -> ApiResult {
    let name = call.required("Name")?;
    call.authorize(&group_arn(call.cloud, name))?;
    check_exists(call.cloud, name)?;
    let group = call.cloud.services.scheduler.groups.get(name);
    Ok(described(call.cloud, name, group.as_deref()))
}

/// `ListScheduleGroups`.
pub fn list(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    call.authorize(&group_arn(cloud, "*"))?;
    let prefix = call.text("NamePrefix").unwrap_or_default();
    let all = cloud.services.scheduler.groups.range(prefix, None);
    let own = DEFAULT.starts_with(prefix).then(|| described(cloud, DEFAULT, None));
    let others = all.iter().map(|(name, group)| described(cloud, name, Some(group)));
    PAGES.answer(call.params, "ScheduleGroups", own.into_iter().chain(others).collect())
}

/// `DeleteScheduleGroup`: its schedules go with it.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let (state, name) = (&call.cloud.services.scheduler, call.required("Name")?);
    call.authorize(&group_arn(call.cloud, name))?;
    if name == DEFAULT {
        return Err(invalid("The default schedule group cannot be deleted."));
    }
    check_exists(call.cloud, name)?;
    // The schedules first: a crash in between leaves a group that can be deleted again.
    let names = state.schedules.names(&format!("{name}/"));
    state.schedules.put_all([], names.iter().map(String::as_str))?;
    state.groups.remove(name)?;
    state.changed.notify_one();
    Ok(json!({}))
}

/// The group of a call about tags.
fn tagged<'a>(call: &Call<'a>) -> ApiResult<&'a str> {
    let arn = call.required("ResourceArn")?;
    call.authorize(arn)?;
    let name = arn.strip_prefix(&*group_arn(call.cloud, ""));
    name.filter(|name| call.cloud.services.scheduler.groups.contains(name))
        .ok_or_else(|| missing(format!("Resource {arn} does not exist.")))
}

/// `TagResource`.
pub fn tag(call: &Call<'_>) -> ApiResult {
    let name = tagged(call)?;
    let groups = &call.cloud.services.scheduler.groups;
    let mut tags = groups.get(name).map(|group| group.tags.clone()).unwrap_or_default();
    tags.extend(pairs(&call.params["Tags"]));
    check_tags(&tags)?;
    groups.update(name, |group| group.tags = tags)?;
    Ok(json!({}))
}

/// `UntagResource`.
pub fn untag(call: &Call<'_>) -> ApiResult {
    let name = tagged(call)?;
    let keys = call.params["TagKeys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let keys: Vec<&str> = keys.collect();
    let groups = &call.cloud.services.scheduler.groups;
    groups.update(name, |group| group.tags.retain(|key, _| !keys.contains(&key.as_str())))?;
    Ok(json!({}))
}

/// `ListTagsForResource`.
pub fn tags(call: &Call<'_>) -> ApiResult {
    let name = tagged(call)?;
    let group = call.cloud.services.scheduler.groups.get(name);
    let tags = group.map(|group| group.tags.clone()).unwrap_or_default();
    Ok(json!({ "Tags": tags::list(&tags) }))
}
