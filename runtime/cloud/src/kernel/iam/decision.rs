//! The decision: what a request may, by the policies that apply to it. Pure.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>
//!
//! A `Deny` that matches in any policy decides. Else, within one account, an `Allow` of an identity
//! policy or of the resource's policy is enough; only a role's trust policy must allow itself. A
//! resource's policy that names the account, and not the caller, only lets identity policies
//! decide. What belongs to another account needs both: the caller's policies and the resource's,
//! and there naming the caller's account is enough.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html>

use thiserror::Error;

use super::context::Context;
use super::document::{Effect, Named, Policy, Principals, Statement, What};
use super::pattern::Pattern;

/// A condition key that the request has no known value for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the embedded cloud does not implement the condition key {0} of policies")]
pub struct Unknown(pub String);

/// Who asks, as policies name callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A user.
    User {
        /// Its ARN.
        arn: String,
        /// Its account.
        account: String,
    },
    /// A session of a role.
    Session {
        /// ARN of the session.
        arn: String,
        /// ARN of its role.
        role_arn: String,
        /// Their account.
        account: String,
    },
    /// A service, by `glue.amazonaws.com`.
    Service(String),
}

/// One request.
#[derive(Debug)]
pub struct Request<'a> {
    /// Who.
    pub subject: &'a Subject,
    /// `s3:GetObject`.
    pub action: &'a str,
    /// ARN, or `*` when the action knows no resources.
    pub resource: &'a str,
    /// Condition keys.
    pub context: &'a Context,
}

/// Why a request is denied or allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Some statement allows it and none denies it.
    Allowed,
    /// An identity policy denies it.
    DeniedByIdentity,
    /// The resource's policy denies it.
    DeniedByResource,
    /// Nothing allows it.
    NotAllowed,
    /// A permissions boundary denies it.
    DeniedByBoundary,
    /// The permissions boundary does not allow it.
    OutOfBoundary,
    /// A session policy denies it.
    DeniedBySession,
    /// The session policy does not allow it.
    OutOfSession,
}

/// What a caller may at most, whatever allows it.
#[derive(Debug, Default, Clone, Copy)]
pub struct Limits<'a> {
    /// The permissions boundary of a role or user.
    pub boundary: Option<&'a Policy>,
    /// The policy that a session was begun with.
    pub session: Option<&'a Policy>,
}

impl Limits<'_> {
    /// The decision within the limits. AWS lets a resource's policy that names the session itself
    /// go beyond them; here nothing does.
    fn narrow(&self, decision: Decision, request: &Request<'_>) -> Result<Decision, Unknown> {
        let kinds = [
            (self.boundary, Reason::DeniedByBoundary, Reason::OutOfBoundary),
            (self.session, Reason::DeniedBySession, Reason::OutOfSession),
        ];
        let is_denied =
            matches!(decision.reason, Reason::DeniedByIdentity | Reason::DeniedByResource);
        let mut narrowed = decision;
        for (policy, denied, out) in kinds {
            let Some(policy) = policy.filter(|_| !is_denied) else { continue };
            let judged = judge_some(Some(policy), request)?;
            if let Some(statements) = judged.denied {
                return Ok(Decision { reason: denied, statements });
            }
            if judged.allowed.is_none() && narrowed.reason == Reason::Allowed {
                narrowed = Decision { reason: out, statements: vec![] };
            }
        }
        Ok(narrowed)
    }
}

/// `Sid` of the statement that allows the administrator everything.
pub const ADMINISTRATOR_SID: &str = "Administrator";

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Why.
    pub reason: Reason,
    /// `Sid`s of the statements that decided.
    pub statements: Vec<String>,
}

impl Decision {
    /// What the administrator's one statement comes to where nothing else has a say.
    pub fn administrator() -> Self {
        Self { reason: Reason::Allowed, statements: vec![ADMINISTRATOR_SID.to_owned()] }
    }

    /// Whether the request may go on.
    pub fn allowed(&self) -> bool {
        self.reason == Reason::Allowed
    }
}

/// How far a policy goes with a request.
#[derive(Debug, Default)]
struct Judged {
    denied: Option<Vec<String>>,
    allowed: Option<Vec<String>>,
    /// The account is allowed, which leaves it to its identity policies.
    delegated: bool,
}

/// The decision on a request to a resource that may have a policy.
pub fn decide(
    identity: &[Policy],
    limits: Limits<'_>,
    resource: Option<&Policy>,
    request: &Request<'_>,
) -> Result<Decision, Unknown> {
    let (identity, resource) = (judge_all(identity, request)?, judge_some(resource, request)?);
    let allowed = identity.allowed.is_some() || resource.allowed.is_some();
    limits.narrow(settle(&identity, &resource, allowed), request)
}

/// The decision on a request to something of another account.
pub fn decide_across(
    identity: &[Policy],
    limits: Limits<'_>,
    resource: Option<&Policy>,
    request: &Request<'_>,
) -> Result<Decision, Unknown> {
    let (identity, resource) = (judge_all(identity, request)?, judge_some(resource, request)?);
    let opened = resource.allowed.is_some() || resource.delegated;
    let allowed = identity.allowed.is_some() && opened;
    limits.narrow(settle(&identity, &resource, allowed), request)
}

/// The decision on `sts:AssumeRole`: the trust policy must allow it itself.
pub fn decide_trust(
    identity: &[Policy],
    limits: Limits<'_>,
    trust: &Policy,
    request: &Request<'_>,
) -> Result<Decision, Unknown> {
    let (identity, trust) = (judge_all(identity, request)?, judge_some(Some(trust), request)?);
    let delegated = trust.delegated && identity.allowed.is_some();
    limits.narrow(settle(&identity, &trust, trust.allowed.is_some() || delegated), request)
}

fn settle(identity: &Judged, resource: &Judged, allowed: bool) -> Decision {
    let sids = |found: &Option<Vec<String>>| found.clone().unwrap_or_default();
    let (reason, statements) = if identity.denied.is_some() {
        (Reason::DeniedByIdentity, sids(&identity.denied))
    } else if resource.denied.is_some() {
        (Reason::DeniedByResource, sids(&resource.denied))
    } else if allowed {
        (Reason::Allowed, [sids(&identity.allowed), sids(&resource.allowed)].concat())
    } else {
        (Reason::NotAllowed, vec![])
    };
    Decision { reason, statements }
}

fn judge_all(policies: &[Policy], request: &Request<'_>) -> Result<Judged, Unknown> {
    let mut judged = Judged::default();
    for policy in policies {
        judge(policy, request, &mut judged)?;
    }
    Ok(judged)
}

fn judge_some(policy: Option<&Policy>, request: &Request<'_>) -> Result<Judged, Unknown> {
    let mut judged = Judged::default();
    policy.map_or(Ok(()), |policy| judge(policy, request, &mut judged))?;
    Ok(judged)
}

fn judge(policy: &Policy, request: &Request<'_>, judged: &mut Judged) -> Result<(), Unknown> {
    for statement in &policy.statements {
        let matched = principals(&statement.principals, request.subject);
        if matched == Match::No || !applies(policy, statement, request)? {
            continue;
        }
        match (statement.effect, matched) {
            (Effect::Deny, _) => judged.denied.get_or_insert_default().extend(sid(statement)),
            (Effect::Allow, Match::Account) => judged.delegated = true,
            (Effect::Allow, _) => judged.allowed.get_or_insert_default().extend(sid(statement)),
        }
    }
    Ok(())
}

fn sid(statement: &Statement) -> Option<String> {
    statement.sid.clone()
}

/// Action, resource and conditions, in the order of what costs least.
fn applies(policy: &Policy, statement: &Statement, request: &Request<'_>) -> Result<bool, Unknown> {
    if !actions(&statement.actions, request.action) {
        return Ok(false);
    }
    if !resources(&statement.resources, policy, request)? {
        return Ok(false);
    }
    // A condition that is known not to hold makes unknown keys beside it irrelevant.
    let mut unknown = None;
    for condition in &statement.conditions {
        match condition.holds(request.context, policy.variables) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => unknown = Some(error),
        }
    }
    unknown.map_or(Ok(true), Err)
}

/// Actions are compared without regard to case.
fn actions(wanted: &What, action: &str) -> bool {
    let action = action.to_ascii_lowercase();
    let named =
        |pattern: &String| Pattern::wildcards(&pattern.to_ascii_lowercase()).matches(&action);
    match wanted {
        What::Only(patterns) => patterns.iter().any(named),
        What::Except(patterns) => !patterns.iter().any(named),
        What::Unsaid => true,
    }
}

fn resources(wanted: &What, policy: &Policy, request: &Request<'_>) -> Result<bool, Unknown> {
    let (patterns, found) = match wanted {
        What::Only(patterns) => (patterns, true),
        What::Except(patterns) => (patterns, false),
        What::Unsaid => return Ok(true),
    };
    for pattern in patterns {
        let pattern = if policy.variables {
            Pattern::expand(pattern, request.context)?
        } else {
            Some(Pattern::wildcards(pattern))
        };
        if pattern.is_some_and(|pattern| pattern.matches_resource(request.resource)) {
            return Ok(found);
        }
    }
    Ok(!found)
}

/// How a statement's principals match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    No,
    /// The account is named, not the caller.
    Account,
    Caller,
}

fn principals(principals: &Principals, subject: &Subject) -> Match {
    match principals {
        Principals::Unsaid => Match::Caller,
        Principals::Only(named) => {
            let best = named.iter().map(|named| matched(named, subject));
            best.max_by_key(|found| *found as u8).unwrap_or(Match::No)
        }
        // "AWS might validate the account first, and then the user", then the role, then the
        // session: who is excepted must be named in each of these forms.
        Principals::Except(named) => {
            let excepted = identities(subject)
                .iter()
                .all(|wanted| named.iter().any(|named| is(named, wanted)));
            if excepted { Match::No } else { Match::Caller }
        }
    }
}

fn matched(named: &Named, subject: &Subject) -> Match {
    match (named, subject) {
        (Named::Everyone, _) => Match::Caller,
        (Named::Service(name), Subject::Service(service)) if name == service => Match::Caller,
        (Named::Aws(name), Subject::User { arn, .. }) if name == arn => Match::Caller,
        (Named::Aws(name), Subject::Session { arn, role_arn, .. })
            if name == arn || name == role_arn =>
        {
            Match::Caller
        }
        (
            Named::Account(number),
            Subject::User { account, .. } | Subject::Session { account, .. },
        ) if number == account => Match::Account,
        _ => Match::No,
    }
}

/// Every name that a caller has in `NotPrincipal`.
fn identities(subject: &Subject) -> Vec<Named> {
    match subject {
        Subject::User { arn, account } => {
            vec![Named::Aws(arn.clone()), Named::Account(account.clone())]
        }
        Subject::Session { arn, role_arn, account } => vec![
            Named::Aws(arn.clone()),
            Named::Aws(role_arn.clone()),
            Named::Account(account.clone()),
        ],
        Subject::Service(name) => vec![Named::Service(name.clone())],
    }
}

fn is(named: &Named, wanted: &Named) -> bool {
    *named == Named::Everyone || named == wanted
}
