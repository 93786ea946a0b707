//! Policy documents: what AWS stores and what it refuses, in its words.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>
//!
//! Every element is used or refused, so what is stored is what is evaluated. Services of `Service`
//! principals, vendors of actions and regions are not checked against lists of AWS's.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use thiserror::Error;

use super::bucket_policy;
use super::condition::{Condition, Operator};

/// Bytes of a trust policy without white space.
pub const TRUST_BYTES_MAX: usize = 2_048;
/// Levels of JSON; AWS's grammar needs six.
const DEPTH_MAX: usize = 16;

/// A document that AWS refuses: its message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Malformed(pub String);

pub(super) fn malformed<T>(message: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(message.into()))
}

/// What a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A role's permissions.
    Identity,
    /// Who may take a role on.
    Trust,
    /// The policy of this bucket.
    Bucket(&'a str),
    /// The policy of another resource: a queue, a topic, a function, a key.
    Resource,
    /// What may pass an endpoint.
    Endpoint,
}

/// A document in parts.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Whether the language version has policy variables.
    pub variables: bool,
    /// Statements.
    pub statements: Vec<Statement>,
}

/// One statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its name.
    pub sid: Option<String>,
    /// What it does.
    pub effect: Effect,
    /// Whom it is about.
    pub principals: Principals,
    /// Actions, as patterns.
    pub actions: What,
    /// Resources, as patterns.
    pub resources: What,
    /// All of these must hold.
    pub conditions: Vec<Condition>,
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Permits.
    Allow,
    /// Forbids, whatever permits it.
    Deny,
}

/// Patterns of actions or resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// `Action`, `Resource`.
    Only(Vec<String>),
    /// `NotAction`, `NotResource`.
    Except(Vec<String>),
    /// A trust policy is about its role.
    Unsaid,
}

/// Whom a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principals {
    /// The identity that the policy belongs to.
    Unsaid,
    /// `Principal`.
    Only(Vec<Named>),
    /// `NotPrincipal`.
    Except(Vec<Named>),
}

/// One principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// `*`.
    Everyone,
    /// An account, by its number or its root's ARN.
    Account(String),
    /// ARN of a user, a role or a session.
    Aws(String),
    /// `glue.amazonaws.com`.
    Service(String),
    /// Federated and canonical users, who never call here.
    Other,
}

impl Policy {
    /// Takes a document apart, or says in AWS's words what is wrong with it.
    pub fn parse(document: &Value, kind: Kind<'_>) -> Result<Self, Malformed> {
        if depth(document, 0) > DEPTH_MAX {
            return malformed(syntax(kind));
        }
        let Some(members) = document.as_object() else { return malformed(syntax(kind)) };
        let known = |name: &String| matches!(name.as_str(), "Version" | "Id" | "Statement");
        if !members.keys().all(known) || members.get("Id").is_some_and(|id| !id.is_string()) {
            return malformed(syntax(kind));
        }
        let variables = match members.get("Version").map(Value::as_str) {
            Some(Some("2012-10-17")) => true,
            Some(Some("2008-10-17")) | None => false,
            _ if matches!(kind, Kind::Bucket(_)) => {
                return malformed("The policy must contain a valid version string");
            }
            _ => return malformed(syntax(kind)),
        };
        let statements = match members.get("Statement") {
            Some(Value::Array(items)) if !items.is_empty() => items.iter().collect(),
            Some(one @ Value::Object(_)) => vec![one],
            None if matches!(kind, Kind::Bucket(_)) => {
                return malformed("Missing required field Statement");
            }
            Some(Value::Array(_)) if matches!(kind, Kind::Bucket(_)) => {
                return malformed("Could not parse the policy: Statement is empty!");
            }
            _ => return malformed(syntax(kind)),
        };
        let parsed: Result<Vec<Statement>, _> =
            statements.into_iter().map(|statement| parse_statement(statement, kind)).collect();
        let policy = Self { variables, statements: parsed? };
        if kind == Kind::Identity || kind == Kind::Trust {
            policy.check_sids()?;
        }
        Ok(policy)
    }

    fn check_sids(&self) -> Result<(), Malformed> {
        let mut seen = BTreeSet::new();
        for sid in self.statements.iter().filter_map(|s| s.sid.as_deref()) {
            if !sid.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return malformed(
                    "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies \
                     the regular expression [0-9A-Za-z]*",
                );
            }
            if !sid.is_empty() && !seen.insert(sid) {
                return malformed("Statement IDs (SID) in a single policy must be unique.");
            }
        }
        Ok(())
    }
}

/// The depth of a value; stops counting where it is refused anyway.
fn depth(value: &Value, level: usize) -> usize {
    if level > DEPTH_MAX {
        return level;
    }
    let deeper = |inner: &Value| depth(inner, level + 1);
    match value {
        Value::Array(items) => items.iter().map(deeper).max().unwrap_or(level),
        Value::Object(members) => members.values().map(deeper).max().unwrap_or(level),
        _ => level,
    }
}

/// Bytes that count against the quotas: white space does not.
pub fn size(document: &Value) -> usize {
    document.to_string().bytes().filter(|b| !b.is_ascii_whitespace()).count()
}

fn syntax(kind: Kind<'_>) -> &'static str {
    match kind {
        Kind::Bucket(_) => "Invalid policy syntax.",
        Kind::Identity | Kind::Trust | Kind::Resource | Kind::Endpoint => {
            "Syntax errors in policy."
        }
    }
}

/// The element or its `Not…` form; both at once are a syntax error.
struct Element<'a> {
    value: Option<&'a Value>,
    except: bool,
}

fn element<'a>(
    members: &'a Map<String, Value>,
    name: &str,
    kind: Kind<'_>,
) -> Result<Element<'a>, Malformed> {
    match (members.get(name), members.get(&format!("Not{name}"))) {
        (Some(_), Some(_)) => malformed(syntax(kind)),
        (None, not @ Some(_)) => Ok(Element { value: not, except: true }),
        (value, None) => Ok(Element { value, except: false }),
    }
}

fn parse_statement(statement: &Value, kind: Kind<'_>) -> Result<Statement, Malformed> {
    const ELEMENTS: &[&str] = &[
        "Sid",
        "Effect",
        "Principal",
        "NotPrincipal",
        "Action",
        "NotAction",
        "Resource",
        "NotResource",
        "Condition",
    ];
    let Some(members) = statement.as_object() else { return malformed(syntax(kind)) };
    let sid = match members.get("Sid") {
        None => None,
        Some(Value::String(sid)) => Some(sid.clone()),
        Some(_) => return malformed(syntax(kind)),
    };
    if let Some(unknown) = members.keys().find(|name| !ELEMENTS.contains(&name.as_str())) {
        return malformed(match kind {
            Kind::Bucket(_) => format!("Unknown field {unknown}"),
            _ => syntax(kind).to_owned(),
        });
    }
    let effect = parse_effect(members.get("Effect"), kind)?;
    let principals = parse_principals(&element(members, "Principal", kind)?, effect, kind)?;
    let actions = parse_actions(&element(members, "Action", kind)?, kind)?;
    let resources = parse_resources(&element(members, "Resource", kind)?, kind)?;
    if let Kind::Bucket(_) = kind {
        bucket_policy::check_reach(&actions, &resources)?;
    }
    let conditions = match members.get("Condition") {
        Some(conditions) => parse_conditions(conditions, kind)?,
        None => vec![],
    };
    Ok(Statement { sid, effect, principals, actions, resources, conditions })
}

fn parse_effect(effect: Option<&Value>, kind: Kind<'_>) -> Result<Effect, Malformed> {
    match (effect.map(|e| e.as_str().unwrap_or_default()), kind) {
        (Some("Allow"), _) => Ok(Effect::Allow),
        (Some("Deny"), _) => Ok(Effect::Deny),
        (None, Kind::Bucket(_)) => malformed("Missing required field Effect"),
        (Some(other), Kind::Bucket(_)) => malformed(format!("Invalid effect: {other}")),
        (Some(other), _)
            if other.eq_ignore_ascii_case("Allow") || other.eq_ignore_ascii_case("Deny") =>
        {
            malformed("The policy failed legacy parsing")
        }
        _ => malformed(syntax(kind)),
    }
}

/// A string, or a list of strings.
fn strings(value: &Value, kind: Kind<'_>) -> Result<Vec<String>, Malformed> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let listed = match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(text).collect(),
        _ => None,
    };
    listed.ok_or_else(|| Malformed(syntax(kind).to_owned()))
}

fn what(patterns: Vec<String>, except: bool) -> What {
    if except { What::Except(patterns) } else { What::Only(patterns) }
}

fn parse_principals(
    element: &Element<'_>,
    effect: Effect,
    kind: Kind<'_>,
) -> Result<Principals, Malformed> {
    let value = match (element.value, kind) {
        (None, Kind::Identity) => return Ok(Principals::Unsaid),
        (Some(_), Kind::Identity) => {
            return malformed("Policy document should not specify a principal.");
        }
        (None, _) => return malformed("Missing required field Principal"),
        (Some(value), _) => value,
    };
    let mut named = Vec::new();
    match value {
        Value::String(everyone) if everyone == "*" => named.push(Named::Everyone),
        Value::Object(members) if !members.is_empty() => {
            for (sort, values) in members {
                for value in strings(values, kind)? {
                    named.push(parse_principal(sort, &value, kind)?);
                }
            }
        }
        _ => return malformed(invalid_principal("", "", kind)),
    }
    match (element.except, effect) {
        _ if named.is_empty() => malformed(invalid_principal("", "", kind)),
        (true, Effect::Allow) => malformed("Allow with NotPrincipal is not allowed."),
        (true, Effect::Deny) => Ok(Principals::Except(named)),
        (false, _) => Ok(Principals::Only(named)),
    }
}

fn parse_principal(sort: &str, value: &str, kind: Kind<'_>) -> Result<Named, Malformed> {
    let account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
    let named = match (sort, value) {
        ("AWS", "*") => Some(Named::Everyone),
        ("AWS", number) if account(number) => Some(Named::Account(number.to_owned())),
        ("AWS", arn) => parse_aws_principal(arn, account),
        ("Service", name) if name.ends_with(".amazonaws.com") && !name.contains(['*', '?']) => {
            Some(Named::Service(name.to_owned()))
        }
        ("Federated", name) if !name.is_empty() => Some(Named::Other),
        ("CanonicalUser", id) if matches!(kind, Kind::Bucket(_)) && !id.is_empty() => {
            Some(Named::Other)
        }
        _ => None,
    };
    named.ok_or_else(|| Malformed(invalid_principal(sort, value, kind)))
}

/// Wildcards are not allowed in a part of a name.
fn parse_aws_principal(arn: &str, account: impl Fn(&str) -> bool) -> Option<Named> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", "aws", service, "", number, resource] = parts.as_slice() else { return None };
    if !account(number) || resource.contains(['*', '?']) {
        return None;
    }
    let begins = |prefix: &str| resource.strip_prefix(prefix).is_some_and(|name| !name.is_empty());
    match *service {
        "iam" if *resource == "root" => Some(Named::Account((*number).to_owned())),
        "iam" if begins("user/") || begins("role/") => Some(Named::Aws(arn.to_owned())),
        "sts" if begins("assumed-role/") && resource.split('/').count() == 3 => {
            Some(Named::Aws(arn.to_owned()))
        }
        "sts" if begins("federated-user/") => Some(Named::Other),
        _ => None,
    }
}

fn invalid_principal(sort: &str, value: &str, kind: Kind<'_>) -> String {
    let sort = if sort == "Service" { "SERVICE" } else { sort };
    match kind {
        Kind::Trust if !sort.is_empty() => {
            format!("Invalid principal in policy: \"{sort}\":\"{value}\"")
        }
        _ => "Invalid principal in policy".to_owned(),
    }
}

fn parse_actions(element: &Element<'_>, kind: Kind<'_>) -> Result<What, Malformed> {
    let missing = match kind {
        Kind::Bucket(_) | Kind::Trust | Kind::Resource | Kind::Endpoint => {
            "Missing required field Action"
        }
        Kind::Identity => "Policy statement must contain actions.",
    };
    let Some(value) = element.value else { return malformed(missing) };
    let patterns = strings(value, kind)?;
    if patterns.is_empty() {
        return malformed(missing);
    }
    for pattern in &patterns {
        match kind {
            Kind::Bucket(_) => bucket_policy::check_action(pattern)?,
            _ => check_vendor(pattern)?,
        }
        if kind == Kind::Trust && !pattern.to_ascii_lowercase().starts_with("sts:") {
            return malformed("AssumeRole policy may only specify STS AssumeRole actions.");
        }
    }
    Ok(what(patterns, element.except))
}

fn check_vendor(action: &str) -> Result<(), Malformed> {
    if action == "*" {
        return Ok(());
    }
    let parts: Vec<&str> = action.split(':').collect();
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    match parts.as_slice() {
        [_] => {
            malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
        }
        [vendor, name] if vendor.bytes().all(letter) && !vendor.is_empty() && !name.is_empty() => {
            Ok(())
        }
        [vendor, _] => malformed(format!("Vendor {vendor} is not valid")),
        _ => malformed("Actions/Condition can contain only one colon."),
    }
}

fn parse_resources(element: &Element<'_>, kind: Kind<'_>) -> Result<What, Malformed> {
    let Some(value) = element.value else {
        return match kind {
            Kind::Trust => Ok(What::Unsaid),
            Kind::Bucket(_) | Kind::Resource | Kind::Endpoint => {
                malformed("Missing required field Resource")
            }
            Kind::Identity => malformed("Policy statement must contain resources."),
        };
    };
    let patterns = strings(value, kind)?;
    match kind {
        Kind::Trust => {
            let name = if element.except { "NotResource" } else { "Resource" };
            return malformed(format!("Has prohibited field {name}"));
        }
        Kind::Identity | Kind::Resource | Kind::Endpoint if patterns.is_empty() => {
            return malformed("Policy statement must contain resources.");
        }
        Kind::Identity | Kind::Resource | Kind::Endpoint => {
            patterns.iter().try_for_each(|pattern| check_resource(pattern))?;
        }
        Kind::Bucket(bucket) => bucket_policy::check_resources(&patterns, bucket)?,
    }
    Ok(what(patterns, element.except))
}

fn check_resource(resource: &str) -> Result<(), Malformed> {
    if resource == "*" {
        return Ok(());
    }
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    let &[arn, partition, service, ..] = parts.as_slice() else {
        let [arn, partition] = parts.as_slice() else {
            return malformed(format!("Resource {resource} must be in ARN format or \"*\"."));
        };
        // `arn:*` and `arn:aws*` are whole patterns.
        return if *arn == "arn" && partition.ends_with('*') {
            Ok(())
        } else {
            malformed("Resource vendor must be fully qualified and cannot contain regexes.")
        };
    };
    if arn != "arn" {
        return malformed(format!("Resource {resource} must be in ARN format or \"*\"."));
    }
    if partition != "aws" && !partition.contains('*') {
        return malformed(format!(
            "Partition \"{partition}\" is not valid for resource \"{resource}\"."
        ));
    }
    if service.is_empty() || (service.contains(['*', '?']) && service != "*") {
        return malformed("Resource vendor must be fully qualified and cannot contain regexes.");
    }
    let region = parts.get(3).copied().unwrap_or_default();
    match service {
        "iam" if !region.is_empty() && region != "*" => {
            malformed(format!("IAM resource {resource} cannot contain region information."))
        }
        "s3" if !region.is_empty() && region != "*" => {
            malformed(format!("Resource {resource} can not contain region information."))
        }
        _ if parts.len() < 6 && !resource.ends_with('*') => {
            malformed("The policy failed legacy parsing")
        }
        _ => Ok(()),
    }
}

fn parse_conditions(conditions: &Value, kind: Kind<'_>) -> Result<Vec<Condition>, Malformed> {
    let Some(operators) = conditions.as_object() else { return malformed(syntax(kind)) };
    let mut parsed = Vec::new();
    for (name, keys) in operators {
        let Some(operator) = Operator::parse(name) else {
            return malformed(match kind {
                Kind::Bucket(_) => format!("Invalid Condition type : {name}"),
                _ => syntax(kind).to_owned(),
            });
        };
        let Some(keys) = keys.as_object() else { return malformed(syntax(kind)) };
        for (key, values) in keys {
            check_key(key, kind)?;
            let values = condition_values(values, kind)?;
            if let Some(wrong) = values.iter().find(|value| !operator.accepts(value)) {
                return malformed(match kind {
                    Kind::Bucket(_) => {
                        format!("Invalid value in Conditions for operator {name}: {wrong}")
                    }
                    _ => "The policy failed legacy parsing".to_owned(),
                });
            }
            parsed.push(Condition { operator, key: key.clone(), values });
        }
    }
    Ok(parsed)
}

fn check_key(key: &str, kind: Kind<'_>) -> Result<(), Malformed> {
    let vendor = key.split_once(':').map(|(vendor, _)| vendor.to_ascii_lowercase());
    match (vendor, kind) {
        (Some(vendor), Kind::Bucket(_)) if vendor == "aws" || vendor == "s3" => Ok(()),
        (_, Kind::Bucket(_)) => malformed("Policy has an invalid condition key"),
        (Some(_), _) => Ok(()),
        (None, _) => {
            malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
        }
    }
}

/// Strings, numbers and booleans, one or a list.
fn condition_values(value: &Value, kind: Kind<'_>) -> Result<Vec<String>, Malformed> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(bool) => Some(bool.to_string()),
        _ => None,
    };
    let listed: Option<Vec<String>> = match value {
        Value::Array(items) => items.iter().map(text).collect(),
        one => text(one).map(|one| vec![one]),
    };
    listed.ok_or_else(|| Malformed(syntax(kind).to_owned()))
}
