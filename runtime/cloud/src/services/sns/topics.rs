//! Topics: made, changed, shown and deleted; who may do what with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Topic, invalid, listed, not_found, not_implemented, texts, topic_of};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam;
use crate::kernel::service::Call;
use crate::kernel::tags;

/// Tags of a topic.
const TAGS_MAX: usize = 50;
/// Actions that `AddPermission` may give.
const ACTIONS: &[&str] = &[
    "AddPermission",
    "DeleteTopic",
    "GetTopicAttributes",
    "ListSubscriptionsByTopic",
    "Publish",
    "RemovePermission",
    "SetTopicAttributes",
    "Subscribe",
];
/// Attributes that AWS has and this cloud refuses.
const REFUSED: &[&str] = &[
    "ApplicationFailureFeedbackRoleArn",
    "ArchivePolicy",
    "BeginningArchiveTime",
    "ContentBasedDeduplication",
    "DataProtectionPolicy",
    "DeliveryPolicy",
    "FifoThroughputScope",
    "FifoTopic",
    "HTTPFailureFeedbackRoleArn",
    "KmsMasterKeyId",
    "LambdaFailureFeedbackRoleArn",
    "SQSFailureFeedbackRoleArn",
    "SignatureVersion",
    "TracingConfig",
];

/// Whether something may be a topic's display name.
pub fn check_display_name(name: &str) -> Result<(), String> {
    if name.chars().count() <= 100 && !name.contains(char::is_control) {
        return Ok(());
    }
    Err("Invalid parameter: DisplayName".to_owned())
}

/// The topic of a call, when its caller may do this with it.
pub fn named<'a>(call: &Call<'a>, member: &str) -> ApiResult<(&'a str, Arc<Topic>)> {
    let arn = call.required(member)?;
    call.authorize(arn)?;
    let topic = call.cloud.services.sns.topics.get(arn).ok_or_else(not_found)?;
    Ok((arn, topic))
}

fn check_name(name: &str) -> ApiResult<()> {
    if name.ends_with(".fifo") {
        return Err(not_implemented("Attributes.FifoTopic", "CreateTopic"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=256).contains(&name.len()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(invalid("Topic Name"))
}

/// Sets an attribute.
fn change(call: &Call<'_>, topic: &mut Topic, name: &str, value: &str) -> ApiResult<()> {
    match name {
        "DisplayName" => {
            check_display_name(value).map_err(|words| ApiError::new("InvalidParameter", words))?;
            topic.display_name = value.to_owned();
        }
        "Policy" => topic.policy = policy(call, value)?,
        name if REFUSED.contains(&name) => {
            return Err(not_implemented(&format!("Attributes.{name}"), call.operation));
        }
        _ => return Err(invalid("AttributeName")),
    }
    Ok(())
}

fn policy(call: &Call<'_>, text: &str) -> ApiResult<Option<Value>> {
    if text.is_empty() {
        return Ok(None);
    }
    let document = serde_json::from_str(text).map_err(|_| invalid("Policy Error: null"))?;
    let checked = iam::check_resource_policy(call.cloud, &document);
    checked.map_err(|why| invalid(format!("Policy statement is not valid: {why}")))?;
    Ok(Some(document))
}

fn check_tags(tags: &BTreeMap<String, String>) -> ApiResult<()> {
    if tags.len() > TAGS_MAX {
        let message = "Could not complete request: tag quota of per resource exceeded";
        return Err(ApiError::new("TagLimitExceeded", message));
    }
    match tags.keys().any(|key| key.to_ascii_lowercase().starts_with("aws:")) {
        true => Err(invalid("aws: prefixed tag key names are not allowed for external use")),
        false => Ok(()),
    }
}

/// `CreateTopic`. A topic that is there with the same attributes is the answer.
pub fn create(call: &Call<'_>) -> ApiResult {
    let name = call.required("Name")?;
    let arn = call.cloud.config.arn("sns", name);
    call.authorize(&arn)?;
    check_name(name)?;
    let given = texts(&call.params["Attributes"]);
    let mut topic = Topic { tags: tags::parse(&call.params["Tags"]), ..Topic::default() };
    check_tags(&topic.tags)?;
    for (name, value) in &given {
        change(call, &mut topic, name, value)?;
    }
    let topics = &call.cloud.services.sns.topics;
    if !topics.create(&arn, topic.clone())? {
        let former = topics.get(&arn).ok_or_else(not_found)?;
        if !given.is_empty()
            && (&former.display_name, &former.policy) != (&topic.display_name, &topic.policy)
        {
            return Err(invalid(
                "Attributes Reason: Topic already exists with different attributes",
            ));
        }
        if !topic.tags.is_empty() && former.tags != topic.tags {
            return Err(invalid("Tags Reason: Topic already exists with different tags"));
        }
    }
    Ok(topic_of(&arn))
}

/// `DeleteTopic`: its subscriptions go with it, and one that is not there is deleted.
pub fn delete(call: &Call<'_>) -> ApiResult {
    let arn = call.required("TopicArn")?;
    call.authorize(arn)?;
    call.cloud.services.sns.topics.remove(arn)?;
    Ok(json!({}))
}

/// `ListTopics`.
pub fn list(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let topics = call.cloud.services.sns.topics.names("");
    listed("Topics", topics.iter().map(|arn| topic_of(arn)).collect(), call.params)
}

/// `GetTopicAttributes`.
pub fn attributes(call: &Call<'_>) -> ApiResult {
    let (arn, topic) = named(call, "TopicArn")?;
    let mut all = json!({
        "TopicArn": arn, "Owner": call.cloud.config.account, "DisplayName": topic.display_name,
        "SubscriptionsConfirmed": topic.subscriptions.len().to_string(),
        "SubscriptionsPending": "0", "SubscriptionsDeleted": "0",
    });
    if let Some(policy) = &topic.policy {
        all["Policy"] = policy.to_string().into();
    }
    Ok(json!({ "Attributes": all }))
}

/// `SetTopicAttributes`.
pub fn set(call: &Call<'_>) -> ApiResult {
    let (arn, topic) = named(call, "TopicArn")?;
    let mut changed = (*topic).clone();
    let name = call.required("AttributeName")?;
    change(call, &mut changed, name, call.text("AttributeValue").unwrap_or_default())?;
    update(call, arn, |topic| {
        topic.display_name = changed.display_name;
        topic.policy = changed.policy;
    })
}

fn update(call: &Call<'_>, arn: &str, change: impl FnOnce(&mut Topic)) -> ApiResult {
    call.cloud.services.sns.topics.update(arn, change)?.ok_or_else(not_found)?;
    Ok(json!({}))
}

/// `AddPermission`.
pub fn permit(call: &Call<'_>) -> ApiResult {
    let (arn, topic) = named(call, "TopicArn")?;
    let label = call.required("Label")?;
    let list = |member: &str| -> Vec<&str> {
        let items = call.params[member].as_array();
        items.into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let (accounts, actions) = (list("AWSAccountId"), list("ActionName"));
    if let Some(other) = actions.iter().find(|action| !ACTIONS.contains(action)) {
        return Err(invalid(format!("Policy statement action out of service scope! ({other})")));
    }
    let mut policy = topic.policy.clone().unwrap_or_else(
        || json!({ "Version": "2008-10-17", "Id": "__default_policy_ID", "Statement": [] }),
    );
    let statements = policy["Statement"].as_array_mut();
    let statements = statements.ok_or_else(|| invalid("Policy has one statement, not a list"))?;
    if statements.iter().any(|statement| statement["Sid"] == label) {
        return Err(invalid("Statement already exists"));
    }
    let principals: Vec<String> =
        accounts.iter().map(|account| format!("arn:aws:iam::{account}:root")).collect();
    let actions: Vec<String> = actions.iter().map(|action| format!("SNS:{action}")).collect();
    statements.push(json!({
        "Sid": label, "Effect": "Allow", "Principal": { "AWS": principals }, "Action": actions,
        "Resource": arn,
    }));
    let checked = iam::check_resource_policy(call.cloud, &policy);
    checked.map_err(|why| invalid(format!("Policy statement is not valid: {why}")))?;
    update(call, arn, |topic| topic.policy = Some(policy))
}

/// `RemovePermission`.
pub fn forbid(call: &Call<'_>) -> ApiResult {
    let (arn, topic) = named(call, "TopicArn")?;
    let label = call.required("Label")?;
    let mut policy = topic.policy.clone();
    let statements = policy.as_mut().and_then(|policy| policy["Statement"].as_array_mut());
    let left = statements.map(|statements| {
        statements.retain(|statement| statement["Sid"] != label);
        statements.len()
    });
    let policy = policy.filter(|_| left != Some(0));
    update(call, arn, |topic| topic.policy = policy)
}

/// The topic of a call about tags.
fn tagged<'a>(call: &Call<'a>) -> ApiResult<(&'a str, Arc<Topic>)> {
    named(call, "ResourceArn").map_err(|error| match error.code.as_str() {
        "NotFound" => ApiError::new("ResourceNotFound", "Resource does not exist").with_status(404),
        _ => error,
    })
}

/// `TagResource`.
pub fn tag(call: &Call<'_>) -> ApiResult {
    let (arn, topic) = tagged(call)?;
    let mut tags = topic.tags.clone();
    tags.extend(tags::parse(&call.params["Tags"]));
    check_tags(&tags)?;
    update(call, arn, |topic| topic.tags = tags)
}

/// `UntagResource`.
pub fn untag(call: &Call<'_>) -> ApiResult {
    let (arn, _) = tagged(call)?;
    let keys = call.params["TagKeys"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let keys: Vec<&str> = keys.collect();
    update(call, arn, |topic| topic.tags.retain(|key, _| !keys.contains(&key.as_str())))
}

/// `ListTagsForResource`.
pub fn tags(call: &Call<'_>) -> ApiResult {
    let (_, topic) = tagged(call)?;
    Ok(json!({ "Tags": tags::list(&topic.tags) }))
}

#[cfg(test)]
mod tests {
    use super::check_display_name;

    #[test]
    fn display_names_are_checked() {
        assert!(check_display_name("Прогнозы").is_ok());
        assert!(check_display_name("a\nb").is_err());
    }
}
