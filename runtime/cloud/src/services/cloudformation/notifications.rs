//! Notifications: each event of a stack is published to the topics that its operations name.
//!
//! A message has the lines and the subject of AWS's. It is published as who ordered the operation,
//! so whoever names a topic needs `sns:Publish` of it; that is asked for when the operation begins,
//! too, where AWS's check says less. What cannot be published later is lost, as in AWS.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-console-create-stack.html>

use serde_json::Value;

use super::template::{masked, parse};
use super::{Stack, permissions};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::services::sns;

const SUBJECT: &str = "AWS CloudFormation Notification";

/// Refuses topics that are not there or that the caller may not publish to.
pub fn check(cloud: &Cloud, caller: &Caller, topics: &[String]) -> ApiResult<()> {
    let caller = caller.via(permissions::SERVICE);
    for topic in topics {
        let refused = |words: &str, status: u16, code: &str| {
            let request = uuid::Uuid::new_v4();
            ApiError::validation(format!(
                "{words} (Service: AmazonSNS; Status Code: {status}; Error Code: {code}; Request \
                 ID: {request}; Proxy: null)"
            ))
        };
        if !topic.starts_with("arn:aws:sns:") || topic.split(':').count() != 6 {
            return Err(refused("Invalid parameter: TopicArn", 400, "InvalidParameter"));
        }
        if !cloud.services.sns.topics.contains(topic) {
            return Err(refused("Topic does not exist", 404, "NotFound"));
        }
        let allowed = cloud.authorize(&caller, "sns:Publish", topic, &[]);
        allowed.map_err(|denied| {
            // SNS writes its own name large.
            let words = denied.message.replace("sns:Publish", "SNS:Publish");
            refused(&words, 403, "AuthorizationError")
        })?;
    }
    Ok(())
}

/// Publishes an event in the form of `DescribeStackEvents`, with the properties of its resource.
pub fn publish(cloud: &Cloud, stack: &Stack, event: &Value, properties: Option<&Value>) {
    let Some(caller) = stack.operation.caller.as_ref().filter(|_| is_wanted(stack)) else { return };
    let message = message(cloud, stack, event, properties, caller);
    let caller = caller.via(permissions::SERVICE);
    for topic in &stack.notifications {
        let published = cloud
            .authorize(&caller, "sns:Publish", topic, &[])
            .and_then(|()| sns::deliver(cloud, topic, Some(SUBJECT), &message));
        if let Err(error) = published {
            tracing::warn!("an event of `{}` is not published: {error}", stack.name);
        }
    }
}

fn is_wanted(stack: &Stack) -> bool {
    !stack.notifications.is_empty()
}

fn message(
    cloud: &Cloud,
    stack: &Stack,
    event: &Value,
    properties: Option<&Value>,
    caller: &Caller,
) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let secrets = parse(&stack.template).map(|t| t.secrets(&stack.parameters()));
    let secrets = secrets.unwrap_or_default();
    let properties = properties.map(|p| masked(p, &secrets).to_string());
    let token = event["ClientRequestToken"].as_str().unwrap_or("null").to_owned();
    let lines = [
        ("StackId", text("StackId")),
        ("Timestamp", text("Timestamp")),
        ("EventId", text("EventId")),
        ("LogicalResourceId", text("LogicalResourceId")),
        ("Namespace", cloud.config.account.clone()),
        ("PhysicalResourceId", text("PhysicalResourceId")),
        ("PrincipalId", caller.user_id()),
        ("ResourceProperties", properties.unwrap_or_else(|| "null".to_owned())),
        ("ResourceStatus", text("ResourceStatus")),
        ("ResourceStatusReason", text("ResourceStatusReason")),
        ("ResourceType", text("ResourceType")),
        ("StackName", stack.name.clone()),
        ("ClientRequestToken", token),
    ];
    let is_there =
        |(name, value): &&(&str, String)| *name != "PhysicalResourceId" || !value.is_empty();
    let lines = lines.iter().filter(is_there);
    lines.map(|(name, value)| format!("{name}='{value}'\n")).collect()
}
