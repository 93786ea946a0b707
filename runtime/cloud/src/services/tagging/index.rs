//! Which tags there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::kernel::cloud::Cloud;
use crate::kernel::resource::{self, Live};
use crate::kernel::service::{Service, Tags};
use crate::services::cloudformation::{Resource, Stack};

/// Whether an ARN is of a type as `ec2:instance`, or of a service as `ec2`.
pub fn is_of(arn: &str, kind: &str) -> bool {
    let (service, kind) = kind.split_once(':').unwrap_or((kind, ""));
    let mut parts = arn.splitn(6, ':').skip(2);
    let (of, rest) = (parts.next().unwrap_or_default(), parts.nth(2).unwrap_or_default());
    let begins = |rest: &str| rest.strip_prefix(kind).is_some_and(|r| r.starts_with(['/', ':']));
    // ARNs of buckets, topics and queues name no type.
    let bare = matches!((service, kind), ("s3", "bucket") | ("sns", "topic") | ("sqs", "queue"));
    of == service && (kind.is_empty() || bare || begins(rest))
}

/// The service of an ARN.
pub fn service_of(arn: &str) -> Option<&'static Service> {
    let prefix = arn.split(':').nth(2)?;
    crate::services::all().find(|service| service.prefix == prefix)
}

/// Everything that carries tags, by ARN.
pub fn tagged(cloud: &Arc<Cloud>) -> BTreeMap<String, Tags> {
    let mut found: BTreeMap<String, Tags> = BTreeMap::new();
    let mut add = |arn: String, tags: Tags| {
        if !tags.is_empty() {
            found.entry(arn).or_default().extend(tags);
        }
    };
    for (stack_id, stack) in cloud.services.cloudformation.stacks.all() {
        if stack.status != "DELETE_COMPLETE" {
            add(stack_id.clone(), pairs(&stack.tags).collect());
        }
        for (logical_id, resource) in stack.resources.iter().filter(|(_, r)| r.made) {
            let Some(arn) = arn(cloud, resource) else { continue };
            let mut tags = system_tags(&stack_id, &stack, logical_id);
            tags.extend(pairs(&stack.tags));
            // Where a service keeps the tags of a template itself, it knows them better.
            if service_of(&arn).is_none_or(|service| service.tagged.is_none()) {
                tags.extend(pairs(&resource.properties["Tags"]));
            }
            add(arn, tags);
        }
    }
    // What somebody gave to a thing goes before what its stack gives.
    for kept in crate::services::all().filter_map(|service| service.tagged) {
        for (arn, tags) in (kept.all)(cloud) {
            add(arn, tags);
        }
    }
    found
}

/// The tags that the stack of a resource gives to it, if it is one of a stack.
pub fn of_stack(cloud: &Arc<Cloud>, of: &str) -> Tags {
    let stacks = cloud.services.cloudformation.stacks.all();
    let has = |stack: &&Arc<Stack>| {
        let mut made = stack.resources.values().filter(|resource| resource.made);
        made.any(|resource| arn(cloud, resource).as_deref() == Some(of))
    };
    let stack = stacks.iter().map(|(_, stack)| stack).find(has);
    stack.map(|stack| pairs(&stack.tags).collect()).unwrap_or_default()
}

/// Tags that CloudFormation adds itself.
fn system_tags(stack_id: &str, stack: &Stack, logical_id: &str) -> Tags {
    [("stack-id", stack_id), ("stack-name", &stack.name), ("logical-id", logical_id)]
        .map(|(name, value)| (format!("aws:cloudformation:{name}"), value.to_owned()))
        .into()
}

/// `[{"Key", "Value"}]`, or, in a few templates, an object.
pub fn pairs(tags: &Value) -> impl Iterator<Item = (String, String)> {
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
        assert!(is_of("arn:aws:sqs:us-east-1:0:q", "sqs:queue"));
        assert!(is_of("arn:aws:lambda:us-east-1:0:function:f", "lambda:function"));
    }
}
