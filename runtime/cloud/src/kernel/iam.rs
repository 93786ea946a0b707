//! Who may do what: every call is evaluated against the policies that apply to it, and remembered.
//!
//! Evaluated are the policies of roles, of users and of their groups, whether inline, managed or
//! AWS's own, boundaries, policies of sessions and resources, and trust policies, by [`decision`];
//! [`context`] lists the condition keys, [`document`] what is refused when it is stored.
//! Differences from AWS: there are no organisations, and paths of roles and users are refused. A
//! principal in a policy stays a name: AWS replaces the ARN of a role or user by its ID when the
//! policy is stored, so that one made anew is not the old one. Names of services are not looked up.
//!
//! What a role or user called and whether it was allowed is in `audit.ndjson` before the call goes
//! on. A call that cannot be written there, because the disk is full, is refused.

mod audit;
mod bucket_policy;
mod condition;
pub mod context;
pub mod decision;
pub mod document;
mod holder;
mod pattern;
#[cfg(test)]
mod tests;

use serde_json::Value;

pub use self::audit::Audit;
pub use self::bucket_policy::BUCKET_POLICY_BYTES_MAX;

use self::context::Context;
use self::decision::{Decision, Limits, Reason, Request, Subject};
use self::document::{Kind, Policy, TRUST_BYTES_MAX};
use crate::kernel::cloud::{Cloud, iso};
use crate::kernel::error::{ApiError, ApiResult};
use crate::kernel::identity::{Caller, Principal};

/// More about a request that conditions may ask for.
pub type Conditions = [(&'static str, String)];

impl Cloud {
    /// Whether `caller` may do `action` on `resource` (an ARN, or `*` when the action knows none);
    /// the error has AWS's words. The decision is written to the audit log.
    pub fn authorize(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        conditions: &Conditions,
    ) -> ApiResult<()> {
        let decision = self.decide(caller, action, resource, conditions)?;
        self.record(caller, action, resource, &decision)?;
        match decision.allowed() {
            true => Ok(()),
            // Nobody learns why somebody else's bucket is closed.
            false if self.owner_of(resource).is_some() => {
                Err(ApiError::new("AccessDeniedException", "Access Denied").with_status(403))
            }
            false => Err(denial(caller, action, resource, &decision)),
        }
    }

    /// The same question asked only to choose between two answers (S3 tells whether a key is
    /// missing only to those who may list the bucket): nothing is audited.
    pub fn allows(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        conditions: &Conditions,
    ) -> ApiResult<bool> {
        Ok(self.decide(caller, action, resource, conditions)?.allowed())
    }

    /// Whether `caller` may give `role_arn` to `service` (`lambda.amazonaws.com`), as it must when
    /// it makes something that will use the role.
    pub fn pass_role(&self, caller: &Caller, role_arn: &str, service: &str) -> ApiResult<()> {
        let conditions = [("iam:PassedToService", service.to_owned())];
        self.authorize(caller, "iam:PassRole", role_arn, &conditions)
    }

    /// The role as `service` takes it on for `session`; an error when the role does not trust it.
    pub fn assume(&self, role_arn: &str, service: &str, session: &str) -> Result<Caller, String> {
        self.assume_for(role_arn, service, session, None)
    }

    /// The same for a resource that the service names in `aws:SourceArn`.
    pub fn assume_for(
        &self,
        role_arn: &str,
        service: &str,
        session: &str,
        source_arn: Option<&str>,
    ) -> Result<Caller, String> {
        let name = role_arn.rsplit('/').next().unwrap_or(role_arn);
        let role = self
            .services
            .iam
            .roles
            .get(name)
            .ok_or_else(|| format!("the role `{role_arn}` does not exist"))?;
        let trust = Policy::parse(&role.trust, Kind::Trust)
            .map_err(|e| format!("the trust policy of the role `{name}` is malformed: {e}"))?;
        let mut context = self.surroundings("sts:AssumeRole");
        self.add_service(&mut context, service, source_arn);
        context.add("aws:ResourceAccount", &self.config.account);
        let arn = self.config.global_arn("iam", &format!("role/{name}"));
        let request = Request {
            subject: &Subject::Service(service.to_owned()),
            action: "sts:AssumeRole",
            resource: &arn,
            context: &context,
        };
        let decision = decision::decide_trust(&[], Limits::default(), &trust, &request)
            .map_err(|e| e.to_string())?;
        if !decision.allowed() {
            return Err(format!(
                "the role `{name}` cannot be assumed by {service}: its trust policy does not allow \
                 it"
            ));
        }
        Ok(self.identities.role(name, &role.id, session))
    }

    fn decide(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        conditions: &Conditions,
    ) -> ApiResult<Decision> {
        let (own, owner) = (self.resource_policy(resource)?, self.owner_of(resource));
        if caller.principal == Principal::Administrator && own.is_none() && owner.is_none() {
            // Nothing but the one statement that allows everything has a say: most calls by far.
            return Ok(Decision::administrator());
        }
        let subject = self.subject(caller);
        let context = self.context(caller, action, resource, conditions)?;
        let request = Request { subject: &subject, action, resource, context: &context };
        let identity = self.identity_policies(caller)?;
        let (boundary, session) = self.limits_of(caller)?;
        let limits = Limits { boundary: boundary.as_ref(), session: session.as_ref() };
        let decided = match (owner, own.as_ref()) {
            (Some(_), own) => decision::decide_across(&identity, limits, own, &request),
            // Policies of roles count for a key only when its own policy lets them.
            (None, Some(own)) if action.starts_with("kms:") => {
                decision::decide_trust(&identity, limits, own, &request)
            }
            (None, own) => decision::decide(&identity, limits, own, &request),
        };
        decided.map_err(|unknown| unknown_key(&unknown, action, resource))
    }

    /// Whether `caller` may do `action` on a key that had this policy.
    pub fn would_allow_key(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        policy: &Value,
    ) -> ApiResult<bool> {
        let (subject, own) = (self.subject(caller), stored(policy, Kind::Resource)?);
        let context = self.context(caller, action, resource, &[])?;
        let request = Request { subject: &subject, action, resource, context: &context };
        let identity = self.identity_policies(caller)?;
        let (boundary, session) = self.limits_of(caller)?;
        let limits = Limits { boundary: boundary.as_ref(), session: session.as_ref() };
        let decided = decision::decide_trust(&identity, limits, &own, &request);
        let decided = decided.map_err(|unknown| unknown_key(&unknown, action, resource))?;
        Ok(decided.allowed())
    }

    /// The policy of a resource, which its service has.
    fn resource_policy(&self, resource: &str) -> ApiResult<Option<Policy>> {
        if let Some(bucket) = bucket_of(resource) {
            let policy = self.services.s3.policy(bucket);
            return policy.map(|policy| stored(&policy, Kind::Bucket(bucket))).transpose();
        }
        let prefix = resource.split(':').nth(2).unwrap_or_default();
        let service = crate::services::all().find(|service| service.prefix == prefix);
        let policy = service.and_then(|service| (service.policy)(self, resource));
        policy.map(|policy| stored(&policy, Kind::Resource)).transpose()
    }

    /// The other account that a bucket and its objects belong to.
    fn owner_of(&self, resource: &str) -> Option<String> {
        self.services.s3.get(bucket_of(resource)?).ok()?.owner.clone()
    }

    /// Notes what a call is about, and writes what a session was allowed or denied.
    pub fn record(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        decision: &Decision,
    ) -> ApiResult<()> {
        caller.origin.touched.add(resource);
        if caller.principal == Principal::Administrator {
            return Ok(());
        }
        let entry = audit::Entry {
            caller: &caller.arn,
            action,
            resource,
            allowed: decision.allowed(),
            statements: &decision.statements,
        };
        self.audit.write(&entry).map_err(|e| {
            ApiError::internal(format!("the call cannot be written to the audit log: {e}"))
        })
    }

    /// Keys that every request has.
    fn surroundings(&self, action: &str) -> Context {
        let mut context = Context::default();
        let now = jiff::Timestamp::now();
        context.add("aws:CurrentTime", iso(now));
        context.add("aws:EpochTime", now.as_second().to_string());
        // The transport never leaves this machine, which is what the condition is meant to ensure.
        context.add("aws:SecureTransport", "true");
        let global = action.starts_with("iam:");
        context.add(
            "aws:RequestedRegion",
            if global { "us-east-1" } else { self.config.region.as_str() },
        );
        context
    }

    /// What conditions may ask of a request.
    pub fn context(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        conditions: &Conditions,
    ) -> ApiResult<Context> {
        let mut context = self.surroundings(action);
        self.add_principal(&mut context, caller)?;
        let named = resource.split(':').nth(4).filter(|account| !account.is_empty());
        let owner = self.owner_of(resource);
        let account = named.or(owner.as_deref()).unwrap_or(&self.config.account);
        context.add("aws:ResourceAccount", account);
        let origin = &caller.origin;
        context.add_some("aws:SourceIp", origin.source_ip.map(|ip| ip.to_string()));
        context.add_some("aws:UserAgent", origin.user_agent.as_deref());
        context.add("aws:ViaAWSService", origin.called_via.is_some().to_string());
        for key in ["aws:CalledVia", "aws:CalledViaFirst", "aws:CalledViaLast"] {
            context.add_some(key, origin.called_via.as_deref());
        }
        context.add_some("lambda:SourceFunctionArn", caller.source_function.as_deref());
        if action.starts_with("s3:") {
            context.add("s3:ResourceAccount", account);
            context.add("s3:signatureversion", "AWS4-HMAC-SHA256");
        }
        for (key, value) in conditions {
            context.add(key, value);
        }
        Ok(context)
    }

    fn add_service(&self, context: &mut Context, name: &str, source_arn: Option<&str>) {
        context.add("aws:PrincipalIsAWSService", "true");
        context.add("aws:PrincipalServiceName", name);
        context.add("aws:SourceAccount", &self.config.account);
        context.add_some("aws:SourceArn", source_arn);
    }
}

/// The bucket that an ARN of S3 names.
fn bucket_of(resource: &str) -> Option<&str> {
    resource.strip_prefix("arn:aws:s3:::").map(|r| r.split('/').next().unwrap_or(r))
}

/// A policy that was checked when it was stored.
pub fn stored(document: &Value, kind: Kind<'_>) -> ApiResult<Policy> {
    Policy::parse(document, kind)
        .map_err(|e| ApiError::internal(format!("a stored policy is malformed: {e}")))
}

/// A policy asks for a key that there is not.
pub fn unknown_key(unknown: &decision::Unknown, action: &str, resource: &str) -> ApiError {
    let message = format!(
        "The embedded cloud does not implement the condition key {}, which a policy asks for that \
         decides about {action} on {resource}.",
        unknown.0
    );
    ApiError::new("NotImplemented", message).with_status(501)
}

/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html>
pub fn denial(caller: &Caller, action: &str, resource: &str, decision: &Decision) -> ApiError {
    let quote = if action.starts_with("s3:") { "\"" } else { "" };
    let why = match decision.reason {
        Reason::DeniedByIdentity => "with an explicit deny in an identity-based policy".to_owned(),
        Reason::DeniedByResource => "with an explicit deny in a resource-based policy".to_owned(),
        Reason::DeniedByBoundary => "with an explicit deny in a permissions boundary".to_owned(),
        Reason::DeniedBySession => "with an explicit deny in a session policy".to_owned(),
        Reason::OutOfBoundary => {
            format!("because no permissions boundary allows the {action} action")
        }
        Reason::OutOfSession => format!("because no session policy allows the {action} action"),
        Reason::NotAllowed | Reason::Allowed => {
            format!("because no identity-based policy allows the {action} action")
        }
    };
    let message = format!(
        "User: {} is not authorized to perform: {action} on resource: \
         {quote}{resource}{quote} {why}",
        caller.arn
    );
    ApiError::new("AccessDeniedException", message).with_status(403)
}

/// Checks a role's permissions before they are stored; the error is AWS's message.
pub fn check_policy(document: &Value) -> Result<(), String> {
    Policy::parse(document, Kind::Identity).map(|_| ()).map_err(|e| e.to_string())
}

/// Checks the policy of an endpoint before it is stored. It filters nothing here, because nothing
/// of a network does.
pub fn check_endpoint_policy(document: &Value) -> Result<(), String> {
    Policy::parse(document, Kind::Endpoint).map(|_| ()).map_err(|e| e.to_string())
}

/// Checks the policy of a queue, a topic, a function or a key before it is stored.
pub fn check_resource_policy(cloud: &Cloud, document: &Value) -> Result<(), String> {
    let policy = Policy::parse(document, Kind::Resource).map_err(|e| e.to_string())?;
    match stranger(cloud, &policy) {
        Some(arn) => Err(format!("Invalid principal in policy: \"AWS\":\"{arn}\"")),
        None => Ok(()),
    }
}

/// Bytes of a document that count against quotas.
pub fn document_size(document: &Value) -> usize {
    document::size(document)
}

/// Whether a pattern with `*` and `?` matches a text.
pub fn wildcards_match(pattern: &str, text: &str) -> bool {
    pattern::Pattern::wildcards(pattern).matches(text)
}

/// Checks all inline policies of a role, user or group together, which may have `bytes_max`;
/// `holder` is what it is and its name.
pub fn check_inline_size(
    holder: &str,
    policies: &[(String, Value)],
    bytes_max: usize,
) -> Result<(), String> {
    let bytes: usize = policies.iter().map(|(_, document)| document::size(document)).sum();
    if bytes > bytes_max {
        return Err(format!("Maximum policy size of {bytes_max} bytes exceeded for {holder}"));
    }
    Ok(())
}

/// Checks the policy of `bucket` before it is stored; the error is S3's message.
pub fn check_bucket_policy(cloud: &Cloud, bucket: &str, document: &Value) -> Result<(), String> {
    if document.to_string().len() > BUCKET_POLICY_BYTES_MAX {
        return Err("Policy exceeds the maximum allowed document size.".to_owned());
    }
    let policy = Policy::parse(document, Kind::Bucket(bucket)).map_err(|e| e.to_string())?;
    match stranger(cloud, &policy) {
        Some(_) => Err("Invalid principal in policy".to_owned()),
        None => Ok(()),
    }
}

/// Whether a document is a trust policy, whoever is in it.
pub fn parses_trust(document: &Value) -> bool {
    Policy::parse(document, Kind::Trust).is_ok()
}

/// Checks a trust policy before it is stored; the error is AWS's message.
pub fn check_trust(cloud: &Cloud, document: &Value) -> Result<(), String> {
    if document::size(document) > TRUST_BYTES_MAX {
        return Err(format!("Cannot exceed quota for ACLSizePerRole: {TRUST_BYTES_MAX}"));
    }
    let policy = Policy::parse(document, Kind::Trust).map_err(|e| e.to_string())?;
    match stranger(cloud, &policy) {
        Some(arn) => Err(format!("Invalid principal in policy: \"AWS\":\"{arn}\"")),
        None => Ok(()),
    }
}

/// A user or role of this account that a policy names and that does not exist.
fn stranger(cloud: &Cloud, policy: &Policy) -> Option<String> {
    use self::document::{Named, Principals};
    let own = cloud.config.global_arn("iam", "");
    let missing = |named: &Named| {
        let Named::Aws(arn) = named else { return None };
        let name = arn.strip_prefix(&own)?;
        let exists = match name.split_once('/') {
            Some(("role", role)) => cloud.services.iam.roles.contains(role),
            Some(("user", user)) if cloud.services.iam.users.contains(user) => true,
            _ => *arn == cloud.identities.administrator().arn,
        };
        (!exists).then(|| arn.clone())
    };
    let listed = policy.statements.iter().flat_map(|statement| match &statement.principals {
        Principals::Only(named) | Principals::Except(named) => named.as_slice(),
        Principals::Unsaid => &[],
    });
    listed.filter_map(missing).next()
}
