//! What CloudFormation does to resources with the rights of who ordered the operation.
//!
//! A stack without a service role makes, changes and deletes each resource as the caller. Which
//! actions that takes is in `models/handler_actions.tsv`. All of them are asked for before the
//! work begins; AWS's handlers come upon a missing one in the middle, and what they made by then is
//! rolled back. Operations that earlier versions of this cloud began have no caller on record and
//! go on with the cloud's own rights. The same table has the events of the trail, for types whose
//! handlers call no operations.
//!
//! <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cfn-whatis-howdoesitwork.html>

use std::sync::LazyLock;

use serde_json::Value;

use super::Resource;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::ApiError;
use crate::kernel::identity::{Caller, Principal};
use crate::kernel::resource::{Place, ResourceType, ending, handler};

/// By which name conditions know CloudFormation.
pub const SERVICE: &str = "cloudformation.amazonaws.com";
const TABLE: &str = include_str!("../../../models/handler_actions.tsv");

/// Types of the table whose handlers call operations, which have events of their own.
const CALLING: [&str; 1] = ["AWS::SNS::Subscription"];
/// Actions that are not called as the operations that they allow.
const CALLED: [(&str, &str); 2] = [
    ("PutEncryptionConfiguration", "PutBucketEncryption"),
    ("PutLifecycleConfiguration", "PutBucketLifecycleConfiguration"),
];

static RULES: LazyLock<Vec<Rule>> =
    LazyLock::new(|| TABLE.lines().filter_map(Rule::parse).collect());

/// What is done to a resource.
#[derive(Debug, Clone, Copy)]
pub enum Work<'a> {
    /// It is made.
    Create,
    /// It is changed from these properties.
    Update(&'a Value),
    /// It is deleted.
    Delete,
}

/// One line of the table.
#[derive(Debug)]
struct Rule {
    kind: &'static str,
    operations: &'static str,
    properties: Vec<&'static str>,
    actions: Vec<&'static str>,
    resources: Vec<&'static str>,
}

impl Rule {
    /// `None` for comments.
    fn parse(line: &'static str) -> Option<Self> {
        let mut columns = line.split('\t').filter(|_| !line.starts_with('#'));
        let mut list =
            || -> Option<Vec<&'static str>> { Some(columns.next()?.split(',').collect()) };
        let (kind, operations) = (list()?[0], list()?[0]);
        let properties = list()?.into_iter().filter(|p| *p != "-").collect();
        Some(Self { kind, operations, properties, actions: list()?, resources: list()? })
    }

    fn applies(&self, resource: &Thing<'_>, work: Work<'_>, stack_tags: &Value) -> bool {
        let letter = match work {
            Work::Create => 'c',
            Work::Update(_) => 'u',
            Work::Delete => 'd',
        };
        let touched = |property: &&str| {
            let now = &resource.properties[*property];
            match work {
                Work::Update(old) => *now != old[*property],
                Work::Create if *property == "Tags" => is_there(now) || is_there(stack_tags),
                Work::Create | Work::Delete => is_there(now),
            }
        };
        self.kind == resource.kind
            && self.operations.contains(letter)
            && (self.properties.is_empty() || self.properties.iter().any(touched))
    }
}

fn is_there(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// Whether who ordered the stack's operation may do this to a resource; the error has the words of
/// the resource's event.
pub fn check(place: &Place<'_>, resource: &Resource, work: Work<'_>) -> Result<(), String> {
    let Resource { kind, physical_id, properties, .. } = resource;
    check_thing(place, &Thing { kind, physical_id, properties }, work)
}

/// The same for what is in no stack.
pub fn check_rights(
    place: &Place<'_>,
    kind: &ResourceType,
    physical_id: &str,
    properties: &Value,
    work: Work<'_>,
) -> Result<(), String> {
    check_thing(place, &Thing { kind: kind.name, physical_id, properties }, work)
}

/// Writes into the trail what was done to a resource.
pub fn note(place: &Place<'_>, resource: &Resource, work: Work<'_>) {
    let Resource { kind, physical_id, properties, .. } = resource;
    note_thing(place, &Thing { kind, physical_id, properties }, work);
}

/// The same for what is in no stack.
pub fn note_work(
    place: &Place<'_>,
    kind: &ResourceType,
    physical_id: &str,
    properties: &Value,
    work: Work<'_>,
) {
    note_thing(place, &Thing { kind: kind.name, physical_id, properties }, work);
}

fn note_thing(place: &Place<'_>, resource: &Thing<'_>, work: Work<'_>) {
    let Some(caller) = &place.caller else { return };
    if CALLING.contains(&resource.kind) {
        return;
    }
    let stack_tags = stack_tags(place);
    for rule in RULES.iter().filter(|rule| rule.applies(resource, work, &stack_tags)) {
        let caller = caller.anew();
        for arn in rule.resources.iter().flat_map(|r| arns(place.cloud, r, resource)) {
            caller.origin.touched.add(&arn);
        }
        for action in &rule.actions {
            note_action(place.cloud, &caller, action, None);
        }
    }
}

/// Writes an action into the trail.
fn note_action(cloud: &Cloud, caller: &Caller, action: &str, error: Option<&ApiError>) {
    let (prefix, name) = action.split_once(':').unwrap_or_default();
    let service = crate::services::all().find(|service| service.prefix == prefix);
    let called = CALLED.iter().find(|(action, _)| *action == name);
    let operation = called.map_or(name, |(_, operation)| operation);
    cloud.note(caller, service.map_or(prefix, |service| service.id), operation, error);
}

/// The tags of the stack that a resource belongs to.
fn stack_tags(place: &Place<'_>) -> Value {
    let stack = place.cloud.services.cloudformation.stacks.get(place.stack_id);
    stack.map(|stack| stack.tags.clone()).unwrap_or_default()
}

/// What something is done to.
struct Thing<'a> {
    kind: &'a str,
    physical_id: &'a str,
    properties: &'a Value,
}

fn check_thing(place: &Place<'_>, resource: &Thing<'_>, work: Work<'_>) -> Result<(), String> {
    let Some(caller) = &place.caller else { return Ok(()) };
    let stack_tags = stack_tags(place);
    // The administrator may do everything that no bucket's policy denies.
    let can_be_denied =
        |action: &str| action.starts_with("s3:") || caller.principal != Principal::Administrator;
    for rule in RULES.iter().filter(|rule| rule.applies(resource, work, &stack_tags)) {
        for resource_arn in rule.resources.iter().flat_map(|r| arns(place.cloud, r, resource)) {
            for action in rule.actions.iter().filter(|action| can_be_denied(action)) {
                let caller = caller.anew();
                let allowed = place.cloud.authorize(&caller, action, &resource_arn, &[]);
                allowed.map_err(|error| {
                    note_action(place.cloud, &caller, action, Some(&error));
                    let denial = Denial { resource, action, arn: &resource_arn };
                    denial.told(&error.message, is_there(&stack_tags))
                })?;
            }
        }
    }
    Ok(())
}

/// Who ordered the operation under way, as services see it that CloudFormation calls.
pub fn caller(cloud: &Cloud, stack_id: &str) -> Option<Caller> {
    let stack = cloud.services.cloudformation.stacks.get(stack_id)?;
    stack.operation.caller.as_ref().map(|caller| caller.via(SERVICE))
}

/// The ARNs that a pattern of the table stands for.
fn arns(cloud: &Cloud, pattern: &str, resource: &Thing<'_>) -> Vec<String> {
    let config = &cloud.config;
    let mut found = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        let values = values(name, resource);
        let extended =
            found.iter().flat_map(|f| values.iter().map(move |v| format!("{f}{before}{v}")));
        found = extended.collect();
        rest = after;
    }
    let complete = |text: String| {
        let text = text + rest;
        if text == "*" || text.starts_with("arn:") {
            return text;
        }
        let mut parts = text.splitn(4, ':');
        let mut part = || parts.next().unwrap_or_default();
        let (service, region, account, name) = (part(), part(), part(), part());
        let region = if region == "R" { config.region.as_str() } else { region };
        let account = if account == "A" { config.account.as_str() } else { account };
        format!("arn:aws:{service}:{region}:{account}:{name}")
    };
    found.into_iter().map(complete).collect()
}

/// What a name of a pattern stands for; nothing for a property that is not there.
fn values(name: &str, resource: &Thing<'_>) -> Vec<String> {
    if name == "id" {
        return vec![resource.physical_id.to_owned()];
    }
    let value = name.split('/').fold(resource.properties, |value, name| &value[name]);
    match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Value::String(text) => vec![text.clone()],
        _ => vec![],
    }
}

/// What was denied.
struct Denial<'a> {
    resource: &'a Thing<'a>,
    action: &'a str,
    arn: &'a str,
}

impl Denial<'_> {
    /// In the words of resource events; `words` are those of the service that was asked.
    fn told(&self, words: &str, stack_has_tags: bool) -> String {
        let Self { resource, action, arn } = self;
        let (asked, operation) = action.split_once(':').unwrap_or((action, ""));
        let own = match resource.kind {
            "AWS::Lambda::Function" if asked != "lambda" => "lambda",
            _ => asked,
        };
        let words = match (own, asked) {
            ("lambda", "s3" | "ec2") => on_behalf_of_lambda(asked, operation, resource),
            // These two do not name the resource by its ARN.
            ("iam", _) if operation != "CreateRole" && operation != "CreateInstanceProfile" => {
                let (kind, name) =
                    arn.rsplit(':').next().unwrap_or(arn).split_once('/').unwrap_or(("role", arn));
                words.replace(arn, &format!("{} {name}", kind.replace('-', " ")))
            }
            ("sns", _) => words.replace(action, &format!("SNS:{operation}")),
            ("ec2", _) => format!("You are not authorized to perform this operation. {words}"),
            _ => words.to_owned(),
        };
        let said = format!("{words} {}", ending(own));
        let tagged = is_there(&resource.properties["Tags"]) || stack_has_tags;
        let about_tags = operation.contains("Tag") && own != "sns";
        if about_tags || (operation == "CreateRole" && tagged) {
            return handler(&unauthorized_tagging(&said), "UnauthorizedTaggingOperation");
        }
        handler(&said, "AccessDenied")
    }
}

fn unauthorized_tagging(said: &str) -> String {
    format!(
        "Encountered a permissions error performing a tagging operation, please add required tag \
         permissions. See https://repost.aws/knowledge-center/cloudformation-tagging-permission-\
         error for how to resolve. Resource handler returned message: \"{said}\""
    )
}

/// What Lambda says when it may not do something elsewhere in the caller's name.
fn on_behalf_of_lambda(service: &str, operation: &str, resource: &Thing<'_>) -> String {
    let text = |path: &[&str]| {
        let value = path.iter().fold(resource.properties, |value, name| &value[*name]);
        value.as_str().or_else(|| value[0].as_str()).unwrap_or_default().to_owned()
    };
    let (name, on, code, words) = match service {
        "s3" => (
            "S3",
            format!("{}/{}", text(&["Code", "S3Bucket"]), text(&["Code", "S3Key"])),
            "AccessDenied",
            "Access Denied",
        ),
        _ => (
            "EC2",
            match operation {
                "DescribeSubnets" => text(&["VpcConfig", "SubnetIds"]),
                _ => text(&["VpcConfig", "SecurityGroupIds"]),
            },
            "UnauthorizedOperation",
            "You are not authorized to perform this operation.",
        ),
    };
    format!(
        "Your access has been denied by {name}, please make sure your request credentials have \
         permission to {operation} for {on}. {name} Error Code: {code}. {name} Error Message: \
         {words}"
    )
}

#[cfg(test)]
pub mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::kernel::{resource, schema};

    #[test]
    fn every_action_is_one_that_aws_publishes_for_the_handler() {
        for rule in RULES.iter() {
            for letter in rule.operations.chars() {
                let handlers: &[&str] = match letter {
                    'c' => &["create"],
                    'u' => &["update"],
                    'd' => &["delete"],
                    'm' => &["create", "read", "update", "delete", "tagging"],
                    other => panic!("{other} of {rule:?}"),
                };
                let mut published = BTreeSet::new();
                handlers.iter().for_each(|h| published.extend(schema::handled(rule.kind, h)));
                for action in &rule.actions {
                    assert!(published.contains(action), "{letter} {action} of {}", rule.kind);
                }
            }
            for property in &rule.properties {
                assert!(schema::has_property(rule.kind, property), "{property} of {rule:?}");
            }
        }
    }

    /// Whether the handler of a type works on records itself, instead of calling operations.
    pub fn is_in_table(kind: &str) -> bool {
        RULES.iter().any(|rule| rule.kind == kind)
    }

    #[test]
    fn every_type_is_made_and_deleted_with_some_right() {
        for kind in resource::all() {
            let has = |letter: char| {
                RULES.iter().any(|r| r.kind == kind.name && r.operations.contains(letter))
            };
            // Handlers that call operations are judged by these.
            assert_eq!(has('c'), has('d'), "{}", kind.name);
        }
    }
}
