//! Policies of queues: as an attribute, or statement by statement.

use serde_json::{Value, json};

use super::{Named, invalid, name_in, named, queues};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::service::Call;

/// Actions of one statement.
const ACTIONS_MAX: usize = 7;
/// Actions that `AddPermission` may give.
const ACTIONS: &[&str] = &[
    "*",
    "ChangeMessageVisibility",
    "DeleteMessage",
    "GetQueueAttributes",
    "GetQueueUrl",
    "ListDeadLetterSourceQueues",
    "PurgeQueue",
    "ReceiveMessage",
    "SendMessage",
];

/// The policy of a queue, by its ARN.
pub fn policy_of(cloud: &Cloud, arn: &str) -> Option<Value> {
    let queue = cloud.services.sqs.queues.get(name_in(cloud, arn)?)?;
    serde_json::from_str(queue.attributes.get("Policy")?).ok()
}

fn statements(policy: &mut Value) -> &mut Vec<Value> {
    if !policy["Statement"].is_array() {
        let one = policy["Statement"].take();
        policy["Statement"] = if one.is_null() { json!([]) } else { json!([one]) };
    }
    policy["Statement"].as_array_mut().expect("it is a list now")
}

/// `AddPermission`.
pub fn add(call: &Call<'_>) -> ApiResult {
    let cloud = call.cloud;
    let Named { name, queue } = named(call, "AddPermission")?;
    let label = call.required("Label")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if label.len() > 80 || !label.chars().all(plain) {
        let why =
            "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length";
        return Err(invalid(format!(
            "Value {label} for parameter Label is invalid. Reason: {why}"
        )));
    }
    let list = |member: &str| -> Vec<&str> {
        let items = call.params[member].as_array();
        items.into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let (accounts, actions) = (list("AWSAccountIds"), list("Actions"));
    if let Some(other) = actions.iter().find(|action| !ACTIONS.contains(action)) {
        let why = "Only the queue owner is allowed to invoke this action.";
        return Err(invalid(format!(
            "Value SQS:{other} for parameter ActionName is invalid. Reason: {why}"
        )));
    }
    if actions.len() > ACTIONS_MAX {
        let message =
            format!("{} Actions were found, maximum allowed is {ACTIONS_MAX}.", actions.len());
        return Err(ApiError::new("OverLimit", message).with_status(403));
    }
    let arn = super::arn(cloud, name);
    let stored = queue.attributes.get("Policy").and_then(|text| serde_json::from_str(text).ok());
    let mut policy: Value = stored.unwrap_or_else(|| {
        json!({
            "Version": "2008-10-17", "Id": format!("{arn}/SQSDefaultPolicy"), "Statement": [],
        })
    });
    let all = statements(&mut policy);
    if all.iter().any(|statement| statement["Sid"] == label) {
        let message =
            format!("Value {label} for parameter Label is invalid. Reason: Already exists.");
        return Err(invalid(message));
    }
    let principals: Vec<String> =
        accounts.iter().map(|account| format!("arn:aws:iam::{account}:root")).collect();
    let actions: Vec<String> = actions.iter().map(|action| format!("SQS:{action}")).collect();
    all.push(json!({
        "Sid": label, "Effect": "Allow", "Principal": { "AWS": one_or_all(principals) },
        "Action": one_or_all(actions), "Resource": arn,
    }));
    queues::change(cloud, name, &[("Policy".to_owned(), policy.to_string())].into())?;
    Ok(json!({}))
}

fn one_or_all(mut texts: Vec<String>) -> Value {
    if texts.len() == 1 { texts.remove(0).into() } else { texts.into() }
}

/// `RemovePermission`.
pub fn remove(call: &Call<'_>) -> ApiResult {
    let Named { name, queue } = named(call, "RemovePermission")?;
    let label = call.required("Label")?;
    let unknown = || {
        let why = "can't find label on existing policy.";
        invalid(format!("Value {label} for parameter Label is invalid. Reason: {why}"))
    };
    let stored = queue.attributes.get("Policy").and_then(|text| serde_json::from_str(text).ok());
    let mut policy: Value = stored.ok_or_else(unknown)?;
    let all = statements(&mut policy);
    let before = all.len();
    all.retain(|statement| statement["Sid"] != label);
    if all.len() == before {
        return Err(unknown());
    }
    let text = if all.is_empty() { String::new() } else { policy.to_string() };
    queues::change(call.cloud, name, &[("Policy".to_owned(), text)].into())?;
    Ok(json!({}))
}
