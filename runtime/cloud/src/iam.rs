//! Who may do what: every call is evaluated against the caller's policies, and remembered.
//!
//! Evaluated are identity policies of roles and policies of buckets. Not evaluated, because nothing
//! here has them: permission boundaries, session policies, organisation policies.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use iam_rs::{
    Arn, Context, ContextValue, Decision, IAMPolicy, IAMRequest, PolicyEvaluator,
    Principal as IamPrincipal, PrincipalId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cloud::{Cloud, iso};
use crate::error::{ApiError, ApiResult};
use crate::identity::{Caller, Principal};

/// A role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Role {
    /// Its ID: `AROA…`.
    pub id: String,
    /// Who may take it on.
    pub trust: Value,
    /// Inline policies by name.
    pub policies: Vec<(String, Value)>,
    /// Tags.
    pub tags: Value,
    /// When it was made.
    pub created: jiff::Timestamp,
}

/// Log of what roles called: `audit.ndjson`.
#[derive(Debug)]
pub struct Audit {
    file: Mutex<std::fs::File>,
}

impl Audit {
    /// Appends to `audit.ndjson` in `dir`.
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("audit.ndjson");
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { file: Mutex::new(file) })
    }

    fn write(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        allowed: bool,
        statements: &[String],
    ) {
        let line = json!({
            "time": iso(jiff::Timestamp::now()), "caller": caller.arn, "action": action, "resource": resource,
            "allowed": allowed, "statements": statements,
        });
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(file, "{line}")
            .unwrap_or_else(|e| tracing::error!("cannot write the audit log: {e}"));
    }
}

/// More about a request that conditions may ask for.
pub type Conditions = [(&'static str, String)];

impl Cloud {
    /// Whether `caller` may do `action` on `resource`; the error has AWS's words.
    pub fn authorize(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        conditions: &Conditions,
    ) -> ApiResult<()> {
        let (allowed, statements) =
            self.decide(caller, action, resource, conditions).map_err(ApiError::internal)?;
        if caller.principal != Principal::Administrator {
            self.audit.write(caller, action, resource, allowed, &statements);
        }
        if allowed {
            return Ok(());
        }
        let message = format!(
            "User: {} is not authorized to perform: {action} on resource: {resource}",
            caller.arn
        );
        Err(ApiError::new("AccessDeniedException", message).with_status(403))
    }

    /// Whether `caller` may do `action` on `resource`, where the answer only decides about words: a
    /// denial is not an event of the audit log.
    pub fn allows(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        conditions: &Conditions,
    ) -> bool {
        let decided = self.decide(caller, action, resource, conditions);
        decided.is_ok_and(|(allowed, _)| allowed)
            && self.authorize(caller, action, resource, conditions).is_ok()
    }

    /// The decision, and the statements that allowed it.
    fn decide(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        conditions: &Conditions,
    ) -> Result<(bool, Vec<String>)> {
        let request = self.request(caller, action, resource, conditions)?;
        let bucket =
            resource.strip_prefix("arn:aws:s3:::").map(|r| r.split('/').next().unwrap_or(r));
        let bucket_policy =
            bucket.and_then(|b| self.buckets.policy(b)).map(|p| parse_policy(&p)).transpose()?;
        let mut identity = match &caller.principal {
            Principal::Administrator => vec![parse_policy(&json!({
                "Version": "2012-10-17", "Statement": [{ "Sid": "Administrator", "Effect": "Allow", "Action": "*", "Resource": "*" }]
            }))?],
            Principal::Role { role, .. } => {
                let role = self
                    .roles
                    .get(role)
                    .with_context(|| format!("the role `{role}` no longer exists"))?;
                role.policies
                    .iter()
                    .map(|(_, document)| parse_policy(document))
                    .collect::<Result<_>>()?
            }
        };
        identity.extend(bucket_policy);
        let options =
            iam_rs::EvaluationOptions { collect_match_details: true, ..Default::default() };
        let result = PolicyEvaluator::with_policies(identity)
            .with_options(options)
            .evaluate(&request)
            .map_err(|e| anyhow::anyhow!("{e}"))?;
        let matched = result
            .statement_details
            .into_iter()
            .filter(|s| s.conditions_satisfied)
            .filter_map(|s| s.sid)
            .collect();
        Ok((result.decision == Decision::Allow, matched))
    }

    fn request(
        &self,
        caller: &Caller,
        action: &str,
        resource: &str,
        conditions: &Conditions,
    ) -> Result<IAMRequest> {
        let mut context = Context::new();
        // The transport never leaves this machine, which is what the condition is meant to ensure.
        context.insert("aws:SecureTransport".to_owned(), ContextValue::String("true".to_owned()));
        context.insert("aws:PrincipalArn".to_owned(), ContextValue::String(caller.arn.clone()));
        context.insert(
            "aws:SourceAccount".to_owned(),
            ContextValue::String(self.config.account.clone()),
        );
        if let Some(function) = &caller.source_function {
            context.insert(
                "lambda:SourceFunctionArn".to_owned(),
                ContextValue::String(function.clone()),
            );
        }
        for (key, value) in conditions {
            context.insert((*key).to_owned(), ContextValue::String(value.clone()));
        }
        let arn =
            Arn::parse(resource).map_err(|e| anyhow::anyhow!("`{resource}` is not an ARN: {e}"))?;
        let principal = IamPrincipal::Aws(PrincipalId::String(caller.arn.clone()));
        Ok(IAMRequest::new_with_context(principal, action, arn, context))
    }

    /// The role as `service` takes it on; an error when the role does not trust the service.
    pub fn assume(&self, role_arn: &str, service: &str, session: &str) -> Result<Caller, String> {
        let name = role_arn.rsplit('/').next().unwrap_or(role_arn);
        let role =
            self.roles.get(name).ok_or_else(|| format!("the role `{role_arn}` does not exist"))?;
        if !trusts(&role.trust, service) {
            return Err(format!(
                "the role `{name}` cannot be assumed by {service}: its trust policy does not name it"
            ));
        }
        Ok(self.identities.role(name, session))
    }
}

fn parse_policy(document: &Value) -> Result<IAMPolicy> {
    serde_json::from_value(document.clone()).with_context(|| format!("not a policy: {document}"))
}

/// Whether some statement of the trust policy allows `service`.
fn trusts(trust: &Value, service: &str) -> bool {
    let names = |v: &Value| match v {
        Value::Array(items) => items.iter().any(|i| i == service),
        other => other == service,
    };
    let statements =
        trust["Statement"].as_array().cloned().unwrap_or_else(|| vec![trust["Statement"].clone()]);
    statements.iter().any(|s| s["Effect"] == "Allow" && names(&s["Principal"]["Service"]))
}

/// Checks a policy document before it is stored.
pub fn check_policy(document: &Value) -> Result<(), String> {
    parse_policy(document).map(|_| ()).map_err(|e| format!("{e:#}"))
}

/// API of IAM, as much of it as is needed to look at roles.
pub fn handle(cloud: &Cloud, caller: &Caller, operation: &str, params: &Value) -> ApiResult {
    let name = params["RoleName"].as_str().unwrap_or_default();
    match operation {
        "GetRole" => {
            cloud.authorize(
                caller,
                "iam:GetRole",
                &cloud.config.global_arn("iam", &format!("role/{name}")),
                &[],
            )?;
            Ok(json!({ "Role": describe(cloud, name, &*find(cloud, name)?) }))
        }
        "ListRoles" => {
            cloud.authorize(
                caller,
                "iam:ListRoles",
                &cloud.config.global_arn("iam", "role/*"),
                &[],
            )?;
            let roles: Vec<Value> =
                cloud.roles.all().iter().map(|(name, role)| describe(cloud, name, role)).collect();
            Ok(json!({ "Roles": roles, "IsTruncated": false }))
        }
        "ListRolePolicies" => {
            cloud.authorize(
                caller,
                "iam:ListRolePolicies",
                &cloud.config.global_arn("iam", &format!("role/{name}")),
                &[],
            )?;
            let names: Vec<String> =
                find(cloud, name)?.policies.iter().map(|(n, _)| n.clone()).collect();
            Ok(json!({ "PolicyNames": names, "IsTruncated": false }))
        }
        "GetRolePolicy" => {
            cloud.authorize(
                caller,
                "iam:GetRolePolicy",
                &cloud.config.global_arn("iam", &format!("role/{name}")),
                &[],
            )?;
            let wanted = params["PolicyName"].as_str().unwrap_or_default();
            let role = find(cloud, name)?;
            let (_, document) = role
                .policies
                .iter()
                .find(|(n, _)| n == wanted)
                .ok_or_else(|| missing(&format!("The role policy with name {wanted}")))?;
            // AWS percent-encodes the document (RFC 3986).
            let document: String =
                url::form_urlencoded::byte_serialize(document.to_string().as_bytes()).collect();
            Ok(
                json!({ "RoleName": name, "PolicyName": wanted, "PolicyDocument": document.replace('+', "%20") }),
            )
        }
        other => Err(ApiError::unknown_operation("iam", other)),
    }
}

fn missing(what: &str) -> ApiError {
    ApiError::new("NoSuchEntity", format!("{what} cannot be found.")).with_status(404)
}

fn find(cloud: &Cloud, name: &str) -> ApiResult<std::sync::Arc<Role>> {
    cloud.roles.get(name).ok_or_else(|| missing(&format!("The role with name {name}")))
}

fn describe(cloud: &Cloud, name: &str, role: &Role) -> Value {
    json!({
        "Path": "/", "RoleName": name, "RoleId": role.id, "Arn": cloud.config.global_arn("iam", &format!("role/{name}")),
        "CreateDate": iso(role.created), "AssumeRolePolicyDocument": role.trust.to_string(), "Tags": role.tags,
    })
}
