//! STS: who one is, and sessions of roles for clients.
//!
//! `AssumeRole` evaluates the role's trust policy and the caller's permissions. Session policies,
//! session tags, source identities and multi-factor devices are refused by name.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::iam::decision::{self, Limits, Request};
use crate::kernel::iam::document::{Kind, Policy};
use crate::kernel::iam::{Conditions, check_policy, denial, document_size, stored, unknown_key};
use crate::kernel::identity::{Caller, Principal};
use crate::kernel::service::{Call, Service};
use crate::services::iam::Role;
use crate::{model, op};

/// No records.
pub type State = super::Nothing;

/// Seconds of the shortest and the longest session.
const SESSION_SECS: std::ops::RangeInclusive<u32> = 900..=43_200;
/// Seconds of a session that a session takes on.
const CHAINED_SECS_MAX: u32 = 3_600;
/// Bytes of the policy of a session.
const SESSION_POLICY_BYTES_MAX: usize = 2_048;

/// API of STS.
pub static SERVICE: Service = Service {
    invalid: "ValidationError",
    ..Service::new(
        "sts",
        model!("sts"),
        &[
            op!(GetCallerIdentity() => caller_identity),
            op!(AssumeRole(RoleArn, RoleSessionName, DurationSeconds, ExternalId, Policy)
            => assume_role),
        ],
    )
};

/// No permission is needed, and none can be denied.
fn caller_identity(call: &Call<'_>) -> ApiResult {
    let account = &call.cloud.config.account;
    let caller = call.caller;
    Ok(json!({ "UserId": caller.user_id(), "Account": account, "Arn": caller.arn }))
}

fn assume_role(call: &Call<'_>) -> ApiResult {
    let Call { cloud, caller, params, .. } = *call;
    let role_arn = call.required("RoleArn")?;
    let session = call.required("RoleSessionName")?;
    check_name("roleSessionName", session, 2..=64)?;
    let asked = duration(params)?;
    let mut conditions = vec![("sts:RoleSessionName", session.to_owned())];
    if let Some(external) = params["ExternalId"].as_str() {
        conditions.push(("sts:ExternalId", external.to_owned()));
    }
    let (name, role) = permitted(cloud, caller, role_arn, &conditions)?;
    let secs = asked.unwrap_or_else(|| role.session_secs_max.min(CHAINED_SECS_MAX));
    if secs > role.session_secs_max {
        return Err(ApiError::validation(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    let chained = matches!(caller.principal, Principal::Role { .. });
    if chained && secs > CHAINED_SECS_MAX {
        return Err(ApiError::validation(
            "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by \
             role chaining",
        ));
    }
    let mut assumed = cloud.identities.role(&name, &role.id, session);
    assumed.session_policy = params["Policy"].as_str().map(session_policy).transpose()?;
    let about = json!({ "AssumedRoleId": assumed.user_id(), "Arn": assumed.arn });
    let duration = SignedDuration::from_secs(i64::from(secs));
    let credentials = cloud.identities.assumed_session(assumed, duration)?;
    Ok(json!({
        "Credentials": {
            "AccessKeyId": credentials.access_key_id,
            "SecretAccessKey": credentials.secret_access_key,
            "SessionToken": credentials.session_token,
            "Expiration": credentials.expires.map(iso),
        },
        "AssumedRoleUser": about,
    }))
}

/// A policy that narrows a session.
fn session_policy(text: &str) -> ApiResult {
    let malformed = |words: String| ApiError::new("MalformedPolicyDocument", words);
    let policy = serde_json::from_str(text)
        .map_err(|_| malformed("This policy contains invalid Json".to_owned()))?;
    check_policy(&policy).map_err(malformed)?;
    if document_size(&policy) > SESSION_POLICY_BYTES_MAX {
        let words = "Packed policy consumes more than 100% of allotted space, please use smaller \
                     policy.";
        return Err(ApiError::new("PackedPolicyTooLarge", words));
    }
    Ok(policy)
}

/// The role, when its trust policy and the caller's permissions let the caller take it on. Whether
/// the role exists is nobody's business who may not.
fn permitted(
    cloud: &Cloud,
    caller: &Caller,
    role_arn: &str,
    conditions: &Conditions,
) -> ApiResult<(String, std::sync::Arc<Role>)> {
    const ACTION: &str = "sts:AssumeRole";
    let prefix = cloud.config.global_arn("iam", "role/");
    let found = role_arn
        .strip_prefix(&prefix)
        .and_then(|name| Some((name.to_owned(), cloud.services.iam.roles.get(name)?)));
    let trust = match &found {
        Some((_, role)) => Some(stored(&role.trust, Kind::Trust)?),
        None if role_arn.starts_with("arn:aws:iam::") && role_arn.contains(":role/") => None,
        None => return Err(ApiError::validation(format!("{role_arn} is invalid"))),
    };
    let subject = cloud.subject(caller);
    let context = cloud.context(caller, ACTION, role_arn, conditions)?;
    let request =
        Request { subject: &subject, action: ACTION, resource: role_arn, context: &context };
    let nobody = Policy { variables: false, statements: vec![] };
    let identity = cloud.identity_policies(caller)?;
    let (boundary, session) = cloud.limits_of(caller)?;
    let limits = Limits { boundary: boundary.as_ref(), session: session.as_ref() };
    let decision =
        decision::decide_trust(&identity, limits, trust.as_ref().unwrap_or(&nobody), &request)
            .map_err(|unknown| unknown_key(&unknown, ACTION, role_arn))?;
    cloud.record(caller, ACTION, role_arn, &decision)?;
    match found {
        Some(found) if decision.allowed() => Ok(found),
        _ => {
            let full = denial(caller, ACTION, role_arn, &decision).message;
            // STS does not say which of the two policies does not allow it.
            let message = full.split(" because ").next().unwrap_or(&full).to_owned();
            Err(ApiError::new("AccessDenied", message).with_status(403))
        }
    }
}

fn duration(params: &Value) -> ApiResult<Option<u32>> {
    let secs = match &params["DurationSeconds"] {
        Value::Null => return Ok(None),
        Value::String(text) => text.parse::<i64>().ok(),
        other => other.as_i64(),
    };
    let secs = secs.ok_or_else(|| {
        ApiError::new("MalformedInput", "DurationSeconds is not a number of seconds")
    })?;
    match u32::try_from(secs) {
        Ok(secs) if SESSION_SECS.contains(&secs) => Ok(Some(secs)),
        _ => {
            let bound = if secs < i64::from(*SESSION_SECS.start()) {
                format!("greater than or equal to {}", SESSION_SECS.start())
            } else {
                format!("less than or equal to {}", SESSION_SECS.end())
            };
            Err(ApiError::validation(format!(
                "1 validation error detected: Value '{secs}' at 'durationSeconds' failed to \
                 satisfy constraint: Member must have value {bound}"
            )))
        }
    }
}

/// Names of IAM and STS: `[\w+=,.@-]*` of a certain length.
pub fn check_name(
    member: &str,
    name: &str,
    length: std::ops::RangeInclusive<usize>,
) -> ApiResult<()> {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
    let constraint = if name.len() < *length.start() {
        format!("Member must have length greater than or equal to {}", length.start())
    } else if name.len() > *length.end() {
        format!("Member must have length less than or equal to {}", length.end())
    } else if !name.bytes().all(letter) {
        "Member must satisfy regular expression pattern: [\\w+=,.@-]+".to_owned()
    } else {
        return Ok(());
    };
    Err(ApiError::validation(format!(
        "1 validation error detected: Value '{name}' at '{member}' failed to satisfy constraint: \
         {constraint}"
    )))
}
