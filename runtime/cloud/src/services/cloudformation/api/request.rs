//! What requests bring: names, tokens, tags, templates, parameters.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::Value;

use super::views::STACKS_MAX;
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::Caller;
use crate::services::cloudformation::stacks::Entry;
use crate::services::cloudformation::template::{Account, Given, Template, parse};
use crate::services::cloudformation::{
    OnFailure, Operation, Parameters, Stack, engine, notifications, permissions,
};
use crate::services::{ec2, required, ssm};

/// Bytes of a template in the request itself, and of one in S3, as in AWS.
const BODY_BYTES_MAX: usize = 51_200;
const OBJECT_BYTES_MAX: usize = 1_048_576;
/// Tags of a stack.
const TAGS_MAX: usize = 50;

fn constraint(member: &str, value: &str, words: &str) -> ApiError {
    ApiError::validation(format!(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
         {words}"
    ))
}

/// A name of at most 128 characters that matches `pattern` as a whole.
fn check_name(member: &str, value: &str, pattern: &str) -> ApiResult<()> {
    if value.len() > 128 {
        let words = "Member must have length less than or equal to 128";
        return Err(constraint(member, value, words));
    }
    let whole = Regex::new(&format!("^(?:{pattern})$")).map_err(ApiError::internal)?;
    if whole.is_match(value) {
        return Ok(());
    }
    let words = format!("Member must satisfy regular expression pattern: {pattern}");
    Err(constraint(member, value, &words))
}

/// The name of a stack that is to be made.
pub fn stack_name(params: &Value) -> ApiResult<&str> {
    let name = required(params, "StackName")?;
    check_name("stackName", name, "[a-zA-Z][-a-zA-Z0-9]*")?;
    Ok(name)
}

/// Whether the account may have one more stack.
pub fn check_room(cloud: &Cloud) -> ApiResult<()> {
    let there = cloud.services.cloudformation.stacks.count(Entry::is_live);
    match u64::try_from(there) {
        Ok(there) if there < STACKS_MAX => Ok(()),
        _ => Err(ApiError::new("LimitExceededException", "Limit for stacks has been exceeded")),
    }
}

/// The name of a change set that is to be made.
pub fn change_set_name(params: &Value) -> ApiResult<&str> {
    let name = required(params, "ChangeSetName")?;
    check_name("changeSetName", name, "[a-zA-Z][-a-zA-Z0-9]*")?;
    Ok(name)
}

/// The client's token.
pub fn token<'a>(params: &'a Value, member: &str) -> ApiResult<Option<&'a str>> {
    let Some(token) = params[member].as_str() else { return Ok(None) };
    let mut lower = member.to_owned();
    lower[..1].make_ascii_lowercase();
    check_name(&lower, token, "[a-zA-Z0-9][-a-zA-Z0-9]*")?;
    Ok(Some(token))
}

/// Whether something is wanted.
pub fn flag(params: &Value, member: &str) -> bool {
    params[member] == true
}

/// The texts of a list.
pub fn texts(params: &Value, member: &str) -> Vec<String> {
    let items = params[member].as_array().into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The tags of the request; `None` when it says nothing about them.
pub fn tags(params: &Value) -> ApiResult<Option<Value>> {
    let tags = match &params["Tags"] {
        Value::Null => return Ok(None),
        Value::Array(tags) => tags,
        _ => return Ok(Some(Value::Array(vec![]))),
    };
    if tags.len() > TAGS_MAX {
        let words = format!("Member must have length less than or equal to {TAGS_MAX}");
        return Err(constraint("tags", "[…]", &words));
    }
    for (n, tag) in tags.iter().enumerate() {
        let (key, value) = (tag["Key"].as_str(), tag["Value"].as_str());
        let member = |name: &str| format!("tags.{}.member.{name}", n + 1);
        let (Some(key), Some(value)) = (key, value) else {
            return Err(ApiError::validation("a tag needs a Key and a Value"));
        };
        let long = |most: usize| format!("Member must have length less than or equal to {most}");
        if key.is_empty() || key.chars().count() > 128 {
            return Err(constraint(&member("key"), key, &long(128)));
        }
        if value.chars().count() > 256 {
            return Err(constraint(&member("value"), value, &long(256)));
        }
        if key.starts_with("aws:") {
            return Err(ApiError::validation("aws: prefixed tag key names are not allowed"));
        }
    }
    Ok(Some(Value::Array(tags.clone())))
}

/// The topics that the request names for events; `None` when it says nothing about them.
pub fn notifications(
    cloud: &Cloud,
    params: &Value,
    worker: &Caller,
) -> ApiResult<Option<Vec<String>>> {
    if params["NotificationARNs"].is_null() {
        return Ok(None);
    }
    let topics = texts(params, "NotificationARNs");
    notifications::check(cloud, worker, &topics)?;
    Ok(Some(topics))
}

/// What becomes of a creation that fails.
pub fn on_failure(params: &Value, member: &str) -> ApiResult<OnFailure> {
    let disable = flag(params, "DisableRollback");
    match (params[member].as_str(), disable) {
        (Some(_), true) => Err(ApiError::validation(format!(
            "Either DisableRollback or {member} can be specified, not both."
        ))),
        (None, true) | (Some("DO_NOTHING"), _) => Ok(OnFailure::DoNothing),
        (None, false) | (Some("ROLLBACK"), _) => Ok(OnFailure::Rollback),
        (Some("DELETE"), _) => Ok(OnFailure::Delete),
        (Some(other), _) => {
            let words = "Member must satisfy enum value set: [DO_NOTHING, ROLLBACK, DELETE]";
            Err(constraint("onFailure", other, words))
        }
    }
}

/// Whether the stack's last operation is the one that is asked for again with its token. A token
/// that another operation had is an error.
pub fn is_repeated(stack: &Stack, kind: &str, token: Option<&str>) -> ApiResult<bool> {
    let Operation { token: last, kind: last_kind, .. } = &stack.operation;
    match (token, last.as_deref()) {
        (Some(token), Some(last)) if token == last && kind == last_kind => Ok(true),
        (Some(token), Some(last)) if token == last => Err(ApiError::new(
            "TokenAlreadyExistsException",
            format!("A client request token already exists: {token}"),
        )),
        _ => Ok(false),
    }
}

/// The template of the request, read with the caller's rights when it lies in S3.
pub fn template_of(
    cloud: &Cloud,
    caller: &Caller,
    params: &Value,
    previous: Option<&Stack>,
) -> ApiResult<(String, Arc<Template>)> {
    let (body, url) = (params["TemplateBody"].as_str(), params["TemplateURL"].as_str());
    let text = match (body, url, flag(params, "UsePreviousTemplate")) {
        (Some(body), None, false) if body.len() <= BODY_BYTES_MAX => body.to_owned(),
        (Some(_), None, false) => {
            let words = format!("Member must have length less than or equal to {BODY_BYTES_MAX}");
            return Err(constraint("templateBody", "…", &words));
        }
        (None, Some(url), false) => fetch(cloud, caller, url)?,
        (None, None, true) => {
            let stack = previous.ok_or_else(|| {
                ApiError::validation("there is no previous template that could be used")
            })?;
            stack.template.clone()
        }
        _ => {
            return Err(ApiError::validation(
                "Either Template URL or Template Body must be specified.",
            ));
        }
    };
    let template = parse(&text).map_err(ApiError::validation)?;
    Ok((text, template))
}

/// The template at an S3 address: `https://s3.region.amazonaws.com/bucket/key`, or this cloud's own
/// form of it.
pub fn fetch(cloud: &Cloud, caller: &Caller, url: &str) -> ApiResult<String> {
    let bad = |why: &str| {
        ApiError::validation(format!(
            "S3 error: {why}\nFor more information check \
             http://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"
        ))
    };
    let no_address = || ApiError::validation("TemplateURL must be a supported URL.".to_owned());
    let parsed = url::Url::parse(url).map_err(|_| no_address())?;
    let path = crate::protocol::percent_decode(parsed.path());
    let path = path.trim_start_matches('/');
    let host = parsed.host_str().unwrap_or_default();
    let (bucket, key) = match host.split_once(".s3.").or_else(|| host.split_once(".s3-")) {
        Some((bucket, _)) => (bucket, path),
        None => path.split_once('/').ok_or_else(no_address)?,
    };
    if parsed.query().is_some() {
        return Err(bad("The embedded cloud does not implement options of a TemplateURL."));
    }
    let object = format!("arn:aws:s3:::{bucket}/{key}");
    cloud.authorize(caller, "s3:GetObject", &object, &[]).map_err(|_| bad("Access Denied"))?;
    // Checked before it is read into memory.
    let size = cloud.services.s3.head(bucket, key).map_err(|e| bad(&e.to_string()))?.size;
    if size > OBJECT_BYTES_MAX as u64 {
        return Err(ApiError::validation(format!(
            "Template may not exceed {OBJECT_BYTES_MAX} bytes in size."
        )));
    }
    let bytes = cloud.services.s3.read(bucket, key).map_err(|e| bad(&e.to_string()))?;
    String::from_utf8(bytes)
        .map_err(|_| ApiError::validation("Template format error: it is not text"))
}

impl Account for Cloud {
    fn parameter(&self, name: &str) -> Option<String> {
        ec2::newest_image(self, name).ok().flatten().map(|(image, _)| image.image)
    }

    fn has(&self, kind: &str, id: &str) -> Option<bool> {
        let kept =
            |kind: &str| self.services.ec2.network.get(id).is_some_and(|r| r["Type"] == kind);
        Some(match kind {
            "AWS::EC2::VPC::Id" => kept("AWS::EC2::VPC"),
            "AWS::EC2::Subnet::Id" => kept("AWS::EC2::Subnet"),
            "AWS::EC2::SecurityGroup::Id" => kept("AWS::EC2::SecurityGroup"),
            "AWS::EC2::Instance::Id" => self.services.ec2.instances.contains(id),
            "AWS::EC2::Image::Id" => {
                // What a fault says to be the newest image counts as released.
                let scripted = self.faults.script().parameters;
                scripted.values().any(|image| image == id)
                    || ec2::find_image(self, id).is_ok_and(|image| image.is_some())
            }
            "AWS::EC2::AvailabilityZone::Name" => {
                ec2::find_zone(self, id).is_ok_and(|zone| zone.name == id)
            }
            "AWS::SSM::Parameter::Name" => self.parameter(id).is_some(),
            _ => return None,
        })
    }
}

/// The values that the request gives the template's parameters; SSM is asked as the caller.
pub fn parameters_of(
    cloud: &Arc<Cloud>,
    caller: &Caller,
    params: &Value,
    template: &Template,
    previous: Option<&Stack>,
) -> ApiResult<Parameters> {
    let mut given = BTreeMap::new();
    for parameter in params["Parameters"].as_array().into_iter().flatten() {
        let Some(key) = parameter["ParameterKey"].as_str() else {
            return Err(ApiError::validation("a parameter needs a ParameterKey"));
        };
        if parameter.get("ResolvedValue").is_some() {
            return Err(ApiError::validation("ResolvedValue is only given in answers"));
        }
        let value =
            match (flag(parameter, "UsePreviousValue"), parameter["ParameterValue"].as_str()) {
                (true, None) => Given::Previous,
                (false, Some(value)) => Given::Value(value.to_owned()),
                (true, Some(_)) => {
                    return Err(ApiError::validation(format!(
                        "Invalid input for parameter key {key}. Cannot specify usePreviousValue as \
                     true and non empty value for a parameter"
                    )));
                }
                (false, None) => {
                    return Err(ApiError::validation(format!(
                        "Invalid input for parameter key {key}. Either UsePreviousValue or \
                     ParameterValue must be specified"
                    )));
                }
            };
        if given.insert(key.to_owned(), value).is_some() {
            return Err(ApiError::validation(format!("Duplicate parameter key {key}")));
        }
    }
    let previous = previous.map(Stack::parameters);
    let parameters =
        template.parameters(&given, previous.as_ref(), &**cloud).map_err(ApiError::validation)?;
    let all = engine::all_parameters(cloud, "", None, template.values(&parameters));
    template.check_rules(&all).map_err(ApiError::validation)?;
    let caller = caller.via(permissions::SERVICE);
    for name in parameters.resolved.keys().filter_map(|key| parameters.given.get(key)) {
        let arn = ssm::arn(cloud, name);
        cloud.authorize(&caller, "ssm:GetParameters", &arn, &[]).map_err(|denied| {
            let request = uuid::Uuid::new_v4();
            ApiError::validation(format!(
                "{} (Service: AWSSimpleSystemsManagement; Status Code: 400; Error Code: \
                 AccessDeniedException; Request ID: {request}; Proxy: null)",
                denied.message
            ))
        })?;
    }
    Ok(parameters)
}

/// Roles are only made by who says that he knows it.
pub fn check_capabilities(params: &Value, template: &Template) -> ApiResult<()> {
    let given = texts(params, "Capabilities");
    let known = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"];
    if let Some(other) = given.iter().find(|c| !known.contains(&c.as_str())) {
        let words = format!("Member must satisfy enum value set: [{}]", known.join(", "));
        return Err(constraint("capabilities", other, &words));
    }
    let has = |c: &str| given.iter().any(|g| g == c);
    let mut needed = template.capabilities().into_iter();
    match needed.find(|c| !has(c) && !has("CAPABILITY_NAMED_IAM")) {
        Some(capability) => Err(ApiError::new(
            "InsufficientCapabilitiesException",
            format!("Requires capabilities : [{capability}]"),
        )),
        None => Ok(()),
    }
}

/// Who the work on a stack is done as: the service role that the request gives or the stack has,
/// or who calls; and the role's ARN.
pub fn worker(
    cloud: &Cloud,
    caller: &Caller,
    params: &Value,
    stack: Option<&Stack>,
) -> ApiResult<(Caller, Option<String>)> {
    let given = params["RoleARN"].as_str();
    if let Some(role) = given {
        cloud.pass_role(caller, role, permissions::SERVICE)?;
    }
    let role = given.or_else(|| stack?.role.as_deref());
    match role {
        None => Ok((caller.clone(), None)),
        Some(role) => {
            let assumed = cloud.assume(role, permissions::SERVICE, "AWSCloudFormation");
            let assumed = assumed.map_err(|_| {
                ApiError::validation(format!("Role {role} is invalid or cannot be assumed"))
            })?;
            Ok((assumed, Some(role.to_owned())))
        }
    }
}

/// A page of a list, and the token of the next one.
pub fn page<T>(items: Vec<T>, params: &Value, size: usize) -> ApiResult<(Vec<T>, Value)> {
    let skip: usize = match &params["NextToken"] {
        Value::Null => 0,
        token => {
            let number = token.as_str().and_then(|t| t.parse().ok());
            number.ok_or_else(|| ApiError::validation("Invalid NextToken"))?
        }
    };
    let more = items.len() > skip.saturating_add(size);
    let next = if more { (skip + size).to_string().into() } else { Value::Null };
    Ok((items.into_iter().skip(skip).take(size).collect(), next))
}

/// Whether the last operation failed and was kept, so that an update goes on from there.
pub fn has_failed(stack: &Stack) -> bool {
    matches!(stack.status.as_str(), "CREATE_FAILED" | "UPDATE_FAILED")
}

/// Whether an update can begin, which from a failure that was kept goes on only when its own
/// failures are to be kept as well.
///
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/stack-failure-options.html>
pub fn check_updatable(stack: &Stack, id: &str, keep_failed: bool) -> ApiResult<()> {
    let status = stack.status.as_str();
    let stable =
        matches!(status, "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "UPDATE_ROLLBACK_COMPLETE");
    let words = match has_failed(stack) {
        _ if stable => return Ok(()),
        true if status == "CREATE_FAILED" && !stack.operation.keep_failed => {
            "This stack cannot be updated from [CREATE_FAILED] state because it contains \
             [on-failure: DO_NOTHING]. Please use disable-rollback option instead during stack \
             creation."
                .to_owned()
        }
        true if keep_failed => return Ok(()),
        true => format!(
            "This stack is currently in a non-terminal [{status}] state. To update the stack from \
             this state, please use the disable-rollback parameter with update-stack API. To \
             rollback to the last known good state, use the rollback-stack API"
        ),
        false => format!("Stack:{id} is in {status} state and can not be updated."),
    };
    Err(ApiError::validation(words))
}
