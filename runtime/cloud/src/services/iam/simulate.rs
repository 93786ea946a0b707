//! `SimulatePrincipalPolicy` and `SimulateCustomPolicy`: what policies would decide.
//!
//! Differences from AWS: positions within a statement's text are not told; a matched statement is
//! named by its `Sid`.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_testing-policies.html>

use serde_json::{Value, json};

use super::bearers;
use super::document;
use super::records::{Group, Role, User};
use crate::kernel::cloud::Cloud;
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam::context::Context;
use crate::kernel::iam::decision::{self, Decision, Limits, Reason, Request, Subject};
use crate::kernel::iam::document::{Kind, Policy};
use crate::kernel::iam::stored;
use crate::kernel::service::Call;

/// Keys that one evaluation may ask for without knowing them.
const MISSING_MAX: usize = 50;

/// The policies that decide.
struct Policies {
    identity: Vec<Policy>,
    boundary: Option<Policy>,
    resource: Option<Policy>,
}

fn parsed(text: &str, kind: Kind<'_>) -> ApiResult<Policy> {
    Policy::parse(&document(text)?, kind)
        .map_err(|error| ApiError::new("InvalidInput", error.to_string()))
}

fn texts<'a>(params: &'a Value, member: &str) -> impl Iterator<Item = &'a str> {
    params[member].as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn given(params: &Value) -> ApiResult<Policies> {
    let identity = texts(params, "PolicyInputList").map(|text| parsed(text, Kind::Identity));
    let boundary = texts(params, "PermissionsBoundaryPolicyInputList").next();
    let resource = params["ResourcePolicy"].as_str();
    Ok(Policies {
        identity: identity.collect::<ApiResult<_>>()?,
        boundary: boundary.map(|text| parsed(text, Kind::Identity)).transpose()?,
        resource: resource.map(|text| parsed(text, Kind::Resource)).transpose()?,
    })
}

/// `SimulateCustomPolicy`.
pub fn custom(call: &Call<'_>) -> ApiResult {
    call.authorize("*")?;
    let caller = call.text("CallerArn").unwrap_or(&call.caller.arn);
    evaluated(call, &given(call.params)?, caller)
}

/// `SimulatePrincipalPolicy`.
pub fn principal(call: &Call<'_>) -> ApiResult {
    let source = call.required("PolicySourceArn")?;
    call.authorize(source)?;
    let mut policies = given(call.params)?;
    let own = own(call, source)?;
    policies.identity.extend(own.identity);
    policies.boundary = policies.boundary.or(own.boundary);
    let caller = match (call.text("CallerArn"), source.contains(":group/")) {
        (Some(caller), _) => caller,
        (None, false) => source,
        (None, true) => &call.caller.arn,
    };
    evaluated(call, &policies, caller)
}

/// The policies that a role, a user or a group has by itself: of a user those of its groups, too.
fn own(call: &Call<'_>, source: &str) -> ApiResult<Policies> {
    let cloud = call.cloud;
    let named = source.strip_prefix(&cloud.config.global_arn("iam", ""));
    let (identity, boundary) = match named.and_then(|name| name.split_once('/')) {
        Some(("role", name)) => {
            let role = bearers::find::<Role>(cloud, name)?;
            (cloud.policies_of(&role.policies, &role.attached)?, role.boundary)
        }
        Some(("user", name)) if source != cloud.identities.administrator().arn => {
            let user = bearers::find::<User>(cloud, name)?;
            (cloud.user_policies(&user)?, user.boundary)
        }
        Some(("group", name)) => {
            let group = bearers::find::<Group>(cloud, name)?;
            (cloud.policies_of(&group.policies, &group.attached)?, None)
        }
        _ => {
            let what = "PolicySourceArn of anything but a role, a user or a group";
            return Err(ApiError::unknown_parameter(what, "iam:SimulatePrincipalPolicy"));
        }
    };
    let boundary = boundary.as_deref().map(|arn| managed(cloud, arn)).transpose()?;
    Ok(Policies { identity, boundary, resource: None })
}

fn managed(cloud: &Cloud, arn: &str) -> ApiResult<Policy> {
    let policy = super::policies::attachable(cloud, arn)?;
    stored(policy.document(), Kind::Identity)
}

fn evaluated(call: &Call<'_>, policies: &Policies, caller: &str) -> ApiResult {
    let account = &call.cloud.config.account;
    let subject = match caller.split_once(":role/") {
        Some(_) => Subject::Session {
            arn: caller.to_owned(),
            role_arn: caller.to_owned(),
            account: account.clone(),
        },
        None => Subject::User { arn: caller.to_owned(), account: account.clone() },
    };
    let mut context = Context::default();
    context.add("aws:PrincipalArn", caller);
    context.add("aws:PrincipalAccount", account);
    for entry in call.params["ContextEntries"].as_array().into_iter().flatten() {
        for value in texts(entry, "ContextKeyValues") {
            context.add(entry["ContextKeyName"].as_str().unwrap_or_default(), value);
        }
    }
    let resources: Vec<&str> = texts(call.params, "ResourceArns").collect();
    let resources = if resources.is_empty() { vec!["*"] } else { resources };
    let mut results = Vec::new();
    for action in texts(call.params, "ActionNames") {
        for resource in &resources {
            let (decision, missing) =
                decide(policies, &subject, action, resource, context.clone())?;
            results.push(described(action, resource, &decision, &missing));
        }
    }
    Ok(json!({ "EvaluationResults": results, "IsTruncated": false }))
}

/// Decides; what the context does not say is told, and counts as absent.
fn decide(
    policies: &Policies,
    subject: &Subject,
    action: &str,
    resource: &str,
    mut context: Context,
) -> ApiResult<(Decision, Vec<String>)> {
    let mut missing = Vec::new();
    loop {
        let request = Request { subject, action, resource, context: &context };
        let limits = Limits { boundary: policies.boundary.as_ref(), session: None };
        let own = policies.resource.as_ref();
        match decision::decide(&policies.identity, limits, own, &request) {
            Ok(decision) => return Ok((decision, missing)),
            Err(unknown) if missing.len() < MISSING_MAX => {
                context.add_absent(&unknown.0);
                missing.push(unknown.0);
            }
            Err(unknown) => return Err(ApiError::internal(unknown)),
        }
    }
}

fn described(action: &str, resource: &str, decision: &Decision, missing: &[String]) -> Value {
    let word = match decision.reason {
        Reason::Allowed => "allowed",
        Reason::DeniedByIdentity
        | Reason::DeniedByResource
        | Reason::DeniedByBoundary
        | Reason::DeniedBySession => "explicitDeny",
        Reason::NotAllowed | Reason::OutOfBoundary | Reason::OutOfSession => "implicitDeny",
    };
    let statements = decision.statements.iter().map(|sid| json!({ "SourcePolicyId": sid }));
    let mut result = json!({
        "EvalActionName": action, "EvalResourceName": resource, "EvalDecision": word,
        "MatchedStatements": statements.collect::<Vec<_>>(), "MissingContextValues": missing,
    });
    if matches!(decision.reason, Reason::DeniedByBoundary | Reason::OutOfBoundary) {
        result["PermissionsBoundaryDecisionDetail"] =
            json!({ "AllowedByPermissionsBoundary": false });
    }
    result
}
